//! Intermediate results of each block, for figures.

use crate::declare::{IntoValue, Map, Value};
use crate::spectral::correction::Bands;
use crate::torch::Tensor;

/// The intermediate results of one block; tokens are [B, N, D].
#[derive(Debug, Clone)]
pub struct BlockTrace {
    /// Residual that attention added.
    pub attn_residual: Tensor,
    /// Residual that the MLP would have added without corrections.
    pub mlp_residual: Tensor,
    /// Residual that was added instead.
    pub corrected: Tensor,
    /// Output of the block.
    pub output: Tensor,
    /// Bands and coefficients of each correction, in order.
    pub corrections: Vec<Split>,
}

/// Bands of a residual and their coefficients.
#[derive(Debug, Clone)]
pub struct Split {
    /// Coefficients of the bands, [B, k] or [B, k, D]; with times of pixels [B, N, k] or [B, N, k, D].
    pub gates: Tensor,
    /// The bands, [B, N, D] each, the lowest first.
    pub bands: Vec<Tensor>,
}

impl Split {
    /// Combines the gates of a correction with the bands of the residual.
    pub fn of(bands: &Bands, residual: &Tensor) -> crate::error::Result<Self> {
        Ok(Self { gates: bands.gates.clone(), bands: bands.split(residual)? })
    }

    fn to_map(&self) -> Map {
        let mut map = Map::from([
            ("gates".to_string(), self.gates.clone().into_value()),
            ("bands".to_string(), self.bands.clone().into_value()),
        ]);
        if let [low, high] = &self.bands[..] {
            map.insert("low".to_string(), low.clone().into_value());
            map.insert("high".to_string(), high.clone().into_value());
        }
        map
    }
}

impl BlockTrace {
    /// Returns all tensors by name.
    ///
    /// Those of the first correction are `gates`, `bands` and, if there are two bands, `low` and `high`; the array
    /// `corrections` holds those of all corrections.
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
