//! Random tensors, gradients and corrections for tests that compare fused operators with libtorch's. The test that
//! includes this file has a function `device`.

use spectral::spectral::correction::add_filtered;
use spectral::spectral::filter::{self, Filter, Plan};
use spectral::torch::{self, DType, Device, Generator, Tensor, autograd};

use crate::device;

/// Source of random tensors that require gradients.
pub struct Draw(Generator, DType);

impl Draw {
    pub fn new(dtype: DType) -> Self {
        torch::start();
        Draw(Generator::new(7, Device::Cpu).unwrap(), dtype)
    }

    pub fn next(&self, shape: &[i64]) -> Tensor {
        let values = Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&self.0)).unwrap();
        let values = values.to_dtype(self.1).unwrap().to_device(device()).unwrap();
        values.set_requires_grad(true).unwrap()
    }
}

/// Operator as a function of its inputs.
pub type Form<'a> = &'a dyn Fn(&[Tensor]) -> Tensor;

/// Returns the value and the gradients of all inputs, for a random gradient of the value.
pub fn value_and_gradients(f: Form, inputs: &[Tensor]) -> Vec<Tensor> {
    gradients(f, inputs, false)
}

/// Fails unless gradients that record a graph, which other code computes, are those that record none.
pub fn same_with_a_graph(what: &str, f: Form, inputs: &[Tensor], tolerance: f64) {
    let (plain, recorded) = (gradients(f, inputs, false), gradients(f, inputs, true));
    for (i, (a, b)) in recorded.iter().zip(&plain).enumerate() {
        near(&format!("{what}, result {i}"), a, b, tolerance);
    }
}

fn gradients(f: Form, inputs: &[Tensor], graph: bool) -> Vec<Tensor> {
    let value = f(inputs);
    let generator = Generator::new(8, Device::Cpu).unwrap();
    let weight = Tensor::randn(&value.shape(), DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    let weight = weight.to_dtype(value.dtype()).unwrap().to_device(value.device()).unwrap();
    let gradients =
        autograd::grad(std::slice::from_ref(&value), inputs, Some(&[weight]), graph, graph).unwrap();
    [value].into_iter().chain(gradients.into_iter().map(|g| g.expect("every input takes part"))).collect()
}

/// Fails unless `a` is finite and within `tolerance` of the largest value of `b`.
pub fn near(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    let (a, b) = (a.to_f64().unwrap(), b.to_f64().unwrap());
    let largest = b.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    let worst = a.iter().zip(&b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs()));
    // The maximum of NaN and a number is the number.
    let finite = a.iter().chain(&b).all(|x| x.is_finite());
    assert!(worst <= tolerance * largest && finite, "{what}: {worst:.2e} of {largest:.2e}");
}

/// Returns an asymmetric filter, for which the transpose makes a difference.
pub fn lopsided() -> Filter {
    Filter::new(filter::Taps { taps: vec![1.0, 0.0, 5.0, 2.0, 0.0], normalize: true }).unwrap()
}

/// Returns the gated residual with one correction per filter, as a function of x, m, gate and the coefficients of
/// each.
pub fn corrected_by(filters: &[Filter], grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    let plan = |filter: &Filter| filter.plan(grid, DType::Float32, device()).unwrap();
    let plans: Vec<Plan> = filters.iter().map(plan).collect();
    move |v: &[Tensor]| {
        let pairs: Vec<_> = plans.iter().map(std::slice::from_ref).zip(v[3..].iter().cloned()).collect();
        add_filtered(&v[0], &v[1], &v[2], &pairs).unwrap()
    }
}

pub fn corrected(filter: &Filter, grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    corrected_by(std::slice::from_ref(filter), grid)
}

/// Returns x, m, gate and the coefficients of two bands.
pub fn tokens(draw: &Draw, (batch, grid, width): (i64, i64, i64)) -> Vec<Tensor> {
    let n = grid * grid;
    vec![
        draw.next(&[batch, n, width]),
        draw.next(&[batch, n, width]),
        draw.next(&[batch, 1, width]),
        draw.next(&[batch, 2]),
    ]
}
