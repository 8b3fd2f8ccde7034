//! What this room adds to scripts.

use super::{Basis, Correction, Filter, Gate, basis, correction, filter, gate};

crate::api! {
    types: [Basis, Filter, Gate, Correction],
    functions: [
        basis::api::make, basis::api::methods, basis::api::properties,
        filter, filter::api::methods, filter::api::properties,
        gate, gate::api::methods, gate::api::properties,
        correction::api::global, correction::api::methods, correction::api::properties,
    ],
}
