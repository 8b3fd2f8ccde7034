//! Gate that is a user-defined function of the time.

use super::{Condition, Gate, GateKind, GateLayer, Width, given};
use crate::context::Context;
use crate::declare::{Code, Field, Function, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::nn::Builder;
use crate::torch::Tensor;

functions! { in "gate";
    /// Computes the coefficients with a function of the time; nothing is learned.
    ///
    /// The function takes the times t [B] in [0, 1], where 0 is noise and 1 is data, and returns one coefficient per
    /// band, the lowest first: an array of numbers or tensors [B], or a tensor [B, k] or [B, k, D]. It is called in
    /// every block of every forward pass, and is stored with the model if it was written in a file. A model of the
    /// family `dit` takes diffusion steps; t is then the time of the straight path with the step's signal-to-noise
    /// ratio. With times of pixels t is [B, N], one time for each token, and tensors are [B, N], [B, N, k] or [B, N, k, D].
    ///
    /// ```rhai
    /// // Low frequencies early, high ones late.
    /// let gate = gate::schedule(|t| [1.0 - t, t - 1.0]);
    /// let net = model::dit(#{ depth: 1, corrections: correction(filter::binomial(), gate) });
    /// let seen = net.trace(tensor::zeros([1, 1, 28, 28]), tensor([0.25]), tensor([3]));
    /// assert_close(seen[0].gates, [[0.75, -0.75]], 1e-6);
    /// ```
    fn schedule(rule: Function) -> Gate { Gate::new(Schedule { rule: Code::Live(rule) }) }
}

/// User-defined coefficients as a function of the time.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Function that takes times `[B]` and returns one coefficient per band.
    pub rule: Code,
}

#[derive(Debug)]
struct Layer {
    rule: Function,
    bands: i64,
}

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        let given = self.rule.call(&[condition.t.clone().into_value()])?;
        given::coefficients(&given, self.bands, condition).map_err(|e| e.context("gate::schedule"))
    }
}

impl GateKind for Schedule {
    fn layer(&self, builder: &mut Builder, name: &str, bands: i64, _: Width) -> Result<Box<dyn GateLayer>> {
        let rule = self.rule.function()?;
        builder.within(name, |builder| {
            builder.calls(rule);
            Ok(Box::new(Layer { rule: rule.clone(), bands }) as Box<dyn GateLayer>)
        })
    }

    fn parameters(&self, _: i64, _: Width) -> i64 {
        0
    }

    fn multiplications(&self, _: i64, _: Width) -> i64 {
        0
    }

    fn code(&self) -> Option<&Code> {
        Some(&self.rule)
    }

    fn compiled(&self, context: &Context) -> Result<Option<Gate>> {
        Gate::new(Self { rule: self.rule.compiled(context)? }).map(Some)
    }
}

/// Placeholder without a rule; calling it is an error.
impl Default for Schedule {
    fn default() -> Self {
        let zero = Function::new(|_| Err(Error::internal("a schedule without a rule")));
        Self { rule: Code::Live(zero) }
    }
}

/// The stored form is the rule's code.
impl Options for Schedule {
    const FIELDS: &'static [Field] = &[];
    const DOC: &'static str = "Coefficients from a user-defined function of time.";

    fn from_map(map: &Map) -> Result<Self> {
        Ok(Self { rule: Code::stored(map.get("rule").cloned().unwrap_or(Value::Unit)) })
    }

    fn set(&mut self, map: &Map) -> Result<()> {
        *self = Self::from_map(map)?;
        Ok(())
    }

    fn to_map(&self) -> Map {
        Map::from([("rule".to_string(), self.rule.to_data().unwrap_or(Value::Unit))])
    }
}
