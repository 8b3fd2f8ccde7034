use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::context::Context;
use crate::declare::{FromValue, Function, Map, Value};
use crate::error::{Error, Kind, Result};
use crate::torch::{DType, Device, Tensor, rng};
use crate::train::checkpoint::Checkpoint;
use crate::train::fit::fit;
use crate::train::tests::{model, short, stopped_after, train, two_classes, weights};
use crate::train::{FitOptions, Run};

/// Returns a context and the notes that it receives.
fn listening() -> (Context, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notes);
    let note = Arc::new(move |text: &str| told.lock().unwrap().push(text.to_string()));
    (Context { note, ..Context::default() }, notes)
}

/// Trains and returns the notes too.
fn told(options: &FitOptions) -> (Result<Run>, Vec<String>) {
    let (context, notes) = listening();
    let run = fit(&model(0), &two_classes(), options, &context);
    let notes = notes.lock().unwrap().clone();
    (run, notes)
}

fn function(answer: impl Fn(&Map) -> Result<Value> + Send + Sync + 'static) -> Option<Function> {
    Some(Function::new(move |values| {
        let Value::Map(about) = &values[0] else { unreachable!() };
        answer(about)
    }))
}

fn step_of(about: &Map) -> i64 {
    i64::from_value(&about["step"]).unwrap()
}

/// Returns scores that are lowest at a step.
fn lowest_at(step: i64) -> Option<Function> {
    function(move |s| Ok(Value::Float((step_of(s) - step).abs() as f64)))
}

fn values(out: &Path, step: usize) -> Map {
    Checkpoint::read(out.join(format!("checkpoints/step-{step:08}.safetensors"))).unwrap().values()
}

#[test]
fn a_run_without_lower_scores_ends_and_the_same_call_returns_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // Scores at 2, 4, .. are lowest at 4, so that the third one after it is that of step 10.
    let options = FitOptions {
        steps: 20,
        checkpoint_every: 2,
        log_every: 3,
        score: lowest_at(4),
        patience: Some(3),
        ..short()
    };
    let saved = FitOptions { out: at("straight"), ..options.clone() };
    let (straight, notes) = told(&saved);
    let straight = straight.unwrap();
    assert_eq!(straight.steps(), 10);
    let said = "3 scores in a row were not below 0.0000 of step 4: `patience` has ended the run in";
    assert!(notes.len() == 1 && notes[0].starts_with(said), "{notes:?}");
    let rows = |run: &Run| run.history().iter().map(|r| (r.step, r.loss, r.score)).collect::<Vec<_>>();
    // Stopped within the count, the run ends at the same step with the same bits.
    let stopped = FitOptions { out: at("stopped"), ..options.clone() };
    for steps in [3, 7, 8] {
        stopped_after(steps, &stopped);
    }
    let resumed = train(&model(0), &stopped).unwrap();
    assert_eq!((resumed.losses(), rows(&resumed)), (straight.losses(), rows(&straight)));
    assert_eq!(weights(resumed.ema()), weights(straight.ema()));
    // The same call returns it, also with more steps.
    for more in [20, 24] {
        let (again, notes) = told(&FitOptions { steps: more, ..saved.clone() });
        let again = again.unwrap();
        assert_eq!((again.losses(), weights(again.model())), (straight.losses(), weights(straight.model())));
        assert!(
            notes.len() == 1 && notes[0].contains("which is returned as it is; to go on, give a larger"),
            "{notes:?}"
        );
    }
    // A larger patience counts on; `go_on` counts anew.
    let (longer, _) = told(&FitOptions { patience: Some(4), ..saved.clone() });
    assert_eq!(longer.unwrap().steps(), 12);
    let (anew, notes) = told(&FitOptions { go_on: true, ..saved.clone() });
    assert_eq!(anew.unwrap().steps(), 18);
    assert!(notes[0].starts_with("resumes at step 12 of 20 from "), "{notes:?}");
    let whole = train(&model(0), &FitOptions { patience: None, ..saved }).unwrap();
    let straight = train(&model(0), &FitOptions { steps: 20, ..short() }).unwrap();
    assert_eq!((whole.losses(), weights(whole.ema())), (straight.losses(), weights(straight.ema())));
}

#[test]
fn patience_without_scores_is_refused() {
    let error = |options: FitOptions| train(&model(0), &options).unwrap_err().message();
    let patient = FitOptions { patience: Some(3), ..short() };
    assert!(error(patient.clone()).contains("`score`, which is not given"));
    assert!(
        error(FitOptions { score: lowest_at(1), ..patient.clone() }).contains("`out`, which is not given")
    );
    assert!(error(FitOptions { patience: Some(0), ..patient }).contains("`patience` must be at least 1"));
}

#[test]
fn a_run_that_a_function_ended_is_returned_unless_the_call_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&calls);
    // A counter of its own, as a script's closure may have.
    let on_step = function(move |s| {
        *counts.lock().unwrap() += 1;
        Ok(Value::Bool(step_of(s) % 4 != 0))
    });
    let options = FitOptions { out: folder.path().display().to_string(), log_every: 5, ..short() };
    let ended = FitOptions { on_step, ..options.clone() };
    let (first, notes) = told(&ended);
    assert_eq!((first.unwrap().steps(), notes.len(), *calls.lock().unwrap()), (4, 0, 4));
    let (again, notes) = told(&ended);
    assert_eq!((again.unwrap().steps(), *calls.lock().unwrap()), (4, 4));
    let said = "`on_step` has ended the run in ";
    assert!(notes.len() == 1 && notes[0].starts_with(said), "{notes:?}");
    assert!(notes[0].ends_with("after 4 of 12 steps, which is returned as it is; to go on, give more `steps`, no `on_step`, or `go_on: true`"), "{notes:?}");
    // It goes on to the same bits.
    assert_eq!(told(&FitOptions { go_on: true, ..ended.clone() }).0.unwrap().steps(), 8);
    assert_eq!(told(&ended).0.unwrap().steps(), 8);
    let run = told(&FitOptions { steps: 14, ..ended }).0.unwrap();
    assert_eq!(run.steps(), 12);
    let run = told(&FitOptions { steps: 14, ..options }).0.unwrap();
    let straight = train(&model(0), &FitOptions { steps: 14, ..short() }).unwrap();
    assert_eq!((run.losses(), weights(run.model())), (straight.losses(), weights(straight.model())));
}

#[test]
fn a_function_knows_the_score_of_its_step_and_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let on_step = function(move |s| {
        let best = match &s["best"] {
            Value::Map(best) => Some((i64::from_value(&best["step"])?, f64::from_value(&best["score"])?)),
            _ => None,
        };
        let Value::List(history) = &s["history"] else { unreachable!() };
        heard.lock().unwrap().push((
            step_of(s),
            Option::<f64>::from_value(&s["score"])?,
            best,
            history.len(),
        ));
        Ok(Value::Unit)
    });
    let out = folder.path().display().to_string();
    let options = FitOptions {
        steps: 7,
        checkpoint_every: 2,
        log_every: 3,
        score: lowest_at(4),
        on_step,
        out,
        ..short()
    };
    train(&model(0), &options).unwrap();
    let expected = [
        (1, None, None, 0),
        (2, Some(2.0), Some((2, 2.0)), 1),
        (3, None, Some((2, 2.0)), 2),
        (4, Some(0.0), Some((4, 0.0)), 3),
        (5, None, Some((4, 0.0)), 3),
        (6, Some(2.0), Some((4, 0.0)), 4),
        (7, Some(3.0), Some((4, 0.0)), 5),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A function that fails, or a score before it, is called for its step when the run resumes, with the same random numbers.
#[test]
fn what_failed_after_a_step_is_done_when_the_run_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let draw = || Tensor::rand(&[1], DType::Float32, Device::Cpu, None)?.item();
    let run = |name: &str, broken: i64, of_score: bool| {
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let [for_score, for_step] = [0, 1].map(|_| Arc::clone(&drawn));
        let fails = move |step: i64, score: bool| match step == broken && score == of_score {
            true => Err(Error::interrupted()),
            false => Ok(()),
        };
        let score = function(move |s| {
            let number = draw()?;
            fails(step_of(s), true)?;
            for_score.lock().unwrap().push(("score", step_of(s), number));
            Ok(Value::Float(number))
        });
        let on_step = function(move |s| {
            let number = draw()?;
            fails(step_of(s), false)?;
            for_step.lock().unwrap().push(("step", step_of(s), number));
            Ok(Value::Unit)
        });
        let out = folder.path().join(name).display().to_string();
        let options = FitOptions { checkpoint_every: 3, log_every: 4, score, on_step, out, ..short() };
        let run = train(&model(0), &options);
        let drawn = drawn.lock().unwrap().clone();
        (run, drawn)
    };
    for (broken, of_score) in [(5, false), (6, false), (6, true), (12, true), (12, false)] {
        let same = || {
            rng::seed(4);
            let (straight, expected) = run("straight", 0, false);
            straight.unwrap();
            rng::seed(4);
            let (stopped, mut found) = run("stopped", broken, of_score);
            assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
            rng::seed(5);
            let (resumed, rest) = run("stopped", 0, false);
            resumed.unwrap();
            found.extend(rest);
            let [a, b] = ["straight", "stopped"].map(|name| {
                let mut values = values(&folder.path().join(name), 12);
                values.retain(|key, _| ["best", "since_best", "ended", "scored"].contains(&key.as_str()));
                format!("{values:?}")
            });
            for name in ["straight", "stopped"] {
                std::fs::remove_dir_all(folder.path().join(name)).unwrap();
            }
            (found, a) == (expected, b)
        };
        // Other tests may draw from the same generator meanwhile, so that not every try counts.
        assert!((0..10).any(|_| same()), "step {broken}");
    }
}

#[test]
fn a_folder_without_its_checkpoints_is_not_trained_over() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = FitOptions { out: out.display().to_string(), checkpoint_every: 6, keep: 1, ..short() };
    train(&model(0), &options).unwrap();
    let there = |name: &str| std::fs::read(out.join(name)).unwrap();
    let before = (there("weights.safetensors"), there("log.csv"));
    std::fs::remove_file(out.join("checkpoints/step-00000012.safetensors")).unwrap();
    let error = train(&model(0), &options).unwrap_err();
    assert!(
        error
            .message()
            .contains("holds a run without the checkpoints of its steps: only `ema.safetensors`, "),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("`from: "), "{error}");
    std::fs::remove_dir_all(out.join("checkpoints")).unwrap();
    let error = train(&model(0), &options).unwrap_err();
    assert!(error.message().ends_with("only `ema.safetensors`, `weights.safetensors`"), "{error}");
    for part in ["`model::open(", "`resume: false`"] {
        assert!(error.hint_text().unwrap().contains(part), "{error}");
    }
    assert_eq!((there("weights.safetensors"), there("log.csv")), before);
    let (run, notes) = told(&FitOptions { resume: false, ..options.clone() });
    assert!(run.is_ok() && notes.is_empty(), "{notes:?}");
    // A run that was killed before its first checkpoint has left its log.
    std::fs::remove_dir_all(out.join("checkpoints")).unwrap();
    for name in ["weights.safetensors", "ema.safetensors"] {
        std::fs::remove_file(out.join(name)).unwrap();
    }
    let (run, notes) = told(&options);
    assert!(
        run.is_ok() && notes[0].contains("the log ends at step 12 of a run that has no checkpoint"),
        "{notes:?}"
    );
}

#[test]
fn weights_of_a_run_that_failed_before_its_first_checkpoint_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions { out: folder.path().display().to_string(), ..short() };
    let net = model(0);
    let weight = net.parameters()[0].1.clone();
    let breaks = function(move |s| {
        if step_of(s) == 5 { weight.fill_(f64::NAN).map(|()| Value::Unit) } else { Ok(Value::Unit) }
    });
    train(&net, &FitOptions { on_step: breaks, ..options.clone() }).unwrap_err();
    assert!(folder.path().join("weights.safetensors").exists());
    let (run, notes) = told(&options);
    assert!(
        notes.len() == 1 && notes[0].contains("of a run that failed before its first checkpoint"),
        "{notes:?}"
    );
    assert_eq!(run.unwrap().losses(), train(&model(0), &short()).unwrap().losses());
    std::fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
    train(&model(0), &options).unwrap_err();
}

#[test]
fn a_run_says_where_it_stops_and_resumes_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let stops = |at: i64| {
        function(move |s| if step_of(s) == at { Err(Error::interrupted()) } else { Ok(Value::Unit) })
    };
    let options = FitOptions { on_step: stops(5), log_every: 2, ..short() };
    let (context, notes) = listening();
    let begin = |options: &FitOptions| fit(&model(0), &two_classes(), options, &context);
    assert_eq!(begin(&options).unwrap_err().kind(), Kind::Interrupted);
    let run = super::super::last(&context).unwrap();
    let straight = train(&model(0), &FitOptions { steps: 5, ..short() }).unwrap();
    assert_eq!((run.losses(), weights(run.ema())), (straight.losses(), weights(straight.ema())));
    assert_eq!(run.history().len(), 2);
    begin(&FitOptions { out: out.clone(), ..options.clone() }).unwrap_err();
    begin(&FitOptions { out, on_step: None, ..options }).unwrap();
    assert!(super::super::last(&context).is_err());
    let checkpoint = folder.path().join("checkpoints/step-00000005.safetensors");
    let checkpoint = checkpoint.display();
    let expected = [
        "stopped after step 5 of 12; `train::last()` is the run so far, with its averages and history"
            .to_string(),
        format!("stopped after step 5 of 12; checkpoint: {checkpoint}; the same call goes on from there"),
        format!("resumes at step 5 of 12 from {checkpoint}"),
    ];
    assert_eq!(*notes.lock().unwrap(), expected);
}

#[test]
fn a_folder_that_goes_away_ends_the_run_and_a_lost_log_is_written_again() {
    let place = tempfile::tempdir().unwrap();
    let (out, away) = (place.path().join("run"), place.path().join("away"));
    let (from, to) = (out.clone(), away.clone());
    let moves = function(move |s| {
        if step_of(s) == 5 {
            std::fs::rename(&from, &to).unwrap();
        }
        Ok(Value::Unit)
    });
    let options = FitOptions { checkpoint_every: 3, log_every: 1, out: out.display().to_string(), ..short() };
    let (run, _) = told(&FitOptions { on_step: moves, ..options.clone() });
    let error = run.map(drop).unwrap_err();
    assert!(error.message().contains("the folder of this run was moved or deleted"), "{error}");
    assert!(!out.exists());
    std::fs::rename(&away, &out).unwrap();
    // The stop is told, and that nothing could be saved.
    let (from, to) = (out.clone(), away.clone());
    let stops = function(move |s| {
        if step_of(s) < 5 {
            return Ok(Value::Unit);
        }
        std::fs::rename(&from, &to).unwrap();
        Err(Error::interrupted())
    });
    let (run, notes) = told(&FitOptions { on_step: stops, ..options.clone() });
    assert_eq!(run.map(drop).unwrap_err().kind(), Kind::Interrupted);
    assert!(notes[1].contains("and its last steps are not saved: ") && !out.exists(), "{notes:?}");
    std::fs::rename(&away, &out).unwrap();
    let log = out.join("log.csv");
    let removes = function(move |s| {
        if step_of(s) == 7 {
            std::fs::remove_file(&log).unwrap();
        }
        Ok(Value::Unit)
    });
    let run = train(&model(0), &FitOptions { on_step: removes, ..options }).unwrap();
    assert_eq!(run.losses(), train(&model(0), &short()).unwrap().losses());
    assert_eq!(std::fs::read_to_string(out.join("log.csv")).unwrap().lines().count(), 13);
}

/// Runs on a thread of its own, without the rights of root, to which all files are writable.
#[cfg(unix)]
fn without_rights<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let own = scope.spawn(|| {
            // SAFETY: it changes the identity of this thread alone, for files.
            unsafe { libc::setfsuid(65534) };
            act()
        });
        own.join().unwrap()
    })
}

#[cfg(unix)]
#[test]
fn a_finished_run_is_returned_from_a_folder_that_cannot_be_written_to() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let options = FitOptions { out: out.display().to_string(), ..short() };
    let run = train(&model(0), &options).unwrap();
    let allow = |mode: u32| {
        for (path, mode) in [(place.path(), 0o755), (&out, mode), (&out.join("checkpoints"), mode)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::set_permissions(out.join("lock"), std::fs::Permissions::from_mode(mode & 0o666)).unwrap();
    };
    allow(0o555);
    let again = without_rights(|| train(&model(0), &options)).unwrap();
    assert_eq!((again.losses(), weights(again.ema())), (run.losses(), weights(run.ema())));
    let error =
        without_rights(|| train(&model(0), &FitOptions { steps: 13, ..options.clone() })).unwrap_err();
    assert!(error.message().ends_with("lock: permission denied"), "{error}");
    assert!(
        error.hint_text().unwrap().starts_with("the run there has made 12 of 13 steps: copy the folder"),
        "{error}"
    );
    allow(0o755);
}

#[test]
fn all_settings_that_differ_are_named_and_nothing_is_said_of_a_refused_run() {
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions { out: folder.path().display().to_string(), ..short() };
    train(&model(0), &options).unwrap();
    let (run, notes) = told(&FitOptions { lr: 1e-3, batch: 4, seed: 3, accept_code: true, ..options });
    let message = run.unwrap_err().message();
    assert!(
        message.contains("`batch` was 8 and is 4; `lr` was 0.003 and is 0.001; `seed` was 0 and is 3"),
        "{message}"
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn gradients_that_are_all_zero_are_noted_once() {
    use crate::declare::IntoValue;
    let zero = Function::new(|values| {
        let s = values[0].downcast::<crate::flow::losses::Step>().unwrap().to_map()?;
        Ok(Tensor::from_value(&s["v"])?.square()?.mean(&[], false)?.mul_scalar(0.0)?.into_value())
    });
    let (run, notes) = told(&FitOptions { loss: zero.into(), ..short() });
    run.unwrap();
    assert!(
        notes.len() == 1 && notes[0].starts_with("all gradients are exactly zero at step 1: "),
        "{notes:?}"
    );
    assert_eq!(told(&short()).1, Vec::<String>::new());
}
