//! Parameter groups with their own constants, as in `torch.optim`.

use super::{AdamWOptions, Parameters};
use crate::declare::{Field, FromValue, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::Result;
use crate::nn::glob;
use crate::torch::optim::AdamW as Rule;

/// A group of parameters and its constants; constants not given are those of the optimizer.
#[derive(Debug, Clone, Options)]
pub struct Group {
    /// Names of the parameters: a glob in which `*` matches any letters and `?` matches one, or an array of
    /// globs.
    pub r#match: OneOrMany<String>,
    /// Learning rate.
    #[option(range = 0.0..=1000.0)]
    pub lr: Option<f64>,
    /// Decoupled weight decay.
    #[option(range = 0.0..=1000.0)]
    pub weight_decay: Option<f64>,
    /// Decay rates of the first and the second moment.
    #[option(range = 0.0..1.0)]
    pub betas: Option<(f64, f64)>,
    /// Added to the square root of the second moment.
    #[option(range = 0.0..=1.0)]
    pub eps: Option<f64>,
}

impl Group {
    /// Returns the update rule of this group, with the optimizer's `options` where the group has none.
    pub(super) fn rule(&self, options: &AdamWOptions) -> Result<Rule> {
        let mut own = options.clone();
        own.set(&self.map())?;
        Ok(base(&own))
    }

    /// Returns the options that were given, as a script writes them.
    fn map(&self) -> Map {
        let mut map: Map =
            self.given().into_iter().map(|(option, value)| (option.name.to_string(), value)).collect();
        if let [one] = self.r#match.0.as_slice() {
            map.insert("match".to_string(), one.as_str().into_value());
        }
        map
    }
}

/// Groups in the order in which they are tried; empty by default.
#[derive(Debug, Clone, Default)]
pub struct Groups(pub Vec<Group>);

impl Groups {
    /// Returns the group of each parameter: 0 for none, from 1 for the groups here.
    ///
    /// A parameter belongs to the first group with a matching glob. A glob that matches no name is an error.
    pub(super) fn assign(&self, parameters: &Parameters) -> Result<Vec<usize>> {
        let names: Vec<&str> = parameters.named().iter().map(|(name, _)| name.as_str()).collect();
        for (i, group) in self.0.iter().enumerate() {
            group.check().map_err(|e| e.context(format!("group {}", i + 1)))?;
            crate::ensure!(
                !group.r#match.0.is_empty(),
                "group {} needs `match`, the names of its parameters",
                i + 1
            );
            glob::pick(&group.r#match.0, names.iter().copied())?;
        }
        let group = |name: &&str| {
            self.0.iter().position(|g| glob::matches_any(&g.r#match.0, name)).map_or(0, |i| i + 1)
        };
        Ok(names.iter().map(group).collect())
    }

    /// Returns one line for each group: its options, and the number of `members` in it.
    pub(super) fn lines(&self, members: &[usize]) -> String {
        let line = |(i, group): (usize, &Group)| {
            let count = members.iter().filter(|member| **member == i + 1).count();
            let tensors = if count == 1 { "tensor" } else { "tensors" };
            format!("\n  group {} {:?}: {count} {tensors}", i + 1, Value::Map(group.map()))
        };
        self.0.iter().enumerate().map(line).collect()
    }
}

impl From<Group> for Groups {
    fn from(group: Group) -> Self {
        Groups(vec![group])
    }
}

impl From<Vec<Group>> for Groups {
    fn from(groups: Vec<Group>) -> Self {
        Groups(groups)
    }
}

/// Reads one group or an array of groups.
impl FromValue for Groups {
    fn label() -> String {
        "map or array of maps".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let read = |i: usize, value: &Value| {
            Group::from_value(value).map_err(|e| e.context(format!("group {}", i + 1)))
        };
        match value {
            Value::List(list) => {
                list.iter().enumerate().map(|(i, v)| read(i, v)).collect::<Result<_>>().map(Groups)
            }
            Value::Map(_) => Ok(Groups(vec![read(0, value)?])),
            other => Err(other
                .mismatch("groups of parameters, an array of maps such as #{ match: \"*.bias\", lr: 1e-4 }")),
        }
    }
    fn fields() -> &'static [Field] {
        Group::FIELDS
    }
}

impl IntoValue for Groups {
    fn label() -> String {
        "array of maps".to_string()
    }
    fn into_value(self) -> Value {
        Value::List(self.0.iter().map(|group| Value::Map(group.map())).collect())
    }
}

/// Returns the update rule of parameters in no group.
pub(super) fn base(options: &AdamWOptions) -> Rule {
    Rule {
        lr: options.lr,
        beta1: options.betas.0,
        beta2: options.betas.1,
        weight_decay: options.weight_decay,
        eps: options.eps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, Model};
    use crate::torch::{DType, Device, Generator, Tensor};
    use crate::train::Optimizer;

    fn named(names: &[&str], dtype: DType) -> Vec<(String, Tensor)> {
        let generator = Generator::new(4, Device::Cpu).unwrap();
        let make = |name: &&str| {
            let w = Tensor::randn(&[3, 5], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
            (name.to_string(), w.to_dtype(dtype).unwrap().set_requires_grad(true).unwrap())
        };
        names.iter().map(make).collect()
    }

    fn group(globs: &[&str], lr: Option<f64>) -> Group {
        Group { r#match: OneOrMany(globs.iter().map(ToString::to_string).collect()), lr, ..Group::default() }
    }

    /// Returns the sum of fourth powers, whose gradient depends on every element.
    fn loss(named: &[(String, Tensor)]) -> Tensor {
        let terms: Vec<Tensor> = named
            .iter()
            .map(|(_, w)| w.square().unwrap().square().unwrap().sum(&[], false).unwrap())
            .collect();
        Tensor::stack(&terms, 0).unwrap().sum(&[], false).unwrap()
    }

    /// Two groups give the same updates as two optimizers, for every dtype.
    #[test]
    fn groups_update_as_optimizers_of_their_own() {
        for dtype in [DType::Float32, DType::BFloat16] {
            let names = ["a.gate", "a.weight", "b.gate", "b.weight"];
            let (together, apart) = (named(&names, dtype), named(&names, dtype));
            let gate = Group {
                weight_decay: Some(0.5),
                betas: Some((0.5, 0.75)),
                eps: Some(1e-3),
                ..group(&["*.gate"], Some(1e-2))
            };
            let options = AdamWOptions { lr: 1e-3, weight_decay: 0.1, ..Default::default() };
            let grouped = AdamWOptions { groups: Groups(vec![gate]), ..options.clone() };
            let one = Optimizer::new(&Parameters::new(together.clone()).unwrap(), &grouped).unwrap();
            let of =
                |gates: bool| apart.iter().filter(|(n, _)| n.ends_with("gate") == gates).cloned().collect();
            let other = AdamWOptions {
                lr: 1e-2,
                weight_decay: 0.5,
                betas: (0.5, 0.75),
                eps: 1e-3,
                ..Default::default()
            };
            let two = [(of(true), other), (of(false), options)]
                .map(|(set, options)| Optimizer::new(&Parameters::new(set).unwrap(), &options).unwrap());
            for factor in [1.0, 0.3, 0.7] {
                one.set_factor(factor);
                one.zero_grad().unwrap();
                loss(&together).backward(None, false).unwrap();
                one.update(None, None).unwrap();
                two.iter().for_each(|opt| opt.set_factor(factor));
                two.iter().for_each(|opt| opt.zero_grad().unwrap());
                loss(&apart).backward(None, false).unwrap();
                two.iter().for_each(|opt| opt.update(None, None).map(drop).unwrap());
            }
            for ((name, a), (_, b)) in together.iter().zip(&apart) {
                assert!(a.equal(b).unwrap(), "{name} {dtype:?}");
            }
        }
    }

    #[test]
    fn a_first_update_by_hand_and_a_clip_over_all_groups() {
        let w = named(&["w", "frozen"], DType::Float32);
        w.iter().for_each(|(_, w)| w.fill_(1.0).unwrap());
        let options = AdamWOptions {
            lr: 0.1,
            eps: 1.0,
            groups: Groups(vec![group(&["fro*"], Some(0.0))]),
            ..Default::default()
        };
        let opt = Optimizer::new(&Parameters::new(w.clone()).unwrap(), &options).unwrap();
        // Each of the 30 elements has gradient 4, so clipping scales the norm 4 sqrt(30) to 1.
        let norm = opt.step(&loss(&w), Some(1.0)).unwrap().item().unwrap();
        assert!((norm - 4.0 * 30f64.sqrt()).abs() < 1e-4);
        let gradient = 1.0 / 30f64.sqrt();
        let found = w[0].1.to_f64().unwrap()[0];
        assert!((found - (1.0 - 0.1 * gradient / (gradient + 1.0))).abs() < 1e-6);
        assert_eq!(w[1].1.to_f64().unwrap()[0], 1.0);
    }

    #[test]
    fn the_first_group_that_matches_has_a_parameter_and_rates_follow_in_proportion() {
        let w = named(&["a.gate", "a.weight", "b.gate"], DType::Float32);
        let parameters = Parameters::new(w).unwrap();
        let groups = Groups(vec![group(&["a.gate", "nothing?", "b.*"], Some(0.02)), group(&["a.*"], None)]);
        let options = AdamWOptions { lr: 0.01, groups, ..Default::default() };
        let error = Optimizer::new(&parameters, &options).unwrap_err();
        assert_eq!(error.message(), "no parameter matches `nothing?`");
        let groups = Groups(vec![group(&["a.gate", "b.*"], Some(0.02)), group(&["a.*"], None)]);
        assert_eq!(groups.assign(&parameters).unwrap(), [1, 2, 1]);
        let opt = Optimizer::new(&parameters, &AdamWOptions { groups, ..options }).unwrap();
        opt.set_lr(0.005).unwrap();
        assert_eq!(opt.rates(), [0.005, 0.01, 0.005]);
        let text = format!("{opt:?}");
        assert!(text.contains("group 1 #{ lr: 0.02, match: [\"a.gate\", \"b.*\"] }: 2 tensors"), "{text}");
        let other = Optimizer::new(&parameters, &AdamWOptions { lr: 0.0, ..opt.settings() }).unwrap();
        assert!(other.set_lr(0.1).unwrap_err().message().contains("in proportion"));
    }

    #[test]
    fn rates_of_one_that_would_divide_by_zero_are_refused() {
        let parameters = Parameters::new(named(&["a"], DType::Float32)).unwrap();
        let refused = |options: AdamWOptions, text: &str| {
            let error = Optimizer::new(&parameters, &options).unwrap_err();
            assert!(error.message().ends_with(text), "{error}");
        };
        let text = "`betas` must be at least 0 and below 1, found 1";
        refused(AdamWOptions { betas: (1.0, 0.99), ..Default::default() }, text);
        refused(AdamWOptions { betas: (0.9, 1.0), ..Default::default() }, text);
        let own = Group { betas: Some((0.9, 1.0)), ..group(&["a"], None) };
        refused(AdamWOptions { groups: Groups(vec![own]), ..Default::default() }, text);
        let muon = crate::train::MuonOptions { momentum: 1.0, ..Default::default() };
        let error = Optimizer::muon(&parameters, &muon, &AdamWOptions::default()).unwrap_err();
        assert!(error.message().contains("`momentum` must be at least 0 and below 1"), "{error}");
    }

    #[test]
    fn unknown_keys_and_groups_without_a_name_are_errors() {
        let read = |map| Groups::from_value(&Value::List(vec![Value::Map(map)]));
        let error = read(Map::from([("mtch".to_string(), "x".into_value())])).unwrap_err();
        assert_eq!(error.to_string(), "group 1: unknown option `mtch`\nhint: did you mean `match`?");
        let groups = read(Map::from([("lr".to_string(), Value::Float(0.1))])).unwrap();
        let parameters = Parameters::new(named(&["a"], DType::Float32)).unwrap();
        let error = groups.assign(&parameters).unwrap_err();
        assert_eq!(error.message(), "group 1 needs `match`, the names of its parameters");
    }

    #[test]
    fn frozen_parameters_are_not_trained() {
        let config =
            Config { depth: 1, hidden_size: 16, num_heads: 2, ..Config::preset("fashion_tiny").unwrap() };
        let model = Model::new(config, 0, Device::Cpu).unwrap();
        for (name, parameter) in model.parameters() {
            parameter.set_requires_grad(name.ends_with("bias")).unwrap();
        }
        let parameters = Parameters::of(&model).unwrap();
        assert!(parameters.named().iter().all(|(name, _)| name.ends_with("bias")));
        model.parameters().iter().for_each(|(_, p)| drop(p.set_requires_grad(false).unwrap()));
        let error = Parameters::of(&model).unwrap_err();
        assert!(error.message().contains("no parameter that records gradients"), "{error}");
    }
}
