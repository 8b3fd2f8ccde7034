//! User-defined networks: velocity fields computed by a user function.

pub(crate) mod api;

pub use api::{OwnOptions, model};

use super::parts::built::make;
use super::parts::call::{At, Seen};
use super::parts::{Call, Pass};
use crate::context::Context;
use crate::declare::{Code, FromValue, Function, IntoValue, Map, Value, entry};
use crate::ensure;
use crate::error::{Error, Result, allow};
use crate::nn::shared_builder::Facts;
use crate::nn::{Builder, SharedBuilder};
use crate::torch::{DType, Tensor};

/// Inputs and outputs of a user-defined network, and the function that builds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Own {
    /// Name in messages and tables.
    pub name: String,
    /// Channels, height and width of the images.
    pub image_shape: [i64; 3],
    /// Number of classes K; label K is the null label.
    pub num_classes: i64,
    /// Probability with which training replaces a label by the null label.
    pub class_dropout_prob: f64,
    /// Element type of the parameters.
    pub dtype: DType,
    /// Function that takes a builder when the model is built and returns the function of images, times and labels.
    pub make: Code,
}

impl Own {
    /// Checks all settings and returns an error for the first invalid one.
    pub fn check(&self) -> Result<()> {
        let sizes = self.image_shape.iter().all(|size| *size >= 1);
        allow(sizes, "image_shape", "[C, H, W], each at least 1", format_args!("{:?}", self.image_shape))?;
        allow(self.num_classes >= 1, "classes", "at least 1", self.num_classes)?;
        allow(
            (0.0..=1.0).contains(&self.class_dropout_prob),
            "class_dropout_prob",
            "from 0 to 1",
            self.class_dropout_prob,
        )?;
        ensure!(self.dtype.is_float(), "the dtype of a model must be a float, found {}", self.dtype.name());
        Ok(())
    }

    /// Returns the properties of its builder.
    pub(super) fn facts(&self) -> Facts {
        let [channels, height, _] = self.image_shape;
        vec![("channels", channels), ("classes", self.num_classes), ("grid", height)]
    }

    /// Compiles code that was read from a file.
    pub fn compiled(self, context: &Context) -> Result<Self> {
        Ok(Self { make: self.make.compiled(context)?, ..self })
    }

    /// Returns all fields by name.
    pub fn to_map(&self) -> Map {
        let entries = [
            ("name", self.name.clone().into_value()),
            ("image_shape", self.image_shape.to_vec().into_value()),
            ("num_classes", self.num_classes.into_value()),
            ("class_dropout_prob", self.class_dropout_prob.into_value()),
            ("dtype", self.dtype.into_value()),
            ("make", self.make.to_data().unwrap_or(Value::Unit)),
        ];
        entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    /// Restores a network from the output of [`Own::to_map`].
    pub fn from_map(map: &Map) -> Result<Self> {
        fn field<T: FromValue>(map: &Map, name: &str) -> Result<T> {
            entry(map, "a stored network", name)
        }
        let own = Self {
            name: field(map, "name")?,
            image_shape: shape(&field::<Vec<i64>>(map, "image_shape")?)?,
            num_classes: field(map, "num_classes")?,
            class_dropout_prob: field(map, "class_dropout_prob")?,
            dtype: field(map, "dtype")?,
            make: Code::stored(map.get("make").cloned().unwrap_or(Value::Unit)),
        };
        own.check()?;
        Ok(own)
    }
}

/// Converts sizes to channels, height and width.
pub fn shape(sizes: &[i64]) -> Result<[i64; 3]> {
    <[i64; 3]>::try_from(sizes)
        .map_err(|_| Error::not_allowed("image_shape", "[C, H, W]", format_args!("{sizes:?}")))
}

/// A user-defined network with its parameters.
pub(super) struct Network {
    run: Function,
}

impl Network {
    /// Builds all parameters.
    pub fn new(builder: &mut Builder, own: &Own) -> Result<Self> {
        Ok(Self {
            run: SharedBuilder::lend(builder, own.facts(), |shared| make(own.make.function()?, shared))?,
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
