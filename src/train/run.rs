//! The result of a training run.

use std::fmt;
use std::sync::Arc;

use super::log::Row;
use super::reported::shown;
use super::training::mean;
use crate::declare::{Display, Map};
use crate::document::Document;
use crate::model::Model;
use crate::scripted;

/// A finished training run; clones share it.
#[derive(Clone)]
pub struct Run(Arc<Record>);

/// Everything a run recorded.
pub(super) struct Record {
    pub model: Model,
    /// Averages by name, the main one first.
    pub averages: Vec<(String, Model)>,
    /// Functions of the parts, and models, that were trained for the loss, by name.
    pub also: Map,
    pub losses: Vec<f64>,
    pub history: Vec<Row>,
    pub seconds: f64,
    pub images: usize,
    pub skipped: Vec<usize>,
    pub settings: Map,
}

scripted!(
    Run,
    "run",
    |r| Display::of(&r.document()),
    text = |r| format!("{r:?}"),
    document = |r, _| r.document(),
    bytes = |r| r.model().bytes() + r.0.averages.iter().map(|(_, model)| model.bytes()).sum::<u64>(),
    facts = |r| vec![("steps", r.steps().to_string()), ("loss", shown(r.loss()))],
);

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document().to_text(None))
    }
}

impl Run {
    pub(super) fn new(record: Record) -> Self {
        Self(Arc::new(record))
    }

    fn document(&self) -> Document {
        let (steps, seconds, rate) = (self.steps(), self.seconds(), self.images_per_second());
        let mut facts = vec![("loss", format!("{}, mean of the last tenth", shown(self.loss())))];
        if let [first, ..] = self.skipped() {
            let count = self.skipped().len();
            let text = format!("{count} batches that were not finite, the first at step {first}");
            facts.push(("skipped", text));
        }
        facts.push(("model", "with the last weights".to_string()));
        facts.push(("ema", "with averaged weights, to sample from".to_string()));
        if let [_, _, ..] = self.averages() {
            let names: Vec<&str> = self.averages().iter().map(|(name, _)| name.as_str()).collect();
            facts.push(("averages", names.join(", ")));
        }
        Document::facts(&format!("run of {steps} steps in {seconds:.1} s ({rate:.0} images/s)"), facts)
    }

    /// Returns the trained model with its last weights.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Returns a model with the averaged weights.
    pub fn ema(&self) -> &Model {
        // A run has at least one average.
        self.0.averages.first().map_or(&self.0.model, |(_, model)| model)
    }

    /// Returns models with the averaged weights and the names of the averages, the main one first.
    pub fn averages(&self) -> &[(String, Model)] {
        &self.0.averages
    }

    /// Returns the functions of the parts, and the models, of `also`, with their trained parameters, by name.
    pub fn also(&self) -> &Map {
        &self.0.also
    }

    /// Returns the loss of every step.
    pub fn losses(&self) -> &[f64] {
        &self.0.losses
    }

    /// Returns the mean loss over the last tenth of the steps, at least one.
    pub fn loss(&self) -> f64 {
        let count = self.0.losses.len();
        mean(&self.0.losses[count - count.div_ceil(10)..])
    }

    /// Returns the logged rows, one every `log_every` steps and one for the last step.
    pub fn history(&self) -> &[Row] {
        &self.0.history
    }

    /// Returns the steps, from 1, whose batch was left out because loss or gradient was not finite.
    pub fn skipped(&self) -> &[usize] {
        &self.0.skipped
    }

    /// Returns the number of steps.
    pub fn steps(&self) -> usize {
        self.0.losses.len()
    }

    /// Returns the wall-clock seconds of the loop.
    pub fn seconds(&self) -> f64 {
        self.0.seconds
    }

    /// Returns the training images per second of wall-clock time.
    pub fn images_per_second(&self) -> f64 {
        self.0.images as f64 / self.0.seconds.max(1e-9)
    }

    /// Returns all options of the run with their values, as data.
    pub fn settings(&self) -> &Map {
        &self.0.settings
    }
}
