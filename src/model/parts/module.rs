//! Modules of a block: the usual one or the part that replaces it, and the parts around it.

use std::sync::Arc;

use super::built::{Running, Steps};
use super::call::{At, Within};
use super::coefficients::Coefficients;
use super::{Part, Place};
use crate::declare::IntoValue;
use crate::error::{Error, Result};
use crate::model::Config;
use crate::model::dit::Forward;
use crate::nn::{Builder, ModulatedNorm};
use crate::spectral::correction::add_gated;
use crate::torch::Tensor;
use crate::torch::unwritten::unwritten;

/// A module of a block, or the part that replaces it.
pub(in crate::model) enum Module<M> {
    Usual(M),
    Part(Running),
}

impl<M: std::fmt::Debug> std::fmt::Debug for Module<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Module::Usual(usual) => usual.fmt(f),
            Module::Part(part) => f.write_str(&part.what()),
        }
    }
}

impl<M> Module<M> {
    /// Returns the usual module, if it was built, or builds the part that replaces it.
    pub fn new(
        usual: Option<M>,
        builder: &mut Builder,
        config: &Config,
        (place, block): (Place, i64),
    ) -> Result<Self> {
        match usual {
            Some(usual) => Ok(Module::Usual(usual)),
            None => config.replacement(builder, place, block).map(Module::Part),
        }
    }

    /// Returns the usual module, unless a part replaces it.
    pub fn usual(&self) -> Option<&M> {
        match self {
            Module::Usual(usual) => Some(usual),
            Module::Part(_) => None,
        }
    }
}

impl Module<ModulatedNorm> {
    /// Returns the residual stream and its normalized and modulated tokens, as [`ModulatedNorm::forward`]; what a part
    /// returns is modulated.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<(&Tensor, &Tensor)>,
        (shift, scale): (&Tensor, &Tensor),
        run: &Forward,
    ) -> Result<(Tensor, Tensor)> {
        let part = match self {
            Module::Usual(norm) => return norm.forward(x, residual, shift, scale),
            Module::Part(part) => part,
        };
        let stream = match residual {
            None => x.clone(),
            Some((m, gate)) => add_gated(x, m, gate, &[], &run.condition())?,
        };
        let at = At { stream: Some(stream.clone()), ..At::default() };
        let normal = unwritten(&[("the tokens", &stream)], || part.run(&stream, run.passing()?, at))?;
        Ok((stream, normal.mul(&scale.add_scalar(1.0)?)?.add(shift)?))
    }
}

/// adaLN of a block, with the parts that change its coefficients.
#[derive(Debug)]
pub(in crate::model) struct Modulation<M> {
    pub ada_ln: Module<M>,
    pub steps: Steps,
}

impl<M> Modulation<M> {
    /// Returns the coefficients of a block, which `usual` computes with the usual adaLN.
    pub fn forward(
        &self,
        run: &Forward,
        usual: impl FnOnce(&M) -> Result<[Tensor; 6]>,
    ) -> Result<[Tensor; 6]> {
        let all = match &self.ada_ln {
            Module::Usual(ada_ln) => usual(ada_ln)?,
            Module::Part(part) => {
                let embedding = run.embedding();
                // With times of pixels each token has an embedding and coefficients of its own.
                let like = if embedding.rank() == 2 { embedding.unsqueeze(1)? } else { embedding.clone() };
                let value = embedding.clone().into_value();
                unwritten(&[("the embeddings", embedding)], || {
                    part.run_coefficients(value, &like, run.passing()?)
                })?
                .0
            }
        };
        match self.steps.is_empty() {
            true => Ok(all),
            false => Ok(self.steps.coefficients(Coefficients(all), run.passing()?)?.0),
        }
    }
}

/// A map of tokens: attention or the MLP, with the parts inside of it.
pub(in crate::model) trait OfTokens: Send + Sync + 'static {
    /// Maps tokens [B, N, D] to the same shape.
    fn forward(&self, x: &Tensor, run: &Forward) -> Result<Tensor>;
}

/// Attention or the MLP, with the parts around it. Calls of the parts share it.
#[derive(Debug)]
pub(in crate::model) struct Surrounded<M> {
    module: Arc<Module<M>>,
    around: Arc<Steps>,
}

impl<M: OfTokens> Surrounded<M> {
    pub fn new(module: Module<M>, around: Steps) -> Self {
        Self { module: Arc::new(module), around: Arc::new(around) }
    }

    /// Returns the usual module, unless a part replaces it.
    pub fn usual(&self) -> Option<&M> {
        self.module.usual()
    }

    /// Maps normalized tokens x [B, N, D] to the residual that is added to `stream`.
    pub fn forward(&self, x: &Tensor, stream: &Tensor, run: &Forward) -> Result<Tensor> {
        if self.around.is_empty() {
            return apply(&self.module, x, stream, run);
        }
        let (module, to, shared) = (Arc::clone(&self.module), stream.clone(), run.clone());
        let inner: Within = Arc::new(move |x: &Tensor, _: Option<&Tensor>| apply(&module, x, &to, &shared));
        self.around.surround(x, stream, run.passing()?, inner)
    }
}

fn apply<M: OfTokens>(module: &Module<M>, x: &Tensor, stream: &Tensor, run: &Forward) -> Result<Tensor> {
    match module {
        Module::Usual(usual) => usual.forward(x, run),
        Module::Part(part) => {
            part.run(x, run.passing()?, At { stream: Some(stream.clone()), ..At::default() })
        }
    }
}

/// Returns an error if two parts replace the module of a block, or a part stands inside of a module that another one replaces.
pub(super) fn check(parts: &[Part], depth: i64) -> Result<()> {
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| part.replaces()) {
        let (place, blocks) = (part.place()?, part.blocks().of(depth)?);
        place.check_replaced().map_err(|e| e.context(format!("the {part}")))?;
        for (other_index, other) in parts.iter().enumerate() {
            let shared = match other.place()?.in_blocks() && other_index != index {
                true => other.blocks().of(depth)?.into_iter().find(|block| blocks.contains(block)),
                false => None,
            };
            let Some(block) = shared else { continue };
            let (own, theirs) = (part.title(), other.title());
            if other.replaces() && other.place()? == place {
                return Err(Error::argument(format!(
                    "the {own} and the {theirs} both replace the module of block {block}"
                ))
                .hint("give them different blocks: `.at(place, #{ blocks })`"));
            }
            if other.place()?.module() == Some(place) {
                return Err(Error::argument(format!(
                    "the {theirs} is inside of a module that the {own} replaces in block {block}"
                ))
                .hint("give them different blocks: `.at(place, #{ blocks })`, or leave one of them out"));
            }
        }
    }
    Ok(())
}
