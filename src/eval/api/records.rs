//! Record of a comparison: its values, origin and files, and a comparison with another record.

use crate::declare::Map;
use crate::eval::Comparison;
use crate::eval::record::AgainstOptions;
use crate::functions;
use crate::table::Table;

pub mod comparison_properties {
    use super::*;
    functions! { properties;
        /// Notes on the interpretation of the values.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// assert(eval::compare(few, few).notes[0].contains("10 real images"));
        /// ```
        fn notes(found: Comparison) -> Vec<String> { Ok(found.notes().to_vec()) }

        /// Name and hash of the features, or `()` if no metric used them.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// assert_eq(eval::compare(few, few, #{ metrics: ["sobel_mean"] }).features, ());
        /// assert(eval::compare(few, few).features.starts_with("fashion-mnist-cnn@"));
        /// ```
        fn features(found: Comparison) -> Option<String> { Ok(found.features()) }
    }
}

pub mod comparison_methods {
    use super::*;
    functions! { methods;
        /// Returns the value of a metric by its name; `found.fid` is short for `found["fid"]`.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let found = eval::compare(few, few, #{ metrics: ["laplacian_abs"] });
        /// assert_eq(found.laplacian_abs, found["laplacian_abs"]);
        /// let told = "";
        /// try { found.laplacian_ab; } catch (e) { told = e.message; }
        /// assert(told.contains("unknown metric"), told);
        /// ```
        fn value["[]"](found: Comparison, metric: String) -> f64 { found.value(&metric) }

        /// Returns the value of a metric for the real images alone.
        ///
        /// Metrics that compare both sets, such as `fid`, have none.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let found = eval::compare(few, few, #{ metrics: ["sobel_mean"] });
        /// assert_eq(found.real("sobel_mean"), found.sobel_mean);
        /// ```
        fn real(found: Comparison, metric: String) -> f64 { found.real_value(&metric) }

        /// Returns everything as a map: metrics, `real_` values, features, counts, split, seed, notes.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let map = eval::compare(few, few, #{ metrics: ["sobel_mean"] }).to_map();
        /// assert_eq([map.real_name, map.real_split, map.real_count], ["fashion_mnist", "train", 10]);
        /// ```
        fn to_map(found: Comparison) -> Map { Ok(found.to_map()) }

        /// Writes everything as JSON, or as CSV with one row if the path ends in `.csv`.
        ///
        /// `eval::read` reads the JSON back.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let found = eval::compare(few, few, #{ metrics: ["sobel_mean"], seed: 3 });
        /// found.save("runs/found.csv");
        /// assert_eq(table::read_csv("runs/found.csv")[0].seed, 3);
        /// ```
        fn save(found: Comparison, path: String) -> () { found.save(path) }

        /// Compares this record with another, as a table with a row for each metric.
        ///
        /// It fails, and names all differences, unless both used the same features, the same real images (by their
        /// hash) and the same number of generated ones, prepared in the same way and measured with the same options.
        /// Guidance, steps, sampler and EMA must be the same too, unless `differ` names the options that may differ;
        /// seeds may differ.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(20);
        /// let plain = eval::compare(few, few, #{ metrics: ["sobel_mean"], guidance: 1.0 });
        /// let guided = eval::compare(few, few, #{ metrics: ["sobel_mean"], guidance: 2.0 });
        /// assert_eq(plain.compare(guided, #{ differ: ["guidance"] })[0].difference, 0.0);
        /// let told = "";
        /// try { plain.compare(guided); } catch (e) { told = e.message; }
        /// assert(told.ends_with("not comparable: guidance 1.0 and 2.0"), told);
        /// ```
        fn compare(found: Comparison, other: Comparison, options: AgainstOptions) -> Table {
            found.against(&other, &options)
        }
    }
}
