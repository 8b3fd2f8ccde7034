//! Namespace `flow`: paths, velocities and samplers.

use crate::declare::{Function, IntoValue, Options};
use crate::error::{Error, Result};
use crate::flow::likelihood::{Likelihood, LikelihoodOptions};
use crate::flow::ode::adaptive::Tolerance;
use crate::flow::ode::{OdeSolver, Scheme, Solver};
use crate::flow::path::{self, Facts, Given, PathStep, Predict};
use crate::flow::sample::{Labels, step};
use crate::flow::variational::{DiffusionLoss, DiffusionLossOptions};
use crate::flow::{self, GuidanceOptions, Pair, Path, SampleOptions, Timesteps, losses, timesteps};
use crate::functions;
use crate::model::Model;
use crate::torch::{Device, Fields, Generator, Tensor, no_grad};

crate::api! {
    types: [Timesteps, Path, PathStep, flow::Loss, losses::Step, step::SamplingStep, step::State],
    functions: [
        space, timesteps, methods, losses::api, step::methods, step::properties, path::step::methods, path::step::properties
    ],
}

/// Options of `flow::pair`.
#[derive(Debug, Clone, Options)]
pub struct PairOptions {
    /// Noise of the images' shape, used instead of drawing it and moved to their device.
    pub noise: Option<Tensor>,
    /// Generator to draw from, instead of the device's default one.
    pub generator: Option<Generator>,
}

/// Options of `path.pair`.
#[derive(Debug, Clone, Options)]
pub struct PathPairOptions {
    /// Noise of the images' shape, used instead of drawing it and moved to their device.
    pub noise: Option<Tensor>,
    /// Generator to draw from, instead of the device's default one.
    pub generator: Option<Generator>,
    /// Labels of the images, which functions of the path read as `c.labels`.
    pub labels: Option<Labels>,
    /// Fields of the images by name, tensors [B, ..] that functions of the path read as `c.fields.NAME`.
    pub fields: Fields,
    /// Positions of the images in a data set, `c.indices`.
    pub indices: Option<Tensor>,
    /// Training step, `c.step`.
    #[option(range = 0..)]
    pub step: Option<i64>,
    /// Seed of the step, `c.seed`.
    #[option(range = 0..)]
    pub seed: Option<i64>,
}

/// Options of `flow::integrate`.
#[derive(Debug, Clone, Options)]
pub struct IntegrateOptions {
    /// Number of equal steps from `from` to `to`.
    #[option(default = 50, range = 1..=1000000)]
    pub steps: usize,
    /// Solver: `euler` evaluates the velocity once per step, `heun` twice, `rk4` four times. `dopri5` and `adaptive_heun`
    /// choose the steps of each row by `rtol` and `atol`; the velocity is then called with the rows that have not arrived.
    pub sampler: OdeSolver,
    /// Permitted error of a step of an adaptive solver, relative to the state.
    #[option(default = 1e-3, range = 1e-12..=1.0)]
    pub rtol: f64,
    /// Permitted absolute error of a step of an adaptive solver.
    #[option(default = 1e-6, range = 1e-12..=1.0)]
    pub atol: f64,
    /// Start time; 0 is noise.
    #[option(default = 0.0)]
    pub from: f64,
    /// End time; 1 is data.
    #[option(default = 1.0)]
    pub to: f64,
    /// Whether to record gradients through all steps.
    #[option(default = false)]
    pub record: bool,
}

/// Options of `timesteps.draw`.
#[derive(Debug, Clone, Options)]
pub struct DrawOptions {
    /// Device of the result.
    #[option(default = Device::of_new())]
    pub device: Device,
    /// Seed of a new generator; by default the device's default generator draws.
    pub seed: Option<u64>,
    /// Generator to draw from, instead of a seed.
    pub generator: Option<Generator>,
}

fn integrate_function(
    velocity: &Function,
    start: &Tensor,
    options: &IntegrateOptions,
    context: &crate::context::Context,
) -> Result<Tensor> {
    let (count, dtype) = (start.shape().first().copied().unwrap_or(1), start.dtype());
    let call = |x: &Tensor, times: Tensor| {
        context.check()?;
        let answer = velocity.call(&[x.clone().into_value(), times.to_dtype(dtype)?.into_value()])?;
        answer.downcast::<Tensor>().ok_or_else(|| answer.mismatch("a tensor from the velocity function"))
    };
    let run = || match Solver::from(options.sampler).scheme() {
        Scheme::Fixed(method) => {
            let mut bar = context.late_bar("integrate", options.steps as u64);
            let mut field = |x: &Tensor, t: f64| call(x, Tensor::full(&[count], t, dtype, x.device())?);
            method.integrate(&mut field, start, (options.from, options.to), options.steps, |done| {
                bar.update(done as u64, "");
            })
        }
        Scheme::Adaptive(method) => {
            let tolerance = Tolerance { rtol: options.rtol, atol: options.atol };
            let mut field = |x: &Tensor, t: &[f64], _: &[usize]| {
                call(x, Tensor::from_f64(t, &[t.len() as i64])?.to_device(x.device())?)
            };
            Ok(method.integrate(&mut field, start, (options.from, options.to), tolerance, |_| ())?.0)
        }
        Scheme::Stochastic(_) | Scheme::Discrete { .. } | Scheme::Own => {
            Err(Error::internal(format!("the solver `{}` does not follow a velocity alone", options.sampler)))
        }
    };
    if options.record { run() } else { no_grad(run) }
}

pub mod space {
    use super::*;
    functions! { in "flow";
        /// Creates the path that training and sampling share: noise, interpolation, training times and prediction
        /// target.
        ///
        /// Pass it as `path` to `train::fit` and to `flow::sample`. Without options it is the straight path with
        /// standard normal noise and a network that predicts the velocity, which is the default of both.
        ///
        /// With `predict: "x"` the velocity is `(x - x_t) / max(1 - t, 0.05)`, with `"noise"` it is
        /// `(x_t - noise) / max(t, 0.05)`. Both are velocities of the straight path; its target is scaled in the
        /// same way near its end, so that an exact network has no loss. What the functions return must have the
        /// shape and dtype of the images.
        ///
        /// `interpolant` selects other factors of image and noise, `x_t = alpha(t) x1 + sigma(t) noise`, as in SiT, and `alpha` and
        /// `sigma` are functions that return others. A network
        /// that predicts the score returns `-noise / sigma`, for standard normal noise. With `mix` the network predicts the
        /// velocity.
        ///
        /// With `predict: "ddpm"` the network is a public DiT (`family: "dit"`): it receives
        /// `x_t / sqrt(t^2 + (1 - t)^2)` and the step from 0 to 999 that has the signal-to-noise ratio of t, and the
        /// velocity is `(x_t - noise) / max(t, 0.0063)`.
        ///
        /// It also takes a path as stored by a run or a checkpoint, `run.settings.path`, and compiles the code in
        /// it. Source: Li and He 2025, "Back to Basics: Let Denoising Generative Models Denoise".
        ///
        /// ```rhai
        /// let smooth = |z, x1| basis::fft().scale(z, |r| 1.0 / (1.0 + r));   // noise with less of high frequencies
        /// let path = flow::path(#{ noise: smooth, predict: "x" });
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4, path: path });
        /// assert_eq(flow::sample(run.ema, #{ labels: [0, 1], steps: 2, path: path }).shape, [2, 1, 4, 4]);
        /// let plain = flow::path(#{ predict: "noise", times: "logit_normal" });
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4, path: plain });
        /// assert(flow::path(run.settings.path) == plain);
        /// // The shifted cosine schedule of simple diffusion (Hoogeboom et al. 2023), with log SNR lowered by 2 ln 2.
        /// let angle = |t| (2.0 * ((1.0 - t) * PI() / 2.0).tan()).atan();
        /// let cosine = flow::path(#{ alpha: |t| angle.call(t).cos(), sigma: |t| angle.call(t).sin(), predict: "noise" });
        /// assert_eq(flow::sample(model, #{ labels: [0], steps: 2, path: cosine, sampler: "euler_maruyama" }).shape, [1, 1, 4, 4]);
        /// ```
        fn path<cx>(options: Given) -> Path { options.path(cx) }

        /// Mixes images with noise: returns the point on the straight path at each time, and the velocity there.
        ///
        /// `x1` is [B, ..] and `t` is [B] in [0, 1], where 0 is noise and 1 is data. Returns a map of
        /// `x_t = (1 - t) noise + t x1`, `target = x1 - noise`, and `noise`. Source: Liu et al. 2023 (rectified
        /// flow), equation 1.
        ///
        /// ```rhai
        /// let x1 = tensor::ones([2, 3]);
        /// let pair = flow::pair(x1, tensor::zeros([2]) + 0.25, #{ noise: tensor::zeros([2, 3]) });
        /// assert_close(pair.x_t, x1 * 0.25, 1e-7);
        /// assert_close(pair.target, x1, 1e-7);
        /// ```
        fn pair(x1: Tensor, t: Tensor, options: PairOptions) -> Pair {
            path::pair(&x1, &t.to_device(x1.device())?, options.noise.as_ref(), options.generator.as_ref())
        }

        /// Computes the training loss: the mean squared error of a velocity against the path's target.
        ///
        /// `velocity` is the model's output and `target` is that of `flow::pair`; half precision is converted to
        /// float32 first. Returns a scalar tensor.
        ///
        /// ```rhai
        /// let target = tensor::zeros([2, 3]);
        /// assert_close(flow::loss(target + 2.0, target), 4.0, 1e-6);
        /// ```
        fn loss(velocity: Tensor, target: Tensor) -> Tensor {
            flow::loss::loss(&velocity, &target)
        }

        /// Computes the training loss of a public DiT, for a custom training loop.
        ///
        /// `model` is of the family `dit`, `images` is [B, C, H, W] and `labels` are those that the model receives: some may
        /// have been replaced by the null label. Draws a step of the diffusion and noise for each image. Returns a map of
        /// `mse`, the mean squared error of the noise of each image `[B]`; `vb`, which trains the variances of a model with
        /// `learn_sigma` and does not change its noise: the term of the variational bound in bits per number `[B]`; and
        /// `loss`, the mean of their sums. This is the loss of the public code, its `LossType.MSE`, and with all 1000 steps its
        /// `RESCALED_MSE` too. `train::fit` trains a DiT on the straight path instead.
        ///
        /// The first step counts the code length of 8-bit images, as in the public code, even for latents. Source:
        /// Ho et al. 2020, equations 12 and 13; Nichol and Dhariwal 2021, section 3.1.
        ///
        /// ```rhai
        /// let sizes = #{ image_size: 8, in_channels: 4, patch_size: 2, num_classes: 5, depth: 1, hidden_size: 48, num_heads: 3 };
        /// let dit = model::dit(sizes + #{ family: "dit" });
        /// let adam = optim::adamw(dit, #{ lr: 1e-3 });
        /// let found = flow::diffusion_loss(dit, tensor::randn([2, 4, 8, 8]), [1, 5]);
        /// adam.step(found.loss);
        /// assert_eq(found.vb.shape, [2]);
        /// ```
        fn diffusion_loss(model: Model, images: Tensor, labels: Labels, options: DiffusionLossOptions) -> DiffusionLoss {
            flow::variational::diffusion_loss(&model, &images, &labels, &options)
        }

        /// Computes a model's velocity with classifier-free guidance.
        ///
        /// `x` is [B, C, H, W], `t` is [B] in [0, 1] and `y` is [B] int64. Returns
        /// `v_null + guidance (v_cond - v_null)`, both from one forward pass of 2 B images; with guidance 1 it is
        /// the plain forward pass. Gradients flow through. Source: Ho and Salimans 2022, equation 6.
        ///
        /// ```rhai
        /// let model = model::dit(#{ preset: "fashion_tiny" });
        /// let x = tensor::zeros([2, 1, 28, 28]);
        /// let v = flow::velocity(model, x, tensor::zeros([2]), tensor::zeros([2], #{ dtype: "int64" }), #{ guidance: 3 });
        /// assert_eq(v.shape, [2, 1, 28, 28]);
        /// ```
        fn velocity(model: Model, x: Tensor, t: Tensor, y: Tensor, options: GuidanceOptions) -> Tensor {
            flow::guidance::velocity(&model, &x, &t, &y, &options)
        }

        /// Generates images from noise by integrating a model's velocity.
        ///
        /// Returns [B, C, H, W] in [-1, 1], one image per label. Images and the state are float32 even for a model in
        /// bfloat16 or float16; only the model's input and output have its dtype. The model is evaluated `steps`
        /// times for `euler`, twice as often for `heun` and four times as often for `rk4`, on twice the batch when
        /// guidance applies. Equal seeds start from equal noise on every device. No gradients are recorded.
        ///
        /// `dopri5` and `adaptive_heun` choose the steps of each image, and a note says how many evaluations they took.
        /// `euler_maruyama` and `sde_heun` solve the stochastic equation with the same distributions (SiT, equation 9);
        /// an image's noise depends on its seed and row alone. See the guide on sampling.
        ///
        /// `ddpm` and `ddim` take `steps` of the 1000 steps of the diffusion of a public DiT, with the path
        /// `predict: "ddpm"` and the variance that the model predicts. With `guidance_channels: 3` and `clamp: false`
        /// they compute the images of the public code.
        ///
        /// `guide`, `velocity` and `keep` change the computation of each step; they must return tensors of the shape
        /// and dtype of the state. `start` with `from` begins from a given state, and `to` before `from` integrates
        /// back towards noise.
        ///
        /// On several ranks, each rank computes a part of the groups of `batch` images, and all ranks return all
        /// images.
        ///
        /// ```rhai
        /// let model = model::dit(#{ preset: "fashion_tiny" });
        /// let images = flow::sample(model, #{ labels: [0, 1], steps: 2, guidance: 2.0 });
        /// assert_eq(images.shape, [2, 1, 28, 28]);
        /// let sizes = #{ image_size: 8, in_channels: 4, patch_size: 2, num_classes: 5, depth: 1, hidden_size: 48, num_heads: 3 };
        /// let dit = model::dit(sizes + #{ family: "dit" });
        /// let ddpm = flow::path(#{ predict: "ddpm" });
        /// let latents = flow::sample(dit, #{ labels: [0, 1], sampler: "ddpm", steps: 5, guidance: 4.0, guidance_channels: 3, path: ddpm, clamp: false });
        /// assert_eq(latents.shape, [2, 4, 8, 8]);
        /// // Guidance of the low frequencies alone.
        /// let low = |cond, uncond, x, t| cond + 2.0 * basis::dct().scale(cond - uncond, |r| r < 0.25);
        /// let images = flow::sample(model, #{ labels: [0, 1], steps: 2, guide: low });
        /// // Half of an image again, the other half as it is.
        /// let noise = tensor::randn([2, 1, 28, 28]);
        /// let known = images.clamp(-1.0, 1.0);
        /// let mask = tensor::cat([tensor::ones([28, 14]), tensor::zeros([28, 14])], 1);
        /// let keep = |x, t| mask * flow::pair(known, t, #{ noise: noise }).x_t + (1.0 - mask) * x;
        /// let filled = flow::sample(model, #{ labels: [0, 1], steps: 2, noise: noise, keep: keep });
        /// assert_close(mask * filled, mask * known, 1e-6);
        /// ```
        fn sample<cx>(model: Model, options: SampleOptions) -> Tensor { flow::sample::sample(&model, &options, cx) }

        /// Computes the log likelihoods of images under a model, by integrating its velocity back to noise.
        ///
        /// `images` is [B, C, H, W]. Returns a map of `bits_per_dim`, the negative log likelihood in bits per number
        /// of an image, float64 `[B]`; `nats`, the log likelihood of the whole image, float64 `[B]`; `noise`, to
        /// which the image leads back, [B, C, H, W]; and `evaluations` of the model, int64 `[B]`. Each image has its
        /// own steps (`dopri5`), so it does not depend on the others. No gradients of the result are recorded.
        ///
        /// The density is that of the tensor that is passed, such as latents. For 8-bit images scaled to [-1, 1], the
        /// bits per dimension of the levels from 0 to 255 are larger by 6.99, `log2(127.5)`; published values also
        /// add uniform noise of one level to the images.
        ///
        /// `log p(x1) = log p(x0) - int_0^1 div v dt` with the standard normal density of x0 (Chen et al. 2018, theorem 1).
        /// The divergence is the mean of `e^T (dv / dx) e` over `probes` fixed probes e (Hutchinson's estimate; Grathwohl
        /// et al. 2019, FFJORD, equation 8; Song et al. 2021, section 4.3), so the result is unbiased; `probe: "exact"`
        /// computes it with one derivative for each number of an image.
        ///
        /// ```rhai
        /// // A velocity of -x / 2 leads from noise with the standard deviation 1 to data with exp(-1 / 2).
        /// let net = nn::model(#{ image_shape: [1, 2, 2], num_classes: 1, name: "shrink", make: |b| |x, t, y| -0.5 * x });
        /// let found = flow::log_likelihood(net, tensor::zeros([1, 1, 2, 2]), #{ rtol: 1e-7 });
        /// assert_close(found.nats, 4.0 * (0.5 - 0.5 * ln(2.0 * PI())), 1e-4);
        /// assert_close(found.bits_per_dim, -found.nats / (4.0 * ln(2.0)), 1e-6);
        /// ```
        fn log_likelihood<cx>(model: Model, images: Tensor, options: LikelihoodOptions) -> Likelihood {
            flow::likelihood::log_likelihood(&model, &images, &options, cx)
        }

        /// Integrates a custom velocity function from noise to data.
        ///
        /// `velocity` is called with the state [B, ..] and the times [B], and returns the velocity there, of the
        /// state's shape: `steps` calls for `euler`, twice as many for `heun`, four times as many for `rk4`.
        /// `start` is the state at time `from`; the result is the state at time `to`, which may be smaller than
        /// `from`.
        ///
        /// ```rhai
        /// // dx/dt = x grows by a factor of e from 0 to 1.
        /// let end = flow::integrate(|x, t| x, tensor::ones([1]), #{ steps: 20, sampler: "rk4" });
        /// assert_close(end, 2.718282, 1e-5);
        /// let end = flow::integrate(|x, t| x, tensor::ones([1]), #{ sampler: "dopri5", rtol: 1e-5 });
        /// assert_close(end, 2.718282, 1e-4);
        /// ```
        fn integrate<cx>(velocity: Function, start: Tensor, options: IntegrateOptions) -> Tensor {
            integrate_function(&velocity, &start, &options, cx)
        }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Draws times as a float32 tensor [count] in [0, 1].
        ///
        /// ```rhai
        /// let times = flow::logit_normal(#{ std: 0.0 });
        /// assert_close(times.draw(2), tensor::zeros([2]) + 0.5, 1e-7);
        /// ```
        fn draw(sampler: Timesteps, count: i64, options: DrawOptions) -> Tensor {
            let generator = match (options.generator, options.seed) {
                (None, Some(seed)) => Some(Generator::new(seed, options.device)?),
                (given, _) => given,
            };
            sampler.draw(count, options.device, generator.as_ref())
        }

        /// Returns the probability density at times t in [0, 1], as float64 of their shape.
        ///
        /// Uniform times with the loss `loss::density(sampler)` have the same expected gradients as times drawn by the
        /// sampler.
        ///
        /// ```rhai
        /// assert_close(flow::uniform().density(tensor([0.2, 0.9])), [1.0, 1.0], 1e-12);
        /// let sampler = flow::cosmap();
        /// assert_close(sampler.density(tensor([0.5])), [4.0 / 3.141592653589793], 1e-12);
        /// ```
        fn density(sampler: Timesteps, t: Tensor) -> Tensor { sampler.density(&t) }

        /// Converts an output of the network to a velocity, according to the path's `predict`.
        ///
        /// `x` is the state [B, ..] and `t` is [B]. If the path predicts the velocity, the output is returned as it
        /// is.
        ///
        /// ```rhai
        /// let x1 = tensor::randn([2, 1, 4, 4]);
        /// let t = tensor([0.25, 0.5]);
        /// let path = flow::path(#{ predict: "x" });
        /// let pair = path.pair(x1, t);
        /// assert_close(path.velocity(x1, pair.x_t, t), x1 - pair.noise, 1e-5);
        /// ```
        fn velocity(path: Path, output: Tensor, x: Tensor, t: Tensor) -> Tensor { path.velocity(output, &x, &t) }

        /// Converts an output of the network to another prediction: "v", "x", "noise" or "score".
        ///
        /// `x` is the state [B, ..] and `t` is [B]. With `x_t = alpha x1 + sigma noise`, the velocity is
        /// `alpha' x1 + sigma' noise` and the score `-noise / sigma`, which is refused for a path with `noise` of its own.
        /// Divisors are at least `min_divisor`; "v" is `path.velocity`. Source: Ma et al. 2024 (SiT), section 2.
        ///
        /// ```rhai
        /// let x1 = tensor::randn([2, 3]);
        /// let noise = tensor::randn([2, 3]);
        /// let t = tensor([0.25, 0.5]);
        /// let path = flow::path(#{ interpolant: "gvp" });
        /// let pair = path.pair(x1, t, #{ noise: noise });
        /// assert_close(path.convert(pair.target, pair.x_t, t, "x"), x1, 1e-5);
        /// assert_close(path.convert(pair.target, pair.x_t, t, "noise"), noise, 1e-5);
        /// ```
        fn convert(path: Path, output: Tensor, x: Tensor, t: Tensor, to: Predict) -> Tensor {
            path.convert(&output, &x, &t, to)
        }

        /// Mixes images with noise according to the path; returns the map of `flow::pair` and the additional entries
        /// of `mix`.
        ///
        /// Times [B, 1, H, W] mix each pixel at its own time. The functions of the path read the other options from
        /// their last argument.
        ///
        /// ```rhai
        /// let path = flow::path(#{ noise: |z, x1| 2.0 * z });
        /// let pair = path.pair(tensor::ones([2, 3]), tensor([0.0, 1.0]));
        /// assert_close(pair.x_t[0], pair.noise[0], 1e-6);
        /// let apart = flow::path(#{ noise: |z, x1, c| c.fields.source });
        /// let pair = apart.pair(tensor::ones([2, 3]), tensor([0.0, 1.0]), #{ fields: #{ source: tensor::zeros([2, 3]) } });
        /// assert_close(pair.x_t.mean(1), tensor([0.0, 1.0]), 1e-6);
        /// ```
        fn pair(path: Path, x1: Tensor, t: Tensor, options: PathPairOptions) -> Pair {
            let PathPairOptions { noise, generator, labels, fields, indices, step, seed } = options;
            let labels = labels.map(|labels| labels.tensor()?.to_device(x1.device())).transpose()?;
            let facts = Facts { labels, fields: fields.to_device(x1.device())?, indices, step, seed };
            if let Some(count) = x1.shape().first() {
                facts.check_rows(*count)?;
            }
            path.pair(&x1, &t, noise.as_ref(), generator.as_ref(), &facts.into())
        }

        /// Returns whether two paths have equal options; functions are equal if their code is.
        ///
        /// ```rhai
        /// assert(flow::path() == flow::path(#{ predict: "v" }));
        /// ```
        fn equal["=="](a: Path, b: Path) -> bool { Ok(a == b) }

        /// Returns whether two paths differ.
        ///
        /// ```rhai
        /// assert(flow::path() != flow::path(#{ predict: "x" }));
        /// ```
        fn differ["!="](a: Path, b: Path) -> bool { Ok(a != b) }
    }
}
