//! Benchmark of a training loop in a script against the same calls in Rust.

use serde_json::json;

use super::step::Bench;
use super::{Setting, Times, median, rounded};
use crate::error::{Error, Result};
use crate::flow;
use crate::session::Session;
use crate::torch::{DType, Tensor};

/// The training step as in the README; it stands in a function that a loop calls.
const STEP: &str = "
let t = tensor::rand([images.shape[0]], #{ device: images.device });
let pair = flow::pair(images, t);
let loss = (model.forward(pair.x_t, t, model.drop_labels(labels)) - pair.target).square().mean();
opt.step(loss, #{ clip: 1.0 });
ema.update(model);
";

/// Times single steps of both in alternation, so that a slowdown of the machine affects both.
pub(super) fn bench(setting: &Setting) -> Result<()> {
    let native = Bench::new(setting)?;
    let mut session = Session::new(crate::session::Options::default());
    let [batch, channels, side, _] = setting.images();
    let filter = match setting.options.gate.as_str() {
        "none" => "[]".to_string(),
        gate => {
            let filters = setting.options.filters()?;
            let corrections = filters.iter().map(|filter| format!("correction({filter}, gate::{gate}())"));
            format!("[{}]", corrections.collect::<Vec<_>>().join(", "))
        }
    };
    let device = setting.device;
    let preset = &setting.options.preset;
    run(
        &mut session,
        &format!(
            "let model = model::dit(#{{ preset: \"{preset}\", corrections: {filter}, device: \"{device}\" }});
             let opt = optim::adamw(model, #{{ lr: 1e-4, betas: [0.9, 0.99] }});
             let ema = optim::ema(model, 0.9999);
             let images = tensor::randn([{batch}, {channels}, {side}, {side}], #{{ device: \"{device}\" }});
             let labels = tensor::zeros([{batch}], #{{ dtype: \"int64\", device: \"{device}\" }});"
        ),
    )?;
    let mut scripted = || run(&mut session, STEP);
    let mut in_rust = || step(&native);
    for _ in 0..setting.options.warmup {
        scripted()?;
        in_rust()?;
    }
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.options.runs {
        let (a, b) = (setting.one(&mut scripted)?, setting.one(&mut in_rust)?);
        ours.push(a);
        theirs.push(b);
        ratios.push(a.wall / b.wall);
    }
    let (ours, theirs) = (Times::of(&ours)?, Times::of(&theirs)?);
    setting.row(
        "script",
        &ours,
        json!({ "native_ms": rounded(theirs.median), "ratio": rounded(median(ratios)?) }),
    );
    Ok(())
}

/// Makes the same calls from Rust.
fn step(bench: &Bench) -> Result<()> {
    let Bench { model, optimizer, ema, images, labels, .. } = bench;
    let t = Tensor::rand(&labels.shape(), DType::Float32, model.device(), None)?;
    let pair = flow::pair(images, &t, ())?;
    let labels = model.drop_labels(labels, None)?;
    let loss = model.forward(&pair.x_t, &t, &labels)?.sub(&pair.target)?.square()?.mean(&[], false)?;
    optimizer.step(&loss, Some(1.0))?;
    ema.update(model)
}

fn run(session: &mut Session, text: &str) -> Result<()> {
    match session.run_cell(text, "bench") {
        Ok(_) => Ok(()),
        Err(report) => Err(Error::internal(report.render(false))),
    }
}
