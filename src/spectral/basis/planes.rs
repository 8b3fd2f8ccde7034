//! Conversion of images and tokens to stacks of planes and back.

use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

/// Planes [B, C, H, W], with the shape and dtype that they were converted from.
pub struct Planes {
    values: Tensor,
    /// Height H.
    pub height: usize,
    /// Width W.
    pub width: usize,
    tokens: bool,
    dtype: DType,
}

impl Planes {
    /// Returns the planes of images [B, C, H, W], or of tokens [B, N, D] on a square grid or on `grid`.
    pub fn of(x: &Tensor, grid: Option<(i64, i64)>) -> Result<Self> {
        match (x.rank(), grid) {
            (4, None) => Self::of_images(x),
            (4, Some(_)) => {
                Err(Error::argument("a grid is given for tokens [B, N, D], and images have their own"))
            }
            (3, grid) => Self::of_tokens(x, grid),
            _ => Err(Error::argument(format!(
                "expected images [B, C, H, W] or tokens [B, N, D], found shape {:?}",
                x.shape()
            ))),
        }
    }

    /// Returns the planes of images [B, C, H, W].
    pub fn of_images(images: &Tensor) -> Result<Self> {
        let [_, _, height, width] = images.shape()[..] else {
            return Err(Error::argument(format!(
                "expected images [B, C, H, W], found shape {:?}",
                images.shape()
            )));
        };
        crate::ensure!(
            height > 0 && width > 0,
            "expected images with pixels, found shape {:?}",
            images.shape()
        );
        let dtype = images.dtype();
        Ok(Self {
            values: exact(images)?,
            height: height as usize,
            width: width as usize,
            tokens: false,
            dtype,
        })
    }

    fn of_tokens(tokens: &Tensor, grid: Option<(i64, i64)>) -> Result<Self> {
        let [batch, count, width] = tokens.shape()[..] else {
            return Err(Error::argument(format!(
                "expected tokens [B, N, D], found shape {:?}",
                tokens.shape()
            )));
        };
        let side = (count as f64).sqrt().round() as i64;
        let (rows, columns) = grid.unwrap_or((side, side));
        if rows.checked_mul(columns) != Some(count) || rows < 1 || columns < 1 {
            let error = match grid {
                Some(_) => format!(
                    "a grid of {rows} x {columns} does not hold the {count} tokens of shape {:?}",
                    tokens.shape()
                ),
                None => format!("{count} tokens form no square grid"),
            };
            return Err(Error::argument(error)
                .hint("give the grid as [height, width], whose product is the number of tokens"));
        }
        let values = exact(tokens)?.transpose(1, 2)?.reshape(&[batch, width, rows, columns])?;
        let (height, width) = (rows as usize, columns as usize);
        Ok(Self { values, height, width, tokens: true, dtype: tokens.dtype() })
    }

    /// Returns the planes, in float32 or float64.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Converts planes back to the shape and dtype that these were converted from.
    pub fn like(&self, planes: &Tensor) -> Result<Tensor> {
        let planes = match self.tokens {
            true => {
                let [batch, width, rows, columns] = planes.shape()[..] else {
                    return Err(Error::internal(format!("planes of shape {:?}", planes.shape())));
                };
                planes.reshape(&[batch, width, rows * columns])?.transpose(1, 2)?
            }
            false => planes.clone(),
        };
        planes.to_dtype(self.dtype)
    }
}

/// Converts to the precision of transforms: sums of many products lose too much in half precision.
fn exact(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::Float32 | DType::Float64 => Ok(x.clone()),
        DType::BFloat16 | DType::Float16 => x.to_dtype(DType::Float32),
        other => {
            Err(Error::argument(format!("expected real numbers such as float32, found {}", other.name()))
                .hint("convert with .to(\"float32\")"))
        }
    }
}
