//! Number and duration of calls of native functions.
#![cfg(test)]

use std::time::Duration;

use spectral::context::Context;
use spectral::script::engine::EngineOptions;
use spectral::session::{Options, Session};

#[test]
fn a_cell_s_native_calls_are_counted_also_inside_callbacks_and_the_std_lib() {
    let context = Context::default();
    let profile = context.profile.clone();
    let engine = EngineOptions { context, ..EngineOptions::default() };
    let mut session = Session::new(Options { engine, ..Options::default() });
    let mut run = |code: &str| session.run_cell(code, "cell").map(drop).map_err(|e| e.render(false)).unwrap();
    run("let x = tensor::ones([8, 8]);");
    profile.start();
    // Uses a new folder, since a sweep skips the points that its journal lists as finished.
    let folder = tempfile::tempdir().unwrap();
    run("for i in 0..7 { x @ x; } filter::response(|r| { x.sum().item() });");
    run(&format!(
        "sweep::run([#{{ a: 1 }}], #{{ out: {:?} }}, |p| #{{ b: x.max().item() + p.a }});",
        folder.path()
    ));
    let calls = profile.stop();
    run("x.mean();");
    let of = |path: &str| calls.iter().find(|c| c.path == path);
    assert_eq!(of("tensor.max").unwrap().calls, 1);
    let (outer, inner) = (of("filter::response").unwrap(), of("tensor.sum").unwrap());
    assert_eq!(outer.calls, 1);
    assert!(
        inner.calls > 10 && outer.total > outer.own + inner.total.min(Duration::from_nanos(1)),
        "{calls:?}"
    );
    assert!(of("tensor.mean").is_none() && of("tensor::ones").is_none());
    assert!(calls.iter().any(|c| c.calls == 7), "{calls:?}");
    assert!(calls.windows(2).all(|w| w[0].own >= w[1].own));
}
