//! Training and sampling compared with the oracle's numbers.

use spectral::flow::{self, Labels, PairOptions, SampleOptions};
use spectral::torch::io::{Loaded, load_safetensors};
use spectral::torch::{Device, Tensor};
use spectral::train::schedule::Cosine;
use spectral::train::{AdamWOptions, Ema, EmaOptions, Optimizer, Parameters};

use super::model::{build, close, models};

/// Returns the labels that the oracle's sampler was given. None of them is the null label.
fn sampled_labels(fixture: &Loaded) -> Tensor {
    let last = fixture.metadata["num_classes"].parse::<i64>().unwrap() - 1;
    let labels: Vec<i64> = fixture.tensors["y"].to_i64().unwrap().into_iter().map(|y| y.min(last)).collect();
    Tensor::from_i64(&labels, &[labels.len() as i64]).unwrap()
}

#[test]
fn the_path_and_its_target() {
    for (name, fixture) in models() {
        let [x, noise, t, v] = ["x", "noise", "t", "v"].map(|k| &fixture.tensors[k]);
        let pair =
            flow::pair(x, t, PairOptions { noise: Some(noise.clone()), ..PairOptions::default() }).unwrap();
        close(&format!("{name}: x_t"), &pair.x_t, &fixture.tensors["x_t"], 1e-6);
        close(&format!("{name}: target"), &pair.target, &fixture.tensors["target"], 1e-6);
        let loss = flow::loss(v, &pair.target).unwrap();
        close(&format!("{name}: loss"), &loss, &fixture.tensors["loss"], 1e-6);
    }
}

#[test]
fn three_updates_with_moments_and_average() {
    for (file, fixture) in models() {
        let model = build(&fixture);
        let options = AdamWOptions {
            lr: 1e-3,
            betas: (0.9, 0.99),
            weight_decay: 0.01,
            eps: 1e-8,
            ..Default::default()
        };
        let optimizer = Optimizer::new(&Parameters::of(&model).unwrap(), &options).unwrap();
        let ema = Ema::new(&model, 0.9, &EmaOptions { warmup: false }).unwrap();
        let [x_t, t, y, target] = ["x_t", "t", "y", "target"].map(|k| &fixture.tensors[k]);
        for step in 0..3 {
            let loss = flow::loss(model.forward(x_t, t, y).unwrap(), target).unwrap();
            let norm = optimizer.step(&loss, Some(1.0)).unwrap();
            if step == 0 {
                close(&format!("{file}: grad_norm"), &norm, &fixture.tensors["grad_norm"], 1e-4);
            }
            ema.update(&model).unwrap();
        }
        let state = optimizer.state().unwrap();
        let averaged = ema.model();
        for ((name, weight), (_, average)) in model.parameters().iter().zip(averaged.parameters()) {
            let check = |key: &str, found: &Tensor| {
                let expected = &fixture.tensors[&format!("{key}.{name}")];
                close(&format!("{file}: {key}.{name}"), found, expected, 1e-4);
            };
            check("w3", weight);
            check("ema3", average);
            check("m3", &state[&format!("exp_avg.{name}")]);
            check("s3", &state[&format!("exp_avg_sq.{name}")]);
            assert_eq!(state[&format!("step.{name}")].item().unwrap(), 3.0);
        }
    }
}

#[test]
fn eight_guided_euler_steps() {
    for (name, fixture) in models() {
        let options = SampleOptions {
            labels: Some(Labels::Tensor(sampled_labels(&fixture))),
            noise: Some(fixture.tensors["euler_noise"].clone()),
            steps: 8,
            guidance: 2.0,
            ..SampleOptions::default()
        };
        let images = flow::sample(build(&fixture), &options).unwrap();
        close(&format!("{name}: euler"), &images, &fixture.tensors["euler"], 1e-4);
    }
}

#[test]
fn the_learning_rate_of_every_phase() {
    let cosine = Cosine { warmup: 5000, steps: 400_000, min_ratio: 0.1 };
    let steps = [0, 2500, 4999, 5000, 200_000, 399_999, 400_000];
    let pieces = load_safetensors(&super::fixtures().join("pieces.safetensors"), Device::Cpu).unwrap();
    let expected = pieces.tensors["lr_factor_float64"].to_f64().unwrap();
    assert_eq!(expected.len(), steps.len());
    for (step, expected) in steps.into_iter().zip(expected) {
        assert!((cosine.factor(step) - expected).abs() < 1e-15, "update {step}");
    }
}
