//! Whole SpectralDiT with the CUDA kernels: forward, gradients, an optimizer update, and forward again.

use spectral::model::{Config, Model};
use spectral::spectral::{correction, filter, gate};
use spectral::torch::{DType, Device, Generator, Tensor, autograd, fused, no_grad};
use spectral::train::{AdamWOptions, Optimizer, Parameters};

use crate::emulation::{device, with_kernels};

/// Returns a model with 25 tokens of 20 channels, on an odd grid, without any parameter equal to zero.
fn model() -> Model {
    let paper = filter::binomial(filter::Binomial::default()).unwrap();
    let gate = gate::time(gate::Time::default()).unwrap();
    let config = Config {
        image_size: 10,
        depth: 2,
        hidden_size: 20,
        num_heads: 2,
        ..Config::preset("fashion_tiny").unwrap().with_corrections(vec![correction(&paper, &gate).unwrap()])
    };
    let model = Model::new(config, 0, device()).unwrap();
    let generator = Generator::new(1, Device::Cpu).unwrap();
    for (_, p) in model.parameters() {
        let values = Tensor::randn(&p.shape(), DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        let values = values.mul_scalar(0.2).unwrap().to_device(device()).unwrap();
        no_grad(|| p.copy_(&p.add(&values)?)).unwrap();
    }
    model
}

/// Returns the velocity, the gradients, and the velocity after an update.
fn step(cast: bool) -> [Tensor; 3] {
    let model = model();
    let generator = Generator::new(2, Device::Cpu).unwrap();
    let x = Tensor::randn(&[3, 1, 10, 10], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    let x = x.to_device(device()).unwrap();
    let t = Tensor::from_f32(&[0.1, 0.5, 0.9], &[3]).unwrap().to_device(device()).unwrap();
    let y = Tensor::from_i64(&[1, 4, 10], &[3]).unwrap().to_device(device()).unwrap();
    let velocity = || {
        let forward = || model.forward(&x, &t, &y);
        let v = if cast { autograd::autocast(device(), forward) } else { forward() };
        v.unwrap().to_dtype(DType::Float32).unwrap()
    };
    let parameters = Parameters::of(&model).unwrap();
    let options = AdamWOptions { lr: 1e-2, ..AdamWOptions::default() };
    let optimizer = Optimizer::new(&parameters, &options).unwrap();
    let first = velocity();
    optimizer.step(&first.mse_loss(&x, spectral::torch::ops::loss::Reduction::Mean).unwrap(), None).unwrap();
    let gradients: Vec<Tensor> = parameters
        .tensors()
        .iter()
        .map(|p| p.grad().expect("every parameter takes part").flatten(0, -1).unwrap())
        .collect();
    let second = no_grad(velocity);
    [first.detach().unwrap(), Tensor::cat(&gradients, 0).unwrap(), second]
}

/// Returns the norm of the difference of two tensors, relative to the norm of `b`.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &Tensor| x.square().unwrap().sum(&[], false).unwrap().item().unwrap().sqrt();
    norm(&a.sub(b).unwrap()) / norm(b)
}

#[test]
fn a_training_step_is_that_of_libtorchs_operators() {
    let (ours, ran) = with_kernels(|| step(false));
    let plain = fused::with_reference_operators(|| step(false));
    for (what, (a, b)) in ["velocity", "gradient", "after"].iter().zip(ours.iter().zip(&plain)) {
        let apart = distance(a, b);
        assert!(apart < 1e-4, "{what}: {apart:.2e}");
    }
    let moved = distance(&plain[2], &plain[0]);
    assert!(moved > 0.01, "the update changed nothing: {moved:.2e}");
    for name in ["norm_modulate", "corrected", "qk_norm", "bias_gelu"] {
        assert!(ran.iter().all(|ran| ran.contains_key(name)), "{name}: {ran:?}");
    }
}

#[test]
fn in_bfloat16_it_is_as_far_from_float32_as_theirs() {
    let (ours, _) = with_kernels(|| step(true));
    let (plain, exact) = fused::with_reference_operators(|| (step(true), step(false)));
    for (what, i) in ["velocity", "gradient", "after"].iter().zip(0..) {
        let (own, others) = (distance(&ours[i], &exact[i]), distance(&plain[i], &exact[i]));
        println!("{what}: ours {own:.2e} from float32, libtorch's {others:.2e}");
        assert!(own > 1e-5 && own < 1.5 * others + 1e-3, "{what}: ours {own:.2e}, theirs {others:.2e}");
    }
}
