//! Loading and saving of parameters as safetensors files, under PyTorch names.
//!
//! Loading checks every name, shape and dtype before it copies anything; on an error nothing changes.

use crate::declare::{Choice, Options};
use std::collections::BTreeMap;
use std::path::Path;

use super::{Design, Model};
use crate::context::Context;
use crate::error::{Error, Result, nearest};
use crate::torch::io::{load_named, save_safetensors};
use crate::torch::{DType, Device, Tensor, uninterrupted};

/// Key of the configuration, as JSON, in a file's metadata.
pub const CONFIG: &str = "config";

/// Options of `model.load`.
#[derive(Debug, Clone, Options)]
pub struct LoadOptions {
    /// Prefix of the names in the file, such as "ema."; names in the file without it are then ignored. Without
    /// a prefix every name in the file must be one of the model's.
    pub prefix: String,
}

impl Model {
    /// Writes all parameters and the configuration to a safetensors file, atomically.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors = self.parameters().iter().cloned().collect();
        let config = self.design().to_json()?.to_string();
        save_safetensors(path.as_ref(), &tensors, &BTreeMap::from([(CONFIG.to_string(), config)]))
    }

    /// Copies the weights of a safetensors or PyTorch file into this model's parameters.
    ///
    /// Returns notes on what was skipped: objects that are not tensors, and buffers that differ from what the model
    /// computes itself.
    pub fn load(&self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<Vec<String>> {
        let path = path.as_ref();
        let loaded = load_named(path, Device::Cpu)?;
        self.assign(&loaded.tensors, &options.prefix).map_err(|e| e.context(path.display()))?;
        let mut notes = loaded.notes;
        for (name, own) in self.computed() {
            let found = loaded.tensors.get(&format!("{}{name}", options.prefix));
            notes.extend(found.map(|found| differs(name, found, own)).transpose()?.flatten());
        }
        Ok(notes.into_iter().map(|note| format!("{}: {note}", path.display())).collect())
    }

    /// Copies weights by name; the names are the model's, preceded by `prefix`.
    ///
    /// Every name, shape and dtype is checked first. On an error nothing has changed.
    pub fn assign(&self, tensors: &BTreeMap<String, Tensor>, prefix: &str) -> Result<()> {
        self.check_weights(tensors, prefix)?;
        uninterrupted(|| {
            self.parameters().iter().try_for_each(|(name, parameter)| {
                match tensors.get(&format!("{prefix}{name}")) {
                    Some(tensor) => parameter.copy_(tensor),
                    None => Err(Error::internal(format!("`{prefix}{name}` was there a moment ago"))),
                }
            })
        })
    }

    /// Returns the error that [`Model::assign`] would, and changes nothing.
    pub fn check_weights(&self, tensors: &BTreeMap<String, Tensor>, prefix: &str) -> Result<()> {
        let found: BTreeMap<&str, &Tensor> =
            tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?, t))).collect();
        self.check_names(&found, tensors, prefix)?;
        for (name, parameter) in self.parameters() {
            let tensor = found[name.as_str()];
            if tensor.shape() != parameter.shape() {
                return Err(Error::argument(format!(
                    "`{prefix}{name}` has shape {:?}, and the model's has {:?}",
                    tensor.shape(),
                    parameter.shape()
                ))
                .hint("the weights are those of a model of another size; compare its configuration"));
            }
            if tensor.dtype() != parameter.dtype() {
                let (theirs, ours) = (tensor.dtype().name(), parameter.dtype().name());
                return Err(Error::argument(format!(
                    "`{prefix}{name}` is {theirs}, and the model's is {ours}"
                ))
                .hint(format!("make the model with #{{ dtype: \"{theirs}\" }}")));
            }
        }
        Ok(())
    }

    fn check_names(
        &self,
        found: &BTreeMap<&str, &Tensor>,
        tensors: &BTreeMap<String, Tensor>,
        prefix: &str,
    ) -> Result<()> {
        let ours: Vec<&str> = self.parameters().iter().map(|(name, _)| name.as_str()).collect();
        let missing: Vec<&str> = ours.iter().copied().filter(|name| !found.contains_key(name)).collect();
        let computed: Vec<&str> = self.computed().into_iter().map(|(name, _)| name).collect();
        let unexpected = |name: &&str| !ours.contains(name) && !computed.contains(name);
        let unexpected: Vec<&str> = found.keys().copied().filter(unexpected).collect();
        if missing.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("{} missing: {}", missing.len(), some(&missing, &[])));
        }
        if !unexpected.is_empty() {
            parts.push(format!("{} unexpected: {}", unexpected.len(), some(&unexpected, &missing)));
        }
        let error = Error::argument(format!("the weights do not fit the model; {}", parts.join("; ")));
        let hint = match other_prefix(&ours, tensors).filter(|other| *other != prefix) {
            Some(other) => format!("its names start with \"{other}\": pass #{{ prefix: \"{other}\" }}"),
            None => "the file may be for a model of another depth or with other corrections".to_string(),
        };
        Err(error.hint(hint))
    }
}

/// Describes how a buffer in a file differs from the model's own; leading dimensions of 1 are ignored.
fn differs(name: &str, found: &Tensor, own: &Tensor) -> Result<Option<String>> {
    let passed = "was skipped, since the model computes its own";
    let shape: Vec<i64> = found.shape().into_iter().skip_while(|size| *size == 1).collect();
    let wanted: Vec<i64> = own.shape().into_iter().skip_while(|size| *size == 1).collect();
    if shape != wanted {
        return Ok(Some(format!(
            "`{name}` of shape {:?} {passed} of shape {:?}",
            found.shape(),
            own.shape()
        )));
    }
    let wide = |tensor: &Tensor| tensor.to_device(Device::Cpu)?.to_dtype(DType::Float64)?.reshape(&wanted);
    let largest = wide(found)?.sub(&wide(own)?)?.abs()?.amax(&[], false)?.item()?;
    // Rounding of the narrower dtype, and differences between ways to compute sines.
    let rounding = 1e-5 + found.dtype().epsilon().max(own.dtype().epsilon());
    match largest <= rounding {
        true => Ok(None),
        false => Ok(Some(format!(
            "`{name}` {passed}, which differs by up to {largest:.3}: the file's model used other positions"
        ))),
    }
}

/// Lists the first few names, each with the name that was probably meant.
fn some(names: &[&str], meant: &[&str]) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .take(4)
        .map(|name| match nearest(name, meant.iter().copied()) {
            Some(near) => format!("`{name}` (`{near}`?)"),
            None => format!("`{name}`"),
        })
        .collect();
    if names.len() > shown.len() {
        shown.push(format!("and {} more", names.len() - shown.len()));
    }
    shown.join(", ")
}

/// Returns a prefix with which all of the model's names are in the file.
fn other_prefix<'a>(ours: &[&str], tensors: &'a BTreeMap<String, Tensor>) -> Option<&'a str> {
    let first = ours.first()?;
    let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(first));
    prefixes
        .into_iter()
        .find(|prefix| ours.iter().all(|name| tensors.contains_key(&format!("{prefix}{name}"))))
}

/// Weights of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Weights {
    /// The averaged ones.
    #[default]
    Ema,
    /// The trained ones.
    Model,
}

/// Opens the model that [`Model::save`] wrote, with its weights.
///
/// From a checkpoint it takes the given weights, or the only ones there are. `context` compiles the
/// code stored in the file, which builds the model's parts.
pub fn open(path: impl AsRef<Path>, weights: Weights, device: Device, context: &Context) -> Result<Model> {
    let path = path.as_ref();
    let mut loaded = load_named(path, Device::Cpu)?;
    let Some(text) = loaded.metadata.get(CONFIG) else {
        return Err(Error::file(path, "the file has weights, but not the configuration of a model")
            .hint("make the model with `model::dit`, then `.load(path)`"));
    };
    let config = serde_json::from_str(text)
        .map_err(|e| Error::argument(format!("the stored configuration is not JSON: {e}")))
        .and_then(|json| Design::from_json(&json)?.compiled(context))
        .map_err(|e| e.context(path.display()))?;
    let model = Model::blank(config, device)?;
    let of = |part: &str| format!("{part}.");
    let parts = Weights::NAMES.iter().copied();
    let parts = parts.filter(|p| loaded.tensors.keys().any(|name| name.starts_with(&of(p))));
    let parts: Vec<&str> = parts.collect();
    let prefix = match parts.as_slice() {
        [] => String::new(),
        [only] => of(only),
        [first, ..] => of(parts.iter().find(|p| **p == weights.name()).unwrap_or(first)),
    };
    // A checkpoint also holds things other than weights.
    loaded.tensors.retain(|name, _| name.starts_with(&prefix));
    model.assign(&loaded.tensors, &prefix).map_err(|e| e.context(path.display()))?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::spectral::{Filter, correction, filter, gate};

    fn small() -> Config {
        let paper = correction(
            Filter::new(filter::Response::new(|r| Ok((-r).exp())).unwrap()).unwrap(),
            gate::time(()).unwrap(),
        )
        .unwrap();
        Config { depth: 1, hidden_size: 16, num_heads: 2, ..Config::preset("fashion_tiny").unwrap() }
            .with_corrections(vec![paper])
    }

    fn bits(model: &Model) -> Vec<Vec<f64>> {
        model.parameters().iter().map(|(_, p)| p.to_f64().unwrap()).collect()
    }

    fn tensors(model: &Model, prefix: &str) -> BTreeMap<String, Tensor> {
        model.parameters().iter().map(|(name, p)| (format!("{prefix}{name}"), p.copy().unwrap())).collect()
    }

    #[test]
    fn a_saved_model_opens_equal_without_its_closure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let model = Model::new(small(), 3, Device::Cpu).unwrap();
        model.save(&path).unwrap();
        let opened = open(&path, Weights::Ema, Device::Cpu, &Context::default()).unwrap();
        assert_eq!(opened.design(), model.design());
        assert_eq!(bits(&opened), bits(&model));
        let other = Model::new(small(), 4, Device::Cpu).unwrap();
        other.load(&path, &LoadOptions::default()).unwrap();
        assert_eq!(bits(&other), bits(&model));
    }

    /// The public DiT files store the fixed positions with the weights.
    #[test]
    fn buffers_that_the_model_computes_are_passed_over_and_named_when_they_differ() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let (from, to) =
            (Model::new(small(), 3, Device::Cpu).unwrap(), Model::new(small(), 4, Device::Cpu).unwrap());
        let load = |positions: &Tensor, prefix: &str| {
            let mut file = tensors(&from, prefix);
            file.insert(format!("{prefix}pos_embed"), positions.clone());
            save_safetensors(&path, &file, &BTreeMap::new()).unwrap();
            let notes = to.load(&path, &LoadOptions { prefix: prefix.to_string() }).unwrap();
            assert_eq!(bits(&to), bits(&from));
            notes
        };
        let own = from.computed()[0].1.unsqueeze(0).unwrap();
        assert!(load(&own, "").is_empty() && load(&own, "ema.").is_empty());
        assert!(load(&own.to_dtype(DType::BFloat16).unwrap(), "").is_empty());
        let [note] = &load(&own.mul_scalar(0.0).unwrap(), "")[..] else { panic!("one note") };
        assert!(
            note.contains("`pos_embed` was skipped") && note.contains("differs by up to 1.000"),
            "{note}"
        );
        let [note] = &load(&own.narrow(1, 0, 4).unwrap().contiguous().unwrap(), "")[..] else {
            panic!("one note")
        };
        assert!(note.contains("`pos_embed` of shape [1, 4, 16] was skipped"), "{note}");
    }

    #[test]
    fn a_prefix_picks_its_names_and_leaves_others_alone() {
        let (from, to) =
            (Model::new(small(), 3, Device::Cpu).unwrap(), Model::new(small(), 4, Device::Cpu).unwrap());
        let mut both = tensors(&from, "ema.");
        both.extend(tensors(&to, "w."));
        let error = to.assign(&both, "").unwrap_err();
        assert!(error.hint_text().unwrap().contains("#{ prefix: \"ema.\" }"), "{error}");
        to.assign(&both, "ema.").unwrap();
        assert_eq!(bits(&to), bits(&from));
    }

    #[test]
    fn weights_that_do_not_fit_are_named_and_change_nothing() {
        let (from, to) =
            (Model::new(small(), 3, Device::Cpu).unwrap(), Model::new(small(), 4, Device::Cpu).unwrap());
        let before = bits(&to);
        let change = |edit: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
            let mut weights = tensors(&from, "");
            edit(&mut weights);
            let error = to.assign(&weights, "").unwrap_err();
            assert_eq!(bits(&to), before);
            error.message()
        };
        let name = "blocks.0.freq_gate.0.weight";
        assert_eq!(
            change(&|w| {
                let tensor = w.remove(name).unwrap();
                w.insert("blocks.0.freq_gates.0.weight".to_string(), tensor);
            }),
            format!(
                "the weights do not fit the model; 1 missing: `{name}`; \
                 1 unexpected: `blocks.0.freq_gates.0.weight` (`{name}`?)"
            )
        );
        // libtorch would broadcast a shape of [1] silently.
        let one = Tensor::ones(&[1], DType::Float32, Device::Cpu).unwrap();
        let found = change(&|w| drop(w.insert("blocks.0.attn.proj.bias".to_string(), one.clone())));
        assert_eq!(found, "`blocks.0.attn.proj.bias` has shape [1], and the model's has [16]");
        let found = change(&|w| {
            let half = w[name].to_dtype(DType::Float16).unwrap();
            w.insert(name.to_string(), half);
        });
        assert_eq!(found, format!("`{name}` is float16, and the model's is float32"));
    }
}
