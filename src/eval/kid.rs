//! Kernel inception distance (KID): an unbiased estimate, which does not shrink with the number of images.

use super::images::{same_width, vectors};
use super::metric::{Better, Family, Metric, Needs, Reading};
use super::neighbors::{gather, sum_in_rows};
use crate::context::Context;
use crate::ensure;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::torch::{Device, Generator, Tensor};

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
        Ok(vec![Reading::of_both(found.mean), Reading::of_both(found.std)])
    },
};

/// Mean and population standard deviation over the blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kid {
    /// Mean over the blocks.
    pub mean: f64,
    /// Population standard deviation over the blocks.
    pub std: f64,
}

/// Returns the KID of features [N, D] and [M, D]: the mean of [`cubic_mmd`] over `blocks` random subsets of `size`
/// samples of each set, drawn without replacement (Bińkowski et al. 2018). Sets smaller than `size` are used whole.
///
/// The subsets are always the same, so equal sets have equal values.
pub fn kid(real: &Tensor, made: &Tensor, blocks: i64, size: i64, cx: &Context) -> Result<Kid> {
    let (real, made) = (vectors(real)?, vectors(made)?);
    same_width(&real, &made)?;
    ensure!(blocks >= 1, "expected at least 1 block, found {blocks}");
    // If both sets are used whole, all blocks are equal.
    let all = real.size(0)? <= size && made.size(0)? <= size;
    let blocks = if all { 1 } else { blocks };
    let generator = Generator::new(0, Device::Cpu)?;
    let choose = |set: &Tensor| -> Result<Tensor> {
        let count = set.size(0)?;
        match count <= size {
            true => Ok(set.clone()),
            false => {
                let order = Tensor::randperm(count, Device::Cpu, Some(&generator))?;
                set.index_select(0, &order.narrow(0, 0, size)?)
            }
        }
    };
    // Several blocks are divided among the ranks, a single one by its rows.
    let ranks = Ranks::of(cx);
    let alone = Context { ranks: None, ..cx.clone() };
    let (first, own) = ranks.share(blocks as usize);
    let mut values = Vec::new();
    for block in 0..blocks as usize {
        let (real, made) = (choose(&real)?, choose(&made)?);
        match blocks {
            1 => values.push(cubic_mmd(&real, &made, cx)?),
            _ if (first..first + own).contains(&block) => values.push(cubic_mmd(&real, &made, &alone)?),
            _ => {}
        }
    }
    let values = if blocks > 1 { gather(&values, cx)? } else { values };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    Ok(Kid { mean, std: variance.sqrt() })
}

/// Returns the unbiased estimate of the squared maximum mean discrepancy with the kernel `(x . y / D + 1)^3`.
pub fn cubic_mmd(a: &Tensor, b: &Tensor, cx: &Context) -> Result<f64> {
    for (name, set) in [("real", a), ("generated", b)] {
        let count = set.size(0)?;
        ensure!(count >= 2, "the kernel distance needs at least 2 {name} samples, found {count}");
    }
    let own = |x: &Tensor| -> Result<f64> {
        let count = x.size(0)? as f64;
        // Pairs of a sample with itself are excluded, which makes the estimate unbiased.
        let selves = cubic(&x.square()?.sum(&[1], false)?, x.size(1)?)?.sum(&[], false)?.item()?;
        Ok((kernel_sum(x, x, cx)? - selves) / (count * (count - 1.0)))
    };
    let pairs = (a.size(0)? * b.size(0)?) as f64;
    Ok(own(a)? + own(b)? - 2.0 * kernel_sum(a, b, cx)? / pairs)
}

fn kernel_sum(a: &Tensor, b: &Tensor, cx: &Context) -> Result<f64> {
    let other = b.transpose(0, 1)?;
    sum_in_rows(a, b.size(0)?, cx, |part| cubic(&part.matmul(&other)?, a.size(1)?)?.sum(&[], false)?.item())
}

/// Returns `(products / width + 1)^3`.
fn cubic(products: &Tensor, width: i64) -> Result<Tensor> {
    let base = products.div_scalar(width as f64)?.add_scalar(1.0)?;
    base.square()?.mul(&base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::DType;

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
        assert!(blocks.std > 0.0);
        let whole = kid(&x, &y, 8, 1000, &cx).unwrap();
        assert_eq!(whole, Kid { mean: cubic_mmd(&x, &y, &cx).unwrap(), std: 0.0 });
    }
}
