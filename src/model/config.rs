//! Configuration of a DiT.

use super::family::{Family, Position, PositionScaling};
use super::parts::{self, Part, Place};
use super::presets::{self, Size};
use crate::context::Context;
use crate::declare::{Choice, OneOrMany, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::nn::embed::{FeatureOrder, THETA};
use crate::nn::shared_builder::Facts;
use crate::nn::{MlpKind, QkNorm, TokenNorm};
use crate::spectral::Correction;
use crate::spectral::gate::Width;
use crate::torch::DType;

/// Hyperparameters of a DiT of any family or, with corrections, of a SpectralDiT.
///
/// One line here makes the option of `model::dit`, its check, its place in files and in the printed table.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(preset = Size, stored = "a stored configuration")]
pub struct Config {
    /// Corrections of the MLP residual in every block, in order; an empty list makes a plain DiT.
    #[option(default = OneOrMany::default())]
    pub corrections: OneOrMany<Correction>,
    /// User-defined modules, `nn::part(..).at(..)`, and corrections at a place, `correction(..).at(..)`, in order.
    #[option(default = OneOrMany::default(), omit)]
    pub parts: OneOrMany<Part>,
    /// Height and width of the images, in pixels, for which the model is made. It takes images of other sizes and aspect
    /// ratios too.
    #[option(range = 1..=65536)]
    pub image_size: i64,
    /// Height and width of a patch, in pixels; must divide the height and width of every image.
    #[option(range = 1..=65536)]
    pub patch_size: i64,
    /// Channels of the images.
    #[option(range = 1..=65536)]
    pub in_channels: i64,
    /// Number of classes K; label K is the null label.
    #[option(range = 1..=16777216)]
    pub num_classes: i64,
    /// Number of blocks.
    #[option(range = 1..=65536, shown = "{} blocks")]
    pub depth: i64,
    /// Width of a token; must be divisible by 4 and by `num_heads`.
    #[option(range = 4..=1048576, shown = "width {}")]
    pub hidden_size: i64,
    /// Attention heads per block.
    #[option(range = 1..=65536, shown = "{} heads")]
    pub num_heads: i64,
    /// Width of the MLP's inner layer as a multiple of `hidden_size`; presets have 4.
    #[option(range = 0.01..=64.0)]
    pub mlp_ratio: f64,
    /// Probability with which training replaces a label by the null label; presets have 0.1.
    #[option(range = 0.0..=1.0)]
    pub class_dropout_prob: f64,
    /// Whether the map to queries, keys and values has a bias, as in DiT.
    #[option(default = true, omit, shown = "qkv_bias {}")]
    pub qkv_bias: bool,
    /// Family of the model. It decides the names of the parameters and the defaults of the options below: `spectraldit`
    /// is the paper's, and `dit`, `sit` and `lightningdit` have the parameters of the public models.
    #[option(default = Family::SpectralDit, omit, shown = "family {}")]
    pub family: Family,
    /// Norm of the queries and keys of each head: `none`, `rms` or `layer`. The default is `rms` in the family
    /// `spectraldit` and `none` in others.
    #[option(default = None, omit, shown = "qk_norm {}")]
    pub qk_norm: Option<QkNorm>,
    /// Norm of the tokens before their modulation, `layer` without a weight or `rms` with one (Zhang and Sennrich
    /// 2019). The default is `rms` in the family `lightningdit` and `layer` in others.
    #[option(default = None, omit, shown = "{} norm")]
    pub norm: Option<TokenNorm>,
    /// MLP: `gelu`, or `swiglu` (Shazeer 2020) with an inner width of two thirds of `mlp_ratio * hidden_size`. The
    /// default is `swiglu` in the family `lightningdit` and `gelu` in others.
    #[option(default = None, omit, shown = "{} mlp")]
    pub mlp: Option<MlpKind>,
    /// Position embedding: `sincos`, `rope` or `learned`. The default is `rope` in the family `lightningdit` and
    /// `sincos` in others. With `rope`, the size of a head must be divisible by 4.
    #[option(default = None, omit, shown = "position {}")]
    pub position: Option<Position>,
    /// Base of the frequencies of rotary positions.
    #[option(default = 10000.0, range = 1.0..=1e12, omit, shown = "rope_theta {}")]
    pub rope_theta: f64,
    /// Fixed and rotary positions of images of another size than `position_base`: `none` counts tokens, `linear` spreads
    /// them over the positions of the base, and `ntk` stretches the low frequencies alone. `learned` positions are
    /// always resized by bicubic interpolation.
    #[option(default = PositionScaling::None, omit, shown = "position_scaling {}")]
    pub position_scaling: PositionScaling,
    /// Height and width of the images, in pixels, whose positions `position_scaling` keeps; by default `image_size`.
    #[option(default = None, range = 1..=65536, omit, shown = "position_base {}")]
    pub position_base: Option<i64>,
    /// Whether adaLN adds a shift in blocks; without it, its map has 4 instead of 6 outputs per channel, as with
    /// LightningDiT's `wo_shift`. The final layer always has a shift.
    #[option(default = true, omit, shown = "shift {}")]
    pub shift: bool,
    /// Whether the network has a second output for each channel, the variance of a diffusion. The family `dit` returns
    /// both, [B, 2 C, H, W]; others return only the first. The default is `true` in the families `dit` and `sit`.
    #[option(default = None, omit, shown = "learn_sigma {}")]
    pub learn_sigma: Option<bool>,
    /// Order of the 256 features of a time: `cos_sin`, as in all public models, or `sin_cos`.
    #[option(default = FeatureOrder::CosSin, omit, shown = "time features {}")]
    pub time_order: FeatureOrder,
    /// Factor of a time before its features. With 1000, a time in [0, 1] has the features of the diffusion step of DiT
    /// that is 1000 times as large.
    #[option(default = 1.0, range = 0.001..=100000.0, omit, shown = "time scale {}")]
    pub time_scale: f64,
    /// Element type of the parameters.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

impl Config {
    /// Returns the configuration of a preset, such as `fashion_tiny`.
    pub fn preset(name: &str) -> Result<Self> {
        presets::find(name)
    }

    /// Returns the configuration with other corrections.
    #[must_use]
    pub fn with_corrections(mut self, corrections: Vec<Correction>) -> Self {
        self.corrections = corrections.into();
        self
    }

    /// Returns the configuration with other parts.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<Part>) -> Self {
        self.parts = parts.into();
        self
    }

    /// Returns whether it has corrections, at the MLP or as parts.
    pub fn has_corrections(&self) -> bool {
        !self.corrections.is_empty() || self.parts.iter().any(|part| part.correction().is_some())
    }

    /// Compiles the code of corrections and parts that was read from a file.
    pub fn compiled(mut self, context: &Context) -> Result<Self> {
        self.corrections = self.corrections.iter().map(|c| c.compiled(context)).collect::<Result<_>>()?;
        self.parts = self.parts.iter().map(|part| part.compiled(context)).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Returns whether a forward pass calls user code.
    pub fn calls_code(&self) -> bool {
        self.corrections.iter().any(Correction::calls_code) || self.parts.iter().any(Part::calls_code)
    }

    /// Returns the properties of the model that a part's builder has.
    pub(super) fn facts(&self) -> Facts {
        vec![
            ("width", self.hidden_size),
            ("depth", self.depth),
            ("heads", self.num_heads),
            ("inner", self.inner_size()),
            ("grid", self.grid()),
            ("channels", self.in_channels),
            ("classes", self.num_classes),
        ]
    }

    /// Returns the side of the grid at a place, and the width of the values there.
    pub(super) fn size_at(&self, place: Place) -> (i64, Width) {
        let (grid, channels) = match place {
            Place::Image | Place::Velocity => (self.image_size, self.in_channels),
            Place::Hidden => (self.grid(), self.inner_size()),
            _ => (self.grid(), self.hidden_size),
        };
        (grid, Width { embedding: self.hidden_size, channels })
    }

    /// Returns the number of tokens along one side of the image.
    pub fn grid(&self) -> i64 {
        self.image_size / self.patch_size
    }

    /// Returns the number of tokens of an image.
    pub fn tokens(&self) -> i64 {
        self.grid() * self.grid()
    }

    /// Returns the width of the MLP's inner layer; that of SwiGLU is two thirds of the width with GELU, rounded down.
    pub fn inner_size(&self) -> i64 {
        let inner = (self.hidden_size as f64 * self.mlp_ratio) as i64;
        match self.mlp() {
            MlpKind::Gelu => inner,
            MlpKind::SwiGlu => (2.0 / 3.0 * inner as f64) as i64,
        }
    }

    /// Returns the norm of queries and keys.
    pub fn qk_norm(&self) -> QkNorm {
        self.qk_norm.unwrap_or(if self.family.is_public() { QkNorm::None } else { QkNorm::Rms })
    }

    /// Returns the norm of tokens.
    pub fn norm(&self) -> TokenNorm {
        self.norm.unwrap_or(if self.is_lightning() { TokenNorm::Rms } else { TokenNorm::Layer })
    }

    /// Returns the kind of MLP.
    pub fn mlp(&self) -> MlpKind {
        self.mlp.unwrap_or(if self.is_lightning() { MlpKind::SwiGlu } else { MlpKind::Gelu })
    }

    /// Returns the position embedding.
    pub fn position(&self) -> Position {
        self.position.unwrap_or(if self.is_lightning() { Position::Rope } else { Position::Sincos })
    }

    /// Returns whether the network has a second output for each channel.
    pub fn learn_sigma(&self) -> bool {
        self.learn_sigma.unwrap_or(matches!(self.family, Family::Dit | Family::Sit))
    }

    fn is_lightning(&self) -> bool {
        self.family == Family::LightningDit
    }

    /// Returns the channels that a forward pass returns: twice those of the images if it returns variances too.
    pub fn out_channels(&self) -> i64 {
        let both = self.family == Family::Dit && self.learn_sigma();
        self.in_channels * if both { 2 } else { 1 }
    }

    /// Returns the number of labels, including the null label. The public families have no null label if no label is
    /// ever dropped.
    pub fn label_rows(&self) -> i64 {
        let has_null = !self.family.is_public() || self.class_dropout_prob > 0.0;
        self.num_classes + i64::from(has_null)
    }

    /// Returns the largest time that a forward pass takes: the diffusion steps of DiT are from 0 to 1000.
    pub fn last_time(&self) -> f64 {
        match self.family {
            Family::Dit => (1000.0 / self.time_scale).max(1.0),
            _ => 1.0,
        }
    }

    /// Returns the same configuration with the value of every option whose default depends on the family.
    pub(super) fn resolved(&self) -> Self {
        Self {
            qk_norm: Some(self.qk_norm()),
            norm: Some(self.norm()),
            mlp: Some(self.mlp()),
            position: Some(self.position()),
            learn_sigma: Some(self.learn_sigma()),
            ..self.clone()
        }
    }

    /// Returns the same configuration without options that are given and equal to the default of the family.
    pub(super) fn simplified(&self) -> Self {
        let usual =
            Self { qk_norm: None, norm: None, mlp: None, position: None, learn_sigma: None, ..self.clone() };
        fn unless<T: PartialEq>(given: Option<T>, usual: T) -> Option<T> {
            given.filter(|given| *given != usual)
        }
        Self {
            qk_norm: unless(self.qk_norm, usual.qk_norm()),
            norm: unless(self.norm, usual.norm()),
            mlp: unless(self.mlp, usual.mlp()),
            position: unless(self.position, usual.position()),
            learn_sigma: unless(self.learn_sigma, usual.learn_sigma()),
            ..usual
        }
    }

    /// Checks all settings and returns an error for the first invalid one, with values that would be valid.
    pub fn check(&self) -> Result<()> {
        Options::check(self)?;
        if self.image_size % self.patch_size != 0 {
            return Err(Error::argument(format!(
                "image size {} is not divisible by patch size {}",
                self.image_size, self.patch_size
            ))
            .hint(format!(
                "patch sizes that divide {} are {}",
                self.image_size,
                divisors(self.image_size)
            )));
        }
        if self.hidden_size % self.num_heads != 0 {
            return Err(Error::argument(format!(
                "hidden size {} is not divisible by {} heads",
                self.hidden_size, self.num_heads
            ))
            .hint(format!(
                "numbers of heads that divide {} are {}",
                self.hidden_size,
                divisors(self.hidden_size)
            )));
        }
        if self.hidden_size % 4 != 0 {
            let below = self.hidden_size / 4 * 4;
            return Err(Error::argument(format!(
                "hidden size {} is not divisible by 4, which the position embedding needs",
                self.hidden_size
            ))
            .hint(format!("the nearest are {below} and {}", below + 4)));
        }
        let head = self.hidden_size / self.num_heads;
        if self.position() == Position::Rope && head % 4 != 0 {
            return Err(Error::argument(format!(
                "rotary positions need heads of a size divisible by 4, found {head}: hidden size {} with {} heads",
                self.hidden_size, self.num_heads
            ))
            .hint("choose another `num_heads`, or `position: \"sincos\"`"));
        }
        if self.rope_theta != THETA && self.position() != Position::Rope {
            return Err(Error::argument(format!(
                "`rope_theta` is the base of rotary positions, found `position: \"{}\"`",
                self.position().name()
            ))
            .hint("give `position: \"rope\"`, or leave `rope_theta` out"));
        }
        let scales = self.position_scaling != PositionScaling::None;
        if scales && self.position() == Position::Learned {
            return Err(Error::argument(format!(
                "`position_scaling: \"{}\"` needs fixed or rotary positions, found `position: \"learned\"`",
                self.position_scaling.name()
            ))
            .hint("learned positions are resized by bicubic interpolation: leave `position_scaling` out"));
        }
        if let Some(base) = self.position_base {
            if !scales {
                return Err(Error::argument(format!(
                    "`position_base: {base}` has no effect without `position_scaling`"
                ))
                .hint("give `position_scaling: \"linear\"` or `\"ntk\"`, or leave `position_base` out"));
            }
            ensure!(
                base % self.patch_size == 0,
                "`position_base` must be divisible by the patch size {}, found {base}",
                self.patch_size
            );
        }
        ensure!(
            self.inner_size() >= 1,
            "`mlp_ratio` times hidden size {} must be at least 1, found a ratio of {}",
            self.hidden_size,
            self.mlp_ratio
        );
        ensure!(self.dtype.is_float(), "the dtype of a model must be a float, found {}", self.dtype.name());
        parts::check(&self.parts, self.depth)
    }
}

fn divisors(number: i64) -> String {
    let all: Vec<String> = (1..=number).filter(|d| number % d == 0).map(|d| d.to_string()).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{IntoValue, Map, Value};
    use crate::model::DitOptions;
    use crate::spectral::{Filter, correction, filter, gate};

    fn tiny() -> Config {
        Config::preset("fashion_tiny").unwrap()
    }

    #[test]
    fn a_patch_that_does_not_divide_names_both_sizes_and_those_that_do() {
        let error = Config { patch_size: 3, ..tiny() }.check().unwrap_err();
        assert_eq!(error.message(), "image size 28 is not divisible by patch size 3");
        assert_eq!(error.hint_text(), Some("patch sizes that divide 28 are 1, 2, 4, 7, 14, 28"));
    }

    #[test]
    fn every_other_misfit_has_a_message_too() {
        let message = |config: Config| config.check().unwrap_err().message();
        assert_eq!(message(Config { num_heads: 3, ..tiny() }), "hidden size 128 is not divisible by 3 heads");
        let odd = Config { hidden_size: 6, num_heads: 2, ..tiny() };
        assert!(message(odd).contains("not divisible by 4"));
        assert_eq!(message(Config { depth: 0, ..tiny() }), "`depth` must be from 1 to 65536, found 0");
        assert!(message(Config { class_dropout_prob: 1.5, ..tiny() }).contains("from 0 to 1"));
        assert!(message(Config { dtype: DType::Int64, ..tiny() }).contains("must be a float"));
    }

    #[test]
    fn a_file_names_an_option_that_is_younger_only_where_it_is_used() {
        let stored = tiny().to_stored();
        assert!(!stored.contains_key("qkv_bias") && !stored.contains_key("parts"));
        assert_eq!(Config::from_stored(&stored).unwrap(), tiny());
        let other = Config { qkv_bias: false, ..tiny() };
        let stored = other.to_stored();
        assert!(matches!(stored["qkv_bias"], Value::Bool(false)));
        assert_eq!(Config::from_stored(&stored).unwrap(), other);
        let mut stored = tiny().to_stored();
        stored.remove("mlp_ratio");
        let error = Config::from_stored(&stored).unwrap_err();
        assert_eq!(error.message(), "a stored configuration has no `mlp_ratio`");
    }

    #[test]
    fn given_options_replace_those_of_the_preset_whatever_their_order() {
        let given = |entries: &[(&str, Value)]| {
            let map = entries.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            DitOptions::from_map(&map).map(|options| options.config)
        };
        let [preset, depth] = [("preset", "DiT-B/4".into_value()), ("depth", Value::Int(3))];
        assert_eq!(given(&[]).unwrap(), tiny());
        assert_eq!(given(std::slice::from_ref(&preset)).unwrap(), Config::preset("DiT-B/4").unwrap());
        let expected = Config { depth: 3, ..Config::preset("DiT-B/4").unwrap() };
        assert_eq!(given(&[preset.clone(), depth]).unwrap(), expected);
        let left = given(&[preset, ("depth", Value::Unit)]).unwrap();
        assert_eq!(left.depth, 12);
        let error = given(&[("preset", "DiT-B/3".into_value())]).unwrap_err();
        assert!(error.message().starts_with("`preset` must be one of `fashion_tiny`"), "{error}");
        assert!(error.hint_text().unwrap().starts_with("did you mean `DiT-B/"), "{error}");
        let error = given(&[("depth", Value::Int(0))]).unwrap_err();
        assert_eq!(error.message(), "`depth` must be from 1 to 65536, found 0");
        let error = given(&[("dept", Value::Int(1))]).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `depth`?"));
        let full = DitOptions { config: expected.clone(), ..Default::default() };
        assert_eq!(DitOptions::from_map(&full.to_map()).unwrap().config, expected);
    }

    #[test]
    fn sizes_that_no_model_has_are_refused_at_once() {
        for name in
            ["image_size", "patch_size", "in_channels", "num_classes", "depth", "hidden_size", "num_heads"]
        {
            for size in [0, -1, i64::MAX, 1 << 40] {
                let error =
                    DitOptions::from_map(&Map::from([(name.to_string(), Value::Int(size))])).unwrap_err();
                assert!(error.message().starts_with(&format!("`{name}` must be from ")), "{error}");
            }
        }
    }

    #[test]
    fn the_stored_form_comes_back_equal() {
        let response = filter::Response::new(|r| Ok((-3.0 * r).exp())).unwrap();
        let config = tiny().with_corrections(vec![
            correction(
                filter::gaussian(filter::Gaussian { sigma: 1.0 / 3.0 }).unwrap(),
                gate::time(gate::Time { scale: 0.1, ..Default::default() }).unwrap(),
            )
            .unwrap(),
            correction(Filter::new(response).unwrap(), gate::r#static(()).unwrap()).unwrap(),
        ]);
        let design = crate::model::Design::from(config);
        let text = design.to_json().unwrap().to_string();
        let restored = crate::model::Design::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(restored, design);
    }
}
