//! Maximum mean discrepancy of features with a Gaussian kernel, as in CMMD.

use super::images::{same_width, vectors};
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::neighbors::{Targets, sum_in_rows};
use crate::context::Context;
use crate::error::Result;
use crate::torch::Tensor;

/// Kernel width of CMMD.
pub const SIGMA: f64 = 10.0;
/// Factor of the values of CMMD, for readability.
const SCALE: f64 = 1000.0;

/// The Gaussian kernel distance for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[Metric {
        name: "mmd",
        summary: "1000 times the squared maximum mean discrepancy of the normalized features, Gaussian kernel of width 10",
        better: Better::Lower,
        unit: "thousandths of the kernel, from 0",
        source: "Jayasumana et al. 2024, arXiv:2401.09603, section 4, with its embedding's place taken by the features",
    }],
    needs: Needs::Features,
    divided: true,
    measure: |pair, cx| {
        let (real, made) = (pair.real.extracted()?, pair.made.extracted()?);
        gaussian_mmd(&real.features, &made.features, SIGMA, true, cx).map(|d| vec![Reading::of_both(d)])
    },
};

/// Returns 1000 times the squared maximum mean discrepancy of features [N, D] and [M, D] with the kernel
/// `exp(-|x - y|^2 / (2 sigma^2))`; `normalize` scales the features to length 1 first.
///
/// The estimate includes the pairs of a sample with itself, as in CMMD (Jayasumana et al. 2024): it is never
/// negative, and biased by about 1 / N.
pub fn gaussian_mmd(real: &Tensor, made: &Tensor, sigma: f64, normalize: bool, cx: &Context) -> Result<f64> {
    let prepared = |set: &Tensor| -> Result<Tensor> {
        let set = vectors(set)?;
        if !normalize {
            return Ok(set);
        }
        set.div(&set.norm(2.0, &[1], true)?.clamp_min(f64::MIN_POSITIVE)?)
    };
    let (real, made) = (prepared(real)?, prepared(made)?);
    same_width(&real, &made)?;
    // The kernel minus 1: for kernel values near 1, differences of the means would lose all digits.
    let mean = |a: &Tensor, b: &Tensor| -> Result<f64> {
        let targets = Targets::new(b)?;
        let sum = sum_in_rows(a, b.size(0)?, cx, |part| {
            let exponent = targets.distances(part)?.square()?.mul_scalar(-0.5 / (sigma * sigma))?;
            exponent.expm1()?.sum(&[], false)?.item()
        })?;
        Ok(sum / (a.size(0)? * b.size(0)?) as f64)
    };
    Ok(SCALE * (mean(&real, &real)? + mean(&made, &made)? - 2.0 * mean(&real, &made)?).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Generator};

    fn measure(a: &Tensor, b: &Tensor, sigma: f64, normalize: bool) -> f64 {
        gaussian_mmd(a, b, sigma, normalize, &Context::default()).unwrap()
    }

    #[test]
    fn single_points_by_hand() {
        let at = |x: f64, y: f64| Tensor::from_f64(&[x, y], &[1, 2]).unwrap();
        let found = measure(&at(0.0, 0.0), &at(3.0, 4.0), 5.0, false);
        assert!((found - 2000.0 * (1.0 - (-0.5f64).exp())).abs() < 1e-9, "{found}");
        // With normalization only the direction counts: two orthogonal directions have distance sqrt 2.
        let found = measure(&at(2.0, 0.0), &at(0.0, 7.0), 1.0, true);
        assert!((found - 2000.0 * (1.0 - (-1.0f64).exp())).abs() < 1e-9, "{found}");
        assert!(measure(&at(2.0, 2.0), &at(7.0, 7.0), 1.0, true) < 1e-9);
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_and_symmetric_to_others() {
        let generator = Generator::new(3, Device::Cpu).unwrap();
        let random = || Tensor::randn(&[40, 5], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let (x, y) = (random(), random().add_scalar(0.5).unwrap());
        assert!(measure(&x, &x, 10.0, true) < 1e-9);
        let there = measure(&x, &y, 10.0, true);
        assert!(there > 0.1 && (there - measure(&y, &x, 10.0, true)).abs() < 1e-9, "{there}");
    }

    #[test]
    fn an_empty_set_is_refused() {
        let (few, none) = (points(3), points(0));
        let error = gaussian_mmd(&few, &none, 1.0, false, &Context::default()).unwrap_err();
        assert_eq!(error.message(), "expected at least 1 generated sample, found features [0, 4]");
    }

    fn points(count: i64) -> Tensor {
        Tensor::from_f64(&vec![0.5; 4 * count as usize], &[count, 4]).unwrap()
    }
}
