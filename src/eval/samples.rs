//! Generated images as files for other evaluators.

use std::path::Path;

use super::images::not_images;
use super::{Images, Statistics};
use crate::context::Context;
use crate::data::dataset::check_labels;
use crate::declare::{Choice, Options};
use crate::error::{Error, Result};
use crate::files;
use crate::torch::io::{About, write_npz};
use crate::torch::{DType, Tensor};

/// How values x in [-1, 1] become bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Rounding {
    /// floor(127.5 x + 128), as the sampling scripts of DiT, SiT and LightningDiT do and Inception expects here.
    #[default]
    Nearest,
    /// floor(127.5 (x + 1)), as that of ADM does.
    Down,
}

impl Rounding {
    /// Returns the rounding for images; values that were bytes are bytes again with the first one.
    fn of(self, images: &Images) -> Self {
        if images.dtype() == DType::UInt8 { Rounding::Nearest } else { self }
    }
}

/// Options of [`save_samples`].
#[derive(Debug, Clone, Options)]
pub struct SaveSamplesOptions {
    /// How float values become bytes: "nearest" as in DiT and SiT, or "down" as in ADM. Bytes stay as they are.
    pub rounding: Rounding,
    /// Labels `[N]`, stored as `arr_1`; by default those of a data set of several classes.
    pub labels: Option<Tensor>,
    /// Statistics to store with the images, for a reference file of ADM's evaluator.
    pub statistics: Option<Statistics>,
}

/// Options of [`save_images`].
#[derive(Debug, Clone, Options)]
pub struct SaveImagesOptions {
    /// How float values become bytes: "nearest" as in DiT and SiT, or "down" as in ADM. Bytes stay as they are.
    pub rounding: Rounding,
    /// Labels `[N]`; by default those of a data set of several classes.
    pub labels: Option<Tensor>,
    /// Whether each class has a separate folder, as `data::image_folder` reads them. Needs labels.
    #[option(default = false)]
    pub by_class: bool,
}

/// Returns the label of each image and the names of the classes: the given labels, or else those of the images if
/// they are of several classes.
fn labels_of(images: &Images, given: Option<&Tensor>) -> Result<Option<(Vec<i64>, Vec<String>)>> {
    let Some(given) = given else {
        let own = images.labels().filter(|(_, names)| names.len() > 1);
        return own.map(|(labels, names)| Ok((labels.to_i64()?, names.to_vec()))).transpose();
    };
    let labels = check_labels(given, images.count()).map_err(|e| e.context("option `labels`"))?.to_i64()?;
    let names = match images.labels() {
        Some((_, names)) if labels.iter().all(|label| (*label as usize) < names.len()) => names.to_vec(),
        _ => (0..=labels.iter().max().copied().unwrap_or(0)).map(|label| label.to_string()).collect(),
    };
    Ok(Some((labels, names)))
}

/// Returns a folder name for each class: a name without characters that a file name cannot have, and with the number
/// of the class where it would be empty, hidden, or that of another class.
fn folder_names(classes: &[String]) -> Vec<String> {
    let mut made: Vec<String> = Vec::with_capacity(classes.len());
    for (number, class) in classes.iter().enumerate() {
        let plain = |c: char| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c };
        let mut name: String = class.trim().chars().map(plain).collect();
        // Not all file systems tell upper from lower case.
        let taken = |name: &str| {
            name.is_empty() || name.starts_with('.') || made.iter().any(|m| m.eq_ignore_ascii_case(name))
        };
        while taken(&name) {
            name = format!("{}_{number}", name.trim_start_matches('.'));
        }
        made.push(name);
    }
    made
}

/// Returns height and width of images that a file can hold.
fn size_of(images: &Images) -> Result<[i64; 2]> {
    match images.shape() {
        [1 | 3, height, width] => Ok([height, width]),
        [channels, ..] => Err(not_images(channels)),
    }
}

/// Writes images as PNG files `000000.png`, .. into a new or empty folder, in groups; gray is repeated.
pub fn save_images(folder: &Path, images: &Images, options: &SaveImagesOptions, cx: &Context) -> Result<()> {
    options.check()?;
    if folder.is_dir() && !files::entries(folder)?.is_empty() {
        return Err(Error::file(
            folder,
            "the folder is not empty, and its files would be taken for images too",
        )
        .hint("remove it, or choose another"));
    }
    let labels = labels_of(images, options.labels.as_ref())?;
    let places = match (options.by_class, labels) {
        (false, _) => None,
        (true, Some((labels, names))) => {
            Some((labels, folder_names(&names).iter().map(|name| folder.join(name)).collect::<Vec<_>>()))
        }
        (true, None) => {
            return Err(Error::argument("option `by_class` needs labels, and the images have none")
                .hint("pass `labels: y`, or a data set of several classes"));
        }
    };
    let [height, width] = size_of(images)?;
    for place in places.iter().flat_map(|(_, folders)| folders) {
        files::make_dir(place)?;
    }
    files::make_dir(folder)?;
    let pixels = (height * width * 3) as usize;
    let rounding = options.rounding.of(images);
    let mut number = 0;
    images.in_chunks(cx, |part| {
        for rgb in bytes(&part, rounding)?.to_u8()?.chunks_exact(pixels) {
            let place = match &places {
                Some((labels, folders)) => folders[labels[number] as usize].as_path(),
                None => folder,
            };
            let path = place.join(format!("{number:06}.png"));
            let file = files::png(rgb, width as u32, height as u32)?;
            // Syncing each of many files would take long, so a part of one is removed instead.
            std::fs::write(&path, file).map_err(|e| {
                let _ = std::fs::remove_file(&path);
                files::failed(&path, &e)
            })?;
            number += 1;
        }
        Ok(())
    })
}

/// Writes images as `arr_0` [N, H, W, 3] uint8 of an npz file, atomically and in groups; gray is repeated. Labels are
/// `arr_1`.
pub fn save_samples(path: &Path, images: &Images, options: &SaveSamplesOptions, cx: &Context) -> Result<()> {
    options.check()?;
    let [height, width] = size_of(images)?;
    let about = About { shape: vec![images.count(), height, width, 3], dtype: DType::UInt8 };
    let rounding = options.rounding.of(images);
    let labels = labels_of(images, options.labels.as_ref())?;
    write_npz(path, |npz| {
        npz.array_of_rows("arr_0", &about)?;
        images.in_chunks(cx, |part| npz.rows(&bytes(&part, rounding)?))?;
        if let Some((labels, _)) = &labels {
            npz.array("arr_1", &Tensor::from_i64(labels, &[images.count()])?)?;
        }
        match &options.statistics {
            Some(statistics) => {
                statistics.arrays()?.iter().try_for_each(|(name, array)| npz.array(name, array))
            }
            None => Ok(()),
        }
    })
}

/// Converts images [N, C, H, W] in [-1, 1] to bytes [N, H, W, 3].
fn bytes(images: &Tensor, rounding: Rounding) -> Result<Tensor> {
    let images = images.to_dtype(DType::Float32)?;
    let scaled = match rounding {
        Rounding::Nearest => images.mul_scalar(127.5)?.add_scalar(128.0)?,
        Rounding::Down => images.add_scalar(1.0)?.mul_scalar(127.5)?,
    };
    let bytes = scaled.clamp(0.0, 255.0)?.to_dtype(DType::UInt8)?;
    bytes.permute(&[0, 2, 3, 1])?.expand(&[-1, -1, -1, 3])?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::folder_names;

    #[test]
    fn every_class_has_a_folder_of_its_own_inside_of_the_folder() {
        let classes = ["a/b", "a_b", "A_B", "..", "", ".git", "ü x", "c:\\d", "a_b_1"].map(str::to_string);
        let expected = ["a_b", "a_b_1", "A_B_2", "_3", "_4", "git_5", "ü x", "c__d", "a_b_1_8"];
        assert_eq!(folder_names(&classes), expected);
    }
}
