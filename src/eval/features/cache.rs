//! Cache of the features of a data set, so that reference statistics are computed once.
//!
//! File names are hashes of everything that determines their content: name and hash of the features, and the
//! content of the images. A file is therefore never outdated; a damaged one is replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use super::extractor::short;
use super::{Extracted, Features};
use crate::context::Context;
use crate::error::Result;
use crate::eval::Images;
use crate::ranks::Ranks;
use crate::torch::{DType, Device, Tensor, io};

/// Format of the files; change it with their content, so that older files are not used.
const FORMAT: &str = "spectral features 3";

/// Returns the folder in the user's cache, if there is one: `~/.cache/spectral/features` on Linux.
pub fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("spectral").join("features"))
}

/// Returns the result of [`Features::extract`] from the cache, or computes and caches it.
///
/// A folder that cannot be written to is not an error; the result is then not cached.
pub fn extract(
    features: &Features,
    images: &Images,
    content: &str,
    folder: &Path,
    cx: &Context,
) -> Result<Extracted> {
    let mut hasher = Sha256::new_with_prefix(FORMAT);
    for part in [features.name(), features.hash(), content] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let path = folder.join(format!("{}-{}.safetensors", features.hash(), short(hasher)));
    let (kept, ranks) = (read(&path, images.count()), Ranks::of(cx));
    // Another machine may have another cache.
    let missing = ranks.any(kept.is_none())?;
    if let (Some(kept), false) = (kept, missing) {
        return Ok(kept);
    }
    let extracted = features.extract(images, cx)?;
    if ranks.is_first() {
        let _ = write(&path, &extracted, &features.label(), content);
    }
    Ok(extracted)
}

fn read(path: &Path, count: i64) -> Option<Extracted> {
    let loaded = io::load_safetensors(path, Device::Cpu).ok()?;
    let text = |key: &str| loaded.metadata.get(key).cloned();
    let tensor = |name: &str| -> Option<Tensor> {
        let tensor = loaded.tensors.get(name)?;
        (tensor.rank() == 2 && tensor.shape()[0] == count).then(|| tensor.to_dtype(DType::Float64).ok())?
    };
    (text("format")? == FORMAT).then_some(())?;
    Some(Extracted {
        features: tensor("features")?,
        logits: tensor("logits"),
        spatial: tensor("spatial"),
        prepared: text("prepared")?,
    })
}

/// Networks compute in float32, so float32 files lose nothing.
fn write(path: &Path, extracted: &Extracted, label: &str, content: &str) -> Result<()> {
    let Extracted { features, logits, spatial, prepared } = extracted;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in
        [("features", Some(features)), ("logits", logits.as_ref()), ("spatial", spatial.as_ref())]
    {
        if let Some(tensor) = tensor {
            tensors.insert(name.to_string(), tensor.to_dtype(DType::Float32)?);
        }
    }
    let texts = [("format", FORMAT), ("features", label), ("images", content), ("prepared", prepared)];
    let texts = texts.map(|(key, text)| (key.to_string(), text.to_string()));
    io::save_safetensors(path, &tensors, &BTreeMap::from(texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{Function, IntoValue, Value};
    use crate::eval::features::function::{FunctionOptions, function};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Returns features that count how often they are computed.
    fn counting(version: &str) -> (Features, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let means = Function::new(move |values: &[Value]| {
            counter.fetch_add(1, Ordering::SeqCst);
            let images: Tensor = values[0].downcast().unwrap();
            Ok(images.mean(&[2, 3], false)?.into_value())
        });
        let options =
            FunctionOptions { name: "means".into(), version: version.into(), ..FunctionOptions::default() };
        (function(&means, &options).unwrap(), calls)
    }

    fn images(last: f32) -> Images {
        let pixels = [0.5, -0.5, 0.25, last];
        Images::new(&Tensor::from_f32(&pixels, &[2, 1, 1, 2]).unwrap()).unwrap()
    }

    #[test]
    fn the_second_time_nothing_is_computed_until_features_or_images_change() {
        let (place, cx) = (tempfile::tempdir().unwrap(), Context::default());
        let (features, calls) = counting("1");
        let get = |features: &Features, images: &Images| {
            extract(features, images, &images.content_hash().unwrap(), place.path(), &cx).unwrap()
        };
        let first = get(&features, &images(0.75));
        let again = get(&features, &images(0.75));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(again.features.to_f64().unwrap(), first.features.to_f64().unwrap());
        assert_eq!(again.features.to_f64().unwrap(), [0.0, 0.5]);
        get(&features, &images(-0.25));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let (changed, calls) = counting("2");
        get(&changed, &images(0.75));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn other_input_of_a_function_has_a_cache_of_its_own() {
        let (place, cx) = (tempfile::tempdir().unwrap(), Context::default());
        let first = Function::new(|values: &[Value]| {
            let images: Tensor = values[0].downcast().unwrap();
            Ok(images.select(3, 0)?.select(2, 0)?.into_value())
        });
        let get = |image_size: Option<i64>| {
            let features = function(&first, &FunctionOptions { image_size, ..Default::default() }).unwrap();
            extract(&features, &images(0.75), "content", place.path(), &cx)
                .unwrap()
                .features
                .to_f64()
                .unwrap()
        };
        assert_eq!(get(None), [0.5, 0.25]);
        assert_eq!(get(Some(1)), [0.0, 0.5]);
        assert_eq!(get(None), [0.5, 0.25]);
    }

    #[test]
    fn a_damaged_file_is_made_anew() {
        let (place, cx) = (tempfile::tempdir().unwrap(), Context::default());
        let (features, calls) = counting("1");
        let get = || extract(&features, &images(0.75), "content", place.path(), &cx).unwrap();
        get();
        let file = std::fs::read_dir(place.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(get().features.to_f64().unwrap(), [0.0, 0.5]);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        get();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
