//! What a run tells of its steps: rows of the history and the logs, the progress bar, and `on_step`.

use super::Ema;
use super::log::Row;
use super::tensorboard::TensorBoard;
use super::training::{Pending, Training, mean};
use crate::declare::{IntoValue, Value};
use crate::error::{Error, Result};
use crate::torch::{Tensor, uninterrupted};

impl Training<'_> {
    /// Reads the losses of all steps so far, and returns the row of the last step, which is logged if `logged`.
    pub(super) fn read(&mut self, logged: bool) -> Result<Option<(Row, Pending)>> {
        // A row that is read twice would be logged twice.
        uninterrupted(|| {
            let Some(last) = self.flush_losses()? else { return Ok(None) };
            let since = self.history.last().map_or(0, |r| r.step);
            let row = Row {
                step: self.losses.len(),
                loss: mean(&self.losses[since..]),
                lr: last.lr,
                grad_norm: last.norm.item()?,
                seconds: self.seconds(),
                score: None,
                loss_bins: Vec::new(),
            };
            if logged {
                self.note(row.clone())?;
            }
            Ok(Some((row, last)))
        })
    }

    /// Reports the last step to the progress bar and `on_step`.
    pub(super) fn report(&mut self, read: Option<(Row, Pending)>, logged: bool) -> Result<()> {
        let Some((row, last)) = read else { return Ok(()) };
        self.show(&row);
        if self.options.on_step.is_some() {
            self.ended = self.ends_after(row.clone(), last.indices, false)?;
            if self.ended && !logged {
                self.note(row)?;
            }
        }
        Ok(())
    }

    /// Shows the last step in the progress bar.
    fn show(&mut self, row: &Row) {
        // Single losses are noisy, because batch and times vary.
        let recent = mean(&self.losses[self.losses.len().saturating_sub(20)..]);
        let skipped = match self.skipped.len() {
            0 => String::new(),
            count => format!("  skipped {count}"),
        };
        let score = self.last_score.map_or_else(String::new, |score| format!("  score {score:.4}"));
        self.bar.update(row.step as u64, &format!("loss {recent:.4}  lr {:.1e}{score}{skipped}", row.lr));
    }

    /// Adds a score to the row of its step, which is the last one.
    pub(super) fn note_score(&mut self, step: usize, score: f64) -> Result<()> {
        // NaN is no score.
        if score.is_nan() {
            return Ok(());
        }
        self.last_score = Some(score);
        let Some(row) = self.history.last_mut().filter(|row| row.step == step) else { return Ok(()) };
        row.score = Some(score);
        let row = row.clone();
        self.show(&row);
        self.log.as_mut().map_or(Ok(()), |log| log.replace_last(&row))?;
        self.events.as_ref().map_or(Ok(()), |events| events.score(step, score))
    }

    /// Returns the log for TensorBoard that code receives, one that writes nothing if it has received it before or on other
    /// ranks, and `()` without the option.
    pub(super) fn log_of_code(&self, again: bool) -> Value {
        match &self.events {
            _ if self.options.tensorboard.is_empty() => Value::Unit,
            Some(events) if !again => events.writer.clone().into_value(),
            _ => TensorBoard::mute().into_value(),
        }
    }

    /// Calls `on_step` with a row of the last step, `again` if it was called for that step before, and returns whether it ends
    /// the run.
    pub(super) fn ends_after(&mut self, row: Row, indices: Tensor, again: bool) -> Result<bool> {
        let options = self.options;
        let Some(on_step) = &options.on_step else { return Ok(false) };
        let own = Row { loss: self.losses[row.step - 1], score: None, ..row };
        let Value::Map(mut about) = own.into_value() else {
            return Err(Error::internal("a row is a map"));
        };
        about.insert("indices".to_string(), indices.into_value());
        about.insert("model".to_string(), self.model.clone().into_value());
        let ema = self.averages.first().map(Ema::model);
        about.insert("ema".to_string(), ema.map_or(Value::Unit, IntoValue::into_value));
        about.insert("tensorboard".to_string(), self.log_of_code(again));
        let about = [Value::Map(about)];
        let given = self.agree(self.model.device().within(|| on_step.call_as("`on_step`", &about)))?;
        self.ranks.any(matches!(given, Value::Bool(false)))
    }

    fn note(&mut self, mut row: Row) -> Result<()> {
        if let Some(bins) = &mut self.bins {
            row.loss_bins = bins.take()?;
        }
        let logged = self.log.as_mut().map_or(Ok(()), |log| log.row(&row));
        let shown = self.events.as_ref().map_or(Ok(()), |events| events.row(&row, self.history.last()));
        self.history.push(row);
        logged.and(shown)
    }
}
