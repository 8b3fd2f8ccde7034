//! Tensor functions and methods of scripts, modelled on PyTorch, with one file per topic.

use crate::declare::{Declaration, FromValue, IntoValue, Map, OneOrMany, Value};
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Generator, Tensor};

mod activation;
mod arithmetic;
mod aten;
mod autograd;
mod compare;
mod convert;
mod create;
mod fft;
pub mod index;
mod inplace;
mod io;
mod join;
mod linalg;
mod loss;
mod maths;
mod nn;
mod random;
mod reduce;
mod scan;
mod shape;
mod sort;
mod vision;

crate::api! {
    types: [Tensor, Generator, index::Several],
    functions: [
        create, random, convert, arithmetic, inplace, compare, maths, reduce, scan, shape, index, join, sort, linalg, fft, activation, nn, vision, loss, autograd, io, aten,
    ],
}

/// Functions of the namespace `tensor` for Rust programs.
pub mod rust {
    pub use super::autograd::space::rust::*;
    pub use super::compare::choice::space::rust::*;
    pub use super::create::{filled::rust::*, grids::rust::*, like::rust::*};
    pub use super::fft::making::rust::*;
    pub use super::io::files::rust::*;
    pub use super::join::joining::rust::*;
    pub use super::linalg::sums::rust::*;
    pub use super::random::{sources::rust::*, tensors::rust::*};
}

/// Functions without a namespace for Rust programs.
pub mod global {
    pub use super::aten::rust::*;
    pub use super::autograd::closures::rust::*;
    pub use super::create::from_values::rust::*;
}

/// Joins the declarations of a file's parts.
fn join(parts: &[&'static [Declaration]]) -> Vec<&'static Declaration> {
    parts.iter().copied().flatten().collect()
}

/// Sizes of all dimensions: an array, or a single integer for a vector.
struct Shape(Vec<i64>);

impl FromValue for Shape {
    fn label() -> String {
        "int or array of int".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let sizes = OneOrMany::<i64>::from_value(value)?.0;
        match sizes.iter().find(|s| **s < 0) {
            Some(negative) => {
                Err(Error::argument(format!("a size of {negative} in shape {sizes:?} is negative")))
            }
            None => Ok(Self(sizes)),
        }
    }
}

/// The dimensions of a reduction: an integer or an array; `()` or nothing means all.
struct Dims(Vec<i64>);

impl FromValue for Dims {
    fn label() -> String {
        "int or array of int".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Unit => Ok(Self(Vec::new())),
            Value::Map(_) => Err(value.mismatch(&Self::label()).hint(
                "the dimensions come before the options; () means all: `x.sum((), #{ keepdim: true })`",
            )),
            other => OneOrMany::<i64>::from_value(other).map(|dims| Self(dims.0)),
        }
    }
    fn missing() -> Option<Result<Self>> {
        Some(Ok(Self(Vec::new())))
    }
}

crate::options! {
    /// Options of functions that create tensors.
    pub struct Make {
        /// Element type, such as "float32"; when left out it follows from the values, or is float32.
        dtype: Option<DType> = None;
        /// Device of the tensor: "cpu", "cuda", "cuda:1" or "auto"; the CPU when left out.
        device: Option<Device> = None;
        /// Whether to record gradients for the tensor.
        requires_grad: bool = false;
    }

    /// Options of functions that create random tensors.
    pub struct Draw {
        /// Element type; float32 when left out.
        dtype: Option<DType> = None;
        /// Device of the tensor: "cpu", "cuda", "cuda:1" or "auto"; the CPU when left out.
        device: Option<Device> = None;
        /// Whether to record gradients for the tensor.
        requires_grad: bool = false;
        /// Seed for this call only; the default generator is not changed.
        seed: Option<i64> = None;
        /// A generator from `tensor::generator` that this call advances.
        generator: Option<Generator> = None;
    }

    /// Options of methods that draw random numbers.
    pub struct Source {
        /// Seed for this call only; the default generator is not changed.
        seed: Option<i64> = None;
        /// A generator from `tensor::generator` that this call advances.
        generator: Option<Generator> = None;
    }

    /// Options of reductions.
    pub struct Reduce {
        /// Whether to keep reduced dimensions with size 1.
        keepdim: bool = false;
    }
}

impl Make {
    fn dtype(&self) -> DType {
        self.dtype.unwrap_or(DType::Float32)
    }
    fn device(&self) -> Device {
        self.device.unwrap_or(Device::Cpu)
    }
    /// Turns on gradients for the finished tensor if requested.
    fn finish(&self, tensor: Tensor) -> Result<Tensor> {
        if self.requires_grad { tensor.set_requires_grad(true) } else { Ok(tensor) }
    }
    /// Returns the same options, with dtype and device of another tensor where they are left out.
    fn like(&self, other: &Tensor) -> Self {
        Self {
            dtype: self.dtype.or(Some(other.dtype())),
            device: self.device.or(Some(other.device())),
            requires_grad: self.requires_grad,
        }
    }
}

impl Draw {
    fn dtype(&self) -> DType {
        self.dtype.unwrap_or(DType::Float32)
    }
    fn device(&self) -> Device {
        self.device.unwrap_or(Device::Cpu)
    }
    fn finish(&self, tensor: Tensor) -> Result<Tensor> {
        if self.requires_grad { tensor.set_requires_grad(true) } else { Ok(tensor) }
    }
    fn source(&self, device: Device) -> Result<Option<Generator>> {
        source(self.seed, &self.generator, device)
    }
}

impl Source {
    fn on(&self, device: Device) -> Result<Option<Generator>> {
        source(self.seed, &self.generator, device)
    }
}

/// Returns the generator for the options `seed` and `generator`; `None` means the default generator of the device.
fn source(seed: Option<i64>, generator: &Option<Generator>, device: Device) -> Result<Option<Generator>> {
    match (seed, generator) {
        (Some(_), Some(_)) => Err(Error::argument("options `seed` and `generator` are mutually exclusive")),
        (Some(seed), None) => Generator::new(seed as u64, device).map(Some),
        (None, generator) => Ok(generator.clone()),
    }
}

/// Returns `#{ values, indices }`, like the PyTorch functions that return both.
fn values_and_indices((values, indices): (Tensor, Tensor)) -> Map {
    record([("values", values), ("indices", indices)])
}

/// Returns a map of tensors.
fn record<const N: usize>(entries: [(&str, Tensor); N]) -> Map {
    entries.into_iter().map(|(name, tensor)| (name.to_string(), tensor.into_value())).collect()
}
