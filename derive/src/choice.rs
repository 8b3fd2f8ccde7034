//! The derive `Choice`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Type, Variant};

use crate::doc;

/// Returns the code of the derive.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "`Choice` needs an enum"));
    };
    let this = &input.ident;
    let words = data.variants.iter().map(Words::read).collect::<Result<Vec<_>>>()?;
    let filler = words.iter().find_map(Words::own);
    let Some(filler) = filler else {
        return Err(Error::new_spanned(this, "a `Choice` needs a variant without fields"));
    };
    let all =
        joined(&quote! { #this }, &quote! { #this::#filler }, words.iter().map(|w| w.values(this, filler)));
    let texts = quote! { &'static str };
    let names = joined(&texts, &quote! { "" }, words.iter().map(Words::names));
    let docs = joined(&texts, &quote! { "" }, words.iter().map(Words::docs));
    let name = words.iter().map(Words::name);
    let about = doc(&input.attrs);
    Ok(quote! {
        impl __spectral::declare::Choice for #this {
            const ALL: &'static [Self] = #all;
            const NAMES: &'static [&'static str] = #names;
            const DOCS: &'static [&'static str] = #docs;
            const DOC: &'static str = #about;

            fn name(self) -> &'static str {
                match self { #(#name),* }
            }
        }

        impl ::std::fmt::Display for #this {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(__spectral::declare::Choice::name(*self))
            }
        }

        impl __spectral::declare::serde::Serialize for #this {
            fn serialize<S: __spectral::declare::serde::Serializer>(&self, to: S) -> ::std::result::Result<S::Ok, S::Error> {
                to.serialize_str(__spectral::declare::Choice::name(*self))
            }
        }

        impl<'de> __spectral::declare::serde::Deserialize<'de> for #this {
            fn deserialize<D: __spectral::declare::serde::Deserializer<'de>>(from: D) -> ::std::result::Result<Self, D::Error> {
                __spectral::declare::serial::choice(from)
            }
        }

        impl __spectral::declare::FromValue for #this {
            fn label() -> String {
                "string".to_string()
            }
            fn from_value(value: &__spectral::declare::Value) -> __spectral::error::Result<Self> {
                __spectral::declare::choice::read(value)
            }
            fn allowed() -> __spectral::declare::Allowed {
                __spectral::declare::Allowed::OneOf(<Self as __spectral::declare::Choice>::NAMES)
            }
        }

        impl __spectral::declare::IntoValue for #this {
            fn label() -> String {
                "string".to_string()
            }
            fn into_value(self) -> __spectral::declare::Value {
                __spectral::declare::Value::Str(self.to_string())
            }
        }
    })
}

/// The words of a variant.
enum Words<'a> {
    /// A word of its own.
    One { variant: &'a Ident, name: String, doc: String },
    /// The words of another choice, which is its only field.
    Of { variant: &'a Ident, choice: &'a Type },
}

impl<'a> Words<'a> {
    fn read(variant: &'a Variant) -> Result<Self> {
        let mut name = snake(&variant.ident.to_string());
        let mut flatten = false;
        for attribute in variant.attrs.iter().filter(|a| a.path().is_ident("choice")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    name = meta.value()?.parse::<LitStr>()?.value();
                } else if meta.path.is_ident("flatten") {
                    flatten = true;
                } else {
                    return Err(meta.error("expected `name = \"..\"` or `flatten`"));
                }
                Ok(())
            })?;
        }
        let ident = &variant.ident;
        match (&variant.fields, flatten) {
            (Fields::Unit, false) => Ok(Self::One { variant: ident, name, doc: doc(&variant.attrs) }),
            (Fields::Unnamed(fields), true) if fields.unnamed.len() == 1 => {
                Ok(Self::Of { variant: ident, choice: &fields.unnamed[0].ty })
            }
            (_, true) => Err(Error::new_spanned(variant, "`flatten` needs one field, which is a `Choice`")),
            _ => Err(Error::new_spanned(variant, "a variant of a `Choice` has no fields")),
        }
    }

    /// Returns the variant, if its word is its own.
    fn own(&self) -> Option<&'a Ident> {
        match self {
            Self::One { variant, .. } => Some(variant),
            Self::Of { .. } => None,
        }
    }

    /// Writes the list of values.
    fn values(&self, this: &Ident, filler: &Ident) -> TokenStream {
        match self {
            Self::One { variant, .. } => quote! { &[#this::#variant] },
            Self::Of { variant, choice } => quote! {
                &{
                    let mut all = [#this::#filler; <#choice as __spectral::declare::Choice>::ALL.len()];
                    let mut i = 0;
                    while i < all.len() {
                        all[i] = #this::#variant(<#choice as __spectral::declare::Choice>::ALL[i]);
                        i += 1;
                    }
                    all
                }
            },
        }
    }

    /// Writes the list of words.
    fn names(&self) -> TokenStream {
        match self {
            Self::One { name, .. } => quote! { &[#name] },
            Self::Of { choice, .. } => quote! { <#choice as __spectral::declare::Choice>::NAMES },
        }
    }

    /// Writes the list of comments.
    fn docs(&self) -> TokenStream {
        match self {
            Self::One { doc, .. } => quote! { &[#doc] },
            Self::Of { choice, .. } => quote! { <#choice as __spectral::declare::Choice>::DOCS },
        }
    }

    /// Writes the match arm from the value to its word.
    fn name(&self) -> TokenStream {
        match self {
            Self::One { variant, name, .. } => quote! { Self::#variant => #name },
            Self::Of { variant, .. } => {
                quote! { Self::#variant(one) => __spectral::declare::Choice::name(one) }
            }
        }
    }
}

/// Writes a list that consists of the given ones.
fn joined(
    kind: &TokenStream,
    filler: &TokenStream,
    groups: impl Iterator<Item = TokenStream>,
) -> TokenStream {
    quote! {
        {
            const GROUPS: &[&[#kind]] = &[#(#groups),*];
            &__spectral::declare::joined::<#kind, { __spectral::declare::count(GROUPS) }>(GROUPS, #filler)
        }
    }
}

/// Writes a name in snake case: `XavierUniform` becomes `xavier_uniform`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn words_are_variants_in_snake_case_unless_named() {
        assert_eq!(["Rk4", "XavierUniform", "Float32"].map(snake), ["rk4", "xavier_uniform", "float32"]);
        let variant = parse_quote!(
            #[choice(name = "DiT-S/2")]
            DitS2
        );
        assert_eq!(Words::read(&variant).unwrap().names().to_string(), "& [\"DiT-S/2\"]");
    }

    #[test]
    fn what_has_no_words_is_refused() {
        let message = |input| derive(&input).unwrap_err().to_string();
        assert_eq!(
            message(parse_quote!(
                struct A;
            )),
            "`Choice` needs an enum"
        );
        assert_eq!(
            message(parse_quote!(
                enum A {
                    B(i64),
                }
            )),
            "a variant of a `Choice` has no fields"
        );
        assert_eq!(
            message(parse_quote!(
                enum A {
                    #[choice(word = "b")]
                    B,
                }
            )),
            "expected `name = \"..\"` or `flatten`"
        );
        assert_eq!(
            message(parse_quote!(
                enum A {
                    #[choice(flatten)]
                    B,
                }
            )),
            "`flatten` needs one field, which is a `Choice`"
        );
        assert_eq!(
            message(parse_quote!(
                enum A {
                    #[choice(flatten)]
                    B(C),
                }
            )),
            "a `Choice` needs a variant without fields"
        );
    }
}
