//! The whole state of a training run in one safetensors file.
//!
//! - here: the contents of the file, saved and restored; `parts`: what a loop passes
//! - [`folder`]: the checkpoints of a run and their lock; `difference`: the settings that differ
//! - `links`: code of earlier versions
//!
//! Tensors are named `model.NAME`, `ema.NAME`, `optimizer.exp_avg.NAME`, `random.cpu`, and so on, those of other parts
//! `others.critic.model.NAME`. The metadata holds the format, the program's version, the model's configuration, and
//! the rest of the state as JSON.

pub(crate) mod api;
mod difference;
pub mod folder;
mod links;
mod parts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Ema;
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::ensure;
use crate::error::{Error, Result, list};
use crate::model::weights::CONFIG;
use crate::model::{Design, Model};
use crate::ranks::Ranks;
use crate::torch::io::{Loaded, load_safetensors, save_safetensors};
use crate::torch::{DType, Device, Tensor, device, rng, uninterrupted};

pub use api::space::*;
pub(super) use difference::{difference, differs, with_code_of};
pub use folder::Folder;
pub use parts::{Others, PartsOptions};

/// Format text of current files.
const FORMAT: &str = "spectral checkpoint 2";

/// Format text of files that store floats without a JSON form as texts.
const FIRST_FORMAT: &str = "spectral checkpoint 1";

/// Prefix of the float32 averages of bfloat16 and float16 weights.
const MASTERS: &str = "ema_master";

/// Prefix of the averages after the first one, each followed by its number.
const AVERAGES: &str = "averages";

/// Prefix of tensors that a loop saves by name.
const TENSORS: &str = "tensors";

/// Prefix of further parts, each followed by its name.
const OTHERS: &str = "others";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes a checkpoint atomically; an interrupt waits until it is written.
pub(crate) fn write(path: impl AsRef<Path>, parts: &PartsOptions) -> Result<()> {
    save_with(path, parts, BTreeMap::new(), None)
}

/// Like [`write`], with additional tensors, and with the configuration of the model as it was at an earlier time.
pub(super) fn save_with(
    path: impl AsRef<Path>,
    parts: &PartsOptions,
    mut tensors: BTreeMap<String, Tensor>,
    config: Option<&serde_json::Value>,
) -> Result<()> {
    uninterrupted(|| {
        let mut state = collect(parts, "", &mut tensors)?;
        for device in parts.devices() {
            tensors.insert(format!("random.{device}"), rng::default_state(device)?);
        }
        if !parts.others.0.is_empty() {
            let mut others = Map::new();
            for (name, own) in &parts.others.0 {
                let mut state = collect(own, &format!("{OTHERS}.{name}."), &mut tensors)
                    .map_err(|e| e.context(format!("`{OTHERS}.{name}`")))?;
                if let Some(config) = own.config() {
                    state.insert(CONFIG.to_string(), Value::from_json(&config.to_json()?)?);
                }
                others.insert(name.clone(), Value::Map(state));
            }
            state.insert(OTHERS.to_string(), Value::Map(others));
        }
        state.insert("values".to_string(), Value::Map(parts.values.clone()));
        let state = Value::Map(state);
        let state = state.to_json_text().ok_or_else(|| {
            state
                .not_stored("data that can be stored")
                .hint("`values` takes numbers, text, arrays and maps; tensors go into `tensors`")
        })?;
        let mut texts = BTreeMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("spectral".to_string(), VERSION.to_string()),
            ("state".to_string(), state),
        ]);
        let own = match config {
            None => parts.config().map(|config| config.to_json()).transpose()?,
            given => given.cloned(),
        };
        texts.extend(own.map(|config| (CONFIG.to_string(), config.to_string())));
        save_safetensors(path.as_ref(), &tensors, &texts)
    })
}

/// Adds the tensors of `parts` under names that begin with `prefix`, and returns the rest of their state.
fn collect(parts: &PartsOptions, prefix: &str, tensors: &mut BTreeMap<String, Tensor>) -> Result<Map> {
    let mut add = |part: &str, own: Vec<(String, Tensor)>| {
        tensors.extend(own.into_iter().map(|(name, tensor)| (format!("{prefix}{part}.{name}"), tensor)));
    };
    let mut state = Map::new();
    if let Some(model) = &parts.model {
        add("model", model.parameters().to_vec());
    }
    if let Some(ema) = &parts.ema {
        add("ema", ema.model().parameters().to_vec());
        add(MASTERS, ema.masters().into_iter().collect());
        state.insert("ema".to_string(), Value::Map(ema.about()));
    }
    if !parts.averages.0.is_empty() {
        for (i, average) in parts.averages.into_iter().enumerate() {
            let [part, masters] = of_average(i);
            add(&part, average.model().parameters().to_vec());
            add(&masters, average.masters().into_iter().collect());
        }
        let about = parts.averages.into_iter().map(|average| Value::Map(average.about()));
        state.insert(AVERAGES.to_string(), Value::List(about.collect()));
    }
    if let Some(optimizer) = &parts.optimizer {
        // They are written before the next update, and a copy would take as much memory as the weights twice.
        add("optimizer", optimizer.slots().map(|(name, tensor)| (name, tensor.clone())).collect());
        state.insert("optimizer".to_string(), Value::Map(optimizer.about()));
    }
    if let Some(loader) = &parts.loader {
        state.insert("loader".to_string(), Value::Map(loader.state()?));
    }
    if let Some(generator) = &parts.generator {
        add("random", vec![("generator".to_string(), generator.state()?)]);
    }
    add(TENSORS, parts.tensors.0.clone().into_iter().collect());
    state.insert("parts".to_string(), parts.names().into_value());
    Ok(state)
}

/// Returns the prefixes of a further average and of its float32 master weights.
fn of_average(index: usize) -> [String; 2] {
    [format!("{AVERAGES}.{index}"), format!("{AVERAGES}_master.{index}")]
}

/// A checkpoint read from a file, with its tensors on the CPU.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    /// Tensors by their names in the file.
    pub tensors: BTreeMap<String, Tensor>,
    /// Version of the program that wrote the file.
    pub version: String,
    /// Design of the model, if a model was saved.
    pub config: Option<Design>,
    /// All other state: `parts`, `values`, and settings of each part.
    pub state: Map,
}

impl Checkpoint {
    /// Reads a checkpoint. A damaged file, or one that is not a checkpoint, is an error.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path, load_safetensors(path, Device::Cpu)?)
    }

    /// Reads a checkpoint on rank 0, with its path, and returns it on all ranks.
    pub(super) fn read_shared(path: Option<PathBuf>, ranks: &Ranks) -> Result<Self> {
        let own =
            path.map(|path| load_safetensors(&path, Device::Cpu).map(|loaded| (path, loaded))).transpose();
        let own = ranks.agree(own)?;
        let own = match own {
            Some((path, loaded)) if !ranks.are_several() => return Self::parse(&path, loaded),
            own => own,
        };
        let about = own.as_ref().map(|(path, loaded)| {
            let tensors = loaded.tensors.iter().map(|(name, t)| (name, t.shape(), t.dtype().name()));
            let tensors: Vec<(&String, Vec<i64>, &str)> = tensors.collect();
            serde_json::json!([path, loaded.metadata, loaded.checked, tensors]).to_string()
        });
        let about = ranks.broadcast_text(&about.unwrap_or_default())?;
        type About = (PathBuf, BTreeMap<String, String>, bool, Vec<(String, Vec<i64>, String)>);
        let (path, metadata, checked, list): About =
            serde_json::from_str(&about).map_err(|e| Error::internal(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, shape, dtype) in list {
            let tensor = match own.as_ref().and_then(|(_, loaded)| loaded.tensors.get(&name)) {
                Some(tensor) => tensor.clone(),
                None => Tensor::zeros(&shape, DType::named(&dtype)?, Device::Cpu)?,
            };
            ranks.broadcast(&tensor, 0)?;
            tensors.insert(name, tensor);
        }
        Self::parse(&path, Loaded { tensors, metadata, checked, notes: Vec::new() })
    }

    /// Returns the checkpoint in a file that was read.
    pub fn parse(path: &Path, mut loaded: Loaded) -> Result<Self> {
        let mut text = |name: &str| loaded.metadata.remove(name);
        let wrong = |what: &str| Error::file(path, what);
        let format = text("format");
        match format.as_deref() {
            Some(FORMAT | FIRST_FORMAT) => {}
            Some(other) => {
                return Err(wrong(&format!("the format is \"{other}\", expected \"{FORMAT}\""))
                    .hint("another version of spectral wrote it"));
            }
            None => {
                return Err(wrong("the file is not a checkpoint")
                    .hint("weights alone are read by `model::open` or `.load(path)`"));
            }
        }
        let not_json = |e: String| wrong(&format!("the stored state is not JSON: {e}"));
        let json =
            |text: &str| serde_json::from_str::<serde_json::Value>(text).map_err(|e| not_json(e.to_string()));
        let value = |text: &str| match format.as_deref() {
            Some(FORMAT) => Value::from_json_text(text).map_err(not_json),
            _ => json(text).and_then(|json| Value::from_json(&json)),
        };
        let version = text("spectral").unwrap_or_default();
        let Some(Value::Map(state)) = text("state").map(|t| value(&t)).transpose()? else {
            return Err(wrong("the checkpoint has no state"));
        };
        let config = text(CONFIG).map(|t| json(&t)).transpose()?;
        let config = config.map(|json| Design::from_json(&json)).transpose();
        let config = config.map_err(|e| e.context(path.display()))?;
        if !loaded.checked {
            return Err(wrong("the checkpoint has lost its checksum")
                .hint("the file was damaged after it was written"));
        }
        Ok(Self { path: path.to_path_buf(), tensors: loaded.tensors, version, config, state })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the data saved as `values`.
    pub fn values(&self) -> Map {
        self.map("values")
    }

    /// Returns the names of the saved parts.
    pub fn parts(&self) -> Vec<String> {
        match self.state.get("parts") {
            Some(Value::List(names)) => names
                .iter()
                .filter_map(|n| if let Value::Str(n) = n { Some(n.clone()) } else { None })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the settings of a part.
    fn map(&self, name: &str) -> Map {
        match self.state.get(name) {
            Some(Value::Map(map)) => map.clone(),
            _ => Map::new(),
        }
    }

    /// Returns the tensors of a part, without its prefix in their names.
    pub fn of(&self, part: &str) -> BTreeMap<String, Tensor> {
        let own = |(name, tensor): (&String, &Tensor)| {
            let name = name.strip_prefix(part)?.strip_prefix('.')?;
            Some((name.to_string(), tensor.clone()))
        };
        self.tensors.iter().filter_map(own).collect()
    }

    /// Returns the checkpoint of other parts.
    fn other(&self, name: &str) -> Result<Self> {
        let all = self.map(OTHERS);
        let Some(Value::Map(state)) = all.get(name) else {
            let error = Error::argument(format!("the checkpoint has no `{OTHERS}.{name}`"));
            return Err(error.hint(match all.is_empty() {
                true => "it was saved without other parts".to_string(),
                false => format!("it holds {}", list(&all.keys().collect::<Vec<_>>())),
            }));
        };
        let design = |value: &Value| Design::from_json(&value.to_json().unwrap_or_default());
        Ok(Self {
            path: self.path.clone(),
            tensors: self.of(&format!("{OTHERS}.{name}")),
            version: self.version.clone(),
            config: state.get(CONFIG).map(design).transpose()?,
            state: state.clone(),
        })
    }

    /// Restores the state of `parts`, and returns the saved values.
    ///
    /// Checks every name, shape, dtype and setting before anything changes. Saved parts that are not in `parts` are
    /// ignored.
    pub fn restore(&self, parts: &PartsOptions) -> Result<Map> {
        self.check(parts).map_err(|e| e.context(self.path.display()))?;
        uninterrupted(|| self.apply(parts))?;
        Ok(self.values())
    }

    /// Changes the parts, which were checked.
    fn apply(&self, parts: &PartsOptions) -> Result<()> {
        for (name, own) in &parts.others.0 {
            self.other(name)?.apply(own)?;
        }
        if let Some(model) = &parts.model {
            model.assign(&self.of("model"), "")?;
        }
        if let Some(ema) = &parts.ema {
            ema.restore(&self.of("ema"), &self.of(MASTERS), "", count(&self.map("ema"), "updates"))?;
        }
        for (i, (average, saved)) in parts.averages.into_iter().zip(self.averages()).enumerate() {
            let [part, masters] = of_average(i).map(|name| self.of(&name));
            average.restore(&part, &masters, "", count(&saved, "updates"))?;
        }
        if let Some(optimizer) = &parts.optimizer {
            optimizer.load_state(&self.of("optimizer"))?;
            optimizer.set_rates(&self.rates()?);
        }
        if let Some(loader) = &parts.loader {
            loader.restore(&self.map("loader"))?;
        }
        if let (Some(generator), Some(state)) = (&parts.generator, self.tensors.get("random.generator")) {
            generator.restore(state)?;
        }
        let saved = self.of(TENSORS);
        for (name, tensor) in &parts.tensors.0 {
            if let Some(saved) = saved.get(name) {
                tensor.copy_(saved)?;
            }
        }
        // The state of another device's generator cannot be used.
        for device in parts.devices() {
            if let Some(state) = self.tensors.get(&format!("random.{device}")) {
                rng::restore_default(device, state)?;
            }
        }
        Ok(())
    }

    /// Returns an error if something does not fit, and changes nothing.
    fn check(&self, parts: &PartsOptions) -> Result<()> {
        let there = self.parts();
        if let Some(missing) = parts.names().into_iter().find(|name| !there.iter().any(|t| t == name)) {
            return Err(Error::argument(format!("the checkpoint has no {missing}")).hint(
                match there.is_empty() {
                    true => "it holds only values".to_string(),
                    false => format!("it holds {}", list(&there)),
                },
            ));
        }
        for (part, model) in [("model", parts.model.clone()), ("ema", parts.ema.as_ref().map(Ema::model))] {
            let (Some(model), Some(config)) = (model, &self.config) else { continue };
            self.check_config(config, model.design())?;
            model.check_weights(&self.of(part), "").map_err(|e| e.context(part))?;
        }
        if let Some(ema) = &parts.ema {
            ema.check_masters(&self.of(MASTERS)).map_err(|e| e.context("ema"))?;
            same("ema", &self.map("ema"), &ema.about(), &["updates", "name"])?;
        }
        let (saved, here) = (self.averages(), &parts.averages.0);
        ensure!(
            here.is_empty() || saved.len() == here.len(),
            "the checkpoint has {} further averages, expected {}",
            saved.len(),
            here.len()
        );
        for (i, (average, saved)) in here.iter().zip(&saved).enumerate() {
            let [part, masters] = of_average(i).map(|name| self.of(&name));
            average.model().check_weights(&part, "").map_err(|e| e.context(average.name()))?;
            average.check_masters(&masters).map_err(|e| e.context(average.name()))?;
            same("average", saved, &average.about(), &["updates", "name"])?;
        }
        if let Some(optimizer) = &parts.optimizer {
            optimizer.check_state(&self.of("optimizer")).map_err(|e| e.context("optimizer"))?;
            let mut saved = self.map("optimizer");
            // Earlier versions had no groups.
            saved.entry("groups".to_string()).or_insert_with(|| Value::List(Vec::new()));
            same("optimizer", &saved, &optimizer.about(), &["lr", "rates"])?;
            let (found, expected) = (self.rates()?.len(), optimizer.rates().len());
            ensure!(
                found == expected,
                "the optimizer was saved with {found} learning rates, expected {expected}"
            );
        }
        if let Some(loader) = &parts.loader {
            loader.position_in(&self.map("loader"))?;
        }
        let saved = self.of(TENSORS);
        for (name, tensor) in &parts.tensors.0 {
            let saved = saved.get(name).ok_or_else(|| {
                Error::argument(format!("the checkpoint has no tensor `{name}`"))
                    .hint(format!("it holds {}", list(&saved.keys().collect::<Vec<_>>())))
            })?;
            ensure!(
                saved.shape() == tensor.shape() && saved.dtype() == tensor.dtype(),
                "expected `{name}` to be a {}, found a {}",
                tensor.signature(),
                saved.signature()
            );
        }
        for (name, own) in &parts.others.0 {
            self.other(name)?.check(own).map_err(|e| e.context(format!("`{OTHERS}.{name}`")))?;
        }
        for (name, state) in self.of("random") {
            let now = match (name.as_str(), &parts.generator) {
                ("generator", Some(generator)) => generator.state()?,
                ("generator", None) => continue,
                ("cpu", _) => rng::default_state(Device::Cpu)?,
                _ => match parts.devices().into_iter().find(|device| device.to_string() == name) {
                    Some(device) if device::cuda_count() > 0 => rng::default_state(device)?,
                    _ => continue,
                },
            };
            ensure!(
                state.shape() == now.shape() && state.dtype() == now.dtype(),
                "the state of random numbers `{name}` is a {}, expected a {}: it is that of another device",
                state.signature(),
                now.signature()
            );
        }
        Ok(())
    }

    /// Returns an error if the model was saved with other settings or other code.
    pub fn check_design(&self, model: &Model) -> Result<()> {
        match &self.config {
            Some(saved) => self.check_config(saved, model.design()),
            None => Ok(()),
        }
    }

    fn check_config(&self, saved: &Design, here: &Design) -> Result<()> {
        // Compares the stored forms, because closures of filters have no other.
        let stored = |config: &Design| config.to_json().and_then(|json| Value::from_json(&json));
        match (stored(saved)?, stored(here)?) {
            (Value::Map(saved), Value::Map(here)) => same("model", &saved, &here, &[]),
            _ => Err(Error::internal("a configuration is a map")),
        }
    }

    /// Returns the learning rates of the optimizer and its groups.
    fn rates(&self) -> Result<Vec<f64>> {
        let optimizer = self.map("optimizer");
        let rates = match optimizer.get("rates").or(optimizer.get("lr")) {
            Some(Value::List(rates)) => rates.iter().map(f64::from_value).collect::<Result<Vec<_>>>(),
            Some(rate) => f64::from_value(rate).map(|rate| vec![rate]),
            None => Ok(Vec::new()),
        };
        match rates {
            Ok(rates) if !rates.is_empty() && rates.iter().all(|lr| lr.is_finite() && *lr >= 0.0) => {
                Ok(rates)
            }
            _ => Err(Error::argument("the optimizer was saved without a learning rate")),
        }
    }

    /// Returns the averages, the main one first: the name of each, the parts of its tensors and of its float32 weights, and
    /// its number of updates.
    pub(super) fn average_states(&self) -> Vec<(String, [String; 2], u64)> {
        let name =
            |about: &Map| about.get("name").and_then(|n| String::from_value(n).ok()).unwrap_or_default();
        let main = self.map("ema");
        let first = (name(&main), ["ema", MASTERS].map(str::to_string), count(&main, "updates"));
        let has_main = self.parts().iter().any(|part| part == "ema");
        let further = self.averages().into_iter().enumerate();
        let further = further.map(|(i, about)| (name(&about), of_average(i), count(&about, "updates")));
        has_main.then_some(first).into_iter().chain(further).collect()
    }

    /// Returns the settings of the averages after the first one.
    fn averages(&self) -> Vec<Map> {
        match self.state.get(AVERAGES) {
            Some(Value::List(all)) => all.iter().filter_map(|one| Map::from_value(one).ok()).collect(),
            _ => Vec::new(),
        }
    }
}

fn count(about: &Map, name: &str) -> u64 {
    match about.get(name) {
        Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}

/// Returns an error for the first setting that differs, except those in `free`.
fn same(part: &str, saved: &Map, here: &Map, free: &[&str]) -> Result<()> {
    match difference(saved, here, free) {
        Some(difference) => {
            Err(Error::argument(format!("the {part} was saved with another setting: {difference}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
