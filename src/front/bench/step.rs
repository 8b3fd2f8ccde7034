//! A training step and a forward pass of a whole model.

use std::cell::RefCell;

use serde_json::json;

use super::{Setting, Times, rounded};
use crate::error::{Error, Result};
use crate::flow;
use crate::front::terminal;
use crate::model::Model;
use crate::torch::graph::{Graphs, WARM_UP};
use crate::torch::{DType, Device, Generator, Tensor, autograd, device, memory, no_grad};
use crate::train::{AdamW, AdamWOptions, Ema, EmaOptions, Parameters, RecordedBackward};

/// A model with everything that a step takes.
pub(super) struct Bench {
    pub(super) model: Model,
    pub(super) optimizer: AdamW,
    pub(super) ema: Ema,
    pub(super) images: Tensor,
    pub(super) labels: Tensor,
    recorded: Option<RefCell<Recorded>>,
}

/// Graphs of a step's gradients and of a forward pass.
struct Recorded {
    backward: RecordedBackward,
    forward: Graphs,
}

impl Bench {
    pub(super) fn new(setting: &Setting) -> Result<Self> {
        let (config, device) = (setting.config.clone(), setting.device);
        let classes = config.num_classes;
        let model = Model::new(config, 0, device)?;
        // A new model answers zero and passes no gradient on; this one has work to do everywhere.
        let generator = Generator::new(1, Device::Cpu)?;
        for (_, p) in model.parameters().iter().filter(|(_, p)| p.rank() > 1) {
            let values = Tensor::randn(&p.shape(), DType::Float32, Device::Cpu, Some(&generator))?;
            no_grad(|| p.copy_(&values.mul_scalar(0.02)?))?;
        }
        let shape = setting.images();
        let options = AdamWOptions { lr: 1e-4, betas: (0.9, 0.99), ..AdamWOptions::default() };
        let optimizer = AdamW::new(&Parameters::of(&model)?, &options)?;
        let recorded =
            match (setting.options.graph, RecordedBackward::new(&model, &optimizer), model.graphs()) {
                (true, Some(backward), Some(forward)) => Some(RefCell::new(Recorded { backward, forward })),
                _ => None,
            };
        Ok(Self {
            recorded,
            optimizer,
            ema: Ema::new(&model, 0.9999, &EmaOptions { warmup: false })?,
            images: Tensor::randn(&shape, DType::Float32, Device::Cpu, Some(&generator))?
                .to_device(device)?,
            labels: Tensor::randint(0, classes, &shape[..1], Device::Cpu, Some(&generator))?
                .to_device(device)?,
            model,
        })
    }

    /// One step: pair, forward, backward, clip to norm 1, AdamW, average; bfloat16 autocast on CUDA.
    fn train(&self) -> Result<()> {
        let device = self.model.device();
        let t = Tensor::rand(&self.labels.shape(), DType::Float32, device, None)?;
        let pair = flow::pair(&self.images, &t, None, None)?;
        let labels = self.model.drop_labels(&self.labels, None)?;
        match &self.recorded {
            None => {
                let velocity = self.velocity(&pair.x_t, &t, &labels)?;
                self.optimizer.step(&flow::loss(&velocity, &pair.target)?, Some(1.0))?;
            }
            Some(recorded) => {
                let backward = &mut recorded.borrow_mut().backward;
                let (loss, gradients) = backward.run(&[pair.x_t, t, labels, pair.target], &|v| {
                    let loss = flow::loss(&self.velocity(&v[0], &v[1], &v[2])?, &v[3])?;
                    loss.backward(None, false)?;
                    Ok(loss)
                })?;
                backward.update(gradients, &loss, Some(1.0))?;
            }
        }
        self.ema.update(&self.model)
    }

    fn forward(&self) -> Result<()> {
        let device = self.model.device();
        let t = Tensor::full(&self.labels.shape(), 0.5, DType::Float32, device)?;
        no_grad(|| match &self.recorded {
            None => self.velocity(&self.images, &t, &self.labels).map(drop),
            Some(recorded) => {
                let inputs = [self.images.clone(), t, self.labels.clone()];
                let forward = &mut recorded.borrow_mut().forward;
                forward.run(0, &inputs, &|v| Ok(vec![self.velocity(&v[0], &v[1], &v[2])?])).map(drop)
            }
        })
    }

    fn velocity(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        let forward = || self.model.forward_unchecked(x, t, y);
        match self.model.device() {
            Device::Cpu => forward(),
            cuda => autograd::autocast(cuda, forward),
        }
    }

    /// Makes what the first run of a kind needs: it compiles, records and measures what is chosen by measuring.
    fn prepare(&self, what: &str) -> Result<()> {
        let runs = if self.recorded.is_some() { WARM_UP + 1 } else { 1 };
        (0..runs).try_for_each(|_| self.run(what))
    }

    fn run(&self, what: &str) -> Result<()> {
        if what == "train" { self.train() } else { self.forward() }
    }
}

/// Times one kind of step.
pub(super) fn bench(setting: &Setting, what: &str) -> Result<()> {
    let bench = Bench::new(setting)?;
    bench.prepare(what)?;
    memory::reset_peak();
    let times = setting.time(|| bench.run(what))?;
    setting.row(what, &times, json!({ "peak_gib": peak(setting) }));
    Ok(())
}

/// The most memory in use since the peak was counted anew.
fn peak(setting: &Setting) -> Option<f64> {
    let bytes = match setting.device {
        // Of the process, less what it held before there was a model.
        Device::Cpu => memory().peak.map(|peak| peak.saturating_sub(setting.before)),
        cuda => device::memory(cuda).ok().map(|m| m.allocated_peak.unsigned_abs()),
    };
    bytes.map(|bytes| rounded(bytes as f64 / f64::from(1 << 30)))
}

/// Makes a run for each line of the standard input that names a kind, and answers with its row.
pub(super) fn serve(setting: &Setting) -> Result<()> {
    let bench = Bench::new(setting)?;
    let known = |what: &str| {
        crate::ensure!(["train", "forward"].contains(&what), "expected train or forward, found \"{what}\"");
        Ok(())
    };
    for what in &setting.options.what {
        known(what)?;
        bench.prepare(what)?;
        for _ in 0..setting.options.warmup {
            bench.run(what)?;
        }
    }
    memory::reset_peak();
    terminal::out(&json!({ "ready": setting.options.what }).to_string());
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| Error::internal(format!("the input broke off: {e}")))?;
        let what = line.trim();
        known(what)?;
        let run = setting.one(&mut || bench.run(what))?;
        setting.row(what, &Times::of(&[run])?, json!({ "peak_gib": peak(setting) }));
    }
    Ok(())
}

/// One step of each kind that was asked for, for a trace.
pub(super) fn once(setting: &Setting) -> Result<()> {
    let bench = Bench::new(setting)?;
    for what in setting.options.what.iter().filter(|w| ["train", "forward"].contains(&w.as_str())) {
        bench.run(what)?;
    }
    setting.device.synchronize()
}
