//! Kernel inception distance (KID): an unbiased estimate, which does not shrink with the number of images.

use super::images::{same_width, vectors};
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::neighbors::{gather, in_rows, sum_in_rows};
use crate::context::Context;
use crate::ensure;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::torch::{DType, Device, Generator, Tensor};

/// KID for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[
        Metric {
            name: "kid",
            summary: "squared maximum mean discrepancy of the features with a cubic kernel, mean over blocks",
            better: Better::Lower,
            unit: "units of the kernel; 0 for equal distributions, and by chance below",
            source: "Bińkowski et al. 2018, arXiv:1801.01401, section 4 and equation 4",
        },
        Metric {
            name: "kid_std",
            summary: "standard deviation of KID over the blocks",
            better: Better::Lower,
            unit: "units of the kernel",
            source: "Bińkowski et al. 2018, arXiv:1801.01401, section 4",
        },
    ],
    needs: Needs::Features,
    divided: true,
    measure: |pair, cx| {
        let (real, made) = (pair.real.extracted()?, pair.made.extracted()?);
        let options = pair.options;
        let found = kid(&real.features, &made.features, options.kid_blocks, options.kid_size, cx)?;
        Ok(vec![Reading::of_both(found.mean), Reading::of_both(found.std.unwrap_or(0.0))])
    },
};

/// Mean and population standard deviation over the blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kid {
    /// Mean over the blocks.
    pub mean: f64,
    /// Population standard deviation over the blocks, if there are several.
    pub std: Option<f64>,
}

/// Returns the KID of features [N, D] and [M, D]: the mean of [`cubic_mmd`] over `blocks` random subsets of `size`
/// samples of each set, drawn without replacement (Bińkowski et al. 2018). Sets smaller than `size` are used whole; if
/// both are, there is one block.
///
/// The subsets are always the same, so equal sets have equal values.
pub fn kid(real: &Tensor, made: &Tensor, blocks: i64, size: i64, cx: &Context) -> Result<Kid> {
    let (real, made) = (vectors(real)?, vectors(made)?);
    same_width(&real, &made)?;
    ensure!(blocks >= 1, "expected at least 1 block, found {blocks}");
    let (count_real, count_made) = (real.size(0)?, made.size(0)?);
    let blocks = blocks_of([count_real, count_made], blocks, size);
    let generator = Generator::new(0, Device::Cpu)?;
    let choose = |count: i64| match count <= size {
        true => Tensor::arange(0.0, count as f64, 1.0, DType::Int64, Device::Cpu),
        false => Tensor::randperm(count, Device::Cpu, Some(&generator))?.narrow(0, 0, size),
    };
    let chosen: Vec<[Tensor; 2]> =
        (0..blocks).map(|_| Ok([choose(count_real)?, choose(count_made)?])).collect::<Result<_>>()?;
    let [real, made] = [Vectors::new(&real)?, Vectors::new(&made)?];
    // Many blocks of few samples need each pair more than once.
    let (n, m) = (count_real.min(size), count_made.min(size));
    let whole = count_real * count_real + count_made * count_made + count_real * count_made;
    let values = if blocks == 1 {
        vec![cubic_distance(&real, &made, cx)?]
    } else if whole < blocks * (n * n + m * m + n * m) {
        of_all_pairs(&real, &made, &chosen, cx)?
    } else {
        let alone = Context { ranks: None, ..cx.clone() };
        let (first, own) = Ranks::of(cx).share(chosen.len());
        let values: Result<Vec<f64>> = chosen[first..first + own]
            .iter()
            .map(|[a, b]| cubic_distance(&real.select(a)?, &made.select(b)?, &alone))
            .collect();
        gather(&values?, cx)?
    };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    Ok(Kid { mean, std: (values.len() > 1).then(|| variance.sqrt()) })
}

/// Returns the number of blocks that differ: one if both sets are used whole.
pub fn blocks_of(counts: [i64; 2], blocks: i64, size: i64) -> i64 {
    if counts.iter().all(|count| *count <= size) { 1 } else { blocks }
}

/// Returns the unbiased estimate of the squared maximum mean discrepancy with the kernel `(x . y / D + 1)^3`.
pub fn cubic_mmd(a: &Tensor, b: &Tensor, cx: &Context) -> Result<f64> {
    cubic_distance(&Vectors::new(a)?, &Vectors::new(b)?, cx)
}

/// Features, with the kernel of each with itself.
struct Vectors {
    /// [N, D] float32 or float64.
    points: Tensor,
    /// `[N]` float64.
    selves: Tensor,
}

impl Vectors {
    /// Prepares features [N, D] in float64.
    ///
    /// If their values are those of float32, as a network returns them, products are computed in float32: the errors
    /// of products, a ten millionth of them, cancel in sums of many, which are in float64. Sums of large kernels do
    /// not leave enough digits for differences; there everything is in float64.
    fn new(points: &Tensor) -> Result<Self> {
        const LARGEST: f64 = 1000.0;
        const SHORT: i64 = 32;
        let (count, width) = (points.size(0)?, points.size(1)?);
        let selves = cubic(&points.square()?.sum(&[1], false)?, width)?;
        let large = count == 0 || selves.amax(&[], false)?.item()? > LARGEST;
        let coarse = points.to_dtype(DType::Float32)?;
        let equal = !large && width > SHORT && coarse.to_dtype(DType::Float64)?.equal(points)?;
        Ok(Self { points: if equal { coarse } else { points.clone() }, selves })
    }

    fn count(&self) -> i64 {
        self.selves.count() as i64
    }

    fn select(&self, places: &Tensor) -> Result<Self> {
        Ok(Self {
            points: self.points.index_select(0, places)?,
            selves: self.selves.index_select(0, places)?,
        })
    }

    fn narrow(&self, start: i64, count: i64) -> Result<Self> {
        Ok(Self {
            points: self.points.narrow(0, start, count)?,
            selves: self.selves.narrow(0, start, count)?,
        })
    }

    /// Returns both sets in the dtype of their products.
    fn alike(&self, other: &Self) -> Result<[Tensor; 2]> {
        let dtype = match self.points.dtype() == other.points.dtype() {
            true => self.points.dtype(),
            false => DType::Float64,
        };
        Ok([self.points.to_dtype(dtype)?, other.points.to_dtype(dtype)?])
    }
}

/// Returns [`cubic_mmd`] of prepared features.
fn cubic_distance(a: &Vectors, b: &Vectors, cx: &Context) -> Result<f64> {
    for (name, set) in [("real", a), ("generated", b)] {
        let count = set.count();
        ensure!(count >= 2, "the kernel distance needs at least 2 {name} samples, found {count}");
    }
    let own = |x: &Vectors| -> Result<f64> {
        // Pairs of different halves occur twice and are computed once.
        let half = x.count() / 2;
        let (first, second) = (x.narrow(0, half)?, x.narrow(half, x.count() - half)?);
        let sum = kernel_sum(&first, &first, cx)?
            + kernel_sum(&second, &second, cx)?
            + 2.0 * kernel_sum(&first, &second, cx)?;
        // Pairs of a sample with itself are excluded, which makes the estimate unbiased.
        let count = x.count() as f64;
        Ok((sum - x.selves.sum(&[], false)?.item()?) / (count * (count - 1.0)))
    };
    let pairs = (a.count() * b.count()) as f64;
    Ok(own(a)? + own(b)? - 2.0 * kernel_sum(a, b, cx)? / pairs)
}

fn kernel_sum(a: &Vectors, b: &Vectors, cx: &Context) -> Result<f64> {
    let ([a, b], width) = (a.alike(b)?, a.points.size(1)?);
    let other = b.transpose(0, 1)?;
    sum_in_rows(&a, b.size(0)?, cx, |part| {
        let products = part.matmul(&other)?;
        // A few rows at a time stay in the cache.
        let (count, size) = (products.size(0)?, (CACHED / products.size(1)?.max(1)).max(1));
        (0..count).step_by(size as usize).try_fold(0.0, |sum, start| {
            let rows = products.narrow(0, start, size.min(count - start))?;
            let base = base(&rows, width)?.flatten(0, -1)?;
            Ok(sum + base.square()?.dot(&base)?.item()?)
        })
    })
}

/// Number of kernels whose float64 values fit into a processor's cache.
const CACHED: i64 = 1 << 16;

/// Returns the distance of each block of samples, from the kernels of all pairs, each computed once.
fn of_all_pairs(a: &Vectors, b: &Vectors, chosen: &[[Tensor; 2]], cx: &Context) -> Result<Vec<f64>> {
    // Entry [i, b] is 1 if sample i is in block b. A block's sum of kernels is its column times the kernels times its
    // column.
    let members = |side: usize, count: i64| -> Result<Tensor> {
        let one = |chosen: &[Tensor; 2]| {
            let zeros = Tensor::zeros(&[count], DType::Float64, Device::Cpu)?;
            let ones = Tensor::ones(&chosen[side].shape(), DType::Float64, Device::Cpu)?;
            zeros.index_copy(0, &chosen[side], &ones)
        };
        Tensor::stack(&chosen.iter().map(one).collect::<Result<Vec<_>>>()?, 1)
    };
    let (in_a, in_b) = (members(0, a.count())?, members(1, b.count())?);
    let sums = |x: &Vectors, y: &Vectors, in_x: &Tensor, in_y: &Tensor| -> Result<Vec<f64>> {
        let ([points, others], width) = (x.alike(y)?, x.points.size(1)?);
        let others = others.transpose(0, 1)?;
        let mut parts = Vec::new();
        in_rows(&points, y.count(), cx, |start, part| {
            let kernels = cubic(&part.matmul(&others)?.to_dtype(DType::Float64)?, width)?;
            let own = in_x.narrow(0, start, part.size(0)?)?;
            parts.push(kernels.matmul(in_y)?.mul(&own)?.sum(&[0], true)?);
            Ok(())
        })?;
        let own = match parts.is_empty() {
            true => Tensor::zeros(&[0, chosen.len() as i64], DType::Float64, Device::Cpu)?,
            false => Tensor::cat(&parts, 0)?,
        };
        Ranks::of(cx).gather(&own)?.sum(&[0], false)?.to_f64()
    };
    let own = |x: &Vectors, in_x: &Tensor| -> Result<Vec<f64>> {
        let selves = x.selves.unsqueeze(0)?.matmul(in_x)?.to_f64()?;
        let counts = in_x.sum(&[0], false)?.to_f64()?;
        let sums = sums(x, x, in_x, in_x)?;
        Ok(sums.iter().zip(&selves).zip(&counts).map(|((s, d), n)| (s - d) / (n * (n - 1.0))).collect())
    };
    let pairs = in_a.sum(&[0], false)?.mul(&in_b.sum(&[0], false)?)?.to_f64()?;
    let (own_a, own_b, across) = (own(a, &in_a)?, own(b, &in_b)?, sums(a, b, &in_a, &in_b)?);
    Ok((0..chosen.len()).map(|i| own_a[i] + own_b[i] - 2.0 * across[i] / pairs[i]).collect())
}

/// Returns `products / width + 1` in float64.
fn base(products: &Tensor, width: i64) -> Result<Tensor> {
    products.to_dtype(DType::Float64)?.div_scalar(width as f64)?.add_scalar(1.0)
}

/// Returns `(products / width + 1)^3`.
fn cubic(products: &Tensor, width: i64) -> Result<Tensor> {
    let base = base(products, width)?;
    base.square()?.mul(&base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_f64(values, &[values.len() as i64, 1]).unwrap()
    }

    fn random(rows: i64, seed: u64) -> Tensor {
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        Tensor::randn(&[rows, 6], DType::Float64, Device::Cpu, Some(&generator)).unwrap()
    }

    #[test]
    fn two_points_each_by_hand() {
        // k(0, 1) = 1 and k(1, 2) = 27 within the sets; k(0, 1), k(0, 2), k(1, 1), k(1, 2) = 1, 1, 8, 27 across.
        let found = cubic_mmd(&column(&[0.0, 1.0]), &column(&[1.0, 2.0]), &Context::default()).unwrap();
        assert!((found - (1.0 + 27.0 - 2.0 * 37.0 / 4.0)).abs() < 1e-12, "{found}");
    }

    #[test]
    fn the_estimate_is_unbiased_and_grows_with_a_shift() {
        let cx = Context::default();
        // The mean over many pairs of small sets of one distribution is near zero, with both signs.
        let values: Vec<f64> =
            (0..60).map(|i| cubic_mmd(&random(30, i), &random(40, 1000 + i), &cx).unwrap()).collect();
        let mean = values.iter().sum::<f64>() / 60.0;
        let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 59.0).sqrt();
        assert!(mean.abs() < 4.0 * spread / 60f64.sqrt(), "{mean} of {spread}");
        assert!(values.iter().any(|v| *v < 0.0));
        let far = cubic_mmd(&random(30, 1), &random(40, 2).add_scalar(1.0).unwrap(), &cx).unwrap();
        assert!(far > values.iter().fold(0.0, |m: f64, v| m.max(*v)));
    }

    #[test]
    fn blocks_are_the_same_each_time_and_small_sets_are_taken_whole() {
        let (x, y, cx) = (random(50, 1), random(50, 2), Context::default());
        let blocks = kid(&x, &y, 8, 20, &cx).unwrap();
        assert_eq!(blocks, kid(&x, &y, 8, 20, &cx).unwrap());
        assert!(blocks.std.unwrap() > 0.0);
        let whole = kid(&x, &y, 8, 1000, &cx).unwrap();
        assert_eq!(whole, Kid { mean: cubic_mmd(&x, &y, &cx).unwrap(), std: None });
    }

    #[test]
    fn all_pairs_give_the_values_of_the_blocks() {
        let cx = Context::default();
        // Short and long features; the latter are those of float32, as a network returns them.
        for width in [6, 40] {
            let set = |rows: i64, seed: u64, shift: f64| {
                let generator = Generator::new(seed, Device::Cpu).unwrap();
                let x = Tensor::randn(&[rows, width], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
                x.add_scalar(shift).unwrap().to_dtype(DType::Float64).unwrap()
            };
            let (a, b) = (set(90, 1, 0.5), set(70, 2, 0.6));
            let chosen: Vec<[Tensor; 2]> = (0..30)
                .map(|seed| {
                    let generator = Generator::new(seed, Device::Cpu).unwrap();
                    [90, 70].map(|count| {
                        let order = Tensor::randperm(count, Device::Cpu, Some(&generator)).unwrap();
                        order.narrow(0, 0, 25).unwrap()
                    })
                })
                .collect();
            let [x, y] = [&a, &b].map(|set| Vectors::new(set).unwrap());
            assert_eq!(x.points.dtype(), if width > 32 { DType::Float32 } else { DType::Float64 });
            let found = of_all_pairs(&x, &y, &chosen, &cx).unwrap();
            for (found, [i, j]) in found.iter().zip(&chosen) {
                // By the definition, in float64.
                let (a, b) = (a.index_select(0, i).unwrap(), b.index_select(0, j).unwrap());
                let kernel = |a: &Tensor, b: &Tensor| {
                    let products = a.matmul(&b.transpose(0, 1).unwrap()).unwrap();
                    cubic(&products, width).unwrap()
                };
                let sum = |k: &Tensor| k.sum(&[], false).unwrap().item().unwrap();
                let own = |x: &Tensor| {
                    let kernels = kernel(x, x);
                    (sum(&kernels) - kernels.trace().unwrap().item().unwrap()) / (25.0 * 24.0)
                };
                let expected = own(&a) + own(&b) - 2.0 * sum(&kernel(&a, &b)) / 625.0;
                assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
                let block = cubic_distance(&x.select(i).unwrap(), &y.select(j).unwrap(), &cx).unwrap();
                assert!((block - expected).abs() < 1e-6, "{block} and {expected}");
            }
        }
    }
}
