//! Moving averages of a model's weights, used for sampling.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::masters;
use crate::declare::{Display, IntoValue, Map, Options};
use crate::error::{Result, allow};
use crate::model::Model;
use crate::torch::placement::together;
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

/// Widths of power-function averages that can be tracked.
pub(super) const SIGMA_REL: RangeInclusive<f64> = 0.001..=0.28;

/// How much of the past an average remembers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Profile {
    /// The same decay at each update, or a smaller one at early updates.
    Exponential {
        /// Decay, from 0 (no memory) to 1 (no change).
        decay: f64,
        /// Whether early updates use a smaller decay.
        warmup: bool,
    },
    /// Weights of the updates that grow with a power of their number (EDM2, section 3.1).
    Power {
        /// Standard deviation of the weights' distribution over the updates, as a fraction of their number.
        sigma_rel: f64,
        /// The power that gives this standard deviation.
        power: f64,
    },
}

impl Profile {
    /// Returns the power-function profile of a length.
    pub fn power(sigma_rel: f64) -> Result<Self> {
        Ok(Self::Power { sigma_rel, power: power_of(sigma_rel)? })
    }

    /// Returns the decay of update `n`, counted from 0.
    fn decay_at(self, n: u64) -> f64 {
        match self {
            Self::Exponential { decay, warmup: true } => decay.min((1 + n) as f64 / (10 + n) as f64),
            Self::Exponential { decay, warmup: false } => decay,
            // The first update replaces the initial weights (equation 127).
            Self::Power { power, .. } => (1.0 - 1.0 / (n + 1) as f64).powf(power + 1.0),
        }
    }

    /// Returns the usual name of an average.
    fn name(self) -> String {
        match self {
            Self::Exponential { decay, .. } => decay.to_string(),
            Self::Power { sigma_rel, .. } => format!("power_{sigma_rel}"),
        }
    }

    /// Returns its constants by name.
    fn to_map(self) -> Map {
        let entries = match self {
            Self::Exponential { decay, warmup } => {
                vec![("decay", decay.into_value()), ("warmup", warmup.into_value())]
            }
            Self::Power { sigma_rel, .. } => vec![("sigma_rel", sigma_rel.into_value())],
        };
        entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }
}

/// Returns the exponent p of the weights `u^p` of updates u with the standard deviation `sigma_rel` relative to the number
/// of updates: `sigma_rel^2 = (p + 1) / ((p + 2)^2 (p + 3))` (EDM2, equation 123).
pub(super) fn power_of(sigma_rel: f64) -> Result<f64> {
    allow(SIGMA_REL.contains(&sigma_rel), "sigma_rel", "from 0.001 to 0.28", sigma_rel)?;
    // The length falls as the exponent grows, from 0.289 at 0.
    let (mut low, mut high) = (0.0, 2e3);
    for _ in 0..200 {
        let p: f64 = 0.5 * (low + high);
        let width = ((p + 1.0) / (p + 3.0)).sqrt() / (p + 2.0);
        if width > sigma_rel { low = p } else { high = p }
    }
    Ok(0.5 * (low + high))
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
    /// Averaged tensors, one for each parameter: its float32 master weights, or the parameter itself.
    tensors: Vec<Tensor>,
    profile: Profile,
    name: String,
    updates: AtomicU64,
}

scripted!(
    Ema,
    "ema",
    |e| Display::text(format!("{e:?}")),
    bytes = |e| e.0.model.bytes(),
    facts = |e| vec![("average", e.0.profile.name()), ("updates", e.updates().to_string())],
);

impl std::fmt::Debug for Ema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.profile {
            Profile::Exponential { decay, .. } => write!(f, "ema(decay {decay}, {} updates)", self.updates()),
            Profile::Power { sigma_rel, .. } => {
                write!(f, "ema(sigma_rel {sigma_rel}, {} updates)", self.updates())
            }
        }
    }
}

impl Ema {
    /// Creates an average that starts at the model's current weights. `decay` is from 0 (no memory) to 1 (no
    /// change).
    pub fn new(model: &Model, decay: f64, options: &EmaOptions) -> Result<Self> {
        Self::with(model, Profile::Exponential { decay, warmup: options.warmup }, "")
    }

    /// Creates an average that starts at the model's current weights; an empty name is the usual one.
    pub(super) fn with(model: &Model, profile: Profile, name: &str) -> Result<Self> {
        if let Profile::Exponential { decay, .. } = profile {
            allow((0.0..=1.0).contains(&decay), "decay", "from 0 to 1", decay)?;
        }
        let copy = model.copy()?;
        let average = |weight: &Tensor| Ok(masters::of(weight)?.unwrap_or_else(|| weight.clone()));
        let tensors = copy.parameters().iter().map(|(_, t)| average(t)).collect::<Result<_>>()?;
        let name = if name.is_empty() { profile.name() } else { name.to_string() };
        Ok(Self(Arc::new(Inner { model: copy, tensors, profile, name, updates: AtomicU64::new(0) })))
    }

    /// Creates a power-function average that starts at the model's current weights, which its first update replaces.
    pub fn power(model: &Model, sigma_rel: f64) -> Result<Self> {
        Self::with(model, Profile::power(sigma_rel)?, "")
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns how much of the past it remembers.
    pub fn profile(&self) -> Profile {
        self.0.profile
    }

    /// Moves the average towards the current weights of the model, which is on the average's device.
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
        together("the average", self.0.model.device(), [("the model", model.device())])?;
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
        self.0.profile.decay_at(n)
    }

    /// Returns the model with the averaged weights; it follows later updates.
    pub fn model(&self) -> Model {
        self.0.model.clone()
    }

    /// Returns its constants, name and number of updates as data.
    pub(super) fn about(&self) -> Map {
        let mut about = self.0.profile.to_map();
        about.insert("name".to_string(), self.0.name.clone().into_value());
        about.insert("updates".to_string(), self.updates().into_value());
        about
    }

    /// Returns the averages by name, in float32 for weights in bfloat16 and float16.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let names = self.0.model.parameters().iter().map(|(name, _)| name.clone());
        names.zip(self.0.tensors.iter().cloned()).collect()
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

    /// Returns an error unless the master weights in `saved` fit. Missing ones are initialized from the weights.
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

    /// Restores an average: weights by name after `prefix`, their float32 master weights by name, and the number of
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::model;

    /// The exponents are those of the public code of EDM2.
    #[test]
    fn exponents_of_widths() {
        for (width, expected) in [
            (0.03, 30.317371576870784),
            (0.05, 16.972198602303447),
            (0.1, 6.937203937601809),
            (0.2, 1.8262137798958404),
        ] {
            let found = power_of(width).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-12, "{width}: {found}");
        }
        assert!(power_of(0.3).is_err());
        let power = Profile::power(0.1).unwrap();
        assert_eq!(power.decay_at(0), 0.0);
        assert!((power.decay_at(49) - 0.85184302841977).abs() < 1e-12);
    }

    /// After many updates the weights of the updates have the given spread.
    #[test]
    fn a_power_function_average_has_its_width() {
        let (power, count) = (Profile::power(0.1).unwrap(), 2000u64);
        let mut shares = vec![0.0; count as usize];
        for n in 0..count {
            let decay = power.decay_at(n);
            shares.iter_mut().for_each(|share| *share *= decay);
            shares[n as usize] += 1.0 - decay;
        }
        let moment = |k: i32| {
            shares.iter().enumerate().map(|(i, s)| s * (i as f64 / count as f64).powi(k)).sum::<f64>()
        };
        assert!((moment(0) - 1.0).abs() < 1e-12);
        assert!(((moment(2) - moment(1).powi(2)).sqrt() - 0.1).abs() < 1e-3);
    }

    #[test]
    fn the_first_update_of_a_power_function_average_forgets_the_start() {
        let (start, next) = (model(0), model(1));
        let ema = Ema::power(&start, 0.1).unwrap();
        ema.update(&next).unwrap();
        for ((_, a), (_, b)) in ema.model().parameters().iter().zip(next.parameters()) {
            assert!(a.allclose(b, 1e-6, 1e-7).unwrap());
        }
        assert_eq!(format!("{ema:?}"), "ema(sigma_rel 0.1, 1 updates)");
    }
}
