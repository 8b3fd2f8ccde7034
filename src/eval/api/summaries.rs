//! Results over seeds.

use crate::eval::summary::{self, PairedOptions, Rows, SummaryOptions};
use crate::functions;
use crate::table::Table;

pub mod space {
    use super::*;
    functions! { in "eval";
        /// Summarizes results over seeds: mean, standard deviation and a bootstrap interval of each metric.
        ///
        /// `rows` has a row per run: a table such as that of `sweep::run`, an array of maps, or an array of
        /// comparisons. The result has a row per setting and metric with `n`, `mean`, `std` (of the sample, divided
        /// by n - 1), the interval `low` to `high` (percentiles of the means of values drawn with replacement,
        /// always the same draws), and a `note` if `n` is too small to trust it. Comparisons in one setting that were
        /// not measured in the same way are an error. Source: Efron 1979, Annals of Statistics 7(1).
        ///
        /// ```rhai
        /// let rows = [];
        /// for seed in 0..6 { rows.push(#{ gate: "time", seed: seed, fid: 10.0 + seed }); }
        /// let found = eval::summary(rows, #{ by: "gate" });
        /// assert_eq([found[0].metric, found[0].n, found[0].mean], ["fid", 6, 12.5]);
        /// assert(found[0].low < 12.5 && found[0].high > 12.5);
        /// let few = rows.filter(|row| row.seed < 3);
        /// assert(eval::summary(few, #{ by: "gate" })[0].note.contains("n = 3 is too small"));
        /// ```
        fn summary(rows: Rows, options: SummaryOptions) -> Table { summary::summary(&rows, &options) }

        /// Tests whether settings differ from a baseline, seed by seed.
        ///
        /// Only seeds that both settings have are used. The result has a row per setting and metric: `n` pairs, the
        /// mean `difference` (setting minus baseline) with its `std` and bootstrap interval, Student's `t` and its
        /// two-sided `p`, and `p_flips`, the fraction of sign choices whose mean is at least as far from 0, which
        /// assumes no normal distribution and cannot be below 2 / 2^n. `p_holm` is `p` corrected for the number of
        /// settings, metric by metric: of many settings some `p` are small by chance. `note` says which results were
        /// omitted and when `n` is too small. Differences that are equal up to rounding have no `t`. Comparisons that
        /// were not measured in the same way are an error. Sources: Student 1908; Fisher 1935, section 21; Holm 1979.
        ///
        /// ```rhai
        /// let rows = [];
        /// for seed in 0..6 {
        ///     rows.push(#{ gate: "none", seed: seed, fid: 10.0 + seed });
        ///     rows.push(#{ gate: "time", seed: seed, fid: 9.0 + seed + 0.01 * seed });
        /// }
        /// let found = eval::paired(rows, #{ by: "gate", baseline: "none" });
        /// assert_close(found[0].difference, -0.975, 1e-9);
        /// assert_eq([found[0].n, found[0].p_flips], [6, 2.0 / 64.0]);
        /// assert(found[0].p < 0.001);
        /// assert_eq(found[0].p_holm, found[0].p);   // one setting needs no correction
        /// ```
        fn paired(rows: Rows, options: PairedOptions) -> Table { summary::paired(&rows, &options) }
    }
}
