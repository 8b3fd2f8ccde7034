//! Filter computed by user code.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use super::operator::Operator;
use super::{Filter, LowPass};
use crate::context::Context;
use crate::declare::{Code, Field, FromValue, Function, IntoValue, Map, Options, Value, function};
use crate::error::Result;
use crate::functions;
use crate::torch::unwritten::unwritten;
use crate::torch::{DType, Device, Tensor};

functions! { in "filter";
    /// Filters with a function, which is called in every step.
    ///
    /// The closure takes the residual as images of the token grid, a tensor [B, D, H, W], and returns the low band
    /// as a tensor of the same shape. Gradients flow through the operations that it calls. The code need not be
    /// linear; `gain` and `response` then describe its effect on single waves. If the frequency response is known,
    /// `filter::taps` or `filter::response` is faster. The code is stored with the model if it was written in a file.
    ///
    /// ```rhai
    /// let low = filter::custom(|grid| grid.avg_pool2d(3, #{ stride: 1, padding: 1 }));
    /// assert_close(low.gain(1.0), -1.0 / 3.0, 1e-5);
    /// let net = model::dit(#{ depth: 1, corrections: [correction(low, gate::time())] });
    /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor::zeros([1]).to("int64")).shape, [1, 1, 28, 28]);
    /// ```
    fn custom(closure: Function) -> Filter {
        Filter::new(Custom { code: Code::Live(closure) })
    }
}

/// Key of the code in the stored form.
const CODE: &str = "code";

/// Side of the grid on which a gain is measured.
const GRID: i64 = 64;

/// User code on images of the token grid, [B, D, H, W].
#[derive(Clone)]
pub struct Custom {
    code: Code,
}

impl Custom {
    /// Creates a filter from a closure that maps images [B, D, H, W] to their low band, of the same shape.
    pub fn new(code: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Self { code: Code::Live(function(move |grid: Tensor| code(&grid))) }
    }
}

impl LowPass for Custom {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        let closure = self.code.function()?.clone();
        let code = move |grid: &Tensor| {
            let call = || closure.call(&[grid.clone().into_value()]);
            let low = unwritten(&[("the images of filter::custom", grid)], call)?;
            Tensor::from_value(&low).map_err(|e| e.context("the closure of filter::custom"))
        };
        Ok(Operator::Custom { code: Arc::new(code), grid })
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
        let passed = self.operator([GRID as usize; 2])?.plan(DType::Float32, Device::Cpu)?.apply(&waves)?;
        let middle = |t: &Tensor| {
            let image = t.reshape(&[2, GRID, GRID])?;
            image.narrow(1, GRID / 4, GRID / 2)?.narrow(2, GRID / 4, GRID / 2)
        };
        let within = middle(&passed)?.mul(&middle(&waves)?)?.to_dtype(DType::Float64)?;
        within.sum(&[], false)?.mul_scalar(4.0 / count as f64)?.item()
    }

    fn code(&self) -> Option<&Code> {
        Some(&self.code)
    }

    fn compiled(&self, context: &Context) -> Result<Option<Filter>> {
        Filter::new(Self { code: self.code.compiled(context)? }).map(Some)
    }

    fn arguments(&self, _: &Map) -> String {
        "<closure>".to_string()
    }

    /// Code that cannot be stored is equal only to itself.
    fn identity(&self, _: Map) -> Value {
        match (self.code.to_data(), &self.code) {
            (Ok(data), _) if !matches!(data, Value::Unit) => data,
            (_, Code::Live(function)) => Value::Str(format!("{:p}", function.address())),
            _ => Value::Str(format!("{:p}", std::ptr::from_ref(self))),
        }
    }
}

/// Passes everything unchanged.
impl Default for Custom {
    fn default() -> Self {
        Self::new(|grid| Ok(grid.clone()))
    }
}

/// The stored form is the code.
impl Options for Custom {
    const FIELDS: &'static [Field] = &[];
    const DOC: &'static str = "A user-defined function of images of the token grid.";

    fn from_map(map: &Map) -> Result<Self> {
        Ok(Self { code: Code::stored(map.get(CODE).cloned().unwrap_or(Value::Unit)) })
    }

    fn set(&mut self, map: &Map) -> Result<()> {
        *self = Self::from_map(map)?;
        Ok(())
    }

    fn to_map(&self) -> Map {
        Map::from([(CODE.to_string(), self.code.to_data().unwrap_or(Value::Unit))])
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom(..)")
    }
}
