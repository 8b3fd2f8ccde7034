//! Namespace `data`.

use crate::functions;

functions! { in "data"; }
