//! Precision and recall: the fraction of generated images that look real, and of real images that are covered.

use super::images::{same_width, vectors};
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::neighbors::{Coarse, LazyTargets, Targets, check_counts, in_rows, radii, radii_near, replaced};
use crate::context::Context;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::torch::{DType, Tensor};

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
    let near = Coarse::new(&real)?;
    let (real_radii, made_radii) = (radii_near(&real, near.as_ref(), k, cx)?, radii(&made, k, cx)?);
    let (precise, recalled) = match &near {
        Some(near) => covered(near, [&real, &made], [&real_radii, &made_radii], cx)?,
        None => covered_exactly([&real, &made], [&real_radii, &made_radii], cx)?,
    };
    Ok(PrecisionRecall {
        precision: precise as f64 / count_made as f64,
        recall: recalled as f64 / count_real as f64,
    })
}

/// Returns the numbers of generated points in real balls and of real points in generated ones.
fn covered_exactly([real, made]: [&Tensor; 2], radii: [&Tensor; 2], cx: &Context) -> Result<(i64, i64)> {
    let targets = Targets::new(real)?;
    let mut precise = 0;
    let mut recalled = Tensor::zeros(&[real.size(0)?], DType::Int64, radii[0].device())?;
    in_rows(made, real.size(0)?, cx, |start, part| {
        let distances = targets.distances(part)?;
        let in_real = distances.le(radii[0])?.sum(&[1], false)?.gt_scalar(0)?;
        precise += in_real.sum(&[], false)?.item_i64()?;
        let own = radii[1].narrow(0, start, part.size(0)?)?.unsqueeze(1)?;
        recalled = recalled.add(&distances.le(&own)?.sum(&[0], false)?)?;
        Ok(())
    })?;
    let precise = Tensor::from_i64(&[precise], &[1])?;
    Ranks::of(cx).sum(&[precise.clone(), recalled.clone()])?;
    Ok((precise.item_i64()?, recalled.gt_scalar(0)?.sum(&[], false)?.item_i64()?))
}

/// Like [`covered_exactly`], with the same result: float32 decides, except for points so close to the edge of a ball
/// that it could be wrong.
fn covered(
    near: &Coarse,
    [real, made]: [&Tensor; 2],
    radii: [&Tensor; 2],
    cx: &Context,
) -> Result<(i64, i64)> {
    let [real_squared, made_squared] = [radii[0].square()?, radii[1].square()?];
    let [real_coarse, made_coarse] =
        [real_squared.to_dtype(DType::Float32)?, made_squared.to_dtype(DType::Float32)?];
    // The depth of a point in a set of balls: how far, in squared distance, it is from the edge of the nearest one,
    // negative inside.
    let (in_real, in_made) = (LazyTargets::of(real), LazyTargets::of(made));
    let inside = |targets: &LazyTargets, radii: &Tensor, rows: &Tensor| -> Result<Tensor> {
        const TOGETHER: i64 = 256;
        let count = rows.size(0)?;
        let depth = |start: i64| -> Result<Tensor> {
            let part = rows.narrow(0, start, TOGETHER.min(count - start))?;
            targets.distances(&part)?.sub(radii)?.amin(&[1], false)
        };
        let depths = (0..count).step_by(TOGETHER as usize).map(depth).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&depths, 0)
    };
    let (mut precise, mut depths, mut errors) = (0, Vec::new(), Vec::new());
    in_rows(made, real.size(0)?, cx, |start, part| {
        let (squared, error) = near.squared(part)?;
        let depth = squared.sub(&real_coarse)?.amin(&[1], false)?;
        let doubtful = depth.abs()?.le(&error)?;
        let depth = replaced(&depth, &doubtful, part, &|rows| inside(&in_real, radii[0], rows))?;
        precise += depth.le_scalar(0)?.sum(&[], false)?.item_i64()?;
        let own = made_coarse.narrow(0, start, part.size(0)?)?.unsqueeze(1)?;
        depths.push(squared.sub(&own)?.amin(&[0], true)?);
        errors.push(error.amax(&[0], true)?.unsqueeze(0)?);
        Ok(())
    })?;
    let ranks = Ranks::of(cx);
    let joined = |parts: &[Tensor], width: i64| -> Result<Tensor> {
        let own = match parts.is_empty() {
            true => Tensor::zeros(&[0, width], DType::Float32, radii[0].device())?,
            false => Tensor::cat(parts, 0)?,
        };
        ranks.gather(&own)
    };
    let depth = joined(&depths, real.size(0)?)?.amin(&[0], false)?;
    let error = joined(&errors, 1)?.amax(&[], false)?;
    let doubtful = depth.abs()?.le(&error)?;
    let depth = replaced(&depth, &doubtful, real, &|rows| inside(&in_made, radii[1], rows))?;
    let recalled = depth.le_scalar(0)?.sum(&[], false)?.item_i64()?;
    let precise = Tensor::from_i64(&[precise], &[1])?;
    ranks.sum(std::slice::from_ref(&precise))?;
    Ok((precise.item_i64()?, recalled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{Device, Generator};

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

    #[test]
    fn long_points_are_counted_as_in_float64_also_at_the_edges_of_balls() {
        let (generator, cx) = (Generator::new(6, Device::Cpu).unwrap(), Context::default());
        let draw = |rows: i64| {
            let x = Tensor::randn(&[rows, 48], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
            x.add_scalar(5.0).unwrap()
        };
        let real = draw(300);
        // Points of the real set, points a little inside and outside of the edge of a ball, and others.
        let ball = radii(&real, 3, &cx).unwrap();
        let first = real.narrow(0, 0, 20).unwrap();
        let way = draw(20).sub_scalar(5.0).unwrap();
        let way = way.div(&way.norm(2.0, &[1], true).unwrap()).unwrap();
        let edge = |scale: f64| {
            let radius = ball.narrow(0, 0, 20).unwrap().mul_scalar(scale).unwrap().unsqueeze(1).unwrap();
            first.add(&way.mul(&radius).unwrap()).unwrap()
        };
        let made =
            [first.clone(), edge(1.0 - 1e-8), edge(1.0 + 1e-8), draw(200), draw(50).mul_scalar(1.3).unwrap()];
        let made = Tensor::cat(&made, 0).unwrap();
        for k in [1, 3] {
            let (a, b) = (radii(&real, k, &cx).unwrap(), radii(&made, k, &cx).unwrap());
            let exact = covered_exactly([&real, &made], [&a, &b], &cx).unwrap();
            let near = Coarse::new(&real).unwrap().unwrap();
            assert_eq!(covered(&near, [&real, &made], [&a, &b], &cx).unwrap(), exact);
            assert!(exact.0 > 30 && exact.0 < 310 && exact.1 > 20, "{exact:?}");
        }
    }
}
