//! Parts: user-defined modules at named places of a DiT.
//!
//! - here: [`Part`], a module and its place; a value that is printed, compared and stored
//! - [`place`]: the places; [`blocks`]: the selection of blocks
//! - [`call`]: what a part can read when it is called
//! - `built`: a part built into a model, with its parameters; `weight`: those that change weights
//! - `module`: a module of a block, the parts around it, or the part that replaces it
//! - `api`: the declared functions

pub(crate) mod api;
pub mod blocks;
pub(super) mod built;
pub mod call;
pub(crate) mod coefficients;
pub(super) mod module;
pub mod place;
pub(crate) mod weight;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use api::space::*;
pub use api::{AtOptions, PartOptions};
pub use blocks::Blocks;
pub use call::{Call, Kept, Pass, Rows};
pub use place::Place;

use crate::context::Context;
use crate::declare::{Code, Display, FromValue, Function, IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::nn::shared_builder::Facts;
use crate::nn::{Builder, SharedBuilder};
use crate::spectral::Correction;
use crate::{ensure, scripted};

/// Implementation of a part.
#[derive(Clone)]
pub(super) enum Body {
    /// Function that builds its parameters and returns the function called in every forward pass.
    Code(Code),
    /// Native correction.
    Correction(Correction),
}

/// A module and its place in a model; a value that is printed, compared and stored.
#[derive(Clone)]
pub struct Part(Arc<Spec>);

#[derive(Clone)]
struct Spec {
    body: Body,
    name: Option<String>,
    place: Option<Place>,
    blocks: Blocks,
    /// Patterns of the names of weights, for a part at `weight`.
    names: Vec<String>,
    /// Operations for one image in one block, if the part states them.
    flops: Option<f64>,
    plain: bool,
    /// Whether it stands for the module at its place.
    replaces: bool,
}

scripted!(
    Part,
    "part",
    |p| Display::text(p.to_string()),
    describe = |p| ("the", p.to_string()),
    data = |p| Some(p.to_data()),
    restore = Part::from_data,
);

impl Part {
    /// Creates a part from code, without a place.
    pub fn of_code(code: Code, options: &PartOptions) -> Result<Self> {
        let name = Some(options.name.clone()).filter(|name| !name.is_empty());
        name.as_deref().map(check_name).transpose()?;
        let PartOptions { flops, plain, replaces, .. } = *options;
        if plain && replaces {
            return Err(Error::argument("a part that replaces a module cannot start as the plain DiT")
                .hint("give either `plain` or `replaces`"));
        }
        Ok(Self(Arc::new(Spec {
            body: Body::Code(code),
            name,
            place: None,
            blocks: Blocks::All,
            names: Vec::new(),
            flops,
            plain,
            replaces,
        })))
    }

    /// Creates a part from a correction, at `mlp` in every block unless moved with [`Part::at`].
    pub fn of_correction(correction: &Correction) -> Self {
        let body = Body::Correction(correction.clone());
        let place = Some(Place::Mlp);
        let names = Vec::new();
        Self(Arc::new(Spec {
            body,
            name: None,
            place,
            blocks: Blocks::All,
            names,
            flops: None,
            plain: false,
            replaces: false,
        }))
    }

    /// Returns the part at a place, in all blocks or some.
    pub fn at(&self, place: Place, blocks: Option<Blocks>) -> Result<Self> {
        if blocks.is_some() && !place.in_blocks() {
            return Err(Error::argument(format!(
                "the place `{place}` is not in blocks, and takes no `blocks`"
            ))
            .hint("leave `blocks` out"));
        }
        if matches!(self.0.body, Body::Correction(_)) && !place.on_grid() {
            let fitting = place::PLACES.into_iter().filter(|p| p.on_grid()).map(|p| p.about().name);
            return Err(Error::argument(format!(
                "a correction filters a grid, but the value at `{place}` is not on a grid"
            ))
            .hint(format!("place corrections at {}", crate::error::list(&fitting.collect::<Vec<_>>()))));
        }
        if self.0.replaces {
            place.check_replaced()?;
        }
        let names = match (place, &self.0.names[..]) {
            (Place::Weight, []) => vec!["*".to_string()],
            (Place::Weight, names) => names.to_vec(),
            _ => Vec::new(),
        };
        let spec =
            Spec { place: Some(place), blocks: blocks.unwrap_or_default(), names, ..(*self.0).clone() };
        Ok(Self(Arc::new(spec)))
    }

    /// Returns a part at `weight` that changes only the weights whose names match one of the patterns.
    pub fn of_names(&self, patterns: &[String]) -> Result<Self> {
        if !self.changes_weights() {
            let place = self.place()?;
            return Err(Error::argument(format!("the place `{place}` takes no `names`"))
                .hint("`names` select weights: `.at(\"weight\", #{ names: \"*.attn.*\" })`"));
        }
        ensure!(!patterns.is_empty(), "`names` must have at least one pattern, found none");
        Ok(Self(Arc::new(Spec { names: patterns.to_vec(), ..(*self.0).clone() })))
    }

    /// Returns the part under another name, as a model needs that has it at several places.
    pub fn named(&self, name: &str) -> Result<Self> {
        check_name(name)?;
        if matches!(self.0.body, Body::Correction(_)) {
            return Err(Error::argument("a correction has no name").hint("leave `name` out"));
        }
        Ok(Self(Arc::new(Spec { name: Some(name.to_string()), ..(*self.0).clone() })))
    }

    /// Returns its place, or an error if it has none.
    pub fn place(&self) -> Result<Place> {
        self.0.place.ok_or_else(|| {
            Error::argument(format!("the {self} has no place")).hint(format!(
                "say where it stands, as in `part.at(\"attn\")`; places are {}",
                crate::error::list(&place::NAMES)
            ))
        })
    }

    /// Returns the blocks that have the part, for places in blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    /// Returns whether it changes weights, at the place `weight`.
    pub fn changes_weights(&self) -> bool {
        self.0.place == Some(Place::Weight)
    }

    /// Returns the patterns of the names of the weights that it changes; nothing at other places.
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Returns its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Returns whether it is declared to change nothing before it is trained.
    pub fn plain(&self) -> bool {
        self.0.plain
    }

    /// Returns whether it stands for the module at its place, without which the model is built.
    pub fn replaces(&self) -> bool {
        self.0.replaces
    }

    /// Returns its stated operations for one image in one block, or for one weight, if any.
    pub fn flops(&self) -> Option<f64> {
        self.0.flops
    }

    /// Builds its parameters outside of a model and returns the function that runs it.
    ///
    /// `facts` describe the model that it is used with.
    pub fn alone(&self, builder: &mut Builder, facts: &Facts) -> Result<Function> {
        match &self.0.body {
            Body::Code(code) => SharedBuilder::lend(builder, facts.clone(), |shared| {
                built::make(code.function()?, shared, &[])
            })
            .map_err(|e| e.context(format!("the {self}"))),
            Body::Correction(_) => {
                Err(Error::argument(format!("the {self} cannot be used outside of a model"))
                    .hint("`nn::part(|b| ..)` creates parts with their own parameters"))
            }
        }
    }

    pub(super) fn body(&self) -> &Body {
        &self.0.body
    }

    /// Returns the correction, if the part is one.
    pub fn correction(&self) -> Option<&Correction> {
        match &self.0.body {
            Body::Correction(correction) => Some(correction),
            Body::Code(_) => None,
        }
    }

    /// Returns whether it calls user code in every forward pass.
    pub fn calls_code(&self) -> bool {
        match &self.0.body {
            Body::Code(_) => true,
            Body::Correction(correction) => correction.calls_code(),
        }
    }

    /// Returns its name and place for messages, without its code.
    pub fn title(&self) -> String {
        let name = self.0.name.as_ref().map_or_else(|| "part".to_string(), |name| format!("part `{name}`"));
        self.0.place.map_or_else(|| name.clone(), |place| format!("{name} at {place}"))
    }

    /// Returns the user code that it calls, by its place in a correction; that of a part itself has no place.
    pub fn code(&self) -> Vec<(String, &Code)> {
        match &self.0.body {
            Body::Code(code) => vec![(String::new(), code)],
            Body::Correction(correction) => correction.code(),
        }
    }

    /// Returns why it cannot be stored with a model, or `None` if it can.
    pub fn not_stored(&self) -> Option<Error> {
        match &self.0.body {
            Body::Code(code) => code.to_data().err(),
            Body::Correction(correction) => {
                correction.code().into_iter().find_map(|(_, code)| code.to_data().err())
            }
        }
    }

    /// Returns why its code cannot be compared with that of another run, or `None` if it can.
    pub fn not_compared(&self) -> Option<Error> {
        match &self.0.body {
            Body::Code(code) => code.to_compared().err(),
            Body::Correction(correction) => {
                correction.code().into_iter().find_map(|(_, code)| code.to_compared().err())
            }
        }
    }

    /// As [`Part::to_data`], with its code, or that of its gate and filters, as [`Code::to_compared`] returns it.
    pub fn to_compared(&self) -> Value {
        let mut data = self.to_data();
        let all = match &self.0.body {
            Body::Code(code) => vec![("code".to_string(), code)],
            Body::Correction(correction) => correction.code(),
        };
        if let Value::Map(map) = &mut data {
            map.extend(all.into_iter().filter_map(|(name, code)| Some((name, code.to_compared().ok()?))));
        }
        data
    }

    /// Returns a copy with its code compiled if it was read from a file.
    pub fn compiled(&self, context: &Context) -> Result<Self> {
        let body = match &self.0.body {
            Body::Code(code) => code.compiled(context).map(Body::Code),
            Body::Correction(correction) => correction.compiled(context).map(Body::Correction),
        };
        let body = body.map_err(|e| e.context(format!("the {self}")))?;
        Ok(Self(Arc::new(Spec { body, ..(*self.0).clone() })))
    }

    /// Returns all of its settings as data; code that cannot be stored becomes `()`.
    pub fn to_data(&self) -> Value {
        let body = match &self.0.body {
            Body::Code(code) => ("code", code.to_data().unwrap_or(Value::Unit)),
            Body::Correction(correction) => ("correction", correction.to_data()),
        };
        let blocks = match &self.0.blocks {
            // JSON would turn a range into an array.
            Blocks::Range(from, to) => {
                let ends = [("from".to_string(), Value::Int(*from)), ("to".to_string(), Value::Int(*to))];
                Value::Map(Map::from(ends))
            }
            other => other.clone().into_value(),
        };
        let mut map = Map::from([
            (body.0.to_string(), body.1),
            ("name".to_string(), self.0.name.clone().map_or(Value::Unit, Value::Str)),
            ("place".to_string(), self.0.place.map_or(Value::Unit, |p| Value::Str(p.to_string()))),
            ("blocks".to_string(), blocks),
        ]);
        if self.changes_weights() {
            map.insert("names".to_string(), self.0.names.clone().into_value());
        }
        if let Some(flops) = self.0.flops {
            map.insert("flops".to_string(), Value::Float(flops));
        }
        if self.0.plain {
            map.insert("plain".to_string(), Value::Bool(true));
        }
        if self.0.replaces {
            map.insert("replaces".to_string(), Value::Bool(true));
        }
        Value::Map(map)
    }

    /// Restores a part from the output of [`Part::to_data`]; [`Part::compiled`] compiles its code.
    pub fn from_data(data: &Value) -> Result<Self> {
        let Value::Map(map) = data else { return Err(data.mismatch("a stored part")) };
        let body = match (map.get("correction"), map.get("code")) {
            (Some(correction), _) => Body::Correction(Correction::from_data(correction)?),
            (None, code) => Body::Code(Code::stored(code.cloned().unwrap_or(Value::Unit))),
        };
        let text = |name: &str| match map.get(name) {
            Some(Value::Str(text)) => Some(text.clone()),
            _ => None,
        };
        Ok(Self(Arc::new(Spec {
            body,
            name: text("name"),
            place: text("place").map(|p| Place::named(&p)).transpose()?,
            blocks: map.get("blocks").map(Blocks::from_value).transpose()?.unwrap_or_default(),
            names: map.get("names").map(Vec::from_value).transpose()?.unwrap_or_default(),
            flops: map.get("flops").map(f64::from_value).transpose()?,
            plain: matches!(map.get("plain"), Some(Value::Bool(true))),
            replaces: matches!(map.get("replaces"), Some(Value::Bool(true))),
        })))
    }
}

/// Returns an error unless the text can be a part's name.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ensure!(
        name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit()),
        "a part's name has letters, digits and `_` and starts with a letter, found {name:?}"
    );
    Ok(())
}

/// Returns an error if two parts have one name, one has no place, or one is in blocks that the model does not have.
pub(super) fn check(parts: &[Part], depth: i64) -> Result<()> {
    for (i, part) in parts.iter().enumerate() {
        if part.place()?.in_blocks() {
            part.blocks().of(depth).map_err(|e| e.context(format!("the {part}")))?;
        }
        if let Some(name) = part.name()
            && parts[..i].iter().any(|other| other.name() == Some(name))
        {
            return Err(Error::argument(format!("two parts are called `{name}`"))
                .hint("give one of them another name: `.at(place, #{ name: \"..\" })`, or where it is made, `#{ name: \"..\" }`"));
        }
    }
    module::check(parts, depth)?;
    built::spans(parts, depth).map(drop)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.body {
            Body::Correction(correction) => write!(f, "{correction}")?,
            Body::Code(code) => match self.name() {
                Some(name) => write!(f, "part `{name}`, {code}")?,
                None => write!(f, "part, {code}")?,
            },
        }
        let Some(place) = self.0.place else { return Ok(()) };
        write!(f, " {} {place}", if self.0.replaces { "replaces" } else { "at" })?;
        if self.changes_weights() {
            write!(f, " of {}", self.0.names.join(", "))?;
        }
        match place.in_blocks() && self.0.blocks != Blocks::All {
            true => write!(f, " in blocks {:?}", self.0.blocks.clone().into_value()),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parts are equal if all of their settings are; code that is not stored is equal only to itself.
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        let code = match (&self.0.body, &other.0.body) {
            (Body::Code(a), Body::Code(b)) => a == b,
            _ => true,
        };
        code && format!("{:?}", self.to_data()) == format!("{:?}", other.to_data())
    }
}
