//! What this room adds to scripts.

use super::{Layer, SharedBuilder, layer, shared_builder};

crate::api! {
    types: [SharedBuilder, Layer],
    functions: [shared_builder::space, shared_builder::methods, shared_builder::properties, layer::methods],
}
