//! Image data sets: reading from files or tensors, splitting, shuffling and batching.
//!
//! - [`dataset`]: images with labels; [`loader`]: endless shuffled batches
//! - [`store`]: images in memory or in files; [`ahead`]: reading files on threads; [`decode`]: PNG, JPEG and WebP, with
//!   [`exif`] and [`background`]; [`classes`]: finding the image files and classes of a [`tree`] of folders, on disk or in
//!   an [`archive`], or as rows of [`parquet`] files; `place`: which of both a path names; [`item`]: one of these files; `manifest` and `sheet`: labels in a
//!   file beside them
//! - [`weights`]: how often a loader draws each image; [`augment`]: a function that changes its batches
//! - [`divide`]: disjoint parts of a set; `join`: several sets as one
//! - [`mod@open`]: data sets by short name, as on a command line
//! - one file per source: [`mod@fashion_mnist`] (embedded) and [`mod@mnist`], [`cifar`], [`folder`] of images,
//!   [`mod@latents`] with their [`scale`], [`npz`](mod@npz) batches of images; [`idx`] is the file format of MNIST;
//!   `labels` beside the images of a file
//!
//! Images are [N, C, H, W] float32 in [-1, 1]; byte images stay bytes in memory until they are used.

pub mod ahead;
pub(crate) mod api;
pub mod archive;
pub mod augment;
pub mod background;
pub mod cifar;
pub mod classes;
pub mod dataset;
pub mod decode;
pub mod divide;
pub mod exif;
pub mod fashion_mnist;
pub mod folder;
pub mod idx;
pub mod image;
mod indices;
pub mod item;
mod join;
pub(crate) mod labels;
pub mod latents;
pub mod loader;
pub(crate) mod manifest;
pub mod mnist;
#[cfg(test)]
mod noted;
pub mod npz;
pub mod open;
pub mod parquet;
pub mod pixels;
pub(crate) mod place;
pub mod scale;
pub(crate) mod sheet;
pub mod source;
pub mod split;
pub mod store;
pub mod tree;
pub mod weights;

pub use api::space::*;
pub use cifar::{Cifar10Options, Cifar100Options};
pub use dataset::{Dataset, FromTensorsOptions};
pub use fashion_mnist::FashionMnistOptions;
pub use folder::{ImageFolderOptions, OnError};
pub use image::ImageOptions;
pub use latents::LatentsOptions;
pub use loader::{Batch, Loader, LoaderOptions};
pub use mnist::MnistOptions;
pub use npz::NpzOptions;
pub use open::OpenOptions;
pub use split::Split;
