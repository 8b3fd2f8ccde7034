//! User-defined networks: velocity fields computed by a user function.

pub(crate) mod api;

pub use api::{NetworkOptions, model};

use super::parts::built::make;
use super::parts::call::{At, Seen};
use super::parts::{Call, Pass};
use crate::context::Context;
use crate::declare::{Code, Function, IntoValue, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::nn::shared_builder::Facts;
use crate::nn::{Builder, SharedBuilder};
use crate::torch::{DType, Tensor};

/// Key of the function in the stored form.
pub const MAKE: &str = "make";

/// Inputs and outputs of a user-defined network.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct Interface {
    /// Channels, height and width of the images, [C, H, W].
    #[option(default = (1, 28, 28), range = 1..)]
    pub image_shape: (i64, i64, i64),
    /// Number of classes K; label K is the null label.
    #[option(default = 10, range = 1.., alias = "classes")]
    pub num_classes: i64,
    /// Name in messages and tables.
    #[option(default = "network")]
    pub name: String,
    /// Probability with which training replaces a label by the null label.
    #[option(default = 0.1, range = 0.0..=1.0)]
    pub class_dropout_prob: f64,
    /// Element type of the parameters.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

/// A user-defined network: what goes in and comes out, and the function that builds it.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomNetwork {
    /// Inputs and outputs.
    pub interface: Interface,
    /// Function that takes a builder when the model is built and returns the function of images, times and labels.
    pub make: Code,
}

impl CustomNetwork {
    /// Checks all settings and returns an error for the first invalid one.
    pub fn check(&self) -> Result<()> {
        let interface = &self.interface;
        Options::check(interface)?;
        ensure!(
            interface.dtype.is_float(),
            "the dtype of a model must be a float, found {}",
            interface.dtype.name()
        );
        Ok(())
    }

    /// Returns the properties of its builder.
    pub(super) fn facts(&self) -> Facts {
        let (channels, height, _) = self.interface.image_shape;
        vec![("channels", channels), ("classes", self.interface.num_classes), ("grid", height)]
    }

    /// Compiles code that was read from a file.
    pub fn compiled(self, context: &Context) -> Result<Self> {
        Ok(Self { make: self.make.compiled(context)?, ..self })
    }

    /// Returns the stored form.
    pub fn to_map(&self) -> Map {
        let mut map = self.interface.to_map();
        map.insert(MAKE.to_string(), self.make.to_data().unwrap_or(Value::Unit));
        map
    }

    /// Restores a network from the output of [`CustomNetwork::to_map`].
    pub fn from_map(mut map: Map) -> Result<Self> {
        let make = Code::stored(map.remove(MAKE).unwrap_or(Value::Unit));
        let network = Self { interface: Interface::from_map(&map)?, make };
        network.check()?;
        Ok(network)
    }
}

/// Arguments that the function of a network may take, one entry for each number of them.
const FORMS: &[&str] = &["x, t, y", "x, t, y, c"];

/// A user-defined network with its parameters.
pub(super) struct Network {
    run: Function,
    null: i64,
}

impl Network {
    /// Builds all parameters.
    pub fn new(builder: &mut Builder, custom: &CustomNetwork) -> Result<Self> {
        Ok(Self {
            run: SharedBuilder::lend(builder, custom.facts(), |shared| {
                make(custom.make.function()?, shared, FORMS)
            })?,
            null: custom.interface.num_classes,
        })
    }

    /// Maps images [B, C, H, W], times `[B]` and labels `[B]` to velocities [B, C, H, W].
    pub fn forward(&self, x: &Tensor, t: &Tensor, y: &Tensor, pass: &Pass) -> Result<Tensor> {
        let mut arguments = vec![x.clone().into_value(), t.clone().into_value(), y.clone().into_value()];
        if self.run.takes() == Some(4) {
            let seen = Seen {
                x: x.clone(),
                t: t.clone(),
                y: y.clone(),
                time: None,
                label: None,
                both: None,
                grid: x.size(2)?,
                null: self.null,
            };
            arguments.push(Call::new(&std::sync::Arc::new(seen), pass, At::default()).into_value());
        }
        let given = self.run.call(&arguments)?;
        let explain = |e: Error| e.context(format!("the network{}", self.run.written()));
        let found = given
            .downcast::<Tensor>()
            .ok_or_else(|| explain(given.mismatch(&format!("a velocity of shape {:?}", x.shape()))))?;
        if found.shape() == x.shape() {
            return Ok(found);
        }
        Err(explain(Error::argument(format!(
            "expected a velocity of the images' shape {:?}, found {:?}",
            x.shape(),
            found.shape()
        ))))
    }
}
