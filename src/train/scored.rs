//! Scores of checkpoints, and runs that end before their last step.

use super::checkpoint::differs;
use super::compared::code_of;
use super::reported::shown;
use super::training::{Training, mean};
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::error::Result;
use crate::torch::{Tensor, rng};

/// Scores so far.
pub(super) struct Scores {
    /// What computes them, as it was at the start.
    pub by: Value,
    /// Step of the last one, 0 before the first.
    pub at: usize,
    /// Step and value of the lowest one.
    pub best: Option<(usize, f64)>,
    /// Last result of the option `score`, for the progress bar.
    pub last: Option<f64>,
    /// Number of scores after the lowest one.
    pub since_best: usize,
}

impl Default for Scores {
    fn default() -> Self {
        Self { by: Value::Unit, at: 0, best: None, last: None, since_best: 0 }
    }
}

impl Scores {
    /// Returns step and value of the lowest score, as data.
    pub fn best_value(&self) -> Value {
        self.best.map_or(Value::Unit, |(step, score)| {
            Value::Map(Map::from([
                ("step".to_string(), step.into_value()),
                ("score".to_string(), score.into_value()),
            ]))
        })
    }
}

/// What ended a run before its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The option `on_step` returned `false`.
    OnStep,
    /// No score was lower for as long as the option `patience` allows.
    Patience,
}

impl Ended {
    /// Returns the name of the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnStep => "on_step",
            Self::Patience => "patience",
        }
    }
}

impl Training<'_> {
    /// Computes the score of the last step, unless it has one, and ends the run if no score was lower for too long.
    ///
    /// After an error the same random numbers are drawn when the score is computed again.
    pub(super) fn evaluate(&mut self) -> Result<()> {
        let (step, options) = (self.done(), self.options);
        if self.scores.at == step {
            return Ok(());
        }
        let random = self.default_states()?;
        let score = self.score(step).inspect_err(|_| {
            drop(rng::restore_defaults(&random));
        })?;
        self.scores.at = step;
        if options.score.is_some() {
            self.note_score(step, score)?;
        }
        // NaN is no score.
        if !score.is_nan() && self.scores.best.is_none_or(|(_, best)| score < best) {
            (self.scores.best, self.scores.since_best) = (Some((step, score)), 0);
        } else {
            self.scores.since_best += 1;
        }
        let open = self.ended.is_none() && step < options.steps;
        if open && options.patience.is_some_and(|most| self.scores.since_best >= most) {
            self.ended = Some(Ended::Patience);
        }
        Ok(())
    }

    /// Returns the score of a checkpoint; the lowest is the best. It depends only on the step, not on where the run
    /// was stopped. All ranks compute it, and that of rank 0 counts.
    fn score(&mut self, step: usize) -> Result<f64> {
        // As many steps at the end of the run as between checkpoints: the mean of fewer losses is noisier, and the
        // lowest of all would often be one of these.
        let since = step.saturating_sub(self.options.checkpoint_every);
        let loss = mean(&self.losses[since..]);
        let options = self.options;
        let Some(score) = &options.score else { return Ok(loss) };
        let averages = self.averages.iter().map(|a| (a.name().to_string(), a.model().into_value()));
        let averages: Vec<(String, Value)> = averages.collect();
        let about = Map::from([
            ("step".to_string(), step.into_value()),
            ("loss".to_string(), loss.into_value()),
            ("model".to_string(), self.model.clone().into_value()),
            ("ema".to_string(), averages.first().map_or(Value::Unit, |(_, model)| model.clone())),
            ("averages".to_string(), Value::Map(averages.into_iter().collect())),
            ("tensorboard".to_string(), self.log_of_code()),
        ]);
        let about = [Value::Map(about)];
        let given = self.model.device().within(|| score.call_as("`score`", &about));
        let given = given.and_then(|given| f64::from_value(&given).map_err(|e| e.context("`score`")));
        let given = self.agree(given)?;
        let counts = Tensor::from_f64(&[given], &[1])?;
        self.ranks.broadcast(&counts, 0)?;
        counts.item()
    }

    /// Returns what computes the scores, as data: scores of another function cannot be compared.
    pub(super) fn score_code(&self) -> Result<Value> {
        match &self.options.score {
            None => Ok(Value::Str("loss".to_string())),
            Some(score) => code_of(score, self.model),
        }
    }

    /// Returns the code of `on_step`, as data.
    pub(super) fn step_code(&self) -> Result<Value> {
        self.options.on_step.as_ref().map_or(Ok(Value::Unit), |on_step| code_of(on_step, self.model))
    }

    /// Returns what ended the run, as data, so that the next call can tell whether it still does.
    pub(super) fn ended_value(&self) -> Result<Value> {
        let Some(ended) = self.ended else { return Ok(Value::Unit) };
        let mut map = Map::from([("by".to_string(), ended.name().into_value())]);
        if ended == Ended::OnStep {
            map.insert("steps".to_string(), self.options.steps.into_value());
            map.insert("code".to_string(), Value::List(vec![self.stepped_by.clone(), self.step_code()?]));
        }
        Ok(Value::Map(map))
    }

    /// Returns what keeps a run ended that was ended early, according to its checkpoint.
    pub(super) fn still_ended(&mut self, values: &Map) -> Result<Option<Ended>> {
        let options = self.options;
        let ended = values.get("ended").map_or(Ok(false), bool::from_value)?;
        if !ended || self.done() >= options.steps {
            return Ok(None);
        }
        if options.go_on {
            self.scores.since_best = 0;
            return Ok(None);
        }
        // Older checkpoints do not say what ended the run; only `on_step` could.
        let about = values.get("ended_by").map_or(Ok(Map::new()), Map::from_value)?;
        if matches!(about.get("by"), Some(Value::Str(by)) if by == Ended::Patience.name()) {
            let ends = options.patience.is_some_and(|most| self.scores.since_best >= most);
            return Ok(ends.then_some(Ended::Patience));
        }
        let longer = match about.get("steps") {
            Some(steps) => options.steps > usize::from_value(steps)?,
            None => false,
        };
        // The code may have changed what it captured.
        let other = matches!(about.get("code"), Some(Value::List(code))
            if code.iter().all(|code| differs("on_step", code, &self.stepped_by)));
        Ok((options.on_step.is_some() && !longer && !other).then_some(Ended::OnStep))
    }

    /// Says what ended the run early, if something did; `before` this call if it is only returned.
    pub(super) fn end_note(&self, before: bool) -> Option<String> {
        let (done, steps, out) = (self.done(), self.options.steps, &self.options.out);
        let (why, ways) = match (self.ended?, self.scores.best) {
            (Ended::OnStep, _) if !before => return None,
            (Ended::OnStep, _) => {
                // Code in a cell has no stored form, so it cannot be told from other code.
                let ways = match self.stepped_by {
                    Value::Map(_) => "more `steps`, another `on_step` or none, or `go_on: true`",
                    _ => "more `steps`, no `on_step`, or `go_on: true`",
                };
                ("`on_step` has ended".to_string(), ways)
            }
            (Ended::Patience, best) => {
                let best = best.map_or_else(
                    || "no score was a number".to_string(),
                    |(step, score)| {
                        format!(
                            "{} scores in a row were not below {} of step {step}",
                            self.scores.since_best,
                            shown(score)
                        )
                    },
                );
                (format!("{best}: `patience` has ended"), "a larger `patience` or none, or `go_on: true`")
            }
        };
        let kept = if before { ", which is returned as it is" } else { "" };
        Some(format!("{why} the run in {out} after {done} of {steps} steps{kept}; to go on, give {ways}"))
    }

    /// Does what a stop or an error left undone after the last step of a resumed run: its score and the call of `on_step`.
    pub(super) fn complete(&mut self) -> Result<()> {
        let (done, options) = (self.done(), self.options);
        let ends = done == options.steps || self.ended.is_some();
        let regular = done.is_multiple_of(options.checkpoint_every) || ends;
        let scored = !regular || self.scores.at == done;
        let unreported = self.unreported.take().filter(|row| row.step == done && options.on_step.is_some());
        if scored && unreported.is_none() {
            return Ok(());
        }
        if !scored {
            self.unreported.clone_from(&unreported);
            self.evaluate()?;
        }
        if let Some(row) = unreported {
            let (position, random) = (self.loader.position(), self.default_states()?);
            self.loader.seek(position.saturating_sub(options.batch as u64));
            // The images that are loaded with the indices do not matter, nor does code that augments them.
            let batch = self.loader.next_share(0, 1);
            self.loader.seek(position);
            rng::restore_defaults(&random)?;
            let logged = self.history.last().is_some_and(|last| last.step == row.step);
            self.tell(row, batch?.indices, logged)?;
        }
        self.checkpoint()
    }
}

#[cfg(test)]
mod tests;
