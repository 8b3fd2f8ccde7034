//! Common mistakes of new users, and the response: one message, its place, a hint, an exit code.
#![cfg(test)]

mod shared;

use std::path::Path;

use insta::assert_snapshot;
use shared::{Ran, spectral};

/// Runs `script.rhai` beside other files.
fn run_with(script: &str, files: &[(&str, &[u8])]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files.iter().chain(&[("script.rhai", script.as_bytes())]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    spectral(folder.path(), &["run", "script.rhai"], "")
}

/// Returns the message of a script that must fail with exit code 1 and print nothing else.
fn message(script: &str) -> String {
    message_with(script, &[])
}

/// Returns scripts and their messages, one below the other.
fn gallery(scripts: &[&str]) -> String {
    let shown = scripts.iter().map(|script| {
        let quoted: Vec<String> = script.lines().map(|line| format!("> {line}")).collect();
        format!("{}\n{}", quoted.join("\n"), message(script))
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn message_with(script: &str, files: &[(&str, &[u8])]) -> String {
    let ran = run_with(script, files);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
    let (raw, cpp) =
        (ran.err.contains("ErrorRuntime"), ran.err.contains("c10::") || ran.err.contains(".cpp"));
    assert!(!raw && !cpp, "{}", ran.err);
    ran.err
}

#[test]
fn a_misspelt_function() {
    assert_snapshot!(gallery(&[
        "let low = filter::gausian(#{ sigma: 1.5 });",
        "let t = tensor::zeros([2]);\nt.summ();",
        "fn double(x) { 2 * x }\nduoble(3)",
        "let t = tensr::zeros([2]);",
    ]));
}

#[test]
fn a_value_of_another_kind_where_one_of_ours_is_due() {
    assert_snapshot!(gallery(&[
        "correction(\"gaussian\", gate::time())",
        "model::dit(#{ corrections: [filter::binomial()] })",
        "model::dit(#{ parts: |r| r * 0.5 })",
        "train::fit(model::dit(), tensor::zeros([2]))",
        "tensor::stack(\"x\")",
    ]));
}

#[test]
fn a_misspelt_option() {
    assert_snapshot!(gallery(&[
        "filter::gaussian(#{\n    sigam: 1.5,\n})",
        "model::dit(#{ preset: \"fashion_tny\" })",
    ]));
}

#[test]
fn a_misspelt_variable_or_property() {
    assert_snapshot!(gallery(&[
        "let loss = 1;\nlos + 1",
        "let factor = 2;\nfn scale(x) { factor * x }\nscale(3)",
        "let s = #{ v: tensor([1.0]), target: 2 };\nlet f = |s| s.v - s.targt;\nlet g = |s| s.target;\nf.call(s)",
        "let m = #{ v: [1], n: 2 };\ntry { m.v.retain(|x| x < m.n) } catch (e) { throw e; }",
        "tensor::zeros([2]).shap",
        "#{ a: 1 }.b.c",
    ]));
}

#[test]
fn a_mask_where_a_bool_is_due() {
    let mask = "let ok = (tensor::zeros([2]) > 0.5).any();";
    assert_snapshot!(gallery(&[
        &format!("{mask}\nwhile ok {{ break; }}"),
        &format!("{mask}\nlet f = || ok;\nwhile ok {{ break; }}"),
    ]));
}

#[test]
fn an_integer_where_a_tensor_is_due() {
    assert_snapshot!(gallery(&["let model = model::dit();\nmodel.forward(3, 4, 5)", "5.sum()",]));
}

#[test]
fn wrong_numbers_of_arguments() {
    assert_snapshot!(gallery(&["fn add(a, b) { a + b }\nadd(1)", "correction()",]));
}

#[test]
fn shapes_that_do_not_broadcast() {
    assert_snapshot!(gallery(&["tensor::zeros([2, 3]) + tensor::zeros([4])",]));
}

#[test]
fn values_out_of_range() {
    let script = "let m = model::dit(#{ depth: 1 });\n\
                  m.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([11]))";
    assert_snapshot!(gallery(&[
        "let f = filter::ideal(#{ cutoff: 7 });",
        "model::dit(#{ preset: \"fashion_tiny\", patch_size: 3 })",
        "[1, 2, 3][7]",
        script,
    ]));
}

#[test]
fn cuda_where_there_is_none() {
    if spectral::torch::device::cuda_count() > 0 {
        return;
    }
    assert_snapshot!(gallery(&["tensor::zeros([2], #{ device: \"cuda\" })",]));
}

#[test]
fn a_file_that_is_missing_truncated_or_something_else() {
    assert_snapshot!(here(&message("files::read_text(\"notes.txt\")")));
    assert_snapshot!(message_with("data::open(\"cifar10:data.tar.gz\")", &[("data.tar.gz", b"no archive")]));
    assert_snapshot!(message_with("tensor::load_npy(\"a.npy\")", &[("a.npy", b"not an array")]));
    assert_snapshot!(message_with(
        "tensor::load_safetensors(\"w.safetensors\")",
        &[("w.safetensors", b"\x40\0\0\0\0\0\0\0{}")]
    ));
    let images = b"\0\0\x08\x03\0\0\0\x05\0\0\0\x1c\0\0\0\x1cabc";
    let labels = b"\0\0\x08\x01\0\0\0\x05abcde";
    let files: [(&str, &[u8]); 2] =
        [("d/t10k-images-idx3-ubyte", images), ("d/t10k-labels-idx1-ubyte", labels)];
    assert_snapshot!(message_with("data::fashion_mnist(#{ path: \"d\", split: \"test\" })", &files));
}

#[cfg(target_os = "linux")]
#[test]
fn no_disk_space() {
    assert_snapshot!(gallery(&[
        "files::write_text(\"/dev/full\", \"x\")",
        "table::empty([\"a\"]).save_csv(\"/dev/full\")",
        "tensor::save_npy(\"/dev/full\", tensor::zeros([2]))",
    ]));
}

#[test]
fn errors_inside_functions_show_the_way_there() {
    assert_snapshot!(message(
        "fn outer(x) {\n    inner(x) + 1\n}\nfn inner(y) {\n    y.frobnicate()\n}\nouter(tensor::zeros([2]));"
    ));
}

#[test]
fn an_error_in_an_imported_script() {
    let lib = b"fn scale(x) {\n    x * missing\n}\n";
    assert_snapshot!(message_with(
        "import \"parts/lib\" as lib;\nlib::scale(3);",
        &[("parts/lib.rhai", lib)]
    ));
    let broken = b"let a = (1 + 2;\n";
    assert_snapshot!(message_with("import \"lib\" as lib;", &[("lib.rhai", broken)]));
    assert_snapshot!(message_with("import \"lbi\" as lib;", &[("lib.rhai", lib)]));
    assert_snapshot!(message_with("import \"a\" as a;", &[("a.rhai", b"import \"a\" as a;")]));
}

#[test]
fn scripts_that_import_each_other_by_way_of_their_folder() {
    let files: [(&str, &[u8]); 2] = [
        ("lib/p.rhai", b"import \"../lib/q\" as q; print(\"p\");"),
        ("lib/q.rhai", b"import \"../lib/p\" as p;"),
    ];
    let text = message_with("import \"lib/p\" as p;", &files);
    assert!(text.starts_with("error: lib/p.rhai: the script imports itself: line 1 of lib/p.rhai imports lib/q.rhai, line 1 of lib/q.rhai imports it\n  --> lib/q.rhai:1:8"), "{text}");
    let q: (&str, &[u8]) = ("lib/q.rhai", b"fn f() { 1 }");
    let ran = run_with("import \"lib/p\" as a; import \"lib/../lib/p\" as b;", &[files[0], q]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "p\n"), "{}", ran.err);
}

#[test]
fn an_error_in_a_text_that_eval_runs_is_marked_at_the_text() {
    let text = message("let s = 1;\nlet x = eval(\"foo(3)\");");
    assert!(text.contains("--> script.rhai:2:14"), "{text}");
    let text = message("fn f(a) { foo(a) }\nlet x = eval(\"\\n\\nf(3)\");");
    assert!(text.contains("--> script.rhai:1:11") && text.contains("called at script.rhai:2:14"), "{text}");
}

#[test]
fn marks_are_below_their_words() {
    let text = message("let s = \"日本語\"; foo(s);");
    assert!(text.contains(&format!("\n   | {}^^^\n", " ".repeat(18))), "{text}");
    let text = message("let x = tensor::zeros([2, 2]);\nx[0, 1 +\n];");
    assert!(text.contains("--> script.rhai:3:1\n"), "{text}");
}

#[test]
fn an_import_from_outside_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("secret.rhai"), "fn f() { 1 }").unwrap();
    std::fs::write(inner.join("script.rhai"), "import \"../secret\" as s;").unwrap();
    let ran = spectral(&inner, &["run", "script.rhai"], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("only from below the working directory"), "{}", ran.err);
    assert!(ran.err.contains("an empty file `.spectral`"), "{}", ran.err);
}

#[test]
fn an_import_from_the_project_or_through_a_link_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (project, shared) = (folder.path().join("project"), folder.path().join("shared"));
    let inner = project.join("notebooks");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("far.rhai"), "import \"near\" as near;\nfn f() { near::f() + 1 }").unwrap();
    std::fs::write(shared.join("near.rhai"), "fn f() { 1 }").unwrap();
    std::fs::write(project.join("shapes.rhai"), "fn f() { 40 }").unwrap();
    std::os::unix::fs::symlink(&shared, inner.join("lib")).unwrap();
    let script = "import \"../shapes\" as s;\nimport \"lib/far\" as far;\nprint(s::f() + far::f());";
    std::fs::write(inner.join("script.rhai"), script).unwrap();
    let run = || spectral(&inner, &["run", "script.rhai"], "");
    assert_eq!(run().code, Some(1));
    std::fs::write(project.join(".spectral"), "").unwrap();
    let ran = run();
    assert_eq!((ran.code, ran.out.trim()), (Some(0), "42"), "{}", ran.err);
    // What lies above the target of a link is not the user's own.
    std::fs::write(folder.path().join("secret.rhai"), "fn f() { 1 }").unwrap();
    std::fs::write(inner.join("script.rhai"), "import \"lib/../secret\" as s;").unwrap();
    assert_eq!(run().code, Some(1));
}

#[test]
fn an_option_in_an_array_of_maps_is_marked_in_its_own_map() {
    let text = message(
        "plot::line([1, 2], [#{ name: \"plain\", y: [3.0, 2.0], errors: [1.0, 2.0] },\n    \
         #{ name: \"ours\", y: [2.0, 1.0], errors: [[1.0], [2.0]] }]);",
    );
    assert!(text.contains("entry 1 (`ours`)") && text.contains("script.rhai:2:37"), "{text}");
}

#[test]
fn functions_of_networks_and_parts_are_refused_when_they_are_made() {
    let text =
        message("nn::model(#{ image_shape: [1, 4, 4], num_classes: 2, make: |b| |x, t, r, y, e| x });");
    let expected = "expected a function `|x, t, y|` or `|x, t, y, c|`, found one that takes 5 values, line 1";
    assert!(text.contains(expected), "{text}");
    let text = message(
        "let p = nn::part(|b| |x, c, d| x, #{ name: \"mine\" }).at(\"tokens\");\nmodel::dit(#{ depth: 1, parts: p });",
    );
    assert!(text.contains("`mine`") && text.contains("expected a function `|x|` or `|x, c|`"), "{text}");
}

#[test]
fn an_error_in_a_callback_of_a_native_function() {
    let script = "let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });\n\
        let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: \"int64\" }));\n\
        fn watch(s) {\n    print(s.los.len)\n}\n\
        train::fit(model, images, #{\n    steps: 3,\n    batch: 4,\n    on_step: |s| watch(s),\n});";
    let text = message(script);
    // The progress of training before the error is irrelevant here.
    let start = text.find("error: ").unwrap();
    assert_snapshot!(&text[start..]);
}

#[test]
fn what_a_script_throws() {
    assert_snapshot!(gallery(&[
        "fn load() { throw \"no data\" }\nload()",
        "throw #{ message: \"no data\", hint: \"fetch it first\" }",
    ]));
}

#[test]
fn what_is_caught_and_thrown_again_keeps_its_words_and_place() {
    assert_snapshot!(gallery(&[
        "try {\n    filter::ideal(#{ cutoff: 7 })\n} catch (e) {\n    throw e\n}",
        "fn f() { 5.sum() }\ntry { f() } catch (e) { throw; }",
    ]));
}

#[test]
fn every_caught_error_is_an_error_value() {
    let script = r#"
fn inner() { [1, 2][5] }
fn check(f) {
    try { f.call() } catch (e) { print(`${e.kind}: ${e.message} | ${e.hint} | ${type_of(e)}`); }
}
check(|| inner());
check(|| 5.sum());
check(|| tensor::zeors([2]));
check(|| 1 / 0);
check(|| tensor::zeros([2]).shap);
check(|| { let n = 3; if n { } });
check(|| filter::ideal(#{ cutof: 0.5 }));
check(|| { throw "mine" });
check(|| files::read_text("/nowhere/at/all"));
"#;
    let ran = run_with(script, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_snapshot!(ran.out);
}

#[test]
fn mistakes_in_the_grammar() {
    assert_snapshot!(gallery(&[
        "let a = (1 + 2;",
        "let s = \"open",
        "fn f() {\n    let a = 1;\n",
        "let n = 5;\nlet half = n // 2;\nlet more = 1;",
        "let x = null;",
        "if x = 3 { }",
        "for i in 5 { }",
    ]));
}

#[test]
fn arithmetic_and_endless_recursion() {
    assert_snapshot!(gallery(&["let zero = 0;\n1 / zero", "fn f(n) { f(n + 1) }\nf(1)",]));
}

mod defect {
    spectral::functions! { in "probe";
        /// Panics, as a defect in native code would.
        ///
        /// ```rhai
        /// probe::panic()
        /// ```
        fn panic() -> i64 {
            let empty: Vec<i64> = Vec::new();
            Ok(empty[3])
        }
    }
}

#[test]
fn a_panic_in_native_code_is_an_error_and_the_session_goes_on() {
    use spectral::session::{Options, Session};
    let mut options = Options::default();
    options.engine.functions = defect::declarations().iter().collect();
    let mut session = Session::new(options);
    assert!(session.run_cell("let kept = tensor::zeros([2]);", "cell 1").is_ok());
    let report = session.run_cell("fn f() { probe::panic() }\nf()", "cell 2").err().unwrap();
    assert_eq!(report.exit_code(), 1);
    assert_snapshot!(report.render(false));
    let shape = session.run_cell("kept.shape", "cell 3").ok().unwrap().display(80).unwrap();
    assert_eq!(shape.text, "[2]");
}

#[test]
fn an_error_keeps_what_was_computed_before_it() {
    use spectral::session::{Options, Session};
    let mut session = Session::new(Options::default());
    assert!(session.run_cell("let a = 1; let b = 2; nothing", "cell 1").is_err());
    assert_eq!(session.variables(), ["a", "b"]);
    assert!(session.run_cell("let a = a + b;", "cell 2").is_ok());
    assert_eq!(session.variables(), ["b", "a"], "the first `a` is gone, and with it what it held");
}

/// Removes the working folder from the text, because it differs from run to run.
fn here(text: &str) -> String {
    let cut = |line: &str| match line.split_once("relative to ") {
        Some((start, path)) if Path::new(path).is_absolute() => format!("{start}relative to HERE"),
        _ => line.to_string(),
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_closure_that_the_std_lib_calls_keeps_its_place() {
    let script = "let points = [#{ patch: 3 }];\nlet options = #{ quiet: true, stop_on_error: true };\n\
                  sweep::run(points, options, |p|\n    model::dit(#{ preset: \"fashion_tiny\", patch_size: p.patch }));";
    let told = message(script);
    assert!(told.contains("--> script.rhai:4:"), "{told}");
    assert!(told.contains("--> in `run`, called at script.rhai:3:"), "{told}");
    assert!(!told.contains("raised first"), "{told}");
}

#[test]
fn a_closure_that_takes_another_number_of_values_says_so() {
    // Captured variables do not count as parameters, whether native code, a rhai method or the script calls the
    // closure.
    let table = "let t = table::from_rows([#{ a: 1 }]);\n";
    for (call, expected) in [
        ("t.filter(|a, b| (t))", "the closure in line 2 of script.rhai takes 2 values, but was given 1"),
        ("t.filter(|a, b| (t))", "hint: it is called with a map of 1"),
        ("t.filter(|| true)", "the closure in line 2 of script.rhai takes 0 values, but was given 1"),
        (
            "filter::response(|r, s| r).gain(0.5)",
            "the closure in line 2 of script.rhai takes 2 values, but was given 1",
        ),
        ("[1, 2].map(|a, b, c| t)", "the closure was called with the wrong number of values"),
        ("(|a| t).call(1, 2)", "the closure was called with the wrong number of values"),
    ] {
        let told = message(&format!("{table}{call};"));
        assert!(told.contains(expected) && told.contains("script.rhai:2:"), "{call}\n{told}");
    }
}

#[test]
fn a_warning_of_libtorch_is_a_note_said_once() {
    let ran = run_with("for i in 0..2 { tensor([[1.0], [2.0]]).cov(); }", &[]);
    assert_eq!(ran.err.matches("note: cov(): degrees of freedom is <= 0").count(), 1, "{}", ran.err);
    assert!(!ran.err.contains(".cpp"), "{}", ran.err);
}

#[test]
fn a_function_in_the_place_of_something_else() {
    let model = "let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2 });\n";
    let text = message(&format!("{model}flow::sample(net, #{{ labels: [0], guidance: |t| 2.0 }});"));
    assert!(text.contains("hint: options that take a function: `fields`, `sampler`, `guide`, "), "{text}");
    let text = message("let f = |x| x;\nf == |x| x");
    assert!(text.contains("hint: compare what the functions return"), "{text}");
}
