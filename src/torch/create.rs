//! Less common tensor constructors; the common ones are in [`tensor`](super::tensor).

use super::call::call_one;
use super::{DType, Device, Generator, Tensor, checked};
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::Result;

impl Tensor {
    /// Returns a tensor filled with one number; integers stay exact.
    pub fn filled(shape: &[i64], value: impl Into<Number>, dtype: DType, device: Device) -> Result<Tensor> {
        let shape = Value::List(shape.iter().map(|s| Value::Int(*s)).collect());
        call_one("full", &[shape, value.into().into_value()], &made_as(dtype, device))
    }

    /// Returns an uninitialized tensor.
    pub fn empty(shape: &[i64], dtype: DType, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_empty(shape, (dtype.kind(), device.tch()))).map(Tensor::wrap)
    }

    /// Returns `base` to the power of `steps` equally spaced exponents from `start` to `end`, both included.
    pub fn logspace(
        start: f64,
        end: f64,
        steps: i64,
        base: f64,
        dtype: DType,
        device: Device,
    ) -> Result<Tensor> {
        let numbers = [Value::Float(start), Value::Float(end), Value::Int(steps), Value::Float(base)];
        call_one("logspace", &numbers, &made_as(dtype, device))
    }

    /// Returns a `rows` by `columns` matrix with ones on the diagonal and zeros elsewhere.
    pub fn eye(rows: i64, columns: i64, dtype: DType, device: Device) -> Result<Tensor> {
        call_one("eye.m", &[Value::Int(rows), Value::Int(columns)], &made_as(dtype, device))
    }

    /// Returns the int64 coordinates [2, count] of the lower triangle of a matrix.
    pub fn tril_indices(rows: i64, columns: i64, offset: i64, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_tril_indices(rows, columns, offset, (tch::Kind::Int64, device.tch())))
            .map(Tensor::wrap)
    }

    /// Returns the int64 coordinates [2, count] of the upper triangle of a matrix.
    pub fn triu_indices(rows: i64, columns: i64, offset: i64, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_triu_indices(rows, columns, offset, (tch::Kind::Int64, device.tch())))
            .map(Tensor::wrap)
    }

    /// Returns the periodic Hann window `sin^2(pi i / length)`.
    pub fn hann_window(length: i64, dtype: DType, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_hann_window(length, (dtype.kind(), device.tch()))).map(Tensor::wrap)
    }

    /// Draws ones with these probabilities, else zeros.
    pub fn bernoulli(&self, generator: Option<&Generator>) -> Result<Tensor> {
        call_one("bernoulli", &[self.clone().into_value()], &drawn_from(generator))
    }

    /// Draws counts from Poisson distributions with these rates.
    pub fn poisson(&self, generator: Option<&Generator>) -> Result<Tensor> {
        call_one("poisson", &[self.clone().into_value()], &drawn_from(generator))
    }

    /// Draws int64 indices with these weights, per row.
    pub fn multinomial(
        &self,
        count: i64,
        replacement: bool,
        generator: Option<&Generator>,
    ) -> Result<Tensor> {
        let arguments = [self.clone().into_value(), Value::Int(count), Value::Bool(replacement)];
        call_one("multinomial", &arguments, &drawn_from(generator))
    }
}

/// Returns the named arguments for the dtype and device of a new tensor.
pub(super) fn made_as(dtype: DType, device: Device) -> Map {
    Map::from([("dtype".to_string(), dtype.into_value()), ("device".to_string(), device.into_value())])
}

fn drawn_from(generator: Option<&Generator>) -> Map {
    generator.map(|g| ("generator".to_string(), g.clone().into_value())).into_iter().collect()
}
