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
    radii_near(points, Coarse::new(points)?.as_ref(), k, cx)
}

/// Like [`radii`], with the points prepared by [`Coarse::new`].
pub fn radii_near(points: &Tensor, near: Option<&Coarse>, k: i64, cx: &Context) -> Result<Tensor> {
    let (exact, mut parts) = (LazyTargets::of(points), Vec::new());
    in_rows(points, points.size(0)?, cx, |start, part| {
        // The nearest point is the point itself, at distance zero.
        let by_distance = |part: &Tensor| -> Result<Tensor> {
            exact.distances(part)?.topk(k + 1, 1, false)?.0.amax(&[1], false)
        };
        parts.push(match near {
            None => by_distance(part)?,
            Some(near) => {
                let (squared, error) = near.squared_own(start, part.size(0)?)?;
                // One more than needed shows whether float32 can tell which neighbor is the k-th.
                let last = (k + 2).min(points.size(0)?);
                let (nearest, which) = squared.topk(last, 1, false)?;
                let gaps = nearest.narrow(1, 1, last - 1)?.sub(&nearest.narrow(1, 0, last - 1)?)?;
                let around = gaps.narrow(1, k - 1, (last - k).min(2))?.amin(&[1], false)?;
                let neighbors = points.index_select(0, &which.select(1, k)?)?;
                let found = squares(&part.sub(&neighbors)?)?.sqrt()?;
                let own = near.lengths.narrow(0, start, part.size(0)?)?.to_dtype(DType::Float64)?;
                let found = equal_if_near(&found, &own)?;
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
        match self {
            Self::Short(points) => by_differences(from, points),
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

/// Targets that are prepared once many distances are needed, since that takes time and as much memory as the points.
pub struct LazyTargets<'a> {
    points: &'a Tensor,
    middle: OnceCell<Tensor>,
    targets: OnceCell<Targets>,
}

impl<'a> LazyTargets<'a> {
    /// Returns targets that are not prepared yet.
    pub fn of(points: &'a Tensor) -> Self {
        Self { points, middle: OnceCell::new(), targets: OnceCell::new() }
    }

    /// Returns Euclidean distances [N, M] from points [N, D], as [`Targets::distances`] does.
    pub fn distances(&self, from: &Tensor) -> Result<Tensor> {
        const FEW: i64 = 8;
        match self.targets.get() {
            Some(targets) => targets.distances(from),
            None if from.size(0)? <= FEW && from.size(1)? > SHORT => {
                if self.middle.get().is_none() {
                    let _ = self.middle.set(self.points.mean(&[0], false)?);
                }
                let own = self.middle.get().map(|middle| squares(&from.sub(middle)?)).transpose()?;
                let own = own.ok_or_else(|| Error::internal("the mean was not prepared"))?;
                equal_if_near(&by_differences(from, self.points)?, &own.unsqueeze(1)?)
            }
            None => {
                let _ = self.targets.set(Targets::new(self.points)?);
                self.distances(from)
            }
        }
    }
}

/// Long points whose distances are first computed in float32, which takes half the time: all comparisons that its
/// error could change must then be made in float64.
pub struct Coarse {
    middle: Tensor,
    /// Centered points [M, D] and their squared lengths `[M]`; float32.
    points: Tensor,
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
        let (count, size) = (points.size(0)?, (CHUNK / points.size(1)?).max(1));
        // In parts, so that no second copy in float64 is needed.
        let (mut parts, mut lengths) = (Vec::new(), Vec::new());
        for start in (0..count).step_by(size as usize) {
            let part =
                points.narrow(0, start, size.min(count - start))?.sub(&middle)?.to_dtype(DType::Float32)?;
            lengths.push(squares(&part)?);
            parts.push(part);
        }
        let (points, lengths) = (Tensor::cat(&parts, 0)?, Tensor::cat(&lengths, 0)?);
        let longest = lengths.amax(&[], false)?.item()?;
        let fits = (1e-20..1e20).contains(&longest);
        Ok(fits.then_some(Self { middle, points, lengths, longest }))
    }

    /// Returns squared distances [N, M] float32 from points [N, D], and the largest error of each row `[N]`.
    pub fn squared(&self, from: &Tensor) -> Result<(Tensor, Tensor)> {
        let from = from.sub(&self.middle)?.to_dtype(DType::Float32)?;
        self.table(&from, &squares(&from)?)
    }

    /// Like [`squared`](Self::squared), from `count` of the points themselves.
    pub fn squared_own(&self, start: i64, count: i64) -> Result<(Tensor, Tensor)> {
        self.table(&self.points.narrow(0, start, count)?, &self.lengths.narrow(0, start, count)?)
    }

    fn table(&self, from: &Tensor, own: &Tensor) -> Result<(Tensor, Tensor)> {
        let table = from.mul_scalar(-2.0)?.matmul(&self.points.transpose(0, 1)?)?;
        table.add_(&self.lengths)?;
        table.add_(&own.unsqueeze(1)?)?;
        let error = own.add_scalar(self.longest)?.mul_scalar(Self::ERROR)?;
        Ok((table, error))
    }
}

/// Squared distances, relative to the sum of both squared lengths, that are zero.
const ROUNDING: f64 = 1e-12;

/// Returns distances, with zero for points that are equal up to rounding: their squared lengths are both `own`.
fn equal_if_near(distances: &Tensor, own: &Tensor) -> Result<Tensor> {
    let apart = distances.square()?.gt(&own.mul_scalar(2.0 * ROUNDING)?)?;
    distances.where_true(&apart, &distances.mul_scalar(0.0)?)
}

/// Returns Euclidean distances [N, M] computed from differences.
fn by_differences(from: &Tensor, points: &Tensor) -> Result<Tensor> {
    const BY_DIFFERENCES: i64 = 2;
    let arguments = [
        from.clone().into_value(),
        points.clone().into_value(),
        Value::Float(2.0),
        Value::Int(BY_DIFFERENCES),
    ];
    Tensor::from_value(&call::call("cdist", &arguments, &Default::default())?)
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
