//! Namespace `gate`.

use crate::functions;

functions! { in "gate"; }
