//! What to try when the weights of a file do not fit a model.

use std::collections::BTreeMap;

use super::Config;
use super::family::Family;
use super::public::{Known, Shapes};
use crate::declare::{Choice, Map, Options, Value};
use crate::torch::io::About;

/// Options that weights determine.
const SEEN: [&str; 15] = [
    "image_size",
    "patch_size",
    "in_channels",
    "num_classes",
    "depth",
    "hidden_size",
    "num_heads",
    "mlp_ratio",
    "qkv_bias",
    "qk_norm",
    "norm",
    "mlp",
    "position",
    "shift",
    "learn_sigma",
];

/// Advice for a file whose patch embedding has the name of no family.
pub(super) const NO_FAMILY: &str = "its names are not those of a DiT of any family";

/// Returns which options would make a model that the weights of a file fit, or `None` if they do not tell.
pub(super) fn advice(config: &Config, found: &BTreeMap<&str, &About>) -> Option<String> {
    let has = |family: Family| found.contains_key(format!("{}.proj.weight", family.names().patches).as_str());
    let public = has(Family::Dit);
    if !public && !has(Family::SpectralDit) {
        return Some(NO_FAMILY.to_string());
    }
    if public && !config.family.is_public() {
        return Some(
            "the file is of a public model: open it with `model::open(path, #{ family: .. })`, where the family is \
             `dit`, `sit` or `lightningdit`"
                .to_string(),
        );
    }
    if !public && config.family.is_public() {
        return Some(format!(
            "the file is of the family `spectraldit`, and the model of the family `{}`",
            config.family.name()
        ));
    }
    let mut theirs = shapes(config, found, config.family, config.image_size)
        .or_else(|| shapes(config, found, Family::LightningDit, config.image_size))?;
    if theirs.num_classes + 1 == config.label_rows() {
        theirs.num_classes = config.num_classes;
    }
    let (ours, theirs) = (seen(config), seen(&theirs));
    let differing: Vec<String> = SEEN
        .iter()
        .filter_map(|name| {
            let (own, other) = (ours.get(*name)?, theirs.get(*name)?);
            (format!("{own:?}") != format!("{other:?}")).then(|| format!("{name}: {other:?}"))
        })
        .collect();
    (!differing.is_empty()).then(|| format!("a model with #{{ {} }} would fit", differing.join(", ")))
}

fn shapes(
    config: &Config,
    found: &BTreeMap<&str, &About>,
    family: Family,
    image_size: i64,
) -> Option<Config> {
    let shapes = Shapes::new(found, family);
    // The number of heads and the size of the images are those of the model, unless the shapes tell them.
    for num_heads in [None, Some(config.num_heads)] {
        for image_size in [None, Some(image_size)] {
            let known = Known { family: Some(family), num_heads, image_size, num_classes: None };
            let Ok((theirs, notes)) = shapes.config(known, &Map::new()) else { continue };
            if notes.is_empty() {
                return Some(theirs);
            }
        }
    }
    None
}

/// Returns the options of a configuration, with the defaults of its family written out.
fn seen(config: &Config) -> BTreeMap<String, Value> {
    Config {
        qk_norm: Some(config.qk_norm()),
        norm: Some(config.norm()),
        mlp: Some(config.mlp()),
        // Files of fixed and of trained positions are alike.
        position: Some(match config.position() {
            super::Position::Learned => super::Position::Sincos,
            other => other,
        }),
        learn_sigma: Some(config.learn_sigma()),
        ..config.clone()
    }
    .to_map()
    .into_iter()
    .collect()
}
