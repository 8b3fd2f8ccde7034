//! A network with its configuration and named parameters.

mod extended;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::accounting::Accounting;
use super::custom;
use super::design::Design;
use super::dit::{Dit, Traced};
use super::parts::{Kept, Pass};
use super::trace::BlockTrace;
use super::{Config, times};
use crate::declare::{Display, Function};
use crate::document::{Block, Document};
use crate::error::{Error, Result};
use crate::nn::shared_builder::Facts;
use crate::nn::{Builder, glob};
use crate::scripted;
use crate::torch::graph::{self, Graphs};
use crate::torch::placement::together;
use crate::torch::unwritten::unwritten;
use crate::torch::{DType, Device, Fields, Generator, Tensor, autograd, flops, no_grad};

/// A DiT, a SpectralDiT, or a user-defined network. Clones share the parameters; [`Model::copy`] does not.
///
/// The model that a loss receives has the context of its training step.
#[derive(Clone)]
pub struct Model(Arc<Inner>, Option<Arc<Pass>>);

/// Fraction of the last time by which times may lie outside of their range.
const TIME_SLACK: f64 = 1e-5;

struct Inner {
    design: Design,
    device: Device,
    network: Network,
    parameters: Vec<(String, Tensor)>,
    /// Functions of code that forward passes call, by the path of the builder that made them.
    called: Vec<(String, Function)>,
    /// Operations of user code, once they have been counted.
    flops: OnceLock<f64>,
    /// Fields of one image that a forward pass had, without their values, with which operations are counted.
    fields: Mutex<Fields>,
    /// Whether the parameters have shapes, but no values.
    outline: bool,
    /// Whether another network was built with this one inside.
    inside: AtomicBool,
}

enum Network {
    Dit(Box<Dit>),
    Custom(custom::Network),
}

impl Network {
    fn forward(
        &self,
        x: &Tensor,
        t: &Tensor,
        y: &Tensor,
        pass: &Pass,
        trace: Option<Traced>,
    ) -> Result<Tensor> {
        let inputs = [("the images", x), ("the times", t), ("the labels", y)];
        unwritten(&inputs, || {
            pass.fields.unwritten(|| match self {
                Network::Dit(dit) => dit.forward(x, t, y, pass, trace),
                Network::Custom(network) => network.forward(x, t, y, pass, trace),
            })
        })
    }
}

scripted!(
    Model,
    "model",
    |m| Display::of(&m.document()),
    text = |m| m.summary(None),
    document = |m, _| m.document(),
    describe = |m| ("a", m.title()),
    bytes = Model::bytes,
    facts = |m| vec![
        ("parameters", m.num_parameters().to_string()),
        ("dtype", m.dtype().name().to_string()),
        ("device", m.device().to_string()),
    ],
);

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title())
    }
}

impl Model {
    /// Creates a model whose weights are determined by the seed.
    ///
    /// Weights depend only on the seed, their name and their shape: a plain DiT and a SpectralDiT with the same
    /// seed start with the same weights on every device.
    pub fn new(design: impl Into<Design>, seed: i64, device: Device) -> Result<Self> {
        let design = design.into();
        let builder = Builder::seeded(seed, design.dtype(), device);
        Self::build(design, builder)
    }

    /// Creates a model whose weights are zeros, to copy others into.
    pub fn blank(design: impl Into<Design>, device: Device) -> Result<Self> {
        let design = design.into();
        let builder = Builder::blank(design.dtype(), device);
        Self::build(design, builder)
    }

    /// Creates a model that takes its weights from `tensors`, without a copy where device and dtype are the same.
    ///
    /// Every parameter of the design must be there, apart from fixed positions, and nothing else.
    pub(crate) fn given(design: Design, tensors: BTreeMap<String, Tensor>, device: Device) -> Result<Self> {
        let builder = Builder::given(tensors, design.dtype(), device);
        Self::build(design, builder)
    }

    /// Creates a model whose parameters have shapes, but no memory of their own, to compare with a file.
    pub(crate) fn outline(design: Design) -> Result<Self> {
        let builder = Builder::outline(design.dtype());
        Self::build(design, builder)
    }

    pub(super) fn build(design: Design, mut builder: Builder) -> Result<Self> {
        design.check()?;
        let (device, outline) = (builder.device(), builder.is_outline());
        let network = match &design {
            Design::Dit(config) => Network::Dit(Box::new(Dit::new(&mut builder, config)?)),
            Design::Custom(custom) => Network::Custom(custom::Network::new(&mut builder, custom)?),
        };
        let called = builder.take_called();
        let parameters = builder.finish_given()?;
        let inner = Inner {
            design,
            device,
            network,
            parameters,
            called,
            flops: OnceLock::new(),
            fields: Mutex::default(),
            outline,
            inside: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(inner), None))
    }

    /// Remembers that another network was built with this one inside, and stores its weights.
    pub(super) fn set_inside(&self) {
        self.0.inside.store(true, Ordering::Relaxed);
    }

    /// Returns whether another network was built with this one inside.
    pub(crate) fn is_inside(&self) -> bool {
        self.0.inside.load(Ordering::Relaxed)
    }

    /// Returns the same model, whose [`Model::forward`] runs in the training step of `pass`.
    pub(crate) fn in_step(&self, pass: &Pass) -> Self {
        Self(Arc::clone(&self.0), Some(Arc::new(Pass { kept: Kept::default(), ..pass.clone() })))
    }

    /// Returns the context of a forward pass of `count` images, which has kept nothing yet. Fields of a training step
    /// are those of its images, and are left out for another number of images; `fields` come before them.
    pub(crate) fn pass(&self, count: Option<&i64>, fields: &Fields) -> Pass {
        let pass = self.1.as_deref().cloned().unwrap_or_default();
        let fields = match count {
            Some(count) if pass.fields.check_rows(*count).is_ok() => fields.or(&pass.fields),
            Some(count) => fields.without(&pass.fields, *count),
            None => fields.clone(),
        };
        Pass { kept: Kept::default(), recompute: false, fields, ..pass }
    }

    /// Returns the operations of user code in one forward pass for one image, which the configuration does not
    /// include.
    ///
    /// They are counted once, in a forward pass. They are NaN for a model that needs fields, whose shapes are not known
    /// before the first forward pass.
    pub fn flops_of_code(&self) -> Result<f64> {
        if let Some(known) = self.0.flops.get() {
            return Ok(*known);
        }
        let plain = match &self.0.design {
            Design::Dit(config) if config.parts.iter().all(|p| p.correction().is_some()) => return Ok(0.0),
            Design::Dit(config) => {
                let mut config = config.clone();
                config.parts.0.retain(|part| part.correction().is_some());
                // Modules that parts replace are counted too, and need no values.
                let same = Builder::sharing_outline(self.parameters(), self.dtype(), self.device());
                Some(Self::build(config.into(), same)?)
            }
            Design::Custom(_) => None,
        };
        let Some(all) = self.counted()? else { return Ok(f64::NAN) };
        let known = all - plain.map_or(Ok(Some(0.0)), |plain| plain.counted())?.unwrap_or_default();
        Ok(*self.0.flops.get_or_init(|| known))
    }

    /// Counts the operations of a forward pass for one image; `None` if it needs fields that no forward pass had.
    fn counted(&self) -> Result<Option<f64>> {
        let [channels, height, width] = self.image_shape();
        let x = Tensor::zeros(&[1, channels, height, width], self.dtype(), self.device())?;
        let t = Tensor::full(&[1], 0.5, DType::Float32, self.device())?;
        let y = Tensor::zeros(&[1], DType::Int64, self.device())?;
        let like = |one: &Tensor| Tensor::zeros(&one.shape(), one.dtype(), self.device());
        let known = self.0.fields.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fields = if known.is_empty() { Fields::watched() } else { known.map(like)? };
        let pass = Pass { fields: fields.clone(), ..Pass::default() };
        match no_grad(|| flops::count(|| self.observe(&x, &t, &y, &pass))) {
            // Fields of the last forward pass may be none that this part of the model accepts.
            Err(_) if fields.missed() || !fields.is_empty() => Ok(None),
            counted => Ok(Some(counted?.1)),
        }
    }

    /// Remembers the shapes of fields.
    fn remember(&self, fields: &Fields) -> Result<()> {
        if fields.is_empty() {
            return Ok(());
        }
        let mut known = self.0.fields.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |name: &str, field: &Tensor| {
            known.iter().any(|(other, one)| other == name && one.shape()[1..] == field.shape()[1..])
        };
        if fields.iter().any(|(name, field)| !same(name, field)) {
            // One element stands for all, so that nothing large is kept.
            let shapes = fields.map(|all| {
                let shape: Vec<i64> = std::iter::once(1).chain(all.shape().into_iter().skip(1)).collect();
                Tensor::zeros(&[], all.dtype(), Device::Cpu)?.expand(&shape)
            })?;
            *known = shapes.or(&known);
        }
        Ok(())
    }

    /// Freezes the parameters whose names match a pattern, such as `*` or `blocks.*.attn.*`.
    pub fn freeze(&self, patterns: &[String]) -> Result<()> {
        self.record(patterns, false)
    }

    /// Unfreezes the parameters whose names match a pattern.
    pub fn unfreeze(&self, patterns: &[String]) -> Result<()> {
        self.record(patterns, true)
    }

    fn record(&self, patterns: &[String], on: bool) -> Result<()> {
        let picked = glob::pick(patterns, self.parameters().iter().map(|(name, _)| name.as_str()))?;
        for (name, parameter) in self.parameters() {
            if picked.contains(&name.as_str()) {
                parameter.set_requires_grad(on)?;
            }
        }
        Ok(())
    }

    /// Returns the buffers that the model computes itself and other programs store with the weights, under their
    /// names there.
    pub(super) fn computed(&self) -> Vec<(&'static str, &Tensor)> {
        match &self.0.network {
            Network::Dit(dit) => dit.computed(),
            Network::Custom(_) => Vec::new(),
        }
    }

    /// Returns velocities [B, C, H, W] for images x [B, C, H, W], times t `[B]` in [0, 1] with 0 = noise, and int64
    /// labels y `[B]` from 0 to K, where K is the null label. No label is dropped here. A DiT takes diffusion steps from 0
    /// to 1000 for times and returns noise and, with `learn_sigma`, variances: [B, 2 C, H, W].
    ///
    /// A DiT takes images of any height and width that its `patch_size` divides, with the positions that
    /// `position_scaling` says. Times of pixels, [B, 1, H, W] or another shape that broadcasts to the images, condition each
    /// token, and its coefficients in corrections, by the mean over its patch; a DiT with parts at `condition` refuses them. Custom
    /// networks receive them as they are.
    ///
    /// Shapes and values are checked first, which waits for the device on CUDA.
    pub fn forward(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.forward_with(x, t, y, &Fields::default())
    }

    /// Same as [`Model::forward`], with fields of the images `[B, ..]`.
    pub fn forward_with(&self, x: &Tensor, t: &Tensor, y: &Tensor, fields: &Fields) -> Result<Tensor> {
        self.observe(x, t, y, &self.pass(x.shape().first(), fields))
    }

    /// Same as [`Model::forward`], leaving the tensors that parts keep in `pass`, which may have fields.
    pub fn observe(&self, x: &Tensor, t: &Tensor, y: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.check_shapes(x, t, y)?;
        self.check_values(t, y)?;
        self.check_fields(x, &pass.fields)?;
        let forward = || self.0.network.forward(x, t, y, pass, None);
        let v = match pass.autocast {
            true => autograd::autocast(self.device(), forward)?.to_dtype(self.dtype())?,
            false => forward()?,
        };
        self.remember(&pass.fields)?;
        Ok(v)
    }

    /// Same as [`Model::forward`], without checking the values of t and y, for callers that created them.
    ///
    /// On CUDA, a label out of range then makes the device unusable for the rest of the process.
    pub fn forward_unchecked(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.forward_in(x, t, y, &Pass::default())
    }

    /// Same as [`Model::forward_unchecked`], in the training step or other context given by `pass`.
    pub fn forward_in(&self, x: &Tensor, t: &Tensor, y: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.check_shapes(x, t, y)?;
        self.check_fields(x, &pass.fields)?;
        let v = self.0.network.forward(x, t, y, pass, None)?;
        self.remember(&pass.fields)?;
        Ok(v)
    }

    /// Returns the intermediate results of each block, computed without gradients; those of a user-defined network are
    /// the blocks that its function gave the call.
    pub fn trace(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<Vec<BlockTrace>> {
        self.trace_with(x, t, y, &Fields::default())
    }

    /// Same as [`Model::trace`], with fields of the images `[B, ..]`.
    pub fn trace_with(&self, x: &Tensor, t: &Tensor, y: &Tensor, fields: &Fields) -> Result<Vec<BlockTrace>> {
        Ok(self.traced(x, t, y, fields)?.0)
    }

    /// Returns the intermediate results of each block, and the tensors that code kept meanwhile.
    pub(super) fn traced(
        &self,
        x: &Tensor,
        t: &Tensor,
        y: &Tensor,
        fields: &Fields,
    ) -> Result<(Vec<BlockTrace>, Kept)> {
        self.check_shapes(x, t, y)?;
        self.check_values(t, y)?;
        self.check_fields(x, fields)?;
        let trace = Traced::default();
        let pass = Pass { fields: fields.clone(), ..Pass::default() };
        no_grad(|| self.0.network.forward(x, t, y, &pass, Some(trace.clone())))?;
        let blocks = std::mem::take(&mut *trace.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((blocks, pass.kept))
    }

    fn check_shapes(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<()> {
        if self.0.outline {
            return Err(Error::argument("the file has the settings of this model, but not its weights")
                .hint("`b.model(name, model)` returns the model whose weights are stored with the network"));
        }
        let batch = self.check_images(x)?;
        times::check_times(t, &x.shape())?;
        crate::ensure!(
            y.shape() == [batch],
            "expected labels [{batch}], one per image, found {}",
            y.signature()
        );
        if let (Some(config), true) = (self.config(), t.rank() > 1) {
            times::check_pixels(config)?;
        }
        crate::ensure!(x.dtype().is_float(), "expected images of a float dtype, found {}", x.signature());
        // Code of a custom network may convert its images, and autocast converts them anyway.
        let own = self.dtype();
        if x.dtype() != own
            && matches!(self.0.network, Network::Dit(_))
            && !autograd::is_autocasting(self.0.device)
        {
            return Err(Error::argument(format!(
                "expected images of {}, the dtype of the model, found {}",
                own.name(),
                x.dtype().name()
            ))
            .hint(format!("convert them: `.to(\"{}\")`", own.name())));
        }
        crate::ensure!(t.dtype().is_float(), "expected times of a float dtype, found {}", t.signature());
        crate::ensure!(y.dtype() == DType::Int64, "expected int64 labels, found {}", y.signature());
        self.check_devices(x, t, y)
    }

    /// Returns an error unless images, times and labels are on the device of the model.
    pub(crate) fn check_devices(&self, x: &Tensor, t: &Tensor, y: &Tensor) -> Result<()> {
        let places = [("`x`", x.device()), ("`t`", t.device()), ("`y`", y.device())];
        together("the model", self.0.device, places)
    }

    /// Returns the number of images, or an error unless they have the channels and a size that the model takes.
    pub(crate) fn check_images(&self, x: &Tensor) -> Result<i64> {
        let [c, h, w] = self.image_shape();
        let custom = self.config().is_none();
        match x.shape()[..] {
            [batch, channels, height, width] if channels == c && (!custom || [height, width] == [h, w]) => {
                self.check_size([height, width]).map(|()| batch)
            }
            _ => {
                let sides = if custom { format!("{h}, {w}") } else { "H, W".to_string() };
                Err(Error::argument(format!("expected images [B, {c}, {sides}], found {}", x.signature())))
            }
        }
    }

    /// Returns an error unless fields have a row for each image and are on the device of the model.
    pub(crate) fn check_fields(&self, x: &Tensor, fields: &Fields) -> Result<()> {
        if fields.is_empty() {
            return Ok(());
        }
        fields.check_rows(x.size(0)?)?;
        let places = fields.iter().map(|(name, field)| (format!("the field `{name}`"), field.device()));
        together("the model", self.0.device, places)
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
        let (classes, last) = (self.num_classes(), self.last_label());
        for label in [ends[2], ends[3]] {
            if !(0.0..=last as f64).contains(&label) {
                return Err(Error::argument(format!(
                    "label {label} is out of range: the model has {classes} classes"
                ))
                .hint(match last == classes {
                    true => format!("labels are from 0 to {}, and {classes} is the null label", classes - 1),
                    false => format!("labels are from 0 to {last}, and the model has no null label"),
                }));
            }
        }
        let last = self.config().map_or(1.0, Config::last_time);
        // Sums of steps end a few roundings beyond the last time.
        let slack = TIME_SLACK * last;
        for time in [ends[0], ends[1]] {
            if !(-slack..=last + slack).contains(&time) {
                return Err(Error::argument(format!("time {time} is out of range")).hint(match last > 1.0 {
                    true => format!("times are diffusion steps from 0, data, to {last}, noise"),
                    false => "times are from 0, noise, to 1, data".to_string(),
                }));
            }
        }
        Ok(())
    }

    /// Returns the largest label: the null label, or the last class of a model without one.
    pub fn last_label(&self) -> i64 {
        self.config().map_or(self.num_classes(), |config| config.label_rows() - 1)
    }

    /// Returns the factor of a time before its features.
    pub fn time_scale(&self) -> f64 {
        self.config().map_or(1.0, |config| config.time_scale)
    }

    /// Returns the channels of the output: twice those of the images if it has variances too.
    pub fn out_channels(&self) -> i64 {
        self.config().map_or(self.image_shape()[0], Config::out_channels)
    }

    /// Replaces each label by the null label with probability `class_dropout_prob`, drawn from `generator` or the
    /// device's default generator.
    pub fn drop_labels(&self, y: &Tensor, generator: Option<&Generator>) -> Result<Tensor> {
        let (chance, null) = (self.0.design.class_dropout_prob(), self.num_classes());
        crate::ensure!(y.dtype() == DType::Int64, "expected int64 labels, found {}", y.signature());
        if chance == 0.0 {
            return Ok(y.clone());
        }
        let drop = Tensor::rand(&y.shape(), DType::Float32, y.device(), generator)?.lt_scalar(chance)?;
        Tensor::full(&[], null as f64, DType::Int64, y.device())?.where_true(&drop, y)
    }

    /// Returns the trainable parameters in the order of creation, under their PyTorch names.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }

    /// Returns the functions of code that forward passes call, such as those of parts, by the path of their parameters.
    pub(crate) fn called(&self) -> &[(String, Function)] {
        &self.0.called
    }

    /// Returns recorded graphs of functions that call this model, and perhaps another one.
    ///
    /// Returns `None`, with a warning, if a forward pass calls user code, which cannot be recorded.
    pub fn graphs(&self, other: Option<&Model>) -> Option<Graphs> {
        let models = || std::iter::once(self).chain(other);
        if models().any(|model| model.0.design.calls_code()) {
            graph::refuse("a filter or part calls code at each step, which cannot be recorded");
            return None;
        }
        let weights = models().flat_map(|model| model.parameters().iter().map(|(_, p)| p.clone()));
        Some(Graphs::new(self.device(), weights.collect()))
    }

    /// Returns the properties that a builder for this model has.
    pub fn facts(&self) -> Facts {
        match &self.0.design {
            Design::Dit(config) => config.facts(),
            Design::Custom(custom) => custom.facts(),
        }
    }

    /// Returns the description of the model.
    pub fn design(&self) -> &Design {
        &self.0.design
    }

    /// Returns the configuration of a DiT; `None` for a user-defined network.
    pub fn config(&self) -> Option<&Config> {
        match &self.0.design {
            Design::Dit(config) => Some(config),
            Design::Custom(_) => None,
        }
    }

    /// Returns the channels, height and width of the images.
    pub fn image_shape(&self) -> [i64; 3] {
        self.0.design.image_shape()
    }

    /// Returns the number of classes K; label K is the null label.
    pub fn num_classes(&self) -> i64 {
        self.0.design.num_classes()
    }

    /// Returns the element type of the parameters.
    pub fn dtype(&self) -> DType {
        self.0.design.dtype()
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// Returns a model with equal weights, frozen where this one is, that shares nothing with it.
    pub fn copy(&self) -> Result<Self> {
        self.to_device(self.device())
    }

    /// Returns a copy on a device; unlike a tensor's, it shares nothing even if the device is the same.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        self.converted_copy(self.dtype(), device)
    }

    /// Returns a copy with parameters of another dtype, on a device.
    pub fn converted_copy(&self, dtype: DType, device: Device) -> Result<Self> {
        let copy = Self::blank(self.design().clone().with_dtype(dtype), device)?;
        self.check_rebuilt(&copy)?;
        for ((_, target), (_, source)) in copy.parameters().iter().zip(self.parameters()) {
            target.copy_(source)?;
            target.set_requires_grad(source.requires_grad())?;
        }
        Ok(copy)
    }

    /// Returns an error unless the code of this model, called again for a copy, created the same parameters.
    fn check_rebuilt(&self, copy: &Self) -> Result<()> {
        let names = |model: &Self| -> Vec<String> {
            model.parameters().iter().map(|(name, _)| name.clone()).collect()
        };
        let (own, found) = (names(self), names(copy));
        if own == found {
            return Ok(());
        }
        let what =
            match (own.iter().find(|name| !found.contains(name)), found.iter().find(|n| !own.contains(n))) {
                (Some(missing), _) => format!("the copy has no parameter `{missing}`, which the model has"),
                (None, Some(more)) => format!("the copy has a parameter `{more}`, which the model has not"),
                (None, None) => "the copy has the parameters of the model in another order".to_string(),
            };
        Err(other_parameters(&what))
    }

    /// Returns the number of bytes of the parameters and their gradients.
    pub fn bytes(&self) -> u64 {
        let held = |p: &Tensor| p.bytes() + p.grad().map_or(0, |g| g.bytes());
        self.parameters().iter().map(|(_, p)| held(p)).sum()
    }

    /// Returns the number of parameters.
    pub fn num_parameters(&self) -> i64 {
        self.parameters().iter().map(|(_, p)| p.count() as i64).sum()
    }

    /// Returns a name for messages, such as `SpectralDiT "fashion_tiny"`.
    pub fn title(&self) -> String {
        self.0.design.title()
    }

    fn document(&self) -> Document {
        match Accounting::of_model(self) {
            Ok(costs) => Document::of(Block::Table(costs.table(self))),
            Err(error) => Document::plain(&error.to_string()),
        }
    }

    /// Formats a table of shapes, parameters and operations, compared with the plain DiT.
    pub fn summary(&self, width: Option<usize>) -> String {
        self.document().to_text(width)
    }
}

/// Returns the error for code that does not create the same parameters when it is called again.
fn other_parameters(what: &str) -> Error {
    Error::argument(what).hint(
        "a copy calls the function of the builder again: it must create the same parameters in every call, and not keep \
         them in a variable outside of it",
    )
}
