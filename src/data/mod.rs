//! Image data sets: read from files or tensors, split, shuffled, batched.
//!
//! - [`dataset`]: images with labels; [`loader`]: endless shuffled batches from them
//! - [`mod@open`]: a data set by its short name, as on a command line
//! - one file per source: [`mod@fashion_mnist`] (embedded), [`cifar`]; [`idx`] is MNIST's file format
//!
//! Images are [N, C, H, W] float32 in [-1, 1]; sources of bytes stay bytes in memory until they are used.

pub mod cifar;
pub mod dataset;
pub mod fashion_mnist;
pub mod files;
pub mod idx;
pub mod loader;
pub mod open;
pub mod pixels;

pub use cifar::cifar10;
pub use dataset::{Dataset, FromTensors, from_tensors};
pub use fashion_mnist::fashion_mnist;
pub use loader::{Batch, Loader, LoaderOptions};
pub use open::open;
