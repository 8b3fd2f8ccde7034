//! Update rules that are functions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{AdamWOptions, Groups, Parameters, received};
use crate::declare::{Function, IntoValue, Map, OneOrMany, Options, Value};
use crate::ensure;
use crate::error::{Error, Result, list};
use crate::nn::glob;
use crate::torch::optim::{AdamW, global_norm};
use crate::torch::placement::together;
use crate::torch::{DType, Tensor};

/// Options of an update rule that is a function.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct CustomOptions {
    /// Function `|u| next` that is called with each parameter and returns its new value, or a map of `param` and `state` if
    /// the rule has a state. It changes nothing in place. u has `name`, `param`, `grad` (reduced over all ranks and
    /// clipped), `state`, `step` (from 1), and the constants `lr` (with the factor of the schedule), `weight_decay`,
    /// `betas` and `eps` of the parameter's group.
    #[option(receives = received::UPDATE, takes = ["u"])]
    pub update: Option<Function>,
    /// Function `|all| nexts` instead of `update`, which is called once with an array of all u, and returns an array of
    /// what `update` returns: for rules that combine parameters, or that call an operator for many tensors at once.
    #[option(takes = ["all"])]
    pub update_all: Option<Function>,
    /// Function `|p| state` that returns the initial state of a parameter, a map of tensors; p has its `name` and `param`.
    /// Without it the rule has no state.
    #[option(receives = received::STATE, takes = ["p"])]
    pub state: Option<Function>,
    /// Name of the rule in texts.
    pub name: Option<String>,
    /// Learning rate; by default that of AdamW.
    #[option(range = 0.0..=1000.0)]
    pub lr: Option<f64>,
    /// Weight decay that `update` finds in u; by default that of AdamW.
    #[option(range = 0.0..=1000.0)]
    pub weight_decay: Option<f64>,
    /// Names of its parameters, a glob or an array of globs; AdamW updates all others.
    #[option(default = OneOrMany(vec!["*".to_string()]))]
    pub r#match: OneOrMany<String>,
    /// Names that `match` does not take, a glob or an array of globs.
    pub except: OneOrMany<String>,
}

/// Names that a tensor of a state cannot have, since the optimizer's own state has them.
const RESERVED: [&str; 2] = ["step", "master"];

/// What an update function may return.
const NEXT: &str = "the new value of the parameter, a tensor, or a map #{ param, state }";

impl CustomOptions {
    /// Returns whether each parameter is updated by the rule. A choice without any is an error.
    pub(super) fn takes(&self, parameters: &Parameters) -> Result<Vec<bool>> {
        let takes = |(name, _): &(String, Tensor)| {
            glob::matches_any(&self.r#match.0, name) && !glob::matches_any(&self.except.0, name)
        };
        let taken: Vec<bool> = parameters.named().iter().map(takes).collect();
        if !taken.contains(&true) {
            let names: Vec<&str> = parameters.named().iter().take(3).map(|(name, _)| name.as_str()).collect();
            return Err(Error::argument(format!(
                "no parameter is updated by {}: `match` is {:?}, and the names are {}, ..",
                self.title(),
                self.r#match.0,
                names.join(", ")
            ))
            .hint("`match: \"*.weight\"` takes all weights; without `match` all parameters are taken"));
        }
        Ok(taken)
    }

    /// Returns the constants of parameters in no group, followed by those of the groups.
    pub(super) fn constants(&self, options: &AdamWOptions, base: AdamW, groups: &Groups) -> Vec<AdamW> {
        let own =
            |lr: Option<f64>, weight_decay: Option<f64>, betas: Option<(f64, f64)>, eps: Option<f64>| {
                let (beta1, beta2) = betas.unwrap_or(options.betas);
                AdamW {
                    lr: lr.or(self.lr).unwrap_or(base.lr),
                    weight_decay: weight_decay.or(self.weight_decay).unwrap_or(base.weight_decay),
                    beta1,
                    beta2,
                    eps: eps.unwrap_or(base.eps),
                }
            };
        let of_groups =
            groups.0.iter().map(|group| own(group.lr, group.weight_decay, group.betas, group.eps));
        std::iter::once(own(None, None, None, None)).chain(of_groups).collect()
    }

    /// Returns an error unless there is one update function.
    pub(super) fn check_functions(&self) -> Result<()> {
        Options::check(self)?;
        match (&self.update, &self.update_all) {
            (Some(_), Some(_)) => Err(Error::argument("give either `update` or `update_all`, found both")),
            (None, None) => Err(Error::argument("a custom optimizer needs `update`, a function")
                .hint("`update: |u| u.param - u.lr * u.grad` is gradient descent")),
            _ => Ok(()),
        }
    }

    /// Returns its name in texts.
    pub(super) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or("custom")
    }

    /// Returns the functions, by option.
    pub(super) fn functions(&self) -> impl Iterator<Item = (&'static str, &Function)> {
        let all = [("update", &self.update), ("update_all", &self.update_all), ("state", &self.state)];
        all.into_iter().filter_map(|(name, function)| Some((name, function.as_ref()?)))
    }

    /// Returns the options as data for comparisons; a function without a known text becomes `()`.
    pub(super) fn to_compared(&self) -> Value {
        let mut map = self.facts();
        map.extend(
            self.functions()
                .map(|(name, function)| (name.to_string(), function.to_compared().unwrap_or(Value::Unit))),
        );
        if let Some(lr) = self.lr {
            map.insert("lr".to_string(), lr.into_value());
        }
        Value::Map(map)
    }

    /// Returns the options that are data and do not change, without the learning rate.
    pub(super) fn facts(&self) -> Map {
        let mut map = self.to_map();
        for key in ["update", "update_all", "state", "lr"] {
            map.remove(key);
        }
        map.retain(|_, value| !matches!(value, Value::Unit));
        map
    }
}

/// A rule with the state of its parameters.
pub(super) struct Custom {
    options: CustomOptions,
    /// State of each parameter of the optimizer; `None` for those that AdamW updates.
    states: Vec<Option<BTreeMap<String, Tensor>>>,
    /// Number of updates of each parameter, which the device counts too.
    counts: Mutex<Vec<u64>>,
}

/// A parameter that is to be updated.
pub(super) struct Item {
    /// Index of the parameter.
    pub index: usize,
    /// The parameter, or its master.
    pub param: Tensor,
    pub grad: Tensor,
}

/// New values, with the tensors that they are for; parameters and state apart.
#[derive(Default)]
pub(super) struct Staged {
    params: Vec<(String, Tensor, Tensor)>,
    states: Vec<(String, Tensor, Tensor)>,
}

/// Memory of the tensors that an update will change, as ranges of addresses.
struct Live(Vec<(usize, usize)>);

impl Live {
    fn of<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Self {
        let range = |t: &Tensor| (t.address(), t.address() + t.bytes() as usize);
        let mut ranges: Vec<(usize, usize)> = tensors.map(range).collect();
        ranges.sort_unstable();
        Self(ranges)
    }

    fn holds(&self, tensor: &Tensor) -> bool {
        let address = tensor.address();
        let after = self.0.partition_point(|(start, _)| *start <= address);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|(_, end)| address < *end)
    }
}

impl Custom {
    /// Makes the initial state of the parameters that are taken; `values` are the parameters or their masters.
    pub fn new(
        options: &CustomOptions,
        parameters: &Parameters,
        values: &[Tensor],
        taken: &[bool],
    ) -> Result<Self> {
        let states = parameters.named().iter().zip(values).zip(taken);
        let states = states.map(|(((name, _), value), taken)| match (taken, &options.state) {
            (false, _) => Ok(None),
            (true, None) => Ok(Some(BTreeMap::new())),
            (true, Some(make)) => initial(make, name, value).map(Some),
        });
        let states = states.collect::<Result<Vec<_>>>()?;
        Ok(Self { options: options.clone(), counts: Mutex::new(vec![0; states.len()]), states })
    }

    pub fn options(&self) -> &CustomOptions {
        &self.options
    }

    /// Returns whether the rule updates a parameter.
    pub fn takes(&self, index: usize) -> bool {
        self.states[index].is_some()
    }

    /// Returns the state of a parameter.
    pub fn state(&self, index: usize) -> impl Iterator<Item = (&String, &Tensor)> {
        self.states[index].iter().flatten()
    }

    /// Reads the numbers of updates again.
    pub fn recount(&self, steps: &[Tensor]) -> Result<()> {
        let steps = Tensor::stack(steps, 0)?.to_f64()?;
        *self.counts() = steps.into_iter().map(|step| step as u64).collect();
        Ok(())
    }

    fn counts(&self) -> MutexGuard<'_, Vec<u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the update function and returns the new values; changes nothing.
    ///
    /// Gradients are divided by `scale`. Where the scalar `skip` is given and 1, they are taken as zero, since the function
    /// may fail on others, and what it returns does not matter.
    pub fn next(
        &self,
        names: &[String],
        items: &[Item],
        constants: &dyn Fn(usize) -> AdamW,
        scale: Option<&Tensor>,
        skip: Option<&Tensor>,
    ) -> Result<Staged> {
        let given = |item: &Item| self.given(item, &names[item.index], constants(item.index), scale, skip);
        let mut staged = Staged::default();
        match (&self.options.update, &self.options.update_all) {
            (Some(update), _) => {
                for item in items {
                    let name = &names[item.index];
                    let u = [Value::Map(given(item)?)];
                    let answer = self.call("update", update, std::slice::from_ref(item), names, &u)?;
                    let live = Live::of(self.tensors(std::slice::from_ref(item)));
                    staged
                        .add(self, item, name, &answer, &live)
                        .map_err(|e| e.context(of("update", name)))?;
                }
            }
            (None, Some(update)) => {
                let all = items.iter().map(|item| given(item).map(Value::Map)).collect::<Result<_>>()?;
                let answer = self.call("update_all", update, items, names, &[Value::List(all)])?;
                let Value::List(answers) = &answer else {
                    let count = items.len();
                    let expected = format!("an array of {count}, one entry for each parameter");
                    return Err(answer.mismatch(&expected).context("`update_all`"));
                };
                ensure!(
                    answers.len() == items.len(),
                    "`update_all`: expected an array of {}, one entry for each parameter, found an array of {}",
                    items.len(),
                    answers.len()
                );
                let live = Live::of(self.tensors(items));
                for (item, answer) in items.iter().zip(answers) {
                    let name = &names[item.index];
                    staged
                        .add(self, item, name, answer, &live)
                        .map_err(|e| e.context(of("update_all", name)))?;
                }
            }
            (None, None) => return Err(Error::internal("an update rule has a function")),
        }
        Ok(staged)
    }

    /// Returns the tensors that an update of `items` reads.
    fn tensors<'a>(&'a self, items: &'a [Item]) -> impl Iterator<Item = &'a Tensor> {
        items.iter().flat_map(|item| {
            let state = self.state(item.index).map(|(_, tensor)| tensor);
            [&item.param, &item.grad].into_iter().chain(state)
        })
    }

    /// Calls the update function. An answer is an error if a parameter or its state was changed in place.
    fn call(
        &self,
        what: &str,
        function: &Function,
        items: &[Item],
        names: &[String],
        given: &[Value],
    ) -> Result<Value> {
        let versions = || -> Vec<Vec<i64>> {
            let state = |item: &Item| self.state(item.index).map(|(_, t)| t.version()).collect::<Vec<_>>();
            items.iter().map(|item| [vec![item.param.version()], state(item)].concat()).collect()
        };
        let before = versions();
        let answer = function.call_as(&format!("`{what}`"), given);
        if let Some(place) = before.iter().zip(versions()).position(|(before, after)| *before != after) {
            return Err(Error::argument(format!(
                "`{what}` changed `{}` or its state in place{}",
                names[items[place].index],
                function.written()
            ))
            .hint("return new tensors instead: `u.param - u.lr * u.grad` leaves `u.param` as it is"));
        }
        answer
    }

    /// Returns the map that the function receives for a parameter.
    fn given(
        &self,
        item: &Item,
        name: &str,
        constants: AdamW,
        scale: Option<&Tensor>,
        skip: Option<&Tensor>,
    ) -> Result<Map> {
        let grad = match scale {
            Some(scale) => item.grad.div(&scale.to_dtype(item.grad.dtype())?)?,
            None => item.grad.detach()?,
        };
        let grad = match skip {
            Some(skip) => {
                let zero = Tensor::zeros(&[], grad.dtype(), grad.device())?;
                zero.where_true(&skip.gt_scalar(0.0)?, &grad)?
            }
            None => grad,
        };
        let AdamW { lr, beta1, beta2, weight_decay, eps } = constants;
        let state = self.state(item.index);
        let state = state.map(|(key, tensor)| (key.clone(), tensor.clone().into_value())).collect();
        let step = self.counts()[item.index] + 1;
        Ok(Map::from([
            ("name".to_string(), name.into_value()),
            ("param".to_string(), item.param.detach()?.into_value()),
            ("grad".to_string(), grad.into_value()),
            ("state".to_string(), Value::Map(state)),
            ("step".to_string(), (step as i64).into_value()),
            ("lr".to_string(), lr.into_value()),
            ("weight_decay".to_string(), weight_decay.into_value()),
            ("betas".to_string(), (beta1, beta2).into_value()),
            ("eps".to_string(), eps.into_value()),
        ]))
    }

    /// Copies new values and counts the updates, unless the scalar `skip` is given and 1.
    pub fn apply(
        &self,
        staged: Staged,
        items: &[Item],
        steps: &[Tensor],
        skip: Option<&Tensor>,
    ) -> Result<()> {
        let skipped = skip.map(|skip| skip.gt_scalar(0.0)).transpose()?;
        for (_, target, value) in staged.params.into_iter().chain(staged.states) {
            let target = target.detach()?;
            match &skipped {
                Some(skipped) => target.copy_(&target.where_true(skipped, &value)?)?,
                None => target.copy_(&value)?,
            }
        }
        let made = match skip {
            Some(skip) => skip.rsub_scalar(1.0)?,
            None => Tensor::zeros(&[], DType::Float32, steps[0].device())?.add_scalar(1.0)?,
        };
        let mut counts = self.counts();
        for Item { index, .. } in items {
            steps[*index].copy_(&steps[*index].add(&made)?)?;
            counts[*index] += 1;
        }
        Ok(())
    }
}

impl Staged {
    /// Adds what the function returned for a parameter.
    fn add(&mut self, rule: &Custom, item: &Item, name: &str, answer: &Value, live: &Live) -> Result<()> {
        let state: BTreeMap<&String, &Tensor> = rule.state(item.index).collect();
        let (param, next) = match answer {
            Value::Map(map) => {
                if let Some(key) = map.keys().find(|key| !["param", "state"].contains(&key.as_str())) {
                    return Err(Error::argument(format!("the returned map has `{key}`"))
                        .hint("it has `param` and `state`, a map of the tensors of the state"));
                }
                let param = map.get("param").ok_or_else(|| {
                    Error::argument("the returned map lacks `param`, the new value of the parameter")
                })?;
                (param, map.get("state"))
            }
            other => (other, None),
        };
        let Some(param) = param.downcast::<Tensor>() else { return Err(param.mismatch(NEXT)) };
        let param = fitting("param", &item.param, param, live)?;
        self.params.extend(param.map(|param| (name.to_string(), item.param.clone(), param)));
        let next = match next {
            Some(Value::Map(next)) => next.clone(),
            Some(other) => return Err(other.mismatch("`state` to be a map of tensors")),
            None => Map::new(),
        };
        if let Some(key) = next.keys().find(|key| !state.contains_key(key)) {
            return Err(Error::argument(format!(
                "the returned state has `{key}`, which the initial one has not"
            ))
            .did_you_mean(key, state.keys().map(|key| key.as_str())));
        }
        for (key, target) in state {
            let value = next.get(key).ok_or_else(|| {
                Error::argument(format!("the returned state lacks `{key}`")).hint(format!(
                    "return `#{{ param: .., state: #{{ {key}: .. }} }}`; `u.state + #{{ .. }}` keeps the other tensors"
                ))
            })?;
            let value = value
                .downcast::<Tensor>()
                .ok_or_else(|| value.mismatch("a tensor").context(format!("`state.{key}`")))?;
            let value = fitting(&format!("state.{key}"), target, value, live)?;
            self.states.extend(value.map(|value| (format!("{key}` of `{name}"), target.clone(), value)));
        }
        Ok(())
    }

    /// Returns an error that names the first value that cannot be: a parameter that is not finite, or NaN in a state.
    pub fn check(&self) -> Result<()> {
        for (kind, values) in [("parameter", &self.params), ("state", &self.states)] {
            let norms = norms(values)?;
            let fine = norms.iter().map(Tensor::item).collect::<Result<Vec<f64>>>()?;
            let bad = |x: f64| if kind == "state" { x.is_nan() } else { !x.is_finite() };
            if !fine.into_iter().any(bad) {
                continue;
            }
            for (name, _, value) in values.iter().filter(|(_, _, value)| value.dtype().is_float()) {
                if value.to_f64()?.into_iter().any(bad) {
                    return Err(Error::argument(format!(
                        "the update made the {kind} `{name}` {}, from gradients that are finite; nothing was changed",
                        if kind == "state" { "NaN" } else { "not finite" }
                    ))
                    .hint("look for a division by zero or the root of a negative number in the update function"));
                }
            }
        }
        Ok(())
    }

    /// Returns 1 if [`Staged::check`] would fail, else 0: a float32 scalar on the device.
    pub fn fails(&self) -> Result<Option<Tensor>> {
        let mut fails = None::<Tensor>;
        for (of_state, values) in [(false, &self.params), (true, &self.states)] {
            for norm in norms(values)? {
                let bad = if of_state { norm.isnan()? } else { norm.isfinite()?.eq_scalar(0)? };
                let bad = bad.to_dtype(DType::Float32)?;
                fails = Some(match fails {
                    Some(fails) => fails.maximum(&bad)?,
                    None => bad,
                });
            }
        }
        Ok(fails)
    }
}

/// Returns the norms of all new values that are floats, one for each dtype.
fn norms(values: &[(String, Tensor, Tensor)]) -> Result<Vec<Tensor>> {
    let mut by_dtype: Vec<(DType, Vec<Tensor>)> = Vec::new();
    for (_, _, value) in values.iter().filter(|(_, _, value)| value.dtype().is_float()) {
        match by_dtype.iter_mut().find(|(dtype, _)| *dtype == value.dtype()) {
            Some((_, same)) => same.push(value.clone()),
            None => by_dtype.push((value.dtype(), vec![value.clone()])),
        }
    }
    by_dtype.iter().map(|(_, values)| global_norm(values)).collect()
}

/// Returns a value for a tensor if it fits; `None` if it is that tensor itself. Memory that the update will change is
/// copied.
fn fitting(what: &str, target: &Tensor, value: Tensor, live: &Live) -> Result<Option<Tensor>> {
    if value.shape() != target.shape() || value.dtype() != target.dtype() || value.device() != target.device()
    {
        let (expected, found) = (target.signature(), value.signature());
        return Err(Error::argument(format!("expected `{what}` to be a {expected}, found a {found}")));
    }
    let value = value.detach()?;
    if value.count() > 0 && value.shares_memory(target) && value.is_contiguous() {
        return Ok(None);
    }
    if live.holds(&value) { value.copy().map(Some) } else { Ok(Some(value)) }
}

/// Returns the state that a function makes for a parameter: tensors of their own, dense in memory.
fn initial(make: &Function, name: &str, value: &Tensor) -> Result<BTreeMap<String, Tensor>> {
    let given = Map::from([
        ("name".to_string(), name.into_value()),
        ("param".to_string(), value.detach()?.into_value()),
    ]);
    let answer = make.call_as("`state`", &[Value::Map(given)])?;
    let within = |e: Error| e.context(of("state", name));
    let Value::Map(answer) = answer else {
        return Err(within(
            answer.mismatch("a map of tensors such as #{ momentum: tensor::zeros_like(p.param) }"),
        ));
    };
    let entry = |(key, made): (String, Value)| {
        let word = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        ensure!(
            word(&key) && !RESERVED.contains(&key.as_str()),
            "a tensor of a state has a name of letters, digits and `_` other than {}, found `{key}`",
            list(&RESERVED)
        );
        let Some(tensor) = made.downcast::<Tensor>() else {
            return Err(made.mismatch("a tensor").context(format!("`{key}`")));
        };
        together("the parameter", value.device(), [(format!("`{key}`"), tensor.device())])?;
        // Not dense, its numbers would be summed in another order after a resume.
        Ok((key, tensor.detach()?.contiguous()?.copy()?))
    };
    answer.into_iter().map(entry).collect::<Result<_>>().map_err(within)
}

fn of(what: &str, name: &str) -> String {
    format!("`{what}` of `{name}`")
}

/// Options of `optim::custom`.
#[derive(Debug, Clone, Options)]
pub struct CustomAndAdamWOptions {
    /// Options of the rule.
    #[option(flatten)]
    pub custom: CustomOptions,
    /// Options of AdamW, as in `optim::adamw`, which updates the parameters that the rule does not take. Its `groups` may
    /// hold parameters of the rule too.
    pub adamw: AdamWOptions,
}

#[cfg(test)]
mod tests;
