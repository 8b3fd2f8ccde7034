//! Distances between points, and how far each point's nearest neighbours are.

use crate::context::Context;
use crate::declare::{FromValue, IntoValue, Value};
use crate::ensure;
use crate::error::Result;
use crate::torch::{Tensor, call};

/// About how many distances are held at once.
const CHUNK: i64 = 1 << 21;

/// Fails unless each set has more than `k` points, and `k` is at least 1.
pub fn check_counts(real: &Tensor, made: &Tensor, k: i64) -> Result<()> {
    ensure!(k >= 1, "expected k of at least 1, found {k}");
    for (name, points) in [("real", real), ("made", made)] {
        let count = points.size(0)?;
        ensure!(count > k, "expected more than k = {k} {name} samples, found {count}");
    }
    Ok(())
}

/// Distance of each point to its `k`-th nearest neighbour in the same set, `[N]`.
pub fn radii(points: &Tensor, k: i64, cx: &Context) -> Result<Tensor> {
    let mut parts = Vec::new();
    in_rows(points, points.size(0)?, cx, |_, part| {
        // The nearest of all is the point itself, at distance zero.
        let (nearest, _) = distances(part, points)?.topk(k + 1, 1, false)?;
        parts.push(nearest.amax(&[1], false)?);
        Ok(())
    })?;
    Tensor::cat(&parts, 0)
}

/// Calls `each` with groups of points and the place of their first, so small that a table against `columns`
/// other points stays small.
pub fn in_rows(
    points: &Tensor,
    columns: i64,
    cx: &Context,
    mut each: impl FnMut(i64, &Tensor) -> Result<()>,
) -> Result<()> {
    let (count, size) = (points.size(0)?, (CHUNK / columns).max(1));
    for start in (0..count).step_by(size as usize) {
        cx.check()?;
        each(start, &points.narrow(0, start, size.min(count - start))?)?;
    }
    Ok(())
}

/// Euclidean distances [N, M], from differences and not from products, so that equal points are at zero.
pub fn distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const BY_DIFFERENCES: i64 = 2;
    let arguments =
        [a.clone().into_value(), b.clone().into_value(), Value::Float(2.0), Value::Int(BY_DIFFERENCES)];
    Tensor::from_value(&call::call("cdist", &arguments, &Default::default())?)
}
