//! Quality of generated images: metrics, the features they are computed from, and comparisons.
//!
//! - [`compare`](compare::compare): computes all metrics; [`comparison`]: their values and how they were obtained;
//!   [`record`]: comparisons as data and files, and against each other
//! - one file per metric: [`fid`](mod@fid), [`sfid`](mod@sfid), [`kid`](mod@kid), [`inception_score`](mod@inception_score), [`precision_recall`](mod@precision_recall),
//!   [`density_coverage`](mod@density_coverage), [`mmd`](mod@mmd), [`radial_spectrum`](mod@radial_spectrum), [`high_frequency_ratio`](mod@high_frequency_ratio), [`statistics`](mod@statistics); a new metric
//!   needs a file, a `mod` line and an entry in [`FAMILIES`]
//! - [`features`](mod@features): feature extractors: the embedded network, Inception, or the user's own
//! - [`metric`]: description of a metric; [`images`]: input of metrics; [`neighbors`]: distances between points;
//!   [`moments`]: statistics of features and their files; [`samples`]: images as a file for other evaluators
//! - [`summary`](mod@summary): results over seeds, with intervals and paired tests
//!
//! All metrics are computed on the CPU, in chunks that limit memory and let Ctrl-C stop quickly, in float64; products
//! in float32 are used where the result is the same.

pub(crate) mod api;
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
pub mod moments;
pub mod neighbors;
pub mod precision_recall;
pub mod radial_spectrum;
pub mod record;
pub mod samples;
pub mod sfid;
pub mod statistics;
pub mod summary;

pub use api::features::space::*;
pub use api::measures::space::*;
pub use api::measures::{
    DensityCoverageOptions, FidOptions, HighFrequencyOptions, InceptionScoreOptions, KidOptions, MmdOptions,
    PrecisionRecallOptions, SfidOptions, StatisticsOptions,
};
pub use api::space::*;
pub use api::summaries::space::*;
pub use compare::CompareOptions;
pub use comparison::Comparison;
pub use features::function::FunctionOptions;
pub use features::inception::InceptionOptions;
pub use features::torchscript::TorchScriptOptions;
pub use features::{Classifier, ClassifierOptions, Features, FeaturesOptions};
pub use images::{Images, Input};
pub use metric::{Better, Family, Metric};
pub use moments::{Moments, Statistics};
pub use record::Sampling;
pub use samples::{Rounding, SaveImagesOptions, SaveSamplesOptions};
pub use summary::{BootstrapOptions, PairedOptions, Rows, SummaryOptions};

/// All metrics of [`compare`](compare::compare), in the order of its table.
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
