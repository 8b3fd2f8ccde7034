//! Benchmark of a training step and a forward pass of a whole model.

use std::cell::RefCell;

use super::{Setting, Work as _};
use crate::error::Result;
use crate::flow;
use crate::model::{Config, Model};
use crate::torch::graph::{Graphs, WARM_UP};
use crate::torch::{DType, Device, Generator, Tensor, autograd, no_grad};
use crate::train::{AdamWOptions, Ema, EmaOptions, Optimizer, Parameters, RecordedBackward};

/// Measurements of this module.
pub(super) const KINDS: [&str; 2] = ["train", "forward"];

/// A model with everything that a training step needs.
pub(super) struct Bench {
    pub(super) model: Model,
    pub(super) optimizer: Optimizer,
    pub(super) ema: Ema,
    pub(super) images: Tensor,
    pub(super) labels: Tensor,
    recorded: Option<RefCell<Recorded>>,
}

/// CUDA graphs of the gradients of a step and of a forward pass.
struct Recorded {
    backward: RecordedBackward,
    forward: Graphs,
}

impl Bench {
    pub(super) fn new(setting: &Setting) -> Result<Self> {
        Self::of(setting, setting.config.clone())
    }

    /// Creates a benchmark of a model with another configuration than the setting's.
    pub(super) fn of(setting: &Setting, config: Config) -> Result<Self> {
        let device = setting.device;
        let classes = config.num_classes;
        let model = Model::new(config, 0, device)?;
        // A new model outputs zeros and passes no gradients on; random weights give every operator work.
        let generator = Generator::new(1, Device::Cpu)?;
        for (_, p) in model.parameters().iter().filter(|(_, p)| p.rank() > 1) {
            let values = Tensor::randn(&p.shape(), DType::Float32, Device::Cpu, Some(&generator))?;
            no_grad(|| p.copy_(&values.mul_scalar(0.02)?))?;
        }
        let shape = setting.images();
        let options = AdamWOptions { lr: 1e-4, betas: (0.9, 0.99), ..AdamWOptions::default() };
        let optimizer = Optimizer::new(&Parameters::of(&model)?, &options)?;
        // Models that call code warn that they cannot be recorded.
        let recorded = match setting.options.graph {
            false => None,
            true => match (RecordedBackward::new(&model, &optimizer), model.graphs(None)) {
                (Some(backward), Some(forward)) => Some(RefCell::new(Recorded { backward, forward })),
                _ => None,
            },
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

    /// Performs one step: pair, forward, backward, clip to norm 1, AdamW, EMA; with bfloat16 autocast on CUDA.
    fn train(&self) -> Result<()> {
        let device = self.model.device();
        let t = Tensor::rand(&self.labels.shape(), DType::Float32, device, None)?;
        let pair = flow::pair(&self.images, &t, ())?;
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
}

impl super::Work for Bench {
    fn prepare(&self, what: &str) -> Result<()> {
        let runs = if self.recorded.is_some() { WARM_UP + 1 } else { 1 };
        (0..runs).try_for_each(|_| self.run(what))
    }

    fn run(&self, what: &str) -> Result<()> {
        if what == "train" { self.train() } else { self.forward() }
    }
}

/// Performs one step of each requested kind, for a trace.
pub(super) fn once(setting: &Setting) -> Result<()> {
    let bench = Bench::new(setting)?;
    for what in setting.options.what.iter().filter(|w| KINDS.contains(&w.as_str())) {
        bench.run(what)?;
    }
    setting.device.synchronize()
}
