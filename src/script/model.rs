//! Namespace `model`.

use crate::declare::{IntoValue, Map, Value};
use crate::functions;
use crate::model::accounting::Accounting;
use crate::model::{self, DitOptions, LoadOptions, Model, presets};
use crate::torch::{Device, Generator, Tensor};

crate::options! {
    /// Where a stored model is opened.
    pub struct OpenOptions {
        /// Which weights of a checkpoint: `ema`, the averaged ones, or `model`, those that were trained.
        weights: String = "ema".to_string() => one_of(&model::weights::PARTS);
        /// Where the model lives: "auto", "cpu", "cuda" or "cuda:N".
        device: Device = Device::Cpu;
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
        fn open(path: String, options: OpenOptions) -> Model {
            model::open(path, &options.weights, options.device)
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

        /// Runs a forward and gives what happened inside each block, as an array of maps.
        ///
        /// Each map has the tensors `attn_residual`, `mlp_residual`, `corrected` (what was added instead)
        /// and `output`, all [B, N, D]. With a correction it also has `gates`, the coefficients [B, k] or [B, k, D],
        /// and `bands`, an array of the k bands, the lowest first, which are also `low` and `high` where they are two;
        /// `corrections` holds these for every correction in order.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 2, corrections: correction(filter::box(), gate::time()) });
        /// let blocks = net.trace(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]));
        /// assert_eq(blocks.len(), 2);
        /// assert_eq(blocks[1].gates.shape, [1, 2]);
        /// assert_eq(blocks[1].low.shape, [1, 196, 128]);
        /// ```
        fn trace(model: Model, x: Tensor, t: Tensor, y: Tensor) -> Vec<Map> {
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

        /// Gives the trainable parameters by their PyTorch names.
        ///
        /// The tensors are the model's own: writing into one in place changes the model.
        ///
        /// ```rhai
        /// let net = model::dit(#{ depth: 1 });
        /// assert_eq(net.parameters()["blocks.0.attn.qkv.weight"].shape, [384, 128]);
        /// ```
        fn parameters(model: Model) -> Map {
            Ok(model.parameters().iter().map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
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
        /// The file is replaced as a whole or not at all. `model::open` makes the model again.
        ///
        /// ```rhai
        /// model::dit(#{ depth: 1 }).save("net.safetensors");
        /// assert(files::exists("net.safetensors"));
        /// ```
        fn save(model: Model, path: String) -> () { model.save(path) }

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
        fn config(model: Model) -> Value { Ok(Value::Map(model.config().to_map())) }

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
        fn flops(model: Model) -> f64 { Ok(Accounting::of(model.config())?.flops) }

        /// The device of the parameters.
        ///
        /// ```rhai
        /// assert_eq(model::dit(#{ depth: 1 }).device, "cpu");
        /// ```
        fn device(model: Model) -> Device { Ok(model.device()) }
    }
}
