//! Parts at `weight`, which change the weights of linear maps.

use std::sync::Arc;

use super::built::{below, like, make};
use super::{Body, Part, Place};
use crate::declare::{Function, IntoValue};
use crate::error::{Error, Result};
use crate::model::Config;
use crate::nn::shared_builder::Facts;
use crate::nn::weight::{Change, Changes};
use crate::nn::{Builder, SharedBuilder, Weight, glob};
use crate::torch::autograd::without_autocast;
use crate::torch::{Tensor, flops};

/// Describes the names that patterns select from.
const WHAT: &str = "weight of a linear map";

impl Config {
    /// Builds a network whose weights of linear maps are changed by the parts at `weight`, and returns those weights by
    /// their names with it.
    pub(in crate::model) fn with_changes<T>(
        &self,
        builder: &mut Builder,
        build: impl FnOnce(&mut Builder) -> Result<T>,
    ) -> Result<(T, Vec<(String, Weight)>)> {
        Around::new(&self.parts, Some(self.depth), self.facts()).with_changes(builder, build)
    }
}

/// The parts at `weight` of a network, and what is known of it.
#[derive(Clone)]
pub(in crate::model) struct Around {
    /// All parts, so that those without a name have their index.
    parts: Vec<Part>,
    /// Number of blocks, if they are numbered.
    depth: Option<i64>,
    facts: Facts,
}

impl Around {
    pub fn new(parts: &[Part], depth: Option<i64>, facts: Facts) -> Self {
        Self { parts: parts.to_vec(), depth, facts }
    }

    /// Builds a network whose weights are changed, and returns those weights by their names with it.
    pub fn with_changes<T>(
        &self,
        builder: &mut Builder,
        build: impl FnOnce(&mut Builder) -> Result<T>,
    ) -> Result<(T, Vec<(String, Weight)>)> {
        if !self.parts.iter().any(Part::changes_weights) {
            return Ok((build(builder)?, Vec::new()));
        }
        builder.change_weights(self.changes());
        let built = build(builder);
        let weights = builder.changeable_weights();
        let built = built?;
        for part in self.parts.iter().filter(|part| part.changes_weights()) {
            let names = weights.iter().map(|(name, _)| name.as_str());
            let within: Vec<&str> = names.filter(|name| self.in_blocks_of(part, name)).collect();
            glob::pick_of(WHAT, part.names(), within.iter().copied()).map_err(|e| {
                let own = |name: &str| weights.iter().any(|(own, _)| own == name);
                let other = builder.made().iter().map(|(name, _)| name).find(|name| {
                    name.ends_with(".weight")
                        && glob::matches_any(part.names(), name)
                        && self.in_blocks_of(part, name)
                        && !own(name)
                });
                let e = e.context(format!("the {part}"));
                match other {
                    None => e,
                    Some(name) => e.hint(format!(
                        "`{name}` is not of a linear map that this model makes: a model in `b.model(name, model)` takes the \
                         part itself, `model.attach(part)`"
                    )),
                }
            })?;
        }
        Ok((built, weights.into_iter().filter(|(_, weight)| weight.is_changed()).collect()))
    }

    fn changes(&self) -> Changes {
        let own = self.clone();
        Arc::new(move |builder, name, weight| {
            let named = |part: &Part| {
                part.changes_weights()
                    && own.in_blocks_of(part, name)
                    && glob::matches_any(part.names(), name)
            };
            let parts = own.parts.iter().enumerate().filter(|(_, part)| named(part));
            let built = parts.map(|(index, part)| {
                below(builder, index, part, |b| Changed::new(b, part, own.facts.clone(), (name, weight)))
            });
            let all: Vec<Changed> = built.collect::<Result<_>>()?;
            if all.is_empty() {
                return Ok(None);
            }
            let change: Change =
                Arc::new(move |own| all.iter().try_fold(own.clone(), |weight, part| part.run(&weight)));
            Ok(Some(change))
        })
    }

    /// Returns whether a weight is in the blocks that a part is restricted to, if any.
    fn in_blocks_of(&self, part: &Part, name: &str) -> bool {
        match (part.blocks(), self.depth) {
            (super::Blocks::All, _) => true,
            (_, None) => false,
            (blocks, Some(depth)) => block_of(name)
                .is_some_and(|block| blocks.of(depth).is_ok_and(|blocks| blocks.contains(&block))),
        }
    }
}

/// Returns the error for a function with another number of parameters.
pub(crate) fn takes_one(count: usize) -> Error {
    Error::argument(format!(
        "the function of a part at `weight` takes the weight alone, found {count} parameters"
    ))
    .hint("`|w| w * scale`: a weight is the same for all images, so there is no call")
}

/// Returns the block of a parameter: `blocks.3.attn.qkv.weight` is in block 3.
fn block_of(name: &str) -> Option<i64> {
    name.strip_prefix("blocks.")?.split('.').next()?.parse().ok()
}

/// A part built for one weight.
struct Changed {
    run: Function,
    part: Part,
    /// The weight, for messages.
    name: String,
}

impl Changed {
    fn new(
        builder: &mut Builder,
        part: &Part,
        mut facts: Facts,
        (name, weight): (&str, &Tensor),
    ) -> Result<Self> {
        let Body::Code(code) = part.body() else {
            return Err(Error::internal("a correction changes no weights"));
        };
        let outputs = weight.size(0)?;
        facts.extend([("outputs", outputs), ("inputs", weight.count() as i64 / outputs.max(1))]);
        facts.extend(block_of(name).map(|block| ("block", block)));
        let run = SharedBuilder::lend(builder, facts, |shared| make(code.function()?, shared, &[]))?;
        if let Some(count) = run.takes().filter(|count| *count != 1) {
            return Err(takes_one(count));
        }
        Ok(Self { run, part: part.clone(), name: name.to_string() })
    }

    /// Returns the weight to use instead, in the dtype of the parameters even if its use is autocast: the sum of a weight
    /// and a small change is then rounded once.
    fn run(&self, weight: &Tensor) -> Result<Tensor> {
        let before = weight.version();
        let call = || self.run.call(&[weight.clone().into_value()]);
        let given = without_autocast(weight.device(), || match self.part.flops() {
            None => call(),
            Some(stated) => flops::instead(|| stated, call),
        })?;
        let kept = match weight.version() == before {
            true => like(&given, weight, false),
            false => Err(Error::argument("the function changed the stored weight itself, in place")
                .hint("return a new tensor, such as `w * 2.0` instead of `w.mul_(2.0)`")),
        };
        kept.map_err(|error| {
            let what = self.part.name().map_or_else(|| "part".to_string(), |name| format!("part `{name}`"));
            error.context(format!("the {what} at {} of `{}`{}", Place::Weight, self.name, self.run.written()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::declare::{Code, FromValue, Value, function};
    use crate::model::parts::{Blocks, PartOptions};
    use crate::model::{Design, Family, Model};
    use crate::nn::{Init, Linear};
    use crate::torch::autograd::{autocast, is_autocasting};
    use crate::torch::{DType, Device, Generator};

    /// Creates a part that adds 1.5 up down, of rank 2.
    fn low_rank() -> Part {
        let make = Function::new(|values| {
            let builder = SharedBuilder::from_value(&values[0])?;
            let (outputs, inputs) = (builder.fact("outputs")?, builder.fact("inputs")?);
            let down = builder.parameter("down", &[2, inputs], Init::KaimingUniform)?;
            let up = builder.parameter("up", &[outputs, 2], Init::Zeros)?;
            Ok(Value::Function(function(move |w: Tensor| w.add(&up.matmul(&down)?.mul_scalar(1.5)?))))
        });
        let options = PartOptions { name: "low".into(), plain: true, ..Default::default() };
        Part::of_code(Code::Live(make), &options).unwrap().at(Place::Weight, None).unwrap()
    }

    fn config(family: Family) -> Config {
        Config {
            image_size: 8,
            patch_size: 2,
            in_channels: 1,
            num_classes: 3,
            depth: 2,
            hidden_size: 16,
            num_heads: 2,
            family,
            dtype: DType::Float64,
            ..Config::preset("fashion_tiny").unwrap()
        }
    }

    /// Returns sin(start + by i) in a shape.
    fn wave(shape: &[i64], by: f64, start: f64) -> Tensor {
        let values: Vec<f64> =
            (0..shape.iter().product::<i64>()).map(|i| (start + by * i as f64).sin()).collect();
        Tensor::from_f64(&values, shape).unwrap()
    }

    fn randomize(model: &Model) {
        let generator = Generator::new(1, Device::Cpu).unwrap();
        for (_, parameter) in model.parameters() {
            let values =
                Tensor::randn(&parameter.shape(), DType::Float64, Device::Cpu, Some(&generator)).unwrap();
            parameter.copy_(&values.mul_scalar(0.2).unwrap()).unwrap();
        }
    }

    fn squares(model: &Model) -> Tensor {
        let generator = Generator::new(5, Device::Cpu).unwrap();
        let x = Tensor::randn(&[2, 1, 8, 8], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let t = Tensor::from_f32(&[0.2, 0.7], &[2]).unwrap();
        let y = Tensor::from_i64(&[1, 2], &[2]).unwrap();
        model.forward(&x, &t, &y).unwrap().square().unwrap()
    }

    fn close(found: &Tensor, expected: &[f64]) {
        let found = found.to_f64().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{found} {expected}");
        }
    }

    /// The numbers are those of PyTorch 2.11 for `F.linear(x, W, b) + 1.5 F.linear(F.linear(x, down), up)`.
    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let mut builder = Builder::seeded(0, DType::Float64, Device::Cpu);
        let (linear, changed) = config(Family::Dit)
            .with_parts(vec![low_rank()])
            .with_changes(&mut builder, |b| Linear::new(b, "map", 3, 4, Init::Zeros))
            .unwrap();
        assert_eq!(changed.len(), 1);
        let parameters = builder.finish();
        let named = |name: &str| parameters.iter().find(|(own, _)| own == name).unwrap().1.clone();
        let (down, up) = (named("map.parts.low.down"), named("map.parts.low.up"));
        for (parameter, by, start) in [
            (named("map.weight"), 1.0, 1.0),
            (named("map.bias"), 0.7, 0.0),
            (down.clone(), 0.5, 2.0),
            (up.clone(), 0.3, 1.0),
        ] {
            parameter.copy_(&wave(&parameter.shape(), by, start)).unwrap();
        }
        let x = wave(&[2, 3], 1.3, 0.5).set_requires_grad(true).unwrap();
        let y = linear.forward(&x).unwrap();
        close(
            &y,
            &[
                1.2210560334010339,
                -0.4703491778414256,
                2.6745791082916806,
                0.06210801148468775,
                -2.443312681955455,
                0.2101590952300456,
                -1.153170282201196,
                1.032008885458731,
            ],
        );
        y.square().unwrap().sum(&[], false).unwrap().backward(None, false).unwrap();
        close(
            &down.grad().unwrap(),
            &[
                10.886040090822595,
                12.025247219755997,
                -4.452561000410984,
                11.358922564138116,
                11.451059200139783,
                -5.232632719041721,
            ],
        );
        close(
            &up.grad().unwrap(),
            &[
                11.832045006869544,
                -4.258878864433886,
                -2.1406777451567285,
                1.4029198508018639,
                12.034237254587081,
                -7.963910844693461,
                -3.221358291209099,
                0.15919881541266603,
            ],
        );
        close(
            &x.grad().unwrap(),
            &[
                11.2325706079911,
                7.910327506119218,
                -2.941207489638015,
                -10.75449084850201,
                -7.1965391151413,
                4.324101065679356,
            ],
        );
    }

    #[test]
    fn a_merged_model_computes_the_same_and_gradients_follow_the_chain_rule_in_every_family() {
        for family in [Family::SpectralDit, Family::Dit, Family::Sit, Family::LightningDit] {
            let plain = Model::new(config(family), 0, Device::Cpu).unwrap();
            let tuned = plain.attach(&[low_rank()], 3).unwrap();
            assert!(tuned.starts_plain().unwrap() && plain.merge().is_err(), "{family:?}");
            randomize(&tuned);
            let merged = tuned.merge().unwrap();
            let names = |model: &Model| model.parameters().iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
            assert_eq!(names(&merged), names(&plain), "{family:?}");
            let linear = names(&tuned).iter().filter(|name| name.ends_with(".parts.low.up")).count();
            let matrices = plain.parameters().iter().filter(|(name, p)| {
                p.rank() >= 2
                    && !name.contains("y_embedder")
                    && !name.contains("label")
                    && !name.contains("pos_embed")
            });
            assert_eq!(linear, matrices.count(), "{family:?}");
            let (a, b) = (squares(&tuned), squares(&merged));
            assert!(a.allclose(&b, 1e-11, 1e-11).unwrap(), "{family:?}");
            for squares in [a, b] {
                squares.mean(&[], false).unwrap().backward(None, false).unwrap();
            }
            for (name, weight) in merged.parameters() {
                let find = |what: &str| {
                    let name = format!("{}parts.low.{what}", name.strip_suffix("weight")?);
                    tuned.parameters().iter().find(|(own, _)| *own == name).map(|(_, p)| p.clone())
                };
                let (Some(down), Some(up), Some(grad)) = (find("down"), find("up"), weight.grad()) else {
                    continue;
                };
                let grad = grad.flatten(1, -1).unwrap().mul_scalar(1.5).unwrap();
                let of_up = grad.matmul(&down.transpose(0, 1).unwrap()).unwrap();
                assert!(up.grad().unwrap().allclose(&of_up, 1e-9, 1e-12).unwrap(), "{family:?} {name}");
                let of_down = up.transpose(0, 1).unwrap().matmul(&grad).unwrap();
                assert!(down.grad().unwrap().allclose(&of_down, 1e-9, 1e-12).unwrap(), "{family:?} {name}");
            }
        }
    }

    #[test]
    fn a_weight_is_changed_in_its_own_dtype_even_if_its_use_is_autocast() {
        let make = function(|_: SharedBuilder| {
            Ok(function(|w: Tensor| {
                assert!(!is_autocasting(Device::Cpu));
                w.matmul(&Tensor::eye(w.size(1)?, w.size(1)?, w.dtype(), Device::Cpu)?)
            }))
        });
        let part = Part::of_code(Code::Live(make), &PartOptions::default()).unwrap();
        let config = Config { dtype: DType::Float32, ..config(Family::Dit) };
        let part = part.at(Place::Weight, None).unwrap();
        let model = Model::new(config.with_parts(vec![part]), 0, Device::Cpu).unwrap();
        let x = Tensor::ones(&[1, 1, 8, 8], DType::Float32, Device::Cpu).unwrap();
        let (t, y) = (Tensor::from_f32(&[0.5], &[1]).unwrap(), Tensor::from_i64(&[1], &[1]).unwrap());
        autocast(Device::Cpu, || model.forward(&x, &t, &y)).unwrap();
    }

    #[test]
    fn names_and_blocks_select_weights_and_are_stored() {
        let named = |blocks, names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            low_rank().at(Place::Weight, blocks).unwrap().of_names(&names).unwrap()
        };
        let model = |part: Part| Model::new(config(Family::Sit).with_parts(vec![part]), 0, Device::Cpu);
        let changed = |part: Part| {
            let model = model(part).unwrap();
            let names = model.parameters().iter().filter_map(|(name, _)| name.strip_suffix(".parts.low.up"));
            names.map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            changed(named(None, &["*.proj.*", "final_layer.*"])),
            [
                "x_embedder.proj",
                "blocks.0.attn.proj",
                "blocks.1.attn.proj",
                "final_layer.adaLN_modulation.1",
                "final_layer.linear"
            ]
        );
        assert_eq!(
            changed(named(Some(Blocks::Last), &["*.fc?.*"])),
            ["blocks.1.mlp.fc1", "blocks.1.mlp.fc2"]
        );
        let error = model(named(None, &["*.bias"])).unwrap_err();
        assert!(error.message().ends_with("no weight of a linear map matches `*.bias`"), "{error}");
        let error = model(named(Some(Blocks::Last), &["final_layer.*"])).unwrap_err();
        assert!(error.message().contains("in blocks \"last\": no weight of a linear map matches"), "{error}");
        let error = low_rank().at(Place::Mlp, None).unwrap().of_names(&["*".to_string()]).unwrap_err();
        assert_eq!(error.message(), "the place `mlp` takes no `names`");
        let of_two = function(|_: SharedBuilder| Ok(function(|w: Tensor, _: Value| Ok(w))));
        let of_two = Part::of_code(Code::Live(of_two), &PartOptions::default()).unwrap();
        let error = model(of_two.at(Place::Weight, None).unwrap()).unwrap_err();
        assert!(error.message().ends_with("takes the weight alone, found 2 parameters"), "{error}");
        let narrow = function(|_: SharedBuilder| Ok(function(|w: Tensor| w.narrow(0, 0, 1))));
        let narrow = Part::of_code(Code::Live(narrow), &PartOptions::default()).unwrap();
        let narrow =
            model(narrow.at(Place::Weight, None).unwrap().of_names(&["*.1.attn.qkv.*".into()]).unwrap());
        let error = narrow.unwrap().merge().unwrap_err();
        assert_eq!(
            error.message(),
            "the part at weight of `blocks.1.attn.qkv.weight`: expected a tensor of shape [48, 16] like its input, found [1, 16]"
        );
        let design =
            Design::from(config(Family::Dit).with_parts(vec![named(Some(Blocks::Odd), &["*.attn.*"])]));
        let again = Design::from_json(&design.to_json().unwrap()).unwrap();
        let Design::Dit(again) = again else { panic!("a DiT") };
        assert_eq!(
            (again.parts[0].names(), again.parts[0].blocks()),
            (&["*.attn.*".to_string()][..], &Blocks::Odd)
        );
        assert!(again.compiled(&Context::default()).is_err());
    }
}
