//! Losses: values computed by hand, identities, and gradients compared with finite differences.

use super::*;
use crate::declare::Map;
use crate::flow::Timesteps;
use crate::spectral::basis::{Haar, Laplacian};
use crate::torch::{Device, Generator};

fn randn(shape: &[i64], dtype: DType, seed: u64) -> Tensor {
    let generator = Generator::new(seed, Device::Cpu).unwrap();
    Tensor::randn(shape, DType::Float64, Device::Cpu, Some(&generator)).unwrap().to_dtype(dtype).unwrap()
}

fn function(f: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Function {
    Function::new(move |values| f(&values[0].downcast::<Tensor>().unwrap()).map(IntoValue::into_value))
}

fn compute(loss: &Loss, v: &Tensor, target: &Tensor, t: &Tensor) -> Result<Tensor> {
    loss.compute(|| Ok(v.clone()), target, t, || Ok(Value::Map(Map::new())))
}

fn times() -> Tensor {
    Tensor::from_f32(&[0.25, 0.75], &[2]).unwrap()
}

#[test]
fn weights_by_hand() {
    let v = Tensor::from_f32(&[1.0, 3.0, 2.0, 2.0], &[2, 2]).unwrap();
    let target = v.mul_scalar(0.0).unwrap();
    // Squared errors of 5 and 4, times 0.25 and 0.75.
    let loss = Loss::Weighted(function(|t| Ok(t.clone())));
    assert_eq!(compute(&loss, &v, &target, &times()).unwrap().item().unwrap(), (1.25 + 3.0) / 2.0);
    let error = compute(&Loss::Weighted(function(|t| t.narrow(0, 0, 1))), &v, &target, &times()).unwrap_err();
    assert_eq!(
        error.message(),
        "the weight of `loss::weighted` must return a tensor [2] float32, found a tensor [1] float32"
    );
}

#[test]
fn named_weights_by_hand() {
    let at =
        |weight: &Weight, t: f64| weight.at(&Tensor::from_f64(&[t], &[1]).unwrap()).unwrap().item().unwrap();
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    // At t = 0.5 the ratio is 1, at 0.75 it is 9: more than gamma.
    let snr = Weight::MinSnr(MinSnrOptions::default());
    near(at(&snr, 0.5), 1.0 * 0.25);
    near(at(&snr, 0.75), 5.0 / 16.0);
    near(at(&snr, 0.0), 0.0);
    near(at(&snr, 1.0), 0.0);
    // sigma is 1 at t = 0.5 and 3 at t = 0.25, where an error of the image is 3 / 4 of that of the velocity.
    let edm = Weight::Edm(EdmOptions::default());
    near(at(&edm, 0.5), (1.0 + 0.25) / 0.25 * 0.25);
    near(at(&edm, 0.25), (9.0 + 0.25) / (9.0 * 0.25) * 9.0 / 16.0);
    near(at(&Weight::Density(Timesteps::named("cosmap").unwrap()), 0.5), 4.0 / std::f64::consts::PI);
}

/// A weight by name is that of a function of the times, and needs no code.
#[test]
fn named_weights_weight_the_error_of_samples_and_are_stored() {
    let (v, target) = (randn(&[2, 1, 4, 4], DType::Float32, 1), randn(&[2, 1, 4, 4], DType::Float32, 2));
    for weight in [
        Weight::MinSnr(MinSnrOptions { gamma: 2.0 }),
        Weight::Edm(EdmOptions { sigma_data: 0.7 }),
        Weight::Density(Timesteps::named("mode").unwrap()),
    ] {
        let (loss, same) = (Loss::Named(weight.clone()), weight.clone());
        let own = Loss::Weighted(function(move |t| same.at(t)?.to_dtype(t.dtype())));
        let [named, own] = [&loss, &own].map(|l| compute(l, &v, &target, &times()).unwrap().item().unwrap());
        assert!((named - own).abs() < 1e-6 && !loss.calls_code(), "{loss:?}");
        assert!(loss == loss.clone() && loss != Loss::Mse);
        let stored = format!("{:?}", loss.to_data());
        assert!(stored.contains(weight.name()) && stored.contains(weight.made_of()[0].0), "{stored}");
    }
    let other = |gamma| Loss::Named(Weight::MinSnr(MinSnrOptions { gamma }));
    assert!(other(5.0) != other(4.0));
    let curved =
        crate::flow::PathOptions { interpolant: crate::flow::path::Interpolant::Gvp, ..Default::default() };
    let curved = Path::new(curved).unwrap();
    let message = other(5.0).check(&curved).unwrap_err().message();
    assert!(
        message.starts_with("loss::min_snr(#{ gamma: 5.0 }) weights errors on the straight path"),
        "{message}"
    );
    Loss::Named(Weight::Density(Timesteps::default())).check(&curved).unwrap();
    other(5.0).check(&Path::default()).unwrap();
}

#[test]
fn in_an_orthonormal_basis_a_weight_of_one_is_the_mean_squared_error() {
    let (v, target) = (randn(&[2, 3, 6, 8], DType::Float32, 1), randn(&[2, 3, 6, 8], DType::Float32, 2));
    let expected = crate::flow::loss(&v, &target).unwrap().item().unwrap();
    for basis in [Basis::dct(), Basis::fft(), Basis::haar(Haar::default()).unwrap()] {
        let loss = Loss::Spectral(basis.clone(), function(|r| r.mul_scalar(0.0)?.add_scalar(1.0)));
        let found = compute(&loss, &v, &target, &times()).unwrap().item().unwrap();
        assert!((found - expected).abs() < 1e-5 * expected, "{basis}: {found}, {expected}");
    }
}

#[test]
fn gradients_are_those_of_differences() {
    let target = randn(&[2, 1, 4, 4], DType::Float64, 2);
    let smooth = || function(|r| r.add_scalar(1.0)?.rdiv_scalar(1.0));
    let haar = Basis::haar(Haar::default()).unwrap();
    let pyramid = Basis::laplacian(Laplacian { levels: 2, ..Laplacian::default() }).unwrap();
    let mut losses: Vec<Loss> =
        [Basis::dct(), Basis::fft(), haar, pyramid].map(|basis| Loss::Spectral(basis, smooth())).into();
    losses.extend([Loss::Mse, Loss::Weighted(function(|t| t.square()))]);
    for loss in losses {
        let at = |v: &Tensor| compute(&loss, v, &target, &times()).unwrap();
        let v = randn(&[2, 1, 4, 4], DType::Float64, 1).set_requires_grad(true).unwrap();
        at(&v).backward(None, false).unwrap();
        let gradient = v.grad().unwrap().to_f64().unwrap();
        let values = v.to_f64().unwrap();
        for place in [0, 7, 18, 31] {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[place] += by;
                at(&Tensor::from_f64(&values, &[2, 1, 4, 4]).unwrap()).item().unwrap()
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[place]).abs() < 1e-7, "{loss:?}: {slope} and {}", gradient[place]);
        }
    }
}

#[test]
fn half_precision_is_widened_and_weights_must_broadcast() {
    let (v, target) = (randn(&[2, 1, 4, 4], DType::BFloat16, 1), randn(&[2, 1, 4, 4], DType::BFloat16, 2));
    let low = Loss::Spectral(Basis::fft(), function(|r| r.lt_scalar(0.5)));
    assert_eq!(compute(&low, &v, &target, &times()).unwrap().dtype(), DType::Float32);
    let wrong = Loss::Spectral(Basis::dct(), function(|r| r.narrow(0, 0, 3)));
    assert_eq!(
        compute(&wrong, &v, &target, &times()).unwrap_err().message(),
        "the weight of `loss::spectral` must broadcast from the radii [4, 4] to the coefficients [2, 1, 4, 4], \
         found shape [3, 4]"
    );
}

#[test]
fn a_function_must_give_a_scalar() {
    let v = randn(&[2, 2], DType::Float32, 1);
    let of = |f: Function| compute(&Loss::Function(f), &v, &v, &times());
    let scalar = v.mean(&[], false).unwrap();
    let one = scalar.reshape(&[1]).unwrap();
    let give = |value: Value| Function::new(move |_| Ok(value.clone()));
    assert_eq!(of(give(one.into_value())).unwrap().shape(), Vec::<i64>::new());
    let error = of(give(v.clone().into_value())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`loss` must return a scalar tensor that records gradients, found a tensor [2, 2] float32\n\
         hint: reduce the error of each element with `.mean()`"
    );
    let error = of(give(Value::Float(0.5))).unwrap_err();
    assert_eq!(
        error.message(),
        "`loss`: expected a scalar tensor that records gradients, found the float 0.5"
    );
}

#[test]
fn losses_compare_by_what_they_are_made_of() {
    let weight = function(|t| Ok(t.clone()));
    assert!(Loss::Weighted(weight.clone()) == Loss::Weighted(weight.clone()));
    assert!(Loss::Weighted(weight.clone()) != Loss::Mse);
    assert!(Loss::Spectral(Basis::dct(), weight.clone()) != Loss::Spectral(Basis::fft(), weight));
    assert_eq!(Loss::Mse.to_data().to_json_text().unwrap(), r#"{"kind":"mse","options":{}}"#);
}
