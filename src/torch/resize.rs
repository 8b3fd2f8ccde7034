//! Resizing of images.

use super::Tensor;
use super::call::call_one;
use super::ops::vision::Pair;
use crate::declare::{Choice, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;

crate::api! { functions: [scripts] }

/// Interpolation of a resized image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum ResizeMode {
    /// The nearest value.
    #[default]
    Nearest,
    /// Linear along both axes.
    Bilinear,
    /// Cubic along both axes.
    Bicubic,
}

/// Options of `interpolate`.
#[derive(Debug, Clone, Options)]
pub struct ResizeOptions {
    /// Target height and width, or one integer for both.
    #[option(range = 1.0..)]
    pub size: Option<Pair>,
    /// Scale factor of height and width, instead of `size`; sizes are rounded down.
    #[option(range = 0.0..)]
    pub scale: Option<f64>,
    /// Interpolation mode.
    pub mode: ResizeMode,
    /// Whether to align the centers of the corner pixels; otherwise the corners of the image.
    #[option(default = false)]
    pub align_corners: bool,
    /// Whether to smooth the image before shrinking it ("bilinear" and "bicubic").
    #[option(default = false)]
    pub antialias: bool,
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Resizes images [B, C, H, W] to a size or by a scale.
        ///
        /// With `scale`, neighboring pixels of the result are `1 / scale` pixels of the image apart, even where the
        /// size was rounded down, as in PyTorch.
        /// ```rhai
        /// let x = tensor([[[[1.0, 3.0]]]]);
        /// assert_eq(x.interpolate(#{ scale: 2 })[0][0][0], tensor([1.0, 1.0, 3.0, 3.0]));
        /// let smooth = x.interpolate(#{ size: [1, 4], mode: "bilinear" });
        /// assert_close(smooth[0][0][0], [1.0, 1.5, 2.5, 3.0], 1e-6);
        /// assert_eq(x.interpolate(#{ size: [1, 1], mode: "bicubic", antialias: true }).shape, [1, 1, 1, 1]);
        /// ```
        fn interpolate(x: Tensor, options: ResizeOptions) -> Tensor {
            let target = match (&options.size, options.scale) {
                (Some(Pair(size)), None) => Target::Size(*size),
                (None, Some(scale)) => Target::Scale(scale),
                _ => {
                    return Err(Error::argument("expected one of the options `size` and `scale`")
                        .hint("`x.interpolate(#{ size: [64, 64] })` or `#{ scale: 2 }`"));
                }
            };
            x.resized(target, options.mode.name(), options.align_corners, options.antialias)
        }
    }
}

/// What decides the size of a resized image.
enum Target {
    /// Height and width.
    Size([i64; 2]),
    /// Factor of height and width, which is also the distance of the samples.
    Scale(f64),
}

impl Tensor {
    /// Resizes images [B, C, H, W] by `nearest`, `bilinear` or `bicubic` interpolation; `antialias` applies a
    /// filter before shrinking, for the latter two.
    pub fn interpolate(
        &self,
        size: [i64; 2],
        mode: &str,
        align_corners: bool,
        antialias: bool,
    ) -> Result<Tensor> {
        self.resized(Target::Size(size), mode, align_corners, antialias)
    }

    fn resized(&self, target: Target, mode: &str, align_corners: bool, antialias: bool) -> Result<Tensor> {
        if self.rank() != 4 {
            return Err(Error::argument(format!(
                "expected images [B, C, H, W], found shape {:?}",
                self.shape()
            ))
            .hint("add dimensions of size 1 with `.unsqueeze(0)`"));
        }
        let operator = match (mode, antialias) {
            ("nearest", _) if align_corners || antialias => {
                let said = "options `align_corners` and `antialias` have no meaning for mode \"nearest\"";
                return Err(Error::argument(said).hint("choose the mode \"bilinear\" or \"bicubic\""));
            }
            ("nearest", _) => "upsample_nearest2d.vec",
            ("bilinear", false) => "upsample_bilinear2d.vec",
            ("bicubic", false) => "upsample_bicubic2d.vec",
            ("bilinear", true) => "_upsample_bilinear2d_aa.vec",
            ("bicubic", true) => "_upsample_bicubic2d_aa.vec",
            _ => {
                let said = format!("expected mode `nearest`, `bilinear` or `bicubic`, found \"{mode}\"");
                return Err(Error::argument(said));
            }
        };
        let (size, scale) = match target {
            Target::Size(size) => (size.to_vec().into_value(), Value::Unit),
            Target::Scale(scale) => (Value::Unit, vec![scale; 2].into_value()),
        };
        let mut arguments = vec![self.clone().into_value(), size];
        if mode != "nearest" {
            arguments.push(Value::Bool(align_corners));
        }
        arguments.push(scale);
        call_one(operator, &arguments, &Map::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device};

    /// The first rows are those of PyTorch's `F.interpolate(x, scale_factor=..)`.
    #[test]
    fn samples_are_as_far_apart_as_the_scale_says() {
        let x =
            Tensor::arange(0, 48, 1, DType::Float32, Device::Cpu).unwrap().reshape(&[1, 1, 8, 6]).unwrap();
        let check = |scale: f64, mode: &str, antialias: bool, expected: &[f32]| {
            let y = x.resized(Target::Scale(scale), mode, false, antialias).unwrap();
            let found = &y.to_f32().unwrap()[..expected.len()];
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
            assert!(near, "{scale} {mode} {antialias}: {found:?}");
        };
        check(1.7, "nearest", false, &[0.0, 0.0, 1.0, 1.0, 2.0]);
        check(1.7, "bilinear", false, &[0.0, 0.3824, 0.9706, 1.5588, 2.1471]);
        check(1.7, "bilinear", true, &[0.0, 0.3824, 0.9706, 1.5588, 2.1471]);
        check(1.7, "bicubic", false, &[-0.6816, -0.2835, 0.3723, 0.9601, 1.6071]);
        check(1.7, "bicubic", true, &[-0.5396, -0.1741, 0.5073, 1.0963, 1.6846]);
        check(0.3, "nearest", false, &[0.0, 18.0]);
        check(0.3, "bilinear", false, &[8.1667, 28.1667]);
        check(0.3, "bilinear", true, &[10.4407, 10.4407]);
        check(0.3, "bicubic", false, &[8.4907, 28.2130]);
        check(0.3, "bicubic", true, &[8.8320, 8.8320]);
    }

    #[test]
    fn the_nearest_value_is_not_smoothed() {
        let x = Tensor::ones(&[1, 1, 2, 2], DType::Float32, Device::Cpu).unwrap();
        for (align_corners, antialias) in [(true, false), (false, true)] {
            let error = x.interpolate([4, 4], "nearest", align_corners, antialias).unwrap_err();
            assert!(error.message().contains("have no meaning for mode \"nearest\""), "{error}");
        }
        assert_eq!(x.interpolate([4, 4], "nearest", false, false).unwrap().to_f32().unwrap(), [1.0; 16]);
    }
}
