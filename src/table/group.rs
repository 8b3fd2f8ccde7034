//! Mean, standard deviation and count per group.

use std::collections::HashMap;

use super::watched::watched;
use super::{Data, Table, key, number};
use crate::declare::{Options, Value};
use crate::ensure;
use crate::error::Result;
use crate::text;

/// Options of [`Table::group`].
#[derive(Debug, Clone, Options)]
pub struct GroupOptions {
    /// Columns to average; by default all numeric columns that are not grouped by.
    pub mean: Vec<String>,
}

impl Table {
    /// Returns one row per distinct value of the columns `by`, in order of first appearance: the number of rows as
    /// `count`, and for each averaged column `x` its `x_mean` and `x_std`.
    ///
    /// The deviation is that of the sample (divided by n - 1), and `()` for a single value. Cells with `()` are
    /// ignored.
    pub fn group<S: AsRef<str>>(&self, by: &[S], options: &GroupOptions) -> Result<Table> {
        let data = self.data();
        let by: Vec<usize> = by.iter().map(|c| data.index(c.as_ref())).collect::<Result<_>>()?;
        ensure!(!by.is_empty(), "a group needs at least one column to group by");
        let averaged: Vec<usize> = match options.mean.is_empty() {
            false => options.mean.iter().map(|c| data.index(c)).collect::<Result<_>>()?,
            true => (0..data.columns.len()).filter(|i| !by.contains(i) && is_numeric(&data, *i)).collect(),
        };

        let mut columns: Vec<String> = by.iter().map(|&i| data.columns[i].clone()).collect();
        columns.push("count".to_string());
        for &i in &averaged {
            columns.push(format!("{}_mean", data.columns[i]));
            columns.push(format!("{}_std", data.columns[i]));
        }
        ensure!(
            !columns[..by.len()].iter().any(|name| name == "count"),
            "cannot group by `count`, since the result has a column `count` of its own: rename it first"
        );
        let table = Table::new(columns)?;

        let mut groups: Vec<Vec<&Vec<Value>>> = Vec::new();
        let mut places: HashMap<Vec<String>, usize> = HashMap::new();
        for row in watched(&data.rows) {
            let row = row?;
            let place = places.entry(by.iter().map(|&i| key(&row[i])).collect()).or_insert(groups.len());
            if *place == groups.len() {
                groups.push(Vec::new());
            }
            groups[*place].push(row);
        }
        for rows in watched(groups) {
            let rows = rows?;
            let mut cells: Vec<Value> = by.iter().map(|&i| rows[0][i].clone()).collect();
            cells.push(Value::Int(rows.len() as i64));
            for &i in &averaged {
                let mut values = Vec::with_capacity(rows.len());
                for row in &rows {
                    match (&row[i], number(&row[i])) {
                        (Value::Unit, _) => {}
                        (_, Some(x)) => values.push(x),
                        (other, None) => {
                            let error = other.mismatch("a number");
                            return Err(error.context(format!("column `{}`", data.columns[i])));
                        }
                    }
                }
                let (mean, deviation) = mean_and_deviation(&values);
                cells.push(mean.map_or(Value::Unit, Value::Float));
                cells.push(deviation.map_or(Value::Unit, Value::Float));
            }
            table.lock().rows.push(cells);
        }
        Ok(table)
    }

    /// Merges columns `x_mean` and `x_std` into one text column `x`, `12.34 ± 0.56`.
    pub fn plus_minus(&self) -> Result<Table> {
        let data = self.data();
        let mut columns = Vec::new();
        let mut rows: Vec<Vec<Value>> = vec![Vec::new(); data.rows.len()];
        for (i, name) in data.columns.iter().enumerate() {
            let pair = |name: &str| data.columns.iter().position(|c| c == name);
            let is_deviation =
                name.strip_suffix("_std").is_some_and(|base| pair(&format!("{base}_mean")).is_some());
            let base = name.strip_suffix("_mean");
            match base.and_then(|base| pair(&format!("{base}_std")).map(|at| (base, at))) {
                Some((base, deviation)) => {
                    columns.push(base.to_string());
                    for (to, from) in rows.iter_mut().zip(&data.rows) {
                        let deviation = number(&from[deviation]).unwrap_or(f64::NAN);
                        to.push(match number(&from[i]) {
                            Some(mean) => Value::Str(text::plus_minus(mean, deviation)),
                            None => Value::Unit,
                        });
                    }
                }
                None if is_deviation => {}
                None => {
                    columns.push(name.clone());
                    rows.iter_mut().zip(&data.rows).for_each(|(to, from)| to.push(from[i].clone()));
                }
            }
        }
        let table = Table::new(columns)?;
        table.lock().rows = rows;
        Ok(table)
    }
}

fn is_numeric(data: &Data, column: usize) -> bool {
    let cells = || data.rows.iter().map(|row| &row[column]);
    cells().any(|v| number(v).is_some()) && cells().all(|v| number(v).is_some() || matches!(v, Value::Unit))
}

/// Returns the mean, and the sample deviation of at least two values.
fn mean_and_deviation(values: &[f64]) -> (Option<f64>, Option<f64>) {
    let n = values.len() as f64;
    if values.is_empty() {
        return (None, None);
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (Some(mean), (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::super::FromRowsOptions;
    use super::super::tests::map;
    use super::*;

    #[test]
    fn means_and_deviations_by_hand() {
        let row = |g: &str, x: Value| map(&[("g", Value::Str(g.into())), ("x", x)]);
        let rows = vec![
            row("b", Value::Int(1)),
            row("a", Value::Float(5.0)),
            row("b", Value::Float(3.0)),
            row("b", Value::Unit),
        ];
        let table = Table::from_rows(rows, &FromRowsOptions::default()).unwrap();
        let grouped = table.group(&["g"], &GroupOptions::default()).unwrap();
        assert_eq!(grouped.columns(), ["g", "count", "x_mean", "x_std"]);
        let expected = format!("[\"b\", 3, 2.0, {:?}]", 2f64.sqrt());
        assert_eq!(format!("{:?}", grouped.lock().rows[0]), expected);
        assert_eq!(format!("{:?}", grouped.lock().rows[1]), "[\"a\", 1, 5.0, ()]");
        let short = grouped.plus_minus().unwrap();
        assert_eq!(short.columns(), ["g", "count", "x"]);
        assert_eq!(format!("{:?}", short.column("x").unwrap()), "[\"2.0 ± 1.4\", \"5\"]");
    }

    #[test]
    fn text_has_no_mean() {
        let table = Table::from_rows(
            vec![map(&[("g", Value::Int(1)), ("x", Value::Bool(true))])],
            &FromRowsOptions::default(),
        );
        let error = table.unwrap().group(&["g"], &GroupOptions { mean: vec!["x".into()] }).unwrap_err();
        assert_eq!(error.message(), "column `x`: expected a number, found the bool true");
    }
}
