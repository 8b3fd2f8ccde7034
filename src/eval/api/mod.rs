//! Namespace `eval`: comparisons here, single metrics in [`measures`], feature networks in [`features`], records in
//! [`records`], results over seeds in [`summaries`].

pub mod features;
pub mod measures;
pub mod records;
pub mod summaries;

use std::path::PathBuf;

use crate::context::Context;
use crate::declare::{IntoValue, Map, Value};
use crate::error::Result;
use crate::eval::compare::{self, CompareOptions};
use crate::eval::{Classifier, Comparison, FAMILIES, Features, Images, Statistics};
use crate::functions;

crate::api! {
    types: [Features, Classifier, Comparison, Statistics],
    functions: [space, measures::space, features::space, summaries::space, features::feature_properties, features::feature_methods, features::classifier_methods, records::comparison_properties, records::comparison_methods, measures::statistics_properties, measures::statistics_methods],
}

/// Passes on the notes about unusual images.
fn tell(name: &str, images: &Images, cx: &Context) -> Result<()> {
    images.notes(cx)?.iter().for_each(|note| cx.note(&format!("{name} images: {note}")));
    Ok(())
}

fn record(entries: &[(&str, Value)]) -> Map {
    entries.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}

pub mod space {
    use super::*;
    functions! { in "eval";
        /// Compares generated images with real ones by all metrics.
        ///
        /// `real` and `generated` are data sets, tensors or paths of npz batches of ADM; images are [N, C, H, W] in
        /// [-1, 1] of one shape. FID and sFID use the statistics that are stored with the images of such a file.
        /// Values outside are an error; if all values lie in [0, 1], a note says so. The result prints as a table, with
        /// the features, their hash and all counts; `result.fid` and the like are numbers,
        /// `result.real("sobel_mean")` is the value of the real images, and `result.to_map()` returns everything.
        /// `eval::metrics()` lists the metrics.
        ///
        /// ```rhai
        /// let real = data::fashion_mnist(#{ split: "test" }).take(100);
        /// let found = eval::compare(real, real.images(), #{ seed: 1 });
        /// assert_close(found.fid, 0.0, 1e-6);
        /// assert_eq(found["precision"], 1.0);
        /// assert_eq(found.to_map().made_count, 100);
        /// ```
        fn compare<cx>(real: Images, generated: Images, options: CompareOptions) -> Comparison {
            [("real", &real), ("generated", &generated)].iter().try_for_each(|(name, images)| tell(name, images, cx))?;
            compare::compare(&real, &generated, &options, cx)
        }

        /// Lists the metrics that `eval::compare` measures.
        ///
        /// Each is a map of `name`, `summary`, `better` (`lower`, `higher` or `as real`), `unit` and `source`.
        ///
        /// ```rhai
        /// assert_eq(eval::metrics()[0].name, "fid");
        /// assert_eq(eval::metrics()[0].better, "lower");
        /// ```
        fn metrics() -> Vec<Map> {
            let all = FAMILIES.iter().flat_map(|family| family.metrics);
            Ok(all.map(|m| record(&[
                ("name", m.name.into_value()),
                ("summary", m.summary.into_value()),
                ("better", m.better.word().into_value()),
                ("unit", m.unit.into_value()),
                ("source", m.source.into_value()),
            ])).collect())
        }

        /// Reads the record of a comparison that `found.save("x.json")` wrote.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// eval::compare(few, few, #{ metrics: ["sobel_mean"] }).save("runs/found.json");
        /// assert_eq(eval::read("runs/found.json").to_map().made_count, 10);
        /// ```
        fn read(path: PathBuf) -> Comparison { Comparison::read(path) }
    }
}
