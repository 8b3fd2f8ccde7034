//! Radial power spectra of images.

use super::Images;
use super::metric::{Better, Family, Metric, Needs, Reading};
use crate::context::Context;
use crate::ensure;
use crate::error::Result;
use crate::torch::{DType, Tensor};

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

/// Returns the energy by ring. Ring r holds the frequencies from r up to r + 1 cycles per image, ring 0 the mean
/// alone.
pub fn ring_energy(images: &Images, cx: &Context) -> Result<Rings> {
    let [_, height, width] = images.shape();
    let rings = ring_numbers(height, width);
    let count = rings.iter().max().map_or(0, |r| r + 1);
    let rings = Tensor::from_i64(&rings, &[1, height * width])?;
    let counts = rings.reshape(&[-1])?.bincount(None, count)?.to_dtype(DType::Float64)?;
    let mut parts = Vec::new();
    images.gray_chunks(cx, |gray| {
        let batch = gray.size(0)?;
        let power = gray.fft2("ortho")?.fftshift(&[-2, -1])?.abs()?.square()?;
        // Each image has `count` bins of its own.
        let offsets = Tensor::arange(0.0, batch as f64, 1.0, DType::Int64, gray.device())?;
        let bins = offsets.mul_scalar(count)?.unsqueeze(1)?.add(&rings)?.reshape(&[-1])?;
        let energy = bins.bincount(Some(&power.reshape(&[-1])?), batch * count)?;
        parts.push(energy.reshape(&[batch, count])?);
        Ok(())
    })?;
    Ok(Rings { energy: Tensor::cat(&parts, 0)?, counts })
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
