//! Functions of tokens that networks of scripts are written with.

use super::embed::THETA;
use super::{Rope, embed};
use crate::declare::Options;
use crate::error::Result;
use crate::torch::{Device, Tensor};
use crate::{ensure, functions};

/// Largest side of a grid and largest width of a token for which tables are made.
const LARGEST: [i64; 2] = [4096, 65536];

/// Options of `nn::sincos_positions`.
#[derive(Debug, Clone, Options)]
pub struct PositionOptions {
    /// Whether the columns come first, as in DiT, SiT and LightningDiT: sin(x), cos(x), sin(y), cos(y).
    #[option(default = false)]
    pub columns_first: bool,
}

/// Options of `nn::rope`.
#[derive(Debug, Clone, Options)]
pub struct RopeOptions {
    /// Base of the frequencies.
    #[option(default = THETA, range = 1.0..=1e12)]
    pub theta: f64,
}

fn checked_grid((height, width): (i64, i64)) -> Result<[i64; 2]> {
    let most = LARGEST[0];
    ensure!(
        (1..=most).contains(&height) && (1..=most).contains(&width),
        "expected a grid [height, width] of 1 to {most} tokens each, found [{height}, {width}]"
    );
    Ok([height, width])
}

fn checked_patch(patch: i64, [height, width]: [i64; 2]) -> Result<()> {
    ensure!(
        patch >= 1 && height % patch == 0 && width % patch == 0,
        "expected a patch size that divides {height} and {width}, found {patch}"
    );
    Ok(())
}

/// Functions.
pub mod tokens {
    use super::*;
    functions! { in "nn";
        /// Returns `x * (1 + scale) + shift`, the modulation of DiT's blocks.
        ///
        /// For tokens x [B, N, D], shift and scale are [B, D], one for all tokens of an image, or broadcast as they are.
        ///
        /// ```rhai
        /// let x = tensor([[[1.0, 2.0], [3.0, 4.0]]]);
        /// let out = nn::modulate(x, tensor([[10.0, 0.0]]), tensor([[1.0, -1.0]]));
        /// assert_eq(out, tensor([[[12.0, 0.0], [16.0, 0.0]]]));
        /// ```
        fn modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor {
            let over_tokens = |part: &Tensor| match (x.rank(), part.rank()) {
                (3, 2) => part.unsqueeze(1),
                _ => Ok(part.clone()),
            };
            x.mul(&over_tokens(&scale)?.add_scalar(1.0)?)?.add(&over_tokens(&shift)?)
        }

        /// Splits images [B, C, H, W] into patches of `patch` x `patch` pixels: [B, N, patch * patch * C].
        ///
        /// Patches are in row-major order; a patch holds its pixels in row-major order with the channels last, as DiT's
        /// final layer does.
        ///
        /// ```rhai
        /// let x = tensor::arange(8).reshape([1, 1, 2, 4]);
        /// assert_eq(nn::patchify(x, 2), tensor([[[0, 1, 4, 5], [2, 3, 6, 7]]]));
        /// ```
        fn patchify(images: Tensor, patch: i64) -> Tensor {
            ensure!(images.rank() == 4, "expected images [B, C, H, W], found a {}", images.signature());
            let (b, c, h, w) = (images.size(0)?, images.size(1)?, images.size(2)?, images.size(3)?);
            checked_patch(patch, [h, w])?;
            images
                .reshape(&[b, c, h / patch, patch, w / patch, patch])?
                .permute(&[0, 2, 4, 3, 5, 1])?
                .reshape(&[b, (h / patch) * (w / patch), patch * patch * c])
        }

        /// Reassembles patches [B, N, patch * patch * C] into images of a shape [C, H, W], the inverse of `patchify`.
        ///
        /// ```rhai
        /// let x = tensor::rand([2, 3, 4, 6]);
        /// assert_eq(nn::unpatchify(nn::patchify(x, 2), 2, [3, 4, 6]), x);
        /// ```
        fn unpatchify(tokens: Tensor, patch: i64, shape: (i64, i64, i64)) -> Tensor {
            let (channels, height, width) = shape;
            let sides = [channels, height, width];
            ensure!(
                sides.iter().all(|side| (1..=1 << 16).contains(side)),
                "expected a shape [C, H, W] of sides from 1 to 65536, found {sides:?}"
            );
            checked_patch(patch, [height, width])?;
            let [rows, columns] = [height / patch, width / patch];
            let (count, size) = (rows * columns, patch * patch * channels);
            ensure!(
                tokens.rank() == 3 && tokens.size(1)? == count && tokens.size(2)? == size,
                "expected patches [B, {count}, {size}] of images {sides:?}, found a {}",
                tokens.signature()
            );
            embed::unpatchify(&tokens, [rows, columns], patch, channels)
        }

        /// Returns fixed position embeddings of a grid [height, width], float32 [height * width, width of a token].
        ///
        /// They are sin(y), cos(y), sin(x), cos(x), a quarter of the width each, as in the family `spectraldit`.
        ///
        /// ```rhai
        /// let places = nn::sincos_positions(4, [1, 2]);
        /// assert_close(places, [[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.8414710, 0.5403023]], 1e-6);
        /// let dit = nn::sincos_positions(4, [1, 2], #{ columns_first: true });
        /// assert_close(dit[1], [0.8414710, 0.5403023, 0.0, 1.0], 1e-6);
        /// ```
        fn sincos_positions(width: i64, grid: (i64, i64), options: PositionOptions) -> Tensor {
            let most = LARGEST[1];
            ensure!(
                (4..=most).contains(&width) && width % 4 == 0,
                "expected a width divisible by 4, of at most {most}, found {width}"
            );
            embed::sincos(width, checked_grid(grid)?, options.columns_first)?.to_device(Device::of_new())
        }

        /// Rotates queries or keys [.., N, head] by their places on a grid [height, width] of N tokens.
        ///
        /// These are the rotary positions of LightningDiT: the first half of a head encodes the row, the second half the
        /// column (Su et al. 2021, equation 34, for each axis). The size of a head must be divisible by 4.
        ///
        /// ```rhai
        /// let q = tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]]);
        /// assert_close(nn::rope(q, [1, 2]), [[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.5403023, 0.8414710]], 1e-6);
        /// let slow = nn::rope(tensor::ones([1, 2, 8]), [1, 2], #{ theta: 100.0 });
        /// assert_close(slow[0, 1, 6..8], [(0.1).cos() - (0.1).sin(), (0.1).cos() + (0.1).sin()], 1e-6);
        /// ```
        fn rope(x: Tensor, grid: (i64, i64), options: RopeOptions) -> Tensor {
            let grid = checked_grid(grid)?;
            ensure!(
                x.rank() >= 2 && x.size(-2)? == grid[0] * grid[1],
                "expected queries or keys [.., {}, head] of the grid {grid:?}, found a {}",
                grid[0] * grid[1],
                x.signature()
            );
            ensure!(x.dtype().is_float(), "expected floats, found {}", x.dtype().name());
            let head = x.size(-1)?;
            ensure!(head <= LARGEST[1], "expected heads of at most {} numbers, found {head}", LARGEST[1]);
            Rope::of_grid(head, grid, options.theta, x.dtype(), x.device())?.forward(&x)
        }
    }
}
