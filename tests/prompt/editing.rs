//! Editing: cells over lines, indentation, history, paste, an editor of one's own, settings.

use crate::terminal::{Key, Setup, Terminal};

/// Waits until a line of the screen is this.
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
    // The whole cell is one entry of the history, its brace where it belongs.
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
    // In vi's command mode, 0 goes to the start and D deletes all.
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
