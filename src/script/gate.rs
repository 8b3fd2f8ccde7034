//! Namespace `gate`, and corrections; each gate's constructor is declared in its own file.

use crate::declare::Map;
use crate::functions;
use crate::spectral::{self, Correction, Filter, Gate};

pub mod global {
    use super::*;
    functions! { global;
        /// Puts a filter and a gate together, for the option `corrections` of a model.
        ///
        /// The filter splits each block's MLP residual r into low = F(r) and high = r - low, and the gate
        /// weights the bands: the block's output is x + r + g_low low + g_high high (arXiv 2606.18765).
        ///
        /// ```rhai
        /// let paper = correction(filter::binomial(), gate::time());
        /// assert_eq(paper.filter.name + " " + paper.gate.name, "binomial time");
        /// ```
        fn correction(filter: Filter, gate: Gate) -> Correction { Ok(spectral::correction(&filter, &gate)) }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Tells whether two gates have one kind and equal options.
        ///
        /// ```rhai
        /// assert(gate::time() == gate::time(#{ scale: 1.0 }));
        /// ```
        fn equal["=="](a: Gate, b: Gate) -> bool { Ok(a == b) }

        /// Tells whether two gates differ in kind or options.
        ///
        /// ```rhai
        /// assert(gate::time() != gate::time_label());
        /// ```
        fn differ["!="](a: Gate, b: Gate) -> bool { Ok(a != b) }

        /// Tells whether two corrections have equal filters and gates.
        ///
        /// ```rhai
        /// assert(correction(filter::box(), gate::time()) == correction(filter::box(), gate::time()));
        /// ```
        fn equal_correction["=="](a: Correction, b: Correction) -> bool { Ok(a == b) }

        /// Tells whether two corrections differ in filter or gate.
        ///
        /// ```rhai
        /// assert(correction(filter::box(), gate::time()) != correction(filter::binomial(), gate::time()));
        /// ```
        fn differ_correction["!="](a: Correction, b: Correction) -> bool { Ok(a != b) }
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

        /// The gate's options, defaults included.
        ///
        /// ```rhai
        /// assert_eq(gate::time().options, #{ scale: 1.0 });
        /// ```
        fn options(gate: Gate) -> Map { Ok(gate.options()) }

        /// The filter of the correction.
        ///
        /// ```rhai
        /// assert_eq(correction(filter::box(), gate::time()).filter.name, "box");
        /// ```
        fn filter(correction: Correction) -> Filter { Ok(correction.filter) }

        /// The gate of the correction.
        ///
        /// ```rhai
        /// assert_eq(correction(filter::box(), gate::time()).gate.name, "time");
        /// ```
        fn gate(correction: Correction) -> Gate { Ok(correction.gate) }
    }
}
