//! Reading and writing of tensor files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::declare::{FromValue, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::io::Held;
use crate::torch::{Device, Tensor, io};

/// Options of `tensor::save_safetensors`.
#[derive(Debug, Clone, Options)]
pub struct SaveOptions {
    /// Metadata texts by name.
    pub metadata: Map,
}

/// Options of functions that load tensors.
#[derive(Debug, Clone, Options)]
pub struct LoadOptions {
    /// Device of the loaded tensors: "cpu", "cuda" or "auto".
    #[option(default = Device::Cpu)]
    pub device: Device,
}

crate::api! { functions: [space, methods] }

/// File format by the extension of a path.
enum Format {
    Npy,
    Npz,
    Safetensors,
    Pytorch,
}

/// Reads a file of one tensor or of several; the content decides which, not the extension.
fn load_any(path: &Path, device: Device, cx: &Context) -> Result<Value> {
    match io::load_any(path, device)? {
        Held::One(tensor) => Ok(tensor.into_value()),
        Held::Named(loaded) => {
            tell(path, &loaded.notes, cx);
            Ok(Value::Map(script_map(loaded.tensors)))
        }
    }
}

/// Reports what was skipped in a file.
fn tell(path: &Path, notes: &[String], cx: &Context) {
    notes.iter().for_each(|note| cx.note(&format!("{}: {note}", path.display())));
}

fn format(path: &Path) -> Result<Format> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => Ok(Format::Npy),
        Some("npz") => Ok(Format::Npz),
        Some("safetensors") => Ok(Format::Safetensors),
        Some("pt" | "pth") => Ok(Format::Pytorch),
        _ => Err(Error::argument(format!(
            "expected a .npy, .npz or .safetensors file, found \"{}\"",
            path.display()
        ))
        .hint("a single tensor goes into .npy, named tensors into .safetensors or .npz")),
    }
}

fn named_tensors(map: &Map) -> Result<BTreeMap<String, Tensor>> {
    map.iter()
        .map(|(name, value)| match value.downcast::<Tensor>() {
            Some(tensor) => Ok((name.clone(), tensor)),
            None => Err(value.mismatch("a tensor").context(format!("entry `{name}`"))),
        })
        .collect()
}

fn texts(map: &Map) -> Result<BTreeMap<String, String>> {
    map.iter()
        .map(|(name, value)| {
            let text = String::from_value(value).map_err(|e| e.context(format!("metadata `{name}`")))?;
            Ok((name.clone(), text))
        })
        .collect()
}

fn script_map(tensors: BTreeMap<String, Tensor>) -> Map {
    tensors.into_iter().map(|(name, tensor)| (name, tensor.into_value())).collect()
}

pub(crate) mod space {
    use super::*;
    functions! { in "tensor";
        /// Writes named tensors to a safetensors file, atomically.
        ///
        /// The file is written under a temporary name, synced and renamed. Missing folders are created.
        ///
        /// ```rhai
        /// let path = "weights.safetensors";
        /// let weights = #{ w: tensor([1.0, 2.0]), b: tensor([0]) };
        /// tensor::save_safetensors(path, weights, #{ metadata: #{ step: "7" } });
        /// assert_eq(tensor::load_safetensors(path).w, tensor([1.0, 2.0]));
        /// assert_eq(tensor::safetensors_metadata(path).step, "7");
        /// ```
        fn save_safetensors(path: PathBuf, tensors: Map, options: SaveOptions) -> () {
            io::save_safetensors(&path, &named_tensors(&tensors)?, &texts(&options.metadata)?)
        }

        /// Reads a safetensors file and returns a map from names to tensors.
        ///
        /// ```rhai
        /// let path = "loaded.safetensors";
        /// tensor::save_safetensors(path, #{ "block.0.weight": tensor([[1, 2]]) });
        /// assert_eq(tensor::load_safetensors(path)["block.0.weight"], tensor([[1, 2]]));
        /// ```
        fn load_safetensors(path: PathBuf, options: LoadOptions) -> Map {
            Ok(script_map(io::load_safetensors(&path, options.device)?.tensors))
        }

        /// Returns the metadata texts of a safetensors file.
        ///
        /// ```rhai
        /// let path = "metadata.safetensors";
        /// tensor::save_safetensors(path, #{ x: tensor([1]) }, #{ metadata: #{ note: "first" } });
        /// assert_eq(tensor::safetensors_metadata(path), #{ note: "first" });
        /// ```
        fn safetensors_metadata(path: PathBuf) -> Map {
            let texts = io::load_safetensors(&path, Device::Cpu)?.metadata;
            Ok(texts.into_iter().map(|(name, text)| (name, Value::Str(text))).collect())
        }

        /// Writes a tensor to an npy file, which `numpy.load` reads; convert bfloat16 first.
        ///
        /// ```rhai
        /// tensor::save_npy("saved.npy", tensor([[1, 2], [3, 4]]));
        /// assert_eq(tensor::load_npy("saved.npy"), tensor([[1, 2], [3, 4]]));
        /// ```
        fn save_npy(path: PathBuf, x: Tensor) -> () { io::save_npy(&path, &x) }

        /// Reads an npy file of numbers, bools or complex numbers, as `numpy.save` writes it.
        ///
        /// ```rhai
        /// tensor::save_npy("loaded.npy", tensor([0.5, 1.5]));
        /// assert_eq(tensor::load_npy("loaded.npy"), tensor([0.5, 1.5]));
        /// ```
        fn load_npy(path: PathBuf, options: LoadOptions) -> Tensor { io::load_npy(&path, options.device) }

        /// Loads tensors from a file: one tensor from .npy, a map of tensors from .npz, .safetensors, .pt or .pth.
        ///
        /// The content decides the format, not the extension. From files of `torch.save` only tensors in
        /// dictionaries and lists are read. Their names are the keys joined by dots: `state["model"]["w"]` becomes
        /// `model.w`, and a bare tensor `tensor`. No code in the file is executed. Other objects are skipped and
        /// named in a note; an object that holds tensors is an error.
        ///
        /// ```rhai
        /// tensor([1, 2]).save("either.npy");
        /// assert_eq(tensor::load("either.npy"), tensor([1, 2]));
        /// ```
        fn load<cx>(path: PathBuf, options: LoadOptions) -> Value { load_any(&path, options.device, cx) }

        /// Saves tensors to a file: one tensor to .npy, a map of tensors to .safetensors or .npz.
        ///
        /// ```rhai
        /// tensor::save("both.npz", #{ a: tensor([1]), b: tensor([2.0]) });
        /// assert_eq(tensor::load("both.npz").a, tensor([1]));
        /// tensor::save("both.safetensors", #{ a: tensor([1]), b: tensor([2.0]) });
        /// assert_eq(tensor::load("both.safetensors").b, tensor([2.0]));
        /// ```
        fn save(path: PathBuf, tensors: Value) -> () { save_as(&path, &tensors) }
    }
}

fn save_as(path: &Path, tensors: &Value) -> Result<()> {
    match (format(path)?, tensors, tensors.downcast::<Tensor>()) {
        (Format::Npy, _, Some(tensor)) => io::save_npy(path, &tensor),
        (Format::Npy, ..) => {
            Err(tensors.mismatch("a tensor").hint("a map of tensors goes into .safetensors or .npz"))
        }
        (Format::Npz, Value::Map(map), _) => io::save_npz(path, &named_tensors(map)?),
        (Format::Safetensors, Value::Map(map), _) => {
            io::save_safetensors(path, &named_tensors(map)?, &BTreeMap::new())
        }
        (Format::Pytorch, ..) => Err(Error::argument("PyTorch files can be read, not written")
            .hint("write .safetensors, which the Python package `safetensors` reads")),
        (Format::Npz | Format::Safetensors, ..) => {
            Err(tensors.mismatch("a map of tensors").hint("name the tensor: `#{ x: x }`"))
        }
    }
}

mod methods {
    use super::*;
    functions! { methods;
        /// Writes the tensor to an npy file.
        ///
        /// ```rhai
        /// tensor([true, false]).save("mask.npy");
        /// assert_eq(tensor::load_npy("mask.npy"), tensor([true, false]));
        /// ```
        fn save(x: Tensor, path: PathBuf) -> () { save_as(&path, &x.into_value()) }
    }
}
