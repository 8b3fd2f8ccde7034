//! Autoencoders of diffusers, which `vae_public.py` saved, in all public namings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spectral::context::Context;
use spectral::torch::io::{load_named, load_safetensors, save_safetensors};
use spectral::torch::{DType, Device, Tensor};
use spectral::vae::{DecodeOptions, EncodeOptions, LoadOptions, Vae, load, load_noted};

use super::fixtures;
use super::model::close;

fn folder() -> PathBuf {
    spectral::torch::start();
    fixtures().join("vae_public")
}

fn results() -> BTreeMap<String, Tensor> {
    load_safetensors(&folder().join("results.safetensors"), Device::Cpu).unwrap().tensors
}

fn options() -> LoadOptions {
    LoadOptions { dtype: DType::Float64, norm_num_groups: Some(2), ..LoadOptions::default() }
}

/// Checks what an autoencoder encodes and decodes.
fn check(vae: &Vae, name: &str) {
    let (results, cx) = (results(), Context::default());
    let images = &results[&format!("{name}.images")];
    let encoded = vae.encode(images, &EncodeOptions::default(), &cx).unwrap();
    close("encoded", &encoded, &results[&format!("{name}.encoded")], 1e-6);
    let posterior = vae.posterior(images, None, &cx).unwrap();
    close("logvar", &posterior.logvar, &results[&format!("{name}.logvar")], 1e-6);
    let options = DecodeOptions { clamp: false, ..DecodeOptions::default() };
    let decoded = vae.decode(&results[&format!("{name}.latents")], &options, &cx).unwrap();
    close("decoded", &decoded, &results[&format!("{name}.decoded")], 1e-6);
}

fn weights(name: &str) -> BTreeMap<String, Tensor> {
    let path = folder().join(name).join("diffusion_pytorch_model.safetensors");
    load_safetensors(&path, Device::Cpu).unwrap().tensors
}

/// Returns a tensor as CompVis names it, with maps of the attention as 1 x 1 convolutions.
fn compvis(name: &str, tensor: &Tensor) -> (String, Tensor) {
    let pairs = [
        (".mid_block.resnets.0.", ".mid.block_1."),
        (".mid_block.resnets.1.", ".mid.block_2."),
        (".mid_block.attentions.0.group_norm.", ".mid.attn_1.norm."),
        (".mid_block.attentions.0.to_q.", ".mid.attn_1.q."),
        (".mid_block.attentions.0.to_k.", ".mid.attn_1.k."),
        (".mid_block.attentions.0.to_v.", ".mid.attn_1.v."),
        (".mid_block.attentions.0.to_out.0.", ".mid.attn_1.proj_out."),
        ("encoder.down_blocks.", "encoder.down."),
        // The stages of two count in the other direction.
        ("decoder.up_blocks.0.", "decoder.up.1."),
        ("decoder.up_blocks.1.", "decoder.up.0."),
        (".resnets.", ".block."),
        (".downsamplers.0.", ".downsample."),
        (".upsamplers.0.", ".upsample."),
        ("conv_shortcut", "nin_shortcut"),
        ("conv_norm_out", "norm_out"),
    ];
    let new = pairs.iter().fold(name.to_string(), |name, (theirs, compvis)| name.replace(theirs, compvis));
    let is_map = new.contains(".attn_1.") && tensor.rank() == 2;
    let tensor = if is_map { tensor.unsqueeze(2).unwrap().unsqueeze(3).unwrap() } else { tensor.clone() };
    (new, tensor)
}

/// Returns a tensor with its name in older versions of diffusers.
fn older(name: &str, tensor: &Tensor) -> (String, Tensor) {
    let pairs = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
    (pairs.iter().fold(name.to_string(), |name, (new, old)| name.replace(new, old)), tensor.clone())
}

#[test]
fn folders_of_diffusers_are_read_with_their_configuration() {
    for name in ["four", "sixteen"] {
        let path = folder().join(name).join("diffusion_pytorch_model.safetensors");
        // The scale and the number of groups are those of `config.json`.
        let options = LoadOptions { norm_num_groups: None, ..options() };
        let (vae, notes) = load_noted(&path, &options).unwrap();
        assert_eq!((notes.len(), vae.options().norm_num_groups), (0, 2), "{notes:?}");
        assert_eq!(vae.options().use_quant_conv, name == "four");
        check(&vae, name);
    }
}

#[test]
fn every_public_naming_is_the_same_network() {
    let place = tempfile::tempdir().unwrap();
    let write = |file: &str, tensors: &BTreeMap<String, Tensor>| {
        let path = place.path().join(file);
        save_safetensors(&path, tensors, &BTreeMap::new()).unwrap();
        path
    };
    for (name, factor, shift) in [("four", 0.13025, 0.0), ("sixteen", 0.3611, 0.1159)] {
        let own = weights(name);
        let scaled = LoadOptions { scaling_factor: Some(factor), shift_factor: Some(shift), ..options() };
        let hash = load(write("own.safetensors", &own), scaled.clone()).unwrap().hash().unwrap();
        let compvis: BTreeMap<_, _> = own.iter().map(|(name, tensor)| compvis(name, tensor)).collect();
        assert!(compvis.contains_key("encoder.down.0.block.0.conv1.weight"));
        assert!(!compvis.keys().any(|name| name.contains("_blocks") || name.contains("mid_block")));
        let older: BTreeMap<_, _> = own.iter().map(|(name, tensor)| older(name, tensor)).collect();
        let ones = Tensor::ones(&[2], DType::Float32, Device::Cpu).unwrap();
        // As in a training file, and as in a file of a whole model.
        let mut trained = compvis.clone();
        trained.insert("loss.logvar".to_string(), ones.clone());
        trained.insert("loss.discriminator.main.0.weight".to_string(), ones.clone());
        let state =
            trained.iter().map(|(name, tensor)| (format!("state_dict.{name}"), tensor.clone())).collect();
        let mut whole: BTreeMap<_, _> = compvis
            .iter()
            .map(|(name, tensor)| (format!("state_dict.first_stage_model.{name}"), tensor.clone()))
            .collect();
        whole.insert("state_dict.model.diffusion_model.out.0.weight".to_string(), ones);
        for (file, tensors) in [
            ("compvis", &compvis),
            ("older", &older),
            ("trained", &trained),
            ("state", &state),
            ("whole", &whole),
        ] {
            let vae = load(write(&format!("{file}.safetensors"), tensors), scaled.clone()).unwrap();
            assert_eq!(vae.hash().unwrap(), hash, "{name}, {file}");
            check(&vae, name);
        }
    }
}

#[test]
fn sixteen_channels_without_a_scale_are_noted_and_wrong_files_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ae.safetensors");
    let refused = |tensors: &BTreeMap<String, Tensor>| {
        save_safetensors(&path, tensors, &BTreeMap::new()).unwrap();
        load(&path, options()).unwrap_err().message()
    };
    let mut tensors: BTreeMap<_, _> =
        weights("sixteen").iter().map(|(name, tensor)| compvis(name, tensor)).collect();
    save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let (_, notes) = load_noted(&path, &options()).unwrap();
    assert!(notes[0].contains("pass `scaling_factor` and `shift_factor`"), "{notes:?}");
    let map = tensors["encoder.mid.attn_1.q.weight"].clone();
    tensors.insert("encoder.down.1.attn.0.q.weight".to_string(), map.clone());
    let message = refused(&tensors);
    assert!(message.contains("expected attention in the middle of the encoder alone"), "{message}");
    tensors.remove("encoder.down.1.attn.0.q.weight");
    tensors.remove("decoder.up.1.block.0.conv1.weight");
    let message = refused(&tensors);
    assert!(message.contains("there is no tensor `decoder.up_blocks.0.resnets.0.conv1.weight`"), "{message}");
    let message = refused(&BTreeMap::from([("x.weight".to_string(), map)]));
    assert!(message.ends_with(
        "expected the weights of an AutoencoderKL, and there is no tensor `encoder.conv_in.weight`"
    ));
}

#[test]
fn statistics_of_lightningdit_normalize_each_channel() {
    let (results, cx) = (results(), Context::default());
    let stats = folder().join("latents_stats.pt");
    let path = folder().join("four/diffusion_pytorch_model.safetensors");
    let load = |stats: Option<&Path>, scaling_factor| {
        let stats = stats.map(|path| path.display().to_string());
        load(&path, LoadOptions { stats, scaling_factor, ..options() }).unwrap()
    };
    let images = &results["four.images"];
    let plain = load(None, Some(1.0)).encode(images, &EncodeOptions::default(), &cx).unwrap();
    let part = |name: &str| results[&format!("stats.{name}")].to_dtype(DType::Float64).unwrap();
    let expected = plain.sub(&part("mean")).unwrap().div(&part("std")).unwrap();
    let vae = load(Some(&stats), None);
    let encoded = vae.encode(images, &EncodeOptions::default(), &cx).unwrap();
    close("encoded", &encoded, &expected, 1e-12);
    let doubled = load(Some(&stats), Some(2.0)).encode(images, &EncodeOptions::default(), &cx).unwrap();
    close("doubled", &doubled, &expected.mul_scalar(2.0).unwrap(), 1e-12);
    // Decoding undoes it, and the saved file keeps it.
    let clamp = DecodeOptions { clamp: false, ..DecodeOptions::default() };
    let decoded = vae.decode(&encoded, &clamp, &cx).unwrap();
    close("decoded", &decoded, &load(None, Some(1.0)).decode(&plain, &clamp, &cx).unwrap(), 1e-9);
    let place = tempfile::tempdir().unwrap();
    let saved = place.path().join("vae.safetensors");
    vae.save(&saved).unwrap();
    let again =
        spectral::vae::load(&saved, LoadOptions { dtype: DType::Float64, ..Default::default() }).unwrap();
    close("again", &again.encode(images, &EncodeOptions::default(), &cx).unwrap(), &expected, 1e-12);
    assert_eq!(load_named(&stats, Device::Cpu).unwrap().tensors["mean"].shape(), [1, 4, 1, 1]);
}
