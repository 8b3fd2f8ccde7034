//! Everything that scripts and Rust programs can call, in one list.
//!
//! Each room lists its types and functions with [`api!`](crate::api), and this file lists the rooms. The functions for
//! Rust programs are in the rooms themselves; [`prelude`](crate::prelude) exports them.

use crate::declare::{Declaration, TypeRegistry};

macro_rules! rooms {
    ($($room:ident),* $(,)?) => {
        /// Returns the declared functions of all rooms, in the order of the reference.
        pub fn declarations() -> Vec<&'static Declaration> {
            let mut all = Vec::new();
            $( all.extend(crate::$room::api::declarations()); )*
            all
        }

        /// Adds the types of all rooms.
        pub fn types(registry: &mut impl TypeRegistry) {
            $( crate::$room::api::types(registry); )*
        }
    };
}

rooms! { spectral, nn, model, data, flow, ranks, train, vae, plot, eval, table, files, text, report, torch }
