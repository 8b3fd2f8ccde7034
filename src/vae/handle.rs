//! The autoencoder, with its options and named parameters.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::VaeOptions;
use super::network::{Decoder, Encoder};
use crate::context::Context;
use crate::data::pixels;
use crate::declare::{Display, Options};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::torch::{DType, Device, Generator, Tensor, no_grad};
use crate::{ensure, scripted};

/// Approximate number of image pixels per batch, on the CPU and on CUDA.
const PIXELS: [i64; 2] = [1 << 17, 1 << 20];

/// Size of pixel values that are not meant to be in [-1, 1].
const FAR: f64 = 1.5;

/// Image autoencoder with normally distributed latents. Clones share the parameters.
#[derive(Clone)]
pub struct Vae(Arc<Inner>);

struct Inner {
    options: VaeOptions,
    encoder: Encoder,
    decoder: Decoder,
    parameters: Vec<(String, Tensor)>,
    /// The hash, and the number of writes into the parameters when it was computed.
    hash: Mutex<Option<(i64, String)>>,
}

scripted!(
    Vae,
    "vae",
    |v| Display::of(&v.document()),
    document = |v, _| v.document(),
    describe = |v| ("an autoencoder", format!("of {} parameters", v.num_parameters())),
    bytes = |v| v.parameters().iter().map(|(_, p)| p.bytes()).sum(),
    facts = |v| vec![
        ("parameters", v.num_parameters().to_string()),
        ("dtype", v.options().dtype.name().to_string()),
        ("device", v.options().device.to_string()),
    ],
);

impl std::fmt::Debug for Vae {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vae({} parameters)", self.num_parameters())
    }
}

/// Options of [`Vae::encode`].
#[derive(Debug, Clone, Options)]
pub struct EncodeOptions {
    /// Whether to sample latents from the encoder's normal distribution instead of taking its mean.
    #[option(default = false)]
    pub sample: bool,
    /// Seed of the sampling, which runs on the CPU, so that it is the same on every device.
    #[option(default = 0, range = 0..)]
    pub seed: u64,
    /// Number of images per batch; by default about 0.13 million pixels on the CPU and 1 million on CUDA.
    /// Results are independent of it up to rounding.
    #[option(range = 1..)]
    pub batch: Option<usize>,
}
/// Options of [`Vae::decode`].
#[derive(Debug, Clone, Options)]
pub struct DecodeOptions {
    /// Number of images per batch, as in `encode`.
    #[option(range = 1..)]
    pub batch: Option<usize>,
    /// Whether to clamp the images to [-1, 1].
    #[option(default = true)]
    pub clamp: bool,
}

/// Normal distribution of the latents, unscaled.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Means [B, Z, h, w].
    pub mean: Tensor,
    /// Natural logarithms of the variances, clamped to [-30, 20], of the same shape.
    pub logvar: Tensor,
}

impl Vae {
    /// Creates an autoencoder with weights determined by the seed of the options.
    pub fn random(options: &VaeOptions) -> Result<Self> {
        Self::build(options, Builder::seeded(options.seed, options.dtype, options.device))
    }

    /// Creates an autoencoder with the parameters of a builder.
    pub(super) fn build(options: &VaeOptions, mut builder: Builder) -> Result<Self> {
        options.check_sizes()?;
        let encoder = Encoder::new(&mut builder, options)?;
        let decoder = Decoder::new(&mut builder, options)?;
        let parameters = builder.finish_given()?;
        // The weights are fixed unless a caller trains them; gradients flow through them to images and latents.
        parameters.iter().try_for_each(|(_, weight)| weight.set_requires_grad(false).map(drop))?;
        let hash = Mutex::default();
        Ok(Self(Arc::new(Inner { options: options.clone(), encoder, decoder, parameters, hash })))
    }

    /// Returns the options.
    pub fn options(&self) -> &VaeOptions {
        &self.0.options
    }

    /// Returns the parameters by name.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }

    /// Returns the number of elements of all parameters.
    pub fn num_parameters(&self) -> i64 {
        self.parameters().iter().map(|(_, p)| p.count() as i64).sum()
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of the sizes and each parameter's name, dtype and
    /// values.
    pub fn hash(&self) -> Result<String> {
        let writes = self.parameters().iter().map(|(_, p)| p.version()).sum();
        let mut known = self.0.hash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hash)) = known.as_ref().filter(|(then, _)| *then == writes) {
            return Ok(hash.clone());
        }
        let mut hasher = Sha256::new_with_prefix(format!("{} groups", self.options().norm_num_groups));
        for (name, tensor) in self.parameters() {
            hasher.update(format!("{name} {:?} {}", tensor.shape(), tensor.dtype().name()));
            hasher.update(tensor.to_bytes()?);
        }
        let digits = short(hasher);
        *known = Some((writes, digits.clone()));
        Ok(digits)
    }

    /// Returns the shape [Z, h, w] of the latents of images with this height and width.
    pub fn latent_shape(&self, height: i64, width: i64) -> Result<[i64; 3]> {
        let factor = self.options().factor();
        ensure!(
            height > 0 && width > 0 && height % factor == 0 && width % factor == 0,
            "expected images whose height and width are multiples of {factor}, found {height} x {width}"
        );
        Ok([self.options().latent_channels, height / factor, width / factor])
    }

    /// Returns the distributions of the latents of images [B, C, H, W] in [-1, 1] or uint8, in batches of `batch`
    /// images.
    ///
    /// Records gradients if the images or parameters do, and stops between blocks on an interrupt.
    pub fn posterior(&self, images: &Tensor, batch: Option<usize>, cx: &Context) -> Result<Posterior> {
        let channels = self.options().in_channels;
        let [.., height, width] = four("images", images, channels)?;
        self.latent_shape(height, width)?;
        pixels::check(images)?;
        if images.dtype() != DType::UInt8 {
            let most = images.abs()?.amax(&[], false)?.item()?;
            if most > FAR {
                cx.note(&format!(
                    "pixel values are up to {most} in size, where [-1, 1] is expected: give bytes as uint8"
                ));
            }
        }
        let forward = |part: &Tensor| {
            let pixels = self.take(&pixels::to_float(part)?)?;
            self.0.encoder.forward(&pixels, &|| cx.check())
        };
        let moments = in_batches("encode", images, (height * width, batch), self, cx, forward)?;
        let halves = moments.chunk(2, 1)?;
        match halves.as_slice() {
            [mean, logvar] => Ok(Posterior { mean: mean.contiguous()?, logvar: logvar.clamp(-30.0, 20.0)? }),
            _ => Err(Error::internal("the encoder gave no pairs of moments")),
        }
    }

    /// Returns the latents [B, Z, h, w] of images [B, C, H, W] in [-1, 1] or uint8, scaled for a diffusion model.
    pub fn encode(&self, images: &Tensor, options: &EncodeOptions, cx: &Context) -> Result<Tensor> {
        options.check()?;
        let posterior = self.posterior(images, options.batch, cx)?;
        let generator = options.sample.then(|| Generator::new(options.seed, Device::Cpu)).transpose()?;
        self.options().scale()?.apply(&posterior.pick(generator.as_ref())?)
    }

    /// Returns the images [B, C, H, W] of scaled latents [B, Z, h, w].
    pub fn decode(&self, latents: &Tensor, options: &DecodeOptions, cx: &Context) -> Result<Tensor> {
        options.check()?;
        let (latent_channels, scale) = (self.options().latent_channels, self.options().scale()?);
        let [.., height, width] = four("latents", latents, latent_channels)?;
        ensure!(
            latents.dtype().is_float(),
            "expected latents of a float type, found {}",
            latents.dtype().name()
        );
        let area = height * width * self.options().factor().pow(2);
        let forward = |part: &Tensor| {
            let latents = self.take(&scale.undo(part)?)?;
            self.0.decoder.forward(&latents, &|| cx.check())
        };
        let images = in_batches("decode", latents, (area, options.batch), self, cx, forward)?;
        if options.clamp { images.clamp(-1.0, 1.0) } else { Ok(images) }
    }

    fn device(&self) -> Device {
        self.options().device
    }

    /// Returns whether a parameter records gradients, as in training.
    fn records(&self) -> bool {
        self.parameters().iter().any(|(_, p)| p.requires_grad())
    }

    /// Converts a tensor to the device and dtype of the weights.
    fn take(&self, x: &Tensor) -> Result<Tensor> {
        x.to_device(self.device())?.to_dtype(self.options().dtype)
    }

    fn document(&self) -> Document {
        let o = self.options();
        let (f, channels, latents) = (o.factor(), o.in_channels, o.latent_channels);
        let (factor, shift) = (o.scaling_factor, o.shift_factor);
        let scale = match (o.latents_mean.is_empty(), shift == 0.0) {
            (false, _) => format!("normalized by channel, times {factor}"),
            (true, true) => format!("times {factor}"),
            (true, false) => format!("minus {shift}, times {factor}"),
        };
        let images = format!("[B, {channels}, H, W] to latents [B, {latents}, H/{f}, W/{f}] {scale}");
        let (widths, blocks, groups) = (&o.block_out_channels, o.layers_per_block, o.norm_num_groups);
        let stages = format!("{widths:?}, {blocks} residual blocks each, norms over {groups} groups");
        let (count, dtype) = (self.num_parameters(), o.dtype.name());
        let title = format!("autoencoder of {count} parameters, {dtype} on {}", o.device);
        Document::facts(&title, [("images", images), ("stages", stages)])
    }
}

impl Posterior {
    /// Returns the mean, or with a CPU generator a sample, which has the dtype and device of the mean.
    pub fn pick(&self, generator: Option<&Generator>) -> Result<Tensor> {
        let Some(generator) = generator else { return Ok(self.mean.clone()) };
        let noise = Tensor::randn(&self.mean.shape(), DType::Float32, Device::Cpu, Some(generator))?;
        let noise = noise.to_device(self.mean.device())?.to_dtype(self.mean.dtype())?;
        self.mean.add(&self.logvar.mul_scalar(0.5)?.exp()?.mul(&noise)?)
    }
}

/// Returns the first 12 hexadecimal digits of a hash.
pub(super) fn short(hasher: Sha256) -> String {
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the sizes of a tensor [B, `channels`, H, W]; another shape is an error that names it `what`.
fn four(what: &str, x: &Tensor, channels: i64) -> Result<[i64; 4]> {
    match x.shape().as_slice() {
        [b, c, h, w] if *c == channels && *b > 0 && *h > 0 && *w > 0 => Ok([*b, *c, *h, *w]),
        _ => {
            let error =
                Error::argument(format!("expected {what} [B, {channels}, H, W], found {}", x.signature()));
            Err(match x.rank() {
                3 => error.hint("`.unsqueeze(0)` adds the missing first dimension"),
                _ => error,
            })
        }
    }
}

/// Applies `forward` to batches of images and concatenates the results. Gradients are recorded only if `x` or a parameter
/// records them; otherwise the activations of the network would be kept for nothing.
fn in_batches(
    label: &str,
    x: &Tensor,
    (pixels, batch): (i64, Option<usize>),
    vae: &Vae,
    cx: &Context,
    forward: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (device, records) = (vae.device(), x.requires_grad() || vae.records());
    let count = x.size(0)?;
    let fitting = (PIXELS[usize::from(device.is_cuda())] / pixels).max(1);
    let batch = batch.map_or(fitting, |batch| batch as i64).min(count);
    // A single batch needs no progress bar.
    let mut bar = (batch < count).then(|| cx.bar(label, count as u64));
    let mut parts = Vec::new();
    for start in (0..count).step_by(batch as usize) {
        cx.check()?;
        let size = batch.min(count - start);
        let forward = || forward(&x.narrow(0, start, size)?);
        parts.push(if records { forward() } else { no_grad(forward) }?);
        if let Some(bar) = &mut bar {
            bar.update((start + size) as u64, "");
        }
    }
    Tensor::cat(&parts, 0)
}
