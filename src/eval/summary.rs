//! Results over seeds: their spread, and whether two settings differ by more than that.

use super::Comparison;
use super::record::{is_result, refuse_unlike};
use crate::declare::{FromValue, IntoValue, Map, OneOrMany, Options, Value};
use crate::ensure;
use crate::error::{Error, Result, Subject};
use crate::table::{FromRowsOptions, Table};
use crate::torch::{DType, Device, Generator, Tensor};

/// With fewer values, a bootstrap interval is too narrow and a test has almost no power.
const FEW: usize = 5;
/// Largest number of pairs for which all sign flips are enumerated.
const EXACT: usize = 16;
/// Number of random sign flips for more pairs.
const FLIPS: i64 = 100_000;

/// Results, one row per run: a table, an array of maps, or an array of comparisons.
#[derive(Debug, Clone)]
pub struct Rows(pub Table);

impl From<Table> for Rows {
    fn from(table: Table) -> Self {
        Self(table)
    }
}

impl From<&Table> for Rows {
    fn from(table: &Table) -> Self {
        Self(table.clone())
    }
}

impl TryFrom<&[Comparison]> for Rows {
    type Error = Error;

    fn try_from(comparisons: &[Comparison]) -> Result<Self> {
        let rows = comparisons.iter().map(Comparison::to_map).collect();
        Table::from_rows(rows, &FromRowsOptions::default()).map(Self)
    }
}

impl FromValue for Rows {
    fn label() -> String {
        "table, array of maps or array of comparisons".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Some(table) = value.downcast::<Table>() {
            return Ok(Self(table));
        }
        let Value::List(list) = value else {
            return Err(value.mismatch("a table, or an array of maps or comparisons"));
        };
        let row = |(i, value): (usize, &Value)| match value.downcast::<Comparison>() {
            Some(comparison) => Ok(comparison.to_map()),
            None => Map::from_value(value).map_err(|e| e.within(Subject::Entry(i))),
        };
        let rows = list.iter().enumerate().map(row).collect::<Result<_>>()?;
        Table::from_rows(rows, &FromRowsOptions::default()).map(Self)
    }
}

/// Seeds of the runs, and the intervals of their means.
#[derive(Debug, Clone, Options)]
pub struct BootstrapOptions {
    /// Column of the seed; a seed that occurs twice in a setting is an error.
    #[option(default = "seed")]
    pub seed: String,
    /// Confidence level of the bootstrap interval.
    #[option(default = 0.95, range = 0.5..=0.9999)]
    pub confidence: f64,
    /// Number of bootstrap resamples.
    #[option(default = 10_000, range = 100..=1e7)]
    pub resamples: i64,
}

/// Options of [`summary`].
#[derive(Debug, Clone, Options)]
pub struct SummaryOptions {
    /// Columns that define the setting; rows with equal values there differ only in their seed.
    pub by: OneOrMany<String>,
    /// Columns to summarize; by default all numeric columns except the settings, the seed, and values that a
    /// comparison records in addition to its results.
    pub metrics: OneOrMany<String>,
    /// Seeds and intervals.
    #[option(flatten)]
    pub bootstrap: BootstrapOptions,
}

/// Options of [`paired`].
#[derive(Debug, Clone, Options)]
pub struct PairedOptions {
    /// Column that defines the setting.
    #[option(default = "setting")]
    pub by: String,
    /// Setting that the others are compared with; by default that of the first row.
    #[option(default = Value::Unit)]
    pub baseline: Value,
    /// Columns to compare; by default all numeric columns except the setting, the seed, and values that a
    /// comparison records in addition to its results.
    pub metrics: OneOrMany<String>,
    /// Seeds and intervals.
    #[option(flatten)]
    pub bootstrap: BootstrapOptions,
}

/// Returns one row per setting and metric: `n`, `mean`, `std` (of the sample), the bootstrap interval from `low` to
/// `high`, and a `note` if `n` is small.
///
/// The interval is the percentile interval of means of values drawn with replacement (Efron 1979), always with the
/// same random numbers.
pub fn summary(rows: &Rows, options: &SummaryOptions) -> Result<Table> {
    options.check()?;
    let by = &options.by.0;
    let metrics = metrics(&rows.0, &options.metrics.0, by, &options.bootstrap.seed)?;
    let mut columns = by.clone();
    columns.extend(["metric", "n", "mean", "std", "low", "high", "note"].map(str::to_string));
    let table = Table::new(columns)?;
    for (setting, rows) in settings(&rows.0, by)? {
        refuse_repeated_seeds(&rows, &options.bootstrap.seed, &setting)?;
        refuse_unlike(rows.iter(), by)?;
        for metric in &metrics {
            let values: Vec<f64> =
                rows.iter().filter_map(|row| number(row, metric).transpose()).collect::<Result<_>>()?;
            let mut row: Map = by.iter().cloned().zip(setting.iter().cloned()).collect();
            row.insert("metric".to_string(), metric.into_value());
            row.insert("n".to_string(), values.len().into_value());
            let mean = (!values.is_empty()).then(|| mean(&values));
            row.insert("mean".to_string(), mean.into_value());
            row.insert("std".to_string(), deviation(&values).into_value());
            let (low, high) = interval(&values, options.bootstrap.confidence, options.bootstrap.resamples)?;
            row.insert("low".to_string(), low.into_value());
            row.insert("high".to_string(), high.into_value());
            row.insert("note".to_string(), too_few(values.len()).into_value());
            table.push(row)?;
        }
    }
    Ok(table)
}

/// Returns one row per metric and setting other than the baseline: `n` common seeds, the mean `difference` from the
/// baseline with its bootstrap interval, Student's `t` with its two-sided `p`, the two-sided `p_flips` of a
/// sign-flip test, which only assumes symmetry, and a `note`.
///
/// Only seeds that both settings have are used. `p_flips` is the fraction of sign choices whose mean difference is
/// at least as large (Fisher 1935); with n pairs it cannot be below 2 / 2^n. `p_holm` is `p` corrected for the
/// number of settings, metric by metric (Holm 1979): rejecting below 0.05 keeps the probability of any false
/// rejection below 0.05.
pub fn paired(rows: &Rows, options: &PairedOptions) -> Result<Table> {
    options.check()?;
    let (by, seed) = (&options.by, &options.bootstrap.seed);
    let metrics = metrics(&rows.0, &options.metrics.0, std::slice::from_ref(by), seed)?;
    rows.0.column(seed).map_err(|e| {
        e.hint("a paired test needs to know which rows share a seed; option `seed` names its column")
    })?;
    let without =
        rows.0.rows().iter().filter(|row| matches!(row.get(seed), None | Some(Value::Unit))).count();
    if without > 0 {
        let error =
            format!("a paired test needs the seed of every row, and {without} have none in column `{seed}`");
        return Err(Error::argument(error).hint("option `seed` names another column"));
    }
    let settings = settings(&rows.0, std::slice::from_ref(by))?;
    let same = |a: &Value, b: &Value| crate::table::key(a) == crate::table::key(b);
    let baseline = match &options.baseline {
        Value::Unit => settings.first(),
        named => settings.iter().find(|(setting, _)| same(&setting[0], named)),
    };
    let Some((baseline, base_rows)) = baseline else {
        let known: Vec<String> = settings.iter().map(|(s, _)| format!("{:?}", s[0])).collect();
        return Err(Error::argument(format!(
            "no row has the baseline {:?} in column `{by}`",
            options.baseline
        ))
        .hint(format!("there are {}", known.join(", "))));
    };
    ensure!(
        settings.len() > 1,
        "expected at least two settings in column `{by}`, found only {:?}",
        baseline[0]
    );
    refuse_repeated_seeds(base_rows, seed, baseline)?;
    let columns = [
        by.as_str(),
        "baseline",
        "metric",
        "n",
        "difference",
        "std",
        "low",
        "high",
        "t",
        "p",
        "p_holm",
        "p_flips",
        "note",
    ];
    let table = Table::new(columns.map(str::to_string).to_vec())?;
    let mut found: Vec<Map> = Vec::new();
    for (setting, rows) in settings.iter().filter(|(setting, _)| !same(&setting[0], &baseline[0])) {
        refuse_repeated_seeds(rows, seed, setting)?;
        refuse_unlike(base_rows.iter().chain(rows), std::slice::from_ref(by))?;
        for metric in &metrics {
            let (mut differences, mut largest) = (Vec::new(), 0.0f64);
            for row in rows {
                let partner = base_rows.iter().find(|base| same(&base[seed], &row[seed]));
                if let (Some(here), Some(base)) =
                    (number(row, metric)?, partner.map(|base| number(base, metric)).transpose()?.flatten())
                {
                    differences.push(here - base);
                    largest = largest.max(here.abs()).max(base.abs());
                }
            }
            let n = differences.len();
            let alone = rows.len() + base_rows.len() - 2 * n;
            let mut notes: Vec<String> = Vec::new();
            if alone > 0 {
                let rows = if alone == 1 { "row" } else { "rows" };
                notes.push(format!("{alone} {rows} without a partner of the same seed left out"));
            }
            if !too_few(n).is_empty() {
                notes.push(too_few(n));
            }
            let (low, high) =
                interval(&differences, options.bootstrap.confidence, options.bootstrap.resamples)?;
            let t = t_of(&differences, largest);
            if n > 1 && t.is_none() {
                notes.push("all differences are equal, so there is no t".to_string());
            }
            found.push(Map::from([
                (by.clone(), setting[0].clone()),
                ("baseline".to_string(), baseline[0].clone()),
                ("metric".to_string(), metric.into_value()),
                ("n".to_string(), n.into_value()),
                ("difference".to_string(), (n > 0).then(|| mean(&differences)).into_value()),
                ("std".to_string(), deviation(&differences).into_value()),
                ("low".to_string(), low.into_value()),
                ("high".to_string(), high.into_value()),
                ("t".to_string(), t.into_value()),
                ("p".to_string(), t.map(|t| two_sided(t, n - 1)).into_value()),
                ("p_flips".to_string(), p_of_flips(&differences)?.into_value()),
                ("note".to_string(), notes.join("; ").into_value()),
            ]));
        }
    }
    // Rows are ordered by setting, then metric, so rows of the same metric are `metrics.len()` apart.
    for first in 0..metrics.len() {
        let tested = |row: &&mut Map| matches!(row["p"], Value::Float(_));
        let mut family: Vec<&mut Map> =
            found.iter_mut().skip(first).step_by(metrics.len()).filter(tested).collect();
        let p: Vec<f64> = family.iter().map(|row| f64::from_value(&row["p"])).collect::<Result<_>>()?;
        for (row, corrected) in family.iter_mut().zip(holm(&p)) {
            row.insert("p_holm".to_string(), corrected.into_value());
        }
    }
    for mut row in found {
        row.entry("p_holm".to_string()).or_insert(Value::Unit);
        table.push(row)?;
    }
    Ok(table)
}

/// Holm's correction: the k-th smallest of m values is multiplied by m + 1 - k and is at least the previous one.
fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut corrected, mut least) = (vec![0.0; p.len()], 0.0f64);
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max(p[index] * (p.len() - rank) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

type Setting = (Vec<Value>, Vec<Map>);

/// Groups the rows by setting, in order of first appearance.
fn settings(table: &Table, by: &[String]) -> Result<Vec<Setting>> {
    by.iter().try_for_each(|column| table.column(column).map(drop))?;
    let mut settings: Vec<Setting> = Vec::new();
    for row in table.rows() {
        let setting: Vec<Value> = by.iter().map(|column| row[column].clone()).collect();
        let key = |values: &[Value]| values.iter().map(crate::table::key).collect::<Vec<_>>();
        match settings.iter_mut().find(|(known, _)| key(known) == key(&setting)) {
            Some((_, rows)) => rows.push(row),
            None => settings.push((setting, vec![row])),
        }
    }
    ensure!(!settings.is_empty(), "expected at least one row of results, found none");
    Ok(settings)
}

/// Returns the named columns, or by default the numeric ones.
fn metrics(table: &Table, named: &[String], by: &[String], seed: &str) -> Result<Vec<String>> {
    if !named.is_empty() {
        named.iter().try_for_each(|name| table.column(name).map(drop))?;
        return Ok(named.to_vec());
    }
    let mut found = Vec::new();
    for name in table.columns() {
        let cells = table.column(&name)?;
        let number = |v: &Value| matches!(v, Value::Int(_) | Value::Float(_));
        let numeric = cells.iter().any(number) && cells.iter().all(|v| number(v) || matches!(v, Value::Unit));
        let result = !by.contains(&name) && name != seed && is_result(&name);
        if numeric && result {
            found.push(name);
        }
    }
    ensure!(!found.is_empty(), "no column of the results holds numbers to summarize");
    Ok(found)
}

fn refuse_repeated_seeds(rows: &[Map], seed: &str, setting: &[Value]) -> Result<()> {
    let mut seen = Vec::new();
    for value in rows.iter().filter_map(|row| row.get(seed)).filter(|v| !matches!(v, Value::Unit)) {
        let key = crate::table::key(value);
        if seen.contains(&key) {
            let words: Vec<String> = setting.iter().map(|v| format!("{v:?}")).collect();
            return Err(Error::argument(format!(
                "two rows of the setting {} have seed {value:?}",
                words.join(", ")
            ))
            .hint("name every column that tells settings apart in option `by`"));
        }
        seen.push(key);
    }
    Ok(())
}

/// Returns the number in a cell, or `None` for `()`.
fn number(row: &Map, column: &str) -> Result<Option<f64>> {
    match row.get(column) {
        None | Some(Value::Unit) => Ok(None),
        Some(value) => match f64::from_value(value) {
            Ok(x) if x.is_finite() => Ok(Some(x)),
            Ok(x) => Err(Error::argument(format!("column `{column}` holds {x}"))
                .hint("leave that run out, and say so")),
            Err(error) => Err(error.context(format!("column `{column}`"))),
        },
    }
}

fn too_few(n: usize) -> String {
    match n {
        0 => "no values".to_string(),
        1 => "one value: no standard deviation".to_string(),
        n if n < FEW => format!("n = {n} is too small: the interval is too narrow, and no test can say much"),
        _ => String::new(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the sample standard deviation of at least two values.
fn deviation(values: &[f64]) -> Option<f64> {
    let squares: f64 = values.iter().map(|x| (x - mean(values)).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() as f64 - 1.0)).sqrt())
}

/// Returns percentiles of the means of values drawn with replacement.
fn interval(values: &[f64], confidence: f64, resamples: i64) -> Result<(Option<f64>, Option<f64>)> {
    if values.len() < 2 {
        return Ok((None, None));
    }
    let n = values.len() as i64;
    let generator = Generator::new(0, Device::Cpu)?;
    let draws = Tensor::randint(0, n, &[resamples * n], Device::Cpu, Some(&generator))?;
    let drawn = Tensor::from_f64(values, &[n])?.index_select(0, &draws)?.reshape(&[resamples, n])?;
    let (means, _) = drawn.mean(&[1], false)?.sort(0, false)?;
    let means = means.to_f64()?;
    // Linear interpolation between two means, as usual for quantiles.
    let at = |share: f64| {
        let place = share * (means.len() - 1) as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        means[low] + part * (means[(low + 1).min(means.len() - 1)] - means[low])
    };
    let outside = (1.0 - confidence) / 2.0;
    Ok((Some(at(outside)), Some(at(1.0 - outside))))
}

/// Returns Student's t of the differences, or `None` for fewer than two or if all are equal up to the rounding of
/// values as large as `largest`.
fn t_of(differences: &[f64], largest: f64) -> Option<f64> {
    let spread = deviation(differences)?;
    let error = spread / (differences.len() as f64).sqrt();
    (spread > 4.0 * f64::EPSILON * largest).then(|| mean(differences) / error)
}

/// Returns the two-sided p of `t`: the regularized incomplete beta function of `n / (n + t^2)` with `n / 2` and `1 / 2`
/// (Abramowitz and Stegun 1964, 26.7.1), which has all digits even where p is small.
fn two_sided(t: f64, degrees: usize) -> f64 {
    let (n, square) = (degrees as f64, t * t);
    let (beyond, within) = (1.0 / (1.0 + square / n), 1.0 / (1.0 + n / square));
    let (a, b) = (n / 2.0, 0.5);
    // B(a, 1 / 2), from B(1 / 2, 1 / 2) or B(1, 1 / 2) upwards.
    let (mut beta, mut from) = if degrees % 2 == 1 { (std::f64::consts::PI, 0.5) } else { (2.0, 1.0) };
    while from < a {
        beta *= from / (from + b);
        from += 1.0;
    }
    let front = beyond.powf(a) * within.powf(b) / beta;
    let p = match beyond < (a + 1.0) / (a + b + 2.0) {
        true => front * beta_fraction(a, b, beyond) / a,
        false => 1.0 - front * beta_fraction(b, a, within) / b,
    };
    p.clamp(0.0, 1.0)
}

/// Returns the continued fraction of the incomplete beta function (Abramowitz and Stegun 1964, 26.5.8), by the method
/// of Lentz.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const STEPS: usize = 10_000;
    let away = |v: f64| if v.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = d;
    for step in 1..STEPS {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            (c, d) = (away(1.0 + term / c), 1.0 / away(1.0 + term * d));
            value *= c * d;
        }
        if (value - before).abs() <= f64::EPSILON * value.abs() {
            break;
        }
    }
    value
}

/// Returns the fraction of sign choices whose mean is at least as far from 0, or `None` without differences.
fn p_of_flips(differences: &[f64]) -> Result<Option<f64>> {
    if differences.is_empty() {
        return Ok(None);
    }
    let n = differences.len();
    let observed = differences.iter().sum::<f64>().abs();
    // Sums that differ only by rounding count as equal.
    let least = observed - 1e-9 * differences.iter().map(|d| d.abs()).sum::<f64>();
    if n <= EXACT {
        let signed = |choice: usize| -> f64 {
            differences.iter().enumerate().map(|(i, d)| if choice >> i & 1 == 1 { -d } else { *d }).sum()
        };
        let extreme = (0..1usize << n).filter(|choice| signed(*choice).abs() >= least).count();
        return Ok(Some(extreme as f64 / (1usize << n) as f64));
    }
    let generator = Generator::new(0, Device::Cpu)?;
    let signs = Tensor::randint(0, 2, &[FLIPS, n as i64], Device::Cpu, Some(&generator))?;
    let signs = signs.mul_scalar(2)?.sub_scalar(1)?.to_dtype(DType::Float64)?;
    let sums = signs.mv(&Tensor::from_f64(differences, &[n as i64])?)?.abs()?;
    let extreme = sums.ge_scalar(least)?.sum(&[], false)?.item_i64()?;
    // The observed signs are one of the choices.
    Ok(Some((extreme + 1) as f64 / (FLIPS + 1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(setting: &str, seed: i64, fid: f64) -> Map {
        Map::from([
            ("setting".to_string(), setting.into_value()),
            ("seed".to_string(), seed.into_value()),
            ("fid".to_string(), fid.into_value()),
        ])
    }

    fn rows(rows: Vec<Map>) -> Rows {
        Rows(Table::from_rows(rows, &FromRowsOptions::default()).unwrap())
    }

    fn float(row: &Map, column: &str) -> f64 {
        f64::from_value(&row[column]).unwrap_or_else(|e| panic!("{column}: {e}"))
    }

    #[test]
    fn mean_and_deviation_by_hand_and_an_interval_around_them() {
        let data = rows((0..6).map(|i| row("a", i, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0][i as usize])).collect());
        let options = SummaryOptions { by: OneOrMany(vec!["setting".into()]), ..Default::default() };
        let found = summary(&data, &options).unwrap().row(0).unwrap();
        assert_eq!((float(&found, "n"), float(&found, "mean")), (6.0, 3.5));
        assert!((float(&found, "std") - 3.5f64.sqrt()).abs() < 1e-12);
        let (low, high) = (float(&found, "low"), float(&found, "high"));
        // In the bootstrap, the standard error of the mean is the population deviation divided by sqrt 6.
        let error = (35.0f64 / 12.0 / 6.0).sqrt();
        assert!((low - (3.5 - 1.96 * error)).abs() < 0.15, "{low}");
        assert!((high - (3.5 + 1.96 * error)).abs() < 0.15, "{high}");
        assert_eq!(format!("{:?}", found["note"]), "\"\"");
        let bootstrap = BootstrapOptions { confidence: 0.99, ..Default::default() };
        let wide = SummaryOptions { bootstrap, ..options };
        assert!(float(&summary(&data, &wide).unwrap().row(0).unwrap(), "low") < low);
    }

    #[test]
    fn small_numbers_are_said_to_be_small() {
        let data = rows(vec![row("a", 0, 1.0), row("b", 0, 2.0), row("b", 1, 3.0)]);
        let options = SummaryOptions { by: OneOrMany(vec!["setting".into()]), ..Default::default() };
        let table = summary(&data, &options).unwrap();
        let (one, two) = (table.row(0).unwrap(), table.row(1).unwrap());
        assert!(format!("{:?}", one["note"]).contains("one value") && matches!(one["std"], Value::Unit));
        assert!(matches!(one["low"], Value::Unit));
        assert!(format!("{:?}", two["note"]).contains("n = 2 is too small"));
    }

    #[test]
    fn pairs_cancel_what_seeds_have_in_common() {
        // Seeds spread by tens, the setting shifts by one.
        let noise = [0.1, -0.2, 0.15, 0.05, -0.1, 0.02];
        let data = (0..6).flat_map(|i| {
            let base = 10.0 * i as f64;
            [row("plain", i, base), row("gated", i, base - 1.0 + noise[i as usize])]
        });
        let found = paired(&rows(data.collect()), &PairedOptions::default()).unwrap();
        let found = found.row(0).unwrap();
        assert_eq!(format!("{:?} {:?}", found["setting"], found["baseline"]), "\"gated\" \"plain\"");
        assert!((float(&found, "difference") + 1.0 - mean(&noise)).abs() < 1e-9);
        assert!(float(&found, "p") < 1e-4 && float(&found, "high") < -0.8);
        assert_eq!(float(&found, "p_flips"), 2.0 / 64.0);
    }

    #[test]
    fn seeds_without_a_partner_are_left_out_and_said() {
        let data = rows(vec![row("a", 0, 1.0), row("a", 1, 2.0), row("b", 1, 5.0), row("b", 2, 9.0)]);
        let found = paired(&data, &PairedOptions::default()).unwrap().row(0).unwrap();
        assert_eq!((float(&found, "n"), float(&found, "difference")), (1.0, 3.0));
        assert!(format!("{:?}", found["note"]).contains("2 rows without a partner"), "{:?}", found["note"]);
        assert!(matches!(found["t"], Value::Unit));
    }

    #[test]
    fn differences_that_are_equal_up_to_rounding_have_no_t() {
        let base = [0.1, 0.2, 0.3, 0.7, 1.1, 2.3];
        let data = base.iter().enumerate().flat_map(|(i, x)| {
            let seed = i as i64;
            [row("a", seed, *x), row("b", seed, x + 0.1)]
        });
        let found = paired(&rows(data.collect()), &PairedOptions::default()).unwrap().row(0).unwrap();
        assert!(matches!((&found["t"], &found["p"]), (Value::Unit, Value::Unit)), "{found:?}");
        assert!(format!("{:?}", found["note"]).contains("all differences are equal"), "{:?}", found["note"]);
    }

    #[test]
    fn what_compare_refuses_is_not_averaged_or_paired() {
        use crate::eval::comparison::Network;
        let like = |seed: i64, change: &dyn Fn(&mut crate::eval::comparison::Record)| {
            let mut record = crate::eval::comparison::tests::example().record().clone();
            record.how.seed = Some(seed);
            change(&mut record);
            let mut row = Comparison::new(record).to_map();
            row.insert("setting".to_string(), if seed < 0 { "a" } else { "b" }.into_value());
            row.insert("seed".to_string(), seed.abs().into_value());
            row
        };
        let pair = |change: &dyn Fn(&mut crate::eval::comparison::Record)| {
            paired(&rows(vec![like(-1, &|_| ()), like(1, change)]), &PairedOptions::default())
        };
        let message = pair(&|r| r.made.count = 49).unwrap_err().message();
        assert_eq!(message, "not comparable: made_count 50 and 49");
        let other = Network { name: "vit".to_string(), hash: "0".repeat(12), dims: 64 };
        assert!(pair(&|r| r.features = Some(other.clone())).unwrap_err().message().contains("features"));
        assert!(pair(&|r| r.how.guidance = Some(4.0)).is_ok());
        let mixed = rows(vec![like(1, &|_| ()), like(2, &|r| r.made.count = 49)]);
        let options = SummaryOptions { by: OneOrMany(vec!["setting".into()]), ..Default::default() };
        assert!(summary(&mixed, &options).unwrap_err().message().contains("made_count 50 and 49"));
    }

    #[test]
    fn comparisons_are_rows_whose_results_are_summarized() {
        let comparisons = vec![crate::eval::comparison::tests::example().into_value(); 2];
        let rows = Rows::from_value(&Value::List(comparisons)).unwrap();
        let bootstrap = BootstrapOptions { seed: "none".to_string(), ..Default::default() };
        let options = SummaryOptions { bootstrap, ..Default::default() };
        let options = SummaryOptions { by: OneOrMany(vec!["features".into(), "seed".into()]), ..options };
        let table = summary(&rows, &options).unwrap();
        assert_eq!(format!("{:?}", table.column("metric").unwrap()), "[\"fid\"]");
        assert_eq!(format!("{:?}", table.column("n").unwrap()), "[2]");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let data = rows(vec![row("a", 0, 1.0), row("a", 0, 2.0), row("b", 0, 3.0)]);
        let message = |options| paired(&data, &options).unwrap_err().to_string();
        assert!(message(PairedOptions::default()).contains("two rows of the setting \"a\" have seed 0"));
        let baseline = Value::Str("c".to_string());
        assert!(message(PairedOptions { baseline, ..Default::default() }).contains("there are \"a\", \"b\""));
        let nan = rows(vec![row("a", 0, f64::NAN)]);
        assert!(summary(&nan, &SummaryOptions::default()).unwrap_err().message().contains("holds NaN"));
    }

    const TAILS: [(f64, usize, f64); 8] = [
        (15.33, 39, 4.212_808_756_029_912e-18),
        (3.5, 4, 0.024_896_163_460_222_75),
        (0.3, 7, 0.772_890_050_402_134_3),
        (60.0, 2, 0.0002776620905946787),
        (40.0, 3, 3.4380680789158528e-5),
        (8.0, 199, 1.0061460058776968e-13),
        (1e6, 1, 6.366_197_723_673_691e-7),
        (0.05, 500, 0.960_142_355_310_624_3),
    ];

    #[test]
    fn students_t_by_its_closed_forms() {
        // With one degree of freedom it is the Cauchy distribution; with two, 1 - t / sqrt(t^2 + 2).
        assert!((two_sided(1.0, 1) - 0.5).abs() < 1e-12);
        assert!((two_sided(-3.0, 2) - (1.0 - 3.0 / 11f64.sqrt())).abs() < 1e-12);
        assert_eq!(two_sided(0.0, 7), 1.0);
        // Small ones too have all digits; expected by the incomplete beta function of mpmath.
        for (t, degrees, expected) in TAILS {
            let found = two_sided(t, degrees);
            assert!((found / expected - 1.0).abs() < 1e-10, "{t}, {degrees}: {found:e} and not {expected:e}");
        }
        // With many degrees of freedom it approaches the normal distribution.
        assert!((two_sided(1.959964, 4000) - 0.05).abs() < 1e-3);
        for degrees in 1..30 {
            assert!(two_sided(2.5, degrees) > two_sided(2.5, degrees + 1), "{degrees}");
        }
    }

    #[test]
    fn holm_by_hand() {
        // Sorted 0.01, 0.02, 0.03, 0.9 times 4, 3, 2, 1; the third may not fall below the second.
        let expected = [0.06, 0.04, 0.9, 0.06];
        for (found, expected) in holm(&[0.03, 0.01, 0.9, 0.02]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} and not {expected}");
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn tests_are_corrected_within_a_metric() {
        let mut data = Vec::new();
        for seed in 0..6 {
            for (setting, shift) in [("plain", 0.0), ("a", 1.0), ("b", 0.2), ("one", 3.0)] {
                // A single pair has no p and is not counted.
                if setting == "one" && seed > 0 {
                    continue;
                }
                let wobble = [0.3, -0.2, 0.25, 0.1, -0.3, 0.05][seed as usize];
                let mut row = row(setting, seed, 10.0 * seed as f64 + shift * (1.0 + wobble));
                row.insert("loss".to_string(), (shift * wobble).into_value());
                data.push(row);
            }
        }
        let metrics = OneOrMany(vec!["fid".to_string(), "loss".to_string()]);
        let table = paired(&rows(data), &PairedOptions { metrics, ..Default::default() }).unwrap();
        let (a, b) = (table.row(0).unwrap(), table.row(2).unwrap());
        // Scaled differences have the same t, so both p are equal and each is doubled.
        assert!((float(&a, "p") - float(&b, "p")).abs() < 1e-12);
        assert!((float(&a, "p_holm") - 2.0 * float(&a, "p")).abs() < 1e-12);
        assert!(matches!(table.row(4).unwrap()["p_holm"], Value::Unit));
    }

    #[test]
    fn many_pairs_are_flipped_at_random() {
        let many: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { -0.9 }).collect();
        let (few, all) = (p_of_flips(&many[..16]).unwrap().unwrap(), p_of_flips(&many).unwrap().unwrap());
        assert!((few - all).abs() < 0.15, "{few} and {all}");
        assert!(p_of_flips(&[1.0; 20]).unwrap().unwrap() < 1e-3);
    }

    #[test]
    fn rows_without_a_seed_are_not_paired() {
        let mut nameless = row("b", 0, 2.0);
        nameless.insert("seed".to_string(), Value::Unit);
        let data = rows(vec![row("a", 0, 1.0), nameless]);
        let error = paired(&data, &PairedOptions::default()).unwrap_err();
        assert_eq!(
            error.message(),
            "a paired test needs the seed of every row, and 1 have none in column `seed`"
        );
    }
}
