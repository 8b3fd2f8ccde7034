//! The optimizer: AdamW, or Muon or a function for some parameters, with state that can be saved.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clip::{excess, no_gradients};
use super::custom::{Custom, CustomOptions, Item, Staged};
use super::groups::{self, Groups};
use super::muon::{Muon, MuonOptions};
use super::{Parameters, masters};
use crate::context::Context;
use crate::declare::{Display, IntoValue, Map, Options, Value};
use crate::error::{Error, Result, allow};
use crate::scripted;
use crate::torch::autograd::is_spent;
use crate::torch::optim::{AdamW, Slots, clear_grads, global_norm};
use crate::torch::{DType, Device, Tensor, no_grad, uninterrupted};

/// Options of AdamW.
#[derive(Debug, Clone, Options)]
pub struct AdamWOptions {
    /// Learning rate.
    #[option(default = 1e-4, range = 0.0..=1000.0)]
    pub lr: f64,
    /// Decay rates of the first and the second moment.
    #[option(default = (0.9, 0.99), range = 0.0..1.0)]
    pub betas: (f64, f64),
    /// Decoupled weight decay: each update first multiplies the parameters by `1 - lr weight_decay`.
    #[option(default = 0.0, range = 0.0..=1000.0)]
    pub weight_decay: f64,
    /// Added to the square root of the second moment.
    #[option(default = 1e-8, range = 0.0..=1.0)]
    pub eps: f64,
    /// Parameter groups with their own constants: maps with `match`, a glob such as `"*.bias"` or an array of
    /// globs, and any of `lr`, `weight_decay`, `betas` and `eps`. A parameter belongs to the first group that
    /// matches its name.
    pub groups: Groups,
}

/// Optimizer over named parameters; clones share its state. All are updated by AdamW (Loshchilov and Hutter 2019,
/// algorithm 2), unless some are given to [Muon](super::muon) or to a function.
///
/// Parameters in bfloat16 or float16 have float32 master weights. Updates go to these, which are then rounded
/// into the parameters; their moments are float32 too. An update whose loss or gradient is not finite changes
/// nothing: the check runs on the device, and [`Optimizer::verify`] turns it into an error.
#[derive(Clone)]
pub struct Optimizer(Arc<Inner>);

struct Inner {
    names: Vec<String>,
    params: Vec<Tensor>,
    /// Parameters of the model that were frozen when the optimizer was made.
    frozen: Vec<(String, Tensor)>,
    /// Whether a user was told that some of them are not frozen any more.
    told: AtomicBool,
    /// Float32 master weights of parameters in bfloat16 or float16.
    masters: Vec<Option<Tensor>>,
    /// First moments, or momenta of parameters that Muon updates; none of those that a function updates.
    first: Vec<Option<Tensor>>,
    /// Second moments of parameters that AdamW updates.
    second: Vec<Option<Tensor>>,
    steps: Vec<Tensor>,
    groups: Groups,
    /// Group of each parameter; 0 if it is in none.
    members: Vec<usize>,
    muon: Option<MuonOptions>,
    /// Rule that is a function, with its state.
    custom: Option<Custom>,
    /// Index into `given` and the current rules for each parameter.
    ruled: Vec<usize>,
    /// Update rules as configured: that of AdamW for parameters in no group, then those of groups, then the same of Muon
    /// or the function if some parameters are its own.
    given: Vec<Rule>,
    mutable: Mutex<Mutable>,
}

/// Update rule of some parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    AdamW(AdamW),
    Muon(Muon),
    /// Constants that a function receives.
    Custom(AdamW),
}

/// What updates the parameters that AdamW does not update.
#[derive(Clone, Copy)]
enum Other<'a> {
    None,
    Muon(&'a MuonOptions),
    Custom(&'a CustomOptions),
}

impl Rule {
    fn lr(&self) -> f64 {
        match self {
            Self::AdamW(rule) | Self::Custom(rule) => rule.lr,
            Self::Muon(rule) => rule.lr,
        }
    }

    fn set_lr(&mut self, lr: f64) {
        match self {
            Self::AdamW(rule) | Self::Custom(rule) => rule.lr = lr,
            Self::Muon(rule) => rule.lr = lr,
        }
    }

    fn update(&self, slots: &Slots, scale: Option<&Tensor>, skip: &Tensor) -> Result<()> {
        match self {
            Self::AdamW(rule) => rule.update(slots, scale, Some(skip)),
            Self::Muon(rule) => rule.update(slots, scale, skip),
            Self::Custom(_) => Err(Error::internal("a function gets no lists of tensors")),
        }
    }
}

struct Mutable {
    /// Update rules with the current learning rates.
    rules: Vec<Rule>,
    updates: u64,
    /// Number of the first update that was not finite, or zero: a scalar on the parameters' device.
    failed: Tensor,
}

scripted!(
    Optimizer,
    "optimizer",
    |o| Display::text(format!("{o:?}")),
    // The parameters belong to the model, so they are not counted.
    bytes = |o| o.slots().map(|(_, state)| state.bytes()).sum(),
    facts = |o| vec![
        ("tensors", o.0.params.len().to_string()),
        ("updates", o.updates().to_string()),
        ("lr", o.lr().to_string()),
        ("device", o.device().to_string()),
    ],
);

impl fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdamWOptions { lr, betas: (beta1, beta2), weight_decay, .. } = self.settings();
        let (tensors, updates) = (self.0.params.len(), self.updates());
        let groups = self.0.groups.lines(&self.0.members);
        if let Some(muon) = &self.0.muon {
            let own = self.0.second.iter().filter(|second| second.is_none()).count();
            let (lr, momentum) = (self.other_lr(), muon.momentum);
            write!(
                f,
                "muon(lr {lr}, momentum {momentum}, weight_decay {}, {own} matrices) and ",
                muon.weight_decay
            )?;
        }
        if let Some(custom) = &self.0.custom {
            let own = (0..tensors).filter(|i| custom.takes(*i)).count();
            let (title, lr) = (custom.options().title(), self.other_lr());
            if own == tensors {
                return write!(f, "{title}(lr {lr}, {tensors} tensors, {updates} updates){groups}");
            }
            write!(f, "{title}(lr {lr}, {own} tensors) and ")?;
        }
        write!(f, "adamw(lr {lr}, betas [{beta1}, {beta2}], weight_decay {weight_decay}, ")?;
        write!(f, "{tensors} tensors, {updates} updates){groups}")
    }
}

impl Optimizer {
    /// Creates an optimizer with zero moments.
    pub fn new(parameters: &Parameters, options: &AdamWOptions) -> Result<Self> {
        Self::with(parameters, options, Other::None)
    }

    /// Creates an optimizer that updates matrices by Muon and all other parameters by AdamW, with zero moments.
    pub fn muon(parameters: &Parameters, muon: &MuonOptions, options: &AdamWOptions) -> Result<Self> {
        muon.check()?;
        Self::with(parameters, options, Other::Muon(muon))
    }

    /// Creates an optimizer that updates parameters by a function, and those that it does not take by AdamW.
    pub fn custom(parameters: &Parameters, custom: &CustomOptions, options: &AdamWOptions) -> Result<Self> {
        custom.check_functions()?;
        let mut options = options.clone();
        if custom.takes(parameters)?.iter().all(|taken| *taken) {
            // The rates that texts and logs show are then those of the function.
            options.lr = custom.lr.unwrap_or(options.lr);
            options.weight_decay = custom.weight_decay.unwrap_or(options.weight_decay);
        }
        Self::with(parameters, &options, Other::Custom(custom))
    }

    fn with(parameters: &Parameters, options: &AdamWOptions, other: Other) -> Result<Self> {
        options.check()?;
        let params = parameters.tensors();
        let moment = |p: &Tensor| Tensor::zeros(&p.shape(), masters::state_dtype(p), p.device());
        let device = params[0].device();
        let zero = || Tensor::zeros(&[], DType::Float32, device);
        let members = options.groups.assign(parameters)?;
        let taken = match other {
            Other::Muon(muon) => muon.takes(parameters)?,
            Other::Custom(custom) => custom.takes(parameters)?,
            Other::None => vec![false; params.len()],
        };
        let base = groups::base(options);
        let own = options.groups.0.iter().map(|group| group.rule(options));
        let mut given: Vec<Rule> =
            std::iter::once(Ok(base)).chain(own).map(|rule| rule.map(Rule::AdamW)).collect::<Result<_>>()?;
        let first_of_other = given.len();
        match other {
            Other::Muon(muon) => given.extend(muon.rules(&options.groups).into_iter().map(Rule::Muon)),
            Other::Custom(custom) => {
                given.extend(custom.constants(options, base, &options.groups).into_iter().map(Rule::Custom));
            }
            Other::None => {}
        }
        let ruled = members.iter().zip(&taken);
        let ruled =
            ruled.map(|(group, taken)| if *taken { first_of_other + group } else { *group }).collect();
        let masters: Vec<Option<Tensor>> = params.iter().map(masters::of).collect::<Result<_>>()?;
        let custom = match other {
            Other::Custom(custom) => {
                let values = params.iter().zip(&masters);
                let values: Vec<Tensor> =
                    values.map(|(p, master)| master.as_ref().unwrap_or(p).clone()).collect();
                Some(Custom::new(custom, parameters, &values, &taken)?)
            }
            _ => None,
        };
        let first = params.iter().zip(&taken);
        let first = first.map(|(p, taken)| (!taken || custom.is_none()).then(|| moment(p)).transpose());
        let first = first.collect::<Result<_>>()?;
        let second = params.iter().zip(&taken).map(|(p, taken)| (!taken).then(|| moment(p)).transpose());
        Ok(Self(Arc::new(Inner {
            names: parameters.named().iter().map(|(n, _)| n.clone()).collect(),
            frozen: parameters.frozen().to_vec(),
            told: AtomicBool::new(false),
            masters,
            first,
            second: second.collect::<Result<_>>()?,
            steps: params.iter().map(|_| zero()).collect::<Result<_>>()?,
            groups: options.groups.clone(),
            members,
            muon: if let Other::Muon(muon) = other { Some(muon.clone()) } else { None },
            custom,
            ruled,
            mutable: Mutex::new(Mutable { rules: given.clone(), updates: 0, failed: zero()? }),
            given,
            params,
        })))
    }

    /// Does one whole training step: clears old gradients, backpropagates `loss`, clips, updates.
    ///
    /// Returns the global gradient norm before clipping, a scalar on the device. A loss or gradient that is not
    /// finite is an error and changes nothing; on CUDA this is checked every 16 updates.
    pub fn step(&self, loss: &Tensor, clip: Option<f64>) -> Result<Tensor> {
        self.zero_grad()?;
        loss.backward(None, false).map_err(|error| match is_spent(&error) {
            true => error
                .message_as("an earlier `step` or `backward` has freed the graph of this loss")
                .hint("compute the loss again before each step: it depends on the parameters, which a step changes"),
            false => error,
        })?;
        let norm = self.update(Some(loss), clip)?;
        // Reading the result makes the CPU wait for the device.
        if !self.device().is_cuda() || self.updates().is_multiple_of(16) {
            self.verify()?;
        }
        Ok(norm)
    }

    /// Clears the gradients of all parameters.
    pub fn zero_grad(&self) -> Result<()> {
        clear_grads(&self.0.params)
    }

    /// Updates the parameters with their gradients, clipped to the global norm `clip`.
    ///
    /// Returns the norm before clipping. Parameters without a gradient are unchanged. Nothing changes if the norm,
    /// or a given `loss`, is not finite; later updates change nothing either until [`Optimizer::verify`] has reported
    /// it.
    pub fn update(&self, loss: Option<&Tensor>, clip: Option<f64>) -> Result<Tensor> {
        self.update_by(self.gradients(), loss, clip)
    }

    /// Returns the name of a parameter of the model that records gradients now and is not updated, since it was frozen
    /// when the optimizer was made.
    pub(super) fn left_out(&self) -> Option<&str> {
        self.0.frozen.iter().find(|(_, tensor)| tensor.requires_grad()).map(|(name, _)| name.as_str())
    }

    /// Tells the user once of such a parameter.
    pub(super) fn tell_left_out(&self, context: &Context) {
        if let Some(name) = self.left_out()
            && !self.0.told.swap(true, Ordering::Relaxed)
        {
            context.note(&format!(
                "the optimizer does not update `{name}`, which was frozen when it was made; make it after `unfreeze`"
            ));
        }
    }

    /// Returns the gradients of the parameters.
    pub(super) fn gradients(&self) -> Vec<Option<Tensor>> {
        self.0.params.iter().map(Tensor::grad).collect()
    }

    /// Returns the parameters.
    pub(super) fn parameters(&self) -> &[Tensor] {
        &self.0.params
    }

    /// Like [`Optimizer::update`], with the given gradients, one for each parameter; clipping scales them in place.
    pub(super) fn update_by(
        &self,
        gradients: Vec<Option<Tensor>>,
        loss: Option<&Tensor>,
        clip: Option<f64>,
    ) -> Result<Tensor> {
        if let Some(max) = clip {
            allow(max > 0.0, "clip", "above 0, or () for none", max)?;
        }
        let mut groups: Vec<Slots> = self.0.given.iter().map(|_| Slots::default()).collect();
        let (mut grads, mut rounded, mut items) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (param, grad)) in self.0.params.iter().zip(gradients).enumerate() {
            if let Some(grad) = grad {
                let master = self.0.masters[i].as_ref();
                rounded.extend(master.map(|master| (master, param)));
                let grad = if master.is_some() { grad.to_dtype(DType::Float32)? } else { grad };
                grads.push(grad.clone());
                if self.0.custom.as_ref().is_some_and(|custom| custom.takes(i)) {
                    items.push(Item { index: i, param: master.unwrap_or(param).clone(), grad });
                    continue;
                }
                let slots = &mut groups[self.0.ruled[i]];
                slots.grads.push(grad);
                slots.params.push(master.unwrap_or(param).clone());
                slots.first.extend(self.0.first[i].clone());
                slots.second.extend(self.0.second[i].clone());
                slots.steps.push(self.0.steps[i].clone());
            }
        }
        if grads.is_empty() {
            return Err(no_gradients());
        }
        // All or nothing: an interrupt waits for the end of the update.
        uninterrupted(|| {
            no_grad(|| {
                let mut mutable = self.lock();
                let norm = global_norm(&grads)?.to_dtype(DType::Float32)?;
                let scale = clip.map(|max| excess(&norm, max)).transpose()?;
                let probe = match loss {
                    Some(loss) => {
                        let loss = loss.detach()?.to_dtype(DType::Float32)?.sum(&[], false)?;
                        norm.add(&loss.to_device(self.device())?)?
                    }
                    None => norm.clone(),
                };
                let number = mutable.updates + 1;
                let fails_now =
                    probe.isfinite()?.eq_scalar(0)?.to_dtype(DType::Float32)?.mul_scalar(number as f64)?;
                let mut failed = mutable.failed.where_true(&mutable.failed.gt_scalar(0.0)?, &fails_now)?;
                let mut skip = failed.gt_scalar(0.0)?.to_dtype(DType::Float32)?;
                rounded.iter().try_for_each(|(master, param)| masters::follow(master, param))?;
                let mut made = None;
                if let Some(custom) = self.0.custom.as_ref().filter(|_| !items.is_empty()) {
                    let rules = mutable.rules.clone();
                    // The function may read the optimizer.
                    drop(mutable);
                    made = self.made(custom, &items, &rules, scale.as_ref(), &skip)?;
                    mutable = self.lock();
                    if let Some(staged) = made.as_ref().filter(|_| self.device().is_cuda())
                        && let Some(fails) = staged.fails()?
                    {
                        let fails_now = fails.mul_scalar(number as f64)?;
                        failed = failed.where_true(&failed.gt_scalar(0.0)?, &fails_now)?;
                        skip = failed.gt_scalar(0.0)?.to_dtype(DType::Float32)?;
                    }
                }
                for (rule, slots) in mutable.rules.iter().zip(&groups).filter(|(_, s)| !s.params.is_empty()) {
                    rule.update(slots, scale.as_ref(), &skip)?;
                }
                if let (Some(custom), Some(made)) = (&self.0.custom, made) {
                    let skip = self.device().is_cuda().then_some(&skip);
                    custom.apply(made, &items, &self.0.steps, skip)?;
                }
                rounded.iter().try_for_each(|(master, param)| masters::round(master, param))?;
                mutable.failed = failed;
                mutable.updates = number;
                Ok(norm)
            })
        })
    }

    /// Returns what the update function makes of the gradients, or `None` if the update is skipped.
    ///
    /// On CUDA, reading `skip` would make the CPU wait for the device, so the function is called in any case.
    fn made(
        &self,
        custom: &Custom,
        items: &[Item],
        rules: &[Rule],
        scale: Option<&Tensor>,
        skip: &Tensor,
    ) -> Result<Option<Staged>> {
        let constants = |index: usize| match rules[self.0.ruled[index]] {
            Rule::AdamW(rule) | Rule::Custom(rule) => rule,
            // Muon and a function are not in one optimizer.
            Rule::Muon(_) => groups::base(&self.settings()),
        };
        if self.device().is_cuda() {
            return custom.next(&self.0.names, items, &constants, scale, Some(skip)).map(Some);
        }
        if skip.item()? > 0.0 {
            return Ok(None);
        }
        let staged = custom.next(&self.0.names, items, &constants, scale, None)?;
        staged.check()?;
        Ok(Some(staged))
    }

    /// Returns an error if an update since the last call had a loss or gradient that was not finite.
    ///
    /// The error names the update, counted from 1. Parameters and moments are those before it, and later updates
    /// work again. Waits for the device.
    pub fn verify(&self) -> Result<()> {
        match self.failed_update()? {
            None => Ok(()),
            Some(update) => Err(Error::argument(format!(
                "the loss or its gradient is not finite at update {update}; this update was skipped"
            ))
            .hint("try a smaller learning rate, clipping, or look for broken values in that batch")),
        }
    }

    /// Returns and clears the number, counted from 1, of the first update since the last call that was not finite.
    pub(super) fn failed_update(&self) -> Result<Option<u64>> {
        let mut mutable = self.lock();
        let failed = mutable.failed.item()? as u64;
        if failed == 0 {
            return Ok(None);
        }
        mutable.failed = uninterrupted(|| Tensor::zeros(&[], DType::Float32, self.device()))?;
        mutable.updates = failed - 1;
        self.0.custom.as_ref().map_or(Ok(()), |custom| custom.recount(&self.0.steps))?;
        Ok(Some(failed))
    }

    /// Returns the learning rate of parameters in no group.
    pub fn lr(&self) -> f64 {
        self.lock().rules[0].lr()
    }

    /// Returns the learning rate of parameters in no group that AdamW does not update, or zero without any.
    fn other_lr(&self) -> f64 {
        let rules = &self.lock().rules;
        rules.iter().find(|rule| !matches!(rule, Rule::AdamW(_))).map_or(0.0, Rule::lr)
    }

    /// Sets the learning rate of later updates; the rates of groups change in proportion.
    pub fn set_lr(&self, lr: f64) -> Result<()> {
        allow(lr.is_finite() && lr >= 0.0, "lr", "at least 0", lr)?;
        let base = self.0.given[0].lr();
        if base == 0.0 && lr > 0.0 && self.0.given.iter().any(|rule| rule.lr() > 0.0) {
            return Err(Error::argument("groups cannot follow `lr` in proportion, since it was 0 at first")
                .hint("make the optimizer with `lr` above 0, and give the parameters that stand still a group with `lr: 0.0`"));
        }
        let factor = if base == 0.0 { 1.0 } else { lr / base };
        let mut mutable = self.lock();
        self.scale(&mut mutable, factor);
        mutable.rules[0].set_lr(lr);
        Ok(())
    }

    /// Multiplies the configured learning rate of each group by the factor of a schedule.
    pub(super) fn set_factor(&self, factor: f64) {
        self.scale(&mut self.lock(), factor);
    }

    fn scale(&self, mutable: &mut Mutable, factor: f64) {
        for (rule, given) in mutable.rules.iter_mut().zip(&self.0.given) {
            rule.set_lr(given.lr() * factor);
        }
    }

    /// Returns the learning rates of the next update: that of parameters in no group, then that of each group, then the
    /// same of Muon or the function if one is used.
    pub fn rates(&self) -> Vec<f64> {
        self.lock().rules.iter().map(Rule::lr).collect()
    }

    /// Restores learning rates from [`Optimizer::rates`].
    pub(super) fn set_rates(&self, rates: &[f64]) {
        for (rule, rate) in self.lock().rules.iter_mut().zip(rates) {
            rule.set_lr(*rate);
        }
    }

    /// Returns the number of updates.
    pub fn updates(&self) -> u64 {
        self.lock().updates
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.0.params[0].device()
    }

    /// Returns copies of the state: `exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME` for each parameter of AdamW,
    /// `momentum.NAME` and `step.NAME` for those of Muon, `step.NAME` and what its state has, such as `m.NAME`, for those of a
    /// function, and `master.NAME` for those in bfloat16 or float16.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.slots().map(|(key, tensor)| Ok((key, tensor.copy()?))).collect()
    }

    /// Returns the constants of AdamW as options.
    pub fn settings(&self) -> AdamWOptions {
        let rule = self.lock().rules.iter().find_map(|rule| match rule {
            Rule::AdamW(rule) => Some(*rule),
            Rule::Muon(_) | Rule::Custom(_) => None,
        });
        let groups = self.0.groups.clone();
        // The first rule is that of AdamW.
        rule.map_or_else(AdamWOptions::default, |AdamW { lr, beta1, beta2, weight_decay, eps }| {
            AdamWOptions { lr, betas: (beta1, beta2), weight_decay, eps, groups }
        })
    }

    /// Returns all constants as data. Learning rates of groups, of Muon and of a function are in [`Optimizer::rates`] alone.
    pub(super) fn about(&self) -> Map {
        let mut about = self.settings().to_map();
        if let Some(muon) = &self.0.muon {
            let mut muon = muon.to_map();
            muon.remove("lr");
            about.insert("muon".to_string(), Value::Map(muon));
        }
        if let Some(custom) = &self.0.custom {
            about.insert("custom".to_string(), Value::Map(custom.options().facts()));
        }
        if self.0.given.len() > 1 {
            about.insert("rates".to_string(), self.rates().into_value());
        }
        about
    }

    /// Restores a state from [`Optimizer::state`]. A different name, shape or dtype is an error and changes nothing.
    pub fn load_state(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.check_state(state)?;
        uninterrupted(|| {
            let mut updates = 0.0f64;
            // A state from a version without master weights leaves them to be initialized from the parameters.
            for (master, param) in self.0.masters.iter().zip(&self.0.params) {
                master.as_ref().map_or(Ok(()), |master| master.copy_(&param.detach()?))?;
            }
            for (key, tensor) in self.slots() {
                let Some(saved) = state.get(&key) else { continue };
                tensor.copy_(saved)?;
                if key.starts_with("step.") {
                    updates = updates.max(tensor.item()?);
                }
            }
            self.0.custom.as_ref().map_or(Ok(()), |custom| custom.recount(&self.0.steps))?;
            let failed = Tensor::zeros(&[], DType::Float32, self.device())?;
            let mut mutable = self.lock();
            (mutable.updates, mutable.failed) = (updates as u64, failed);
            Ok(())
        })
    }

    /// Returns the error that [`Optimizer::load_state`] would return, and changes nothing.
    pub fn check_state(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for (key, tensor) in self.slots() {
            let Some(saved) = state.get(&key) else {
                if key.starts_with("master.") {
                    continue;
                }
                return Err(Error::argument(format!("the state lacks `{key}`"))
                    .hint("it must come from an optimizer over parameters of the same names"));
            };
            // Earlier versions kept the moments of bfloat16 and float16 parameters in the parameter's dtype.
            let moment = key.strip_prefix("exp_avg.").or(key.strip_prefix("exp_avg_sq."));
            let short = moment.and_then(|name| self.short_dtype(name)) == Some(saved.dtype());
            let same = saved.shape() == tensor.shape() && (saved.dtype() == tensor.dtype() || short);
            let expected = format!("a {}", tensor.signature());
            allow(same, &key, &expected, format_args!("a {}", saved.signature()))?;
        }
        if let Some(extra) = state.keys().find(|k| !self.slots().any(|(key, _)| key == **k)) {
            return Err(Error::argument(format!("the state has `{extra}`, which no parameter here takes")));
        }
        Ok(())
    }

    /// Returns 1 while updates are skipped because one was not finite, else 0: a float32 scalar on the device.
    pub(super) fn skipping(&self) -> Result<Tensor> {
        self.lock().failed.gt_scalar(0.0)?.to_dtype(DType::Float32)
    }

    /// Returns the dtype of a parameter that has a master.
    fn short_dtype(&self, name: &str) -> Option<DType> {
        let place = self.0.names.iter().position(|own| own == name)?;
        self.0.masters[place].as_ref().map(|_| self.0.params[place].dtype())
    }

    /// Iterates over all state tensors with their keys.
    pub(super) fn slots(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.0.names.iter().enumerate().flat_map(|(i, name)| {
            let second = self.0.second[i].as_ref();
            let key = if second.is_some() { "exp_avg" } else { "momentum" };
            let first = self.0.first[i].as_ref().map(|first| (format!("{key}.{name}"), first));
            let second = second.map(|second| (format!("exp_avg_sq.{name}"), second));
            let step = (format!("step.{name}"), &self.0.steps[i]);
            let master = self.0.masters[i].as_ref().map(|master| (format!("master.{name}"), master));
            let own = self.0.custom.iter().flat_map(move |custom| custom.state(i));
            let own = own.map(move |(key, tensor)| (format!("{key}.{name}"), tensor));
            first.into_iter().chain(second).chain([step]).chain(master).chain(own)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Mutable> {
        // Every change below the lock is a plain assignment, so a panic cannot leave a partial change.
        self.0.mutable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
