//! The path of the crate `spectral` in the code that the derives write.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::quote;

/// Stands for the path until the code is complete.
const PLACEHOLDER: &str = "__spectral";

/// Replaces the placeholder by `crate` in `spectral` itself, and by `::spectral` in other crates and in the examples
/// of documentation, which are crates of their own.
pub fn completed(code: TokenStream) -> TokenStream {
    let itself = std::env::var("CARGO_CRATE_NAME").is_ok_and(|name| name == "spectral")
        && std::env::var_os("UNSTABLE_RUSTDOC_TEST_PATH").is_none();
    replaced(
        code,
        &if itself {
            quote! { crate }
        } else {
            quote! { ::spectral }
        },
    )
}

fn replaced(code: TokenStream, path: &TokenStream) -> TokenStream {
    let each = |token| match token {
        TokenTree::Ident(word) if word == PLACEHOLDER => path.clone(),
        TokenTree::Group(group) => {
            let mut inside = Group::new(group.delimiter(), replaced(group.stream(), path));
            inside.set_span(group.span());
            TokenTree::Group(inside).into()
        }
        other => other.into(),
    };
    code.into_iter().flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_stands_for_the_placeholder_at_any_depth() {
        let code = quote! { impl __spectral::A for crate::B { fn f() { __spectral::g(&[__spectral::h]) } } };
        let expected =
            quote! { impl ::spectral::A for crate::B { fn f() { ::spectral::g(&[::spectral::h]) } } };
        assert_eq!(replaced(code, &quote! { ::spectral }).to_string(), expected.to_string());
    }
}
