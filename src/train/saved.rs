//! Saves a run in progress to a checkpoint and resumes it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::checkpoint::{self, Checkpoint, differs, with_code_of};
use super::compared::{code_of, settings_of};
use super::fit::{OTHER_CODE, check_settings};
use super::log::Row;
use super::posthoc;
use super::tensorboard::RunEvents;
use super::training::{Training, mean};
use crate::context::Context;
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::error::{Error, Kind, Result, list};
use crate::model::{Design, Model, SaveOptions};
use crate::torch::{Tensor, rng};

/// Key of the model among what code has changed.
const MODEL: &str = "model";

impl Training<'_> {
    /// Resumes from the newest checkpoint in the folder and returns whether there is one. Rank 0 reads it for all.
    pub(super) fn resume(&mut self, context: &Context) -> Result<bool> {
        let found = self.folder.as_ref().map(|folder| {
            if !self.options.resume {
                folder.clear()?;
            }
            let steps = folder.steps()?;
            if steps.is_empty() {
                // A run that ended before its first checkpoint has left them, and this one may have others.
                folder.clear_averages()?;
                posthoc::clear_after(folder.path(), 0)?;
            }
            Ok(steps)
        });
        let steps = self.ranks.agree(found.transpose())?.unwrap_or_default();
        self.origin = hash(self.model)?;
        let newest = self.ranks.broadcast_text(&steps.last().map_or_else(String::new, usize::to_string))?;
        let Ok(newest) = newest.parse::<usize>() else { return Ok(false) };
        let path = self.folder.as_ref().map(|folder| folder.of_step(newest));
        let mut saved =
            Checkpoint::read_shared(path, &self.ranks).map_err(|error| match (&steps[..], &self.folder) {
                ([.., earlier, _], Some(folder)) => {
                    let earlier = folder.of_step(*earlier);
                    error.hint(format!("remove it to go on from {}", earlier.display()))
                }
                _ => error.hint("remove it to start over"),
            })?;
        self.take(&mut saved, context).map_err(|e| match e.hint_text() {
            Some(_) => e,
            None => e.hint(
                "start over with `resume: false`, which removes its checkpoints and weights, or choose another `out`",
            ),
        })?;
        let Some(folder) = &self.folder else { return Ok(true) };
        // If the run was killed between writing the checkpoint and linking it, the best one is missing.
        if let Some((step, _)) = self.best
            && step == newest
        {
            folder.mark_best(step)?;
        }
        posthoc::clear_after(folder.path(), newest)?;
        Ok(true)
    }

    /// Checks everything, then restores the state.
    fn take(&mut self, saved: &mut Checkpoint, context: &Context) -> Result<()> {
        let values = saved.values();
        self.check_start(saved, &values, context)?;
        let origin: String = get(&values, "origin")?;
        // The weights are those at the start, or those an interrupted cell left in the model; with `from` they do not matter.
        let begun = self.options.from.is_empty();
        if begun && self.origin != origin && self.origin != weights_hash(&saved.of("model"))? {
            return Err(Error::argument(format!(
                "{} holds a run that started from other weights",
                self.options.out
            )));
        }
        let losses = column(saved, "run.losses")?;
        if losses.len() > self.options.steps {
            let (out, done, wanted) = (&self.options.out, losses.len(), self.options.steps);
            return Err(Error::argument(format!(
                "{out} holds a run of {done} steps, which is more than {wanted}"
            ))
            .hint(format!(
                "ask for {done} steps or more, choose another `out`, or start over with `resume: false`"
            )));
        }
        let rows = column(saved, "run.history")?;
        let width = self.options.loss_bins;
        // Runs without scores, and those of earlier versions, have none.
        let scores = saved.tensors.get("run.history_scores").map_or(Ok(Vec::new()), Tensor::to_f64)?;
        let of_bins = if width > 0 { column(saved, "run.history_bins")? } else { Vec::new() };
        let row_bins = |row: usize| of_bins.get(row * width..(row + 1) * width).unwrap_or_default().to_vec();
        let best = match values.get("best") {
            Some(Value::Map(best)) => Some((get(best, "step")?, get(best, "score")?)),
            _ => None,
        };
        let mut best = best.filter(|(_, score): &(usize, f64)| !score.is_nan());
        // The code may have changed what it captured: it begins anew in another process, and not in the same one.
        let other = values.get("scored_by").is_some_and(|by| {
            let by = if let Value::List(both) = by { both.as_slice() } else { std::slice::from_ref(by) };
            by.iter().all(|by| differs("score", by, &self.scored_by))
        });
        if let Some((step, score)) = best.take_if(|_| other) {
            context.note(&format!(
                "{}: the best checkpoint so far, of step {step}, had the score {score} of another `score`; the next \
                 checkpoint becomes the best",
                self.options.out
            ));
        }
        if begun {
            let origins = values.get("also_origins").map_or(Ok(Map::new()), Map::from_value)?;
            self.also.check_origins(&origins, saved).map_err(|e| e.context(&self.options.out))?;
            self.also_origins = origins;
        }
        let (before, skipped, ended) =
            (get(&values, "seconds")?, get(&values, "skipped")?, get(&values, "ended")?);
        self.also.check(saved)?;
        if let Some(bins) = &mut self.bins {
            let sums = saved.tensors.get("run.bins").ok_or_else(|| missing("run.bins"))?;
            bins.restore(sums)?;
        }
        saved.restore(&self.parts())?;
        self.also.restore(saved)?;
        self.history = rows
            .chunks_exact(5)
            .enumerate()
            .map(|(i, row)| Row {
                step: row[0] as usize,
                loss: row[1],
                lr: row[2],
                grad_norm: row[3],
                seconds: row[4],
                score: scores.get(i).copied().filter(|score| !score.is_nan()),
                loss_bins: row_bins(i),
            })
            .collect();
        (self.before, self.skipped, self.ended, self.best) = (before, skipped, ended, best);
        self.last_score = self.history.iter().rev().find_map(|row| row.score);
        // Older checkpoints do not say it.
        self.scored = values.get("scored").map_or(Ok(true), bool::from_value)?;
        (self.written, self.losses, self.origin) = (losses.len(), losses, origin);
        self.from = values.get("from").cloned().unwrap_or(Value::Unit);
        self.events_end = values.get("events").cloned();
        Ok(())
    }

    /// Returns an error unless the run began with these settings and this model. What code had changed by the time of the
    /// checkpoint counts too, since it is what a call in the same process finds.
    fn check_start(&mut self, saved: &mut Checkpoint, values: &Map, context: &Context) -> Result<()> {
        let mut settings: Map = get(values, "settings")?;
        let changed = values.get("changed").map_or(Ok(Map::new()), Map::from_value)?;
        let (mut anew, mut early) = (Vec::new(), Map::new());
        for (name, later) in &changed {
            let (Some(begun), Some(here)) = (settings.get(name).cloned(), self.settings.get(name)) else {
                continue;
            };
            if differs(name, &begun, here) {
                settings.insert(name.clone(), later.clone());
                early.insert(name.clone(), begun);
            } else {
                anew.push(name.as_str());
            }
        }
        self.accepted = values.get("accepted").map_or(Ok(Vec::new()), FromValue::from_value)?;
        if self.options.accept_code {
            self.accept_code(&mut settings, saved, values, context)?;
            early.clear();
        }
        check_settings(&settings, &self.settings, self.options)?;
        self.settings.extend(early);
        if let (Some(later), Some(begun)) = (changed.get(MODEL), &saved.config) {
            if saved.check_design(self.model).is_err() {
                self.design = begun.to_json()?;
                let later = later.to_json().ok_or_else(|| missing(MODEL))?;
                saved.config = Some(Design::from_json(&later)?);
            } else {
                anew.push(MODEL);
            }
        }
        // Comes before the weights, because its error is more specific.
        saved.check_design(self.model).map_err(|error| {
            let error = error.context(saved.path().display());
            match self.accepted_design(saved) {
                Ok(Some((design, _))) if design == self.design => error.hint(OTHER_CODE),
                _ => error,
            }
        })?;
        if !anew.is_empty() {
            context.note(&format!(
                "{}: code of {} had changed values that it captured, which begin anew in the resumed run",
                self.options.out,
                list(&anew)
            ));
        }
        Ok(())
    }

    /// Replaces the code of the checkpoint by that of this run, and records what changed.
    fn accept_code(
        &mut self,
        settings: &mut Map,
        saved: &mut Checkpoint,
        values: &Map,
        context: &Context,
    ) -> Result<()> {
        let (taken, mut found) = with_code_of(settings, &self.settings);
        *settings = taken;
        if let Some((design, changes)) = self.accepted_design(saved)? {
            saved.config = Some(Design::from_json(&design)?);
            found.extend(changes);
        }
        let step: usize = get(values, "step")?;
        for change in found {
            let line = format!("after step {step}: {change}");
            context.note(&format!("{}: {line}", self.options.out));
            self.accepted.push(line);
        }
        Ok(())
    }

    /// Returns the saved design of the model with the code of the one here, and what changed in it.
    fn accepted_design(&self, saved: &Checkpoint) -> Result<Option<(serde_json::Value, Vec<String>)>> {
        let Some(begun) = &saved.config else { return Ok(None) };
        let (Value::Map(begun), Value::Map(here)) =
            (Value::from_json(&begun.to_json()?)?, Value::from_json(&self.design)?)
        else {
            return Ok(None);
        };
        let (design, changes) = with_code_of(&begun, &here);
        Ok(Value::Map(design).to_json().map(|design| (design, changes)))
    }

    /// Returns the settings, and the design of the model, that are not as at the start, since code changed values that it
    /// captured.
    fn changed(&self) -> Result<Map> {
        let mut changed = settings_of(self.model, self.options)?;
        changed.retain(|name, now| self.settings.get(name).is_some_and(|begun| differs(name, begun, now)));
        let design = self.model.design().to_json()?;
        if design == self.design {
            return Ok(changed);
        }
        let design = Value::from_json(&design)?;
        if differs(MODEL, &Value::from_json(&self.design)?, &design) {
            changed.insert(MODEL.to_string(), design);
        }
        Ok(changed)
    }

    /// Asks `on_step` again about the last step of a resumed run that it had ended; without `on_step` the run goes on.
    pub(super) fn decide_again(&mut self, context: &Context) -> Result<()> {
        let last = self.history.last().filter(|row| row.step == self.losses.len()).cloned();
        if !std::mem::take(&mut self.ended) || self.done() >= self.options.steps {
            return Ok(());
        }
        if let Some(row) = last {
            let position = self.loader.position();
            self.loader.seek(position.saturating_sub(self.options.batch as u64));
            // The images that are loaded with the indices do not matter.
            let batch = self.loader.next_share(0, 1);
            self.loader.seek(position);
            self.ended = self.ends_after(row, batch?.indices, true)?;
        }
        if self.ended {
            let (out, done) = (&self.options.out, self.done());
            context.note(&format!(
                "`on_step` has ended the run in {out} after {done} steps, and does so again; without it the run goes on"
            ));
        }
        Ok(())
    }

    /// Writes the files in `out` at the end of a run or after a failure.
    pub(super) fn end(&mut self, failure: Option<&Error>) -> Result<()> {
        if !self.saves() {
            return Ok(());
        }
        match failure {
            None if self.written < self.done() => {
                if let Err(error) = self.checkpoint(true) {
                    if stopped(&error) || self.failed_elsewhere {
                        self.end(Some(&error))?;
                    }
                    return Err(error);
                }
            }
            // After an error in a script function, an interrupt or an unreadable image, all steps so far are good.
            Some(error) if stopped(error) || self.unread || self.failed_elsewhere => {
                self.flush_losses()?;
                if self.written < self.done() {
                    self.checkpoint(false)?;
                }
            }
            _ => {}
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        self.model.write(folder.weights(), &SaveOptions::default())?;
        self.averages.iter().enumerate().try_for_each(|(i, average)| {
            let path = folder.average((i > 0).then(|| average.name()));
            average.model().write(path, &SaveOptions::default())
        })
    }

    /// Computes the score of the checkpoint of a resumed run if its step has one in a run that was never stopped: the stop,
    /// or an error, came before it.
    pub(super) fn score_again(&mut self) -> Result<()> {
        let (done, options) = (self.done(), self.options);
        let regular = done.is_multiple_of(options.checkpoint_every) || done == options.steps || self.ended;
        if std::mem::replace(&mut self.scored, true) || !regular { Ok(()) } else { self.checkpoint(true) }
    }

    /// Writes a checkpoint of the steps so far, whose losses must all have been read; only `regular` ones can be
    /// the best. All ranks compute the score, that of rank 0 counts, and rank 0 writes.
    pub(super) fn checkpoint(&mut self, regular: bool) -> Result<()> {
        let step = self.done();
        if regular {
            let random = self.default_states()?;
            let score = self.score(step).inspect_err(|_| {
                // The resumed run computes the score again, from the same random numbers.
                random.iter().for_each(|(device, state)| drop(rng::restore_default(*device, state)));
            })?;
            if self.options.score.is_some() {
                self.note_score(step, score)?;
            }
            // NaN is no score.
            if !score.is_nan() && self.best.is_none_or(|(_, best)| score < best) {
                self.best = Some((step, score));
            }
        }
        let Some(folder) = &self.folder else {
            self.written = step;
            return Ok(());
        };
        let mut parts = self.parts();
        let best = self.best.map_or(Value::Unit, |(step, score)| {
            Value::Map(Map::from([
                ("step".to_string(), step.into_value()),
                ("score".to_string(), score.into_value()),
            ]))
        });
        parts.values = Map::from([
            ("step".to_string(), step.into_value()),
            ("seconds".to_string(), self.seconds().into_value()),
            ("skipped".to_string(), self.skipped.clone().into_value()),
            ("ended".to_string(), self.ended.into_value()),
            ("scored".to_string(), regular.into_value()),
            ("scored_by".to_string(), Value::List(vec![self.scored_by.clone(), self.score_code()?])),
            ("best".to_string(), best),
            ("origin".to_string(), self.origin.clone().into_value()),
            ("from".to_string(), self.from.clone()),
            ("settings".to_string(), Value::Map(self.settings.clone())),
            ("changed".to_string(), Value::Map(self.changed()?)),
        ]);
        if !self.also_origins.is_empty() {
            parts.values.insert("also_origins".to_string(), Value::Map(self.also_origins.clone()));
        }
        // Without a writer the events of an earlier session stay.
        let events = self.events.as_ref().map(RunEvents::position).or_else(|| self.events_end.clone());
        parts.values.extend(events.map(|end| ("events".to_string(), end)));
        if !self.accepted.is_empty() {
            parts.values.insert("accepted".to_string(), self.accepted.clone().into_value());
        }
        let rows: Vec<f64> =
            self.history.iter().flat_map(|r| [r.step as f64, r.loss, r.lr, r.grad_norm, r.seconds]).collect();
        let mut tensors = BTreeMap::from([
            ("run.losses".to_string(), Tensor::from_f64(&self.losses, &[step as i64])?),
            ("run.history".to_string(), Tensor::from_f64(&rows, &[self.history.len() as i64, 5])?),
        ]);
        if self.history.iter().any(|row| row.score.is_some()) {
            let all: Vec<f64> = self.history.iter().map(|row| row.score.unwrap_or(f64::NAN)).collect();
            let scores = Tensor::from_f64(&all, &[self.history.len() as i64])?;
            tensors.insert("run.history_scores".to_string(), scores);
        }
        if let Some(bins) = &self.bins {
            let all: Vec<f64> = self.history.iter().flat_map(|row| row.loss_bins.iter().copied()).collect();
            let shape = [self.history.len() as i64, bins.count() as i64];
            tensors.insert("run.history_bins".to_string(), Tensor::from_f64(&all, &shape)?);
            tensors.insert("run.bins".to_string(), bins.saved());
        }
        tensors.extend(self.also.saved());
        checkpoint::save_with(folder.of_step(step), &parts, tensors, Some(&self.design))?;
        if self.best.is_some_and(|(best, _)| best == step) {
            folder.mark_best(step)?;
        }
        folder.keep(self.options.keep)?;
        self.written = step;
        Ok(())
    }

    /// Makes an error of a script function on one rank an error of all, which would wait for it in the next step.
    pub(super) fn agree<T>(&mut self, given: Result<T>) -> Result<T> {
        let well = given.is_ok();
        let agreed = self.ranks.agree(given);
        self.failed_elsewhere |= well && agreed.is_err();
        agreed
    }

    /// Returns what computes the scores, as data: scores of another function cannot be compared.
    pub(super) fn score_code(&self) -> Result<Value> {
        match &self.options.score {
            None => Ok(Value::Str("loss".to_string())),
            Some(score) => code_of(score, self.model),
        }
    }

    /// Returns the score of a checkpoint; the lowest is the best. It depends only on the step, not on where the run
    /// was stopped.
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
            ("tensorboard".to_string(), self.log_of_code(false)),
        ]);
        let about = [Value::Map(about)];
        let given = self.model.device().within(|| score.call_as("`score`", &about));
        let given = given.and_then(|given| f64::from_value(&given).map_err(|e| e.context("`score`")));
        let given = self.agree(given)?;
        let counts = Tensor::from_f64(&[given], &[1])?;
        self.ranks.broadcast(&counts, 0)?;
        counts.item()
    }
}

/// Returns whether an error comes from a stop by the user or from a script function, after which the run can go on.
fn stopped(error: &Error) -> bool {
    error.kind() == Kind::Interrupted || error.origin().is_some()
}

fn get<T: FromValue>(map: &Map, name: &str) -> Result<T> {
    let value = map.get(name).ok_or_else(|| missing(name))?;
    T::from_value(value).map_err(|e| e.context(format!("`{name}` of the checkpoint")))
}

fn column(saved: &Checkpoint, name: &str) -> Result<Vec<f64>> {
    match saved.tensors.get(name) {
        Some(tensor) => tensor.to_f64(),
        None => Err(missing(name)),
    }
}

fn missing(name: &str) -> Error {
    Error::argument(format!("the checkpoint is not that of a run of `train::fit`: it has no `{name}`"))
}

/// Returns a hash of the model's weights.
pub(super) fn hash(model: &Model) -> Result<String> {
    weights_hash(&model.parameters().iter().cloned().collect())
}

pub(super) fn weights_hash(weights: &BTreeMap<String, Tensor>) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, tensor) in weights {
        hash.update(format!("{name} {:?} {}\n", tensor.shape(), tensor.dtype().name()));
        hash.update(tensor.to_bytes()?);
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
