//! The library written in rhai, used as a script uses it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use spectral::context::{Context, Invocation};
use spectral::script::engine::{EngineOptions, language};
use spectral::script::report::{End, Report};
use spectral::session::{Options, Session};

/// Runs a script with arguments; gives what it printed and how it ended.
fn run(script: &str, arguments: &[&str]) -> (String, Result<(), Report>) {
    let printed = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&printed);
    let invocation = Invocation {
        script: Some("try.rhai".to_string()),
        arguments: arguments.iter().map(ToString::to_string).collect(),
    };
    let engine = EngineOptions {
        context: Context { invocation: Arc::new(invocation), ..Context::default() },
        print: Arc::new(move |text| {
            let mut printed = sink.lock().unwrap();
            printed.push_str(text);
            printed.push('\n');
        }),
        ..Default::default()
    };
    let result =
        Session::new(Options { engine, ..Options::default() }).run_cell(script, "try.rhai").map(|_| ());
    // A session silences panics; those of a test are meant to be read.
    drop(std::panic::take_hook());
    let printed = printed.lock().unwrap().clone();
    (printed, result)
}

const OPTIONS: &str = r#"
    let o = cli::options("Tries things.", [
        cli::option("steps", 400, "updates per run", #{ min: 1 }),
        cli::option("cutoffs", [0.25, 0.5], "cutoffs to compare"),
        cli::option("device", "auto", "where to compute", #{ one_of: ["auto", "cpu", "cuda"] }),
    ]);
    print(`${o.steps} ${o.cutoffs} ${o.device}`);
"#;

#[test]
fn options_come_from_the_command_line() {
    let (printed, result) = run(OPTIONS, &["--steps", "5", "--cutoffs", "0.1,1"]);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(printed, "5 [0.1, 1.0] auto\n");
}

#[test]
fn help_ends_a_script_well() {
    let (printed, result) = run(OPTIONS, &["--help"]);
    assert_eq!(result.unwrap_err().end, End::Exit(0));
    for line in ["Tries things.", "Usage: spectral run try.rhai -- [OPTIONS]", "[at least 1; default 400]"] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    assert!(!printed.contains("400 ["), "the script went on:\n{printed}");
}

#[test]
fn a_typo_is_a_usage_error_without_a_place_in_the_script() {
    let (_, result) = run(OPTIONS, &["--cutof", "0.5"]);
    let report = result.unwrap_err();
    assert_eq!((report.end, report.exit_code()), (End::Usage, 2));
    assert_eq!(report.hint.as_deref(), Some("did you mean `--cutoffs`?"));
    let (_, result) = run(OPTIONS, &["--device", "gpu"]);
    let report = result.unwrap_err();
    assert!(report.message.contains("`auto`, `cpu`, `cuda`"), "{report:?}");
}

/// A sweep over three points into `folder`; the closure fails where `x` is `bad`.
fn sweep(folder: &Path, bad: i64, steps: i64) -> (String, Result<(), Report>) {
    let out = folder.display();
    let script = format!(
        r#"
        let runs = 0;
        let table = sweep::run([#{{ x: 1 }}, #{{ x: 2 }}, #{{ x: 3 }}], #{{ out: "{out}", settings: #{{ steps: {steps} }} }}, |p| {{
            if p.x == {bad} {{ throw "no luck"; }}
            #{{ square: p.x * p.x }}
        }});
        print(table.to_csv());
    "#
    );
    run(&script, &[])
}

#[test]
fn a_sweep_goes_on_after_a_failure_and_skips_what_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (printed, result) = sweep(folder.path(), 2, 5);
    assert!(result.is_ok(), "{result:?}");
    assert!(printed.contains("[2/3] x 2: failed after") && printed.contains("no luck"), "{printed}");
    assert!(printed.contains("1 of 3 points failed: x 2."), "{printed}");
    assert!(printed.contains("square,x\n1,1\n9,3\n"), "{printed}");

    let (printed, result) = sweep(folder.path(), 0, 5);
    assert!(result.is_ok(), "{result:?}");
    assert!(printed.contains("[1/3] x 1: finished before"), "{printed}");
    assert!(printed.contains("[2/3] x 2: 0.0 s"), "{printed}");
    assert!(printed.contains("square,x\n1,1\n4,2\n9,3\n"), "{printed}");
}

#[test]
fn a_second_sweep_in_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("let held = files::lock(\"{}/lock\");", folder.path().display());
    let mut session = Session::new(Options::default());
    session.run_cell(&script, "first.rhai").unwrap_or_else(|e| panic!("{}", e.render(false)));
    let (printed, result) = sweep(folder.path(), 0, 5);
    let report = result.unwrap_err();
    assert!(report.message.contains("this program is working in this folder"), "{report:?}");
    assert_eq!(printed, "");
    drop(session);
    sweep(folder.path(), 0, 5).1.unwrap();
}

#[test]
fn a_line_that_a_kill_cut_short_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    sweep(folder.path(), 0, 5).1.unwrap();
    let journal = folder.path().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() - 20]).unwrap();
    let (printed, result) = sweep(folder.path(), 0, 5);
    assert!(result.is_ok(), "{result:?}");
    assert!(printed.contains("x 2: finished before") && printed.contains("[3/3] x 3: 0.0 s"), "{printed}");
    let (printed, _) = sweep(folder.path(), 0, 5);
    assert!(printed.contains("x 3: finished before"), "{printed}");
}

#[test]
fn other_settings_stop_a_sweep_before_it_computes() {
    let folder = tempfile::tempdir().unwrap();
    sweep(folder.path(), 0, 5).1.unwrap();
    let (printed, result) = sweep(folder.path(), 0, 6);
    let report = result.unwrap_err();
    assert!(
        report.message.contains("results of \"x 1\" with other settings: steps was 5 and is 6"),
        "{report:?}"
    );
    assert!(report.hint.as_deref().is_some_and(|h| h.contains("start over")), "{report:?}");
    assert_eq!(printed, "");
}

#[test]
fn an_interrupt_stops_a_sweep_and_keeps_what_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let context = Context::default();
    let interrupt = context.interrupt.clone();
    // Ctrl-C comes while the second point is computed.
    let print = Arc::new(move |text: &str| {
        if text == "second" {
            interrupt.raise();
        }
    });
    let script = format!(
        r#"
        sweep::run([1, 2, 3], #{{ out: "{}" }}, |p| {{
            if p == 2 {{ print("second"); }}
            #{{ y: p }}
        }})
    "#,
        folder.path().display()
    );
    let engine = EngineOptions { context, print, ..EngineOptions::default() };
    let mut session = Session::new(Options { engine, ..Options::default() });
    let report = session.run_cell(&script, "try.rhai").map(|_| ()).unwrap_err();
    assert_eq!(report.exit_code(), 130, "{report:?}");
    let journal = std::fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    assert_eq!(journal.lines().count(), 1, "{journal}");
    assert!(journal.contains("\"row\":{\"y\":1}"), "{journal}");
}

#[test]
fn closures_of_a_script_keep_their_surroundings_inside_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    let script = format!(
        r#"
        fn square(x) {{ x * x }}
        let offset = 10;
        let seen = [];
        let table = sweep::run([1, 2], #{{ out: "{out}", quiet: true, name: |p| `point ${{p + offset}}` }}, |p| {{
            seen.push(p);
            #{{ y: square(p) + offset, low: filter_of(p) }}
        }});
        fn filter_of(p) {{ text::fmt(1.0 / p, 2) }}
        assert_eq(table.column("y"), [11, 14]);
        assert_eq(table.column("low"), ["1", "0.5"]);
        assert_eq(seen, [1, 2]);
    "#
    );
    let (_, result) = run(&script, &[]);
    assert!(result.is_ok(), "{}", result.unwrap_err().render(false));
}

#[test]
fn checking_a_script_knows_the_options_of_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("try.rhai");
    std::fs::write(&file, "sweep::run([1], #{ outt: \"x\", quiet: true }, |p| #{});\n").unwrap();
    let found = spectral::script::check::check(&language(EngineOptions::default()), &file);
    let messages: Vec<&str> = found.iter().map(|report| report.message.as_str()).collect();
    assert_eq!(messages, ["sweep::run: unknown option `outt`"]);
}

#[test]
fn an_error_inside_the_library_shows_the_callers_line() {
    let (_, result) = run("let a = 1;\nsweep::run([1], #{ outt: \"x\" }, |p| #{});", &[]);
    let report = result.unwrap_err();
    let text = report.render(false);
    assert!(text.contains("unknown option `outt`") && text.contains("did you mean `out`?"), "{text}");
    assert!(text.contains("try.rhai:2"), "{text}");
}
