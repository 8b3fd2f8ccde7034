//! Distances between points and to nearest neighbors.

use crate::context::Context;
use crate::declare::{FromValue, IntoValue, Value};
use crate::ensure;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::torch::{Tensor, call};

/// Approximate number of distances in memory at once.
const CHUNK: i64 = 1 << 21;

/// Returns an error unless each set has more than `k` points and `k` is at least 1.
pub fn check_counts(real: &Tensor, made: &Tensor, k: i64) -> Result<()> {
    ensure!(k >= 1, "expected k of at least 1, found {k}");
    for (name, points) in [("real", real), ("generated", made)] {
        let count = points.size(0)?;
        ensure!(count > k, "expected more than k = {k} {name} samples, found {count}");
    }
    Ok(())
}

/// Returns the distance of each point to its `k`-th nearest neighbor in the same set, `[N]`.
pub fn radii(points: &Tensor, k: i64, cx: &Context) -> Result<Tensor> {
    let (targets, mut parts) = (Targets::new(points)?, Vec::new());
    in_rows(points, points.size(0)?, cx, |_, part| {
        // The nearest point is the point itself, at distance zero.
        let (nearest, _) = targets.distances(part)?.topk(k + 1, 1, false)?;
        parts.push(nearest.amax(&[1], false)?);
        Ok(())
    })?;
    let own = match parts.is_empty() {
        true => Tensor::zeros(&[0], points.dtype(), points.device())?,
        false => Tensor::cat(&parts, 0)?,
    };
    // Enlarged so that the neighbor itself lies inside despite rounding.
    Ranks::of(cx).gather(&own)?.mul_scalar(1.0 + 1e-9)
}

/// Calls `each` with groups of points and the index of the first one, small enough that a table of `columns` values
/// per point stays small. On several ranks, each rank gets its share of the groups, which are those of one rank.
pub fn in_rows(
    points: &Tensor,
    columns: i64,
    cx: &Context,
    mut each: impl FnMut(i64, &Tensor) -> Result<()>,
) -> Result<()> {
    let (count, size) = (points.size(0)?, (CHUNK / columns).max(1));
    let groups = (count as u64).div_ceil(size as u64) as usize;
    let (first, own) = Ranks::of(cx).share(groups);
    for group in first..first + own {
        cx.check()?;
        let start = group as i64 * size;
        each(start, &points.narrow(0, start, size.min(count - start))?)?;
    }
    Ok(())
}

/// Returns the sum of what `each` returns for the groups of [`in_rows`], added in order.
pub fn sum_in_rows(
    points: &Tensor,
    columns: i64,
    cx: &Context,
    mut each: impl FnMut(&Tensor) -> Result<f64>,
) -> Result<f64> {
    let mut sums = Vec::new();
    in_rows(points, columns, cx, |_, part| {
        sums.push(each(part)?);
        Ok(())
    })?;
    Ok(gather(&sums, cx)?.into_iter().fold(0.0, |sum, part| sum + part))
}

/// Returns the numbers of all ranks, in order.
pub fn gather(values: &[f64], cx: &Context) -> Result<Vec<f64>> {
    Ranks::of(cx).gather(&Tensor::from_f64(values, &[values.len() as i64])?)?.to_f64()
}

/// Points to measure distances to, prepared once for many calls.
pub enum Targets {
    /// Short vectors, unchanged.
    Short(Tensor),
    /// Long vectors: their mean, the centered points as columns, and the squared lengths of these.
    Long(Tensor, Tensor, Tensor),
}

impl Targets {
    /// Prepares points [M, D] in float64.
    pub fn new(points: &Tensor) -> Result<Self> {
        // For long vectors, products take a fiftieth of the time of differences. Their rounding errors scale with
        // the squared lengths, which are smallest for centered points.
        const SHORT: i64 = 32;
        if points.size(1)? <= SHORT {
            return Ok(Self::Short(points.clone()));
        }
        let middle = points.mean(&[0], false)?;
        let around = points.sub(&middle)?;
        let lengths = squares(&around)?;
        Ok(Self::Long(middle, around.transpose(0, 1)?, lengths))
    }

    /// Returns Euclidean distances [N, M] from points [N, D]; points that are equal up to rounding have distance
    /// zero.
    pub fn distances(&self, from: &Tensor) -> Result<Tensor> {
        const BY_DIFFERENCES: i64 = 2;
        const ROUNDING: f64 = 1e-12;
        match self {
            Self::Short(points) => {
                let arguments = [
                    from.clone().into_value(),
                    points.clone().into_value(),
                    Value::Float(2.0),
                    Value::Int(BY_DIFFERENCES),
                ];
                Tensor::from_value(&call::call("cdist", &arguments, &Default::default())?)
            }
            Self::Long(middle, turned, lengths) => {
                let from = from.sub(middle)?;
                let scale = squares(&from)?.unsqueeze(1)?.add(lengths)?;
                let squared = scale.sub(&from.matmul(turned)?.mul_scalar(2.0)?)?;
                let apart = squared.gt(&scale.mul_scalar(ROUNDING)?)?;
                squared.where_true(&apart, &squared.mul_scalar(0.0)?)?.sqrt()
            }
        }
    }
}

fn squares(vectors: &Tensor) -> Result<Tensor> {
    vectors.square()?.sum(&[1], false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Generator};

    fn distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Targets::new(b)?.distances(a)
    }

    fn random(rows: i64, columns: i64, seed: u64) -> Tensor {
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        Tensor::randn(&[rows, columns], DType::Float64, Device::Cpu, Some(&generator)).unwrap()
    }

    #[test]
    fn products_give_the_distances_of_differences_also_far_from_the_origin() {
        for shift in [0.0, 100.0] {
            let (a, b) =
                (random(20, 64, 1).add_scalar(shift).unwrap(), random(30, 64, 2).add_scalar(shift).unwrap());
            let differences = a.unsqueeze(1).unwrap().sub(&b).unwrap();
            let expected = differences.square().unwrap().sum(&[2], false).unwrap().sqrt().unwrap();
            let off = distances(&a, &b).unwrap().sub(&expected).unwrap().abs().unwrap();
            assert!(off.amax(&[], false).unwrap().item().unwrap() < 1e-10);
            let own = distances(&a, &a).unwrap().diagonal(0, 0, 1).unwrap();
            assert_eq!(own.amax(&[], false).unwrap().item().unwrap(), 0.0);
        }
    }

    #[test]
    fn each_ball_holds_its_neighbors() {
        let (x, cx) = (random(40, 64, 1), Context::default());
        let inside =
            distances(&x, &x).unwrap().le(&radii(&x, 3, &cx).unwrap().unsqueeze(1).unwrap()).unwrap();
        assert_eq!(inside.sum(&[1], false).unwrap().to_i64().unwrap(), [4; 40]);
    }
}
