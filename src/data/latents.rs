//! Data sets of latents from an image autoencoder, in safetensors files or as arrays of a zip file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Dataset;
use super::ahead::{Ahead, Form};
use super::folder;
use super::labels;
use super::manifest;
use super::pixels;
use super::place::Place;
use super::scale::{self, Scale};
use super::store::{MEMORY, Store};
use super::tree::Tree;
use crate::context::Context;
use crate::declare::Options;
use crate::ensure;
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::torch::{DType, Device, Tensor, io};

/// Options of `latents`.
#[derive(Debug, Clone, Options)]
pub struct LatentsOptions {
    /// Factor of the latents, so that their variance is near 1: 0.18215 for the autoencoder of Stable
    /// Diffusion. With `stats` it is LightningDiT's `latent_multiplier`.
    #[option(default = 1.0, range = 1e-6..=1e6)]
    pub scale: f64,
    /// Number subtracted from the latents before the factor: 0.0609 for Stable Diffusion 3, 0.1159 for FLUX.
    #[option(default = 0.0, range = -1e6..=1e6)]
    pub shift: f64,
    /// File with `mean` and `std` of each channel, such as LightningDiT's `latents_stats.pt`: latents become
    /// `(x - mean) / std * scale`.
    pub stats: Option<String>,
    /// Name of the tensor of latents [N, C, H, W] in the file.
    #[option(default = "latents")]
    pub latents: String,
    /// Name of the tensor of labels `[N]` in the file, whole numbers; by default `labels` if the file has it. With
    /// `""`, or without labels, all latents are of one class.
    pub labels: Option<String>,
    /// Names of further tensors [N, ..] with one row per latent, which become fields of the data set. Of EDM2's zip files
    /// this is `std`, the standard deviations of the latents.
    pub fields: Vec<String>,
    /// Number of classes; by default one more than the largest label.
    #[option(range = 1..=1e6)]
    pub classes: Option<i64>,
    /// Name of the data set, recorded with every result; by default the file name.
    pub name: Option<String>,
    /// Name of the split, recorded with every result.
    #[option(default = "all")]
    pub split: String,
}

/// Opens a file of latents as a data set of float32 values of any range.
pub(crate) fn latents(path: &Path, options: &LatentsOptions, cx: &Context) -> Result<Dataset> {
    options.check()?;
    if let Ok(Some(Kind::Zip | Kind::Npz)) = files::kind(path) {
        return in_archive(path, options, cx);
    }
    let loaded = io::load_safetensors(path, Device::Cpu)?;
    let names = || loaded.tensors.keys().map(String::as_str);
    let Some(latents) = loaded.tensors.get(&options.latents) else {
        return Err(Error::file(path, format!("there is no tensor `{}`", options.latents))
            .did_you_mean(&options.latents, names()));
    };
    if latents.rank() != 4 || !latents.dtype().is_float() {
        return Err(Error::file(
            path,
            format!("expected `{}` as floats [N, C, H, W], found {}", options.latents, latents.signature()),
        ));
    }
    let count = latents.size(0)?;
    let load = |name: &str| Ok(loaded.tensors.get(name).cloned());
    let labels = labels::in_file(options.labels.as_deref(), "labels", count, names(), load)
        .map_err(|e| e.in_file(path))?;
    let class_names = labels::class_names(&labels, options.classes).map_err(|e| e.in_file(path))?;
    let scale = scale_of(options)?;
    let scaled = scale.apply(&latents.to_dtype(DType::Float32)?).map_err(|e| e.in_file(path))?;
    pixels::check(&scaled).map_err(|e| e.in_file(path))?;
    let stem = path.file_stem().map_or("latents".to_string(), |s| s.to_string_lossy().into_owned());
    let name = options.name.as_deref().unwrap_or(&stem);
    let field = |name: &String| match loaded.tensors.get(name) {
        Some(tensor) => Ok((name.clone(), tensor.clone())),
        None => Err(super::npz::no_field(name, names())),
    };
    let fields = options.fields.iter().map(field).collect::<Result<BTreeMap<_, _>>>();
    Dataset::of_store(Store::Tensor(scaled), &labels, name, &options.split, class_names)
        .and_then(|set| set.with_fields(fields?))
        .map_err(|e| e.in_file(path))
}

/// Returns the normalization that the options ask for.
fn scale_of(options: &LatentsOptions) -> Result<Scale> {
    match &options.stats {
        None => Ok(Scale::of_all(options.scale, options.shift)),
        Some(_) if options.shift != 0.0 => {
            let error = Error::argument("options `stats` and `shift` both shift the latents");
            Err(error.hint("leave out `shift`: the file has a mean of each channel"))
        }
        Some(stats) => {
            let [mean, std] = scale::stats(Path::new(stats))?;
            Scale::of_each(&mean, &std, options.scale)
        }
    }
}

/// Beginning of the names of EDM2's latents, which hold the means of all channels and then their standard deviations.
const MOMENTS: &str = "img-mean-std-";

/// Field of the standard deviations.
const STD: &str = "std";

/// Opens a zip file with an array [C, h, w] for each image, as `dataset_tool.py encode` of EDM2 writes it. Its latents are the
/// means of the autoencoder; their standard deviations can become a field.
fn in_archive(path: &Path, options: &LatentsOptions, cx: &Context) -> Result<Dataset> {
    let place = Place::open(&[path.to_path_buf()], &[], false, cx)?;
    let Tree::Archives(listing) = &place.tree else { return Err(Error::internal("an archive is none")) };
    let unlabeled = options.labels.as_deref() == Some("");
    ensure!(
        options.labels.is_none() || unlabeled,
        "the labels of latents in a zip file are in its `{}`",
        manifest::NAME
    );
    let is_array = |name: &str| name.to_lowercase().ends_with(".npy") && !name.contains("__MACOSX/");
    let files = listing.files().iter().map(|file| listing.root().join(&file.entry.name));
    let arrays: Vec<_> = files.filter(|path| is_array(&path.display().to_string())).collect();
    if arrays.is_empty() {
        return Err(Error::file(path, "expected arrays of latents (.npy), found none")
            .hint("an archive of images is opened by `data::image_folder(path)`"));
    }
    let labeled = match place.tree.file(&place.folder.join(manifest::NAME)) {
        Some(file) if !unlabeled => manifest::labeled(&place.folder, arrays.clone(), &file, None)?,
        _ => None,
    };
    let folders: BTreeSet<_> = arrays.iter().filter_map(|path| path.parent()).collect();
    if labeled.is_none() && !unlabeled && folders.len() > 1 {
        cx.note(&format!(
            "{}: all latents are of one class, since there are no labels in a `{}`; the folders are no classes, and \
             `labels: \"\"` says that this is meant",
            path.display(),
            manifest::NAME
        ));
    }
    let images = match labeled {
        Some(found) => found.images,
        None => {
            let mut all: Vec<_> = arrays.into_iter().map(|path| (path, 0)).collect();
            all.sort();
            all
        }
    };
    let (paths, labels): (Vec<_>, Vec<i64>) = images.into_iter().unzip();
    let has_moments = paths[0].file_name().is_some_and(|name| name.to_string_lossy().starts_with(MOMENTS));
    let items = place.tree.items(paths)?;
    let first = Form::of_arrays(&items[0])?;
    let (channels, h, w) = match first.shape()[..] {
        [c, h, w] if first.dtype().is_float() && !(has_moments && c % 2 == 1) => (c, h, w),
        ref other => {
            let text =
                format!("expected latents as floats [C, h, w], found {} {other:?}", first.dtype().name());
            return Err(Error::file(items[0].path(), text).hint(
                "an npz file of one array for all images is no set of latents; store it as safetensors",
            ));
        }
    };
    let own = if has_moments { channels / 2 } else { channels };
    let scale = scale_of(options)?;
    let store = |start: i64, scale: &Scale| {
        let form = Form::Latents { shape: [own, h, w], start, channels, scale: scale.clone() };
        let files = Ahead::new(items.clone(), form);
        let places: Vec<usize> = (0..files.len()).collect();
        match (places.len() * files.bytes()) as i64 <= MEMORY {
            true => folder::load(&files, &places, cx).map(Store::Tensor),
            false => Ok(Store::of_files(files)),
        }
    };
    let mut fields = BTreeMap::new();
    for name in &options.fields {
        if !has_moments || name != STD {
            let error = Error::file(path, format!("expected the field `{name}`, found none"));
            return Err(error.did_you_mean(name, has_moments.then_some(STD)));
        }
        fields.insert(name.clone(), store(own, &scale.of_std())?);
    }
    let count = labels.len() as i64;
    let labels = Tensor::from_i64(&labels, &[count])?;
    let class_names = labels::class_names(&labels, options.classes).map_err(|e| e.in_file(path))?;
    let images = store(0, &scale)?;
    match &images {
        Store::Tensor(latents) => pixels::check(latents).map_err(|e| e.in_file(path))?,
        // An error in the first array is reported now.
        store => drop(store.narrow(0, 1)?.load()?),
    }
    let name = options.name.as_deref().unwrap_or(&place.name);
    Dataset::of_store(images, &labels, name, &options.split, class_names)
        .and_then(|set| set.with_stored_fields(fields))
        .map_err(|e| e.in_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, Tensor)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("moments.safetensors");
        let tensors = tensors.iter().map(|(n, t)| (n.to_string(), t.clone())).collect();
        io::save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
        (place, path)
    }

    fn latents(path: &Path, options: &LatentsOptions) -> Result<Dataset> {
        super::latents(path, options, &Context::default())
    }

    #[test]
    fn latents_are_scaled_and_may_be_large() {
        let values = Tensor::from_f64(&[4.0, -20.0], &[2, 1, 1, 1]).unwrap();
        let labels = Tensor::from_i64(&[2, 0], &[2]).unwrap();
        let (_place, path) = file(&[("latents", values), ("labels", labels)]);
        let set = latents(&path, &LatentsOptions { scale: 0.5, ..Default::default() }).unwrap();
        assert_eq!(set.images().unwrap().to_f32().unwrap(), [2.0, -10.0]);
        assert_eq!((set.name(), set.classes()), ("moments", 3));
        // Fields are as they are stored.
        let options = LatentsOptions { scale: 0.5, fields: vec!["labels".to_string()], ..Default::default() };
        let fields = latents(&path, &options).unwrap().fields().unwrap();
        assert_eq!(fields.get("labels").unwrap().to_i64().unwrap(), [2, 0]);
        let options = LatentsOptions { fields: vec!["label".to_string()], ..options };
        assert!(latents(&path, &options).unwrap_err().message().contains("the field `label`, found none"));
    }

    #[test]
    fn channels_are_normalized_by_statistics_of_lightningdit() {
        let values = Tensor::from_f64(&[4.0, 10.0, 2.0, 40.0], &[2, 2, 1, 1]).unwrap();
        let (place, path) = file(&[("latents", values)]);
        let stats = place.path().join("latents_stats.safetensors");
        let each = |values: &[f64]| Tensor::from_f64(values, &[1, 2, 1, 1]).unwrap();
        let tensors = [("mean", each(&[3.0, 25.0])), ("std", each(&[0.5, 15.0]))];
        let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor));
        io::save_safetensors(&stats, &BTreeMap::from(tensors), &BTreeMap::new()).unwrap();
        let options = LatentsOptions { stats: Some(stats.display().to_string()), ..Default::default() };
        let values =
            |options: &LatentsOptions| latents(&path, options).unwrap().images().unwrap().to_f32().unwrap();
        assert_eq!(values(&options), [2.0, -1.0, -2.0, 1.0]);
        assert_eq!(values(&LatentsOptions { scale: 0.5, ..options.clone() }), [1.0, -0.5, -1.0, 0.5]);
        assert_eq!(
            values(&LatentsOptions { scale: 0.5, shift: 2.0, ..Default::default() }),
            [1.0, 4.0, 0.0, 19.0]
        );
        let both = latents(&path, &LatentsOptions { shift: 2.0, ..options }).unwrap_err();
        assert!(both.message().contains("`stats` and `shift`"), "{both}");
    }

    #[test]
    fn what_is_no_file_of_latents_is_refused() {
        let flat = Tensor::from_f64(&[1.0, 2.0], &[2]).unwrap();
        let (_place, path) = file(&[("latent", flat)]);
        let missing = latents(&path, &LatentsOptions::default()).unwrap_err();
        assert!(missing.message().ends_with("there is no tensor `latents`"), "{missing}");
        assert_eq!(missing.hint_text(), Some("did you mean `latent`?"));
        let options = LatentsOptions { latents: "latent".to_string(), ..Default::default() };
        assert!(latents(&path, &options).unwrap_err().message().contains("found tensor [2] float64"));
    }
}
