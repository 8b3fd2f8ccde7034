//! Namespace `table`.

use std::path::PathBuf;

use crate::declare::{Function, Map, OneOrMany, Value};
use crate::error::Result;
use crate::functions;
use crate::table::{FromRowsOptions, GroupOptions, LatexOptions, ReadCsvOptions, SortOptions, Table};

crate::api! {
    types: [Table],
    functions: [make, properties, rows, transform, write],
}

fn truth(keep: &Function, row: Map) -> Result<bool> {
    match keep.call(&[Value::Map(row)])? {
        Value::Bool(b) => Ok(b),
        other => Err(other.mismatch("the function to give true or false for a row")),
    }
}

pub mod make {
    use super::*;
    functions! { in "table";
        /// Creates an empty table with the given columns.
        ///
        /// Without columns, the first row that is pushed determines them. A table is shared: two variables that
        /// hold it see the same rows.
        ///
        /// ```rhai
        /// let t = table::empty(["cutoff", "fid"]);
        /// t.push(#{ cutoff: 0.5, fid: 12.5 });
        /// assert_eq(t.len, 1);
        /// ```
        fn empty(columns: Option<Vec<String>>) -> Table { Table::new(columns.unwrap_or_default()) }

        /// Creates a table from an array of maps, one per row.
        ///
        /// Every key becomes a column; cells that a row lacks hold `()`. Maps have no order, so the option
        /// `columns` says which columns come first.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ fid: 12.5, cutoff: 0.25 }, #{ fid: 11.0, cutoff: 0.5 }], #{ columns: ["cutoff"] });
        /// assert_eq(t.columns, ["cutoff", "fid"]);
        /// ```
        fn from_rows(rows: Vec<Map>, options: FromRowsOptions) -> Table { Table::from_rows(rows, &options) }

        /// Reads a CSV file whose first line names the columns.
        ///
        /// Cells are separated by commas, semicolons or tabs; the separator is detected. A column becomes integers,
        /// floats or booleans if all of its cells are, in the spellings of rhai, Python and R (`nan`, `Inf`,
        /// `True`, `FALSE`); empty cells, and words for missing values (`NA`, `None`) beside other values, become
        /// `()`. A column of such words alone is text, since they may be names. If one cell is none of these, or
        /// could not be written back unchanged (`007`, `+1`), the whole column is text. A cell in quotes is text,
        /// unless all cells are in quotes. `decimal: ","` reads `1,5` as a number.
        ///
        /// ```rhai
        /// files::write_text("points.csv", "name,fid\nplain,12.5\nlow,\n");
        /// let t = table::read_csv("points.csv");
        /// assert_eq(t.column("fid"), [12.5, ()]);
        /// files::write_text("ids.csv", "id;ok\n007;True\n12;False\n");
        /// assert_eq(table::read_csv("ids.csv").rows()[0], #{ id: "007", ok: true });
        /// files::write_text("sheet.csv", "size;fid\n16;12,5\n");
        /// assert_eq(table::read_csv("sheet.csv", #{ decimal: "," }).rows()[0], #{ size: 16, fid: 12.5 });
        /// ```
        fn read_csv(path: PathBuf, options: ReadCsvOptions) -> Table { Table::read_csv(path, &options) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// Number of rows.
        ///
        /// ```rhai
        /// assert_eq(table::from_rows([#{ x: 1 }, #{ x: 2 }]).len, 2);
        /// ```
        fn len(table: Table) -> usize { Ok(table.len()) }

        /// Names of the columns, in order.
        ///
        /// ```rhai
        /// assert_eq(table::empty(["b", "a"]).columns, ["b", "a"]);
        /// ```
        fn columns(table: Table) -> Vec<String> { Ok(table.columns()) }
    }
}

pub mod rows {
    use super::*;
    functions! { methods;
        /// Appends a row given as a map.
        ///
        /// A key that is not a column is an error; a column without a key gets `()`. A tensor of one element, such as a
        /// loss, is held as its number. A table cannot hold itself.
        ///
        /// ```rhai
        /// let t = table::empty(["x", "y"]);
        /// t.push(#{ x: 1 });
        /// assert_eq(t.row(0), #{ x: 1, y: () });
        /// ```
        fn push(table: Table, row: Map) -> () { table.push(row) }

        /// Returns one row as a map; negative numbers count from the end.
        ///
        /// ```rhai
        /// assert_eq(table::from_rows([#{ x: 1 }, #{ x: 2 }]).row(-1), #{ x: 2 });
        /// ```
        fn row(table: Table, index: i64) -> Map { table.row(index) }

        /// Returns all rows as an array of maps.
        ///
        /// ```rhai
        /// for row in table::from_rows([#{ x: 1 }]).rows() { assert_eq(row.x, 1); }
        /// ```
        fn rows(table: Table) -> Vec<Map> { table.all_rows() }

        /// Returns the values of one column.
        ///
        /// ```rhai
        /// assert_eq(table::from_rows([#{ x: 1 }, #{ x: 2 }]).column("x"), [1, 2]);
        /// ```
        fn column(table: Table, name: String) -> Vec<Value> { table.column(&name) }

        /// Returns a row by its number, or a column by its name.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ x: 1 }, #{ x: 2 }]);
        /// assert_eq(t["x"], [1, 2]);
        /// assert_eq(t[0].x, 1);
        /// try { t["y"] } catch (e) { assert_eq(e.message, "the table has no column `y`"); }
        /// ```
        fn index["[]"](table: Table, which: Value) -> Value {
            match which {
                Value::Str(name) => table.column(&name).map(Value::List),
                Value::Int(i) => table.row(i).map(Value::Map),
                other => Err(other.mismatch("the number of a row or the name of a column")),
            }
        }
    }
}

pub mod transform {
    use super::*;
    functions! { methods;
        /// Returns the rows for which the function returns true.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ x: 1 }, #{ x: 2 }]);
        /// assert_eq(t.filter(|row| row.x > 1).len, 1);
        /// ```
        fn filter(table: Table, keep: Function) -> Table { table.filter(|row| truth(&keep, row)) }

        /// Returns a table with a column computed from each row, added or replaced.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ x: 1 }, #{ x: 2 }]).compute("twice", |row| 2 * row.x);
        /// assert_eq(t.column("twice"), [2, 4]);
        /// ```
        fn compute(table: Table, name: String, value: Function) -> Table {
            table.compute(&name, |row| value.call(&[Value::Map(row)]))
        }

        /// Returns the rows sorted by a column: numbers by value, then text.
        ///
        /// Rows that are equal there keep their order. NaN and `()` come last, even if `descending`.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ x: 1 }, #{ x: 3 }, #{ x: 2 }]);
        /// assert_eq(t.sort("x", #{ descending: true }).column("x"), [3, 2, 1]);
        /// ```
        fn sort(table: Table, column: String, options: SortOptions) -> Table { table.sort(&column, &options) }

        /// Computes mean, standard deviation and number of rows per group.
        ///
        /// The result has a row for every distinct value of the columns `by`, in order of first appearance, with
        /// the columns `count` and, for every averaged column `x`, `x_mean` and `x_std`. The deviation is that of
        /// the sample (divided by n - 1), and `()` for a single value. Cells that hold `()` are ignored.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ cutoff: 0.5, fid: 10.0 }, #{ cutoff: 0.5, fid: 12.0 }]);
        /// let g = t.group("cutoff", #{ mean: ["fid"] });
        /// assert_eq([g[0].count, g[0].fid_mean], [2, 11.0]);
        /// assert_eq(g.plus_minus()[0].fid, "11.0 ± 1.4");
        /// ```
        fn group(table: Table, by: OneOrMany<String>, options: GroupOptions) -> Table { table.group(&by.0, &options) }

        /// Returns a table in which each pair of columns `x_mean` and `x_std` is one column `x` of text,
        /// `12.34 ± 0.56`.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ fid_mean: 11.0, fid_std: 1.41 }]);
        /// assert_eq(t.plus_minus().column("fid"), ["11.0 ± 1.4"]);
        /// ```
        fn plus_minus(table: Table) -> Table { table.plus_minus() }

        /// Returns a table of the given columns, in the given order.
        ///
        /// ```rhai
        /// assert_eq(table::empty(["a", "b", "c"]).select(["c", "a"]).columns, ["c", "a"]);
        /// ```
        fn select(table: Table, columns: OneOrMany<String>) -> Table { table.select(&columns.0) }

        /// Returns a table without the given columns.
        ///
        /// ```rhai
        /// assert_eq(table::empty(["a", "b", "c"]).drop("b").columns, ["a", "c"]);
        /// ```
        fn drop(table: Table, columns: OneOrMany<String>) -> Table { table.drop(&columns.0) }

        /// Returns a table with renamed columns, given as a map from old to new names.
        ///
        /// All are renamed at once, so that two columns can exchange their names.
        ///
        /// ```rhai
        /// assert_eq(table::empty(["a", "b"]).rename(#{ a: "x" }).columns, ["x", "b"]);
        /// assert_eq(table::empty(["a", "b"]).rename(#{ a: "b", b: "a" }).columns, ["b", "a"]);
        /// ```
        fn rename(table: Table, names: Map) -> Table { table.rename(&names) }

        /// Returns a table with the columns of another table added, taken from its row with equal values in the
        /// columns `on`.
        ///
        /// Every row is kept; if the other table has no such row, the new cells hold `()`. Several such rows are an
        /// error.
        ///
        /// ```rhai
        /// let points = table::from_rows([#{ cutoff: 0.5 }, #{ cutoff: 0.7 }]);
        /// let names = table::from_rows([#{ cutoff: 0.5, name: "half" }]);
        /// assert_eq(points.join(names, "cutoff").column("name"), ["half", ()]);
        /// ```
        fn join(table: Table, other: Table, on: OneOrMany<String>) -> Table { table.join(&other, &on.0) }

        /// Returns the rows of both tables, with the columns of both.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ x: 1 }]).append(table::from_rows([#{ x: 2 }]));
        /// assert_eq(t.column("x"), [1, 2]);
        /// ```
        fn append(table: Table, other: Table) -> Table { table.append(&other) }
    }
}

pub mod write {
    use super::*;
    functions! { methods;
        /// Writes the table as CSV, numbers in full precision, atomically.
        ///
        /// A string that would be read as another type, such as "12", is quoted, so that `table::read_csv` restores
        /// the table.
        ///
        /// ```rhai
        /// table::from_rows([#{ x: 0.1 }]).save_csv("runs/results.csv");
        /// assert_eq(files::read_text("runs/results.csv"), "x\n0.1\n");
        /// ```
        fn save_csv(table: Table, path: String) -> () { table.save_csv(path) }

        /// Returns the table as CSV text.
        ///
        /// ```rhai
        /// assert_eq(table::from_rows([#{ x: 1 }]).to_csv(), "x\n1\n");
        /// ```
        fn to_csv(table: Table) -> String { table.to_csv() }

        /// Returns the table as an HTML `<table>` without styles.
        ///
        /// ```rhai
        /// assert(table::from_rows([#{ x: "<" }]).to_html().contains("&lt;"), "text is escaped");
        /// ```
        fn to_html(table: Table) -> String { table.html() }

        /// Returns the table as Markdown.
        ///
        /// ```rhai
        /// assert_eq(table::from_rows([#{ x: 1 }]).to_markdown(), "| x |\n| ---: |\n| 1 |\n");
        /// ```
        fn to_markdown(table: Table) -> String { table.markdown() }

        /// Returns the table as LaTeX, a `tabular` with the rules of the package booktabs; with `caption` or `label` it is a
        /// float.
        ///
        /// Columns `x_mean` and `x_std` become one column `x` of mean and deviation, as of `plus_minus`. Text is escaped.
        ///
        /// ```rhai
        /// let t = table::from_rows([#{ name: "plain", fid_mean: 11.0, fid_std: 1.41 }]);
        /// let text = t.rename(#{ name: "Model" }).to_latex(#{ caption: "FID of five seeds.", label: "tab:fid" });
        /// assert(text.contains("$11.0 \\pm 1.4$ & plain"), text);
        /// ```
        fn to_latex(table: Table, options: LatexOptions) -> String { table.to_latex(&options) }
    }
}
