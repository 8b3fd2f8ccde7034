//! Namespace `checkpoint`: the whole state of a training loop in one file.

use std::collections::BTreeMap;

use std::path::PathBuf;

use crate::declare::{Map, Value};
use crate::error::Result;
use crate::functions;
use crate::train::checkpoint::{self, Checkpoint, PartsOptions};

/// Returns the metadata of a checkpoint, with tensors as `tensor [2, 3] float32`.
fn about(saved: &Checkpoint) -> Result<Map> {
    let mut about = saved.state.clone();
    about.insert("spectral".to_string(), Value::Str(saved.version.clone()));
    if let Some(config) = &saved.config {
        about.insert("config".to_string(), Value::from_json(&config.to_json()?)?);
    }
    let tensors: BTreeMap<String, Value> =
        saved.tensors.iter().map(|(name, tensor)| (name.clone(), Value::Str(tensor.signature()))).collect();
    about.insert("tensors".to_string(), Value::Map(tensors));
    Ok(about)
}

pub mod space {
    use super::*;
    functions! { in "checkpoint";
        /// Writes the state of a custom training loop to one file, atomically.
        ///
        /// Each entry is saved with everything needed to resume: weights and configuration, moments and counts, the
        /// position in the data. The state of the default random generators is always included. `values` takes other
        /// data of the loop, such as its step, and `others` takes additional models with their optimizers and other
        /// state. The file is written under a temporary name, synced and renamed, and holds a checksum.
        ///
        /// ```rhai
        /// let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let opt = optim::adamw(net, #{ lr: 1e-3 });
        /// checkpoint::save("runs/mine/last.safetensors", #{ model: net, optimizer: opt, values: #{ step: 10 } });
        /// assert(files::exists("runs/mine/last.safetensors"));
        /// let scale = tensor::ones([16]).requires_grad(true);
        /// let critic = #{ optimizer: optim::adamw(#{ scale: scale }), tensors: #{ scale: scale } };
        /// checkpoint::save("runs/mine/last.safetensors", #{ model: net, optimizer: opt, others: #{ critic: critic } });
        /// assert_eq(checkpoint::info("runs/mine/last.safetensors").others.critic.parts, ["optimizer", "tensors"]);
        /// ```
        fn save(path: PathBuf, parts: PartsOptions) -> () { checkpoint::write(path, &parts) }

        /// Restores a checkpoint into the parts of a loop and returns its `values`.
        ///
        /// Make the parts as at the start of the loop. Every name, shape, dtype and setting is checked first: on an
        /// error nothing has changed. Parts that are not passed stay in the file.
        ///
        /// ```rhai
        /// let images = data::from_tensors(tensor::rand([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let parts = #{ model: net, optimizer: optim::adamw(net), ema: optim::ema(net, 0.99), loader: images.loader(#{ batch: 4 }) };
        /// let path = "runs/mine/last.safetensors";
        /// let start = if files::exists(path) { checkpoint::load(path, parts).step } else { 0 };
        /// for step in start..6 {
        ///     let batch = parts.loader.next();
        ///     let rng = train::generator(step);
        ///     let t = tensor::rand([batch.len], #{ generator: rng });
        ///     let pair = flow::pair(batch.images, t, #{ generator: rng });
        ///     parts.optimizer.step((net.forward(pair.x_t, t, batch.labels) - pair.target).square().mean());
        ///     parts.ema.update(net);
        ///     if (step + 1) % 3 == 0 { checkpoint::save(path, parts + #{ values: #{ step: step + 1 } }); }
        /// }
        /// assert_eq(checkpoint::load(path, parts).step, 6);
        /// ```
        fn load(path: PathBuf, parts: PartsOptions) -> Map { Checkpoint::read(path)?.restore(&parts) }

        /// Returns the metadata of a checkpoint, without the numbers in its tensors.
        ///
        /// It is a map of `spectral` (the version that wrote it), `parts`, `values`, `config` of the model,
        /// `tensors` with their shapes and dtypes, and facts about `optimizer`, `ema` and `loader`.
        ///
        /// ```rhai
        /// let opt = optim::adamw(#{ w: tensor::ones([2]).requires_grad(true) }, #{ lr: 0.5 });
        /// checkpoint::save("opt.safetensors", #{ optimizer: opt });
        /// let about = checkpoint::info("opt.safetensors");
        /// assert_eq(about.optimizer.lr, 0.5);
        /// assert_eq(about.tensors["optimizer.exp_avg.w"], "tensor [2] float32");
        /// ```
        fn info(path: PathBuf) -> Map { about(&Checkpoint::read(path)?) }
    }
}
