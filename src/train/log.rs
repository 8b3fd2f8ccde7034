//! The CSV log of a run.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::files;

/// Measurements of one logged step.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number of updates so far, from 1.
    pub step: usize,
    /// Mean loss since the last row.
    pub loss: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Global norm of this step's gradient, before clipping.
    pub grad_norm: f64,
    /// Seconds since the start of the run.
    pub seconds: f64,
    /// Mean squared error of the velocity since the last row for each bin of the times, NaN for a bin without samples;
    /// empty without the option `loss_bins`.
    pub loss_bins: Vec<f64>,
}

impl IntoValue for Row {
    fn label() -> String {
        "map of step, loss, lr, grad_norm, seconds, loss_bins".to_string()
    }
    fn into_value(self) -> Value {
        let mut map = Map::from([
            ("step".to_string(), self.step.into_value()),
            ("loss".to_string(), self.loss.into_value()),
            ("lr".to_string(), self.lr.into_value()),
            ("grad_norm".to_string(), self.grad_norm.into_value()),
            ("seconds".to_string(), self.seconds.into_value()),
        ]);
        if !self.loss_bins.is_empty() {
            map.insert("loss_bins".to_string(), self.loss_bins.into_value());
        }
        Value::Map(map)
    }
}

/// `log.csv` in a run's folder, with columns step, loss, lr, grad_norm, seconds, and loss_0, loss_1, .. for bins of the
/// times.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl Log {
    /// Creates the file with the given rows, which have `bins` bins. Rows that a killed run wrote after its last checkpoint are dropped.
    pub fn create(folder: &Path, rows: &[Row], bins: usize) -> Result<Self> {
        let path = folder.join("log.csv");
        let more: String = (0..bins).map(|bin| format!(",loss_{bin}")).collect();
        files::write(&path, format!("step,loss,lr,grad_norm,seconds{more}\n"))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| files::failed(&path, &e))?;
        let mut log = Self { path, writer: csv::Writer::from_writer(file) };
        rows.iter().try_for_each(|row| log.row(row))?;
        Ok(log)
    }

    /// Appends a row and flushes it, so that it survives a kill.
    pub fn row(&mut self, row: &Row) -> Result<()> {
        let mut fields = vec![
            row.step.to_string(),
            row.loss.to_string(),
            row.lr.to_string(),
            row.grad_norm.to_string(),
            format!("{:.3}", row.seconds),
        ];
        // A bin without samples has an empty field.
        let bins = row.loss_bins.iter();
        fields.extend(bins.map(|mean| if mean.is_nan() { String::new() } else { mean.to_string() }));
        self.writer.write_record(&fields).map_err(|e| Error::file(&self.path, e))?;
        self.writer.flush().map_err(|e| Error::file(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let row = Row { step: 10, loss: 0.5, lr: 1e-4, grad_norm: 2.0, seconds: 1.25, loss_bins: Vec::new() };
        let text = || std::fs::read_to_string(folder.path().join("a/b/log.csv")).unwrap();
        let mut log = Log::create(&folder.path().join("a/b"), &[], 0).unwrap();
        log.row(&row).unwrap();
        assert_eq!(text(), "step,loss,lr,grad_norm,seconds\n10,0.5,0.0001,2,1.250\n");
        let row = Row { loss_bins: vec![0.25, f64::NAN], ..row };
        Log::create(&folder.path().join("a/b"), &[row], 2).unwrap();
        assert_eq!(text(), "step,loss,lr,grad_norm,seconds,loss_0,loss_1\n10,0.5,0.0001,2,1.250,0.25,\n");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Log::create(&file.path().join("run"), &[], 0).unwrap_err();
        assert!(error.message().starts_with(&file.path().join("run").display().to_string()), "{error}");
    }
}
