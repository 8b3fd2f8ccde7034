//! Whole runs of a tiny model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::context::{Bar, Context, Progress};
use crate::data::{Dataset, FromTensors, Loader, LoaderOptions, from_tensors};
use crate::declare::{Function, Value};
use crate::error::Kind;
use crate::flow::{self, Timesteps};
use crate::model::{Config, Model};
use crate::torch::{DType, Device, Generator, Tensor};

fn model(seed: i64) -> Model {
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

/// Dark images of class 0 and bright ones of class 1.
fn two_classes() -> Dataset {
    let labels: Vec<i64> = (0..32).map(|i| i % 2).collect();
    let pixels: Vec<f32> = labels.iter().flat_map(|l| [*l as f32 * 1.6 - 0.8; 16]).collect();
    from_tensors(
        &Tensor::from_f32(&pixels, &[32, 1, 4, 4]).unwrap(),
        &Tensor::from_i64(&labels, &[32]).unwrap(),
        &FromTensors::default(),
    )
    .unwrap()
}

fn short() -> Fit {
    Fit { steps: 12, batch: 8, lr: 3e-3, ..Fit::default() }
}

fn train(model: &Model, options: &Fit) -> crate::error::Result<Run> {
    fit(model, &two_classes(), options, &Context::default())
}

fn weights(model: &Model) -> Vec<f32> {
    model.parameters().iter().flat_map(|(_, t)| t.to_f32().unwrap()).collect()
}

#[test]
fn equal_seeds_give_equal_weights_bit_for_bit_and_others_do_not() {
    let run = |seed| train(&model(1), &Fit { seed, ..short() }).unwrap();
    let (a, b, c) = (run(3), run(3), run(4));
    assert_eq!(weights(a.model()), weights(b.model()));
    assert_eq!(weights(a.ema()), weights(b.ema()));
    assert_eq!(a.losses(), b.losses());
    assert_ne!(weights(a.model()), weights(c.model()));
}

#[test]
fn it_learns_and_the_average_samples_the_classes() {
    let options = Fit { steps: 250, batch: 32, ..short() };
    let run = train(&model(0), &options).unwrap();
    let first = run.losses()[..10].iter().sum::<f64>() / 10.0;
    assert!(run.loss() < 0.5 * first, "from {first} to {}", run.loss());
    let labels = Tensor::from_i64(&[0, 0, 0, 0, 1, 1, 1, 1], &[8]).unwrap();
    let sample = flow::Sample { labels: Some(flow::Labels(labels)), steps: 20, ..Default::default() };
    let images = flow::sample(run.ema(), &sample, &Context::default()).unwrap();
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
    let optimizer = AdamW::new(&Parameters::of(&model).unwrap(), &rule).unwrap();
    let ema = Ema::new(&model, 0.9999, &EmaOptions { warmup: true }).unwrap();
    let generator = Generator::new(0, Device::Cpu).unwrap();
    let draws = Some(&generator);
    let mut losses = Vec::new();
    for _ in 0..12 {
        let batch = loader.next().unwrap();
        let t = Tensor::rand(&[8], DType::Float32, Device::Cpu, draws).unwrap();
        let pair = flow::pair(&batch.images, &t, None, draws).unwrap();
        let labels = model.drop_labels(&batch.labels, draws).unwrap();
        let loss = flow::loss(&model.forward(&pair.x_t, &t, &labels).unwrap(), &pair.target).unwrap();
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
    let options = Fit { log_every: 5, schedule: "cosine".into(), warmup: 2, out: out.clone(), ..short() };
    let run = train(&model(0), &options).unwrap();
    let text = std::fs::read_to_string(format!("{out}/log.csv")).unwrap();
    let steps: Vec<&str> = text.lines().map(|l| l.split(',').next().unwrap()).collect();
    assert_eq!(steps, ["step", "5", "10", "12"]);
    let rows = run.history();
    assert!((rows[0].loss - run.losses()[..5].iter().sum::<f64>() / 5.0).abs() < 1e-12);
    // Updates are numbered from 0, so that the row of step 12 has the rate of update 11.
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
    // After step 3 a weight is broken, so step 4 has no finite loss.
    let on_step = Function::new(move |values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        heard.lock().unwrap().push(row["step"].clone());
        if heard.lock().unwrap().len() == 3 {
            bytes.fill_(f64::INFINITY)?;
        }
        Ok(Value::Unit)
    });
    let error = train(&model, &Fit { on_step: Some(on_step), ..short() }).unwrap_err();
    assert!(error.message().contains("not finite at step 4 of 12"), "{error}");
    assert_eq!(calls.lock().unwrap().len(), 3);
    // All other weights are still those of step 3.
    let reference = train(&super::tests::model(0), &Fit { steps: 3, ..short() }).unwrap();
    for ((name, a), (_, b)) in model.parameters().iter().zip(reference.model().parameters()).skip(1) {
        assert!(a.equal(b).unwrap(), "{name}");
    }
}

/// Raises the interrupt at the n-th report of progress.
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
    let error = fit(&stopped, &two_classes(), &Fit { out: out.clone(), ..short() }, &context).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(seen.load(Ordering::SeqCst), 5);
    let reference = train(&model(0), &Fit { steps: 5, ..short() }).unwrap();
    assert_eq!(weights(&stopped), weights(reference.model()));
    assert!(folder.path().join("weights.safetensors").exists());
}

#[test]
fn an_interrupt_within_a_step_leaves_the_state_of_some_whole_step() {
    crate::torch::start();
    let folder = tempfile::tempdir().unwrap();
    let options = Fit { steps: 1000, out: folder.path().display().to_string(), ..short() };
    let average =
        || weights(&crate::model::open(folder.path().join("ema.safetensors"), Device::Cpu).unwrap());
    for delay in [2, 5, 9, 16, 30] {
        // The context itself is never raised, so that only libtorch stops, wherever it is.
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
        // The last step may have been made without being told.
        let told = steps.load(Ordering::SeqCst);
        let found = weights(&stopped);
        let matches = (told..=told + 1).any(|steps| match steps {
            0 => found == weights(&model(0)),
            steps => {
                let run = train(&model(0), &Fit { steps, ..short() }).unwrap();
                found == weights(run.model()) && average() == weights(run.ema())
            }
        });
        assert!(matches, "the weights after {told} steps and {delay} ms are those of no step");
        let run = train(&stopped, &Fit { steps: 2, ..short() }).unwrap();
        assert!(run.losses().iter().all(|l| l.is_finite()));
    }
}

#[test]
fn a_function_may_end_the_run() {
    let on_step = Function::new(|values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        Ok(Value::Bool(!matches!(row["step"], Value::Int(4))))
    });
    let run = train(&model(0), &Fit { on_step: Some(on_step), ..short() }).unwrap();
    assert_eq!(run.steps(), 4);
}

#[test]
fn bfloat16_and_other_times_train_too() {
    let options = Fit {
        precision: "bfloat16".into(),
        timesteps: Timesteps::named("logit_normal").unwrap(),
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
    let colour = from_tensors(&images, &labels, &FromTensors::default()).unwrap();
    let error = fit(&model(0), &colour, &short(), &Context::default()).unwrap_err();
    assert_eq!(error.message(), "the model takes images of shape [1, 4, 4], but tensors has [3, 4, 4]");
    let grey = from_tensors(&images.narrow(1, 0, 1).unwrap(), &labels, &FromTensors::default()).unwrap();
    let error = fit(&model(0), &grey, &short(), &Context::default()).unwrap_err();
    assert_eq!(error.message(), "the model knows 2 classes, but tensors has 3");
    let error = train(&model(0), &Fit { schedule: "cosin".into(), ..short() }).unwrap_err();
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
    let other = Model::new(Config { depth: 2, ..model(0).config().clone() }, 0, Device::Cpu).unwrap();
    assert!(ema.update(&other).is_err());
}
