//! Option maps as typed structs: names, types, defaults, ranges and documentation in one place.

use super::convert::FromValue;
use super::value::{Map, Value};
use crate::error::{Error, Result, list};

/// Constraint on the values of an option beyond its type.
#[derive(Debug, Clone, Copy)]
pub enum Allowed {
    /// Every value of the type.
    Any,
    /// Numbers from the first to the second, both included; arrays are checked entry by entry.
    Range(f64, f64),
    /// One of these strings.
    OneOf(&'static [&'static str]),
}

/// Allows numbers from `low` to `high`, both included.
pub const fn range(low: f64, high: f64) -> Allowed {
    Allowed::Range(low, high)
}

/// Allows numbers of at least `low`.
pub const fn at_least(low: f64) -> Allowed {
    Allowed::Range(low, f64::INFINITY)
}

/// Allows one of the given words.
pub const fn one_of(words: &'static [&'static str]) -> Allowed {
    Allowed::OneOf(words)
}

impl Allowed {
    /// Fails if the value of option `name` is not allowed.
    pub fn check(&self, name: &str, value: &Value) -> Result<()> {
        match (self, value) {
            (_, Value::List(list)) => list.iter().try_for_each(|v| self.check(name, v)),
            (Allowed::Range(low, high), Value::Int(_) | Value::Float(_)) => {
                let x = f64::from_value(value)?;
                if x >= *low && x <= *high {
                    return Ok(());
                }
                Err(Error::not_allowed(name, self.describe(), x))
            }
            (Allowed::OneOf(words), Value::Str(s)) if !words.contains(&s.as_str()) => {
                Err(Error::not_allowed(name, self.describe(), format_args!("\"{s}\""))
                    .did_you_mean(s, words.iter().copied()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the constraint in words, empty if there is none: `from 0 to 1`, `at least 1`, `one of ..`.
    pub fn describe(&self) -> String {
        match self {
            Allowed::Any => String::new(),
            Allowed::Range(low, high) if high.is_infinite() => format!("at least {low}"),
            Allowed::Range(low, high) => format!("from {low} to {high}"),
            Allowed::OneOf(words) => format!("one of {}", list(words)),
        }
    }
}

/// One declared option.
#[derive(Debug)]
pub struct Field {
    /// Key in the map.
    pub name: &'static str,
    /// Meaning, with units.
    pub doc: &'static str,
    /// Type name shown to users.
    pub label: fn() -> String,
    /// Default value.
    pub default: fn() -> Value,
    /// Permitted values.
    pub allowed: Allowed,
}

/// A struct declared with [`options!`](crate::options).
pub trait Options: Sized + Default {
    /// The declared options, in order of declaration.
    const FIELDS: &'static [Field];
    /// The documentation of the struct; for kinds (filters, gates, ..) also that of the script constructor.
    const DOC: &'static str;

    /// Reads a map; unknown names, wrong types and values out of range are errors.
    fn from_map(map: &Map) -> Result<Self>;

    /// Returns all options with their values.
    fn to_map(&self) -> Map;

    /// Checks the permitted values. Native functions call it first, so that Rust users get the same messages as
    /// scripts.
    fn check(&self) -> Result<()> {
        let map = self.to_map();
        Self::FIELDS.iter().try_for_each(|field| match map.get(field.name) {
            Some(value) => field.allowed.check(field.name, value),
            None => Ok(()),
        })
    }
}

/// Fails if the map has a key that is not among the fields.
pub fn refuse_unknown(map: &Map, fields: &[Field]) -> Result<()> {
    for key in map.keys() {
        if !fields.iter().any(|f| f.name == key) {
            let error = Error::unknown_option(key, fields.iter().map(|f| f.name));
            return Err(if fields.is_empty() { error.hint("it takes no options") } else { error });
        }
    }
    Ok(())
}

/// Declares option structs with documentation, defaults and permitted values.
///
/// ```
/// spectral::options! {
///     /// How a Gaussian blurs.
///     pub struct Blur {
///         /// Standard deviation, in tokens.
///         sigma: f64 = 1.0 => range(0.05, 32.0);
///         /// What happens at the edge.
///         edge: String = "replicate".to_string() => one_of(&["replicate", "periodic"]);
///     }
/// }
/// use spectral::declare::{Map, Options, Value};
/// let map = Map::from([("sigma".to_string(), Value::Int(2))]);
/// assert_eq!(Blur::from_map(&map).unwrap().sigma, 2.0);
/// assert!(Blur { sigma: 99.0, ..Blur::default() }.check().is_err());
/// ```
#[macro_export]
macro_rules! options {
    ($(
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:ident),+)])?
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident : $type:ty = $default:expr $(=> $allowed:expr)? ;
            )*
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone $($(, $derive)+)?)]
        #[allow(missing_docs, reason = "a field without documentation fails a test instead")]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::declare::Options for $name {
            const FIELDS: &'static [$crate::declare::Field] = {
                #[allow(unused_imports, reason = "not every option has a range")]
                use $crate::declare::{at_least, one_of, range};
                &[$(
                    $crate::declare::Field {
                        name: $crate::declare::function::plain(stringify!($field)),
                        doc: concat!($($field_doc, "\n"),*),
                        label: <$type as $crate::declare::FromValue>::label,
                        default: || {
                            let value: $type = $default;
                            $crate::declare::IntoValue::into_value(value)
                        },
                        allowed: $crate::options!(@allowed $($allowed)?),
                    },
                )*]
            };
            const DOC: &'static str = concat!($($doc, "\n"),*);

            fn from_map(map: &$crate::declare::Map) -> $crate::error::Result<Self> {
                $crate::declare::options::refuse_unknown(map, Self::FIELDS)?;
                #[allow(unused_mut, reason = "there may be no fields")]
                let mut options = Self::default();
                $(
                    let name = $crate::declare::function::plain(stringify!($field));
                    if let Some(value) = map.get(name) {
                        options.$field = <$type as $crate::declare::FromValue>::from_value(value)
                            .map_err(|e| e.within($crate::error::Subject::Option(name.to_string())))?;
                    }
                )*
                $crate::declare::Options::check(&options)?;
                Ok(options)
            }

            fn to_map(&self) -> $crate::declare::Map {
                $crate::declare::Map::from([$(
                    (
                        $crate::declare::function::plain(stringify!($field)).to_string(),
                        $crate::declare::IntoValue::into_value(self.$field.clone()),
                    ),
                )*])
            }
        }

        impl $crate::declare::FromValue for $name {
            fn label() -> String {
                "map".to_string()
            }
            fn from_value(value: &$crate::declare::Value) -> $crate::error::Result<Self> {
                match value {
                    $crate::declare::Value::Map(map) => $crate::declare::Options::from_map(map),
                    other => Err(other.not_options()),
                }
            }
            fn missing() -> Option<$crate::error::Result<Self>> {
                Some(Ok(Self::default()))
            }
            fn fields() -> &'static [$crate::declare::Field] {
                <Self as $crate::declare::Options>::FIELDS
            }
        }

        impl $crate::declare::IntoValue for $name {
            fn label() -> String {
                "map".to_string()
            }
            fn into_value(self) -> $crate::declare::Value {
                $crate::declare::Value::Map($crate::declare::Options::to_map(&self))
            }
        }
    )*};
    (@allowed) => { $crate::declare::Allowed::Any };
    (@allowed $allowed:expr) => { $allowed };
}
