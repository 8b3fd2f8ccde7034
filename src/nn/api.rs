//! What this room adds to scripts.

use super::{Layer, Maker, layer, maker};

crate::api! {
    types: [Maker, Layer],
    functions: [maker::space, maker::methods, maker::properties, layer::methods],
}
