//! Loading and saving of parameters, with the names of diffusers.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Vae, VaeOptions};
use crate::declare::{Options, Value};
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::torch::io::{Loaded, load_named, save_safetensors};
use crate::torch::{DType, Device, Tensor};

/// Metadata key of the sizes, stored as JSON.
const CONFIG: &str = "vae";

/// Old and new names of the attention layers.
const RENAMED: [(&str, &str); 4] =
    [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];

/// Options of [`load`] that cannot be read from the tensors.
#[derive(Debug, Clone, Options)]
pub struct LoadOptions {
    /// Number of groups of the group normalization; by default that in the file, else 32.
    #[option(range = 1..=65536)]
    pub norm_num_groups: Option<i64>,
    /// Factor of the latents, so that their variance is near 1; by default that in the file, else 0.18215. Use
    /// 0.13025 for the autoencoder of Stable Diffusion XL.
    #[option(range = 1e-6..=1e6)]
    pub scaling_factor: Option<f64>,
    /// Device of the weights: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::Cpu)]
    pub device: Device,
    /// Dtype of the weights and of all computations; the weights in the file are converted.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

/// Loads an autoencoder from a safetensors or PyTorch file; its sizes are those of the tensors.
pub fn load(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Vae> {
    load_noted(path, options).map(|(vae, _)| vae)
}

/// Like [`load`], with notes on what was ignored in the file.
pub fn load_noted(path: impl AsRef<Path>, options: &LoadOptions) -> Result<(Vae, Vec<String>)> {
    let path = path.as_ref();
    options.check()?;
    let mut loaded = load_named(path, Device::Cpu)?;
    let notes = std::mem::take(&mut loaded.notes).into_iter();
    let vae = of(loaded, options).map_err(|e| e.context(path.display()))?;
    Ok((vae, notes.map(|note| format!("{}: {note}", path.display())).collect()))
}

fn of(loaded: Loaded, options: &LoadOptions) -> Result<Vae> {
    let weights: BTreeMap<String, Tensor> =
        loaded.tensors.into_iter().map(|(name, tensor)| (renamed(&name), tensor)).collect();
    let mut sizes = match loaded.metadata.get(CONFIG) {
        Some(text) => stored(text)?,
        None => VaeOptions::default(),
    };
    measure(&weights, &mut sizes)?;
    sizes.norm_num_groups = options.norm_num_groups.unwrap_or(sizes.norm_num_groups);
    sizes.scaling_factor = options.scaling_factor.unwrap_or(sizes.scaling_factor);
    let LoadOptions { device, dtype, .. } = *options;
    let sizes = VaeOptions { device, dtype, ..sizes };
    Vae::build(&sizes, Builder::given(weights, dtype, device))
}

/// Returns the current name of a tensor.
fn renamed(name: &str) -> String {
    match RENAMED.iter().find(|(old, _)| name.contains(".attentions.") && name.contains(old)) {
        Some((old, new)) => name.replace(old, new),
        None => name.to_string(),
    }
}

/// Sets the sizes from the shapes of the tensors. Building the network checks that all of them fit.
fn measure(weights: &BTreeMap<String, Tensor>, sizes: &mut VaeOptions) -> Result<()> {
    let size = |name: &str, dim: usize| -> Option<i64> { weights.get(name)?.shape().get(dim).copied() };
    let missing = |name: &str| {
        Error::argument(format!("expected the weights of an AutoencoderKL, and there is no tensor `{name}`"))
            .hint("it takes the names of diffusers, as in `vae/diffusion_pytorch_model.safetensors`")
    };
    let known = |name: &str, dim: usize| size(name, dim).ok_or_else(|| missing(name));
    sizes.in_channels = known("encoder.conv_in.weight", 1)?;
    sizes.latent_channels = known("post_quant_conv.weight", 0)?;
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
    match Value::from_json(&json) {
        Value::Map(map) => VaeOptions::from_map(&map),
        other => Err(other.mismatch("stored sizes")),
    }
}

impl Vae {
    /// Returns the sizes: the options without seed, device and dtype.
    pub fn sizes(&self) -> crate::declare::Map {
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
