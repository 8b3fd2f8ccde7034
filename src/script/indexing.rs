//! Language support for tensors: the operator `@`, `x[i, j]` and `for row in x`.

use std::any::TypeId;
use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, Module, NativeCallContext};

use super::failure;
use super::places::PLACE;
use super::receivers::OWN;
use super::rewrite::SEVERAL;
use super::values::Types;
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::torch::Tensor;
use crate::torch::index::Several;

/// The same precedence as `*`, as in Python.
const PRECEDENCE: u8 = 180;

/// Registers the matrix product operator.
pub fn add_operators(engine: &mut Engine) {
    // Registration fails for symbols that rhai already uses; `@` is reserved for custom operators.
    let _ = engine.register_custom_operator("@", PRECEDENCE);
}

/// Registers the function that packs the indices of `x[i, j]` into one value, and the one that copies a value; a
/// rewrite before parsing inserts their calls.
pub fn add_indices(engine: &mut Engine, types: &Arc<Types>) {
    let types = Arc::clone(types);
    let several = move |context: NativeCallContext, entries: Array| -> Row {
        let values: Result<Vec<_>> = entries.iter().map(|entry| types.lift(entry)).collect();
        values
            .map(|values| Dynamic::from(Several(values)))
            .map_err(|error| failure::raise(error, failure::At::of(&context)))
    };
    engine.register_fn(SEVERAL, several);
    engine.register_fn(OWN, |value: Dynamic| value);
    // The usual indices, without the cost of a context.
    engine.register_fn(PLACE, |index: rhai::INT| index);
    engine.register_fn(PLACE, |index: rhai::ImmutableString| index);
    engine.register_fn(PLACE, |context: NativeCallContext, index: Dynamic| -> Row {
        if !copies(&index) {
            return Ok(index);
        }
        let error =
            Error::argument("a mask or several indices select a copy, so this would not change the tensor")
                .hint("change the copy and assign it: `let part = x[mask]; part[0] = 7; x[mask] = part;`");
        Err(failure::raise(error, failure::At::of(&context)))
    });
}

/// Returns whether an index selects a copy: a mask, and an array or a tensor of indices.
fn copies(index: &Dynamic) -> bool {
    let of_value = |value: &Value| match value {
        Value::List(_) => true,
        value => value.downcast::<Tensor>().is_some_and(|tensor| tensor.rank() > 0),
    };
    if let Some(several) = index.read_lock::<Several>() {
        return several.0.iter().any(of_value);
    }
    index.is_array() || index.read_lock::<Tensor>().is_some_and(|tensor| tensor.rank() > 0)
}

/// Registers setters for updates such as `x.grad *= 2`, which work in place: rhai assigns the property that it
/// read.
pub fn add_setters(engine: &mut Engine) {
    type Done = std::result::Result<(), Box<EvalAltResult>>;
    type Read = fn(&Tensor) -> Option<Tensor>;
    let real = |x: &Tensor| if x.dtype().is_complex() { x.real().ok() } else { Some(x.clone()) };
    let same: [(&str, Read); 3] = [("grad", Tensor::grad), ("real", real), ("imag", |x| x.imag().ok())];
    for (name, read) in same {
        engine.register_set(name, move |context: NativeCallContext, x: &mut Tensor, value: Tensor| -> Done {
            if read(x).is_some_and(|own| own.shares_memory(&value)) {
                return Ok(());
            }
            let error = Error::argument(format!("`{name}` of a tensor cannot be assigned"));
            let error = error.hint(format!("write into it: `x.{name}.copy_(y)`"));
            Err(failure::raise(error, failure::At::of(&context)))
        });
    }
}

/// Registers iteration over the entries of dimension 0.
pub fn add_iteration(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_iter_result(TypeId::of::<Tensor>(), |tensor: Dynamic| rows(tensor.cast::<Tensor>()));
    engine.register_global_module(module.into());
}

type Row = std::result::Result<Dynamic, Box<EvalAltResult>>;

fn rows(tensor: Tensor) -> Box<dyn Iterator<Item = Row>> {
    let raise = |error: Error| failure::raise(error, failure::At::default());
    let count: Result<i64> = match tensor.rank() {
        0 => Err(Error::argument("a tensor without dimensions has no rows to iterate over")
            .hint("`.item()` is its value")),
        _ => tensor.size(0),
    };
    match count {
        Ok(count) => Box::new((0..count).map(move |i| tensor.select(0, i).map(Dynamic::from).map_err(raise))),
        Err(error) => Box::new(std::iter::once(Err(raise(error)))),
    }
}
