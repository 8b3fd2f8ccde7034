//! Filter computed by user code.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use super::operator::{Custom as Code, Operator};
use super::{Filter, LowPass};
use crate::declare::{Field, FromValue, Function, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::{DType, Device, Tensor};

functions! { in "filter";
    /// Filters with your own code, called in every step.
    ///
    /// The closure takes the residual as images of the token grid, a tensor [B, D, G, G], and returns the low band
    /// as a tensor of the same shape. Gradients flow through the operations that it calls. The code need not be
    /// linear; `gain` and `response` then describe its effect on single waves. If the frequency response is known,
    /// `filter::taps` or `filter::response` is faster. The closure is not stored: to restore a model with such a
    /// filter, create it again with `model::dit` and read its weights with `model.load`.
    ///
    /// ```rhai
    /// let low = filter::custom(|grid| grid.avg_pool2d(3, #{ stride: 1, padding: 1 }));
    /// assert_close(low.gain(1.0), -1.0 / 3.0, 1e-5);
    /// let net = model::dit(#{ depth: 1, corrections: [correction(low, gate::time())] });
    /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor::zeros([1]).to("int64")).shape, [1, 1, 28, 28]);
    /// ```
    fn custom(closure: Function) -> Filter {
        Filter::new(Custom::new(move |grid| {
            let low = closure.call(&[grid.clone().into_value()])?;
            Tensor::from_value(&low).map_err(|e| e.context("the closure of filter::custom"))
        }))
    }
}

/// Side of the grid on which a gain is measured.
const GRID: i64 = 64;

/// User code on images of the token grid, [B, D, G, G].
#[derive(Clone)]
pub struct Custom {
    code: Arc<Code>,
}

impl Custom {
    /// Creates a filter from a closure that maps images [B, D, G, G] to their low band, of the same shape.
    pub fn new(code: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Self { code: Arc::new(code) }
    }
}

impl LowPass for Custom {
    fn operator(&self, grid: usize) -> Result<Operator> {
        Ok(Operator::Custom { code: Arc::clone(&self.code), grid })
    }

    /// Measures the gain in the middle of a large grid.
    fn gain(&self, radius: f64) -> Result<f64> {
        let (down, across) = if radius <= 1.0 { (0.0, radius) } else { (1.0, (radius * radius - 1.0).sqrt()) };
        let place = |i: i64| ((i % (GRID * GRID)) / GRID, i % GRID);
        let angle = |i: i64| PI * (down * place(i).0 as f64 + across * place(i).1 as f64);
        // A cosine and a sine, whose squares sum to one.
        let count = GRID * GRID;
        let wave = |i: i64| if i < count { angle(i).cos() } else { angle(i).sin() };
        let waves: Vec<f64> = (0..2 * count).map(wave).collect();
        let waves = Tensor::from_f64(&waves, &[2, count, 1])?.to_dtype(DType::Float32)?;
        let passed = self.operator(GRID as usize)?.plan(DType::Float32, Device::Cpu)?.apply(&waves)?;
        let middle = |t: &Tensor| {
            let image = t.reshape(&[2, GRID, GRID])?;
            image.narrow(1, GRID / 4, GRID / 2)?.narrow(2, GRID / 4, GRID / 2)
        };
        let within = middle(&passed)?.mul(&middle(&waves)?)?.to_dtype(DType::Float64)?;
        within.sum(&[], false)?.mul_scalar(4.0 / count as f64)?.item()
    }

    fn calls_code(&self) -> bool {
        true
    }

    fn arguments(&self, _: &Map) -> String {
        "<closure>".to_string()
    }

    /// Closures cannot be compared, so a filter is equal only to itself.
    fn identity(&self, _: Map) -> Value {
        Value::Str(format!("{:p}", Arc::as_ptr(&self.code)))
    }
}

/// Passes everything unchanged.
impl Default for Custom {
    fn default() -> Self {
        Self::new(|grid| Ok(grid.clone()))
    }
}

/// Code has no stored form.
impl Options for Custom {
    const FIELDS: &'static [Field] = &[];
    const DOC: &'static str = "A user-defined function of images of the token grid.";

    fn from_map(_: &Map) -> Result<Self> {
        Err(Error::argument("the closure of filter::custom is not stored with a model")
            .hint("build the model again with the closure, then load the weights with `model.load(FILE)`"))
    }

    fn set(&mut self, map: &Map) -> Result<()> {
        *self = Self::from_map(map)?;
        Ok(())
    }

    fn to_map(&self) -> Map {
        Map::new()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom(..)")
    }
}
