//! Losses: values computed by hand, identities, and gradients compared with finite differences.

use super::*;
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
    loss.compute(v, target, t, || Ok(Map::new()))
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
fn in_an_orthonormal_basis_a_weight_of_one_is_the_mean_squared_error() {
    let (v, target) = (randn(&[2, 3, 6, 8], DType::Float32, 1), randn(&[2, 3, 6, 8], DType::Float32, 2));
    let expected = crate::flow::loss(&v, &target).unwrap().item().unwrap();
    for basis in [Basis::Dct, Basis::Fft, Basis::haar(Haar::default()).unwrap()] {
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
        [Basis::Dct, Basis::Fft, haar, pyramid].map(|basis| Loss::Spectral(basis, smooth())).into();
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
    let low = Loss::Spectral(Basis::Fft, function(|r| r.lt_scalar(0.5)));
    assert_eq!(compute(&low, &v, &target, &times()).unwrap().dtype(), DType::Float32);
    let wrong = Loss::Spectral(Basis::Dct, function(|r| r.narrow(0, 0, 3)));
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
    assert!(Loss::Spectral(Basis::Dct, weight.clone()) != Loss::Spectral(Basis::Fft, weight));
    assert_eq!(Loss::Mse.to_data().to_json_text().unwrap(), r#"{"kind":"mse","options":{}}"#);
}
