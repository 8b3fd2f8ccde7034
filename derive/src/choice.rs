//! The derive `Choice`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant};

use crate::doc;

/// Returns the code of the derive.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "`Choice` needs an enum"));
    };
    let this = &input.ident;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let names = data.variants.iter().map(name).collect::<Result<Vec<_>>>()?;
    let docs = data.variants.iter().map(|variant| doc(&variant.attrs));
    let about = doc(&input.attrs);
    Ok(quote! {
        impl crate::declare::Choice for #this {
            const ALL: &'static [Self] = &[#(Self::#variants),*];
            const NAMES: &'static [&'static str] = &[#(#names),*];
            const DOCS: &'static [&'static str] = &[#(#docs),*];
            const DOC: &'static str = #about;

            fn name(self) -> &'static str {
                match self { #(Self::#variants => #names),* }
            }
        }

        impl ::std::fmt::Display for #this {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(crate::declare::Choice::name(*self))
            }
        }

        impl crate::declare::FromValue for #this {
            fn label() -> String {
                "string".to_string()
            }
            fn from_value(value: &crate::declare::Value) -> crate::error::Result<Self> {
                crate::declare::choice::read(value)
            }
            fn allowed() -> crate::declare::Allowed {
                crate::declare::Allowed::OneOf(<Self as crate::declare::Choice>::NAMES)
            }
        }

        impl crate::declare::IntoValue for #this {
            fn label() -> String {
                "string".to_string()
            }
            fn into_value(self) -> crate::declare::Value {
                crate::declare::Value::Str(self.to_string())
            }
        }
    })
}

/// Returns the word of a variant.
fn name(variant: &Variant) -> Result<String> {
    if !matches!(variant.fields, Fields::Unit) {
        return Err(Error::new_spanned(variant, "a variant of a `Choice` has no fields"));
    }
    let mut name = snake(&variant.ident.to_string());
    for attribute in variant.attrs.iter().filter(|a| a.path().is_ident("choice")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error("expected `name = \"..\"`"));
            }
            name = meta.value()?.parse::<LitStr>()?.value();
            Ok(())
        })?;
    }
    Ok(name)
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
        assert_eq!(
            name(&parse_quote!(
                #[choice(name = "DiT-S/2")]
                DitS2
            ))
            .unwrap(),
            "DiT-S/2"
        );
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
            "expected `name = \"..\"`"
        );
    }
}
