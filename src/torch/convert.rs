//! Properties of tensors, and conversion to other dtypes, devices and script values.

use super::api::Shape;
use crate::declare::{Allowed, FromValue, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::{DType, Device, Tensor};

crate::api! { functions: [properties, questions, dtypes, devices, values] }

/// Argument of `x.to(..)`.
pub(crate) enum Target {
    DType(DType),
    Device(Device),
    Like(Tensor),
}

impl FromValue for Target {
    fn label() -> String {
        "dtype, device or tensor".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Str(name) if is_device(name) => Device::named(name).map(Target::Device),
            Value::Str(name) => dtype(name).map(Target::DType),
            other => match other.downcast() {
                Some(tensor) => Ok(Target::Like(tensor)),
                None => Err(other.mismatch("a dtype such as \"float32\" or a device such as \"cuda\"")),
            },
        }
    }
    fn allowed() -> Allowed {
        Allowed::Named(|name| if is_device(name) { Device::check_name(name) } else { dtype(name).map(drop) })
    }
}

/// Returns whether a word means a device rather than a dtype.
fn is_device(name: &str) -> bool {
    name == "auto" || ["cpu", "cuda", "gpu"].iter().any(|start| name.starts_with(start))
}

/// Returns the dtype of a name, which may also have been meant as that of a device.
fn dtype(name: &str) -> Result<DType> {
    DType::named(name).map_err(|error| match error.suggestion() {
        Some(_) => error,
        None => Error::argument(format!("\"{name}\" is neither a dtype nor a device"))
            .hint("try \"float32\", \"int64\", \"cpu\" or \"cuda\""),
    })
}

mod properties {
    use super::*;
    functions! { properties;
        /// Sizes of all dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2, 3], [4, 5, 6]]).shape, [2, 3]);
        /// ```
        fn shape(x: Tensor) -> Vec<i64> { Ok(x.shape()) }

        /// Element type: "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8",
        /// "uint8", "bool", "complex64" or "complex128".
        ///
        /// ```rhai
        /// assert_eq(tensor([0.5]).dtype, "float32");
        /// ```
        fn dtype(x: Tensor) -> DType { Ok(x.dtype()) }

        /// Device of the tensor: "cpu" or "cuda:0".
        ///
        /// ```rhai
        /// assert_eq(tensor([0.5], #{ device: "cpu" }).device, "cpu");
        /// ```
        fn device(x: Tensor) -> Device { Ok(x.device()) }

        /// Number of dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2]]).ndim, 2);
        /// ```
        fn ndim(x: Tensor) -> usize { Ok(x.rank()) }

        /// Size of the elements in bytes.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).nbytes, 24);
        /// ```
        fn nbytes(x: Tensor) -> usize { Ok(x.count() * x.dtype().size()) }

        /// Size of one element in bytes.
        ///
        /// ```rhai
        /// assert_eq(tensor([1]).itemsize, 8);
        /// ```
        fn itemsize(x: Tensor) -> usize { Ok(x.dtype().size()) }

        /// Whether the tensor is on a CUDA device.
        ///
        /// ```rhai
        /// assert(!tensor([1]).cpu().is_cuda);
        /// ```
        fn is_cuda(x: Tensor) -> bool { Ok(x.device().is_cuda()) }

        /// View with the dimensions in reverse order: the transpose of a matrix.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).T, tensor([[1, 3], [2, 4]]));
        /// ```
        fn T(x: Tensor) -> Tensor { x.permute(&(0..x.rank() as i64).rev().collect::<Vec<_>>()) }

        /// View with the last two dimensions swapped: the transposes of batched matrices.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([5, 2, 3]).mT.shape, [5, 3, 2]);
        /// ```
        fn mT(x: Tensor) -> Tensor { x.transpose(-2, -1) }
    }
}

mod questions {
    use super::*;
    functions! { methods;
        /// Returns the sizes of all dimensions, or the size of dimension `dim`.
        ///
        /// ```rhai
        /// let x = tensor::zeros([2, 3]);
        /// assert_eq(x.size(), [2, 3]);
        /// assert_eq(x.size(-1), 3);
        /// ```
        fn size(x: Tensor, dim: Option<i64>) -> Value {
            match dim {
                Some(dim) => x.size(dim).map(Value::Int),
                None => Ok(Value::List(x.shape().into_iter().map(Value::Int).collect())),
            }
        }

        /// Returns the number of dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).dim(), 2);
        /// ```
        fn dim(x: Tensor) -> usize { Ok(x.rank()) }

        /// Returns the number of elements.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).numel(), 6);
        /// ```
        fn numel(x: Tensor) -> usize { Ok(x.count()) }

        /// Returns the size of dimension 0.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).len(), 2);
        /// ```
        fn len(x: Tensor) -> i64 {
            if x.rank() == 0 {
                return Err(Error::argument("a tensor without dimensions has no length")
                    .hint("`.item()` is its value; `.numel()` counts elements"));
            }
            x.size(0)
        }

        /// Returns the strides: the number of elements in storage from one entry of each dimension to the next.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).stride(), [3, 1]);
        /// assert_eq(tensor::zeros([2, 3]).T.stride(), [1, 3]);
        /// ```
        fn stride(x: Tensor) -> Vec<i64> { Ok(x.strides()) }

        /// Returns whether elements are contiguous (dense and row-major) in memory.
        ///
        /// ```rhai
        /// assert(tensor::zeros([2, 3]).is_contiguous());
        /// assert(!tensor::zeros([2, 3]).T.is_contiguous());
        /// ```
        fn is_contiguous(x: Tensor) -> bool { Ok(x.is_contiguous()) }

        /// Returns whether elements are real floating-point numbers.
        ///
        /// ```rhai
        /// assert(tensor([1.0]).is_floating_point() && !tensor([1]).is_floating_point());
        /// ```
        fn is_floating_point(x: Tensor) -> bool { Ok(x.dtype().is_float()) }

        /// Returns whether elements are complex numbers.
        ///
        /// ```rhai
        /// assert(tensor([1.0]).fft().is_complex());
        /// ```
        fn is_complex(x: Tensor) -> bool { Ok(x.dtype().is_complex()) }
    }
}

mod dtypes {
    use super::*;
    functions! { methods;
        /// Converts to a dtype, to a device, or to both of another tensor; returns the same tensor if nothing
        /// changes.
        ///
        /// ```rhai
        /// let x = tensor([1, 2]);
        /// assert_eq(x.to("float64").dtype, "float64");
        /// assert_eq(x.to("cpu").device, "cpu");
        /// assert_eq(x.to(tensor([0.5])), tensor([1.0, 2.0]));
        /// ```
        fn to(x: Tensor, target: Target, second: Option<Target>) -> Tensor {
            let apply = |x: &Tensor, target: &Target| match target {
                Target::DType(dtype) => x.to_dtype(*dtype),
                Target::Device(device) => x.to_device(*device),
                Target::Like(other) => x.to_device(other.device())?.to_dtype(other.dtype()),
            };
            let moved = apply(&x, &target)?;
            second.map_or(Ok(moved.clone()), |second| apply(&moved, &second))
        }

        /// Converts to float32.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).float(), tensor([1.0, 2.0]));
        /// ```
        fn float(x: Tensor) -> Tensor { x.to_dtype(DType::Float32) }

        /// Converts to float64.
        ///
        /// ```rhai
        /// assert_eq(tensor([0.5]).double().dtype, "float64");
        /// ```
        fn double(x: Tensor) -> Tensor { x.to_dtype(DType::Float64) }

        /// Converts to float16, which has 11 significant bits and a largest value of 65504.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.0 / 3.0]).half().item(), 0.333251953125);
        /// ```
        fn half(x: Tensor) -> Tensor { x.to_dtype(DType::Float16) }

        /// Converts to bfloat16, which has 8 significant bits and the range of float32.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.0 / 3.0]).bfloat16().item(), 0.333984375);
        /// ```
        fn bfloat16(x: Tensor) -> Tensor { x.to_dtype(DType::BFloat16) }

        /// Converts to int64, truncating towards zero.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.9, -1.9]).long(), tensor([1, -1]));
        /// ```
        fn long(x: Tensor) -> Tensor { x.to_dtype(DType::Int64) }

        /// Converts to int32, truncating towards zero.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.9]).int().dtype, "int32");
        /// ```
        fn int(x: Tensor) -> Tensor { x.to_dtype(DType::Int32) }

        /// Converts to uint8, from 0 to 255.
        ///
        /// ```rhai
        /// assert_eq(tensor([0, 255]).byte().dtype, "uint8");
        /// ```
        fn byte(x: Tensor) -> Tensor { x.to_dtype(DType::UInt8) }

        /// Converts to bool: true where elements are not zero.
        ///
        /// ```rhai
        /// assert_eq(tensor([0.0, 0.5]).bool(), tensor([false, true]));
        /// ```
        fn bool(x: Tensor) -> Tensor { x.to_dtype(DType::Bool) }

        /// Converts to the dtype of `other`, on its device.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).type_as(tensor([0.5])).dtype, "float32");
        /// ```
        fn type_as(x: Tensor, other: Tensor) -> Tensor { x.to_device(other.device())?.to_dtype(other.dtype()) }
    }
}

mod devices {
    use super::*;
    functions! { methods;
        /// Moves to the CPU; returns the same tensor if it is there already.
        ///
        /// ```rhai
        /// assert_eq(tensor([1]).cpu().device, "cpu");
        /// ```
        fn cpu(x: Tensor) -> Tensor { x.to_device(Device::Cpu) }

        /// Moves to a CUDA device, the first unless `index` is given.
        ///
        /// Fails if there is none; `"auto"` selects an available device.
        ///
        /// ```rhai
        /// let x = tensor([1, 2]);
        /// let message = "";
        /// try { x.cuda(99); } catch (e) { message = e.message; }
        /// assert(message.contains("cuda:99"), message);
        /// assert_eq(x.to("auto").cpu(), x);
        /// ```
        fn cuda(x: Tensor, index: Option<usize>) -> Tensor {
            let name = index.map_or("cuda".to_string(), |i| format!("cuda:{i}"));
            x.to_device(Device::named(&name)?)
        }
    }
}

mod values {
    use super::*;
    functions! { methods;
        /// Returns the only element as a script value: an int, a float, a bool, or `[real, imaginary]`.
        ///
        /// ```rhai
        /// assert_eq(tensor(3).item(), 3);
        /// assert_eq(tensor([0.5]).item(), 0.5);
        /// assert_eq(tensor([true]).item(), true);
        /// ```
        fn item(x: Tensor) -> Value { x.item_value() }

        /// Returns all elements as nested arrays of ints, floats or bools.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).to_array(), [[1, 2], [3, 4]]);
        /// assert_eq(tensor([0.5]).to_array(), [0.5]);
        /// ```
        fn to_array(x: Tensor) -> Value { x.to_nested() }

        /// Returns all elements as nested arrays; PyTorch's name for `to_array`.
        ///
        /// ```rhai
        /// assert_eq(tensor([true, false]).tolist(), [true, false]);
        /// ```
        fn tolist(x: Tensor) -> Value { x.to_nested() }

        /// Returns a copy that shares no memory; gradients flow through it.
        ///
        /// Assignment does not copy: after `let y = x` both refer to the same tensor.
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// let y = x.clone();
        /// y[0] = 9.0;
        /// assert_eq(x, tensor([1.0, 2.0]));
        /// ```
        fn clone(x: Tensor) -> Tensor { x.copy() }

        /// Returns a copy that shares no memory and is detached from the graph.
        ///
        /// ```rhai
        /// let w = tensor([1.0], #{ requires_grad: true });
        /// let c = w.copy();
        /// assert(!c.requires_grad);
        /// c.fill_(5.0);
        /// assert_eq(w.item(), 1.0);
        /// ```
        fn copy(x: Tensor) -> Tensor { x.detach()?.copy() }

        /// Creates a tensor of zeros of the given shape, with the dtype and device of this one.
        ///
        /// ```rhai
        /// assert_eq(tensor([1]).new_zeros([2]), tensor([0, 0]));
        /// ```
        fn new_zeros(x: Tensor, shape: Shape) -> Tensor { Tensor::zeros(&shape.0, x.dtype(), x.device()) }

        /// Creates a tensor of ones of the given shape, with the dtype and device of this one.
        ///
        /// ```rhai
        /// assert_eq(tensor([0.5]).new_ones([2]), tensor([1.0, 1.0]));
        /// ```
        fn new_ones(x: Tensor, shape: Shape) -> Tensor { Tensor::ones(&shape.0, x.dtype(), x.device()) }
    }
}
