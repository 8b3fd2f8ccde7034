//! Script values on the native side.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::context::Context;
pub use crate::context::Display;
use crate::document::Document;
use crate::error::{Error, Kind, Problem, Result};

/// An option map or a record, with keys in alphabetical order.
pub type Map = BTreeMap<String, Value>;

/// A script value. Numbers, strings and containers are data and can be stored; functions and objects live as long
/// as the session.
#[derive(Clone)]
pub enum Value {
    /// Nothing: `()`.
    Unit,
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit floating-point number.
    Float(f64),
    /// A string.
    Str(String),
    /// An array.
    List(Vec<Value>),
    /// An object map, `#{ .. }`.
    Map(Map),
    /// A range of integers, end exclusive; the open end of `x[1..]` is `i64::MAX`.
    Range(i64, i64),
    /// A function pointer or closure.
    Function(Function),
    /// A native handle such as a tensor, a filter or a model.
    Object(Arc<dyn Object>),
}

/// A native type that scripts hold by handle; clones share the underlying object.
pub trait Object: Any + Send + Sync {
    /// Returns the type name that `type_of` gives, in lower case: `tensor`.
    fn type_name(&self) -> &'static str;

    /// Returns the two halves of the description: what the object is, with an article, and which one or how large:
    /// `("the filter", "ideal(cutoff: 0.5)")`. The second half may be empty.
    fn described(&self) -> (Cow<'static, str>, String) {
        (format!("a {}", self.type_name()).into(), String::new())
    }

    /// Returns the description used in messages: `a tensor [2, 3] float32`.
    fn describe(&self) -> String {
        match self.described() {
            (what, which) if which.is_empty() => what.into_owned(),
            (what, which) => format!("{what} {which}"),
        }
    }

    /// Returns the forms in which a front end can show the value.
    fn display(&self) -> Display;

    /// Returns only the plain text of [`Object::display`]; types whose other forms are expensive override it.
    fn text(&self) -> String {
        self.display().text
    }

    /// Returns the plain text in lines of at most `width` columns, for types that can adapt their layout. Other
    /// types return [`Object::text`], which the caller may have to wrap.
    fn text_in(&self, width: usize) -> String {
        self.document(Some(width)).map_or_else(|| self.text(), |d| d.to_text(Some(width)))
    }

    /// Returns the value as a document whose lines fit into `width` columns; `None` for types that are plain text.
    fn document(&self, width: Option<usize>) -> Option<Document> {
        let _ = width;
        None
    }

    /// Returns the object for downcasting; implemented by [`scripted!`](crate::scripted).
    fn as_any(&self) -> &dyn Any;

    /// Returns the value as data if it can be stored in a file (a filter's kind and options), else `None`.
    fn to_data(&self) -> Option<Value> {
        None
    }

    /// Returns the number that the object stands for in a cell of a table: that of a tensor of one element.
    fn number(&self) -> Option<Value> {
        None
    }

    /// Returns the number of bytes its tensors hold, on any device; a tensor shared with another handle counts in
    /// both.
    fn bytes(&self) -> u64 {
        0
    }

    /// Returns the facts that a list of variables shows, in display order: `("shape", "[2, 3]")`.
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// An [`Object`] with a name known at compile time, which scripts may hold.
pub trait Scripted: Object + Clone {
    /// Type name that `type_of` gives, in lower case.
    const NAME: &'static str;
}

/// Makes a clonable type a script value: `scripted!(Tensor, "tensor", |t| Display::text(..))`.
///
/// Optional further arguments override, in this order, [`Object::text`], [`Object::text_in`], [`Object::document`],
/// [`Object::described`], [`Object::to_data`], [`Object::bytes`] and [`Object::facts`]; `restore` reads the output of
/// [`Object::to_data`].
#[macro_export]
macro_rules! scripted {
    ($type:ty, $name:literal, $display:expr $(, text = $text:expr)? $(, text_in = $text_in:expr)?
        $(, document = $document:expr)?
        $(, describe = $describe:expr)? $(, data = $data:expr)? $(, number = $number:expr)?
        $(, bytes = $bytes:expr)?
        $(, facts = $facts:expr)? $(, restore = $restore:expr)? $(,)?) => {
        impl $crate::declare::Scripted for $type {
            const NAME: &'static str = $name;
        }
        impl $crate::declare::Object for $type {
            fn type_name(&self) -> &'static str {
                $name
            }
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }
            fn display(&self) -> $crate::declare::Display {
                let display: fn(&$type) -> $crate::declare::Display = $display;
                display(self)
            }
            $(fn text(&self) -> String {
                let text: fn(&$type) -> String = $text;
                text(self)
            })?
            $(fn text_in(&self, width: usize) -> String {
                let text: fn(&$type, usize) -> String = $text_in;
                text(self, width)
            })?
            $(fn document(&self, width: Option<usize>) -> Option<$crate::document::Document> {
                let document: fn(&$type, Option<usize>) -> $crate::document::Document = $document;
                Some(document(self, width))
            })?
            $(fn described(&self) -> (std::borrow::Cow<'static, str>, String) {
                let describe: fn(&$type) -> (&'static str, String) = $describe;
                let (what, which) = describe(self);
                (what.into(), which)
            })?
            $(fn to_data(&self) -> Option<$crate::declare::Value> {
                let data: fn(&$type) -> Option<$crate::declare::Value> = $data;
                data(self)
            })?
            $(fn number(&self) -> Option<$crate::declare::Value> {
                let number: fn(&$type) -> Option<$crate::declare::Value> = $number;
                number(self)
            })?
            $(fn bytes(&self) -> u64 {
                let bytes: fn(&$type) -> u64 = $bytes;
                bytes(self)
            })?
            $(fn facts(&self) -> Vec<(&'static str, String)> {
                let facts: fn(&$type) -> Vec<(&'static str, String)> = $facts;
                facts(self)
            })?
        }
        impl $type {
            /// Shows the value in a Rust notebook; the evcxr Jupyter kernel calls it for the last value of a cell.
            #[allow(dead_code, reason = "some types are held by scripts alone")]
            pub fn evcxr_display(&self) {
                $crate::notebook::show(&$crate::declare::Object::display(self));
            }
        }
        impl From<$type> for $crate::declare::Value {
            fn from(handle: $type) -> Self {
                $crate::declare::IntoValue::into_value(handle)
            }
        }
        impl From<&$type> for $crate::declare::Value {
            fn from(handle: &$type) -> Self {
                handle.clone().into()
            }
        }
        impl From<&$type> for $type {
            /// Returns another handle to the same value.
            fn from(handle: &$type) -> Self {
                handle.clone()
            }
        }
        impl $crate::declare::FromValue for $type {
            fn label() -> String {
                $name.to_string()
            }
            fn receiver() -> Option<&'static str> {
                Some($name)
            }
            fn from_value(value: &$crate::declare::Value) -> $crate::error::Result<Self> {
                value.downcast::<$type>().ok_or_else(|| value.mismatch($name))
            }
            $(fn from_stored(value: &$crate::declare::Value) -> $crate::error::Result<Self> {
                value.downcast::<$type>().map_or_else(|| $restore(value), Ok)
            })?
        }
        impl $crate::declare::IntoValue for $type {
            fn label() -> String {
                $name.to_string()
            }
            fn into_value(self) -> $crate::declare::Value {
                $crate::declare::Value::Object(std::sync::Arc::new(self))
            }
        }
    };
}

type Native = dyn Fn(&[Value]) -> Result<Value> + Send + Sync;

type Code = dyn Fn() -> Result<Value> + Send + Sync;

type Captured = dyn Fn() -> Vec<(String, Value)> + Send + Sync;

/// Key of the data of code that no file can hold, with the reason; [`ADVICE`] may say what to do.
pub const INCOMPLETE: &str = "incomplete";

/// Key of the hint that belongs to [`INCOMPLETE`].
pub const ADVICE: &str = "advice";

/// A user-defined function: a script closure or a Rust closure.
#[derive(Clone)]
pub struct Function {
    run: Arc<Native>,
    code: Option<Arc<Code>>,
    captured: Option<Arc<Captured>>,
    place: Option<Arc<dyn Fn() -> Option<String> + Send + Sync>>,
    text: Option<Arc<dyn Fn() -> Option<String> + Send + Sync>>,
    takes: Option<usize>,
}

impl Function {
    /// Wraps a Rust closure. The function has no stored form.
    pub fn new(f: impl Fn(&[Value]) -> Result<Value> + Send + Sync + 'static) -> Self {
        Self { run: Arc::new(f), code: None, captured: None, place: None, text: None, takes: None }
    }

    /// Sets the function's code as data, from which [`Function::of_code`] rebuilds it; `code` fails if it cannot be
    /// stored.
    #[must_use]
    pub fn with_code(self, code: impl Fn() -> Result<Value> + Send + Sync + 'static) -> Self {
        Self { code: Some(Arc::new(code)), ..self }
    }

    /// Sets a closure that returns the handles that the function captured, see [`Function::captured`].
    #[must_use]
    pub fn with_captured(self, captured: impl Fn() -> Vec<(String, Value)> + Send + Sync + 'static) -> Self {
        Self { captured: Some(Arc::new(captured)), ..self }
    }

    /// Sets a closure that returns where the function was written: `line 12 of ideas.rhai`.
    #[must_use]
    pub fn with_place(self, place: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { place: Some(Arc::new(place)), ..self }
    }

    /// Sets a closure that returns the text of the file or cell where the function was written.
    #[must_use]
    pub fn with_text(self, text: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { text: Some(Arc::new(text)), ..self }
    }

    /// Sets the number of arguments the function takes.
    #[must_use]
    pub fn taking(self, takes: Option<usize>) -> Self {
        Self { takes, ..self }
    }

    /// Returns where the function was written, if known.
    pub fn place(&self) -> Option<String> {
        self.place.as_ref().and_then(|place| place())
    }

    /// Returns the text of the file or cell where the function was written, if known.
    pub fn text(&self) -> Option<String> {
        self.text.as_ref().and_then(|text| text())
    }

    /// Returns the source location as a suffix for messages, `, line 12 of ideas.rhai`; empty if unknown.
    pub fn written(&self) -> String {
        self.place().map_or_else(String::new, |place| format!(", {place}"))
    }

    /// Returns the number of arguments the function takes, if known.
    pub fn takes(&self) -> Option<usize> {
        self.takes
    }

    /// Returns the handles, such as tensors, that a script function captured now, with their names: those in captured arrays
    /// and maps, as `pair[0]` and `map.key`, and those that captured functions captured. Nothing is known of a Rust closure.
    pub fn captured(&self) -> Vec<(String, Value)> {
        self.captured.as_ref().map_or_else(Vec::new, |captured| captured())
    }

    /// Rebuilds a function from the code that [`Function::to_data`] returned. Compiles the code, but runs none of
    /// it before the function is called.
    pub fn of_code(code: &Value, context: &Context) -> Result<Self> {
        let text = code.to_json_text().ok_or_else(|| Error::internal("stored code is data"))?;
        let function = (context.compile)(&text)?;
        match function.downcast_ref::<Self>() {
            Some(function) => Ok(function.clone()),
            None => Err(Error::internal("compiled code is a function")),
        }
    }

    /// Calls the function. Errors of the user's code pass through.
    pub fn call(&self, arguments: &[Value]) -> Result<Value> {
        (self.run)(arguments)
    }

    /// As [`Function::call`]; an error that has no place in a script, such as one of a Rust closure, starts with
    /// `what`: `` `on_step` ``.
    pub fn call_as(&self, what: &str, arguments: &[Value]) -> Result<Value> {
        self.call(arguments).map_err(|error| match error.origin() {
            Some(_) => error,
            None => error.context(what),
        })
    }

    /// Returns the code as data, or an error that says why it cannot be stored.
    pub fn to_data(&self) -> Result<Value> {
        let data = self.to_compared()?;
        match Self::not_stored(&data) {
            Some(error) => Err(error),
            None => Ok(data),
        }
    }

    /// Returns why no file can hold the code that [`Function::to_compared`] returned; `None` if one can.
    pub fn not_stored(compared: &Value) -> Option<Error> {
        let Value::Map(map) = compared else { return None };
        match (map.get(INCOMPLETE), map.get(ADVICE)) {
            (Some(Value::Str(why)), Some(Value::Str(advice))) => Some(Error::argument(why).hint(advice)),
            (Some(Value::Str(why)), _) => Some(Error::argument(why)),
            _ => None,
        }
    }

    /// Returns what tells the code from other code: its data, with [`INCOMPLETE`] and handles among the captured values
    /// where it cannot be stored. Code without a known text is an error.
    pub fn to_compared(&self) -> Result<Value> {
        match &self.code {
            Some(code) => code(),
            None => Err(Error::argument("a native function has no source code that could be stored")),
        }
    }

    /// Returns whether both are the same function, not merely equal ones.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.address(), other.address())
    }

    /// Returns an address that only clones of this function have while one of them lives.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.run).cast()
    }
}

/// Functions are equal if they are identical or their code is equal; one without a stored form equals only itself.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
            || matches!((self.to_data(), other.to_data()), (Ok(a), Ok(b)) if a.to_json_text() == b.to_json_text())
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("function")
    }
}

impl Value {
    /// Returns the integers of a range that is expanded to entries, or an error if the range is too long.
    pub fn entries(start: i64, end: i64) -> Result<std::ops::Range<i64>> {
        const MOST: i64 = 10_000_000;
        match end.saturating_sub(start) {
            count if count <= MOST => Ok(start..end),
            _ => Err(Error::argument(format!("the range {start}..{end} has more than {MOST} entries"))
                .hint("`tensor::arange(start, end)` makes a long tensor")),
        }
    }

    /// Returns the handle if the value is an object of type `T`.
    pub fn downcast<T: Scripted>(&self) -> Option<T> {
        match self {
            Value::Object(object) => (**object).as_any().downcast_ref::<T>().cloned(),
            _ => None,
        }
    }

    /// Returns the type name that scripts see: `int`, `tensor`, ..
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Unit => "()",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "string",
            Value::List(_) => "array",
            Value::Map(_) => "map",
            Value::Range(..) => "range",
            Value::Function(_) => "function",
            Value::Object(object) => object.type_name(),
        }
    }

    /// Returns the number of bytes that the tensors inside hold; see [`Object::bytes`].
    pub fn bytes(&self) -> u64 {
        match self {
            Value::List(list) => list.iter().map(Value::bytes).sum(),
            Value::Map(map) => map.values().map(Value::bytes).sum(),
            Value::Object(object) => object.bytes(),
            _ => 0,
        }
    }

    /// Returns the description used in messages, detailed enough to recognize the value.
    pub fn describe(&self) -> String {
        match self {
            Value::Unit => "`()`".to_string(),
            Value::Bool(b) => format!("the bool {b}"),
            Value::Int(i) => format!("the integer {i}"),
            Value::Float(x) => format!("the float {x:?}"),
            Value::Str(s) if s.chars().count() > 40 => "a long string".to_string(),
            Value::Str(s) => format!("the string {s:?}"),
            Value::List(l) => format!("an array of {}", l.len()),
            Value::Map(m) => format!("a map of {}", m.len()),
            Value::Range(a, b) => format!("the range {a}..{b}"),
            Value::Function(_) => "a function".to_string(),
            Value::Object(object) => object.describe(),
        }
    }

    /// Returns the error "expected .., found ..".
    pub fn mismatch(&self, expected: &str) -> Error {
        let (expected, found) = (expected.to_string(), self.describe());
        Error::of(Kind::Argument, Problem::Mismatch { expected, found })
    }

    /// Returns the error of a value in the place of an option map.
    pub fn not_options(&self) -> Error {
        Error::of(Kind::Argument, Problem::NotOptions { found: self.describe() })
    }

    /// Shows the value in a Rust notebook; the evcxr Jupyter kernel calls it for the last value of a cell.
    pub fn evcxr_display(&self) {
        crate::notebook::show(&match self {
            Value::Object(object) => object.display(),
            other => Display::text(format!("{other:?}")),
        });
    }
}

/// Formats the value as a script would write it, with objects in angle brackets.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unit => f.write_str("()"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(i) => write!(f, "{i}"),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Str(s) => write!(f, "{s:?}"),
            Value::List(l) => f.debug_list().entries(l).finish(),
            Value::Map(m) if m.is_empty() => f.write_str("#{}"),
            Value::Map(m) => {
                f.write_str("#{ ")?;
                for (i, (k, v)) in m.iter().enumerate() {
                    write!(f, "{}{k}: {v:?}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(" }")
            }
            Value::Range(a, b) => write!(f, "{a}..{b}"),
            Value::Function(_) => f.write_str("<function>"),
            Value::Object(object) => write!(f, "<{}>", object.type_name()),
        }
    }
}
