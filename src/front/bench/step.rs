//! A training step and a forward pass of a whole model.

use serde_json::json;

use super::{Setting, Times, rounded};
use crate::error::{Error, Result};
use crate::flow;
use crate::front::terminal;
use crate::model::{Config, Model};
use crate::torch::{DType, Device, Generator, Tensor, autograd, device, memory, no_grad};
use crate::train::{AdamW, AdamWOptions, Ema, EmaOptions, Parameters};

/// A model with everything that a step takes.
pub(super) struct Bench {
    pub(super) model: Model,
    pub(super) optimizer: AdamW,
    pub(super) ema: Ema,
    pub(super) images: Tensor,
    pub(super) labels: Tensor,
}

impl Bench {
    pub(super) fn new(setting: &Setting) -> Result<Self> {
        Self::of(setting, setting.config.clone())
    }

    /// A model of another configuration than the setting's.
    pub(super) fn of(setting: &Setting, config: Config) -> Result<Self> {
        let device = setting.device;
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
        Ok(Self {
            optimizer: AdamW::new(&Parameters::of(&model)?, &options)?,
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
        let velocity = self.velocity(&pair.x_t, &t, &labels)?;
        self.optimizer.step(&flow::loss(&velocity, &pair.target)?, Some(1.0))?;
        self.ema.update(&self.model)
    }

    fn forward(&self) -> Result<()> {
        let device = self.model.device();
        let t = Tensor::full(&self.labels.shape(), 0.5, DType::Float32, device)?;
        no_grad(|| self.velocity(&self.images, &t, &self.labels))?;
        Ok(())
    }

    fn velocity(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        let forward = || self.model.forward_unchecked(x, t, y);
        match self.model.device() {
            Device::Cpu => forward(),
            cuda => autograd::autocast(cuda, forward),
        }
    }

    pub(super) fn run(&self, what: &str) -> Result<()> {
        if what == "train" { self.train() } else { self.forward() }
    }
}

/// Times one kind of step.
pub(super) fn bench(setting: &Setting, what: &str) -> Result<()> {
    let bench = Bench::new(setting)?;
    bench.run(what)?;
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
        for _ in 0..setting.options.warmup.max(1) {
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
