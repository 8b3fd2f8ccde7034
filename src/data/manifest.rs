//! Labels of the file `dataset.json`, which `dataset_tool.py` of StyleGAN, EDM and EDM2 writes beside its images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::classes::{Found, some};
use super::item::Item;
use super::labels;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Name of the file.
pub const NAME: &str = "dataset.json";

/// What the file holds: pairs of a name and a label, or null.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default, deserialize_with = "present")]
    labels: Option<Labels>,
}

type Labels = Option<Vec<(String, Value)>>;

/// Tells labels that are null from none.
fn present<'a, D: serde::Deserializer<'a>>(from: D) -> Result<Option<Labels>, D::Error> {
    Labels::deserialize(from).map(Some)
}

/// Returns the images of a folder with the labels of its `dataset.json`, or `None` if this has no `labels`. The order is that of the names as text, as in
/// EDM's `ImageFolderDataset`, and the classes are numbers from 0 to the largest.
///
/// Every label must belong to an image and every image must have a label, unless `skip`; then a note counts them. It is `None`
/// where the user has no such choice.
pub fn labeled(
    folder: &Path,
    images: Vec<PathBuf>,
    file: &Item,
    skip: Option<bool>,
) -> Result<Option<Found>> {
    let path = file.path();
    let wrong = |text: String| Error::file(&path, text);
    let manifest: Manifest = serde_json::from_slice(&file.read()?).map_err(|e| {
        wrong(format!("expected {{\"labels\": [[\"00000/img00000000.png\", 6], ..]}}, found other JSON: {e}"))
            .hint("`dataset_tool.py` of StyleGAN, EDM and EDM2 writes this file; rename it if it is something else")
    })?;
    let Some(labels) = manifest.labels else { return Ok(None) };
    let name = |image: &PathBuf| {
        image.strip_prefix(folder).unwrap_or(image).display().to_string().replace('\\', "/")
    };
    let mut named: Vec<(String, PathBuf)> = images.into_iter().map(|image| (name(&image), image)).collect();
    named.sort();
    let mut found = Found::default();
    let Some(pairs) = labels else {
        found.images = named.into_iter().map(|(_, image)| (image, 0)).collect();
        found.classes = vec!["images".to_string()];
        return Ok(Some(found));
    };
    let mut by_name: BTreeMap<String, i64> = BTreeMap::new();
    for (name, label) in pairs {
        let name = name.replace('\\', "/");
        let Some(label) = number(&label) else {
            if label.is_null() {
                continue;
            }
            let error = wrong(format!("expected a whole number as the label of `{name}`, found {label}"));
            return Err(match label {
                Value::Array(_) => error.hint(
                    "labels of several numbers are conditions, not classes: open the set with `labels`, a CSV file, and \
                     add them by `set.with_fields`",
                ),
                _ => error.hint("classes are numbers from 0 up"),
            });
        };
        if let Some(other) = by_name.insert(name.clone(), label).filter(|other| *other != label) {
            return Err(wrong(format!("`{name}` has two labels, {other} and {label}")));
        }
    }
    let (mut labels, mut without) = (Vec::new(), Vec::new());
    for (name, image) in named {
        match by_name.remove(&name) {
            Some(label) => {
                found.images.push((image, label));
                labels.push(label);
            }
            None => without.push(name),
        }
    }
    let missing: Vec<String> = by_name.into_keys().collect();
    for (several, one, names) in [
        ("labels name no image", "label names no image", &missing),
        ("images have no label", "image has no label", &without),
    ] {
        if names.is_empty() {
            continue;
        }
        let what = if names.len() == 1 { one } else { several };
        let text = format!("{} {what}: {}", names.len(), some(names));
        if skip != Some(true) {
            let hint = match skip {
                Some(_) => "the set is perhaps incomplete; `on_error: \"skip\"` passes over them",
                None => "the set is perhaps incomplete; `labels: \"\"` opens it without labels",
            };
            return Err(wrong(text).hint(hint));
        }
        found.notes.push(format!("{}: {text}", path.display()));
    }
    if labels.is_empty() {
        return Err(wrong("expected labels of the images, found none of them".to_string()));
    }
    let count = labels.len() as i64;
    found.classes =
        labels::class_names(&Tensor::from_i64(&labels, &[count])?, None).map_err(|e| e.in_file(&path))?;
    Ok(Some(found))
}

/// Returns a whole number from 0 up.
fn number(label: &Value) -> Option<i64> {
    let whole = |x: f64| (x.fract() == 0.0 && (0.0..1e15).contains(&x)).then_some(x as i64);
    label.as_i64().filter(|n| *n >= 0).or_else(|| label.as_f64().and_then(whole))
}
