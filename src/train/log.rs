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
    /// What the option `score` returned for the checkpoint of this step, if it has one.
    pub score: Option<f64>,
    /// Mean squared error of the velocity since the last row for each bin of the times, NaN for a bin without samples;
    /// empty without the option `loss_bins`.
    pub loss_bins: Vec<f64>,
}

impl IntoValue for Row {
    fn label() -> String {
        "map of step, loss, lr, grad_norm, seconds, score, loss_bins".to_string()
    }
    fn into_value(self) -> Value {
        let mut map = Map::from([
            ("step".to_string(), self.step.into_value()),
            ("loss".to_string(), self.loss.into_value()),
            ("lr".to_string(), self.lr.into_value()),
            ("grad_norm".to_string(), self.grad_norm.into_value()),
            ("seconds".to_string(), self.seconds.into_value()),
        ]);
        if let Some(score) = self.score {
            map.insert("score".to_string(), score.into_value());
        }
        if !self.loss_bins.is_empty() {
            map.insert("loss_bins".to_string(), self.loss_bins.into_value());
        }
        Value::Map(map)
    }
}

/// `log.csv` in a run's folder, with columns step, loss, lr, grad_norm, seconds, score for a run with scores, and loss_0,
/// loss_1, .. for bins of the times.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    writer: csv::Writer<File>,
    scored: bool,
    /// Length of the file before its last row.
    before: u64,
}

impl Log {
    /// Creates the file with the given rows, which have `bins` bins, and scores if they are `scored`. Rows that a killed run
    /// wrote after its last checkpoint are dropped.
    pub fn create(folder: &Path, rows: &[Row], bins: usize, scored: bool) -> Result<Self> {
        let path = folder.join("log.csv");
        let scores = if scored { ",score" } else { "" };
        let more: String = (0..bins).map(|bin| format!(",loss_{bin}")).collect();
        files::write(&path, format!("step,loss,lr,grad_norm,seconds{scores}{more}\n"))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| files::failed(&path, &e))?;
        let mut log = Self { path, writer: csv::Writer::from_writer(file), scored, before: 0 };
        rows.iter().try_for_each(|row| log.row(row))?;
        Ok(log)
    }

    /// Appends a row and flushes it, so that it survives a kill.
    pub fn row(&mut self, row: &Row) -> Result<()> {
        self.before = self.writer.get_ref().metadata().map_err(|e| files::failed(&self.path, &e))?.len();
        let mut fields = vec![
            row.step.to_string(),
            row.loss.to_string(),
            row.lr.to_string(),
            row.grad_norm.to_string(),
            format!("{:.3}", row.seconds),
        ];
        if self.scored {
            fields.push(row.score.map_or_else(String::new, |score| score.to_string()));
        }
        // A bin without samples has an empty field.
        let bins = row.loss_bins.iter();
        fields.extend(bins.map(|mean| if mean.is_nan() { String::new() } else { mean.to_string() }));
        self.writer.write_record(&fields).map_err(|e| Error::file(&self.path, e))?;
        self.writer.flush().map_err(|e| Error::file(&self.path, e))
    }

    /// Returns whether the file is still where it was made.
    pub fn is_there(&self) -> bool {
        files::leads_to(&self.path, self.writer.get_ref())
    }

    /// Writes the last row again, which has a score now.
    pub fn replace_last(&mut self, row: &Row) -> Result<()> {
        self.writer.get_ref().set_len(self.before).map_err(|e| files::failed(&self.path, &e))?;
        self.row(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let row = Row {
            step: 10,
            loss: 0.5,
            lr: 1e-4,
            grad_norm: 2.0,
            seconds: 1.25,
            score: None,
            loss_bins: Vec::new(),
        };
        let text = || std::fs::read_to_string(folder.path().join("a/b/log.csv")).unwrap();
        let mut log = Log::create(&folder.path().join("a/b"), &[], 0, false).unwrap();
        log.row(&row).unwrap();
        assert_eq!(text(), "step,loss,lr,grad_norm,seconds\n10,0.5,0.0001,2,1.250\n");
        let row = Row { loss_bins: vec![0.25, f64::NAN], ..row };
        let mut log = Log::create(&folder.path().join("a/b"), std::slice::from_ref(&row), 2, true).unwrap();
        let header = "step,loss,lr,grad_norm,seconds,score,loss_0,loss_1";
        assert_eq!(text(), format!("{header}\n10,0.5,0.0001,2,1.250,,0.25,\n"));
        log.replace_last(&Row { score: Some(3.5), ..row.clone() }).unwrap();
        log.row(&Row { step: 20, ..row }).unwrap();
        let rows = "10,0.5,0.0001,2,1.250,3.5,0.25,\n20,0.5,0.0001,2,1.250,,0.25,\n";
        assert_eq!(text(), format!("{header}\n{rows}"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Log::create(&file.path().join("run"), &[], 0, false).unwrap_err();
        assert!(error.message().starts_with(&file.path().join("run").display().to_string()), "{error}");
    }
}
