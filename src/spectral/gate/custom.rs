//! Gate computed by a user-defined network.

use super::{Condition, Gate, GateKind, GateLayer, Width, given};
use crate::context::Context;
use crate::declare::{Code, Field, Function, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::nn::{Builder, SharedBuilder};
use crate::torch::Tensor;

functions! { in "gate";
    /// Computes the coefficients with a custom network.
    ///
    /// `make` is called with a builder once per block and returns the function that computes the coefficients in
    /// every forward pass. That function takes a map of the times `t` [B], as in `gate::schedule`, and the
    /// embeddings `time`, `label` and `both` [B, D], and returns coefficients [B, k] or [B, k, D], the lowest band
    /// first, or an array of k numbers or tensors [B]. With times of pixels each of the N tokens has its own: t is [B, N],
    /// embeddings are [B, N, D], and coefficients [B, N, k] or [B, N, k, D]. The builder has the properties `width`, `bands`
    /// and `channels`. If the coefficients start at zero, the model starts as plain DiT. The code is stored with the model if it
    /// was written in a file.
    ///
    /// ```rhai
    /// let gate = gate::custom(|b| {
    ///     let out = b.linear("out", b.width, 2, #{ init: "zeros" });
    ///     |c| out.forward(c.both.silu()).sin()
    /// });
    /// let net = model::dit(#{ depth: 1, corrections: correction(filter::binomial(), gate) });
    /// assert_eq(net.parameters()["blocks.0.freq_gate.out.weight"].shape, [2, 128]);
    /// assert(net.starts_plain());
    /// ```
    fn custom(make: Function) -> Gate { Gate::new(Custom { make: Code::Live(make) }) }
}

/// User-defined network that computes the coefficients.
#[derive(Debug, Clone)]
pub struct Custom {
    /// Function that takes a builder and returns the function of a condition.
    pub make: Code,
}

#[derive(Debug)]
struct Layer {
    run: Function,
    bands: i64,
}

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        let given = self.run.call(&[Value::Map(given::seen(condition)?)])?;
        given::coefficients(&given, self.bands, condition)
            .map_err(|e| e.context(format!("gate::custom{}", self.run.written())))
    }
}

impl GateKind for Custom {
    fn layer(&self, builder: &mut Builder, name: &str, bands: i64, width: Width) -> Result<Box<dyn GateLayer>> {
        let facts = vec![("width", width.embedding), ("bands", bands), ("channels", width.channels)];
        let make = self.make.function()?;
        let run = builder.within(name, |builder| {
            SharedBuilder::lend(builder, facts, |shared| match make.call(&[shared.clone().into_value()])? {
                Value::Function(run) => {
                    shared.calls(&run);
                    Ok(run)
                }
                other => Err(other.mismatch("a function from a condition to coefficients")),
            })
        })?;
        Ok(Box::new(Layer { run, bands }))
    }

    /// Parameters that code creates are counted when the model is built.
    fn parameters(&self, _: i64, _: Width) -> i64 {
        0
    }

    fn multiplications(&self, _: i64, _: Width) -> i64 {
        0
    }

    fn code(&self) -> Option<&Code> {
        Some(&self.make)
    }

    fn compiled(&self, context: &Context) -> Result<Option<Gate>> {
        Gate::new(Self { make: self.make.compiled(context)? }).map(Some)
    }
}

/// Placeholder without code; calling it is an error.
impl Default for Custom {
    fn default() -> Self {
        let nothing = Function::new(|_| Err(Error::internal("a gate without code")));
        Self { make: Code::Live(nothing) }
    }
}

/// The stored form is the code.
impl Options for Custom {
    const FIELDS: &'static [Field] = &[];
    const DOC: &'static str = "Coefficients from a user-defined network.";

    fn from_map(map: &Map) -> Result<Self> {
        Ok(Self { make: Code::stored(map.get("make").cloned().unwrap_or(Value::Unit)) })
    }

    fn set(&mut self, map: &Map) -> Result<()> {
        *self = Self::from_map(map)?;
        Ok(())
    }

    fn to_map(&self) -> Map {
        Map::from([("make".to_string(), self.make.to_data().unwrap_or(Value::Unit))])
    }
}
