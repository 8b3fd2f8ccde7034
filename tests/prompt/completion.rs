//! Tab completion and help.

use crate::editing::line;
use crate::terminal::{Key, Setup};

#[test]
fn tab_completes_functions_options_and_members_with_their_documentation() {
    let terminal = Setup::default().size(40, 100).start(&[]);
    terminal.ready();
    terminal.type_text("let low = filter::gau");
    terminal.key(Key::Tab);
    terminal.wait_for("filter::gaussian(");
    terminal.type_text("#{ ");
    terminal.key(Key::Tab);
    terminal.wait_for("#{ sigma:");
    terminal.enter("1.5 });");
    terminal.enter("let noise = tensor::rand([2, 3]);");
    terminal.type_text("noise.matm");
    terminal.key(Key::Tab);
    terminal.wait_for("noise.matmul(");
    terminal.key(Key::CtrlC);
    terminal.ready();
    terminal.type_text("no");
    terminal.key(Key::Tab);
    terminal.wait_for("noise   tensor [2, 3] float32");
    terminal.wait_for("no_grad");
    terminal.key(Key::CtrlC);
    terminal.ready();
    terminal.type_text("filter::b");
    terminal.key(Key::Tab);
    terminal.wait_for("binomial");
    terminal.wait_for("butterworth");
    terminal.capture("completion");
    terminal.key(Key::CtrlC);
    terminal.ready();
    terminal.type_text("model::dit(#{ preset: \"fash");
    terminal.key(Key::Tab);
    terminal.wait_for("preset: \"fashion_tiny");
}

#[test]
fn a_question_mark_explains_and_its_example_runs() {
    let terminal = Setup::default().size(50, 100).start(&[]);
    terminal.ready();
    terminal.enter("?filter::gaussian");
    terminal.wait_for("sigma");
    terminal.wait_for("`:example` runs it");
    terminal.capture("help");
    terminal.enter(":example");
    terminal.wait_for("[2]>");
    terminal.enter("let net = model::dit(#{ preset: \"fashion_tiny\" });");
    terminal.enter("net.forward?");
    terminal.wait_for("forward(");
    terminal.enter(":search low pass");
    terminal.wait_for("about low pass");
    terminal.enter("?gausian");
    terminal.wait_for("did you mean");
}

#[test]
fn two_question_marks_show_the_source_of_the_library() {
    let terminal = Setup::default().size(24, 100).env("PAGER", "head -3").start(&[]);
    terminal.ready();
    terminal.enter("??sweep::tune");
    terminal.wait_for("std-lib/sweep.rhai");
    terminal.enter("??tensor::zeros");
    terminal.wait_for("native code");
    terminal.enter("1 + 41");
    line(&terminal, "_1 = 42");
}
