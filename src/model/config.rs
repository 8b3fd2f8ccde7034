//! Configuration of a DiT.

use super::parts::{self, Part, Place};
use super::presets::{self, Size};
use crate::context::Context;
use crate::declare::{OneOrMany, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::nn::shared_builder::Facts;
use crate::spectral::Correction;
use crate::spectral::gate::Width;
use crate::torch::DType;

/// Hyperparameters of a DiT or, with corrections, of a SpectralDiT.
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
    /// Height and width of the images, in pixels.
    #[option(range = 1..)]
    pub image_size: i64,
    /// Height and width of a patch, in pixels; must divide `image_size`.
    #[option(range = 1..)]
    pub patch_size: i64,
    /// Channels of the images.
    #[option(range = 1..)]
    pub in_channels: i64,
    /// Number of classes K; label K is the null label.
    #[option(range = 1..)]
    pub num_classes: i64,
    /// Number of blocks.
    #[option(range = 1.., shown = "{} blocks")]
    pub depth: i64,
    /// Width of a token; must be divisible by 4 and by `num_heads`.
    #[option(range = 4.., shown = "width {}")]
    pub hidden_size: i64,
    /// Attention heads per block.
    #[option(range = 1.., shown = "{} heads")]
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
            ("grid", self.grid()),
            ("channels", self.in_channels),
            ("classes", self.num_classes),
        ]
    }

    /// Returns the side of the grid at a place, and the width of the values there.
    pub(super) fn size_at(&self, place: Place) -> (i64, Width) {
        let (grid, channels) = match place {
            Place::Image | Place::Velocity => (self.image_size, self.in_channels),
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

    /// Returns the width of the MLP's inner layer.
    pub fn inner_size(&self) -> i64 {
        (self.hidden_size as f64 * self.mlp_ratio) as i64
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
    use crate::declare::{IntoValue, Value};
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
        assert_eq!(message(Config { depth: 0, ..tiny() }), "`depth` must be at least 1, found 0");
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
        assert_eq!(error.message(), "`depth` must be at least 1, found 0");
        let error = given(&[("dept", Value::Int(1))]).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `depth`?"));
        let full = DitOptions { config: expected.clone(), ..Default::default() };
        assert_eq!(DitOptions::from_map(&full.to_map()).unwrap().config, expected);
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
