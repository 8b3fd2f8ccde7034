//! Muon: momentum whose matrices are made nearly orthogonal before each update.
//!
//! Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".

use super::fit::Precision;
use super::{AdamWOptions, CustomOptions, Groups, Parameters};
use crate::declare::{Field, FromValue, IntoValue, Map, OneOrMany, Options, Value};
use crate::ensure;
use crate::error::{Error, Result, nearest};
use crate::nn::glob;
use crate::torch::optim::{Slots, global_norm};
use crate::torch::{DType, Tensor};

/// Coefficients of the iteration, for the steepest slope at zero.
const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);

/// Options of Muon.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct MuonOptions {
    /// Learning rate, in units of the spectral norm; an update is scaled by `max(1, rows / columns)^0.5`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub lr: f64,
    /// Decay rate of the momentum.
    #[option(default = 0.95, range = 0.0..1.0)]
    pub momentum: f64,
    /// Whether an update looks ahead: it is the gradient moved towards the momentum, instead of the momentum.
    #[option(default = true)]
    pub nesterov: bool,
    /// Decoupled weight decay: each update first multiplies the parameters by `1 - lr weight_decay`.
    #[option(default = 0.0, range = 0.0..=1000.0)]
    pub weight_decay: f64,
    /// Steps of the iteration that makes an update orthogonal.
    #[option(default = 5, range = 1..=100)]
    pub iterations: usize,
    /// Precision of the iteration; by default bfloat16 on CUDA and float32 on the CPU.
    pub precision: Option<Precision>,
    /// Names of its parameters, a glob or an array of globs; only those with two dimensions are taken. The default takes
    /// the matrices of blocks, and leaves embeddings and the final layer to AdamW.
    #[option(default = OneOrMany(vec!["*blocks.*".to_string()]))]
    pub r#match: OneOrMany<String>,
    /// Names that `match` does not take, a glob or an array of globs; by default those of gates.
    #[option(default = OneOrMany(vec!["*gate*".to_string()]))]
    pub except: OneOrMany<String>,
}

impl MuonOptions {
    /// Returns whether each parameter is updated by Muon. A choice without any is an error.
    pub(super) fn takes(&self, parameters: &Parameters) -> Result<Vec<bool>> {
        let takes = |(name, tensor): &(String, Tensor)| {
            let named = glob::matches_any(&self.r#match.0, name);
            tensor.rank() == 2 && named && !glob::matches_any(&self.except.0, name)
        };
        let taken: Vec<bool> = parameters.named().iter().map(takes).collect();
        if !taken.contains(&true) {
            let names: Vec<&str> = parameters.named().iter().take(3).map(|(name, _)| name.as_str()).collect();
            return Err(Error::argument(format!(
                "no parameter is a matrix for Muon: `match` is {:?}, and the names are {}, ..",
                self.r#match.0,
                names.join(", ")
            ))
            .hint("`match: \"*.weight\"` takes all weights with two dimensions"));
        }
        Ok(taken)
    }

    /// Returns the update rule of parameters in no group, followed by those of the groups.
    pub(super) fn rules(&self, groups: &Groups) -> Vec<Muon> {
        let own = |lr: Option<f64>, weight_decay: Option<f64>| Muon {
            lr: lr.unwrap_or(self.lr),
            weight_decay: weight_decay.unwrap_or(self.weight_decay),
            momentum: self.momentum,
            nesterov: self.nesterov,
            iterations: self.iterations,
            precision: self.precision,
        };
        let of_groups = groups.0.iter().map(|group| own(group.lr, group.weight_decay));
        std::iter::once(own(None, None)).chain(of_groups).collect()
    }
}

/// Update rule of Muon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Muon {
    pub lr: f64,
    pub weight_decay: f64,
    momentum: f64,
    nesterov: bool,
    iterations: usize,
    precision: Option<Precision>,
}

impl Muon {
    /// Updates parameters, momenta (the first moments) and counts in place, with the meaning of `scale` and `skip` of the
    /// fused AdamW update.
    pub fn update(&self, slots: &Slots, scale: Option<&Tensor>, skip: &Tensor) -> Result<()> {
        let (skipped, counts) = (skip.gt_scalar(0.0)?, skip.rsub_scalar(1.0)?);
        let all = slots.params.iter().zip(&slots.grads).zip(&slots.first).zip(&slots.steps);
        for (((param, grad), momentum), step) in all {
            let param = param.detach()?;
            let grad = match scale {
                Some(scale) => grad.div(&scale.to_dtype(grad.dtype())?)?,
                None => grad.clone(),
            };
            let moved = momentum.lerp(&grad, 1.0 - self.momentum)?;
            let direction = if self.nesterov { grad.lerp(&moved, self.momentum)? } else { moved.clone() };
            let ratio = param.size(0)? as f64 / param.size(1)?.max(1) as f64;
            let update = self.orthogonal(&direction)?.mul_scalar(ratio.max(1.0).sqrt())?;
            let update = update.to_dtype(param.dtype())?.mul_scalar(self.lr)?;
            let next = param.mul_scalar(1.0 - self.lr * self.weight_decay)?.sub(&update)?;
            momentum.copy_(&momentum.where_true(&skipped, &moved)?)?;
            param.copy_(&param.where_true(&skipped, &next)?)?;
            step.copy_(&step.add(&counts)?)?;
        }
        Ok(())
    }

    /// Returns a matrix with the singular vectors of `x`, and singular values near 1, by a quintic Newton-Schulz
    /// iteration.
    fn orthogonal(&self, x: &Tensor) -> Result<Tensor> {
        let usual = if x.device().is_cuda() { Precision::BFloat16 } else { Precision::Float32 };
        let x = x.to_dtype(match self.precision.unwrap_or(usual) {
            Precision::BFloat16 => DType::BFloat16,
            Precision::Float32 => DType::Float32,
        })?;
        let (a, b, c) = COEFFICIENTS;
        // Products of the smaller side are cheaper.
        let tall = x.size(0)? > x.size(1)?;
        let x = if tall { x.transpose(0, 1)? } else { x };
        // The Frobenius norm bounds the spectral norm.
        let mut x = x.div(&global_norm(std::slice::from_ref(&x))?.add_scalar(1e-7)?)?;
        for _ in 0..self.iterations {
            let square = x.matmul(&x.transpose(0, 1)?)?;
            let factor = square.mul_scalar(b)?.add(&square.mul_scalar(c)?.matmul(&square)?)?;
            x = x.mul_scalar(a)?.add(&factor.matmul(&x)?)?;
        }
        if tall { x.transpose(0, 1) } else { Ok(x) }
    }
}

/// Options of `optim::muon`.
#[derive(Debug, Clone, Options)]
pub struct MuonAndAdamWOptions {
    /// Options of Muon.
    #[option(flatten)]
    pub muon: MuonOptions,
    /// Options of AdamW, which updates all other parameters, as in `optim::adamw`. Its `groups` may hold parameters of
    /// Muon too, whose `lr` and `weight_decay` they change.
    pub adamw: AdamWOptions,
}

/// Optimizer of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Method {
    /// AdamW for all parameters.
    #[default]
    AdamW,
    /// Muon for the matrices of blocks, and AdamW for all others.
    Muon(MuonOptions),
    /// A function for some or all parameters, and AdamW for all others.
    Custom(Box<CustomOptions>),
}

/// Names of the optimizers.
const NAMES: [&str; 2] = ["adamw", "muon"];

/// Functions of the namespace `optimizers`, which scripts define.
const READY: [&str; 5] = ["sgd", "lion", "adafactor", "cautious_adamw", "soap"];

/// The key of the maps that `optimizer` takes beside the options of an optimizer.
#[derive(Debug, Clone, Options)]
struct Named {
    /// `"muon"` or `"adamw"`; a map with `update` or `update_all` has none.
    pub kind: Option<String>,
}

/// All keys of the maps that `optimizer` takes.
const KEYS: &[Field] = &{
    const PARTS: [&[Field]; 3] = [Named::FIELDS, MuonOptions::FIELDS, CustomOptions::FIELDS];
    let mut all = [PARTS[0][0]; PARTS[0].len() + PARTS[1].len() + PARTS[2].len()];
    let (mut part, mut place) = (0, 0);
    while part < PARTS.len() {
        let mut i = 0;
        while i < PARTS[part].len() {
            all[place] = PARTS[part][i];
            (i, place) = (i + 1, place + 1);
        }
        part += 1;
    }
    all
};

impl Method {
    /// Returns the optimizer as data for comparisons. A function without a known text becomes `()`.
    pub(super) fn to_compared(&self) -> Value {
        match self {
            Self::Custom(custom) => custom.to_compared(),
            other => other.clone().into_value(),
        }
    }

    /// Returns whether an update calls code.
    pub(super) fn calls_code(&self) -> bool {
        matches!(self, Self::Custom(_))
    }

    /// Returns the functions that cannot be compared with those of another run, by name, and why.
    pub(super) fn not_compared(&self) -> Vec<(&'static str, Error)> {
        match self {
            Self::Custom(custom) => {
                custom.functions().filter_map(|(name, f)| Some((name, f.to_compared().err()?))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Reads a name, a map of `kind` and options, or a map with an update function.
impl FromValue for Method {
    fn label() -> String {
        "string or map".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let of = |name: &str, options: &Map| match name {
            "adamw" => {
                ensure!(
                    options.is_empty(),
                    "`adamw` has no options here; `lr` and others are options of the run"
                );
                Ok(Self::AdamW)
            }
            "muon" => MuonOptions::from_map(options).map(Self::Muon),
            other => {
                let error = Error::argument(format!("there is no optimizer called \"{other}\""));
                Err(match nearest(other, NAMES) {
                    Some(_) => error.did_you_mean(other, NAMES),
                    None => {
                        let ready = nearest(&other.to_lowercase(), READY).unwrap_or("lion");
                        error.hint(format!(
                            "others are maps of the namespace `optimizers`: `optimizer: optimizers::{ready}()`"
                        ))
                    }
                })
            }
        };
        match value {
            Value::Str(name) => of(name, &Map::new()),
            Value::Map(map) => {
                let mut options = map.clone();
                match options.remove("kind") {
                    Some(Value::Str(name)) => of(&name, &options),
                    None if ["update", "update_all"].iter().any(|key| map.contains_key(*key)) => {
                        let custom = CustomOptions::from_map(map)?;
                        custom.check_functions()?;
                        Ok(Self::Custom(Box::new(custom)))
                    }
                    _ => Err(Error::argument(
                        "the map of an optimizer has a `kind`, \"adamw\" or \"muon\", or a function `update`",
                    )
                    .hint(
                        "`optimizer: #{ kind: \"muon\", lr: 0.02 }`, or `#{ update: |u| u.param - u.lr * u.grad }`",
                    )),
                }
            }
            other => {
                let error =
                    other.mismatch("\"adamw\", \"muon\" or a map such as #{ kind: \"muon\", lr: 0.02 }");
                Err(match other {
                    Value::Function(_) => error.hint("`optimizer: #{ update: |u| u.param - u.lr * u.grad }`"),
                    _ => error,
                })
            }
        }
    }
    fn fields() -> &'static [Field] {
        KEYS
    }
}

impl IntoValue for Method {
    fn label() -> String {
        "string or map".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Self::AdamW => "adamw".into_value(),
            Self::Muon(options) => {
                let mut map = options.to_map();
                map.insert("kind".to_string(), "muon".into_value());
                Value::Map(map)
            }
            Self::Custom(custom) => {
                let mut map = custom.to_map();
                map.retain(|_, value| !matches!(value, Value::Unit));
                Value::Map(map)
            }
        }
    }
}

#[cfg(test)]
mod tests;
