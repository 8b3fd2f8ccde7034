//! CIFAR-10 (Krizhevsky 2009): 32 x 32 colour images in ten classes, in its binary version.
//!
//! Each record is one byte of label and 3 x 1024 bytes of red, green and blue, row-major
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>). The version for Python is a pickle, which may run code
//! when it is loaded; it is refused.

use std::borrow::Cow;
use std::path::Path;

use super::Dataset;
use super::files::Source;
use crate::declare::Options;
use crate::error::{Error, Result};
use crate::torch::Tensor;

const CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: [&str; 1] = ["test_batch.bin"];

const PIXELS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + PIXELS;
/// No original file is larger; more is not read from an archive.
const LARGEST: u64 = 10_000 * RECORD as u64;

crate::options! {
    /// Which part of CIFAR-10, and where it is.
    pub struct Cifar10 {
        /// The folder `cifar-10-batches-bin`, a folder that contains it, or `cifar-10-binary.tar.gz`.
        path: String = String::new();
        /// Which part: to train on (50,000), or held out (10,000).
        split: String = "train".to_string() => one_of(&["train", "test"]);
    }
}

/// Opens CIFAR-10: images [N, 3, 32, 32] in ten classes.
pub fn cifar10(options: &Cifar10) -> Result<Dataset> {
    options.check()?;
    if options.path.is_empty() {
        return Err(Error::argument("CIFAR-10 is not embedded: option `path` is missing").hint(
            "name the folder cifar-10-batches-bin or the file cifar-10-binary.tar.gz (the binary version)",
        ));
    }
    let path = Path::new(&options.path);
    let names: &[&str] = if options.split == "train" { &TRAIN } else { &TEST };
    let files = match path.is_dir() {
        true => from_folder(path, names)?,
        false => from_archive(path, names)?,
    };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in &files {
        records(file, &mut pixels, &mut labels)?;
    }
    let count = labels.len() as i64;
    Dataset::new(
        &Tensor::from_u8(&pixels, &[count, 3, 32, 32])?,
        &Tensor::from_i64(&labels, &[count])?,
        "cifar10",
        &options.split,
        CLASS_NAMES.map(str::to_string).to_vec(),
    )
}

fn python_version(path: &Path) -> Error {
    Error::file(path, "this is CIFAR-10's version for Python, made of pickles, which can run code").hint(
        "get the binary version, cifar-10-binary.tar.gz, from https://www.cs.toronto.edu/~kriz/cifar.html",
    )
}

fn from_folder(path: &Path, names: &[&str]) -> Result<Vec<Source>> {
    let inner = path.join("cifar-10-batches-bin");
    let folder = if inner.is_dir() { &inner } else { path };
    let missing = names.iter().find(|name| !folder.join(name).is_file());
    if let Some(missing) = missing {
        let python = folder.join("data_batch_1").is_file() || path.join("cifar-10-batches-py").is_dir();
        return Err(match python {
            true => python_version(path),
            false => Error::file(folder, format!("expected the file {missing}, which is not there"))
                .hint("name the folder cifar-10-batches-bin of CIFAR-10's binary version"),
        });
    }
    names.iter().map(|name| Source::read(&folder.join(name))).collect()
}

fn from_archive(path: &Path, names: &[&str]) -> Result<Vec<Source>> {
    let source = Source::read(path)?;
    let broken = |e: std::io::Error| {
        source
            .error(format!("expected a .tar.gz archive: {e}"))
            .hint("name the folder cifar-10-batches-bin, or the file cifar-10-binary.tar.gz")
    };
    let mut archive = tar::Archive::new(source.content());
    let mut found: Vec<Option<Source>> = vec![None; names.len()];
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let inside = entry.path().map_err(broken)?.into_owned();
        if inside.components().any(|c| c.as_os_str() == "cifar-10-batches-py") {
            return Err(python_version(path));
        }
        let place = names.iter().position(|n| inside.file_name().is_some_and(|f| f == *n));
        if let Some(place) = place {
            // One byte more than the largest original, so that a longer file is noticed.
            let bytes = source.read_up_to(&mut entry, LARGEST + 1)?;
            let name = format!("{} in {}", inside.display(), path.display());
            found[place] = Some(Source { name, bytes: Cow::Owned(bytes) });
        }
    }
    let missing = names.iter().zip(&found).find(|(_, f)| f.is_none());
    if let Some((name, _)) = missing {
        return Err(source
            .error(format!("expected the file {name} in the archive, which is not there"))
            .hint("it must be CIFAR-10's binary version, cifar-10-binary.tar.gz"));
    }
    Ok(found.into_iter().flatten().collect())
}

/// Appends the records of one file.
fn records(file: &Source, pixels: &mut Vec<u8>, labels: &mut Vec<i64>) -> Result<()> {
    let bytes = &*file.bytes;
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) || bytes.len() as u64 > LARGEST {
        return Err(file
            .error(format!(
                "expected up to 10000 records of {RECORD} bytes, found {} bytes, which is {}",
                bytes.len(),
                if bytes.len() as u64 > LARGEST { "more" } else { "no whole number of records" }
            ))
            .hint("the file is truncated or not of CIFAR-10's binary version"));
    }
    for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
        if record[0] > 9 {
            return Err(file.error(format!("expected labels from 0 to 9, found {} in record {i}", record[0])));
        }
        labels.push(i64::from(record[0]));
        pixels.extend_from_slice(&record[1..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_set(folder: &Path) {
        for (i, name) in TRAIN.iter().chain(&TEST).enumerate() {
            let record = [vec![i as u8], vec![0; 1024], vec![51; 1024], vec![255; 1024]].concat();
            std::fs::write(folder.join(name), [record.clone(), record].concat()).unwrap();
        }
    }

    fn open(path: &Path, split: &str) -> Result<Dataset> {
        cifar10(&Cifar10 { path: path.display().to_string(), split: split.to_string() })
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
            let colour = test.images().unwrap().mean(&[0, 2, 3], false).unwrap().to_f32().unwrap();
            assert!(colour.iter().zip([-1.0, -0.6, 1.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{colour:?}");
        }
    }

    #[test]
    fn what_is_not_the_binary_version_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let message = |split| open(place.path(), split).unwrap_err().to_string();
        assert!(message("test").contains("expected the file test_batch.bin"));
        std::fs::write(place.path().join("data_batch_1"), b"\x80\x02}q").unwrap();
        assert!(message("train").contains("pickles"));
        write_set(place.path());
        std::fs::write(place.path().join("test_batch.bin"), vec![0; RECORD + 5]).unwrap();
        assert!(message("test").contains("no whole number of records"));
        let mut wrong = vec![0; 2 * RECORD];
        wrong[RECORD] = 10;
        std::fs::write(place.path().join("test_batch.bin"), wrong).unwrap();
        assert!(message("test").contains("found 10 in record 1"));
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
}
