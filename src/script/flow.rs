//! Namespace `flow`.

use crate::functions;

functions! { in "flow"; }
