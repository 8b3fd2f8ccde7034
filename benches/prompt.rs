//! Measures how long the prompt takes to answer a Tab: `cargo bench --bench prompt`.
//!
//! Each text is completed in a fresh session, in a session of 5,000 lines with 2,000 variables and 500 functions,
//! and after a pasted text of 5,000 lines.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a bench prints its results")]

use std::time::Instant;

use spectral::script::catalog::Catalog;
use spectral::session::complete::{Surroundings, complete};
use spectral::session::{Options, Session};

/// Texts before the cursor.
const PLACES: [&str; 14] = [
    "",
    "t",
    "tensor::",
    "filter::gau",
    "filter::gaussian(#{ ",
    "model::dit(#{ preset: ",
    "train::fit(net, images, #{ steps: 3, ",
    "noise.",
    "net.forward(noise, noise, noise).",
    "let low = tensor::rand([2]); low.",
    "tensor::load(\"src/",
    "?",
    ":",
    ":time no_such_thi",
];

const RUNS: usize = 21;

fn main() {
    let start = Instant::now();
    let catalog = Catalog::new();
    println!("{:>10.2} ms  collecting {} entries, once", millis(start), catalog.entries().len());
    let mut session = Session::new(Options::default());
    let variables = "let noise = tensor::rand([2, 3]); let net = model::dit(#{ preset: \"fashion_tiny\" });";
    run(&mut session, variables, 1);
    report("a fresh session", "", &catalog, &session);
    for cell in 0..1000 {
        let mut text =
            format!("let a{cell} = tensor::zeros([{}]);\nlet b{cell} = #{{ x: {cell} }};\n", cell + 1);
        text += &match cell % 2 {
            0 => format!("fn f{cell}(x) {{\n    x + {cell}\n}}"),
            _ => format!("b{cell}.x += 1;\nb{cell}.y = [];\nb{cell}.x"),
        };
        run(&mut session, &text, cell + 2);
    }
    report("5,000 lines, 2,000 variables", "", &catalog, &session);
    let pasted = "let pasted = [1, 2, 3]; // one of many lines\n".repeat(5000);
    report("5,000 lines pasted before the cursor", &pasted, &catalog, &session);
}

fn run(session: &mut Session, cell: &str, number: usize) {
    if let Err(report) = session.run_numbered(cell, number) {
        eprintln!("{}", report.message);
        std::process::exit(1);
    }
}

fn report(what: &str, before: &str, catalog: &Catalog, session: &Session) {
    println!("\n{what}");
    let around = median(|| session.surroundings());
    println!("{around:>10.2} ms  looking at the session, once after each cell");
    let around = session.surroundings();
    for place in PLACES {
        let (time, found) = tab(&format!("{before}{place}"), catalog, &around);
        println!("{time:>10.2} ms  {found:>5} candidates for {place:?}");
    }
}

fn tab(text: &str, catalog: &Catalog, around: &Surroundings) -> (f64, usize) {
    let found = complete(text, text.len(), catalog, around).candidates.len();
    (median(|| complete(text, text.len(), catalog, around)), found)
}

fn median<T>(body: impl Fn() -> T) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        std::hint::black_box(body());
        millis(start)
    };
    let mut times: Vec<f64> = (0..RUNS).map(timed).collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
