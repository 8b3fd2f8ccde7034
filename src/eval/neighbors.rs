//! Distances between points and to nearest neighbors.

use std::cell::OnceCell;

use crate::context::Context;
use crate::declare::{FromValue, IntoValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::torch::{DType, Tensor, call};

/// Approximate number of distances in memory at once.
const CHUNK: i64 = 1 << 21;

/// Number of dimensions up to which distances are computed from differences.
const SHORT: i64 = 32;

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
    let (near, exact, mut parts) = (Coarse::new(points)?, LazyTargets::of(points), Vec::new());
    in_rows(points, points.size(0)?, cx, |_, part| {
        // The nearest point is the point itself, at distance zero.
        let by_distance = |part: &Tensor| -> Result<Tensor> {
            exact.get()?.distances(part)?.topk(k + 1, 1, false)?.0.amax(&[1], false)
        };
        parts.push(match &near {
            None => by_distance(part)?,
            Some(near) => {
                let (squared, error) = near.squared(part)?;
                // One more than needed shows whether float32 can tell which neighbor is the k-th.
                let last = (k + 2).min(points.size(0)?);
                let (nearest, which) = squared.topk(last, 1, false)?;
                let gaps = nearest.narrow(1, 1, last - 1)?.sub(&nearest.narrow(1, 0, last - 1)?)?;
                let around = gaps.narrow(1, k - 1, (last - k).min(2))?.amin(&[1], false)?;
                let neighbors = points.index_select(0, &which.select(1, k)?)?;
                let found = part.sub(&neighbors)?.square()?.sum(&[1], false)?.sqrt()?;
                let doubtful = around.le(&error.mul_scalar(2.0)?)?;
                replaced(&found, &doubtful, part, &by_distance)?
            }
        });
        Ok(())
    })?;
    let own = match parts.is_empty() {
        true => Tensor::zeros(&[0], points.dtype(), points.device())?,
        false => Tensor::cat(&parts, 0)?,
    };
    // Enlarged so that the neighbor itself lies inside despite rounding.
    Ranks::of(cx).gather(&own)?.mul_scalar(1.0 + 1e-9)
}

/// Returns `values`, one for each row, with those of the doubtful rows computed by `exactly`.
pub fn replaced(
    values: &Tensor,
    doubtful: &Tensor,
    rows: &Tensor,
    exactly: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let which = doubtful.nonzero()?.flatten(0, -1)?;
    match which.count() {
        0 => Ok(values.clone()),
        _ => {
            values.index_copy(0, &which, &exactly(&rows.index_select(0, &which)?)?.to_dtype(values.dtype())?)
        }
    }
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

/// Targets that are prepared when they are first needed, since they take as much memory as the points.
pub struct LazyTargets<'a> {
    points: &'a Tensor,
    targets: OnceCell<Targets>,
}

impl<'a> LazyTargets<'a> {
    /// Returns targets that are not prepared yet.
    pub fn of(points: &'a Tensor) -> Self {
        Self { points, targets: OnceCell::new() }
    }

    /// Returns the prepared targets.
    pub fn get(&self) -> Result<&Targets> {
        if self.targets.get().is_none() {
            let _ = self.targets.set(Targets::new(self.points)?);
        }
        self.targets.get().ok_or_else(|| Error::internal("the targets were not prepared"))
    }
}

/// Long points whose distances are first computed in float32, which takes half the time: all comparisons that its
/// error could change must then be made in float64.
pub struct Coarse {
    middle: Tensor,
    /// Centered points as columns, and their squared lengths; float32.
    turned: Tensor,
    lengths: Tensor,
    longest: f64,
}

impl Coarse {
    /// Error of squared distances, relative to the sum of both squared lengths: ten times the largest seen.
    const ERROR: f64 = 2e-6;

    /// Prepares points [M, D] in float64; `None` for short ones, or if float32 could overflow.
    pub fn new(points: &Tensor) -> Result<Option<Self>> {
        if points.size(1)? <= SHORT {
            return Ok(None);
        }
        let middle = points.mean(&[0], false)?;
        let mut columns = Vec::new();
        let mut lengths = Vec::new();
        let count = points.size(0)?;
        // In parts, so that no second copy in float64 is needed.
        for start in (0..count).step_by(4096) {
            let around = points.narrow(0, start, (count - start).min(4096))?.sub(&middle)?;
            lengths.push(squares(&around)?);
            columns.push(around.to_dtype(DType::Float32)?);
        }
        let lengths = Tensor::cat(&lengths, 0)?;
        let longest = lengths.amax(&[], false)?.item()?;
        if !(1e-20..1e20).contains(&longest) {
            return Ok(None);
        }
        let turned = Tensor::cat(&columns, 0)?.transpose(0, 1)?;
        Ok(Some(Self { middle, turned, lengths: lengths.to_dtype(DType::Float32)?, longest }))
    }

    /// Returns squared distances [N, M] float32 from points [N, D], and the largest error of each row `[N]`.
    pub fn squared(&self, from: &Tensor) -> Result<(Tensor, Tensor)> {
        let from = from.sub(&self.middle)?;
        let own = squares(&from)?;
        let products = from.to_dtype(DType::Float32)?.matmul(&self.turned)?;
        let lengths = own.to_dtype(DType::Float32)?.unsqueeze(1)?.add(&self.lengths)?;
        let error = own.add_scalar(self.longest)?.mul_scalar(Self::ERROR)?.to_dtype(DType::Float32)?;
        Ok((lengths.sub(&products.mul_scalar(2.0)?)?, error))
    }
}

fn squares(vectors: &Tensor) -> Result<Tensor> {
    vectors.square()?.sum(&[1], false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{Device, Generator};

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

    #[test]
    fn what_float32_cannot_tell_is_decided_in_float64() {
        let cx = Context::default();
        // Far from the origin, with duplicates, and with neighbors whose distances differ by a billionth.
        let x = random(60, 64, 1).add_scalar(30.0).unwrap();
        let twin = x.narrow(0, 0, 10).unwrap();
        let near = x.narrow(0, 10, 10).unwrap().mul_scalar(1.0 + 1e-11).unwrap();
        let points = Tensor::cat(&[x, twin, near], 0).unwrap();
        for k in [1, 2, 3, 79] {
            let all = distances(&points, &points).unwrap();
            let exact = all.topk(k + 1, 1, false).unwrap().0.amax(&[1], false).unwrap();
            let found = radii(&points, k, &cx).unwrap().div_scalar(1.0 + 1e-9).unwrap();
            let off = found.sub(&exact).unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap();
            assert!(off < 1e-9, "k = {k}: {off}");
        }
        let (squared, error) = Coarse::new(&points).unwrap().unwrap().squared(&points).unwrap();
        let exact = distances(&points, &points).unwrap().square().unwrap();
        let off = squared.to_dtype(DType::Float64).unwrap().sub(&exact).unwrap().abs().unwrap();
        let off = off.amax(&[1], false).unwrap().to_f64().unwrap();
        let error = error.to_f64().unwrap();
        assert!(off.iter().zip(&error).all(|(off, error)| off < error), "{off:?} and {error:?}");
        assert!(off.iter().any(|off| *off > 0.0));
    }
}
