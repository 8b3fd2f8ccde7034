//! Random tensors, drawn from the default generator, from a seed for one call, or from a generator.

use super::api::{DrawLikeOptions, DrawOptions, Shape, SourceOptions};
use super::call::call_one;
use super::ops::declare::operators;
use super::rng;
use super::{DType, Device, Generator, Tensor};
use crate::declare::{IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;

/// Options of `tensor::generator`.
#[derive(Debug, Clone, Options)]
pub struct PlaceOptions {
    /// Device of the tensors that the generator fills.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Options of `multinomial`.
#[derive(Debug, Clone, Options)]
pub struct PickOptions {
    /// Whether to draw with replacement.
    #[option(default = false)]
    pub replacement: bool,
    /// The random numbers.
    #[option(flatten)]
    pub source: SourceOptions,
}

crate::api! { functions: [sources, tensors, methods, scripts, generator_properties, generator_methods] }

pub(crate) mod sources {
    use super::*;
    functions! { in "tensor";
        /// Seeds the default generators of all devices.
        ///
        /// ```rhai
        /// tensor::seed(7);
        /// let a = tensor::rand(3);
        /// tensor::seed(7);
        /// assert_eq(tensor::rand(3), a);
        /// ```
        fn seed(seed: i64) -> () {
            rng::seed(seed);
            Ok(())
        }

        /// Creates a random number generator with its own state, for the option `generator`. On the CPU libtorch takes the
        /// lowest 32 bits of the seed.
        ///
        /// ```rhai
        /// let g = tensor::generator(7);
        /// let first = tensor::rand(3, #{ generator: g });
        /// assert(!first.equal(tensor::rand(3, #{ generator: g })), "a generator moves on");
        /// assert_eq(tensor::rand(3, #{ generator: tensor::generator(7) }), first);
        /// ```
        fn generator(seed: i64, options: PlaceOptions) -> Generator { Generator::new(seed as u64, options.device) }
    }
}

/// Fails unless elements of the type represent an integer exactly.
fn holds(dtype: DType, integer: i64) -> Result<()> {
    let (low, high) = dtype.integers();
    if (low..=high).contains(&integer) { Ok(()) } else { Err(dtype.too_small_for(integer)) }
}

pub(crate) mod tensors {
    use super::*;
    functions! { in "tensor";
        /// Draws uniform random numbers from 0 (included) to 1 (excluded).
        ///
        /// ```rhai
        /// let x = tensor::rand([2, 100], #{ seed: 1 });
        /// assert_eq(x.shape, [2, 100]);
        /// assert(x.amin().item() >= 0.0 && x.amax().item() < 1.0);
        /// assert_eq(x, tensor::rand([2, 100], #{ seed: 1 }));
        /// ```
        fn rand(shape: Shape, options: DrawOptions) -> Tensor {
            let device = options.device();
            let source = options.source.of(device)?;
            options.make.finish(Tensor::rand(&shape.0, options.make.dtype(), device, source.as_ref())?)
        }

        /// Draws standard normal random numbers (mean 0, standard deviation 1).
        ///
        /// ```rhai
        /// let x = tensor::randn([10000], #{ seed: 1 });
        /// assert_close(x.mean().item(), 0.0, 0.05);
        /// assert_close(x.std().item(), 1.0, 0.05);
        /// ```
        fn randn(shape: Shape, options: DrawOptions) -> Tensor {
            let device = options.device();
            let source = options.source.of(device)?;
            options.make.finish(Tensor::randn(&shape.0, options.make.dtype(), device, source.as_ref())?)
        }

        /// Draws random integers from `low` (included) to `high` (excluded); int64 unless `dtype` is given.
        ///
        /// ```rhai
        /// let x = tensor::randint(3, 6, [50], #{ seed: 1 });
        /// assert_eq(x.unique().values, tensor([3, 4, 5]));
        /// ```
        fn randint(low: i64, high: i64, shape: Shape, options: DrawOptions) -> Tensor {
            let device = options.device();
            let source = options.source.of(device)?;
            let dtype = options.make.dtype.unwrap_or(DType::Int64);
            if !dtype.is_float() {
                holds(dtype, low)?;
                holds(dtype, high.saturating_sub(1).max(low))?;
            }
            options.make.finish(Tensor::randint(low, high, &shape.0, device, source.as_ref())?.to_dtype(dtype)?)
        }

        /// Returns a random permutation of the integers from 0 up to but excluding `count`; int64 unless `dtype` is
        /// given.
        ///
        /// ```rhai
        /// let order = tensor::randperm(5, #{ seed: 1 });
        /// assert_eq(order.sort().values, tensor::arange(5));
        /// ```
        fn randperm(count: i64, options: DrawOptions) -> Tensor {
            let device = options.device();
            let dtype = options.make.dtype.unwrap_or(DType::Int64);
            holds(dtype, count.saturating_sub(1).max(0))?;
            let drawn = Tensor::randperm(count, device, options.source.of(device)?.as_ref())?;
            options.make.finish(drawn.to_dtype(dtype)?)
        }

        /// Draws normal random numbers with the given mean and standard deviation.
        ///
        /// ```rhai
        /// let x = tensor::normal(5.0, 0.1, [1000], #{ seed: 1 });
        /// assert_close(x.mean().item(), 5.0, 0.02);
        /// ```
        fn normal(mean: f64, std: f64, shape: Shape, options: DrawOptions) -> Tensor {
            if std < 0.0 {
                return Err(Error::argument(format!("expected a standard deviation of at least 0, found {std}")));
            }
            let device = options.device();
            let source = options.source.of(device)?;
            let drawn = Tensor::randn(&shape.0, options.make.dtype(), device, source.as_ref())?;
            options.make.finish(drawn.mul_scalar(std)?.add_scalar(mean)?)
        }

        /// Draws ones with the given probability and zeros otherwise.
        ///
        /// ```rhai
        /// assert_eq(tensor::bernoulli(1.0, [3]), tensor([1.0, 1.0, 1.0]));
        /// assert_close(tensor::bernoulli(0.25, [10000], #{ seed: 1 }).mean().item(), 0.25, 0.02);
        /// ```
        fn bernoulli(probability: f64, shape: Shape, options: DrawOptions) -> Tensor {
            if !(0.0..=1.0).contains(&probability) {
                return Err(Error::argument(format!("expected a probability from 0 to 1, found {probability}")));
            }
            let device = options.device();
            let source = options.source.of(device)?;
            let chance = Tensor::full(&shape.0, probability, options.make.dtype(), device)?;
            options.make.finish(chance.bernoulli(source.as_ref())?)
        }

        /// Draws uniform random numbers with the shape, dtype and device of `x`.
        ///
        /// ```rhai
        /// let x = tensor::zeros([2, 3], #{ dtype: "float64" });
        /// assert_eq(tensor::rand_like(x).dtype, "float64");
        /// ```
        fn rand_like(x: Tensor, options: DrawLikeOptions) -> Tensor {
            let make = options.make.of(&x);
            let (dtype, device) = (make.dtype(), make.device());
            let source = options.source.of(device)?;
            make.finish(Tensor::rand(&x.shape(), dtype, device, source.as_ref())?)
        }

        /// Draws standard normal random numbers with the shape, dtype and device of `x`.
        ///
        /// ```rhai
        /// let x = tensor::zeros([2, 3]);
        /// assert_eq(tensor::randn_like(x, #{ seed: 3 }), tensor::randn([2, 3], #{ seed: 3 }));
        /// ```
        fn randn_like(x: Tensor, options: DrawLikeOptions) -> Tensor {
            let make = options.make.of(&x);
            let (dtype, device) = (make.dtype(), make.device());
            let source = options.source.of(device)?;
            make.finish(Tensor::randn(&x.shape(), dtype, device, source.as_ref())?)
        }
    }
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Draws `count` indices, weighted by the elements of this vector or of each row of this matrix.
        ///
        /// ```rhai
        /// assert_eq(tensor([0.0, 0.0, 5.0]).multinomial(1), tensor([2]));
        /// let many = tensor([1.0, 3.0]).multinomial(10000, #{ replacement: true, seed: 1 });
        /// assert_close(many.to("float32").mean().item(), 0.75, 0.02);
        /// ```
        fn multinomial(x: Tensor, count: i64, options: PickOptions) -> Tensor {
            let source = options.source.of(x.device())?;
            x.multinomial(count, options.replacement, source.as_ref())
        }

        /// Returns the entries of dimension 0 in random order.
        ///
        /// ```rhai
        /// let x = tensor::arange(6).shuffle(#{ seed: 1 });
        /// assert_eq(x.sort().values, tensor::arange(6));
        /// ```
        fn shuffle(x: Tensor, options: SourceOptions) -> Tensor {
            let order = Tensor::randperm(x.size(0)?, x.device(), options.of(x.device())?.as_ref())?;
            x.index_select(0, &order)
        }
    }
}

mod generator_properties {
    use super::*;
    functions! { properties;
        /// Seed that the generator was created with.
        ///
        /// ```rhai
        /// assert_eq(tensor::generator(7).seed, 7);
        /// ```
        fn seed(generator: Generator) -> i64 { Ok(generator.seed() as i64) }

        /// Device of the tensors that the generator fills.
        ///
        /// ```rhai
        /// assert_eq(tensor::generator(7, #{ device: "cpu" }).device, "cpu");
        /// ```
        fn device(generator: Generator) -> Device { Ok(generator.device()) }
    }
}

mod generator_methods {
    use super::*;
    functions! { methods;
        /// Returns the whole state of the generator, as a uint8 tensor.
        ///
        /// ```rhai
        /// let g = tensor::generator(7);
        /// let state = g.state();
        /// let a = tensor::rand(3, #{ generator: g });
        /// g.restore(state);
        /// assert_eq(tensor::rand(3, #{ generator: g }), a);
        /// ```
        fn state(generator: Generator) -> Tensor { generator.state() }

        /// Restores a state from `state()`, so that the same numbers are drawn again.
        ///
        /// ```rhai
        /// let g = tensor::generator(7);
        /// let other = tensor::generator(8);
        /// other.restore(g.state());
        /// assert_eq(tensor::rand(3, #{ generator: g }), tensor::rand(3, #{ generator: other }));
        /// ```
        fn restore(generator: Generator, state: Tensor) -> () { generator.restore(&state) }
    }
}

operators! {
    /// Draws ones with the probabilities in this tensor and zeros otherwise.
    ///
    /// ```rhai
    /// assert_eq(tensor([1.0, 0.0]).bernoulli(), tensor([1.0, 0.0]));
    /// ```
    fn bernoulli(x, options: SourceOptions) -> Tensor {
        call_one("bernoulli", &[x.clone().into_value()], &drawn_from(options))
    }

    /// Draws counts from Poisson distributions with the rates in this tensor.
    ///
    /// ```rhai
    /// let counts = tensor::full([10000], 4.0).poisson(#{ seed: 1 });
    /// assert_close(counts.mean().item(), 4.0, 0.1);
    /// ```
    fn poisson(x, options: SourceOptions) -> Tensor {
        call_one("poisson", &[x.clone().into_value()], &drawn_from(options))
    }

    /// Fills the tensor in place with uniform random numbers from `low` (included) to `high` (excluded).
    ///
    /// ```rhai
    /// let x = tensor::zeros([100]).uniform_(2.0, 3.0);
    /// assert(x.amin().item() >= 2.0 && x.amax().item() < 3.0);
    /// ```
    fn uniform_(x, low: f64, high: f64, options: SourceOptions) -> Tensor {
        let arguments = [x.clone().into_value(), Value::Float(low), Value::Float(high)];
        call_one("uniform_", &arguments, &drawn_from(options))
    }

    /// Fills the tensor in place with normal random numbers.
    ///
    /// ```rhai
    /// let x = tensor::zeros([1000]).normal_(3.0, 0.1, #{ seed: 1 });
    /// assert_close(x.mean().item(), 3.0, 0.02);
    /// ```
    fn normal_(x, mean: f64, std: f64, options: SourceOptions) -> Tensor {
        let arguments = [x.clone().into_value(), Value::Float(mean), Value::Float(std)];
        call_one("normal_", &arguments, &drawn_from(options))
    }
}

impl Tensor {
    /// Draws int64 indices with these weights, per row.
    pub fn multinomial(
        &self,
        count: i64,
        replacement: bool,
        generator: Option<&Generator>,
    ) -> Result<Tensor> {
        let arguments = [self.clone().into_value(), Value::Int(count), Value::Bool(replacement)];
        call_one("multinomial", &arguments, &drawn_from(generator))
    }
}

fn drawn_from(generator: Option<&Generator>) -> Map {
    generator.map(|g| ("generator".to_string(), g.clone().into_value())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::api::MakeOptions;
    use super::*;

    #[test]
    fn random_integers_fit_the_dtype() {
        let make = |dtype| MakeOptions { dtype: Some(dtype), device: None, requires_grad: false };
        let source = || SourceOptions { seed: Some(1), generator: None };
        let draw = |dtype| DrawOptions { make: make(dtype), source: source() };
        let whole = |low: i64, high: i64, dtype| tensors::randint(low, high, Shape(vec![4]), draw(dtype));
        let order = |count: i64, dtype| tensors::randperm(count, draw(dtype));
        for error in [
            whole(0, 257, DType::UInt8),
            whole(-1, 3, DType::UInt8),
            whole(0, 3, DType::Bool),
            order(257, DType::UInt8),
            order(2050, DType::Float16),
        ] {
            assert!(error.unwrap_err().message().contains("expected numbers from "));
        }
        let sorted = order(256, DType::UInt8).unwrap().to_i64().unwrap();
        assert_eq!(sorted.iter().sum::<i64>(), 255 * 128);
        assert!(whole(0, 256, DType::UInt8).is_ok() && whole(0, 2, DType::Bool).is_ok());
        assert!(order(2049, DType::Float16).is_ok() && order(0, DType::UInt8).is_ok());
    }
}
