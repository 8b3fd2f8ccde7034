//! Option maps as typed structs: names, types, defaults, ranges and documentation in one place.

use super::convert::{FromValue, IntoValue};
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
                Err(Error::argument(format!("`{name}` must be {}, found {x}", self.describe())))
            }
            (Allowed::OneOf(words), Value::Str(s)) if !words.contains(&s.as_str()) => {
                Err(Error::argument(format!("`{name}` must be one of {}, found \"{s}\"", list(words)))
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
#[derive(Debug, Clone, Copy)]
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
    pub allowed: fn() -> Allowed,
    /// How a line about the whole mentions the option, with `{}` for its value; empty if it does not.
    pub shown: &'static str,
}

/// A struct whose fields are the keys of an option map; derived.
///
/// ```text
/// /// How a Gaussian blurs.
/// #[derive(Debug, Clone, Options)]
/// pub struct BlurOptions {
///     /// Standard deviation, in tokens.
///     #[option(default = 1.0, range = 0.05..=32.0)]
///     pub sigma: f64,
///     /// What happens at the edge.
///     pub edge: Edge,
/// }
/// ```
///
/// The comments are the documentation of the options. A type that has only certain values, such as a
/// [`Choice`](super::Choice), checks them itself.
pub trait Options: Sized + Default {
    /// The declared options, in order of declaration.
    const FIELDS: &'static [Field];
    /// The documentation of the struct; for kinds (filters, gates, ..) also that of the script constructor.
    const DOC: &'static str;

    /// Sets the options in the map that are declared here; does not check ranges.
    fn set(&mut self, map: &Map) -> Result<()>;

    /// Returns all options with their values.
    fn to_map(&self) -> Map;

    /// Reads a map; unknown names, wrong types and values out of range are errors.
    fn from_map(map: &Map) -> Result<Self> {
        refuse_unknown(map, Self::FIELDS)?;
        let mut options = Self::default();
        options.set(map)?;
        Options::check(&options)?;
        Ok(options)
    }

    /// Checks the permitted values. Native functions call it first, so that Rust users get the same messages as
    /// scripts.
    fn check(&self) -> Result<()> {
        let map = self.to_map();
        Self::FIELDS.iter().try_for_each(|field| match map.get(field.name) {
            Some(value) => (field.allowed)().check(field.name, value),
            None => Ok(()),
        })
    }

    /// Returns how a line mentions the options that have words for it, without those at their defaults.
    fn mentions(&self) -> Vec<String> {
        let map = self.to_map();
        let mention = |field: &Field| {
            let value = format!("{:?}", map.get(field.name)?);
            let unusual = !field.shown.is_empty() && value != format!("{:?}", (field.default)());
            unusual.then(|| field.shown.replace("{}", &value))
        };
        Self::FIELDS.iter().filter_map(mention).collect()
    }
}

/// A [`Choice`](super::Choice) that sets several options at once.
pub trait Preset<T>: super::Choice + Default {
    /// Sets the options that have no default of their own.
    fn set(self, options: &mut T);
}

/// Fails if the map has a key that is not among the fields.
pub fn refuse_unknown(map: &Map, fields: &[Field]) -> Result<()> {
    for key in map.keys() {
        if !fields.iter().any(|f| f.name == key) {
            let error = Error::argument(format!("unknown option `{key}`"));
            return Err(match fields.is_empty() {
                true => error.hint("it takes no options"),
                false => error.did_you_mean(key, fields.iter().map(|f| f.name)),
            });
        }
    }
    Ok(())
}

/// Reads an option map.
pub fn read<T: Options>(value: &Value) -> Result<T> {
    match value {
        Value::Map(map) => T::from_map(map),
        other => Err(other.mismatch("a map of options #{ .. }")),
    }
}

/// Sets an option to its entry in the map, if there is one.
pub fn assign<T: FromValue>(option: &mut T, map: &Map, name: &str, allowed: fn() -> Allowed) -> Result<()> {
    let Some(value) = map.get(name) else { return Ok(()) };
    *option = T::from_value(value).or_else(|error| {
        // A word that the type does not know.
        if let words @ Allowed::OneOf(_) = allowed() {
            words.check(name, value)?;
        }
        Err(error.context(format!("option `{name}`")))
    })?;
    Ok(())
}

/// Applies the option `preset`, if the map has it.
pub fn preset<T, P: Preset<T> + FromValue>(options: &mut T, map: &Map) -> Result<()> {
    let mut preset = P::default();
    if map.contains_key("preset") {
        assign(&mut preset, map, "preset", P::allowed)?;
        preset.set(options);
    }
    Ok(())
}

/// Adds an option to a map.
pub fn put<T: IntoValue + Clone>(map: &mut Map, name: &str, value: &T) {
    map.insert(name.to_string(), value.clone().into_value());
}

/// Sets an option to its entry in a file; `what` names the file's data in messages.
pub fn restore<T: FromValue>(
    option: &mut T,
    map: &Map,
    name: &str,
    what: &str,
    optional: bool,
) -> Result<()> {
    match map.get(name) {
        Some(value) => *option = T::from_stored(value).map_err(|e| e.context(format!("`{name}`")))?,
        None if optional => {}
        None => return Err(Error::argument(format!("{what} has no `{name}`"))),
    }
    Ok(())
}

/// Returns the number of options in all groups.
pub const fn count(groups: &[&[Field]]) -> usize {
    let (mut count, mut i) = (0, 0);
    while i < groups.len() {
        count += groups[i].len();
        i += 1;
    }
    count
}

/// Returns the options of all groups, which are `N`.
pub const fn joined<const N: usize>(groups: &[&[Field]]) -> [Field; N] {
    const NONE: Field = Field {
        name: "",
        doc: "",
        label: String::new,
        default: || Value::Unit,
        allowed: || Allowed::Any,
        shown: "",
    };
    let (mut all, mut next, mut i) = ([NONE; N], 0, 0);
    while i < groups.len() {
        let mut j = 0;
        while j < groups[i].len() {
            all[next] = groups[i][j];
            next += 1;
            j += 1;
        }
        i += 1;
    }
    all
}

/// Declares option structs; the derive `Options` replaces it.
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
        #[allow(missing_docs)]
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
                #[allow(unused_imports)]
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
                        allowed: || $crate::options!(@allowed ($type) $($allowed)?),
                        shown: "",
                    },
                )*]
            };
            const DOC: &'static str = concat!($($doc, "\n"),*);

            fn set(&mut self, _map: &$crate::declare::Map) -> $crate::error::Result<()> {
                $(
                    let name = $crate::declare::function::plain(stringify!($field));
                    $crate::declare::options::assign(&mut self.$field, _map, name, || {
                        #[allow(unused_imports)]
                        use $crate::declare::{at_least, one_of, range};
                        $crate::options!(@allowed ($type) $($allowed)?)
                    })?;
                )*
                Ok(())
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
                    other => Err(other.mismatch("a map of options #{ .. }")),
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
    (@allowed ($type:ty)) => { <$type as $crate::declare::FromValue>::allowed() };
    (@allowed ($type:ty) $allowed:expr) => { $allowed };
}
