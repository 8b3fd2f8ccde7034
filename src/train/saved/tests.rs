//! Runs that end in unusual ways, and what the next run in their folder finds.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::context::Context;
use crate::data::decode::tests::png_of;
use crate::data::folder::image_folder;
use crate::data::{Dataset, ImageFolderOptions};
use crate::declare::{FromValue, Function, Value};
use crate::model::Model;
use crate::spectral::filter::Response;
use crate::spectral::{Filter, correction, gate};
use crate::torch::{DType, Device, Tensor, rng};
use crate::train::checkpoint::Checkpoint;
use crate::train::fit::fit;
use crate::train::tests::{model, short, stopped_after, train, two_classes, weights};
use crate::train::{AverageOptions, Averages, FitOptions, Run};

/// Returns eight small images of two classes, which are read when they are needed.
fn images(place: &Path) -> Dataset {
    for i in 0..8 {
        let class = place.join(["dark", "light"][i % 2]);
        std::fs::create_dir_all(&class).unwrap();
        let path = class.join(format!("{i}.png"));
        if !path.exists() {
            crate::files::write(path, png_of(4, 4, |x, y| [i as u8 * 30 + (x * y) as u8; 3])).unwrap();
        }
    }
    let options =
        ImageFolderOptions { size: 4, channels: 1, in_memory: Some(false), ..ImageFolderOptions::default() };
    image_folder(place, &options, &Context::default()).unwrap()
}

#[test]
fn an_image_that_cannot_be_read_loses_no_step() {
    let (place, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = images(place.path());
    let options = FitOptions { batch: 4, steps: 20, checkpoint_every: 1000, ..short() };
    let run = |options: &FitOptions| fit(&model(0), &data, options, &Context::default());
    let straight = run(&options).unwrap();
    let saved = FitOptions { out: out.path().display().to_string(), ..options };
    let (file, away) = (place.path().join("dark/2.png"), place.path().join("away"));
    let (from, to) = (file.clone(), away.clone());
    let on_step = Function::new(move |values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        if matches!(row["step"], Value::Int(5)) {
            std::fs::rename(&from, &to).unwrap();
        }
        Ok(Value::Unit)
    });
    let error = run(&FitOptions { on_step: Some(on_step), ..saved.clone() }).unwrap_err();
    assert!(error.message().contains("dark/2.png"), "{error}");
    let there = crate::files::list(out.path().join("checkpoints")).unwrap();
    let done = there.last().unwrap().trim_start_matches("step-").trim_end_matches(".safetensors");
    let done = done.parse::<usize>().unwrap();
    assert!((5..12).contains(&done), "{there:?}");
    assert!(out.path().join("weights.safetensors").exists());
    std::fs::rename(away, file).unwrap();
    let resumed = run(&saved).unwrap();
    assert_eq!((resumed.losses(), weights(resumed.model())), (straight.losses(), weights(straight.model())));
}

/// Trains with scores at steps 3, 6, 9 and 12, and returns the step of the best checkpoint.
fn best(scores: [f64; 4]) -> Option<i64> {
    let folder = tempfile::tempdir().unwrap();
    let scores = Mutex::new(scores.to_vec());
    let score = Function::new(move |_| Ok(Value::Float(scores.lock().unwrap().remove(0))));
    let out = folder.path().display().to_string();
    train(&model(0), &FitOptions { checkpoint_every: 3, score: Some(score), out, ..short() }).unwrap();
    let path = folder.path().join("checkpoints/best.safetensors");
    path.exists().then(|| match Checkpoint::read(path).unwrap().values()["step"] {
        Value::Int(step) => step,
        _ => unreachable!(),
    })
}

#[test]
fn a_score_that_is_no_number_is_never_the_best() {
    assert_eq!(best([f64::NAN, 2.0, 1.0, 3.0]), Some(9));
    assert_eq!(best([2.0, f64::NAN, f64::NAN, 3.0]), Some(3));
    assert_eq!(best([f64::NAN, f64::INFINITY, f64::NAN, 5.0]), Some(12));
    assert_eq!(best([f64::NAN; 4]), None);
}

#[test]
fn scores_of_another_function_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let falling = Function::new(|values| {
        let Value::Map(about) = &values[0] else { unreachable!() };
        let Value::Int(step) = about["step"] else { unreachable!() };
        Ok(Value::Float(100.0 - step as f64))
    });
    let best = |steps, score: Option<Function>| {
        let out = folder.path().display().to_string();
        let options = FitOptions { steps, checkpoint_every: 3, score, out, ..short() };
        train(&model(0), &options).unwrap();
        let path = folder.path().join("checkpoints/best.safetensors");
        format!("{:?}", Checkpoint::read(path).unwrap().values()["step"])
    };
    best(6, None);
    // Losses are far below 88.
    assert_eq!(best(12, Some(falling.clone())), "12");
    assert_eq!(best(12, Some(falling.clone())), "12");
    assert_eq!(best(15, Some(falling)), "15");
}

/// The learning rate is 0, so that each step is as good as any other one.
#[test]
fn the_last_checkpoint_is_scored_by_as_many_losses_as_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let options = FitOptions { steps: 7, checkpoint_every: 6, lr: 0.0, out, ..short() };
    let run = train(&model(0), &options).unwrap();
    let last = Checkpoint::read(folder.path().join("checkpoints/step-00000007.safetensors")).unwrap();
    let first = Checkpoint::read(folder.path().join("checkpoints/step-00000006.safetensors")).unwrap();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (six, seven) = (mean(&run.losses()[..6]), mean(&run.losses()[1..]));
    let score = |saved: &Checkpoint| match &saved.values()["best"] {
        Value::Map(best) => format!("{:?}", best["score"]),
        _ => unreachable!(),
    };
    assert_eq!(score(&first), format!("{:?}", Value::Float(six)));
    assert_eq!(score(&last), format!("{:?}", Value::Float(six.min(seven))));
}

#[test]
fn a_score_that_fails_is_computed_when_the_run_resumes() {
    for broken in [6, 12] {
        let folder = tempfile::tempdir().unwrap();
        let best = |fails: bool| {
            let score = Function::new(move |values| {
                let Value::Map(about) = &values[0] else { unreachable!() };
                let Value::Int(step) = about["step"] else { unreachable!() };
                // Partial draws of a score that fails must not change the run.
                let drawn = Tensor::rand(&[1], DType::Float32, Device::Cpu, None)?.item()?;
                if fails && step == broken {
                    return Err(crate::error::Error::interrupted());
                }
                Ok(Value::Float((step - broken).pow(2) as f64 + drawn))
            });
            let out = folder.path().display().to_string();
            let options = FitOptions { checkpoint_every: 3, keep: 1, score: Some(score), out, ..short() };
            (train(&model(0), &options), Checkpoint::read(folder.path().join("checkpoints/best.safetensors")))
        };
        let value = |saved: Checkpoint| format!("{:?}", saved.values()["best"]);
        let same = || {
            rng::seed(4);
            let (stopped, _) = best(true);
            stopped.unwrap_err();
            rng::seed(5);
            let resumed = value(best(false).1.unwrap());
            std::fs::remove_dir_all(folder.path()).unwrap();
            rng::seed(4);
            let straight = value(best(false).1.unwrap());
            std::fs::remove_dir_all(folder.path()).unwrap();
            straight == resumed
        };
        // Other tests may draw from the same generator meanwhile, so that not every try counts.
        assert!((0..10).any(|_| same()), "step {broken}");
    }
}

#[test]
fn a_response_that_was_used_on_another_grid_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let low = Filter::new(Response::new(|r| Ok((-r * r).exp())).unwrap()).unwrap();
    let low_passed = || {
        let corrections = vec![correction(low.clone(), gate::time(()).unwrap()).unwrap()];
        Model::new(model(0).config().unwrap().clone().with_corrections(corrections), 0, Device::Cpu).unwrap()
    };
    let options = FitOptions { out: folder.path().display().to_string(), ..short() };
    let on_step = Function::new({
        let low = low.clone();
        move |_| low.flops([5; 2]).map(|_| Value::Unit)
    });
    let first = train(&low_passed(), &FitOptions { on_step: Some(on_step), ..options.clone() }).unwrap();
    low.flops([9; 2]).unwrap();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let told = notes.clone();
    let note = Arc::new(move |text: &str| told.lock().unwrap().push(text.to_string()));
    let context = Context { note, ..Context::default() };
    let again = fit(&low_passed(), &two_classes(), &options, &context).unwrap();
    assert_eq!(again.losses(), first.losses());
    assert!(notes.lock().unwrap().is_empty(), "{notes:?}");
}

#[test]
fn a_run_that_starts_over_leaves_nothing_of_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let named = AverageOptions { name: "slow".to_string(), ..AverageOptions::decay(0.99) };
    let first = FitOptions {
        ema: Averages(vec![AverageOptions::decay(0.9), named]),
        out: folder.path().display().to_string(),
        ..short()
    };
    let there = |name: &str| folder.path().join(name).exists();
    train(&model(0), &first).unwrap();
    assert!(there("ema-slow.safetensors") && there("weights.safetensors"));
    // Weights of an earlier run do not pass for those of one that has not written any yet.
    let fails = Function::new(|_| Err(crate::error::Error::file("somewhere", "no space left on the disk")));
    let again = FitOptions { ema: Averages::from(vec![0.9]), resume: false, ..first };
    train(&model(0), &FitOptions { schedule: fails.into(), ..again.clone() }).unwrap_err();
    for name in ["ema-slow.safetensors", "ema.safetensors", "weights.safetensors"] {
        assert!(!there(name), "{name}");
    }
    let run: Run = train(&model(0), &again).unwrap();
    assert!(run.loss().is_finite() && there("ema.safetensors") && !there("ema-slow.safetensors"));
}

/// The step of a checkpoint has a row with its score, in the history, in the log and after a resume.
#[test]
fn scores_are_in_the_rows_of_their_steps() {
    let folder = tempfile::tempdir().unwrap();
    let score = || {
        Some(Function::new(|values| {
            let Value::Map(about) = &values[0] else { unreachable!() };
            Ok(Value::Float(f64::from_value(&about["step"])? / 2.0))
        }))
    };
    let options = FitOptions { checkpoint_every: 3, log_every: 5, score: score(), ..short() };
    let rows = |run: &Run| run.history().iter().map(|row| (row.step, row.score)).collect::<Vec<_>>();
    let expected = [(3, Some(1.5)), (5, None), (6, Some(3.0)), (9, Some(4.5)), (10, None), (12, Some(6.0))];
    let out = |name: &str| folder.path().join(name).display().to_string();
    let straight = train(&model(0), &FitOptions { out: out("a"), ..options.clone() }).unwrap();
    assert_eq!(rows(&straight), expected);
    let saved = FitOptions { out: out("b"), ..options };
    stopped_after(7, &saved);
    let resumed = train(&model(0), &FitOptions { score: score(), ..saved }).unwrap();
    assert_eq!(rows(&resumed), expected);
    assert_eq!(resumed.losses(), straight.losses());
    for name in ["a", "b"] {
        let log = std::fs::read_to_string(folder.path().join(name).join("log.csv")).unwrap();
        let column = |n: usize| log.lines().map(|line| line.split(',').nth(n).unwrap()).collect::<Vec<_>>();
        assert_eq!(column(0), ["step", "3", "5", "6", "9", "10", "12"]);
        assert_eq!(column(5), ["score", "1.5", "", "3", "4.5", "", "6"]);
    }
}

/// `on_step` has the weights after the step, and those of the main average.
#[test]
fn the_function_of_each_step_has_the_models() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let on_step = Function::new(move |values| {
        let Value::Map(about) = &values[0] else { unreachable!() };
        let of = |name: &str| weights(&about[name].downcast::<Model>().unwrap());
        assert!(matches!(about["tensorboard"], Value::Unit));
        heard.lock().unwrap().push((of("model"), of("ema")));
        Ok(Value::Unit)
    });
    let run = train(&model(0), &FitOptions { on_step: Some(on_step), ..short() }).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 12);
    assert_eq!(seen[11], (weights(run.model()), weights(run.ema())));
    assert_ne!(seen[0].0, seen[11].0);
}
