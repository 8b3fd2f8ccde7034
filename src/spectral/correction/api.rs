//! `correction(..)`, and the methods and properties of a correction.

use super::Correction;
use crate::declare::OneOrMany;
use crate::error::Error;
use crate::functions;
use crate::spectral::{Filter, Gate};

pub mod global {
    use super::*;
    functions! { global;
        /// Combines a filter, or an array of filters, with a gate, for the option `corrections` of a model.
        ///
        /// The filter splits each block's MLP residual r into low = F(r) and high = r - low, and the gate weights
        /// the bands: the block's output is x + r + g_low low + g_high high (arXiv 2606.18765). Filters F_1 to F_n,
        /// coarsest first, make n + 1 bands F_1(r), F_2(r) - F_1(r), .., r - F_n(r). The gate has one coefficient
        /// per band, or with `per: "channel"` one per band and channel.
        ///
        /// ```rhai
        /// let paper = correction(filter::binomial(), gate::time());
        /// assert_eq(paper.filter.name + " " + paper.gate.name, "binomial time");
        /// let coarse = filter::gaussian(#{ sigma: 2.0 });
        /// let fine = filter::gaussian(#{ sigma: 0.5 });
        /// let net = model::dit(#{ depth: 1, corrections: correction([coarse, fine], gate::time(#{ per: "channel" })) });
        /// let block = net.trace(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]))[0];
        /// assert_eq(block.gates.shape, [1, 3, 128]);
        /// ```
        fn correction(filter: OneOrMany<Filter>, gate: Gate) -> Correction { Correction::new(filter.0, &gate) }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Returns whether two corrections have equal filters and gates.
        ///
        /// ```rhai
        /// assert(correction(filter::box(), gate::time()) == correction(filter::box(), gate::time()));
        /// ```
        fn equal_correction["=="](a: Correction, b: Correction) -> bool { Ok(a == b) }

        /// Returns whether two corrections differ in filter or gate.
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
        /// The filter of the correction; the coarsest if it has several.
        ///
        /// ```rhai
        /// assert_eq(correction(filter::box(), gate::time()).filter.name, "box");
        /// ```
        fn filter(correction: Correction) -> Filter {
            correction.filters.first().cloned().ok_or_else(|| Error::internal("a correction without a filter"))
        }

        /// All filters of the correction, coarsest first.
        ///
        /// ```rhai
        /// let three = correction([filter::gaussian(), filter::box()], gate::static());
        /// assert_eq(three.filters.map(|f| f.name), ["gaussian", "box"]);
        /// ```
        fn filters(correction: Correction) -> Vec<Filter> { Ok(correction.filters) }

        /// The gate of the correction.
        ///
        /// ```rhai
        /// assert_eq(correction(filter::box(), gate::time()).gate.name, "time");
        /// ```
        fn gate(correction: Correction) -> Gate { Ok(correction.gate) }
    }
}
