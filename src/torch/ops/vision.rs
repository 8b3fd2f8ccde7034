//! Convolution and pooling of signals and images.

use super::declare::{Argument, arguments, operators};
use super::nn::raw;
use super::single;
use crate::declare::{FromValue, IntoValue, OneOrMany, Options, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;
use crate::torch::sizes::small;

crate::api! { functions: [methods] }

/// Options of convolutions.
#[derive(Debug, Clone, Options)]
pub struct ConvOptions {
    /// Added to each output channel.
    pub bias: Option<Tensor>,
    /// Step of the kernel: one integer, or one per dimension.
    #[option(default = OneOrMany(vec![1]), range = 1..)]
    pub stride: OneOrMany<i64>,
    /// Zeros added on both sides: one integer, or one per dimension.
    #[option(default = OneOrMany(vec![0]), range = 0..)]
    pub padding: OneOrMany<i64>,
    /// Spacing between the kernel elements.
    #[option(default = OneOrMany(vec![1]), range = 1..)]
    pub dilation: OneOrMany<i64>,
    /// Number of channel groups that are convolved separately.
    #[option(default = 1, range = 1..)]
    pub groups: i64,
}

/// Options of transposed convolutions.
#[derive(Debug, Clone, Options)]
pub struct ConvTransposeOptions {
    /// Added to each output channel.
    pub bias: Option<Tensor>,
    /// Distance in the output between neighboring input elements.
    #[option(default = OneOrMany(vec![1]), range = 1..)]
    pub stride: OneOrMany<i64>,
    /// Number of elements removed from the output on both sides.
    #[option(default = OneOrMany(vec![0]), range = 0..)]
    pub padding: OneOrMany<i64>,
    /// Number of elements added at the end of the output, where its size is ambiguous.
    #[option(default = OneOrMany(vec![0]), range = 0..)]
    pub output_padding: OneOrMany<i64>,
    /// Spacing between the kernel elements.
    #[option(default = OneOrMany(vec![1]), range = 1..)]
    pub dilation: OneOrMany<i64>,
    /// Number of channel groups that are convolved separately.
    #[option(default = 1, range = 1..)]
    pub groups: i64,
}

/// Options of pooling.
#[derive(Debug, Clone, Options)]
pub struct PoolOptions {
    /// Distance between windows; the window size when left out.
    #[option(range = 1.0..)]
    pub stride: Option<OneOrMany<i64>>,
    /// Number of elements added on both sides.
    #[option(default = OneOrMany(vec![0]), range = 0..)]
    pub padding: OneOrMany<i64>,
}

/// Options of `im2col` and `col2im`.
#[derive(Debug, Clone, Options)]
pub struct WindowsOptions {
    /// Distance between windows.
    #[option(default = Pair([1, 1]), range = 1.0..)]
    pub stride: Pair,
    /// Zeros added on both sides.
    #[option(default = Pair([0, 0]), range = 0.0..)]
    pub padding: Pair,
    /// Spacing between the elements of a window.
    #[option(default = Pair([1, 1]), range = 1.0..)]
    pub dilation: Pair,
}

/// Height and width: two integers, or one for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(pub [i64; 2]);

arguments! { Pair: &'a [i64], |pair| &pair.0; }

impl FromValue for Pair {
    fn label() -> String {
        <OneOrMany<i64> as FromValue>::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match OneOrMany::<i64>::from_value(value)?.0.as_slice() {
            [size] => Ok(Self([*size, *size])),
            [height, width] => Ok(Self([*height, *width])),
            other => Err(Error::argument(format!("expected one size or [height, width], found {other:?}"))),
        }
    }
}

impl IntoValue for Pair {
    fn label() -> String {
        <OneOrMany<i64> as IntoValue>::label()
    }
    fn into_value(self) -> Value {
        match self.0 {
            [height, width] if height == width => Value::Int(height),
            sizes => sizes.to_vec().into_value(),
        }
    }
}

/// Checks the windows of pooling and returns their distance: the window size where it is left out.
fn windows<'a>(kernel: &'a [i64], stride: Option<&'a [i64]>, padding: &[i64]) -> Result<&'a [i64]> {
    let stride = stride.unwrap_or(kernel);
    small("kernel", kernel)?;
    small("stride", stride)?;
    small("padding", padding)?;
    Ok(stride)
}

operators! {
    /// Applies a 1D convolution to [B, C, L] with weights [out, C / groups, k].
    /// ```rhai
    /// let x = tensor([[[1.0, 2.0, 3.0, 4.0]]]);
    /// assert_eq(x.conv1d(tensor([[[1.0, -1.0]]])), tensor([[[-1.0, -1.0, -1.0]]]));
    /// assert_eq(x.conv1d(tensor([[[1.0]]]), #{ stride: 2 }), tensor([[[1.0, 3.0]]]));
    /// ```
    fn conv1d(x, weight: Tensor; options: ConvOptions {
        bias: Option<Tensor>, stride: OneOrMany<i64>, padding: OneOrMany<i64>, dilation: OneOrMany<i64>, groups: i64,
    })
        = f_conv1d(weight.raw(), raw(bias), stride, padding, dilation, groups) small(stride, padding, dilation, groups);

    /// Applies a 2D convolution to [B, C, H, W] with weights [out, C / groups, kh, kw].
    /// ```rhai
    /// let x = tensor::ones([1, 1, 3, 3]);
    /// let mean = tensor::full([1, 1, 3, 3], 1.0 / 9.0);
    /// assert_close(x.conv2d(mean), [[[[1.0]]]], 1e-6);
    /// assert_eq(x.conv2d(mean, #{ padding: 1, bias: tensor([0.5]) }).shape, [1, 1, 3, 3]);
    /// ```
    fn conv2d(x, weight: Tensor; options: ConvOptions {
        bias: Option<Tensor>, stride: OneOrMany<i64>, padding: OneOrMany<i64>, dilation: OneOrMany<i64>, groups: i64,
    })
        = f_conv2d(weight.raw(), raw(bias), stride, padding, dilation, groups) small(stride, padding, dilation, groups);

    /// Applies a 2D transposed convolution to [B, C, H, W] with weights [C, out / groups, kh, kw]. Each input
    /// element is spread over the output.
    /// ```rhai
    /// let x = tensor([[[[1.0, 2.0]]]]);
    /// let y = x.conv_transpose2d(tensor([[[[1.0, 1.0]]]]), #{ stride: [1, 2] });
    /// assert_eq(y, tensor([[[[1.0, 1.0, 2.0, 2.0]]]]));
    /// ```
    fn conv_transpose2d(x, weight: Tensor; options: ConvTransposeOptions {
        bias: Option<Tensor>, stride: OneOrMany<i64>, padding: OneOrMany<i64>, output_padding: OneOrMany<i64>,
        groups: i64, dilation: OneOrMany<i64>,
    })
        = f_conv_transpose2d(weight.raw(), raw(bias), stride, padding, output_padding, groups, dilation) small(stride, padding, output_padding, groups, dilation);

    /// Returns the mean over windows of [B, C, H, W], chosen so that the output has `size`.
    /// ```rhai
    /// assert_eq(tensor([[[[1.0, 5.0], [3.0, 3.0]]]]).adaptive_avg_pool2d(1), tensor([[[[3.0]]]]));
    /// ```
    fn adaptive_avg_pool2d(x, size: Pair) = f_adaptive_avg_pool2d(size) small(size);

    /// Rearranges blocks of `factor^2` channels into pixels: [B, C f^2, H, W] to [B, C, H f, W f].
    /// ```rhai
    /// let x = tensor([1.0, 2.0, 3.0, 4.0]).reshape([1, 4, 1, 1]);
    /// assert_eq(x.pixel_shuffle(2), tensor([[[[1.0, 2.0], [3.0, 4.0]]]]));
    /// ```
    fn pixel_shuffle(x, factor: i64) = f_pixel_shuffle(factor) small(factor);

    /// Rearranges blocks of pixels into channels, the inverse of `pixel_shuffle`.
    /// ```rhai
    /// let x = tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);
    /// assert_eq(x.pixel_unshuffle(2).shape, [1, 4, 1, 1]);
    /// assert_eq(x.pixel_unshuffle(2).pixel_shuffle(2), x);
    /// ```
    fn pixel_unshuffle(x, factor: i64) = f_pixel_unshuffle(factor) small(factor);

    /// Returns the windows of [B, C, H, W] as columns [B, C kh kw, windows], like PyTorch's `nn.Unfold`.
    /// ```rhai
    /// let x = tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);
    /// assert_eq(x.im2col([1, 2]), tensor([[[1.0, 3.0], [2.0, 4.0]]]));
    /// ```
    fn im2col(x, kernel: Pair; options: WindowsOptions { stride: Pair, padding: Pair, dilation: Pair })
        = f_im2col(kernel, dilation, padding, stride) small(kernel, stride, padding, dilation);

    /// Returns the maximum over windows of [B, C, H, W]; windows are adjacent unless `stride` is given.
    /// ```rhai
    /// assert_eq(tensor([[[[1.0, 5.0], [3.0, 2.0]]]]).max_pool2d(2), tensor([[[[5.0]]]]));
    /// ```
    fn max_pool2d(x, kernel: OneOrMany<i64>; options: PoolOptions {
        stride: Option<OneOrMany<i64>>, padding: OneOrMany<i64>,
    }) -> Tensor {
        let stride = windows(kernel, stride, padding)?;
        single(x.raw().f_max_pool2d(kernel, stride, padding, &[1i64, 1][..], false))
    }

    /// Returns the mean over windows of [B, C, H, W]; windows are adjacent unless `stride` is given.
    /// ```rhai
    /// assert_eq(tensor([[[[1.0, 5.0], [3.0, 3.0]]]]).avg_pool2d(2), tensor([[[[3.0]]]]));
    /// ```
    fn avg_pool2d(x, kernel: OneOrMany<i64>; options: PoolOptions {
        stride: Option<OneOrMany<i64>>, padding: OneOrMany<i64>,
    }) -> Tensor {
        let stride = windows(kernel, stride, padding)?;
        single(x.raw().f_avg_pool2d(kernel, stride, padding, false, true, None::<i64>))
    }

    /// Returns the maximum over windows of [B, C, L].
    /// ```rhai
    /// assert_eq(tensor([[[1.0, 5.0, 3.0, 2.0]]]).max_pool1d(2), tensor([[[5.0, 3.0]]]));
    /// ```
    fn max_pool1d(x, kernel: OneOrMany<i64>; options: PoolOptions {
        stride: Option<OneOrMany<i64>>, padding: OneOrMany<i64>,
    }) -> Tensor {
        let stride = windows(kernel, stride, padding)?;
        single(x.raw().f_max_pool1d(kernel, stride, padding, &[1i64][..], false))
    }

    /// Returns the mean over windows of [B, C, L].
    /// ```rhai
    /// assert_eq(tensor([[[1.0, 5.0, 3.0, 2.0]]]).avg_pool1d(3, #{ stride: 1 }).shape, [1, 1, 2]);
    /// assert_eq(tensor([[[1.0, 5.0]]]).avg_pool1d(2), tensor([[[3.0]]]));
    /// ```
    fn avg_pool1d(x, kernel: OneOrMany<i64>; options: PoolOptions {
        stride: Option<OneOrMany<i64>>, padding: OneOrMany<i64>,
    }) -> Tensor {
        let stride = windows(kernel, stride, padding)?;
        single(x.raw().f_avg_pool1d(kernel, stride, padding, false, true))
    }

    /// Sums columns back into [B, C, H, W] of `size`, like PyTorch's `nn.Fold`.
    /// ```rhai
    /// let x = tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);
    /// assert_eq(x.im2col([1, 2]).col2im([2, 2], [1, 2]), x);
    /// ```
    fn col2im(x, size: Pair, kernel: Pair; options: WindowsOptions { stride: Pair, padding: Pair, dilation: Pair })
        = f_col2im(size, kernel, dilation, padding, stride) small(size, kernel, stride, padding, dilation);
}
