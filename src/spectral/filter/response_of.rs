//! Measures the transfer function of a filter by sending every wave through it.

use std::f64::consts::PI;

use super::Plan;
use crate::error::Result;
use crate::torch::Tensor;

/// How many waves go through the filter at once; bounds the memory.
const CHUNK: usize = 512;

/// The in-phase gain of every wave of the grid, float64 [grid, grid], zero frequency first.
pub fn measure(plan: &Plan, grid: i64) -> Result<Tensor> {
    let g = grid as usize;
    let waves: Vec<(usize, usize)> = (0..g).flat_map(|i| (0..g).map(move |j| (i, j))).collect();
    let mut gains = Vec::with_capacity(g * g);
    for chunk in waves.chunks(CHUNK) {
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
