//! Density and coverage: how densely generated images lie among real ones, and how many real images have one
//! nearby.

use super::images::{same_width, vectors};
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::neighbors::{Targets, check_counts, in_rows, radii};
use crate::context::Context;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::torch::{DType, Tensor};

/// Density and coverage for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[
        Metric {
            name: "density",
            summary: "mean number of real neighborhoods that contain each generated image, over k",
            better: Better::Higher,
            unit: "ratio, from 0; near 1 for equal distributions",
            source: "Naeem et al. 2020, arXiv:2002.09797, equation 4",
        },
        Metric {
            name: "coverage",
            summary: "share of real images that have a generated image among their neighbors",
            better: Better::Higher,
            unit: "share, from 0 to 1",
            source: "Naeem et al. 2020, arXiv:2002.09797, equation 5",
        },
    ],
    needs: Needs::Features,
    divided: true,
    measure: |pair, cx| {
        let (real, made) = (pair.real.extracted()?, pair.made.extracted()?);
        let found = density_coverage(&real.features, &made.features, pair.options.density_k, cx)?;
        Ok(vec![Reading::of_both(found.density), Reading::of_both(found.coverage)])
    },
};

/// A ratio and a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DensityCoverage {
    /// Mean number of real balls around a generated point, divided by `k`.
    pub density: f64,
    /// Fraction of the real balls that contain a generated point.
    pub coverage: f64,
}

/// Returns density and coverage of features [N, D] and [M, D] (Naeem et al. 2020).
///
/// The ball around each real point reaches to its `k`-th nearest real neighbor, including the boundary. Density
/// counts the balls around each generated point; unlike precision it is robust to a single outlier with a large
/// ball. Coverage is the fraction of balls that are not empty.
pub fn density_coverage(real: &Tensor, made: &Tensor, k: i64, cx: &Context) -> Result<DensityCoverage> {
    let (real, made) = (vectors(real)?, vectors(made)?);
    same_width(&real, &made)?;
    check_counts(&real, &made, k)?;
    let radii = radii(&real, k, cx)?;
    let (count_real, count_made) = (real.size(0)?, made.size(0)?);
    let targets = Targets::new(&real)?;
    let mut inside = Tensor::zeros(&[count_real], DType::Int64, radii.device())?;
    in_rows(&made, count_real, cx, |_, part| {
        inside = inside.add(&targets.distances(part)?.le(&radii)?.sum(&[0], false)?)?;
        Ok(())
    })?;
    Ranks::of(cx).sum(std::slice::from_ref(&inside))?;
    let pairs = inside.sum(&[], false)?.item_i64()?;
    let covered = inside.gt_scalar(0)?.sum(&[], false)?.item_i64()?;
    Ok(DensityCoverage {
        density: pairs as f64 / (k * count_made) as f64,
        coverage: covered as f64 / count_real as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{Device, Generator};

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_f64(values, &[values.len() as i64, 1]).unwrap()
    }

    fn measure(real: &Tensor, made: &Tensor, k: i64) -> DensityCoverage {
        density_coverage(real, made, k, &Context::default()).unwrap()
    }

    #[test]
    fn by_hand_on_a_line() {
        // With k = 1 the real balls are [-1, 1], [0, 2] and [1, 19]; 0.5 lies in two of them, 30 in none.
        let found = measure(&column(&[0.0, 1.0, 10.0]), &column(&[0.5, 30.0]), 1);
        assert!((found.density - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.coverage - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_set_covers_itself_and_a_far_one_covers_nothing() {
        let generator = Generator::new(3, Device::Cpu).unwrap();
        let x = Tensor::randn(&[60, 5], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let same = measure(&x, &x, 5);
        // Each ball contains its own point and k neighbors.
        assert!((same.density - 6.0 / 5.0).abs() < 1e-12 && same.coverage == 1.0, "{same:?}");
        let far = measure(&x, &x.add_scalar(100.0).unwrap(), 5);
        assert_eq!(far, DensityCoverage { density: 0.0, coverage: 0.0 });
    }

    #[test]
    fn a_repeated_image_is_dense_and_covers_little() {
        let generator = Generator::new(5, Device::Cpu).unwrap();
        let x = Tensor::randn(&[80, 2], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let one = x.narrow(0, 0, 1).unwrap().repeat(&[40, 1]).unwrap();
        let found = measure(&x, &one, 5);
        assert!(found.density > 0.5 && found.coverage < 0.3, "{found:?}");
    }
}
