//! Mistakes with exactly one correction: the report contains it, and the corrected cell runs.
#![cfg(test)]

use std::sync::atomic::{AtomicUsize, Ordering};

use spectral::declare::{Function, Value};
use spectral::functions;
use spectral::script::engine::EngineOptions;
use spectral::script::failure::Diagnosis;
use spectral::session::{Options, Session};

const BEFORE: &str = "let alpha = 3; let t = tensor::ones([3]); fn double(x) { x * 2 }";

fn fails(session: &mut Session, code: &str) -> Diagnosis {
    let Err(report) = session.run_cell(code, "cell 2") else { panic!("{code} should fail") };
    report
}

fn prepared() -> Session {
    let mut session = Session::new(Options::default());
    session.run_cell(BEFORE, "cell 1").map_err(|e| e.render(false)).unwrap();
    session
}

#[test]
fn the_corrected_cell_runs() {
    let cases = [
        // Names.
        ("alpa + 1", "alpha + 1"),
        ("1;\n\nlet s = \"ä\"; s.len() + alhpa", "1;\n\nlet s = \"ä\"; s.len() + alpha"),
        ("fn f(value) { valeu + 1 }\nf(1)", "fn f(value) { value + 1 }\nf(1)"),
        ("dobule(2)", "double(2)"),
        ("tensor::zeross([2])", "tensor::zeros([2])"),
        ("tensr::zeros([2])", "tensor::zeros([2])"),
        ("t.summ()", "t.sum()"),
        ("t.shpae", "t.shape"),
        ("t.shape()", "t.shape"),
        ("let x = t.mean; x", "let x = t.mean(); x"),
        ("let b = True;", "let b = true;"),
        ("let b = None;", "let b = ();"),
        ("let b = null;", "let b = ();"),
        // Options, their values, and other quoted names.
        ("tensor::zeros([2], #{ dtpe: \"int64\" })", "tensor::zeros([2], #{ dtype: \"int64\" })"),
        ("tensor::zeros([2], #{\n  dtype: \"flot32\"\n})", "tensor::zeros([2], #{\n  dtype: \"float32\"\n})"),
        ("t.to(\"flot32\")", "t.to(\"float32\")"),
        ("model::dit(#{ preset: \"fashion_tny\" })", "model::dit(#{ preset: \"fashion_tiny\" })"),
        ("optim::cosine(3, #{ step: 10 })", "optim::cosine(3, #{ steps: 10 })"),
        // Grammar.
        ("if alpha = 3 { 1 }", "if alpha == 3 { 1 }"),
        ("alpha === 3", "alpha == 3"),
        ("let y := 3;", "let y = 3;"),
        ("alpha++;", "alpha += 1;"),
        ("var x = 3;", "let x = 3;"),
        ("function f(x) { x }", "fn f(x) { x }"),
        ("def f(x) { x }", "fn f(x) { x }"),
        ("if alpha == 1 { 1 } elif alpha == 2 { 2 }", "if alpha == 1 { 1 } else if alpha == 2 { 2 }"),
        ("if alpha == 3 and alpha > 2 { 1 }", "if alpha == 3 && alpha > 2 { 1 }"),
        ("alpha == 3 or alpha > 2", "alpha == 3 || alpha > 2"),
        ("match alpha { 3 => 1, _ => 2 }", "switch alpha { 3 => 1, _ => 2 }"),
        ("let s = 'text';", "let s = \"text\";"),
    ];
    let mut missed = Vec::new();
    for (wrong, right) in cases {
        let mut session = prepared();
        let report = fails(&mut session, wrong);
        if report.fix.as_ref().map(|fix| fix.apply(wrong)).as_deref() != Some(right) {
            missed.push(format!("{:?} in\n{}", report.fix, report.render(false)));
            continue;
        }
        // Uses a new session, because the code before the mistake may have changed something.
        let mut session = prepared();
        session.run_cell(right, "cell 2").map_err(|e| e.render(false)).unwrap();
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_is_not_certain_is_left_to_the_user() {
    let cases = [
        "let beta1 = 1; let beta2 = 2; beta + 1",
        "unheard_of(1)",
        "t + [1, 2]",
        "throw \"did you mean `x`?\"",
        "t.zeros()",
        "let o = #{ dtpe: \"int64\" }; let name = \"dtpe\"; let again = \"dtpe\"; tensor::zeros([2], o)",
    ];
    for wrong in cases {
        let report = fails(&mut prepared(), wrong);
        assert_eq!(report.fix, None, "{wrong}");
    }
}

#[test]
fn a_correction_is_what_the_hint_names() {
    // Two names are as near, and the hint says so.
    let report = fails(&mut prepared(), "tensor::radn([2])");
    assert_eq!(report.hint.as_deref(), Some("did you mean `tensor::rand` or `tensor::randn`?"));
    assert_eq!(report.fix, None);
    for wrong in [
        "torch.radn(2, 3)",
        "tensor::zeross(2, 3)",
        "t.summ(dim=1)",
        "train::fit(1, 2, #{ learning_rate: 1 })",
        "optim::adamw(1, #{ wd: 0.1, learning_rate: 0.1 })",
    ] {
        let report = fails(&mut prepared(), wrong);
        let hint = report.hint.clone().unwrap_or_default();
        assert!(report.fix.as_ref().is_none_or(|fix| hint.contains(&fix.text)), "{wrong}: {report:?}");
    }
}

#[test]
fn a_mistake_in_a_file_is_not_one_of_the_cell() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lib.rhai"), "fn f() { let alpha = 1; alpa }").unwrap();
    let mut session = Session::new(Options { folder: folder.path().to_path_buf(), ..Options::default() });
    let report = fails(&mut session, "import \"lib\" as lib; lib::f()");
    assert_eq!(report.hint.as_deref(), Some("did you mean `alpha`?"));
    assert_eq!(report.fix, None);
}

#[test]
fn a_cell_of_a_longer_text_counts_its_own_lines() {
    let mut session = prepared();
    let Err(report) = session.run_cell_at("1;\nalpa", "notes.md", 40) else { panic!("it should fail") };
    assert_eq!(report.place.as_ref().unwrap().line, 41);
    assert_eq!(report.fix.unwrap().line, 2);
}

#[test]
fn the_full_report_has_every_call_the_kind_and_all_that_libtorch_said() {
    let mut session = prepared();
    let report = fails(&mut session, "fn f(n) { if n == 0 { t_missing } else { f(n - 1) } } f(20)");
    let (short, full) = (report.render(false), report.render_full(false));
    assert!(short.contains("more calls") && !full.contains("more calls"));
    assert_eq!(full.matches("in `f`, called").count(), 21);
    assert!(full.ends_with("kind: name\n"), "{full}");
    let report = fails(&mut session, "tensor::ones([2, 3]) @ tensor::ones([2, 3])");
    assert!(report.message.contains("`@`: shapes [2, 3] and [2, 3] cannot be multiplied"));
    let full = report.render_full(false);
    assert!(full.contains("kind: argument\nlibtorch said:\n") && full.contains("mat1 and mat2"), "{full}");
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Probe;

impl Drop for Probe {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

functions! { global;
    /// Returns a function that counts when its last reference is dropped.
    ///
    /// ```rhai
    /// probe();
    /// ```
    fn probe() -> Function {
        let probe = Probe;
        Ok(Function::new(move |_| {
            let _held = &probe;
            Ok(Value::Unit)
        }))
    }
}

#[test]
fn a_kept_report_keeps_no_value_alive() {
    let engine = EngineOptions { functions: declarations().iter().collect(), ..EngineOptions::default() };
    let mut session = Session::new(Options { engine, ..Options::default() });
    let cells = [
        "fn f() { let p = probe(); throw #{ message: \"no\", value: p } } f()",
        "fn g(p) { [1].map(|x| { throw p }) } g(probe())",
        "fn h() { let p = probe(); filter::response(|r| { let q = p; q.missing }) } h()",
    ];
    let reports: Vec<Diagnosis> = cells.iter().map(|cell| fails(&mut session, cell)).collect();
    assert_eq!(DROPPED.load(Ordering::SeqCst), cells.len());
    assert!(reports.iter().all(|r| !r.render_full(false).is_empty()));
}
