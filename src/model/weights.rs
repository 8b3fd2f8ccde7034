//! Loading and saving of parameters as safetensors files, under PyTorch names.
//!
//! Loading checks every name, shape and dtype before it copies anything; on an error nothing changes.

use crate::declare::{OneOrMany, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Model;
use super::advice::{NO_FAMILY, advice};
use super::family::PUBLIC;
use super::open::{Weights, choose};
use crate::error::{Error, Result, Subject, nearest};
use crate::nn::glob;
use crate::torch::io::{About, TensorFile, save_safetensors};
use crate::torch::{DType, Device, Tensor, uninterrupted};

/// Key of the configuration, as JSON, in a file's metadata.
pub const CONFIG: &str = "config";

/// Options of `model.load`.
#[derive(Debug, Clone, Options)]
pub struct LoadOptions {
    /// Prefix of the names in the file, such as "ema."; names in the file without it are then ignored. By default it is
    /// detected: a file may have the names of the model alone, or several sets of weights, each below a prefix such
    /// as "model.", "ema." or "module.".
    pub prefix: String,
    /// Weights to load from a file with several sets: `ema`, the averaged ones, or `model`, the trained ones. By default the
    /// `ema` if the file has it, otherwise the only set there is.
    pub weights: Option<Weights>,
    /// Names, without the prefix, of tensors of the file to leave out, such as "projectors.*": one glob or an array.
    /// Parameters of the model with these names keep their values, whatever their shapes in the file.
    #[option(default = OneOrMany(Vec::new()))]
    pub ignore: OneOrMany<String>,
    /// Whether the file may lack parameters of the model, which then keep their values. A note says how many.
    #[option(default = false)]
    pub partial: bool,
}

/// Options of `model.save`.
#[derive(Debug, Clone, Options)]
pub struct SaveOptions {
    /// Names of the parameters to save, such as "*parts.*": one glob or an array; by default all. A file of some is read
    /// by `model.load` with `partial`.
    #[option(default = OneOrMany(Vec::new()))]
    pub only: OneOrMany<String>,
}

impl Model {
    /// Writes all parameters and the configuration to a safetensors file, atomically.
    ///
    /// A model of a public family is written with all tensors that the public code stores. A note on standard error
    /// names parts whose code is not stored, such as Rust closures: `model::open` cannot build such a model, but
    /// [`Model::load`] reads the weights into one that was built in code.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write(path, &SaveOptions::default())?;
        let context = crate::notebook::context();
        self.design().not_stored().iter().for_each(|note| context.note(note));
        Ok(())
    }

    /// As [`Model::save`], without the notes, all parameters or some.
    pub(crate) fn write(&self, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        self.write_with(path, options, BTreeMap::new())
    }

    /// As [`Model::write`], with further entries of the file's metadata.
    pub(crate) fn write_with(
        &self,
        path: impl AsRef<Path>,
        options: &SaveOptions,
        mut texts: BTreeMap<String, String>,
    ) -> Result<()> {
        let mut tensors: BTreeMap<String, Tensor> = self.parameters().iter().cloned().collect();
        tensors.extend(self.stored_tables());
        if !options.only.is_empty() {
            let picked = glob::pick(&options.only, tensors.keys().map(String::as_str));
            let picked = picked.map_err(|e| e.within(Subject::Option("only".to_string())))?;
            let picked: BTreeSet<String> = picked.into_iter().map(str::to_string).collect();
            tensors.retain(|name, _| picked.contains(name));
        }
        texts.insert(CONFIG.to_string(), self.design().to_json()?.to_string());
        save_safetensors(path.as_ref(), &tensors, &texts)
    }

    /// Returns the tables that files of the model's family hold besides the parameters: those of rotary positions.
    pub fn stored_tables(&self) -> Vec<(String, Tensor)> {
        let public = self.config().is_some_and(|config| config.family.is_public());
        let all = self.computed().into_iter().filter(|_| public);
        all.map(|(name, table)| (name.to_string(), table.clone())).collect()
    }

    /// Copies the weights of a safetensors or PyTorch file into this model's parameters.
    ///
    /// Returns notes on what was skipped: objects that are not tensors, buffers that differ from what the model
    /// computes itself, and parameters that keep their values.
    pub fn load(&self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<Vec<String>> {
        let path = path.as_ref();
        let mut file = TensorFile::open(path)?;
        let prefix = match options.prefix.as_str() {
            "" => self.prefix_in(&file.tensors, options.weights)?.to_string(),
            given => given.to_string(),
        };
        let keeps = Some(Keeps { partial: options.partial });
        let fit = Fit { prefix: &prefix, any_dtype: true, ignore: &options.ignore, keeps };
        let names = fit.check(self, &file.tensors).map_err(|e| e.context(path.display()))?;
        let loaded = file.load(|name| names.contains(name), Device::Cpu)?;
        let mut notes = loaded.notes;
        let other = loaded
            .tensors
            .values()
            .map(Tensor::dtype)
            .find(|dtype| dtype.is_float() && *dtype != self.dtype());
        let tensors = self.converted(loaded.tensors, &prefix)?;
        self.copy_in(&tensors, &prefix).map_err(|e| e.context(path.display()))?;
        notes.extend(self.kept(&tensors, &prefix));
        notes.extend(other.map(|dtype| {
            let (theirs, ours) = (dtype.name(), self.dtype().name());
            format!("weights in {theirs} were converted to {ours}, the dtype of the model")
        }));
        notes.extend(self.differences(&mut file, &prefix)?);
        notes.extend(file.metadata.get(CONFIG).and_then(|stored| self.differs_from(stored)));
        Ok(notes.into_iter().map(|note| format!("{}: {note}", path.display())).collect())
    }

    /// Converts tensors of the names of parameters, preceded by `prefix`, to the dtypes of the parameters.
    pub(super) fn converted(
        &self,
        mut tensors: BTreeMap<String, Tensor>,
        prefix: &str,
    ) -> Result<BTreeMap<String, Tensor>> {
        for (name, parameter) in self.parameters() {
            if let Some(tensor) = tensors.get_mut(&format!("{prefix}{name}")) {
                *tensor = tensor.to_dtype(parameter.dtype())?;
            }
        }
        Ok(tensors)
    }

    /// Describes how tables in a file, if it has them, differ from those that the model computes.
    pub(super) fn differences(&self, file: &mut TensorFile, prefix: &str) -> Result<Vec<String>> {
        let named: BTreeMap<String, (&str, &Tensor)> =
            self.computed().into_iter().map(|(name, own)| (format!("{prefix}{name}"), (name, own))).collect();
        if !file.tensors.keys().any(|name| named.contains_key(name)) {
            return Ok(Vec::new());
        }
        let loaded = file.load(|name| named.contains_key(name), Device::Cpu)?;
        let notes = loaded.tensors.iter().map(|(name, found)| differs(named[name].0, found, named[name].1));
        Ok(notes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Returns what precedes the model's names in a file.
    fn prefix_in<'a>(
        &self,
        tensors: &'a BTreeMap<String, About>,
        weights: Option<Weights>,
    ) -> Result<&'a str> {
        let first = match self.config() {
            // The names of other families are looked for too, so that the error is about the family.
            Some(config) => {
                [config.family.names(), &PUBLIC].map(|n| format!("{}.proj.weight", n.patches)).to_vec()
            }
            None => self.parameters().first().map(|(name, _)| name.clone()).into_iter().collect(),
        };
        for first in first {
            let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(&first));
            let prefixes: Vec<&str> = prefixes.filter(|p| p.is_empty() || p.ends_with('.')).collect();
            if prefixes.contains(&"") {
                return Ok("");
            }
            if let Some(chosen) = choose(&prefixes, weights)? {
                return Ok(chosen);
            }
        }
        Ok("")
    }

    /// Copies weights by name; the names are the model's, preceded by `prefix`.
    ///
    /// Every name, shape and dtype is checked first. On an error nothing has changed.
    pub fn assign(&self, tensors: &BTreeMap<String, Tensor>, prefix: &str) -> Result<()> {
        self.check_weights(tensors, prefix)?;
        self.copy_in(tensors, prefix)
    }

    /// Copies tensors that were checked; parameters without one keep their values.
    fn copy_in(&self, tensors: &BTreeMap<String, Tensor>, prefix: &str) -> Result<()> {
        uninterrupted(|| {
            self.parameters().iter().try_for_each(|(name, parameter)| {
                tensors.get(&format!("{prefix}{name}")).map_or(Ok(()), |tensor| parameter.copy_(tensor))
            })
        })
    }

    /// Describes which parameters have kept their values, since they are not among these tensors.
    fn kept(&self, tensors: &BTreeMap<String, Tensor>, prefix: &str) -> Option<String> {
        let names = self.parameters().iter().map(|(name, _)| name.as_str());
        let absent = |name: &&str| !tensors.contains_key(&format!("{prefix}{name}")) && !self.may_miss(name);
        let kept: Vec<&str> = names.filter(absent).collect();
        let all = self.parameters().len();
        (!kept.is_empty()).then(|| {
            format!(
                "loaded {} of {all} parameters, kept {}: {}",
                all - kept.len(),
                kept.len(),
                some(&kept, &[])
            )
        })
    }

    /// Returns whether a file may lack a parameter: fixed positions, which are the same in every file.
    fn may_miss(&self, name: &str) -> bool {
        name == super::family::POSITIONS
            && self.config().is_some_and(|config| config.position() != super::Position::Learned)
    }

    /// Returns the error that [`Model::assign`] would, and changes nothing.
    pub fn check_weights(&self, tensors: &BTreeMap<String, Tensor>, prefix: &str) -> Result<()> {
        let about = |t: &Tensor| About { shape: t.shape(), dtype: t.dtype() };
        let all = tensors.iter().map(|(name, tensor)| (name.clone(), about(tensor))).collect();
        Fit { prefix, any_dtype: false, ignore: &[], keeps: None }.check(self, &all).map(drop)
    }
}

/// Comparison of the tensors of a file with the parameters of a model.
pub(super) struct Fit<'a> {
    /// What precedes the names in the file.
    pub prefix: &'a str,
    /// Whether the file may have another dtype than the model.
    pub any_dtype: bool,
    /// Patterns of the names of tensors to leave out.
    pub ignore: &'a [String],
    /// How parameters may keep their values, if the model has any to keep.
    pub keeps: Option<Keeps>,
}

/// How parameters of a model may keep their values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeps {
    /// Whether the file may lack them.
    pub partial: bool,
}

impl Fit<'_> {
    /// Returns the names in the file of the model's parameters, or an error if a name, shape or dtype does not fit.
    pub fn check(&self, model: &Model, all: &BTreeMap<String, About>) -> Result<BTreeSet<String>> {
        let prefix = self.prefix;
        let mut found = super::open::below(all, prefix);
        let left_out = self.left_out(model, &found)?;
        found.retain(|name, _| !left_out.contains(name));
        self.check_names(model, &found, &left_out, all)?;
        let mut names = BTreeSet::new();
        for (name, parameter) in model.parameters() {
            let Some(about) = found.get(name.as_str()) else { continue };
            names.insert(format!("{prefix}{name}"));
            if about.shape != parameter.shape() {
                let hint = model.config().and_then(|config| advice(config, &found));
                return Err(Error::argument(format!(
                    "`{prefix}{name}` has shape {:?}, and the model's has {:?}",
                    about.shape,
                    parameter.shape()
                ))
                .hint({
                    let size = "the weights are those of a model of another size; compare its configuration";
                    let hint = hint.unwrap_or_else(|| size.to_string());
                    let resized = model.config().filter(|_| name == super::family::POSITIONS);
                    match (self.keeps, resized) {
                        (Some(_), Some(config)) => format!(
                            "{hint}; `model::open(path, #{{ image_size: {} }})` resizes the positions of the file",
                            config.image_size
                        ),
                        (Some(_), None) => {
                            format!("{hint}, or keep the model's values with #{{ ignore: \"{name}\" }}")
                        }
                        (None, _) => hint,
                    }
                }));
            }
            let fits = match self.any_dtype {
                true => about.dtype.is_float() || about.dtype == parameter.dtype(),
                false => about.dtype == parameter.dtype(),
            };
            if !fits {
                let (theirs, ours) = (about.dtype.name(), parameter.dtype().name());
                return Err(Error::argument(format!(
                    "`{prefix}{name}` is {theirs}, and the model's is {ours}"
                ))
                .hint(format!("make the model with #{{ dtype: \"{theirs}\" }}")));
            }
        }
        Ok(names)
    }

    /// Returns the names of the tensors to leave out. A model without own values can leave out only what it lacks.
    fn left_out<'n>(&self, model: &Model, found: &BTreeMap<&'n str, &About>) -> Result<BTreeSet<&'n str>> {
        let picked = glob::pick_of("tensor of the file", self.ignore, found.keys().copied())
            .map_err(|e| e.within(Subject::Option("ignore".to_string())))?;
        let own = |name: &&&str| model.parameters().iter().any(|(own, _)| own == **name);
        match picked.iter().find(own) {
            Some(name) if self.keeps.is_none() => Err(Error::argument(format!(
                "`ignore` leaves out `{name}`, a parameter of the model, for which there is no other value"
            ))
            .hint("make the model, then `.load(path, #{ ignore })`: it keeps its own values")),
            _ => Ok(picked.into_iter().collect()),
        }
    }

    fn check_names(
        &self,
        model: &Model,
        found: &BTreeMap<&str, &About>,
        left_out: &BTreeSet<&str>,
        all: &BTreeMap<String, About>,
    ) -> Result<()> {
        let ours: Vec<&str> = model.parameters().iter().map(|(name, _)| name.as_str()).collect();
        let partial = self.keeps.is_some_and(|keeps| keeps.partial);
        let may_miss = |name: &str| model.may_miss(name) || left_out.contains(name);
        let absent = |name: &&str| !found.contains_key(name) && !may_miss(name);
        let mut missing: Vec<&str> = ours.iter().copied().filter(absent).collect();
        let none = missing.len() == ours.len();
        if partial && !none {
            missing.clear();
        }
        let computed: Vec<&str> = model.computed().into_iter().map(|(name, _)| name).collect();
        let known: BTreeSet<&str> = ours.iter().chain(&computed).copied().collect();
        let unexpected: Vec<&str> = found.keys().copied().filter(|name| !known.contains(name)).collect();
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
        let other = other_prefix(&ours, all).filter(|other| *other != self.prefix);
        let hint =
            other.map(|other| format!("its names start with \"{other}\": pass #{{ prefix: \"{other}\" }}"));
        let keeping = || match self.keeps {
            Some(_) => "to keep the model's values of them: #{ partial: true }".to_string(),
            None => "make the model, then `.load(path, #{ partial: true })`: it keeps its own values of them"
                .to_string(),
        };
        let hint = hint.or_else(|| replaced(model, &unexpected));
        let some = unexpected.is_empty() && !none && !partial;
        // A file of a few parameters is not that of another model.
        let few = some && 2 * missing.len() > ours.len();
        let hint = hint.or_else(|| few.then(keeping));
        let of_family = |advice: &String| !(some && advice == NO_FAMILY);
        let hint = hint.or_else(|| advice(model.config()?, found).filter(of_family));
        let hint = hint.or_else(|| missing.is_empty().then(|| ignoring(&unexpected)));
        let hint = hint.or_else(|| some.then(keeping));
        Err(error.hint(hint.unwrap_or_else(|| {
            "the file may be for a model of another depth or with other corrections".to_string()
        })))
    }
}

/// Returns the hint for a file with weights of modules that parts of the model replace.
fn replaced(model: &Model, unexpected: &[&str]) -> Option<String> {
    let config = model.config()?;
    let part = config.parts.iter().find(|part| part.replaces())?;
    let plain = Model::outline(config.clone().with_parts(Vec::new()).into()).ok()?;
    let known = |name: &&str| plain.parameters().iter().any(|(own, _)| own == *name);
    (!unexpected.is_empty() && unexpected.iter().all(known)).then(|| {
        format!(
            "the file has weights of a module that the {} replaces: to use the others, \
             `model::open(path).attach(part)`",
            part.title()
        )
    })
}

/// Returns the hint to leave tensors out, by the first parts of their names.
fn ignoring(names: &[&str]) -> String {
    let first =
        |name: &&str| name.split_once('.').map_or(name.to_string(), |(first, _)| format!("{first}.*"));
    let patterns: BTreeSet<String> = names.iter().map(first).collect();
    let patterns: Vec<String> = patterns.into_iter().map(|pattern| format!("{pattern:?}")).collect();
    match patterns.as_slice() {
        [one] => format!("to leave them out: #{{ ignore: {one} }}"),
        all => format!("to leave them out: #{{ ignore: [{}] }}", all.join(", ")),
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
fn other_prefix<'a>(ours: &[&str], tensors: &'a BTreeMap<String, About>) -> Option<&'a str> {
    let first = ours.first()?;
    let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(first));
    prefixes
        .into_iter()
        .find(|prefix| ours.iter().all(|name| tensors.contains_key(&format!("{prefix}{name}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::model::family::Position;
    use crate::model::open::{OpenOptions, open};
    use crate::model::{Config, PositionScaling};
    use crate::nn::attention::QkNorm;
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
        let opened = open(&path, &OpenOptions::default(), &Context::default()).unwrap();
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
            let notes =
                to.load(&path, &LoadOptions { prefix: prefix.to_string(), ..Default::default() }).unwrap();
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

    /// Weights of 2 heads fit a model of 4, those of one filter another, and so on.
    #[test]
    fn options_that_no_shape_tells_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let notes = |from: &Config, to: Config| {
            Model::new(from.clone(), 3, Device::Cpu).unwrap().save(&path).unwrap();
            Model::new(to, 4, Device::Cpu).unwrap().load(&path, &LoadOptions::default()).unwrap()
        };
        let rope = Config { position: Some(Position::Rope), qk_norm: Some(QkNorm::None), ..small() };
        assert!(notes(&rope, rope.clone()).is_empty());
        // What a family has by default is the same when it is given.
        assert!(notes(&small(), small().resolved()).is_empty());
        // The size of the images alone changes nothing at the places that both have.
        assert!(notes(&rope, Config { image_size: 2 * rope.image_size, ..rope.clone() }).is_empty());
        let one = |from: &Config, to: Config| match &notes(from, to)[..] {
            [one] => one.clone(),
            several => panic!("{several:?}"),
        };
        let found = one(&rope, Config { num_heads: 4, rope_theta: 500.0, ..rope.clone() });
        assert!(
            found.contains("`num_heads` was 2 and is 4 here, `rope_theta` was 10000.0 and is 500.0 here"),
            "{found}"
        );
        let scaled = Config { position_scaling: PositionScaling::Linear, ..rope.clone() };
        let found = one(&rope, scaled.clone());
        assert!(found.contains("`position_scaling` was \"none\" and is \"linear\" here"), "{found}");
        let larger = Config {
            image_size: 2 * rope.image_size,
            position_base: Some(rope.image_size),
            ..scaled.clone()
        };
        assert!(notes(&scaled, larger).is_empty());
        let of = |cutoff| {
            let filter = filter::ideal(filter::Ideal { cutoff }).unwrap();
            let corrections = vec![correction(filter, gate::time(()).unwrap()).unwrap()];
            Config { corrections: corrections.into(), ..small() }
        };
        let found = one(&of(0.25), of(0.5));
        assert!(found.contains("`corrections` was") && found.contains("cutoff: 0.25"), "{found}");
    }

    #[test]
    fn ignored_and_missing_parameters_keep_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let from = Model::new(Config { num_classes: 5, ..small() }, 3, Device::Cpu).unwrap();
        from.save(&path).unwrap();
        let to = Model::new(Config { num_classes: 4, ..small() }, 4, Device::Cpu).unwrap();
        let value = |model: &Model, name: &str| {
            let found = model.parameters().iter().find(|(own, _)| own == name);
            found.map(|(_, p)| p.to_f64().unwrap()).unwrap()
        };
        let labels = from.parameters().iter().find(|(name, _)| name.contains("label")).unwrap().0.clone();
        let (before, all) = (value(&to, &labels), to.parameters().len());
        assert!(to.load(&path, &LoadOptions::default()).is_err());
        let ignore = OneOrMany(vec![labels.clone()]);
        let options = LoadOptions { ignore: ignore.clone(), ..Default::default() };
        let [note] = &to.load(&path, &options).unwrap()[..] else { panic!("one note") };
        assert!(
            note.contains(&format!("loaded {} of {all} parameters, kept 1: `{labels}`", all - 1)),
            "{note}"
        );
        assert_eq!(value(&to, &labels), before);
        let other = "blocks.0.attn.qkv.weight";
        assert_eq!(value(&to, other), value(&from, other));
        let error = open(&path, &OpenOptions { ignore, ..Default::default() }, &Context::default());
        assert!(error.unwrap_err().message().contains("there is no other value"));

        let only = SaveOptions { only: OneOrMany(vec!["*.freq_gate*".to_string()]) };
        from.write(&path, &only).unwrap();
        let to = Model::new(Config { num_classes: 4, ..small() }, 5, Device::Cpu).unwrap();
        let before = value(&to, other);
        let error = to.load(&path, &LoadOptions::default()).unwrap_err();
        assert!(error.hint_text().unwrap().contains("partial: true"), "{error}");
        let partial = LoadOptions { partial: true, ..Default::default() };
        let [note] = &to.load(&path, &partial).unwrap()[..] else { panic!("one note") };
        assert!(note.contains(&format!(" of {all} parameters, kept ")), "{note}");
        let gate = "blocks.0.freq_gate.0.weight";
        assert_eq!((value(&to, gate), value(&to, other)), (value(&from, gate), before));
        save_safetensors(
            &path,
            &BTreeMap::from([("w".to_string(), from.parameters()[0].1.clone())]),
            &BTreeMap::new(),
        )
        .unwrap();
        assert!(to.load(&path, &partial).is_err());
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
