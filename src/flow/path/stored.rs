//! Paths from stored data, such as that of a checkpoint.

use super::{Path, PathOptions, Times};
use crate::context::Context;
use crate::declare::{Field, FromValue, Function, Map, Options, Value};
use crate::error::{Error, Result};
use crate::flow::Timesteps;
use crate::flow::timesteps::NAMES;
use crate::spectral::kind::read_stored;

/// Argument of `flow::path`: options, or a path as stored by a run or a checkpoint.
#[derive(Debug)]
pub enum Given {
    /// Options.
    Options(Box<PathOptions>),
    /// A stored path.
    Stored(Value),
}

impl Given {
    /// Returns the path, with stored code compiled.
    pub fn path(self, context: &Context) -> Result<Path> {
        match self {
            Given::Options(options) => Path::new(*options),
            Given::Stored(data) => Path::from_data(&data, context),
        }
    }
}

impl Path {
    /// Restores a path from the output of [`Path::to_data`]. A function that was not stored is an error that names
    /// it.
    pub fn from_data(data: &Value, context: &Context) -> Result<Self> {
        let (name, mut options) = read_stored("path", data)?;
        crate::ensure!(name == "path", "expected a stored path, found a stored {name}");
        for part in ["noise", "mix", "times", "alpha", "sigma"] {
            let Some(stored) = options.get(part) else { continue };
            let value = read(part, stored, context)?;
            options.insert(part.to_string(), value);
        }
        Self::new(PathOptions::from_map(&options)?)
    }
}

fn read(part: &str, stored: &Value, context: &Context) -> Result<Value> {
    let sampler =
        |map: &Map| matches!(map.get("kind"), Some(Value::Str(kind)) if NAMES.contains(&kind.as_str()));
    match stored {
        Value::Unit => {
            Err(Error::argument(format!("`{part}` of the path was a function that could not be stored"))
                .hint("make the path again with `flow::path` and the function"))
        }
        Value::Map(map) if part == "times" && sampler(map) => {
            Ok(crate::declare::IntoValue::into_value(Times::Sampler(Timesteps::from_data(stored)?)))
        }
        code => Function::of_code(code, context)
            .map(Value::Function)
            .map_err(|e| e.context(format!("`{part}` of the path"))),
    }
}

/// From options, or `()` for their defaults.
impl<T: Into<PathOptions>> From<T> for Given {
    fn from(options: T) -> Self {
        Given::Options(Box::new(options.into()))
    }
}

impl FromValue for Given {
    fn label() -> String {
        "map".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Map(map) if map.contains_key("kind") => Ok(Given::Stored(value.clone())),
            other => PathOptions::from_value(other).map(|options| Given::Options(Box::new(options))),
        }
    }
    fn missing() -> Option<Result<Self>> {
        PathOptions::missing().map(|options| options.map(|options| Given::Options(Box::new(options))))
    }
    fn fields() -> &'static [Field] {
        PathOptions::FIELDS
    }
}
