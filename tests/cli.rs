//! Commands: what they print, to which stream, and their exit codes.
#![cfg(test)]

mod shared;

use std::process::Command;

use insta::assert_snapshot;
use shared::{finish, spectral};

/// Creates a folder with `script.rhai` and further files.
fn folder(script: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files.iter().chain(&[("script.rhai", script)]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn a_script_prints_to_standard_output_and_ends_with_0() {
    let folder = folder("print(\"hello\"); print([1, 2.5]); 42", &[]);
    let ran = spectral(folder.path(), &["run", "script.rhai"], "");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "hello\n[1, 2.5]\n", ""));
}

#[test]
fn a_script_chooses_its_exit_code() {
    for code in ["300", "-1", "1.5"] {
        let folder = folder(&format!("exit({code});"), &[]);
        let ran = spectral(folder.path(), &["run", "script.rhai"], "");
        assert!(
            ran.code == Some(1) && ran.err.contains("expected a code from 0 to 255, found"),
            "{}",
            ran.err
        );
    }
    let folder = folder("fn stop() { try { exit(7) } catch { } } stop(); print(\"not reached\")", &[]);
    let ran = spectral(folder.path(), &["run", "script.rhai"], "");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(7), "", ""));
}

#[test]
fn a_script_has_options_with_help_and_refuses_typos() {
    let script =
        "let o = cli::options(\"Counts.\", [cli::option(\"steps\", 3, \"how far\")]); print(o.steps);";
    let folder = folder(script, &[]);
    let run =
        |arguments: &[&str]| spectral(folder.path(), &[&["run", "script.rhai"], arguments].concat(), "");
    assert_eq!(run(&["--", "--steps", "5"]).out, "5\n");
    let help = run(&["--", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("--steps") && help.out.contains("how far"), "{}", help.out);
    let typo = run(&["--", "--stpes", "5"]);
    assert_eq!((typo.code, typo.out.as_str()), (Some(2), ""));
    assert!(typo.err.contains("--stpes") && typo.err.contains("--steps"), "{}", typo.err);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let folder = folder("1", &[]);
    for wrong in
        [&["run"][..], &["rnu", "script.rhai"], &["run", "script.rhai", "--frob"], &["info", "--jsn"]]
    {
        let ran = spectral(folder.path(), wrong, "");
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
    }
}

#[test]
fn a_file_that_is_no_script_is_refused_clearly() {
    let folder = folder("1", &[]);
    std::fs::write(folder.path().join("bytes.rhai"), b"let a = 1;\n\xff\xfe").unwrap();
    let message = |file: &str| {
        let ran = spectral(folder.path(), &["run", file], "");
        assert_eq!(ran.code, Some(1));
        ran.err
    };
    assert_snapshot!(message("nowhere.rhai"), @"error: nowhere.rhai: no such file");
    assert_snapshot!(message("."), @"error: .: is a folder, expected a script");
    assert_snapshot!(message("bytes.rhai"), @r"
    error: bytes.rhai: not a text file: line 2 is not valid UTF-8
    hint: scripts are text in UTF-8
    ");
}

#[test]
fn check_finds_everything_and_runs_nothing() {
    let script = r#"
import "lib" as lib;
print("must not run");
let t = tensor::zeros([2], #{ dtyp: "int64" });
let f = filter::ideal(#{ cutoff: 7 });
fn g(a) { a + t }
g(1, 2);
lib::duoble(3);
lib::own();
t.reshap([1, 2]);
losss + 1;
"#;
    let folder = folder(script, &[("lib.rhai", "fn double(x) { 2 * y } private fn own() { 1 }")]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let findings: Vec<&str> = ran.err.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_snapshot!(findings.join("\n"), @r"
    error: there is no variable `y`
    error: tensor::zeros: unknown option `dtyp`
    error: filter::ideal: `cutoff` must be from 0 to 1.5, found 7
    error: there is no variable `t`
    error: `g` takes 1 argument, found 2
    error: there is no function `lib::duoble`
    error: there is no function `lib::own`
    error: there is no function `reshap`
    error: there is no variable `losss`
    ");
    assert!(ran.err.contains("lib.rhai:1:20") && ran.err.ends_with("9 findings\n"), "{}", ran.err);
    let hint = "hint: `own` is private to its script: remove `private` before its `fn`";
    assert!(ran.err.contains(hint), "{}", ran.err);
    std::fs::write(folder.path().join("private.rhai"), "import \"lib\" as lib;\nlib::own()").unwrap();
    let ran = spectral(folder.path(), &["run", "private.rhai"], "");
    assert!(ran.err.contains(hint), "{}", ran.err);
}

#[test]
fn check_finds_values_of_a_type_that_is_never_accepted() {
    let script = r#"
let model = model::dit(#{ preset: "fashion_tiny" });
correction(gate::time(), filter::box(#{ width: 3 }));
optim::adamw(model, #{ lr: "0.1" });
loss::weighted("snr");
optim::adamw(model, #{ lr: 0.1 });
correction([filter::box(#{ width: 3 })], gate::time());
"#;
    let folder = folder(script, &[]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    let findings: Vec<&str> = ran.err.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_snapshot!(findings.join("\n"));
}

#[test]
fn check_finds_names_of_no_device_and_no_dtype() {
    let script = r#"
tensor::set_default_device("gpu");
let net = model::dit(#{ depth: 1, device: "cuda:x" });
let x = tensor::zeros([1], #{ device: "cuda:1", dtype: "float23" });
x.to("gpu:0");
x.to("cuda:7", "bfloat");
x.to("mps");
net.to("auto");
"#;
    let folder = folder(script, &[]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    let told = |line: &&str| line.starts_with("error: ") || line.contains("hint: ");
    let findings: Vec<&str> = ran.err.lines().map(str::trim).filter(told).collect();
    assert_snapshot!(findings.join("\n"), @r#"
    error: tensor::set_default_device: argument `device`: unknown device "gpu"
    hint: did you mean `cuda`?
    error: model::dit: option `device`: unknown device "cuda:x"
    hint: did you mean `cuda`?
    error: tensor::zeros: option `dtype`: unknown dtype "float23"
    hint: did you mean `float32`?
    error: to: argument `target`: unknown device "gpu:0"
    hint: did you mean `cuda`?
    error: to: argument `second`: unknown dtype "bfloat"
    hint: did you mean `bfloat16`?
    error: to: argument `target`: "mps" is neither a dtype nor a device
    hint: try "float32", "int64", "cpu" or "cuda"
    "#);
}

#[test]
fn check_finds_wrong_keys_and_values_of_inner_maps() {
    let script = r#"
let net = model::dit(#{ depth: 1 });
let images = data::fashion_mnist();
train::fit(net, images, #{ ema: #{ dekay: 0.9 } });
train::fit(net, images, #{ ema: [0.9, #{ decay: "high" }], groups: [#{ match: "*", lr: -1.0 }, #{ wd: 0.1 }] });
optim::muon(net, #{ adamw: #{ betaz: [0.9, 0.99] } });
train::fit(net, images, #{ ema: [0.9, #{ sigma_rel: 0.1 }], optimizer: #{ kind: "muon", momentum: 0.9 } });
checkpoint::save("a", #{ others: #{ critic: #{ model: net } } });
let seen = [];
train::fit(net, images, #{ loss: |s| (s.v - s.taget).square().mean(), on_step: |row| seen.push(row.los) });
train::fit(net, images, #{ loss: |s| { let kept = s.kept.h; (s.v - s.target).mean() * s.t.mean() }, score: |s| s.loss });
"#;
    let folder = folder(script, &[]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    let findings: Vec<&str> = ran.err.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_snapshot!(findings.join("\n"), @r#"
    error: train::fit: unknown option `dekay`
    error: train::fit: option `decay`: expected float, found the string "high"
    error: train::fit: `lr` must be from 0 to 1000, found -1
    error: train::fit: unknown option `wd`
    error: optim::muon: unknown option `betaz`
    error: the map that the function in `loss` receives has no entry `taget`
    error: the map that the function in `on_step` receives has no entry `los`
    "#);
}

#[test]
fn functions_that_options_call_with_another_number_of_arguments_are_found_before_the_call() {
    let script = r#"
let images = data::from_tensors(tensor::rand([16, 1, 4, 4]) * 2 - 1, tensor::arange(16) % 2);
let small = #{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
let net = model::dit(small);
let low = 0.5;
let of_two = |x, y| low;
try { train::fit(net, images, #{ steps: 3, score: of_two }); } catch (e) { print(e); }
flow::sample(net, #{ steps: 2, labels: [0], velocity: |v, x, t, y| v * low, keep: |x, t| x });
try { flow::sample(net, #{ steps: 2, labels: [0], velocity: |v| v * low }); } catch (e) { print(e); }
train::fit(net, images, #{ steps: 3, timesteps: |n| 1.0, on_step: || 1.0, loss: of_two, schedule: |step| 1.0 });
"#;
    let folder = folder(script, &[]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    let findings: Vec<&str> = ran.err.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_snapshot!(findings.join("\n"), @r"
    error: flow::sample: option `velocity`: expected a function `|v, x, t|` or `|v, x, t, y|` or `|v, x, t, y, c|`, found one that takes 1 value
    error: train::fit: option `timesteps`: expected a function `|n, g|` or `|n, g, c|`, found one that takes 1 value
    error: train::fit: option `on_step`: expected a function `|s|`, found one that takes 0 values
    ");
    let ran = spectral(folder.path(), &["run", "script.rhai"], "");
    let score = "expected a function `|s|`, found one that takes 2 values, line 6 of script.rhai";
    assert!(ran.out.starts_with(&format!("train::fit: option `score`: {score}")), "{}", ran.out);
    assert!(
        ran.out.contains("option `velocity`: expected a function `|v, x, t|` or `|v, x, t, y|`"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("`loss`: expected a function `|s|`"), "{}", ran.err);
}

#[test]
fn check_warns_about_a_division_that_is_a_comment() {
    let folder = folder("fn half(n) {\n    n // 2\n}\nprint(half(5)); // 5 steps\n", &[]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    assert_eq!(ran.err.matches("warning: ").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("script.rhai:2:7") && ran.err.contains("floor_divide"), "{}", ran.err);
}

#[test]
fn a_script_may_begin_with_a_byte_order_mark_and_a_line_for_the_shell_and_come_from_standard_input() {
    let folder = folder("\u{feff}#!/usr/bin/env -S spectral run\nprint(7);\n", &[]);
    for (file, input) in [("script.rhai", ""), ("-", "#!/bin/spectral\nprint(7);")] {
        let ran = spectral(folder.path(), &["run", file], input);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("7\n", ""), "{file}");
    }
    let ran = spectral(folder.path(), &["run", "-"], "\nx");
    assert!(ran.err.contains("-:2:1"), "{}", ran.err);
}

#[test]
fn check_finds_parts_whose_function_returns_no_tensor_of_its_input_s_shape() {
    let findings = |part: &str, at: &str| {
        let folder = folder(&format!("let half = 0.5;\nlet p = nn::part({part}){at};\n"), &[]);
        let ran = spectral(folder.path(), &["check", "script.rhai"], "");
        ran.err.lines().next().unwrap_or_default().to_string()
    };
    for (part, found) in [
        ("|b| |r, c| r.shape", "an array of ints"),
        ("|b| |r, c| (r * half).mean()", "a tensor of shape []"),
        ("|b| { let g = b.linear(\"g\", 1, 1); |r, c| { let g = r + 1; g.shape } }", "an array of ints"),
        ("|b| { let f = |r| 3; f }", "the integer 3"),
        ("|b| |r, c| c.keep(\"r\", r)", "`()`"),
        ("|b| |r| { let y = r * 2; }", "`()`"),
        ("|b| |r, c| if c.step > 3 { \"late\" } else { [r] }", "an array"),
        ("|b| |r, c| #{ q: r }", "a map"),
    ] {
        let message = findings(part, ".at(\"mlp\")");
        let expected = "expected a tensor of the shape of the part's input";
        assert_eq!(
            message,
            format!("error: nn::part: the function's result: {expected}, found {found}"),
            "{part}"
        );
    }
    for (part, message) in [
        ("|b| |r, c| r * c.tiem", "call has no property `tiem`"),
        ("|b| { let g = b.linear(\"g\", b.widht, 1); |r, c| r }", "builder has no property `widht`"),
        ("|b| |r, c| { let c = #{ tiem: 1 }; r * c.tiem }", ""),
        ("|b| |r, c| r * c.time", ""),
    ] {
        let found = findings(part, ".at(\"mlp\")");
        assert_eq!(
            found,
            if message.is_empty() { String::new() } else { format!("error: {message}") },
            "{part}"
        );
    }
    for (part, found) in [("|b| |w, c| w", "2 parameters"), ("|b| || 3", "0 parameters")] {
        let message = findings(part, ".at(\"weight\")");
        assert!(message.contains("takes the weight alone, found ") && message.ends_with(found), "{message}");
    }
    let inside = |part: &str| findings(part, ".at(\"attend\")");
    assert_eq!(
        inside("|b| |x, c| x"),
        "error: nn::part: the function's result: expected the mixed values, a tensor of [B, heads, N, D / heads], found a map"
    );
    for part in [
        "|b| |x, c| { x.v = x.v * 2.0; c.inner(x) }",
        "|b| |x, c| x.q.attention(x.k, x.v)",
        "|b| |x, c| c.inner(#{ q: x.q, k: x.q, v: x.v }) * c.input.mean()",
    ] {
        assert_eq!(inside(part), "", "{part}");
    }
    let nothing = "never runs the usual module, whose weights stay in the model without a use";
    for (part, place, found) in [
        ("|b| |x, c| x * half", "feed_forward", nothing),
        ("|b| { let f = b.linear(\"f\", b.width, b.width); |x| f.forward(x) }", "attention", nothing),
        ("|b| |x, c| { c.keep(\"x\", x); tensor::cat([x], 1) * c.t.mean() }", "attention", nothing),
        ("|b| |x, c| x * half, #{ replaces: true }", "feed_forward", ""),
        ("|b| |x, c| x * half, #{ replaces: half > 0.0 }", "feed_forward", ""),
        ("|b| |x, c| { let y = c.inner(x); y * half }", "feed_forward", ""),
        ("|b| { let f = |x, c| c.inner(x); |x, c| f.call(x, c) }", "attention", ""),
        ("|b| |x, c| x * half", "block", ""),
        ("|b| |x, c| c.inner(x), #{ replaces: true }", "attention", "`c.inner` has nothing to run"),
        ("|b| |x, c| x * half, #{ replaces: true }", "mlp", "replaces a module, and there is none at `mlp`"),
        ("|b| |m, c| m, #{ plain: true }", "modulation", ""),
        ("|b| |m, c| { m.gate_mlp = m.gate_mlp * half; m }", "modulation", ""),
        ("|b| |m, c| 3", "modulation", "expected a map of the six coefficients, found the integer 3"),
        ("|b| |e, c| e.silu(), #{ replaces: true }", "modulation", "of the six coefficients, found a tensor"),
    ] {
        let message = findings(part, &format!(".at(\"{place}\")"));
        let kind = if found == nothing { "warning: " } else { "error: nn::part: " };
        let fits = message.starts_with(kind) && message.contains(found);
        assert!(if found.is_empty() { message.is_empty() } else { fits }, "{part}: {message}");
    }
    let message = findings("|b| \"x\"", "");
    assert!(
        message.contains("expected the function that is called in every forward, found the string"),
        "{message}"
    );
    for (part, at) in [
        ("|b| |r, c| r * half", ".at(\"mlp\")"),
        ("|b| |r, c| if c.step > 3 { 3 } else { r }", ".at(\"mlp\")"),
        ("|b| |r, c| { if c.step > 3 { return r; } 3 }", ".at(\"mlp\")"),
        ("|b| |r, c| { let y = 3; y = r; y }", ".at(\"mlp\")"),
        ("|b| |r, c| { let y = 3; let set = || { y = r; }; set.call(); y }", ".at(\"mlp\")"),
        ("|b| |r, c| { throw \"no\" }", ".at(\"mlp\")"),
        ("|b| |r, c| #{ q: r.q, k: r.k }", ".at(\"qk\")"),
        // The place may be `qk`, where the function takes and returns a map.
        ("|b| |r, c| #{ q: r.q, k: r.k }", ""),
        ("|b| |r, c| r.shape", ""),
        (
            "|b| { let s = b.parameter(\"s\", [b.outputs, b.inputs]); |w| w + half * s }",
            ".at(\"weight\", #{ names: \"*\" })",
        ),
        ("|b| b.linear(\"a\", 1, 1)", ".at(\"mlp\")"),
    ] {
        assert_eq!(findings(part, at), "", "{part}");
    }
}

#[test]
fn check_has_nothing_to_say_about_a_good_script() {
    let script = r#"
import "lib" as lib;
let model = model::dit(#{ preset: "fashion_tiny", depth: 1, corrections: correction(filter::box(#{ width: 3 }), gate::time()) });
let scale = 2;
let twice = |x| x * scale;
let m = #{ go_on: |x| x };
fn fact(n) { if n < 2 { 1 } else { n * fact(n - 1) } }
for (v, i) in [1, 2, 3].map(fact) {
    try { throw `at ${i}: ${v}` } catch (e) { print(e.message + e.hint) }
}
print(`${twice.call(lib::double(lib::N))} ${m.go_on(1)} ${[1].filter(|x| x > 0).len}`);
// Features have an `extract` too, with another number of arguments.
print([1, 2, 3].extract(0, 2));
switch scale { 1 => print("a"), _ => print("b") }
fn train(model, images) {
    train::fit(model, images, #{ on_step: |s| { s.note = s.loss * 2.0; print(s.note); } });
}
fn first() { import "lib" as l; l::double(1) }
fn second() { import "other" as l; l::triple(1) }
print(first() + second());
"#;
    let other = ("other.rhai", "fn triple(x) { 3 * x }");
    let folder = folder(script, &[("lib.rhai", "fn double(x) { 2 * x } export const N = 4;"), other]);
    let ran = spectral(folder.path(), &["check", "script.rhai", "lib.rhai"], "");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    let ran = spectral(folder.path(), &["run", "script.rhai"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
}

#[test]
fn former_names_of_options_work_and_a_note_says_what_replaced_them() {
    let script = r##"
for i in 0..2 {
    let f = filter::taps([1, 2, 3, 2, 1], #{ normalise: false }); // old-spelling
    assert_eq(f, filter::taps([1, 2, 3, 2, 1], #{ normalize: false }));
}
let old = plot::line([#{ y: [1, 2], colour: "grey" }]); // old-spelling
assert_eq(old.svg(), plot::line([#{ y: [1, 2], color: "gray" }]).svg());
"##;
    let folder = folder(script, &[]);
    let ran = spectral(folder.path(), &["check", "script.rhai"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    let ran = spectral(folder.path(), &["run", "script.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let [old_tap, old_line] = ["normalise", "colour"]; // old-spelling
    for (former, name) in [(old_tap, "normalize"), (old_line, "color")] {
        let note = format!("the option `{former}` is now called `{name}`");
        assert_eq!(ran.err.matches(&note).count(), 1, "{}", ran.err);
    }
    let both = r#"filter::taps([1, 2, 1], #{ normalise: true, normalize: true })"#; // old-spelling
    std::fs::write(folder.path().join("both.rhai"), both).unwrap();
    let ran = spectral(folder.path(), &["run", "both.rhai"], "");
    assert!(ran.code == Some(1) && ran.err.contains("pass `normalize` alone"), "{}", ran.err);
}

#[test]
fn info_names_versions_and_where_libtorch_came_from() {
    let folder = folder("1", &[]);
    let ran = spectral(folder.path(), &["info", "--json"], "");
    assert_eq!(ran.code, Some(0));
    let info: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(info["spectral"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["rhai"], "1.25.1");
    assert_eq!(info["libtorch"], "2.11.0");
    assert!(std::path::Path::new(info["libtorch_folder"].as_str().unwrap()).is_dir());
    assert!(info["cpu_threads"].as_u64().unwrap() > 0 && info["memory_bytes"].as_u64().unwrap() > 0);
    let plain = spectral(folder.path(), &["info"], "").out;
    for word in ["spectral", "libtorch", "rhai", "rust", "cuda", "threads", "memory"] {
        assert!(plain.lines().any(|l| l.starts_with(word)), "{word} in\n{plain}");
    }
}

#[test]
fn the_doctor_tells_each_thing_and_what_to_do() {
    let folder = folder("1", &[]);
    let ran = spectral(folder.path(), &["doctor", "--device", "cpu", "--json"], "");
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let names: Vec<&str> = findings.iter().map(|f| f["name"].as_str().unwrap()).collect();
    for name in [
        "libtorch",
        "processor",
        "threads",
        "memory",
        "cache",
        "folder",
        "cuda",
        "corrected",
        "training",
        "jupyter",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(findings.iter().all(|f| (f["state"] == "ok") == f["advice"].is_null()), "{told:#}");
    let plain = spectral(folder.path(), &["doctor", "--device", "cpu"], "").out;
    assert!(plain.lines().filter(|l| l.starts_with("ok ")).count() > 10, "{plain}");
    let gone = spectral(folder.path(), &["doctor", "--device", "cuda:7"], "");
    assert_eq!(gone.code, Some(1), "{}", gone.out);
    assert!(
        gone.out.lines().any(|l| l.starts_with("failure  device") && l.contains("cuda:7")),
        "{}",
        gone.out
    );
}

#[test]
fn examples_are_written_and_can_be_checked() {
    let folder = folder("1", &[]);
    let ran = spectral(folder.path(), &["examples", "mine"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("spectral run mine/scripts/ablate_cutoff.rhai"), "{}", ran.out);
    let ran = spectral(folder.path(), &["check", "mine/scripts/ablate_cutoff.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn docs_explain_one_list_all_and_suggest() {
    let folder = folder("1", &[]);
    let docs = |arguments: &[&str]| spectral(folder.path(), &[&["docs"], arguments].concat(), "");
    let page = docs(&["filter::ideal"]).out;
    for part in
        ["filter::ideal(options?: map) -> filter", "cutoff  float = 0.5, from 0 to 1.5", "example\n  let"]
    {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    assert!(docs(&["sum"]).out.contains("tensor.sum("));
    assert!(docs(&["cli::options"]).out.contains("cli::options(about: string, options: array) -> map"));
    assert!(docs(&["gate"]).out.contains("time"));
    let wrong = docs(&["filter::idael"]);
    assert_eq!(wrong.code, Some(1));
    assert_snapshot!(wrong.err, @r"
    error: unknown name `filter::idael`
    hint: did you mean `filter::ideal`?
    ");
    let all: serde_json::Value = serde_json::from_str(&docs(&["--json"]).out).unwrap();
    let all = all.as_array().unwrap();
    assert!(all.len() > 100);
    for key in ["path", "signature", "summary", "options", "example"] {
        assert!(all.iter().all(|entry| entry.get(key).is_some()), "{key}");
    }
    assert_eq!(docs(&["--json", "filter::idael"]).code, Some(1));
}

#[test]
fn docs_find_words_and_hints_suit_shell_and_prompt() {
    let folder = folder("1", &[]);
    let docs = |arguments: &[&str]| spectral(folder.path(), &[&["docs"], arguments].concat(), "");
    let found = docs(&["--search", "nearest", "neighbor"]);
    assert_eq!(found.code, Some(0), "{}", found.err);
    assert!(found.out.contains("eval::precision_recall()"), "{}", found.out);
    let word = docs(&["momentum"]);
    assert!(word.out.starts_with("nothing is called momentum"), "{}", word.out);
    assert!(word.out.contains("optim::muon()"), "{}", word.out);
    let json: serde_json::Value =
        serde_json::from_str(&docs(&["--json", "--search", "momentum"]).out).unwrap();
    assert!(json.as_array().is_some_and(|all| all.iter().any(|entry| entry["path"] == "optim::muon")));
    for arguments in [&["nosuchword"][..], &["--json", "nosuchword"]] {
        let none = docs(arguments);
        assert_eq!(none.code, Some(1), "{}", none.out);
        assert!(none.err.contains("hint: `spectral docs` lists all functions"), "{}", none.err);
    }
    assert_eq!(docs(&["--search", "nosuchword"]).code, Some(1));
    let prompt = |cell: &str| spectral(folder.path(), &["repl"], cell);
    let unknown = "tensor::zeros([2]).nosuchmethod(1)";
    assert!(
        prompt(unknown).err.contains("hint: `help(\"tensor\")` lists the methods"),
        "{}",
        prompt(unknown).err
    );
    for question in ["help(\"nosuchword\")", "?nosuchword"] {
        let err = prompt(question).err;
        assert!(err.contains("hint: `help()` lists all functions"), "{question}: {err}");
    }
    assert!(prompt("help(\"momentum\")").out.contains("optim::muon()"));
}

#[test]
fn piped_input_is_evaluated_and_only_results_are_printed() {
    let input = "let x = 20\n\nx * 2 + 2\nfn f(a) {\n  a + 1\n}\n[1, 2]\n  .map(f)\nif x > 0 {\n  \"yes\"\n}\nelse {\n  \"no\"\n}\nx;\n";
    let folder = folder("1", &[]);
    let ran = spectral(folder.path(), &["repl"], input);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "42\n[2, 3]\n\"yes\"\n", ""));
    let ran = finish(Command::new(env!("CARGO_BIN_EXE_spectral-repl")), folder.path(), "1 + 1");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2\n"));
}

#[test]
fn an_error_in_piped_input_keeps_the_session_and_ends_with_1() {
    let input = "let kept = 5;\nlet lost = kept + nothing;\n\nkept\n";
    let ran = spectral(folder("1", &[]).path(), &["repl"], input);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "5\n"));
    assert_snapshot!(ran.err, @r"
    error: there is no variable `nothing`
      --> standard input:2:19
       |
     2 | let lost = kept + nothing;
       |                   ^^^^^^^
    hint: declare it with `let nothing = ..` before this line
    ");
}

#[test]
fn progress_is_plain_lines_where_there_is_no_terminal() {
    let script = r#"
let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
train::fit(model, images, #{ steps: 3, batch: 4 });
"#;
    let ran = spectral(folder(script, &[]).path(), &["run", "script.rhai"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{}", ran.err);
    let line = ran.err.lines().last().unwrap_or_default();
    assert!(line.contains(" 3/3  ") && line.contains("loss") && !line.contains('\x1b'), "{line:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_script_with_130() {
    use std::io::Read;
    use std::process::Stdio;
    let folder = folder("print(\"ready\"); loop { }", &[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(["run", "script.rhai"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    // SAFETY: `kill` only sends a signal to the child that was just started.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("interrupted"));
}

#[test]
fn color_is_for_terminals_unless_it_is_asked_for() {
    let folder = folder("nothing", &[]);
    let run = |set: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spectral"));
        command.args(["run", "script.rhai"]).envs(set.iter().copied());
        finish(command, folder.path(), "").err
    };
    assert!(!run(&[]).contains('\x1b'));
    // `finish` removes CLICOLOR_FORCE, so that other tests see plain text. A shell sets it again here.
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_spectral");
    command.args(["-c", &format!("CLICOLOR_FORCE=1 '{program}' run script.rhai")]);
    assert!(finish(command, folder.path(), "").err.contains("\x1b[1;31m"));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("NO_COLOR=1 CLICOLOR_FORCE=1 '{program}' run script.rhai")]);
    assert!(!finish(command, folder.path(), "").err.contains('\x1b'));
}

#[test]
fn check_agrees_with_every_documented_example() {
    use spectral::script::{check, engine, entries};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.rhai");
    let language = engine::language(engine::EngineOptions::default());
    let mut findings = Vec::new();
    for entry in entries::all() {
        std::fs::write(&file, entry.example.unwrap_or_default()).unwrap();
        for report in check::check(&language, &file) {
            findings.push(format!("{}\n{}", entry.path, report.render(false)));
        }
    }
    // Examples of errors contain errors on purpose.
    findings.retain(|f| !f.contains("try {"));
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn characters_without_a_glyph_are_named_once() {
    let script = "let f = plot::line([3, 1, 2], #{ title: \"loss \\U0010FFFD\" }); f.save(\"a.png\"); f.save(\"b.png\");\n\
                  plot::line([3, 1], #{ title: \"\\U0010FFFD\" }).save(\"c.svg\"); plot::line([3, 1], #{ title: \"é α\" }).save(\"d.png\");";
    let folder = folder(script, &[]);
    let ran = spectral(folder.path(), &["run", "script.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.starts_with("warning: ") && ran.err.contains("U+10FFFD"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn scripts_for_completion_are_accepted_by_bash() {
    let folder = folder("", &[]);
    let bash = spectral(folder.path(), &["completions", "bash"], "");
    assert_eq!((bash.code, bash.err.as_str()), (Some(0), ""));
    std::fs::write(folder.path().join("complete.bash"), &bash.out).unwrap();
    // Commands that begin with `ch`, and the function that completes `spectral`.
    let asked =
        "source complete.bash; COMP_WORDS=(spectral ch); COMP_CWORD=1; _spectral spectral ch spectral;
        echo ${COMPREPLY[@]}; complete -p spectral";
    let told =
        Command::new("bash").args(["--norc", "-c", asked]).current_dir(folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(out.starts_with("check checkpoint\ncomplete ") && out.contains("-F _spectral"), "{out}{err}");
    for (shell, holds) in [("zsh", "#compdef spectral"), ("fish", "complete -c spectral")] {
        let script = spectral(folder.path(), &["completions", shell], "");
        assert!(script.out.contains(holds), "{}", script.out);
    }
}

#[test]
fn check_finds_scripts_that_import_themselves_by_way_of_others() {
    let files = [("b.rhai", "fn f() { 1 }\nimport \"c\" as c;"), ("c.rhai", "import \"script\" as s;")];
    let folder = folder("import \"b\" as b;", &files);
    let told = spectral(folder.path(), &["check", "script.rhai"], "");
    assert_eq!(told.code, Some(1));
    let expected = "error: script.rhai: the script imports itself: line 1 of script.rhai imports b.rhai, \
        line 2 of b.rhai imports c.rhai, line 1 of c.rhai imports it\n  --> c.rhai:1:8";
    assert!(told.err.starts_with(expected), "{}", told.err);
    // A function or a branch may never be called.
    std::fs::write(
        folder.path().join("c.rhai"),
        "fn g() { import \"script\" as s; }\nif false { import \"b\" as b; }",
    )
    .unwrap();
    assert_eq!(spectral(folder.path(), &["check", "script.rhai"], "").code, Some(0));
}
