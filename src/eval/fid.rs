//! Fréchet distance of features (FID).

use super::images::same_width;
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::moments::Moments;
use crate::ensure;
use crate::error::Result;
use crate::torch::Tensor;

/// FID for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[Metric {
        name: "fid",
        summary: "Fréchet distance between Gaussians fitted to the features of both sets",
        better: Better::Lower,
        unit: "squared units of the features, from 0",
        source: "Heusel et al. 2017, arXiv:1706.08500, equation 6",
    }],
    needs: Needs::Features,
    divided: false,
    measure: |pair, _| {
        let (real, made) = (pair.real.moments("real")?, pair.made.moments("generated")?);
        distance(&real, &made).map(|d| vec![Reading::of_both(d)])
    },
};

/// Returns `|m - n|^2 + tr(S + T - 2 (S T)^(1/2))` for the means m, n and the unbiased covariances S, T of two sets
/// of features [N, D] and [M, D], each with at least two rows (Heusel et al. 2017, equation 6).
///
/// With fewer rows than columns a covariance is singular; the value is then still defined, but depends on the
/// number of rows.
pub fn frechet_distance(real: &Tensor, made: &Tensor) -> Result<f64> {
    same_width(real, made)?;
    distance(&Moments::of(real, "real")?, &Moments::of(made, "generated")?)
}

/// Like [`frechet_distance`], for means and covariances.
pub fn distance(real: &Moments, made: &Moments) -> Result<f64> {
    let (dims, others) = (real.dims(), made.dims());
    ensure!(dims == others, "expected statistics of one dimension in both sets, found {dims} and {others}");
    let (Moments { mean: m, covariance: s }, Moments { mean: n, covariance: t }) = (real, made);
    let means = m.sub(n)?.square()?.sum(&[], false)?.item()?;
    // With S = A A^T and T = B B^T, tr (S T)^(1/2) is the sum of the singular values of A^T B. Unlike the
    // eigenvalues of S T they lose no digits and are never negative.
    let shared = factor(s)?.transpose(0, 1)?.matmul(&factor(t)?)?.svdvals()?;
    let spread = s.trace()?.item()? + t.trace()?.item()? - 2.0 * shared.sum(&[], false)?.item()?;
    // Both terms are at least zero, but rounding can make the distance of equal sets negative.
    Ok((means + spread).max(0.0))
}

/// Returns A with `A A^T` equal to a positive semi-definite matrix.
fn factor(matrix: &Tensor) -> Result<Tensor> {
    let rounding = f64::EPSILON * matrix.size(0)? as f64;
    // Cholesky takes a twentieth of the time of eigenvectors. If the matrix is nearly singular, it fails or its
    // smallest entries are the square roots of rounding errors.
    if let Ok(lower) = matrix.cholesky(false) {
        let pivots = lower.diagonal(0, 0, 1)?.square()?;
        let (least, largest) = (pivots.amin(&[], false)?.item()?, pivots.amax(&[], false)?.item()?);
        if least > 1e3 * rounding * largest {
            return Ok(lower);
        }
    }
    // Eigenvalues that are zero up to rounding become zero; their roots would be a thousand times the rounding
    // error.
    let (values, vectors) = matrix.eigh()?;
    let floor = values.amax(&[], false)?.item()?.max(0.0) * rounding;
    let zeros = values.mul_scalar(0.0)?;
    let values = values.where_true(&values.gt_scalar(floor)?, &zeros)?.sqrt()?;
    vectors.mul(&values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Generator};

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_f64(values, &[values.len() as i64, 1]).unwrap()
    }

    fn random(rows: i64, columns: i64, seed: u64) -> Tensor {
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        Tensor::randn(&[rows, columns], DType::Float64, Device::Cpu, Some(&generator)).unwrap()
    }

    #[test]
    fn one_dimension_follows_the_formula() {
        // Means 2 and 5, variances 1 and 4: (2 - 5)^2 + (1 - 2)^2.
        let found = frechet_distance(&column(&[1.0, 2.0, 3.0]), &column(&[3.0, 5.0, 7.0])).unwrap();
        assert!((found - 10.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn independent_dimensions_add_up() {
        let (a, b) = ([1.0, 0.0, 2.0, 0.0, 3.0, 0.0], [3.0, 2.0, 5.0, 2.0, 7.0, 2.0]);
        let set = |x: &[f64]| Tensor::from_f64(x, &[3, 2]).unwrap();
        // The second dimension is constant: covariances of rank 1, means 0 and 2.
        let found = frechet_distance(&set(&a), &set(&b)).unwrap();
        assert!((found - 14.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_also_with_few_samples() {
        for (rows, columns) in [(50, 8), (5, 20)] {
            let x = random(rows, columns, 1);
            assert!(frechet_distance(&x, &x).unwrap() < 1e-7);
        }
    }

    #[test]
    fn the_distance_is_symmetric_and_grows_with_the_square_of_a_shift_and_of_the_scale() {
        let (x, y) = (random(40, 6, 1), random(60, 6, 2));
        let there = frechet_distance(&x, &y).unwrap();
        assert!((there - frechet_distance(&y, &x).unwrap()).abs() < 1e-9);
        let shifted = frechet_distance(&x, &x.add_scalar(0.5).unwrap()).unwrap();
        assert!((shifted - 6.0 * 0.25).abs() < 1e-7, "{shifted}");
        let scaled = frechet_distance(&x.mul_scalar(3.0).unwrap(), &y.mul_scalar(3.0).unwrap()).unwrap();
        assert!((scaled - 9.0 * there).abs() < 1e-8);
    }

    #[test]
    fn both_ways_to_factor_a_covariance_give_the_same_distance() {
        let (x, y) = (random(90, 12, 1), random(70, 12, 2));
        let whole = frechet_distance(&x, &y).unwrap();
        // An additional feature with almost no variance makes both covariances nearly singular and adds nothing.
        let with_small = |x: &Tensor| {
            let small = random(x.size(0).unwrap(), 1, 3).mul_scalar(1e-9).unwrap();
            Tensor::cat(&[x.clone(), small], 1).unwrap()
        };
        let (a, b) = (with_small(&x), with_small(&y));
        for set in [&x, &a] {
            let covariance = Moments::of(set, "real").unwrap().covariance;
            let off = covariance.sub(&product(&covariance)).unwrap().abs().unwrap();
            assert!(off.amax(&[], false).unwrap().item().unwrap() < 1e-12);
        }
        let found = frechet_distance(&a, &b).unwrap();
        assert!((found - whole).abs() < 1e-9 * whole, "{found} and {whole}");
    }

    /// Returns A A^T of the factor.
    fn product(matrix: &Tensor) -> Tensor {
        let a = factor(matrix).unwrap();
        a.matmul(&a.transpose(0, 1).unwrap()).unwrap()
    }

    #[test]
    fn features_without_variance_differ_by_their_means() {
        let found = frechet_distance(&column(&[2.0, 2.0]), &column(&[5.0, 5.0])).unwrap();
        assert_eq!(found, 9.0);
    }

    #[test]
    fn bad_features_are_refused() {
        let message = |a: &Tensor, b: &Tensor| frechet_distance(a, b).unwrap_err().message();
        assert!(message(&random(1, 3, 0), &random(4, 3, 0)).contains("at least 2 real samples, found 1"));
        assert!(message(&random(4, 3, 0), &random(4, 2, 0)).contains("found 3 and 2"));
        assert!(message(&column(&[f64::NAN, 1.0]), &column(&[1.0, 2.0])).contains("NaN"));
    }
}
