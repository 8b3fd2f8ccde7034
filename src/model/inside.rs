//! A model as a module of another network.

use super::{Design, Model};
use crate::context::Context;
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::functions;
use crate::nn::SharedBuilder;

impl Model {
    /// Builds this model as a module of the network of `builder`, below `name`, and returns it.
    ///
    /// It starts at this model's weights, frozen where this one is, in the dtype and on the device of the network,
    /// which trains and stores it from then on. It shares nothing with this model.
    pub fn inside(&self, builder: &SharedBuilder, name: &str) -> Result<Self> {
        self.set_inside();
        builder.network(name, |builder| {
            let (dtype, device) = (builder.dtype(), builder.device());
            let built = match builder.inside(name) {
                None => self.converted_copy(dtype, device)?,
                Some(own) => {
                    let shared = own.is_shared();
                    let built = Self::build(self.design().clone().with_dtype(dtype), own)?;
                    if !shared {
                        for ((_, new), (_, old)) in built.parameters().iter().zip(self.parameters()) {
                            new.set_requires_grad(old.requires_grad())?;
                        }
                    }
                    built
                }
            };
            builder.adopt(name, built.parameters());
            Ok(built)
        })
    }

    /// Returns all settings as data, without weights; code that cannot be stored is an error.
    pub(crate) fn settings(&self) -> Result<Value> {
        match self.design().not_stored().into_iter().next() {
            Some(why) => Err(Error::argument(why)),
            None => Value::from_json(&self.design().to_json()?),
        }
    }

    /// Creates a model of the output of [`Model::settings`] that has no weights, to build others from it.
    pub(crate) fn of_settings(data: &Value, context: &Context) -> Result<Self> {
        let json = data.to_json().ok_or_else(|| data.mismatch("the settings of a model"))?;
        Self::outline(Design::from_json(&json)?.compiled(context)?)
    }
}

/// Builder method that makes a model a module of a network.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Makes a model a module of this network, below a name, and returns the module.
        ///
        /// The module starts at the model's weights, frozen where the model is, and shares nothing with the model. The
        /// network trains, averages, copies, moves and stores it like its own layers, together with its settings. Call
        /// the returned module: a model that code only captures is neither trained nor stored.
        ///
        /// ```rhai
        /// let small = model::dit(#{ image_size: 8, in_channels: 1, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let net = nn::model(#{ image_shape: [1, 8, 8], make: |b| {
        ///     let inner = b.model("inner", small);
        ///     let scale = b.parameter("scale", [1], #{ init: "ones" });
        ///     |x, t, y| scale * inner.forward(x, t, y) + x
        /// }});
        /// assert_eq(net.num_parameters, small.num_parameters + 1);
        /// net.freeze("inner.*");
        /// ```
        fn model(builder: SharedBuilder, name: String, model: Model) -> Model { model.inside(&builder, &name) }
    }
}
