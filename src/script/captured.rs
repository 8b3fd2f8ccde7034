//! Handles that a function captured.

use std::collections::BTreeSet;

use rhai::{Array, Dynamic, FnPtr};

use super::source::Sources;
use super::values::Types;
use crate::declare::Value;

/// Returns the handles that a function captured, with the names by which its code reads them. Numbers and text are left
/// out, and nothing is copied.
pub fn captured(types: &Types, sources: Option<&Sources>, pointer: &FnPtr) -> Vec<(String, Value)> {
    let mut walk = Walk { types, sources, seen: BTreeSet::new(), found: Vec::new() };
    walk.function(pointer);
    walk.found
}

struct Walk<'a> {
    types: &'a Types,
    sources: Option<&'a Sources>,
    /// Addresses of shared values, since a function may capture what holds the function itself.
    seen: BTreeSet<usize>,
    found: Vec<(String, Value)>,
}

impl Walk<'_> {
    fn function(&mut self, pointer: &FnPtr) {
        // Captured variables are the first parameters.
        let origins = self.sources.map_or_else(Vec::new, |sources| sources.origins(pointer.fn_name()));
        let names = origins.first().map_or(&[][..], |origin| &origin.params);
        for (i, value) in pointer.curry().iter().enumerate() {
            self.value(names.get(i).map_or("a value", String::as_str), value);
        }
    }

    fn value(&mut self, name: &str, value: &Dynamic) {
        if let Some(array) = value.read_lock::<Array>() {
            if self.is_new(value, std::ptr::from_ref(&*array) as usize) {
                array.iter().enumerate().for_each(|(i, value)| self.value(&format!("{name}[{i}]"), value));
            }
        } else if let Some(map) = value.read_lock::<rhai::Map>() {
            if self.is_new(value, std::ptr::from_ref(&*map) as usize) {
                map.iter().for_each(|(key, value)| self.value(&format!("{name}.{key}"), value));
            }
        } else if let Some(function) = value.read_lock::<FnPtr>() {
            if self.is_new(value, std::ptr::from_ref(&*function) as usize) {
                self.function(&function);
            }
        } else {
            self.found.extend(self.types.handle(value).map(|handle| (name.to_string(), handle)));
        }
    }

    /// Returns whether a value is visited for the first time. Only what is shared can hold itself.
    fn is_new(&mut self, value: &Dynamic, address: usize) -> bool {
        !value.is_shared() || self.seen.insert(address)
    }
}
