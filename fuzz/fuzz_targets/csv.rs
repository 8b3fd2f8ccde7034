//! Reading an arbitrary CSV file returns a table or an error, and a table that was read survives writing and
//! reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::table::{Decimal, ReadCsvOptions, Table};

fuzz_target!(|bytes: &[u8]| {
    spectral_fuzz::with_file("fuzzed.csv", bytes, |path| {
        let decimal = if bytes.len() % 2 == 0 { Decimal::Point } else { Decimal::Comma };
        let Ok(table) = Table::read_csv(path, &ReadCsvOptions { decimal }) else { return };
        let Ok(text) = table.to_csv() else { return };
        std::fs::write(path, &text).expect("a file of our own can be written");
        let again = Table::read_csv(path, &ReadCsvOptions::default()).expect("what was written can be read");
        assert_eq!(again.to_csv().expect("what was read can be written"), text);
    });
});
