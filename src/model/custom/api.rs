//! `nn::model`: a model from a custom network.

use super::{CustomNetwork, Interface};
use crate::declare::{Code, Function, Options};
use crate::error::{Error, Result};
use crate::functions;
use crate::model::Model;
use crate::torch::Device;

/// Options of `nn::model`.
#[derive(Debug, Clone, Options)]
pub struct NetworkOptions {
    /// Inputs and outputs.
    #[option(flatten)]
    pub interface: Interface,
    /// Function called with a builder when the model is made. It returns the function `|x, t, y| v` of every
    /// forward pass, or one of four arguments, `|x, t, y, c| v`, with the call c: `c.fields`, `c.dropped`, `c.keep(..)`,
    /// `c.step`, `c.seed`, as for parts.
    #[option(takes = ["b"])]
    pub make: Option<Function>,
    /// Determines the weights, together with their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
}

fn network(options: NetworkOptions) -> Result<Model> {
    let Some(make) = options.make else {
        return Err(Error::argument("option `make` is missing: it is the function that makes the network")
            .hint("`make: |b| { let out = b.linear(..); |x, t, y| .. }`"));
    };
    let network = CustomNetwork { interface: options.interface, make: Code::Live(make) };
    Model::new(network, options.seed, options.device)
}

functions! { in "nn";
    /// Creates a model from a custom network: a velocity field v(x, t, y).
    ///
    /// `make` is called with a builder and returns the function that runs in every forward pass. That function
    /// takes images [B, C, H, W], times [B] and int64 labels [B], and returns velocities of the images' shape.
    /// The model is trained, sampled, averaged and stored like any other. A function of four arguments also receives the
    /// [call](call.md), with the fields of the images.
    ///
    /// `b.dit_block` makes the blocks of a DiT. `parts` and `attach` put parts at `image`, `velocity` and `weight`.
    ///
    /// ```rhai
    /// let net = nn::model(#{ image_shape: [1, 8, 12], num_classes: 10, make: |b| {
    ///     let time = b.timestep_embed("time", 16);
    ///     let into = b.conv2d("into", 1, 16, 3);
    ///     let out = b.conv2d("out", 16, 1, 3, #{ init: "zeros" });
    ///     |x, t, y| out.forward((into.forward(x) + time.forward(t).reshape([-1, 16, 1, 1])).silu())
    /// }});
    /// assert_eq(net.forward(tensor::zeros([2, 1, 8, 12]), tensor::zeros([2]), tensor([0, 10])).shape, [2, 1, 8, 12]);
    /// assert_eq(flow::sample(net, #{ labels: [3], steps: 2 }).shape, [1, 1, 8, 12]);
    /// // Super-resolution: the network also sees a small image.
    /// let larger = nn::model(#{ image_shape: [1, 8, 8], num_classes: 1, make: |b| {
    ///     let out = b.conv2d("out", 2, 1, 3);
    ///     |x, t, y, c| out.forward(tensor::cat([x, c.fields.small.interpolate(#{ size: [8, 8] })], 1))
    /// }});
    /// let small = tensor::rand([2, 1, 4, 4]);
    /// assert_eq(flow::sample(larger, #{ labels: [0, 0], fields: #{ small: small }, steps: 2 }).shape, [2, 1, 8, 8]);
    /// ```
    fn model(options: NetworkOptions) -> Model { network(options) }
}
