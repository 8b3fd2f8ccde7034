//! A folder of images: PNG and JPEG files, in a folder for each class or all in one.

use std::path::{Path, PathBuf};

use super::Dataset;
use super::ahead::Ahead;
use super::decode::Fit;
use super::store::Store;
use crate::context::Context;
use crate::declare::Options;
use crate::error::{Error, Result};
use crate::files;
use crate::torch::Tensor;

/// Up to this many bytes of pixels are kept in memory.
const MEMORY: i64 = 1 << 30;
/// How many images are read between two looks at Ctrl-C.
const CHUNK: usize = 256;

crate::options! {
    /// Which images, and the shape they are brought into.
    pub struct ImageFolder {
        /// Height and width, in pixels: the middle square of each image is resized to it, with antialiasing.
        size: i64 = 64 => range(1.0, 4096.0);
        /// 3 for colour, 1 for grey.
        channels: i64 = 3 => range(1.0, 3.0);
        /// Whether all images are kept in memory; by default those of up to 1 GiB are, and others are read from their
        /// files ahead of when they are wanted.
        in_memory: Option<bool> = None;
        /// Its name, recorded with every result; by default the folder's.
        name: Option<String> = None;
        /// The part of the source it is, recorded with every result.
        split: String = "all".to_string();
    }
}

/// Opens a folder of images. The folders in it are the classes, in alphabetical order; without any, its images are of
/// one class. Names that start with a dot are passed over.
pub fn image_folder(path: &str, options: &ImageFolder, cx: &Context) -> Result<Dataset> {
    options.check()?;
    if options.channels == 2 {
        return Err(Error::argument("`channels` must be 1 or 3, found 2"));
    }
    let path = Path::new(path);
    let (found, class_names) = find(path)?;
    let labels: Vec<i64> = found.iter().map(|(_, label)| *label).collect();
    let count = labels.len();
    let fit = Fit { channels: options.channels, side: options.size };
    let files = Ahead::new(found.into_iter().map(|(path, _)| path).collect(), fit);
    let bytes = count as i64 * fit.channels * fit.side * fit.side;
    let store = match options.in_memory.unwrap_or(bytes <= MEMORY) {
        true => Store::Tensor(read_all(&files, cx)?),
        false => {
            // What is wrong with all of them is said now, and not in the middle of a training run.
            files.read(&[0])?;
            Store::of_files(files)
        }
    };
    let folder = path.file_name().map_or("images".to_string(), |name| name.to_string_lossy().into_owned());
    let name = options.name.as_deref().unwrap_or(&folder);
    Dataset::of_store(store, &Tensor::from_i64(&labels, &[count as i64])?, name, &options.split, class_names)
}

/// Image files with their labels, and the classes' names.
type Found = (Vec<(PathBuf, i64)>, Vec<String>);

fn find(path: &Path) -> Result<Found> {
    let names = files::list(path)?;
    let classes: Vec<String> =
        names.into_iter().filter(|name| !name.starts_with('.') && path.join(name).is_dir()).collect();
    let mut found = Vec::new();
    match classes.is_empty() {
        true => found.extend(images_in(path)?.into_iter().map(|image| (image, 0))),
        false => {
            for (label, class) in classes.iter().enumerate() {
                found.extend(images_in(&path.join(class))?.into_iter().map(|image| (image, label as i64)));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::file(path, "expected PNG or JPEG images, found none")
            .hint("each class is a folder of files that end in .png, .jpg or .jpeg"));
    }
    let classes = if classes.is_empty() { vec!["images".to_string()] } else { classes };
    Ok((found, classes))
}

fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_image = |name: &String| {
        let lower = name.to_lowercase();
        !name.starts_with('.') && [".png", ".jpg", ".jpeg"].iter().any(|end| lower.ends_with(end))
    };
    Ok(files::list(folder)?.into_iter().filter(is_image).map(|name| folder.join(name)).collect())
}

fn read_all(files: &Ahead, cx: &Context) -> Result<Tensor> {
    let places: Vec<usize> = (0..files.len()).collect();
    let chunks: Vec<&[usize]> = places.chunks(CHUNK).collect();
    let mut bar = (chunks.len() > 1).then(|| cx.bar("images", files.len() as u64));
    let mut parts = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        cx.check()?;
        if let Some(next) = chunks.get(i + 1) {
            files.read_ahead(&[*chunk, *next].concat());
        }
        parts.push(files.read(chunk)?);
        if let Some(bar) = &mut bar {
            bar.update(((i + 1) * CHUNK).min(files.len()) as u64, "");
        }
    }
    Tensor::cat(&parts, 0)
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::png_of;
    use super::*;
    use crate::data::LoaderOptions;

    /// Two classes: 5 dark images and 3 light ones, whose red says which image it is.
    fn folder() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (class, count, light) in [("dark", 5, 0), ("light", 3, 200)] {
            std::fs::create_dir(place.path().join(class)).unwrap();
            for i in 0..count {
                let bytes = png_of(4, 4, |_, _| [light + i, 9, 9]);
                std::fs::write(place.path().join(class).join(format!("{i}.png")), bytes).unwrap();
            }
        }
        std::fs::write(place.path().join("dark/notes.txt"), "no image").unwrap();
        place
    }

    fn open(path: &Path, in_memory: bool) -> Result<Dataset> {
        let options = ImageFolder { size: 4, in_memory: Some(in_memory), ..Default::default() };
        image_folder(path.to_str().unwrap(), &options, &Context::default())
    }

    fn reds(images: &Tensor) -> Vec<i64> {
        let bytes = images.add_scalar(1.0).unwrap().mul_scalar(127.5).unwrap().round().unwrap();
        bytes.select(1, 0).unwrap().amax(&[1, 2], false).unwrap().to_i64().unwrap()
    }

    #[test]
    fn folders_are_classes_in_memory_and_on_disk() {
        let place = folder();
        for in_memory in [true, false] {
            let set = open(place.path(), in_memory).unwrap();
            assert_eq!(set.class_names(), ["dark", "light"]);
            assert_eq!(set.labels().to_i64().unwrap(), [0, 0, 0, 0, 0, 1, 1, 1]);
            assert_eq!(reds(&set.images().unwrap()), [0, 1, 2, 3, 4, 200, 201, 202]);
            let part = set.subset(&[6, 6, 1]).unwrap();
            assert_eq!(reds(&part.images().unwrap()), [201, 201, 1]);
        }
    }

    #[test]
    fn a_loader_gives_the_same_batches_from_disk_as_from_memory() {
        let place = folder();
        let options = LoaderOptions { batch: 3, seed: 4, flip: true, ..LoaderOptions::default() };
        let loaders = [true, false].map(|m| open(place.path(), m).unwrap().loader(&options).unwrap());
        for _ in 0..9 {
            let [a, b] = [&loaders[0], &loaders[1]].map(|l| l.next().unwrap());
            assert_eq!(a.labels.to_i64().unwrap(), b.labels.to_i64().unwrap());
            assert!(a.images.equal(&b.images).unwrap());
        }
    }

    #[test]
    fn a_damaged_file_is_named_when_its_turn_comes() {
        let place = folder();
        let damaged = place.path().join("light/1.png");
        let bytes = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &bytes[..bytes.len() - 20]).unwrap();
        let message = |result: Result<Dataset>| result.unwrap_err().message().to_string();
        assert!(message(open(place.path(), true)).contains("light/1.png: the image is damaged at byte"));
        let set = open(place.path(), false).unwrap();
        assert!(set.take(6).unwrap().images().is_ok());
        let error = set.images().unwrap_err();
        assert!(error.message().contains("light/1.png: the image is damaged"), "{error}");
    }

    #[test]
    fn a_folder_without_images_says_what_is_expected() {
        let place = tempfile::tempdir().unwrap();
        let error = open(place.path(), true).unwrap_err();
        assert!(error.message().contains("expected PNG or JPEG images, found none"), "{error}");
        assert!(open(Path::new("/no/such"), true).unwrap_err().message().contains("no such file or folder"));
        std::fs::write(place.path().join("a.PNG"), png_of(3, 5, |_, _| [1, 2, 3])).unwrap();
        let set = open(place.path(), true).unwrap();
        assert_eq!((set.len(), set.class_names()), (1, &["images".to_string()][..]));
    }
}
