//! MNIST (LeCun et al. 1998) and sets in its format: 28 x 28 gray images in four IDX files.

use std::path::Path;

use super::source::Source;
use super::{Dataset, Split, idx};
use crate::declare::{Choice, Options};
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Options of `mnist`.
#[derive(Debug, Clone, Options)]
pub struct MnistOptions {
    /// Folder with the four original files (`train-images-idx3-ubyte.gz`, .., compressed or not).
    pub path: String,
    /// Training images (60,000) or held-out test images (10,000).
    pub split: Split,
}

/// Opens MNIST: images [N, 1, 28, 28] of the digits 0 to 9.
pub(crate) fn mnist(options: &MnistOptions) -> Result<Dataset> {
    options.check()?;
    if options.path.is_empty() {
        return Err(Error::argument("MNIST is not embedded: option `path` is missing").hint(
            "name the folder that holds train-images-idx3-ubyte.gz and the other three original files",
        ));
    }
    let names = (0..10).map(|digit| digit.to_string()).collect();
    from_folder(
        Path::new(&options.path),
        "mnist",
        options.split,
        names,
        "they are the files of MNIST's web page",
    )
}

/// Opens a data set from a folder of four files; `whence` is the hint in error messages on where to get them.
pub(super) fn from_folder(
    folder: &Path,
    name: &str,
    split: Split,
    class_names: Vec<String>,
    whence: &str,
) -> Result<Dataset> {
    let stem = if split == Split::Train { "train" } else { "t10k" };
    let images = find(folder, &format!("{stem}-images-idx3-ubyte"), whence)?;
    let labels = find(folder, &format!("{stem}-labels-idx1-ubyte"), whence)?;
    let (images, label_values) = read_pair(&images, &labels)?;
    Dataset::new(&images, &label_values, name, split.name(), class_names)
        .map_err(|error| error.in_file(&labels.name))
}

/// Returns images [N, 1, H, W] and labels [N] from their two files.
pub(super) fn read_pair(image_file: &Source, label_file: &Source) -> Result<(Tensor, Tensor)> {
    let (images, labels) = (idx::read(image_file, 3)?, idx::read(label_file, 1)?);
    if images.shape()[1..] != [28, 28] {
        return Err(
            image_file.error(format!("expected images of 28 x 28 pixels, found {:?}", &images.shape()[1..]))
        );
    }
    if images.size(0)? != labels.size(0)? {
        return Err(label_file.error(format!(
            "expected {} labels, one per image in {}, found {}",
            images.size(0)?,
            image_file.name,
            labels.size(0)?
        )));
    }
    Ok((images.unsqueeze(1)?, labels))
}

/// Finds a file by name, with or without `.gz`.
fn find(folder: &Path, name: &str, whence: &str) -> Result<Source> {
    if !folder.is_dir() {
        let what = if folder.exists() { "expected a folder, found a file" } else { "no such folder" };
        return Err(Error::file(folder, what).hint(
            "name the folder that holds train-images-idx3-ubyte.gz and the other three original files",
        ));
    }
    // Some distributors write a dot for the second dash, and some unpack each file into its own folder.
    let dotted = name.replacen("-idx", ".idx", 1);
    let names = [format!("{name}.gz"), name.to_string(), format!("{dotted}.gz"), dotted];
    let files = names.iter().flat_map(|name| [folder.join(name), folder.join(name).join(name)]);
    match files.into_iter().find(|p| p.is_file()) {
        Some(path) => Source::read(&path),
        None => {
            Err(Error::file(folder, format!("expected the file {name}.gz or {name}, found neither"))
                .hint(whence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_files_give_digits() {
        let place = tempfile::tempdir().unwrap();
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28];
        images.extend([255; 2 * 28 * 28]);
        std::fs::write(place.path().join("t10k-images-idx3-ubyte"), images).unwrap();
        let other = tempfile::tempdir().unwrap();
        let at = |name: &str| other.path().join(name);
        std::fs::copy(place.path().join("t10k-images-idx3-ubyte"), at("t10k-images.idx3-ubyte")).unwrap();
        std::fs::create_dir(at("t10k-labels-idx1-ubyte")).unwrap();
        std::fs::write(at("t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 2, 7, 3])
            .unwrap();
        let dotted = MnistOptions { path: other.path().display().to_string(), split: Split::Test };
        assert_eq!(mnist(&dotted).unwrap().labels().to_i64().unwrap(), [7, 3]);
        let labels = |last: u8| [0, 0, 8, 1, 0, 0, 0, 2, 7, last];
        let file = place.path().join("t10k-labels-idx1-ubyte");
        std::fs::write(&file, labels(3)).unwrap();
        let options = MnistOptions { path: place.path().display().to_string(), split: Split::Test };
        let set = mnist(&options).unwrap();
        assert_eq!((set.name(), set.labels().to_i64().unwrap()), ("mnist", vec![7, 3]));
        std::fs::write(&file, labels(10)).unwrap();
        let message = mnist(&options).unwrap_err().message();
        assert!(
            message.contains("t10k-labels-idx1-ubyte: expected labels from 0 to 9, found 10"),
            "{message}"
        );
        assert!(mnist(&MnistOptions::default()).unwrap_err().message().contains("option `path` is missing"));
    }
}
