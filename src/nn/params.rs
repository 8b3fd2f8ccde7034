//! Builder that creates the parameters of a network and records them under their PyTorch names.

use std::collections::BTreeMap;

use super::Init;
use super::weight::Changing;
use crate::declare::Function;
use crate::error::{Error, Result, nearest};
use crate::torch::{DType, Device, Generator, Tensor};

/// Source of the values of new parameters.
#[derive(Debug)]
enum Source {
    Seed(i64),
    Blank,
    /// One zero of each dtype, expanded to every shape.
    Outline,
    Given(BTreeMap<String, Tensor>),
    /// Parameters of the map are shared. Others are drawn from the seed or, without one, are an outline.
    Shared(BTreeMap<String, Tensor>, Option<i64>),
}

/// Creates parameters one after another under dotted names such as `blocks.0.attn.qkv.weight`.
///
/// A parameter's values depend only on the seed, its name and its shape. A network with one more layer than another
/// therefore starts with equal weights everywhere else, and the global generator is not used.
#[derive(Debug)]
pub struct Builder {
    source: Source,
    dtype: DType,
    device: Device,
    path: Vec<String>,
    made: Vec<(String, Tensor)>,
    /// Functions of code that forward passes call, by the path where they were made.
    called: Vec<(String, Function)>,
    pub(super) changing: Changing,
}

impl Builder {
    fn of(source: Source, dtype: DType, device: Device) -> Self {
        let (path, made, called) = (Vec::new(), Vec::new(), Vec::new());
        Self { source, dtype, device, path, made, called, changing: Changing::default() }
    }

    /// Creates a builder that draws parameters from a seed. They are drawn as float32 on the CPU and then
    /// converted, so that a seed gives the same weights on every device.
    pub fn seeded(seed: i64, dtype: DType, device: Device) -> Self {
        Self::of(Source::Seed(seed), dtype, device)
    }

    /// Creates a builder of zero-filled parameters, for a network whose weights are copied in afterwards.
    pub fn blank(dtype: DType, device: Device) -> Self {
        Self::of(Source::Blank, dtype, device)
    }

    /// Creates a builder of parameters that have shapes, but no memory: all elements are one zero on the CPU.
    pub fn outline(dtype: DType) -> Self {
        Self::of(Source::Outline, dtype, Device::Cpu)
    }

    /// Creates a builder that takes parameters by name from `weights`, so that every parameter has given values.
    /// They may be of any float type; a missing parameter or another shape is an error, and
    /// [`Builder::finish_given`] rejects unused ones.
    pub fn given(weights: BTreeMap<String, Tensor>, dtype: DType, device: Device) -> Self {
        Self::of(Source::Given(weights), dtype, device)
    }

    /// Creates a builder for a growing network: it shares those of `parameters` that the network asks for, without
    /// a copy, and draws all others from the seed.
    pub fn sharing(parameters: &[(String, Tensor)], seed: i64, dtype: DType, device: Device) -> Self {
        let there = parameters.iter().cloned().collect();
        Self::of(Source::Shared(there, Some(seed)), dtype, device)
    }

    /// Creates a builder like [`Builder::sharing`], whose other parameters are zeros without memory of their own.
    pub fn sharing_outline(parameters: &[(String, Tensor)], dtype: DType, device: Device) -> Self {
        Self::of(Source::Shared(parameters.iter().cloned().collect(), None), dtype, device)
    }

    /// Moves everything into a new builder and leaves an empty one behind; put it back afterwards.
    pub fn take(&mut self) -> Self {
        let nothing = Self::blank(self.dtype, self.device);
        std::mem::replace(self, nothing)
    }

    /// Appends a name to the path until [`Builder::leave`], for callers that cannot use [`Builder::within`].
    pub fn enter(&mut self, name: impl ToString) {
        self.path.push(name.to_string());
    }

    /// Removes the last name from the path.
    pub fn leave(&mut self) {
        self.path.pop();
    }

    /// Returns the element type of the parameters.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Runs `build` with `name` appended to the path.
    pub fn within<T>(
        &mut self,
        name: impl ToString,
        build: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.path.push(name.to_string());
        let built = build(self);
        self.path.pop();
        built
    }

    /// Returns the full name of a parameter at the path.
    pub(super) fn full_name(&self, name: &str) -> String {
        self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }

    /// Creates and records one trainable parameter.
    pub fn parameter(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        let name = self.full_name(name);
        if let Source::Shared(there, _) = &self.source
            && let Some(tensor) = there.get(&name)
        {
            crate::ensure!(
                tensor.shape() == shape,
                "expected `{name}` to have shape {shape:?}, found {:?}",
                tensor.shape()
            );
            self.made.push((name, tensor.clone()));
            return Ok(tensor.clone());
        }
        let tensor = match &mut self.source {
            Source::Blank => Tensor::zeros(shape, self.dtype, self.device)?,
            Source::Outline | Source::Shared(_, None) => {
                Tensor::zeros(&[], self.dtype, self.device)?.expand(shape)?
            }
            Source::Seed(seed) | Source::Shared(_, Some(seed)) => {
                let generator = Generator::new(mix(*seed, &name), Device::Cpu)?;
                init.draw(shape, &generator)?.to_dtype(self.dtype)?.to_device(self.device)?
            }
            Source::Given(weights) => {
                take(weights, &name, shape)?.to_dtype(self.dtype)?.to_device(self.device)?
            }
        };
        let tensor = tensor.set_requires_grad(true)?;
        self.made.push((name, tensor.clone()));
        Ok(tensor)
    }

    /// Creates and records one parameter that starts at `value`, or at the value that the builder has for it. Unless
    /// it is `trained`, it is frozen: stored with the others and not changed by training.
    pub fn parameter_from(&mut self, name: &str, value: &Tensor, trained: bool) -> Result<Tensor> {
        let path = self.full_name(name);
        let (shape, mut given) = (value.shape(), None);
        match &mut self.source {
            Source::Shared(there, _) => {
                if let Some(tensor) = there.get(&path).filter(|tensor| tensor.shape() == shape) {
                    self.made.push((path, tensor.clone()));
                    return Ok(tensor.clone());
                }
            }
            Source::Given(weights) if weights.contains_key(&path) => {
                given = Some(take(weights, &path, &shape)?);
            }
            _ => {}
        }
        let tensor = match given {
            Some(tensor) => tensor.to_dtype(self.dtype)?.to_device(self.device)?,
            None => value.to_dtype(self.dtype)?.to_device(self.device)?.copy()?,
        };
        let tensor = tensor.set_requires_grad(trained)?;
        self.made.push((path, tensor.clone()));
        Ok(tensor)
    }

    /// Returns a builder for a network of its own below `name`, whose names lack that prefix, with the values that this
    /// builder has for it; `None` if it has none, so that the network keeps its own.
    pub fn inside(&mut self, name: &str) -> Option<Self> {
        let prefix = format!("{}.", self.full_name(name));
        let below = |name: &str| name.strip_prefix(&prefix).map(str::to_string);
        let source = match &mut self.source {
            Source::Seed(_) => return None,
            Source::Blank => Source::Blank,
            Source::Outline => Source::Outline,
            Source::Given(weights) => {
                let (own, others) =
                    std::mem::take(weights).into_iter().partition(|(name, _)| name.starts_with(&prefix));
                *weights = others;
                let own: BTreeMap<String, Tensor> = own;
                Source::Given(own.into_iter().filter_map(|(name, t)| Some((below(&name)?, t))).collect())
            }
            Source::Shared(there, seed) => {
                let own = there.iter().filter_map(|(name, t)| Some((below(name)?, t.clone())));
                Source::Shared(own.collect(), *seed)
            }
        };
        match &source {
            Source::Given(own) | Source::Shared(own, _) if own.is_empty() => None,
            _ => Some(Self::of(source, self.dtype, self.device)),
        }
    }

    /// Records the parameters of a network of its own, below `name`.
    pub fn adopt(&mut self, name: &str, parameters: &[(String, Tensor)]) {
        let name = self.full_name(name);
        self.made.extend(parameters.iter().map(|(own, tensor)| (format!("{name}.{own}"), tensor.clone())));
    }

    /// Records a function of code that forward passes of the network call.
    pub fn calls(&mut self, function: &Function) {
        self.called.push((self.path.join("."), function.clone()));
    }

    /// Takes the functions that were recorded, with the paths of the builder at that time.
    pub fn take_called(&mut self) -> Vec<(String, Function)> {
        std::mem::take(&mut self.called)
    }

    /// Returns whether parameters are those of another network.
    pub fn is_shared(&self) -> bool {
        matches!(self.source, Source::Shared(..))
    }

    /// Returns whether parameters have shapes, but no values.
    pub fn is_outline(&self) -> bool {
        matches!(self.source, Source::Outline)
    }

    /// Returns the parameters created so far, in order.
    pub fn made(&self) -> &[(String, Tensor)] {
        &self.made
    }

    /// Returns all parameters, in order.
    pub fn finish(self) -> Vec<(String, Tensor)> {
        self.made
    }

    /// Returns all parameters as [`Builder::finish`] does; given parameters that the network did not use are an
    /// error.
    pub fn finish_given(self) -> Result<Vec<(String, Tensor)>> {
        match &self.source {
            Source::Given(left) if !left.is_empty() => {
                let some: Vec<String> = left.keys().take(3).map(|name| format!("`{name}`")).collect();
                let more = if left.len() > some.len() { ", .." } else { "" };
                Err(Error::argument(format!(
                    "the network does not use {} of the tensors: {}{more}",
                    left.len(),
                    some.join(", ")
                )))
            }
            _ => Ok(self.made),
        }
    }
}

/// Takes the given parameter with this name after checking its shape and type.
fn take(weights: &mut BTreeMap<String, Tensor>, name: &str, shape: &[i64]) -> Result<Tensor> {
    let Some(tensor) = weights.remove(name) else {
        let error = Error::argument(format!("there is no tensor `{name}`, of shape {shape:?}"));
        return Err(match nearest(name, weights.keys().map(String::as_str)) {
            Some(near) => error.hint(format!("the unused tensor `{near}` has a similar name")),
            None => error,
        });
    };
    match tensor.shape() == shape && tensor.dtype().is_float() {
        true => tensor.detach(),
        false => Err(Error::argument(format!(
            "expected `{name}` to be floats of shape {shape:?}, found {}",
            tensor.signature()
        ))),
    }
}

/// Returns a seed for one name: FNV-1a over both, then a finalizer that spreads the result over the low 32 bits,
/// the only ones that libtorch's generator uses.
fn mix(seed: i64, name: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: i64, names: &[&str]) -> Vec<Vec<f32>> {
        let mut builder = Builder::seeded(seed, DType::Float32, Device::Cpu);
        for name in names {
            builder.parameter(name, &[3, 4], Init::XavierUniform).unwrap();
        }
        builder.finish().iter().map(|(_, t)| t.to_f32().unwrap()).collect()
    }

    #[test]
    fn a_seed_and_a_name_determine_the_weights() {
        let one = draw(7, &["a", "b"]);
        crate::torch::rng::seed(99);
        let two = draw(7, &["a", "extra", "b"]);
        assert_eq!(one[0], two[0]);
        assert_eq!(one[1], two[2]);
        assert_ne!(one[0], one[1]);
        assert_ne!(one[0], draw(8, &["a"])[0]);
    }

    #[test]
    fn given_parameters_are_taken_by_name_and_must_fit() {
        let weights = || {
            let half = |shape: &[i64]| Tensor::ones(shape, DType::Float16, Device::Cpu).unwrap();
            BTreeMap::from([("norm.weight".to_string(), half(&[2])), ("norm.bias".to_string(), half(&[2]))])
        };
        let build = |name: &str, shape: &[i64]| {
            let mut builder = Builder::given(weights(), DType::Float32, Device::Cpu);
            builder.within("norm", |b| b.parameter(name, shape, Init::Zeros))?;
            builder.finish_given()
        };
        let message = |name: &str, shape: &[i64]| build(name, shape).unwrap_err().to_string();
        assert!(message("weight", &[2]).contains("does not use 1 of the tensors: `norm.bias`"));
        assert!(message("weight", &[3]).contains("floats of shape [3], found tensor [2] float16"));
        assert!(message("weights", &[2]).contains("no tensor `norm.weights`"));
        let mut builder = Builder::given(weights(), DType::Float32, Device::Cpu);
        for name in ["norm.weight", "norm.bias"] {
            let found = builder.parameter(name, &[2], Init::Zeros).unwrap();
            assert_eq!((found.dtype(), found.to_f32().unwrap()), (DType::Float32, vec![1.0, 1.0]));
        }
        assert_eq!(builder.finish_given().unwrap().len(), 2);
    }

    #[test]
    fn names_are_paths_with_dots() {
        let mut builder = Builder::blank(DType::Float32, Device::Cpu);
        builder.within("blocks", |b| b.within(0, |b| b.parameter("weight", &[1], Init::Ones))).unwrap();
        builder.parameter("bias", &[1], Init::Zeros).unwrap();
        let names: Vec<String> = builder.finish().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["blocks.0.weight", "bias"]);
    }
}
