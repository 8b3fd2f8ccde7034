//! Autoencoder of latent diffusion compared with the implementation in `vae.py`, which wrote the fixture.

use std::collections::BTreeMap;
use std::path::Path;

use spectral::context::Context;
use spectral::torch::io::{Loaded, load_safetensors, save_safetensors};
use spectral::torch::{DType, Device, Tensor};
use spectral::vae::{DecodeOptions, LoadOptions, Vae, load};

use super::fixtures;
use super::model::close;

fn fixture() -> Loaded {
    spectral::torch::start();
    let path = fixtures().join("vae.safetensors");
    load_safetensors(&path, Device::Cpu).expect("the fixture loads")
}

/// Writes the fixture's weights to a file and loads it as a user would.
fn build(fixture: &Loaded, folder: &Path, dtype: DType) -> Vae {
    let own =
        |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix("w.")?.to_string(), tensor.clone()));
    let weights: BTreeMap<String, Tensor> = fixture.tensors.iter().filter_map(own).collect();
    let path = folder.join("vae.safetensors");
    save_safetensors(&path, &weights, &BTreeMap::new()).expect("the weights are written");
    let groups = fixture.metadata["groups"].parse().expect("a number of groups");
    load(&path, &LoadOptions { norm_num_groups: Some(groups), dtype, ..LoadOptions::default() })
        .expect("the fixture's weights fit")
}

#[test]
fn moments_and_images_are_those_of_the_oracle() {
    let (fixture, folder, cx) = (fixture(), tempfile::tempdir().expect("a folder"), Context::default());
    for (dtype, tolerance) in [(DType::Float32, 1e-5), (DType::Float64, 1e-12)] {
        let vae = build(&fixture, folder.path(), dtype);
        let widths: Vec<String> = vae.options().block_out_channels.iter().map(i64::to_string).collect();
        assert_eq!(widths.join(" "), fixture.metadata["widths"]);
        assert_eq!(vae.options().layers_per_block.to_string(), fixture.metadata["layers"]);
        let posterior = vae.posterior(&fixture.tensors["images"], None, &cx).expect("moments");
        close("mean", &posterior.mean, &fixture.tensors["mean"], tolerance);
        close("logvar", &posterior.logvar, &fixture.tensors["logvar"], tolerance);
        let scale = vae.options().scaling_factor;
        let latents = fixture.tensors["latents"].to_dtype(DType::Float64).unwrap().mul_scalar(scale).unwrap();
        let options = DecodeOptions { clamp: false, ..DecodeOptions::default() };
        let decoded = vae.decode(&latents, &options, &cx).expect("images");
        close("decoded", &decoded, &fixture.tensors["decoded"], tolerance);
    }
}
