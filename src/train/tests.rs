//! Training runs of a tiny model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::fit::{self, fit};
use super::*;
use crate::context::{Bar, Context, Progress};
use crate::data::{Dataset, FromTensorsOptions, Loader, LoaderOptions, from_tensors};
use crate::declare::{FromValue, Function, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::Kind;
use crate::flow::losses::Step;
use crate::flow::{self, Timesteps};
use crate::model::{Config, Model};
use crate::torch::{DType, Device, Tensor};

pub(super) fn model(seed: i64) -> Model {
    let config = Config {
        image_size: 4,
        patch_size: 2,
        in_channels: 1,
        num_classes: 2,
        depth: 1,
        hidden_size: 16,
        num_heads: 2,
        ..Config::preset("fashion_tiny").unwrap()
    };
    Model::new(config, seed, Device::Cpu).unwrap()
}

/// Returns dark images of class 0 and bright images of class 1.
pub(super) fn two_classes() -> Dataset {
    let labels: Vec<i64> = (0..32).map(|i| i % 2).collect();
    let pixels: Vec<f32> = labels.iter().flat_map(|l| [*l as f32 * 1.6 - 0.8; 16]).collect();
    from_tensors(
        Tensor::from_f32(&pixels, &[32, 1, 4, 4]).unwrap(),
        Tensor::from_i64(&labels, &[32]).unwrap(),
        FromTensorsOptions::default(),
    )
    .unwrap()
}

pub(super) fn short() -> FitOptions {
    FitOptions { steps: 12, batch: 8, lr: 3e-3, ..FitOptions::default() }
}

pub(super) fn train(model: &Model, options: &FitOptions) -> Result<Run> {
    fit(model, &two_classes(), options, &Context::default())
}

pub(super) fn weights(model: &Model) -> Vec<f32> {
    model.parameters().iter().flat_map(|(_, t)| t.to_f32().unwrap()).collect()
}

/// After n updates at decay d, the average of constant ones, started from zeros, is 1 - d^n, for every float dtype.
#[test]
fn averages_of_short_weights_lose_nothing() {
    for dtype in [DType::BFloat16, DType::Float16, DType::Float32] {
        let net = Model::new(Config { dtype, ..model(0).config().unwrap().clone() }, 0, Device::Cpu).unwrap();
        net.parameters().iter().for_each(|(_, p)| p.fill_(0.0).unwrap());
        let ema = Ema::new(&net, 0.999, &EmaOptions::default()).unwrap();
        net.parameters().iter().for_each(|(_, p)| p.fill_(1.0).unwrap());
        for _ in 0..1000 {
            ema.update(&net).unwrap();
        }
        let expected = 1.0 - 0.999f64.powi(1000);
        let found = ema.model().parameters()[0].1.to_f64().unwrap()[0];
        assert!((found - expected).abs() < 0.003, "{dtype:?}: {found}");
        // Averages written from outside are the start of later updates.
        ema.model().parameters().iter().for_each(|(_, p)| p.fill_(3.0).unwrap());
        ema.update(&net).unwrap();
        let found = ema.model().parameters()[0].1.to_f64().unwrap()[0];
        assert!((found - 2.998).abs() < 0.01, "{dtype:?}: {found}");
    }
}

#[test]
fn equal_seeds_give_equal_weights_bit_for_bit_and_others_do_not() {
    let run = |seed| train(&model(1), &FitOptions { seed, ..short() }).unwrap();
    let (a, b, c) = (run(3), run(3), run(4));
    assert_eq!(weights(a.model()), weights(b.model()));
    assert_eq!(weights(a.ema()), weights(b.ema()));
    assert_eq!(a.losses(), b.losses());
    assert_ne!(weights(a.model()), weights(c.model()));
}

#[test]
fn it_learns_and_the_average_samples_the_classes() {
    let options = FitOptions { steps: 250, batch: 32, ..short() };
    let run = train(&model(0), &options).unwrap();
    let first = run.losses()[..10].iter().sum::<f64>() / 10.0;
    assert!(run.loss() < 0.5 * first, "from {first} to {}", run.loss());
    let labels = Tensor::from_i64(&[0, 0, 0, 0, 1, 1, 1, 1], &[8]).unwrap();
    let sample =
        flow::SampleOptions { labels: Some(flow::Labels::Tensor(labels)), steps: 20, ..Default::default() };
    let images = flow::sample::sample(run.ema(), &sample, &Context::default()).unwrap();
    let means = images.mean(&[1, 2, 3], false).unwrap().to_f64().unwrap();
    assert!(means[..4].iter().all(|m| *m < -0.3) && means[4..].iter().all(|m| *m > 0.3), "{means:?}");
}

#[test]
fn the_loop_by_hand_is_the_loop_of_fit() {
    let by_fit = train(&model(0), &short()).unwrap();

    let model = model(0);
    let loader =
        Loader::new(&two_classes(), &LoaderOptions { batch: 8, ..LoaderOptions::default() }).unwrap();
    let rule = AdamWOptions { lr: 3e-3, ..AdamWOptions::default() };
    let optimizer = Optimizer::new(&Parameters::of(&model).unwrap(), &rule).unwrap();
    let ema = Ema::new(&model, 0.9999, &EmaOptions { warmup: true }).unwrap();
    let mut losses = Vec::new();
    for step in 0..12 {
        let generator = step_generator(0, step, Device::Cpu).unwrap();
        let draws = Some(&generator);
        let batch = loader.next().unwrap();
        let t = Tensor::rand(&[8], DType::Float32, Device::Cpu, draws).unwrap();
        let pair = flow::path::pair(&batch.images, &t, None, draws).unwrap();
        let labels = model.drop_labels(&batch.labels, draws).unwrap();
        let loss = flow::loss(model.forward(&pair.x_t, &t, &labels).unwrap(), &pair.target).unwrap();
        optimizer.step(&loss, Some(1.0)).unwrap();
        ema.update(&model).unwrap();
        losses.push(loss.item().unwrap());
    }
    assert_eq!(losses, by_fit.losses());
    assert_eq!(weights(&model), weights(by_fit.model()));
    assert_eq!(weights(&ema.model()), weights(by_fit.ema()));
}

#[test]
fn a_run_writes_its_log_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let options =
        FitOptions { log_every: 5, schedule: Schedule::Cosine, warmup: 2, out: out.clone(), ..short() };
    let run = train(&model(0), &options).unwrap();
    let text = std::fs::read_to_string(format!("{out}/log.csv")).unwrap();
    let steps: Vec<&str> = text.lines().map(|l| l.split(',').next().unwrap()).collect();
    assert_eq!(steps, ["step", "5", "10", "12"]);
    let rows = run.history();
    assert!((rows[0].loss - run.losses()[..5].iter().sum::<f64>() / 5.0).abs() < 1e-12);
    // Updates are numbered from 0, so the row of step 12 has the rate of update 11.
    let expected = schedule::Cosine { warmup: 2, steps: 12, min_ratio: 0.1 }.factor(11) * options.lr;
    assert!((rows[2].lr - expected).abs() < 1e-15);
    for name in ["weights", "ema"] {
        assert!(std::path::Path::new(&format!("{out}/{name}.safetensors")).exists());
    }
    assert!(matches!(run.settings()["batch"], Value::Int(8)));
    assert!(run.settings().values().all(|v| v.to_json().is_some()));
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_update() {
    let model = model(0);
    let bytes = model.parameters()[0].1.clone();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&calls);
    // A weight is broken after step 3, so step 4 has no finite loss.
    let on_step = Function::new(move |values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        heard.lock().unwrap().push(row["step"].clone());
        if heard.lock().unwrap().len() == 3 {
            bytes.fill_(f64::INFINITY)?;
        }
        Ok(Value::Unit)
    });
    let error = train(&model, &FitOptions { on_step: Some(on_step), ..short() }).unwrap_err();
    assert!(error.message().contains("not finite at step 4 of 12: it is "), "{error}");
    assert_eq!(calls.lock().unwrap().len(), 3);
    // All other weights are those of step 3.
    let reference = train(&tests::model(0), &FitOptions { steps: 3, ..short() }).unwrap();
    for ((name, a), (_, b)) in model.parameters().iter().zip(reference.model().parameters()).skip(1) {
        assert!(a.equal(b).unwrap(), "{name}");
    }
}

/// Raises the interrupt at the n-th progress report.
struct StopAt(crate::context::Interrupt, usize, Arc<AtomicUsize>);

impl Progress for StopAt {
    fn start(&self, _: &str, _: u64) -> Box<dyn Bar> {
        Box::new(StopAt(self.0.clone(), self.1, Arc::clone(&self.2)))
    }
}

impl Bar for StopAt {
    fn update(&mut self, done: u64, _: &str) {
        self.2.store(done as usize, Ordering::SeqCst);
        if done as usize == self.1 {
            self.0.raise();
        }
    }
}

#[test]
fn an_interrupt_stops_between_steps_with_the_weights_of_the_last_one() {
    let interrupt = crate::context::Interrupt::default();
    let seen = Arc::new(AtomicUsize::new(0));
    let progress = Arc::new(StopAt(interrupt.clone(), 5, Arc::clone(&seen)));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let stopped = model(0);
    let context = Context { interrupt, progress, ..Context::default() };
    let error =
        fit(&stopped, &two_classes(), &FitOptions { out: out.clone(), ..short() }, &context).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(seen.load(Ordering::SeqCst), 5);
    let reference = train(&model(0), &FitOptions { steps: 5, ..short() }).unwrap();
    assert_eq!(weights(&stopped), weights(reference.model()));
    assert!(folder.path().join("weights.safetensors").exists());
}

#[test]
fn an_interrupt_within_a_step_leaves_the_state_of_some_whole_step() {
    crate::torch::start();
    let options = FitOptions { steps: 1000, ..short() };
    for delay in [2, 5, 9, 16, 30] {
        // The context's own interrupt is never raised, so only libtorch can stop, at any point.
        let interrupt = crate::context::Interrupt::default();
        let raise = interrupt.clone();
        let (stopped, data, steps) = (model(0), two_classes(), Arc::default());
        let progress = Arc::new(StopAt(interrupt.clone(), usize::MAX, Arc::clone(&steps)));
        let user = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(delay));
            raise.raise();
        });
        let guard = crate::torch::interruptible(&interrupt);
        let context = Context { progress, ..Context::default() };
        let error = fit(&stopped, &data, &options, &context).unwrap_err();
        drop(guard);
        user.join().unwrap();
        assert_eq!(error.kind(), Kind::Interrupted);
        // The last step may be complete without having been reported.
        let told = steps.load(Ordering::SeqCst);
        let found = weights(&stopped);
        let matches = (told..=told + 1).any(|steps| match steps {
            0 => found == weights(&model(0)),
            steps => found == weights(train(&model(0), &FitOptions { steps, ..short() }).unwrap().model()),
        });
        assert!(matches, "the weights after {told} steps and {delay} ms are those of no step");
        let run = train(&stopped, &FitOptions { steps: 2, ..short() }).unwrap();
        assert!(run.losses().iter().all(|l| l.is_finite()));
    }
}

#[test]
fn functions_receive_the_entries_that_are_declared() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::<(&str, Vec<String>)>::new()));
    let hears = |name: &'static str, answer: fn(&Map) -> Result<Value>| {
        let seen = Arc::clone(&seen);
        Function::new(move |values| {
            let map = match (&values[0], values[0].downcast::<Step>()) {
                (Value::Map(map), _) => map.clone(),
                (_, step) => step.unwrap().to_map().unwrap(),
            };
            seen.lock().unwrap().push((name, map.keys().cloned().collect()));
            answer(&map)
        })
    };
    let loss = hears("loss", |s| {
        let (v, target) = (Tensor::from_value(&s["v"])?, Tensor::from_value(&s["target"])?);
        Ok(flow::loss(&v, &target)?.into_value())
    });
    let options = FitOptions {
        loss: loss.into(),
        on_step: Some(hears("on_step", |_| Ok(Value::Unit))),
        score: Some(hears("score", |_| Ok(Value::Float(1.0)))),
        loss_bins: 2,
        log_every: 1,
        out: folder.path().display().to_string(),
        ..short()
    };
    train(&model(0), &options).unwrap();
    let seen = seen.lock().unwrap();
    for (name, declared) in
        [("loss", received::LOSS), ("on_step", received::STEP), ("score", received::SCORE)]
    {
        let mut declared: Vec<&str> = declared.iter().map(|(key, _)| *key).collect();
        declared.sort_unstable();
        let heard: Vec<&Vec<String>> =
            seen.iter().filter(|(of, _)| *of == name).map(|(_, keys)| keys).collect();
        assert!(!heard.is_empty(), "{name}");
        assert!(heard.iter().all(|keys| keys.iter().all(|key| declared.contains(&key.as_str()))), "{name}");
        assert!(heard.iter().any(|keys| **keys == declared), "{name}: {:?}", heard[0]);
    }
}

#[test]
fn a_function_may_end_the_run() {
    let on_step = Function::new(|values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        Ok(Value::Bool(!matches!(row["step"], Value::Int(4))))
    });
    let run = train(&model(0), &FitOptions { on_step: Some(on_step), ..short() }).unwrap();
    assert_eq!(run.steps(), 4);
}

#[test]
fn a_function_schedules_the_learning_rate_and_a_run_with_it_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let falls = |values: &[Value]| {
        let Value::Int(step) = values[0] else { unreachable!() };
        Ok(Value::Float(1.0 / (1 + step) as f64))
    };
    let schedule = || Schedule::Function(Function::new(falls));
    let options = FitOptions { schedule: schedule(), warmup: 2, log_every: 1, ..short() };
    let straight = train(&model(0), &options).unwrap();
    let rates: Vec<f64> = straight.history().iter().take(4).map(|row| row.lr / 3e-3).collect();
    for (found, expected) in rates.iter().zip([0.5, 1.0, 1.0 / 3.0, 0.25]) {
        assert!((found - expected).abs() < 1e-12, "{rates:?}");
    }
    let saved = FitOptions { out: folder.path().display().to_string(), ..options.clone() };
    stopped_after(5, &saved);
    let resumed = train(&model(0), &saved).unwrap();
    assert_eq!(weights(resumed.model()), weights(straight.model()));
    let below = Schedule::Function(Function::new(|_| Ok(Value::Float(-1.0))));
    let error = train(&model(0), &FitOptions { schedule: below, warmup: 0, ..short() }).unwrap_err();
    assert_eq!(error.message(), "`schedule` must return a factor of at least 0, found -1 at step 0");
}

#[test]
fn parameters_that_are_no_longer_frozen_are_not_ignored_in_silence() {
    let net = model(0);
    net.freeze(&["blocks.*".to_string()]).unwrap();
    let thawed = net.clone();
    let on_step = Function::new(move |_| thawed.unfreeze(&["*".to_string()]).map(|()| Value::Unit));
    let error = train(&net, &FitOptions { on_step: Some(on_step), ..short() }).unwrap_err();
    assert!(error.message().contains("was frozen when the run began and is not any more"), "{error}");
    // The optimizer of a loop says so once; one that is made afterwards has nothing to say.
    let net = model(0);
    net.freeze(&["blocks.*".to_string()]).unwrap();
    let early = Optimizer::new(&Parameters::of(&net).unwrap(), &AdamWOptions::default()).unwrap();
    net.unfreeze(&["*".to_string()]).unwrap();
    let late = Optimizer::new(&Parameters::of(&net).unwrap(), &AdamWOptions::default()).unwrap();
    let notes = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&notes);
    let note = Arc::new(move |_: &str| {
        told.fetch_add(1, Ordering::Relaxed);
    });
    let context = Context { note, ..Context::default() };
    [&early, &early, &late].into_iter().for_each(|optimizer| optimizer.tell_left_out(&context));
    assert_eq!(notes.load(Ordering::Relaxed), 1);
}

#[test]
fn bfloat16_and_other_times_train_too() {
    let options = FitOptions {
        precision: Precision::BFloat16,
        timesteps: Some(Timesteps::named("logit_normal").unwrap().into()),
        clip: None,
        ..short()
    };
    let run = train(&model(0), &options).unwrap();
    assert!(run.losses().iter().all(|l| l.is_finite()));
    assert!(run.model().parameters().iter().all(|(_, t)| t.dtype() == DType::Float32));
}

#[test]
fn what_does_not_fit_is_named() {
    let images = Tensor::zeros(&[4, 3, 4, 4], DType::Float32, Device::Cpu).unwrap();
    let labels = Tensor::from_i64(&[0, 1, 2, 0], &[4]).unwrap();
    let color = from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap();
    let error = fit(&model(0), &color, &short(), &Context::default()).unwrap_err();
    assert_eq!(error.message(), "the model takes images of shape [1, 4, 4], but tensors has [3, 4, 4]");
    let gray = from_tensors(images.narrow(1, 0, 1).unwrap(), &labels, FromTensorsOptions::default()).unwrap();
    let error = fit(&model(0), &gray, &short(), &Context::default()).unwrap_err();
    assert_eq!(error.message(), "the model knows 2 classes, but tensors has 3");
    let error =
        FitOptions::from_map(&Map::from([("schedule".to_string(), "cosin".into_value())])).unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `cosine`?"));
}

#[test]
fn the_average_of_a_constant_is_constant_and_else_follows_its_decay() {
    let (still, moving) = (model(0), model(0));
    let ema = Ema::new(&still, 0.9, &EmaOptions::default()).unwrap();
    ema.update(&still).unwrap();
    assert_eq!(weights(&ema.model()), weights(&still));

    let weight = &moving.parameters()[0].1;
    let before = weight.to_f64().unwrap()[0];
    weight.fill_(before + 1.0).unwrap();
    let ema = Ema::new(&still, 0.9, &EmaOptions::default()).unwrap();
    ema.update(&moving).unwrap();
    ema.update(&moving).unwrap();
    let after = ema.model().parameters()[0].1.to_f64().unwrap()[0];
    assert!((after - (before + 1.0 - 0.81)).abs() < 1e-6);
    assert_eq!(ema.updates(), 2);
}

#[test]
fn a_warm_average_forgets_its_start_and_later_keeps_the_paper_s_decay() {
    let ema = Ema::new(&model(0), 0.9999, &EmaOptions { warmup: true }).unwrap();
    assert_eq!(ema.decay_at(0), 0.1);
    assert_eq!(ema.decay_at(90), 0.91);
    assert_eq!(ema.decay_at(100_000), 0.9999);
    let plain = Ema::new(&model(0), 0.9999, &EmaOptions::default()).unwrap();
    assert_eq!(plain.decay_at(0), 0.9999);
}

#[test]
fn an_average_of_another_model_is_refused() {
    let ema = Ema::new(&model(0), 0.9, &EmaOptions::default()).unwrap();
    let other =
        Model::new(Config { depth: 2, ..model(0).config().unwrap().clone() }, 0, Device::Cpu).unwrap();
    assert!(ema.update(&other).is_err());
}

/// Runs `options` into its folder and interrupts the run after `steps` steps.
pub(super) fn stopped_after(steps: usize, options: &FitOptions) {
    let interrupt = crate::context::Interrupt::default();
    let progress = Arc::new(StopAt(interrupt.clone(), steps, Arc::default()));
    let context = Context { interrupt, progress, ..Context::default() };
    let error = fit(&model(0), &two_classes(), options, &context).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[test]
fn a_run_that_was_stopped_again_and_again_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions {
        steps: 30,
        batch: 6,
        accumulate: 3,
        flip: true,
        log_every: 4,
        checkpoint_every: 7,
        schedule: Schedule::Cosine,
        warmup: 3,
        ..short()
    };
    let straight = train(&model(0), &options).unwrap();
    let saved = FitOptions { out: folder.path().display().to_string(), ..options };
    for steps in [1, 2, 7, 8, 15, 29] {
        stopped_after(steps, &saved);
    }
    let resumed = train(&model(0), &saved).unwrap();
    assert_eq!(resumed.losses(), straight.losses());
    assert_eq!(weights(resumed.model()), weights(straight.model()));
    assert_eq!(weights(resumed.ema()), weights(straight.ema()));
    let rows =
        |run: &Run| run.history().iter().map(|r| (r.step, r.loss, r.lr, r.grad_norm)).collect::<Vec<_>>();
    assert_eq!(rows(&resumed), rows(&straight));
    // A longer run starts like a shorter one with a constant rate, but not with a cosine.
    let longer = FitOptions { steps: 31, ..saved };
    let error = train(&model(0), &longer).unwrap_err();
    assert!(error.message().contains("`steps` was 30 and is 31"), "{error}");
}

/// Returns a group of the biases with learning rate `lr`.
fn slow_biases(lr: f64) -> Groups {
    let globs = OneOrMany(vec!["*.bias".to_string()]);
    Groups(vec![Group { r#match: globs, lr: Some(lr), ..Group::default() }])
}

#[test]
fn a_run_with_groups_that_was_stopped_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions { schedule: Schedule::Cosine, warmup: 3, groups: slow_biases(1e-4), ..short() };
    let straight = train(&model(0), &options).unwrap();
    assert_ne!(
        weights(straight.model()),
        weights(
            train(&model(0), &FitOptions { groups: Groups::default(), ..options.clone() }).unwrap().model()
        )
    );
    let saved = FitOptions { out: folder.path().display().to_string(), ..options };
    stopped_after(2, &saved);
    stopped_after(7, &saved);
    let error = train(&model(0), &FitOptions { groups: slow_biases(2e-4), ..saved.clone() }).unwrap_err();
    for part in ["`groups` was ", "0.0001", "0.0002"] {
        assert!(error.message().contains(part), "{error}");
    }
    let resumed = train(&model(0), &saved).unwrap();
    assert_eq!(weights(resumed.model()), weights(straight.model()));
    assert_eq!(resumed.losses(), straight.losses());
}

#[test]
fn a_constant_run_can_be_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions { out: folder.path().display().to_string(), ..short() };
    train(&model(0), &options).unwrap();
    let longer = train(&model(0), &FitOptions { steps: 20, ..options.clone() }).unwrap();
    let straight = train(&model(0), &FitOptions { steps: 20, ..short() }).unwrap();
    assert_eq!(weights(longer.ema()), weights(straight.ema()));
    let error = train(&model(0), &FitOptions { steps: 19, ..options }).unwrap_err();
    assert!(error.message().contains("holds a run of 20 steps, which is more than 19"), "{error}");
}

#[test]
fn the_last_checkpoints_and_the_best_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let scores = Mutex::new(vec![3.0, 1.0, 2.0, 5.0]);
    let score = Function::new(move |_| Ok(Value::Float(scores.lock().unwrap().remove(0))));
    let options = FitOptions {
        checkpoint_every: 3,
        keep: 2,
        score: Some(score),
        out: folder.path().display().to_string(),
        ..short()
    };
    train(&model(0), &options).unwrap();
    let there = crate::files::list(folder.path().join("checkpoints")).unwrap();
    assert_eq!(there, ["best.safetensors", "step-00000009.safetensors", "step-00000012.safetensors"]);
    let best = checkpoint::Checkpoint::read(folder.path().join("checkpoints/best.safetensors")).unwrap();
    assert!(matches!(best.values()["step"], Value::Int(6)));
    // Its weights are those of a run of six steps.
    let six = train(&model(0), &FitOptions { steps: 6, ..short() }).unwrap();
    let saved: Vec<f32> =
        six.model().parameters().iter().flat_map(|(n, _)| best.of("model")[n].to_f32().unwrap()).collect();
    assert_eq!(saved, weights(six.model()));
}

#[test]
fn parts_of_a_batch_give_the_gradients_of_the_whole() {
    let run = |accumulate| {
        let options = FitOptions { steps: 3, batch: 8, accumulate, clip: None, ..short() };
        train(&model(0), &options).unwrap()
    };
    let (whole, parts) = (run(1), run(4));
    for (a, b) in whole.losses().iter().zip(parts.losses()) {
        assert!((a - b).abs() < 1e-5 * a.abs(), "{a} and {b}");
    }
    for (a, b) in whole.history().iter().zip(parts.history()) {
        assert!((a.grad_norm - b.grad_norm).abs() < 1e-4 * a.grad_norm, "{a:?} and {b:?}");
    }
    let error = train(&model(0), &FitOptions { batch: 8, accumulate: 3, ..short() }).unwrap_err();
    assert_eq!(error.message(), "`accumulate` must divide `batch`, found 3 and 8");
}

/// Returns a function that breaks a weight after step `at` and repairs it after step `mended`.
fn breaks(weight: Tensor, at: i64, mended: i64) -> Function {
    let kept = Mutex::new(None);
    Function::new(move |values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        let Value::Int(step) = row["step"] else { unreachable!() };
        if step == at {
            *kept.lock().unwrap() = Some(weight.copy()?);
            weight.fill_(f64::NAN)?;
        }
        if step == mended {
            weight.copy_(kept.lock().unwrap().as_ref().unwrap())?;
        }
        Ok(Value::Unit)
    })
}

#[test]
fn batches_that_are_not_finite_are_left_out_counted_and_shown() {
    let net = model(0);
    let on_step = breaks(net.parameters()[0].1.clone(), 4, 6);
    let options = FitOptions { not_finite: NotFinite::Skip, on_step: Some(on_step), ..short() };
    let run = train(&net, &options).unwrap();
    assert_eq!((run.skipped(), run.steps()), (&[5, 6][..], 12));
    assert!(run.losses()[4].is_nan() && run.losses()[6].is_finite() && run.loss().is_finite());
    assert!(format!("{run:?}").contains("skipped  2 batches"), "{run:?}");
    assert!(weights(run.ema()).iter().all(|w| w.is_finite()));

    // Only the two batches are missing: a manual loop without them gives the same bits.
    let by_hand = model(0);
    let loader = two_classes().loader(&LoaderOptions { batch: 8, ..LoaderOptions::default() }).unwrap();
    let rule = AdamWOptions { lr: 3e-3, ..AdamWOptions::default() };
    let optimizer = Optimizer::new(&Parameters::of(&by_hand).unwrap(), &rule).unwrap();
    for step in 0..12 {
        let batch = loader.next().unwrap();
        if [4, 5].contains(&step) {
            continue;
        }
        let generator = step_generator(0, step, Device::Cpu).unwrap();
        let draws = Some(&generator);
        let t = Tensor::rand(&[8], DType::Float32, Device::Cpu, draws).unwrap();
        let pair = flow::path::pair(&batch.images, &t, None, draws).unwrap();
        let labels = by_hand.drop_labels(&batch.labels, draws).unwrap();
        let loss = flow::loss(by_hand.forward(&pair.x_t, &t, &labels).unwrap(), &pair.target).unwrap();
        optimizer.step(&loss, Some(1.0)).unwrap();
    }
    assert_eq!(weights(&by_hand), weights(run.model()));
}

#[test]
fn ten_bad_batches_in_a_row_end_the_run() {
    let net = model(0);
    let on_step = breaks(net.parameters()[0].1.clone(), 2, 999);
    let options = FitOptions { steps: 50, not_finite: NotFinite::Skip, on_step: Some(on_step), ..short() };
    let error = train(&net, &options).unwrap_err();
    assert!(error.message().contains("10 steps in a row, up to step 12,"), "{error}");
}

#[test]
fn a_bad_loss_leaves_the_last_checkpoint_and_the_average_of_the_step_before() {
    let folder = tempfile::tempdir().unwrap();
    let net = model(0);
    let on_step = breaks(net.parameters()[0].1.clone(), 5, 999);
    let options = FitOptions {
        on_step: Some(on_step),
        checkpoint_every: 4,
        out: folder.path().display().to_string(),
        ..short()
    };
    train(&net, &options).unwrap_err();
    let there = crate::files::list(folder.path().join("checkpoints")).unwrap();
    assert_eq!(there, ["best.safetensors", "step-00000004.safetensors"]);
    let five = train(&model(0), &FitOptions { steps: 5, ..short() }).unwrap();
    let average = crate::model::open::open(
        folder.path().join("ema.safetensors"),
        &crate::model::OpenOptions::default(),
        &Context::default(),
    )
    .unwrap();
    assert_eq!(weights(&average), weights(five.ema()));
    // The run resumes from the checkpoint and ends as if uninterrupted.
    let resumed = train(&model(0), &FitOptions { on_step: None, ..options }).unwrap();
    assert_eq!(weights(resumed.model()), weights(train(&model(0), &short()).unwrap().model()));
}

#[test]
fn an_average_moves_by_nothing_where_the_update_was_skipped() {
    let (net, other) = (model(0), model(1));
    let scalar = |x| Tensor::scalar(x, DType::Float32, Device::Cpu).unwrap();
    let averages = [0, 1].map(|_| Ema::new(&net, 0.9, &EmaOptions::default()).unwrap());
    averages[0].update_unless(&scalar(1.0), &other).unwrap();
    assert_eq!(weights(&averages[0].model()), weights(&net));
    averages[0].uncount(1);
    averages[0].update_unless(&scalar(0.0), &other).unwrap();
    averages[1].update(&other).unwrap();
    for (a, b) in weights(&averages[0].model()).iter().zip(weights(&averages[1].model())) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }
    assert_eq!(averages[0].updates(), 1);
}

#[test]
fn a_resumed_run_may_change_what_does_not_change_its_results() {
    let changeable = FitOptions::FIELDS.iter().filter(|option| option.changeable).map(|option| option.name);
    assert_eq!(
        changeable.collect::<Vec<_>>(),
        [
            "log_every",
            "out",
            "tensorboard",
            "checkpoint_every",
            "keep",
            "score",
            "patience",
            "resume",
            "go_on",
            "accept_code",
            "cuda_graph",
            "not_finite",
            "on_step"
        ]
    );
    let settings = fit::settings(&short());
    let check = |options: FitOptions| fit::check_settings(&settings, &fit::settings(&options), &options);
    check(FitOptions { keep: 7, log_every: 3, ..short() }).unwrap();
    let error = check(FitOptions { seed: 9, ..short() }).unwrap_err();
    assert!(error.message().contains("`seed` was 0 and is 9"), "{error}");
    assert!(!settings.contains_key("score") && !settings.contains_key("on_step"));
}
