//! Named model sizes.

use super::Config;
use crate::error::{Error, Result};
use crate::torch::DType;

/// Name and sizes of a preset.
struct Preset {
    name: &'static str,
    image_size: i64,
    patch_size: i64,
    in_channels: i64,
    num_classes: i64,
    depth: i64,
    hidden_size: i64,
    num_heads: i64,
}

const fn preset(
    name: &'static str,
    [image_size, patch_size, in_channels, num_classes]: [i64; 4],
    [depth, hidden_size, num_heads]: [i64; 3],
) -> Preset {
    Preset { name, image_size, patch_size, in_channels, num_classes, depth, hidden_size, num_heads }
}

/// The sizes S, B, L and XL of the DiT paper (arXiv 2212.09748, table 1).
const S: [i64; 3] = [12, 384, 6];
const B: [i64; 3] = [12, 768, 12];
const L: [i64; 3] = [24, 1024, 16];
const XL: [i64; 3] = [28, 1152, 16];

/// Latents of 256 x 256 ImageNet images, 32 x 32 x 4, by patch size.
const LATENTS: [[i64; 4]; 3] = [[32, 2, 4, 1000], [32, 4, 4, 1000], [32, 8, 4, 1000]];

const PRESETS: [Preset; 16] = [
    // 14 x 14 tokens, small enough to train on two CPU cores.
    preset("fashion_tiny", [28, 2, 1, 10], [4, 128, 4]),
    // The SpectralDiT paper's CIFAR-10 model on pixels.
    preset("cifar10_small", [32, 1, 3, 10], [8, 192, 4]),
    // The next size up on pixels: the body of DiT-S. This preset is not from a paper.
    preset("cifar10_base", [32, 1, 3, 10], S),
    // The SpectralDiT paper's ImageNet-100 model, DiT-S/2 on latents.
    preset("imagenet100_s2", [32, 2, 4, 100], S),
    preset("DiT-S/2", LATENTS[0], S),
    preset("DiT-S/4", LATENTS[1], S),
    preset("DiT-S/8", LATENTS[2], S),
    preset("DiT-B/2", LATENTS[0], B),
    preset("DiT-B/4", LATENTS[1], B),
    preset("DiT-B/8", LATENTS[2], B),
    preset("DiT-L/2", LATENTS[0], L),
    preset("DiT-L/4", LATENTS[1], L),
    preset("DiT-L/8", LATENTS[2], L),
    preset("DiT-XL/2", LATENTS[0], XL),
    preset("DiT-XL/4", LATENTS[1], XL),
    preset("DiT-XL/8", LATENTS[2], XL),
];

/// Names of all presets.
pub const NAMES: [&str; PRESETS.len()] = {
    let mut names = [""; PRESETS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = PRESETS[i].name;
        i += 1;
    }
    names
};

/// Returns the plain DiT of that name: float32, with an MLP ratio of 4 and a label dropout of 0.1.
pub fn find(name: &str) -> Result<Config> {
    let Some(preset) = PRESETS.iter().find(|p| p.name == name) else {
        return Err(
            Error::argument(format!("there is no preset called \"{name}\"")).did_you_mean(name, NAMES)
        );
    };
    Ok(Config {
        image_size: preset.image_size,
        patch_size: preset.patch_size,
        in_channels: preset.in_channels,
        num_classes: preset.num_classes,
        depth: preset.depth,
        hidden_size: preset.hidden_size,
        num_heads: preset.num_heads,
        mlp_ratio: 4.0,
        class_dropout_prob: 0.1,
        corrections: Vec::new(),
        parts: Vec::new(),
        dtype: DType::Float32,
    })
}

/// Returns the name of the preset that a configuration matches, apart from corrections, parts, dropout and dtype.
pub fn name_of(config: &Config) -> Option<&'static str> {
    let plain = Config { corrections: Vec::new(), parts: Vec::new(), ..config.clone() };
    NAMES.into_iter().find(|name| {
        find(name).is_ok_and(|preset| {
            Config { class_dropout_prob: plain.class_dropout_prob, dtype: plain.dtype, ..preset } == plain
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_knows_its_name() {
        for name in NAMES {
            let config = find(name).unwrap();
            config.check().unwrap();
            assert_eq!(name_of(&config), Some(name));
        }
    }
}
