//! Namespace `train`.

use crate::functions;

functions! { in "train"; }
