//! Radial power spectra of images, and of other tensors on grids.

use std::path::Path;

use super::Images;
use super::images::{CHUNK, not_images};
use super::metric::{Better, Family, Metric, Needs, Reading};
use crate::context::Context;
use crate::data::{Dataset, pixels};
use crate::declare::{FromValue, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Tensor};

/// The spectrum gap for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[Metric {
        name: "radial_spectrum_gap",
        summary: "mean absolute difference of the logarithms of both radial power spectra",
        better: Better::Lower,
        unit: "difference of natural logarithms of power, from 0",
        source: "azimuthally averaged spectrum as in Durall et al. 2020, arXiv:2003.01826",
    }],
    needs: Needs::Pixels,
    divided: false,
    measure: |pair, cx| {
        Ok(vec![Reading::of_both(radial_spectrum_gap(pair.real.images, pair.made.images, cx)?)])
    },
};

/// Images, or a tensor [N, C, H, W] whose values are not checked.
#[derive(Debug, Clone)]
pub enum Grids {
    /// Images of a data set or a file.
    Images(Images),
    /// Latents, noise, residuals, or images.
    Tensor(Tensor),
}

/// Options of `eval::radial_spectrum`.
#[derive(Debug, Clone, Options)]
pub struct RadialSpectrumOptions {
    /// Whether to measure gray images with values in [0, 1]. `false` takes the values of any float tensor [N, C, H, W] as they
    /// are, those of latents, noise and residuals, and averages the power over the channels.
    #[option(default = true)]
    pub gray: bool,
}

impl From<Images> for Grids {
    fn from(images: Images) -> Self {
        Self::Images(images)
    }
}

impl From<Dataset> for Grids {
    fn from(set: Dataset) -> Self {
        Self::Images(Images::of(&set))
    }
}

impl From<&Dataset> for Grids {
    fn from(set: &Dataset) -> Self {
        Self::Images(Images::of(set))
    }
}

impl From<Tensor> for Grids {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<&Tensor> for Grids {
    fn from(tensor: &Tensor) -> Self {
        Self::Tensor(tensor.clone())
    }
}

/// See [`Images::open`].
impl TryFrom<&Path> for Grids {
    type Error = Error;

    fn try_from(path: &Path) -> Result<Self> {
        Images::open(path).map(Self::Images)
    }
}

impl FromValue for Grids {
    fn label() -> String {
        Images::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value.downcast::<Tensor>() {
            Some(tensor) => Ok(Self::Tensor(tensor)),
            None => Images::from_value(value).map(Self::Images),
        }
    }
}

impl Grids {
    /// Returns the images, or an error if a tensor is not one of images.
    pub fn images(self) -> Result<Images> {
        const OTHER: &str = "latents, noise and residuals take `#{ gray: false }`";
        let tensor = match self {
            Self::Images(images) => return Ok(images),
            Self::Tensor(tensor) => tensor,
        };
        pixels::check(&tensor)?;
        match tensor.size(1)? {
            1 | 3 => {}
            channels => return Err(not_images(channels).hint(OTHER)),
        }
        Images::new(&tensor).map_err(|e| {
            let hint = e.hint_text().map_or(OTHER.to_string(), |own| format!("{own}; {OTHER}"));
            e.hint(hint)
        })
    }

    /// Calls `each` with groups of float tensors [B, C, H, W]. An error unless a tensor has these dimensions and a float dtype.
    fn in_chunks(&self, cx: &Context, mut each: impl FnMut(Tensor) -> Result<()>) -> Result<()> {
        let tensor = match self {
            Self::Images(images) => return images.in_chunks(cx, each),
            Self::Tensor(tensor) => tensor.detach()?,
        };
        ensure!(
            tensor.rank() == 4 && tensor.count() > 0 && tensor.dtype().is_float(),
            "expected a float tensor [N, C, H, W] with at least one number, found a {}",
            tensor.signature()
        );
        let count = tensor.size(0)?;
        let size = (CHUNK / (tensor.count() as i64 / count)).max(1);
        for start in (0..count).step_by(size as usize) {
            cx.check()?;
            each(tensor.narrow(0, start, size.min(count - start))?)?;
        }
        Ok(())
    }
}

/// Lower bound of the power, so that its logarithm exists.
const FLOOR: f64 = 1e-12;

/// Energy of each image in each ring of the spectrum, and the number of frequencies per ring.
#[derive(Debug, Clone)]
pub struct Rings {
    /// [N, R] float64: |FFT|^2 (orthonormal) of the gray image in [0, 1], summed over each ring.
    pub energy: Tensor,
    /// `[R]` float64: frequencies in each ring.
    pub counts: Tensor,
}

/// Returns the ring numbers [H W] of the shifted spectrum, row-major: the distance to the zero frequency, rounded
/// down.
fn ring_numbers(height: i64, width: i64) -> Vec<i64> {
    let distance = |y: i64, x: i64| {
        let (dy, dx) = ((y - height / 2) as f64, (x - width / 2) as f64);
        (dy * dy + dx * dx).sqrt().floor() as i64
    };
    (0..height).flat_map(|y| (0..width).map(move |x| distance(y, x))).collect()
}

/// Rings of the spectra of one size.
struct Bins {
    /// Ring of each frequency, [1, H W].
    rings: Tensor,
    /// Number of rings.
    count: i64,
}

impl Bins {
    fn new(height: i64, width: i64) -> Result<Self> {
        let rings = ring_numbers(height, width);
        let count = rings.iter().max().map_or(0, |r| r + 1);
        Ok(Self { rings: Tensor::from_i64(&rings, &[1, height * width])?, count })
    }

    /// Returns the frequencies in each ring, `[R]` float64.
    fn counts(&self) -> Result<Tensor> {
        self.rings.reshape(&[-1])?.bincount(None, self.count)?.to_dtype(DType::Float64)
    }

    /// Returns the energy of planes [B, H, W], float64 on the CPU, in each ring [B, R].
    fn energy(&self, planes: &Tensor) -> Result<Tensor> {
        let Self { rings, count } = self;
        let batch = planes.size(0)?;
        let power = planes.fft2("ortho")?.fftshift(&[-2, -1])?.abs()?.square()?;
        // Each image has `count` bins of its own.
        let offsets = Tensor::arange(0.0, batch as f64, 1.0, DType::Int64, planes.device())?;
        let bins = offsets.mul_scalar(*count)?.unsqueeze(1)?.add(rings)?.reshape(&[-1])?;
        bins.bincount(Some(&power.reshape(&[-1])?), batch * count)?.reshape(&[batch, *count])
    }
}

/// Returns the energy by ring. Ring r holds the frequencies from r up to r + 1 cycles per image, ring 0 the mean
/// alone.
pub fn ring_energy(images: &Images, cx: &Context) -> Result<Rings> {
    let [_, height, width] = images.shape();
    let bins = Bins::new(height, width)?;
    let mut parts = Vec::new();
    images.gray_chunks(cx, |gray| {
        parts.push(bins.energy(&gray)?);
        Ok(())
    })?;
    Ok(Rings { energy: Tensor::cat(&parts, 0)?, counts: bins.counts()? })
}

/// Returns the mean power per frequency in each ring of values as they are, averaged over channels and images, `[R]` float64.
pub fn radial_spectrum_of(grids: &Grids, cx: &Context) -> Result<Tensor> {
    let (mut bins, mut parts) = (None, Vec::new());
    grids.in_chunks(cx, |part| {
        let [batch, channels, height, width] = part.shape()[..] else {
            return Err(Error::internal("images have four dimensions"));
        };
        let bins = match &mut bins {
            Some(bins) => bins,
            none => none.insert(Bins::new(height, width)?),
        };
        let planes = part.to_device(Device::Cpu)?.to_dtype(DType::Float64)?;
        let energy = bins.energy(&planes.reshape(&[batch * channels, height, width])?)?;
        parts.push(energy.reshape(&[batch, channels, bins.count])?.mean(&[1], false)?);
        Ok(())
    })?;
    let bins = bins.ok_or_else(|| Error::argument("expected at least one image, found none"))?;
    Tensor::cat(&parts, 0)?.div(&bins.counts()?)?.mean(&[0], false)
}

/// Returns the mean power per frequency in each ring, averaged over the images, `[R]` float64.
pub fn radial_spectrum(images: &Images, cx: &Context) -> Result<Tensor> {
    let rings = ring_energy(images, cx)?;
    rings.energy.div(&rings.counts)?.mean(&[0], false)
}

/// Returns the mean over the rings, including the zero frequency, of `|ln real - ln made|` of both spectra.
pub fn radial_spectrum_gap(real: &Images, made: &Images, cx: &Context) -> Result<f64> {
    let ([_, h, w], [_, i, j]) = (real.shape(), made.shape());
    ensure!((h, w) == (i, j), "expected images of one size, found {h} x {w} and {i} x {j}");
    let ln = |images| radial_spectrum(images, cx)?.clamp_min(FLOOR)?.log();
    ln(real)?.sub(&ln(made)?)?.abs()?.mean(&[], false)?.item()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{Device, Generator};

    fn images(values: &[f64], shape: &[i64]) -> Images {
        Images::new(&Tensor::from_f64(values, shape).unwrap()).unwrap()
    }

    fn random(shape: &[i64], seed: u64) -> Tensor {
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        let noise = Tensor::rand(shape, DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        noise.mul_scalar(2.0).unwrap().sub_scalar(1.0).unwrap()
    }

    #[test]
    fn two_by_two_by_hand() {
        // Gray values 1, 0, 0, 0: each of the four orthonormal coefficients is 1/2, its power 1/4. The zero
        // frequency is ring 0; the three others are at distance 1, 1 and sqrt 2, all in ring 1.
        let x = images(&[1.0, -1.0, -1.0, -1.0], &[1, 1, 2, 2]);
        let rings = ring_energy(&x, &Context::default()).unwrap();
        assert_eq!(rings.counts.to_f64().unwrap(), [1.0, 3.0]);
        let energy = rings.energy.to_f64().unwrap();
        assert!((energy[0] - 0.25).abs() < 1e-15 && (energy[1] - 0.75).abs() < 1e-15);
        let spectrum = radial_spectrum(&x, &Context::default()).unwrap().to_f64().unwrap();
        assert!(spectrum.iter().all(|p| (p - 0.25).abs() < 1e-15));
    }

    #[test]
    fn values_are_taken_as_they_are() {
        let cx = Context::default();
        // 5 in one of four places, and 1 in all: powers of (5 / 2)^2 at each frequency, and of 2^2 at frequency 0.
        let x = Tensor::from_f64(&[5.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], &[1, 2, 2, 2]).unwrap();
        let found = radial_spectrum_of(&x.into(), &cx).unwrap().to_f64().unwrap();
        assert!(
            (found[0] - (6.25 + 4.0) / 2.0).abs() < 1e-12 && (found[1] - 3.125).abs() < 1e-12,
            "{found:?}"
        );
        // Of gray images in [0, 1] as they are it is that of gray images.
        let set = random(&[130, 1, 160, 160], 5);
        let unit = set.add_scalar(1.0).unwrap().div_scalar(2.0).unwrap();
        let gray = radial_spectrum(&Images::new(&set).unwrap(), &cx).unwrap();
        assert!(radial_spectrum_of(&unit.into(), &cx).unwrap().allclose(&gray, 1e-12, 0.0).unwrap());
        let bytes = Tensor::zeros(&[1, 1, 2, 2], DType::UInt8, Device::Cpu).unwrap();
        let error = radial_spectrum_of(&bytes.into(), &cx).unwrap_err();
        assert!(error.message().starts_with("expected a float tensor [N, C, H, W]"), "{error}");
    }

    #[test]
    fn energy_is_kept() {
        let x = random(&[3, 1, 8, 12], 1);
        let rings = ring_energy(&Images::new(&x).unwrap(), &Context::default()).unwrap();
        let total = rings.energy.sum(&[], false).unwrap().item().unwrap();
        let gray = x.add_scalar(1.0).unwrap().div_scalar(2.0).unwrap();
        let expected = gray.square().unwrap().sum(&[], false).unwrap().item().unwrap();
        assert!((total - expected).abs() < 1e-10);
    }

    #[test]
    fn the_gap_is_symmetric_zero_for_equal_sets_and_blind_to_shifts() {
        let cx = Context::default();
        let (a, b) = (random(&[4, 1, 8, 8], 1), random(&[6, 1, 8, 8], 2));
        let of = |t: &Tensor| Images::new(t).unwrap();
        let gap = |x: &Tensor, y: &Tensor| radial_spectrum_gap(&of(x), &of(y), &cx).unwrap();
        assert_eq!(gap(&a, &a), 0.0);
        assert!((gap(&a, &b) - gap(&b, &a)).abs() < 1e-15);
        assert!(gap(&a, &b) > 0.0);
        assert!(gap(&a, &a.roll(&[3, 5], &[2, 3]).unwrap()) < 1e-12);
    }

    #[test]
    fn chunks_do_not_change_the_spectrum() {
        let set = random(&[130, 1, 160, 160], 5);
        let cx = Context::default();
        let whole = radial_spectrum(&Images::new(&set).unwrap(), &cx).unwrap();
        let halves: Vec<Tensor> = [0, 65]
            .iter()
            .map(|s| radial_spectrum(&Images::new(&set.narrow(0, *s, 65).unwrap()).unwrap(), &cx).unwrap())
            .collect();
        let mean = halves[0].add(&halves[1]).unwrap().div_scalar(2.0).unwrap();
        assert!(whole.allclose(&mean, 1e-12, 0.0).unwrap());
    }

    #[test]
    fn sizes_must_agree() {
        let (a, b) = (images(&[0.0; 4], &[1, 1, 2, 2]), images(&[0.0; 9], &[1, 1, 3, 3]));
        let error = radial_spectrum_gap(&a, &b, &Context::default()).unwrap_err();
        assert!(error.message().contains("found 2 x 2 and 3 x 3"));
    }
}
