//! Interrupts of loops over rows.

use crate::error::Result;
use crate::torch::interrupt;

/// Number of rows between two looks at the interrupt.
const ROWS: usize = 1000;

/// Passes rows on, and fails between them if the user has requested a stop.
pub fn watched<I: IntoIterator>(rows: I) -> impl Iterator<Item = Result<I::Item>> {
    rows.into_iter().enumerate().map(|(i, row)| {
        if i.is_multiple_of(ROWS) {
            interrupt::check()?;
        }
        Ok(row)
    })
}

#[cfg(test)]
mod tests {
    use crate::context::Interrupt;
    use crate::declare::{Map, Value};
    use crate::error::{Kind, Result};
    use crate::table::{FromRowsOptions, GroupOptions, ReadCsvOptions, SortOptions, Table};
    use crate::torch::interruptible;

    #[test]
    fn an_interrupt_ends_work_on_rows() {
        let rows: Vec<Map> = (0..3).map(|i| Map::from([("x".to_string(), Value::Int(i))])).collect();
        let table = Table::from_rows(rows.clone(), &FromRowsOptions::default()).unwrap();
        let path = tempfile::tempdir().unwrap().keep().join("t.csv");
        table.save_csv(&path).unwrap();
        let interrupt = Interrupt::default();
        interrupt.raise();
        let _stops = interruptible(&interrupt);
        let done: [(&str, Result<()>); 10] = [
            ("from_rows", Table::from_rows(rows, &FromRowsOptions::default()).map(drop)),
            ("rows", table.all_rows().map(drop)),
            ("sort", table.sort("x", &SortOptions { descending: false }).map(drop)),
            ("select", table.select(&["x"]).map(drop)),
            ("join", table.join(&table, &["x"]).map(drop)),
            ("append", table.append(&table).map(drop)),
            ("group", table.group(&["x"], &GroupOptions { mean: Vec::new() }).map(drop)),
            ("to_csv", table.to_csv().map(drop)),
            ("read_csv", Table::read_csv(&path, &ReadCsvOptions { decimal: Default::default() }).map(drop)),
            ("html", table.html().and(table.markdown()).map(drop)),
        ];
        for (name, result) in done {
            assert_eq!(result.map_err(|e| e.kind()), Err(Kind::Interrupted), "{name}");
        }
        // What is shown after an interrupt is complete.
        assert_eq!(table.rows().len(), 3);
        assert!(table.to_html().contains('2') && table.to_markdown().contains('2'));
    }
}
