//! Access to every libtorch operator by name.

use crate::declare::{Map, Value};
use crate::error::Error;
use crate::functions;
use crate::torch::call;

functions! { script global;
    /// Calls any libtorch operator by its ATen name, with positional arguments and then named arguments.
    ///
    /// Arguments that are left out take the defaults of the schema, which `aten_schema` prints. Several results are
    /// returned as an array. For an operator with overloads, the first that accepts the arguments runs;
    /// `"name.overload"` selects one.
    ///
    /// ```rhai
    /// let x = tensor([3.0, 1.0, 2.0]);
    /// assert_eq(aten("sort", [x], #{ descending: true })[0], tensor([3.0, 2.0, 1.0]));
    /// assert_eq(aten("special_log_ndtr", [tensor([0.0])]), tensor([0.5]).log());
    /// ```
    fn aten(name: String, arguments: Option<Vec<Value>>, named: Option<Map>) -> Value {
        call::call(&name, &arguments.unwrap_or_default(), &named.unwrap_or_default())
    }

    /// Lists the schemas of an ATen operator's overloads: arguments, types, defaults and results.
    ///
    /// ```rhai
    /// assert(aten_schema("relu").contains("aten::relu(Tensor self) -> Tensor"));
    /// ```
    fn aten_schema(name: String) -> Vec<String> { call::schemas(&name) }

    /// Lists the names of libtorch operators that contain a word.
    ///
    /// ```rhai
    /// assert(aten_search("bessel").contains("special_bessel_j0"));
    /// ```
    fn aten_search(word: String) -> Vec<String> {
        let wanted = word.to_lowercase();
        let names = call::operator_names();
        let found: Vec<String> = names
            .iter()
            .map(|n| n.trim_start_matches("aten::"))
            .filter(|n| n.to_lowercase().contains(&wanted) && !n.starts_with('_'))
            .map(str::to_string)
            .collect();
        match found.is_empty() {
            true => Err(Error::argument(format!("no operator's name contains \"{word}\""))
                .did_you_mean(&word, names.iter().map(|n| n.trim_start_matches("aten::")))),
            false => Ok(found),
        }
    }
}
