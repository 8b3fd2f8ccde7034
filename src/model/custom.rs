//! User-defined networks: velocity fields computed by a user function.

pub(crate) mod api;

pub use api::{NetworkOptions, model};

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dit::Traced;
use super::parts::built::{Passing, Steps, make};
use super::parts::call::{At, Own, Seen};
use super::parts::weight::Around;
use super::parts::{self, Blocks, Call, Part, Pass, Place};
use crate::context::Context;
use crate::declare::{Code, FromValue, Function, IntoValue, Map, OneOrMany, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::nn::shared_builder::Facts;
use crate::nn::{Builder, SharedBuilder, Weight};
use crate::spectral::gate::Condition;
use crate::torch::autograd::is_recording;
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
    /// Parts at `image`, `velocity` and `weight`, in order; other places are inside of the network.
    #[option(default = OneOrMany::default())]
    pub parts: OneOrMany<Part>,
}

/// Key of the parts in the stored form.
const PARTS: &str = "parts";

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
        for part in &interface.parts.0 {
            part.place()?.check_of_network(part)?;
            if part.correction().is_some() {
                return Err(Error::argument(format!(
                    "the places of a custom network take parts made of code, found the {part}"
                ))
                .hint("blocks take corrections: `b.dit_block(name, width, heads, #{ grid, corrections })`"));
            }
            if *part.blocks() != Blocks::All {
                return Err(Error::argument(format!(
                    "a custom network has no numbered blocks, found the {part}"
                ))
                .hint("select weights by `names`: `.at(\"weight\", #{ names: \"blocks.3.*\" })`"));
            }
        }
        parts::check(&interface.parts, 1)
    }

    /// Returns the properties of its builder.
    pub(super) fn facts(&self) -> Facts {
        let (channels, height, _) = self.interface.image_shape;
        vec![("channels", channels), ("classes", self.interface.num_classes), ("grid", height)]
    }

    /// Compiles code that was read from a file.
    pub fn compiled(self, context: &Context) -> Result<Self> {
        let parts = self.interface.parts.iter().map(|part| part.compiled(context)).collect::<Result<_>>()?;
        let make = self.make.compiled(context)?;
        Ok(Self { make, interface: Interface { parts, ..self.interface } })
    }

    /// Returns the stored form.
    pub fn to_map(&self) -> Map {
        let mut map = self.interface.to_map();
        // Files of networks without parts are those of older versions.
        if self.interface.parts.is_empty() {
            map.remove(PARTS);
        }
        map.insert(MAKE.to_string(), self.make.to_data().unwrap_or(Value::Unit));
        map
    }

    /// Restores a network from the output of [`CustomNetwork::to_map`].
    pub fn from_map(mut map: Map) -> Result<Self> {
        let make = Code::stored(map.remove(MAKE).unwrap_or(Value::Unit));
        let parts = map.remove(PARTS).map(|parts| OneOrMany::from_stored(&parts)).transpose();
        let parts = parts.map_err(|e| e.context(format!("`{PARTS}`")))?.unwrap_or_default();
        let network = Self { interface: Interface { parts, ..Interface::from_map(&map)? }, make };
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
    image: Steps,
    velocity: Steps,
    /// Weights that parts change, by name.
    changed: Vec<(String, Weight)>,
}

impl Network {
    /// Builds all parameters.
    pub fn new(builder: &mut Builder, custom: &CustomNetwork) -> Result<Self> {
        let (facts, parts) = (custom.facts(), &custom.interface.parts);
        let (run, changed) = Around::new(parts, None, facts.clone()).with_changes(builder, |builder| {
            SharedBuilder::lend(builder, facts.clone(), |shared| make(custom.make.function()?, shared, FORMS))
        })?;
        let mut at = |place| Steps::of_network(builder, parts, place, &facts);
        let (image, velocity) = (at(Place::Image)?, at(Place::Velocity)?);
        Ok(Self { run, null: custom.interface.num_classes, image, velocity, changed })
    }

    /// Returns the weights that parts change, by name.
    pub fn changed(&self) -> &[(String, Weight)] {
        &self.changed
    }

    /// Maps images [B, C, H, W], times `[B]` and labels `[B]` to velocities [B, C, H, W].
    ///
    /// If `trace` is given, the intermediate results of blocks that get the call are appended to it.
    pub fn forward(
        &self,
        x: &Tensor,
        t: &Tensor,
        y: &Tensor,
        pass: &Pass,
        trace: Option<Traced>,
    ) -> Result<Tensor> {
        let takes_call = self.run.takes() == Some(4);
        if !takes_call && self.image.is_empty() && self.velocity.is_empty() && !pass.recompute {
            return self.velocity_of(x, [t, y], None);
        }
        let own = Own { trace, ..Own::default() };
        let recomputed = Arc::clone(&own.recomputed);
        let seen = Arc::new(Seen {
            x: x.clone(),
            t: t.clone(),
            y: y.clone(),
            time: None,
            label: None,
            both: None,
            grid: [x.size(2)?, x.size(3)?],
            null: self.null,
            own,
        });
        let passing = Passing { seen: Arc::clone(&seen), pass: pass.clone() };
        // Parts made of code read the call alone.
        let condition = Condition { t, time: t, time_label: t, grid: None };
        let through = |steps: &Steps, value| steps.apply(value, At::default(), &condition, &passing);
        let call = takes_call.then(|| Call::new(&seen, pass, At::default()));
        let v = self.velocity_of(&through(&self.image, x.clone())?, [t, y], call)?;
        if pass.recompute && is_recording() && !recomputed.load(Ordering::Relaxed) {
            return Err(Error::argument(
                "`checkpoint_activations` computes blocks of a custom network again that get the call, found none",
            )
            .hint(
                "in `|x, t, y, c| ..`, call the blocks of `b.dit_block` with `c.with_embeddings(time, label)`; others save \
                 memory with `accumulate: 2` or more",
            ));
        }
        through(&self.velocity, v)
    }

    /// Calls the function, which must return a velocity of the shape of the images.
    fn velocity_of(&self, x: &Tensor, [t, y]: [&Tensor; 2], call: Option<Call>) -> Result<Tensor> {
        let mut arguments = vec![x.clone().into_value(), t.clone().into_value(), y.clone().into_value()];
        arguments.extend(call.map(IntoValue::into_value));
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
