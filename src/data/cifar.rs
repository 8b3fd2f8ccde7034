//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32 x 32 color images in 10 or 100 classes, in the binary version.
//!
//! Each record consists of one byte of label (CIFAR-100: two, coarse and fine) and 3 x 1024 bytes of red, green and
//! blue, row-major (<https://www.cs.toronto.edu/~kriz/cifar.html>). The Python versions are pickles, which may run
//! code when they are loaded; they are rejected.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io::Read;
use std::path::Path;

use super::source::Source;
use super::{Dataset, Split};
use crate::declare::{Choice, Options};
use crate::error::{Error, Result};
use crate::torch::Tensor;

const CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const PIXELS: usize = 3 * 32 * 32;

/// Properties of one of the two sets.
struct Kind {
    /// Name in messages.
    title: &'static str,
    name: &'static str,
    folder: &'static str,
    archive: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// Names that identify the Python version: its folder, and a file in it.
    python: (&'static str, &'static str),
    /// Bytes of labels in each record.
    labels: usize,
    /// Number of records in the largest original file; a longer file in an archive is not read further.
    most: usize,
}

const CIFAR10: Kind = Kind {
    title: "CIFAR-10",
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    archive: "cifar-10-binary.tar.gz",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    python: ("cifar-10-batches-py", "data_batch_1"),
    labels: 1,
    most: 10_000,
};

const CIFAR100: Kind = Kind {
    title: "CIFAR-100",
    name: "cifar100",
    folder: "cifar-100-binary",
    archive: "cifar-100-binary.tar.gz",
    train: &["train.bin"],
    test: &["test.bin"],
    python: ("cifar-100-python", "train"),
    labels: 2,
    most: 50_000,
};

impl Kind {
    fn record(&self) -> usize {
        self.labels + PIXELS
    }

    fn where_to_get(&self) -> String {
        format!(
            "get the binary version, {}, from https://www.cs.toronto.edu/~kriz/cifar.html, or with `spectral data fetch {}`",
            self.archive, self.name
        )
    }
}

/// Options of `cifar10`.
#[derive(Debug, Clone, Options)]
pub struct Cifar10Options {
    /// Folder `cifar-10-batches-bin`, a folder that contains it, or `cifar-10-binary.tar.gz`.
    pub path: String,
    /// Training images (50,000) or held-out test images (10,000).
    pub split: Split,
}

/// Labels of CIFAR-100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Labels {
    /// 100 classes.
    #[default]
    Fine,
    /// 20 classes.
    Coarse,
}

/// Options of `cifar100`.
#[derive(Debug, Clone, Options)]
pub struct Cifar100Options {
    /// Folder `cifar-100-binary`, a folder that contains it, or `cifar-100-binary.tar.gz`.
    pub path: String,
    /// Training images (50,000) or held-out test images (10,000).
    pub split: Split,
    /// Which labels to use: 100 fine or 20 coarse ones.
    pub labels: Labels,
}

/// Opens CIFAR-10: images [N, 3, 32, 32] in ten classes.
pub(crate) fn cifar10(options: &Cifar10Options) -> Result<Dataset> {
    options.check()?;
    let names = CLASS_NAMES.map(str::to_string).to_vec();
    let files = find(&CIFAR10, &options.path, options.split, None)?;
    read(&CIFAR10, &files, 0, names, options.split)
}

/// Opens CIFAR-100: images [N, 3, 32, 32] in 100 fine or 20 coarse classes.
pub(crate) fn cifar100(options: &Cifar100Options) -> Result<Dataset> {
    options.check()?;
    let fine = options.labels == Labels::Fine;
    let list = if fine { "fine_label_names.txt" } else { "coarse_label_names.txt" };
    let mut files = find(&CIFAR100, &options.path, options.split, Some(list))?;
    let list = files.pop().ok_or_else(|| Error::internal("no list of classes"))?;
    let text = String::from_utf8_lossy(&list.bytes).into_owned();
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_string).collect();
    let wanted = if fine { 100 } else { 20 };
    if names.len() != wanted {
        return Err(
            list.error(format!("expected {wanted} names of classes, one per line, found {}", names.len()))
        );
    }
    read(&CIFAR100, &files, usize::from(fine), names, options.split)
}

/// Returns the files of a split, followed by the list of classes if one is needed.
fn find(kind: &Kind, path: &str, split: Split, list: Option<&str>) -> Result<Vec<Source>> {
    if path.is_empty() {
        return Err(Error::argument(format!("{} is not embedded: option `path` is missing", kind.title))
            .hint(kind.where_to_get()));
    }
    let path = Path::new(path);
    let names = if split == Split::Train { kind.train } else { kind.test };
    let names: Vec<&str> = names.iter().copied().chain(list).collect();
    if path.is_dir() { from_folder(kind, path, &names) } else { from_archive(kind, path, &names) }
}

fn read(kind: &Kind, files: &[Source], label: usize, names: Vec<String>, split: Split) -> Result<Dataset> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        records(kind, file, label, names.len(), &mut pixels, &mut labels)?;
    }
    let count = labels.len() as i64;
    Dataset::new(
        &Tensor::from_u8(&pixels, &[count, 3, 32, 32])?,
        &Tensor::from_i64(&labels, &[count])?,
        kind.name,
        split.name(),
        names,
    )
}

fn python_version(kind: &Kind, path: &Path) -> Error {
    let message = format!("this is the Python version of {}: pickles, which can run code", kind.title);
    Error::file(path, message).hint(kind.where_to_get())
}

fn from_folder(kind: &Kind, path: &Path, names: &[&str]) -> Result<Vec<Source>> {
    let inner = path.join(kind.folder);
    let folder = if inner.is_dir() { &inner } else { path };
    let missing = names.iter().find(|name| !folder.join(name).is_file());
    if let Some(missing) = missing {
        let (python, file) = kind.python;
        return Err(match folder.join(file).is_file() || path.join(python).is_dir() {
            true => python_version(kind, path),
            false => Error::file(folder, format!("expected the file {missing}, which does not exist"))
                .hint(format!("pass the folder {} of the binary version of {}", kind.folder, kind.title)),
        });
    }
    names.iter().map(|name| Source::read(&folder.join(name))).collect()
}

fn from_archive(kind: &Kind, path: &Path, names: &[&str]) -> Result<Vec<Source>> {
    let source = Source::read(path)?;
    // Number of bytes read from the archive's content, and the file they end in.
    let (place, last) = (Cell::new(0), RefCell::new(String::new()));
    let broken = |e: std::io::Error| match &*last.borrow() {
        none if none.is_empty() => source
            .error(format!("expected a .tar.gz archive: {e}"))
            .hint(format!("name the folder {}, or the file {}", kind.folder, kind.archive)),
        last => source
            .error(format!("the archive is damaged after {} bytes of content, in {last}: {e}", place.get()))
            .hint("download it again and compare its checksum"),
    };
    let mut archive = tar::Archive::new(Counted { inner: source.content(), place: &place });
    let mut found: Vec<Option<Source>> = vec![None; names.len()];
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let inside = entry.path().map_err(broken)?.into_owned();
        last.replace(inside.display().to_string());
        if inside.components().any(|c| c.as_os_str() == kind.python.0) {
            return Err(python_version(kind, path));
        }
        let place = names.iter().position(|n| inside.file_name().is_some_and(|f| f == *n));
        if let Some(place) = place {
            // One byte more than the largest original, to detect longer files.
            let largest = (kind.most * kind.record()) as u64;
            let bytes = source.read_up_to(&mut entry, largest + 1)?;
            let name = format!("{} in {}", inside.display(), path.display());
            found[place] = Some(Source { name, bytes: Cow::Owned(bytes) });
        }
    }
    let missing = names.iter().zip(&found).find(|(_, f)| f.is_none());
    if let Some((name, _)) = missing {
        return Err(source
            .error(format!("expected the file {name} in the archive, found none"))
            .hint(format!("the archive must be the binary version of {}, {}", kind.title, kind.archive)));
    }
    Ok(found.into_iter().flatten().collect())
}

/// A stream that counts the bytes read from it.
struct Counted<'a> {
    inner: Box<dyn Read + 'a>,
    place: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.place.set(self.place.get() + count as u64);
        Ok(count)
    }
}

/// Appends the records of one file; `label` is the index of the label to use.
fn records(
    kind: &Kind,
    file: &Source,
    label: usize,
    classes: usize,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<i64>,
) -> Result<()> {
    let (bytes, size) = (&*file.bytes, kind.record());
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) || bytes.len() > kind.most * size {
        let what = match bytes.len() > kind.most * size {
            true => "which is more".to_string(),
            false => format!(
                "which is no whole number of records: record {} starts at byte {} and is cut short",
                bytes.len() / size,
                bytes.len() / size * size
            ),
        };
        return Err(file
            .error(format!(
                "expected up to {} records of {size} bytes, found {} bytes, {what}",
                kind.most,
                bytes.len()
            ))
            .hint(format!("the file is truncated or not of {}'s binary version", kind.title)));
    }
    for (i, record) in bytes.chunks_exact(size).enumerate() {
        let class = record[label];
        if usize::from(class) >= classes {
            return Err(file.error(format!(
                "expected labels from 0 to {}, found {class} in record {i}, at byte {}",
                classes - 1,
                i * size + label
            )));
        }
        labels.push(i64::from(class));
        pixels.extend_from_slice(&record[kind.labels..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_set(folder: &Path) {
        for (i, name) in CIFAR10.train.iter().chain(CIFAR10.test).enumerate() {
            let record = [vec![i as u8], vec![0; 1024], vec![51; 1024], vec![255; 1024]].concat();
            std::fs::write(folder.join(name), [record.clone(), record].concat()).unwrap();
        }
    }

    fn open(path: &Path, split: &str) -> Result<Dataset> {
        cifar10(&Cifar10Options { path: path.display().to_string(), split: Split::named(split).unwrap() })
    }

    #[test]
    fn folders_and_archives_give_planes_of_red_green_and_blue() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("cifar-10-batches-bin");
        std::fs::create_dir(&folder).unwrap();
        write_set(&folder);
        let archive = place.path().join("cifar-10-binary.tar.gz");
        let packed = std::fs::File::create(&archive).unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(packed, flate2::Compression::fast()));
        tar.append_dir_all("cifar-10-batches-bin", &folder).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        for path in [&folder, place.path(), &archive] {
            let train = open(path, "train").unwrap();
            assert_eq!(train.labels().to_i64().unwrap(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
            let test = open(path, "test").unwrap();
            assert_eq!((test.len(), test.labels().to_i64().unwrap()[0]), (2, 5));
            let color = test.images().unwrap().mean(&[0, 2, 3], false).unwrap().to_f32().unwrap();
            assert!(color.iter().zip([-1.0, -0.6, 1.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{color:?}");
        }
    }

    #[test]
    fn an_archive_that_breaks_off_names_file_and_place() {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("cifar-10-binary.tar.gz");
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()));
        for name in CIFAR10.train {
            let mut header = tar::Header::new_ustar();
            header.set_size(4 * CIFAR10.record() as u64);
            let record = vec![1; 4 * CIFAR10.record()];
            tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &record[..]).unwrap();
        }
        let whole = tar.into_inner().unwrap().finish().unwrap();
        for (kept, file) in [(whole.len() / 2, "data_batch_3.bin"), (20_000, "data_batch_2.bin")] {
            std::fs::write(&archive, &whole[..kept]).unwrap();
            let message = open(&archive, "train").unwrap_err().message();
            assert!(message.contains("the archive is damaged after "), "{message}");
            assert!(message.contains(&format!("in cifar-10-batches-bin/{file}")), "{message}");
        }
        std::fs::write(&archive, &whole[..8]).unwrap();
        assert!(open(&archive, "train").unwrap_err().message().contains("expected a .tar.gz archive"));
    }

    #[test]
    fn what_is_not_the_binary_version_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let message = |split| open(place.path(), split).unwrap_err().to_string();
        assert!(message("test").contains("expected the file test_batch.bin"));
        std::fs::write(place.path().join("data_batch_1"), b"\x80\x02}q").unwrap();
        assert!(message("train").contains("pickles"));
        write_set(place.path());
        std::fs::write(place.path().join("test_batch.bin"), vec![0; CIFAR10.record() + 5]).unwrap();
        assert!(message("test").contains("record 1 starts at byte 3073 and is cut short"));
        let mut wrong = vec![0; 2 * CIFAR10.record()];
        wrong[CIFAR10.record()] = 10;
        std::fs::write(place.path().join("test_batch.bin"), wrong).unwrap();
        assert!(message("test").contains("found 10 in record 1, at byte 3073"));
        let file = place.path().join("notes.txt");
        std::fs::write(&file, "hello").unwrap();
        assert!(open(&file, "train").is_err());
        assert!(
            open(Path::new("/no/such/file.tar.gz"), "train")
                .unwrap_err()
                .message()
                .contains("no such file or folder")
        );
    }

    #[test]
    fn a_hundred_classes_have_two_labels_each() {
        let place = tempfile::tempdir().unwrap();
        let record = [vec![7, 42], vec![0; 1024], vec![51; 1024], vec![255; 1024]].concat();
        std::fs::write(place.path().join("test.bin"), [record.clone(), record].concat()).unwrap();
        for (file, count) in [("fine_label_names.txt", 100), ("coarse_label_names.txt", 20)] {
            let names: String = (0..count).map(|i| format!("class_{i}\n")).collect();
            std::fs::write(place.path().join(file), names + "\n").unwrap();
        }
        let open = |labels: &str| {
            let path = place.path().display().to_string();
            cifar100(&Cifar100Options { path, split: Split::Test, labels: Labels::named(labels).unwrap() })
        };
        let (fine, coarse) = (open("fine").unwrap(), open("coarse").unwrap());
        assert_eq!((fine.labels().to_i64().unwrap(), fine.classes()), (vec![42, 42], 100));
        assert_eq!(
            (coarse.labels().to_i64().unwrap(), coarse.class_names()[7].as_str()),
            (vec![7, 7], "class_7")
        );
        let color = fine.images().unwrap().mean(&[0, 2, 3], false).unwrap().to_f32().unwrap();
        assert!(color.iter().zip([-1.0, -0.6, 1.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{color:?}");
        std::fs::write(place.path().join("fine_label_names.txt"), "one\n").unwrap();
        assert!(open("fine").unwrap_err().message().contains("expected 100 names of classes"));
    }
}
