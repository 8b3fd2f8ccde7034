//! A program that runs scripts with functions, types and values of its own.

use spectral::declare::{Choice, Display, Options};
use spectral::prelude::*;
use spectral::script::engine::{EngineOptions, HostType};
use spectral::session::{Options as SessionOptions, Session};

/// A type that the crate does not know.
#[derive(Clone)]
struct Mesh {
    points: i64,
    edge: Edge,
}

spectral::scripted!(Mesh, "mesh", |m| Display::text(format!("mesh of {} points, {}", m.points, m.edge)));

/// What happens at the edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
enum Edge {
    /// Points repeat.
    #[default]
    Torus,
    /// Points end.
    Open,
}

/// Options of a mesh.
#[derive(Debug, Clone, Options)]
struct MeshOptions {
    /// Number of points.
    #[option(default = 3, range = 1..=9)]
    points: i64,
    /// What happens at the edge.
    edge: Edge,
}

mod lab {
    use super::{Mesh, MeshOptions};

    spectral::functions! { in "lab";
        /// Makes a mesh.
        fn mesh(options: MeshOptions) -> Mesh {
            Ok(Mesh { points: options.points, edge: options.edge })
        }

        /// Counts the points of a mesh.
        fn size(mesh: Mesh) -> i64 { Ok(mesh.points) }
    }
}

fn session(types: Vec<HostType>) -> Session {
    let functions = lab::declarations().iter().collect();
    Session::new(SessionOptions {
        engine: EngineOptions { functions, types, ..Default::default() },
        ..Default::default()
    })
}

/// Returns what a cell shows, or its error.
fn run(session: &mut Session, cell: &str) -> String {
    match session.run_cell(cell, "cell") {
        Ok(outcome) => outcome.display(80).map_or_else(String::new, |display| display.text),
        Err(error) => error.render(false),
    }
}

#[test]
fn types_and_options_of_a_program_work_in_scripts() -> Result<()> {
    let mut own = session(vec![HostType::of::<Mesh>()]);
    assert_eq!(
        run(&mut own, "let m = lab::mesh(#{ points: 5, edge: \"open\" }); m"),
        "mesh of 5 points, open"
    );
    assert_eq!(run(&mut own, "lab::size(m)"), "5");
    let refused = run(&mut own, "lab::mesh(#{ points: 10 })");
    assert!(refused.contains("`points` must be from 1 to 9, found 10"), "{refused}");
    let page = run(&mut own, "help(\"lab::mesh\")");
    assert!(page.contains("Makes a mesh.") && page.contains("Number of points."), "{page}");
    assert!(run(&mut own, "help(\"lab\")").contains("lab::size"));
    assert!(run(&mut own, "help(\"tensor::zeros\")").contains("zeros(shape"));
    // The same function from Rust, and the options as JSON.
    let options: MeshOptions = serde_json::from_str(r#"{ "points": 4 }"#)?;
    assert_eq!(lab::size(lab::mesh(options)?)?, 4);
    // A type that was not added is an error and not a silent `()`.
    let unknown = run(&mut session(Vec::new()), "lab::mesh()");
    assert!(unknown.contains("does not know the type `mesh`"), "{unknown}");
    assert!(unknown.contains("EngineOptions::types"), "{unknown}");
    Ok(())
}

#[test]
fn values_go_into_a_session_and_come_back() -> Result<()> {
    let mut session = session(vec![HostType::of::<Mesh>()]);
    session.set("sizes", [1, 2, 3])?;
    session.set("name", "first")?;
    session.set("net", model::dit(super::small())?)?;
    session.set("m", Mesh { points: 2, edge: Edge::Torus })?;
    assert_eq!(run(&mut session, "`${name} ${sizes[2]} ${lab::size(m)}`"), "\"first 3 2\"");
    assert_eq!(run(&mut session, "type_of(net)"), "\"model\"");
    session.set("sizes", 7)?;
    run(&mut session, "let twice = 2 * sizes;");
    assert!(matches!(session.get("twice"), Some(Value::Int(14))));
    assert!(session.get("none").is_none());
    assert_eq!(session.variables().iter().filter(|name| *name == "sizes").count(), 1);
    for word in ["1x", "let", "a b", "", "a+b"] {
        assert!(
            session.set(word, 1).unwrap_err().message().contains("cannot be a variable's name"),
            "{word}"
        );
    }
    Ok(())
}

#[test]
fn deep_recursion_is_an_error_on_any_stack() {
    let recursive = |levels: usize, stack: usize| {
        let run = move || {
            let cell = format!("fn f(n) {{ if n == 0 {{ 0 }} else {{ 1 + f(n - 1) }} }} f({levels})");
            let mut session = session(Vec::new());
            let shown = run(&mut session, &cell);
            // The session goes on.
            assert_eq!(run(&mut session, "1 + 1"), "2");
            shown
        };
        std::thread::Builder::new().stack_size(stack).spawn(run).expect("a thread").join().expect("no panic")
    };
    assert_eq!(recursive(5, 2 << 20), "5");
    let small = recursive(900, 1 << 20);
    assert!(small.contains("too deep for the stack of this thread"), "{small}");
    assert_eq!(recursive(900, 256 << 20), "900");
    // The limit of levels comes first on a large stack.
    let large = recursive(2000, 256 << 20);
    assert!(
        large.contains("more than 1000 calls deep") && !large.contains("stack of this thread"),
        "{large}"
    );
}
