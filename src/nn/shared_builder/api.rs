//! The builder in scripts: constructor, methods and properties.

use super::{
    AttentionLayerOptions, BuilderOptions, ConvOptions, ConvTransposeOptions, CrossAttentionOptions,
    InitOptions, LinearOptions, MlpOptions, NormOptions, SharedBuilder,
};
use crate::declare::{IntoValue, Map, Value};
use crate::nn::{Builder, Init, Layer};
use crate::torch::Tensor;
use crate::{ensure, functions};

/// Constructor.
pub mod space {
    use super::*;
    functions! { in "nn";
        /// Creates an independent builder, for layers in a custom training loop.
        ///
        /// `nn::part` and `nn::model` pass such a builder to their functions. Initial values depend only on the
        /// seed, the name and the shape. Pass `parameters()` to an optimizer.
        ///
        /// ```rhai
        /// let b = nn::builder(#{ seed: 1 });
        /// let out = b.linear("out", 2, 1);
        /// let opt = optim::adamw(b.parameters(), #{ lr: 0.1 });
        /// for i in 0..100 { opt.step((out.forward(tensor([[1.0, 2.0]])) - 3.0).square().mean()); }
        /// assert_close(out.forward(tensor([[1.0, 2.0]])), [[3.0]], 0.1);
        /// ```
        fn builder(options: BuilderOptions) -> SharedBuilder {
            ensure!(options.dtype.is_float(), "parameters must hold floats, found {}", options.dtype.name());
            Ok(SharedBuilder::new(Builder::seeded(options.seed, options.dtype, options.device)))
        }
    }
}

/// Methods of a builder.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Creates a trainable tensor of a shape.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_close(b.parameter("scale", [3], #{ init: "ones" }), tensor::ones([3]), 0.0);
        /// ```
        fn parameter(builder: SharedBuilder, name: String, shape: Vec<i64>, options: InitOptions) -> Tensor {
            builder.parameter(&name, &shape, Init::of(options.init, options.std))
        }

        /// Creates a linear map `x @ weight^T + bias` from [.., inputs] to [.., outputs].
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let gate = b.linear("gate", 8, 2, #{ init: "zeros" });
        /// assert_close(gate.forward(tensor::ones([5, 8])), tensor::zeros([5, 2]), 0.0);
        /// assert_eq(b.linear("map", 8, 2, #{ bias: false }).parameters().keys(), ["map.weight"]);
        /// ```
        fn linear(builder: SharedBuilder, name: String, inputs: i64, outputs: i64, options: LinearOptions) -> Layer {
            builder.linear_with(&name, [inputs, outputs], Init::of(options.init, options.std), options.bias)
        }

        /// Creates a convolution of images with windows of `size` x `size`.
        ///
        /// The weights are [outputs, inputs / groups, size, size], and the image is padded with zeros. By default it keeps
        /// height and width, for which `size` must be odd; `stride`, `padding` and `dilation` are those of PyTorch.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let depthwise = b.conv2d("mix", 6, 6, 3, #{ groups: 6 });
        /// assert_eq(depthwise.forward(tensor::zeros([2, 6, 5, 7])).shape, [2, 6, 5, 7]);
        /// let half = b.conv2d("half", 6, 12, 4, #{ stride: 2, padding: 1, bias: false });
        /// assert_eq(half.forward(tensor::zeros([2, 6, 8, 8])).shape, [2, 12, 4, 4]);
        /// ```
        fn conv2d(builder: SharedBuilder, name: String, inputs: i64, outputs: i64, size: i64, options: ConvOptions) -> Layer {
            builder.conv2d(&name, inputs, outputs, size, &options)
        }

        /// Creates a transposed convolution of images with windows of `size` x `size`, which enlarges them.
        ///
        /// The weights are [inputs, outputs / groups, size, size]. By default the output has `stride` times the height and
        /// width of the input; with `padding`, its size is that of PyTorch's `nn.ConvTranspose2d`.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let up = b.conv_transpose2d("up", 6, 3, 4, #{ stride: 2 });
        /// assert_eq(up.forward(tensor::zeros([2, 6, 5, 7])).shape, [2, 3, 10, 14]);
        /// assert_eq(up.parameters()["up.weight"].shape, [6, 3, 4, 4]);
        /// ```
        fn conv_transpose2d(builder: SharedBuilder, name: String, inputs: i64, outputs: i64, size: i64, options: ConvTransposeOptions) -> Layer {
            builder.conv_transpose2d(&name, inputs, outputs, size, &options)
        }

        /// Creates a layer norm over the last dimension, epsilon 1e-6.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let norm = b.norm("norm", 2);
        /// assert_close(norm.forward(tensor([[1.0, 3.0]])), [[-1.0, 1.0]], 1e-5);
        /// ```
        fn norm(builder: SharedBuilder, name: String, size: i64, options: NormOptions) -> Layer {
            builder.norm(&name, size, options.affine)
        }

        /// Creates an RMS norm over the last dimension, with a weight.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_close(b.rms_norm("norm", 2).forward(tensor([[3.0, 3.0]])), [[1.0, 1.0]], 1e-5);
        /// ```
        fn rms_norm(builder: SharedBuilder, name: String, size: i64) -> Layer {
            builder.rms_norm(&name, size)
        }

        /// Creates a group norm of images [B, C, H, W], epsilon 1e-6.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.group_norm("norm", 2, 6).forward(tensor::rand([1, 6, 4, 4])).shape, [1, 6, 4, 4]);
        /// ```
        fn group_norm(builder: SharedBuilder, name: String, groups: i64, channels: i64) -> Layer {
            builder.group_norm(&name, groups, channels)
        }

        /// Creates an embedding table whose rows are selected by int64 indices: [..] to [.., width].
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.embedding("table", 10, 4).forward(tensor([3, 9])).shape, [2, 4]);
        /// ```
        fn embedding(builder: SharedBuilder, name: String, rows: i64, width: i64, options: InitOptions) -> Layer {
            builder.embedding(&name, rows, width, Init::of(options.init, options.std))
        }

        /// Creates self-attention over tokens [B, N, width], by default with RMS-normalized queries and keys as in the
        /// family `spectraldit`.
        ///
        /// Its parameters are `qkv`, `proj` and, with a norm, `q_norm` and `k_norm`, as in timm and LightningDiT.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.attention("attn", 8, 2).forward(tensor::rand([1, 9, 8])).shape, [1, 9, 8]);
        /// let plain = b.attention("blocks.0.attn", 8, 2, #{ qk_norm: "none", qkv_bias: false, rope: [2, 3] });
        /// assert_eq(plain.forward(tensor::rand([1, 6, 8])).shape, [1, 6, 8]);
        /// assert_eq(plain.parameters().keys(), ["blocks.0.attn.proj.bias", "blocks.0.attn.proj.weight", "blocks.0.attn.qkv.weight"]);
        /// ```
        fn attention(builder: SharedBuilder, name: String, width: i64, heads: i64, options: AttentionLayerOptions) -> Layer {
            builder.attention(&name, width, heads, &options)
        }

        /// Creates attention of tokens [B, N, width] to other tokens [B, M, context], such as those of a caption.
        ///
        /// Call it with both: `forward(x, context)`. A mask is the third argument: bool [B, M], true for tokens of the
        /// context that take part, or any mask of `tensor.attention`. Its parameters are `q_linear`, `kv_linear` and
        /// `proj`, as in PixArt, and `q_norm` and `k_norm` with a norm.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let look = b.cross_attention("cross", 8, 5, 2);
        /// let x = tensor::rand([2, 9, 8]);
        /// let words = tensor::rand([2, 3, 5]);
        /// assert_eq(look.forward(x, words).shape, [2, 9, 8]);
        /// let some = tensor([[1, 1, 0], [1, 1, 0]]).to("bool");
        /// assert_close(look.forward(x, words, some), look.forward(x, words[.., 0..2]), 1e-5);
        /// ```
        fn cross_attention(builder: SharedBuilder, name: String, width: i64, context: i64, heads: i64, options: CrossAttentionOptions) -> Layer {
            builder.cross_attention(&name, [width, context], heads, &options)
        }

        /// Creates DiT's MLP: width to inner to width, with a tanh-approximated GELU between, or SwiGLU.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.mlp("mlp", 8, 32).forward(tensor::rand([1, 9, 8])).shape, [1, 9, 8]);
        /// assert_eq(b.mlp("gated", 8, 21, #{ kind: "swiglu" }).parameters()["gated.w12.weight"].shape, [42, 8]);
        /// ```
        fn mlp(builder: SharedBuilder, name: String, width: i64, inner: i64, options: MlpOptions) -> Layer {
            builder.mlp(&name, width, inner, options.kind)
        }

        /// Creates a patch embedding from images [B, C, H, W] to one token per patch, [B, N, width] in row-major
        /// order.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.patch_embed("patches", 3, 2, 8).forward(tensor::rand([1, 3, 4, 6])).shape, [1, 6, 8]);
        /// ```
        fn patch_embed(builder: SharedBuilder, name: String, channels: i64, patch: i64, width: i64) -> Layer {
            builder.patch_embed(&name, channels, patch, width)
        }

        /// Creates a timestep embedding [B, width] of times [B] in [0, 1]: 256 sinusoidal features of t through a
        /// small network. DiT takes features of `1000 t`.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.timestep_embed("time", 8).forward(tensor([0.0, 0.5])).shape, [2, 8]);
        /// ```
        fn timestep_embed(builder: SharedBuilder, name: String, width: i64) -> Layer {
            builder.timestep_embed(&name, width)
        }

        /// Creates DiT's embedding of int64 labels [B]: a row for each class and a last row for the null label.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.label_embed("label", 10, 8).forward(tensor([0, 10])).shape, [2, 8]);
        /// ```
        fn label_embed(builder: SharedBuilder, name: String, classes: i64, width: i64) -> Layer {
            builder.label_embed(&name, classes, width)
        }

        /// Returns all parameters of the builder by name.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// b.linear("out", 4, 2);
        /// assert_eq(b.parameters().keys(), ["out.bias", "out.weight"]);
        /// ```
        fn parameters(builder: SharedBuilder) -> Map {
            Ok(builder.parameters().into_iter().map(|(name, p)| (name, p.into_value())).collect())
        }
    }
}

/// Properties of the model that a part is built for.
pub mod properties {
    use super::*;
    functions! { properties;
        /// Width of a token in the model that the part belongs to.
        ///
        /// ```rhai
        /// let widths = [];
        /// let part = nn::part(|b| { widths.push(b.width); |x, c| x }).at("attn");
        /// model::dit(#{ depth: 2, parts: [part] });
        /// assert_eq(widths, [128, 128]);
        /// ```
        fn width(builder: SharedBuilder) -> i64 { builder.fact("width") }

        /// Number of blocks in the model that the part belongs to.
        ///
        /// ```rhai
        /// let depths = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { depths.push(b.depth); |x, c| x }).at("tokens")] });
        /// assert_eq(depths, [2]);
        /// ```
        fn depth(builder: SharedBuilder) -> i64 { builder.fact("depth") }

        /// Number of attention heads in the model that the part belongs to.
        ///
        /// ```rhai
        /// let heads = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { heads.push(b.heads); |x, c| x }).at("tokens")] });
        /// assert_eq(heads, [4]);
        /// ```
        fn heads(builder: SharedBuilder) -> i64 { builder.fact("heads") }

        /// Number of hidden units of an MLP in the model that the part belongs to, the width of the values at `hidden`.
        ///
        /// ```rhai
        /// let units = [];
        /// model::dit(#{ depth: 1, parts: [nn::part(|b| { units.push(b.inner); |x, c| x }).at("hidden")] });
        /// assert_eq(units, [512]);
        /// ```
        fn inner(builder: SharedBuilder) -> i64 { builder.fact("inner") }

        /// Number of tokens along one side of the image in the model that the part belongs to.
        ///
        /// ```rhai
        /// let grids = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { grids.push(b.grid); |x, c| x }).at("tokens")] });
        /// assert_eq(grids, [14]);
        /// ```
        fn grid(builder: SharedBuilder) -> i64 { builder.fact("grid") }

        /// Index of the block in which the part is being built, from 0; `()` outside of blocks.
        ///
        /// ```rhai
        /// let blocks = [];
        /// model::dit(#{ depth: 3, parts: [nn::part(|b| { blocks.push(b.block); |x, c| x }).at("mlp", #{ blocks: 1..3 })] });
        /// assert_eq(blocks, [1, 2]);
        /// ```
        fn block(builder: SharedBuilder) -> Value {
            Ok(builder.fact("block").map_or(Value::Unit, Value::Int))
        }

        /// Inputs of the linear map whose weight [outputs, inputs] the part at `weight` changes.
        ///
        /// ```rhai
        /// let sizes = [];
        /// let part = nn::part(|b| { sizes.push([b.outputs, b.inputs, b.block]); |w| w }).at("weight", #{ names: "*.mlp.net.0.*" });
        /// model::dit(#{ depth: 2, parts: part });
        /// assert_eq(sizes, [[512, 128, 0], [512, 128, 1]]);
        /// ```
        fn inputs(builder: SharedBuilder) -> i64 { builder.fact("inputs") }

        /// Outputs of the linear map whose weight [outputs, inputs] the part at `weight` changes.
        ///
        /// ```rhai
        /// // The norm of each row is a parameter of its own.
        /// let part = nn::part(|b| {
        ///     let size = b.parameter("size", [b.outputs, 1], #{ init: "ones" });
        ///     |w| size * w / w.square().sum(1, #{ keepdim: true }).sqrt()
        /// }).at("weight", #{ names: "*.attn.*" });
        /// let net = model::dit(#{ depth: 1, parts: part });
        /// assert_eq(net.parameters()["blocks.0.attn.qkv.parts.0.size"].shape, [384, 1]);
        /// ```
        fn outputs(builder: SharedBuilder) -> i64 { builder.fact("outputs") }

        /// Number of channels of the model's images.
        ///
        /// ```rhai
        /// let channels = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { channels.push(b.channels); |x, c| x }).at("image")] });
        /// assert_eq(channels, [1]);
        /// ```
        fn channels(builder: SharedBuilder) -> i64 { builder.fact("channels") }

        /// Number of bands for which a custom gate computes coefficients.
        ///
        /// ```rhai
        /// let bands = [];
        /// let gate = gate::custom(|b| { bands.push(b.bands); |c| [0.0, 0.0, 0.0] });
        /// let filters = [filter::gaussian(#{ sigma: 2.0 }), filter::gaussian(#{ sigma: 0.5 })];
        /// model::dit(#{ depth: 1, corrections: correction(filters, gate) });
        /// assert_eq(bands, [3]);
        /// ```
        fn bands(builder: SharedBuilder) -> i64 { builder.fact("bands") }

        /// Number of classes K of the model; label K is the null label.
        ///
        /// ```rhai
        /// let classes = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { classes.push(b.classes); |x, c| x }).at("image")] });
        /// assert_eq(classes, [10]);
        /// ```
        fn classes(builder: SharedBuilder) -> i64 { builder.fact("classes") }
    }
}
