//! Closures in scripts. Releases of rhai after 1.25.1 lose the environment of function pointers and fail these
//! tests. When a newer release passes, update the version in Cargo.toml.
#![cfg(test)]

use spectral::declare::Value;
use spectral::session::{Options, Session};

/// Runs cells one after another and returns the last value as a script would write it.
fn last(folder: &std::path::Path, cells: &[&str]) -> String {
    let mut session = Session::new(Options { folder: folder.to_path_buf(), ..Options::default() });
    let mut shown = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let outcome = match session.run_cell(cell, &format!("cell {}", i + 1)) {
            Ok(outcome) => outcome,
            Err(report) => panic!("{}", report.render(false)),
        };
        shown = format!("{:?}", outcome.value().unwrap_or(&Value::Unit));
    }
    shown
}

fn here(cells: &[&str]) -> String {
    last(std::path::Path::new(""), cells)
}

/// Creates a folder with a script to import.
fn with_module(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("parts.rhai"), text).unwrap();
    folder
}

#[test]
fn a_closure_of_an_imported_script_finds_its_own_functions() {
    let folder = with_module("fn twice(x) { 2 * x }\nfn make(n) { |x| twice(x) + n }");
    let cells = ["import \"parts\" as parts;", "let f = parts::make(10);", "f.call(4)"];
    assert_eq!(last(folder.path(), &cells), "18");
}

#[test]
fn a_closure_of_an_imported_script_works_in_native_callbacks() {
    let folder = with_module("fn twice(x) { 2 * x }\nfn make() { |x| twice(x) }");
    let cell = "import \"parts\" as parts; [1, 2].map(parts::make())";
    assert_eq!(last(folder.path(), &[cell]), "[2, 4]");
}

#[test]
fn an_import_of_an_earlier_cell_is_still_there() {
    let folder = with_module("fn twice(x) { 2 * x } export const N = 7;");
    let cells = ["import \"parts\" as parts;", "let y = 1;", "parts::twice(parts::N) + y"];
    assert_eq!(last(folder.path(), &cells), "15");
}

#[test]
fn a_function_of_an_earlier_cell_is_still_there_and_can_be_replaced() {
    let cells = [
        "fn f(x) { g(x) + 1 }",
        "fn g(x) { 10 * x }",
        "let before = f(1);",
        "fn g(x) { 0 }",
        "[before, f(1)]",
    ];
    assert_eq!(here(&cells), "[11, 1]");
}

#[test]
fn a_closure_is_called_in_a_later_cell() {
    assert_eq!(here(&["let f = |x| x + 1;", "let unrelated = 0;", "f.call(2)"]), "3");
}

#[test]
fn a_closure_calls_a_function_of_its_cell_from_a_later_cell() {
    assert_eq!(here(&["fn g(x) { 3 * x } let f = |x| g(x);", "[1, 2].map(f)"]), "[3, 6]");
}

#[test]
fn a_closure_captures_and_shares() {
    let cells = ["let count = 0; let add = |n| { count += n; };", "add.call(2); add.call(3);", "count"];
    assert_eq!(here(&cells), "5");
}

#[test]
fn a_closure_captures_a_parameter() {
    assert_eq!(here(&["fn adder(n) { |x| x + n } let f = adder(5);", "f.call(1)"]), "6");
}

#[test]
fn a_closure_made_in_a_loop_keeps_the_value_of_its_round() {
    let calls = "f.map(|g| g.call())";
    for (loop_, expected) in [
        ("for c in [1, 2, 3] { f.push(|| c); }", "[1, 2, 3]"),
        ("for (c, i) in [5, 6] { f.push(|| [c, i]); }", "[[5, 0], [6, 1]]"),
        ("for a in 0..2 { for b in 0..2 { f.push(|| [a, b]); } }", "[[0, 0], [0, 1], [1, 0], [1, 1]]"),
        ("for a in 0..2 { for b in [|| a].map(|g| g) { f.push(b); } }", "[0, 1]"),
        ("let i = 0; while i < 3 { let c = i; f.push(|| c); i += 1; }", "[0, 1, 2]"),
        ("let i = 0; loop { let c = i * i; f.push(|| c); i += 1; if i > 2 { break; } }", "[0, 1, 4]"),
        ("let i = 0; do { let c = i; f.push(|| c); i += 1; } while i < 2;", "[0, 1]"),
        ("for c in if true { [7, 8] } else { [] } { f.push(|| c); }", "[7, 8]"),
        ("for c in \"ab\" { f.push(|| `${c}!`); }", "[\"a!\", \"b!\"]"),
        ("for c in [1, 2] { c += 10; f.push(|| c); }", "[11, 12]"),
        // Variables outside the loop stay shared.
        ("let n = 0; for c in [1, 2] { f.push(|| { n += c; n }); }", "[1, 3]"),
    ] {
        assert_eq!(here(&[&format!("let f = []; {loop_}"), calls]), expected, "{loop_}");
        let module = format!("fn make() {{ let f = []; {loop_} f }}");
        let folder = with_module(&module);
        let cell = format!("import \"parts\" as parts; let f = parts::make(); {calls}");
        assert_eq!(last(folder.path(), &[&cell]), expected, "imported: {loop_}");
    }
}

#[test]
fn an_error_in_a_loop_that_makes_closures_keeps_its_place() {
    let mut session = Session::new(Options::default());
    let cell = "for c in [1] { let f = || c; c.nothing() }";
    let report = session.run_cell(cell, "cell").err().unwrap();
    let place = report.place.unwrap();
    assert_eq!((place.line, place.column), (1, cell.find("nothing").unwrap() + 1));
}

#[test]
fn a_closure_makes_a_closure() {
    assert_eq!(here(&["let add = |a| |b| a + b;", "let add2 = add.call(2);", "add2.call(3)"]), "5");
}

#[test]
fn a_recursive_function_is_passed_by_name() {
    let cells = [
        "fn fact(n) { if n < 2 { 1 } else { n * fact(n - 1) } }",
        "[3, 5].map(fact)",
        "let f = fact; f.call(6)",
    ];
    assert_eq!(here(&cells), "720");
    assert_eq!(here(&cells[..2]), "[6, 120]");
}

#[test]
fn a_closure_calls_itself_through_a_map() {
    let cell = "let m = #{}; m.fact = |n| if n < 2 { 1 } else { n * this.fact(n - 1) }; m.fact(5)";
    assert_eq!(here(&[cell]), "120");
}

mod native {
    use spectral::declare::{Function, Value};

    spectral::functions! { in "probe";
        /// Calls a function with each number below `count`, and returns the results.
        ///
        /// ```rhai
        /// probe::each(2, |i| i)
        /// ```
        fn each(count: i64, f: Function) -> Vec<Value> {
            (0..count).map(|i| f.call(&[Value::Int(i)])).collect()
        }
        /// Returns the function itself, passed through native code.
        ///
        /// ```rhai
        /// probe::same(|i| i)
        /// ```
        fn same(f: Function) -> Function { Ok(f) }
    }
}

fn with_native(folder: &std::path::Path, cells: &[&str]) -> Result<String, String> {
    let mut options = Options { folder: folder.to_path_buf(), ..Options::default() };
    options.engine.functions = native::declarations().iter().collect();
    let mut session = Session::new(options);
    let mut shown = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let outcome = session.run_cell(cell, &format!("cell {}", i + 1)).map_err(|r| r.render(false))?;
        shown = format!("{:?}", outcome.value().unwrap_or(&Value::Unit));
    }
    Ok(shown)
}

#[test]
fn native_code_calls_closures_that_capture_and_import() {
    let folder = with_module("fn twice(x) { 2 * x }");
    let cells =
        ["import \"parts\" as parts; let n = 1; let f = |i| parts::twice(i) + n;", "probe::each(3, f)"];
    assert_eq!(with_native(folder.path(), &cells), Ok("[1, 3, 5]".to_string()));
    let cells = ["let seen = []; probe::each(3, |i| { seen.push(i); i }); seen"];
    assert_eq!(with_native(folder.path(), &cells), Ok("[0, 1, 2]".to_string()));
    let cells = ["let f = probe::same(|x| x * 2);", "f.call(21)"];
    assert_eq!(with_native(folder.path(), &cells), Ok("42".to_string()));
}

#[test]
fn native_code_calls_closures_that_recurse_up_to_a_limit() {
    let cells = ["fn deep(n) { if n == 0 { 0 } else { probe::each(1, |i| deep(n - 1)) } } deep(5)"];
    assert_eq!(with_native(std::path::Path::new(""), &cells), Ok("[[[[[0]]]]]".to_string()));
    // Front ends run scripts on a thread with a deep stack; the thread of a test has only 2 MiB.
    let endless = || {
        let cells = ["fn deep(n) { probe::each(1, |i| deep(n)) } deep(1)"];
        with_native(std::path::Path::new(""), &cells)
    };
    let thread = std::thread::Builder::new().stack_size(spectral::front::STACK).spawn(endless).unwrap();
    let error = thread.join().unwrap().unwrap_err();
    assert!(error.contains("call each other more than 32 deep"), "{error}");
}
