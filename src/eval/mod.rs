//! How good generated images are: metrics, the features they are measured on, and their comparison.
//!
//! - [`compare`](compare::compare): every metric at once, in a [`comparison`] that says what produced it; [`record`]: it
//!   as data and files, and which two may be set against each other
//! - one file per metric: [`fid`], [`sfid`], [`kid`], [`inception_score`], [`precision_recall`], [`density_coverage`],
//!   [`mmd`], [`radial_spectrum`], [`high_frequency_ratio`], [`statistics`]; a new one is its file, its `mod` line and its
//!   place in [`FAMILIES`]
//! - [`features`]: what networks see in images; the embedded one, Inception, or the user's own
//! - [`metric`]: what a metric says of itself; [`images`]: what it is measured on; [`neighbours`]: distances of points
//! - [`summary`]: results over seeds: intervals and paired tests
//!
//! All metrics are computed in float64 on the CPU, in pieces that keep memory small and Ctrl-C quick.

pub mod compare;
pub mod comparison;
pub mod density_coverage;
pub mod features;
pub mod fid;
pub mod high_frequency_ratio;
pub mod images;
pub mod inception_score;
pub mod kid;
pub mod metric;
pub mod mmd;
pub mod neighbours;
pub mod precision_recall;
pub mod radial_spectrum;
pub mod record;
pub mod sfid;
pub mod statistics;
pub mod summary;

pub use compare::{CompareOptions, compare};
pub use comparison::Comparison;
pub use features::{Classifier, Features};
pub use images::Images;
pub use metric::{Better, Family, Metric};

/// Every metric that [`compare`](compare::compare) knows, in the order of its table.
pub const FAMILIES: [&Family; 10] = [
    &fid::FAMILY,
    &sfid::FAMILY,
    &kid::FAMILY,
    &inception_score::FAMILY,
    &precision_recall::FAMILY,
    &density_coverage::FAMILY,
    &mmd::FAMILY,
    &radial_spectrum::FAMILY,
    &high_frequency_ratio::FAMILY,
    &statistics::FAMILY,
];
