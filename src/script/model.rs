//! Namespace `model`.

use crate::declare::{Code, Function, IntoValue, Map, OneOrMany, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::model::accounting::Accounting;
use crate::model::{self, DitOptions, LoadOptions, Model, Own, Part, Pass, own, presets};
use crate::nn::glob;
use crate::torch::{DType, Device, Generator, Tensor, no_grad};

crate::options! {
    /// Where a stored model is opened.
    pub struct OpenOptions {
        /// Which weights of a checkpoint: `ema`, the averaged ones, or `model`, those that were trained.
        weights: String = "ema".to_string() => one_of(&model::weights::PARTS);
        /// Where the model lives: "auto", "cpu", "cuda" or "cuda:N".
        device: Device = Device::Cpu;
    }

    /// Which parameters are meant.
    pub struct PickOptions {
        /// Patterns of names, one or an array: `*` stands for any characters, dots included, and `?` for one.
        r#match: OneOrMany<String> = OneOrMany(vec!["*".to_string()]);
    }

    /// A network of your own.
    pub struct OwnOptions {
        /// Channels, height and width of the images, [C, H, W].
        image_shape: Vec<i64> = vec![1, 28, 28];
        /// Number of classes K; label K is the null label.
        classes: i64 = 10 => at_least(1.0);
        /// Called with a builder when the model is made; gives the function `|x, t, y| v` that is called in every forward, or one
        /// of four arguments, the last of which keeps tensors: `|x, t, y, c|`.
        make: Option<Function> = None;
        /// What it is called in messages and tables.
        name: String = "network".to_string();
        /// Probability with which training replaces a label by the null label.
        class_dropout_prob: f64 = 0.1 => range(0.0, 1.0);
        /// Determines the weights, together with their names and shapes.
        seed: i64 = 0;
        /// Where the model lives: "auto", "cpu", "cuda" or "cuda:N".
        device: Device = Device::Cpu;
        /// Element type of the parameters.
        dtype: DType = DType::Float32;
    }

    /// In which step of training a forward is.
    pub struct ObserveOptions {
        /// What parts find as `c.step`; `()` outside of training.
        step: Option<i64> = None => at_least(0.0);
    }

    /// How new parameters start.
    pub struct AttachOptions {
        /// Determines the parameters of the parts, together with their names and shapes.
        seed: i64 = 0;
    }
}

fn own(options: OwnOptions) -> Result<Model> {
    let Some(make) = options.make else {
        return Err(Error::argument("option `make` is missing: it is the function that makes the network")
            .hint("`make: |b| { let out = b.linear(..); |x, t, y| .. }`"));
    };
    let own = Own {
        name: options.name,
        image_shape: own::shape(&options.image_shape)?,
        num_classes: options.classes,
        class_dropout_prob: options.class_dropout_prob,
        dtype: options.dtype,
        make: Code::Live(make),
    };
    Model::new(own, options.seed, options.device)
}

/// Networks of one's own.
pub mod networks {
    use super::*;
    functions! { in "nn";
        /// Makes a model of a network of your own: a velocity field v(x, t, y).
        ///
        /// `make` is called with a builder and gives the function of images [B, C, H, W], times [B] and int64 labels [B] that
        /// is called in every forward; it returns velocities of the images' shape. The model trains, samples, averages and is
        /// stored as any other.
        ///
        /// ```rhai
        /// let net = nn::model(#{ image_shape: [1, 8, 12], classes: 10, make: |b| {
        ///     let time = b.timestep_embed("time", 16);
        ///     let into = b.conv2d("into", 1, 16, 3);
        ///     let out = b.conv2d("out", 16, 1, 3, #{ init: "zeros" });
        ///     |x, t, y| out.forward((into.forward(x) + time.forward(t).reshape([-1, 16, 1, 1])).silu())
        /// }});
        /// assert_eq(net.forward(tensor::zeros([2, 1, 8, 12]), tensor::zeros([2]), tensor([0, 10])).shape, [2, 1, 8, 12]);
        /// assert_eq(flow::sample(net, #{ labels: [3], steps: 2 }).shape, [1, 1, 8, 12]);
        /// ```
        fn model(options: OwnOptions) -> Model { own(options) }
    }
}

pub mod namespace {
    use super::*;
    functions! { in "model";
        /// Makes a DiT or, with corrections, a SpectralDiT: a velocity field v(x, t, y).
        ///
        /// Start from a preset and override what differs. The seed determines the weights, whatever the
        /// device, and a plain DiT and a SpectralDiT of one seed start with equal weights. Training starts
        /// with an output of zero (adaLN-Zero, arXiv 2212.09748).
        ///
        /// ```rhai
        /// let paper = correction(filter::binomial(), gate::time());
        /// let net = model::dit(#{ preset: "fashion_tiny", depth: 2, corrections: paper });
        /// let v = net.forward(tensor::zeros([3, 1, 28, 28]), tensor::ones([3]) * 0.5, tensor([0, 9, 10]));
        /// assert_eq(v.shape, [3, 1, 28, 28]);
        /// ```
        fn dit(options: DitOptions) -> Model { model::dit(options) }

        /// Makes the model that `save` wrote, with its weights, corrections included.
        ///
        /// Checkpoints are opened too; `weights` says which of their weights are meant.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1, corrections: correction(filter::box(), gate::time()) });
        /// net.save("net.safetensors");
        /// assert_eq(model::open("net.safetensors").config.corrections, net.config.corrections);
        /// ```
        fn open<cx>(path: String, options: OpenOptions) -> Model {
            model::open(path, &options.weights, options.device, cx)
        }

        /// Lists the names of all presets.
        ///
        /// ```rhai
        /// assert("fashion_tiny" in model::presets());
        /// ```
        fn presets() -> Vec<String> { Ok(presets::NAMES.map(str::to_string).to_vec()) }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Computes velocities [B, C, H, W] for images x, times t [B] and labels y [B].
        ///
        /// Times are from 0, noise, to 1, data. Labels are int64 from 0 to K, where K, the number of
        /// classes, is the null label. No label is dropped here; training does so with `drop_labels`.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// let v = net.forward(tensor::zeros([2, 1, 28, 28]), tensor::zeros([2]), tensor([3, 10]));
        /// assert_close(v.abs().max().item(), 0.0, 0.0);
        /// ```
        fn forward(model: Model, x: Tensor, t: Tensor, y: Tensor) -> Tensor { model.forward(&x, &t, &y) }

        /// Runs a forward and gives the velocity `v` with what parts kept, `kept`.
        ///
        /// As `forward`, for a loop of your own whose loss looks at more than the velocity. Gradients flow through both.
        ///
        /// ```rhai
        /// let look = nn::part(|b| |x, c| { c.keep("h", x); x }).at("block", #{ blocks: 0 });
        /// let net = model::dit(#{ depth: 2, parts: look });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]));
        /// assert_eq([seen.v.shape, seen.kept.h.shape], [[1, 1, 28, 28], [1, 196, 128]]);
        /// ```
        fn observe(model: Model, x: Tensor, t: Tensor, y: Tensor, options: ObserveOptions) -> Map {
            let pass = Pass { step: options.step, ..Pass::default() };
            let v = model.observe(&x, &t, &y, &pass)?;
            Ok(Map::from([
                ("v".to_string(), v.into_value()),
                ("kept".to_string(), Value::Map(pass.kept.to_map())),
            ]))
        }

        /// Makes a model with further parts that shares its weights with this one.
        ///
        /// For a public checkpoint that gets a part which starts at zero: attach it, `freeze(["*"])`, `unfreeze` what the
        /// part has, and train. New parameters depend on the seed, their name and their shape.
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

        /// Stops training the parameters whose names a pattern stands for, one pattern or an array.
        ///
        /// `*` stands for any characters, dots included, and `?` for one. Optimizers and `train::fit` leave frozen parameters
        /// alone. A pattern for no parameter is an error.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 2 });
        /// net.freeze(["*"]);
        /// net.unfreeze("blocks.1.mlp.*");
        /// assert_eq(net.parameters().values().filter(|p| p.requires_grad).len(), 4);
        /// ```
        fn freeze(model: Model, patterns: OneOrMany<String>) -> () { model.freeze(&patterns.0) }

        /// Trains the parameters again whose names a pattern stands for, one pattern or an array.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// net.freeze("*");
        /// net.unfreeze("*.bias");
        /// assert(net.parameters()["blocks.0.attn.qkv.bias"].requires_grad);
        /// ```
        fn unfreeze(model: Model, patterns: OneOrMany<String>) -> () { model.unfreeze(&patterns.0) }

        /// Tells whether parts and corrections change nothing as they are.
        ///
        /// It gives all other weights random values, in a copy, and compares the result with that of the plain DiT of the same
        /// weights, bit for bit. A model of which this is true trains from where the plain DiT does.
        ///
        /// ```rhai
        /// assert(model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::time()) }).starts_plain());
        /// assert(!model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::constant(#{ high: 0.5 })) }).starts_plain());
        /// ```
        fn starts_plain(model: Model) -> bool { model.starts_plain() }

        /// Runs a forward and gives what happened inside each block, as an array of maps.
        ///
        /// Each map has the tensors `attn_residual`, `mlp_residual`, `corrected` (what was added instead)
        /// and `output`, all [B, N, D]. With a correction it also has `gates`, the coefficients [B, k] or [B, k, D],
        /// and `bands`, an array of the k bands, the lowest first, which are also `low` and `high` where they are two;
        /// `corrections` holds these for every correction at `mlp` in order.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::time()) });
        /// let blocks = net.trace(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]));
        /// assert_eq(blocks.len(), 2);
        /// assert_eq(blocks[1].gates.shape, [1, 2]);
        /// assert_eq(blocks[1].low.shape, [1, 196, 128]);
        /// ```
        fn trace(model: Model, x: Tensor, t: Tensor, y: Tensor) -> Vec<Map> {
            if model.config().is_none() {
                let pass = Pass::default();
                no_grad(|| model.observe(&x, &t, &y, &pass))?;
                return Ok(vec![pass.kept.to_map()]);
            }
            Ok(model.trace(&x, &t, &y)?.iter().map(|block| block.to_map()).collect())
        }

        /// Replaces each label by the null label with the probability `config.class_dropout_prob`.
        ///
        /// Draws from `generator`, or from the device's default one.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1, class_dropout_prob: 1.0 });
        /// assert_eq(net.drop_labels(tensor([1, 2])).to_array(), [10, 10]);
        /// ```
        fn drop_labels(model: Model, y: Tensor, generator: Option<Generator>) -> Tensor {
            model.drop_labels(&y, generator.as_ref())
        }

        /// Gives the parameters by their PyTorch names, all or those that `match` picks.
        ///
        /// The tensors are the model's own: writing into one in place changes the model. `#{ match: "*.freq_gate*" }` picks those
        /// of the gates.
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

        /// Gives the table that printing shows: shapes, parameters and operations, against the plain DiT.
        ///
        /// ```rhai
        /// let text = model::dit(#{ preset: "fashion_tiny" }).summary();
        /// assert(text.contains("14 x 14"), text);
        /// ```
        fn summary(model: Model) -> String { Ok(model.summary(None)) }

        /// Writes all weights and the configuration to a safetensors file, under PyTorch names.
        ///
        /// The file is replaced as a whole or not at all. `model::open` makes the model again, parts of code included that were
        /// made in a file; a note names others.
        ///
        /// ```rhai
        /// model::dit(#{ depth: 1 }).save("net.safetensors");
        /// assert(files::exists("net.safetensors"));
        /// ```
        fn save<cx>(model: Model, path: String) -> () {
            model.save(path)?;
            model.design().not_stored().iter().for_each(|note| cx.note(note));
            Ok(())
        }

        /// Copies the weights of a safetensors file into this model, or of a `.pt` or `.pth` file of PyTorch.
        ///
        /// Every name, shape and dtype is checked first; on an error the model is unchanged. With a
        /// `prefix`, such as "ema.", only names that start with it are read. The buffer `pos_embed`, which the model computes
        /// itself, is passed over; a note says so where it differs.
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

        /// Makes a model with equal weights that shares nothing with this one.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// assert_eq(net.copy().num_parameters, net.num_parameters);
        /// ```
        fn copy(model: Model) -> Model { model.copy() }

        /// Makes a copy of the model on a device, "auto", "cpu", "cuda" or "cuda:N".
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ depth: 1 }).to("cpu").device, "cpu");
        /// ```
        fn to(model: Model, device: Device) -> Model { model.to_device(device) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// What the model is made of, as a map.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ depth: 3 }).config.depth, 3);
        /// ```
        fn config(model: Model) -> Value { Ok(Value::Map(model.design().to_map())) }

        /// The number of trainable numbers.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ preset: "cifar10_small" }).num_parameters, 5496195);
        /// ```
        fn num_parameters(model: Model) -> i64 { Ok(model.num_parameters()) }

        /// Floating-point operations of one forward pass for one image.
        ///
        /// A multiplication with its addition counts as two. Linear maps, attention and the low-pass
        /// filter count; what touches each number once does not.
        ///
        /// ```rhai
        /// let plain = model::dit().flops;
        /// let corrected = model::dit(#{ corrections: correction(filter::binomial(), gate::time()) }).flops;
        /// assert(corrected > plain && corrected < 1.02 * plain);
        /// ```
        fn flops(model: Model) -> f64 { Ok(Accounting::of_model(&model)?.flops) }

        /// The device of the parameters.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ depth: 1 }).device, "cpu");
        /// ```
        fn device(model: Model) -> Device { Ok(model.device()) }
    }
}
