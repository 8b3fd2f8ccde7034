//! Namespace `model`.

use crate::functions;

functions! { in "model"; }
