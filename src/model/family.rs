//! Families of a DiT: the names of parameters, and what differs between public models.

use crate::declare::Choice;

/// Family of a DiT. It decides the names of the parameters, and the defaults of the options that differ between
/// families.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Family {
    /// The SpectralDiT paper's DiT (arXiv 2606.18765), with RMS-normalized queries and keys.
    #[default]
    #[choice(name = "spectraldit")]
    SpectralDit,
    /// DiT (arXiv 2212.09748), which predicts the noise of a diffusion at steps from 0 to 999, and its variance.
    Dit,
    /// SiT (arXiv 2401.08740), which has the parameters of DiT and predicts velocities.
    Sit,
    /// LightningDiT (arXiv 2501.01423): RMS norm, SwiGLU and rotary positions.
    #[choice(name = "lightningdit")]
    LightningDit,
}

/// Position embedding of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Position {
    /// Fixed sines and cosines, added to the tokens.
    #[default]
    Sincos,
    /// Fixed sines and cosines as with `sincos`, and queries and keys rotated by their row and column (Su et al. 2021),
    /// as in LightningDiT.
    Rope,
    /// A trained table that is added to the tokens and starts at the sines and cosines.
    Learned,
}

/// Positions of the tokens of a grid that is larger or smaller than the one that `position_base` names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum PositionScaling {
    /// Positions count the tokens of every grid, as in the public models.
    #[default]
    None,
    /// The tokens of every grid are spread over the positions of the base: linear interpolation, as LightningDiT's
    /// `pt_seq_len` and PixArt's `base_size`.
    Linear,
    /// Positions count tokens, and on a larger grid the base of the frequencies grows, so that the lowest one is
    /// interpolated and the highest one is not: NTK-aware scaling along each axis, as in FiT (Lu et al. 2024).
    Ntk,
}

/// Names of the modules of a network.
#[derive(Debug)]
pub(super) struct Names {
    pub patches: &'static str,
    pub times: &'static str,
    pub labels: &'static str,
    pub mlp: [&'static str; 2],
    pub ada_ln: &'static str,
}

/// Names of a SpectralDiT.
const OWN: Names = Names {
    patches: "patch_embed",
    times: "time_embed",
    labels: "label_embed.embedding",
    mlp: ["net.0", "net.2"],
    ada_ln: "ada_ln",
};

/// Names of the public models.
pub(super) const PUBLIC: Names = Names {
    patches: "x_embedder",
    times: "t_embedder",
    labels: "y_embedder.embedding_table",
    mlp: ["fc1", "fc2"],
    ada_ln: "adaLN_modulation",
};

/// Name of the position embedding.
pub(super) const POSITIONS: &str = "pos_embed";

/// Names of the tables of rotary positions.
pub(super) const ROPE: [&str; 2] = ["feat_rope.freqs_cos", "feat_rope.freqs_sin"];

impl Family {
    /// Returns whether its models have the parameters of a public repository, under the names used there.
    pub fn is_public(self) -> bool {
        self != Family::SpectralDit
    }

    pub(super) fn names(self) -> &'static Names {
        if self.is_public() { &PUBLIC } else { &OWN }
    }

    /// Returns its name for headings, such as `SiT`.
    pub fn title(self) -> &'static str {
        match self {
            Family::SpectralDit | Family::Dit => "DiT",
            Family::Sit => "SiT",
            Family::LightningDit => "LightningDiT",
        }
    }
}
