//! Differences between a model and the settings in a file of weights that no shape of a weight shows.

use super::design::Design;
use super::{Config, Model, PositionScaling};
use crate::declare::{Code, Map, Options, Value};
use crate::spectral::{Correction, Filter};
use crate::text::code::changed_line;

/// Options that change what a model computes and no shape of its weights.
const UNSEEN: [&str; 8] = [
    "corrections",
    "num_heads",
    "position",
    "rope_theta",
    "position_scaling",
    "position_base",
    "time_order",
    "time_scale",
];

/// The same of a custom network.
const UNSEEN_OF_CUSTOM: [&str; 1] = ["image_shape"];

impl Model {
    /// Describes which options of a stored configuration, and which code, differ from the model's, where the shapes of the
    /// weights are the same with either and the outputs are not.
    pub(super) fn differs_from(&self, stored: &str) -> Option<String> {
        let stored = Design::from_json(&serde_json::from_str(stored).ok()?).ok()?;
        let own = self.design();
        let (theirs, ours) = (options(&stored), options(own));
        let json = |options: &Map, name: &str| options.get(name).cloned().unwrap_or(Value::Unit).to_json();
        let of_kind: &[&str] = match (&stored, own) {
            (Design::Dit(_), Design::Dit(_)) => &UNSEEN,
            (Design::Custom(_), Design::Custom(_)) => &UNSEEN_OF_CUSTOM,
            _ => return None,
        };
        let options = of_kind.iter().filter_map(|name| {
            let (their, our) = (json(&theirs, name)?, json(&ours, name)?);
            (their != our).then(|| format!("`{name}` was {their} and is {our} here"))
        });
        let their_code = code(&stored);
        let code = code(own).into_iter().filter_map(|(name, our)| {
            let (_, their) = their_code.iter().find(|(other, _)| *other == name)?;
            changed(their, &our).map(|what| format!("the code of {name} differs: {what}"))
        });
        let differing: Vec<String> = options.chain(code).collect();
        (!differing.is_empty()).then(|| {
            format!(
                "the weights fit, but they were made for another model, so that the outputs differ: {}",
                differing.join(", ")
            )
        })
    }
}

/// Returns the options of a design as they are compared.
fn options(design: &Design) -> Map {
    match design {
        Design::Dit(config) => {
            let corrections: Vec<String> = config.corrections.iter().map(shown).collect();
            let base = config.position_base.unwrap_or(config.image_size);
            let scaled = config.position_scaling != PositionScaling::None;
            let mut options = Config { position_base: scaled.then_some(base), ..config.resolved() }.to_map();
            options.insert("corrections".to_string(), Value::Str(corrections.join(", ")));
            options
        }
        Design::Custom(custom) => custom.to_map(),
    }
}

/// Returns a correction as a script makes it, without code, which has a comparison of its own.
fn shown(correction: &Correction) -> String {
    let filter = |filter: &Filter| match filter.code() {
        Some(_) => format!("filter::{}", filter.name()),
        None => filter.to_string(),
    };
    let filters: Vec<String> = correction.filters.iter().map(filter).collect();
    let gate = match correction.gate.code() {
        Some(_) => format!("gate::{}", correction.gate.name()),
        None => correction.gate.to_string(),
    };
    match &filters[..] {
        [filter] => format!("correction({filter}, {gate})"),
        several => format!("correction([{}], {gate})", several.join(", ")),
    }
}

/// Returns the stored code of a design by what it is.
fn code(design: &Design) -> Vec<(String, Value)> {
    let data = |name: String, code: &Code| Some((name, code.to_data().ok()?));
    let own = match design {
        Design::Dit(config) => {
            let of = |(i, correction): (usize, &Correction)| -> Vec<_> {
                let place = |(place, code)| data(format!("`corrections[{i}].{place}`"), code);
                correction.code().into_iter().filter_map(place).collect()
            };
            config.corrections.iter().enumerate().flat_map(of).collect()
        }
        Design::Custom(custom) => {
            data("the network".to_string(), &custom.make).into_iter().collect::<Vec<_>>()
        }
    };
    let parts = design.parts().iter().enumerate().flat_map(|(i, part)| {
        let name = part.name().map_or_else(|| format!("parts[{i}]"), |name| format!("parts.{name}"));
        let place = move |(place, code): (String, &Code)| match place.as_str() {
            "" => data(format!("`{name}`"), code),
            place => data(format!("`{name}.{place}`"), code),
        };
        part.code().into_iter().filter_map(place).collect::<Vec<_>>()
    });
    own.into_iter().chain(parts).collect()
}

/// Describes how code differs: the first line, or else a number, word, switch or function that it captured.
fn changed(theirs: &Value, ours: &Value) -> Option<String> {
    let (Value::Map(old), Value::Map(new)) = (theirs, ours) else { return None };
    if let Some(line) = changed_line(old, new) {
        return Some(line);
    }
    let captured = |code: &Map| match (code.get("names"), code.get("captured")) {
        (Some(Value::List(names)), Some(Value::List(values))) => {
            names.iter().cloned().zip(values.iter().cloned()).collect()
        }
        _ => Vec::new(),
    };
    captured(old).into_iter().zip(captured(new)).find_map(|((key, was), (name, is))| {
        let simple = |value: &Value| {
            matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))
                .then(|| value.to_json_text())
                .flatten()
        };
        let (Value::Str(key), Value::Str(name)) = (key, name) else { return None };
        if let (Value::Map(a), Value::Map(b)) = (&was, &is)
            && let (Some(was), Some(is)) = (a.get("code"), b.get("code"))
        {
            return changed(was, is).filter(|_| key == name).map(|what| format!("in `{name}`, {what}"));
        }
        let (was, is) = (simple(&was)?, simple(&is)?);
        (key == name && was != is).then(|| format!("`{name}` was {was} and is {is}"))
    })
}
