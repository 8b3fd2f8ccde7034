//! Comparison of every fused operator with libtorch's operators, values and gradients, on the device.
//!
//! The tests compare at many shapes. Here each operator is tried once, at a size that is no multiple of a vector's,
//! since what differs between machines is the compiler, the driver or the processor.

use super::Finding;
use crate::error::Result;
use crate::spectral::correction::add_filtered;
use crate::spectral::filter::{self, Filter};
use crate::torch::{DType, Device, Generator, Tensor, autograd, fused, kernels};

const BATCH: i64 = 3;
const GRID: i64 = 7;
const WIDTH: i64 = 48;
const HEADS: i64 = 3;

/// Tolerance in single precision, relative to the largest value.
const SINGLE: f64 = 1e-5;
/// Tolerance in bfloat16: two roundings to 8 bits, and sums in another order.
const HALF: f64 = 3e-2;

type Form = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// An operator and the shapes of its inputs.
struct Operator {
    name: &'static str,
    form: Form,
    inputs: Vec<Vec<i64>>,
    /// Whether there are fused CUDA kernels.
    kernels: bool,
}

/// Compares every operator with its reference and reports the findings.
pub(super) fn check(device: Device, tell: &mut dyn FnMut(Finding)) {
    let all = match all(device) {
        Ok(all) => all,
        Err(error) => return tell(Finding::error("operators", &error)),
    };
    for operator in all {
        tell(one(&operator, device));
    }
}

fn one(operator: &Operator, device: Device) -> Finding {
    let mut found = Vec::new();
    for (dtype, tolerance) in [(DType::Float32, SINGLE), (DType::BFloat16, HALF)] {
        let before = kernels::started();
        match difference(operator, dtype, device) {
            Err(error) => return Finding::error(operator.name, &error),
            // NaN fails too.
            Ok(off) if off.is_nan() || off > tolerance => {
                return Finding::failure(
                    operator.name,
                    format!("off by {off:.1e} in {}, expected at most {tolerance:.0e}", dtype.name()),
                    "set SPECTRAL_LOOPS=base on a CPU, or update the GPU's driver, and report it if that does not help",
                );
            }
            Ok(0.0) => found.push(format!("0 in {}", dtype.name())),
            Ok(off) => found.push(format!("{off:.0e} in {}", dtype.name())),
        }
        if device.is_cuda() && operator.kernels && kernels::started() == before {
            return Finding::warning(
                operator.name,
                format!("libtorch's operators are used in {}", dtype.name()),
                "results are right, but slower; see the line on the compiler",
            );
        }
    }
    Finding::ok(operator.name, format!("equals libtorch's within {}", found.join(", ")))
}

/// Returns the largest difference of values and gradients from libtorch's operators, relative to the largest value
/// of each.
fn difference(operator: &Operator, dtype: DType, device: Device) -> Result<f64> {
    let generator = Generator::new(7, Device::Cpu)?;
    let draw = |shape: &[i64]| -> Result<Tensor> {
        let values = Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator))?;
        values.to_dtype(dtype)?.to_device(device)
    };
    let inputs: Vec<Tensor> =
        operator.inputs.iter().map(|shape| draw(shape)?.set_requires_grad(true)).collect::<Result<_>>()?;
    let weight = draw(&(operator.form)(&inputs)?.shape())?;
    let run = || -> Result<Vec<Tensor>> {
        let value = (operator.form)(&inputs)?;
        let weight = weight.to_dtype(value.dtype())?;
        let gradients = autograd::grad(std::slice::from_ref(&value), &inputs, Some(&[weight]), false, false)?;
        Ok([value].into_iter().chain(gradients.into_iter().flatten()).collect())
    };
    let (ours, reference) = (run()?, fused::with_reference_operators(run)?);
    crate::ensure!(
        ours.len() == reference.len(),
        "{} results and gradients instead of {}",
        ours.len(),
        reference.len()
    );
    let mut worst = 0.0f64;
    for (a, b) in ours.iter().zip(&reference) {
        let (a, b) = (a.to_f64()?, b.to_f64()?);
        let largest = b.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
        for (x, y) in a.iter().zip(&b) {
            let off = (x - y).abs() / largest;
            worst = if off.is_nan() || off > worst { off } else { worst };
            if worst.is_nan() {
                return Ok(worst);
            }
        }
    }
    Ok(worst)
}

fn all(device: Device) -> Result<Vec<Operator>> {
    let (tokens, n) = (vec![BATCH, GRID * GRID, WIDTH], GRID * GRID);
    let (vector, bands) = (vec![BATCH, 1, WIDTH], vec![BATCH, 2]);
    let filtered = |filter: Filter, dtype: DType| -> Result<_> {
        let plan = filter.plan(GRID, dtype, device)?;
        Ok(move |v: &[Tensor]| {
            add_filtered(&v[0], &v[1], &v[2], &[(std::slice::from_ref(&plan), v[3].clone())])
        })
    };
    let corrected = |filter: Filter| -> Result<Form> {
        let (single, half) = (filtered(filter.clone(), DType::Float32)?, filtered(filter, DType::BFloat16)?);
        Ok(Box::new(move |v: &[Tensor]| if v[0].dtype() == DType::Float32 { single(v) } else { half(v) }))
    };
    let residual = vec![tokens.clone(), tokens.clone(), vector.clone(), bands];
    let inner = 4 * WIDTH;
    Ok(vec![
        Operator {
            name: "norm_modulate",
            form: Box::new(|v| fused::norm_modulate(&v[0], &v[1], &v[2])),
            inputs: vec![tokens.clone(), vector.clone(), vector.clone()],
            kernels: true,
        },
        Operator {
            name: "stream_norm",
            form: Box::new(|v| {
                let (stream, y) = fused::stream_norm(&v[0], Some((&v[1], &v[2])), &v[3], &v[4])?;
                stream.add(&y.to_dtype(stream.dtype())?)
            }),
            inputs: vec![tokens.clone(), tokens.clone(), vector.clone(), vector.clone(), vector.clone()],
            kernels: true,
        },
        Operator {
            name: "gated_add",
            form: Box::new(|v| fused::gated_add(&v[0], &v[1], &v[2])),
            inputs: residual[..3].to_vec(),
            kernels: true,
        },
        Operator {
            name: "corrected",
            form: corrected(filter::binomial(filter::Binomial::default())?)?,
            inputs: residual.clone(),
            kernels: true,
        },
        Operator {
            name: "corrected, dct",
            form: corrected(Filter::named("dct")?)?,
            inputs: residual,
            kernels: false,
        },
        Operator {
            name: "attend",
            form: Box::new(|v| fused::attend(&v[0], &v[1], &v[2], HEADS)),
            inputs: vec![vec![BATCH, n, 3 * WIDTH], vec![WIDTH / HEADS], vec![WIDTH / HEADS]],
            kernels: true,
        },
        Operator {
            name: "mlp",
            form: Box::new(|v| fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4]))),
            inputs: vec![tokens.clone(), vec![inner, WIDTH], vec![inner], vec![WIDTH, inner], vec![WIDTH]],
            kernels: true,
        },
        Operator {
            name: "linear",
            form: Box::new(|v| fused::linear(&v[0], &v[1], &v[2])),
            inputs: vec![tokens, vec![WIDTH, WIDTH], vec![WIDTH]],
            kernels: false,
        },
        Operator {
            name: "gate",
            form: Box::new(|v| fused::gate(&v[0], (&v[1], &v[2]), (&v[3], &v[4]), 1.0)),
            inputs: vec![vec![BATCH, WIDTH], vec![WIDTH, WIDTH], vec![WIDTH], vec![2, WIDTH], vec![2]],
            kernels: false,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::doctor::State;

    #[test]
    fn every_operator_equals_its_reference_here() {
        crate::torch::start();
        let mut findings = Vec::new();
        check(Device::Cpu, &mut |finding| findings.push(finding));
        assert_eq!(findings.len(), 9);
        assert!(findings.iter().all(|f| f.state == State::Ok), "{findings:#?}");
    }

    #[test]
    fn an_operator_that_is_wrong_is_found() {
        crate::torch::start();
        let calls = std::cell::Cell::new(0);
        // Of each three calls the first two are the fused operator, the third is the reference.
        let form: Form = Box::new(move |v| {
            calls.set(calls.get() + 1);
            v[0].mul_scalar(if calls.get() % 3 == 0 { 1.0 } else { 1.01 })
        });
        let wrong = Operator { name: "wrong", form, inputs: vec![vec![4, 4]], kernels: false };
        let finding = one(&wrong, Device::Cpu);
        assert_eq!(finding.state, State::Failure, "{finding:?}");
        let missing: Form = Box::new(|v| v[0].mul_scalar(f64::NAN));
        let missing = Operator { name: "missing", form: missing, inputs: vec![vec![4, 4]], kernels: false };
        assert_eq!(one(&missing, Device::Cpu).state, State::Failure);
    }
}
