//! Loading of parameters with the public names, and saving with those of diffusers.

use std::collections::BTreeMap;
use std::path::Path;

use super::names::{renamed, stages};
use super::{Vae, VaeOptions};
use crate::data::scale;
use crate::declare::{FromValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::files;
use crate::nn::Builder;
use crate::torch::io::{Loaded, TensorFile, save_safetensors};
use crate::torch::{DType, Device, Tensor};

/// Metadata key of the sizes, stored as JSON.
const CONFIG: &str = "vae";

/// Name of the tensor by which the prefix of all others is found.
const FIRST: &str = "encoder.conv_in.weight";

/// Prefixes of tensors of the training, which are no part of the autoencoder.
const TRAINING: [&str; 2] = ["loss.", "model_ema."];

/// Options of [`load`] that cannot be read from the tensors.
#[derive(Debug, Clone, Options)]
pub struct LoadOptions {
    /// Number of groups of the group normalization; by default that in the file, else 32.
    #[option(range = 1..=65536)]
    pub norm_num_groups: Option<i64>,
    /// Factor of the latents, so that their variance is near 1; by default that in the file or in the `config.json`
    /// of diffusers next to it, else 0.18215, or 1 with `stats`. It is 0.13025 for Stable Diffusion XL, 1.5305 for
    /// Stable Diffusion 3, 0.3611 for FLUX.
    #[option(range = 1e-6..=1e6)]
    pub scaling_factor: Option<f64>,
    /// Number subtracted from the latents before the factor; by default that in the file or in `config.json`, else
    /// 0. It is 0.0609 for Stable Diffusion 3, 0.1159 for FLUX.
    #[option(range = -1e6..=1e6)]
    pub shift_factor: Option<f64>,
    /// File with `mean` and `std` of each channel of the latents, such as LightningDiT's `latents_stats.pt`: latents
    /// become `(x - mean) / std * scaling_factor`.
    pub stats: Option<String>,
    /// Device of the weights: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
    /// Dtype of the weights and of all computations; the weights in the file are converted.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

/// Loads an autoencoder from a safetensors or PyTorch file; its sizes are those of the tensors.
pub fn load(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Vae> {
    load_noted(path, options).map(|(vae, _)| vae)
}

/// Like [`load`], with notes on what was ignored in the file, and on values that no tensor tells.
pub fn load_noted(path: impl AsRef<Path>, options: &LoadOptions) -> Result<(Vae, Vec<String>)> {
    let path = path.as_ref();
    options.check()?;
    let mut file = TensorFile::open(path)?;
    let prefix = prefix(file.tensors.keys().map(String::as_str)).map_err(|e| e.in_file(path))?;
    let mut loaded = file.load(|name| name.starts_with(&prefix), Device::Cpu)?;
    let mut notes = std::mem::take(&mut loaded.notes);
    let config = config(path)?;
    let vae = of(loaded, &prefix, config.as_ref(), options, &mut notes).map_err(|e| e.in_file(path))?;
    Ok((vae, notes.into_iter().map(|note| format!("{}: {note}", path.display())).collect()))
}

/// Returns what precedes the names of the autoencoder: nothing, or `first_stage_model.` in a file of a whole model,
/// after `state_dict.` in a checkpoint.
fn prefix<'a>(names: impl Iterator<Item = &'a str>) -> Result<String> {
    let found = names.filter_map(|name| name.strip_suffix(FIRST)).min_by_key(|prefix| prefix.len());
    found.map(str::to_string).ok_or_else(|| missing(FIRST))
}

fn missing(name: &str) -> Error {
    Error::argument(format!("expected the weights of an AutoencoderKL, and there is no tensor `{name}`")).hint(
        "it takes the names of diffusers, as in `vae/diffusion_pytorch_model.safetensors`, or those of CompVis, also \
         after `first_stage_model.`",
    )
}

/// Returns the `config.json` that diffusers writes beside the weights of an `AutoencoderKL`, if there is one.
fn config(path: &Path) -> Result<Option<Map>> {
    let config = path.with_file_name("config.json");
    let is_theirs =
        path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("diffusion_pytorch_model"));
    if !is_theirs || !config.is_file() {
        return Ok(None);
    }
    let text = files::read_text(&config)?;
    match Value::from_json_text(&text) {
        Ok(Value::Map(map)) => Ok(Some(map)),
        Ok(other) => {
            Err(Error::file(&config, format!("expected a configuration, found {}", other.describe())))
        }
        Err(e) => Err(Error::file(&config, format!("not JSON: {e}"))),
    }
}

fn of(
    loaded: Loaded,
    prefix: &str,
    config: Option<&Map>,
    options: &LoadOptions,
    notes: &mut Vec<String>,
) -> Result<Vae> {
    let mut weights: BTreeMap<String, Tensor> = loaded
        .tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor)))
        .filter(|(name, _)| !TRAINING.iter().any(|training| name.starts_with(training)))
        .collect();
    let stages = stages(&weights);
    weights =
        weights.into_iter().map(|(name, tensor)| renamed(&name, tensor, stages)).collect::<Result<_>>()?;
    let stored = loaded.metadata.get(CONFIG).map(|text| stored(text)).transpose()?;
    let told = stored.is_some() || config.is_some();
    let mut sizes = stored.unwrap_or_default();
    if let Some(config) = config {
        configure(&mut sizes, config).map_err(|e| e.context("config.json"))?;
    }
    measure(&weights, &mut sizes)?;
    sizes.norm_num_groups = options.norm_num_groups.unwrap_or(sizes.norm_num_groups);
    if let Some(stats) = &options.stats {
        let [mean, std] = scale::stats(Path::new(stats))?;
        (sizes.latents_mean, sizes.latents_std) = (mean, std);
        (sizes.scaling_factor, sizes.shift_factor) = (1.0, 0.0);
    }
    sizes.scaling_factor = options.scaling_factor.unwrap_or(sizes.scaling_factor);
    sizes.shift_factor = options.shift_factor.unwrap_or(sizes.shift_factor);
    if !told && options.scaling_factor.is_none() && options.stats.is_none() && sizes.latent_channels != 4 {
        notes.push(format!(
            "the scaling factor {} is that of 4 channels, and the file has {}: pass `scaling_factor` and \
             `shift_factor` (Stable Diffusion 3 has 1.5305 and 0.0609, FLUX 0.3611 and 0.1159)",
            sizes.scaling_factor, sizes.latent_channels
        ));
    }
    let LoadOptions { device, dtype, .. } = *options;
    let sizes = VaeOptions { device, dtype, ..sizes };
    Vae::build(&sizes, Builder::given(weights, dtype, device))
}

/// Takes from a configuration of diffusers what no tensor tells.
fn configure(sizes: &mut VaeOptions, config: &Map) -> Result<()> {
    fn take<T: FromValue>(config: &Map, key: &str, to: &mut T) -> Result<()> {
        match config.get(key) {
            None | Some(Value::Unit) => Ok(()),
            Some(value) => {
                *to = T::from_value(value).map_err(|e| e.context(format!("`{key}`")))?;
                Ok(())
            }
        }
    }
    take(config, "norm_num_groups", &mut sizes.norm_num_groups)?;
    take(config, "scaling_factor", &mut sizes.scaling_factor)?;
    take(config, "shift_factor", &mut sizes.shift_factor)?;
    take(config, "latents_mean", &mut sizes.latents_mean)?;
    take(config, "latents_std", &mut sizes.latents_std)
}

/// Sets the sizes from the shapes of the tensors. Building the network checks that all of them fit.
fn measure(weights: &BTreeMap<String, Tensor>, sizes: &mut VaeOptions) -> Result<()> {
    let size = |name: &str, dim: usize| -> Option<i64> { weights.get(name)?.shape().get(dim).copied() };
    let known = |name: &str, dim: usize| size(name, dim).ok_or_else(|| missing(name));
    sizes.in_channels = known(FIRST, 1)?;
    sizes.latent_channels = known("decoder.conv_in.weight", 1)?;
    sizes.use_quant_conv = weights.contains_key("quant_conv.weight");
    let width = |stage: usize, block: usize| {
        size(&format!("encoder.down_blocks.{stage}.resnets.{block}.conv1.weight"), 0)
    };
    sizes.block_out_channels = (0..).map_while(|stage| width(stage, 0)).collect();
    sizes.layers_per_block = (0..).map_while(|block| width(0, block)).count() as i64;
    if sizes.layers_per_block == 0 {
        return Err(missing("encoder.down_blocks.0.resnets.0.conv1.weight"));
    }
    Ok(())
}

fn stored(text: &str) -> Result<VaeOptions> {
    let json = serde_json::from_str(text)
        .map_err(|e| Error::argument(format!("the stored sizes are not JSON: {e}")))?;
    match Value::from_json(&json)? {
        Value::Map(map) => VaeOptions::from_map(&map),
        other => Err(other.mismatch("stored sizes")),
    }
}

impl Vae {
    /// Returns the sizes: the options without seed, device and dtype.
    pub fn sizes(&self) -> Map {
        let mut map = self.options().to_map();
        map.retain(|key, _| !["seed", "device", "dtype"].contains(&key.as_str()));
        map
    }

    /// Writes all parameters and the sizes to a safetensors file, atomically.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors = self.parameters().iter().cloned().collect();
        let sizes = Value::Map(self.sizes())
            .to_json()
            .ok_or_else(|| Error::internal("the sizes of an autoencoder cannot be stored"))?;
        save_safetensors(path.as_ref(), &tensors, &BTreeMap::from([(CONFIG.to_string(), sizes.to_string())]))
    }
}
