//! A training step and a forward pass of a whole model.

use super::{Setting, Work as _};
use crate::error::Result;
use crate::flow;
use crate::model::{Config, Model};
use crate::torch::{DType, Device, Generator, Tensor, autograd, no_grad};
use crate::train::{AdamW, AdamWOptions, Ema, EmaOptions, Parameters};

/// What can be run.
pub(super) const KINDS: [&str; 2] = ["train", "forward"];

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
}

impl super::Work for Bench {
    fn run(&self, what: &str) -> Result<()> {
        if what == "train" { self.train() } else { self.forward() }
    }
}

/// One step of each kind that was asked for, for a trace.
pub(super) fn once(setting: &Setting) -> Result<()> {
    let bench = Bench::new(setting)?;
    for what in setting.options.what.iter().filter(|w| KINDS.contains(&w.as_str())) {
        bench.run(what)?;
    }
    setting.device.synchronize()
}
