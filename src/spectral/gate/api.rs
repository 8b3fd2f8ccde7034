//! Methods and properties of a gate; the file of each gate declares its constructor.

use super::Gate;
use crate::declare::Map;
use crate::functions;

pub mod methods {
    use super::*;
    functions! { methods;
        /// Returns whether two gates have the same kind and equal options.
        ///
        /// ```rhai
        /// assert(gate::time() == gate::time(#{ scale: 1.0 }));
        /// ```
        fn equal["=="](a: Gate, b: Gate) -> bool { Ok(a == b) }

        /// Returns whether two gates differ in kind or options.
        ///
        /// ```rhai
        /// assert(gate::time() != gate::time_label());
        /// ```
        fn differ["!="](a: Gate, b: Gate) -> bool { Ok(a != b) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// The name of the gate's kind.
        ///
        /// ```rhai
        /// assert_eq(gate::time_label().name, "time_label");
        /// ```
        fn name(gate: Gate) -> String { Ok(gate.name().to_string()) }

        /// The gate's options: `per` and `values` only if set, the others with their defaults.
        ///
        /// ```rhai
        /// assert_eq(gate::time().options, #{ scale: 1.0 });
        /// ```
        fn options(gate: Gate) -> Map { Ok(gate.options()) }
    }
}
