//! What happened inside each block, for figures.

use crate::declare::{IntoValue, Map, Value};
use crate::spectral::correction::Bands;
use crate::torch::Tensor;

/// The intermediate results of one block; tokens are [B, N, D].
#[derive(Debug, Clone)]
pub struct BlockTrace {
    /// What attention added.
    pub attn_residual: Tensor,
    /// What the MLP would add without correction.
    pub mlp_residual: Tensor,
    /// What was added instead.
    pub corrected: Tensor,
    /// What the block passed on.
    pub output: Tensor,
    /// What each correction computed, in order.
    pub corrections: Vec<Split>,
}

/// The two bands of a residual and their coefficients.
#[derive(Debug, Clone)]
pub struct Split {
    /// Coefficients [B, 2] of the low and the high band.
    pub gates: Tensor,
    /// The low band, [B, N, D].
    pub low: Tensor,
    /// The high band, [B, N, D].
    pub high: Tensor,
}

impl Split {
    /// Completes what a correction computed with the high band.
    pub fn of(bands: &Bands, residual: &Tensor) -> crate::error::Result<Self> {
        Ok(Self { gates: bands.gates.clone(), low: bands.low.clone(), high: residual.sub(&bands.low)? })
    }

    fn to_map(&self) -> Map {
        Map::from([
            ("gates".to_string(), self.gates.clone().into_value()),
            ("low".to_string(), self.low.clone().into_value()),
            ("high".to_string(), self.high.clone().into_value()),
        ])
    }
}

impl BlockTrace {
    /// All tensors by name: those of the first correction as `gates`, `low` and `high`, and all
    /// corrections in the array `corrections`.
    pub fn to_map(&self) -> Map {
        let mut map = self.corrections.first().map(Split::to_map).unwrap_or_default();
        let all = self.corrections.iter().map(|split| Value::Map(split.to_map())).collect();
        map.insert("corrections".to_string(), Value::List(all));
        for (name, tensor) in [
            ("attn_residual", &self.attn_residual),
            ("mlp_residual", &self.mlp_residual),
            ("corrected", &self.corrected),
            ("output", &self.output),
        ] {
            map.insert(name.to_string(), tensor.clone().into_value());
        }
        map
    }
}
