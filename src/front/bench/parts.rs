//! Cost of parts, as ratios of alternating runs: models with a part against the plain DiT, and scripted parts
//! against the same parts in Rust.

use serde_json::json;

use super::step::{self, Bench};
use super::{Run, Setting, Times, Work as _, median, rounded};
use crate::declare::function;
use crate::declare::{Code, FromValue, Function, IntoValue, Value};
use crate::error::{Error, Result};
use crate::model::parts::api::PartOptions;
use crate::model::parts::{Call, Place};
use crate::model::{Config, Part};
use crate::nn::{Builder, Init, SharedBuilder};
use crate::session::Session;
use crate::spectral::{Correction, Filter, correction, filter, gate};
use crate::torch::{DType, Tensor, no_grad};

/// Places at which the paper's correction is measured.
const CORRECTED: [&str; 6] = ["mlp", "attn", "norm_attn", "block", "tokens", "velocity"];
/// Places of the correction of [`three_bands`].
const BANDED: [&str; 3] = ["mlp", "norm_attn", "block"];

/// Separate bands with a coefficient per channel: thirteen calls, most of them on tokens.
const BANDS: &str = r#"nn::part(|b| {
    let weight = b.parameter("weight", [2 * b.width, b.width], #{ init: "xavier_uniform" });
    let low = filter::gaussian(#{ sigma: 2.0 });
    |r, c| {
        let g = (c.time @ weight.transpose(0, 1)).tanh().unsqueeze(1).chunk(2, -1);
        let l = low.apply(r, c.grid);
        r + g[0] * l + g[1] * (r - l)
    }
}).at("attn")"#;

/// LoRA of rank 8 on all linear maps.
const LORA: &str = r#"ideas::lora(#{ names: "*" })"#;

/// Ten calls on single numbers, so that almost nothing is computed, and one on tokens.
const CALLS: &str = r#"nn::part(|b| {
    let s = b.parameter("s", [1], #{ init: "ones" });
    |r, c| {
        let g = ((s * 0.5 + 0.5).tanh() * 2.0 - s).square().exp().sqrt().neg().sigmoid();
        r * g
    }
}).at("attn")"#;

/// Benchmarks a correction at each place and LoRA against the plain DiT, then each scripted part against the same part in
/// Rust.
pub(super) fn bench(setting: &Setting) -> Result<()> {
    let with = |part: Part| {
        let parts = setting.config.parts.iter().cloned().chain([part]).collect();
        Bench::of(setting, Config { parts, ..setting.config.clone() })
    };
    let plain = Bench::new(setting)?;
    let two = correction(Filter::named("binomial")?, gate::time(())?)?;
    let paper = CORRECTED.iter().map(|place| ("correction", &two, place));
    let three = three_bands()?;
    let banded = BANDED.iter().map(|place| ("three bands per channel", &three, place));
    for (name, correction, place) in paper.chain(banded) {
        let corrected = with(Part::of_correction(correction).at(Place::named(place)?, None)?)?;
        models(setting, &format!("{name} at {place} / plain"), &corrected, &plain)?;
    }
    // This session calls the scripted parts.
    let mut session = Session::new(crate::session::Options::default());
    let mut scripted = |text: &str| {
        let outcome =
            session.run_cell(text, "bench").map_err(|report| Error::internal(report.render(false)))?;
        Part::from_value(outcome.value().unwrap_or(&Value::Unit))
    };
    models(setting, "lora of rank 8 / plain", &with(scripted(LORA)?)?, &plain)?;
    for (name, text, native) in [("bands", BANDS, bands as Native), ("calls", CALLS, calls)] {
        let scripted = scripted(text)?;
        let native = Part::of_code(Code::Live(Function::new(native)), &PartOptions::default())?;
        if name == "calls" {
            alone(setting, &scripted, &native)?;
        }
        let (scripted, native) = (with(scripted)?, with(native.at(Place::named("attn")?, None)?)?);
        same(&scripted, &native)?;
        models(setting, &format!("{name}, script / native"), &scripted, &native)?;
    }
    Ok(())
}

/// Returns a correction of three bands with a coefficient per channel.
fn three_bands() -> Result<Correction> {
    let coarse = filter::gaussian(filter::Gaussian { sigma: 2.0 })?;
    let gate = gate::time(gate::Time { per: gate::Per::Channel, ..Default::default() })?;
    Correction::new(vec![coarse, Filter::named("binomial")?], &gate)
}

type Native = fn(&[Value]) -> Result<Value>;

/// The part of [`BANDS`] in Rust.
fn bands(values: &[Value]) -> Result<Value> {
    let builder = SharedBuilder::from_value(values.first().unwrap_or(&Value::Unit))?;
    let width = builder.fact("width")?;
    let weight = builder.parameter("weight", &[2 * width, width], Init::XavierUniform)?;
    let low = filter::gaussian(filter::Gaussian { sigma: 2.0 })?;
    Ok(Value::Function(function(move |r: Tensor, c: Call| {
        let g = c.time()?.matmul(&weight.transpose(0, 1)?)?.tanh()?.unsqueeze(1)?.chunk(2, -1)?;
        let l = low.apply(&r, c.grid())?;
        r.add(&g[0].mul(&l)?)?.add(&g[1].mul(&r.sub(&l)?)?)
    })))
}

/// The part of [`CALLS`] in Rust.
fn calls(values: &[Value]) -> Result<Value> {
    let builder = SharedBuilder::from_value(values.first().unwrap_or(&Value::Unit))?;
    let s = builder.parameter("s", &[1], Init::Ones)?;
    Ok(Value::Function(function(move |r: Tensor, _: Value| {
        let g = s.mul_scalar(0.5)?.add_scalar(0.5)?.tanh()?.mul_scalar(2.0)?.sub(&s)?;
        r.mul(&g.square()?.exp()?.sqrt()?.neg()?.sigmoid()?)
    })))
}

/// Fails if two models compute different results, since their ratio would mislead.
fn same(a: &Bench, b: &Bench) -> Result<()> {
    let answer = |bench: &Bench| {
        let t = Tensor::full(&bench.labels.shape(), 0.5, bench.images.dtype(), bench.model.device())?;
        no_grad(|| bench.model.forward_unchecked(&bench.images, &t, &bench.labels))
    };
    match answer(a)?.equal(&answer(b)?)? {
        true => Ok(()),
        false => Err(Error::internal("the part of the script and that in Rust differ")),
    }
}

/// Times [`CALLS`] on one number without a model, in milliseconds per thousand calls, which are microseconds per
/// call.
fn alone(setting: &Setting, scripted: &Part, native: &Part) -> Result<()> {
    let made = |part: &Part| part.alone(&mut Builder::seeded(0, DType::Float32, setting.device), &Vec::new());
    let (scripted, native) = (made(scripted)?, made(native)?);
    // The part does not read the call.
    let seen = [Tensor::ones(&[1], DType::Float32, setting.device)?.into_value(), Value::Unit];
    let thousand = |f: &Function| no_grad(|| (0..1000).try_for_each(|_| f.call(&seen).map(drop)));
    compare(setting, "calls, script / native", "call", || thousand(&scripted), || thousand(&native))
}

/// Times training steps and forward passes of two models in alternation.
fn models(setting: &Setting, which: &str, ours: &Bench, base: &Bench) -> Result<()> {
    step::KINDS
        .into_iter()
        .try_for_each(|step| compare(setting, which, step, || ours.run(step), || base.run(step)))
}

/// Times two functions in alternation and prints the ratio of the first to the second: the median over rounds, and
/// the ratio of the minimum times, which other programs disturb less.
fn compare(
    setting: &Setting,
    which: &str,
    step: &str,
    mut ours: impl FnMut() -> Result<()>,
    mut base: impl FnMut() -> Result<()>,
) -> Result<()> {
    for _ in 0..setting.options.warmup.max(1) {
        base()?;
        ours()?;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..setting.options.runs {
        // The order alternates, so that neither function always finds the caches as the other left them.
        if round % 2 == 0 {
            second.push(setting.one(&mut base)?);
            first.push(setting.one(&mut ours)?);
        } else {
            first.push(setting.one(&mut ours)?);
            second.push(setting.one(&mut base)?);
        }
    }
    let ratios = |time: fn(&Run) -> f64| first.iter().zip(&second).map(|(a, b)| time(a) / time(b)).collect();
    let least = |runs: &[Run]| runs.iter().map(|run| run.used).fold(f64::INFINITY, f64::min);
    let more = json!({
        "step": step,
        "part": which,
        "base_ms": rounded(Times::of(&second)?.median),
        "ratio": rounded(median(ratios(|run| run.wall))?),
        "cpu_ratio": rounded(median(ratios(|run| run.used))?),
        "least_cpu_ms": rounded(least(&first)),
        "least_cpu_ratio": rounded(least(&first) / least(&second)),
    });
    setting.row("parts", &Times::of(&first)?, more);
    Ok(())
}
