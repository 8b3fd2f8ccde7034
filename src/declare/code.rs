//! User function that is called when a model is built: live, or stored in a file.

use std::fmt;

use super::{Function, Value};
use crate::context::Context;
use crate::error::{Error, Result};

/// A function, or its stored form that is not compiled yet.
#[derive(Clone)]
pub enum Code {
    /// A function that can be called.
    Live(Function),
    /// Code from a file; `()` if the file has none.
    Stored(Value),
}

impl Code {
    /// Wraps code from a file.
    pub fn stored(data: Value) -> Self {
        Code::Stored(data)
    }

    /// Returns the stored form, or an error that says why there is none.
    pub fn to_data(&self) -> Result<Value> {
        match self {
            Code::Live(function) => function.to_data(),
            Code::Stored(data) => Ok(data.clone()),
        }
    }

    /// Returns what tells the code from other code, see [`Function::to_compared`].
    pub fn to_compared(&self) -> Result<Value> {
        match self {
            Code::Live(function) => function.to_compared(),
            Code::Stored(data) => Ok(data.clone()),
        }
    }

    /// Returns the function, or an error if it is not compiled.
    pub fn function(&self) -> Result<&Function> {
        match self {
            Code::Live(function) => Ok(function),
            Code::Stored(_) => Err(Error::argument("the code of this model is not compiled")
                .hint("open the file with `model::open`")),
        }
    }

    /// Compiles code from a file; returns a live function unchanged.
    pub fn compiled(&self, context: &Context) -> Result<Self> {
        match self {
            Code::Live(_) => Ok(self.clone()),
            Code::Stored(Value::Unit) => Err(Error::argument("its code was not stored")
                .hint("make the model as before, and read the weights with `model.load(FILE)`")),
            Code::Stored(data) => Function::of_code(data, context).map(Code::Live),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Formats the name and the file of the function.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.to_data().unwrap_or(Value::Unit);
        match &data {
            Value::Map(map) => match (map.get("function"), map.get("file")) {
                (Some(Value::Str(function)), Some(Value::Str(file))) => write!(f, "{function} of {file}"),
                _ => f.write_str("a function"),
            },
            _ => f.write_str("a function that is not stored"),
        }
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        if let (Code::Live(a), Code::Live(b)) = (self, other) {
            return a == b;
        }
        match (self.to_data(), other.to_data()) {
            (Ok(a), Ok(b)) => !matches!(a, Value::Unit) && a.to_json_text() == b.to_json_text(),
            _ => false,
        }
    }
}
