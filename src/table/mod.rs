//! Tables of results: named columns, rows of script values, and groups with mean and deviation.
//!
//! - [`group`]: mean, standard deviation and count per group
//! - [`show`]: text fitted to the terminal, HTML, Markdown
//! - `latex`: a table as LaTeX
//! - [`csv`]: CSV files

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::declare::{Display, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{interrupt, uninterrupted};

pub(crate) mod api;
pub mod csv;
pub mod group;
pub mod latex;
pub mod show;

mod watched;

pub use api::make::*;
pub use csv::{Decimal, ReadCsvOptions};
pub use group::GroupOptions;
pub use latex::LatexOptions;

use watched::watched;

/// Options of [`Table::from_rows`].
#[derive(Debug, Clone, Options)]
pub struct FromRowsOptions {
    /// Order of the columns; columns not listed follow in order of appearance.
    pub columns: Vec<String>,
}

/// Options of [`Table::sort`].
#[derive(Debug, Clone, Options)]
pub struct SortOptions {
    /// Whether to sort largest first.
    #[option(default = false)]
    pub descending: bool,
}

/// A table; clones share the same rows.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<Data>>);

crate::scripted!(
    Table,
    "table",
    |t| Display { html: Some(t.document(None).to_html()), ..Display::text(t.to_text()) },
    text = |t| t.to_text(),
    document = |t, width| t.document(width),
    describe = |t| ("a table", format!("of {} rows", t.len())),
    data = |t| Some(Value::List(t.rows().into_iter().map(Value::Map).collect())),
    bytes = |t| t.lock().rows.iter().flatten().map(Value::bytes).sum(),
    facts = |t| vec![("rows", t.len().to_string()), ("columns", t.columns().len().to_string())],
);

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[derive(Clone, Default)]
struct Data {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Data {
    fn index(&self, column: &str) -> Result<usize> {
        self.columns.iter().position(|c| c == column).ok_or_else(|| {
            Error::argument(format!("the table has no column `{column}`"))
                .did_you_mean(column, self.columns.iter().map(String::as_str))
        })
    }

    fn row(&self, index: usize) -> Map {
        self.columns.iter().cloned().zip(self.rows[index].iter().cloned()).collect()
    }

    fn push(&mut self, mut row: Map) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = row.keys().cloned().collect();
            // Rows may be left without any column.
            self.rows.iter_mut().for_each(|cells| cells.resize(self.columns.len(), Value::Unit));
        }
        for name in row.keys() {
            self.index(name)?;
        }
        self.rows.push(self.columns.iter().map(|c| row.remove(c).map_or(Value::Unit, stored)).collect());
        Ok(())
    }
}

impl Table {
    /// Creates an empty table; without columns, the first row defines them.
    pub fn new(columns: Vec<String>) -> Result<Self> {
        for (i, name) in columns.iter().enumerate() {
            ensure!(!columns[..i].contains(name), "column `{name}` is named twice");
        }
        Ok(Self::from_data(Data { columns, rows: Vec::new() }))
    }

    /// Creates a table with a column for every key of a row; missing cells become `()`.
    pub fn from_rows(rows: Vec<Map>, options: &FromRowsOptions) -> Result<Self> {
        let mut columns = options.columns.clone();
        for row in watched(&rows) {
            for name in row?.keys() {
                if !columns.contains(name) {
                    columns.push(name.clone());
                }
            }
        }
        let table = Self::new(columns)?;
        watched(rows).try_for_each(|row| table.push(row?))?;
        Ok(table)
    }

    fn from_data(data: Data) -> Self {
        Self(Arc::new(Mutex::new(data)))
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a copy, so that user code is never called while the table is locked.
    fn data(&self) -> Data {
        self.lock().clone()
    }

    /// Returns the names of the columns, in order.
    pub fn columns(&self) -> Vec<String> {
        self.lock().columns.clone()
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.lock().rows.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether a value is this table or holds it. `seen` are the tables that were searched: one may be held many
    /// times.
    fn within(&self, value: &Value, seen: &mut Vec<*const Mutex<Data>>) -> bool {
        match value {
            Value::List(items) => items.iter().any(|item| self.within(item, seen)),
            Value::Map(map) => map.values().any(|item| self.within(item, seen)),
            other => other.downcast::<Table>().is_some_and(|table| {
                let place = Arc::as_ptr(&table.0);
                if place == Arc::as_ptr(&self.0) {
                    return true;
                }
                if seen.contains(&place) {
                    return false;
                }
                seen.push(place);
                table.data().rows.iter().flatten().any(|cell| self.within(cell, seen))
            }),
        }
    }

    /// Appends a row; keys that are not columns are an error, missing ones become `()`. A table cannot hold itself.
    pub fn push(&self, row: Map) -> Result<()> {
        let mut seen = Vec::new();
        if let Some((name, _)) = row.iter().find(|(_, value)| self.within(value, &mut seen)) {
            return Err(Error::argument(format!("column `{name}` of the row holds the table itself"))
                .hint("push a copy: `table::from_rows(t.rows())`"));
        }
        self.lock().push(row)
    }

    /// Returns one row; negative indices count from the end.
    pub fn row(&self, index: i64) -> Result<Map> {
        let data = self.lock();
        let count = data.rows.len() as i64;
        let found = if index < 0 { index + count } else { index };
        ensure!((0..count).contains(&found), "row {index} is out of range: the table has {count} rows");
        Ok(data.row(found as usize))
    }

    /// Returns all rows as maps.
    pub fn rows(&self) -> Vec<Map> {
        uninterrupted(|| self.all_rows()).unwrap_or_default()
    }

    /// As [`Table::rows`]; fails if the user requested a stop.
    fn all_rows(&self) -> Result<Vec<Map>> {
        let data = self.lock();
        watched(0..data.rows.len()).map(|i| Ok(data.row(i?))).collect()
    }

    /// Returns the values of one column.
    pub fn column(&self, name: &str) -> Result<Vec<Value>> {
        let data = self.lock();
        let i = data.index(name)?;
        Ok(data.rows.iter().map(|row| row[i].clone()).collect())
    }

    /// Returns the rows for which `keep` returns true.
    pub fn filter(&self, keep: impl Fn(Map) -> Result<bool>) -> Result<Self> {
        let data = self.data();
        let mut rows = Vec::new();
        for i in 0..data.rows.len() {
            if keep(data.row(i))? {
                rows.push(data.rows[i].clone());
            }
        }
        Ok(Self::from_data(Data { rows, ..data }))
    }

    /// Returns the table with a new or replaced column, computed from each row.
    pub fn compute(&self, name: &str, value: impl Fn(Map) -> Result<Value>) -> Result<Self> {
        let mut data = self.data();
        let computed: Vec<Value> =
            (0..data.rows.len()).map(|i| value(data.row(i)).map(stored)).collect::<Result<_>>()?;
        match data.columns.iter().position(|c| c == name) {
            Some(at) => data.rows.iter_mut().zip(computed).for_each(|(row, v)| row[at] = v),
            None => {
                data.columns.push(name.to_string());
                data.rows.iter_mut().zip(computed).for_each(|(row, v)| row.push(v));
            }
        }
        Ok(Self::from_data(data))
    }

    /// Returns the rows sorted by a column: numbers by value, then text; equal rows keep their order.
    ///
    /// NaN and `()` come last in both directions.
    pub fn sort(&self, column: &str, options: &SortOptions) -> Result<Self> {
        let mut data = self.data();
        let at = data.index(column)?;
        let known = |value: &Value| match value {
            Value::Unit => false,
            Value::Float(x) => !x.is_nan(),
            _ => true,
        };
        data.rows.sort_by(|a, b| match (known(&a[at]), known(&b[at])) {
            (true, true) if options.descending => order(&b[at], &a[at]),
            (true, true) => order(&a[at], &b[at]),
            (a, b) => b.cmp(&a),
        });
        interrupt::check()?;
        Ok(Self::from_data(data))
    }

    /// Returns the given columns, in the given order.
    pub fn select<S: AsRef<str>>(&self, columns: &[S]) -> Result<Self> {
        let data = self.data();
        let at: Vec<usize> = columns.iter().map(|c| data.index(c.as_ref())).collect::<Result<_>>()?;
        let table = Self::new(columns.iter().map(|c| c.as_ref().to_string()).collect())?;
        let rows = watched(&data.rows).map(|row| row.map(|row| at.iter().map(|&i| row[i].clone()).collect()));
        table.lock().rows = rows.collect::<Result<_>>()?;
        Ok(table)
    }

    /// Returns all columns except the given ones.
    pub fn drop<S: AsRef<str>>(&self, columns: &[S]) -> Result<Self> {
        let data = self.data();
        columns.iter().try_for_each(|c| data.index(c.as_ref()).map(|_| ()))?;
        let rest: Vec<&String> =
            data.columns.iter().filter(|c| !columns.iter().any(|d| d.as_ref() == c.as_str())).collect();
        self.select(&rest)
    }

    /// Returns the table with renamed columns; `names` maps names of this table to new ones, all at once.
    pub fn rename(&self, names: &Map) -> Result<Self> {
        let data = self.data();
        let mut columns = data.columns.clone();
        for (old, new) in names {
            let Value::Str(new) = new else { return Err(new.mismatch("a new name for the column")) };
            columns[data.index(old)?] = new.clone();
        }
        let table = Self::new(columns)?;
        table.lock().rows = data.rows;
        Ok(table)
    }

    /// Joins each row with the row of `other` that has equal values in the columns `on`; cells without a match are
    /// `()`.
    pub fn join<S: AsRef<str>>(&self, other: &Table, on: &[S]) -> Result<Self> {
        let (left, right) = (self.data(), other.data());
        let keys =
            |data: &Data| -> Result<Vec<usize>> { on.iter().map(|c| data.index(c.as_ref())).collect() };
        let (left_keys, right_keys) = (keys(&left)?, keys(&right)?);
        let extra: Vec<usize> = (0..right.columns.len()).filter(|i| !right_keys.contains(i)).collect();
        let mut columns = left.columns.clone();
        for &i in &extra {
            let name = &right.columns[i];
            ensure!(!columns.contains(name), "both tables have a column `{name}`: rename one of them first");
            columns.push(name.clone());
        }
        let key = |row: &[Value], at: &[usize]| at.iter().map(|&i| key(&row[i])).collect::<Vec<_>>();
        let mut others: BTreeMap<Vec<String>, Vec<&Vec<Value>>> = BTreeMap::new();
        for row in watched(&right.rows) {
            let row = row?;
            others.entry(key(row, &right_keys)).or_default().push(row);
        }
        let mut rows = Vec::with_capacity(left.rows.len());
        for row in watched(left.rows) {
            let row = row?;
            let matching = others.get(&key(&row, &left_keys)).map_or(&[][..], Vec::as_slice);
            if matching.len() > 1 {
                let cells = on.iter().zip(&left_keys);
                let cells = cells.map(|(name, &i)| format!("`{}` {}", name.as_ref(), show::plain(&row[i])));
                let cells = cells.collect::<Vec<_>>().join(" and ");
                let text = format!("{} rows of the other table have {cells}, expected one", matching.len());
                return Err(Error::argument(text)
                    .hint("join by more columns, or average its rows first: `other.group(..)`"));
            }
            let found = matching.first();
            let added = extra.iter().map(|&i| found.map_or(Value::Unit, |r| r[i].clone()));
            rows.push(row.iter().cloned().chain(added).collect());
        }
        Ok(Self::from_data(Data { columns, rows }))
    }

    /// Returns the rows of both tables, with the columns of either.
    pub fn append(&self, other: &Table) -> Result<Self> {
        let mut rows = self.all_rows()?;
        rows.extend(other.all_rows()?);
        Self::from_rows(rows, &FromRowsOptions { columns: self.columns() })
    }
}

/// Returns a value as a cell holds it: a tensor of one element, such as a loss, becomes its number. Its graph would
/// keep memory, and it would be neither sorted nor averaged.
fn stored(value: Value) -> Value {
    match &value {
        Value::Object(object) => object.number().unwrap_or(value),
        _ => value,
    }
}

/// Returns the number in a cell, if it is one.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Float(x) => Some(*x),
        Value::Object(object) => number(&object.number()?),
        _ => None,
    }
}

/// Returns the key that makes two cells the same group. Equal integers and floats have equal keys, and so do handles
/// with equal data, such as two filters with the same options. Other handles are only equal to themselves.
pub(crate) fn key(value: &Value) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match value {
        // A float that is a whole number has the key of its integer, which is exact.
        Value::Float(x) if x.fract() == 0.0 && (-WHOLE..WHOLE).contains(x) => (*x as i64).to_string(),
        Value::Int(i) => i.to_string(),
        Value::List(items) => format!("[{}]", list(&mut items.iter().map(key))),
        Value::Map(map) => {
            format!("{{{}}}", list(&mut map.iter().map(|(k, v)| format!("{k:?}: {}", key(v)))))
        }
        Value::Object(object) => match (object.number(), object.to_data()) {
            (Some(number), _) => key(&number),
            (None, Some(data)) => format!("{} {}", object.type_name(), key(&data)),
            (None, None) => format!("{} at {:p}", object.type_name(), Arc::as_ptr(object)),
        },
        Value::Function(function) => match function.to_data() {
            Ok(code) => format!("function {}", key(&code)),
            Err(_) => format!("function at {:p}", function.address()),
        },
        other => format!("{other:?}"),
    }
}

/// The first float above all integers, 2^63.
const WHOLE: f64 = -(i64::MIN as f64);

/// Compares an integer with a float without rounding; NaN is the largest.
fn order_of(i: i64, x: f64) -> std::cmp::Ordering {
    match x {
        x if x.is_nan() || x >= WHOLE => std::cmp::Ordering::Less,
        x if x < -WHOLE => std::cmp::Ordering::Greater,
        x => i.cmp(&(x.floor() as i64)).then_with(|| 0f64.total_cmp(&(x - x.floor()))),
    }
}

fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => return a.cmp(b),
        (Value::Int(i), Value::Float(x)) => return order_of(*i, *x),
        (Value::Float(x), Value::Int(i)) => return order_of(*i, *x).reverse(),
        _ => {}
    }
    match (number(a), number(b)) {
        // Both zeros are equal to the integer 0, and so to each other.
        (Some(x), Some(y)) => (x + 0.0).total_cmp(&(y + 0.0)),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => show::plain(a).cmp(&show::plain(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;

    pub(super) fn map(pairs: &[(&str, Value)]) -> Map {
        pairs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect()
    }

    #[test]
    fn a_table_cannot_hold_itself() {
        let (table, other) = (sample(), Table::from_data(Data::default()));
        let own = Value::List(vec![Value::Map(map(&[("t", table.clone().into_value())]))]);
        other.push(map(&[("t", own)])).unwrap();
        for held in [&table, &other] {
            let error = table.push(map(&[("a", held.clone().into_value())])).unwrap_err();
            assert_eq!(error.message(), "column `a` of the row holds the table itself");
        }
        other.push(map(&[("t", table.into_value())])).unwrap();
        assert!(other.to_text().contains("0.25"));
        // Each holds the one before it twice, which is 2^60 ways to the first.
        let twice = |table: Table, _| {
            let held = Table::default();
            held.push(map(&[("a", table.clone().into_value()), ("b", table.into_value())])).unwrap();
            held
        };
        (0..60).fold(sample(), twice);
    }

    #[test]
    fn columns_are_renamed_all_at_once() {
        let names = |new: &[(&str, &str)]| {
            let names: Vec<_> = new.iter().map(|(a, b)| (*a, Value::Str(b.to_string()))).collect();
            sample().rename(&map(&names))
        };
        assert_eq!(names(&[("a", "b"), ("b", "c")]).unwrap().columns(), ["b", "c"]);
        let swapped = names(&[("a", "b"), ("b", "a")]).unwrap();
        assert_eq!(swapped.columns(), ["b", "a"]);
        assert_eq!(format!("{:?}", swapped.column("b").unwrap()), "[2, 1, 2]");
        assert!(names(&[("a", "b")]).unwrap_err().message().contains("`b` is named twice"));
        assert!(names(&[("c", "d")]).unwrap_err().message().contains("no column `c`"));
    }

    #[test]
    fn rows_without_columns_get_those_of_the_next_row() {
        let dropped = sample().drop(&["a", "b"]).unwrap();
        let empty = Table::default();
        empty.push(Map::new()).unwrap();
        for (table, before) in [(dropped, 3), (empty, 1)] {
            let kept = table.data();
            assert_eq!((table.len(), table.to_text().as_str()), (before, "an empty table"));
            table.to_markdown();
            table.to_csv().unwrap();
            table.push(map(&[("y", Value::Int(1))])).unwrap();
            let mut cells = vec![Value::Unit; before];
            cells.push(Value::Int(1));
            assert_eq!(format!("{:?}", table.column("y").unwrap()), format!("{cells:?}"));
            assert!(table.to_text().contains('y') && kept.columns.is_empty());
        }
    }

    #[test]
    fn equal_numbers_are_one_group_and_large_ones_are_ordered_exactly() {
        let same = |a: Value, b: Value| key(&a) == key(&b);
        assert!(same(Value::Float(0.0), Value::Float(-0.0)) && same(Value::Int(0), Value::Float(-0.0)));
        assert!(same(Value::Int(9_007_199_254_740_994), Value::Float(9_007_199_254_740_994.0)));
        assert!(!same(Value::Int(9_007_199_254_740_993), Value::Float(9_007_199_254_740_992.0)));
        assert!(
            !same(Value::Int(i64::MAX), Value::Float(WHOLE)) && !same(Value::Int(1), Value::Str("1".into()))
        );
        assert!(same(Value::Int(i64::MIN), Value::Float(-WHOLE)));
        let (less, equal) = (std::cmp::Ordering::Less, std::cmp::Ordering::Equal);
        let exact = 1_i64 << 53;
        let rising = [
            Value::Float(f64::NEG_INFINITY),
            Value::Int(i64::MIN),
            Value::Float(-1.5),
            Value::Int(-1),
            Value::Float(-0.5),
            Value::Int(0),
            Value::Float(0.5),
            Value::Int(exact),
            Value::Int(exact + 1),
            Value::Float(exact as f64 + 2.0),
            Value::Int(exact + 3),
            Value::Int(i64::MAX),
            Value::Float(WHOLE),
        ];
        for (i, a) in rising.iter().enumerate() {
            assert_eq!(order(a, a), equal);
            for b in &rising[i + 1..] {
                assert_eq!((order(a, b), order(b, a)), (less, less.reverse()), "{a:?} {b:?}");
            }
        }
        for zero in [Value::Float(0.0), Value::Float(-0.0)] {
            assert_eq!((order(&Value::Int(0), &zero), order(&zero, &Value::Float(-0.0))), (equal, equal));
        }
    }

    #[test]
    fn a_join_names_the_cells_that_match_several_rows() {
        let rows = |rows: &[(i64, &str)]| {
            let row = |(a, b): &(i64, &str)| map(&[("a", Value::Int(*a)), ("b", Value::Str(b.to_string()))]);
            Table::from_rows(rows.iter().map(row).collect(), &FromRowsOptions::default()).unwrap()
        };
        let error = rows(&[(2, "x")]).join(&rows(&[(2, "x"), (2, "x")]), &["a", "b"]).unwrap_err();
        assert_eq!(error.message(), "2 rows of the other table have `a` 2 and `b` x, expected one");
    }

    fn sample() -> Table {
        let row = |a: i64, b: f64| map(&[("a", Value::Int(a)), ("b", Value::Float(b))]);
        Table::from_rows(vec![row(2, 0.5), row(1, 0.25), row(2, 1.0)], &FromRowsOptions::default()).unwrap()
    }

    #[test]
    fn a_missing_column_names_the_nearest() {
        let table = Table::new(vec!["fid".into(), "loss".into()]).unwrap();
        let error = table.column("fdi").unwrap_err();
        assert_eq!(error.to_string(), "the table has no column `fdi`\nhint: did you mean `fid`?");
        assert!(table.push(map(&[("los", Value::Int(1))])).is_err());
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn rows_with_different_keys_share_all_columns() {
        let rows = vec![map(&[("a", Value::Int(1))]), map(&[("b", Value::Int(2))])];
        let table = Table::from_rows(rows, &FromRowsOptions { columns: vec!["b".into()] }).unwrap();
        assert_eq!(table.columns(), ["b", "a"]);
        assert_eq!(format!("{:?}", table.column("b").unwrap()), "[(), 2]");
    }

    #[test]
    fn sorting_is_stable_and_numeric() {
        let sorted = sample().sort("a", &SortOptions { descending: true }).unwrap();
        assert_eq!(format!("{:?}", sorted.column("b").unwrap()), "[0.5, 1.0, 0.25]");
    }

    #[test]
    fn missing_values_and_nan_are_sorted_last() {
        let cells =
            [Value::Float(-f64::NAN), Value::Int(1), Value::Unit, Value::Float(f64::NAN), Value::Int(2)];
        let rows = cells.into_iter().map(|cell| map(&[("a", cell)])).collect();
        let table = Table::from_rows(rows, &FromRowsOptions::default()).unwrap();
        for (descending, expected) in [(false, "[1, 2, NaN, (), NaN]"), (true, "[2, 1, NaN, (), NaN]")] {
            let sorted = table.sort("a", &SortOptions { descending }).unwrap();
            assert_eq!(format!("{:?}", sorted.column("a").unwrap()), expected);
        }
    }

    #[test]
    fn large_integers_are_sorted_and_told_apart() {
        let large = [9_007_199_254_740_993, 9_007_199_254_740_992].map(Value::Int);
        let rows = large.iter().map(|i| map(&[("a", i.clone())])).collect();
        let sorted = Table::from_rows(rows, &FromRowsOptions::default())
            .unwrap()
            .sort("a", &SortOptions::default())
            .unwrap();
        assert_eq!(format!("{:?}", sorted.column("a").unwrap()), "[9007199254740992, 9007199254740993]");
        assert_ne!(key(&large[0]), key(&large[1]));
        assert_eq!(key(&Value::Int(3)), key(&Value::Float(3.0)));
    }

    #[test]
    fn handles_are_told_apart_by_their_data() {
        use crate::spectral::filter;
        let narrow = || filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap().into_value();
        let wide = filter::gaussian(filter::Gaussian { sigma: 2.0 }).unwrap().into_value();
        assert_eq!(key(&narrow()), key(&narrow()));
        assert_ne!(key(&narrow()), key(&wide));
        let list = |value: Value| Value::List(vec![value]);
        assert_ne!(key(&list(narrow())), key(&list(wide)));
        let function = || Value::Function(crate::declare::Function::new(|_| Ok(Value::Unit)));
        let one = function();
        assert!(key(&one) == key(&one.clone()) && key(&one) != key(&function()));
    }

    #[test]
    fn a_tensor_of_one_element_is_its_number() {
        let one = |x: f64| crate::torch::Tensor::from_f64(&[x], &[]).unwrap().into_value();
        let rows = [3.0, 10.0, 2.0].map(|x| map(&[("a", one(x)), ("g", Value::Int(1))])).to_vec();
        let table = Table::from_rows(rows, &FromRowsOptions::default()).unwrap();
        let sorted = table.sort("a", &SortOptions::default()).unwrap();
        assert_eq!(format!("{:?}", sorted.column("a").unwrap()), "[2.0, 3.0, 10.0]");
        let computed = table.compute("b", |_| Ok(one(0.5))).unwrap();
        assert_eq!(format!("{:?}", computed.column("b").unwrap()), "[0.5, 0.5, 0.5]");
    }

    #[test]
    fn a_join_refuses_what_is_ambiguous() {
        let names = Table::from_rows(
            vec![map(&[("a", Value::Float(1.0)), ("name", Value::Str("one".into()))])],
            &FromRowsOptions::default(),
        )
        .unwrap();
        let joined = sample().join(&names, &["a"]).unwrap();
        assert_eq!(format!("{:?}", joined.column("name").unwrap()), "[(), \"one\", ()]");
        assert!(names.join(&sample(), &["b"]).is_err());
        let twice =
            Table::from_rows(vec![map(&[("a", Value::Int(2))])], &FromRowsOptions::default()).unwrap();
        assert!(twice.join(&sample(), &["a"]).is_err());
    }

    #[test]
    fn user_code_may_use_the_table_it_filters() {
        let table = sample();
        let inner = table.clone();
        let kept = table.filter(|_| Ok(inner.len() == 3)).unwrap();
        assert_eq!(kept.len(), 3);
    }
}
