//! Functions, methods and properties, declared with their documentation and example.

use super::options::Field;
use super::value::Value;
use crate::context::Context;
use crate::error::Result;

/// How a script reaches a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `name(..)`.
    Global,
    /// `namespace::name(..)`.
    Namespace(&'static str),
    /// `value.name(..)`, the first parameter being the value.
    Method,
    /// `value.name`, without brackets.
    Property,
    /// An operator such as `+`, with a word as its name.
    Operator(&'static str),
}

/// One positional parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name in signatures and messages.
    pub name: &'static str,
    /// Its type in words.
    pub label: fn() -> String,
    /// Whether it may be left out.
    pub optional: fn() -> bool,
    /// The script type it makes this a method of.
    pub receiver: fn() -> Option<&'static str>,
    /// The values that it may have beyond its type.
    pub allowed: fn() -> super::Allowed,
    /// Its options when it is an option map, else empty.
    pub fields: fn() -> &'static [Field],
}

/// What native code runs for a call.
pub type Body = fn(&Context, &[Value]) -> Result<Value>;

/// A declared function.
#[derive(Debug)]
pub struct Declaration {
    /// How it is reached.
    pub form: Form,
    /// Its name.
    pub name: &'static str,
    /// Markdown: the first sentence stands alone, a fenced `rhai` block is its example.
    pub doc: &'static str,
    /// Its parameters, receiver first for methods and properties.
    pub params: &'static [Param],
    /// The type of its result in words.
    pub returns: fn() -> String,
    /// Its code.
    pub body: Body,
}

impl Declaration {
    /// The script type whose method or property this is.
    pub fn receiver(&self) -> Option<&'static str> {
        match self.form {
            Form::Method | Form::Property => self.params.first().and_then(|p| (p.receiver)()),
            _ => None,
        }
    }

    /// The name users look for: `filter::gaussian`, `tensor.sum`, `print`, `tensor + other`.
    pub fn path(&self) -> String {
        match self.form {
            Form::Global => self.name.to_string(),
            Form::Namespace(space) => format!("{space}::{}", self.name),
            Form::Method | Form::Property => format!("{}.{}", self.receiver().unwrap_or("any"), self.name),
            Form::Operator(symbol) => format!(
                "{}.`{symbol}`",
                self.params.first().map_or("any", |p| (p.receiver)().unwrap_or("any"))
            ),
        }
    }

    /// How to call it: `tensor.sum(dim?: int or array of int, options?: map) -> tensor`.
    pub fn signature(&self) -> String {
        let param = |p: &Param| {
            let (name, label) = (p.name, (p.label)());
            format!("{name}{}: {label}", if (p.optional)() { "?" } else { "" })
        };
        let list = |params: &[Param]| params.iter().map(param).collect::<Vec<_>>().join(", ");
        let returns = (self.returns)();
        match self.form {
            Form::Property => format!("{} -> {returns}", self.path()),
            Form::Method => format!("{}({}) -> {returns}", self.path(), list(&self.params[1..])),
            Form::Operator(symbol) => match self.params {
                [one] => format!("{symbol}{} -> {returns}", (one.label)()),
                [left, right, ..] => format!("{} {symbol} {} -> {returns}", (left.label)(), (right.label)()),
                [] => symbol.to_string(),
            },
            _ => format!("{}({}) -> {returns}", self.path(), list(self.params)),
        }
    }

    /// The first sentence of the documentation.
    pub fn summary(&self) -> String {
        summary(self.doc)
    }

    /// The documentation without its example.
    pub fn text(&self) -> String {
        split(self.doc).0
    }

    /// The runnable example.
    pub fn example(&self) -> Option<String> {
        split(self.doc).1
    }

    /// The declared options of its option map.
    pub fn fields(&self) -> &'static [Field] {
        self.params.last().map_or(&[], |p| (p.fields)())
    }

    /// The smallest and largest number of arguments, receiver included.
    pub fn arity(&self) -> (usize, usize) {
        let required = self.params.iter().take_while(|p| !(p.optional)()).count();
        (required, self.params.len())
    }
}

/// The first sentence of a Markdown text, on one line.
pub fn summary(doc: &str) -> String {
    let paragraph: Vec<&str> =
        doc.trim().lines().map(str::trim).take_while(|l| !l.is_empty() && !l.starts_with("```")).collect();
    let text = paragraph.join(" ");
    match text.match_indices(". ").find(|(i, _)| !text[..*i].ends_with("e.g") && !text[..*i].ends_with('.')) {
        Some((end, _)) => text[..=end].to_string(),
        None => text,
    }
}

/// Splits documentation into its text and the content of its fenced `rhai` block.
pub fn split(doc: &str) -> (String, Option<String>) {
    let (mut text, mut code, mut inside, mut found) = (String::new(), String::new(), false, false);
    for line in doc.lines() {
        // rustdoc strips one space after the slashes; a macro sees the comment with it.
        let line = line.strip_prefix(' ').unwrap_or(line);
        match line.trim() {
            "```rhai" => (inside, found) = (true, true),
            "```" if inside => inside = false,
            _ => {
                let target = if inside { &mut code } else { &mut text };
                target.push_str(line);
                target.push('\n');
            }
        }
    }
    (text.trim().to_string(), found.then(|| code.trim_end().to_string()))
}

/// Declares script functions; yields `pub fn declarations() -> &'static [Declaration]`.
///
/// The first word says how scripts reach them: `in "filter"` for a namespace, `methods`,
/// `properties`, `global`, or `operators`. A body is an expression of type `Result<R>`, where `-> R` is
/// the declared result; `fn name<cx>(..)` gives it the [`Context`].
///
/// Functions that are reached by their name alone, in a namespace or globally, become Rust functions too, in a
/// module `rust`: see [`declare::rust`](crate::declare::rust).
///
/// ```
/// mod doubling {
///     spectral::functions! { in "demo";
///         /// Doubles a number.
///         ///
///         /// ```rhai
///         /// assert_eq(demo::double(2.0), 4.0);
///         /// ```
///         fn double(x: f64) -> f64 { Ok(2.0 * x) }
///     }
/// }
/// assert_eq!(doubling::declarations()[0].signature(), "demo::double(x: float) -> float");
/// assert_eq!(doubling::rust::double(21).unwrap(), 42.0);
/// ```
#[macro_export]
macro_rules! functions {
    (in $space:literal; $($rest:tt)*) => {
        $crate::functions! { @all ($crate::declare::Form::Namespace($space)) $($rest)* }
        $crate::functions! { @rust $($rest)* }
    };
    (methods; $($rest:tt)*) => { $crate::functions! { @all ($crate::declare::Form::Method) $($rest)* } };
    (properties; $($rest:tt)*) => { $crate::functions! { @all ($crate::declare::Form::Property) $($rest)* } };
    (global; $($rest:tt)*) => {
        $crate::functions! { @all ($crate::declare::Form::Global) $($rest)* }
        $crate::functions! { @rust $($rest)* }
    };
    (@rust $(
        $(#[doc = $doc:literal])*
        fn $name:ident $(<$cx:ident>)? ( $($param:ident : $type:ty),* $(,)? ) -> $returns:ty
        $body:block
    )*) => {
        /// The functions declared here for Rust programs, which write arguments as scripts do.
        #[allow(dead_code, private_interfaces, unused_imports)]
        #[allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]
        pub mod rust {
            use super::*;
            $(
                $(#[doc = $doc])*
                pub fn $name($($param: impl $crate::declare::IntoValue),*) -> $crate::error::Result<$returns> {
                    $crate::declare::rust::call(
                        super::declarations(),
                        $crate::declare::function::plain(stringify!($name)),
                        vec![$($crate::declare::IntoValue::into_value($param)),*],
                    )
                }
            )*
        }
    };
    (@all ($form:expr) $(
        $(#[doc = $doc:literal])*
        fn $name:ident $([$symbol:literal])? $(<$cx:ident>)? ( $($param:ident : $type:ty),* $(,)? ) -> $returns:ty
        $body:block
    )*) => {
        /// The functions declared here.
        pub fn declarations() -> &'static [$crate::declare::Declaration] {
            const DECLARATIONS: &[$crate::declare::Declaration] = &[$(
                $crate::declare::Declaration {
                    form: $crate::functions!(@form ($form) $($symbol)?),
                    name: $crate::declare::function::plain(stringify!($name)),
                    doc: concat!($($doc, "\n"),*),
                    params: &[$( $crate::declare::Param {
                        name: stringify!($param),
                        label: <$type as $crate::declare::FromValue>::label,
                        optional: || <$type as $crate::declare::FromValue>::missing().is_some(),
                        receiver: <$type as $crate::declare::FromValue>::receiver,
                        allowed: <$type as $crate::declare::FromValue>::allowed,
                        fields: <$type as $crate::declare::FromValue>::fields,
                    }, )*],
                    returns: <$returns as $crate::declare::IntoValue>::label,
                    body: |_context, values| {
                        $( let $cx = _context; )?
                        #[allow(unused_mut)]
                        let mut arguments = $crate::declare::convert::Arguments::new(values);
                        $( let $param = arguments.take::<$type>(stringify!($param))?; )*
                        arguments.end()?;
                        let run = || -> $crate::error::Result<$returns> { $body };
                        Ok($crate::declare::IntoValue::into_value(run()?))
                    },
                },
            )*];
            DECLARATIONS
        }
    };
    (@form ($form:expr)) => { $form };
    (@form ($form:expr) $symbol:literal) => { $crate::declare::Form::Operator($symbol) };
}

/// A Rust identifier without the `r#` that a Rust keyword needs.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
