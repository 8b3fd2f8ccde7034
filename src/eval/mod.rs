//! How good generated images are: metrics, the features they are measured on, and their comparison.
//!
//! - [`compare`](compare::compare): every metric at once, in a record that says what produced it
//! - one file per metric: [`fid`], [`inception_score`], [`precision_recall`], [`radial_spectrum`],
//!   [`high_frequency_ratio`], [`statistics`]; a new one is its file, its `mod` line and its place in
//!   [`FAMILIES`]
//! - [`features`]: what networks see in images; the embedded one, or the user's own
//! - [`metric`]: what a metric says of itself; [`images`]: what it is measured on
//!
//! All metrics are computed in float64 on the CPU, in pieces that keep memory small and Ctrl-C quick.

pub mod compare;
pub mod comparison;
pub mod features;
pub mod fid;
pub mod high_frequency_ratio;
pub mod images;
pub mod inception_score;
pub mod metric;
pub mod precision_recall;
pub mod radial_spectrum;
pub mod statistics;

pub use compare::{CompareOptions, compare};
pub use comparison::Comparison;
pub use features::{Classifier, Features};
pub use images::Images;
pub use metric::{Better, Family, Metric};

/// Every metric that [`compare`](compare::compare) knows, in the order of its table.
pub const FAMILIES: [&Family; 6] = [
    &fid::FAMILY,
    &inception_score::FAMILY,
    &precision_recall::FAMILY,
    &radial_spectrum::FAMILY,
    &high_frequency_ratio::FAMILY,
    &statistics::FAMILY,
];
