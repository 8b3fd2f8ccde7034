//! The path from noise to data: what noise, which points between, at which times, and what the network predicts.
//!
//! - [`Path`]: what training and sampling agree on; `straight`: the straight path, which is the default
//! - `times`: times that a function draws; `predict`: velocities from other predictions; `stored`: paths as data

mod predict;
mod stored;
mod straight;
mod times;

use std::fmt;
use std::sync::Arc;

pub use predict::NAMES as PREDICTIONS;
pub use stored::Given;
pub use straight::{Pair, pair};
pub use times::Times;

use self::predict::Predict;
use super::answer;
use crate::declare::{Display, Function, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::spectral::kind;
use crate::torch::{Device, Generator, Tensor};
use crate::{ensure, options, scripted};

options! {
    /// What a path is made of.
    pub struct PathOptions {
        /// Makes the noise of a pair: `|z, x1| noise` from standard normal numbers z and the clean images, both [B, C, H, W]. In
        /// `flow::sample` there are no images, and `x1` is `()`. Unless given, the noise is z.
        noise: Option<Function> = None;
        /// Makes the point at each time: `|x1, noise, t| #{ x_t, target }` with t `[B]`, where `target` is the velocity there.
        /// Unless given, the path is straight: `x_t = (1 - t) noise + t x1` and `target = x1 - noise`.
        mix: Option<Function> = None;
        /// Draws the times of training: a timestep sampler, its name, or `|n, g| t`, which gives n times in [0, 1] drawn
        /// from the generator g. Unless given, the option `timesteps` of `train::fit` decides.
        times: Option<Times> = None;
        /// What the network's output means: "v" is the velocity, "x" the clean image, and "noise" the noise. Losses and
        /// solvers see the velocity that follows.
        predict: String = "v".to_string() => one_of(PREDICTIONS);
    }
}

/// What training and sampling agree on. Clones share it.
#[derive(Clone)]
pub struct Path {
    options: Arc<PathOptions>,
    predict: Predict,
}

scripted!(
    Path,
    "path",
    |p| Display::text(format!("{p:?}")),
    describe = |p| format!("the path {p:?}"),
    data = |p| Some(p.to_data()),
);

impl Path {
    /// Checks the options and makes a path of them.
    pub fn new(options: PathOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { predict: Predict::named(&options.predict)?, options: Arc::new(options) })
    }

    /// What it is made of.
    pub fn options(&self) -> &PathOptions {
        &self.options
    }

    /// `count` times `[B]` in [0, 1], where the path says how they are drawn.
    pub fn times(&self, count: i64, device: Device, generator: &Generator) -> Option<Result<Tensor>> {
        self.options.times.as_ref().map(|times| times.draw(count, device, generator))
    }

    /// The noise that standard normal numbers `z` become, for the images `x1` where there are some.
    pub fn noise(&self, z: Tensor, x1: Option<&Tensor>) -> Result<Tensor> {
        let Some(function) = &self.options.noise else { return Ok(z) };
        let x1 = x1.map_or(Value::Unit, |x1| x1.clone().into_value());
        answer::like(&z, "`noise` of the path", function, &[z.clone().into_value(), x1])
    }

    /// A point on the path for each image of `x1` at its time, and the velocity there.
    ///
    /// `noise` is taken as it is; unless given it is drawn from `generator`.
    pub fn pair(
        &self,
        x1: &Tensor,
        t: &Tensor,
        noise: Option<&Tensor>,
        generator: Option<&Generator>,
    ) -> Result<Pair> {
        let made = match (&self.options.noise, noise) {
            (Some(_), None) => {
                let z = Tensor::randn(&x1.shape(), x1.dtype(), x1.device(), generator)?;
                Some(self.noise(z, Some(x1))?)
            }
            _ => noise.cloned(),
        };
        let straight = pair(x1, t, made.as_ref(), generator)?;
        match &self.options.mix {
            Some(mix) => mixed(mix, x1, t, straight.noise),
            None => Ok(Pair { target: self.predict.target(straight.target, t)?, ..straight }),
        }
    }

    /// Whether the network's output is the velocity itself.
    pub fn predicts_velocity(&self) -> bool {
        self.predict == Predict::Velocity
    }

    /// The velocity at `x` [B, ..] and times `t` `[B]` that an output of the network stands for.
    pub fn velocity(&self, output: Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        self.predict.velocity(output, x, t)
    }

    /// Whether it calls code of the user's.
    pub fn calls_code(&self) -> bool {
        self.given().iter().any(|(_, value)| matches!(value, Value::Function(_)))
    }

    /// The functions that have no stored form, by name, and why.
    pub fn not_stored(&self) -> Vec<(&'static str, Error)> {
        not_stored(&self.given())
    }

    /// Its settings as data. A function is its code, or `()` where that has no stored form.
    pub fn to_data(&self) -> Value {
        let mut options = Map::new();
        for (name, value) in self.given() {
            options.insert(name.to_string(), as_data(&value));
        }
        kind::stored("path", options)
    }

    /// The options that are not as they are unless given.
    fn given(&self) -> Vec<(&'static str, Value)> {
        let PathOptions { noise, mix, times, predict } = &*self.options;
        let predict = (predict != "v").then(|| predict.as_str().into_value());
        let all = [
            ("noise", noise.clone().map(Value::Function)),
            ("mix", mix.clone().map(Value::Function)),
            ("times", times.clone().map(IntoValue::into_value)),
            ("predict", predict),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Data for a value; `()` for a function without a stored form.
pub(super) fn as_data(value: &Value) -> Value {
    match value {
        Value::Function(function) => function.to_data().unwrap_or(Value::Unit),
        Value::Object(object) => object.to_data().unwrap_or(Value::Unit),
        other => other.clone(),
    }
}

/// The functions among values that have no stored form, and why.
pub(super) fn not_stored(values: &[(&'static str, Value)]) -> Vec<(&'static str, Error)> {
    let why = |(name, value): &(&'static str, Value)| match value {
        Value::Function(function) => function.to_data().err().map(|why| (*name, why)),
        _ => None,
    };
    values.iter().filter_map(why).collect()
}

/// Whether two values are equal, as far as that can be told: functions by their code, or that they are one.
pub(super) fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Function(a), Value::Function(b)) => a == b,
        _ => as_data(a).to_json_text() == as_data(b).to_json_text(),
    }
}

fn mixed(mix: &Function, x1: &Tensor, t: &Tensor, noise: Tensor) -> Result<Pair> {
    let t = t.to_dtype(x1.dtype())?;
    let answer = mix.call(&[x1, &noise, &t].map(|tensor| tensor.clone().into_value()))?;
    let Value::Map(map) = &answer else {
        return Err(answer.mismatch("a map #{ x_t, target }").context("`mix` of the path"));
    };
    let part = |name: &str| {
        let what = format!("`{name}` of `mix`");
        let tensor = answer::tensor(map.get(name).unwrap_or(&Value::Unit), &what, &x1.signature())?;
        ensure!(
            tensor.shape() == x1.shape() && tensor.dtype() == x1.dtype(),
            "{what} must be a {}, as the images, found a {}",
            x1.signature(),
            tensor.signature()
        );
        Ok(tensor)
    };
    Ok(Pair { x_t: part("x_t")?, target: part("target")?, noise })
}

impl Default for Path {
    /// Straight, with standard normal noise and a network that predicts the velocity.
    fn default() -> Self {
        Self { options: Arc::new(PathOptions::default()), predict: Predict::Velocity }
    }
}

/// Equal options; functions are equal when their code is, or when they are one.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.given(), other.given());
        a.len() == b.len() && a.iter().zip(&b).all(|((m, x), (n, y))| m == n && alike(x, y))
    }
}

/// As a script writes it.
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
