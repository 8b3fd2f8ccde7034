//! Fraction of an image's energy at high frequencies.

use super::Images;
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::radial_spectrum::ring_energy;
use crate::context::Context;
use crate::ensure;
use crate::error::Result;

/// The high-frequency ratio for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[Metric {
        name: "high_frequency_ratio",
        summary: "share of each image's energy in the outer rings of its spectrum, averaged",
        better: Better::Real,
        unit: "share, from 0 to 1",
        source: "SpectralDiT, arXiv:2606.18765",
    }],
    needs: Needs::Pixels,
    divided: false,
    measure: |pair, cx| {
        let ratio = |images| high_frequency_ratio(images, pair.options.threshold, cx);
        Ok(vec![Reading::of_each(ratio(pair.made.images)?, ratio(pair.real.images)?)])
    },
};

/// Returns the energy in rings beyond `threshold` times the largest ring, as a fraction of the total, averaged over
/// images.
pub fn high_frequency_ratio(images: &Images, threshold: f64, cx: &Context) -> Result<f64> {
    ensure!((0.0..=1.0).contains(&threshold), "expected a threshold from 0 to 1, found {threshold}");
    let energy = ring_energy(images, cx)?.energy;
    let rings = energy.size(1)?;
    let first = (0..rings).find(|r| *r as f64 > threshold * (rings - 1) as f64).unwrap_or(rings);
    let high = energy.narrow(1, first, rings - first)?.sum(&[1], false)?;
    high.div(&energy.sum(&[1], false)?.clamp_min(1e-12)?)?.mean(&[], false)?.item()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Tensor;

    fn ratio(values: &[f64], side: i64, threshold: f64) -> f64 {
        let images = Tensor::from_f64(values, &[1, 1, side, side]).unwrap();
        high_frequency_ratio(&Images::new(&images).unwrap(), threshold, &Context::default()).unwrap()
    }

    #[test]
    fn a_flat_image_has_none_and_a_spike_three_quarters_at_two_by_two() {
        assert!(ratio(&[0.5; 16], 4, 0.5).abs() < 1e-15);
        assert!((ratio(&[1.0, -1.0, -1.0, -1.0], 2, 0.5) - 0.75).abs() < 1e-15);
    }

    #[test]
    fn a_checkerboard_has_half_and_black_gives_no_nan() {
        let board: Vec<f64> = (0..16).map(|i| if (i / 4 + i % 4) % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!((ratio(&board, 4, 0.5) - 0.5).abs() < 1e-15);
        assert_eq!(ratio(&[-1.0; 16], 4, 0.5), 0.0);
        assert_eq!(ratio(&board, 4, 1.0), 0.0);
    }
}
