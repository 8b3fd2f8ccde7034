//! Values that code captured and that receive gradients, although nothing trains them.

use std::collections::{BTreeMap, BTreeSet};

use super::also::Also;
use super::training::Training;
use super::{Ema, FitOptions, Optimizer, Run};
use crate::declare::{Function, Value};
use crate::model::Model;
use crate::model::dit::layer::DitLayer;
use crate::nn::{Layer, SharedBuilder};
use crate::torch::Tensor;

/// Largest number of handles inside each other whose code is followed.
const DEPTH: usize = 4;

/// Values that code of the forward pass captured, which record gradients and are not trained by the run.
#[derive(Default)]
pub(super) struct Captured(Vec<Held>);

/// One captured value.
struct Held {
    /// What captured it: `` `loss` ``.
    owner: String,
    name: String,
    /// What it is: `a tensor [1] float32`.
    what: String,
    leaves: Vec<Leaf>,
    /// Whether `on_step` or `score` captured it too, which may train it.
    reachable: bool,
}

/// A tensor that records gradients, with the gradient and the version that it had.
#[derive(Clone)]
struct Leaf {
    tensor: Tensor,
    gradient: Option<(usize, i64)>,
    version: i64,
}

impl Leaf {
    fn new(tensor: &Tensor) -> Self {
        Self { tensor: tensor.clone(), gradient: gradient(tensor), version: tensor.version() }
    }

    /// Returns whether it received a gradient since then.
    fn is_reached(&self) -> bool {
        let now = gradient(&self.tensor);
        now.is_some() && now != self.gradient
    }
}

fn gradient(tensor: &Tensor) -> Option<(usize, i64)> {
    tensor.grad().map(|gradient| (gradient.address(), gradient.version()))
}

impl Captured {
    /// Finds the values. Those of optimizers that code captured are trained by the code.
    fn of(model: &Model, also: &Also, options: &FitOptions, optimizer: &Optimizer) -> Self {
        let mut found = Found { trained: addresses(optimizer.parameters()), ..Found::default() };
        for (name, function) in [("`on_step`", &options.on_step), ("`score`", &options.score)] {
            function.iter().for_each(|function| found.function(name, function, 0));
        }
        let beside: BTreeSet<usize> = std::mem::take(&mut found.held).into_keys().collect();
        options.loss.functions().iter().for_each(|function| found.function("`loss`", function, 0));
        let of_also =
            also.called().iter().map(|(path, function)| (format!("the code of `{path}`"), function));
        let of_model = model.called().iter().map(|(path, function)| (code_at(path), function));
        of_model.chain(of_also).for_each(|(owner, function)| found.function(&owner, function, 0));
        let Found { trained, held } = found;
        let mut values: BTreeMap<(String, String), Held> = BTreeMap::new();
        for (address, (leaf, owner, name, what)) in held {
            if trained.contains(&address) {
                continue;
            }
            let one = || Held {
                owner: owner.clone(),
                name: name.clone(),
                what,
                leaves: Vec::new(),
                reachable: false,
            };
            let value = values.entry((owner.clone(), name.clone())).or_insert_with(one);
            value.leaves.push(leaf);
            value.reachable |= beside.contains(&address);
        }
        Self(values.into_values().collect())
    }

    /// Returns notes about values that have received a gradient since the start of the run, each once.
    ///
    /// One that `on_step` reaches counts only if `late`, and if nothing was written into it in the meantime.
    fn notes(&mut self, late: bool, again: impl FnOnce() -> Self) -> Vec<String> {
        let due = |held: &Held| {
            let trained = |leaf: &Leaf| leaf.tensor.version() != leaf.version;
            held.leaves.iter().any(Leaf::is_reached)
                && (!held.reachable || (late && !held.leaves.iter().any(trained)))
        };
        let (due, others) = std::mem::take(&mut self.0).into_iter().partition::<Vec<_>, _>(due);
        self.0 = others;
        if due.is_empty() {
            return Vec::new();
        }
        // Code may have put another tensor in its place, as a hand-written update does.
        let still: BTreeSet<usize> = again().0.iter().flat_map(|held| addresses(held.tensors())).collect();
        due.iter()
            .filter(|held| addresses(held.tensors()).iter().any(|address| still.contains(address)))
            .map(Held::note)
            .collect()
    }
}

impl Held {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.leaves.iter().map(|leaf| &leaf.tensor)
    }

    fn note(&self) -> String {
        let Self { owner, name, what, .. } = self;
        format!(
            "{owner} captured `{name}`, {what}: it receives gradients, but nothing trains it. Train it with `also` or make \
             it part of the model (`b.parameter`, `b.model`), or stop its gradients with `freeze`, `detach` or `no_grad`"
        )
    }
}

fn code_at(path: &str) -> String {
    if path.is_empty() { "the code of the network".to_string() } else { format!("the code of `{path}`") }
}

fn addresses<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> BTreeSet<usize> {
    tensors.into_iter().filter(|tensor| tensor.count() > 0).map(Tensor::address).collect()
}

/// Leaves that were found, by address.
#[derive(Default)]
struct Found {
    trained: BTreeSet<usize>,
    held: BTreeMap<usize, (Leaf, String, String, String)>,
}

impl Found {
    fn function(&mut self, owner: &str, function: &Function, depth: usize) {
        if depth < DEPTH {
            let captured = function.captured();
            captured.iter().for_each(|(name, value)| self.value(owner, name, value, depth + 1));
        }
    }

    fn value(&mut self, owner: &str, name: &str, value: &Value, depth: usize) {
        if let Some(optimizer) = value.downcast::<Optimizer>() {
            self.trained.extend(addresses(optimizer.parameters()));
        } else if let Some(tensor) = value.downcast::<Tensor>() {
            self.leaves(owner, name, value, [&tensor]);
        } else if let Some(layer) = value.downcast::<Layer>() {
            self.leaves(owner, name, value, layer.parameters().iter().map(|(_, tensor)| tensor));
        } else if let Some(layer) = value.downcast::<DitLayer>() {
            self.leaves(owner, name, value, layer.parameters().iter().map(|(_, tensor)| tensor));
        } else if let Some(builder) = value.downcast::<SharedBuilder>() {
            self.leaves(owner, name, value, builder.parameters().iter().map(|(_, tensor)| tensor));
        } else if let Some(model) = value.downcast::<Model>() {
            self.model(owner, name, &model, depth);
        } else if let Some(ema) = value.downcast::<Ema>() {
            self.model(owner, &format!("{name}.model"), &ema.model(), depth);
        } else if let Some(run) = value.downcast::<Run>() {
            self.model(owner, &format!("{name}.model"), run.model(), depth);
            for (average, model) in run.averages() {
                self.model(owner, &format!("{name}.averages[\"{average}\"]"), model, depth);
            }
        }
    }

    fn model(&mut self, owner: &str, name: &str, model: &Model, depth: usize) {
        let value = Value::from(model);
        self.leaves(owner, name, &value, model.parameters().iter().map(|(_, tensor)| tensor));
        model.called().iter().for_each(|(_, function)| self.function(owner, function, depth));
    }

    fn leaves<'a>(
        &mut self,
        owner: &str,
        name: &str,
        value: &Value,
        all: impl IntoIterator<Item = &'a Tensor>,
    ) {
        for leaf in all.into_iter().filter(|t| t.requires_grad() && t.is_leaf() && t.count() > 0) {
            let found = || (Leaf::new(leaf), owner.to_string(), name.to_string(), value.describe());
            self.held.entry(leaf.address()).or_insert_with(found);
        }
    }
}

impl Training<'_> {
    /// Finds what code captured, before the first step.
    pub(super) fn captured(&self) -> Captured {
        Captured::of(self.model, &self.also, self.options, &self.optimizer)
    }

    /// Returns notes about captured values that have received gradients and that nothing trains.
    pub(super) fn untrained(&self, captured: &mut Captured, late: bool) -> Vec<String> {
        if captured.0.is_empty() { Vec::new() } else { captured.notes(late, || self.captured()) }
    }
}
