//! What a tensor needs of the language itself: the operator `@`, and `for row in x`.

use std::any::TypeId;

use rhai::{Dynamic, Engine, EvalAltResult, Module};

use crate::error::{Error, Result};
use crate::script::report;
use crate::torch::Tensor;

/// As high as `*`, as in Python.
const PRECEDENCE: u8 = 180;

/// Lets an engine parse the matrix product.
pub fn add_operators(engine: &mut Engine) {
    // It fails for symbols that the language has already; `@` is reserved for uses like this.
    let _ = engine.register_custom_operator("@", PRECEDENCE);
}

/// Lets an engine go through the entries of dimension 0.
pub fn add_iteration(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_iter_result(TypeId::of::<Tensor>(), |tensor: Dynamic| rows(tensor.cast::<Tensor>()));
    engine.register_global_module(module.into());
}

type Row = std::result::Result<Dynamic, Box<EvalAltResult>>;

fn rows(tensor: Tensor) -> Box<dyn Iterator<Item = Row>> {
    let raise = |error: Error| report::raise(error, report::At::default());
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
