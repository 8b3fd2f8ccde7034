//! Namespace `filter`.

use crate::functions;

functions! { in "filter"; }
