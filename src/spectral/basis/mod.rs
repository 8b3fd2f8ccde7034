//! Transforms of images and token grids, with gains, for filters, losses, noise and guidance by frequency.
//!
//! - [`Basis`]: a transform; [`Basis::scale`] transforms, multiplies by gains and transforms back
//! - `cosines`, `fourier`, `haar`, `laplacian`: the kinds; `planes`: images and tokens as stacks of planes; `tables`: constants
//!   on each device
//! - `api`: the declared functions
//!
//! Frequencies are radii, as fractions of Nyquist: 1 is a wave of two pixels along one axis, sqrt(2) the
//! checkerboard.

pub(crate) mod api;
mod cosines;
mod fourier;
mod haar;
mod laplacian;
mod planes;
mod tables;

use std::fmt;
use std::sync::Arc;

pub use api::make::*;
pub use haar::Haar;
pub use laplacian::Laplacian;

use self::planes::Planes;
use self::tables::{Tables, What};
use super::kind;
use crate::declare::{Display, Map, Options, Value};
use crate::document::Document;
use crate::error::Result;
use crate::scripted;
use crate::torch::{DType, Device, Tensor};

/// An invertible transform of planes. Clones share its tables, which are sent to a device once for each size and dtype.
#[derive(Debug, Clone)]
pub struct Basis {
    kind: Kind,
    tables: Arc<Tables>,
}

/// Kinds of transforms.
#[derive(Debug, Clone)]
enum Kind {
    /// Orthonormal cosine transform (DCT-II): coefficients [H, W] of a plane reflected at its edges.
    Dct,
    /// Unitary FFT: complex coefficients [H, W] of a periodic plane.
    Fft,
    /// Orthonormal means and differences of blocks: coefficients [H, W], the coarse ones in the top left corner.
    Haar(Haar),
    /// Differences of blurred copies: bands [K, .., H, W], the finest first, whose sum is the plane.
    Laplacian(Laplacian),
}

scripted!(
    Basis,
    "basis",
    |b| Display::text(b.to_string()),
    document = |b, _| Document::code(&b.to_string()),
    describe = |b| ("the basis", b.to_string()),
    data = |b| Some(b.to_data()),
    restore = Basis::from_data,
);

/// Names of all kinds.
pub const NAMES: &[&str] = &["dct", "fft", "haar", "laplacian"];

impl Basis {
    fn new(kind: Kind) -> Self {
        Self { kind, tables: Arc::default() }
    }

    /// Creates the orthonormal cosine transform.
    pub fn dct() -> Self {
        Self::new(Kind::Dct)
    }

    /// Creates the unitary FFT.
    pub fn fft() -> Self {
        Self::new(Kind::Fft)
    }

    /// Checks the options of a Haar transform and creates a basis from them.
    pub fn haar(options: Haar) -> Result<Self> {
        options.check()?;
        Ok(Self::new(Kind::Haar(options)))
    }

    /// Checks the options of a Laplacian pyramid and creates a basis from them.
    pub fn laplacian(options: Laplacian) -> Result<Self> {
        options.check()?;
        Ok(Self::new(Kind::Laplacian(options)))
    }

    /// Returns the name of its kind, such as `dct`.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Dct => NAMES[0],
            Kind::Fft => NAMES[1],
            Kind::Haar(_) => NAMES[2],
            Kind::Laplacian(_) => NAMES[3],
        }
    }

    /// Returns its options, including defaults.
    pub fn options(&self) -> Map {
        match &self.kind {
            Kind::Dct | Kind::Fft => Map::new(),
            Kind::Haar(options) => options.to_map(),
            Kind::Laplacian(options) => options.to_map(),
        }
    }

    /// Returns its kind and options as data.
    pub fn to_data(&self) -> Value {
        kind::stored(self.name(), self.options())
    }

    /// Restores a basis from the output of [`Basis::to_data`].
    pub fn from_data(data: &Value) -> Result<Self> {
        let (name, options) = kind::read_stored("basis", data)?;
        match name.as_str() {
            "dct" => Ok(Self::dct()),
            "fft" => Ok(Self::fft()),
            "haar" => Self::haar(Haar::from_map(&options)?),
            "laplacian" => Self::laplacian(Laplacian::from_map(&options)?),
            other => Err(kind::unknown("basis", other, NAMES)),
        }
    }

    /// Returns the coefficients of images [B, C, H, W].
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let planes = Planes::of_images(images)?;
        self.transform(planes.values())
    }

    /// Returns the images [B, C, H, W] whose coefficients [`Basis::forward`] computed.
    pub fn inverse(&self, coefficients: &Tensor) -> Result<Tensor> {
        let rank = if matches!(self.kind, Kind::Laplacian(_)) { 5 } else { 4 };
        crate::ensure!(
            coefficients.rank() == rank,
            "expected coefficients of {rank} dimensions, as {self} gives for images, found shape {:?}",
            coefficients.shape()
        );
        self.back(coefficients)
    }

    /// Returns the frequency radius of each coefficient of planes of `height` x `width`, broadcastable to the
    /// coefficients.
    ///
    /// The shape is [H, W], or [K, 1, 1, 1, 1] for a Laplacian pyramid, where the radius is the middle of the band.
    pub fn radius(&self, height: usize, width: usize, dtype: DType, device: Device) -> Result<Tensor> {
        // Code may write into what it receives.
        self.radii(height, width, dtype, device)?.copy()
    }

    /// As [`Basis::radius`], for use without writes.
    fn radii(&self, height: usize, width: usize, dtype: DType, device: Device) -> Result<Tensor> {
        self.tables.get(What::Radii(height, width), dtype, device, || {
            let plane = vec![height as i64, width as i64];
            Ok(match &self.kind {
                Kind::Dct => (cosines::radii(height, width), plane),
                Kind::Fft => (fourier::radii(height, width), plane),
                Kind::Haar(haar) => (haar.radii(height, width)?, plane),
                Kind::Laplacian(pyramid) => (pyramid.radii(), vec![pyramid.bands() as i64, 1, 1, 1, 1]),
            })
        })
    }

    /// Returns [`Basis::radius`] for images [B, C, H, W], on their device.
    pub fn radius_of(&self, images: &Tensor) -> Result<Tensor> {
        let planes = Planes::of_images(images)?;
        self.radius(planes.height, planes.width, planes.values().dtype(), images.device())
    }

    /// Transforms, multiplies by the gains and transforms back.
    ///
    /// `x` is images [B, C, H, W], or tokens [B, N, D] in row-major order on a square grid or on `grid` (height,
    /// width). `gain` takes the radii, see [`Basis::radius`], and returns a tensor that broadcasts to the
    /// coefficients; it may have a batch axis, as in [B, 1, 1, 1] times the radii. Gradients flow through `x` and
    /// the gains. Half precision is transformed in float32. The result is real, so that opposite waves get the mean
    /// of their gains.
    pub fn scale(
        &self,
        x: &Tensor,
        grid: Option<(i64, i64)>,
        gain: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let planes = Planes::of(x, grid)?;
        let values = planes.values();
        let radii = self.radius(planes.height, planes.width, values.dtype(), values.device())?;
        let gains = Self::gains(&radii, &gain)?;
        let passed = match &self.kind {
            Kind::Fft => fourier::scale(values, &gains, &self.tables)?,
            _ => self.back(&self.transform(values)?.mul(&gains)?)?,
        };
        crate::ensure!(
            passed.shape() == values.shape(),
            "the gains must broadcast to the coefficients of shape {:?}, which would become {:?}",
            values.shape(),
            passed.shape()
        );
        planes.like(&passed)
    }

    /// Splits `x` at ascending edges: below the first, from each to the next, and from the last on. The bands sum
    /// to `x`.
    pub fn bands(&self, x: &Tensor, grid: Option<(i64, i64)>, edges: &[f64]) -> Result<Vec<Tensor>> {
        crate::ensure!(
            edges.windows(2).all(|pair| pair[0] < pair[1]) && edges.iter().all(|edge| edge.is_finite()),
            "the edges of bands are frequency radii that ascend, found {edges:?}"
        );
        let planes = Planes::of(x, grid)?;
        let values = planes.values();
        let radii = self.radii(planes.height, planes.width, values.dtype(), values.device())?;
        let coefficients = self.transform(values)?;
        let mut bands = Vec::new();
        let mut rest = x.clone();
        let mut below = radii.lt_scalar(f64::NEG_INFINITY)?;
        for edge in edges {
            // A radius equal to an edge up to rounding counts as above it.
            let inside = radii.lt_scalar(*edge - 1e-6)?;
            let mask = inside.logical_and(&below.logical_not()?)?.to_dtype(values.dtype())?;
            let band = planes.like(&self.back(&coefficients.mul(&mask)?)?)?;
            rest = rest.sub(&band)?;
            bands.push(band);
            below = inside;
        }
        bands.push(rest);
        Ok(bands)
    }

    /// Returns the gains at the given radii, in the dtype of the radii.
    fn gains(radii: &Tensor, gain: &impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let gains = gain(radii)?;
        crate::ensure!(
            !gains.dtype().is_complex(),
            "gains must be real, or a real image would become a complex one, found {}",
            gains.dtype().name()
        );
        // A comparison returns booleans.
        gains.to_dtype(radii.dtype())
    }

    fn transform(&self, planes: &Tensor) -> Result<Tensor> {
        match &self.kind {
            Kind::Dct => cosines::forward(planes, &self.tables),
            Kind::Fft => planes.fft2("ortho"),
            Kind::Haar(haar) => haar.forward(planes),
            Kind::Laplacian(pyramid) => pyramid.forward(planes, &self.tables),
        }
    }

    fn back(&self, coefficients: &Tensor) -> Result<Tensor> {
        match &self.kind {
            Kind::Dct => cosines::inverse(coefficients, &self.tables),
            Kind::Fft => coefficients.ifft2("ortho")?.real(),
            Kind::Haar(haar) => haar.inverse(coefficients),
            Kind::Laplacian(_) => coefficients.sum(&[0], false),
        }
    }
}

/// Bases are equal if their kinds and options are.
impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && format!("{:?}", self.options()) == format!("{:?}", other.options())
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.options() {
            options if options.is_empty() => write!(f, "basis::{}()", self.name()),
            options => write!(f, "basis::{}({:?})", self.name(), Value::Map(options)),
        }
    }
}

#[cfg(test)]
mod tests;
