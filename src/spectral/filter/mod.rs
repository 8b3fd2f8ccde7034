//! Low-pass filters on the token grid, one file each.
//!
//! To add a filter, write a file like `gaussian.rs` and add it to `kinds!` below. The script constructor, the
//! help, the printed form and the stored form follow from its options.
//!
//! Frequencies are given as a radius r, a fraction of the Nyquist frequency of the token grid: r = 1 is
//! a wave of two tokens along one axis, and r = sqrt(2) the checkerboard.

use std::fmt;
use std::sync::Arc;

use crate::context::Context;
use crate::declare::{Code, Display, Map, Options, Value};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::scripted;
use crate::torch::{DType, Device, Tensor};

use super::kind::{self, Kind, kinds};

pub(crate) mod api;
pub mod operator;
mod response_of;

pub use learned::LearnedInit;
pub use operator::{Operator, Plan};
pub(crate) use response::SAME as SAME_RADIUS;
pub use taps::TapsOptions;

/// Interface that every filter file implements.
pub trait LowPass: fmt::Debug + Send + Sync {
    /// Checks constraints that the ranges of the options cannot express, such as an odd width.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the filter's matrices for a grid of [height, width] tokens, in float64.
    fn operator(&self, grid: [usize; 2]) -> Result<Operator>;

    /// Returns the gain of a wave of frequency radius `radius` far from edges.
    fn gain(&self, radius: f64) -> Result<f64>;

    /// Builds the filter of one block; the names of its parameters, if it has any, start with `name`.
    fn layer(&self, builder: &mut Builder, _name: &str, grid: [usize; 2]) -> Result<Plan> {
        self.operator(grid)?.plan(builder.dtype(), builder.device())
    }

    /// Returns the number of parameters of the filter in one block.
    fn parameters(&self) -> i64 {
        0
    }

    /// Returns the user code that it calls at each application, if any.
    fn code(&self) -> Option<&Code> {
        None
    }

    /// Returns a copy with its code compiled, if it has code.
    fn compiled(&self, _: &Context) -> Result<Option<Filter>> {
        Ok(None)
    }

    /// Formats the arguments for the printed form, given its options.
    fn arguments(&self, options: &Map) -> String {
        format!("{:?}", Value::Map(options.clone()))
    }

    /// Returns the value by which filters of this kind are compared, given their options.
    fn identity(&self, options: Map) -> Value {
        Value::Map(options)
    }
}

/// Type-erased filter kind.
trait AnyFilter: LowPass {
    fn name(&self) -> &'static str;
    fn options(&self) -> Map;
}

impl<T: LowPass + Kind> AnyFilter for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn options(&self) -> Map {
        self.to_map()
    }
}

/// A low-pass filter; a value that is printed, compared and stored by its kind and options.
#[derive(Clone)]
pub struct Filter(Arc<dyn AnyFilter>);

scripted!(
    Filter,
    "filter",
    |f| Display::text(f.to_string()),
    document = |f, _| Document::code(&f.to_string()),
    describe = |f| ("the filter", f.to_string()),
    data = |f| Some(f.to_data()),
    restore = Filter::from_data,
);

impl Filter {
    /// Checks the options and creates a filter from them.
    pub fn new(spec: impl LowPass + Kind + 'static) -> Result<Self> {
        Options::check(&spec)?;
        LowPass::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }

    /// Returns the filter of a kind with its default options.
    pub fn named(name: &str) -> Result<Self> {
        restore(name, &Map::new())
    }

    /// Returns the name of its kind, such as `gaussian`.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Returns its options, including defaults.
    pub fn options(&self) -> Map {
        self.0.options()
    }

    /// Returns the floating-point operations for one channel of one grid; see [`Operator::flops`].
    pub fn flops(&self, grid: [i64; 2]) -> Result<f64> {
        Ok(self.operator(grid)?.flops())
    }

    /// Builds the filter of one block; the names of its parameters, if it has any, start with `name`.
    pub fn layer(&self, builder: &mut Builder, name: &str, grid: i64) -> Result<Plan> {
        if let Some(code) = self.code() {
            let function = code.function()?;
            builder.within(name, |builder| {
                builder.calls(function);
                Ok(())
            })?;
        }
        self.0.layer(builder, name, checked([grid; 2])?)
    }

    /// Returns the number of parameters of the filter in one block.
    pub fn parameters(&self) -> i64 {
        self.0.parameters()
    }

    /// Returns whether it calls user code at each application, whose effect is unknown.
    pub fn calls_code(&self) -> bool {
        self.code().is_some()
    }

    /// Returns the user code that it calls, if any.
    pub fn code(&self) -> Option<&Code> {
        self.0.code()
    }

    /// Returns a copy with its code compiled if it was read from a file.
    pub fn compiled(&self, context: &Context) -> Result<Self> {
        let compiled = self.0.compiled(context).map_err(|e| e.context(self.to_string()))?;
        Ok(compiled.unwrap_or_else(|| self.clone()))
    }

    fn operator(&self, grid: [i64; 2]) -> Result<Operator> {
        self.0.operator(checked(grid)?)
    }

    /// Builds its matrices for a square grid, dtype and device; build the plan once and apply it often.
    pub fn plan(&self, grid: i64, dtype: DType, device: Device) -> Result<Plan> {
        self.plan_of([grid; 2], dtype, device)
    }

    /// Builds its matrices for a grid of [height, width] tokens. A frequency is a fraction of the Nyquist frequency of its
    /// axis, so that a filter does the same along each axis as on a square grid of that side.
    pub fn plan_of(&self, grid: [i64; 2], dtype: DType, device: Device) -> Result<Plan> {
        self.operator(grid)?.plan(dtype, device)
    }

    /// Filters tokens [B, N, D] with N = grid * grid in row-major order; gradients flow through.
    pub fn apply(&self, tokens: &Tensor, grid: i64) -> Result<Tensor> {
        self.apply_on(tokens, [grid; 2])
    }

    /// Filters tokens [B, N, D] of a grid of [height, width] tokens in row-major order; gradients flow through.
    pub fn apply_on(&self, tokens: &Tensor, grid: [i64; 2]) -> Result<Tensor> {
        self.plan_of(grid, tokens.dtype(), tokens.device())?.apply(tokens)
    }

    /// Filters each channel of images [B, C, H, W]; gradients flow through.
    pub fn apply_to_images(&self, images: &Tensor) -> Result<Tensor> {
        let [batch, channels, height, width] = images.shape()[..] else {
            return Err(Error::argument(format!(
                "expected images [B, C, H, W], found shape {:?}",
                images.shape()
            )));
        };
        let tokens = images.reshape(&[batch, channels, height * width])?.transpose(1, 2)?;
        self.apply_on(&tokens, [height, width])?.transpose(1, 2)?.reshape(&[batch, channels, height, width])
    }

    /// Returns the transfer function measured on a grid, float64 [grid, grid], zero frequency first.
    ///
    /// Entry [i, j] is the in-phase response to the wave of i cycles down and j cycles across: the filter is
    /// applied to every wave that the grid can hold, edges included.
    pub fn response(&self, grid: i64) -> Result<Tensor> {
        response_of::measure(&self.plan(grid, DType::Float64, Device::Cpu)?, grid)
    }

    /// Returns the gain of a wave of frequency radius `radius`, from 0 to sqrt(2), far from edges.
    ///
    /// A separable filter is not exactly radial: up to 1, its gain is that of a wave along one axis, and beyond,
    /// where only oblique waves exist, that of a wave on the border of the frequency square.
    pub fn gain(&self, radius: f64) -> Result<f64> {
        crate::ensure!(
            (0.0..=std::f64::consts::SQRT_2 + 1e-9).contains(&radius),
            "a frequency radius is from 0 to sqrt(2), a fraction of Nyquist, found {radius}"
        );
        self.0.gain(radius)
    }

    /// Returns its kind and options as data.
    pub fn to_data(&self) -> Value {
        kind::stored(self.name(), self.options())
    }

    /// Restores a filter from the output of [`Filter::to_data`].
    pub fn from_data(data: &Value) -> Result<Self> {
        let (name, options) = kind::read_stored("filter", data)?;
        restore(&name, &options).map_err(|e| e.context(format!("filter `{name}`")))
    }
}

fn checked(grid: [i64; 2]) -> Result<[usize; 2]> {
    for side in grid {
        crate::ensure!(
            (1..=1024).contains(&side),
            "the token grid must be from 1 to 1024 wide, found {side}"
        );
    }
    Ok(grid.map(|side| side as usize))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter::{}({})", self.name(), self.0.arguments(&self.options()))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Filters are equal if their kinds and options are.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        let identity = |f: &Self| (f.name(), format!("{:?}", f.0.identity(f.options())));
        Arc::ptr_eq(&self.0, &other.0) || identity(self) == identity(other)
    }
}

kinds! { "filter", Filter:
    binomial: Binomial,
    gaussian: Gaussian,
    r#box: BoxBlur,
    taps: Taps,
    ideal: Ideal,
    butterworth: Butterworth,
    dct: Dct,
    haar: Haar,
    learned: Learned,
    custom: Custom,
    response: Response,
}

#[cfg(test)]
mod tests;
