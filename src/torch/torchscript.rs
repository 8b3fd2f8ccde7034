//! Networks in TorchScript files.

use std::path::Path;

use super::{Device, Tensor, checked};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::files;

/// Network that PyTorch exported as a self-contained program (`torch.jit.save`), in evaluation mode.
///
/// libtorch runs the program. Unlike a Python pickle, it can only compute with tensors and cannot access anything
/// else.
pub struct Script(tch::CModule);

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script(..)")
    }
}

impl Script {
    /// Loads a file onto a device; also returns the bytes of the file, for hashing.
    pub fn load(path: &Path, device: Device) -> Result<(Self, Vec<u8>)> {
        let bytes = files::read(path)?;
        let module = checked(tch::CModule::load_data_on_device(&mut &bytes[..], device.tch()));
        let mut module = module.map_err(|error| {
            error.recast(|error| {
                let error = error.clone().context("not a TorchScript file").in_file(path);
                error.hint("write it in Python with `torch.jit.script(net).save(path)`")
            })
        })?;
        checked(module.f_set_eval())?;
        Ok((Self(module), bytes))
    }

    /// Applies the network's `forward` to one tensor; returns a tensor, a list of tensors, or a map of them by
    /// name.
    pub fn forward(&self, input: &Tensor) -> Result<Value> {
        let output = checked(self.0.forward_is(&[tch::IValue::Tensor(input.alias())]))?;
        value(output)
    }

    /// Returns the number of bytes of its parameters.
    pub fn bytes(&self) -> u64 {
        let parameters = self.0.named_parameters().unwrap_or_default();
        parameters.into_iter().map(|(_, tensor)| Tensor::wrap(tensor).bytes()).sum()
    }
}

fn value(output: tch::IValue) -> Result<Value> {
    use tch::IValue;
    Ok(match output {
        IValue::Tensor(tensor) => Tensor::wrap(tensor).into_value(),
        IValue::TensorList(list) => {
            Value::List(list.into_iter().map(|t| Tensor::wrap(t).into_value()).collect())
        }
        IValue::Tuple(list) | IValue::GenericList(list) => {
            Value::List(list.into_iter().map(value).collect::<Result<_>>()?)
        }
        IValue::GenericDict(entries) => {
            let mut map = Map::new();
            for (key, entry) in entries {
                if let IValue::String(name) = key {
                    map.insert(name, value(entry)?);
                }
            }
            Value::Map(map)
        }
        IValue::None => Value::Unit,
        IValue::Int(i) => Value::Int(i),
        IValue::Double(x) => Value::Float(x),
        IValue::Bool(b) => Value::Bool(b),
        IValue::String(s) => Value::Str(s),
        _ => return Err(Error::argument("the network returned something that is not made of tensors")),
    })
}
