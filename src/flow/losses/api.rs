//! Namespace `loss`, and the methods of a loss.

use super::step::{self, StepOrMap};
use super::{EdmOptions, Loss, MinSnrOptions, Weight, scalar};
use crate::declare::{FromValue, Function, Options, Value};
use crate::flow::{Path, Timesteps};
use crate::functions;
use crate::spectral::basis::Basis;
use crate::torch::Tensor;

crate::api! {
    functions: [space, methods, step::methods],
}

/// Built-in losses.
pub mod space {
    use super::*;
    functions! { in "loss";
        /// Creates the mean squared error of the velocity, the default of `train::fit`.
        ///
        /// Source: Lipman et al. 2023, the conditional flow matching loss.
        ///
        /// ```rhai
        /// let target = tensor::zeros([2, 1, 4, 4]);
        /// let s = #{ v: target + 2.0, target: target, t: tensor::rand([2]) };
        /// assert_close(loss::mse().of(s), 4.0, 1e-6);
        /// ```
        fn mse() -> Loss { Ok(Loss::Mse) }

        /// Creates a squared error that weights each sample by its time.
        ///
        /// `weight` takes the times t [B] and returns the weights [B]. The loss is the mean over samples of the
        /// weight times the squared error of the sample.
        ///
        /// ```rhai
        /// let early = loss::weighted(|t| 1.0 - t);
        /// let target = tensor::zeros([2, 1, 4, 4]);
        /// let s = #{ v: target + 1.0, target: target, t: tensor([0.0, 0.5]) };
        /// assert_close(early.of(s), 0.75, 1e-6);
        /// ```
        fn weighted(weight: Function) -> Loss { Ok(Loss::Weighted(weight)) }

        /// Creates the min-SNR loss: the error of the predicted image, weighted by its signal-to-noise ratio up to `gamma`.
        ///
        /// On the straight path the weight of the squared velocity error is `min(t^2, gamma (1 - t)^2)`. Source: Hang et
        /// al. 2023, section 3.3. With another `predict` than "v", the velocity has a minimum divisor, see `least` of `flow::path`;
        /// where it is in force, the weight decreases further: for "x" by `((1 - t) / 0.05)^2` after t = 0.95.
        ///
        /// ```rhai
        /// let target = tensor::zeros([2, 1, 4, 4]);
        /// let s = #{ v: target + 1.0, target: target, t: tensor([0.5, 0.75]) };
        /// assert_close(loss::min_snr().of(s), (0.25 + 5.0 / 16.0) / 2.0, 1e-6);
        /// ```
        fn min_snr(options: MinSnrOptions) -> Loss {
            options.check()?;
            Ok(Loss::Named(Weight::MinSnr(options)))
        }

        /// Creates the loss of EDM: the error of the predicted image, weighted by `(sigma^2 + sigma_data^2) / (sigma
        /// sigma_data)^2`.
        ///
        /// On the straight path `sigma = (1 - t) / t`, and the weight of the squared velocity error is
        /// `t^2 + (1 - t)^2 / sigma_data^2`. EDM draws the times with `flow::edm()`. Source: Karras et al. 2022, table 1.
        /// With another `predict` than "v", the minimum divisor of the velocity decreases the weight as for `loss::min_snr`.
        ///
        /// ```rhai
        /// let target = tensor::zeros([2, 1, 4, 4]);
        /// let s = #{ v: target + 1.0, target: target, t: tensor([0.0, 1.0]) };
        /// assert_close(loss::edm().of(s), (4.0 + 1.0) / 2.0, 1e-6);
        /// ```
        fn edm(options: EdmOptions) -> Loss {
            options.check()?;
            Ok(Loss::Named(Weight::Edm(options)))
        }

        /// Creates a squared error that weights each sample by the probability density of a timestep sampler.
        ///
        /// With uniform times its expected gradients are those of `loss::mse()` with times of the sampler. Source: Esser
        /// et al. 2024 (Stable Diffusion 3), section 3.1.
        ///
        /// ```rhai
        /// let target = tensor::zeros([2, 1, 4, 4]);
        /// let s = #{ v: target + 1.0, target: target, t: tensor([0.5, 0.5]) };
        /// assert_close(loss::density("cosmap").of(s), 4.0 / 3.141592653589793, 1e-6);
        /// assert_close(loss::density(flow::uniform()).of(s), loss::mse().of(s), 1e-6);
        /// ```
        fn density(times: Timesteps) -> Loss { Ok(Loss::Named(Weight::Density(times))) }

        /// Creates a squared error of the coefficients of a transform, weighted by frequency.
        ///
        /// `weight` takes the frequency radii of `basis`, fractions of Nyquist, and returns weights that broadcast
        /// to the coefficients of images [B, C, H, W]. The loss is the sum of the weight times the squared error of
        /// each coefficient, divided by the number of pixels, so a weight of 1 in an orthonormal basis is
        /// `loss::mse()`.
        ///
        /// ```rhai
        /// let s = #{ v: tensor::randn([2, 1, 8, 8]), target: tensor::zeros([2, 1, 8, 8]), t: tensor::rand([2]) };
        /// assert_close(loss::spectral(basis::dct(), |r| r * 0.0 + 1.0).of(s), loss::mse().of(s), 1e-5);
        /// let low = loss::spectral(basis::fft(), |r| r < 0.25);
        /// let high = loss::spectral(basis::fft(), |r| r >= 0.25);
        /// assert_close(low.of(s) + high.of(s), loss::mse().of(s), 1e-5);
        /// ```
        fn spectral(basis: Basis, weight: Function) -> Loss { Ok(Loss::Spectral(basis, weight)) }
    }
}

/// Methods of a loss.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Returns the loss of a step, so that a custom loss can build on a built-in one.
        ///
        /// `s` is what `train::fit` passes to `loss`, or a map; a built-in loss reads `v`, `target` and `t`, and checks
        /// that its weights hold for `path` if it is there. The result is a scalar tensor.
        ///
        /// ```rhai
        /// let smooth = loss::spectral(basis::dct(), |r| 1.0 / (1.0 + r));
        /// let own = |s| smooth.of(s) + 0.1 * (s.v - s.target).abs().mean();
        /// let s = #{ v: tensor::ones([1, 1, 4, 4]), target: tensor::zeros([1, 1, 4, 4]), t: tensor([0.5]) };
        /// assert_close(own.call(s), 1.1, 1e-5);
        /// ```
        fn of(loss: Loss, s: StepOrMap) -> Tensor {
            let part = |name: &str| {
                let value = s.get(name)?.unwrap_or(Value::Unit);
                Tensor::from_value(&value).map_err(|e| e.context(format!("`s.{name}`")))
            };
            if let Loss::Function(function) = &loss {
                return scalar(&function.call(std::slice::from_ref(&s.0))?);
            }
            if let Some(path) = s.get("path")?.as_ref().and_then(Value::downcast::<Path>) {
                loss.check(&path)?;
            }
            loss.compute(|| part("v"), &part("target")?, &part("t")?, || Ok(s.0.clone()))
        }

        /// Returns whether two losses have the same kind and equal components.
        ///
        /// ```rhai
        /// assert(loss::mse() == loss::mse());
        /// ```
        fn equal["=="](a: Loss, b: Loss) -> bool { Ok(a == b) }

        /// Returns whether two losses differ.
        ///
        /// ```rhai
        /// assert(loss::mse() != loss::weighted(|t| t));
        /// ```
        fn differ["!="](a: Loss, b: Loss) -> bool { Ok(a != b) }
    }
}
