//! Folders, archives and Parquet files of PNG, JPEG and WebP images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Dataset;
use super::ahead::{Ahead, Form, room};
use super::archive::samples::{self, Samples};
use super::background::Background;
use super::classes::{self, Found};
use super::decode::Fit;
use super::item::Item;
use super::manifest;
use super::parquet::{self, Named, Wanted};
use super::place::Place;
use super::sheet::{self, Columns};
use super::store::{MEMORY, Store};
use super::tree::Tree;
use crate::context::Context;
use crate::declare::{Choice, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Number of images read between checks for Ctrl-C.
const CHUNK: usize = 256;

/// What to do with unreadable files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum OnError {
    /// An error names the file.
    #[default]
    Stop,
    /// The file is skipped and counted.
    Skip,
}

/// Options of `image_folder`.
#[derive(Debug, Clone, Options)]
pub struct ImageFolderOptions {
    /// Height and width in pixels; the central square of each image is resized to it, with antialiasing.
    #[option(default = 64, range = 1..=4096)]
    pub size: i64,
    /// Number of channels: 3 for color, 1 for gray.
    #[option(default = 3, range = 1..=3)]
    pub channels: i64,
    /// Whether to keep all images in memory. By default, up to 1 GiB of images is kept; larger sets are read
    /// from their files ahead of use.
    pub in_memory: Option<bool>,
    /// Background of transparent images: "white", "black", "gray", "#rrggbb", or red, green and blue from 0 to
    /// 255.
    pub background: Background,
    /// CSV file with the class of each image, instead of folders. Its column `file` is the path of an image in the folder,
    /// and its column `label` is the class, a name or a whole number; of two columns the names do not matter.
    pub labels: Option<String>,
    /// Name of the column of paths in the file `labels`.
    pub file_column: Option<String>,
    /// Name of the column of classes in the file `labels`, or in Parquet files, where `""` opens them without classes; key of
    /// the class in the `.json` of each image of an archive.
    pub label_column: Option<String>,
    /// Name of the column of images in Parquet files, if it is not one of the usual names, such as `image`.
    pub image_column: Option<String>,
    /// Names of arrays next to the images of an archive, which become fields of the data set: `0001.text.npy` next to
    /// `0001.jpg` is the field `text`, and `0001.npy` is the field `npy`. In Parquet files, names of columns of numbers or of
    /// lists of equal length, which are kept in memory.
    pub fields: Vec<String>,
    /// What to do with unreadable files: "stop" is an error that names the file, "skip" skips and counts it.
    /// With "skip", every file is read once when the folder is opened; rows of `labels` without an image and images
    /// without a row are skipped too, and so is what is missing at the end of an archive.
    pub on_error: OnError,
    /// Name of the data set, recorded with every result; by default the name of the folder or archive.
    pub name: Option<String>,
    /// Name of the split, recorded with every result.
    #[option(default = "all")]
    pub split: String,
}

/// Opens a folder of images; see [`images_in`].
#[cfg(test)]
pub(crate) fn image_folder(path: &Path, options: &ImageFolderOptions, cx: &Context) -> Result<Dataset> {
    images_in(&[path.to_path_buf()], options, cx)
}

/// Opens a folder of images, or archives of one. Its subfolders with images are the classes, in alphabetical order, or in
/// numerical order if they are numbered. Without such subfolders, its own images form one class.
///
/// What is skipped (folders without images, folders left by other systems, damaged files) is reported once, through
/// `cx`.
pub(crate) fn images_in(paths: &[PathBuf], options: &ImageFolderOptions, cx: &Context) -> Result<Dataset> {
    options.check()?;
    if options.channels == 2 {
        return Err(Error::not_allowed("channels", "1 or 3", 2));
    }
    let skip = options.on_error == OnError::Skip;
    let (found, folder, own_name) = match parquet::named(paths)? {
        Some(named) => (in_tables(&named, options, cx)?, named.root, named.name),
        None => {
            let small = match &options.label_column {
                Some(_) => [samples::CLASS, samples::FACTS].as_slice(),
                None => &[samples::CLASS],
            };
            let place = Place::open(paths, small, skip, cx)?;
            let found = found(&place, options).map_err(|e| place.explain(e))?;
            (found, place.folder, place.name)
        }
    };
    let Samples { images, classes, fields, columns, notes } = found;
    notes.iter().for_each(|note| cx.note(&format!("{}: {note}", folder.display())));
    let fit = Fit { channels: options.channels, side: options.size, background: options.background };
    let (items, mut labels): (Vec<Item>, Vec<i64>) = images.into_iter().unzip();
    let files = Ahead::new(items, Form::Image(fit));
    let bytes = labels.len() as i64 * fit.channels * fit.side * fit.side;
    let in_memory = options.in_memory.unwrap_or(bytes <= MEMORY);
    let mut good = None;
    let store = match in_memory || skip {
        true => {
            let read = read_all(&files, in_memory, skip, cx)?;
            labels = read.good.iter().map(|place| labels[*place]).collect();
            read.tell(&files, &folder, cx);
            good = Some(read.good.clone());
            match read.images {
                Some(images) => Store::Tensor(images),
                None => Store::some_of(files, read.good),
            }
        }
        false => {
            // An error in the first file is reported now, not in the middle of a training run.
            files.read(&[0])?;
            Store::of_files(files)
        }
    };
    let field = |(name, items): (String, Vec<Item>)| -> Result<(String, Store)> {
        let form = Form::of_arrays(&items[0])?;
        let files = Ahead::new(items, form);
        let places = good.clone().unwrap_or_else(|| (0..files.len()).collect());
        let bytes = (places.len() * files.bytes()) as i64;
        let store = match options.in_memory.unwrap_or(bytes <= MEMORY) {
            true => Store::Tensor(load(&files, &places, cx)?),
            false => Store::some_of(files, places),
        };
        Ok((name, store))
    };
    let mut fields: BTreeMap<String, Store> = fields.into_iter().map(field).collect::<Result<_>>()?;
    for (name, column) in columns {
        let column = match &good {
            Some(places) if places.len() as i64 != column.shape()[0] => {
                let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
                column.index_select(0, &Tensor::from_i64(&places, &[places.len() as i64])?)?
            }
            _ => column,
        };
        fields.insert(name, Store::Tensor(column));
    }
    let count = labels.len();
    let name = options.name.as_deref().unwrap_or(&own_name);
    Dataset::of_store(store, &Tensor::from_i64(&labels, &[count as i64])?, name, &options.split, classes)?
        .with_stored_fields(fields)
}

/// Loads some files in parts, so that the user can stop.
pub(super) fn load(files: &Ahead, places: &[usize], cx: &Context) -> Result<Tensor> {
    let chunks: Vec<&[usize]> = places.chunks(CHUNK).collect();
    let mut bar = (chunks.len() > 1).then(|| cx.bar("arrays", places.len() as u64));
    let mut parts = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        cx.check()?;
        if let Some(next) = chunks.get(i + 1) {
            files.read_ahead(&[*chunk, *next].concat());
        }
        parts.push(files.read(chunk)?);
        if let Some(bar) = &mut bar {
            bar.update(((i + 1) * CHUNK).min(places.len()) as u64, "");
        }
    }
    Tensor::cat(&parts, 0)
}

/// Opens Parquet files, which have their classes in them.
fn in_tables(named: &Named, options: &ImageFolderOptions, cx: &Context) -> Result<Samples> {
    for (name, given) in [("labels", &options.labels), ("file_column", &options.file_column)] {
        ensure!(
            given.is_none(),
            "`{name}` is for folders: a Parquet file has the classes in a column, `label_column`"
        );
    }
    let wanted = Wanted {
        image: options.image_column.as_deref(),
        label: options.label_column.as_deref(),
        fields: &options.fields,
    };
    parquet::samples(named, wanted, options.on_error == OnError::Skip, cx)
}

/// Finds the images and their classes: by the rows of a file, by the files beside each image of an archive, by
/// `dataset.json`, or by folders.
fn found(place: &Place, options: &ImageFolderOptions) -> Result<Samples> {
    let Place { tree, folder, .. } = place;
    let skip = options.on_error == OnError::Skip;
    let columns = Columns { file: options.file_column.as_deref(), label: options.label_column.as_deref() };
    let of_files = |found: Found| {
        let (paths, labels): (Vec<PathBuf>, Vec<i64>) = found.images.into_iter().unzip();
        let (images, classes, notes) = (paths, found.classes, found.notes);
        let mut samples = match tree {
            Tree::Archives(listing) if !options.fields.is_empty() => {
                let wanted = samples::Wanted { key: None, fields: &options.fields, skip };
                let images = listing.chosen(&images)?.into_iter().zip(labels).collect();
                samples::beside(listing, folder, images, wanted)?
            }
            _ => Samples {
                images: tree.items(images)?.into_iter().zip(labels).collect(),
                ..Samples::default()
            },
        };
        samples.classes = classes;
        samples.notes.splice(..0, notes);
        Ok(samples)
    };
    let in_archive = matches!(tree, Tree::Archives(_));
    ensure!(options.image_column.is_none(), "`image_column` belongs to Parquet files");
    ensure!(
        options.fields.is_empty() || (in_archive && options.labels.is_none()),
        "`fields` are arrays beside the images of an archive, whose classes are there too, not in `labels`"
    );
    if let Some(file) = &options.labels {
        let (images, mut notes) = classes::all(tree, folder)?;
        if let Some(twice) = images.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::file(&twice[0], "two archives have an image of this name")
                .hint("`labels` needs images of different names: open the archives one by one"));
        }
        let mut found = sheet::labeled(folder, images, Path::new(file), columns, skip)?;
        notes.append(&mut found.notes);
        return of_files(Found { notes, ..found });
    }
    for (name, given) in [("file_column", columns.file), ("label_column", columns.label)] {
        ensure!(
            given.is_none() || (in_archive && name == "label_column"),
            "`{name}` belongs to `labels`, the CSV file with the classes"
        );
    }
    let mut notes = Vec::new();
    if let Tree::Archives(listing) = tree {
        let wanted = samples::Wanted { key: columns.label, fields: &options.fields, skip };
        let samples = samples::samples(listing, folder, wanted)?;
        if !samples.images.is_empty() {
            return Ok(samples);
        }
        notes = samples.notes;
    }
    let manifest = folder.join(manifest::NAME);
    if let Tree::Archives(listing) = tree
        && listing.numbers(&manifest).len() > 1
    {
        let text = format!("expected one `{}`, found one in each of several archives", manifest::NAME);
        return Err(
            Error::file(folder, text).hint("open the archives one by one, and join them by `data::join`")
        );
    }
    if let Some(file) = tree.file(&manifest) {
        let (images, mut others) = classes::all(tree, folder)?;
        if let Some(mut found) = manifest::labeled(folder, images, &file, Some(skip))? {
            notes.append(&mut others);
            notes.append(&mut found.notes);
            return of_files(Found { notes, ..found });
        }
        notes.push(format!("`{}` has no `labels`, so the folders are the classes", manifest::NAME));
    }
    let mut found = classes::find(tree, folder)?;
    found.notes.append(&mut notes);
    of_files(found)
}

/// Result of reading all files once.
struct Read {
    /// Images, if they are kept in memory.
    images: Option<Tensor>,
    /// Indices of the readable files.
    good: Vec<usize>,
    /// Error of the first unreadable file.
    first: Option<Error>,
}

impl Read {
    /// Reports how many files are damaged and how many were skipped.
    fn tell(&self, files: &Ahead, folder: &Path, cx: &Context) {
        let all = files.len();
        if let Some((count, first)) = files.damaged() {
            cx.note(&format!(
                "{}: {count} of {all} images are slightly damaged and were read as far as possible, \
                 the first is {}",
                folder.display(),
                first.display()
            ));
        }
        if let Some(first) = &self.first {
            let count = all - self.good.len();
            cx.note(&format!(
                "{}: {count} of {all} images could not be read and were skipped, the first: {}",
                folder.display(),
                first.message()
            ));
        }
    }
}

/// Reads all files, and keeps the images if `keep` is set.
fn read_all(files: &Ahead, keep: bool, skip: bool, cx: &Context) -> Result<Read> {
    let size = files.bytes();
    let places: Vec<usize> = (0..files.len()).collect();
    let chunks: Vec<&[usize]> = places.chunks(CHUNK).collect();
    let mut bar = (chunks.len() > 1).then(|| cx.bar("images", files.len() as u64));
    let (mut parts, mut good, mut first) = (Vec::new(), Vec::new(), None);
    for (i, chunk) in chunks.iter().enumerate() {
        cx.check()?;
        if let Some(next) = chunks.get(i + 1) {
            files.read_ahead(&[*chunk, *next].concat());
        }
        let kept = if keep { chunk.len() * size } else { 0 };
        let (mut pixels, before) = (room(kept)?, good.len());
        for (place, image) in chunk.iter().zip(files.read_each(chunk)) {
            match image {
                Ok(image) => {
                    good.push(*place);
                    if keep {
                        pixels.extend_from_slice(&image);
                    }
                }
                Err(error) if skip => first = first.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        if keep {
            parts.push(files.tensor(&pixels, good.len() - before)?);
        }
        if let Some(bar) = &mut bar {
            bar.update(((i + 1) * CHUNK).min(files.len()) as u64, "");
        }
    }
    match first {
        Some(error) if good.is_empty() => Err(error.context("no image could be read")),
        first => {
            let images = if keep { Some(Tensor::cat(&parts, 0)?) } else { None };
            Ok(Read { images, good, first })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::png_of;
    use super::*;
    use crate::data::LoaderOptions;

    /// Creates two classes, 5 dark images and 3 light ones, with the index of the image in red.
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
        let options = ImageFolderOptions { size: 4, in_memory: Some(in_memory), ..Default::default() };
        image_folder(path, &options, &Context::default())
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
    fn a_share_of_a_batch_reads_no_other_files() {
        let place = folder();
        let options = LoaderOptions { batch: 8, shuffle: false, ..LoaderOptions::default() };
        let loader = open(place.path(), false).unwrap().loader(&options).unwrap();
        std::fs::remove_dir_all(place.path().join("light")).unwrap();
        for _ in 0..3 {
            let share = loader.next_share(1, 4).unwrap();
            assert_eq!(reds(&share.images), [1, 2, 3, 4]);
            assert_eq!(share.labels.to_i64().unwrap(), [0, 0, 0, 0, 0, 1, 1, 1]);
        }
        assert!(loader.next().unwrap_err().message().contains("light/0.png"));
    }

    #[test]
    fn a_damaged_file_is_named_when_its_turn_comes() {
        let place = folder();
        let damaged = place.path().join("light/1.png");
        let bytes = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &bytes[..bytes.len() - 26]).unwrap();
        let message = |result: Result<Dataset>| result.unwrap_err().message();
        assert!(message(open(place.path(), true)).contains("light/1.png: the image is damaged at byte"));
        let set = open(place.path(), false).unwrap();
        assert!(set.take(6).unwrap().images().is_ok());
        let error = set.images().unwrap_err();
        assert!(error.message().contains("light/1.png: the image is damaged"), "{error}");
    }

    #[test]
    fn damaged_files_are_counted_and_skipped_on_request() {
        let place = folder();
        let at = |name: &str| place.path().join(name);
        let bytes = std::fs::read(at("light/1.png")).unwrap();
        std::fs::write(at("light/1.png"), &bytes[..bytes.len() - 26]).unwrap();
        std::fs::write(at("dark/3.png"), "no image").unwrap();
        let bytes = std::fs::read(at("dark/0.png")).unwrap();
        std::fs::write(at("dark/0.png"), &bytes[..bytes.len() - 16]).unwrap();
        for in_memory in [true, false] {
            let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let notes = std::sync::Arc::clone(&told);
            let note = std::sync::Arc::new(move |text: &str| notes.lock().unwrap().push(text.to_string()));
            let cx = Context { note, ..Context::default() };
            let options = ImageFolderOptions {
                size: 4,
                in_memory: Some(in_memory),
                on_error: OnError::Skip,
                ..Default::default()
            };
            let set = image_folder(place.path(), &options, &cx).unwrap();
            assert_eq!(set.labels().to_i64().unwrap(), [0, 0, 0, 0, 1, 1]);
            assert_eq!(reds(&set.images().unwrap()), [0, 1, 2, 4, 200, 202]);
            let told = told.lock().unwrap().join("\n");
            assert!(
                told.contains("1 of 8 images are slightly damaged") && told.contains("dark/0.png"),
                "{told}"
            );
            assert!(told.contains("2 of 8 images could not be read and were skipped, the first: "), "{told}");
        }
    }

    #[test]
    fn a_folder_without_images_says_what_is_expected() {
        let place = tempfile::tempdir().unwrap();
        let error = open(place.path(), true).unwrap_err();
        assert!(error.message().contains("expected PNG, JPEG or WebP images, found none"), "{error}");
        assert!(open(Path::new("/no/such"), true).unwrap_err().message().contains("no such file or folder"));
        std::fs::write(place.path().join("a.PNG"), png_of(3, 5, |_, _| [1, 2, 3])).unwrap();
        let set = open(place.path(), true).unwrap();
        assert_eq!((set.len(), set.class_names()), (1, &["images".to_string()][..]));
    }
}
