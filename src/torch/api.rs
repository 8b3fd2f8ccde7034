//! What this room adds to scripts, and the parameter types that several files share.

use crate::declare::{FromValue, OneOrMany, Options, Value};
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Generator, Tensor};

use super::ops::declare::{Argument, arguments};
use super::ops::{
    activation, arithmetic, compare, fft, index, inplace, join, linalg, loss, maths, nn, reduce, shape, sort,
    vision,
};
use super::{assignment, aten, autograd, convert, create, fields, io, placement, random, resize};

crate::api! {
    types: [Tensor, Generator, super::index::Several, fields::GivenFields],
    functions: [
        create, random, convert, arithmetic, inplace, compare, maths, reduce, shape, index, join, sort, linalg, fft,
        activation, nn, vision, resize, loss, autograd::api, io::api, aten, fields::methods, assignment, placement,
    ],
}

/// Constructors of tensors, the functions of the namespace `tensor`.
pub mod constructors {
    pub use super::{DrawLikeOptions, DrawOptions, LikeOptions, MakeOptions, Shape, SourceOptions};
    pub use crate::torch::autograd::api::space::*;
    pub use crate::torch::create::{filled::*, from_values::*, grids::*, like::*};
    pub use crate::torch::io::api::space::*;
    pub use crate::torch::io::api::{LoadOptions, SaveOptions};
    pub use crate::torch::ops::compare::space::*;
    pub use crate::torch::ops::fft::making::*;
    pub use crate::torch::ops::join::joining::*;
    pub use crate::torch::ops::linalg::sums::*;
    pub use crate::torch::placement::space::*;
    pub use crate::torch::random::{PlaceOptions, sources::*, tensors::*};
}

/// Sizes of all dimensions: an array, or a single integer for a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(pub Vec<i64>);

macro_rules! shapes {
    ($($size:ty: $wide:expr;)*) => {$(
        impl From<$size> for Shape {
            fn from(size: $size) -> Self {
                let wide: fn($size) -> i64 = $wide;
                Self(vec![wide(size)])
            }
        }

        impl<const N: usize> From<[$size; N]> for Shape {
            fn from(sizes: [$size; N]) -> Self {
                Self(sizes.map($wide).to_vec())
            }
        }
    )*};
}

shapes! {
    i32: i64::from;
    i64: |size| size;
    usize: |size| size as i64;
}

impl From<Vec<i64>> for Shape {
    fn from(sizes: Vec<i64>) -> Self {
        Self(sizes)
    }
}

impl From<&[i64]> for Shape {
    fn from(sizes: &[i64]) -> Self {
        Self(sizes.to_vec())
    }
}

impl FromValue for Shape {
    fn label() -> String {
        "int or array of ints".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let shape = Self(OneOrMany::from_value(value)?.0);
        shape.validate().map(|()| shape)
    }
    fn validate(&self) -> Result<()> {
        match self.0.iter().find(|s| **s < 0) {
            Some(negative) => {
                Err(Error::argument(format!("a size of {negative} in shape {:?} is negative", self.0)))
            }
            None => Ok(()),
        }
    }
}

/// The dimensions of a reduction: an integer or an array; `()` or nothing means all.
pub struct Dims(pub(super) Vec<i64>);

impl FromValue for Dims {
    fn label() -> String {
        "int or array of ints".to_string()
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

arguments! {
    Shape: &'a [i64], |shape| &shape.0;
    Dims: &'a [i64], |dims| &dims.0;
}

/// The dimensions of an operator for which libtorch needs all of them by number: those given, else every dimension.
pub struct Every(Dims);

impl FromValue for Every {
    fn label() -> String {
        Dims::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        Dims::from_value(value).map(Self)
    }
    fn missing() -> Option<Result<Self>> {
        Some(Ok(Self(Dims(Vec::new()))))
    }
}

impl Argument for Every {
    type Held = Vec<i64>;
    type Rust<'a> = &'a [i64];
    fn hold(self, x: &Tensor) -> Result<Vec<i64>> {
        Ok(if self.0.0.is_empty() { (0..x.rank() as i64).collect() } else { self.0.0 })
    }
    fn lend(held: &Vec<i64>) -> &[i64] {
        held
    }
}

/// The dimension of a scan; only a vector or a scalar may leave it out.
pub struct Along(Option<i64>);

impl FromValue for Along {
    fn label() -> String {
        i64::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        Option::<i64>::from_value(value).map(Self)
    }
    fn missing() -> Option<Result<Self>> {
        Some(Ok(Self(None)))
    }
}

impl Argument for Along {
    type Held = i64;
    type Rust<'a> = i64;
    fn hold(self, x: &Tensor) -> Result<i64> {
        match self.0 {
            Some(dim) => Ok(dim),
            None if x.rank() <= 1 => Ok(0),
            None => Err(Error::argument(format!("argument `dim` is missing for shape {:?}", x.shape()))
                .hint("pass a dimension, such as 0 for the first or -1 for the last")),
        }
    }
    fn lend(held: &i64) -> i64 {
        *held
    }
}

impl Argument for SourceOptions {
    type Held = Option<Generator>;
    type Rust<'a> = Option<&'a Generator>;
    fn hold(self, x: &Tensor) -> Result<Option<Generator>> {
        self.of(x.device())
    }
    fn lend(held: &Option<Generator>) -> Option<&Generator> {
        held.as_ref()
    }
}

/// Options of functions that create tensors.
#[derive(Debug, Clone, Options)]
pub struct MakeOptions {
    /// Element type, such as "float32"; float32 by default, unless stated otherwise above.
    pub dtype: Option<DType>,
    /// Device of the tensor: "cpu", "cuda", "cuda:1" or "auto"; by default that of the generator, else the default device.
    pub device: Option<Device>,
    /// Whether to record gradients for the tensor.
    #[option(default = false)]
    pub requires_grad: bool,
}

/// Options of functions that create a tensor like another one, `x`.
#[derive(Debug, Clone, Options)]
pub struct LikeOptions {
    /// Element type, such as "float32"; by default that of `x`.
    pub dtype: Option<DType>,
    /// Device of the tensor: "cpu", "cuda", "cuda:1" or "auto"; by default that of `x`.
    pub device: Option<Device>,
    /// Whether to record gradients for the tensor.
    #[option(default = false)]
    pub requires_grad: bool,
}

/// Options of functions that draw a tensor like another one, `x`.
#[derive(Debug, Clone, Options)]
pub struct DrawLikeOptions {
    /// The tensor.
    #[option(flatten)]
    pub make: LikeOptions,
    /// The random numbers.
    #[option(flatten)]
    pub source: SourceOptions,
}

/// Options of functions that create random tensors.
#[derive(Debug, Clone, Options)]
pub struct DrawOptions {
    /// The tensor.
    #[option(flatten)]
    pub make: MakeOptions,
    /// The random numbers.
    #[option(flatten)]
    pub source: SourceOptions,
}

/// Options of methods that draw random numbers.
#[derive(Debug, Clone, Options)]
pub struct SourceOptions {
    /// Seed for this call only; the default generator is not changed.
    pub seed: Option<i64>,
    /// A generator from `tensor::generator` that this call advances.
    pub generator: Option<Generator>,
}

/// Options of reductions.
#[derive(Debug, Clone, Options)]
pub struct ReduceOptions {
    /// Whether to keep reduced dimensions with size 1.
    #[option(default = false)]
    pub keepdim: bool,
}

impl MakeOptions {
    pub(super) fn dtype(&self) -> DType {
        self.dtype.unwrap_or(DType::Float32)
    }
    pub(super) fn device(&self) -> Device {
        self.device.unwrap_or_else(Device::of_new)
    }
    /// Turns on gradients for the finished tensor if requested.
    pub(super) fn finish(&self, tensor: Tensor) -> Result<Tensor> {
        if self.requires_grad { tensor.set_requires_grad(true) } else { Ok(tensor) }
    }
}

impl LikeOptions {
    /// Returns options that name the dtype and the device, those of `x` where they are left out.
    pub(super) fn of(&self, x: &Tensor) -> MakeOptions {
        MakeOptions {
            dtype: self.dtype.or(Some(x.dtype())),
            device: self.device.or(Some(x.device())),
            requires_grad: self.requires_grad,
        }
    }
}

impl DrawOptions {
    /// Returns the device of the tensor: the one that is named, or that of the generator.
    pub(super) fn device(&self) -> Device {
        let own = || self.source.generator.as_ref().map(Generator::device);
        self.make.device.or_else(own).unwrap_or_else(Device::of_new)
    }
}

impl SourceOptions {
    /// Returns the generator to draw from; `None` means the default generator of the device.
    pub(super) fn of(&self, device: Device) -> Result<Option<Generator>> {
        match (self.seed, &self.generator) {
            (Some(_), Some(_)) => {
                Err(Error::argument("options `seed` and `generator` are mutually exclusive"))
            }
            (Some(seed), None) => Generator::new(seed as u64, device).map(Some),
            (None, generator) => Ok(generator.clone()),
        }
    }
}
