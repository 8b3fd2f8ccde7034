//! Sampling: reproducibility, guidance and rejected options.

use std::sync::{Arc, Mutex};

use super::*;
use crate::declare::{Choice, IntoValue, Value};
use crate::flow::{PathOptions, Solver, path::Predict};
use crate::model::{Config, Family};
use crate::torch::{Device, Generator};

pub(in crate::flow) fn model() -> Model {
    of_family(Family::SpectralDit, None)
}

fn of_family(family: Family, learn_sigma: Option<bool>) -> Model {
    let config = Config {
        family,
        learn_sigma,
        image_size: 4,
        patch_size: 2,
        in_channels: 1,
        num_classes: 3,
        depth: 1,
        hidden_size: 16,
        num_heads: 2,
        ..Config::preset("fashion_tiny").unwrap()
    };
    let model = Model::new(config, 0, Device::Cpu).unwrap();
    // A new model returns zero everywhere; this one depends on time and label.
    let generator = Generator::new(9, Device::Cpu).unwrap();
    for (_, p) in model.parameters() {
        let values = Tensor::randn(&p.shape(), DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        p.copy_(&values.mul_scalar(0.2).unwrap()).unwrap();
    }
    model
}

pub(super) fn of(labels: &[i64]) -> SampleOptions {
    let labels = Tensor::from_i64(labels, &[labels.len() as i64]).unwrap();
    SampleOptions { labels: Some(Labels::Tensor(labels)), steps: 4, ..SampleOptions::default() }
}

pub(super) fn run(options: &SampleOptions) -> Result<Tensor> {
    sample(&model(), options, &Context::default())
}

#[test]
fn the_result_does_not_depend_on_how_it_is_divided() {
    let options = SampleOptions { guidance: 1.7, sampler: Solver::Heun.into(), ..of(&[0, 1, 2, 3, 1]) };
    let whole = run(&options).unwrap();
    assert_eq!(whole.shape(), [5, 1, 4, 4]);
    let parts = run(&SampleOptions { batch: Some(2), ..options }).unwrap();
    assert!(whole.allclose(&parts, 1e-5, 1e-6).unwrap());
    assert!(!whole.requires_grad());
}

#[test]
fn guidance_by_a_null_label_that_no_training_sees_is_noted_once() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notes);
    let note = Arc::new(move |text: &str| told.lock().unwrap().push(text.to_string()));
    let context = Context { note, ..Context::default() };
    let guided = SampleOptions { guidance: 3.0, ..of(&[0]) };
    let config = Config { class_dropout_prob: 0.0, ..model().config().unwrap().clone() };
    let never = Model::new(config, 0, Device::Cpu).unwrap();
    sample(&model(), &guided, &context).unwrap();
    sample(&never, &of(&[0]), &context).unwrap();
    sample(&never, &SampleOptions { autoguidance: Some(model()), ..guided.clone() }, &context).unwrap();
    assert!(notes.lock().unwrap().is_empty());
    sample(&never, &guided, &context).unwrap();
    sample(&never, &guided, &context).unwrap();
    let notes = notes.lock().unwrap();
    assert!(notes.len() == 1 && notes[0].contains("`class_dropout_prob: 0.0`"), "{notes:?}");
}

#[test]
fn the_seed_or_the_noise_fixes_the_result() {
    let options = of(&[0, 1]);
    let a = run(&options).unwrap();
    assert!(a.equal(&run(&options).unwrap()).unwrap());
    assert!(!a.equal(&run(&SampleOptions { seed: 1, ..options.clone() }).unwrap()).unwrap());
    let generator = Generator::new(0, Device::Cpu).unwrap();
    let noise = Tensor::randn(&[2, 1, 4, 4], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    assert!(a.equal(&run(&SampleOptions { noise: Some(noise), seed: 5, ..options }).unwrap()).unwrap());
}

#[test]
fn guidance_acts_within_its_interval_alone() {
    let at = |guidance, interval| {
        run(&SampleOptions { guidance, guidance_interval: interval, clamp: false, ..of(&[0, 1]) }).unwrap()
    };
    // Steps start at 0, 0.25, 0.5 and 0.75.
    assert!(at(3.0, (0.8, 1.0)).equal(&at(1.0, (0.0, 1.0))).unwrap());
    assert!(!at(3.0, (0.7, 1.0)).equal(&at(1.0, (0.0, 1.0))).unwrap());
}

#[test]
fn the_ends_of_the_interval_are_guided_although_times_are_rounded() {
    let guided = |options: SampleOptions| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&seen);
        let guide = function(move |v| {
            heard.lock().unwrap().push(v[3].to_f64()?[0]);
            Ok(v[0].clone())
        });
        run(&SampleOptions { guide, ..options }).unwrap();
        seen.lock().unwrap().clone()
    };
    let options = SampleOptions { steps: 10, guidance_interval: (0.3, 0.7), ..of(&[0]) };
    let expected = [0.3, 0.4, 0.5, 0.6, 0.7].map(|t: f32| f64::from(t));
    assert_eq!(guided(options.clone()), expected);
    let times = (0..=10).map(|i| f64::from(i) * 0.1).collect();
    assert_eq!(guided(SampleOptions { times, ..options.clone() }), expected);
    // An end that a shift moves.
    let shifted = SampleOptions { shift: 3.0, guidance_interval: (0.7 / 1.6, 1.0), ..options };
    assert_eq!(guided(shifted).len(), 9 - 6);
}

#[test]
fn noise_of_ones_own_is_refused_where_the_score_is_needed() {
    let noise = || function(|v| v[0].mul_scalar(2.0));
    let of_predict = |predict: &str| {
        let predict = Predict::named(predict).unwrap();
        Path::new(PathOptions { noise: noise(), predict, ..PathOptions::default() }).unwrap()
    };
    for sampler in [Solver::EulerMaruyama, Solver::SdeHeun] {
        let error =
            run(&SampleOptions { sampler: sampler.into(), path: of_predict("v"), ..of(&[0]) }).unwrap_err();
        let expected = format!(
            "a path with `noise` has noise of another distribution, whose score is not known, and `{sampler}` needs it"
        );
        assert_eq!(error.message(), expected);
        assert!(error.hint_text().unwrap().contains("`heun`"), "{error}");
    }
    run(&SampleOptions { sampler: Solver::Heun.into(), path: of_predict("v"), ..of(&[0]) }).unwrap();
    let public = of_family(Family::Dit, None);
    for (sampler, eta, refused) in
        [(Solver::Ddpm, 0.0, true), (Solver::Ddim, 0.5, true), (Solver::Ddim, 0.0, false)]
    {
        let options = SampleOptions { sampler: sampler.into(), eta, path: of_predict("ddpm"), ..of(&[0]) };
        assert_eq!(sample(&public, &options, &Context::default()).is_err(), refused, "{sampler} {eta}");
    }
}

#[test]
fn clamping_holds_images_within_their_range() {
    let wild = SampleOptions { guidance: 40.0, ..of(&[0, 1]) };
    let largest =
        |o: &SampleOptions| run(o).unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap();
    assert!(largest(&wild) <= 1.0);
    assert!(largest(&SampleOptions { clamp: false, ..wild }) > 1.0);
}

#[test]
fn wrong_requests_say_what_would_do() {
    let message = |o: &SampleOptions| run(o).unwrap_err().message();
    assert!(message(&SampleOptions::default()).starts_with("option `labels` is missing"));
    assert_eq!(message(&of(&[0, 4])), "label 4 is out of range: expected 0 to 2, or 3 for no class");
    let noise = Some(Tensor::zeros(&[1, 1, 4, 4], DType::Float32, Device::Cpu).unwrap());
    assert_eq!(
        message(&SampleOptions { noise, ..of(&[0, 1]) }),
        "expected noise of shape [2, 1, 4, 4], one image per label, found [1, 1, 4, 4]"
    );
    assert!(message(&SampleOptions { steps: 0, ..of(&[0]) }).contains("`steps` must be from 1 to 1000000"));
}

#[test]
fn an_interrupt_stops_between_evaluations() {
    let context = Context::default();
    context.interrupt.raise();
    let error = sample(&model(), &of(&[0]), &context).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Interrupted);
}

pub(super) fn function(f: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static) -> Option<Function> {
    Some(Function::new(move |values| {
        f(&values.iter().filter_map(Value::downcast).collect::<Vec<_>>()).map(IntoValue::into_value)
    }))
}

/// Returns a path with this prediction.
fn predicting(predict: &str) -> Path {
    Path::new(PathOptions { predict: Predict::named(predict).unwrap(), ..PathOptions::default() }).unwrap()
}

#[test]
fn the_default_path_changes_no_bit() {
    let options = SampleOptions { guidance: 1.7, sampler: Solver::Heun.into(), ..of(&[0, 1, 2]) };
    let plain = run(&options).unwrap();
    assert!(plain.equal(&run(&SampleOptions { path: predicting("v"), ..options }).unwrap()).unwrap());
}

#[test]
fn a_guide_with_the_usual_formula_is_the_usual_guidance() {
    let options = SampleOptions { clamp: false, guidance_interval: (0.2, 0.7), ..of(&[0, 1, 2]) };
    let usual = run(&SampleOptions { guidance: 2.5, ..options.clone() }).unwrap();
    let guide = function(|v| v[1].add(&v[0].sub(&v[1])?.mul_scalar(2.5)?));
    let own = run(&SampleOptions { guide: guide.clone(), ..options.clone() }).unwrap();
    assert!(own.allclose(&usual, 1e-5, 1e-5).unwrap());
    let error = run(&SampleOptions { guide, guidance: 2.0, ..options }).unwrap_err();
    assert!(error.message().starts_with("give either `guidance`"), "{error}");
}

#[test]
fn a_guide_sees_both_velocities_the_state_and_the_times() {
    let guide = Function::new(|values| {
        let seen: Vec<String> =
            values.iter().filter_map(Value::downcast::<Tensor>).map(|t| t.signature()).collect();
        let image = "tensor [2, 1, 4, 4] float32";
        assert_eq!(seen, [image, image, image, "tensor [2] float32"]);
        Ok(values[0].clone())
    });
    // A scale of 1 returns the velocity for the labels alone.
    let found = run(&SampleOptions { guide: Some(guide), ..of(&[0, 1]) }).unwrap();
    assert!(found.allclose(&run(&of(&[0, 1])).unwrap(), 1e-5, 1e-6).unwrap());
}

#[test]
fn a_velocity_and_a_state_can_be_changed_in_each_step() {
    let noise = Tensor::full(&[1, 1, 4, 4], 0.25, DType::Float32, Device::Cpu).unwrap();
    let options = SampleOptions { noise: Some(noise.clone()), clamp: false, ..of(&[0]) };
    let still =
        run(&SampleOptions { velocity: function(|v| v[0].mul_scalar(0.0)), ..options.clone() }).unwrap();
    assert!(still.equal(&noise).unwrap());
    // A velocity of 4 t moves by 4 (0 + 1/4 + 2/4 + 3/4) / 4.
    let times = function(|v| v[0].mul_scalar(0.0)?.add(&v[2].mul_scalar(4.0)?.reshape(&[-1, 1, 1, 1])?));
    let moved = run(&SampleOptions { velocity: times, ..options.clone() }).unwrap();
    assert!(moved.allclose(&noise.add_scalar(1.5).unwrap(), 1e-6, 1e-6).unwrap());
    // The state after each step is its time, so that the last one is 1.
    let keep = function(|v| v[0].mul_scalar(0.0)?.add(&v[1].reshape(&[-1, 1, 1, 1])?));
    let kept = run(&SampleOptions { keep, ..options }).unwrap();
    assert_eq!(kept.to_f32().unwrap(), [1.0; 16]);
}

#[test]
fn with_keep_all_images_are_there_at_once() {
    let labels = vec![0; 40];
    let keep = |count: i64| {
        function(move |v| {
            assert_eq!(v[0].shape()[0], count);
            Ok(v[0].clone())
        })
    };
    let options = SampleOptions { steps: 1, ..of(&labels) };
    run(&SampleOptions { keep: keep(40), ..options.clone() }).unwrap();
    run(&SampleOptions { keep: keep(20), batch: Some(20), ..options }).unwrap();
}

#[test]
fn a_start_is_gone_on_from_and_back_to() {
    let options = SampleOptions { steps: 64, sampler: Solver::Rk4.into(), clamp: false, ..of(&[0, 1]) };
    let end = run(&options).unwrap();
    let half = run(&SampleOptions { to: 0.5, steps: 32, ..options.clone() }).unwrap();
    let rest = SampleOptions { start: Some(half), from: 0.5, steps: 32, ..options.clone() };
    assert!(run(&rest).unwrap().allclose(&end, 1e-4, 1e-4).unwrap());
    // Integrates back to the noise, which lies outside [-1, 1].
    let back =
        run(&SampleOptions { start: Some(end), from: 1.0, to: 0.0, clamp: true, ..options.clone() }).unwrap();
    let noise = Tensor::randn(
        &[2, 1, 4, 4],
        DType::Float32,
        Device::Cpu,
        Some(&Generator::new(0, Device::Cpu).unwrap()),
    );
    assert!(back.allclose(&noise.unwrap(), 1e-3, 1e-3).unwrap());

    let message = |o: SampleOptions| run(&o).unwrap_err().message();
    let start = Some(Tensor::zeros(&[2, 1, 4, 4], DType::Float32, Device::Cpu).unwrap());
    assert!(message(SampleOptions { from: 0.5, ..options.clone() }).contains("`from: 0.5` needs `start`"));
    assert!(
        message(SampleOptions { from: 1.0, start: start.clone(), ..options.clone() }).contains("must differ")
    );
    let both = SampleOptions { noise: start.clone(), start, ..options.clone() };
    assert_eq!(message(both), "give either `start` or `noise`, found both");
    let one = Tensor::zeros(&[1, 1, 4, 4], DType::Float32, Device::Cpu).unwrap();
    assert_eq!(
        message(SampleOptions { start: Some(one), ..options }),
        "expected a `start` of shape [2, 1, 4, 4], one image per label, found [1, 1, 4, 4]"
    );
}

#[test]
fn a_path_makes_the_starting_noise_and_says_what_the_model_predicts() {
    let noise = function(|v| {
        assert_eq!(v.len(), 1);
        v[0].mul_scalar(0.5)
    });
    let path = Path::new(PathOptions { noise, ..PathOptions::default() }).unwrap();
    let made = run(&SampleOptions { path, ..of(&[0, 1]) }).unwrap();
    let generator = Generator::new(0, Device::Cpu).unwrap();
    let z = Tensor::randn(&[2, 1, 4, 4], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    let half = Some(z.mul_scalar(0.5).unwrap());
    assert!(made.equal(&run(&SampleOptions { noise: half, ..of(&[0, 1]) }).unwrap()).unwrap());

    // One step from 0 divides by 1 and reaches the predicted image.
    let options = SampleOptions { steps: 1, clamp: false, path: predicting("x"), ..of(&[0, 1]) };
    let model = model();
    let labels = Tensor::from_i64(&[0, 1], &[2]).unwrap();
    let t = Tensor::zeros(&[2], DType::Float32, Device::Cpu).unwrap();
    let predicted = model.forward(&z, &t, &labels).unwrap();
    let found = sample(&model, &options, &Context::default()).unwrap();
    assert!(found.allclose(&predicted.detach().unwrap(), 1e-5, 1e-5).unwrap());
    let guided = run(&SampleOptions { guidance: 3.0, path: predicting("noise"), ..of(&[0, 1]) }).unwrap();
    assert!(guided.isfinite().unwrap().all(&[], false).unwrap().item().unwrap() == 1.0);
}

#[test]
fn what_functions_give_is_checked() {
    let row = || function(|v| v[0].narrow(2, 0, 1));
    let message = |o: SampleOptions| run(&o).unwrap_err().message();
    for (name, options) in [
        ("guide", SampleOptions { guide: row(), ..of(&[0]) }),
        ("velocity", SampleOptions { velocity: row(), ..of(&[0]) }),
        ("keep", SampleOptions { keep: row(), ..of(&[0]) }),
    ] {
        assert_eq!(
            message(options),
            format!(
                "`{name}` must return a tensor [1, 1, 4, 4] float32, found a tensor [1, 1, 1, 4] float32"
            )
        );
    }
    let nothing = Some(Function::new(|_| Ok(Value::Unit)));
    assert_eq!(
        message(SampleOptions { keep: nothing, ..of(&[0]) }),
        "`keep`: expected a tensor [1, 1, 4, 4] float32, found `()`"
    );
}

/// Largest difference between two results.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    a.sub(b).unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap()
}

#[test]
fn every_sampler_gives_each_image_whatever_is_sampled_with_it() {
    for sampler in Solver::ALL.iter().copied() {
        let discrete = matches!(sampler.scheme(), Scheme::Discrete { .. });
        let model = if discrete { of_family(Family::Dit, None) } else { model() };
        let run = |options: &SampleOptions| sample(&model, options, &Context::default());
        let options = SampleOptions {
            sampler: sampler.into(),
            path: if discrete { predicting("ddpm") } else { Path::default() },
            clip_denoised: discrete,
            eta: if sampler == Solver::Ddim { 0.5 } else { 0.0 },
            steps: 6,
            guidance: 1.7,
            guidance_interval: (0.1, 0.8),
            rtol: if sampler.has_given_steps() { 1e-3 } else { 1e-4 },
            ..of(&[0, 1, 2, 3, 1])
        };
        let whole = run(&options).unwrap();
        let parts = run(&SampleOptions { batch: Some(2), ..options.clone() }).unwrap();
        assert!(apart(&whole, &parts) < 2e-4, "{sampler}: {}", apart(&whole, &parts));
        let seeds = SampleOptions { seeds: vec![7, 8, 9, 10, 7], ..options.clone() };
        let many = run(&seeds).unwrap();
        let one = run(&SampleOptions {
            seeds: vec![],
            seed: 9,
            ..SampleOptions { labels: of(&[2]).labels, ..options }
        });
        assert!(apart(&many.narrow(0, 2, 1).unwrap(), &one.unwrap()) < 2e-4, "{sampler}");
        assert!(apart(&many.narrow(0, 1, 1).unwrap(), &many.narrow(0, 4, 1).unwrap()) > 1e-3, "{sampler}");
    }
}

#[test]
fn adaptive_samplers_come_to_the_result_of_many_steps_and_say_their_cost() {
    let exact =
        run(&SampleOptions { sampler: Solver::Rk4.into(), steps: 100, clamp: false, ..of(&[0, 1]) }).unwrap();
    for sampler in [Solver::Dopri5, Solver::AdaptiveHeun] {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let heard = notes.clone();
        let context = Context {
            note: Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_string())),
            ..Context::default()
        };
        let options = SampleOptions { sampler: sampler.into(), rtol: 1e-4, clamp: false, ..of(&[0, 1]) };
        let found = sample(&model(), &options, &context).unwrap();
        assert!(apart(&found, &exact) < 2e-3, "{sampler}: {}", apart(&found, &exact));
        let notes = notes.lock().unwrap().join(" ");
        assert!(notes.contains(&format!("{sampler} took ")) && notes.contains("evaluations"), "{notes}");
    }
}

#[test]
fn no_adaptive_step_crosses_an_end_of_the_guidance_interval() {
    for sampler in [Solver::Dopri5, Solver::AdaptiveHeun] {
        for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
            let at = |rtol: f64, cut: &[f64]| {
                let options = SampleOptions {
                    sampler: sampler.into(),
                    rtol,
                    atol: 1e-6,
                    guidance: 4.0,
                    clamp: false,
                    ..of(&[0, 1])
                };
                let noise = Draws::new((0, &[]), 2, [1, 4, 4]).draw(None, 0, 2).unwrap();
                let Some(cut) = Some(cut).filter(|cut| !cut.is_empty()) else {
                    let guided = SampleOptions { guidance_interval: (0.2, 0.7), ..options };
                    return run(&SampleOptions { start: Some(noise), from, to, ..guided }).unwrap();
                };
                cut.windows(2).fold(noise, |x, ends| {
                    let guidance = if (0.2..0.7).contains(&(0.5 * (ends[0] + ends[1]))) { 4.0 } else { 1.0 };
                    let options = SampleOptions { guidance, ..options.clone() };
                    run(&SampleOptions { start: Some(x), from: ends[0], to: ends[1], ..options }).unwrap()
                })
            };
            let cut = if from < to { [0.0, 0.2, 0.7, 1.0] } else { [1.0, 0.7, 0.2, 0.0] };
            assert!(apart(&at(1e-2, &[]), &at(1e-2, &cut)) < 1e-5, "{sampler} from {from} to {to}");
        }
    }
}

#[test]
fn times_of_ones_own_and_shifted_ones_are_stepped_over() {
    let options = SampleOptions { steps: 4, ..of(&[0, 1]) };
    let equal = run(&options).unwrap();
    let own = SampleOptions { times: vec![0.0, 0.25, 0.5, 0.75, 1.0], ..options.clone() };
    assert!(apart(&run(&own).unwrap(), &equal) < 1e-6);
    let shifted = run(&SampleOptions { shift: 3.0, ..options.clone() }).unwrap();
    let times: Vec<f64> = (0..5).map(|i| f64::from(i) / 4.0).map(|t| t / (3.0 - 2.0 * t)).collect();
    assert!(apart(&run(&SampleOptions { times, ..options.clone() }).unwrap(), &shifted) < 1e-6);
    assert!(apart(&shifted, &equal) > 1e-4);
    let message = |o: SampleOptions| run(&o).unwrap_err().message();
    let both = SampleOptions { times: vec![0.0, 1.0], steps: 1, shift: 2.0, ..options.clone() };
    assert_eq!(message(both), "give either `times`, or `from`, `to` and `shift`");
    let adaptive = SampleOptions { times: vec![0.0, 1.0], sampler: Solver::Dopri5.into(), ..options };
    assert_eq!(message(adaptive), "`times` needs a sampler with given steps, and `dopri5` chooses its own");
}

#[test]
fn a_scale_for_each_image_and_guided_channels() {
    let options = SampleOptions { clamp: false, ..of(&[0, 1]) };
    let each = run(&SampleOptions { guidances: vec![1.0, 3.0], ..options.clone() }).unwrap();
    for (row, guidance) in [(0, 1.0), (1, 3.0)] {
        let all = run(&SampleOptions { guidance, ..options.clone() }).unwrap();
        assert!(apart(&each.narrow(0, row, 1).unwrap(), &all.narrow(0, row, 1).unwrap()) < 1e-5, "{row}");
    }
    let one = run(&SampleOptions { guidance: 3.0, guidance_channels: Some(1), ..options.clone() }).unwrap();
    assert!(apart(&one, &run(&SampleOptions { guidance: 3.0, ..options.clone() }).unwrap()) < 1e-5);
    let message = run(&SampleOptions { guidances: vec![1.0], ..options }).unwrap_err().message();
    assert_eq!(message, "`guidances` must have one entry per label, 2, found 1");
}

#[test]
fn a_model_that_guides_itself_is_the_model_and_a_weaker_one_is_extrapolated() {
    let options = SampleOptions { clamp: false, steps: 1, ..of(&[0, 1]) };
    let plain = run(&options).unwrap();
    let same = SampleOptions { autoguidance: Some(model()), guidance: 2.0, ..options.clone() };
    assert!(apart(&run(&same).unwrap(), &plain) < 1e-5);
    // A new model returns zero, so the velocity is doubled.
    let weak = Model::new(model().config().unwrap().clone(), 0, Device::Cpu).unwrap();
    let doubled = run(&SampleOptions { autoguidance: Some(weak), guidance: 2.0, ..options.clone() }).unwrap();
    let still = run(&SampleOptions { velocity: function(|v| v[0].mul_scalar(0.0)), ..options }).unwrap();
    let expected = still.add(&plain.sub(&still).unwrap().mul_scalar(2.0).unwrap()).unwrap();
    assert!(apart(&doubled, &expected) < 1e-5);
}

/// Integrates the stochastic equation for data with mean 1 and standard deviation 0.5, whose velocity is known.
fn gaussian(noise: sde::Noise, times: &[f64]) -> (f64, f64) {
    let path = noise.path;
    let (mean, deviation) = (1.0, 0.5);
    let count = 4000;
    let draw = |step: Option<usize>| Draws::new((3, &[]), count, [1, 1, 1]).draw(step, 0, count).unwrap();
    let mut velocity = |x: &Tensor, t: f64| {
        let [alpha, sigma, d_alpha, d_sigma] = path.slopes(t)?;
        let variance = (alpha * deviation).powi(2) + sigma * sigma;
        let slope = (alpha * d_alpha * deviation * deviation + sigma * d_sigma) / variance;
        x.sub_scalar(alpha * mean)?.mul_scalar(slope)?.add_scalar(d_alpha * mean)
    };
    let end = noise
        .run(&draw(None), times, &mut velocity, &|step| Ok(draw(Some(step))), &mut |_, x| Ok(x))
        .unwrap();
    (end.mean(&[], false).unwrap().item().unwrap(), end.std(&[], true, false).unwrap().item().unwrap())
}

#[test]
fn stochastic_samplers_reach_the_distribution_of_the_data() {
    use crate::flow::path::Interpolant;
    for interpolant in Interpolant::ALL.iter().copied() {
        let path = Path::new(PathOptions { interpolant, ..PathOptions::default() }).unwrap();
        for diffusion in Diffusion::ALL.iter().copied() {
            for heun in [false, true] {
                for last in [LastStep::Mean, LastStep::Euler] {
                    let noise = sde::Noise { path: &path, heun, diffusion, norm: 0.7, last };
                    let mut times = grid::steps(0.002, 0.99, 120, 1.0);
                    times.push(1.0);
                    let (mean, deviation) = gaussian(noise, &times);
                    assert!(
                        (mean - 1.0).abs() < 0.04 && (deviation - 0.5).abs() < 0.03,
                        "{interpolant} {diffusion} {heun} {last}: {mean} {deviation}"
                    );
                }
            }
        }
    }
}

#[test]
fn without_diffusion_the_stochastic_samplers_are_those_of_the_flow() {
    let times = [0.0, 0.25, 0.5, 0.75, 1.0];
    for (stochastic, fixed) in [(Solver::EulerMaruyama, Solver::Euler), (Solver::SdeHeun, Solver::Heun)] {
        let options = SampleOptions { times: times.to_vec(), clamp: false, ..of(&[0, 1]) };
        let flow = run(&SampleOptions { sampler: fixed.into(), ..options.clone() }).unwrap();
        let still = SampleOptions {
            sampler: stochastic.into(),
            diffusion_norm: 0.0,
            last_step: LastStep::None,
            ..options
        };
        assert!(apart(&run(&still).unwrap(), &flow) < 1e-4, "{stochastic}");
    }
}

#[test]
fn tweedies_last_step_is_the_expected_image() {
    let path = Path::default();
    let noise = sde::Noise {
        path: &path,
        heun: false,
        diffusion: Diffusion::Sigma,
        norm: 1.0,
        last: LastStep::Tweedie,
    };
    let x = Tensor::from_f64(&[0.7], &[1, 1, 1, 1]).unwrap();
    let mut velocity = |x: &Tensor, _: f64| x.mul_scalar(0.0)?.add_scalar(2.0);
    let draw = |_: usize| unreachable!();
    let end = noise.run(&x, &[0.9, 1.0], &mut velocity, &draw, &mut |_, x| Ok(x)).unwrap();
    // A velocity of 2 at 0.9 leads to 0.7 + 0.1 * 2 on the straight path.
    assert!((end.item().unwrap() - 0.9).abs() < 1e-12);
}

#[test]
fn contradictions_of_stochastic_samplers_are_named() {
    let message = |o: SampleOptions| run(&o).unwrap_err().message();
    let options = SampleOptions { sampler: Solver::EulerMaruyama.into(), ..of(&[0]) };
    let back = SampleOptions { times: vec![1.0, 0.0], ..options.clone() };
    assert_eq!(message(back), "`euler_maruyama` runs from noise to data, found times from 1 to 0");
    let noise = Some(Tensor::zeros(&[1, 1, 1, 4, 4], DType::Float32, Device::Cpu).unwrap());
    let short = SampleOptions { step_noise: noise.clone(), ..options };
    assert_eq!(message(short), "`step_noise` must be [3, 1, 1, 4, 4], found tensor [1, 1, 1, 4, 4] float32");
    let fixed = SampleOptions { step_noise: noise, ..of(&[0]) };
    assert_eq!(message(fixed), "`step_noise` needs a sampler with noise, found `euler`");
}

fn discrete(sampler: Solver) -> SampleOptions {
    let sampler = sampler.into();
    SampleOptions { sampler, path: predicting("ddpm"), clamp: false, steps: 10, ..of(&[0, 1]) }
}

#[test]
fn a_diffusion_with_fixed_variances_is_sampled_by_ddpm_and_by_ddim_with_all_noise() {
    for learn_sigma in [false, true] {
        let model = of_family(Family::Dit, Some(learn_sigma));
        let run = |options: &SampleOptions| sample(&model, options, &Context::default()).unwrap();
        let small = SampleOptions { variance: Some(Variance::Small), ..discrete(Solver::Ddpm) };
        let eta = SampleOptions { eta: 1.0, ..discrete(Solver::Ddim) };
        let (a, b) = (run(&small), run(&eta));
        assert!(a.allclose(&b, 1e-4, 1e-4).unwrap(), "{}", apart(&a, &b));
        // Without `variance` it is the learned or the large one, which lie apart from the small one.
        let usual = run(&discrete(Solver::Ddpm));
        let own = if learn_sigma { Variance::Learned } else { Variance::Large };
        let named = run(&SampleOptions { variance: Some(own), ..discrete(Solver::Ddpm) });
        assert!(usual.equal(&named).unwrap() && apart(&usual, &a) > 1e-3);
    }
    let learned = SampleOptions { variance: Some(Variance::Learned), ..discrete(Solver::Ddpm) };
    let plain = of_family(Family::Dit, Some(false));
    let error = sample(&plain, &learned, &Context::default()).unwrap_err();
    assert_eq!(
        error.message(),
        "`variance: \"learned\"` needs a model that returns variances, found one that returns 1 channels"
    );
}

#[test]
fn one_step_of_the_diffusion_is_the_predicted_image() {
    let model = of_family(Family::Dit, None);
    let options = SampleOptions { steps: 1, ..discrete(Solver::Ddpm) };
    let found = sample(&model, &options, &Context::default()).unwrap();
    let z = Draws::new((0, &[]), 2, [1, 4, 4]).draw(None, 0, 2).unwrap();
    let (labels, t) =
        (of(&[0, 1]).labels.unwrap().tensor().unwrap(), Tensor::from_f32(&[0.0; 2], &[2]).unwrap());
    let noise = model.forward(&z, &t, &labels).unwrap().detach().unwrap().narrow(1, 0, 1).unwrap();
    // The first step keeps 0.9999 of the variance of the image.
    let expected =
        z.sub(&noise.mul_scalar(0.01).unwrap()).unwrap().mul_scalar(1.0 / 0.9999f64.sqrt()).unwrap();
    assert!(apart(&found, &expected) < 1e-5, "{}", apart(&found, &expected));
}

#[test]
fn guidance_of_a_diffusion_changes_the_noise_and_not_the_variance() {
    let model = of_family(Family::Dit, None);
    let run = |options: &SampleOptions| sample(&model, options, &Context::default()).unwrap();
    let options =
        SampleOptions { clip_denoised: true, guidance_interval: (0.1, 0.9), ..discrete(Solver::Ddpm) };
    let usual = run(&SampleOptions { guidance: 2.5, ..options.clone() });
    assert!(apart(&usual, &run(&options)) > 1e-3);
    let guide = function(|v| {
        assert_eq!(v[0].shape(), [2, 1, 4, 4]);
        v[1].add(&v[0].sub(&v[1])?.mul_scalar(2.5)?)
    });
    assert!(apart(&run(&SampleOptions { guide, ..options.clone() }), &usual) < 1e-4);
    let each = run(&SampleOptions { guidances: vec![1.0, 2.5], ..options.clone() });
    assert!(apart(&each.narrow(0, 1, 1).unwrap(), &usual.narrow(0, 1, 1).unwrap()) < 1e-4);
    // A weaker model without variances guides too; one that is equal changes nothing.
    let weak = |model: Model| SampleOptions { autoguidance: Some(model), guidance: 2.0, ..options.clone() };
    assert!(apart(&run(&weak(model.clone())), &run(&options)) < 1e-4);
    assert!(apart(&run(&weak(of_family(Family::Dit, Some(false)))), &run(&options)) > 1e-3);
}

#[test]
fn what_makes_no_sense_for_a_diffusion_is_refused() {
    let model = of_family(Family::Dit, None);
    let message = |o: SampleOptions| sample(&model, &o, &Context::default()).unwrap_err().message();
    let ddpm = || discrete(Solver::Ddpm);
    assert_eq!(
        message(SampleOptions { path: predicting("x"), ..ddpm() }),
        "`ddpm` needs a model that predicts noise at steps of a diffusion, found the path flow::path(#{ predict: \"x\" })"
    );
    assert_eq!(
        message(SampleOptions { eta: 0.5, ..ddpm() }),
        "`eta` is an option of the sampler `ddim`, found `ddpm`"
    );
    assert_eq!(
        message(SampleOptions { clip_denoised: true, ..of(&[0]) }),
        "`clip_denoised` is an option of the sampler `ddpm` and `ddim`, found `euler`"
    );
    for (name, options) in [
        ("times", SampleOptions { times: vec![0.0, 1.0], ..ddpm() }),
        ("shift", SampleOptions { shift: 2.0, ..ddpm() }),
        ("to", SampleOptions { to: 0.5, ..ddpm() }),
        ("keep", SampleOptions { keep: function(|v| Ok(v[0].clone())), ..ddpm() }),
        ("velocity", SampleOptions { velocity: function(|v| Ok(v[0].clone())), ..ddpm() }),
    ] {
        let expected =
            format!("`{name}` belongs to the times of a flow, and `ddpm` takes steps of a diffusion");
        assert_eq!(message(options), expected);
    }
    assert!(message(SampleOptions { steps: 1001, ..ddpm() }).contains("`steps` must be from 1 to 1000"));
    let noise = Some(Tensor::zeros(&[9, 2, 1, 4, 4], DType::Float32, Device::Cpu).unwrap());
    let still = SampleOptions { step_noise: noise.clone(), ..discrete(Solver::Ddim) };
    assert_eq!(message(still), "`step_noise` needs a sampler with noise, found `ddim` without `eta`");
    let short = SampleOptions { step_noise: noise, steps: 11, ..ddpm() };
    assert!(message(short).starts_with("`step_noise` must be [10, 2, 1, 4, 4]"));
}

#[test]
fn rounding_of_a_model_in_16_bits_does_not_add_up_over_the_steps() {
    let wide = model();
    let narrow = Config { dtype: DType::BFloat16, ..wide.config().unwrap().clone() };
    let narrow = Model::new(narrow, 0, Device::Cpu).unwrap();
    for ((_, to), (_, from)) in narrow.parameters().iter().zip(wide.parameters()) {
        to.copy_(from).unwrap();
        // Both have the same weights.
        from.copy_(to).unwrap();
    }
    for (sampler, steps) in [(Solver::Euler, 250), (Solver::EulerMaruyama, 250), (Solver::Heun, 50)] {
        let options =
            SampleOptions { sampler: sampler.into(), steps, clamp: false, guidance: 1.5, ..of(&[0, 1]) };
        let [wide, found] =
            [&wide, &narrow].map(|model| sample(model, &options, &Context::default()).unwrap());
        assert_eq!(found.dtype(), DType::Float32);
        let size = |x: &Tensor| x.square().unwrap().mean(&[], false).unwrap().item().unwrap().sqrt();
        let error = size(&found.sub(&wide).unwrap()) / size(&wide);
        assert!(error < 0.02, "{sampler:?}: {error}");
    }
}

#[test]
fn options_without_effect_are_refused() {
    let message = |o: SampleOptions| run(&o).unwrap_err().message();
    let stochastic = "is an option of the samplers `euler_maruyama` and `sde_heun`, found `euler`";
    assert_eq!(
        message(SampleOptions { diffusion: Diffusion::Linear, ..of(&[0]) }),
        format!("`diffusion` {stochastic}")
    );
    assert_eq!(
        message(SampleOptions { last_step: LastStep::Euler, ..of(&[0]) }),
        format!("`last_step` {stochastic}")
    );
    assert_eq!(
        message(SampleOptions { rtol: 0.1, ..of(&[0]) }),
        "`rtol` is an option of the samplers `dopri5` and `adaptive_heun`, found `euler`"
    );
    let interval = SampleOptions { guidance: 2.0, guidance_interval: (0.7, 0.3), ..of(&[0]) };
    assert!(message(interval).starts_with("`guidance_interval` must be [first, last]"));
    let channels = SampleOptions { guidance: 2.0, guidance_channels: Some(2), ..of(&[0]) };
    assert_eq!(message(channels), "`guidance_channels` must be from 1 to 1, found 2");
    let times = SampleOptions { times: vec![0.0, 0.5, 1.0], steps: 4, ..of(&[0]) };
    assert_eq!(
        message(times.clone()),
        "give either `times` or `steps`: the times have 2 steps, found `steps: 4`"
    );
    assert!(run(&SampleOptions { steps: 2, ..times }).is_ok());
}
