//! Precision and recall: the fraction of generated images that look real, and of real images that are covered.

use super::images::{same_width, vectors};
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::neighbors::{Targets, check_counts, in_rows, radii};
use crate::context::Context;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::torch::Tensor;

/// Precision and recall for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[
        Metric {
            name: "precision",
            summary: "share of generated images that lie within the manifold of real images in feature space",
            better: Better::Higher,
            unit: "share, from 0 to 1",
            source: "Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2",
        },
        Metric {
            name: "recall",
            summary: "share of real images that lie within the manifold of generated images in feature space",
            better: Better::Higher,
            unit: "share, from 0 to 1",
            source: "Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2",
        },
    ],
    needs: Needs::Features,
    divided: true,
    measure: |pair, cx| {
        let (real, made) = (pair.real.extracted()?, pair.made.extracted()?);
        let found = precision_recall(&real.features, &made.features, pair.options.k, cx)?;
        Ok(vec![Reading::of_both(found.precision), Reading::of_both(found.recall)])
    },
};

/// Two fractions from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecall {
    /// Fraction of generated points within the real set.
    pub precision: f64,
    /// Fraction of real points within the generated set.
    pub recall: f64,
}

/// Returns improved precision and recall of features [N, D] and [M, D] (Kynkäänniemi et al. 2019).
///
/// A set covers the balls around its points that reach to each point's `k`-th nearest neighbor in the same set.
/// Precision is the fraction of generated points in the real set's balls, recall the reverse.
pub fn precision_recall(real: &Tensor, made: &Tensor, k: i64, cx: &Context) -> Result<PrecisionRecall> {
    let (real, made) = (vectors(real)?, vectors(made)?);
    same_width(&real, &made)?;
    let (count_real, count_made) = (real.size(0)?, made.size(0)?);
    check_counts(&real, &made, k)?;
    let (real_radii, made_radii) = (radii(&real, k, cx)?, radii(&made, k, cx)?);
    let targets = Targets::new(&real)?;
    let mut precise = 0;
    let mut recalled = real_radii.mul_scalar(0.0)?;
    in_rows(&made, count_real, cx, |start, part| {
        let distances = targets.distances(part)?;
        let in_real = distances.le(&real_radii)?.sum(&[1], false)?.gt_scalar(0)?;
        precise += in_real.sum(&[], false)?.item_i64()?;
        let radii = made_radii.narrow(0, start, part.size(0)?)?.unsqueeze(1)?;
        recalled = recalled.add(&distances.le(&radii)?.sum(&[0], false)?)?;
        Ok(())
    })?;
    let precise = Tensor::from_i64(&[precise], &[1])?;
    Ranks::of(cx).sum(&[precise.clone(), recalled.clone()])?;
    let precise = precise.item_i64()?;
    let recalled = recalled.gt_scalar(0)?.sum(&[], false)?.item_i64()?;
    Ok(PrecisionRecall {
        precision: precise as f64 / count_made as f64,
        recall: recalled as f64 / count_real as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Generator};

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_f64(values, &[values.len() as i64, 1]).unwrap()
    }

    fn measure(real: &Tensor, made: &Tensor, k: i64) -> PrecisionRecall {
        precision_recall(real, made, k, &Context::default()).unwrap()
    }

    #[test]
    fn by_hand_on_a_line() {
        // With k = 1 the real balls are [-1, 1], [0, 2], [7, 13] (around 0, 1, 10: radii 1, 1, 9 for 10).
        let real = column(&[0.0, 1.0, 10.0]);
        // Generated balls: around 0.5 and 1.5 radius 1, around 30 radius 28.5.
        let made = column(&[0.5, 1.5, 30.0]);
        let found = measure(&real, &made, 1);
        assert!((found.precision - 2.0 / 3.0).abs() < 1e-12);
        // 0 and 1 are within 1 of 0.5; 10 is within 28.5 of 30.
        assert!((found.recall - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equal_sets_are_precise_and_recalled_and_far_ones_are_not() {
        let generator = Generator::new(3, Device::Cpu).unwrap();
        let x = Tensor::randn(&[60, 5], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        assert_eq!(measure(&x, &x, 3), PrecisionRecall { precision: 1.0, recall: 1.0 });
        let far = x.add_scalar(100.0).unwrap();
        assert_eq!(measure(&x, &far, 3), PrecisionRecall { precision: 0.0, recall: 0.0 });
    }

    #[test]
    fn exchanging_the_sets_exchanges_the_shares() {
        let generator = Generator::new(4, Device::Cpu).unwrap();
        let x = Tensor::randn(&[40, 3], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let y = Tensor::randn(&[50, 3], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let (there, back) = (measure(&x, &y, 2), measure(&y, &x, 2));
        assert_eq!((there.precision, there.recall), (back.recall, back.precision));
    }

    #[test]
    fn duplicates_count_as_neighbors() {
        let real = column(&[0.0, 0.0, 5.0, 5.0]);
        let found = measure(&real, &column(&[0.0, 5.0, 0.1]), 1);
        assert!((found.precision - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn too_few_samples_and_interrupts_stop_it() {
        let cx = Context::default();
        let few = column(&[0.0, 1.0, 2.0]);
        let message = precision_recall(&few, &few, 3, &cx).unwrap_err();
        assert!(message.message().contains("more than k = 3 real samples, found 3"));
        cx.interrupt.raise();
        let stopped = precision_recall(&few, &few, 1, &cx).unwrap_err();
        assert_eq!(stopped.kind(), crate::error::Kind::Interrupted);
    }
}
