//! Tensor constructors; the most common ones of Rust are in [`tensor`](super::tensor).

use super::api::{LikeOptions, MakeOptions, Shape};
use super::call::call_one;
use super::{DType, Device, Tensor, checked, placement};
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::{Error, Result};
use crate::functions;

crate::api! { functions: [from_values, filled, like, grids] }

pub(crate) mod from_values {
    use super::*;
    functions! { global;
        /// Creates a tensor from a number, a bool or nested arrays of them.
        ///
        /// The dtype is int64 for integers, bool for bools and float32 if any value is a float, unless `dtype` is
        /// given. All rows must have equal lengths. An array may also hold tensors of the same shape, which are
        /// stacked. A type of integers cuts off fractions and refuses numbers outside its range.
        ///
        /// ```rhai
        /// let x = tensor([[1.0, 2.0], [3.0, 4.0]]);
        /// assert_eq(x.shape, [2, 2]);
        /// assert_eq(tensor([1, 2]).dtype, "int64");
        /// assert_eq(tensor([true, false]).dtype, "bool");
        /// assert_eq(tensor([1, 2], #{ dtype: "float64" }).to_array(), [1.0, 2.0]);
        /// ```
        fn tensor(values: Value, options: MakeOptions) -> Tensor {
            // Tensors keep their device.
            let own = || placement::of_arguments([&values]);
            let device = options.device.or_else(own).unwrap_or_else(Device::of_new);
            options.finish(Tensor::from_nested(&values, options.dtype, device)?)
        }
    }
}

pub(crate) mod filled {
    use super::*;
    functions! { in "tensor";
        /// Creates a tensor of zeros.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2]), tensor([0.0, 0.0]));
        /// assert_eq(tensor::zeros(3, #{ dtype: "int64" }).dtype, "int64");
        /// ```
        fn zeros(shape: Shape, options: MakeOptions) -> Tensor {
            options.finish(Tensor::zeros(&shape.0, options.dtype(), options.device())?)
        }

        /// Creates a tensor of ones.
        ///
        /// ```rhai
        /// assert_eq(tensor::ones([1, 2]), tensor([[1.0, 1.0]]));
        /// ```
        fn ones(shape: Shape, options: MakeOptions) -> Tensor {
            options.finish(Tensor::ones(&shape.0, options.dtype(), options.device())?)
        }

        /// Creates a tensor filled with one number.
        ///
        /// The dtype is int64 for an integer and float32 for a float, unless `dtype` is given.
        ///
        /// ```rhai
        /// assert_eq(tensor::full([2], 7), tensor([7, 7]));
        /// assert_eq(tensor::full([2], 0.5), tensor([0.5, 0.5]));
        /// ```
        fn full(shape: Shape, value: Number, options: MakeOptions) -> Tensor {
            let natural = if matches!(value, Number::Int(_)) { DType::Int64 } else { DType::Float32 };
            let dtype = options.dtype.unwrap_or(natural);
            options.finish(Tensor::filled(&shape.0, value, dtype, options.device())?)
        }

        /// Creates an uninitialized tensor, whose elements are arbitrary.
        ///
        /// ```rhai
        /// let x = tensor::empty([2, 2]);
        /// x.fill_(3.0);
        /// assert_eq(x.sum().item(), 12.0);
        /// ```
        fn empty(shape: Shape, options: MakeOptions) -> Tensor {
            options.finish(Tensor::empty(&shape.0, options.dtype(), options.device())?)
        }

        /// Creates the identity matrix of size `n`, or an `n` by `columns` matrix with ones on the diagonal.
        ///
        /// ```rhai
        /// assert_eq(tensor::eye(2), tensor([[1.0, 0.0], [0.0, 1.0]]));
        /// assert_eq(tensor::eye(1, 3), tensor([[1.0, 0.0, 0.0]]));
        /// ```
        fn eye(n: i64, columns: Option<i64>, options: MakeOptions) -> Tensor {
            let columns = columns.unwrap_or(n);
            options.finish(Tensor::eye(n, columns, options.dtype(), options.device())?)
        }
    }
}

pub(crate) mod like {
    use super::*;
    functions! { in "tensor";
        /// Creates a tensor of zeros with the shape, dtype and device of `x`.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros_like(tensor([3, 4])), tensor([0, 0]));
        /// ```
        fn zeros_like(x: Tensor, options: LikeOptions) -> Tensor {
            let options = options.of(&x);
            options.finish(Tensor::zeros(&x.shape(), options.dtype(), options.device())?)
        }

        /// Creates a tensor of ones with the shape, dtype and device of `x`.
        ///
        /// ```rhai
        /// assert_eq(tensor::ones_like(tensor([3, 4]), #{ dtype: "float32" }), tensor([1.0, 1.0]));
        /// ```
        fn ones_like(x: Tensor, options: LikeOptions) -> Tensor {
            let options = options.of(&x);
            options.finish(Tensor::ones(&x.shape(), options.dtype(), options.device())?)
        }

        /// Creates a tensor filled with one number, with the shape, dtype and device of `x`.
        ///
        /// ```rhai
        /// assert_eq(tensor::full_like(tensor([3.0, 4.0]), 2), tensor([2.0, 2.0]));
        /// ```
        fn full_like(x: Tensor, value: Number, options: LikeOptions) -> Tensor {
            let options = options.of(&x);
            options.finish(Tensor::filled(&x.shape(), value, options.dtype(), options.device())?)
        }

        /// Creates an uninitialized tensor with the shape, dtype and device of `x`.
        ///
        /// ```rhai
        /// assert_eq(tensor::empty_like(tensor([3, 4])).dtype, "int64");
        /// ```
        fn empty_like(x: Tensor, options: LikeOptions) -> Tensor {
            let options = options.of(&x);
            options.finish(Tensor::empty(&x.shape(), options.dtype(), options.device())?)
        }
    }
}

pub(crate) mod grids {
    use super::*;
    functions! { in "tensor";
        /// Returns the numbers from 0 up to but excluding `n`, or from `n` up to but excluding `stop` in steps of
        /// `step`.
        ///
        /// The dtype is int64 for integers and float32 if any argument is a float, unless `dtype` is given.
        ///
        /// ```rhai
        /// assert_eq(tensor::arange(3), tensor([0, 1, 2]));
        /// assert_eq(tensor::arange(2, 8, 3), tensor([2, 5]));
        /// assert_eq(tensor::arange(9007199254740993, 9007199254740995).to_array(), [9007199254740993, 9007199254740994]);
        /// assert_eq(tensor::arange(0, 1, 0.25), tensor([0.0, 0.25, 0.5, 0.75]));
        /// ```
        fn arange(n: Number, stop: Option<Number>, step: Option<Number>, options: MakeOptions) -> Tensor {
            let (start, stop) = match stop {
                Some(stop) => (n, stop),
                None => (Number::Int(0), n),
            };
            let step = step.unwrap_or(Number::Int(1));
            if step.as_f64() == 0.0 {
                return Err(Error::argument("expected a step other than 0"));
            }
            let integers = [start, stop, step].iter().all(|n| matches!(n, Number::Int(_)));
            let natural = if integers { DType::Int64 } else { DType::Float32 };
            let dtype = options.dtype.unwrap_or(natural);
            // Counting in the natural dtype keeps a float step from becoming 0 under an integer dtype.
            let counted =
                Tensor::arange(start, stop, step, natural, options.device())?;
            options.finish(counted.to_dtype(dtype)?)
        }

        /// Returns `steps` equally spaced numbers from `start` to `stop`, both included.
        ///
        /// ```rhai
        /// assert_close(tensor::linspace(0, 1, 5), [0.0, 0.25, 0.5, 0.75, 1.0], 1e-7);
        /// ```
        fn linspace(start: f64, stop: f64, steps: i64, options: MakeOptions) -> Tensor {
            options.finish(Tensor::linspace(start, stop, steps, options.dtype(), options.device())?)
        }

        /// Returns `steps` powers of 10 whose exponents are equally spaced from `start` to `stop`.
        ///
        /// ```rhai
        /// assert_close(tensor::logspace(0, 2, 3), [1.0, 10.0, 100.0], 1e-4);
        /// ```
        fn logspace(start: f64, stop: f64, steps: i64, options: MakeOptions) -> Tensor {
            let made = Tensor::logspace(start, stop, steps, 10.0, options.dtype(), options.device())?;
            options.finish(made)
        }

        /// Returns the coordinates of the lower triangle of a matrix, as int64 rows and columns.
        ///
        /// ```rhai
        /// assert_eq(tensor::tril_indices(2, 2), tensor([[0, 1, 1], [0, 0, 1]]));
        /// ```
        fn tril_indices(rows: i64, columns: i64, offset: Option<i64>) -> Tensor {
            Tensor::tril_indices(rows, columns, offset.unwrap_or(0), Device::of_new())
        }

        /// Returns the coordinates of the upper triangle of a matrix, as int64 rows and columns.
        ///
        /// ```rhai
        /// assert_eq(tensor::triu_indices(2, 2, 1), tensor([[0], [1]]));
        /// ```
        fn triu_indices(rows: i64, columns: i64, offset: Option<i64>) -> Tensor {
            Tensor::triu_indices(rows, columns, offset.unwrap_or(0), Device::of_new())
        }

        /// Returns coordinate grids of vectors; the first vector varies along dimension 0.
        ///
        /// With `indexing` "xy", the first vector varies along dimension 1, as in images.
        ///
        /// ```rhai
        /// let grids = tensor::meshgrid([tensor([1, 2]), tensor([5, 6, 7])]);
        /// assert_eq(grids[0], tensor([[1, 1, 1], [2, 2, 2]]));
        /// assert_eq(grids[1], tensor([[5, 6, 7], [5, 6, 7]]));
        /// ```
        fn meshgrid(vectors: Vec<Tensor>, indexing: Option<String>) -> Vec<Tensor> {
            Tensor::meshgrid(&vectors, indexing.as_deref().unwrap_or("ij"))
        }

        /// Returns a periodic Hann window, `sin^2(pi i / length)`.
        ///
        /// ```rhai
        /// assert_close(tensor::hann_window(4), [0.0, 0.5, 1.0, 0.5], 1e-6);
        /// ```
        fn hann_window(length: i64, options: MakeOptions) -> Tensor {
            options.finish(Tensor::hann_window(length, options.dtype(), options.device())?)
        }
    }
}

impl Tensor {
    /// Returns a tensor filled with one number; integers stay exact.
    pub fn filled(shape: &[i64], value: impl Into<Number>, dtype: DType, device: Device) -> Result<Tensor> {
        let value: Number = value.into();
        dtype.admit(value)?;
        let shape = Value::List(shape.iter().map(|s| Value::Int(*s)).collect());
        call_one("full", &[shape, value.into_value()], &made_as(dtype, device))
    }

    /// Returns an uninitialized tensor.
    pub fn empty(shape: &[i64], dtype: DType, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_empty(shape, (dtype.kind(), device.tch()))).map(Tensor::wrap)
    }

    /// Returns `base` to the power of `steps` equally spaced exponents from `start` to `end`, both included.
    pub fn logspace(
        start: f64,
        end: f64,
        steps: i64,
        base: f64,
        dtype: DType,
        device: Device,
    ) -> Result<Tensor> {
        let numbers = [Value::Float(start), Value::Float(end), Value::Int(steps), Value::Float(base)];
        call_one("logspace", &numbers, &made_as(dtype, device))
    }

    /// Returns a `rows` by `columns` matrix with ones on the diagonal and zeros elsewhere.
    pub fn eye(rows: i64, columns: i64, dtype: DType, device: Device) -> Result<Tensor> {
        call_one("eye.m", &[Value::Int(rows), Value::Int(columns)], &made_as(dtype, device))
    }

    /// Returns the int64 coordinates [2, count] of the lower triangle of a matrix.
    pub fn tril_indices(rows: i64, columns: i64, offset: i64, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_tril_indices(rows, columns, offset, (tch::Kind::Int64, device.tch())))
            .map(Tensor::wrap)
    }

    /// Returns the int64 coordinates [2, count] of the upper triangle of a matrix.
    pub fn triu_indices(rows: i64, columns: i64, offset: i64, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_triu_indices(rows, columns, offset, (tch::Kind::Int64, device.tch())))
            .map(Tensor::wrap)
    }

    /// Returns the periodic Hann window `sin^2(pi i / length)`.
    pub fn hann_window(length: i64, dtype: DType, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_hann_window(length, (dtype.kind(), device.tch()))).map(Tensor::wrap)
    }
}

/// Returns the named arguments for the dtype and device of a new tensor.
pub(super) fn made_as(dtype: DType, device: Device) -> Map {
    Map::from([("dtype".to_string(), dtype.into_value()), ("device".to_string(), device.into_value())])
}
