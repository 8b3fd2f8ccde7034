//! Option maps for functions that scripts write.

use crate::declare::{Map, Value};
use crate::error::{Error, Subject};
use crate::functions;

functions! { script global;
    /// Fills an option map with defaults; an unknown key or a value of another type is an error.
    ///
    /// It gives a function written in a script the option checks and messages of a native one. An integer is
    /// accepted where the default is a float; with the default `()` every value is accepted.
    ///
    /// ```rhai
    /// fn blur(options) {
    ///     let o = with_defaults(options, #{ sigma: 1.0, edge: "replicate" });
    ///     `${o.edge} ${o.sigma}`
    /// }
    /// assert_eq(blur(#{ sigma: 2 }), "replicate 2.0");
    /// try { blur(#{ sigm: 2.0 }); } catch (e) { assert_eq(e.hint, "did you mean `sigma`?"); }
    /// ```
    fn with_defaults(options: Map, defaults: Map) -> Map {
        let mut filled = defaults.clone();
        for (name, value) in options {
            let Some(default) = defaults.get(&name) else {
                return Err(Error::unknown_option(&name, defaults.keys().map(String::as_str)));
            };
            let value = match (default, value) {
                (Value::Float(_), Value::Int(i)) => Value::Float(i as f64),
                (Value::Unit, value) => value,
                (default, value) if default.type_name() == value.type_name() => value,
                (default, value) => {
                    return Err(value.mismatch(default.type_name()).within(Subject::Option(name.clone())));
                }
            };
            filled.insert(name, value);
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::error::brought_names;
    use crate::script::entries;

    #[test]
    fn names_from_elsewhere_stand_for_options_that_exist() {
        let options: BTreeSet<String> =
            entries::all().into_iter().flat_map(|entry| entry.options).map(|option| option.name).collect();
        for name in brought_names() {
            assert!(options.contains(name), "no function has the option `{name}`");
        }
    }
}
