//! Saves a run in progress to a checkpoint and resumes it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Ema;
use super::checkpoint::{self, Checkpoint, differs, with_code_of};
use super::compared::settings_of;
use super::fit::{OTHER_CODE, check_settings};
use super::log::Row;
use super::posthoc;
use super::tensorboard::RunEvents;
use super::training::Training;
use crate::context::Context;
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::error::{Error, Kind, Result, list};
use crate::model::{Design, Model, SaveOptions};
use crate::torch::Tensor;

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
                if folder.check_unused()? {
                    context.note(&format!(
                        "{}: the weights there, of a run that failed before its first checkpoint, are replaced",
                        self.options.out
                    ));
                    folder.clear()?;
                } else if let Some(last) = folder.last_logged().filter(|_| self.options.resume) {
                    context.note(&format!(
                        "{}: the log ends at step {last} of a run that has no checkpoint; the run begins at step 0",
                        self.options.out
                    ));
                }
                // A run that was killed before its first checkpoint has left them.
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
        let mut notes = Vec::new();
        self.take(&mut saved, &mut notes).map_err(|e| match e.hint_text() {
            Some(_) => e,
            None => e.hint(
                "start over with `resume: false`, which removes its checkpoints and weights, or choose another `out`",
            ),
        })?;
        self.ended = self.still_ended(&saved.values())?;
        let (done, steps) = (self.done(), self.options.steps);
        let reported = self.unreported.is_none() || self.options.on_step.is_none();
        let finished = (self.ended.is_some() || done >= steps) && self.scores.at == done && reported;
        let usable = self.folder.as_ref().map(|folder| match folder.check() {
            Err(error) if !finished => Err(error.hint(format!(
                "the run there has made {done} of {steps} steps: copy the folder to go on, or open its weights with \
                 `model::open(\"{}\")`",
                folder.of_step(newest).display()
            ))),
            _ => Ok(()),
        });
        self.ranks.agree(usable.transpose())?;
        let Some(folder) = &self.folder else { return Ok(true) };
        if let Some(posthoc) = &self.options.posthoc {
            let tracked = self.averages.iter().skip(self.options.ema.0.len()).map(Ema::name);
            match posthoc::missing(folder.path(), tracked, posthoc.every, newest) {
                0 => {}
                count => notes.push(format!(
                    "{}: of the snapshots up to step {newest}, {count} are missing, so `train::posthoc_average` will be less exact",
                    self.options.out
                )),
            }
        }
        notes.iter().for_each(|note| context.note(note));
        match self.end_note(true) {
            Some(note) => context.note(&note),
            None if done < steps => {
                let path = folder.of_step(newest);
                context.note(&format!("resumes at step {done} of {steps} from {}", path.display()));
            }
            None => {}
        }
        if !folder.is_writable() {
            return Ok(true);
        }
        // If the run was killed between writing the checkpoint and linking it, the best one is missing.
        if let Some((step, _)) = self.scores.best
            && step == newest
        {
            folder.mark_best(step)?;
        }
        posthoc::clear_after(folder.path(), newest)?;
        Ok(true)
    }

    /// Checks everything, then restores the state, and collects what is to be said about it.
    fn take(&mut self, saved: &mut Checkpoint, notes: &mut Vec<String>) -> Result<()> {
        let values = saved.values();
        self.check_start(saved, &values, notes)?;
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
            by.iter().all(|by| differs("score", by, &self.scores.by))
        });
        if let Some((step, score)) = best.take_if(|_| other) {
            notes.push(format!(
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
        let (before, skipped) = (get(&values, "seconds")?, get(&values, "skipped")?);
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
        (self.before, self.skipped, self.scores.best) = (before, skipped, best);
        self.scores.last = self.history.iter().rev().find_map(|row| row.score);
        // Older checkpoints do not say it.
        let scored = values.get("scored").map_or(Ok(true), bool::from_value)?;
        self.scores.at = if scored { losses.len() } else { 0 };
        self.scores.since_best = match (values.get("since_best"), best) {
            _ if other => 0,
            (Some(count), _) => usize::from_value(count)?,
            (None, Some((step, _))) => {
                self.history.iter().filter(|row| row.score.is_some() && row.step > step).count()
            }
            (None, None) => 0,
        };
        self.unreported = values.get("unreported").map(row_of).transpose()?;
        (self.written, self.losses, self.origin) = (losses.len(), losses, origin);
        self.from = values.get("from").cloned().unwrap_or(Value::Unit);
        self.events_end = values.get("events").cloned();
        Ok(())
    }

    /// Returns an error unless the run began with these settings and this model. What code had changed by the time of the
    /// checkpoint counts too, since it is what a call in the same process finds.
    fn check_start(&mut self, saved: &mut Checkpoint, values: &Map, notes: &mut Vec<String>) -> Result<()> {
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
            self.accept_code(&mut settings, saved, values, notes)?;
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
            notes.push(format!(
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
        notes: &mut Vec<String>,
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
            notes.push(format!("{}: {line}", self.options.out));
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

    /// Writes the files in `out` at the end of a run or after a failure.
    pub(super) fn end(&mut self, failure: Option<&Error>) -> Result<()> {
        if !self.saves() {
            return Ok(());
        }
        if let Some(folder) = &self.folder {
            if !folder.is_writable() {
                return Ok(());
            }
            folder.check()?;
        }
        match failure {
            None if self.written < self.done() => {
                if let Err(error) = self.evaluate().and_then(|()| self.checkpoint()) {
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
                    self.checkpoint()?;
                }
            }
            _ => {}
        }
        // A run without steps has nothing of its own.
        let Some(folder) = self.folder.as_ref().filter(|_| self.done() > 0) else { return Ok(()) };
        let about = folder.failed()?;
        self.model.write_with(folder.weights(), &SaveOptions::default(), about)?;
        self.averages.iter().enumerate().try_for_each(|(i, average)| {
            let path = folder.average((i > 0).then(|| average.name()));
            average.model().write(path, &SaveOptions::default())
        })
    }

    /// Writes a checkpoint of the steps so far, whose losses must all have been read, on rank 0.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        let step = self.done();
        let Some(folder) = &self.folder else {
            self.written = step;
            return Ok(());
        };
        folder.check()?;
        let mut parts = self.parts();
        parts.values = Map::from([
            ("step".to_string(), step.into_value()),
            ("seconds".to_string(), self.seconds().into_value()),
            ("skipped".to_string(), self.skipped.clone().into_value()),
            ("ended".to_string(), self.ended.is_some().into_value()),
            ("scored".to_string(), (self.scores.at == step).into_value()),
            ("scored_by".to_string(), Value::List(vec![self.scores.by.clone(), self.score_code()?])),
            ("best".to_string(), self.scores.best_value()),
            ("origin".to_string(), self.origin.clone().into_value()),
            ("from".to_string(), self.from.clone()),
            ("settings".to_string(), Value::Map(self.settings.clone())),
            ("changed".to_string(), Value::Map(self.changed()?)),
        ]);
        if self.ended.is_some() {
            parts.values.insert("ended_by".to_string(), self.ended_value()?);
        }
        if self.options.score.is_some() {
            parts.values.insert("since_best".to_string(), self.scores.since_best.into_value());
        }
        if let Some(row) = &self.unreported {
            parts.values.insert("unreported".to_string(), row.clone().into_value());
        }
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
        if self.scores.best.is_some_and(|(best, _)| best == step) {
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
}

/// Returns whether an error comes from a stop by the user or from a script function, after which the run can go on.
pub(super) fn stopped(error: &Error) -> bool {
    error.kind() == Kind::Interrupted || error.origin().is_some()
}

fn get<T: FromValue>(map: &Map, name: &str) -> Result<T> {
    let value = map.get(name).ok_or_else(|| missing(name))?;
    T::from_value(value).map_err(|e| e.context(format!("`{name}` of the checkpoint")))
}

/// Returns the row of a step that `on_step` has not heard of.
fn row_of(value: &Value) -> Result<Row> {
    let map = Map::from_value(value)?;
    Ok(Row {
        step: get(&map, "step")?,
        loss: get(&map, "loss")?,
        lr: get(&map, "lr")?,
        grad_norm: get(&map, "grad_norm")?,
        seconds: get(&map, "seconds")?,
        score: None,
        loss_bins: Vec::new(),
    })
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
