//! Access to every libtorch operator by name.

use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::call;
use crate::torch::sizes::small;

/// Operators that compute with sizes before they check them, and crash if the products overflow.
const UNCHECKED: [&str; 1] = ["max_pool1d"];

/// Checks every integer in an argument of such an operator.
fn small_in(name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Int(size) => small("size", *size).map_err(|e| e.context(format!("`{name}`"))),
        Value::List(sizes) => sizes.iter().try_for_each(|size| small_in(name, size)),
        _ => Ok(()),
    }
}

functions! { script global;
    /// Calls any libtorch operator by its ATen name, with positional arguments and then named arguments.
    ///
    /// Arguments that are left out take the defaults of the schema, which `aten_schema` prints. Several results are
    /// returned as an array. For an operator with overloads, the first that accepts the arguments runs;
    /// `"name.overload"` selects one. A number in place of a tensor is exact, and leaves the dtype of the other tensors.
    ///
    /// ```rhai
    /// let x = tensor([3.0, 1.0, 2.0]);
    /// assert_eq(aten("sort", [x], #{ descending: true })[0], tensor([3.0, 2.0, 1.0]));
    /// assert_eq(aten("special_log_ndtr", [tensor([0.0])]), tensor([0.5]).log());
    /// assert_eq(aten("where.self", [x > 1, x.to("int64"), 0]), tensor([3, 0, 2]));
    /// ```
    fn aten(name: String, arguments: Option<Vec<Value>>, named: Option<Map>) -> Value {
        let (arguments, named) = (arguments.unwrap_or_default(), named.unwrap_or_default());
        if UNCHECKED.contains(&name.split('.').next().unwrap_or_default()) {
            arguments.iter().chain(named.values()).try_for_each(|value| small_in(&name, value))?;
        }
        call::call(&name, &arguments, &named)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::{DType, Device, Tensor};

    #[test]
    fn sizes_that_would_crash_an_operator_are_refused() {
        crate::torch::start();
        let x = Tensor::ones(&[1, 4], DType::Float32, Device::Cpu).unwrap();
        for sizes in [vec![i64::MAX], vec![i64::MIN], vec![1, i64::MAX / 2]] {
            let error = small_in("max_pool1d", &sizes.clone().into_value()).unwrap_err();
            assert!(
                error.message().starts_with("`max_pool1d`: expected a `size` of at most 2147483647"),
                "{error}"
            );
        }
        small_in("max_pool1d", &x.into_value()).unwrap();
        small_in("max_pool1d", &vec![2i64].into_value()).unwrap();
    }
}
