//! Starting, evaluating and ending, and checks that the test terminal behaves like a real one.

use crate::terminal::{Key, Setup, Terminal};

#[test]
fn a_line_is_evaluated_and_ctrl_d_ends() {
    let mut terminal = Terminal::start(&[]);
    terminal.enter("20 + 22");
    terminal.wait_until(|screen| screen.lines().any(|line| line.trim() == "_1 = 42"));
    // Between two prompts, the terminal itself reads lines and would consume Ctrl-D.
    terminal.ready();
    terminal.key(Key::CtrlD);
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn the_prompt_ends_with_the_code_that_was_asked_for() {
    let mut terminal = Terminal::start(&[]);
    terminal.enter("exit(7)");
    assert_eq!(terminal.exit_code(), 7);
}

#[test]
fn variables_stay_after_an_error_and_files_lie_in_the_home() {
    let terminal = Setup::default().size(30, 100).file("a.txt", "hello").start(&[]);
    terminal.ready();
    terminal.enter("let kept = 41; \"stored\"");
    terminal.wait_for("_1 = \"stored\"");
    terminal.enter("kept + unknown");
    terminal.wait_for("error");
    terminal.enter("kept + 1");
    terminal.wait_until(|screen| screen.lines().any(|line| line.trim() == "_3 = 42"));
    terminal.enter("files::read_text(\"a.txt\")");
    terminal.wait_for("\"hello\"");
    terminal.capture("start");
}

#[test]
fn a_line_that_is_longer_than_the_terminal_can_be_edited_after_it_was_resized() {
    let terminal = Setup::default().size(24, 30).start(&[]);
    terminal.ready();
    terminal.type_text("let wide = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];");
    terminal.wait_for("12];");
    terminal.resize(24, 60);
    terminal.key(Key::Backspace);
    terminal.enter(" wide.len()");
    terminal.wait_for("12");
}

#[test]
fn a_printed_table_fits_the_terminal() {
    let terminal = Setup::default().size(30, 60).start(&[]);
    terminal.ready();
    terminal
        .enter("let row = #{}; for i in 0..14 { row[`column_${i}`] = i; } print(table::from_rows([row]))");
    terminal.wait_for("5 of 14 columns; not shown: column_11");
}
