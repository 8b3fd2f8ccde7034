//! Declaration of operators: one entry gives the Rust method and the script method.

use crate::declare::{IntoValue, Map, Number, OneOrMany};
use crate::error::Result;
use crate::torch::Tensor;

/// Declares operators as methods of [`Tensor`] and as methods of tensors in scripts.
///
/// An entry has documentation with an example, the receiver, the parameters, and an implementation:
///
/// - `fn relu(x) = f_relu();` passes the arguments to a fallible function of tch. Arguments in a final `small(..)` are
///   checked first, see [`small`].
/// - `fn ravel(x) -> Tensor { .. }` has a body that returns a `Result`.
/// - `fn svd(x) => (u, s, vh) { .. }` returns several tensors: a tuple in Rust, a map with these keys in scripts.
///
/// Parameters are written with the type of scripts; [`Argument`] determines the type of the Rust method. `dim: i64 = -1`
/// may be omitted in scripts. Options come last, after a semicolon: of `options: Reduce { keepdim: bool }` scripts see the
/// option map `Reduce`, and the Rust method the parameter `keepdim`.
macro_rules! operators {
    ($(
        $(#[doc = $doc:literal])*
        fn $name:ident ( $x:ident $(, $arg:ident : $type:ty $(= $default:expr)?)*
            $(; $options:ident : $struct:ty { $($field:ident : $field_type:ty),* $(,)? })? )
        $(= $f:ident ( $($pass:expr),* $(,)? ) $(small($($small:ident),*))? ;)?
        $(-> $returns:ty $body:block)?
        $(=> ($($part:ident),+) $parts_body:block)?
    )*) => {
        impl $crate::torch::Tensor {$(
            $(#[doc = $doc])*
            #[allow(clippy::too_many_arguments, clippy::should_implement_trait, reason = "they are PyTorch's")]
            pub fn $name(
                &self
                $(, $arg: <$type as $crate::torch::ops::declare::Argument>::Rust<'_>)*
                $($(, $field: <$field_type as $crate::torch::ops::declare::Argument>::Rust<'_>)*)?
            ) -> $crate::error::Result<$crate::torch::ops::declare::operators!(@rust [$($returns)?] [$($($part)+)?])> {
                let $x = self;
                $(
                    $($( $crate::torch::sizes::small(stringify!($small), $small)?; )*)?
                    $crate::torch::checked($x.raw().$f($($pass),*)).map($crate::torch::Tensor::wrap)
                )?
                $($body)?
                $($parts_body)?
            }
        )*}

        /// The same operators as methods in scripts.
        pub(in $crate::torch) mod methods {
            #[allow(unused_imports, reason = "a block may use no name of its file")]
            use super::*;

            $crate::functions! { methods; $(
                $(#[doc = $doc])*
                fn $name(
                    $x: $crate::torch::Tensor
                    $(, $arg: $crate::torch::ops::declare::operators!(@script $type $(, $default)?))*
                    $(, $options: $struct)?
                ) -> $crate::torch::ops::declare::operators!(@returns [$($returns)?] [$($($part)+)?]) {
                    let result = $x.$name(
                        $($crate::torch::ops::declare::operators!(@lend $x, $arg, $type $(, $default)?),)*
                        $($($crate::torch::ops::declare::operators!(@lend $x, $options.$field, $field_type),)*)?
                    );
                    $crate::torch::ops::declare::operators!(@result result [$($($part)+)?])
                }
            )* }
        }
    };
    (@rust [] []) => { $crate::torch::Tensor };
    (@rust [$type:ty] []) => { $type };
    (@rust [] [$($part:ident)+]) => { ($($crate::torch::ops::declare::operators!(@tensor $part)),+) };
    (@tensor $part:ident) => { $crate::torch::Tensor };
    (@returns [] []) => { $crate::torch::Tensor };
    (@returns [$type:ty] []) => { $type };
    (@returns [] [$($part:ident)+]) => { $crate::declare::Map };
    (@script $type:ty) => { $type };
    (@script $type:ty, $default:expr) => { Option<$type> };
    (@lend $x:ident, $value:expr, $type:ty) => {
        <$type as $crate::torch::ops::declare::Argument>::lend(
            &<$type as $crate::torch::ops::declare::Argument>::hold($value, &$x)?
        )
    };
    (@lend $x:ident, $value:expr, $type:ty, $default:expr) => { $value.unwrap_or($default) };
    (@result $result:ident []) => { $result };
    (@result $result:ident [$($part:ident)+]) => {{
        let ($($part),+) = $result?;
        Ok($crate::torch::ops::declare::record([$((stringify!($part), $part)),+]))
    }};
}
pub(in crate::torch) use operators;

/// A parameter type of scripts, and its type in the Rust method.
pub trait Argument: Sized {
    /// What the script method keeps while it calls the Rust method.
    type Held;
    /// Type of the parameter in the Rust method.
    type Rust<'a>;

    /// Prepares the argument for a call on the tensor `x`.
    fn hold(self, x: &Tensor) -> Result<Self::Held>;

    /// Returns the argument of the Rust method.
    fn lend(held: &Self::Held) -> Self::Rust<'_>;
}

macro_rules! arguments {
    ($($type:ty: $rust:ty, |$held:ident| $lend:expr;)*) => {$(
        impl Argument for $type {
            type Held = $type;
            type Rust<'a> = $rust;
            fn hold(self, _: &Tensor) -> Result<Self> {
                Ok(self)
            }
            fn lend($held: &Self) -> Self::Rust<'_> {
                $lend
            }
        }
    )*};
}
pub(in crate::torch) use arguments;

arguments! {
    i64: i64, |x| *x;
    f64: f64, |x| *x;
    bool: bool, |x| *x;
    Number: Number, |x| *x;
    Option<i64>: Option<i64>, |x| *x;
    Option<f64>: Option<f64>, |x| *x;
    Option<(f64, f64)>: Option<(f64, f64)>, |x| *x;
    Option<(i64, i64)>: Option<(i64, i64)>, |x| *x;
    (i64, i64): (i64, i64), |x| *x;
    String: &'a str, |text| text;
    Tensor: &'a Tensor, |tensor| tensor;
    Option<Tensor>: Option<&'a Tensor>, |tensor| tensor.as_ref();
    Vec<Tensor>: &'a [Tensor], |tensors| tensors;
    OneOrMany<Tensor>: &'a [Tensor], |tensors| &tensors.0;
    Vec<i64>: &'a [i64], |numbers| numbers;
    OneOrMany<i64>: &'a [i64], |numbers| &numbers.0;
    Option<OneOrMany<i64>>: Option<&'a [i64]>, |numbers| numbers.as_ref().map(|n| n.0.as_slice());
}

/// Returns a map of tensors.
pub(in crate::torch) fn record<const N: usize>(entries: [(&str, Tensor); N]) -> Map {
    entries.into_iter().map(|(name, tensor)| (name.to_string(), tensor.into_value())).collect()
}
