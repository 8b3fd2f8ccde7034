//! Samplers compared with those of the public code of DiT and SiT; `samplers.py` makes the fixtures.

use std::collections::BTreeMap;

use serde_json::Value;
use spectral::context::Context;
use spectral::declare::Choice;
use spectral::flow::likelihood::{LikelihoodOptions, log_likelihood};
use spectral::flow::path::Interpolant;
use spectral::flow::sample::{Diffusion, LastStep, Spacing, Variance};
use spectral::flow::variational::{DiffusionLossOptions, diffusion_loss};
use spectral::flow::{self, Path, PathOptions, Predict, SampleOptions, Sampler, Solver};
use spectral::model::open::open;
use spectral::model::{Family, Model, OpenOptions};
use spectral::torch::io::load_safetensors;
use spectral::torch::{DType, Device, Tensor, autograd};

use super::model::close;

/// The samples of a program: its cases, and the noise and the samples by name.
struct Samples {
    cases: Value,
    tensors: BTreeMap<String, Tensor>,
    model: Model,
}

impl Samples {
    fn of(family: Family, weights: &str, heads: i64, dtype: DType) -> Self {
        spectral::torch::start();
        let folder = super::fixtures().join("families");
        let file = folder.join(format!("{}_samplers.safetensors", family.name()));
        let loaded = load_safetensors(&file, Device::Cpu).unwrap();
        let options = OpenOptions {
            family: Some(family),
            num_heads: Some(heads),
            dtype: Some(dtype),
            ..Default::default()
        };
        Self {
            cases: serde_json::from_str(&loaded.metadata["cases"]).unwrap(),
            tensors: loaded.tensors,
            model: open(folder.join(weights), &options, &Context::default()).unwrap(),
        }
    }

    fn sit() -> Self {
        Self::of(Family::Sit, "sit.training.pt", 3, DType::Float32)
    }

    fn dit(dtype: DType) -> Self {
        Self::of(Family::Dit, "dit_trained.safetensors", 2, dtype)
    }

    /// Returns the options that all cases share.
    fn options(&self, case: &Value) -> SampleOptions {
        SampleOptions {
            labels: Some(vec![1, 3].into()),
            noise: Some(self.tensors["noise"].clone()),
            guidance: case["guidance"].as_f64().unwrap_or(1.0),
            guidance_channels: Some(3),
            clamp: false,
            ..Default::default()
        }
    }

    /// Compares the samples of a case.
    fn compare(&self, case: &Value, options: &SampleOptions, tolerance: f64) {
        let name = case["name"].as_str().unwrap();
        let found = flow::sample::sample(&self.model, options, &Context::default()).unwrap();
        close(name, &found, &self.tensors[name], tolerance);
    }
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("{name} of {case}"))
}

fn number(case: &Value, name: &str) -> f64 {
    case[name].as_f64().unwrap_or_else(|| panic!("{name} of {case}"))
}

#[test]
fn ddpm_and_ddim_make_the_images_of_the_public_code() {
    let samples = Samples::dit(DType::Float32);
    let path = Path::new(PathOptions { predict: Predict::Ddpm, ..Default::default() }).unwrap();
    let cases = samples.cases["cases"].as_array().unwrap();
    assert!(cases.len() >= 18);
    for case in cases {
        let sampler = Solver::named(text(case, "sampler")).unwrap();
        let respacing = text(case, "respacing");
        let (spacing, steps) = match respacing.strip_prefix("ddim") {
            Some(steps) => (Spacing::Stride, steps),
            None => (Spacing::Even, respacing),
        };
        let eta = case["eta"].as_f64().unwrap_or(0.0);
        let noisy = sampler == Solver::Ddpm || eta > 0.0;
        let options = SampleOptions {
            sampler: sampler.into(),
            spacing,
            steps: steps.parse().unwrap(),
            path: path.clone(),
            eta,
            variance: case["variance"].as_str().map(|name| Variance::named(name).unwrap()),
            clip_denoised: case["clip"].as_bool().unwrap_or(false),
            step_noise: noisy.then(|| samples.tensors["step_noise"].clone()),
            ..samples.options(case)
        };
        samples.compare(case, &options, 1e-4);
    }
}

#[test]
fn a_model_in_half_precision_follows_within_its_rounding() {
    let samples = Samples::dit(DType::BFloat16);
    let case = &samples.cases["cases"][0];
    let options = SampleOptions {
        sampler: Solver::Ddpm.into(),
        steps: 50,
        path: Path::new(PathOptions { predict: Predict::Ddpm, ..Default::default() }).unwrap(),
        step_noise: Some(samples.tensors["step_noise"].clone()),
        ..samples.options(case)
    };
    samples.compare(case, &options, 5e-2);
}

#[test]
fn every_number_of_steps_takes_those_of_the_public_code() {
    let samples = Samples::dit(DType::Float32);
    let sums = samples.tensors["spaced"].to_i64().unwrap();
    for (count, expected) in (1..=1000).zip(&sums) {
        let steps = Spacing::Even.steps(count).unwrap();
        let sum: usize = steps.iter().enumerate().map(|(i, step)| (i + 1) * step).sum();
        assert_eq!(sum as i64, *expected, "{count} steps");
    }
    let strides = samples.cases["strides"].as_object().unwrap();
    for count in 1..=1000 {
        let steps = Spacing::Stride.steps(count).ok();
        let stride = strides.get(&count.to_string()).map(|stride| stride.as_u64().unwrap());
        assert_eq!(steps.map(|steps| steps[1] as u64), stride, "{count} steps");
    }
}

/// Returns the path of a case; the public code has no smallest divisor.
fn path(case: &Value) -> Path {
    let predict = match text(case, "predict") {
        "velocity" => "v",
        other => other,
    };
    Path::new(PathOptions {
        interpolant: Interpolant::named(&text(case, "path").to_lowercase()).unwrap(),
        predict: Predict::named(predict).unwrap(),
        min_divisor: Some(1e-6),
        ..Default::default()
    })
    .unwrap()
}

/// Returns `steps + 1` times from the first to the last time of a case.
fn times(case: &Value, steps: usize) -> Vec<f64> {
    let (first, last) = (number(case, "first"), number(case, "last"));
    (0..=steps).map(|i| first + (last - first) * i as f64 / steps as f64).collect()
}

#[test]
fn solvers_of_the_flow_agree_with_those_of_sit() {
    let samples = Samples::sit();
    let ode = |case: &&Value| case["steps"].is_number();
    let mut count = 0;
    for case in samples.cases.as_array().unwrap().iter().filter(ode) {
        count += 1;
        let options = SampleOptions { path: path(case), ..samples.options(case) };
        let steps = number(case, "steps") as usize;
        match text(case, "sampler") {
            "dopri5" => {
                let rtol = number(case, "rtol");
                let options = SampleOptions {
                    sampler: Solver::Dopri5.into(),
                    to: number(case, "last"),
                    rtol,
                    atol: number(case, "atol"),
                    ..options
                };
                assert!(number(case, "first") == 0.0);
                // Both have errors of the size of the tolerance: torchdiffeq's steps are those of the whole batch.
                samples.compare(case, &options, (3.0 * rtol).max(1e-4));
            }
            // The rk4 of torchdiffeq is Kutta's 3/8 rule, another method of order 4.
            "rk4" => {
                let options = SampleOptions { sampler: Solver::Rk4.into(), steps, ..options };
                samples.compare(case, &options, 2e-5);
            }
            sampler => {
                let sampler = if sampler == "heun2" { Solver::Heun } else { Solver::named(sampler).unwrap() };
                let options = SampleOptions { sampler: sampler.into(), times: times(case, steps), ..options };
                // Heun's steps and exact ones lie apart by 5e-5.
                let tolerance = if text(case, "predict") == "velocity" { 1e-5 } else { 1e-4 };
                samples.compare(case, &options, tolerance);
            }
        }
    }
    assert!(count >= 18, "{count}");
}

#[test]
fn stochastic_samplers_agree_with_those_of_sit() {
    let samples = Samples::sit();
    let mut count = 0;
    for case in samples.cases.as_array().unwrap() {
        let Some(sampler) = text(case, "sampler").strip_prefix("sde ") else { continue };
        count += 1;
        let last_step = match case["last_step"].as_str() {
            Some(name) => LastStep::named(&name.to_lowercase()).unwrap(),
            None => LastStep::None,
        };
        let form = match text(case, "form") {
            "inccreasing-decreasing" => "increasing_decreasing".to_string(),
            other => other.to_lowercase(),
        };
        let options = SampleOptions {
            path: path(case),
            sampler: Sampler::from(if sampler == "Euler" { Solver::EulerMaruyama } else { Solver::SdeHeun }),
            step_noise: Some(samples.tensors["step_noise"].clone()),
            diffusion: Diffusion::named(&form).unwrap(),
            diffusion_norm: number(case, "norm"),
            last_step,
            // The public code counts the times up to the last step; without one there are 19 steps.
            steps: if last_step == LastStep::None { 19 } else { 20 },
            ..samples.options(case)
        };
        let options = match text(case, "predict") {
            "velocity" => options,
            // Other predictions begin later, at 0.001 with the linear path.
            _ => {
                let mut times = times(case, 19);
                times.push(1.0);
                SampleOptions { times, ..options }
            }
        };
        samples.compare(case, &options, 1e-4);
    }
    assert!(count >= 26, "{count}");
}

#[test]
fn log_likelihoods_agree_with_those_of_sit() {
    let samples = Samples::sit();
    let cases = samples.cases.as_array().unwrap().iter().filter(|case| text(case, "sampler") == "likelihood");
    let mut count = 0;
    for case in cases {
        count += 1;
        let options = LikelihoodOptions {
            labels: Some(vec![1, 3].into()),
            path: path(case),
            probe_noise: Some(samples.tensors["probes"].clone()),
            from: number(case, "last"),
            to: number(case, "first"),
            ..Default::default()
        };
        let images = &samples.tensors["images"];
        let found = log_likelihood(&samples.model, images, &options, &Context::default()).unwrap();
        let name = case["name"].as_str().unwrap();
        close(name, &found.nats, &samples.tensors[name], 1e-4);
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn the_loss_of_a_diffusion_and_its_gradient_are_those_of_the_public_code() {
    let samples = Samples::dit(DType::Float32);
    let of = |name: &str| &samples.tensors[&format!("loss {name}")];
    let options = DiffusionLossOptions {
        steps: Some(of("steps").clone()),
        noise: Some(of("noise").clone()),
        ..DiffusionLossOptions::default()
    };
    let found = diffusion_loss(&samples.model, of("images"), &vec![0, 1, 2, 3].into(), &options).unwrap();
    close("mse", &found.mse, of("mse"), 1e-5);
    close("vb", &found.vb, of("vb"), 1e-5);
    // The parts of later steps are small beside those of the first, and differences of numbers near 1.
    let late = |x: &Tensor, start| x.narrow(0, start, 1).unwrap();
    for i in 1..4 {
        close("vb of a later step", &late(&found.vb, i), &late(of("vb"), i), 1e-2);
    }
    let weight = samples.model.parameters();
    let (_, weight) = weight.iter().find(|(name, _)| name.as_str() == "final_layer.linear.weight").unwrap();
    let gradient = |x: &Tensor| {
        let all = autograd::grad(std::slice::from_ref(x), std::slice::from_ref(weight), None, true, false);
        all.unwrap().remove(0).unwrap()
    };
    close("gradient", &gradient(&found.loss), of("gradient"), 1e-4);
    // The bound changes the variances alone: the second half of the outputs of each pixel of a patch.
    let by_output = gradient(&found.vb.mean(&[], false).unwrap())
        .reshape(&[4, 8, -1])
        .unwrap()
        .abs()
        .unwrap()
        .sum(&[0, 2], false)
        .unwrap();
    let by_output = by_output.to_f64().unwrap();
    assert!(
        by_output[..4].iter().all(|x| *x == 0.0) && by_output[4..].iter().all(|x| *x > 0.0),
        "{by_output:?}"
    );
}
