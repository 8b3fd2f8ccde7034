//! A network with its configuration and named parameters.

use std::sync::Arc;

use super::Config;
use super::accounting::Accounting;
use super::dit::Dit;
use super::trace::BlockTrace;
use crate::declare::Display;
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::scripted;
use crate::torch::graph::{self, Graphs};
use crate::torch::{DType, Device, Generator, Tensor, no_grad};

/// A DiT or SpectralDiT. Clones share the parameters; [`Model::copy`] does not.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    config: Config,
    device: Device,
    network: Dit,
    parameters: Vec<(String, Tensor)>,
}

scripted!(
    Model,
    "model",
    |m| Display { html: m.html(), ..Display::text(m.summary(None)) },
    text = |m| m.summary(None),
    text_in = |m, width| m.summary(Some(width)),
    describe = |m| format!("a {}", m.title()),
    bytes = Model::bytes,
    facts = |m| vec![
        ("parameters", m.num_parameters().to_string()),
        ("dtype", m.config().dtype.name().to_string()),
        ("device", m.device().to_string()),
    ],
);

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title())
    }
}

impl Model {
    /// Makes a model whose weights are determined by the seed.
    ///
    /// Weights depend on the seed, their name and their shape alone: a plain DiT and a SpectralDiT of one
    /// seed start equal, whatever the device.
    pub fn new(config: Config, seed: i64, device: Device) -> Result<Self> {
        let builder = Builder::seeded(seed, config.dtype, device);
        Self::build(config, builder)
    }

    /// Makes a model whose weights are zeros, to copy others into.
    pub fn blank(config: Config, device: Device) -> Result<Self> {
        let builder = Builder::blank(config.dtype, device);
        Self::build(config, builder)
    }

    fn build(config: Config, mut builder: Builder) -> Result<Self> {
        config.check()?;
        let device = builder.device();
        let network = Dit::new(&mut builder, &config)?;
        Ok(Self(Arc::new(Inner { config, device, network, parameters: builder.finish() })))
    }

    /// What a model computes itself and other programs store beside the weights, by the name it has there.
    pub(super) fn computed(&self) -> [(&'static str, &Tensor); 1] {
        [("pos_embed", self.0.network.positions())]
    }

    /// Velocities [B, C, H, W] for images x [B, C, H, W], times t `[B]` in [0, 1] with 0 = noise, and int64
    /// labels y `[B]` from 0 to K, where K is the null label. No label is dropped here.
    ///
    /// Shapes and values are checked first; on CUDA, looking at the values waits for the device once.
    pub fn forward(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.check_shapes(x, t, y)?;
        self.check_values(t, y)?;
        self.0.network.forward(x, t, y, None)
    }

    /// As [`Model::forward`] without looking at the values of t and y, for loops that made them.
    ///
    /// On CUDA a label out of range then ends the process's use of the device.
    pub fn forward_unchecked(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.check_shapes(x, t, y)?;
        self.0.network.forward(x, t, y, None)
    }

    /// What happens inside each block of a forward, without gradients.
    pub fn trace(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Vec<BlockTrace>> {
        self.check_shapes(x, t, y)?;
        self.check_values(t, y)?;
        let mut trace = Vec::new();
        no_grad(|| self.0.network.forward(x, t, y, Some(&mut trace)))?;
        Ok(trace)
    }

    fn check_shapes(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<()> {
        let Config { in_channels: c, image_size: s, .. } = self.0.config;
        let shape = x.shape();
        let batch = match shape[..] {
            [batch, channels, height, width] if [channels, height, width] == [c, s, s] => batch,
            _ => {
                return Err(Error::argument(format!(
                    "expected images [B, {c}, {s}, {s}], found {}",
                    x.signature()
                )));
            }
        };
        for (name, tensor) in [("times", t), ("labels", y)] {
            let found = tensor.signature();
            crate::ensure!(
                tensor.shape() == [batch],
                "expected {name} [{batch}], one per image, found {found}"
            );
        }
        crate::ensure!(x.dtype().is_float(), "expected images of a float dtype, found {}", x.signature());
        crate::ensure!(t.dtype().is_float(), "expected times of a float dtype, found {}", t.signature());
        crate::ensure!(y.dtype() == DType::Int64, "expected int64 labels, found {}", y.signature());
        for tensor in [x, t, y] {
            if tensor.device() != self.0.device {
                return Err(Error::argument(format!(
                    "the model is on {}, but found a {} on {}",
                    self.0.device,
                    tensor.signature(),
                    tensor.device()
                ))
                .hint("move one of them, with `.to(device)`"));
            }
        }
        Ok(())
    }

    fn check_values(&self, t: &Tensor, y: &Tensor) -> Result<()> {
        if y.count() == 0 {
            return Ok(());
        }
        let (t, y) = (t.detach()?, y.detach()?);
        let ends = |x: &Tensor| -> Result<Tensor> {
            Tensor::stack(&[x.amin(&[], false)?, x.amax(&[], false)?], 0)?.to_dtype(DType::Float64)
        };
        // One transfer for all four numbers.
        let ends = Tensor::cat(&[ends(&t)?, ends(&y)?], 0)?.to_f64()?;
        let classes = self.0.config.num_classes;
        for label in [ends[2], ends[3]] {
            if !(0.0..=classes as f64).contains(&label) {
                return Err(Error::argument(format!(
                    "label {label} is out of range: the model has {classes} classes"
                ))
                .hint(format!("labels are from 0 to {}, and {classes} is the null label", classes - 1)));
            }
        }
        for time in [ends[0], ends[1]] {
            if !(0.0..=1.0).contains(&time) {
                return Err(Error::argument(format!("time {time} is out of range"))
                    .hint("times are from 0, noise, to 1, data"));
            }
        }
        Ok(())
    }

    /// Labels with each replaced by the null label with the configuration's `class_dropout_prob`, drawn
    /// from `generator` or the device's default one.
    pub fn drop_labels(&self, y: &Tensor, generator: Option<&Generator>) -> Result<Tensor> {
        let Config { class_dropout_prob: chance, num_classes: null, .. } = self.0.config;
        crate::ensure!(y.dtype() == DType::Int64, "expected int64 labels, found {}", y.signature());
        if chance == 0.0 {
            return Ok(y.clone());
        }
        let drop = Tensor::rand(&y.shape(), DType::Float32, y.device(), generator)?.lt_scalar(chance)?;
        Tensor::full(&[], null as f64, DType::Int64, y.device())?.where_true(&drop, y)
    }

    /// The trainable parameters in the order they were made, under their PyTorch names.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }

    /// Recordings of functions that call this model, or nothing, and a warning, where its forward is not the same work each
    /// time.
    pub fn graphs(&self) -> Option<Graphs> {
        if self.config().corrections.iter().any(|c| c.filters.iter().any(|f| f.calls_code())) {
            graph::refuse("filter::custom calls code at each step, which cannot be recorded");
            return None;
        }
        Some(Graphs::new(self.device(), self.parameters().iter().map(|(_, p)| p.clone()).collect()))
    }

    /// What the model is made of.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The device of its parameters.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// A model with equal weights that shares nothing with this one.
    pub fn copy(&self) -> Result<Self> {
        self.to_device(self.device())
    }

    /// A copy on a device; unlike a tensor's, it shares nothing even when the device is the same.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        let copy = Self::blank(self.config().clone(), device)?;
        for ((_, target), (_, source)) in copy.parameters().iter().zip(self.parameters()) {
            target.copy_(source)?;
        }
        Ok(copy)
    }

    /// How many bytes the parameters and their gradients hold.
    pub fn bytes(&self) -> u64 {
        let held = |p: &Tensor| p.bytes() + p.grad().map_or(0, |g| g.bytes());
        self.parameters().iter().map(|(_, p)| held(p)).sum()
    }

    /// How many numbers are trained.
    pub fn num_parameters(&self) -> i64 {
        self.parameters().iter().map(|(_, p)| p.count() as i64).sum()
    }

    /// A name for messages: `SpectralDiT "fashion_tiny"`.
    pub fn title(&self) -> String {
        super::accounting::title(self.config())
    }

    fn html(&self) -> Option<String> {
        Accounting::of(self.config()).ok().map(|costs| costs.html(self.config(), self.device()))
    }

    /// A table of shapes, parameters and operations, each against the plain DiT.
    pub fn summary(&self, width: Option<usize>) -> String {
        Accounting::of(self.config())
            .map_or_else(|e| e.to_string(), |a| a.table(self.config(), self.device(), width))
    }
}
