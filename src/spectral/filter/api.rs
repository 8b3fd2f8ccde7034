//! Namespace `filter`; each constructor is declared in the file of its filter.

use crate::declare::Map;
use crate::error::Error;
use crate::functions;
use crate::spectral::Filter;
use crate::torch::Tensor;
use crate::torch::ops::vision::Pair;

pub mod methods {
    use super::*;
    functions! { methods;
        /// Filters tokens [B, N, D] on a grid in row-major order, or each channel of images.
        ///
        /// The grid is an integer for one of `grid` x `grid` tokens, or `[height, width]`. Images [B, C, H, W] have a grid of
        /// their own, so `grid` is omitted. Gradients flow through. A model builds the filter's matrices once; this call
        /// builds them each time.
        ///
        /// ```rhai
        /// let flat = tensor::ones([1, 16, 2]);
        /// assert_close(filter::gaussian().apply(flat, 4), flat, 1e-6);
        /// assert_close(filter::gaussian().apply(tensor::ones([1, 3, 8, 6])), tensor::ones([1, 3, 8, 6]), 1e-6);
        /// ```
        fn apply(filter: Filter, x: Tensor, grid: Option<Pair>) -> Tensor {
            match grid {
                Some(Pair(grid)) => filter.apply_on(&x, grid),
                None if x.rank() == 3 => Err(Error::argument("tokens [B, N, D] need the width of their grid")
                    .hint("filter.apply(tokens, grid), with N = grid * grid")),
                None => filter.apply_to_images(&x),
            }
        }

        /// Measures the transfer function on a grid of `grid` x `grid` tokens, float64, zero frequency first.
        ///
        /// Entry [i, j] is the in-phase gain of the wave of i cycles down and j cycles across, edges included.
        ///
        /// ```rhai
        /// let h = filter::ideal(#{ cutoff: 0.5 }).response(4);
        /// assert_close(h, [[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], 1e-12);
        /// ```
        fn response(filter: Filter, grid: i64) -> Tensor { filter.response(grid) }

        /// Returns the gain of a wave of frequency radius `r`, far from edges.
        ///
        /// The radius is a fraction of Nyquist, from 0 to sqrt(2). A separable filter is not quite radial: up to 1
        /// this is its gain along one axis, and beyond 1 along the border of the square of frequencies.
        ///
        /// ```rhai
        /// assert_close(filter::binomial().gain(0.5), 0.25, 1e-12);
        /// ```
        fn gain(filter: Filter, r: f64) -> f64 { filter.gain(r) }

        /// Returns whether two filters have the same kind and equal options.
        ///
        /// ```rhai
        /// assert(filter::box() == filter::box(#{ width: 3 }));
        /// ```
        fn equal["=="](a: Filter, b: Filter) -> bool { Ok(a == b) }

        /// Returns whether two filters differ in kind or options.
        ///
        /// ```rhai
        /// assert(filter::box() != filter::box(#{ width: 5 }));
        /// ```
        fn differ["!="](a: Filter, b: Filter) -> bool { Ok(a != b) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// The name of the filter's kind.
        ///
        /// ```rhai
        /// assert_eq(filter::gaussian().name, "gaussian");
        /// ```
        fn name(filter: Filter) -> String { Ok(filter.name().to_string()) }

        /// The filter's options, defaults included.
        ///
        /// ```rhai
        /// assert_eq(filter::butterworth(#{ cutoff: 0.25 }).options, #{ cutoff: 0.25, order: 2 });
        /// ```
        fn options(filter: Filter) -> Map { Ok(filter.options()) }
    }
}
