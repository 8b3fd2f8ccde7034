//! Data sets by short name, as on a command line: `fashion_mnist`, `cifar10:PATH`.

use super::cifar::{Cifar10Options, Cifar100Options, cifar10, cifar100};
use super::fashion_mnist::{FashionMnistOptions, fashion_mnist};
use super::mnist::{MnistOptions, mnist};
use super::{Dataset, Split};
use crate::declare::Options;
use crate::error::{Error, Result};

/// Options of `open`.
#[derive(Debug, Clone, Options)]
pub struct OpenOptions {
    /// Training or held-out test images.
    pub split: Split,
}

/// Opens a split of a data set at an optional path.
type Opener = fn(path: Option<String>, split: Split) -> Result<Dataset>;

/// Data sets with a short name.
const KNOWN: [(&str, Opener); 4] = [
    ("fashion_mnist", |path, split| fashion_mnist(&FashionMnistOptions { split, path })),
    ("mnist", |path, split| mnist(&MnistOptions { path: path.unwrap_or_default(), split })),
    ("cifar10", |path, split| cifar10(&Cifar10Options { path: path.unwrap_or_default(), split })),
    ("cifar100", |path, split| {
        cifar100(&Cifar100Options { path: path.unwrap_or_default(), split, ..Cifar100Options::default() })
    }),
];

/// Opens `NAME` or `NAME:PATH`.
pub(crate) fn open(name: &str, options: &OpenOptions) -> Result<Dataset> {
    options.check()?;
    let (name, path) = match name.split_once(':') {
        Some((name, path)) => (name, Some(path.to_string())),
        None => (name, None),
    };
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, opener)) => opener(path, options.split),
        None => Err(Error::argument(format!("unknown data set \"{name}\"")).hint(
            "it takes \"fashion_mnist\", \"fashion_mnist:FOLDER\", \"mnist:FOLDER\", \"cifar10:PATH\" or \
                 \"cifar100:PATH\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_data_sets_or_to_a_clear_message() {
        let test = OpenOptions { split: Split::Test };
        assert_eq!(open("fashion_mnist", &test).unwrap().len(), 2000);
        let message = |name: &str| open(name, &test).unwrap_err().to_string();
        assert!(message("cifar10").contains("option `path` is missing"));
        assert!(message("cifar10:/nowhere").contains("/nowhere: there is no such file"));
        assert!(message("fashion-mnist").contains("fashion_mnist"));
        assert!(message("imagenet").contains("it takes"));
    }
}
