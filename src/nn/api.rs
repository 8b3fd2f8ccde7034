//! What this room adds to scripts.

use super::{Layer, SharedBuilder, functions, layer, shared_builder::api};

crate::api! {
    types: [SharedBuilder, Layer],
    functions: [api::space, functions::tokens, api::methods, api::properties, layer::methods],
}
