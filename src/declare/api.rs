//! The list of what a room adds to scripts.

use super::convert::IntoValue;
use super::value::Scripted;

/// Receives the types that scripts can hold.
pub trait TypeRegistry {
    /// Adds a type declared with [`scripted!`](crate::scripted).
    fn add<T: Scripted + IntoValue>(&mut self);
}

/// Lists the types and the functions that a room adds to scripts, in the order of the reference.
///
/// Expands to `declarations()`, which returns the functions of all listed modules, and `types(registry)`, which adds
/// the types. A listed module contains [`functions!`](crate::functions) or lists others with `api!`.
#[macro_export]
macro_rules! api {
    (types: [$($type:ty),* $(,)?], functions: [$($modules:tt)*] $(,)?) => {
        $crate::api! { functions: [$($modules)*] }

        /// Adds the types that scripts can hold.
        pub fn types(_registry: &mut impl $crate::declare::TypeRegistry) {
            $( _registry.add::<$type>(); )*
        }
    };
    (functions: [$($($module:ident)::+),* $(,)?] $(,)?) => {
        /// Returns the declared functions, in the order of the reference.
        pub fn declarations() -> Vec<&'static $crate::declare::Declaration> {
            let mut all = Vec::new();
            $( all.extend($($module)::+::declarations()); )*
            all
        }
    };
}
