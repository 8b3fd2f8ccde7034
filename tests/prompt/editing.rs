//! Editing: multi-line cells, indentation, history, paste, an external editor, settings.

use crate::terminal::{Key, Setup, Terminal};

/// Waits until a line of the screen equals the text.
pub fn line(terminal: &Terminal, text: &str) {
    terminal.wait_until(|screen| screen.lines().any(|line| line.trim() == text));
}

#[test]
fn a_cell_goes_on_over_lines_is_indented_and_comes_back_whole() {
    let terminal = Setup::default().size(30, 90).start(&[]);
    terminal.ready();
    terminal.enter("fn double(a) {");
    terminal.enter("a * 2");
    terminal.enter("}");
    terminal.wait_for("[2]>");
    terminal.enter("double(21)");
    line(&terminal, "_2 = 42");
    // The whole cell is one history entry, with its brace correctly indented.
    terminal.key(Key::Up);
    terminal.key(Key::Up);
    terminal.wait_for("[3]> fn double(a) {\n    a * 2\n}");
    terminal.key(Key::CtrlC);
    terminal.ready();
    terminal.key(Key::Ctrl('r'));
    terminal.type_text("doub");
    terminal.wait_for("reverse-i-search");
    terminal.key(Key::Enter);
    terminal.wait_until(|screen| screen.matches("= 42").count() == 2);
}

#[test]
fn a_closing_bracket_goes_back_as_it_is_typed() {
    for mode in ["emacs", "vi"] {
        let setup = Setup::default()
            .size(30, 90)
            .file("config/spectral/config.toml", &format!("edit_mode = \"{mode}\"\n"));
        let terminal = setup.start(&[]);
        terminal.ready();
        terminal.enter("fn sign(a) {");
        terminal.enter("if a < 0 {");
        terminal.enter("return [");
        terminal.enter("-1,");
        terminal.type_text("]");
        terminal.wait_for("            -1,\n        ]");
        terminal.enter(";");
        terminal.type_text("}");
        terminal.wait_for("        ];\n    }");
        terminal.enter("");
        terminal.enter("#{ note: `");
        terminal.type_text("    }");
        // Inside a string, a brace stays where it was typed.
        terminal.wait_for("#{ note: `\n            }");
        terminal.enter("`, value: [1] }");
        terminal.type_text("}");
        terminal.wait_for("value: [1] }\n}");
        terminal.key(Key::Enter);
        terminal.enter("sign(-3)[0] + 43");
        line(&terminal, "_2 = 42");
    }
}

#[test]
fn a_measured_cell_goes_on_over_lines() {
    let terminal = Terminal::start(&[]);
    terminal.ready();
    terminal.enter(":time for i in 0..3 {");
    terminal.enter("print(i * 21)");
    terminal.enter("}");
    line(&terminal, "42");
    terminal.wait_for("took ");
}

#[test]
fn a_script_is_pasted_whole() {
    let terminal = Terminal::start(&[]);
    terminal.ready();
    terminal.paste("let a = 3;\nlet b = `two\nlines`;\na * 14");
    terminal.key(Key::Enter);
    line(&terminal, "_1 = 42");
}

#[test]
fn history_is_kept_for_the_next_time_and_hints_come_from_it() {
    let setup = Setup::default().file("data/spectral/history.txt", "#V2\nlet remembered = 7;\n");
    let terminal = setup.start(&[]);
    terminal.ready();
    terminal.type_text("let rem");
    terminal.wait_for("let remembered = 7;");
    terminal.key(Key::Right);
    terminal.enter(" remembered * 6");
    line(&terminal, "_1 = 42");
    let kept = std::fs::read_to_string(terminal.path("data/spectral/history.txt")).unwrap();
    assert!(kept.contains("remembered * 6"), "{kept}");
}

#[test]
fn settings_and_the_first_script_come_from_the_folder_of_the_system() {
    let setup = Setup::default()
        .file("config/spectral/config.toml", "edit_mode = \"vi\"\neditor = \"sed -i s/20/21/\"\n")
        .file("config/spectral/init.rhai", "let mine = 2;");
    let terminal = setup.start(&[]);
    terminal.ready();
    terminal.type_text("mine * 20");
    terminal.key(Key::Ctrl('x'));
    terminal.key(Key::Ctrl('e'));
    terminal.wait_for("mine * 21");
    terminal.key(Key::Enter);
    line(&terminal, "_1 = 42");
    // In vi's command mode, 0 goes to the start and D deletes to the end.
    terminal.type_text("nonsense");
    terminal.key(Key::Escape);
    std::thread::sleep(std::time::Duration::from_millis(700));
    terminal.type_text("0D");
    terminal.type_text("i");
    terminal.enter("mine + 5");
    line(&terminal, "_2 = 7");
}

#[test]
fn a_wrong_setting_is_named_and_the_prompt_starts() {
    let setup = Setup::default().file("config/spectral/config.toml", "lines = 10\nedit_mod = \"vi\"\n");
    let terminal = setup.start(&[]);
    terminal.wait_for("config.toml:2");
    terminal.ready();
}

#[test]
fn a_first_script_with_an_error_and_a_history_without_a_place_are_no_obstacles() {
    let setup = Setup::default()
        .size(40, 90)
        .file("config/spectral/init.rhai", "let early = 40;\nlet broken = early / 0;")
        .file("data/spectral", "a file where a folder belongs");
    let terminal = setup.start(&[]);
    terminal.wait_for("this session keeps its history to itself");
    terminal.wait_for("init.rhai:2");
    terminal.ready();
    terminal.enter("early + 2");
    line(&terminal, "_1 = 42");
    terminal.key(Key::Up);
    terminal.wait_for("[2]> early + 2");
}

#[test]
fn a_terminal_that_can_do_nothing_still_runs_cells() {
    let terminal = Setup::default().env("TERM", "dumb").start(&[]);
    terminal.ready();
    terminal.enter("let a = [20,");
    terminal.enter("22];");
    terminal.enter("a[0] + a[1]");
    terminal.wait_for("_2 = 42");
    let raw = String::from_utf8_lossy(&terminal.raw()).into_owned();
    assert!(!raw.contains('\x1b'), "{raw:?}");
}

#[test]
fn colors_can_be_refused() {
    let terminal = Setup::default().env("NO_COLOR", "1").start(&[]);
    terminal.ready();
    terminal.enter("let a = \"text\"; a + unknown");
    terminal.wait_for("error");
    terminal.enter("tensor::zeros([2])");
    terminal.wait_for("_2");
    let raw = String::from_utf8_lossy(&terminal.raw()).into_owned();
    let colors: Vec<&str> =
        raw.split("\x1b[").skip(1).filter_map(|s| s.split_once('m')).map(|s| s.0).collect();
    let colored = |c: &&&str| !c.is_empty() && c.chars().all(|c| c.is_ascii_digit() || c == ';');
    assert_eq!(colors.iter().find(colored), None);
}
