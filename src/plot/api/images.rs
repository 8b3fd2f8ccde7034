//! Images of grids: tensors in any recognisable range.

use crate::declare::{FromValue, Value};
use crate::error::{Error, Result, Subject};
use crate::plot::Images;
use crate::torch::{DType, Device, Tensor};

/// Largest number of images in a grid.
const MOST: i64 = 10_000;

/// Images as one tensor [N, C, H, W], and the number in each row if the data determines it.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// All images.
    pub images: Tensor,
    /// Lengths of the rows, if they were passed one by one.
    pub rows: Option<Vec<usize>>,
}

impl FromValue for Pictures {
    fn label() -> String {
        "tensor or array of tensors".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        if let Some(tensor) = value.downcast::<Tensor>() {
            return Self::try_from(&tensor);
        }
        let Value::List(list) = value else {
            let error = value.mismatch("images: a tensor [N, C, H, W] or an array of tensors");
            return Err(match value.type_name() {
                "dataset" => {
                    error.hint("`.images()` returns the images of a data set: `set.take(16).images()`")
                }
                _ => error,
            });
        };
        let one = |(i, v): (usize, &Value)| Tensor::from_value(v).map_err(|e| e.within(Subject::Entry(i)));
        let parts: Vec<Tensor> = list.iter().enumerate().map(one).collect::<Result<_>>()?;
        Self::try_from(parts.as_slice())
    }
}

/// From images [N, C, H, W], or one image [C, H, W].
impl TryFrom<&Tensor> for Pictures {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        Ok(Self { images: batch(tensor)?, rows: None })
    }
}

/// From rows of images [N, C, H, W], or from images [C, H, W].
impl TryFrom<&[Tensor]> for Pictures {
    type Error = Error;

    fn try_from(parts: &[Tensor]) -> Result<Self> {
        let rows = parts.iter().any(|part| part.rank() == 4);
        // Samples may be on a GPU, and images of data sets are in main memory, where all are drawn.
        let one = |(i, t): (usize, &Tensor)| {
            batch(t).and_then(|t| t.to_device(Device::Cpu)).map_err(|e| e.context(format!("entry {i}")))
        };
        let parts: Vec<Tensor> = parts.iter().enumerate().map(one).collect::<Result<_>>()?;
        let Some(first) = parts.first() else {
            return Err(Error::argument("expected at least one image, found an empty array"));
        };
        let shape = first.shape();
        for (i, part) in parts.iter().enumerate() {
            if part.shape()[1..] != shape[1..] {
                return Err(Error::argument(format!(
                    "entry {i} has images of shape {:?}, but entry 0 has {:?}",
                    &part.shape()[1..],
                    &shape[1..]
                )));
            }
        }
        let lengths = || parts.iter().map(|part| part.shape()[0] as usize).collect();
        Ok(Self { images: Tensor::cat(&parts, 0)?, rows: rows.then(lengths) })
    }
}

/// Returns one image [C, H, W] as a batch of one.
fn batch(tensor: &Tensor) -> Result<Tensor> {
    let shape = tensor.shape();
    if let ([_, first, _, channels @ (1 | 3 | 4)] | [first, _, channels @ (1 | 3 | 4)], false) =
        (&shape[..], shape.len() >= 3 && [1, 3].contains(&shape[shape.len() - 3]))
    {
        let order = if shape.len() == 3 { "[2, 0, 1]" } else { "[0, 3, 1, 2]" };
        let rest = if *channels == 4 { format!(".narrow({}, 0, 3)", shape.len() - 3) } else { String::new() };
        let error =
            Error::argument(format!("images must have 1 or 3 channels, found {first} in shape {shape:?}"));
        return Err(error.hint(format!("channels come before height and width: `.permute({order}){rest}`")));
    }
    match tensor.rank() {
        4 => Ok(tensor.clone()),
        3 => tensor.unsqueeze(0),
        _ => Err(Error::argument(format!("expected images [N, C, H, W], found shape {:?}", tensor.shape()))
            .hint("give gray images a channel with `.unsqueeze(1)`")),
    }
}

/// Converts to native images; `limits` are the values shown as black and white.
///
/// Without limits they are -1 and 1, or 0 and 255 for bytes. Other values that are clearly on another scale are
/// refused, so that an all-white grid is not taken for a result.
pub fn images(tensor: &Tensor, limits: Option<(f64, f64)>) -> Result<Images> {
    let shape = tensor.shape();
    if shape[0] > MOST {
        return Err(Error::argument(format!("a grid takes at most {MOST} images, found {}", shape[0]))
            .hint("take the first ones: `images.narrow(0, 0, 64)`"));
    }
    if tensor.dtype().is_complex() {
        return Err(Error::argument("complex images cannot be drawn").hint("draw their size with `.abs()`"));
    }
    let mut data = tensor.to_f32()?;
    let limits = match limits {
        Some((low, high)) if !(low < high && low.is_finite() && high.is_finite()) => {
            return Err(Error::argument(format!("`limits` must rise, found {low} to {high}")));
        }
        Some(limits) => limits,
        None if tensor.dtype() == DType::UInt8 => (0.0, 255.0),
        None => usual(&data)?,
    };
    if limits != (-1.0, 1.0) {
        let (low, wide) = (limits.0 as f32, (limits.1 - limits.0) as f32);
        data.iter_mut().for_each(|v| *v = 2.0 * (*v - low) / wide - 1.0);
    }
    let side = |i: usize| shape[i] as usize;
    Images::new(side(0), side(1), side(2), side(3), data)
}

fn usual(data: &[f32]) -> Result<(f64, f64)> {
    let low = data.iter().copied().fold(f32::INFINITY, f32::min);
    let high = data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Samples of a model may exceed -1..1 on both sides; values from 0 to far above 1 are pixels of another scale.
    if low >= 0.0 && high > 2.0 {
        return Err(Error::argument(format!(
            "expected images from -1 to 1, found values from {low} to {high}"
        ))
        .hint("say which values are black and white, such as `limits: [0, 255]`"));
    }
    Ok((-1.0, 1.0))
}
