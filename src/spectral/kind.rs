//! Common interface of filters and gates: a name, options, and a stored form of both.

use crate::declare::{Map, Options, Value};
use crate::error::{Error, Result};

/// A kind of filter or gate: its options and its name in scripts and files.
pub trait Kind: Options {
    /// Name of its constructor, such as `gaussian`.
    const NAME: &'static str;
}

/// Returns the data from which a filter or gate can be rebuilt: `#{ kind: "gaussian", options: #{ sigma: 1.5 } }`.
pub fn stored(name: &str, options: Map) -> Value {
    Value::Map(Map::from([
        ("kind".to_string(), Value::Str(name.to_string())),
        ("options".to_string(), Value::Map(options)),
    ]))
}

/// Reads the output of [`stored`]: the name and the options, which hand-written data may leave out.
pub fn read_stored(what: &str, data: &Value) -> Result<(String, Map)> {
    let Value::Map(map) = data else {
        return Err(data.mismatch(&format!("a stored {what}")));
    };
    match (map.get("kind"), map.get("options")) {
        (Some(Value::Str(kind)), Some(Value::Map(options))) => Ok((kind.clone(), options.clone())),
        (Some(Value::Str(kind)), None) => Ok((kind.clone(), Map::new())),
        _ => Err(Error::argument(format!("a stored {what} has a `kind` and `options`, found {data:?}"))),
    }
}

/// Returns the error for a name that matches no kind.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    Error::argument(format!("there is no {what} called \"{name}\"")).did_you_mean(name, known.iter().copied())
}

/// Declares every filter or every gate: its module, its constructor for Rust users, and its options.
macro_rules! kinds {
    ($what:literal, $object:ident: $($name:ident: $options:ident),* $(,)?) => {
        $(
            mod $name;
            pub use self::$name::{$name, $options};

            impl $crate::spectral::kind::Kind for $options {
                const NAME: &'static str = $crate::declare::function::plain(stringify!($name));
            }
        )*

        #[doc = concat!("Names of all ", $what, "s.")]
        pub const NAMES: &[&str] = &[$(<$options as $crate::spectral::kind::Kind>::NAME),*];

        #[doc = concat!("Returns the script constructors of all ", $what, "s.")]
        pub fn declarations() -> Vec<&'static $crate::declare::Declaration> {
            [$($name::declarations()),*].into_iter().flatten().collect()
        }

        fn restore(name: &str, options: &$crate::declare::Map) -> $crate::error::Result<$object> {
            $(
                if name == <$options as $crate::spectral::kind::Kind>::NAME {
                    return $object::new(<$options as $crate::declare::Options>::from_map(options)?);
                }
            )*
            Err($crate::spectral::kind::unknown($what, name, NAMES))
        }
    };
}
pub(super) use kinds;
