//! Models with additional parts, and without.

use super::{Model, Network, other_parameters};
use crate::error::{Error, Result};
use crate::model::design::Design;
use crate::model::parts::{Part, Pass};
use crate::nn::Builder;
use crate::torch::{DType, Device, Fields, Generator, Tensor, no_grad};

impl Model {
    /// Returns the same network with additional parts, which shares its weights with this one.
    ///
    /// The parameters of the parts are drawn from the seed; those of this model are unchanged, including frozen
    /// ones. Weights of a module that a part replaces are left out.
    pub fn attach(&self, parts: &[Part], seed: i64) -> Result<Self> {
        let all = self.0.design.parts().iter().chain(parts).cloned().collect();
        let builder = Builder::sharing(self.parameters(), seed, self.dtype(), self.device());
        let grown = Self::build(self.0.design.clone().with_parts(all), builder)?;
        // A module that a part replaces has no weights; anything else that is missing is code that made other names.
        let replaces = parts.iter().any(Part::replaces);
        let lost = |name: &str| !replaces || name.split('.').any(|word| word == "parts");
        let found = |name: &String| grown.parameters().iter().any(|(own, _)| own == name);
        match self.parameters().iter().find(|(name, _)| lost(name) && !found(name)) {
            None => Ok(grown),
            Some((missing, _)) => Err(other_parameters(&format!(
                "the extended model has no parameter `{missing}`, which the model has"
            ))),
        }
    }

    /// Returns the model without its parts at `weight`, whose changes become part of its weights; it shares nothing with
    /// this one. Other parts stay.
    pub fn merge(&self) -> Result<Self> {
        let changed = match &self.0.network {
            Network::Dit(dit) => dit.changed(),
            Network::Custom(network) => network.changed(),
        };
        if changed.is_empty() {
            return Err(Error::argument("the model has no parts at `weight` to merge into its weights")
                .hint(
                    "parts that change weights are placed with `.at(\"weight\")`, such as `ideas::lora()`",
                ));
        }
        let others = self.0.design.parts().iter().filter(|part| !part.changes_weights());
        let merged = Self::blank(self.0.design.clone().with_parts(others.cloned().collect()), self.device())?;
        let owners: Vec<String> = changed
            .iter()
            .filter_map(|(name, _)| Some(format!("{}parts.", name.strip_suffix("weight")?)))
            .collect();
        let own =
            self.parameters().iter().filter(|(name, _)| !owners.iter().any(|owner| name.starts_with(owner)));
        no_grad(|| {
            // Parts without a name have another index now, but parameters the same order.
            for ((_, target), (name, source)) in merged.parameters().iter().zip(own) {
                match changed.iter().find(|(weight, _)| weight == name) {
                    Some((_, weight)) => target.copy_(&weight.get()?.reshape(&target.shape())?)?,
                    None => target.copy_(source)?,
                }
                target.set_requires_grad(source.requires_grad())?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(merged)
    }

    /// Returns a user-defined network without its parts, which shares its weights with this one; `None` if it has none.
    pub(in crate::model) fn without_parts(&self) -> Result<Option<Self>> {
        let design = &self.0.design;
        if design.parts().is_empty() || matches!(design, Design::Dit(_)) {
            return Ok(None);
        }
        let same = Builder::sharing(self.parameters(), 0, self.dtype(), self.device());
        Self::build(design.clone().with_parts(Vec::new()), same).map(Some)
    }

    /// Returns whether the parts and corrections, with their current parameters, change nothing.
    ///
    /// The plain DiT, or the user-defined network without its parts, with the same weights must return the same bits when
    /// all of those weights are random.
    pub fn starts_plain(&self) -> Result<bool> {
        self.starts_plain_with(&Fields::default())
    }

    /// Same as [`Model::starts_plain`], with fields of two images for parts that read them.
    pub fn starts_plain_with(&self, fields: &Fields) -> Result<bool> {
        if self.0.design.parts().iter().any(Part::replaces) {
            return Ok(false);
        }
        let all = self.copy()?;
        let same = Builder::sharing(all.parameters(), 0, self.dtype(), self.device());
        let plain = Self::build(self.0.design.clone().plain(), same)?;
        let generator = Generator::new(0, Device::Cpu)?;
        let draw = |shape: &[i64]| Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator));
        for (_, parameter) in plain.parameters() {
            parameter.copy_(&draw(&parameter.shape())?.mul_scalar(0.1)?)?;
        }
        let [channels, height, width] = self.image_shape();
        let x = draw(&[2, channels, height, width])?.to_dtype(self.dtype())?.to_device(self.device())?;
        let t = Tensor::from_f32(&[0.25, 0.75], &[2])?.to_device(self.device())?;
        let y = Tensor::from_i64(&[0, self.last_label()], &[2])?.to_device(self.device())?;
        let pass = Pass { fields: fields.to_device(self.device())?, ..Pass::default() };
        no_grad(|| all.observe(&x, &t, &y, &pass)?.equal(&plain.forward_with(&x, &t, &y, &pass.fields)?))
    }
}
