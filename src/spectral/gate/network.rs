//! Small network that maps an embedding to coefficients, and the gates that consist of one.

use std::fmt;
use std::marker::PhantomData;

use super::{Coefficients, Condition, GateKind, GateLayer, Per, Width, without_default_per};
use crate::declare::{Map, Options};
use crate::error::Result;
use crate::nn::{Builder, Init, Linear};
use crate::torch::{Tensor, fused};

/// Network `scale * tanh(W2 silu(W1 c + b1) + b2)` with widths D, D/4 and one output per coefficient; W2 and b2
/// start at zero.
#[derive(Debug)]
pub struct Network {
    first: Linear,
    second: Linear,
    scale: f64,
    coefficients: Coefficients,
}

impl Network {
    /// Builds the layers `0` and `2` below `name`.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        hidden: i64,
        coefficients: Coefficients,
        scale: f64,
    ) -> Result<Self> {
        builder.within(name, |b| {
            let (inner, outputs) = (hidden / 4, coefficients.count());
            Ok(Self {
                first: Linear::new(b, 0, hidden, inner, Init::XavierUniform)?,
                second: Linear::new(b, 2, inner, outputs, Init::Zeros)?,
                scale,
                coefficients,
            })
        })
    }

    /// Maps embeddings [B, D] to coefficients [B, k] or [B, k, D] within ±scale, and those of tokens [B, N, D] to [B, N, k] or
    /// [B, N, k, D].
    pub fn forward(&self, embedding: &Tensor) -> Result<Tensor> {
        let ((first, first_bias), (second, second_bias)) = (self.first.parts()?, self.second.parts()?);
        let mut rows = embedding.shape();
        let width = rows.pop().unwrap_or_default();
        let of_images = rows.len() == 1;
        let flat = if of_images { embedding.clone() } else { embedding.reshape(&[-1, width])? };
        let flat = fused::gate(&flat, (&first, first_bias), (&second, second_bias), self.scale)?;
        match self.coefficients.channels {
            None if of_images => Ok(flat),
            _ => flat.reshape(&self.coefficients.shape_for(&rows)),
        }
    }

    /// Returns the number of parameters.
    pub fn parameters(hidden: i64, coefficients: Coefficients) -> i64 {
        Self::multiplications(hidden, coefficients) + hidden / 4 + coefficients.count()
    }

    /// Returns the number of weights that take part in multiplications.
    pub fn multiplications(hidden: i64, coefficients: Coefficients) -> i64 {
        hidden * (hidden / 4) + (hidden / 4) * coefficients.count()
    }
}

/// Options of a gate that consists of a network.
pub trait NetworkOptions: Options + fmt::Debug + Send + Sync {
    /// Bound of the coefficients.
    fn scale(&self) -> f64;

    /// Which coefficients there are.
    fn per(&self) -> Per;

    /// Selects the embedding that the network maps.
    fn embedding<'a>(condition: &Condition<'a>) -> &'a Tensor;
}

#[derive(Debug)]
struct Layer<O> {
    network: Network,
    options: PhantomData<O>,
}

impl<O: NetworkOptions> GateLayer for Layer<O> {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        self.network.forward(O::embedding(condition))
    }
}

impl<O: NetworkOptions + 'static> GateKind for O {
    fn shown(&self, options: Map) -> Map {
        without_default_per(options)
    }

    fn layer(
        &self,
        builder: &mut Builder,
        name: &str,
        bands: i64,
        width: Width,
    ) -> Result<Box<dyn GateLayer>> {
        let coefficients = Coefficients::new(self.per(), bands, width);
        let network = Network::new(builder, name, width.embedding, coefficients, self.scale())?;
        Ok(Box::new(Layer::<O> { network, options: PhantomData }))
    }

    fn parameters(&self, bands: i64, width: Width) -> i64 {
        Network::parameters(width.embedding, Coefficients::new(self.per(), bands, width))
    }

    fn multiplications(&self, bands: i64, width: Width) -> i64 {
        Network::multiplications(width.embedding, Coefficients::new(self.per(), bands, width))
    }
}
