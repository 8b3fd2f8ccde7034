//! Namespace `optim`.

use crate::functions;

functions! { in "optim"; }
