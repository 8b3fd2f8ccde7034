//! What a run tells of its steps: rows of the history and the logs, the progress bar, and `on_step`.

use super::Ema;
use super::log::{Log, Row};
use super::objective::reads_key;
use super::scored::Ended;
use super::tensorboard::TensorBoard;
use super::training::{Pending, Training, mean};
use crate::declare::{IntoValue, Value};
use crate::error::{Error, Result};
use crate::text;
use crate::torch::{Tensor, rng, uninterrupted};

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
            self.unreported = self.options.on_step.is_some().then(|| row.clone());
            Ok(Some((row, last)))
        })
    }

    /// Reports the last step to the progress bar and `on_step`.
    pub(super) fn report(&mut self, read: Option<(Row, Pending)>, logged: bool) -> Result<()> {
        let Some((row, last)) = read else { return Ok(()) };
        self.show(&row);
        if self.options.on_step.is_some() { self.tell(row, last.indices, logged) } else { Ok(()) }
    }

    /// Tells `on_step` of the last step, whose row is in the history if it is `logged`, and ends the run if it says so.
    ///
    /// After an error the resumed run calls it again, with the same random numbers.
    pub(super) fn tell(&mut self, row: Row, indices: Tensor, logged: bool) -> Result<()> {
        self.unreported = Some(row.clone());
        let random = if self.saves() { self.default_states()? } else { Vec::new() };
        let ends = self.ends_after(&row, indices).inspect_err(|_| {
            drop(rng::restore_defaults(&random));
        })?;
        self.unreported = None;
        if ends && self.ended.is_none() {
            self.ended = Some(Ended::OnStep);
            if !logged {
                self.note(row)?;
            }
        }
        Ok(())
    }

    /// Returns a note if the gradient of a step is zero, which its row tells.
    pub(super) fn without_gradient(row: &Row) -> Option<String> {
        (row.grad_norm == 0.0).then(|| {
            format!(
                "all gradients are exactly zero at step {}: the loss does not depend on what is trained, or is multiplied \
                 by 0, as by `1 / 2` of two integers (write `1.0 / 2`)",
                row.step
            )
        })
    }

    /// Shows the last step in the progress bar.
    fn show(&mut self, row: &Row) {
        // Single losses are noisy, because batch and times vary.
        let recent = mean(&self.losses[self.losses.len().saturating_sub(20)..]);
        let skipped = match self.skipped.len() {
            0 => String::new(),
            count => format!("  skipped {count}"),
        };
        let score = self.scores.last.map_or_else(String::new, |score| format!("  score {}", shown(score)));
        let note = format!("loss {}  lr {:.1e}{score}{skipped}", shown(recent), row.lr);
        self.bar.update(row.step as u64, &note);
    }

    /// Adds a score to the row of its step, which is the last one.
    pub(super) fn note_score(&mut self, step: usize, score: f64) -> Result<()> {
        // NaN is no score.
        if score.is_nan() {
            return Ok(());
        }
        self.scores.last = Some(score);
        let Some(row) = self.history.last_mut().filter(|row| row.step == step) else { return Ok(()) };
        row.score = Some(score);
        let row = row.clone();
        self.show(&row);
        self.log.as_mut().map_or(Ok(()), |log| log.replace_last(&row))?;
        self.events.as_ref().map_or(Ok(()), |events| events.score(step, score))
    }

    /// Returns the log for TensorBoard that code receives, one that writes nothing on other ranks than the first, and `()`
    /// without the option.
    pub(super) fn log_of_code(&self) -> Value {
        match &self.events {
            _ if self.options.tensorboard.is_empty() => Value::Unit,
            Some(events) => events.writer.clone().into_value(),
            _ => TensorBoard::mute().into_value(),
        }
    }

    /// Calls `on_step` with a row of the last step, and returns whether it ends the run.
    fn ends_after(&mut self, row: &Row, indices: Tensor) -> Result<bool> {
        let options = self.options;
        let Some(on_step) = &options.on_step else { return Ok(false) };
        let own = Row { loss: self.losses[row.step - 1], ..row.clone() };
        let Value::Map(mut about) = own.into_value() else {
            return Err(Error::internal("a row is a map"));
        };
        let of_step = self.history.last().filter(|last| last.step == row.step);
        about.insert("score".to_string(), of_step.and_then(|row| row.score).into_value());
        about.insert("best".to_string(), self.scores.best_value());
        // All rows at each step take long, and few functions look at them.
        if reads_key(on_step, "history") {
            let history = self.history.iter().map(|row| row.clone().into_value());
            about.insert("history".to_string(), Value::List(history.collect()));
        }
        about.insert("indices".to_string(), indices.into_value());
        about.insert("model".to_string(), self.model.clone().into_value());
        let ema = self.averages.first().map(Ema::model);
        about.insert("ema".to_string(), ema.map_or(Value::Unit, IntoValue::into_value));
        about.insert("tensorboard".to_string(), self.log_of_code());
        let about = [Value::Map(about)];
        let given = self.agree(self.model.device().within(|| on_step.call_as("`on_step`", &about)))?;
        self.ranks.any(matches!(given, Value::Bool(false)))
    }

    fn note(&mut self, mut row: Row) -> Result<()> {
        if let Some(bins) = &mut self.bins {
            row.loss_bins = bins.take()?;
        }
        let logged = self.log_there().and_then(|()| self.log.as_mut().map_or(Ok(()), |log| log.row(&row)));
        let shown = self.events.as_ref().map_or(Ok(()), |events| events.row(&row, self.history.last()));
        self.history.push(row);
        logged.and(shown)
    }

    /// Writes the log again if it was removed; a folder that is not there any more is an error.
    fn log_there(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        folder.check()?;
        if self.log.as_ref().is_some_and(|log| !log.is_there()) {
            let scored = self.is_scored();
            self.log = Some(Log::create(folder.path(), &self.history, self.options.loss_bins, scored)?);
        }
        Ok(())
    }

    /// Returns whether the log has a column of scores.
    pub(super) fn is_scored(&self) -> bool {
        self.options.score.is_some() || self.history.iter().any(|row| row.score.is_some())
    }
}

/// Formats a loss or a score: with four decimals, or with an exponent where these would be too many digits or zeros.
pub(super) fn shown(x: f64) -> String {
    let size = x.abs();
    match x.is_finite() && size > 0.0 && !(1e-3..1e5).contains(&size) {
        true => format!("{x:.3e}"),
        false => text::fixed(x, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_any_size_are_readable() {
        let all = [0.5234567, 0.0, 12345.0, 3.4e5, 1.5e12, 2.04e-5, f64::NAN, f64::INFINITY];
        let expected = ["0.5235", "0.0000", "12345.0000", "3.400e5", "1.500e12", "2.040e-5", "NaN", "inf"];
        assert_eq!(all.map(shown), expected);
    }
}
