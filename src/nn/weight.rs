//! Weight of a linear map, which code may change in every forward pass.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::Tensor;

/// Returns the weight to use instead of a weight [outputs, inputs].
pub type Change = Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// Creates the change of a weight, given its name and its value, or nothing if it stays as it is.
pub type Changes = Arc<dyn Fn(&mut Builder, &str, &Tensor) -> Result<Option<Change>> + Send + Sync>;

/// Weight of a linear map: a parameter and, if there is one, its change.
#[derive(Clone)]
pub struct Weight {
    own: Tensor,
    change: Option<Change>,
}

impl Weight {
    /// Creates `weight` and the parameters of its change.
    pub fn new(builder: &mut Builder, shape: &[i64], init: Init) -> Result<Self> {
        let own = builder.parameter("weight", shape, init)?;
        let change = builder.change(&own)?;
        Ok(builder.keep_changed(Self { own, change }))
    }

    /// Returns the parameter or, if it is changed, the weight [outputs, inputs] to use instead.
    ///
    /// The change is computed anew, so that gradients reach its parameters.
    pub fn get(&self) -> Result<Cow<'_, Tensor>> {
        match &self.change {
            None => Ok(Cow::Borrowed(&self.own)),
            Some(change) if self.own.rank() == 2 => change(&self.own).map(Cow::Owned),
            // A patch embedding is a linear map of the pixels of a patch.
            Some(change) => change(&self.own.flatten(1, -1)?).map(Cow::Owned),
        }
    }

    /// Returns whether the weight is changed.
    pub fn is_changed(&self) -> bool {
        self.change.is_some()
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = if self.change.is_some() { ", changed" } else { "" };
        write!(f, "weight {}{changed}", self.own.signature())
    }
}

/// Changes of the weights of a network that is being built.
#[derive(Default)]
pub(super) struct Changing {
    /// Creates changes, unless none are wanted.
    make: Option<Changes>,
    /// All weights since then that could be changed, by name.
    weights: Vec<(String, Weight)>,
}

impl fmt::Debug for Changing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.weights.iter().map(|(name, _)| name)).finish()
    }
}

/// Changes of weights.
impl Builder {
    /// Changes the weights of linear maps that are created from here on.
    pub fn change_weights(&mut self, changes: Changes) {
        self.changing.make = Some(changes);
    }

    /// Returns the weights that were created since [`Builder::change_weights`], by name, changed or not, and changes
    /// no others.
    pub fn changeable_weights(&mut self) -> Vec<(String, Weight)> {
        std::mem::take(&mut self.changing).weights
    }

    /// Runs `build`, in which no weights are changed: parts and corrections keep their own linear maps.
    pub fn unchanged<T>(&mut self, build: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let make = self.changing.make.take();
        let built = build(self);
        self.changing.make = make;
        built
    }

    fn change(&mut self, weight: &Tensor) -> Result<Option<Change>> {
        match self.changing.make.clone() {
            None => Ok(None),
            Some(make) => {
                let name = self.full_name("weight");
                make(self, &name, weight)
            }
        }
    }

    fn keep_changed(&mut self, weight: Weight) -> Weight {
        if self.changing.make.is_some() {
            self.changing.weights.push((self.full_name("weight"), weight.clone()));
        }
        weight
    }
}
