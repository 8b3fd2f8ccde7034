//! Steps of the discrete diffusion on which DiT is trained, as in its public code: DDPM (Ho et al. 2020, algorithm 2) with
//! learned or fixed variances (Nichol and Dhariwal 2021, equation 15), and DDIM (Song et al. 2021, equation 12).
//!
//! With `a` the product of `1 - beta` up to a step, a point is `sqrt(a) image + sqrt(1 - a) noise`.

use crate::declare::Choice;
use crate::error::{Error, Result};
use crate::flow::path::ddpm::{BETAS, STEPS};
use crate::model::Model;
use crate::torch::Tensor;

/// Which of the 1000 steps are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Spacing {
    /// From the first to the last with equal distances, rounded to the nearest step.
    #[default]
    Even,
    /// Every k-th from the first, with the smallest k that gives the number of steps.
    Stride,
}

/// Variance of a step with noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Variance {
    /// Between small and large, on a logarithmic scale, as the model predicts (`learn_sigma`).
    Learned,
    /// That of the step before for a known image.
    Small,
    /// beta.
    Large,
}

impl Variance {
    /// Returns the given variance or, without one, the usual one of the model.
    pub(super) fn of(given: Option<Self>, model: &Model) -> Result<Self> {
        let learned = model.out_channels() > model.image_shape()[0];
        match given {
            None if learned => Ok(Variance::Learned),
            None => Ok(Variance::Large),
            Some(Variance::Learned) if !learned => Err(Error::argument(format!(
                "`variance: \"learned\"` needs a model that returns variances, found one that returns {} channels",
                model.out_channels()
            ))
            .hint("make the model with `learn_sigma: true`, or use the variance \"large\" or \"small\"")),
            Some(variance) => Ok(variance),
        }
    }
}

/// How a step is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Ddpm(Variance),
    Ddim { eta: f64 },
}

impl Spacing {
    /// Returns `count` of the 1000 steps, rising; an error if that is not possible.
    pub fn steps(self, count: usize) -> Result<Vec<usize>> {
        let all = STEPS as usize;
        match self {
            Spacing::Even => {
                crate::ensure!(
                    (1..=all).contains(&count),
                    "the diffusion has {all} steps, and `steps` must be from 1 to {all}, found {count}"
                );
                let stride = if count == 1 { 1.0 } else { (all - 1) as f64 / (count - 1) as f64 };
                // Sums of strides, rounded to even numbers halfway, are what Python computes.
                let sums = std::iter::successors(Some(0.0), |at: &f64| Some(at + stride));
                Ok(sums.take(count).map(|at| at.round_ties_even() as usize).collect())
            }
            Spacing::Stride => {
                let taken = |stride: usize| all.div_ceil(stride);
                match (1..all).find(|stride| taken(*stride) == count) {
                    Some(stride) => Ok((0..all).step_by(stride).collect()),
                    None => {
                        let nearest = (1..all).map(taken).min_by_key(|found| found.abs_diff(count));
                        Err(Error::argument(format!(
                            "no stride takes exactly {count} of the {all} steps of the diffusion"
                        ))
                        .hint(format!(
                            "`steps: {}` is possible, or `spacing: \"even\"`",
                            nearest.unwrap_or(all)
                        )))
                    }
                }
            }
        }
    }
}

/// The steps that are taken, from data to noise, and how much of the image each has kept.
#[derive(Debug)]
pub(in crate::flow) struct Chain {
    steps: Vec<usize>,
    /// Product of `1 - beta` up to each step.
    kept: Vec<f64>,
}

impl Chain {
    /// Takes `count` of the steps of the diffusion.
    pub fn new(count: usize, spacing: Spacing) -> Result<Self> {
        let steps = spacing.steps(count)?;
        let (first, last) = BETAS;
        let width = (last - first) / (STEPS - 1) as f64;
        let mut product = 1.0;
        let all: Vec<f64> = (0..STEPS)
            .map(|i| {
                product *= 1.0 - (first + width * i as f64);
                product
            })
            .collect();
        Ok(Self { kept: steps.iter().map(|step| all[*step]).collect(), steps })
    }

    /// Returns the number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns the number of step `i` among all steps of the diffusion, which the model receives.
    pub fn original(&self, i: usize) -> usize {
        self.steps[i]
    }

    /// Returns the time of the straight path with the signal-to-noise ratio of step `i`.
    pub fn time(&self, i: usize) -> f64 {
        let (image, noise) = (self.kept[i].sqrt(), (1.0 - self.kept[i]).sqrt());
        image / (image + noise)
    }

    /// Returns what the step before `i` has kept; 1 is the image.
    fn before(&self, i: usize) -> f64 {
        if i == 0 { 1.0 } else { self.kept[i - 1] }
    }

    /// Returns how much of the image step `i` has kept.
    pub fn kept(&self, i: usize) -> f64 {
        self.kept[i]
    }

    /// Returns the factors of the image and of the point in the mean of step `i`.
    pub fn weights(&self, i: usize) -> (f64, f64) {
        let (rest, before, large) = (1.0 - self.kept[i], self.before(i), self.variances(i).1);
        (large * before.sqrt() / rest, (1.0 - before) * (1.0 - large).sqrt() / rest)
    }

    /// Returns the small and the large variance of step `i`.
    pub fn variances(&self, i: usize) -> (f64, f64) {
        let beta = 1.0 - self.kept[i] / self.before(i);
        (beta * (1.0 - self.before(i)) / (1.0 - self.kept[i]), beta)
    }

    /// Returns the state before step `i` of the chain, nearer to the data, from the state x [B, C, H, W] there and the
    /// output [B, C or more, H, W] of the model. The first step of the chain, the last one made, adds no noise.
    pub(super) fn step(
        &self,
        i: usize,
        x: &Tensor,
        output: &Tensor,
        rule: Rule,
        clip: bool,
        draw: &dyn Fn() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let channels = x.size(1)?;
        let noise = output.narrow(1, 0, channels)?;
        let (kept, before) = (self.kept[i], self.before(i));
        let (factor, part) = ((1.0 / kept).sqrt(), (1.0 / kept - 1.0).sqrt());
        let image = x.mul_scalar(factor)?.sub(&noise.mul_scalar(part)?)?;
        let image = if clip { image.clamp(-1.0, 1.0)? } else { image };
        let (small, large) = self.variances(i);
        match rule {
            Rule::Ddpm(variance) => {
                let (own, other) = self.weights(i);
                let mean = image.mul_scalar(own)?.add(&x.mul_scalar(other)?)?;
                if i == 0 {
                    return Ok(mean);
                }
                let spread = match variance {
                    Variance::Small => return mean.add(&draw()?.mul_scalar(small.sqrt())?),
                    Variance::Large => return mean.add(&draw()?.mul_scalar(large.sqrt())?),
                    // An output of -1 is the small variance, and 1 the large one.
                    Variance::Learned => output
                        .narrow(1, channels, channels)?
                        .mul_scalar(0.25 * (large.ln() - small.ln()))?
                        .add_scalar(0.25 * (large.ln() + small.ln()))?
                        .exp()?,
                };
                mean.add(&spread.mul(&draw()?)?)
            }
            Rule::Ddim { eta } => {
                // The noise that leads to the clamped image.
                let noise =
                    if clip { x.mul_scalar(factor)?.sub(&image)?.mul_scalar(1.0 / part)? } else { noise };
                let spread = eta * small.sqrt();
                let rest = (1.0 - before - spread * spread).max(0.0).sqrt();
                let mean = image.mul_scalar(before.sqrt())?.add(&noise.mul_scalar(rest)?)?;
                if i == 0 || eta == 0.0 { Ok(mean) } else { mean.add(&draw()?.mul_scalar(spread)?) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::from_f64(values, &[1, values.len() as i64, 1, 1]).unwrap()
    }

    #[test]
    fn spacings_by_hand() {
        let of = |spacing: Spacing, count| spacing.steps(count).unwrap();
        assert_eq!(of(Spacing::Even, 1), [0]);
        // 0, 499.5, 999: a half is rounded to an even number.
        assert_eq!(of(Spacing::Even, 3), [0, 500, 999]);
        assert_eq!(of(Spacing::Even, 5), [0, 250, 500, 749, 999]);
        assert_eq!(of(Spacing::Stride, 4), [0, 250, 500, 750]);
        assert_eq!(of(Spacing::Stride, 50).last(), Some(&980));
        for count in [1, 250, 999, 1000] {
            let steps = of(Spacing::Even, count);
            assert!(steps.len() == count && steps.windows(2).all(|pair| pair[0] < pair[1]));
        }
        let error = Spacing::Stride.steps(300).unwrap_err();
        assert_eq!(error.message(), "no stride takes exactly 300 of the 1000 steps of the diffusion");
        assert_eq!(error.hint_text(), Some("`steps: 334` is possible, or `spacing: \"even\"`"));
        assert!(Spacing::Even.steps(1001).unwrap_err().message().contains("from 1 to 1000, found 1001"));
    }

    /// A chain of two steps that keep 0.81 and 0.36: betas of 0.19 and of 5 / 9.
    fn short() -> Chain {
        Chain { steps: vec![0, 1], kept: vec![0.81, 0.36] }
    }

    #[test]
    fn a_step_by_hand() {
        let chain = short();
        // The image is (x - 0.8 noise) / 0.6 = 1.5; the variances are (5 / 9) 0.19 / 0.64 and 5 / 9.
        let (x, output) = (tensor(&[1.3]), tensor(&[0.5, 0.5]));
        let mean = (5.0 / 9.0) * 0.9 / 0.64 * 1.5 + 0.19 * (2.0 / 3.0) / 0.64 * 1.3;
        let (small, large): (f64, f64) = (5.0 / 9.0 * 0.19 / 0.64, 5.0 / 9.0);
        let draw = || Ok(tensor(&[2.0]));
        let of = |i, rule, clip| chain.step(i, &x, &output, rule, clip, &draw).unwrap().item().unwrap();
        // An output of 0.5 is three quarters of the way from small to large.
        let learned = small.powf(0.25) * large.powf(0.75);
        for (variance, value) in
            [(Variance::Small, small), (Variance::Large, large), (Variance::Learned, learned)]
        {
            let found = of(1, Rule::Ddpm(variance), false);
            assert!((found - (mean + 2.0 * value.sqrt())).abs() < 1e-12, "{variance}: {found}");
        }
        let ddim = of(1, Rule::Ddim { eta: 0.0 }, false);
        assert!((ddim - (0.9 * 1.5 + 0.19f64.sqrt() * 0.5)).abs() < 1e-12, "{ddim}");
        // Clamped to 1, the image leaves more noise: (1.3 - 0.6) / 0.8.
        let clipped = of(1, Rule::Ddim { eta: 0.0 }, true);
        assert!((clipped - (0.9 + 0.19f64.sqrt() * 0.875)).abs() < 1e-12, "{clipped}");
    }

    #[test]
    fn the_last_step_is_the_predicted_image_without_noise() {
        let (x, output) = (tensor(&[0.7]), tensor(&[-0.4, 0.3]));
        let image = (0.7 + 0.4 * 0.19f64.sqrt()) / 0.9;
        let draw = || unreachable!();
        for rule in [
            Rule::Ddpm(Variance::Learned),
            Rule::Ddpm(Variance::Large),
            Rule::Ddim { eta: 0.0 },
            Rule::Ddim { eta: 1.0 },
        ] {
            let found = short().step(0, &x, &output, rule, false, &draw).unwrap().item().unwrap();
            assert!((found - image).abs() < 1e-12, "{rule:?}: {found}");
        }
    }

    #[test]
    fn ddim_with_all_noise_is_ddpm_with_the_small_variance() {
        let chain = Chain::new(20, Spacing::Even).unwrap();
        let (x, output) = (tensor(&[0.3, -1.2]), tensor(&[0.5, 0.1]));
        let draw = || Ok(tensor(&[0.8, -0.6]));
        for i in 0..20 {
            for clip in [false, true] {
                let of = |rule| chain.step(i, &x, &output, rule, clip, &draw).unwrap();
                let (a, b) = (of(Rule::Ddim { eta: 1.0 }), of(Rule::Ddpm(Variance::Small)));
                assert!(a.allclose(&b, 1e-9, 1e-9).unwrap(), "{i} {clip}");
            }
        }
    }

    #[test]
    fn times_have_the_signal_to_noise_ratio_of_the_step() {
        let chain = short();
        let t = chain.time(1);
        assert!(((t / (1.0 - t)).powi(2) - 0.36 / 0.64).abs() < 1e-12);
        let whole = Chain::new(1000, Spacing::Even).unwrap();
        assert!((whole.time(999) - 0.0063).abs() < 1e-4 && whole.time(0) > 0.98);
    }
}
