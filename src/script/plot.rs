//! Namespace `plot`.

use crate::functions;

functions! { in "plot"; }
