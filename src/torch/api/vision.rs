//! Convolution, pooling and resizing of signals and images.

use super::join;
use crate::declare::{Declaration, OneOrMany};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// Options of convolutions.
    pub struct Conv {
        /// Added to each output channel.
        bias: Option<Tensor> = None;
        /// Step of the kernel: one integer, or one per dimension.
        stride: OneOrMany<i64> = OneOrMany(vec![1]) => at_least(1.0);
        /// Zeros added on both sides: one integer, or one per dimension.
        padding: OneOrMany<i64> = OneOrMany(vec![0]) => at_least(0.0);
        /// Spacing between the kernel elements.
        dilation: OneOrMany<i64> = OneOrMany(vec![1]) => at_least(1.0);
        /// Number of channel groups that are convolved separately.
        groups: i64 = 1 => at_least(1.0);
    }

    /// Options of transposed convolutions.
    pub struct ConvTranspose {
        /// Added to each output channel.
        bias: Option<Tensor> = None;
        /// Distance in the output between neighbouring input elements.
        stride: OneOrMany<i64> = OneOrMany(vec![1]) => at_least(1.0);
        /// Number of elements removed from the output on both sides.
        padding: OneOrMany<i64> = OneOrMany(vec![0]) => at_least(0.0);
        /// Number of elements added at the end of the output, where its size is ambiguous.
        output_padding: OneOrMany<i64> = OneOrMany(vec![0]) => at_least(0.0);
        /// Spacing between the kernel elements.
        dilation: OneOrMany<i64> = OneOrMany(vec![1]) => at_least(1.0);
        /// Number of channel groups that are convolved separately.
        groups: i64 = 1 => at_least(1.0);
    }

    /// Options of pooling.
    pub struct Pool {
        /// Distance between windows; the window size when left out.
        stride: Option<OneOrMany<i64>> = None => at_least(1.0);
        /// Number of elements added on both sides.
        padding: OneOrMany<i64> = OneOrMany(vec![0]) => at_least(0.0);
    }

    /// Options of `im2col` and `col2im`.
    pub struct Windows {
        /// Distance between windows.
        stride: OneOrMany<i64> = OneOrMany(vec![1]) => at_least(1.0);
        /// Zeros added on both sides.
        padding: OneOrMany<i64> = OneOrMany(vec![0]) => at_least(0.0);
        /// Spacing between the elements of a window.
        dilation: OneOrMany<i64> = OneOrMany(vec![1]) => at_least(1.0);
    }

    /// Options of `interpolate`.
    pub struct Resize {
        /// Target height and width, or one integer for both.
        size: Option<OneOrMany<i64>> = None => at_least(1.0);
        /// Scale factor of height and width, instead of `size`.
        scale: Option<f64> = None => at_least(0.0);
        /// Interpolation mode.
        mode: String = "nearest".to_string() => one_of(&["nearest", "bilinear", "bicubic"]);
        /// Whether to align the centres of the corner pixels; otherwise the corners of the image.
        align_corners: bool = false;
        /// Whether to smooth the image before shrinking it ("bilinear" and "bicubic").
        antialias: bool = false;
    }
}

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[convolutions::declarations(), pools::declarations()])
}

/// Returns height and width from one integer or two.
fn pair(sizes: &OneOrMany<i64>) -> Result<[i64; 2]> {
    match sizes.0.as_slice() {
        [size] => Ok([*size, *size]),
        [height, width] => Ok([*height, *width]),
        other => Err(Error::argument(format!("expected one size or [height, width], found {other:?}"))),
    }
}

mod convolutions {
    use super::*;
    functions! { methods;
        /// Applies a 1D convolution to [B, C, L] with weights [out, C / groups, k].
        ///
        /// ```rhai
        /// let x = tensor([[[1.0, 2.0, 3.0, 4.0]]]);
        /// assert_eq(x.conv1d(tensor([[[1.0, -1.0]]])), tensor([[[-1.0, -1.0, -1.0]]]));
        /// assert_eq(x.conv1d(tensor([[[1.0]]]), #{ stride: 2 }), tensor([[[1.0, 3.0]]]));
        /// ```
        fn conv1d(x: Tensor, weight: Tensor, options: Conv) -> Tensor {
            x.conv1d(&weight, options.bias.as_ref(), &options.stride.0, &options.padding.0, &options.dilation.0, options.groups)
        }

        /// Applies a 2D convolution to [B, C, H, W] with weights [out, C / groups, kh, kw].
        ///
        /// ```rhai
        /// let x = tensor::ones([1, 1, 3, 3]);
        /// let mean = tensor::full([1, 1, 3, 3], 1.0 / 9.0);
        /// assert_close(x.conv2d(mean), [[[[1.0]]]], 1e-6);
        /// assert_eq(x.conv2d(mean, #{ padding: 1, bias: tensor([0.5]) }).shape, [1, 1, 3, 3]);
        /// ```
        fn conv2d(x: Tensor, weight: Tensor, options: Conv) -> Tensor {
            x.conv2d(&weight, options.bias.as_ref(), &options.stride.0, &options.padding.0, &options.dilation.0, options.groups)
        }

        /// Applies a 2D transposed convolution to [B, C, H, W] with weights [C, out / groups, kh, kw]. Each input
        /// element is spread over the output.
        ///
        /// ```rhai
        /// let x = tensor([[[[1.0, 2.0]]]]);
        /// let y = x.conv_transpose2d(tensor([[[[1.0, 1.0]]]]), #{ stride: [1, 2] });
        /// assert_eq(y, tensor([[[[1.0, 1.0, 2.0, 2.0]]]]));
        /// ```
        fn conv_transpose2d(x: Tensor, weight: Tensor, options: ConvTranspose) -> Tensor {
            x.conv_transpose2d(&weight, options.bias.as_ref(), &options.stride.0, &options.padding.0, &options.output_padding.0, options.groups, &options.dilation.0)
        }
    }
}

mod pools {
    use super::*;
    functions! { methods;
        /// Returns the maximum over windows of [B, C, H, W]; windows are adjacent unless `stride` is given.
        ///
        /// ```rhai
        /// assert_eq(tensor([[[[1.0, 5.0], [3.0, 2.0]]]]).max_pool2d(2), tensor([[[[5.0]]]]));
        /// ```
        fn max_pool2d(x: Tensor, kernel: OneOrMany<i64>, options: Pool) -> Tensor {
            let stride = options.stride.unwrap_or(kernel.clone()).0;
            x.max_pool2d(&kernel.0, &stride, &options.padding.0)
        }

        /// Returns the mean over windows of [B, C, H, W]; windows are adjacent unless `stride` is given.
        ///
        /// ```rhai
        /// assert_eq(tensor([[[[1.0, 5.0], [3.0, 3.0]]]]).avg_pool2d(2), tensor([[[[3.0]]]]));
        /// ```
        fn avg_pool2d(x: Tensor, kernel: OneOrMany<i64>, options: Pool) -> Tensor {
            let stride = options.stride.unwrap_or(kernel.clone()).0;
            x.avg_pool2d(&kernel.0, &stride, &options.padding.0)
        }

        /// Returns the maximum over windows of [B, C, L].
        ///
        /// ```rhai
        /// assert_eq(tensor([[[1.0, 5.0, 3.0, 2.0]]]).max_pool1d(2), tensor([[[5.0, 3.0]]]));
        /// ```
        fn max_pool1d(x: Tensor, kernel: OneOrMany<i64>, options: Pool) -> Tensor {
            let stride = options.stride.unwrap_or(kernel.clone()).0;
            x.max_pool1d(&kernel.0, &stride, &options.padding.0)
        }

        /// Returns the mean over windows of [B, C, L].
        ///
        /// ```rhai
        /// assert_eq(tensor([[[1.0, 5.0, 3.0, 2.0]]]).avg_pool1d(3, #{ stride: 1 }).shape, [1, 1, 2]);
        /// assert_eq(tensor([[[1.0, 5.0]]]).avg_pool1d(2), tensor([[[3.0]]]));
        /// ```
        fn avg_pool1d(x: Tensor, kernel: OneOrMany<i64>, options: Pool) -> Tensor {
            let stride = options.stride.unwrap_or(kernel.clone()).0;
            x.avg_pool1d(&kernel.0, &stride, &options.padding.0)
        }

        /// Returns the mean over windows of [B, C, H, W], chosen so that the output has `size`.
        ///
        /// ```rhai
        /// assert_eq(tensor([[[[1.0, 5.0], [3.0, 3.0]]]]).adaptive_avg_pool2d(1), tensor([[[[3.0]]]]));
        /// ```
        fn adaptive_avg_pool2d(x: Tensor, size: OneOrMany<i64>) -> Tensor {
            x.adaptive_avg_pool2d(&pair(&size)?)
        }

        /// Resizes images [B, C, H, W] to a size or by a scale.
        ///
        /// ```rhai
        /// let x = tensor([[[[1.0, 3.0]]]]);
        /// assert_eq(x.interpolate(#{ scale: 2 })[0][0][0], tensor([1.0, 1.0, 3.0, 3.0]));
        /// let smooth = x.interpolate(#{ size: [1, 4], mode: "bilinear" });
        /// assert_close(smooth[0][0][0], [1.0, 1.5, 2.5, 3.0], 1e-6);
        /// assert_eq(x.interpolate(#{ size: [1, 1], mode: "bicubic", antialias: true }).shape, [1, 1, 1, 1]);
        /// ```
        fn interpolate(x: Tensor, options: Resize) -> Tensor {
            let shape = x.shape();
            let [.., height, width] = shape.as_slice() else {
                return Err(Error::argument(format!("expected images [B, C, H, W], found shape {shape:?}")));
            };
            let size = match (&options.size, options.scale) {
                (Some(size), None) => pair(size)?,
                (None, Some(scale)) => [*height, *width].map(|s| (s as f64 * scale).floor() as i64),
                _ => {
                    return Err(Error::argument("expected one of the options `size` and `scale`")
                        .hint("`x.interpolate(#{ size: [64, 64] })` or `#{ scale: 2 }`"));
                }
            };
            x.interpolate(size, &options.mode, options.align_corners, options.antialias)
        }

        /// Rearranges blocks of `factor^2` channels into pixels: [B, C f^2, H, W] to [B, C, H f, W f].
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0, 3.0, 4.0]).reshape([1, 4, 1, 1]);
        /// assert_eq(x.pixel_shuffle(2), tensor([[[[1.0, 2.0], [3.0, 4.0]]]]));
        /// ```
        fn pixel_shuffle(x: Tensor, factor: i64) -> Tensor { x.pixel_shuffle(factor) }

        /// Rearranges blocks of pixels into channels, the inverse of `pixel_shuffle`.
        ///
        /// ```rhai
        /// let x = tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);
        /// assert_eq(x.pixel_unshuffle(2).shape, [1, 4, 1, 1]);
        /// assert_eq(x.pixel_unshuffle(2).pixel_shuffle(2), x);
        /// ```
        fn pixel_unshuffle(x: Tensor, factor: i64) -> Tensor { x.pixel_unshuffle(factor) }

        /// Returns the windows of [B, C, H, W] as columns [B, C kh kw, windows], like PyTorch's `nn.Unfold`.
        ///
        /// ```rhai
        /// let x = tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);
        /// assert_eq(x.im2col([1, 2]), tensor([[[1.0, 3.0], [2.0, 4.0]]]));
        /// ```
        fn im2col(x: Tensor, kernel: OneOrMany<i64>, options: Windows) -> Tensor {
            x.im2col(&pair(&kernel)?, &pair(&options.stride)?, &pair(&options.padding)?, &pair(&options.dilation)?)
        }

        /// Sums columns back into [B, C, H, W] of `size`, like PyTorch's `nn.Fold`.
        ///
        /// ```rhai
        /// let x = tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);
        /// assert_eq(x.im2col([1, 2]).col2im([2, 2], [1, 2]), x);
        /// ```
        fn col2im(x: Tensor, size: OneOrMany<i64>, kernel: OneOrMany<i64>, options: Windows) -> Tensor {
            let windows = [&kernel, &options.stride, &options.padding, &options.dilation].map(pair);
            let [kernel, stride, padding, dilation] = windows;
            x.col2im(&pair(&size)?, &kernel?, &stride?, &padding?, &dilation?)
        }
    }
}
