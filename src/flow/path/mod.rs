//! Path from noise to data: its noise, interpolation, training times and prediction target.
//!
//! - [`Path`]: settings shared by training and sampling; `straight`: the straight path, which is the default
//! - `interpolant`: other paths; `mix`: points that a function returns; `times`: times drawn by a function; `step`: what functions know
//! - `predict`: velocities from other predictions; `stored`: paths as data

pub(in crate::flow) mod ddpm;
mod interpolant;
mod mix;
mod predict;
pub(in crate::flow) mod step;
mod stored;
mod straight;
mod times;

use std::fmt;
use std::sync::Arc;

pub use interpolant::Interpolant;
pub use mix::narrowed;
pub use predict::Predict;
pub(in crate::flow) use predict::column;
pub use step::{Facts, PathStep};
pub use stored::Given;
pub use straight::Pair;
pub(crate) use straight::pair;
pub use times::Times;
pub(crate) use times::Unread;

use super::answer;
use crate::declare::{Choice, Display, Function, IntoValue, Map, Options, Value};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::model::{Family, Model};
use crate::spectral::kind;
use crate::torch::unwritten::unwritten;
use crate::torch::{Device, Generator, Tensor};
use crate::{ensure, scripted};
use interpolant::Factors;

/// Options of `flow::path`.
#[derive(Debug, Clone, Options)]
pub struct PathOptions {
    /// Function that returns the noise of a pair: `|z, x1| noise` from standard normal numbers z and the clean
    /// images, both [B, C, H, W]. In `flow::sample` there are no images, and `x1` is `()`. By default the noise is z.
    /// A function with three arguments, `|z, x1, c|`, also receives the step c, which has `c.labels`, `c.fields`,
    /// `c.indices`, `c.step` and `c.seed`.
    #[option(takes = ["z, x1", "z, x1, c"])]
    pub noise: Option<Function>,
    /// Function that returns the point at each time: `|x1, noise, t| #{ x_t, target }` with t `[B]`, where `target`
    /// is the velocity there; or `|x1, noise, t, c|` with the step. A loss reads additional entries, numbers or
    /// tensors [B, ..], as `s.pair.NAME`. By default the path is straight: `x_t = (1 - t) noise + t x1` and
    /// `target = x1 - noise`.
    #[option(takes = ["x1, noise, t", "x1, noise, t, c"])]
    pub mix: Option<Function>,
    /// Distribution of the training times: a timestep sampler, its name, or `|n, g| t`, which returns n times in
    /// [0, 1] drawn from the generator g; or `|n, g, c|` with the step. By default that of the option `timesteps` of
    /// `train::fit`.
    #[option(takes = ["n, g", "n, g, c"])]
    pub times: Option<Times>,
    /// Meaning of the network's output: "v" is the velocity, "x" the clean image, "noise" the noise, "score" the
    /// gradient of the log density, and "ddpm" the noise that a public DiT predicts at steps of a diffusion. Losses
    /// and solvers receive the velocity computed from it.
    pub predict: Predict,
    /// Factors of image and noise over time, as in SiT: "linear" is the straight path, "gvp" has sine and cosine, and
    /// "vp" is the variance-preserving diffusion.
    pub interpolant: Interpolant,
    /// Function that returns the factor of the image at times t, float64 `[B]`: `|t| alpha`. With `sigma` it replaces
    /// `interpolant`: `x_t = alpha(t) x1 + sigma(t) noise`. Derivatives are computed by automatic differentiation;
    /// one that is infinite at an end is evaluated 1e-5 before it, and so are gradients at an end. Gradients flow to times that
    /// record them; captured values receive gradients only together with these.
    #[option(takes = ["t"])]
    pub alpha: Option<Function>,
    /// Function that returns the factor of the noise at times t: `|t| sigma`. Sampling starts from noise times its first value.
    #[option(takes = ["t"])]
    pub sigma: Option<Function>,
    /// Smallest divisor when a prediction is converted: velocities from predictions of the image divide by sigma, those
    /// from noise or score by alpha, which vanish at one end. By default 0.05 on the linear path, and 0.001 on
    /// others.
    #[option(range = 1e-6..=0.5)]
    pub min_divisor: Option<f64>,
}

/// Path from noise to data that training and sampling share. Clones share its options.
#[derive(Clone)]
pub struct Path {
    options: Arc<PathOptions>,
}

scripted!(
    Path,
    "path",
    |p| Display::text(format!("{p:?}")),
    document = |p, _| Document::code(&format!("{p:?}")),
    describe = |p| ("the path", format!("{p:?}")),
    data = |p| Some(p.to_data()),
    restore = |data| Path::from_data(data, &Default::default()),
);

impl Path {
    /// Checks the options and creates a path from them.
    pub fn new(options: PathOptions) -> Result<Self> {
        options.check()?;
        if options.mix.is_some() && options.predict != Predict::Velocity {
            return Err(Error::argument(format!(
                "a path with `mix` has points of its own, from which only `predict: \"v\"` gives velocities, found \"{}\"",
                options.predict.name()
            ))
            .hint(
                "points `alpha(t) x1 + sigma(t) noise` need no `mix`: `alpha: |t| .., sigma: |t| ..` works with every `predict`",
            ));
        }
        if options.noise.is_some() && options.predict == Predict::Score {
            return Err(Error::argument(
                "a path with `noise` has noise of another distribution, whose score is not known, found \
                 `predict: \"score\"`",
            )
            .hint("let the network predict \"v\", \"x\" or \"noise\""));
        }
        let other = (options.interpolant != Interpolant::Linear).then(|| options.interpolant.name());
        if let Some(name) = other {
            ensure!(
                options.mix.is_none(),
                "give either `mix`, an interpolation, or `interpolant: \"{name}\"`"
            );
            ensure!(
                options.predict != Predict::Ddpm,
                "`predict: \"ddpm\"` has a diffusion of its own and takes no `interpolant`, found \"{name}\""
            );
        }
        let path = Self { options: Arc::new(options) };
        path.check_functions_of_time()?;
        Ok(path)
    }

    /// Checks `alpha` and `sigma`, and what else is given with them.
    fn check_functions_of_time(&self) -> Result<()> {
        let PathOptions { alpha, sigma, mix, interpolant, predict, .. } = &*self.options;
        let (given, missing) = match (alpha, sigma) {
            (None, None) => return Ok(()),
            (Some(_), None) => ("alpha", "sigma"),
            (None, Some(_)) => ("sigma", "alpha"),
            (Some(_), Some(_)) => {
                ensure!(
                    mix.is_none() && *interpolant == Interpolant::Linear,
                    "give either `alpha` and `sigma`, or {}",
                    if mix.is_some() { "`mix`" } else { "`interpolant`" }
                );
                ensure!(
                    *predict != Predict::Ddpm,
                    "`predict: \"ddpm\"` has a diffusion of its own and takes no `alpha` and `sigma`"
                );
                return interpolant::check_ends(self);
            }
        };
        Err(Error::argument(format!("`{given}` is given without `{missing}`"))
            .hint("the factors of image and noise belong together: `#{ alpha: |t| .., sigma: |t| .. }`"))
    }

    /// Returns its options.
    pub fn options(&self) -> &PathOptions {
        &self.options
    }

    /// Draws times in [0, 1] for images of a shape [B, C, H, W], if the path defines their distribution.
    pub fn times(
        &self,
        shape: &[i64],
        device: Device,
        generator: &Generator,
        step: &PathStep,
    ) -> Option<Result<Tensor>> {
        Some(self.times_perhaps_unread((shape, device), generator, step, false)?.map(|(t, _)| t))
    }

    /// As [`Path::times`]; with `later` the times of a function are not checked, see [`Times::draw`].
    pub(crate) fn times_perhaps_unread(
        &self,
        images: (&[i64], Device),
        generator: &Generator,
        step: &PathStep,
        later: bool,
    ) -> Option<Result<(Tensor, Option<Unread>)>> {
        let times = self.options.times.as_ref();
        times.map(|times| times.draw(images, generator, step, "`times` of the path", later))
    }

    /// Converts standard normal numbers `z` to noise, for the images `x1` if there are any.
    pub fn noise(&self, z: Tensor, x1: Option<&Tensor>, step: &PathStep) -> Result<Tensor> {
        let Some(function) = &self.options.noise else { return Ok(z) };
        let images = x1.map_or(Value::Unit, |x1| x1.clone().into_value());
        let arguments =
            answer::with_step(vec![z.clone().into_value(), images], function, || step.clone().into_value());
        let shared: Vec<_> = x1.into_iter().map(|x1| ("the images", x1)).collect();
        let call = || answer::like(&z, "`noise` of the path", function, &arguments);
        unwritten(&shared, || step.unwritten(call))
    }

    /// Returns a point on the path for each image of `x1` at its time, and the velocity there. Functions that take the `step`
    /// read from it what they know of the images.
    ///
    /// `noise` is used unchanged, on the device of `x1`; if not given, it is drawn from `generator`.
    pub fn pair(
        &self,
        x1: &Tensor,
        t: &Tensor,
        noise: Option<&Tensor>,
        generator: Option<&Generator>,
        step: &PathStep,
    ) -> Result<Pair> {
        let made = match (&self.options.noise, noise) {
            (Some(_), None) => {
                let z = Tensor::randn(&x1.shape(), x1.dtype(), x1.device(), generator)?;
                Some(self.noise(z, Some(x1), step)?)
            }
            _ => noise.cloned(),
        };
        let t = &t.to_device(x1.device())?;
        let straight = pair(x1, t, made.as_ref(), generator)?;
        let PathOptions { mix, predict, .. } = &*self.options;
        match mix {
            Some(mix) => mix::mixed(mix, x1, t, straight.noise, step),
            None if self.is_straight() && *predict != Predict::Score => {
                Ok(Pair { target: predict.target(straight.target, t, self.least())?, ..straight })
            }
            None => {
                let factors = self.factors(t)?;
                let noise = straight.noise;
                let (x_t, target) = factors.point(x1, &noise)?;
                // What an exact network gives, even where the divisor is clamped.
                let target = match predict {
                    Predict::Velocity => target,
                    _ => {
                        let (image, noise) = predict.exact(x1, &noise, &x_t, &factors, self.least())?;
                        factors.point(&image, &noise)?.1.to_dtype(x1.dtype())?
                    }
                };
                Ok(Pair { x_t, target, noise, others: Map::new() })
            }
        }
    }

    /// Returns whether it calls code with the images of a batch or what belongs to them, which may combine them.
    pub fn calls_code_of_images(&self) -> bool {
        let PathOptions { noise, mix, times, .. } = &*self.options;
        noise.is_some() || mix.is_some() || times.as_ref().is_some_and(Times::takes_step)
    }

    /// Returns whether conversions of the network's output call code, which cannot be recorded as a graph.
    pub fn converts_by_code(&self) -> bool {
        self.options.alpha.is_some() && !self.predicts_velocity()
    }

    /// Returns whether the network's output is the velocity itself.
    pub fn predicts_velocity(&self) -> bool {
        self.options.predict == Predict::Velocity
    }

    /// Returns whether points are those of the straight path.
    pub fn is_straight(&self) -> bool {
        self.options.mix.is_none() && self.is_linear()
    }

    /// Returns whether the factors of image and noise are `t` and `1 - t`.
    fn is_linear(&self) -> bool {
        self.options.alpha.is_none() && self.options.interpolant == Interpolant::Linear
    }

    /// Returns the factors of image and noise at times t.
    fn factors(&self, t: &Tensor) -> Result<Factors> {
        match &*self.options {
            PathOptions { alpha: Some(alpha), sigma: Some(sigma), .. } => Factors::by([alpha, sigma], t),
            PathOptions { interpolant, .. } => interpolant.at(t),
        }
    }

    /// Returns the state at time t that consists of `noise` alone. The named interpolants begin at standard normal noise.
    pub fn starting(&self, noise: Tensor, t: f64) -> Result<Tensor> {
        if self.options.sigma.is_none() { Ok(noise) } else { noise.mul_scalar(self.spread(t)?) }
    }

    /// Returns the standard deviation of the states at time t near noise.
    pub fn spread(&self, t: f64) -> Result<f64> {
        if self.options.sigma.is_none() { Ok(1.0) } else { Ok(self.slopes(t)?[1]) }
    }

    /// Returns an error if the output of a model is not what the path takes it for.
    pub fn check(&self, model: &Model) -> Result<()> {
        let (channels, found) = (model.image_shape()[0], model.out_channels());
        let family = model.config().map(|config| config.family);
        match self.options.predict {
            Predict::Ddpm => match family.filter(|family| *family != Family::Dit) {
                Some(family) => Err(Error::argument(format!(
                    "`predict: \"ddpm\"` passes diffusion steps from 0 to 999, and a model of the family `{}` takes times \
                     in [0, 1]",
                    family.name()
                ))
                .hint("leave `predict` out for a model that predicts velocities, or make one of `family: \"dit\"`")),
                None => Ok(()),
            },
            _ if found != channels => Err(Error::argument(format!(
                "the model returns {found} channels for images of {channels}, a prediction and its variance \
                 (`learn_sigma`), and the path expects {channels}"
            ))
            .hint(
                "use `path: flow::path(#{ predict: \"ddpm\" })` for a public DiT, or make the model with \
                 `learn_sigma: false`",
            )),
            _ => Ok(()),
        }
    }

    /// Returns what a network receives at points x [B, ..] and times t of the path: both unchanged, or the point
    /// and the steps of a diffusion, in units of `1 / scale` steps.
    pub fn input(&self, x: &Tensor, t: &Tensor, scale: f64) -> Result<(Tensor, Tensor)> {
        match self.options.predict {
            Predict::Ddpm => Ok((ddpm::scaled(x, t)?, ddpm::steps(t)?.mul_scalar(1.0 / scale)?)),
            _ => Ok((x.clone(), t.clone())),
        }
    }

    /// Converts an output of the network at `x` [B, ..] and times `t` `[B]` to a velocity.
    pub fn velocity(&self, output: Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let t = &t.to_device(x.device())?;
        match self.options.predict {
            Predict::Velocity => Ok(output),
            predict if predict != Predict::Score && self.is_linear() => {
                predict.velocity(output, x, t, self.least())
            }
            predict => {
                let factors = self.factors(t)?;
                let (image, noise) = predict.split(&output, x, &factors, self.least())?;
                Ok(factors.point(&image, &noise)?.1)
            }
        }
    }

    /// Converts an output of the network at `x` [B, ..] and times `t` `[B]` to another prediction: "v", "x", "noise" or
    /// "score".
    pub fn convert(&self, output: &Tensor, x: &Tensor, t: &Tensor, to: Predict) -> Result<Tensor> {
        let PathOptions { predict, mix, .. } = &*self.options;
        let t = &t.to_device(x.device())?;
        ensure!(
            mix.is_none(),
            "a path with `mix` has points of its own, whose predictions cannot be converted"
        );
        ensure!(
            to != Predict::Ddpm && *predict != Predict::Ddpm,
            "predictions at diffusion steps, \"ddpm\", cannot be converted; `velocity` returns the velocity"
        );
        match to {
            _ if to == *predict => return Ok(output.clone()),
            Predict::Velocity => return self.velocity(output.clone(), x, t),
            _ => {}
        }
        if to == Predict::Score {
            self.check_score("`convert`")?;
        }
        let factors = self.factors(t)?;
        let (image, noise) = predict.split(output, x, &factors, self.least())?;
        to.of(&image, &noise, &factors, self.least())
    }

    /// Returns an error unless the score of a point follows from its velocity: points must mix an image with standard
    /// normal noise. `what` needs the score.
    pub fn check_score(&self, what: &str) -> Result<()> {
        let PathOptions { noise, mix, .. } = &*self.options;
        let points = match (mix, noise) {
            (Some(_), _) => "a path with `mix` has points of its own",
            (None, Some(_)) => "a path with `noise` has noise of another distribution",
            (None, None) => return Ok(()),
        };
        Err(Error::argument(format!("{points}, whose score is not known, and {what} needs it")))
    }

    /// Returns the score, the gradient of the log density, of a state with velocity `v`; see [`Path::check_score`].
    pub fn score(&self, v: &Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let (image, noise) = self.parts(v, x, t)?;
        Predict::Score.of(&image, &noise, &self.factors(t)?, 1e-6)
    }

    /// Returns the expected image of a state with velocity `v`, which is the output of a network that predicts images.
    pub fn image(&self, v: &Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        Ok(self.parts(v, x, t)?.0)
    }

    /// Returns the image and the noise that the network predicts where its velocity is `v`.
    fn parts(&self, v: &Tensor, x: &Tensor, t: &Tensor) -> Result<(Tensor, Tensor)> {
        self.options.predict.inverse(v, x, &self.factors(t)?, (self.is_linear(), self.least()))
    }

    /// Returns the factors of image and noise at a time, and their derivatives.
    pub fn slopes(&self, t: f64) -> Result<[f64; 4]> {
        // Functions may have captured tensors of the default device.
        let factors = self.factors(&Tensor::from_f64(&[t], &[1])?.to_device(Device::of_new())?)?;
        let [alpha, sigma, d_alpha, d_sigma] =
            [factors.alpha, factors.sigma, factors.d_alpha, factors.d_sigma].map(|x| x.item());
        Ok([alpha?, sigma?, d_alpha?, d_sigma?])
    }

    /// Returns the smallest divisor of conversions.
    fn least(&self) -> f64 {
        let usual = if self.is_linear() { predict::LEAST } else { 1e-3 };
        self.options.min_divisor.unwrap_or(usual)
    }

    /// Returns whether it calls user code.
    pub fn calls_code(&self) -> bool {
        self.given().iter().any(|(_, value)| matches!(value, Value::Function(_)))
    }

    /// Returns the functions that cannot be stored, by name, and why.
    pub fn not_stored(&self) -> Vec<(&'static str, Error)> {
        failures(&self.given(), Function::to_data)
    }

    /// Returns the functions that cannot be compared with those of another run, by name, and why.
    pub fn not_compared(&self) -> Vec<(&'static str, Error)> {
        failures(&self.given(), Function::to_compared)
    }

    /// As [`Path::to_data`], with the functions as [`Function::to_compared`] returns them.
    pub fn to_compared(&self) -> Value {
        let options = self.given().into_iter().map(|(name, value)| (name.to_string(), as_compared(&value)));
        kind::stored("path", options.collect())
    }

    /// Returns its settings as data; a function becomes its code, or `()` if it cannot be stored.
    pub fn to_data(&self) -> Value {
        let mut options = Map::new();
        for (name, value) in self.given() {
            options.insert(name.to_string(), as_data(&value));
        }
        kind::stored("path", options)
    }

    /// Returns the options that differ from their defaults.
    fn given(&self) -> Vec<(&'static str, Value)> {
        self.options.given().into_iter().map(|(option, value)| (option.name, value)).collect()
    }
}

/// Converts a value to data; a function that cannot be stored becomes `()`.
pub(super) fn as_data(value: &Value) -> Value {
    match value {
        Value::Function(function) => function.to_data().unwrap_or(Value::Unit),
        Value::Object(object) => object.to_data().unwrap_or(Value::Unit),
        other => other.clone(),
    }
}

/// Converts a value to data for comparisons.
pub(super) fn as_compared(value: &Value) -> Value {
    match value {
        Value::Function(function) => function.to_compared().unwrap_or(Value::Unit),
        other => as_data(other),
    }
}

/// Returns the functions among the values of which there is no such data, and why.
pub(super) fn failures(
    values: &[(&'static str, Value)],
    data: fn(&Function) -> Result<Value>,
) -> Vec<(&'static str, Error)> {
    let why = |(name, value): &(&'static str, Value)| match value {
        Value::Function(function) => data(function).err().map(|why| (*name, why)),
        _ => None,
    };
    values.iter().filter_map(why).collect()
}

/// Returns whether two values are equal, as far as can be determined: functions are compared by code or identity.
pub(super) fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Function(a), Value::Function(b)) => a == b,
        _ => as_data(a).to_json_text() == as_data(b).to_json_text(),
    }
}

impl Default for Path {
    /// Returns the straight path, with standard normal noise and a network that predicts the velocity.
    fn default() -> Self {
        Self { options: Arc::default() }
    }
}

/// Paths are equal if their options are; functions are equal if their code is, or if they are the same function.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.given(), other.given());
        a.len() == b.len() && a.iter().zip(&b).all(|((m, x), (n, y))| m == n && alike(x, y))
    }
}

/// Prints the path as written in a script.
impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value| match value {
            Value::Object(object) => object.text(),
            other => format!("{other:?}"),
        };
        let given: Vec<String> =
            self.given().iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        match given.is_empty() {
            true => f.write_str("flow::path()"),
            false => write!(f, "flow::path(#{{ {} }})", given.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
