//! `nn::model`: a model from a network of one's own.

use super::{Own, shape};
use crate::declare::{Code, Function, Options};
use crate::error::{Error, Result};
use crate::functions;
use crate::model::Model;
use crate::torch::{DType, Device};

/// Options of `nn::model`.
#[derive(Debug, Clone, Options)]
pub struct OwnOptions {
    /// Channels, height and width of the images, [C, H, W].
    #[option(default = vec![1, 28, 28])]
    pub image_shape: Vec<i64>,
    /// Number of classes K; label K is the null label.
    #[option(default = 10, range = 1..)]
    pub classes: i64,
    /// Function called with a builder when the model is made. It returns the function `|x, t, y| v` of every
    /// forward pass, or one of four arguments, the last of which keeps tensors: `|x, t, y, c|`.
    pub make: Option<Function>,
    /// Name in messages and tables.
    #[option(default = "network")]
    pub name: String,
    /// Probability with which training replaces a label by the null label.
    #[option(default = 0.1, range = 0.0..=1.0)]
    pub class_dropout_prob: f64,
    /// Determines the weights, together with their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::Cpu)]
    pub device: Device,
    /// Element type of the parameters.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

fn own(options: OwnOptions) -> Result<Model> {
    let Some(make) = options.make else {
        return Err(Error::argument("option `make` is missing: it is the function that makes the network")
            .hint("`make: |b| { let out = b.linear(..); |x, t, y| .. }`"));
    };
    let own = Own {
        name: options.name,
        image_shape: shape(&options.image_shape)?,
        num_classes: options.classes,
        class_dropout_prob: options.class_dropout_prob,
        dtype: options.dtype,
        make: Code::Live(make),
    };
    Model::new(own, options.seed, options.device)
}

functions! { in "nn";
    /// Creates a model from a network of your own: a velocity field v(x, t, y).
    ///
    /// `make` is called with a builder and returns the function that runs in every forward pass. That function
    /// takes images [B, C, H, W], times [B] and int64 labels [B], and returns velocities of the images' shape.
    /// The model is trained, sampled, averaged and stored like any other.
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
