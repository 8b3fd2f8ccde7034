//! An autoencoder with its configuration and named parameters.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::VaeOptions;
use super::network::{Decoder, Encoder};
use crate::context::Context;
use crate::data::pixels;
use crate::declare::{Display, Options};
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::torch::{DType, Device, Generator, Tensor, no_grad};
use crate::{ensure, options, scripted};

/// About how many pixels of images are worked on at once, on the CPU and on CUDA.
const PIXELS: [i64; 2] = [1 << 17, 1 << 20];

/// An image autoencoder whose latents have a normal distribution each. Clones share the parameters.
#[derive(Clone)]
pub struct Vae(Arc<Inner>);

struct Inner {
    options: VaeOptions,
    encoder: Encoder,
    decoder: Decoder,
    parameters: Vec<(String, Tensor)>,
    hash: OnceLock<String>,
}

scripted!(
    Vae,
    "vae",
    |v| Display::text(v.summary()),
    describe = |v| format!("an autoencoder of {} parameters", v.num_parameters()),
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

options! {
    /// Which latents images become.
    pub struct EncodeOptions {
        /// Whether latents are drawn from the normal distribution that the encoder gives, instead of taking its mean.
        sample: bool = false;
        /// Seed of what is drawn, on the CPU so that every device draws alike.
        seed: u64 = 0 => at_least(0.0);
        /// How many images are computed at once; unless given, as many as make about 0.13 million pixels on the CPU, 1
        /// million on CUDA. The result does not depend on it beyond rounding.
        batch: Option<usize> = None => at_least(1.0);
    }
    /// How latents become images.
    pub struct DecodeOptions {
        /// How many images are computed at once, as in `encode`.
        batch: Option<usize> = None => at_least(1.0);
        /// Whether the images are held within [-1, 1].
        clamp: bool = true;
    }
}

/// The normal distribution of each latent, not scaled.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Means [B, Z, h, w].
    pub mean: Tensor,
    /// Natural logarithms of the variances, held within -30 and 20, of the same shape.
    pub logvar: Tensor,
}

impl Vae {
    /// Makes an autoencoder whose weights are determined by the seed of the options.
    pub fn random(options: &VaeOptions) -> Result<Self> {
        Self::build(options, Builder::seeded(options.seed, options.dtype, options.device))
    }

    /// Makes an autoencoder of the parameters that the builder gives.
    pub(super) fn build(options: &VaeOptions, mut builder: Builder) -> Result<Self> {
        options.check_sizes()?;
        let encoder = Encoder::new(&mut builder, options)?;
        let decoder = Decoder::new(&mut builder, options)?;
        let parameters = builder.finish_given()?;
        let hash = OnceLock::new();
        Ok(Self(Arc::new(Inner { options: options.clone(), encoder, decoder, parameters, hash })))
    }

    /// What it is made of.
    pub fn options(&self) -> &VaeOptions {
        &self.0.options
    }

    /// Its parameters by name.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }

    /// How many numbers its parameters are.
    pub fn num_parameters(&self) -> i64 {
        self.parameters().iter().map(|(_, p)| p.count() as i64).sum()
    }

    /// The first 12 hexadecimal digits of the SHA-256 over its sizes and each parameter's name, type and values.
    pub fn hash(&self) -> Result<String> {
        if let Some(known) = self.0.hash.get() {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::new_with_prefix(format!("{} groups", self.options().norm_num_groups));
        for (name, tensor) in self.parameters() {
            hasher.update(format!("{name} {:?} {}", tensor.shape(), tensor.dtype().name()));
            hasher.update(tensor.to_bytes()?);
        }
        let digits = short(hasher);
        Ok(self.0.hash.get_or_init(|| digits).clone())
    }

    /// The latents' shape [Z, h, w] of images of this height and width.
    pub fn latent_shape(&self, height: i64, width: i64) -> Result<[i64; 3]> {
        let factor = self.options().factor();
        ensure!(
            height > 0 && width > 0 && height % factor == 0 && width % factor == 0,
            "expected images whose height and width are multiples of {factor}, found {height} x {width}"
        );
        Ok([self.options().latent_channels, height / factor, width / factor])
    }

    /// The distributions of the latents of images [B, C, H, W] in [-1, 1] or uint8; `batch` images at once.
    ///
    /// Records no gradients, and stops between blocks when the context is interrupted.
    pub fn posterior(&self, images: &Tensor, batch: Option<usize>, cx: &Context) -> Result<Posterior> {
        let channels = self.options().in_channels;
        let [.., height, width] = four("images", images, channels)?;
        self.latent_shape(height, width)?;
        let forward = |part: &Tensor| {
            let pixels = self.take(&pixels::to_float(part)?)?;
            self.0.encoder.forward(&pixels, &|| cx.check())
        };
        let moments = in_batches("encode", images, height * width, batch, self.device(), cx, forward)?;
        let halves = moments.chunk(2, 1)?;
        match halves.as_slice() {
            [mean, logvar] => Ok(Posterior { mean: mean.contiguous()?, logvar: logvar.clamp(-30.0, 20.0)? }),
            _ => Err(Error::internal("the encoder gave no pairs of moments")),
        }
    }

    /// Latents [B, Z, h, w] of images [B, C, H, W] in [-1, 1] or uint8, scaled for a diffusion model.
    pub fn encode(&self, images: &Tensor, options: &EncodeOptions, cx: &Context) -> Result<Tensor> {
        options.check()?;
        let posterior = self.posterior(images, options.batch, cx)?;
        let generator = options.sample.then(|| Generator::new(options.seed, Device::Cpu)).transpose()?;
        posterior.pick(generator.as_ref())?.mul_scalar(self.options().scaling_factor)
    }

    /// Images [B, C, H, W] of scaled latents [B, Z, h, w].
    pub fn decode(&self, latents: &Tensor, options: &DecodeOptions, cx: &Context) -> Result<Tensor> {
        options.check()?;
        let VaeOptions { latent_channels, scaling_factor, .. } = *self.options();
        let [.., height, width] = four("latents", latents, latent_channels)?;
        ensure!(
            latents.dtype().is_float(),
            "expected latents of a float type, found {}",
            latents.dtype().name()
        );
        let area = height * width * self.options().factor().pow(2);
        let forward = |part: &Tensor| {
            let latents = self.take(&part.div_scalar(scaling_factor)?)?;
            self.0.decoder.forward(&latents, &|| cx.check())
        };
        let images = in_batches("decode", latents, area, options.batch, self.device(), cx, forward)?;
        if options.clamp { images.clamp(-1.0, 1.0) } else { Ok(images) }
    }

    fn device(&self) -> Device {
        self.options().device
    }

    /// A tensor where the weights are, of their type.
    fn take(&self, x: &Tensor) -> Result<Tensor> {
        x.detach()?.to_device(self.device())?.to_dtype(self.options().dtype)
    }

    fn summary(&self) -> String {
        let o = self.options();
        format!(
            "autoencoder of {} parameters, {} on {}\n  images   [B, {}, H, W] to latents [B, {}, H/{f}, W/{f}] times {}\n  \
             stages   {:?}, {} residual blocks each, norms over {} groups",
            self.num_parameters(),
            o.dtype.name(),
            o.device,
            o.in_channels,
            o.latent_channels,
            o.scaling_factor,
            o.block_out_channels,
            o.layers_per_block,
            o.norm_num_groups,
            f = o.factor(),
        )
    }
}

impl Posterior {
    /// The mean, or with a generator of the CPU a draw, which has the type and device of the mean.
    pub fn pick(&self, generator: Option<&Generator>) -> Result<Tensor> {
        let Some(generator) = generator else { return Ok(self.mean.clone()) };
        let noise = Tensor::randn(&self.mean.shape(), DType::Float32, Device::Cpu, Some(generator))?;
        let noise = noise.to_device(self.mean.device())?.to_dtype(self.mean.dtype())?;
        self.mean.add(&self.logvar.mul_scalar(0.5)?.exp()?.mul(&noise)?)
    }
}

/// The first 12 hexadecimal digits of a hash.
pub(super) fn short(hasher: Sha256) -> String {
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The sizes of [B, `channels`, H, W], or an error that calls it `what`.
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

/// Applies `forward` to a few images at once, without gradients, and joins what it gives.
fn in_batches(
    label: &str,
    x: &Tensor,
    pixels: i64,
    batch: Option<usize>,
    device: Device,
    cx: &Context,
    forward: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let count = x.size(0)?;
    let fitting = (PIXELS[usize::from(device.is_cuda())] / pixels).max(1);
    let batch = batch.map_or(fitting, |batch| batch as i64).min(count);
    // What takes one step needs no bar.
    let mut bar = (batch < count).then(|| cx.bar(label, count as u64));
    let mut parts = Vec::new();
    for start in (0..count).step_by(batch as usize) {
        cx.check()?;
        let size = batch.min(count - start);
        parts.push(no_grad(|| forward(&x.narrow(0, start, size)?))?);
        if let Some(bar) = &mut bar {
            bar.update((start + size) as u64, "");
        }
    }
    Tensor::cat(&parts, 0)
}
