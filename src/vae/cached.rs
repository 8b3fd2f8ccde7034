//! Latents of a data set, encoded once and cached in a file.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::handle::short;
use super::{EncodeOptions, Vae};
use crate::context::Context;
use crate::data::{Dataset, store::Store};
use crate::declare::Options;
use crate::error::{Error, Result};
use crate::files;
use crate::ranks::Ranks;
use crate::torch::io::{Loaded, load_safetensors, save_safetensors};
use crate::torch::{DType, Device, Generator, Tensor};

/// Number of images loaded from the data set at once. Random draws depend on it, so it is not an option.
const CHUNK: usize = 256;

/// Metadata key of the latents' origin.
const ORIGIN: &str = "made_of";

/// Returns the latents of a data set as a data set, from the file if it exists; otherwise encodes the images and
/// writes the file.
///
/// The file contains `latents` [N, Z, h, w], float32 and unscaled, `labels` `[N]`, int64, the fields of the set under their
/// names, and in its metadata `scaling_factor` and the origin of the latents. A file with other latents is an error and is not changed.
pub fn latents(
    vae: &Vae,
    set: &Dataset,
    path: impl AsRef<Path>,
    options: &EncodeOptions,
    cx: &Context,
) -> Result<Dataset> {
    let path = path.as_ref();
    options.check()?;
    let [_, height, width] = set.image_shape();
    vae.latent_shape(height, width)?;
    if let Some(name) = ["latents", "labels"].into_iter().find(|name| set.stored_fields().contains_key(*name))
    {
        return Err(Error::argument(format!(
            "the set has a field called `{name}`, which the file of latents has too"
        ))
        .hint("give the field another name in `with_fields`"));
    }
    let origin = origin(vae, set, options, cx)?;
    let ranks = Ranks::of(cx);
    ranks.same(&[("the latents to encode", origin.clone())])?;
    let found = ranks.agree(match path.exists() {
        true => kept(path, &origin).map(Some),
        false => Ok(None),
    })?;
    // Another machine may lack the file.
    let missing = ranks.any(found.is_none())?;
    let latents = match found {
        Some(found) if !missing => found,
        found => {
            let writes = ranks.is_first() && found.is_none();
            let check =
                || files::check_extension(path, &["safetensors"]).and_then(|()| files::check_writable(path));
            ranks.agree(if writes { check() } else { Ok(()) })?;
            let made = encode(vae, set, options, cx)?;
            ranks.agree(if writes { write(path, vae, set, &made, origin) } else { Ok(()) })?;
            made
        }
    };
    let scaled = vae.options().scale()?.apply(&latents)?;
    let name = format!("latents of {}", set.name());
    let names = set.class_names().to_vec();
    Dataset::of_store(Store::Tensor(scaled.contiguous()?), set.labels(), &name, set.split(), names)?
        .with_stored_fields(set.stored_fields().clone())
}

/// Returns a text with everything that the latents depend on.
fn origin(vae: &Vae, set: &Dataset, options: &EncodeOptions, cx: &Context) -> Result<String> {
    let how = match options.sample {
        true => format!("drawn with seed {}", options.seed),
        false => "means".to_string(),
    };
    Ok(format!("images {}, autoencoder {}, {how}", fingerprint(set, cx)?, vae.hash()?))
}

/// Returns a hash of labels and images; images of a folder are hashed by their files.
fn fingerprint(set: &Dataset, cx: &Context) -> Result<String> {
    let mut hasher = Sha256::new_with_prefix(set.labels().to_bytes()?);
    for (start, end) in chunks(set.len()) {
        cx.check()?;
        hasher.update(set.stored().narrow(start, end - start)?.content_hash()?);
    }
    Ok(short(hasher))
}

/// Returns the range of indices of each chunk of images.
fn chunks(count: usize) -> impl Iterator<Item = (i64, i64)> {
    (0..count).step_by(CHUNK).map(move |start| (start as i64, (start + CHUNK).min(count) as i64))
}

/// Encodes all images. Of several ranks each encodes some of the chunks, and all return the latents of all.
fn encode(vae: &Vae, set: &Dataset, options: &EncodeOptions, cx: &Context) -> Result<Tensor> {
    let ranks = Ranks::of(cx);
    let (first, count) = ranks.share(set.len().div_ceil(CHUNK));
    let part = ranks.agree(encode_part(vae, set, options, (first, count), cx))?;
    ranks.gather(&part)
}

/// Encodes `count` chunks from `first` on.
fn encode_part(
    vae: &Vae,
    set: &Dataset,
    options: &EncodeOptions,
    (first, count): (usize, usize),
    cx: &Context,
) -> Result<Tensor> {
    let [_, height, width] = set.image_shape();
    let [channels, height, width] = vae.latent_shape(height, width)?;
    let shape = |size: i64| [size, channels, height, width];
    let generator = options.sample.then(|| Generator::new(options.seed, Device::Cpu)).transpose()?;
    let own = || chunks(set.len()).skip(first).take(count);
    let all: i64 = own().map(|(start, end)| end - start).sum();
    let mut bar = cx.bar("latents", all as u64);
    // The progress bar of all images is enough.
    let quiet = Context { progress: Context::default().progress, ..cx.clone() };
    if let Some(generator) = &generator {
        // The draws of the chunks before these are passed over, so that each image has its own.
        for (start, end) in chunks(set.len()).take(first) {
            Tensor::randn(&shape(end - start), DType::Float32, Device::Cpu, Some(generator))?;
        }
    }
    let (mut parts, mut done) = (Vec::new(), 0);
    for (start, end) in own() {
        cx.check()?;
        let images = set.stored().narrow(start, end - start)?.load()?;
        // The next images of a folder are read while these are encoded.
        let next = (end + CHUNK as i64).min(set.len() as i64);
        set.stored().read_ahead(&Tensor::arange(end as f64, next as f64, 1.0, DType::Int64, Device::Cpu)?)?;
        let posterior = vae.posterior(&images, options.batch, &quiet)?;
        let picked = posterior.pick(generator.as_ref())?;
        parts.push(picked.to_device(Device::Cpu)?.to_dtype(DType::Float32)?);
        done += end - start;
        bar.update(done as u64, "");
    }
    match parts.is_empty() {
        true => Tensor::zeros(&shape(0), DType::Float32, Device::Cpu),
        false => Tensor::cat(&parts, 0),
    }
}

fn write(path: &Path, vae: &Vae, set: &Dataset, latents: &Tensor, origin: String) -> Result<()> {
    let labels = set.labels().clone();
    let mut tensors =
        BTreeMap::from([("latents".to_string(), latents.clone()), ("labels".to_string(), labels)]);
    for (name, field) in set.fields()?.iter() {
        tensors.insert(name.to_string(), field.clone());
    }
    let metadata = BTreeMap::from([
        ("scaling_factor".to_string(), vae.options().scaling_factor.to_string()),
        ("shift_factor".to_string(), vae.options().shift_factor.to_string()),
        ("name".to_string(), set.name().to_string()),
        ("split".to_string(), set.split().to_string()),
        ("class_names".to_string(), serde_json::Value::from(set.class_names().to_vec()).to_string()),
        (ORIGIN.to_string(), origin),
    ]);
    save_safetensors(path, &tensors, &metadata)
}

/// Returns the latents of a file, after checking that they are the requested ones.
fn kept(path: &Path, wanted: &str) -> Result<Tensor> {
    let Loaded { mut tensors, metadata, .. } = load_safetensors(path, Device::Cpu)?;
    let wrong = |message: String| {
        Error::file(path, message).hint("name another file, or delete this one to encode the images again")
    };
    match (metadata.get(ORIGIN), tensors.remove("latents")) {
        (Some(found), Some(latents)) if found == wanted => Ok(latents),
        (Some(found), _) => Err(wrong(format!("expected latents of {wanted}, found those of {found}"))),
        (None, _) => Err(wrong("the file does not record the images that it was encoded from".to_string())),
    }
}
