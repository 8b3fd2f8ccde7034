//! Interpolants: how much of the image and of the noise a point of the path has at each time.

use super::Path;
use super::predict::column;
use crate::declare::{Choice, Function, IntoValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::answer;
use crate::torch::autograd::is_recording;
use crate::torch::{DType, Tensor, autograd, enable_grad};

/// Interpolant `x_t = alpha(t) x1 + sigma(t) noise`, from noise at time 0 to data at time 1 (Ma et al. 2024, SiT, section 2
/// and table 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Interpolant {
    /// `alpha = t` and `sigma = 1 - t`, the straight path.
    #[default]
    Linear,
    /// Generalized variance-preserving: `alpha = sin(pi t / 2)` and `sigma = cos(pi t / 2)`.
    Gvp,
    /// Variance-preserving diffusion with rates from 0.1 to 20 (Song et al. 2021, equation 33).
    Vp,
}

/// Rates of the variance-preserving diffusion at data and at noise.
const RATES: (f64, f64) = (0.1, 20.0);

/// Latest time at which the slope of the noise of [`Interpolant::Vp`] is computed; it is infinite at 1.
const LAST: f64 = 1.0 - 1e-5;

/// Distance from an end at which the derivative of a function is computed that is infinite there, and those of factors at times
/// that record gradients.
const EDGE: f64 = 1e-5;

/// Factors of image and noise at times `[B]` and their derivatives, float64 of the shape of the times.
#[derive(Debug)]
pub(super) struct Factors {
    pub alpha: Tensor,
    pub sigma: Tensor,
    pub d_alpha: Tensor,
    pub d_sigma: Tensor,
}

impl Interpolant {
    /// Returns the factors at times t.
    pub(super) fn at(self, t: &Tensor) -> Result<Factors> {
        let t = t.to_dtype(DType::Float64)?;
        let rest = t.rsub_scalar(1.0)?;
        let constant = |value: f64| t.mul_scalar(0.0)?.add_scalar(value);
        match self {
            Interpolant::Linear => Ok(Factors {
                alpha: t.clone(),
                sigma: rest,
                d_alpha: constant(1.0)?,
                d_sigma: constant(-1.0)?,
            }),
            Interpolant::Gvp => {
                let half = std::f64::consts::FRAC_PI_2;
                let angle = t.mul_scalar(half)?;
                let (alpha, sigma) = (angle.sin()?, angle.cos()?);
                Ok(Factors {
                    d_alpha: sigma.mul_scalar(half)?,
                    d_sigma: alpha.mul_scalar(-half)?,
                    alpha,
                    sigma,
                })
            }
            Interpolant::Vp => {
                let rest = t.clamp_max(LAST)?.rsub_scalar(1.0)?;
                let (low, high) = RATES;
                // Logarithm of alpha.
                let decay =
                    rest.square()?.mul_scalar(-0.25 * (high - low))?.sub(&rest.mul_scalar(0.5 * low)?)?;
                let slope = rest.mul_scalar(0.5 * (high - low))?.add_scalar(0.5 * low)?;
                let alpha = decay.exp()?;
                let sigma = decay.mul_scalar(2.0)?.expm1()?.neg()?.sqrt()?;
                let d_alpha = alpha.mul(&slope)?;
                let d_sigma = alpha.mul(&d_alpha)?.div(&sigma)?.neg()?;
                Ok(Factors { alpha, sigma, d_alpha, d_sigma })
            }
        }
    }
}

impl Factors {
    /// Returns the factors that the functions `alpha` and `sigma` return for times t. Gradients flow to times that record them.
    pub fn by(functions: [&Function; 2], t: &Tensor) -> Result<Self> {
        let values = Self::detached(functions, t)?;
        if !(t.requires_grad() && is_recording()) {
            return Ok(values);
        }
        let t = t.to_dtype(DType::Float64)?;
        // Inside of the ends all derivatives are finite.
        let inside = t.add(&t.clamp(EDGE, 1.0 - EDGE)?.sub(&t)?.detach()?)?;
        let [(alpha, d_alpha), (sigma, d_sigma)] =
            [recorded("alpha", functions[0], &inside)?, recorded("sigma", functions[1], &inside)?];
        // The values with the gradients of others.
        let with = |value: Tensor, like: Tensor| value.add(&like.sub(&like.detach()?)?);
        Ok(Self {
            alpha: with(values.alpha, alpha)?,
            sigma: with(values.sigma, sigma)?,
            d_alpha: with(values.d_alpha, d_alpha)?,
            d_sigma: with(values.d_sigma, d_sigma)?,
        })
    }

    /// Returns the factors that the functions return for times t, without gradients.
    fn detached([alpha, sigma]: [&Function; 2], t: &Tensor) -> Result<Self> {
        let exact = t.detach()?.to_dtype(DType::Float64)?;
        let both = Tensor::cat(&[exact.clone(), exact.clamp(EDGE, 1.0 - EDGE)?], 0)?;
        let count = exact.size(0)?;
        let [alpha, sigma] = [sloped("alpha", alpha, &both, count)?, sloped("sigma", sigma, &both, count)?];
        let here =
            Self { alpha: alpha.value, sigma: sigma.value, d_alpha: alpha.slope, d_sigma: sigma.slope };
        // Where both slopes vanish, a velocity of zero says nothing of image and noise; just inside it does.
        let lost = here.determinant()?.eq_scalar(0.0)?;
        Ok(Self {
            d_alpha: alpha.inside.where_true(&lost, &here.d_alpha)?,
            d_sigma: sigma.inside.where_true(&lost, &here.d_sigma)?,
            ..here
        })
    }

    /// Returns the point of the path and its velocity.
    pub fn point(&self, image: &Tensor, noise: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((sum(&self.alpha, image, &self.sigma, noise)?, sum(&self.d_alpha, image, &self.d_sigma, noise)?))
    }

    /// Returns image and noise of a point x of the path with velocity v.
    pub fn split(&self, x: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let Self { alpha, sigma, d_alpha, d_sigma } = self;
        let determinant = self.determinant()?;
        let over = |factor: &Tensor| factor.div(&determinant);
        let image = sum(&over(d_sigma)?, x, &over(&sigma.neg()?)?, v)?;
        Ok((image, sum(&over(alpha)?, v, &over(&d_alpha.neg()?)?, x)?))
    }

    fn determinant(&self) -> Result<Tensor> {
        self.alpha.mul(&self.d_sigma)?.sub(&self.sigma.mul(&self.d_alpha)?)
    }
}

/// Values of a function of time and their derivatives.
struct Sloped {
    value: Tensor,
    slope: Tensor,
    /// Derivatives a little inside of the ends.
    inside: Tensor,
}

/// Returns what a function returns for times t that record gradients, float64 of their shape.
fn called(name: &str, function: &Function, t: &Tensor) -> Result<Tensor> {
    let what = format!("`{name}` of the path");
    let answer = function.call_as(&what, &[t.clone().into_value()])?;
    let constant = match answer {
        Value::Float(number) => Some(number),
        Value::Int(number) => Some(number as f64),
        _ => None,
    };
    let value = match constant {
        Some(number) => t.detach()?.mul_scalar(0.0)?.add_scalar(number)?,
        None => answer::tensor(&answer, &what, &format!("{}, or a number", t.signature()))?,
    };
    ensure!(
        value.shape() == t.shape() && value.dtype().is_float(),
        "{what} must return one number for each time, a {}, found a {}",
        t.signature(),
        value.signature()
    );
    if constant.is_none() && !value.requires_grad() {
        return Err(Error::argument(format!(
            "{what} must return what it computed from t by operations that record gradients, since its derivative is the velocity"
        ))
        .hint("leave out `detach`, `no_grad`, rounding and look-ups; a constant is a number: `|t| 1.0`"));
    }
    value.to_dtype(DType::Float64)
}

/// Returns the derivatives of values of a function of time at its times; with `again` they can be differentiated again.
fn slope(value: &Tensor, t: &Tensor, again: bool) -> Result<Tensor> {
    let found = match value.requires_grad() {
        true => autograd::grad(&[value.sum(&[], false)?], std::slice::from_ref(t), None, again, again)?
            .into_iter()
            .next()
            .flatten(),
        false => None,
    };
    found.map_or_else(|| t.detach()?.mul_scalar(0.0), Ok)
}

/// Returns what a function returns for times t, which record gradients, and its derivatives, both with gradients.
fn recorded(name: &str, function: &Function, t: &Tensor) -> Result<(Tensor, Tensor)> {
    let value = called(name, function, t)?;
    let slope = slope(&value, t, true)?;
    Ok((value, slope))
}

/// Returns what a function returns for the first `count` of the times, and its derivative there or, where it is not finite, at the
/// others.
fn sloped(name: &str, function: &Function, times: &Tensor, count: i64) -> Result<Sloped> {
    enable_grad(|| {
        let t = times.copy()?.set_requires_grad(true)?;
        let value = called(name, function, &t)?;
        let slope = slope(&value, &t, false)?;
        let (here, inside) = (slope.narrow(0, 0, count)?, slope.narrow(0, count, count)?);
        let value = value.detach()?.narrow(0, 0, count)?;
        Ok(Sloped { value, slope: here.where_true(&here.isfinite()?, &inside)?, inside })
    })
}

/// Returns an error unless the path is noise at time 0 and data at time 1, with finite factors.
pub(super) fn check_ends(path: &Path) -> Result<()> {
    for (t, [main, other], what) in [(0.0, [1, 0], "noise"), (1.0, [0, 1], "data")] {
        let slopes = path.slopes(t)?;
        let names = ["alpha", "sigma"];
        for (value, name) in slopes.iter().zip([
            "`alpha`",
            "`sigma`",
            "the derivative of `alpha`",
            "the derivative of `sigma`",
        ]) {
            ensure!(value.is_finite(), "{name} of the path must be finite at time {t}, found {value}");
        }
        if slopes[main] <= slopes[other].abs() {
            return Err(Error::argument(format!(
                "time {t} is {what}, where `{}` must be above `{}`, found {} and {}",
                names[main], names[other], slopes[main], slopes[other]
            ))
            .hint("times run from noise, 0, to data, 1: a schedule of a paper that runs the other way takes `1.0 - t`"));
        }
    }
    Ok(())
}

/// Returns `a x + b y` with one factor per sample.
pub(super) fn sum(a: &Tensor, x: &Tensor, b: &Tensor, y: &Tensor) -> Result<Tensor> {
    column(a, x)?.mul(x)?.add(&column(b, y)?.mul(y)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(interpolant: Interpolant, t: f64) -> [f64; 4] {
        let Factors { alpha, sigma, d_alpha, d_sigma } =
            interpolant.at(&Tensor::from_f64(&[t], &[1]).unwrap()).unwrap();
        [alpha, sigma, d_alpha, d_sigma].map(|x| x.to_f64().unwrap()[0])
    }

    #[test]
    fn factors_by_hand() {
        assert_eq!(at(Interpolant::Linear, 0.25), [0.25, 0.75, 1.0, -1.0]);
        let gvp = at(Interpolant::Gvp, 1.0 / 3.0);
        assert!((gvp[0] - 0.5).abs() < 1e-15 && (gvp[1] - 0.75f64.sqrt()).abs() < 1e-15, "{gvp:?}");
        // At t = 0 the rates have a mean of 10.05.
        let vp = at(Interpolant::Vp, 0.0);
        assert!((vp[0] - (-10.05f64 / 2.0).exp()).abs() < 1e-15, "{vp:?}");
        assert!((vp[2] - vp[0] * 10.0).abs() < 1e-15);
    }

    #[test]
    fn derivatives_are_slopes_and_variances_are_preserved() {
        for interpolant in Interpolant::ALL.iter().copied() {
            for t in [0.1, 0.5, 0.9] {
                let [low, here, high] = [t - 1e-6, t, t + 1e-6].map(|t| at(interpolant, t));
                for (value, slope) in [(0, 2), (1, 3)] {
                    let measured = (high[value] - low[value]) / 2e-6;
                    assert!((measured - here[slope]).abs() < 1e-6, "{interpolant} {t}");
                }
                if interpolant != Interpolant::Linear {
                    assert!((here[0].powi(2) + here[1].powi(2) - 1.0).abs() < 1e-14, "{interpolant} {t}");
                }
            }
        }
        assert!(at(Interpolant::Vp, 1.0).iter().all(|x| x.is_finite()));
    }
}
