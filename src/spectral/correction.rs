//! The correction of a block's MLP residual by a filter and a gate.

use std::fmt;

use super::filter::Plan;
use super::gate::{Condition, GateLayer};
use super::{Filter, Gate};
use crate::declare::{Display, Map, Value};
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::scripted;
use crate::torch::{Tensor, fused};

/// A low-pass filter that splits the residual into two bands, and the gate that weights them.
///
/// With r the MLP residual, low = F(r) and high = r - low, a block's output is
/// x + r + g_low low + g_high high (SpectralDiT, arXiv 2606.18765).
#[derive(Clone, Debug, PartialEq)]
pub struct Correction {
    /// What separates the bands.
    pub filter: Filter,
    /// What decides their coefficients.
    pub gate: Gate,
}

scripted!(
    Correction,
    "correction",
    |c| Display::text(c.to_string()),
    describe = |c| format!("the {c}"),
    data = |c| Some(c.to_data()),
);

/// Puts a filter and a gate together.
pub fn correction(filter: &Filter, gate: &Gate) -> Correction {
    Correction { filter: filter.clone(), gate: gate.clone() }
}

impl Correction {
    /// Makes the correction of one block, the `index`th from 0, for a grid and width of tokens.
    ///
    /// The parameters of the first are called `freq_gate..`, as in the paper's checkpoints, those of the
    /// second `freq_gate_2..`, and so on; those of its filter `freq_filter..` likewise.
    pub fn layer(&self, builder: &mut Builder, index: usize, grid: i64, hidden: i64) -> Result<Layer> {
        let name = |part: &str| match index {
            0 => format!("freq_{part}"),
            later => format!("freq_{part}_{}", later + 1),
        };
        let gate = self.gate.layer(builder, &name("gate"), hidden)?;
        Ok(Layer { plan: self.filter.layer(builder, &name("filter"), grid)?, gate })
    }

    /// Whether it calls code of the user's in every forward.
    pub fn calls_code(&self) -> bool {
        self.filter.calls_code()
    }

    /// The stored forms of filter and gate.
    pub fn to_data(&self) -> Value {
        Value::Map(Map::from([
            ("filter".to_string(), self.filter.to_data()),
            ("gate".to_string(), self.gate.to_data()),
        ]))
    }

    /// The correction that [`Correction::to_data`] stored.
    pub fn from_data(data: &Value) -> Result<Self> {
        let part = |name: &str| match data {
            Value::Map(map) => {
                map.get(name).ok_or_else(|| Error::argument(format!("a stored correction has a `{name}`")))
            }
            other => Err(other.mismatch("a stored correction")),
        };
        Ok(Self { filter: Filter::from_data(part("filter")?)?, gate: Gate::from_data(part("gate")?)? })
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "correction({}, {})", self.filter, self.gate)
    }
}

/// A correction inside one block.
#[derive(Debug)]
pub struct Layer {
    plan: Plan,
    gate: Box<dyn GateLayer>,
}

/// What one correction computed.
#[derive(Debug, Clone)]
pub struct Bands {
    /// Coefficients [B, 2] of the low and the high band.
    pub gates: Tensor,
    /// The low band of the residual, [B, N, D].
    pub low: Tensor,
}

impl Layer {
    /// Splits the residual [B, N, D] and decides the coefficients.
    pub fn bands(&self, residual: &Tensor, condition: &Condition) -> Result<Bands> {
        Ok(Bands { gates: self.gate.forward(condition)?, low: self.plan.apply(residual)? })
    }
}

impl Bands {
    fn coefficient(&self, band: i64) -> Result<Tensor> {
        self.gates.narrow(1, band, 1)?.unsqueeze(2)
    }
}

/// Adds `r = gate m` with its corrections to `x`, as [`add_corrected`] does, for tokens x and m [B, N, D] and one
/// gate [B, 1, D] per image. Corrections by linear filters are one pass over the tokens; those by code follow it.
pub fn add_gated(
    x: &Tensor,
    m: &Tensor,
    gate: &Tensor,
    corrections: &[Layer],
    condition: &Condition,
) -> Result<Tensor> {
    let coefficients = corrections.iter().map(|c| Ok((&c.plan, c.gate.forward(condition)?)));
    add_filtered(x, m, gate, &coefficients.collect::<Result<Vec<_>>>()?)
}

/// As [`add_gated`], with each filter's coefficients [B, 2].
pub fn add_filtered(
    x: &Tensor,
    m: &Tensor,
    gate: &Tensor,
    corrections: &[(&Plan, Tensor)],
) -> Result<Tensor> {
    let (mut linear, mut others) = (Vec::new(), Vec::new());
    for (plan, gates) in corrections {
        match plan.matrices()? {
            Some(filter) => linear.push((gates.clone(), filter)),
            None => others.push((plan, gates)),
        }
    }
    let sum = fused::gated_add_corrected(x, m, gate, &linear)?;
    if others.is_empty() {
        return Ok(sum);
    }
    let residual = gate.mul(m)?;
    others.into_iter().try_fold(sum, |sum, (plan, gates)| {
        let bands = Bands { gates: gates.clone(), low: plan.apply(&residual)? };
        let high = bands.coefficient(1)?;
        let low = bands.coefficient(0)?.sub(&high)?;
        sum.addcmul(&high, &residual, 1.0)?.addcmul(&low, &bands.low, 1.0)
    })
}

/// Adds a residual with its corrections: `x + (1 + Σ g_high) r + Σ (g_low - g_high) low`, in order.
///
/// Coefficients of zero give `x + r` to the last bit: 1 r and 0 low are exact, and so are the sums.
pub fn add_corrected(x: &Tensor, residual: &Tensor, corrections: &[Bands]) -> Result<Tensor> {
    let Some((first, rest)) = corrections.split_first() else {
        return x.add(residual);
    };
    let whole = rest
        .iter()
        .try_fold(first.coefficient(1)?.add_scalar(1.0)?, |sum, bands| sum.add(&bands.coefficient(1)?))?;
    corrections.iter().try_fold(x.addcmul(&whole, residual, 1.0)?, |sum, bands| {
        sum.addcmul(&bands.coefficient(0)?.sub(&bands.coefficient(1)?)?, &bands.low, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [f64; 2]) -> Tensor {
        Tensor::from_f64(&values, &[1, 1, 2]).unwrap()
    }

    #[test]
    fn bands_are_weighted_by_their_coefficients() {
        let (x, residual) = (row([10.0, 20.0]), row([1.0, 2.0]));
        let bands =
            |low, gates: [f64; 2]| Bands { gates: Tensor::from_f64(&gates, &[1, 2]).unwrap(), low: row(low) };
        // x + r + g_low low + g_high (r - low), with low = (3, 1) and then also low = (0, 2).
        let first = bands([3.0, 1.0], [0.5, -0.25]);
        let once = add_corrected(&x, &residual, std::slice::from_ref(&first)).unwrap();
        assert_eq!(once.to_f64().unwrap(), [10.0 + 1.0 + 1.5 + 0.5, 20.0 + 2.0 + 0.5 - 0.25]);
        let twice = add_corrected(&x, &residual, &[first, bands([0.0, 2.0], [1.0, 2.0])]).unwrap();
        assert_eq!(twice.to_f64().unwrap(), [13.0 + 2.0, 22.25 + 2.0]);
        assert_eq!(add_corrected(&x, &residual, &[]).unwrap().to_f64().unwrap(), [11.0, 22.0]);
    }
}
