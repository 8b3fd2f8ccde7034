//! Exponential moving average of a model's weights, used for sampling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::masters;
use crate::declare::{Display, Options};
use crate::error::{Result, allow};
use crate::model::Model;
use crate::torch::{Tensor, optim, uninterrupted};
use crate::{ensure, scripted};

/// Options of [`Ema`].
#[derive(Debug, Clone, Options)]
pub struct EmaOptions {
    /// Whether early updates use the smaller decay `(1 + n) / (10 + n)` at the n-th update, so that short runs
    /// do not average over their random initialization; from n = 9 decay / (1 - decay) on it changes nothing.
    #[option(default = false)]
    pub warmup: bool,
}

/// A model with averaged weights: `ema += (1 - decay) (weights - ema)` at each update.
///
/// Weights in bfloat16 or float16 are averaged in float32 and rounded for the model; otherwise the small steps of
/// the average would be lost. Clones share the average. The warm-up is that of `tf.train.ExponentialMovingAverage`
/// with `num_updates`.
#[derive(Clone)]
pub struct Ema(Arc<Inner>);

struct Inner {
    model: Model,
    /// Averaged tensors, one for each parameter: its float32 master, or the parameter itself.
    tensors: Vec<Tensor>,
    decay: f64,
    warmup: bool,
    updates: AtomicU64,
}

scripted!(
    Ema,
    "ema",
    |e| Display::text(format!("{e:?}")),
    bytes = |e| e.0.model.bytes(),
    facts = |e| vec![("decay", e.0.decay.to_string()), ("updates", e.updates().to_string())],
);

impl std::fmt::Debug for Ema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ema(decay {}, {} updates)", self.0.decay, self.updates())
    }
}

impl Ema {
    /// Creates an average that starts at the model's current weights. `decay` is from 0 (no memory) to 1 (no
    /// change).
    pub fn new(model: &Model, decay: f64, options: &EmaOptions) -> Result<Self> {
        allow((0.0..=1.0).contains(&decay), "decay", "from 0 to 1", decay)?;
        let copy = model.copy()?;
        let average = |weight: &Tensor| Ok(masters::of(weight)?.unwrap_or_else(|| weight.clone()));
        let tensors = copy.parameters().iter().map(|(_, t)| average(t)).collect::<Result<_>>()?;
        let updates = AtomicU64::new(0);
        Ok(Self(Arc::new(Inner { model: copy, tensors, decay, warmup: options.warmup, updates })))
    }

    /// Moves the average towards the model's current weights.
    pub fn update(&self, model: &Model) -> Result<()> {
        self.follow(model, None)
    }

    /// Like [`Ema::update`], but does nothing if `skip`, a float32 scalar on the device, holds 1.
    ///
    /// The update is counted either way; [`Ema::uncount`] corrects the count once `skip` has been read.
    pub(super) fn update_unless(&self, skip: &Tensor, model: &Model) -> Result<()> {
        self.follow(model, Some(skip))
    }

    /// Subtracts `updates` from the count.
    pub(super) fn uncount(&self, updates: u64) {
        self.0.updates.fetch_sub(updates.min(self.updates()), Ordering::Relaxed);
    }

    fn follow(&self, model: &Model, skip: Option<&Tensor>) -> Result<()> {
        let weights: Vec<Tensor> = model.parameters().iter().map(|(_, t)| t.clone()).collect();
        let rounded: Vec<(&Tensor, &Tensor)> =
            self.mastered().map(|(_, master, own)| (master, own)).collect();
        // libtorch would silently broadcast a smaller weight.
        ensure!(
            weights.len() == self.0.tensors.len()
                && weights.iter().zip(&self.0.tensors).all(|(a, b)| a.shape() == b.shape()),
            "the average was created for a model with different parameter shapes"
        );
        uninterrupted(|| {
            let n = self.0.updates.fetch_add(1, Ordering::Relaxed);
            let weight = 1.0 - self.decay_at(n);
            let ends =
                weights.iter().zip(&self.0.tensors).map(|(w, average)| w.detach()?.to_dtype(average.dtype()));
            let ends = ends.collect::<Result<Vec<_>>>()?;
            rounded.iter().try_for_each(|(master, own)| masters::follow(master, own))?;
            match skip {
                None => optim::lerp_all(&self.0.tensors, &ends, weight),
                Some(skip) => optim::lerp_all_unless(skip, &self.0.tensors, &ends, weight),
            }?;
            rounded.iter().try_for_each(|(master, own)| masters::round(master, own))
        })
    }

    /// Returns the decay of update `n`, counted from 0.
    pub fn decay_at(&self, n: u64) -> f64 {
        match self.0.warmup {
            true => self.0.decay.min((1 + n) as f64 / (10 + n) as f64),
            false => self.0.decay,
        }
    }

    /// Returns the model with the averaged weights; it follows later updates.
    pub fn model(&self) -> Model {
        self.0.model.clone()
    }

    /// Returns the highest decay, and whether early updates use a smaller one.
    pub fn settings(&self) -> (f64, bool) {
        (self.0.decay, self.0.warmup)
    }

    /// Returns the float32 averages of bfloat16 and float16 weights by name, which a checkpoint stores in addition
    /// to the weights.
    pub fn masters(&self) -> BTreeMap<String, Tensor> {
        self.mastered().map(|(name, master, _)| (name.to_string(), master.clone())).collect()
    }

    /// Iterates over name, master and weight of the parameters with a master.
    fn mastered(&self) -> impl Iterator<Item = (&str, &Tensor, &Tensor)> {
        let parameters = self.0.model.parameters().iter().zip(&self.0.tensors);
        let all = parameters.map(|((name, own), average)| (name.as_str(), average, own));
        all.filter(|(_, average, own)| average.dtype() != own.dtype())
    }

    /// Returns an error unless the masters in `saved` fit. Missing masters are initialized from the weights.
    pub fn check_masters(&self, saved: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, tensor) in saved {
            let own = self.mastered().find(|(own, ..)| own == name).map(|(_, master, _)| master);
            ensure!(
                own.is_some_and(|own| own.shape() == tensor.shape() && own.dtype() == tensor.dtype()),
                "the average has no float32 master `{name}` that is a {}",
                tensor.signature()
            );
        }
        Ok(())
    }

    /// Restores an average: weights by name after `prefix`, their float32 masters by name, and the number of
    /// updates. Checks everything first.
    pub fn restore(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        saved: &BTreeMap<String, Tensor>,
        prefix: &str,
        updates: u64,
    ) -> Result<()> {
        self.check_masters(saved)?;
        self.0.model.assign(tensors, prefix)?;
        for (name, master, own) in self.mastered() {
            master.copy_(saved.get(name).unwrap_or(own))?;
        }
        self.0.updates.store(updates, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the number of updates.
    pub fn updates(&self) -> u64 {
        self.0.updates.load(Ordering::Relaxed)
    }
}
