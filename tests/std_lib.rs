//! Library written in rhai, used as a script uses it.
#![cfg(test)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use spectral::context::{Context, Invocation};
use spectral::script::engine::{EngineOptions, language};
use spectral::script::failure::{Diagnosis, End};
use spectral::session::{Options, Session};

/// Runs a script with arguments. Returns what it printed and its result.
fn run(script: &str, arguments: &[&str]) -> (String, Result<(), Diagnosis>) {
    let printed = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&printed);
    let invocation = Invocation {
        script: Some("try.rhai".to_string()),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        ..Invocation::default()
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
    // A session silences panics, but those of a test must be visible.
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

/// Runs a sweep over three points into `folder`. The closure fails where `x` is `bad`.
fn sweep(folder: &Path, bad: i64, steps: i64) -> (String, Result<(), Diagnosis>) {
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
fn a_failed_point_keeps_its_whole_error_and_a_sweep_without_a_result_fails() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = |points: &str, out: &str| {
        let script = format!(
            "let table = sweep::run({points}, #{{ out: \"{}\" }}, |p| {{\n    let w = tensor::zeros([p]);\n    \
             #{{ y: w.matmul(tensor::zeros([2, 3])).sum().item() }}\n}});\nprint(table.len);",
            folder.path().join(out).display()
        );
        run(&script, &[])
    };
    let (printed, result) = sweep("[2, 3, 4]", "some");
    assert!(result.is_ok(), "{result:?}");
    assert!(
        printed.contains("\n    --> try.rhai:3:") && printed.contains("2 of 3 points failed"),
        "{printed}"
    );
    assert!(printed.ends_with("Start again to retry them.\n1\n"), "{printed}");
    let journal = std::fs::read_to_string(folder.path().join("some/journal.jsonl")).unwrap();
    let entry: serde_json::Value =
        serde_json::from_str(journal.lines().find(|line| line.contains("\"error\"")).unwrap()).unwrap();
    assert!(entry["error"].as_str().is_some_and(|error| error.contains("matmul")), "{entry}");
    assert!(entry["place"].as_str().is_some_and(|place| place.starts_with("try.rhai:3:")), "{entry}");

    let (printed, result) = sweep("[3, 4]", "none");
    let report = result.unwrap_err();
    assert_eq!(report.exit_code(), 1);
    assert!(
        report.message.starts_with("all 2 points of the sweep failed, the first, \"3\", at try.rhai:3:"),
        "{report:?}"
    );
    assert!(report.hint.is_some() && printed.contains("2 of 2 points failed"), "{report:?}\n{printed}");
    // A hint of the error is the hint of the sweep.
    let script = format!(
        "sweep::run([1], #{{ out: \"{}\" }}, |p| tensor::zeros([2], #{{ dtyp: \"int64\" }}));",
        folder.path().join("hint").display()
    );
    let report = run(&script, &[]).1.unwrap_err();
    assert!(
        report.message.starts_with("the only point of the sweep, \"1\", failed at try.rhai:1:"),
        "{report:?}"
    );
    assert_eq!(report.hint.as_deref(), Some("did you mean `dtype`?"));
}

#[test]
fn the_page_of_statistics_counts_the_tests_that_have_a_p() {
    let script = r#"
        let rows = [];
        for seed in 0..3 {
            rows.push(#{ gate: "none", seed: seed, fid: 10.0 + seed, mmd: 1.0, kid: 3.0 + seed });
            rows.push(#{ gate: "time", seed: seed, fid: 9.0 + seed * seed, mmd: 1.0, kid: 1.0 + seed * seed });
        }
        let page = report::start("Gates");
        report::statistics(page, rows, #{ by: "gate" });
        print(page.to_html());
    "#;
    let (page, result) = run(script, &[]);
    assert!(result.is_ok(), "{result:?}");
    assert!(page.contains("3 of 3 differences have notes"), "{page}");
    assert!(page.contains("Of 2 tests some fall below 0.05 by chance"), "{page}");
}

/// Runs a sweep over six points, each of which takes a moment. The closure fails where `x` is 5.
fn slow_sweep(folder: &Path) -> (String, Result<(), Diagnosis>) {
    let script = format!(
        r#"
        let points = [1, 2, 3, 4, 5, 6].map(|x| #{{ x: x }});
        let table = sweep::run(points, #{{ out: "{0}" }}, |p| {{
            files::append_line("{0}/ran.txt", `${{p.x}}`);
            sleep(0.05);
            if p.x == 5 {{ throw "no luck"; }}
            #{{ square: p.x * p.x }}
        }});
        print(table.to_csv());
    "#,
        folder.display()
    );
    run(&script, &[])
}

#[test]
fn a_sweep_that_is_started_three_times_runs_each_point_once() {
    let folder = tempfile::tempdir().unwrap();
    let ended: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..3).map(|_| scope.spawn(|| slow_sweep(folder.path()))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (printed, result) in &ended {
        assert!(result.is_ok(), "{result:?}");
        assert!(printed.contains("square,x\n1,1\n4,2\n9,3\n16,4\n36,6\n"), "{printed}");
        assert!(printed.contains("1 of 6 points failed: x 5."), "{printed}");
    }
    let mut ran: Vec<String> =
        std::fs::read_to_string(folder.path().join("ran.txt")).unwrap().lines().map(str::to_string).collect();
    ran.sort();
    assert_eq!(ran, ["1", "2", "3", "4", "5", "6"]);
    // The next run retries the failed point, and nothing else.
    slow_sweep(folder.path()).1.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("ran.txt")).unwrap().lines().count(), 7);
}

#[test]
fn a_point_whose_process_is_gone_is_run_by_another() {
    let folder = tempfile::tempdir().unwrap();
    slow_sweep(folder.path()).1.unwrap();
    // The state after a kill: claims that no process holds, and no journal entry of the last point.
    let journal = folder.path().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("\"x 6\"")).collect();
    std::fs::write(&journal, kept.join("\n") + "\n").unwrap();
    // One for each point, and one for the journal.
    assert_eq!(std::fs::read_dir(folder.path().join("claims")).unwrap().count(), 7);
    // A claim of this machine whose process is gone, as a kill leaves it.
    let claims = std::fs::read_dir(folder.path().join("claims")).unwrap().flatten();
    let claim = claims.map(|entry| entry.path()).find(|path| !path.ends_with("journal")).unwrap();
    let machine = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/random/boot_id"]
        .map(|path| std::fs::read_to_string(path).unwrap().trim().to_string());
    let processes = std::fs::read_link("/proc/self/ns/pid").unwrap();
    std::fs::write(
        claim.with_extension("owner"),
        format!("{}/{} 1\n", machine.join("/"), processes.display()),
    )
    .unwrap();
    let (printed, result) = slow_sweep(folder.path());
    assert!(result.is_ok() && printed.contains("36,6\n"), "{printed}");
}

/// Runs a search over two arms whose best settings are known. One learning rate of the first arm fails.
fn search(folder: &Path, more: &str, design: &str) -> (String, Result<(), Diagnosis>) {
    let script = format!(
        r#"
        let axes = [#{{ name: "lr", values: [0.01, 0.02, 0.04] }}, #{{ name: "gate", values: [1.0, 0.1] }}];
        let arms = [
            #{{ name: "inner", design: "{design}", axes: axes }},
            #{{ name: "edge", axes: axes }},
        ];
        let found = sweep::tune(arms, #{{ out: "{0}", seeds: [7, 8], quiet: true, {more} }}, |p| {{
            files::append_line("{0}/ran.txt", `${{p}}`);
            if p.arm == "inner" && p.lr == 0.04 {{ throw "diverged"; }}
            let wanted = if p.arm == "inner" {{ 0.02 }} else {{ 1.0 }};
            #{{ fid: (p.lr - wanted).abs() + (p.gate - 0.1).abs() + 0.001 * p.seed }}
        }});
        print(found.best.to_csv());
        print(found.tried.columns);
    "#,
        folder.display()
    );
    run(&script, &[])
}

#[test]
fn a_search_finds_the_best_of_each_arm_and_says_where_it_lies_at_an_edge() {
    let folder = tempfile::tempdir().unwrap();
    let (printed, result) = search(folder.path(), "extend: 2", "one");
    assert!(result.is_ok(), "{}", result.unwrap_err().render(false));
    // The first arm's 0.04 was tried and failed, so 0.02 is not at the edge. Its gate of 0.01 was tried and is no
    // better.
    assert!(printed.contains("inner,\"\",0.1,0.02,0.0075,5\n"), "{printed}");
    assert!(printed.contains("edge,lr,0.1,0.16,0.847"), "{printed}");
    assert!(printed.contains(r#"["arm", "seed", "#) && !printed.contains("design"), "{printed}");
    let ran = || std::fs::read_to_string(folder.path().join("ran.txt")).unwrap();
    let before = ran().lines().count();
    let (again, result) = search(folder.path(), "extend: 2", "one");
    assert!(result.is_ok());
    assert_eq!(again, printed);
    // The failed points are retried, and nothing else.
    let extra: Vec<String> = ran().lines().skip(before).map(str::to_string).collect();
    assert!(extra.len() == 2 && extra.iter().all(|line| line.contains("0.04")), "{extra:?}");
}

#[test]
fn options_and_times_out_of_range_are_refused_by_name() {
    const SET: &str = "data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor([0, 1, 0, 1]))";
    for wrong in ["each: 0", "each: -1", "classes: 0", "sample: -5"] {
        let (_, result) = run(&format!("data::inspect({SET}, #{{ {wrong}, quiet: true }});"), &[]);
        let (name, value) = wrong.split_once(": ").unwrap();
        let expected = format!("option `{name}` must be at least 1, found {value}");
        assert!(result.unwrap_err().message.contains(&expected), "{wrong}");
    }
    for wrong in ["0.0/0.0", "1e300", "-1e12"] {
        let (_, result) = run(&format!("time::iso({wrong})"), &[]);
        assert!(result.unwrap_err().message.contains("in the years 0 to 9999, found"), "{wrong}");
    }
}

#[test]
fn a_search_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    search(folder.path(), "extend: 0", "one").1.unwrap();
    let message = |more: &str, design: &str| search(folder.path(), more, design).1.unwrap_err().message;
    let changed = message("extend: 0", "two");
    assert!(changed.contains("with other settings: design was \"one\" and is \"two\""), "{changed}");
    assert!(message("better: \"less\"", "one").contains("must be \"lower\" or \"higher\", found \"less\""));
    let empty =
        run("sweep::tune([#{ name: \"a\", axes: [#{ name: \"lr\", values: [] }] }], |p| #{ fid: 1.0 })", &[]);
    assert!(empty.1.unwrap_err().message.contains("axis \"lr\" of arm \"a\" has no values"));
    let all = format!(
        "sweep::tune([#{{ name: \"a\", axes: [#{{ name: \"lr\", values: [1, 2] }}] }}], #{{ out: \"{}/b\", quiet: true }}, |p| throw \"no\")",
        folder.path().display()
    );
    let report = run(&all, &[]).1.unwrap_err();
    assert!(report.message.contains("no value of \"lr\" gave arm \"a\" a score"), "{report:?}");
}

/// Returns the rows and errors that a script with `out` in place of `OUT` prints.
fn in_folder(script: &str) -> (String, Result<(), Diagnosis>) {
    let folder = tempfile::tempdir().unwrap();
    run(&script.replace("OUT", &folder.path().join("journal").display().to_string()), &[])
}

#[test]
fn a_diverged_run_is_never_the_best() {
    let tune = |values: &str, more: &str, score: &str| {
        in_folder(&format!(
            "let axes = [#{{ name: \"x\", values: {values} }}];
             let found = sweep::tune([#{{ name: \"DiT\", axes: axes }}], #{{ out: \"OUT\", quiet: true, {more} }}, |p| #{{ fid: {score} }});
             print(`${{found.best[0].x}} ${{found.best[0].edges}} ${{found.tried[\"x\"]}}`);"
        ))
    };
    let diverged = "if p.x == 0.1 { 0.0 / 0.0 } else { 10.0 + p.x }";
    let (printed, result) = tune("[0.1, 0.01, 0.001]", "", diverged);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(printed, "0.0001 x [0.1, 0.01, 0.001, 0.0001]\n");
    let error = tune("[0.1, 0.01]", "", "0.0 / 0.0").1.unwrap_err();
    assert!(error.message.contains("all of [0.1,0.01] failed or diverged"), "{error:?}");
    let error = tune("[0.1, 0.01]", "", "\"good\"").1.unwrap_err();
    assert!(error.message.contains("the score \"fid\" must be a number, found string"), "{error:?}");
    // Dropout has no values below zero, and the ratio of 0.2 to 0.1 continues above.
    assert_eq!(tune("[0.0, 0.1, 0.2]", "extend: 3", "p.x").0, "0.0 x [0.0, 0.1, 0.2]\n");
    assert_eq!(tune("[0.0, 0.1, 0.2]", "", "1.0 - p.x").0, "0.4 x [0.0, 0.1, 0.2, 0.4]\n");
    assert_eq!(tune("[1, 4]", "", "p.x").0, "1 x [1, 4]\n");
    let error = tune("[1]", "extend: -1", "p.x").1.unwrap_err();
    assert!(error.message.contains("`extend` must be at least 0, found -1"), "{error:?}");
}

#[test]
fn a_result_that_hides_a_setting_or_cannot_be_stored_fails_its_point() {
    let sweep = |result: &str| {
        in_folder(&format!("print(sweep::run([#{{ lr: 1 }}], #{{ out: \"OUT\" }}, |p| {result}).to_csv());"))
            .0
    };
    let printed = sweep("#{ lr: 2 }");
    assert!(
        printed.contains("result \"lr\" is 2, but the point has the setting 1 of that name"),
        "{printed}"
    );
    let printed = sweep("#{ x: tensor::zeros([2]) }");
    assert!(
        printed.contains("result \"x\" cannot be stored") && printed.contains("found tensor"),
        "{printed}"
    );
    assert!(sweep("#{ lr: 1, x: 3 }").contains("lr,x\n1,3\n"));
}

#[test]
fn wrong_arguments_of_sweeps_are_named() {
    let message = |script: &str| in_folder(script).1.unwrap_err().message;
    for (script, expected) in [
        ("sweep::grid(#{ a: 1 })", "expected an array of values for \"a\", found i64"),
        ("sweep::run(#{ a: 1 }, |p| #{})", "expected an array of points, found map"),
        ("sweep::run([1], #{ outt: 1 }, |p| #{})", "unknown option `outt`"),
        ("sweep::tune([#{ axes: [] }], |p| #{})", "every arm needs a `name`"),
        ("sweep::tune([#{ name: \"a\" }], |p| #{})", "arm \"a\" needs `axes`"),
        ("sweep::tune([#{ name: \"a\", axes: [1] }], |p| #{})", "an axis of arm \"a\" must be a map"),
        (
            "sweep::tune([#{ name: \"a\", axes: [#{ name: \"seed\", values: [1] }] }], |p| #{})",
            "axis \"seed\" of arm \"a\" needs another name",
        ),
    ] {
        assert!(message(script).starts_with(expected), "{script}: {}", message(script));
    }
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
    // Interrupts while the second point is computed.
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

#[test]
fn a_function_that_captures_what_holds_it_runs_in_sweeps() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep").display().to_string();
    let (_, result) = run(
        &format!(
            r#"let st = #{{ k: 0.5 }};
            st.f = |p| #{{ a: p.x * st.k }};
            st.g = |x| st.f.call(x);
            let found = sweep::run(sweep::grid(#{{ x: [1.0, 2.0] }}), #{{ out: "{out}", quiet: true }}, st.f);
            assert_eq(found.column("a"), [0.5, 1.0]);
            assert(text::code_hash(st.f) == text::code_hash(st.f));"#
        ),
        &[],
    );
    result.unwrap();
}
