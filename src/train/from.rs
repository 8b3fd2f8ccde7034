//! Begins a run from a checkpoint of another one: weights, averages and the optimizer's state, but not its settings.

use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, folder};
use super::fit::FitOptions;
use super::training::Training;
use crate::context::Context;
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};

/// What to do if the optimizer's state does not fit.
const WEIGHTS_ALONE: &str =
    "to begin with new moments, leave `from` out and load the weights alone: `net.load(path)`";

/// Returns an error if `from` contradicts other options.
pub(super) fn check(options: &FitOptions) -> Result<()> {
    if options.from.is_empty() {
        return Ok(());
    }
    let place = |path: &str| Path::new(path).canonicalize().ok();
    if let (Some(from), Some(out)) = (place(&options.from), place(&options.out)) {
        let own = from == out || from.starts_with(out.join("checkpoints"));
        if own {
            return Err(Error::argument(format!("`from` is the folder of this run, {}", options.out)).hint(
                "give the new run another `out`; calling `train::fit` without `from` resumes a run in `out`",
            ));
        }
    }
    if options.posthoc.is_some() {
        return Err(Error::argument("`posthoc` saves averages of a whole run, and `from` begins within one")
            .hint("leave one of the two out"));
    }
    Ok(())
}

/// Returns the newest checkpoint of a run's folder, or the checkpoint itself.
fn newest(from: &Path) -> Result<PathBuf> {
    if from.is_file() {
        return Ok(from.to_path_buf());
    }
    folder::newest(from)?.ok_or_else(|| {
        Error::file(from, "no run that could be continued").hint(
            "`from` is the folder of a run with checkpoints, as its `out`, or a file in its folder `checkpoints`",
        )
    })
}

impl Training<'_> {
    /// Takes over the state of the run in `from`, if that is given. Rank 0 reads it for all.
    pub(super) fn begin(&mut self, context: &Context) -> Result<()> {
        let options = self.options;
        if options.from.is_empty() {
            return Ok(());
        }
        let path = self.ranks.is_first().then(|| newest(Path::new(&options.from))).transpose();
        let path = self.ranks.agree(path)?;
        let saved = Checkpoint::read_shared(path, &self.ranks)?;
        let shown = saved.path().display().to_string();
        self.take_over(&saved).map_err(|e| e.context(format!("`from`: {shown}")))?;
        let step = saved.values().remove("step").unwrap_or(Value::Unit);
        context.note(&format!("begins from {shown}"));
        self.from =
            Value::Map(Map::from([("path".to_string(), shown.into_value()), ("step".to_string(), step)]));
        Ok(())
    }

    /// Checks everything, then takes over weights, averages, and the moments and counts of the optimizer.
    fn take_over(&self, saved: &Checkpoint) -> Result<()> {
        let there = saved.parts();
        for part in ["model", "optimizer"] {
            if !there.iter().any(|name| name == part) {
                return Err(Error::argument(format!("the checkpoint has no {part}")).hint(WEIGHTS_ALONE));
            }
        }
        let (weights, moments) = (saved.of("model"), saved.of("optimizer"));
        self.model.check_weights(&weights, "").map_err(|e| e.context("model"))?;
        self.also.check(saved)?;
        self.optimizer.check_state(&moments).map_err(|e| e.context("optimizer").hint(WEIGHTS_ALONE))?;
        let states = saved.average_states();
        // An average goes on from the one of its name, or else from the main one.
        let chosen = self
            .averages
            .iter()
            .map(|average| states.iter().find(|(name, ..)| name == average.name()).or(states.first()));
        let chosen: Vec<_> = chosen.collect();
        for (average, state) in self.averages.iter().zip(&chosen) {
            let Some((_, [part, masters], _)) = state else { continue };
            average.model().check_weights(&saved.of(part), "").map_err(|e| e.context(average.name()))?;
            average.check_masters(&saved.of(masters)).map_err(|e| e.context(average.name()))?;
        }
        self.model.assign(&weights, "")?;
        self.also.restore(saved)?;
        self.optimizer.load_state(&moments)?;
        for (average, state) in self.averages.iter().zip(&chosen) {
            match state {
                Some((_, [part, masters], updates)) => {
                    average.restore(&saved.of(part), &saved.of(masters), "", *updates)?;
                }
                None => average.restore(&weights, &std::collections::BTreeMap::new(), "", 0)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::{model, short, train, weights};
    use crate::train::{AverageOptions, Averages, Method, Run};

    #[test]
    fn a_run_with_other_options_goes_on_from_another_one() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).display().to_string();
        let first = FitOptions { steps: 6, checkpoint_every: 3, out: at("first"), ..short() };
        let begun = train(&model(0), &first).unwrap();
        let averaged = |run: &Run| weights(run.ema());
        let still = FitOptions { from: at("first"), out: String::new(), lr: 0.0, batch: 2, ..first.clone() };
        let run = train(&model(1), &still).unwrap();
        assert_eq!((run.losses().len(), weights(run.model())), (6, weights(begun.model())));
        let at_three = format!("{}/checkpoints/step-00000003.safetensors", at("first"));
        let earlier = train(&model(1), &FitOptions { from: at_three, ..still.clone() }).unwrap();
        assert_ne!(weights(earlier.model()), weights(begun.model()));

        let second =
            FitOptions { lr: 3e-3, seed: 5, ema: Averages(vec![AverageOptions::decay(0.5)]), ..still };
        let straight = train(&model(1), &second).unwrap();
        let saved = FitOptions { out: at("second"), ..second.clone() };
        train(&model(2), &FitOptions { steps: 4, ..saved.clone() }).unwrap();
        let stopped =
            Checkpoint::read(format!("{}/checkpoints/step-00000004.safetensors", at("second"))).unwrap();
        assert_eq!(stopped.average_states()[0].2, 10);
        let count = stopped.of("optimizer").into_iter().find(|(name, _)| name.starts_with("step."));
        assert_eq!(count.unwrap().1.item().unwrap(), 10.0);
        let Some(Value::Map(from)) = stopped.values().remove("from") else { panic!("a map") };
        assert!(matches!(from["step"], Value::Int(6)));
        let resumed = train(&model(3), &saved).unwrap();
        assert_eq!(resumed.losses(), straight.losses());
        assert_eq!(weights(resumed.model()), weights(straight.model()));
        assert_eq!(averaged(&resumed), averaged(&straight));
        let plain = train(&model(0), &FitOptions { from: String::new(), ..second }).unwrap();
        assert_ne!(weights(plain.model()), weights(straight.model()));
    }

    #[test]
    fn what_cannot_go_on_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("run").display().to_string();
        let first = FitOptions { steps: 3, out: out.clone(), ..short() };
        train(&model(0), &first).unwrap();
        let again = FitOptions { from: out, out: String::new(), ..first.clone() };
        let error = |options: FitOptions| train(&model(0), &options).unwrap_err();
        let muon = error(FitOptions { optimizer: Method::Muon(Default::default()), ..again.clone() });
        assert!(muon.hint_text().unwrap().contains("new moments"), "{muon}");
        let own = error(FitOptions { from: first.out.clone(), ..first });
        assert!(own.message().contains("the folder of this run"), "{own}");
        let none = place.path().join("none").display().to_string();
        assert!(
            error(FitOptions { from: none, ..again }).message().contains("no run that could be continued")
        );
    }
}
