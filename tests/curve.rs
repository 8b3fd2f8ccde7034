//! A whole training run with the fused operators, compared with one with libtorch's operators.
#![cfg(test)]

use spectral::data::{Dataset, FashionMnistOptions, fashion_mnist};
use spectral::model::{Config, Model};
use spectral::spectral::{correction, filter, gate};
use spectral::torch::{Device, fused};
use spectral::train::{FitOptions, fit};

const STEPS: usize = 200;

fn losses(images: &Dataset, seed: i64) -> Vec<f64> {
    let low = filter::binomial(()).unwrap();
    let config = Config {
        depth: 2,
        hidden_size: 32,
        num_heads: 2,
        patch_size: 4,
        corrections: vec![correction(&low, gate::time(()).unwrap()).unwrap()].into(),
        ..Config::preset("fashion_tiny").unwrap()
    };
    // All runs share one backbone. The seed determines the batches, the times and the noise.
    let model = Model::new(config, 0, Device::Cpu).unwrap();
    let options = FitOptions { steps: STEPS, batch: 8, lr: 2e-3, warmup: 20, seed, ..Default::default() };
    fit(&model, images, &options).unwrap().losses().to_vec()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

#[test]
fn fused_and_plain_curves_differ_by_far_less_than_seeds_do() {
    let images = fashion_mnist(FashionMnistOptions::default()).unwrap();
    let fused_run = losses(&images, 1);
    let plain_run = fused::with_reference_operators(|| losses(&images, 1));
    let other_seed = losses(&images, 2);
    assert!(fused_run[STEPS - 1] < 0.7 * fused_run[0], "{} to {}", fused_run[0], fused_run[STEPS - 1]);
    let (operators, seeds) = (distance(&fused_run, &plain_run), distance(&fused_run, &other_seed));
    println!("root mean square difference of the losses: operators {operators:.2e}, seeds {seeds:.2e}");
    assert!(operators > 0.0, "both runs took the same path");
    assert!(operators < 1e-3 * seeds, "operators {operators:.2e}, seeds {seeds:.2e}");
}
