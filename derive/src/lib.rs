//! Derives of `spectral`: an option map from a struct, and a closed set of words from an enum.
//!
//! `spectral::declare` documents what the traits do.

mod choice;
mod options;
mod path;

use proc_macro::TokenStream;
use syn::{Attribute, DeriveInput, Expr, ExprLit, Lit, Meta, parse_macro_input};

/// Derives `Options`, `Default`, serde's `Serialize` and `Deserialize`, and the conversions of an option map from a struct
/// with named fields.
///
/// The comment of a field is the documentation of its option. `#[option(..)]` takes
///
/// - `default = EXPR`: the value of an option that is not given; without it, that of the type's `Default`
/// - `range = 1..`, `range = 0.0..=1.0` or `range = 0.0..1.0`: the permitted numbers
/// - `receives = KEYS`: keys and types of the map that the function in this option receives
/// - `takes = ["x, t", "x, t, y"]`: the arguments of the function in this option, one list for each number of them
/// - `flatten`: the field is an option struct, whose options stand among these
/// - `omit`: files leave the option out while it has its default, as files did that are older than the option
/// - `changeable`: the call that resumes a run may give the option another value
/// - `alias = "OLD"`: the former name of the option, which is still accepted, with a note
/// - `shown = "width {}"`: how one line that describes the value mentions the option, if it is not at its default
///
/// `#[options(..)]` on the struct takes
///
/// - `preset = TYPE`: the option `preset`, a `Choice` of that type, sets the options without a `default`
/// - `stored = "a stored model"`: methods `to_stored` and `from_stored` for files; the words name the data in messages
#[proc_macro_derive(Options, attributes(option, options))]
pub fn options(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    path::completed(options::derive(&input).unwrap_or_else(syn::Error::into_compile_error)).into()
}

/// Derives `Choice`, `Display`, serde's `Serialize` and `Deserialize`, and the conversions of a word from an enum.
///
/// The word of a variant is its name in snake case, or that in `#[choice(name = "..")]`; its comment is the
/// documentation of the word. A variant with `#[choice(flatten)]` has one field, another `Choice`, and its words.
#[proc_macro_derive(Choice, attributes(choice))]
pub fn choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    path::completed(choice::derive(&input).unwrap_or_else(syn::Error::into_compile_error)).into()
}

/// Returns the text of a `///` comment, one line each.
fn doc(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &pair.value
        {
            text.push_str(&line.value());
            text.push('\n');
        }
    }
    text
}
