//! Filter with a user-defined frequency response.

use std::f64::consts::SQRT_2;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::operator::Operator;
use super::{Filter, LowPass};
use crate::declare::{Field, FromValue, Function, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;

functions! { in "filter";
    /// Multiplies each wave by the gain that a closure returns for its frequency radius.
    ///
    /// The closure takes the radius, a float from 0 to sqrt(2) as a fraction of Nyquist, and returns a number. It
    /// is called on a fixed list of radii when the filter is created, and once for each radius of a grid when a
    /// model is built on it; never in a training step. The sampled gains are stored with the model, so a checkpoint
    /// does not need the closure. The grid is periodic.
    ///
    /// ```rhai
    /// let notch = filter::response(|r| if r > 0.3 && r < 0.6 { 0.0 } else { 1.0 });
    /// assert_eq([notch.gain(0.2), notch.gain(0.4)], [1.0, 0.0]);
    /// assert_close(notch.response(4), [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]], 1e-9);
    /// ```
    fn response(closure: Function) -> Filter {
        Filter::new(Response::new(move |radius| {
            let gain = closure.call(&[Value::Float(radius)])?;
            f64::from_value(&gain).map_err(|e| e.context(format!("the response at radius {radius}")))
        })?)
    }
}

/// Number of steps from 0 to sqrt(2) at which a response is sampled for printing, comparison and `gain`.
const PROFILE: usize = 64;

/// Radii closer than this count as equal.
pub(crate) const SAME: f64 = 1e-9;

type Closure = dyn Fn(f64) -> Result<f64> + Send + Sync;

/// User-defined gain for each frequency radius; the grid is periodic.
#[derive(Clone)]
pub struct Response {
    /// `None` if restored from a file.
    closure: Option<Arc<Closure>>,
    /// Radii with their gains, ascending; grows with each new grid.
    samples: Arc<Mutex<Vec<(f64, f64)>>>,
}

impl Response {
    /// Creates a response from a closure that maps a radius to a gain, and samples it on a fixed list of radii.
    pub fn new(closure: impl Fn(f64) -> Result<f64> + Send + Sync + 'static) -> Result<Self> {
        let response = Self { closure: Some(Arc::new(closure)), samples: Arc::default() };
        profile().try_for_each(|radius| response.sample(radius).map(drop))?;
        Ok(response)
    }

    fn samples(&self) -> Vec<(f64, f64)> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the gain at a radius: a stored sample, or else the closure's value, which is then stored.
    fn sample(&self, radius: f64) -> Result<f64> {
        let samples = self.samples();
        let place = place_of(&samples, radius);
        if let Some((_, gain)) = samples.get(place).filter(|(r, _)| (r - radius).abs() <= SAME) {
            return Ok(*gain);
        }
        let Some(closure) = &self.closure else {
            return Err(Error::argument(format!(
                "this response was stored without a sample at frequency radius {radius:.4}"
            ))
            .hint("a restored response works on the grid it was used on; for another, make it anew from its closure"));
        };
        let gain = closure(radius)?;
        crate::ensure!(gain.is_finite(), "the response at radius {radius} must be a finite number, found {gain}");
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place_of(&samples, radius);
        samples.insert(place, (radius, gain));
        Ok(gain)
    }

    fn profile(&self) -> Vec<Value> {
        profile().map(|r| Value::Float(self.sample(r).unwrap_or(f64::NAN))).collect()
    }
}

/// Returns the index of a radius among ascending samples, or where to insert it.
fn place_of(samples: &[(f64, f64)], radius: f64) -> usize {
    samples.partition_point(|(r, _)| *r < radius - SAME)
}

fn profile() -> impl Iterator<Item = f64> {
    (0..=PROFILE).map(|i| SQRT_2 * i as f64 / PROFILE as f64)
}

impl LowPass for Response {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Operator::radial(grid, |radius| self.sample(radius))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        if let Some(closure) = &self.closure {
            return closure(radius);
        }
        // A restored response is interpolated linearly between its samples.
        let samples = self.samples();
        let right = samples.partition_point(|(r, _)| *r < radius).clamp(1, samples.len() - 1);
        let ((r0, g0), (r1, g1)) = (samples[right - 1], samples[right]);
        Ok(g0 + (g1 - g0) * ((radius - r0) / (r1 - r0)).clamp(0.0, 1.0))
    }

    fn arguments(&self, _: &Map) -> String {
        let gain = |r: f64| format!("gain {:.3} at {r:.2}", self.sample(r).unwrap_or(f64::NAN));
        let some: Vec<String> = profile().step_by(PROFILE / 2).map(gain).collect();
        format!("<{}>", some.join(", "))
    }

    /// Compares gains on the fixed list of radii, whatever grids the responses have been used on.
    fn identity(&self, _: Map) -> Value {
        Value::List(self.profile())
    }
}

/// Passes everything unchanged.
impl Default for Response {
    fn default() -> Self {
        Self { closure: Some(Arc::new(|_| Ok(1.0))), samples: Arc::default() }
    }
}

/// The stored form is the list of samples; scripts pass a closure instead.
impl Options for Response {
    const FIELDS: &'static [Field] = &[];
    const DOC: &'static str = "A user-defined gain for each frequency radius; the grid is periodic.";

    fn from_map(map: &Map) -> Result<Self> {
        let samples = match map.get("samples") {
            Some(samples) => Vec::<(f64, f64)>::from_value(samples)?,
            None => return Err(Error::argument("a stored response has `samples`")),
        };
        let ascending = samples.windows(2).all(|pair| pair[0].0 < pair[1].0);
        crate::ensure!(
            samples.len() >= 2 && ascending,
            "the samples of a stored response must be pairs [radius, gain] with ascending radii"
        );
        Ok(Self { closure: None, samples: Arc::new(Mutex::new(samples)) })
    }

    fn set(&mut self, map: &Map) -> Result<()> {
        *self = Self::from_map(map)?;
        Ok(())
    }

    fn to_map(&self) -> Map {
        let pair = |(r, g): (f64, f64)| Value::List(vec![Value::Float(r), Value::Float(g)]);
        Map::from([("samples".to_string(), Value::List(self.samples().into_iter().map(pair).collect()))])
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Response(..)")
    }
}
