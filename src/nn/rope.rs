//! Rotary position embedding of a token grid.

use super::embed::{Axis, THETA, over_grid};
use crate::ensure;
use crate::error::Result;
use crate::torch::fused::Rotation;
use crate::torch::{DType, Device, Tensor};

/// Rotary position embedding of queries and keys on a grid (Su et al. 2021, equation 34, for each axis).
///
/// The first half of a head encodes the row, the second half the column. Adjacent entries (2i, 2i + 1) of a half of
/// size h are rotated by the angle `position theta^(-2i / h)`, with a theta of 10000 unless another is given.
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
    /// The tables as the fused operator takes them, [1 or B, N, head].
    rotation: [Tensor; 2],
}

impl Rope {
    /// Computes the tables of a grid of `grid` x `grid` tokens; `head` must be divisible by 4.
    pub fn new(head: i64, grid: i64, dtype: DType, device: Device) -> Result<Self> {
        Self::of_grid(head, [grid, grid], THETA, dtype, device)
    }

    /// Computes the tables of a grid of [height, width] tokens with frequencies of base `theta`; `head` must be divisible by 4.
    pub fn of_grid(head: i64, grid: [i64; 2], theta: f64, dtype: DType, device: Device) -> Result<Self> {
        Self::of_axes(head, grid.map(|count| Axis { theta, ..Axis::new(count) }), dtype, device)
    }

    /// Computes the tables of a grid whose rows and columns have these positions; `head` must be divisible by 4.
    pub fn of_axes(head: i64, axes: [Axis; 2], dtype: DType, device: Device) -> Result<Self> {
        ensure!(
            head >= 4 && head % 4 == 0,
            "rotary positions on a grid need a size of heads divisible by 4, found {head}"
        );
        let half = head / 2;
        // In float32, as the tables of checkpoints were computed.
        let frequency = |axis: &Axis, i: i64| {
            1.0 / (axis.theta(half / 2) as f32).powf((2 * (i / 2)) as f32 / half as f32)
        };
        let table = |wave: fn(f64) -> f64| {
            let side = |axis: &Axis| {
                let frequencies: Vec<f32> = (0..half).map(|i| frequency(axis, i)).collect();
                let at = |position: f32, frequency: &f32| wave(f64::from(position * frequency)) as f32;
                let row = |p: i64| frequencies.iter().map(move |f| at(axis.position(p) as f32, f));
                let all: Vec<f32> = (0..axis.count).flat_map(row).collect();
                Tensor::from_f32(&all, &[axis.count, half])?.to_dtype(dtype)?.to_device(device)
            };
            over_grid(&side(&axes[0])?, &side(&axes[1])?)
        };
        let (cos, sin) = (table(f64::cos)?, table(f64::sin)?);
        let rotation = [cos.unsqueeze(0)?, sin.unsqueeze(0)?];
        Ok(Self { cos, sin, rotation })
    }

    /// Returns the cosines and sines of all tokens, both [N, head].
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// Returns the tables as the fused operator takes them.
    pub fn rotation(&self) -> Rotation<'_> {
        let [cos, sin] = &self.rotation;
        Rotation { cos, sin }
    }

    /// Fails unless there are as many tokens as positions.
    pub fn fits(&self, tokens: i64) -> Result<()> {
        let all = self.cos.size(-2)?;
        ensure!(
            tokens == all,
            "expected the {all} tokens of the grid of its rotary positions, found {tokens}"
        );
        Ok(())
    }

    /// Returns the tables of some tokens of each image, with int64 indices [B, M] or `[M]`, for x [B, M, D].
    pub fn of(&self, tokens: &Tensor, x: &Tensor) -> Result<Self> {
        let (batch, count) = (x.size(0)?, x.size(1)?);
        let shape = tokens.shape();
        crate::ensure!(
            tokens.dtype() == DType::Int64 && (shape == [batch, count] || shape == [count]),
            "expected the indices of the tokens, int64 [{batch}, {count}] or [{count}], found {}",
            tokens.signature()
        );
        let head = self.cos.size(1)?;
        let groups = tokens.count() as i64 / count.max(1);
        let index = tokens.to_device(self.cos.device())?.reshape(&[-1])?;
        let pick = |table: &Tensor| table.index_select(0, &index)?.reshape(&[groups, 1, count, head]);
        let (cos, sin) = (pick(&self.cos)?, pick(&self.sin)?);
        let flat = |table: &Tensor| table.reshape(&[groups, count, head]);
        Ok(Self { rotation: [flat(&cos)?, flat(&sin)?], cos, sin })
    }

    /// Rotates queries or keys [B, heads, N, head].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape();
        let mut pairs = shape.clone();
        pairs.pop();
        pairs.extend([-1, 2]);
        let pair = x.reshape(&pairs)?;
        let turned =
            Tensor::stack(&[pair.select(-1, 1)?.neg()?, pair.select(-1, 0)?], -1)?.reshape(&shape)?;
        x.mul(&self.cos)?.add(&turned.mul(&self.sin)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_turn_the_first_half_of_a_head_and_columns_the_second() {
        let rope = Rope::new(4, 2, DType::Float64, Device::Cpu).unwrap();
        let x = Tensor::from_f64(&[1.0, 0.0, 0.0, 1.0].repeat(4), &[1, 1, 4, 4]).unwrap();
        let found = rope.forward(&x).unwrap().to_f64().unwrap();
        let (sin, cos) = (1f64.sin(), 1f64.cos());
        // Tokens (0, 0), (0, 1), (1, 0) and (1, 1); the frequency of the only pair of a half is 1.
        let expected =
            [[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, -sin, cos], [cos, sin, 0.0, 1.0], [cos, sin, -sin, cos]];
        for (found, expected) in found.iter().zip(expected.as_flattened()) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }

    /// The product of a query and a key depends only on the distance between their tokens.
    #[test]
    fn products_depend_on_distances_alone() {
        let rope = Rope::new(8, 3, DType::Float64, Device::Cpu).unwrap();
        let row = |values: [f64; 8]| Tensor::from_f64(&values.repeat(9), &[1, 1, 9, 8]).unwrap();
        let q = rope.forward(&row([0.3, -1.0, 0.7, 0.2, 1.1, -0.4, 0.6, 0.9])).unwrap();
        let k = rope.forward(&row([-0.5, 0.8, 0.1, 1.2, -0.9, 0.3, 0.4, -0.2])).unwrap();
        let scores = q.matmul(&k.transpose(-1, -2).unwrap()).unwrap().to_f64().unwrap();
        // From token 0 to 4, from 1 to 5 and from 4 to 8: one row and one column further.
        let at = |from: usize, to: usize| scores[9 * from + to];
        assert!((at(0, 4) - at(1, 5)).abs() < 1e-6 && (at(0, 4) - at(4, 8)).abs() < 1e-6);
        assert!((at(0, 4) - at(0, 1)).abs() > 1e-3);
    }
}
