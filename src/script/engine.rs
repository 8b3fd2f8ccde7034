//! An engine that knows every declared function.

use std::sync::Arc;

use rhai::{Engine, OptimizationLevel};

use super::bridge;
use super::report::Failure;
use super::values::Types;
use crate::context::Context;
use crate::data::{Dataset, Loader};
use crate::table::Table;
use crate::torch::{Generator, Tensor};

/// Makes an engine. `print` receives what scripts print.
pub fn engine(context: &Context, print: impl Fn(&str) + Send + Sync + 'static) -> Arc<Engine> {
    let mut types = Types::new();
    let mut engine = Engine::new();
    types.add::<Tensor>(&mut engine);
    types.add::<Generator>(&mut engine);
    types.add::<Failure>(&mut engine);
    types.add::<Dataset>(&mut engine);
    types.add::<Loader>(&mut engine);
    types.add::<Table>(&mut engine);
    let types = Arc::new(types);

    // Without optimisation a function with side effects runs exactly when the script calls it.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_max_expr_depths(128, 64);
    engine.set_max_call_levels(256);
    engine.on_print(print);
    let interrupt = context.interrupt.clone();
    engine.on_progress(move |_| interrupt.is_raised().then_some(rhai::Dynamic::UNIT));
    bridge::register(&mut engine, &super::declarations(), &types, context);

    let engine = Arc::new(engine);
    types.bind(&engine);
    engine
}
