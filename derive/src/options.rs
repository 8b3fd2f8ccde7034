//! The derive `Options`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{
    Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, RangeLimits, Result, Type,
};

use crate::doc;

/// What `#[options(..)]` says about the struct.
#[derive(Default)]
struct Whole {
    preset: Option<Type>,
    stored: Option<LitStr>,
}

/// A field and what `#[option(..)]` says about it.
struct Item<'a> {
    field: &'a Ident,
    name: String,
    kind: &'a Type,
    doc: String,
    default: Option<Expr>,
    allowed: Option<TokenStream>,
    flatten: bool,
    omit: bool,
    changeable: bool,
    shown: Option<LitStr>,
    alias: Option<LitStr>,
    receives: Option<Expr>,
    takes: Option<Expr>,
}

/// Returns the code of the derive.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => return Err(Error::new_spanned(&input.ident, "`Options` needs named fields")),
        },
        _ => return Err(Error::new_spanned(&input.ident, "`Options` needs a struct")),
    };
    let whole = Whole::read(input)?;
    let items = fields.iter().map(Item::read).collect::<Result<Vec<_>>>()?;
    let this = &input.ident;
    let doc = doc(&input.attrs);
    let list = list(&whole, &items);
    let default = default(&whole, &items);
    let set = set(&whole, &items);
    let into = items.iter().map(|item| {
        let (field, name) = (item.field, &item.name);
        match item.flatten {
            true => quote! { map.extend(__spectral::declare::Options::to_map(&self.#field)); },
            false => quote! { __spectral::declare::options::put(&mut map, #name, &self.#field); },
        }
    });
    let restored = restored(&whole, &items);
    let stored = whole.stored.as_ref().map(|what| stored(this, what, &items));
    Ok(quote! {
        impl ::std::default::Default for #this {
            fn default() -> Self {
                #default
            }
        }

        impl __spectral::declare::Options for #this {
            const FIELDS: &'static [__spectral::declare::Field] = #list;
            const DOC: &'static str = #doc;

            fn set(&mut self, map: &__spectral::declare::Map) -> __spectral::error::Result<()> {
                #set
                Ok(())
            }

            fn restore(&mut self, map: &__spectral::declare::Map, file: Option<&str>) -> __spectral::error::Result<()> {
                #restored
                Ok(())
            }

            fn to_map(&self) -> __spectral::declare::Map {
                #[allow(unused_mut)]
                let mut map = __spectral::declare::Map::new();
                #(#into)*
                map
            }
        }

        #stored

        impl __spectral::declare::serde::Serialize for #this {
            fn serialize<S: __spectral::declare::serde::Serializer>(&self, to: S) -> ::std::result::Result<S::Ok, S::Error> {
                __spectral::declare::serial::serialize(self, to)
            }
        }

        impl<'de> __spectral::declare::serde::Deserialize<'de> for #this {
            fn deserialize<D: __spectral::declare::serde::Deserializer<'de>>(from: D) -> ::std::result::Result<Self, D::Error> {
                __spectral::declare::serial::deserialize(from)
            }
        }

        impl __spectral::declare::FromValue for #this {
            fn label() -> String {
                "map".to_string()
            }
            fn from_value(value: &__spectral::declare::Value) -> __spectral::error::Result<Self> {
                __spectral::declare::options::read(value)
            }
            fn missing() -> Option<__spectral::error::Result<Self>> {
                Some(Ok(Self::default()))
            }
            fn fields() -> &'static [__spectral::declare::Field] {
                <Self as __spectral::declare::Options>::FIELDS
            }
            fn validate(&self) -> __spectral::error::Result<()> {
                __spectral::declare::Options::check(self)
            }
        }

        impl From<()> for #this {
            /// Returns the defaults.
            fn from((): ()) -> Self {
                Self::default()
            }
        }

        impl From<&#this> for #this {
            fn from(options: &#this) -> Self {
                options.clone()
            }
        }

        impl __spectral::declare::IntoValue for #this {
            fn label() -> String {
                "map".to_string()
            }
            fn into_value(self) -> __spectral::declare::Value {
                __spectral::declare::Value::Map(__spectral::declare::Options::to_map(&self))
            }
        }
    })
}

/// Writes the declared options; those of a field with `flatten` stand in its place.
fn list(whole: &Whole, items: &[Item]) -> TokenStream {
    let preset = whole.preset.as_ref().map(|kind| {
        quote! {
            __spectral::declare::Field {
                name: "preset",
                doc: <#kind as __spectral::declare::Choice>::DOC,
                label: <#kind as __spectral::declare::FromValue>::label,
                default: || __spectral::declare::IntoValue::into_value(<#kind as ::std::default::Default>::default()),
                allowed: <#kind as __spectral::declare::FromValue>::allowed,
                fields: <#kind as __spectral::declare::FromValue>::fields,
                shown: "",
                changeable: false,
                alias: "",
                receives: &[],
                takes: &[],
            }
        }
    });
    let mut groups = Vec::new();
    let mut own: Vec<TokenStream> = preset.into_iter().collect();
    for item in items {
        if item.flatten {
            let kind = item.kind;
            groups.push(quote! { &[#(#own),*] });
            groups.push(quote! { <#kind as __spectral::declare::Options>::FIELDS });
            own.clear();
        } else {
            own.push(item.declared(whole));
        }
    }
    if groups.is_empty() {
        return quote! { &[#(#own),*] };
    }
    groups.push(quote! { &[#(#own),*] });
    quote! {
        {
            const GROUPS: &[&[__spectral::declare::Field]] = &[#(#groups),*];
            &__spectral::declare::joined::<_, { __spectral::declare::count(GROUPS) }>(
                GROUPS,
                __spectral::declare::options::NONE,
            )
        }
    }
}

fn default(whole: &Whole, items: &[Item]) -> TokenStream {
    let values = items.iter().map(|item| {
        let (field, value) = (item.field, item.default());
        quote! { #field: #value }
    });
    let made = quote! { Self { #(#values),* } };
    match &whole.preset {
        None => made,
        Some(kind) => quote! {
            let mut options = #made;
            __spectral::declare::Preset::set(<#kind as ::std::default::Default>::default(), &mut options);
            options
        },
    }
}

fn set(whole: &Whole, items: &[Item]) -> TokenStream {
    let preset = preset(whole);
    let each = items.iter().map(|item| {
        let (field, name, allowed) = (item.field, &item.name, item.allowed());
        match item {
            Item { flatten: true, .. } => {
                quote! { __spectral::declare::Options::set(&mut self.#field, map)?; }
            }
            // `()` is no value of such an option, but leaves it to the preset.
            Item { default: None, .. } if whole.preset.is_some() => quote! {
                if !matches!(map.get(#name), Some(__spectral::declare::Value::Unit)) {
                    __spectral::declare::options::assign(&mut self.#field, map, #name, #allowed)?;
                }
            },
            Item { alias: Some(alias), .. } => quote! {
                let given = __spectral::declare::renamed::name_in(map, #name, #alias)?;
                __spectral::declare::options::assign(&mut self.#field, map, given, #allowed)?;
            },
            _ => quote! { __spectral::declare::options::assign(&mut self.#field, map, #name, #allowed)?; },
        }
    });
    quote! { #preset #(#each)* }
}

/// Writes what sets the options to the values that a file has.
fn restored(whole: &Whole, items: &[Item]) -> TokenStream {
    let preset = preset(whole);
    let each = items.iter().map(|item| {
        let (field, name) = (item.field, &item.name);
        let optional = item.default.is_some();
        match item {
            Item { flatten: true, .. } => {
                quote! { __spectral::declare::Options::restore(&mut self.#field, map, file)?; }
            }
            Item { alias: Some(alias), .. } => quote! {
                let given = match file {
                    Some(_) if map.contains_key(#alias) => #alias,
                    Some(_) => #name,
                    None => __spectral::declare::renamed::name_in(map, #name, #alias)?,
                };
                __spectral::declare::options::restore(&mut self.#field, map, given, file, #optional)?;
            },
            _ => quote! { __spectral::declare::options::restore(&mut self.#field, map, #name, file, #optional)?; },
        }
    });
    quote! { #preset #(#each)* }
}

/// Writes what applies the option `preset`.
fn preset(whole: &Whole) -> Option<TokenStream> {
    let kind = whole.preset.as_ref()?;
    Some(quote! { __spectral::declare::options::preset::<Self, #kind>(self, map)?; })
}

/// Writes the methods for files.
fn stored(this: &Ident, what: &LitStr, items: &[Item]) -> TokenStream {
    let left_out = items.iter().filter(|item| item.omit).map(|item| {
        let (field, name) = (item.field, &item.name);
        quote! {
            if self.#field == usual.#field {
                map.remove(#name);
            }
        }
    });
    quote! {
        impl #this {
            /// Returns the options as files store them; handles become data when they are written.
            pub fn to_stored(&self) -> __spectral::declare::Map {
                let usual = Self::default();
                let mut map = __spectral::declare::Options::to_map(self);
                #(#left_out)*
                map
            }

            /// Restores options from the output of `to_stored` or from its data. An option that has a default may
            /// be missing, since the file may be older than the option.
            pub fn from_stored(map: &__spectral::declare::Map) -> __spectral::error::Result<Self> {
                let mut options = Self::default();
                __spectral::declare::Options::restore(&mut options, map, Some(#what))?;
                Ok(options)
            }
        }
    }
}

impl Whole {
    fn read(input: &DeriveInput) -> Result<Self> {
        let mut whole = Self::default();
        for attribute in input.attrs.iter().filter(|a| a.path().is_ident("options")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("preset") {
                    whole.preset = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("stored") {
                    whole.stored = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error("expected `preset` or `stored`"));
                }
                Ok(())
            })?;
        }
        Ok(whole)
    }
}

impl<'a> Item<'a> {
    fn read(field: &'a Field) -> Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "`Options` needs named fields"));
        };
        let mut item = Self {
            field: ident,
            name: ident.unraw().to_string(),
            kind: &field.ty,
            doc: doc(&field.attrs),
            default: None,
            allowed: None,
            flatten: false,
            omit: false,
            changeable: false,
            shown: None,
            alias: None,
            receives: None,
            takes: None,
        };
        for attribute in field.attrs.iter().filter(|a| a.path().is_ident("option")) {
            attribute.parse_nested_meta(|meta| {
                let is = |name: &str| meta.path.is_ident(name);
                if is("default") {
                    item.default = Some(meta.value()?.parse()?);
                } else if is("range") {
                    item.allowed = Some(range(&meta.value()?.parse()?)?);
                } else if is("flatten") {
                    item.flatten = true;
                } else if is("omit") {
                    item.omit = true;
                } else if is("changeable") {
                    item.changeable = true;
                } else if is("shown") {
                    item.shown = Some(meta.value()?.parse()?);
                } else if is("alias") {
                    item.alias = Some(meta.value()?.parse()?);
                } else if is("receives") {
                    item.receives = Some(meta.value()?.parse()?);
                } else if is("takes") {
                    item.takes = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error(
                        "expected `default`, `range`, `flatten`, `omit`, `changeable`, `shown`, `alias`, `receives` or `takes`",
                    ));
                }
                Ok(())
            })?;
        }
        if item.omit && item.default.is_none() {
            return Err(Error::new_spanned(ident, "`omit` needs a `default`"));
        }
        Ok(item)
    }

    /// Writes the default value; a string literal serves for a `String`.
    fn default(&self) -> TokenStream {
        match &self.default {
            None => quote! { ::std::default::Default::default() },
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => quote! { #text.to_string() },
            Some(value) => quote! { #value },
        }
    }

    /// Writes the function that returns the permitted values.
    fn allowed(&self) -> TokenStream {
        let kind = self.kind;
        match &self.allowed {
            Some(allowed) => quote! { || #allowed },
            None => quote! { <#kind as __spectral::declare::FromValue>::allowed },
        }
    }

    /// Writes the description of the option.
    fn declared(&self, whole: &Whole) -> TokenStream {
        let (name, kind, allowed) = (&self.name, self.kind, self.allowed());
        let doc = match &self.alias {
            None => self.doc.clone(),
            Some(old) => {
                format!("{} Formerly `{}`, which is still accepted.\n", self.doc.trim_end(), old.value())
            }
        };
        let changeable = self.changeable;
        let shown = self.shown.as_ref().map_or(String::new(), LitStr::value);
        let alias = self.alias.as_ref().map_or(String::new(), LitStr::value);
        let receives = self.receives.as_ref().map_or(quote! { &[] }, |keys| quote! { #keys });
        let takes = self.takes.as_ref().map_or(quote! { &[] }, |lists| quote! { &#lists });
        let default = match (&self.default, &whole.preset) {
            (None, Some(_)) => quote! { || __spectral::declare::Value::Unit },
            _ => {
                let value = self.default();
                quote! {
                    || {
                        let value: #kind = #value;
                        __spectral::declare::IntoValue::into_value(value)
                    }
                }
            }
        };
        quote! {
            __spectral::declare::Field {
                name: #name,
                doc: #doc,
                label: <#kind as __spectral::declare::FromValue>::label,
                default: #default,
                allowed: #allowed,
                fields: <#kind as __spectral::declare::FromValue>::fields,
                shown: #shown,
                changeable: #changeable,
                alias: #alias,
                receives: #receives,
                takes: #takes,
            }
        }
    }
}

/// Writes the permitted numbers of a range with a start.
fn range(range: &Expr) -> Result<TokenStream> {
    let wrong = || Error::new_spanned(range, "expected a range such as `1..` or `0.0..=1.0`");
    let Expr::Range(range) = range else { return Err(wrong()) };
    let Some(low) = &range.start else { return Err(wrong()) };
    match (&range.end, &range.limits) {
        (None, _) => Ok(quote! { __spectral::declare::Allowed::Range((#low) as f64, f64::INFINITY) }),
        (Some(high), RangeLimits::Closed(_)) => {
            Ok(quote! { __spectral::declare::Allowed::Range((#low) as f64, (#high) as f64) })
        }
        (Some(high), RangeLimits::HalfOpen(_)) => {
            Ok(quote! { __spectral::declare::Allowed::Below((#low) as f64, (#high) as f64) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn what_cannot_be_options_is_refused_with_the_reason() {
        let message = |input| derive(&input).unwrap_err().to_string();
        assert_eq!(
            message(parse_quote!(
                enum A {
                    B,
                }
            )),
            "`Options` needs a struct"
        );
        assert_eq!(
            message(parse_quote!(
                struct A(i64);
            )),
            "`Options` needs named fields"
        );
        let field = |attribute: TokenStream| message(parse_quote!(struct A { #attribute a: i64 }));
        assert!(field(quote!(#[option(low = 1)])).starts_with("expected `default`, `range`"));
        assert_eq!(field(quote!(#[option(omit)])), "`omit` needs a `default`");
        for range in [quote!(1), quote!(..=1), quote!(..1)] {
            let found = field(quote!(#[option(range = #range)]));
            assert_eq!(found, "expected a range such as `1..` or `0.0..=1.0`");
        }
        let whole = message(parse_quote!(
            #[options(kept = "a")]
            struct A {
                a: i64,
            }
        ));
        assert_eq!(whole, "expected `preset` or `stored`");
    }

    #[test]
    fn ranges_may_be_open_and_follow_one_another_with_other_words() {
        let code = derive(&parse_quote! {
            struct A {
                #[option(range = 1.., default = 4)]
                a: i64,
                #[option(default = -0.5, range = -1.0..=1.0)]
                b: f64,
                #[option(default = 0.5, range = 0.0..1.0)]
                c: f64,
            }
        });
        let code = code.unwrap().to_string();
        assert!(code.contains("Range ((1) as f64 , f64 :: INFINITY)"), "{code}");
        assert!(code.contains("Range ((- 1.0) as f64 , (1.0) as f64)"), "{code}");
        assert!(
            code.contains("__spectral :: declare :: Allowed :: Below ((0.0) as f64 , (1.0) as f64)"),
            "{code}"
        );
    }
}
