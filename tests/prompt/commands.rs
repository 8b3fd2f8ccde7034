//! Lines that start with a colon, results by number, and fixes for errors.

use crate::editing::line;
use crate::terminal::{Key, Setup, Terminal};

fn start() -> Terminal {
    let terminal = Setup::default().size(45, 100).start(&[]);
    terminal.ready();
    terminal
}

#[test]
fn results_have_names() {
    let terminal = start();
    terminal.enter("20");
    line(&terminal, "_1 = 20");
    terminal.enter("_ + 1");
    line(&terminal, "_2 = 21");
    terminal.enter("_1 + _2 + 1");
    line(&terminal, "_3 = 42");
    terminal.enter("switch _ { 42 => \"yes\", _ => \"no\" }");
    line(&terminal, "_4 = \"yes\"");
}

#[test]
fn cells_are_timed_measured_and_profiled() {
    let terminal = start();
    terminal.enter(":ti 6 * 7");
    terminal.wait_for("took ");
    line(&terminal, "_1 = 42");
    terminal.enter(":bench 1 + 1");
    terminal.wait_for("median ");
    terminal.wait_for(" runs");
    terminal.enter(":profile tensor::rand([64, 64]).matmul(tensor::rand([64, 64])).sum()");
    terminal.wait_for("tensor.matmul");
    terminal.wait_for("script code");
    terminal.capture("profile");
}

#[test]
fn variables_say_what_they_are_in_as_few_columns_as_they_need() {
    let terminal = start();
    terminal.enter("let σ = 1.5; let text = \"mean\"; σ * 2.0");
    line(&terminal, "_1 = 3.0");
    terminal.enter(":vars");
    terminal.wait_for("shape or value");
    let screen = terminal.screen();
    let listed = &screen[screen.rfind(":vars").unwrap()..];
    assert!(listed.contains("σ") && listed.contains("1.5") && !listed.contains("dtype"), "{listed}");
    terminal.enter(
        "let net = model::dit(#{ preset: \"fashion_tiny\", depth: 1, hidden_size: 16, num_heads: 1 });",
    );
    terminal.enter("let run = train::fit(net, data::fashion_mnist(), #{ steps: 2, batch: 2 }); 7");
    line(&terminal, "_3 = 7");
    terminal.enter(":vars run");
    terminal.wait_for("steps 2, loss ");
}

#[test]
fn variables_are_listed_by_their_size_and_forgotten() {
    let terminal = start();
    terminal.enter("let small = tensor::zeros([2]); let large = tensor::zeros([100, 100]); let n = 3;");
    terminal.enter(":vars");
    terminal.wait_for("[100, 100]");
    terminal.wait_for("40 KB");
    terminal.wait_until(|screen| {
        screen.find("large   tensor").is_some_and(|l| screen.find("small   tensor").is_some_and(|s| l < s))
    });
    terminal.capture("vars");
    terminal.enter(":mem");
    terminal.wait_for("program ");
    terminal.enter(":device");
    terminal.wait_for("cpu with ");
    terminal.enter(":reset");
    terminal.enter("large");
    terminal.wait_for("there is no variable `large`");
}

#[test]
fn a_session_becomes_a_script_that_runs() {
    let terminal = start();
    terminal.enter("let a = 20;");
    terminal.enter("fn f(x) { x + 1 }");
    terminal.enter("f(a)");
    terminal.enter("nothing_here");
    terminal.wait_for("error");
    terminal.enter("print(_ * 2)");
    line(&terminal, "42");
    terminal.enter(":save mine.rhai");
    terminal.wait_for("5 cells in mine.rhai");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_spectral"))
        .arg("run")
        .arg(terminal.path("mine.rhai"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "42", "{run:?}");
    terminal.enter(":history f(");
    terminal.wait_for("3  f(a)");
    terminal.enter(":shell echo from the shell");
    line(&terminal, "from the shell");
}

#[test]
fn what_commands_ran_is_saved_and_files_of_others_are_not_touched() {
    let setup = Setup::default()
        .size(60, 100)
        .file("job.rhai", "let loaded = 5;")
        .file("notes.rhai", "mine")
        .file("config/spectral/init.rhai", "let early = 6;");
    let terminal = setup.start(&[]);
    terminal.ready();
    terminal.enter(":load job.rhai");
    terminal.enter(":bench let benched = loaded * early");
    terminal.wait_for(" runs");
    terminal.enter(":profile let profiled = benched + 7; profiled");
    line(&terminal, "_3 = 37");
    terminal.enter(":time _ + unknwon");
    terminal.wait_for("error");
    terminal.enter("print(_3 + 5)");
    line(&terminal, "42");
    terminal.enter("let kept = 3; let lost = kept + unknwon;");
    terminal.wait_until(|screen| screen.matches("error").count() == 2);
    terminal.enter("print(kept * 100)");
    line(&terminal, "300");
    terminal.enter(":reload");
    terminal.wait_for("read again: job.rhai");
    terminal.enter(":save notes.rhai");
    terminal.wait_for("was not written by this session");
    terminal.enter(":save mine");
    terminal.wait_for("9 cells in mine.rhai");
    terminal.enter(":save mine");
    terminal.wait_until(|screen| screen.matches("9 cells in mine.rhai").count() == 2);
    assert_eq!(std::fs::read_to_string(terminal.path("notes.rhai")).unwrap(), "mine");
    let saved = std::fs::read_to_string(terminal.path("mine.rhai")).unwrap();
    assert_eq!(saved.matches("let loaded = 5;").count(), 2, "{saved}");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_spectral"))
        .arg("run")
        .arg(terminal.path("mine.rhai"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "42\n300", "{run:?}");
}

#[test]
fn a_variable_is_forgotten_and_so_are_results() {
    let terminal = start();
    terminal.enter("let large = tensor::zeros([1000, 1000]); tensor::zeros([2000, 1000])");
    terminal.wait_for("_1 =");
    terminal.enter(":forget larg");
    terminal.wait_for("did you mean `large`?");
    terminal.enter(":forget large");
    terminal.wait_for("variables 0 B, results 8 MB");
    terminal.enter(":forget _");
    terminal.wait_for("variables 0 B, results 0 B");
    terminal.enter("_1");
    terminal.wait_for("there is no result `_1`");
}

#[test]
fn scripts_are_loaded_and_imports_follow_their_file() {
    let setup = Setup::default()
        .size(40, 100)
        .file("lib.rhai", "fn value() { 1 }")
        .file("job.rhai", "let loaded = 5;");
    let terminal = setup.start(&[]);
    terminal.ready();
    terminal.enter(":load job.rhai");
    terminal.enter("loaded + 37");
    terminal.wait_for("= 42");
    terminal.enter("import \"lib\" as lib;");
    terminal.enter("lib::value()");
    terminal.wait_for("= 1");
    std::fs::write(terminal.path("lib.rhai"), "fn value() { 20 + 3 }").unwrap();
    terminal.enter("lib::value()");
    terminal.wait_for("read again");
    terminal.wait_for("= 23");
}

#[test]
fn a_certain_mistake_is_retyped() {
    let terminal = start();
    terminal.enter("let pressure = 21;");
    terminal.enter("presure * 2");
    terminal.wait_for("did you mean `pressure`?");
    terminal.capture("error");
    terminal.enter(":fix");
    terminal.wait_for("> pressure * 2");
    terminal.key(Key::Enter);
    terminal.wait_for("= 42");
    terminal.enter(":tra");
    terminal.wait_until(|screen| screen.matches("no variable `presure`").count() >= 2);
    terminal.enter(":tmie 1");
    terminal.wait_for("did you mean `:time`?");
}

#[test]
fn long_output_is_cut_and_kept() {
    let terminal = Setup::default().size(30, 100).env("PAGER", "tail -1").start(&[]);
    terminal.ready();
    terminal.enter("for i in 0..5000 { print(`line ${i}`) }");
    terminal.wait_for("3000 more lines were printed");
    terminal.enter(":last");
    line(&terminal, "line 4999");
}
