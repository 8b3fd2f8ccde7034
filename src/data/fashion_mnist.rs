//! Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747): 28 x 28 gray images of clothing.

use std::path::Path;

use super::mnist::{from_folder, read_pair};
use super::source::Source;
use super::{Dataset, Split};
use crate::declare::{Choice, Options};
use crate::error::Result;

const CLASS_NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Number of embedded images for training; the others are for testing.
const EMBEDDED_TRAIN: i64 = 8000;

/// Where to find the original files.
const DEBIAN: &str = "the four original files are in Debian's package dataset-fashion-mnist, folder \
                      /usr/share/datasets/fashion-mnist";

static IMAGES: &[u8] = include_bytes!("../../examples/data/fashion-mnist/t10k-images-idx3-ubyte.gz");
static LABELS: &[u8] = include_bytes!("../../examples/data/fashion-mnist/t10k-labels-idx1-ubyte.gz");

/// Options of `fashion_mnist`.
#[derive(Debug, Clone, Options)]
pub struct FashionMnistOptions {
    /// Training or held-out test images.
    pub split: Split,
    /// Folder with the four original files (`train-images-idx3-ubyte.gz`, .., compressed or not) for the whole
    /// set; by default the embedded images are used.
    pub path: Option<String>,
}

/// Opens Fashion-MNIST: images [N, 1, 28, 28] in ten classes.
///
/// Without a path, returns the 10,000 embedded test images of the original, split into the first 8,000 (`train`)
/// and the last 2,000 (`test`). With a path, returns the original's 60,000 and 10,000 images.
pub(crate) fn fashion_mnist(options: &FashionMnistOptions) -> Result<Dataset> {
    options.check()?;
    let train = options.split == Split::Train;
    let names = CLASS_NAMES.map(str::to_string).to_vec();
    if let Some(path) = &options.path {
        return from_folder(Path::new(path), "fashion_mnist", options.split, names, DEBIAN);
    }
    let images = Source::embedded("t10k-images-idx3-ubyte.gz", IMAGES);
    let labels = Source::embedded("t10k-labels-idx1-ubyte.gz", LABELS);
    let (images, labels) = read_pair(&images, &labels)?;
    let count = images.size(0)?;
    let (start, length) = if train { (0, EMBEDDED_TRAIN) } else { (EMBEDDED_TRAIN, count - EMBEDDED_TRAIN) };
    let (images, labels) = (images.narrow(0, start, length)?, labels.narrow(0, start, length)?);
    Dataset::new(&images, &labels, "fashion_mnist", options.split.name(), names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{IntoValue, Map};

    fn open(split: &str) -> Dataset {
        fashion_mnist(&FashionMnistOptions { split: Split::named(split).unwrap(), path: None }).unwrap()
    }

    #[test]
    fn the_embedded_images_are_split_and_balanced() {
        let (train, test) = (open("train"), open("test"));
        assert_eq!((train.len(), test.len()), (8000, 2000));
        assert_eq!(train.image_shape(), [1, 28, 28]);
        let counts = |d: &Dataset| d.labels().bincount(None, 10).unwrap().to_i64().unwrap();
        let both: Vec<i64> = counts(&train).iter().zip(counts(&test)).map(|(a, b)| a + b).collect();
        assert_eq!(both, [1000; 10]);
        // The first test image of Fashion-MNIST is an ankle boot.
        assert_eq!(train.class_names()[train.labels().to_i64().unwrap()[0] as usize], "Ankle boot");
        let images = test.images().unwrap();
        assert_eq!(images.amin(&[], false).unwrap().item().unwrap(), -1.0);
        assert_eq!(images.amax(&[], false).unwrap().item().unwrap(), 1.0);
    }

    #[test]
    fn a_wrong_folder_or_split_says_so() {
        let message = |split: &str, path: &str| {
            let options = Map::from([
                ("split".to_string(), split.into_value()),
                ("path".to_string(), path.into_value()),
            ]);
            FashionMnistOptions::from_map(&options).and_then(|o| fashion_mnist(&o)).unwrap_err().to_string()
        };
        assert!(message("train", "/no/such/folder").contains("no such folder"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert!(message("test", path).contains("expected the file t10k-images-idx3-ubyte.gz"));
        std::fs::write(folder.path().join("t10k-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0]).unwrap();
        std::fs::write(folder.path().join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0]).unwrap();
        assert!(message("test", path).contains("truncated"));
        assert!(message("tset", path).contains("did you mean `test`?"));
    }

    #[test]
    fn a_folder_of_the_original_files_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("t10k-images-idx3-ubyte.gz", IMAGES), ("t10k-labels-idx1-ubyte.gz", LABELS)] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let path = Some(folder.path().display().to_string());
        let set = fashion_mnist(&FashionMnistOptions { split: Split::Test, path }).unwrap();
        assert_eq!(set.len(), 10_000);
    }
}
