//! Namespace `table`.

use crate::functions;

functions! { in "table"; }
