//! Named model sizes.

use super::Config;
use crate::declare::{Choice, Preset};
use crate::error::{Error, Result};

/// Named size to start from; `model::presets()` lists them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Size {
    /// 14 x 14 tokens, small enough to train on two CPU cores.
    #[default]
    FashionTiny,
    /// The SpectralDiT paper's CIFAR-10 model on pixels.
    Cifar10Small,
    /// The next size up on pixels: the body of DiT-S. This preset is not from a paper.
    Cifar10Base,
    /// The SpectralDiT paper's ImageNet-100 model, DiT-S/2 on latents.
    Imagenet100S2,
    /// DiT-S, patches of 2.
    #[choice(name = "DiT-S/2")]
    DitS2,
    /// DiT-S, patches of 4.
    #[choice(name = "DiT-S/4")]
    DitS4,
    /// DiT-S, patches of 8.
    #[choice(name = "DiT-S/8")]
    DitS8,
    /// DiT-B, patches of 2.
    #[choice(name = "DiT-B/2")]
    DitB2,
    /// DiT-B, patches of 4.
    #[choice(name = "DiT-B/4")]
    DitB4,
    /// DiT-B, patches of 8.
    #[choice(name = "DiT-B/8")]
    DitB8,
    /// DiT-L, patches of 2.
    #[choice(name = "DiT-L/2")]
    DitL2,
    /// DiT-L, patches of 4.
    #[choice(name = "DiT-L/4")]
    DitL4,
    /// DiT-L, patches of 8.
    #[choice(name = "DiT-L/8")]
    DitL8,
    /// DiT-XL, patches of 2.
    #[choice(name = "DiT-XL/2")]
    DitXl2,
    /// DiT-XL, patches of 4.
    #[choice(name = "DiT-XL/4")]
    DitXl4,
    /// DiT-XL, patches of 8.
    #[choice(name = "DiT-XL/8")]
    DitXl8,
}

/// Depth, width and heads of the sizes S, B, L and XL of the DiT paper (arXiv 2212.09748, table 1).
pub(super) const S: [i64; 3] = [12, 384, 6];
pub(super) const B: [i64; 3] = [12, 768, 12];
pub(super) const L: [i64; 3] = [24, 1024, 16];
pub(super) const XL: [i64; 3] = [28, 1152, 16];

impl Size {
    /// Returns image size, patch size, channels and classes, and the depth, width and heads of the body.
    ///
    /// The sizes of the DiT paper take latents of 256 x 256 ImageNet images, 32 x 32 x 4.
    const fn numbers(self) -> ([i64; 4], [i64; 3]) {
        const fn latents(patch: i64) -> [i64; 4] {
            [32, patch, 4, 1000]
        }
        match self {
            Size::FashionTiny => ([28, 2, 1, 10], [4, 128, 4]),
            Size::Cifar10Small => ([32, 1, 3, 10], [8, 192, 4]),
            Size::Cifar10Base => ([32, 1, 3, 10], S),
            Size::Imagenet100S2 => ([32, 2, 4, 100], S),
            Size::DitS2 => (latents(2), S),
            Size::DitS4 => (latents(4), S),
            Size::DitS8 => (latents(8), S),
            Size::DitB2 => (latents(2), B),
            Size::DitB4 => (latents(4), B),
            Size::DitB8 => (latents(8), B),
            Size::DitL2 => (latents(2), L),
            Size::DitL4 => (latents(4), L),
            Size::DitL8 => (latents(8), L),
            Size::DitXl2 => (latents(2), XL),
            Size::DitXl4 => (latents(4), XL),
            Size::DitXl8 => (latents(8), XL),
        }
    }
}

impl Preset<Config> for Size {
    fn set(self, config: &mut Config) {
        let ([image_size, patch_size, in_channels, num_classes], [depth, hidden_size, num_heads]) =
            self.numbers();
        config.image_size = image_size;
        config.patch_size = patch_size;
        config.in_channels = in_channels;
        config.num_classes = num_classes;
        config.depth = depth;
        config.hidden_size = hidden_size;
        config.num_heads = num_heads;
        config.mlp_ratio = 4.0;
        config.class_dropout_prob = 0.1;
    }
}

impl From<Size> for Config {
    /// Returns the plain DiT of that size.
    fn from(size: Size) -> Self {
        let mut config = Self::default();
        size.set(&mut config);
        config
    }
}

/// Returns the plain DiT of that name: float32, with an MLP ratio of 4 and a label dropout of 0.1.
pub fn find(name: &str) -> Result<Config> {
    let size = Size::named(name).map_err(|_| {
        let error = Error::argument(format!("there is no preset called \"{name}\""));
        error.did_you_mean(name, Size::NAMES.iter().copied())
    })?;
    Ok(size.into())
}

/// Returns the name of the preset that a configuration matches, apart from corrections, parts, dropout, family and dtype.
pub fn name_of(config: &Config) -> Option<&'static str> {
    let same = |size: &&Size| {
        let config = config.clone();
        let Config { corrections, parts, class_dropout_prob, family, dtype, .. } = config.clone();
        Config { corrections, parts, class_dropout_prob, family, dtype, ..Config::from(**size) } == config
    };
    Size::ALL.iter().find(same).map(|size| size.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_knows_its_name() {
        for name in Size::NAMES {
            let config = find(name).unwrap();
            config.check().unwrap();
            assert_eq!(name_of(&config), Some(*name));
        }
    }
}
