//! Namespace `eval`.

use crate::functions;

functions! { in "eval"; }
