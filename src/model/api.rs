//! Namespace `model`.

use std::path::PathBuf;

use crate::declare::{Choice, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::Error;
use crate::functions;
use crate::model::accounting::Accounting;
use crate::model::dit::layer::{self, DitLayer};
use crate::model::trace::BlockTrace;
use crate::model::{
    self, DitOptions, LoadOptions, Model, OpenOptions, Part, Pass, SaveOptions, custom, parts, presets,
};
use crate::nn::glob;
use crate::torch::convert::Target;
use crate::torch::{Device, Fields, Generator, Tensor};

crate::api! {
    types: [Model, Part, parts::Call, DitLayer],
    functions: [
        parts::api, custom::api, super::inside::methods, layer::of_network, layer::methods, namespace, methods, properties,
    ],
}

/// Options of `model.parameters`.
#[derive(Debug, Clone, Options)]
pub struct PickOptions {
    /// Name patterns, one or an array: `*` matches any characters, dots included, and `?` matches one.
    #[option(default = OneOrMany(vec!["*".to_string()]))]
    pub r#match: OneOrMany<String>,
}

/// Options of `model.forward` and `model.trace`.
#[derive(Debug, Clone, Options)]
pub struct ForwardOptions {
    /// Fields of the images by name, tensors [B, ..] that parts read as `c.fields.NAME`. The model of a loss has those of the
    /// step as well if the number of images is the same.
    pub fields: Fields,
}

/// Options of `model.starts_plain`.
#[derive(Debug, Clone, Options)]
pub struct PlainOptions {
    /// Fields of two images by name, [2, ..], for parts that read fields.
    pub fields: Fields,
}

/// Options of `model.observe`.
#[derive(Debug, Clone, Options)]
pub struct ObserveOptions {
    /// Fields of the images by name, as in `forward`.
    pub fields: Fields,
    /// Training step that parts read as `c.step`; by default `()`, or the step of the loss that calls `s.model`.
    #[option(range = 0..)]
    pub step: Option<i64>,
}

/// Options of `model.attach`.
#[derive(Debug, Clone, Options)]
pub struct AttachOptions {
    /// Determines the parameters of the parts, together with their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
}

pub mod namespace {
    use super::*;
    functions! { in "model";
        /// Creates a DiT or, with corrections, a SpectralDiT: a velocity field v(x, t, y).
        ///
        /// Start from a preset and override what differs. The seed determines the weights on every device, and a
        /// plain DiT and a SpectralDiT of the same seed start with equal weights. Training starts with an output of
        /// zero (adaLN-Zero, arXiv 2212.09748).
        ///
        /// `family` creates a model with the parameters of a public one: `dit` (arXiv 2212.09748), `sit` (arXiv
        /// 2401.08740) or `lightningdit` (arXiv 2501.01423). Each difference between the families is a separate
        /// option, which every family accepts.
        ///
        /// ```rhai
        /// let paper = correction(filter::binomial(), gate::time());
        /// let net = model::dit(#{ preset: "fashion_tiny", depth: 2, corrections: paper });
        /// let v = net.forward(tensor::zeros([3, 1, 28, 28]), tensor::ones([3]) * 0.5, tensor([0, 9, 10]));
        /// assert_eq(v.shape, [3, 1, 28, 28]);
        ///
        /// let sit = model::dit(#{ family: "sit", depth: 2, norm: "rms", position: "rope" });
        /// assert_eq(sit.parameters()["blocks.1.mlp.fc1.weight"].shape, [512, 128]);
        /// ```
        fn dit(options: DitOptions) -> Model { model::options::dit(options) }

        /// Opens a model that `save` wrote, with its weights and corrections, or a public DiT, SiT or LightningDiT.
        ///
        /// Checkpoints can be opened too; `weights` selects which of their weights to load.
        ///
        /// The file of a public model, `.pt`, `.pth` or `.safetensors`, is a state dictionary or a training file with
        /// `model`, `ema`, `opt` and `args`. The sizes of the model are inferred from its shapes. Files in bfloat16
        /// and float16 give models of that dtype.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1, corrections: correction(filter::box(), gate::time()) });
        /// net.save("net.safetensors");
        /// assert_eq(model::open("net.safetensors").config.corrections, net.config.corrections);
        ///
        /// let sizes = #{ image_size: 8, in_channels: 4, depth: 2, hidden_size: 32, num_heads: 2 };
        /// let sit = model::dit(sizes + #{ family: "sit" });
        /// tensor::save("sit.safetensors", sit.parameters());      // a state dictionary, without a configuration
        /// let opened = model::open("sit.safetensors", #{ family: "sit", num_heads: 2 });
        /// assert_eq([opened.config.depth, opened.config.hidden_size, opened.config.image_size], [2, 32, 8]);
        /// ```
        fn open<cx>(path: PathBuf, options: OpenOptions) -> Model { model::open::open(path, &options, cx) }

        /// Returns the names of all presets.
        ///
        /// ```rhai
        /// assert("fashion_tiny" in model::presets());
        /// ```
        fn presets() -> Vec<String> { Ok(presets::Size::NAMES.iter().map(ToString::to_string).collect()) }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Computes velocities [B, C, H, W] for images x, times t [B] and labels y [B].
        ///
        /// Times run from 0, noise, to 1, data. Labels are int64 from 0 to K, where K, the number of classes, is
        /// the null label. No label is dropped here; training does so with `drop_labels`. Parts run as in sampling, with
        /// `c.step` `()`, except for the model `s.model` of a loss, whose parts run in the training step. `fields` are tensors
        /// [B, ..] that belong to the images, for parts that read them. Times may be those of pixels, [B, 1, H, W]: a DiT
        /// without parts at `condition` conditions each token, and the gates of its corrections, on the mean over its patch.
        ///
        /// A model of the family `dit` takes diffusion steps from 0, nearly data, to 999, noise, integer or fractional.
        /// It returns the noise and, with `learn_sigma`, the variance of the public DiT: [B, 2 C, H, W].
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// let v = net.forward(tensor::zeros([2, 1, 28, 28]), tensor::zeros([2]), tensor([3, 10]));
        /// assert_close(v.abs().max().item(), 0.0, 0.0);
        /// ```
        fn forward(model: Model, x: Tensor, t: Tensor, y: Tensor, options: ForwardOptions) -> Tensor {
            model.forward_with(&x, &t, &y, &options.fields)
        }

        /// Runs a forward pass and returns the velocity `v` and the tensors that parts kept, `kept`.
        ///
        /// Like `forward`, for a custom training loop whose loss uses more than the velocity. Gradients flow through
        /// both.
        ///
        /// ```rhai
        /// let look = nn::part(|b| |x, c| { c.keep("h", x); x }).at("block", #{ blocks: 0 });
        /// let net = model::dit(#{ depth: 2, parts: look });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]));
        /// assert_eq([seen.v.shape, seen.kept.h.shape], [[1, 1, 28, 28], [1, 196, 128]]);
        /// ```
        fn observe(model: Model, x: Tensor, t: Tensor, y: Tensor, options: ObserveOptions) -> Map {
            let usual = model.pass(x.shape().first(), &options.fields);
            let pass = Pass { step: options.step.or(usual.step), ..usual };
            let v = model.observe(&x, &t, &y, &pass)?;
            Ok(Map::from([
                ("v".to_string(), v.into_value()),
                ("kept".to_string(), Value::Map(pass.kept.to_map())),
            ]))
        }

        /// Returns a model with additional parts that shares its weights with this one.
        ///
        /// Use it to add a part that starts at zero to a public checkpoint: attach it, `freeze(["*"])`, `unfreeze`
        /// the parameters of the part, and train. New parameters depend on the seed, their name and their shape. A part
        /// with `replaces: true` leaves the weights of a module out of the new model; this one keeps them.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 2 });
        /// let grown = net.attach(correction(filter::binomial(), gate::time()).at("mlp"));
        /// grown.freeze("*");
        /// grown.unfreeze("*.freq_gate*");
        /// assert(grown.starts_plain());
        /// assert(grown.num_parameters > net.num_parameters);
        /// ```
        fn attach(model: Model, parts: OneOrMany<Part>, options: AttachOptions) -> Model {
            model.attach(&parts.0, options.seed)
        }

        /// Returns a copy of the model whose weights include the changes of its parts at `weight`, without these
        /// parts.
        ///
        /// The result computes the same within rounding, faster, and has the names and shapes of the plain model, so
        /// other programs can read its file. It shares nothing with this model. Other parts are kept, and frozen
        /// parameters stay frozen. This is `merge_and_unload` of PEFT.
        ///
        /// ```rhai
        /// let tuned = model::dit(#{ depth: 1 }).attach(ideas::lora());
        /// let net = tuned.merge();
        /// assert_eq(net.parameters().keys(), model::dit(#{ depth: 1 }).parameters().keys());
        /// ```
        fn merge(model: Model) -> Model { model.merge() }

        /// Freezes the parameters whose names match a pattern, or any of an array of patterns.
        ///
        /// `*` matches any characters, dots included, and `?` matches one. Optimizers and `train::fit` do not
        /// change frozen parameters. A pattern that matches no parameter is an error.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 2 });
        /// net.freeze(["*"]);
        /// net.unfreeze("blocks.1.mlp.*");
        /// assert_eq(net.parameters().values().filter(|p| p.requires_grad).len(), 4);
        /// ```
        fn freeze(model: Model, patterns: OneOrMany<String>) -> () { model.freeze(&patterns.0) }

        /// Unfreezes the parameters whose names match a pattern, or any of an array of patterns.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// net.freeze("*");
        /// net.unfreeze("*.bias");
        /// assert(net.parameters()["blocks.0.attn.qkv.bias"].requires_grad);
        /// ```
        fn unfreeze(model: Model, patterns: OneOrMany<String>) -> () { model.unfreeze(&patterns.0) }

        /// Returns whether parts and corrections, with their current parameters, leave the output unchanged bit for
        /// bit.
        ///
        /// The check gives all other weights random values, in a copy, and compares the output with that of the
        /// plain DiT of the same weights, bit for bit. If it is true, training starts from where the plain DiT
        /// does. It is false for a model with a part that replaces a module.
        ///
        /// ```rhai
        /// assert(model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::time()) }).starts_plain());
        /// assert(!model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::constant(#{ high: 0.5 })) }).starts_plain());
        /// ```
        fn starts_plain(model: Model, options: PlainOptions) -> bool { model.starts_plain_with(&options.fields) }

        /// Runs a forward pass and returns the tensors inside each block, as an array of maps.
        ///
        /// Each map has the tensors `attn_residual`, `mlp_residual`, `corrected` (the MLP residual after corrections)
        /// and `output`, all [B, N, D]. With a correction it also has `gates`, the coefficients [B, k] or [B, k, D],
        /// and `bands`, an array of the k bands, lowest first; two bands are also available as `low` and `high`.
        /// `corrections` holds these for every correction at `mlp`, in order.
        ///
        /// A custom network has the blocks of `b.dit_block` that its function gave the call. If there are none, the only map
        /// has the tensors that it kept.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::time()) });
        /// let blocks = net.trace(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]));
        /// assert_eq(blocks.len(), 2);
        /// assert_eq(blocks[1].gates.shape, [1, 2]);
        /// assert_eq(blocks[1].low.shape, [1, 196, 128]);
        /// ```
        fn trace(model: Model, x: Tensor, t: Tensor, y: Tensor, options: ForwardOptions) -> Vec<Map> {
            let (blocks, kept) = model.traced(&x, &t, &y, &options.fields)?;
            match blocks.is_empty() {
                true => Ok(vec![kept.to_map()]),
                false => Ok(blocks.iter().map(BlockTrace::to_map).collect()),
            }
        }

        /// Replaces each label by the null label with probability `config.class_dropout_prob`.
        ///
        /// The random numbers come from `generator`, or from the device's default generator.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1, class_dropout_prob: 1.0 });
        /// assert_eq(net.drop_labels(tensor([1, 2])).to_array(), [10, 10]);
        /// ```
        fn drop_labels(model: Model, y: Tensor, generator: Option<Generator>) -> Tensor {
            model.drop_labels(&y, generator.as_ref())
        }

        /// Returns the parameters by their PyTorch names, all or those that `match` selects.
        ///
        /// The tensors are the model's own: writing into one in place changes the model.
        /// `#{ match: "*.freq_gate*" }` selects those of the gates.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// assert_eq(net.parameters()["blocks.0.attn.qkv.weight"].shape, [384, 128]);
        /// ```
        fn parameters(model: Model, options: PickOptions) -> Map {
            let picked = glob::pick(&options.r#match.0, model.parameters().iter().map(|(name, _)| name.as_str()))?;
            let own = model.parameters().iter().filter(|(name, _)| picked.contains(&name.as_str()));
            Ok(own.map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
        }

        /// Returns the table that printing shows: shapes, parameters and operations, compared with the plain DiT.
        ///
        /// ```rhai
        /// let text = model::dit(#{ preset: "fashion_tiny" }).summary();
        /// assert(text.contains("14 x 14"), text);
        /// ```
        fn summary(model: Model) -> String { Ok(model.summary(None)) }

        /// Writes all weights and the configuration to a safetensors file, under PyTorch names.
        ///
        /// The tensors of a model of a public family have the names and shapes of its public code, which can load
        /// the file.
        ///
        /// The file is written atomically. `model::open` rebuilds the model, including parts whose
        /// code was written in a file; a note names parts that are not stored. With `only`, some of the parameters are
        /// written, such as those of adapters, for `load` with `partial`.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// net.save("net.safetensors");
        /// assert(files::exists("net.safetensors"));
        /// net.save("attention.safetensors", #{ only: "*.attn.*" });
        /// model::dit(#{ depth: 1, seed: 1 }).load("attention.safetensors", #{ partial: true });
        /// ```
        fn save<cx>(model: Model, path: String, options: SaveOptions) -> () {
            model.write(path, &options)?;
            model.design().not_stored().iter().for_each(|note| cx.note(note));
            Ok(())
        }

        /// Loads the weights of a safetensors file, or of a `.pt` or `.pth` file of PyTorch, into this model.
        ///
        /// Every name, shape and dtype is checked first; on an error the model is unchanged. Floats of another dtype are
        /// converted to that of the model, and a note says so. With a `prefix`, such
        /// as "ema.", only names that start with it are read; without one, it is detected, and `weights` selects
        /// between several. Tables that the model computes itself, such as the `pos_embed` of the family
        /// `spectraldit`, are ignored; a note says so if they differ.
        ///
        /// Tensors that match `ignore` are skipped, such as `"y_embedder.*"` of a model with other classes, and with
        /// `partial` the file may lack parameters. Parameters that are not loaded keep their values, and a note says
        /// how many there are. Another note names options that do not change any shape, such as `num_heads` and
        /// filters, if the model that saved the file had other values.
        ///
        /// ```rhai
        /// let trained = model::dit(#{ depth: 1, seed: 1 });
        /// trained.save("net.safetensors");
        /// let net = model::dit(#{ depth: 1, seed: 2 });
        /// net.load("net.safetensors");
        /// let name = "blocks.0.attn.qkv.weight";
        /// assert_close(net.parameters()[name], trained.parameters()[name], 0.0);
        /// ```
        fn load<cx>(model: Model, path: String, options: LoadOptions) -> () {
            model.load(path, &options)?.iter().for_each(|note| cx.note(note));
            Ok(())
        }

        /// Returns a model with equal weights that shares nothing with this one.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// assert_eq(net.copy().num_parameters, net.num_parameters);
        /// ```
        fn copy(model: Model) -> Model { model.copy() }

        /// Returns a copy of the model on a device, "auto", "cpu", "cuda" or "cuda:N", or in a dtype, or on the device and in
        /// the dtype of a tensor.
        ///
        /// Tensors that functions of a part or a network captured stay where they are: `x * k.to(x)` moves one in a function.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// assert_eq(net.to("cpu").device, "cpu");
        /// assert_eq(net.to("bfloat16").config.dtype, "bfloat16");
        /// ```
        fn to(model: Model, target: Target, second: Option<Target>) -> Model {
            let (mut dtype, mut device) = (model.dtype(), model.device());
            for target in [Some(target), second].into_iter().flatten() {
                match target {
                    Target::DType(other) => dtype = other,
                    Target::Device(other) => device = other,
                    Target::Like(other) => (dtype, device) = (other.dtype(), other.device()),
                }
            }
            model.converted_copy(dtype, device)
        }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// The configuration of the model, as a map of all options with the values that the model uses.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ depth: 3 }).config.depth, 3);
        /// assert_eq(model::dit(#{ depth: 1, family: "lightningdit" }).config.position, "rope");
        /// ```
        fn config(model: Model) -> Value { Ok(Value::Map(model.design().shown())) }

        /// The number of parameters.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ preset: "cifar10_small" }).num_parameters, 5496195);
        /// ```
        fn num_parameters(model: Model) -> i64 { Ok(model.num_parameters()) }

        /// Floating-point operations of one forward pass for one image.
        ///
        /// A multiplication with its addition counts as two. Linear maps, attention and the low-pass filter are
        /// counted; element-wise operations are not.
        ///
        /// ```rhai
        /// let plain = model::dit().flops;
        /// let corrected = model::dit(#{ corrections: correction(filter::binomial(), gate::time()) }).flops;
        /// assert(corrected > plain && corrected < 1.02 * plain);
        /// ```
        fn flops(model: Model) -> f64 {
            let flops = Accounting::of_model(&model)?.flops;
            if flops.is_nan() {
                return Err(Error::argument("the operations depend on the shapes of fields, which are not known yet")
                    .hint("they are counted after a forward pass, a sample or training with fields"));
            }
            Ok(flops)
        }

        /// The device of the parameters.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ depth: 1, device: "cpu" }).device, "cpu");
        /// ```
        fn device(model: Model) -> Device { Ok(model.device()) }
    }
}
