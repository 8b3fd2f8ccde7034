//! Runs with a user-defined loss and path.

use std::sync::{Arc, Mutex};

use crate::declare::{Code, FromValue, Function, IntoValue, Map, Value, function};
use crate::error::Result;
use crate::flow::losses::Step;
use crate::flow::path::{Predict, Times};
use crate::flow::{self, Loss, Path, PathOptions, Timesteps};
use crate::model::parts::{PartOptions, Place};
use crate::model::{Config, Model, Part};
use crate::nn::{Init, SharedBuilder};
use crate::spectral::{Filter, correction, filter, gate};
use crate::torch::{DType, Device, Generator, Tensor};
use crate::train::fit;
use crate::train::tests::{model, short, stopped_after, train, weights};
use crate::train::{FitOptions, Precision};

fn part(s: &Map, name: &str) -> Tensor {
    s[name].downcast().unwrap()
}

/// Wraps a function of the step's map as a loss.
fn of(loss: impl Fn(&Map) -> Result<Tensor> + Send + Sync + 'static) -> Loss {
    Loss::Function(Function::new(move |values| {
        let step: Step = values[0].downcast().unwrap();
        loss(&step.to_map()?).map(IntoValue::into_value)
    }))
}

fn mse() -> Loss {
    of(|s| flow::loss(part(s, "v"), part(s, "target")))
}

fn tensors(f: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static) -> Option<Function> {
    Some(Function::new(move |values| {
        f(&values.iter().filter_map(Value::downcast).collect::<Vec<_>>()).map(IntoValue::into_value)
    }))
}

/// A path with noise of half the size, an early end, and times near noise.
fn own_path() -> Path {
    let mix = Function::new(|values| {
        let [x1, noise, t] = [0, 1, 2].map(|i| values[i].downcast::<Tensor>().unwrap());
        let pair = flow::path::pair(&x1, &t, Some(&noise), None)?;
        Ok(Value::Map(Map::from([
            ("x_t".to_string(), pair.x_t.mul_scalar(0.9)?.into_value()),
            ("target".to_string(), pair.target.mul_scalar(0.9)?.into_value()),
        ])))
    });
    let times = Function::new(|values| {
        let (Value::Int(count), generator) = (&values[0], values[1].downcast::<Generator>()) else {
            unreachable!()
        };
        Tensor::rand(&[*count], DType::Float32, Device::Cpu, generator.as_ref())?
            .square()
            .map(IntoValue::into_value)
    });
    Path::new(PathOptions {
        noise: tensors(|v| v[0].mul_scalar(0.5)),
        mix: Some(mix),
        times: Some(Times::Function(times)),
        ..PathOptions::default()
    })
    .unwrap()
}

#[test]
fn the_usual_loss_and_path_as_functions_change_no_bit() {
    let usual = train(&model(0), &short()).unwrap();
    let path = Path::new(PathOptions {
        noise: tensors(|v| Ok(v[0].clone())),
        times: Some(Times::Sampler(Timesteps::default())),
        ..PathOptions::default()
    });
    for options in [
        FitOptions { loss: mse(), ..short() },
        FitOptions { path: path.unwrap(), ..short() },
        FitOptions { path: Path::default(), loss: Loss::Mse, ..short() },
    ] {
        let run = train(&model(0), &options).unwrap();
        assert_eq!(run.losses(), usual.losses());
        assert_eq!(weights(run.ema()), weights(usual.ema()));
    }
}

/// A function of `timesteps` draws from the same generator as `times` of a path, and its times are checked.
#[test]
fn a_function_draws_the_times() {
    let drawn = |power: f64| {
        Function::new(move |values| {
            let (count, generator) = (i64::from_value(&values[0])?, values[1].downcast::<Generator>());
            let t = Tensor::rand(&[count], DType::Float32, Device::Cpu, generator.as_ref())?;
            t.pow_scalar(power).map(IntoValue::into_value)
        })
    };
    let run = |times: Function| train(&model(0), &FitOptions { timesteps: Some(times.into()), ..short() });
    assert_eq!(run(drawn(1.0)).unwrap().losses(), train(&model(0), &short()).unwrap().losses());
    let path = Path::new(PathOptions { times: Some(drawn(2.0).into()), ..PathOptions::default() }).unwrap();
    let by_path = train(&model(0), &FitOptions { path, ..short() }).unwrap();
    assert_eq!(run(drawn(2.0)).unwrap().losses(), by_path.losses());
    assert_ne!(by_path.losses(), train(&model(0), &short()).unwrap().losses());
    let error =
        run(Function::new(|_| Ok(Tensor::full(&[8], 1.5, DType::Float32, Device::Cpu)?.into_value())));
    let message = error.unwrap_err().message();
    assert_eq!(message, "`timesteps` must return times from 0, noise, to 1, data, found 1.5");
    let error = run(Function::new(|_| Ok(Value::Int(1)))).unwrap_err().message();
    assert!(error.contains("`timesteps`") && error.contains("tensor [8] float32"), "{error}");
}

#[test]
fn a_loss_sees_all_that_a_step_knows_part_by_part() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let loss = of(move |s| {
        let names: Vec<&str> = s.keys().map(String::as_str).collect();
        let expected =
            "also batch ema fields indices kept model noise pair path row seed step t target v x1 x_t y"
                .split(' ')
                .collect::<Vec<_>>();
        assert_eq!(names, expected);
        let [x_t, x1, noise, t, y] = ["x_t", "x1", "noise", "t", "y"].map(|name| part(s, name));
        assert_eq!((y.shape(), y.dtype()), (vec![4], DType::Int64));
        let pair = flow::path::pair(&x1, &t, Some(&noise), None)?;
        assert!(pair.x_t.equal(&x_t)? && pair.target.equal(&part(s, "target"))?);
        // The model may be called again, here with the same result.
        let net = s["model"].downcast::<Model>().unwrap();
        assert!(net.forward(&x_t, &t, &y)?.equal(&part(s, "v"))?);
        let Value::Int(step) = s["step"] else { unreachable!() };
        let (Value::Int(row), Value::Int(batch)) = (&s["row"], &s["batch"]) else { unreachable!() };
        assert_eq!((row % 4, *batch), (0, 8));
        heard.lock().unwrap().push(step);
        flow::loss(part(s, "v"), part(s, "target"))
    });
    let options = FitOptions { steps: 2, batch: 8, accumulate: 2, ..short() };
    let run = train(&model(0), &FitOptions { loss, ..options.clone() }).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 0, 1, 1]);
    assert_eq!(run.losses(), train(&model(0), &options).unwrap().losses());
}

#[test]
fn a_run_with_functions_that_was_stopped_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions {
        loss: of(|s| part(s, "v").sub(&part(s, "target"))?.abs()?.mean(&[], false)),
        path: own_path(),
        checkpoint_every: 3,
        accumulate: 2,
        ..short()
    };
    let straight = train(&model(0), &options).unwrap();
    assert_ne!(straight.losses(), train(&model(0), &short()).unwrap().losses());
    let saved = FitOptions { out: folder.path().display().to_string(), ..options };
    for steps in [1, 4, 9] {
        stopped_after(steps, &saved);
    }
    let resumed = train(&model(0), &saved).unwrap();
    assert_eq!(resumed.losses(), straight.losses());
    assert_eq!(weights(resumed.model()), weights(straight.model()));
    // Functions without a stored form cannot be compared, but their presence can.
    train(&model(0), &FitOptions { loss: mse(), ..saved.clone() }).unwrap();
    let error = train(&model(0), &FitOptions { loss: Loss::Mse, ..saved.clone() }).unwrap_err();
    assert!(error.message().contains("`loss.kind` was \"function\" and is \"mse\""), "{error}");
    let error = train(&model(0), &FitOptions { path: Path::default(), ..saved }).unwrap_err();
    assert!(error.message().contains("`path.mix` was given before but not now"), "{error}");
}

#[test]
fn code_that_changed_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = |text: &'static str| {
        let function = Function::new(|values| {
            let s = values[0].downcast::<Step>().unwrap().to_map()?;
            flow::loss(part(&s, "v"), part(&s, "target")).map(IntoValue::into_value)
        });
        let pieces = Value::List(vec![Value::Str(text.to_string())]);
        let stored =
            Map::from([("pieces".to_string(), pieces), ("lines".to_string(), vec![1i64].into_value())]);
        let code = move || Ok(Value::Map(stored.clone()));
        let loss = Loss::Function(function.with_code(code));
        train(&model(0), &FitOptions { loss, steps: 4, out: folder.path().display().to_string(), ..short() })
    };
    run("|s| {\n  a\n}").unwrap();
    run("|s| {\n  a\n}").unwrap();
    let error = run("|s| {\n  b\n}").unwrap_err();
    assert!(
        error.message().ends_with("other settings: the code of `loss` changed: line 2 was `a` and is `b`"),
        "{error}"
    );
}

#[test]
fn runs_of_versions_without_these_options_go_on() {
    let mut saved = fit::settings(&short());
    ["groups", "path", "loss"].iter().for_each(|name| assert!(saved.remove(*name).is_some(), "{name}"));
    fit::check_settings(&saved, &fit::settings(&short()), &short()).unwrap();
    let other = FitOptions { loss: mse(), ..short() };
    let error = fit::check_settings(&saved, &fit::settings(&other), &other).unwrap_err();
    assert!(error.message().contains("`loss.kind` was \"mse\" and is \"function\""), "{error}");
}

#[test]
fn losses_that_cannot_be_trained_say_why() {
    let message = |loss: Loss| train(&model(0), &FitOptions { loss, ..short() }).unwrap_err().to_string();
    let expected = "`loss` must return a scalar tensor that records gradients, found a tensor";
    assert!(message(of(|s| part(s, "v").square())).starts_with(&format!("{expected} [8, 1, 4, 4] float32")));
    let told = message(of(|s| part(s, "target").mean(&[], false)));
    assert!(
        told.starts_with(&format!("{expected} [] float32 that records none\nhint: compute it from `s.v`"))
    );
    let told = message(of(|s| part(s, "v").mean(&[], false)?.mul_scalar(f64::NAN)));
    assert!(told.starts_with("the loss is not finite at step 1 of 12"), "{told}");
    let both = FitOptions { path: own_path(), timesteps: Some(Times::default()), ..short() };
    let error = train(&model(0), &both).unwrap_err();
    assert_eq!(error.message(), "give either `timesteps` or `times` of the path, found both");
}

#[test]
fn a_loss_trains_in_bfloat16_and_its_velocity_is_wide() {
    let loss = of(|s| {
        assert_eq!((part(s, "v").dtype(), part(s, "target").dtype()), (DType::Float32, DType::Float32));
        flow::loss(part(s, "v"), part(s, "target"))
    });
    let options = FitOptions { precision: Precision::BFloat16, steps: 3, ..short() };
    let usual = train(&model(0), &options).unwrap();
    let own = train(&model(0), &FitOptions { loss: loss.clone(), ..options.clone() }).unwrap();
    assert_eq!(own.losses(), usual.losses());
    let path = Path::new(PathOptions { predict: Predict::Image, ..PathOptions::default() }).unwrap();
    train(&model(0), &FitOptions { loss, path, ..options }).unwrap();
}

#[test]
fn the_models_of_a_loss_compute_in_the_precision_of_the_run_and_the_average_records_nothing() {
    for precision in [Precision::Float32, Precision::BFloat16] {
        let calls = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&calls);
        let loss = of(move |s| {
            let call = |name: &str| {
                let model: Model = s[name].downcast().unwrap();
                model.forward(&part(s, "x_t"), &part(s, "t"), &part(s, "y"))
            };
            let (v, averaged) = (call("model")?, call("ema")?);
            assert_eq!(v.dtype(), part(s, "v").dtype());
            assert_eq!(v.to_f64()?, part(s, "v").to_f64()?);
            assert!(v.requires_grad() && !averaged.requires_grad());
            *counter.lock().unwrap() += 1;
            flow::loss(v, part(s, "target"))
        });
        let net = model(0);
        let run = train(&net, &FitOptions { loss, precision, ..short() }).unwrap();
        assert!(*calls.lock().unwrap() > 0);
        assert!(run.ema().parameters().iter().all(|(_, p)| p.requires_grad()));
    }
}

#[test]
fn predictions_of_the_image_learn_too() {
    let path = Path::new(PathOptions { predict: Predict::Image, ..PathOptions::default() }).unwrap();
    let run = train(&model(0), &FitOptions { steps: 250, batch: 32, path: path.clone(), ..short() }).unwrap();
    let labels = Tensor::from_i64(&[0, 0, 0, 0, 1, 1, 1, 1], &[8]).unwrap();
    let sample = flow::SampleOptions {
        labels: Some(flow::Labels::Tensor(labels)),
        steps: 20,
        path,
        ..Default::default()
    };
    let images = flow::sample::sample(run.ema(), &sample, &crate::context::Context::default()).unwrap();
    let means = images.mean(&[1, 2, 3], false).unwrap().to_f64().unwrap();
    assert!(means[..4].iter().all(|m| *m < -0.3) && means[4..].iter().all(|m| *m > 0.3), "{means:?}");
}

fn deep(change: impl Fn(Config) -> Config) -> Model {
    let config: Config = model(0).config().unwrap().clone();
    Model::new(change(Config { depth: 3, ..config }), 0, Device::Cpu).unwrap()
}

/// Blocks of every kind, with and without a gate, give equal bits in every precision, and in parts of a batch.
#[test]
fn runs_have_the_same_bits_with_and_without_kept_activations() {
    let plain = || deep(|config| config);
    let wide = || {
        deep(|config| Config {
            mlp: Some(crate::nn::MlpKind::SwiGlu),
            qk_norm: Some(crate::nn::QkNorm::Rms),
            ..config
        })
    };
    let gated = || {
        let low = filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap();
        let gate = gate::time_label(()).unwrap();
        deep(|config| config.with_corrections(vec![correction(&low, gate.clone()).unwrap()]))
    };
    let low_rank = || {
        let make = Function::new(|values| {
            let builder = SharedBuilder::from_value(&values[0])?;
            let (outputs, inputs) = (builder.fact("outputs")?, builder.fact("inputs")?);
            let down = builder.parameter("down", &[2, inputs], Init::KaimingUniform)?;
            let up = builder.parameter("up", &[outputs, 2], Init::Normal(0.1))?;
            Ok(Value::Function(function(move |w: Tensor| w.add(&up.matmul(&down)?))))
        });
        let part = Part::of_code(Code::Live(make), &PartOptions::default()).unwrap();
        deep(|config| config.with_parts(vec![part.at(Place::Weight, None).unwrap()]))
    };
    let models: [(&str, &dyn Fn() -> Model); 4] =
        [("plain", &plain), ("wide", &wide), ("gated", &gated), ("low rank", &low_rank)];
    for (name, make) in models {
        for precision in [Precision::Float32, Precision::BFloat16] {
            for accumulate in [1, 2] {
                let options = FitOptions { steps: 4, precision, accumulate, lr: 1e-2, ..short() };
                let kept = train(&make(), &options).unwrap();
                let options = FitOptions { checkpoint_activations: true, ..options };
                let again = train(&make(), &options).unwrap();
                assert_eq!(again.losses(), kept.losses(), "{name} {precision} {accumulate}");
                assert_eq!(weights(again.model()), weights(kept.model()), "{name} {precision} {accumulate}");
                let norms = |run: &crate::train::Run| {
                    run.history().iter().map(|row| row.grad_norm).collect::<Vec<_>>()
                };
                assert_eq!(norms(&again), norms(&kept), "{name} {precision} {accumulate}");
            }
        }
    }
}

#[test]
fn what_cannot_be_computed_again_is_refused() {
    let options = FitOptions { checkpoint_activations: true, ..short() };
    let bent = Filter::new(filter::Custom::new(|grid| grid.tanh())).unwrap();
    let gate = gate::time(gate::Time::default()).unwrap();
    let code = deep(|config| config.with_corrections(vec![correction(&bent, gate.clone()).unwrap()]));
    let error = train(&code, &options).unwrap_err();
    assert!(
        error
            .message()
            .starts_with("`checkpoint_activations` is for a DiT without code and parts, other than"),
        "{error}"
    );
    let error = train(&model(0), &FitOptions { cuda_graph: true, ..options }).unwrap_err();
    assert!(error.message().starts_with("give either `checkpoint_activations` or `cuda_graph`"), "{error}");
}
