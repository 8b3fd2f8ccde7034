//! Declared functions, methods and properties, with documentation and example.

use super::options::Field;
use super::value::Value;
use crate::context::Context;
use crate::error::Result;

/// How a script calls a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `name(..)`.
    Global,
    /// `namespace::name(..)`.
    Namespace(&'static str),
    /// `value.name(..)`, with the value as the first parameter.
    Method,
    /// `value.name`, without parentheses.
    Property,
    /// An operator such as `+`; its declared name is a word.
    Operator(&'static str),
}

/// One positional parameter.
#[derive(Debug)]
pub struct Param {
    /// Name in signatures and messages.
    pub name: &'static str,
    /// Type name shown to users.
    pub label: fn() -> String,
    /// Whether the argument may be omitted.
    pub optional: fn() -> bool,
    /// Script type of which this parameter makes the function a method.
    pub receiver: fn() -> Option<&'static str>,
    /// Constraint on its values beyond the type.
    pub allowed: fn() -> super::Allowed,
    /// Options if it is an option map, else empty.
    pub fields: fn() -> &'static [Field],
}

/// Native code that runs for a call.
pub type Body = fn(&Context, &[Value]) -> Result<Value>;

/// A declared function.
#[derive(Debug)]
pub struct Declaration {
    /// How scripts call it.
    pub form: Form,
    /// Name of the function.
    pub name: &'static str,
    /// Markdown: the first sentence stands alone, and a fenced `rhai` block is the example.
    pub doc: &'static str,
    /// Parameters, receiver first for methods and properties.
    pub params: &'static [Param],
    /// Type name of the result.
    pub returns: fn() -> String,
    /// Implementation.
    pub body: Body,
}

impl Declaration {
    /// Returns the script type of which this is a method or property.
    pub fn receiver(&self) -> Option<&'static str> {
        match self.form {
            Form::Method | Form::Property => self.params.first().and_then(|p| (p.receiver)()),
            _ => None,
        }
    }

    /// Returns the name users look for: `filter::gaussian`, `tensor.sum`, `print`, `tensor + other`.
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

    /// Returns the parameters of a call without the receiver, with their types: `dim?: int`.
    pub fn parameters(&self) -> Vec<String> {
        let param = |p: &Param| {
            let (name, label) = (p.name, (p.label)());
            format!("{name}{}: {label}", if (p.optional)() { "?" } else { "" })
        };
        let behind = usize::from(matches!(self.form, Form::Method | Form::Property));
        self.params.iter().skip(behind).map(param).collect()
    }

    /// Returns the call signature: `tensor.sum(dim?: int or array of ints, options?: map) -> tensor`.
    pub fn signature(&self) -> String {
        let returns = (self.returns)();
        match self.form {
            Form::Property => format!("{} -> {returns}", self.path()),
            Form::Operator(symbol) => match self.params {
                [one] => format!("{symbol}{} -> {returns}", (one.label)()),
                [left, right, ..] => format!("{} {symbol} {} -> {returns}", (left.label)(), (right.label)()),
                [] => symbol.to_string(),
            },
            _ => format!("{}({}) -> {returns}", self.path(), self.parameters().join(", ")),
        }
    }

    /// Returns the first sentence of the documentation.
    pub fn summary(&self) -> String {
        summary(self.doc)
    }

    /// Returns the documentation without its example.
    pub fn text(&self) -> String {
        split(self.doc).0
    }

    /// Returns the runnable example.
    pub fn example(&self) -> Option<String> {
        split(self.doc).1
    }

    /// Returns the declared options of its option map.
    pub fn fields(&self) -> &'static [Field] {
        self.params.last().map_or(&[], |p| (p.fields)())
    }

    /// Returns the smallest and largest number of arguments, receiver included.
    pub fn arity(&self) -> (usize, usize) {
        let required = self.params.iter().take_while(|p| !(p.optional)()).count();
        (required, self.params.len())
    }
}

/// Returns the first sentence of a Markdown text, on one line.
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
        // rustdoc strips one space after the slashes, but a macro sees the comment with it.
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

/// Declares functions of scripts and of Rust; expands to `pub fn declarations() -> &'static [Declaration]` and to a
/// public Rust function for each function that scripts call by name.
///
/// The first word selects how scripts call the functions: `in "filter"` for a namespace, `methods`, `properties` or
/// `global`; a symbol after the name, `fn name["+"](..)`, declares an operator. A body is an expression of type
/// `Result<R>`, where `-> R` is the declared result; `fn name<cx>(..)` gives it the [`Context`]. Methods and
/// properties get no Rust function, since the type has its own. Neither do functions after `script`, as in
/// `script global` and `script in "plot"`, which Rust programs do not need or have in another form.
///
/// The Rust function has the parameters of the declaration, in the same order; [`Argument`](super::Argument) says
/// what each takes. Permitted values are checked as in a script, with the same messages. The [`Context`] is that of
/// [`notebook::context`](crate::notebook::context), which shows notes and, in a Rust notebook, progress.
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
///
///         /// Joins two words.
///         fn join(first: String, second: Option<String>) -> String {
///             Ok(format!("{first}{}", second.unwrap_or_default()))
///         }
///     }
/// }
/// assert_eq!(doubling::declarations()[0].signature(), "demo::double(x: float) -> float");
/// assert_eq!(doubling::double(21.0)?, 42.0);
/// assert_eq!(doubling::join("bell", None)?, "bell");
/// assert_eq!(doubling::join("bell", "tower".to_string())?, "belltower");
/// # Ok::<(), spectral::error::Error>(())
/// ```
#[macro_export]
macro_rules! functions {
    (in $space:literal; $($rest:tt)*) => {
        $crate::functions! { @all ($crate::declare::Form::Namespace($space)) $($rest)* }
        $crate::functions! { @rust (concat!($space, "::")) $($rest)* }
    };
    (global; $($rest:tt)*) => {
        $crate::functions! { @all ($crate::declare::Form::Global) $($rest)* }
        $crate::functions! { @rust ("") $($rest)* }
    };
    (script in $space:literal; $($rest:tt)*) => {
        $crate::functions! { @all ($crate::declare::Form::Namespace($space)) $($rest)* }
    };
    (script global; $($rest:tt)*) => { $crate::functions! { @all ($crate::declare::Form::Global) $($rest)* } };
    (methods; $($rest:tt)*) => { $crate::functions! { @all ($crate::declare::Form::Method) $($rest)* } };
    (properties; $($rest:tt)*) => { $crate::functions! { @all ($crate::declare::Form::Property) $($rest)* } };
    (@rust ($space:expr) $(
        $(#[doc = $doc:literal])*
        fn $name:ident $(<$cx:ident>)? ( $($params:tt)* ) -> $returns:ty
        $body:block
    )*) => {
        $( $crate::functions! { @typed [$($doc)*] $name ($space) ($returns) [] [] $($params)* } )*
    };
    // Goes through the parameters: the first list is the signature so far, the second the names so far.
    (@typed $doc:tt $name:ident $space:tt $returns:tt [$($done:tt)*] [$($names:ident)*]
        $param:ident : bool $(, $($rest:tt)*)?) => {
        $crate::functions! { @typed $doc $name $space $returns [$($done)* $param: bool,] [$($names)* $param] $($($rest)*)? }
    };
    (@typed $doc:tt $name:ident $space:tt $returns:tt [$($done:tt)*] [$($names:ident)*]
        $param:ident : i64 $(, $($rest:tt)*)?) => {
        $crate::functions! { @typed $doc $name $space $returns [$($done)* $param: i64,] [$($names)* $param] $($($rest)*)? }
    };
    (@typed $doc:tt $name:ident $space:tt $returns:tt [$($done:tt)*] [$($names:ident)*]
        $param:ident : usize $(, $($rest:tt)*)?) => {
        $crate::functions! { @typed $doc $name $space $returns [$($done)* $param: usize,] [$($names)* $param] $($($rest)*)? }
    };
    (@typed $doc:tt $name:ident $space:tt $returns:tt [$($done:tt)*] [$($names:ident)*]
        $param:ident : u64 $(, $($rest:tt)*)?) => {
        $crate::functions! { @typed $doc $name $space $returns [$($done)* $param: u64,] [$($names)* $param] $($($rest)*)? }
    };
    (@typed $doc:tt $name:ident $space:tt $returns:tt [$($done:tt)*] [$($names:ident)*]
        $param:ident : f64 $(, $($rest:tt)*)?) => {
        $crate::functions! { @typed $doc $name $space $returns [$($done)* $param: f64,] [$($names)* $param] $($($rest)*)? }
    };
    (@typed $doc:tt $name:ident $space:tt $returns:tt [$($done:tt)*] [$($names:ident)*]
        $param:ident : $type:ty $(, $($rest:tt)*)?) => {
        $crate::functions! {
            @typed $doc $name $space $returns [$($done)* $param: impl $crate::declare::Argument<$type>,] [$($names)* $param] $($($rest)*)?
        }
    };
    (@typed [$($doc:literal)*] $name:ident ($space:expr) ($returns:ty) [$($signature:tt)*] [$($param:ident)*]) => {
        $(#[doc = $doc])*
        #[allow(
            rustdoc::broken_intra_doc_links,
            rustdoc::invalid_html_tags,
            reason = "the documentation is written for scripts"
        )]
        pub fn $name($($signature)*) -> $crate::error::Result<$returns> {
            let run = || Declared::$name(
                &$crate::notebook::context(),
                $( $crate::declare::Argument::argument($param)? ),*
            );
            run().map_err(|error| {
                let name = $crate::declare::function::plain(stringify!($name));
                error.context(format!("`{}{name}`", $space))
            })
        }
    };
    (@all ($form:expr) $(
        $(#[doc = $doc:literal])*
        fn $name:ident $([$symbol:literal])? $(<$cx:ident>)? ( $($param:ident : $type:ty),* $(,)? ) -> $returns:ty
        $body:block
    )*) => {
        /// The bodies, which scripts and Rust programs share.
        struct Declared;

        #[allow(non_snake_case, reason = "names are those of scripts, such as `x.T`")]
        impl Declared {
            $(
                fn $name(_context: &$crate::context::Context, $($param: $type),*) -> $crate::error::Result<$returns> {
                    $( let $cx = _context; )?
                    $body
                }
            )*
        }

        /// Returns the functions declared here.
        pub(crate) fn declarations() -> &'static [$crate::declare::Declaration] {
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
                    body: |context, values| {
                        #[allow(unused_mut, reason = "there may be no parameters")]
                        let mut arguments = $crate::declare::arguments::Arguments::new(values);
                        $( let $param = arguments.take::<$type>(stringify!($param))?; )*
                        arguments.end()?;
                        Declared::$name(context, $($param),*).map($crate::declare::IntoValue::into_value)
                    },
                },
            )*];
            DECLARATIONS
        }
    };
    (@form ($form:expr)) => { $form };
    (@form ($form:expr) $symbol:literal) => { $crate::declare::Form::Operator($symbol) };
}

/// Returns a Rust identifier without the `r#` that a Rust keyword needs.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
