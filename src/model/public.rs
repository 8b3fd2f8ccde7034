//! Configurations of the public models DiT, SiT and LightningDiT, inferred from the shapes of their parameters.

use std::collections::BTreeMap;

use super::Config;
use super::family::{Family, Names, POSITIONS, Position, ROPE};
use super::presets::{B, L, S, XL};
use crate::declare::{Choice, Map, Value};
use crate::error::{Error, Result};
use crate::nn::{MlpKind, QkNorm, TokenNorm};
use crate::torch::io::About;

/// Depth, width and number of heads of the public models: DiT and SiT (S, B, L, XL), LightningDiT (also 1p0B and 1p6B).
const SIZES: [[i64; 3]; 6] = [S, B, L, XL, [24, 1536, 24], [28, 1792, 28]];

/// Facts that shapes do not tell, or not always: options of `model::open`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    pub family: Option<Family>,
    pub num_heads: Option<i64>,
    pub num_classes: Option<i64>,
    pub image_size: Option<i64>,
}

/// Shapes of a network's parameters by name.
pub(super) struct Shapes<'a> {
    all: &'a BTreeMap<&'a str, &'a About>,
    names: &'static Names,
}

impl<'a> Shapes<'a> {
    pub fn new(all: &'a BTreeMap<&'a str, &'a About>, family: Family) -> Self {
        Self { all, names: family.names() }
    }

    fn get(&self, name: &str) -> Option<&'a [i64]> {
        self.all.get(name).map(|about| about.shape.as_slice())
    }

    fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// Returns the sizes of a parameter that must have `N` dimensions.
    fn sizes<const N: usize>(&self, name: &str, meaning: &str) -> Result<[i64; N]> {
        let Some(shape) = self.get(name) else {
            return Err(Error::argument(format!("the weights have no `{name}`, {meaning}"))
                .hint("the file is not one of DiT, SiT or LightningDiT, or is incomplete"));
        };
        <[i64; N]>::try_from(shape).ok().filter(|sizes| sizes.iter().all(|size| *size > 0)).ok_or_else(|| {
            Error::argument(format!("expected `{name}`, {meaning}, to have {N} dimensions, found {shape:?}"))
        })
    }

    /// Returns the number of blocks.
    fn depth(&self) -> Result<i64> {
        let index = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<i64>().ok();
        let found: std::collections::BTreeSet<i64> = self.all.keys().filter_map(|name| index(name)).collect();
        let depth = found.len() as i64;
        crate::ensure!(depth > 0, "the weights have no `blocks.0`: a DiT has at least one block");
        match (0..depth).find(|i| !found.contains(i)) {
            None => Ok(depth),
            Some(missing) => Err(Error::argument(format!(
                "the weights have block {}, but no `blocks.{missing}`",
                found.last().copied().unwrap_or(0)
            ))
            .hint("the file is incomplete")),
        }
    }

    /// Returns the size of a head if a parameter or table has it.
    fn head(&self) -> Option<i64> {
        let last = |name: &str| self.get(name)?.last().copied();
        last("blocks.0.attn.q_norm.weight").or_else(|| last(ROPE[0])).filter(|size| *size > 0)
    }

    /// Describes what only LightningDiT has.
    fn beyond_dit(&self) -> Vec<&'static str> {
        let shift = self.get(&format!("blocks.0.{}.1.weight", self.names.ada_ln));
        let short = shift.is_some_and(|s| s.len() == 2 && s[0] == 4 * s[1]);
        [
            (self.has("blocks.0.attn.q_norm.weight"), "normalized queries and keys"),
            (self.has(ROPE[0]), "rotary positions"),
            (self.has("blocks.0.norm1.weight"), "RMS norm"),
            (self.has("blocks.0.mlp.w12.weight"), "SwiGLU"),
            (short, "adaLN without a shift"),
        ]
        .into_iter()
        .filter_map(|(there, what)| there.then_some(what))
        .collect()
    }

    /// Returns the configuration, and notes on what had to be assumed.
    ///
    /// `settings` are those of the training file, if there are any.
    pub fn config(&self, known: Known, settings: &Map) -> Result<(Config, Vec<String>)> {
        let mut notes = Vec::new();
        let own = std::ptr::eq(self.names, Family::SpectralDit.names());
        let family = if own { Family::SpectralDit } else { self.family(known.family, settings)? };
        let depth = self.depth()?;
        let [hidden, channels, patch, width] =
            self.sizes(&format!("{}.proj.weight", self.names.patches), "the patch embedding")?;
        crate::ensure!(patch == width, "the patches are {patch} x {width}, and a DiT has square ones");
        let image_size = self.image_size(patch, known)?;
        let [rows, _] = self.sizes(&format!("{}.weight", self.names.labels), "the label embedding")?;
        let [outputs, _] = self.sizes("final_layer.linear.weight", "the final layer")?;
        let learn_sigma = match outputs {
            _ if outputs == patch * patch * channels => false,
            _ if outputs == 2 * patch * patch * channels => true,
            _ => {
                return Err(Error::argument(format!(
                    "`final_layer.linear.weight` has {outputs} outputs; patches of {patch} x {patch} x {channels} \
                     take {}, or {} with `learn_sigma`",
                    patch * patch * channels,
                    2 * patch * patch * channels
                )));
            }
        };
        let [adaptive, _] =
            self.sizes(&format!("blocks.0.{}.1.weight", self.names.ada_ln), "the adaLN of the first block")?;
        let (num_classes, drops) = classes(rows, known, settings, own)?;
        let mlp = if self.has("blocks.0.mlp.w12.weight") { MlpKind::SwiGlu } else { MlpKind::Gelu };
        let qk_norm = match (self.has("blocks.0.attn.q_norm.weight"), self.has("blocks.0.attn.q_norm.bias")) {
            (false, _) => QkNorm::None,
            (true, false) => QkNorm::Rms,
            (true, true) => QkNorm::Layer,
        };
        let mut config = Config {
            family,
            image_size,
            patch_size: patch,
            in_channels: channels,
            num_classes,
            depth,
            hidden_size: hidden,
            num_heads: self.heads(hidden, known, settings, &mut notes)?,
            class_dropout_prob: if drops { 0.1 } else { 0.0 },
            qkv_bias: self.has("blocks.0.attn.qkv.bias"),
            qk_norm: Some(qk_norm),
            norm: Some(match self.has("blocks.0.norm1.weight") {
                true => TokenNorm::Rms,
                false => TokenNorm::Layer,
            }),
            mlp: Some(mlp),
            position: Some(if self.has(ROPE[0]) { Position::Rope } else { Position::Sincos }),
            shift: adaptive != 4 * hidden,
            learn_sigma: Some(learn_sigma),
            ..Config::default()
        };
        config.mlp_ratio = self.mlp_ratio(&config)?;
        Ok((config.simplified(), notes))
    }

    /// Returns the family that was given, that of the settings, or the only one that has these parameters.
    fn family(&self, given: Option<Family>, settings: &Map) -> Result<Family> {
        let beyond = self.beyond_dit();
        match given.or_else(|| named(settings).and_then(|name| name.family)) {
            Some(Family::SpectralDit) => Err(Error::argument(
                "the weights have the names of the public models, not those of the family `spectraldit`",
            )
            .hint(match beyond.is_empty() {
                true => "`family: \"dit\"` or `family: \"sit\"` fits",
                false => "`family: \"lightningdit\"` fits",
            })),
            Some(family) if family != Family::LightningDit && !beyond.is_empty() => {
                Err(Error::argument(format!(
                    "the weights have {}, which the family `{}` does not have",
                    crate::error::list(&beyond).replace('`', ""),
                    family.name()
                ))
                .hint("`family: \"lightningdit\"` fits"))
            }
            Some(family) => Ok(family),
            None if !beyond.is_empty() => Ok(Family::LightningDit),
            None => Err(Error::argument(
                "DiT and SiT have parameters of the same names and shapes, and the file does not say which it is",
            )
            .hint(
                "give `family: \"dit\"` for a model that predicts noise at diffusion steps, or `family: \"sit\"` for one \
                 that predicts velocities",
            )),
        }
    }

    /// Returns the size of the images that the positions of the file are for.
    fn image_size(&self, patch: i64, known: Known) -> Result<i64> {
        let tokens = match (self.get(POSITIONS), self.get(ROPE[0])) {
            (Some([.., tokens, _]), _) | (None, Some([tokens, _])) => *tokens,
            _ => {
                return known.image_size.ok_or_else(|| {
                    Error::argument(
                        "the weights have no position embedding, which would tell the size of the images",
                    )
                    .hint("give `image_size`")
                });
            }
        };
        let side = (tokens as f64).sqrt().round() as i64;
        crate::ensure!(
            side * side == tokens,
            "the position embedding is of {tokens} tokens, and a DiT has a square grid of them"
        );
        Ok(side * patch)
    }

    fn heads(&self, hidden: i64, known: Known, settings: &Map, notes: &mut Vec<String>) -> Result<i64> {
        if let Some(size) = self.head() {
            let heads = hidden / size;
            crate::ensure!(
                heads * size == hidden,
                "the width {hidden} is not a multiple of the size {size} of a head"
            );
            return match known.num_heads {
                Some(given) if given != heads => Err(Error::argument(format!(
                    "the weights have heads of size {size}, which are {heads} in a width of {hidden}, and `num_heads` is \
                     {given}"
                ))
                .hint(format!("leave `num_heads` out, or give {heads}"))),
                _ => Ok(heads),
            };
        }
        if let Some(given) = known.num_heads {
            return Ok(given);
        }
        if let Some(heads) = named(settings).and_then(|name| name.heads(hidden)) {
            return Ok(heads);
        }
        let Some([depth, _, heads]) = SIZES.into_iter().find(|[_, width, _]| *width == hidden) else {
            return Err(Error::argument(format!(
                "the shapes do not tell the number of heads, and no public model has the width {hidden}"
            ))
            .hint("give `num_heads`, as the model was trained with"));
        };
        if self.depth()? != depth {
            notes.push(format!(
                "the shapes do not tell the number of heads: {heads} is that of the public models of width {hidden}, \
                 which have {depth} blocks; give `num_heads` if the model has another"
            ));
        }
        Ok(heads)
    }

    /// Returns a ratio that gives the inner width of the MLP, preferably a whole number.
    fn mlp_ratio(&self, config: &Config) -> Result<f64> {
        let hidden = config.hidden_size;
        let name = match config.mlp() {
            MlpKind::Gelu => format!("blocks.0.mlp.{}.weight", self.names.mlp[0]),
            MlpKind::SwiGlu => "blocks.0.mlp.w12.weight".to_string(),
        };
        let [rows, _] = self.sizes(&name, "the MLP of the first block")?;
        // Widths with GELU that give this one, before the two thirds of SwiGLU.
        let (inner, widths) = match config.mlp() {
            MlpKind::Gelu => (rows, rows..=rows),
            MlpKind::SwiGlu => (rows / 2, 3 * rows / 4..=3 * rows / 4 + 3),
        };
        let width = widths.clone().find(|width| width % hidden == 0);
        let exact = |ratio: &f64| Config { mlp_ratio: *ratio, ..config.clone() }.inner_size() == inner;
        width
            .into_iter()
            .chain(widths)
            .flat_map(|width| [width as f64 / hidden as f64, (width as f64 + 0.5) / hidden as f64])
            .find(exact)
            .ok_or_else(|| Error::argument(format!("`{name}` has {rows} rows, which no MLP has")))
    }
}

/// Returns the number of classes of a label embedding, and whether it has a null label.
fn classes(rows: i64, known: Known, settings: &Map, own: bool) -> Result<(i64, bool)> {
    let from_file = arguments(settings).and_then(|args| int(args.get("num_classes")));
    match known.num_classes {
        Some(given) if given == rows && !own => Ok((rows, false)),
        Some(given) if given + 1 != rows => {
            Err(Error::argument(format!("the label embedding has {rows} rows, and `num_classes` is {given}"))
                .hint(format!("{} classes and the null label have {rows} rows", rows - 1)))
        }
        _ if from_file == Some(rows) && !own => Ok((rows, false)),
        _ => {
            crate::ensure!(rows > 1, "the label embedding has {rows} rows, expected at least 2");
            Ok((rows - 1, true))
        }
    }
}

/// Name of a public model, such as `SiT-XL/2`.
struct Named {
    family: Option<Family>,
    size: Option<String>,
    heads: Option<i64>,
}

impl Named {
    /// Returns the number of heads of the named size, if it has this width.
    fn heads(&self, hidden: i64) -> Option<i64> {
        let sizes = [("S", 0), ("B", 1), ("L", 2), ("XL", 3), ("1p0B", 4), ("1p6B", 5)];
        let named = self.size.as_deref().and_then(|size| sizes.iter().find(|(name, _)| *name == size));
        let named = named.map(|(_, i)| SIZES[*i]).filter(|[_, width, _]| *width == hidden);
        self.heads.or(named.map(|[_, _, heads]| heads))
    }
}

/// Returns the arguments that a training program stored.
fn arguments(settings: &Map) -> Option<&Map> {
    ["args", "config"].iter().find_map(|name| match settings.get(*name) {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    })
}

fn int(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

/// Returns the name of the model in the settings of a training file: `args.model` of DiT and SiT,
/// `config.model.model_type` of LightningDiT.
fn named(settings: &Map) -> Option<Named> {
    let args = arguments(settings)?;
    let name = match args.get("model") {
        Some(Value::Str(name)) => Some(name.as_str()),
        Some(Value::Map(model)) => match model.get("model_type") {
            Some(Value::Str(name)) => Some(name.as_str()),
            _ => None,
        },
        _ => None,
    };
    let (family, size) = name.map_or((None, None), |name| {
        let (family, rest) = name.split_once('-').unwrap_or((name, ""));
        let size = rest.split('/').next().filter(|size| !size.is_empty()).map(str::to_string);
        let known = [("DiT", Family::Dit), ("SiT", Family::Sit), ("LightningDiT", Family::LightningDit)];
        (known.iter().find(|(known, _)| *known == family).map(|(_, family)| *family), size)
    });
    Some(Named { family, size, heads: int(args.get("num_heads")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    /// Discovers the configuration of a model from the shapes of its parameters.
    fn discover(config: Config, known: Known, settings: &Map) -> Result<(Config, Vec<String>)> {
        let outline = Model::outline(config.into()).unwrap();
        let about = |t: &crate::torch::Tensor| About { shape: t.shape(), dtype: t.dtype() };
        let all: Vec<(String, About)> =
            outline.parameters().iter().map(|(name, p)| (name.clone(), about(p))).collect();
        let all = all.iter().map(|(name, about)| (name.as_str(), about)).collect();
        Shapes::new(&all, Family::Dit).config(known, settings)
    }

    fn wide(hidden_size: i64, num_heads: i64) -> Config {
        let family = Family::Sit;
        Config { family, hidden_size, num_heads, depth: 1, ..Config::preset("DiT-XL/2").unwrap() }
    }

    const SIT: Known =
        Known { family: Some(Family::Sit), num_heads: None, num_classes: None, image_size: None };

    #[test]
    fn heads_of_the_public_widths_are_known_and_noted() {
        for (depth, width, expected) in
            [(12, 384, 6), (12, 768, 12), (24, 1024, 16), (28, 1152, 16), (24, 1536, 24), (28, 1792, 28)]
        {
            // A model of that size is a public one; another may have any number of heads.
            let (config, notes) = discover(Config { depth, ..wide(width, 1) }, SIT, &Map::new()).unwrap();
            assert_eq!((config.num_heads, notes.len()), (expected, 0));
            let (config, notes) = discover(wide(width, 1), SIT, &Map::new()).unwrap();
            assert_eq!(config.num_heads, expected);
            assert!(notes[0].contains(&format!("{expected} is that of the public models of width {width}")));
            let (config, notes) =
                discover(wide(width, 1), Known { num_heads: Some(2), ..SIT }, &Map::new()).unwrap();
            assert_eq!((config.num_heads, notes.len()), (2, 0));
        }
        let error = discover(wide(512, 8), SIT, &Map::new()).unwrap_err();
        assert_eq!(error.hint_text(), Some("give `num_heads`, as the model was trained with"));
    }

    #[test]
    fn arguments_of_training_tell_family_and_heads() {
        let text = |text: &str| Value::Str(text.to_string());
        let map = |name: &str, value: Value| Map::from([(name.to_string(), value)]);
        let args = |name: &str| map("args", Value::Map(map("model", text(name))));
        let none = Known::default();
        for (name, family) in [("SiT-XL/2", Family::Sit), ("DiT-XL/2", Family::Dit)] {
            let (config, notes) = discover(wide(1152, 1), none, &args(name)).unwrap();
            assert_eq!((config.family, config.num_heads, notes.len()), (family, 16, 0), "{name}");
        }
        // The configuration file of LightningDiT's training.
        let nested = map("model", Value::Map(map("model_type", text("LightningDiT-1p0B/1"))));
        let (config, _) = discover(wide(1536, 1), none, &map("config", Value::Map(nested))).unwrap();
        assert_eq!((config.family, config.num_heads), (Family::LightningDit, 24));
        // A name that does not fit the width tells nothing.
        assert!(discover(wide(512, 8), none, &args("SiT-XL/2")).is_err());
        let heads = Map::from([
            ("model".to_string(), text("SiT")),
            ("num_heads".to_string(), Value::Int(4)),
            ("num_classes".to_string(), Value::Int(1001)),
        ]);
        let (config, _) = discover(wide(512, 8), none, &map("args", Value::Map(heads))).unwrap();
        assert_eq!((config.num_heads, config.num_classes, config.class_dropout_prob), (4, 1001, 0.0));
    }
}
