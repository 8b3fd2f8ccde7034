//! Opening of model files: those of [`Model::save`], checkpoints of training, and files of public models.

use std::collections::BTreeMap;
use std::path::Path;

use super::family::{Family, PUBLIC};
use super::public::{Known, Shapes};
use super::weights::{CONFIG, Fit};
use super::{Design, Model, Position, PositionScaling};
use crate::context::Context;
use crate::declare::{Choice, OneOrMany, Options};
use crate::error::{Error, Result};
use crate::torch::io::{About, TensorFile};
use crate::torch::{DType, Device};

/// Weights of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Weights {
    /// The averaged ones.
    #[default]
    Ema,
    /// The trained ones.
    Model,
}

/// Options of `model::open`.
#[derive(Debug, Clone, Options)]
pub struct OpenOptions {
    /// Weights to load from a checkpoint: `ema`, the averaged ones, or `model`, the trained ones. By default `ema`
    /// if the file has it, otherwise the only set there is.
    pub weights: Option<Weights>,
    /// Name of the average to load from a checkpoint that has several; by default the first one.
    pub average: String,
    /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
    /// Family of a public model: `dit`, `sit` or `lightningdit`. Needed for a DiT or SiT unless the file has the
    /// arguments of its training, since the two have the same parameters.
    pub family: Option<Family>,
    /// Number of heads of a public model, if neither its shapes nor its arguments tell it and it is not that of the
    /// public model of its width.
    #[option(range = 1..)]
    pub num_heads: Option<i64>,
    /// Number of classes of a public model. By default the last row of its label embedding is the null label; give the
    /// number of rows if it was trained without one.
    #[option(range = 1..)]
    pub num_classes: Option<i64>,
    /// Height and width of the images, for a model of another size than that of the file: positions are computed for the
    /// new grid, and a trained position embedding is resized by bicubic interpolation. Needed for a public model whose
    /// file has no position embedding.
    #[option(range = 1..=65536)]
    pub image_size: Option<i64>,
    /// Fixed and rotary positions of images of another size than that of the file, see `model::dit`: `none`, `linear` or
    /// `ntk`. The size of the file becomes the `position_base`.
    pub position_scaling: Option<PositionScaling>,
    /// Position embedding of a public model: `learned` trains the position embedding of the file further.
    pub position: Option<Position>,
    /// Factor of the times of a public model before their features, see `model::dit`.
    #[option(range = 0.001..=100000.0)]
    pub time_scale: Option<f64>,
    /// Element type of the parameters; by default that of the file.
    pub dtype: Option<DType>,
    /// Names, without the prefix, of tensors of the file that the model lacks and that are left out, such as
    /// "projectors.*": one glob or an array.
    #[option(default = OneOrMany(Vec::new()))]
    pub ignore: OneOrMany<String>,
}

/// Opens the model of a file, with its weights.
///
/// The file is one that [`Model::save`] wrote, a checkpoint, or one of the public models DiT, SiT and LightningDiT: a
/// state dictionary, or a training file with `model`, `ema` and `args`. The configuration of a public model is
/// inferred from the shapes of its parameters. From a file with several sets of weights it takes the given ones, or
/// the only ones there are.
///
/// Every tensor is read straight into the model, so that a file takes its own size in memory. `context` compiles the
/// code stored in the file, which builds the model's parts.
pub fn open(path: impl AsRef<Path>, options: &OpenOptions, context: &Context) -> Result<Model> {
    options.check()?;
    let path = path.as_ref();
    let mut file = TensorFile::open(path)?;
    match file.metadata.get(CONFIG) {
        Some(text) => {
            let config = serde_json::from_str(text)
                .map_err(|e| Error::argument(format!("the stored configuration is not JSON: {e}")))
                .and_then(|json| options.device.within(|| Design::from_json(&json)?.compiled(context)))
                .map_err(|e| e.context(path.display()))?;
            open_own(&mut file, config, options)
        }
        None => open_public(&mut file, options, context),
    }
    .and_then(|model| {
        let own = model.image_shape()[1];
        let (size, scaling) = (options.image_size.unwrap_or(own), options.position_scaling);
        let other =
            scaling.is_some_and(|scaling| model.config().is_none_or(|c| c.position_scaling != scaling));
        if size == own && !other { Ok(model) } else { model.at_size(size, scaling) }
    })
    .map_err(|e| if e.kind() == crate::error::Kind::File { e } else { e.in_file(path) })
}

fn open_own(file: &mut TensorFile, design: Design, options: &OpenOptions) -> Result<Model> {
    refuse_public_options(options)?;
    let dtype = options.dtype.unwrap_or(design.dtype());
    let design = design.with_dtype(dtype);
    if options.position_scaling.is_some() && matches!(design, Design::Custom(_)) {
        return Err(Error::argument("a custom network has no `position_scaling`"));
    }
    let of = |part: &str| format!("{part}.");
    if !options.average.is_empty() {
        let state = file.metadata.get("state");
        let state = state.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let part = part_of_average(state.as_ref(), &options.average)?;
        return open_part(file, design, &of(&part), options);
    }
    let prefixes = Weights::NAMES.iter().map(|part| of(part));
    let prefixes: Vec<String> =
        prefixes.filter(|p| file.tensors.keys().any(|name| name.starts_with(p))).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let prefix = choose(&prefixes, options.weights)?.unwrap_or_default();
    open_part(file, design, prefix, options)
}

/// Returns the part of a checkpoint that is the average of a name, given the stored state.
pub fn part_of_average(state: Option<&serde_json::Value>, name: &str) -> Result<String> {
    let state = state.ok_or_else(|| Error::argument("the file is not a checkpoint, which has averages"))?;
    let called = |about: &serde_json::Value| about.get("name").and_then(|n| n.as_str()).map(str::to_string);
    let further = state.get("averages").and_then(|all| all.as_array()).into_iter().flatten();
    let mut all = vec![("ema".to_string(), state.get("ema").and_then(called))];
    all.extend(further.enumerate().map(|(i, about)| (format!("averages.{i}"), called(about))));
    match all.iter().find(|(_, own)| own.as_deref() == Some(name)) {
        Some((part, _)) => Ok(part.clone()),
        None => {
            let names: Vec<String> = all.into_iter().filter_map(|(_, name)| name).collect();
            Err(Error::argument(format!("the checkpoint has no average called \"{name}\""))
                .did_you_mean(name, names.iter().map(String::as_str)))
        }
    }
}

/// Reads the weights below a prefix into a new model.
fn open_part(file: &mut TensorFile, design: Design, prefix: &str, options: &OpenOptions) -> Result<Model> {
    if design.calls_code() {
        // Code builds the network once only, so its parameters cannot be checked before they are read.
        let model = Model::blank(design, options.device)?;
        let fit = Fit { prefix, any_dtype: options.dtype.is_some(), ignore: &options.ignore, keeps: None };
        let names = fit.check(&model, &file.tensors)?;
        let loaded = file.load(|name| names.contains(name), Device::Cpu)?;
        model.assign(&model.converted(loaded.tensors, prefix)?, prefix)?;
        return Ok(model);
    }
    read(file, design, prefix, options, options.dtype.is_some())
}

/// Reads the weights of a file, which may have other dtypes if `any_dtype`, into a new model.
fn read(
    file: &mut TensorFile,
    design: Design,
    prefix: &str,
    options: &OpenOptions,
    any_dtype: bool,
) -> Result<Model> {
    let outline = Model::outline(design.clone())?;
    let found =
        Fit { prefix, any_dtype, ignore: &options.ignore, keeps: None }.check(&outline, &file.tensors)?;
    let loaded = file.load(|name| found.contains(name), Device::Cpu)?;
    let named = loaded.tensors.into_iter();
    let named = named.filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_string(), t)));
    Model::given(design, named.collect(), options.device)
}

fn refuse_public_options(options: &OpenOptions) -> Result<()> {
    let given = [
        ("family", options.family.is_some()),
        ("num_heads", options.num_heads.is_some()),
        ("num_classes", options.num_classes.is_some()),
        ("position", options.position.is_some()),
        ("time_scale", options.time_scale.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::argument(format!("the file stores the configuration of its model, `{name}` included"))
                .hint(format!("leave `{name}` out")))
        }
    }
}

fn open_public(file: &mut TensorFile, options: &OpenOptions, context: &Context) -> Result<Model> {
    let prefix = prefix_of(&file.tensors, options.weights)?;
    let all = below(&file.tensors, &prefix);
    let known = Known {
        family: options.family,
        num_heads: options.num_heads,
        num_classes: options.num_classes,
        image_size: options.image_size,
    };
    let (mut config, notes) = Shapes::new(&all, Family::Dit).config(known, &file.settings)?;
    let width = all.get(format!("{}.proj.weight", PUBLIC.patches).as_str()).map(|about| about.dtype);
    config.dtype = options.dtype.or(width).unwrap_or(config.dtype);
    config.time_scale = options.time_scale.unwrap_or(config.time_scale);
    config.position = options.position.or(config.position);
    config.position_scaling = options.position_scaling.unwrap_or_default();
    config.check()?;
    let model = read(file, config.into(), &prefix, options, true)?;
    let notes = notes.into_iter().chain(model.differences(file, &prefix)?);
    notes.for_each(|note| context.note(&format!("{}: {note}", file.path().display())));
    Ok(model)
}

/// Returns the tensors below a prefix, without it.
pub(super) fn below<'a>(tensors: &'a BTreeMap<String, About>, prefix: &str) -> BTreeMap<&'a str, &'a About> {
    tensors.iter().filter_map(|(name, about)| Some((name.strip_prefix(prefix)?, about))).collect()
}

/// Returns what precedes the names of the public models in a file.
fn prefix_of(tensors: &BTreeMap<String, About>, weights: Option<Weights>) -> Result<String> {
    let last = format!("{}.proj.weight", PUBLIC.patches);
    let found: Vec<&str> = tensors.keys().filter_map(|name| name.strip_suffix(&last)).collect();
    match choose(&found, weights)? {
        Some(prefix) => Ok(prefix.to_string()),
        None => {
            let some: Vec<&str> = tensors.keys().take(3).map(String::as_str).collect();
            Err(Error::argument(format!(
                "the file has weights, but not the configuration of a model, and its names are not those of DiT, SiT or \
                 LightningDiT: found {}",
                if some.is_empty() { "no tensors".to_string() } else { crate::error::list(&some) }
            ))
            .hint("make the model with `model::dit`, then `.load(path)`"))
        }
    }
}

/// Returns the prefix of the wanted weights among those of a file: the averaged weights are below `ema`. Weights without a
/// prefix may be either.
pub(super) fn choose<'a>(prefixes: &[&'a str], wanted: Option<Weights>) -> Result<Option<&'a str>> {
    let weights = wanted.unwrap_or_default();
    let averaged = |prefix: &&&str| prefix.split('.').any(|part| part.starts_with("ema"));
    if let Some(found) = prefixes.iter().find(|prefix| averaged(prefix) == (weights == Weights::Ema)) {
        return Ok(Some(found));
    }
    let named: Vec<&str> = prefixes.iter().map(|prefix| prefix.trim_end_matches('.')).collect();
    match named.first() {
        Some(first) if wanted.is_some() && !first.is_empty() => {
            let what = if weights == Weights::Ema { "averaged" } else { "trained" };
            Err(Error::argument(format!(
                "the file has no {what} weights, found {}",
                crate::error::list(&named)
            ))
            .hint("leave `weights` out to take the only set there is"))
        }
        _ => Ok(prefixes.first().copied()),
    }
}
