//! Benchmark of filters: training steps and forward passes of models with each type of filter, as ratios to a DiT
//! without filters in alternating runs.

use serde_json::json;

use super::step::Bench;
use super::{FILTERS, Run, Setting, Times, Work as _, median, rounded};
use crate::error::Result;
use crate::spectral::{Correction, Filter, correction, filter, gate};

/// Benchmarks a DiT without filters against a model with each filter, one with all filters of `--filter` if there
/// are several, and models with more bands and coefficients.
pub(super) fn bench(setting: &Setting) -> Result<()> {
    let gate = match setting.options.gate()? {
        Some(gate) => gate,
        None => gate::time(gate::Time::default())?,
    };
    let with = |corrections: Vec<Correction>| {
        Bench::of(setting, setting.config.clone().with_corrections(corrections))
    };
    let plain = with(Vec::new())?;
    let mut models = Vec::new();
    for name in FILTERS {
        models.push((name.to_string(), with(vec![correction(&Filter::named(name)?, &gate)?])?));
    }
    if setting.options.filter.len() > 1 {
        let corrections = setting
            .options
            .filters()?
            .iter()
            .map(|filter| correction(filter, &gate))
            .collect::<Result<_>>()?;
        models.push((setting.options.filter.join(","), with(corrections)?));
    }
    let channels = gate::time(gate::Time { per: gate::Per::Channel, ..Default::default() })?;
    let two = vec![Filter::named("binomial")?];
    let three = vec![filter::gaussian(filter::Gaussian { sigma: 2.0 })?, two[0].clone()];
    for (name, filters, gate) in [
        ("two bands per channel", &two, &channels),
        ("three bands", &three, &gate),
        ("three bands per channel", &three, &channels),
    ] {
        models.push((name.to_string(), with(vec![Correction::new(filters.clone(), gate)?])?));
    }
    for step in super::step::KINDS {
        for _ in 0..setting.options.warmup.max(1) {
            plain.run(step)?;
            models.iter().try_for_each(|(_, model)| model.run(step))?;
        }
        let mut runs: Vec<Vec<(Run, Run)>> = vec![Vec::new(); models.len()];
        for _ in 0..setting.options.runs {
            for ((_, model), runs) in models.iter().zip(&mut runs) {
                let base = setting.one(&mut || plain.run(step))?;
                runs.push((setting.one(&mut || model.run(step))?, base));
            }
        }
        for ((name, _), runs) in models.iter().zip(&runs) {
            row(setting, step, name, runs)?;
        }
    }
    Ok(())
}

/// Prints a row for a model with a filter; each run is paired with the run of the plain DiT before it.
fn row(setting: &Setting, step: &str, filter: &str, runs: &[(Run, Run)]) -> Result<()> {
    let times = Times::of(&runs.iter().map(|(with, _)| *with).collect::<Vec<_>>())?;
    let ratio =
        |time: fn(&Run) -> f64| median(runs.iter().map(|(with, base)| time(with) / time(base)).collect());
    let more = json!({
        "step": step,
        "filter": filter,
        "gate": if setting.options.gate == "none" { "time" } else { &setting.options.gate },
        "ratio": rounded(ratio(|run| run.wall)?),
        "cpu_ratio": rounded(ratio(|run| run.used)?),
    });
    setting.row("filters", &times, more);
    Ok(())
}
