//! Conversion between script values and typed arguments and results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::value::{Function, Map, Value};
use crate::error::{Error, Result, Subject};

/// A type that a script argument or option can have.
pub trait FromValue: Sized {
    /// Returns the type name used in signatures and messages: `int`, `tensor`, `array of ints`.
    fn label() -> String;

    /// Converts the value, or returns an error that says what was expected and found.
    fn from_value(value: &Value) -> Result<Self>;

    /// Converts the value as a file has it: a handle may be the data that was stored for it.
    fn from_stored(value: &Value) -> Result<Self> {
        Self::from_value(value)
    }

    /// Returns the value of an omitted argument; `None` makes the argument required.
    fn missing() -> Option<Result<Self>> {
        None
    }

    /// Returns the script type of which a function with this first argument becomes a method.
    fn receiver() -> Option<&'static str> {
        None
    }

    /// Returns the constraint on its values beyond the type.
    fn allowed() -> super::Allowed {
        super::Allowed::Any
    }

    /// Returns the options of an option map, or of the maps in an array; empty for all other types.
    fn fields() -> &'static [super::Field] {
        &[]
    }

    /// Fails if the value is not permitted, as [`FromValue::from_value`] would; for arguments from Rust programs.
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// A value that a Rust program can pass where a declared function takes a `T`.
///
/// It is implemented for everything that converts to `T` by [`From`] or [`TryFrom`]:
///
/// - `T` itself, and a reference to a handle or to options: `&model`, `&options`
/// - `&str` for a [`String`], a [`PathBuf`] (or `&Path`), a [`DType`](crate::torch::DType) or a [`Device`](crate::torch::Device)
/// - arrays, slices and vectors for `Vec<T>`, and also one value for [`OneOrMany<T>`]
/// - for `Option<T>` the value itself, `Some(value)`, or `None` where a script omits the argument
/// - `()` for the defaults of options
/// - integers and floats for a [`Number`], and what the documentation of other types lists
///
/// Parameters of type `bool`, `i64`, `usize`, `u64` and `f64` take just that type, so that a literal has it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not accepted as an argument of type `{T}`",
    note = "an argument is anything that converts to `{T}` by `From` or `TryFrom`; handles by reference too, and `()` \
            for the defaults of options"
)]
pub trait Argument<T> {
    /// Converts to `T`, and checks the permitted values of options.
    fn argument(self) -> Result<T>;
}

impl<T: FromValue, U: TryInto<T, Error: Into<Error>>> Argument<T> for U {
    fn argument(self) -> Result<T> {
        let argument = self.try_into().map_err(Into::into)?;
        argument.validate()?;
        Ok(argument)
    }
}

/// Conversions that cannot fail have this error.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Reads an entry of a stored map; `what` names the map in messages, as in "a stored network".
pub fn entry<T: FromValue>(map: &Map, what: &str, name: &str) -> Result<T> {
    let value = map.get(name).ok_or_else(|| Error::argument(format!("{what} has no `{name}`")))?;
    T::from_value(value).map_err(|e| e.context(format!("`{name}`")))
}

/// A type that a script function can return.
pub trait IntoValue {
    /// Returns the type name used in signatures.
    fn label() -> String;

    /// Converts to a script value.
    fn into_value(self) -> Value;
}

macro_rules! simple {
    ($($type:ty, $label:literal, $from:expr, $into:expr;)*) => {$(
        impl FromValue for $type {
            fn label() -> String {
                $label.to_string()
            }
            fn from_value(value: &Value) -> Result<Self> {
                let from: fn(&Value) -> Option<$type> = $from;
                from(value).ok_or_else(|| value.mismatch($label))
            }
        }
        impl IntoValue for $type {
            fn label() -> String {
                $label.to_string()
            }
            fn into_value(self) -> Value {
                let into: fn($type) -> Value = $into;
                into(self)
            }
        }
    )*};
}

simple! {
    bool, "bool", |v| match v { Value::Bool(b) => Some(*b), _ => None }, Value::Bool;
    i64, "int", |v| match v { Value::Int(i) => Some(*i), _ => None }, Value::Int;
    f64, "float", |v| match v {
        Value::Float(x) => Some(*x),
        Value::Int(i) => Some(*i as f64),
        _ => None,
    }, Value::Float;
    String, "string", |v| match v { Value::Str(s) => Some(s.clone()), _ => None }, Value::Str;
    Map, "map", |v| match v { Value::Map(m) => Some(m.clone()), _ => None }, Value::Map;
    Function, "function", |v| match v { Value::Function(f) => Some(f.clone()), _ => None }, Value::Function;
    Value, "any", |v| Some(v.clone()), |v| v;
    (), "()", |v| match v { Value::Unit => Some(()), _ => None }, |()| Value::Unit;
}

/// Implements both conversions for integers that are not negative.
macro_rules! counts {
    ($($type:ty)*) => {$(
        impl FromValue for $type {
            fn label() -> String {
                "int".to_string()
            }
            fn from_value(value: &Value) -> Result<Self> {
                match value {
                    Value::Int(i) => <$type>::try_from(*i).map_err(|_| value.mismatch("an integer of at least 0")),
                    other => Err(other.mismatch("int")),
                }
            }
        }
        impl IntoValue for $type {
            fn label() -> String {
                "int".to_string()
            }
            fn into_value(self) -> Value {
                Value::Int(self as i64)
            }
        }
    )*};
}

counts!(usize u64);

/// Implements [`IntoValue`] for narrower types, which Rust literals and results may have.
macro_rules! narrow {
    ($($type:ty, $label:literal, $into:path, $wide:ty;)*) => {$(
        impl IntoValue for $type {
            fn label() -> String {
                $label.to_string()
            }
            fn into_value(self) -> Value {
                $into(<$wide>::from(self))
            }
        }
    )*};
}

narrow! {
    i32, "int", Value::Int, i64;
    u32, "int", Value::Int, i64;
    f32, "float", Value::Float, f64;
}

/// A file or folder; a string in scripts.
impl FromValue for PathBuf {
    fn label() -> String {
        "string".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        String::from_value(value).map(PathBuf::from)
    }
}

macro_rules! values {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                value.into_value()
            }
        }
    )*};
}

values!((), bool, i32, i64, usize, f64, &str, String, Function, Map);

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value> + Clone> From<&[T]> for Value {
    fn from(values: &[T]) -> Self {
        values.to_vec().into()
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(values: [T; N]) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: IntoValue + Clone> IntoValue for &T {
    fn label() -> String {
        T::label()
    }
    fn into_value(self) -> Value {
        self.clone().into_value()
    }
}

impl<T: IntoValue + Clone> IntoValue for &[T] {
    fn label() -> String {
        Vec::<T>::label()
    }
    fn into_value(self) -> Value {
        self.to_vec().into_value()
    }
}

impl<T: IntoValue, const N: usize> IntoValue for [T; N] {
    fn label() -> String {
        Vec::<T>::label()
    }
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

impl<T: Into<i64>> IntoValue for std::ops::Range<T> {
    fn label() -> String {
        "range".to_string()
    }
    fn into_value(self) -> Value {
        Value::Range(self.start.into(), self.end.into())
    }
}

impl IntoValue for &str {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        Value::Str(self.to_string())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn label() -> String {
        T::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Unit => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
    fn missing() -> Option<Result<Self>> {
        Some(Ok(None))
    }
    fn allowed() -> super::Allowed {
        T::allowed()
    }
    fn fields() -> &'static [super::Field] {
        T::fields()
    }
    fn validate(&self) -> Result<()> {
        self.as_ref().map_or(Ok(()), T::validate)
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn label() -> String {
        format!("{} or ()", T::label())
    }
    fn into_value(self) -> Value {
        self.map_or(Value::Unit, T::into_value)
    }
}

/// Returns the label of an array of values with a label, such as `array of tensors`.
fn array_of(label: &str) -> String {
    format!("array of {}", several(label))
}

/// Returns the words for several values with a label, such as `ints or arrays of strings`.
fn several(label: &str) -> String {
    let plural = |word: &str| match word {
        "any" | "statistics" | "features" | "timesteps" => word.to_string(),
        _ if word.ends_with(['s', 'x']) => format!("{word}es"),
        _ => format!("{word}s"),
    };
    let words = label.split(" or ").map(|alternative| match alternative.split_once(" of ") {
        Some((kind, rest)) => format!("{kind}s of {rest}"),
        None if alternative.starts_with('[') => alternative.to_string(),
        None => alternative.split(", ").map(plural).collect::<Vec<_>>().join(", "),
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// Returns the label of one value, given the word for several in the label of an array.
pub fn singular(word: &str) -> &str {
    match word {
        "losses" => "loss",
        "statistics" | "features" | "timesteps" | "loss" => word,
        _ => word.strip_suffix('s').unwrap_or(word),
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn label() -> String {
        array_of(&T::label())
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(list) => list
                .iter()
                .enumerate()
                .map(|(i, v)| T::from_value(v).map_err(|e| e.within(Subject::Entry(i))))
                .collect(),
            other => Err(other.mismatch(&Self::label())),
        }
    }
    fn from_stored(value: &Value) -> Result<Self> {
        match value {
            Value::List(list) => list.iter().map(T::from_stored).collect(),
            other => Err(other.mismatch(&Self::label())),
        }
    }
    fn allowed() -> super::Allowed {
        T::allowed()
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn label() -> String {
        array_of(&T::label())
    }
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

/// One `T` or an array of them, such as the dimensions of a reduction.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromValue> From<T> for OneOrMany<T> {
    fn from(one: T) -> Self {
        Self(vec![one])
    }
}

impl<T: FromValue + Clone> From<&T> for OneOrMany<T> {
    fn from(one: &T) -> Self {
        Self(vec![one.clone()])
    }
}

impl<T> From<Vec<T>> for OneOrMany<T> {
    fn from(all: Vec<T>) -> Self {
        Self(all)
    }
}

impl<T> FromIterator<T> for OneOrMany<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl<'a, T> IntoIterator for &'a OneOrMany<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T> std::ops::Deref for OneOrMany<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T, U: Clone + Into<T>> From<&[U]> for OneOrMany<T> {
    fn from(many: &[U]) -> Self {
        Self(many.iter().cloned().map(Into::into).collect())
    }
}

impl<T, U: Into<T>, const N: usize> From<[U; N]> for OneOrMany<T> {
    fn from(many: [U; N]) -> Self {
        Self(many.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for OneOrMany<String> {
    fn from(one: &str) -> Self {
        Self(vec![one.to_string()])
    }
}

/// One path, of each type that a [`PathBuf`] is made of.
macro_rules! one_path {
    ($($from:ty),*) => {
        $(impl From<$from> for OneOrMany<PathBuf> {
            fn from(one: $from) -> Self {
                Self(vec![PathBuf::from(one)])
            }
        })*
    };
}
one_path!(&str, &Path, String, &String);

impl<T: FromValue> FromValue for OneOrMany<T> {
    fn label() -> String {
        format!("{} or {}", T::label(), array_of(&T::label()))
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(_) => Vec::<T>::from_value(value).map(OneOrMany),
            Value::Range(a, b) => {
                let entries = Value::entries(*a, *b)?;
                entries.map(|i| T::from_value(&Value::Int(i))).collect::<Result<_>>().map(OneOrMany)
            }
            other => T::from_value(other)
                .map(|one| OneOrMany(vec![one]))
                .map_err(|_| other.mismatch(&Self::label())),
        }
    }
    fn from_stored(value: &Value) -> Result<Self> {
        Vec::from_stored(value).map(OneOrMany)
    }
    fn allowed() -> super::Allowed {
        T::allowed()
    }
}

impl<T: IntoValue> IntoValue for OneOrMany<T> {
    fn label() -> String {
        array_of(&T::label())
    }
    fn into_value(self) -> Value {
        self.0.into_value()
    }
}

/// Values of one type by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(pub BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: FromValue> FromValue for Named<T> {
    fn label() -> String {
        format!("map of {}", several(&T::label()))
    }
    fn from_value(value: &Value) -> Result<Self> {
        let entry = |(name, value): (&String, &Value)| {
            let entry = T::from_value(value).map_err(|e| e.context(format!("`{name}`")))?;
            Ok((name.clone(), entry))
        };
        match value {
            Value::Map(map) => map.iter().map(entry).collect::<Result<_>>().map(Named),
            other => Err(other.mismatch(&Self::label())),
        }
    }
}

impl<T: IntoValue> IntoValue for Named<T> {
    fn label() -> String {
        format!("map of {}", several(&T::label()))
    }
    fn into_value(self) -> Value {
        Value::Map(self.0.into_iter().map(|(name, entry)| (name, entry.into_value())).collect())
    }
}

/// An integer or a float; arithmetic keeps them apart, as PyTorch does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
}

impl Number {
    /// Returns the number as a float.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Float(x) => x,
        }
    }
}

impl From<i64> for Number {
    fn from(i: i64) -> Self {
        Number::Int(i)
    }
}

impl From<i32> for Number {
    fn from(i: i32) -> Self {
        Number::Int(i.into())
    }
}

impl From<f64> for Number {
    fn from(x: f64) -> Self {
        Number::Float(x)
    }
}

impl FromValue for Number {
    fn label() -> String {
        "number".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Int(i) => Ok(Number::Int(*i)),
            Value::Float(x) => Ok(Number::Float(*x)),
            Value::Bool(b) => Ok(Number::Int(i64::from(*b))),
            other => Err(other.mismatch("number")),
        }
    }
}

impl IntoValue for Number {
    fn label() -> String {
        "number".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Number::Int(i) => Value::Int(i),
            Number::Float(x) => Value::Float(x),
        }
    }
}

/// A pair is read from an array of two entries.
impl<A: FromValue, B: FromValue> FromValue for (A, B) {
    fn label() -> String {
        format!("[{}, {}]", A::label(), B::label())
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(l) if l.len() == 2 => Ok((A::from_value(&l[0])?, B::from_value(&l[1])?)),
            other => Err(other.mismatch(&Self::label())),
        }
    }
}

impl<A: IntoValue, B: IntoValue> IntoValue for (A, B) {
    fn label() -> String {
        format!("[{}, {}]", A::label(), B::label())
    }
    fn into_value(self) -> Value {
        Value::List(vec![self.0.into_value(), self.1.into_value()])
    }
}

/// A triple, such as channels, height and width, is read from an array of three entries.
impl<A: FromValue, B: FromValue, C: FromValue> FromValue for (A, B, C) {
    fn label() -> String {
        format!("[{}, {}, {}]", A::label(), B::label(), C::label())
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(l) if l.len() == 3 => {
                Ok((A::from_value(&l[0])?, B::from_value(&l[1])?, C::from_value(&l[2])?))
            }
            other => Err(other.mismatch(&Self::label())),
        }
    }
}

impl<A: IntoValue, B: IntoValue, C: IntoValue> IntoValue for (A, B, C) {
    fn label() -> String {
        format!("[{}, {}, {}]", A::label(), B::label(), C::label())
    }
    fn into_value(self) -> Value {
        Value::List(vec![self.0.into_value(), self.1.into_value(), self.2.into_value()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_arrays_are_plurals() {
        for (one, several) in [
            ("tensor", "tensors"),
            ("loss", "losses"),
            ("int or string", "ints or strings"),
            ("function, timesteps or string", "functions, timesteps or strings"),
            ("array of ints", "arrays of ints"),
            ("[float, float]", "[float, float]"),
            ("any", "any"),
        ] {
            assert_eq!(array_of(one), format!("array of {several}"));
        }
        for word in ["tensor", "loss", "statistics", "features"] {
            assert_eq!(singular(&several(word)), word);
        }
    }
}
