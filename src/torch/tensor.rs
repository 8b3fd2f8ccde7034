//! The tensor handle: creation from data and conversion back.

use std::sync::Arc;

use super::call::call_one;
use super::create::made_as;
use super::{DType, Device, Generator, checked};
use crate::declare::{Display, IntoValue, Map, Number, Value};
use crate::error::{Error, Result};
use crate::scripted;

/// Number of bytes that are read at once; several parts fit the second-level cache of a processor.
const READ_AT_ONCE: usize = 256 << 10;

/// A libtorch tensor. Clones share the data, as Python names do.
#[derive(Clone)]
pub struct Tensor(Arc<Shared>);

struct Shared(tch::Tensor);

// SAFETY: libtorch's operators may be called from any thread, and reference counts are atomic. Two threads that
// write into the same tensor in place race on its values, as in PyTorch, but stay memory safe.
unsafe impl Sync for Shared {}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.signature())
    }
}

scripted!(
    Tensor,
    "tensor",
    |t| Display::of(&super::print::document(t, super::print::WIDTH)),
    text = |t| super::print::render(t, super::print::WIDTH),
    document = |t, width| super::print::document(t, width.unwrap_or(super::print::WIDTH)),
    describe = |t| ("a", t.signature()),
    number = |t| t.item_value().ok().filter(|_| !t.dtype().is_complex()),
    bytes = Tensor::bytes,
    facts = |t| vec![
        ("shape", format!("{:?}", t.shape())),
        ("dtype", t.dtype().name().to_string()),
        ("device", t.device().to_string()),
    ],
);

impl Tensor {
    pub(crate) fn wrap(tensor: tch::Tensor) -> Self {
        super::start();
        Self(Arc::new(Shared(tensor)))
    }

    pub(crate) fn raw(&self) -> &tch::Tensor {
        super::start();
        &self.0.0
    }

    /// Returns a second handle for the in-place functions of tch, which take `&mut` although they share the data.
    pub(crate) fn alias(&self) -> tch::Tensor {
        self.raw().shallow_clone()
    }

    /// Returns a short description for messages: `tensor [2, 3] float32`, with the device unless it is the CPU.
    pub fn signature(&self) -> String {
        let device = match self.device() {
            Device::Cpu => String::new(),
            other => format!(" {other}"),
        };
        format!("tensor {:?} {}{device}", self.shape(), self.dtype().name())
    }

    /// Returns the address at which its numbers start.
    pub(crate) fn address(&self) -> usize {
        self.raw().data_ptr() as usize
    }

    /// Returns whether both have the same shape and start at the same address, so that one is the other.
    pub fn shares_memory(&self, other: &Tensor) -> bool {
        self.shape() == other.shape() && self.raw().data_ptr() == other.raw().data_ptr()
    }

    /// Returns the sizes of all dimensions.
    pub fn shape(&self) -> Vec<i64> {
        self.raw().size()
    }

    /// Returns the number of dimensions.
    pub fn rank(&self) -> usize {
        self.raw().dim()
    }

    /// Returns the number of elements.
    pub fn count(&self) -> usize {
        self.raw().numel()
    }

    /// Returns the number of bytes of its elements; a view shares the memory of another tensor.
    pub fn bytes(&self) -> u64 {
        (self.count() * self.dtype().size()) as u64
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        DType::of(self.raw().kind()).unwrap_or(DType::Float32)
    }

    /// Returns the size of one dimension; negative dimensions count from the end.
    pub fn size(&self, dim: i64) -> Result<i64> {
        let shape = self.shape();
        let rank = shape.len() as i64;
        let index = if dim < 0 { dim + rank } else { dim };
        usize::try_from(index)
            .ok()
            .and_then(|i| shape.get(i).copied())
            .ok_or_else(|| Error::argument(format!("dimension {dim} is out of range for shape {shape:?}")))
    }

    /// Creates a float32 tensor on the CPU.
    pub fn from_f32(data: &[f32], shape: &[i64]) -> Result<Self> {
        Self::from_flat(checked(tch::Tensor::f_from_slice(data))?, data.len(), shape)
    }

    /// Creates a float64 tensor on the CPU.
    pub fn from_f64(data: &[f64], shape: &[i64]) -> Result<Self> {
        Self::from_flat(checked(tch::Tensor::f_from_slice(data))?, data.len(), shape)
    }

    /// Creates an int64 tensor on the CPU.
    pub fn from_i64(data: &[i64], shape: &[i64]) -> Result<Self> {
        Self::from_flat(checked(tch::Tensor::f_from_slice(data))?, data.len(), shape)
    }

    /// Creates a uint8 tensor on the CPU.
    pub fn from_u8(data: &[u8], shape: &[i64]) -> Result<Self> {
        Self::from_flat(checked(tch::Tensor::f_from_slice(data))?, data.len(), shape)
    }

    /// Creates a tensor on the CPU from bytes in native order, row-major.
    pub fn from_bytes(data: &[u8], shape: &[i64], dtype: DType) -> Result<Self> {
        let wanted = shape.iter().product::<i64>() as usize * dtype.size();
        if wanted != data.len() {
            return Err(Error::argument(format!(
                "shape {shape:?} {} takes {wanted} bytes, found {}",
                dtype.name(),
                data.len()
            )));
        }
        checked(tch::Tensor::f_from_data_size(data, shape, dtype.kind())).map(Self::wrap)
    }

    /// Creates a tensor from the bytes of its values, which `reader` writes straight into its memory.
    ///
    /// Any bytes must be values of the dtype, which excludes `bool`.
    pub(super) fn from_reader(
        reader: &mut dyn std::io::Read,
        shape: &[i64],
        dtype: DType,
    ) -> Result<std::io::Result<Self>> {
        crate::ensure!(dtype != DType::Bool, "booleans cannot be read from arbitrary bytes");
        let tensor = checked(tch::Tensor::f_empty(shape, (dtype.kind(), tch::Device::Cpu)))?;
        let length = tensor.numel() * dtype.size();
        if length > 0 {
            let start = tensor.data_ptr().cast::<u8>();
            super::memory::prefer_large_pages(start, length);
            // Part by part, so that what is zeroed and read is still in the processor's cache when it is overwritten
            // and when a checksum is formed of it.
            for first in (0..length).step_by(READ_AT_ONCE) {
                // SAFETY: the tensor is contiguous, on the CPU, not shared yet, and has `length` bytes, of which these
                // are zeroed before they are borrowed.
                let bytes = unsafe {
                    let start = start.add(first);
                    let count = READ_AT_ONCE.min(length - first);
                    std::ptr::write_bytes(start, 0, count);
                    std::slice::from_raw_parts_mut(start, count)
                };
                if let Err(error) = reader.read_exact(bytes) {
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(Self::wrap(tensor)))
    }

    fn from_flat(flat: tch::Tensor, count: usize, shape: &[i64]) -> Result<Self> {
        if shape.iter().product::<i64>() != count as i64 {
            return Err(Error::argument(format!("{count} values do not fill shape {shape:?}")));
        }
        checked(flat.f_reshape(shape)).map(Self::wrap)
    }

    /// Creates a scalar of a dtype.
    pub fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        Self::full(&[], value, dtype, device)
    }

    /// Creates a tensor of zeros.
    pub fn zeros(shape: &[i64], dtype: DType, device: Device) -> Result<Self> {
        checked(tch::Tensor::f_zeros(shape, (dtype.kind(), device.tch()))).map(Self::wrap)
    }

    /// Creates a tensor of ones.
    pub fn ones(shape: &[i64], dtype: DType, device: Device) -> Result<Self> {
        checked(tch::Tensor::f_ones(shape, (dtype.kind(), device.tch()))).map(Self::wrap)
    }

    /// Creates a tensor filled with one value.
    pub fn full(shape: &[i64], value: f64, dtype: DType, device: Device) -> Result<Self> {
        Self::filled(shape, value, dtype, device)
    }

    /// Returns `start, start + step, ..` below `end`; integers stay exact.
    pub fn arange(
        start: impl Into<Number>,
        end: impl Into<Number>,
        step: impl Into<Number>,
        dtype: DType,
        device: Device,
    ) -> Result<Self> {
        let number = |x: Number| match (x, dtype.is_float()) {
            (Number::Int(i), true) => Value::Float(i as f64),
            (Number::Float(x), false) => Value::Int(x as i64),
            (x, _) => x.into_value(),
        };
        let numbers = [number(start.into()), number(end.into()), number(step.into())];
        call_one("arange.start_step", &numbers, &made_as(dtype, device))
    }

    /// Returns `steps` equally spaced values from `start` to `end`, both included.
    pub fn linspace(start: f64, end: f64, steps: i64, dtype: DType, device: Device) -> Result<Self> {
        let numbers = [Value::Float(start), Value::Float(end), Value::Int(steps)];
        call_one("linspace", &numbers, &made_as(dtype, device))
    }

    /// Draws uniformly from [0, 1) with `generator` or the device's default generator.
    pub fn rand(shape: &[i64], dtype: DType, device: Device, generator: Option<&Generator>) -> Result<Self> {
        Self::random("rand", None, shape, dtype, device, generator)
    }

    /// Draws from the standard normal distribution.
    pub fn randn(shape: &[i64], dtype: DType, device: Device, generator: Option<&Generator>) -> Result<Self> {
        Self::random("randn", None, shape, dtype, device, generator)
    }

    /// Draws int64 integers from `low` to `high - 1`.
    pub fn randint(
        low: i64,
        high: i64,
        shape: &[i64],
        device: Device,
        generator: Option<&Generator>,
    ) -> Result<Self> {
        if low >= high {
            return Err(Error::argument(format!("expected low < high, found {low} and {high}")));
        }
        let range = high.checked_sub(low).ok_or_else(|| {
            Error::argument(format!("the range from {low} to {high} has more than 2^63 integers"))
        })?;
        let values = Self::random("randint", Some(range), shape, DType::Int64, device, generator)?;
        if low == 0 { Ok(values) } else { values.add_scalar(low) }
    }

    /// Returns a random permutation of 0 to `count - 1`, int64.
    pub fn randperm(count: i64, device: Device, generator: Option<&Generator>) -> Result<Self> {
        if count < 0 {
            return Err(Error::argument(format!("expected a count of at least 0, found {count}")));
        }
        Self::random("randperm", Some(count), &[], DType::Int64, device, generator)
    }

    fn random(
        op: &str,
        bound: Option<i64>,
        shape: &[i64],
        dtype: DType,
        device: Device,
        generator: Option<&Generator>,
    ) -> Result<Self> {
        if let Some(negative) = shape.iter().find(|s| **s < 0) {
            return Err(Error::argument(format!("a size of {negative} in shape {shape:?} is negative")));
        }
        if let Some(generator) = generator.filter(|g| g.device() != device) {
            return Err(Error::argument(format!(
                "the generator is for {}, the tensor for {device}",
                generator.device()
            ))
            .hint("a generator fills tensors of its own device: `tensor::generator(seed, #{ device: x.device })`"));
        }
        let mut positional: Vec<Value> = bound.map(Value::Int).into_iter().collect();
        if op != "randperm" {
            positional.push(Value::List(shape.iter().map(|s| Value::Int(*s)).collect()));
        }
        let mut named = Map::from([
            ("dtype".to_string(), Value::Str(dtype.name().to_string())),
            ("device".to_string(), Value::Str(device.to_string())),
        ]);
        let overload = match generator {
            Some(g) => {
                named.insert("generator".to_string(), Value::Object(Arc::new(g.clone())));
                "generator"
            }
            None => "",
        };
        let name = if overload.is_empty() { op.to_string() } else { format!("{op}.{overload}") };
        call_one(&name, &positional, &named)
    }

    /// Converts the elements to another dtype; returns the same tensor if it already has it.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        checked(self.raw().f_to_kind(dtype.kind())).map(Self::wrap)
    }

    /// Returns the only element as a float; an error unless there is exactly one.
    pub fn item(&self) -> Result<f64> {
        self.one()?;
        checked(self.raw().f_double_value(&[]))
    }

    /// Returns the only element as an integer.
    pub fn item_i64(&self) -> Result<i64> {
        self.one()?;
        checked(self.raw().f_int64_value(&[]))
    }

    pub(crate) fn one(&self) -> Result<()> {
        if self.count() == 1 {
            return Ok(());
        }
        Err(Error::argument(format!("expected a tensor with one element, found shape {:?}", self.shape()))
            .hint("reduce it first, with `.mean()` or `.sum()`, or index it"))
    }

    /// Returns all elements, row-major, as float32.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.copy_out(DType::Float32)
    }

    /// Returns all elements, row-major, as float64.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        self.copy_out(DType::Float64)
    }

    /// Returns all elements, row-major, as int64.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        self.copy_out(DType::Int64)
    }

    /// Returns all elements, row-major, as uint8.
    pub fn to_u8(&self) -> Result<Vec<u8>> {
        self.copy_out(DType::UInt8)
    }

    /// Returns the same values with a lazy conjugate or negation applied, which the bytes in memory do not include.
    pub fn resolved(&self) -> Result<Self> {
        checked(self.raw().f_resolve_conj()).and_then(|t| checked(t.f_resolve_neg())).map(Self::wrap)
    }

    /// Returns the bytes of all elements, row-major, in native order.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let flat = self.detach()?.resolved()?.to_device(Device::Cpu)?.contiguous()?;
        let mut bytes = vec![0u8; flat.count() * flat.dtype().size()];
        if !bytes.is_empty() {
            checked(flat.raw().f_copy_data_u8(&mut bytes, flat.count()))?;
        }
        Ok(bytes)
    }

    fn copy_out<T: tch::kind::Element + Clone + Default>(&self, dtype: DType) -> Result<Vec<T>> {
        let flat = self.detach()?.resolved()?.to_device(Device::Cpu)?.to_dtype(dtype)?.contiguous()?;
        let mut data = vec![T::default(); flat.count()];
        if !data.is_empty() {
            checked(flat.raw().f_copy_data(&mut data, flat.count()))?;
        }
        Ok(data)
    }

    /// Returns whether two handles are the same tensor.
    pub fn is_same(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the number of writes into the tensor or into others that share its memory; 0 if they are not counted.
    pub fn version(&self) -> i64 {
        self.raw().f_internal_version().unwrap_or(0)
    }
}
