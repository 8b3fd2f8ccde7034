//! Transfer function of a filter: its response to every wave that the grid can hold.

use std::f64::consts::PI;

use super::Plan;
use crate::error::Result;
use crate::torch::Tensor;
use crate::torch::fused::GridFilter;

/// Number of values that pass through a filter of user code at once, to bound the memory.
const NUMBERS: usize = 1 << 23;

/// Returns the in-phase gain of every wave of the grid, float64 [grid, grid], zero frequency first.
pub fn measure(plan: &Plan, grid: i64) -> Result<Tensor> {
    match plan.matrices()? {
        Some(filter) => of_matrices(&filter, grid),
        None => by_waves(plan, grid),
    }
}

/// Returns the cosines and sines [G, G], one row for each number of cycles.
fn waves(grid: i64) -> Result<(Tensor, Tensor)> {
    let rows = |part: fn(f64) -> f64| {
        let entry = |i: i64| part(2.0 * PI * ((i / grid) * (i % grid) % grid) as f64 / grid as f64);
        let values: Vec<f64> = (0..grid * grid).map(entry).collect();
        Tensor::from_f64(&values, &[grid, grid])
    };
    Ok((rows(f64::cos)?, rows(f64::sin)?))
}

/// Computes the gains of a filter that acts on rows and columns by matrices: the gain of a wave is a product, or a
/// sum of products, of their effects on its two parts.
fn of_matrices(filter: &GridFilter, grid: i64) -> Result<Tensor> {
    let (cos, sin) = waves(grid)?;
    let matrix = filter.matrix.select(0, 0)?;
    let scale = 1.0 / grid as f64;
    let Some(gains) = &filter.gains else {
        // a = e^H A e / G for the wave e of each row; the gain is the real part of a_i a_j.
        let (of_cos, of_sin) = (cos.matmul(&matrix)?, sin.matmul(&matrix)?);
        let along = |x: &Tensor, y: &Tensor| x.mul(y)?.sum(&[1], false)?.mul_scalar(scale);
        let real = along(&of_cos, &cos)?.add(&along(&of_sin, &sin)?)?;
        let imaginary = along(&of_cos, &sin)?.sub(&along(&of_sin, &cos)?)?;
        let outer = |x: &Tensor| x.unsqueeze(1)?.mul(&x.unsqueeze(0)?);
        return outer(&real)?.sub(&outer(&imaginary)?);
    };
    // Energy of each wave in each row of Q.
    let rows = matrix.transpose(0, 1)?;
    let energy = cos.matmul(&rows)?.square()?.add(&sin.matmul(&rows)?.square()?)?.mul_scalar(scale)?;
    let kept = gains.size(1)?;
    energy.matmul(&gains.reshape(&[kept, kept])?)?.matmul(&energy.transpose(0, 1)?)
}

/// Computes the gains by filtering every wave.
fn by_waves(plan: &Plan, grid: i64) -> Result<Tensor> {
    let g = grid as usize;
    let waves: Vec<(usize, usize)> = (0..g).flat_map(|i| (0..g).map(move |j| (i, j))).collect();
    let mut gains = Vec::with_capacity(g * g);
    for chunk in waves.chunks((NUMBERS / (2 * g * g)).clamp(1, 512)) {
        // Tokens [2, N, waves]: the cosine and the sine of each wave. Their squares sum to N.
        let mut tokens = vec![0.0; 2 * g * g * chunk.len()];
        for (part, wave) in [f64::cos as fn(f64) -> f64, f64::sin].iter().enumerate() {
            for place in 0..g * g {
                for (column, (i, j)) in chunk.iter().enumerate() {
                    let turn = (i * (place / g) + j * (place % g)) % g;
                    tokens[(part * g * g + place) * chunk.len() + column] =
                        wave(2.0 * PI * turn as f64 / g as f64);
                }
            }
        }
        let tokens = Tensor::from_f64(&tokens, &[2, (g * g) as i64, chunk.len() as i64])?;
        let passed = plan.apply(&tokens)?.mul(&tokens)?.sum(&[0, 1], false)?;
        gains.extend(passed.mul_scalar(1.0 / (g * g) as f64)?.to_f64()?);
    }
    Tensor::from_f64(&gains, &[grid, grid])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::Filter;
    use crate::spectral::filter;
    use crate::torch::{DType, Device};

    #[test]
    fn matrices_and_waves_tell_the_same() {
        crate::torch::start();
        let lopsided = filter::Taps { taps: vec![1.0, 0.0, 5.0, 2.0, 0.0], normalize: true };
        let filters =
            ["binomial", "haar", "ideal", "butterworth", "dct"].map(|name| Filter::named(name).unwrap());
        for filter in filters.into_iter().chain([Filter::new(lopsided).unwrap()]) {
            for grid in [4, 6] {
                let plan = filter.plan(grid, DType::Float64, Device::Cpu).unwrap();
                let (quick, sent) = (measure(&plan, grid).unwrap(), by_waves(&plan, grid).unwrap());
                assert!(quick.allclose(&sent, 1e-12, 1e-12).unwrap(), "{filter} {grid}");
            }
        }
    }

    #[test]
    fn a_large_grid_takes_no_more_than_its_matrices() {
        crate::torch::start();
        let response = Filter::named("gaussian").unwrap().response(256).unwrap();
        assert!(
            (response.narrow(0, 0, 1).unwrap().narrow(1, 0, 1).unwrap().item().unwrap() - 1.0).abs() < 1e-9
        );
    }
}
