//! Checks of the options of `flow::sample`.

use super::discrete::{Chain, Spacing};
use super::{Diffusion, LastStep, SampleOptions, grid};
use crate::ensure;
use crate::error::{Error, Result, Subject};
use crate::flow::ode::{Scheme, Solver};
use crate::flow::path::Predict;
use crate::model::Model;
use crate::torch::ops::vision::Pair;
use crate::torch::placement::together;

/// Checks that the options do not contradict each other.
pub(super) fn check(options: &SampleOptions, model: &Model) -> Result<()> {
    ensure!(
        options.guide.is_none() || options.guidance == 1.0,
        "give either `guidance`, the scale of the usual formula, or `guide`, a formula of your own"
    );
    ensure!(
        options.guidances.is_empty() || (options.guidance == 1.0 && options.guide.is_none()),
        "give either `guidances`, one scale per image, or `guidance` or `guide` for all"
    );
    let scheme = options.sampler.scheme();
    if let Scheme::Adaptive(_) = scheme {
        for (name, given) in [
            ("keep", options.keep.is_some()),
            ("times", !options.times.is_empty()),
            ("shift", options.shift != 1.0),
        ] {
            ensure!(
                !given,
                "`{name}` needs a sampler with given steps, and `{}` chooses its own",
                options.sampler
            );
        }
    }
    if let Scheme::Stochastic(_) = scheme {
        let (from, to) = ends(options);
        ensure!(from < to, "`{}` runs from noise to data, found times from {from} to {to}", options.sampler);
        ensure!(
            !options.times.is_empty()
                || options.last_step == LastStep::None
                || options.last_step_size < to - from,
            "`last_step_size` must be below {}, the whole interval, found {}",
            to - from,
            options.last_step_size
        );
        if options.last_step == LastStep::Tweedie && to != 1.0 {
            return Err(Error::argument(format!(
                "`last_step: \"tweedie\"` is a step to the image, at time 1, found {to} for the last time"
            ))
            .hint("use the last step \"mean\" or \"euler\" to stop before"));
        }
    }
    let noisy = match scheme {
        Scheme::Stochastic(_) => true,
        Scheme::Discrete { ddim } => !ddim || options.eta > 0.0,
        _ => false,
    };
    if noisy {
        let hint = "use a sampler without noise, such as `euler`, `heun` or `dopri5`";
        options.path.check_score(&format!("`{}`", options.sampler)).map_err(|e| e.hint(hint))?;
    }
    let without = if options.sampler == Solver::Ddim { " without `eta`" } else { "" };
    ensure!(
        noisy || options.step_noise.is_none(),
        "`step_noise` needs a sampler with noise, found `{}`{without}",
        options.sampler
    );
    if let Scheme::Stochastic(true) = scheme {
        finite(options)?;
    }
    discrete(options)?;
    without_effect(options, model)?;
    if !options.times.is_empty() {
        grid::check(&options.times)?;
        ensure!(
            options.from == 0.0 && options.to == 1.0 && options.shift == 1.0,
            "give either `times`, or `from`, `to` and `shift`"
        );
    }
    if let Some(weak) = &options.autoguidance {
        ensure!(
            options.guide.is_none(),
            "give either `autoguidance`, a weaker model, or `guide`, a formula of your own"
        );
        let [channels, height, width] = options.shape(model);
        let own = (weak.image_shape()[0], weak.num_classes());
        ensure!(
            own == (channels, model.num_classes()),
            "`autoguidance` must have the {channels} channels and the {} classes of the model, found {} and {}",
            model.num_classes(),
            own.0,
            own.1
        );
        together("the model", model.device(), [("`autoguidance`", weak.device())])?;
        weak.check_size([height, width])
            .map_err(|e| e.within(Subject::Option("autoguidance".to_string())))?;
        options.path.check(weak)?;
    }
    if let Some(Pair(size)) = options.size {
        model.check_size(size).map_err(|e| e.within(Subject::Option("size".to_string())))?;
    }
    ensure!(options.from != options.to, "`from` and `to` must differ, found {} for both", options.to);
    match &options.start {
        Some(_) if options.noise.is_some() => {
            Err(Error::argument("give either `start` or `noise`, found both"))
        }
        None if options.from != 0.0 => {
            Err(Error::argument(format!("`from: {}` needs `start`, the state at that time", options.from))
                .hint("without `start`, sampling begins at noise, at time 0"))
        }
        _ => Ok(()),
    }
}

/// Checks that no option is given that the sampler does not read. Scales of 1 turn guidance off, so that
/// `guidance_channels` may stay where `guidance` varies.
fn without_effect(options: &SampleOptions, model: &Model) -> Result<()> {
    let scheme = options.sampler.scheme();
    let usual = SampleOptions::default();
    if !matches!(scheme, Scheme::Stochastic(_)) {
        for (name, given) in [
            ("diffusion", options.diffusion != usual.diffusion),
            ("diffusion_norm", options.diffusion_norm != usual.diffusion_norm),
            ("last_step", options.last_step != usual.last_step),
            ("last_step_size", options.last_step_size != usual.last_step_size),
        ] {
            ensure!(
                !given,
                "`{name}` is an option of the samplers `euler_maruyama` and `sde_heun`, found `{}`",
                options.sampler
            );
        }
    }
    if !matches!(scheme, Scheme::Adaptive(_)) {
        for (name, given) in [("rtol", options.rtol != usual.rtol), ("atol", options.atol != usual.atol)] {
            ensure!(
                !given,
                "`{name}` is an option of the samplers `dopri5` and `adaptive_heun`, found `{}`",
                options.sampler
            );
        }
    }
    let (first, last) = options.guidance_interval;
    ensure!(
        first <= last,
        "`guidance_interval` must be [first, last], times that rise from noise, 0, to data, 1, found [{first}, {last}]"
    );
    let channels = model.image_shape()[0];
    if let Some(guided) = options.guidance_channels {
        ensure!(
            options.guide.is_none(),
            "`guidance_channels` belongs to the usual formula, and `guide` replaces it: keep channels in the function"
        );
        ensure!(guided <= channels, "`guidance_channels` must be from 1 to {channels}, found {guided}");
    }
    let steps = options.times.len().saturating_sub(1);
    ensure!(
        options.times.is_empty() || options.steps == usual.steps || options.steps == steps,
        "give either `times` or `steps`: the times have {steps} steps, found `steps: {}`",
        options.steps
    );
    Ok(())
}

/// Checks the options of the samplers of the discrete diffusion, and that no other sampler has them.
fn discrete(options: &SampleOptions) -> Result<()> {
    let sampler = &options.sampler;
    let alone = |name: &str, given: bool, owner: &[Solver]| {
        let owners: Vec<String> = owner.iter().map(|owner| format!("`{owner}`")).collect();
        ensure!(
            !given || owner.iter().any(|owner| sampler == owner),
            "`{name}` is an option of the sampler {}, found `{sampler}`",
            owners.join(" and ")
        );
        Ok(())
    };
    let both = [Solver::Ddpm, Solver::Ddim];
    alone("spacing", options.spacing != Spacing::Even, &both)?;
    alone("clip_denoised", options.clip_denoised, &both)?;
    alone("variance", options.variance.is_some(), &both[..1])?;
    alone("eta", options.eta != 0.0, &both[1..])?;
    let Scheme::Discrete { .. } = sampler.scheme() else { return Ok(()) };
    if options.path.options().predict != Predict::Ddpm {
        return Err(Error::argument(format!(
            "`{sampler}` needs a model that predicts noise at steps of a diffusion, found the path {:?}",
            options.path
        ))
        .hint(
            "give `path: flow::path(#{ predict: \"ddpm\" })` for a model of the family `dit`; `euler_maruyama` and the \
             other samplers take every path",
        ));
    }
    for (name, given) in [
        ("times", !options.times.is_empty()),
        ("shift", options.shift != 1.0),
        ("from", options.from != 0.0),
        ("to", options.to != 1.0),
        ("velocity", options.velocity.is_some()),
        ("keep", options.keep.is_some()),
    ] {
        ensure!(
            !given,
            "`{name}` belongs to the times of a flow, and `{sampler}` takes steps of a diffusion"
        );
    }
    Chain::new(options.steps, options.spacing).map(drop)
}

/// Checks that Heun's last step with noise does not end where there is no noise, whose score is infinite, with a diffusion
/// coefficient above 0.
fn finite(options: &SampleOptions) -> Result<()> {
    let times = options.times();
    let end = match options.last_step {
        LastStep::None => times.last(),
        _ => times.iter().rev().nth(1),
    };
    let remains = match options.diffusion {
        Diffusion::Constant => options.diffusion_norm > 0.0,
        Diffusion::Decreasing => options.diffusion_norm != 1.0,
        _ => false,
    };
    if remains && end.is_some_and(|end| *end > 1.0 - 1e-6) {
        return Err(Error::argument(format!(
            "`sde_heun` with the diffusion \"{}\" needs the score at time 1, where it is infinite",
            options.diffusion
        ))
        .hint("end with a step without noise, such as `last_step: \"mean\"` of a `last_step_size` above 0"));
    }
    Ok(())
}

/// Returns the first and the last time.
fn ends(options: &SampleOptions) -> (f64, f64) {
    match (options.times.first(), options.times.last()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => (options.from, options.to),
    }
}

/// Checks that what is given per image has one entry for each of `count` images.
pub(super) fn per_image(options: &SampleOptions, count: i64, [c, h, w]: [i64; 3]) -> Result<()> {
    for (name, found) in [("seeds", options.seeds.len()), ("guidances", options.guidances.len())] {
        ensure!(
            found == 0 || found as i64 == count,
            "`{name}` must have one entry per label, {count}, found {found}"
        );
    }
    if let Some(noise) = &options.step_noise {
        let steps = match options.sampler.scheme() {
            Scheme::Discrete { .. } => options.steps as i64 - 1,
            _ => options.times().len() as i64 - 1 - i64::from(options.last_step != LastStep::None),
        };
        ensure!(
            noise.rank() == 5 && noise.size(0)? >= steps && noise.shape()[1..] == [count, c, h, w],
            "`step_noise` must be [{steps}, {count}, {c}, {h}, {w}], found {}",
            noise.signature()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{function, of, run};
    use super::*;
    use crate::torch::{DType, Device, Tensor};

    #[test]
    fn last_steps_that_have_no_finite_result_are_refused() {
        let message = |o: SampleOptions| run(&o).unwrap_err().message();
        let none = SampleOptions { last_step: LastStep::None, sampler: Solver::SdeHeun.into(), ..of(&[0]) };
        let constant = SampleOptions { diffusion: Diffusion::Constant, ..none.clone() };
        let said =
            "`sde_heun` with the diffusion \"constant\" needs the score at time 1, where it is infinite";
        assert_eq!(message(constant.clone()), said);
        let small = SampleOptions { last_step: LastStep::Mean, last_step_size: 0.0, ..constant.clone() };
        assert_eq!(message(small), said);
        run(&SampleOptions { to: 0.9, clamp: false, ..constant }).unwrap();
        // Without a last step its size does not matter.
        run(&SampleOptions { to: 0.03, ..none }).unwrap();
        let tweedie = SampleOptions {
            to: 0.5,
            last_step: LastStep::Tweedie,
            sampler: Solver::EulerMaruyama.into(),
            ..of(&[0])
        };
        assert!(message(tweedie.clone()).starts_with("`last_step: \"tweedie\"` is a step to the image"));
        let narrow = Tensor::zeros(&[4, 1, 1, 1, 4], DType::Float32, Device::Cpu).unwrap();
        let wrong = SampleOptions { to: 1.0, step_noise: Some(narrow), ..tweedie };
        assert!(message(wrong).starts_with("`step_noise` must be [3, 1, 1, 4, 4], found"));
        let guide = function(|v| Ok(v[0].clone()));
        let channels = SampleOptions { guide, guidance_channels: Some(1), ..of(&[0]) };
        assert!(message(channels).starts_with("`guidance_channels` belongs to the usual formula"));
    }
}
