//! `spectral checkpoint show|diff|export|import`: inspects and converts files of checkpoints and weights.

mod folder;
mod lines;

use clap::builder::PossibleValuesParser;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value as Json, json};

use self::lines::Line;
use super::terminal;
use crate::declare::{Choice, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::{Error, Result};
use crate::model::{self, DitOptions, LoadOptions};
use crate::spectral::Correction;
use crate::text;
use crate::torch::io::{Loaded, load_named, save_safetensors};
use crate::torch::{DType, Device, Tensor};
use crate::train::checkpoint::Checkpoint;

/// Commands on a file.
#[derive(Subcommand)]
pub enum Command {
    /// Show the content of a file: a checkpoint, or weights in .safetensors, .pt or .pth. Of the folder of a run, list the
    /// files.
    Show {
        /// The file, or the folder of a run.
        file: PathBuf,
        /// List every tensor.
        #[arg(long)]
        tensors: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare two files; the exit code is 1 if they differ. Times and the folder of a run are not compared.
    Diff {
        /// The first file.
        a: PathBuf,
        /// The second file.
        b: PathBuf,
        /// List every tensor that differs.
        #[arg(long)]
        tensors: bool,
    },
    /// Write the weights of a checkpoint to a file of their own, under PyTorch names.
    Export {
        /// The checkpoint.
        file: PathBuf,
        /// The safetensors file to write.
        out: PathBuf,
        /// Which weights: the averaged ones or the trained ones.
        #[arg(long, default_value = "ema", value_parser = PossibleValuesParser::new(model::Weights::NAMES))]
        weights: String,
        /// Name of the average to write from a run with several, such as `0.999`.
        #[arg(long, conflicts_with = "weights", value_name = "NAME")]
        average: Option<String>,
    },
    /// Convert weights that another program wrote as .pt, .pth or .safetensors into a model file.
    Import {
        /// The weights; nothing in the file is executed.
        file: PathBuf,
        /// The safetensors file to write, which `model::open` reads.
        out: PathBuf,
        /// Preset of the model.
        #[arg(long, default_value = "fashion_tiny")]
        preset: String,
        /// Differences from the preset, as JSON: `{"depth": 4}`; corrections as `show` prints them.
        #[arg(long, default_value = "{}", value_name = "JSON")]
        options: String,
        /// Prefix of the names in the file, such as `ema.`.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Tensors of the file to leave out, such as `projectors.*`, without the prefix; may be given several times.
        #[arg(long, value_name = "GLOB")]
        ignore: Vec<String>,
        /// Accept a file that lacks parameters of the model, which keep their initial values.
        #[arg(long)]
        partial: bool,
    },
}

/// Runs the command and returns the exit code.
pub fn checkpoint(command: &Command) -> u8 {
    crate::torch::start();
    let done = match command {
        Command::Show { file, tensors, json } => show(file, *tensors, *json).map(|()| 0),
        Command::Diff { a, b, tensors } => diff(a, b, *tensors),
        Command::Export { file, out, weights, average } => {
            export(file, out, weights, average.as_deref()).map(|()| 0)
        }
        Command::Import { file, out, preset, options, prefix, ignore, partial } => {
            let load = LoadOptions {
                prefix: prefix.clone(),
                ignore: OneOrMany(ignore.clone()),
                partial: *partial,
                ..LoadOptions::default()
            };
            import(file, out, preset, options, &load).map(|()| 0)
        }
    };
    done.unwrap_or_else(terminal::fail)
}

/// Tensors and facts of a file of any supported format.
struct Content {
    checkpoint: Option<Checkpoint>,
    tensors: BTreeMap<String, Tensor>,
    facts: Map,
}

/// Prints a note, such as which parts of a file were skipped.
fn tell(note: &str) {
    eprintln!("note: {note}");
}

fn read(path: &Path) -> Result<Content> {
    folder::refuse(path)?;
    let loaded = load_named(path, Device::Cpu)?;
    loaded.notes.iter().for_each(|note| tell(&format!("{}: {note}", path.display())));
    if loaded.metadata.contains_key("format") {
        let saved = Checkpoint::parse(path, loaded)?;
        let mut facts = saved.state.clone();
        facts.insert("spectral".to_string(), Value::Str(saved.version.clone()));
        if let Some(config) = &saved.config {
            facts.insert("model".to_string(), Value::from_json(&config.to_json()?)?);
        }
        return Ok(Content { tensors: saved.tensors.clone(), checkpoint: Some(saved), facts });
    }
    let Loaded { tensors, metadata, .. } = loaded;
    // Metadata of files that are not checkpoints is often JSON.
    let value = |text: String| Value::from_json_text(&text).unwrap_or(Value::Str(text));
    let facts = metadata.into_iter().map(|(name, text)| (name, value(text))).collect();
    Ok(Content { checkpoint: None, tensors, facts })
}

/// Returns the part of a name before its first dot; a file of plain weights is one part.
fn part<'a>(content: &Content, name: &'a str) -> &'a str {
    match &content.checkpoint {
        Some(_) => name.split('.').next().unwrap_or(name),
        None => "weights",
    }
}

fn show(path: &Path, tensors: bool, as_json: bool) -> Result<()> {
    if path.is_dir() {
        return folder::show(path, as_json);
    }
    let content = read(path)?;
    if as_json {
        let list: BTreeMap<&String, Json> = content
            .tensors
            .iter()
            .map(|(name, t)| (name, json!({ "shape": t.shape(), "dtype": t.dtype().name() })))
            .collect();
        let facts = Value::Map(content.facts).to_json().unwrap_or_default();
        let all = json!({ "file": path.display().to_string(), "facts": facts, "tensors": list });
        terminal::out(&serde_json::to_string_pretty(&all).unwrap_or_default());
        return Ok(());
    }
    let mut out = format!("{}\n", path.display());
    for (name, value) in &content.facts {
        fact(&mut out, name, value, 0);
    }
    let mut parts: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
    for (name, tensor) in &content.tensors {
        let entry = parts.entry(part(&content, name)).or_default();
        *entry = (entry.0 + 1, entry.1 + tensor.count() as u64, entry.2 + tensor.bytes());
    }
    let _ = writeln!(out, "  tensors");
    for (name, (count, numbers, bytes)) in parts {
        let numbers = text::grouped(numbers as i64);
        let _ =
            writeln!(out, "    {name:<12} {count} tensors, {numbers} numbers, {:.1} MB", bytes as f64 / 1e6);
    }
    if tensors {
        for (name, tensor) in &content.tensors {
            let _ = writeln!(out, "    {name}  {}", tensor.signature());
        }
    }
    terminal::out(out.trim_end());
    Ok(())
}

/// Writes a fact and its nested facts, one per line.
fn fact(out: &mut String, name: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth + 1);
    match value {
        Value::Map(map) if map.contains_key("pieces") => code(out, name, map, &indent),
        Value::List(list) if matches!(list.first(), Some(Value::Map(_))) => {
            let _ = writeln!(out, "{indent}{name}");
            list.iter().enumerate().for_each(|(i, value)| fact(out, &i.to_string(), value, depth + 1));
        }
        Value::Map(map) if !map.is_empty() => {
            let _ = writeln!(out, "{indent}{name}");
            map.iter().for_each(|(name, value)| fact(out, name, value, depth + 1));
        }
        value => {
            let shown = value.to_json().map_or_else(String::new, |json| json.to_string());
            let _ = writeln!(out, "{indent}{name:<18} {shown}");
        }
    }
}

/// Writes a function stored in the file: its text, the script lines it came from, and what it captured.
fn code(out: &mut String, name: &str, map: &Map, indent: &str) {
    let text = |name: &str| match map.get(name) {
        Some(Value::Str(text)) => plain(text),
        _ => String::new(),
    };
    let list = |name: &str| match map.get(name) {
        Some(Value::List(list)) => list.clone(),
        _ => Vec::new(),
    };
    let _ = match map.contains_key("function") {
        true => writeln!(out, "{indent}{name:<18} {} of {}", text("function"), text("file")),
        false => writeln!(out, "{indent}{name} {}", text("file")),
    };
    for (piece, line) in list("pieces").iter().zip(list("lines")) {
        let (Value::Str(piece), Value::Int(line)) = (piece, line) else { continue };
        for (i, text) in plain(piece).lines().enumerate() {
            let _ = writeln!(out, "{indent}  {:>5} | {text}", line.saturating_add(i as i64));
        }
    }
    for (name, held) in list("names").iter().zip(list("captured")) {
        if let Value::Str(name) = name {
            value(out, name, &held, indent);
        }
    }
    for part in ["constants", "variables"] {
        let Some(Value::Map(values)) = map.get(part) else { continue };
        values.iter().for_each(|(name, held)| value(out, name, held, indent));
    }
    for library in list("libraries") {
        if let Value::Map(library) = library {
            code(out, "imported", &library, &format!("{indent}  "));
        }
    }
}

/// Writes a value that code holds, which may be code too.
fn value(out: &mut String, name: &str, held: &Value, indent: &str) {
    if let Value::Map(map) = held
        && let (1, Some(Value::Map(inner))) = (map.len(), map.get("code"))
    {
        return code(out, &plain(name), inner, &format!("{indent}  "));
    }
    if holds_code(held) {
        return fact(out, &plain(name), held, indent.len() / 2);
    }
    if let Some(held) = held.to_json() {
        let _ = writeln!(out, "{indent}  {:>5} = {held}", plain(name));
    }
}

fn holds_code(value: &Value) -> bool {
    match value {
        Value::Map(map) => map.contains_key("pieces") || map.values().any(holds_code),
        Value::List(list) => list.iter().any(holds_code),
        _ => false,
    }
}

/// Returns text of a file with control characters escaped, so that the terminal does not interpret them.
fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "\n".to_string(),
        '\t' => "    ".to_string(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// A fact that is compared: JSON, or the text of code.
#[derive(PartialEq)]
enum Fact {
    Json(String),
    Code(String),
}

/// Collects facts with their paths, `values.step`. Code is one fact, and lists of code have one for each entry.
fn flat(path: &str, value: &Value, all: &mut BTreeMap<String, Fact>) {
    match value {
        Value::Map(map) if map.contains_key("pieces") => {
            let mut text = String::new();
            code(&mut text, "", map, "");
            all.insert(path.to_string(), Fact::Code(text.trim_start().to_string()));
        }
        Value::Map(map) if !map.is_empty() => {
            map.iter().for_each(|(name, value)| flat(&format!("{path}.{name}"), value, all));
        }
        Value::List(list) if holds_code(value) => {
            list.iter().enumerate().for_each(|(i, value)| flat(&format!("{path}[{i}]"), value, all));
        }
        other => {
            let json = other.to_json().map_or_else(String::new, |json| json.to_string());
            all.insert(path.to_string(), Fact::Json(json));
        }
    }
}

/// Describes how a fact differs.
fn changed(name: &str, one: Option<&Fact>, two: Option<&Fact>) -> String {
    let shown = |fact: Option<&Fact>| match fact {
        Some(Fact::Json(json)) => json.clone(),
        Some(Fact::Code(_)) => "code".to_string(),
        None => "not there".to_string(),
    };
    let lines = |fact: Option<&Fact>| match fact {
        Some(Fact::Code(text)) => Line::all(text),
        _ => Vec::new(),
    };
    match (one, two) {
        (Some(Fact::Code(_)), Some(Fact::Code(_))) => {
            let lines = lines::changed(&lines(one), &lines(two));
            let lines = if lines.is_empty() {
                "  the same text in other lines of the script\n".to_string()
            } else {
                lines
            };
            format!("{name}:\n{lines}")
        }
        _ => {
            let only = lines::changed(&lines(one), &lines(two));
            format!("{name}: {} | {}\n{only}", shown(one), shown(two))
        }
    }
}

/// Facts of a run that are not part of its result.
const APART: [&str; 5] = [
    "values.seconds",
    "values.settings.out",
    "values.settings.tensorboard",
    "values.events.file",
    "values.events.size",
];

/// Part of a checkpoint with the states of random generators.
const RANDOM: &str = "random";

/// Tensor with the rows of a run's log, whose last column has times.
const HISTORY: &str = "run.history";

fn diff(a: &Path, b: &Path, tensors: bool) -> Result<u8> {
    let mut contents = [read(a)?, read(b)?];
    let (mut out, mut apart) = (String::new(), false);
    let [one, two] = &mut contents;
    if let (Some(x), Some(y)) = (one.tensors.get_mut(HISTORY), two.tensors.get_mut(HISTORY))
        && x.shape() == y.shape()
        && x.rank() == 2
        && x.size(1)? == 5
    {
        apart = x.to_bytes()? != y.to_bytes()?;
        [*x, *y] = [x.narrow(1, 0, 4)?.contiguous()?, y.narrow(1, 0, 4)?.contiguous()?];
    }
    let facts = contents.each_ref().map(|content| {
        let mut all = BTreeMap::new();
        content.facts.iter().for_each(|(name, value)| flat(name, value, &mut all));
        all
    });
    for name in facts.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>() {
        let [one, two] = facts.each_ref().map(|facts| facts.get(name));
        if one != two && APART.contains(&name.as_str()) {
            apart = true;
        } else if one != two {
            out.push_str(&changed(name, one, two));
        }
    }
    let [one, two] = &contents;
    let mut parts: BTreeMap<&str, Vec<(f64, &str, String)>> = BTreeMap::new();
    for name in one.tensors.keys().chain(two.tensors.keys()).collect::<BTreeSet<_>>() {
        let (size, words) = match (one.tensors.get(name), two.tensors.get(name)) {
            (Some(x), Some(y)) if x.shape() != y.shape() || x.dtype() != y.dtype() => {
                (f64::INFINITY, format!("{} | {}", x.signature(), y.signature()))
            }
            (Some(x), Some(y)) => match x.to_bytes()? == y.to_bytes()? {
                true => continue,
                // Its bytes are not numbers that could be near.
                false if part(one, name) == RANDOM => (0.0, "another state of the generator".to_string()),
                false => distance(x, y)?,
            },
            (Some(x), None) => (f64::INFINITY, format!("{} | not there", x.signature())),
            (_, y) => {
                (f64::INFINITY, format!("not there | {}", y.map(Tensor::signature).unwrap_or_default()))
            }
        };
        parts.entry(part(one, name)).or_default().push((size, name, words));
    }
    for (part, found) in parts {
        let all: BTreeSet<&String> = one.tensors.keys().chain(two.tensors.keys()).collect();
        let total = all.into_iter().filter(|name| self::part(one, name) == part).count();
        let largest = found.iter().max_by(|x, y| x.0.total_cmp(&y.0));
        let most = largest.map(|(_, name, words)| format!("; {name}: {words}")).unwrap_or_default();
        let things = if part == RANDOM { "states of random generators" } else { "tensors" };
        let _ = writeln!(out, "{part}: {} of {total} {things} differ{most}", found.len());
        if tensors {
            for (_, name, words) in &found {
                let _ = writeln!(out, "  {name}: {words}");
            }
        }
    }
    let equal = out.is_empty();
    terminal::out(match (equal, apart) {
        (true, false) => "no difference",
        (true, true) => "no difference, apart from times and the folder of the run",
        (false, _) => out.trim_end(),
    });
    Ok(u8::from(!equal))
}

/// Returns the largest difference between two tensors, and a description of it.
fn distance(x: &Tensor, y: &Tensor) -> Result<(f64, String)> {
    let [x, y] = [x.to_dtype(DType::Float64)?, y.to_dtype(DType::Float64)?];
    let largest = x.sub(&y)?.abs()?.amax(&[], false)?.item()?;
    let scale = x.abs()?.amax(&[], false)?.item()?;
    Ok((largest, format!("at most {largest:.3e} apart, where the largest is {scale:.3e}")))
}

/// Fails if both paths are one file, which would be lost.
fn refuse_overwriting(file: &Path, out: &Path) -> Result<()> {
    match (file.canonicalize(), out.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => {
            Err(Error::file(out, "the file would overwrite the one that is read").hint("name another file"))
        }
        _ => Ok(()),
    }
}

fn export(file: &Path, out: &Path, weights: &str, average: Option<&str>) -> Result<()> {
    folder::refuse(file)?;
    refuse_overwriting(file, out)?;
    let saved = Checkpoint::read(file)?;
    let part = match average {
        Some(name) => model::part_of_average(Value::Map(saved.state.clone()).to_json().as_ref(), name)
            .map_err(|e| e.in_file(file))?,
        None => part_of(&saved, file, weights)?,
    };
    let Some(config) = &saved.config else {
        return Err(Error::file(file, "the checkpoint does not say what its model is made of"));
    };
    // The file is not opened as a model, so that stored code does not run.
    let texts = BTreeMap::from([(model::weights::CONFIG.to_string(), config.to_json()?.to_string())]);
    let mut tensors = saved.of(&part);
    if !config.calls_code() {
        tensors.extend(model::Model::outline(config.clone())?.stored_tables());
    }
    save_safetensors(out, &tensors, &texts)
}

/// Returns the part of a checkpoint that holds the given weights.
fn part_of(saved: &Checkpoint, file: &Path, weights: &str) -> Result<String> {
    let there: Vec<String> =
        saved.parts().into_iter().filter(|p| model::Weights::NAMES.contains(&p.as_str())).collect();
    if !there.iter().any(|part| part == weights) {
        return Err(Error::file(file, format!("the checkpoint has no weights called `{weights}`")).hint(
            match there.first() {
                Some(other) => format!("it has those of `{other}`: use --weights {other}"),
                None => "it has no model".to_string(),
            },
        ));
    }
    Ok(weights.to_string())
}

fn import(file: &Path, out: &Path, preset: &str, options: &str, load: &LoadOptions) -> Result<()> {
    folder::refuse(file)?;
    refuse_overwriting(file, out)?;
    let json =
        serde_json::from_str(options).map_err(|e| Error::usage(format!("--options is not JSON: {e}")))?;
    let Value::Map(mut map) = Value::from_json(&json)? else {
        return Err(Error::usage("--options must be an object such as {\"depth\": 4}"));
    };
    map.entry("preset".to_string()).or_insert_with(|| Value::Str(preset.to_string()));
    if let Some(Value::List(corrections)) = map.get_mut("corrections") {
        for correction in corrections {
            let restored =
                Correction::from_data(correction).map_err(|e| e.context("--options: `corrections`"))?;
            *correction = restored.into_value();
        }
    }
    let DitOptions { config, seed, .. } = DitOptions::from_map(&map)?;
    // What is not loaded has the initial values of a new model.
    let model = model::Model::new(config, seed, Device::Cpu)?;
    model.load(file, load).map_err(for_a_shell)?.iter().for_each(|note| tell(note));
    model.save(out)
}

/// Writes the options of `model.load` in a hint as those of the command line.
fn for_a_shell(error: Error) -> Error {
    let Some((advice, map)) = error.hint_text().and_then(|hint| hint.rsplit_once("#{ ")) else {
        return error;
    };
    let Some((name, values)) = map.trim_end_matches(" }").split_once(": ") else { return error };
    if name == "partial" {
        let hint = format!("{advice}--partial");
        return error.hint(hint);
    }
    if !["prefix", "ignore"].contains(&name) {
        return error;
    }
    let values = values.trim_matches(['[', ']']).split(", ");
    let options: Vec<String> = values.map(|value| format!("--{name} {}", value.replace('"', "'"))).collect();
    let hint = format!("{advice}{}", options.join(" "));
    error.hint(hint)
}
