//! Python habits: for each typical line, the hint shows the line to write instead, wherever it is typed.
#![cfg(test)]

mod shared;

use shared::spectral;
use spectral::session::{Options, Session};

/// Lines, and what their hint must contain.
const LINES: [(&str, &str); 43] = [
    ("torch.randn(2, 3)", "tensor::randn([2, 3])"),
    ("torch.zeros(2, 3, dtype=torch.float64)", "tensor::zeros([2, 3], #{ dtype: \"float64\" })"),
    ("torch.nn.functional.softmax(x, dim=1)", "x.softmax(1)"),
    ("torch.manual_seed(0)", "tensor::seed(0)"),
    ("np.mean([1.0, 2.0])", "tensor([1.0, 2.0]).mean()"),
    ("math.sqrt(2)", "sqrt(2.0)"),
    ("plt.plot([1, 2])", "plot::line([1, 2])"),
    ("x.to(torch.float64)", "x.to(\"float64\")"),
    ("tensor::randn(2, 3)", "tensor::randn([2, 3])"),
    ("tensor::zeros(2, 3, #{ dtype: \"int64\" })", "tensor::zeros([2, 3], #{ dtype: \"int64\" })"),
    ("tensor::full(2, 3, 1.0)", "tensor::full([2, 3], 1.0)"),
    ("x[:, 0]", "x[.., 0]"),
    ("x[0:1]", "x[0..1]"),
    ("x.sum(dim=1)", "x.sum(1)"),
    ("x.std(0, true)", "x.std(0, #{ unbiased: true })"),
    ("softmax(x, dim=1)", "softmax(x, 1)"),
    ("m(x)", "m.forward(x)"),
    ("m.eval()", "leave the line out"),
    ("m.train()", "leave the line out"),
    ("f(2)", "f.call(2)"),
    ("for i in range(10) { }", "for i in 0..10 { .. }"),
    ("for i in range(10):", "for i in 0..10 { .. }"),
    ("import torch", "need no import"),
    ("import numpy as np", "need no import"),
    ("filter::gaussian(1.5)", "filter::gaussian(#{ sigma: 1.5 })"),
    ("model::dit(\"fashion_tiny\")", "model::dit(#{ preset: \"fashion_tiny\" })"),
    ("print(f\"{x}\")", "print(`${x}`)"),
    ("let c = 1 if true else 2;", "let c = if true { 1 } else { 2 };"),
    ("let g = lambda a: a + 1;", "let g = |a| a + 1;"),
    ("let ys = [a * 2 for a in [1, 2]];", "let ys = [1, 2].map(|a| a * 2);"),
    ("let d = {\"a\": 1};", "#{\"a\": 1}"),
    ("print(\"a\", 2)", "print(`a 2`)"),
    ("str(5)", "x.to_string()"),
    ("[1].append(2)", "xs.push(x)"),
    ("torch::randn(2, 3)", "tensor::randn([2, 3])"),
    ("torch::cuda::is_available()", "tensor::set_default_device(\"auto\")"),
    ("nn::Linear(2, 3)", "`spectral docs builder`"),
    ("x.requires_grad = true", "`.requires_grad_(..)`"),
    ("let a = [0] * 3;", "xs.pad(10, 0)"),
    ("m.load_state_dict(1)", "write `model.load(path)`"),
    ("let b = inf;", "(1.0 / 0.0)"),
    ("let (a, b) = [1, 2];", "let a = both[0];"),
    ("map(f, [1, 2])", "write `xs.map(|x| ..)`"),
];

const BEFORE: &str = "let x = tensor::ones([2, 3]);\nlet m = model::dit(#{ depth: 1 });\nlet f = |a| a;\n";

#[test]
fn a_cell_gets_the_line_to_write() {
    let mut session = Session::new(Options::default());
    assert!(session.run_cell(BEFORE, "before").is_ok());
    for (line, ours) in LINES {
        let report = session.run_cell(line, "cell").err().unwrap_or_else(|| panic!("{line} is taken"));
        let text = report.render(false);
        assert!(report.hint.as_deref().unwrap_or_default().contains(ours), "{line}\n{text}");
        assert_eq!(report.place.map(|p| p.line), Some(1), "{line}\n{text}");
    }
}

#[test]
fn check_and_the_prompt_say_the_same_as_a_run() {
    let folder = tempfile::tempdir().unwrap();
    for (line, ours) in [LINES[0], LINES[11], LINES[13], LINES[20], LINES[22], LINES[26]] {
        let end = if line.ends_with([':', ';', '}']) { "" } else { ";" };
        std::fs::write(folder.path().join("s.rhai"), format!("{BEFORE}{line}{end}\nprint(1);\n")).unwrap();
        for command in ["run", "check"] {
            let ran = spectral(folder.path(), &[command, "s.rhai"], "");
            assert_eq!(ran.code, Some(1), "{command}: {line}");
            assert!(
                ran.err.contains(ours) && ran.err.contains("s.rhai:4:"),
                "{command}: {line}\n{}",
                ran.err
            );
        }
        let ran = spectral(folder.path(), &["repl"], &format!("{BEFORE}{line}\n"));
        assert!(ran.err.contains(ours), "repl: {line}\n{}", ran.err);
    }
}

#[test]
fn check_warns_of_what_is_quietly_another_number() {
    let folder = tempfile::tempdir().unwrap();
    let script = "let a = 1/3;\nlet n = 8;\nlet dt = 1 / n;\nlet ok = 6/3 + 1.0/3 + n/8;\nif 0 < a < 2 { }\n\
        let least = 0x8000000000000000 / -1;\nlet k = 3;\nfn f(k) { 1 / k }\nlet all = [2.0].map(|k| 1 / k);\n\
        for each in [2.0] { 1 / each }\nlet each = 4;\n";
    std::fs::write(folder.path().join("s.rhai"), script).unwrap();
    let ran = spectral(folder.path(), &["check", "s.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let found: Vec<&str> = ran.err.lines().filter(|l| l.starts_with("warning: ")).collect();
    assert_eq!(
        found,
        [
            "warning: `1/3` is 0: integers divide to an integer",
            "warning: `1/n` is 0: integers divide to an integer",
            "warning: `<` compares the bool of another comparison",
        ]
    );
    assert!(ran.err.contains("write `1.0/3`") && ran.err.ends_with("3 warnings\n"), "{}", ran.err);
}

#[test]
fn check_warns_of_changes_that_nothing_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let warned = [
        ("m.keys().push(\"c\");", "`push` changes an array that nothing keeps, and returns nothing"),
        (
            "let t = files::read_text(\"a\").trim();",
            "`trim` changes a string that nothing keeps, and returns nothing",
        ),
        ("let u = \" a \".trim();", "`trim` changes a string that nothing keeps, and returns nothing"),
        ("let v = [2, 1].sort();", "`sort` changes an array that nothing keeps, and returns nothing"),
        (
            "let w = m[\"a\"].to_string().make_upper();",
            "`make_upper` changes a string that nothing keeps, and returns nothing",
        ),
    ];
    let kept = "m.list.push(1); m[\"a\"].push(2); xs.sort(); xs[0] = 3; m.keys().len();\n\
        x.view([2]).zero_(); xs.filter(|v| v > 1).pop(); m.keys()[0].len();\n\
        let own = #{ make: || [1] }; own.make().push(1); let s = \"a\"; s.trim(); xs[m.keys()[0].len()] = 1;\n\
        fn values() { [1] } values().len(); m.keys().order(); let o = xs.filter(|v| v > 1); o.sort();\n";
    let lines: Vec<&str> = warned.iter().map(|(line, _)| *line).collect();
    let script = format!(
        "let m = #{{ a: [1], list: [] }}; let xs = [2, 1]; let x = tensor::zeros([2]);\n\
         let net = model::dit(#{{ depth: 1 }});\n{kept}{}\n",
        lines.join("\n")
    );
    std::fs::write(folder.path().join("s.rhai"), script).unwrap();
    let ran = spectral(folder.path(), &["check", "s.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let found: Vec<&str> = ran.err.lines().filter_map(|l| l.strip_prefix("warning: ")).collect();
    let expected: Vec<&str> = warned.iter().map(|(_, message)| *message).collect();
    assert_eq!(found, expected, "{}", ran.err);
}

#[test]
fn a_map_whose_function_captured_it_has_no_json() {
    let mut session = Session::new(Options::default());
    let cell = "let m = #{ n: 1 }; let add = |by| m.n += by; m.add = add; m.to_json()";
    let report = session.run_cell(cell, "cell").err().expect("an error");
    assert_eq!(report.message, "a function that captured variables has no form in JSON");
    let rest = "let rest = m.filter(|k, v| type_of(v) != \"Fn\"); assert_eq(rest.to_json(), `{\"n\":1}`);";
    assert!(session.run_cell(rest, "cell").is_ok());
    assert!(session.run_cell("const K = #{ a: 1.5, f: |x| x }; K.to_json()", "cell").is_ok());
}

#[test]
fn check_knows_the_places_of_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let check = |parts: &str| {
        let network =
            "let net = nn::model(#{ image_shape: [1, 8, 8], num_classes: 1, make: |b| |x, t, y| x, parts: ";
        std::fs::write(folder.path().join("s.rhai"), format!("{network}{parts} }});\n")).unwrap();
        spectral(folder.path(), &["check", "s.rhai"], "")
    };
    let ran = check("[nn::part(|b| |r, c| r).at(\"image\"), nn::part(|b| |r, c| r).at(\"mlp\")]");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let message = "a custom network has the places `image`, `velocity` and `weight`, found the part at `mlp`";
    assert!(ran.err.contains(message) && ran.err.contains("1 finding"), "{}", ran.err);
    assert_eq!(check("nn::part(|b| |r, c| r).at(\"velocity\")").code, Some(0));
    assert!(check("nn::part(|b| |r, c| r).at(\"velosity\")").err.contains("did you mean"));
}
