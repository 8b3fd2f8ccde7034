//! Former names of options, which are still accepted.

use std::cell::RefCell;

use super::value::Map;
use crate::error::{Error, Result};

/// A former name of an option and its name.
pub type Renamed = (&'static str, &'static str);

thread_local! {
    /// Former names that were used in the call that reads its options.
    static RENAMED: RefCell<Vec<Renamed>> = const { RefCell::new(Vec::new()) };
}

/// Returns the name under which a map has an option that was renamed: its name, or its former one.
pub fn name_in(map: &Map, name: &'static str, former: &'static str) -> Result<&'static str> {
    match (map.contains_key(name), map.contains_key(former)) {
        (_, false) => Ok(name),
        (true, true) => Err(Error::argument(format!("the options `{name}` and `{former}` are the same"))
            .hint(format!("pass `{name}` alone; `{former}` is its former name"))),
        (false, true) => {
            RENAMED.with_borrow_mut(|renamed| renamed.push((former, name)));
            Ok(former)
        }
    }
}

/// Returns the former names that were used on this thread since the last call, for notes.
pub fn take_renamed() -> Vec<Renamed> {
    RENAMED.take()
}
