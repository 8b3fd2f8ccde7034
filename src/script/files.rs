//! Namespace `files`.

use crate::functions;

functions! { in "files"; }
