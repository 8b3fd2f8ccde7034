//! `figure.show()` on several kinds of terminals.

use crate::terminal::{Setup, Terminal};

const FIGURE: &str = "plot::line([3, 1, 2]).show()";

fn shown(setup: Setup) -> Terminal {
    let terminal = setup.start(&[]);
    terminal.ready();
    terminal.enter(FIGURE);
    terminal.wait_for("line figure: 1 series");
    terminal
}

fn raw(terminal: &Terminal) -> String {
    String::from_utf8_lossy(&terminal.raw()).into_owned()
}

#[test]
fn a_terminal_without_graphics_shows_blocks() {
    let terminal = shown(Setup::default().size(40, 80).env("COLORTERM", "truecolor"));
    assert!(terminal.screen().contains(['▀', '▌', '▛']), "{}", terminal.screen());
    assert!(raw(&terminal).contains("\x1b[38;2;"));
    assert!(!terminal.path("runs").exists(), "what was shown is not written too");
    terminal.capture("figure");
    // The terminal's reply to the device query must not be taken for key presses.
    terminal.enter("6 * 7");
    terminal.wait_for("= 42");
    assert!(!terminal.screen().contains("22c"), "{}", terminal.screen());
}

#[test]
fn a_palette_serves_where_nothing_says_24_bit() {
    let terminal = shown(Setup::default().size(40, 80));
    let raw = raw(&terminal);
    assert!(raw.contains("\x1b[38;5;") && !raw.contains("\x1b[38;2;"));
}

#[test]
fn a_terminal_that_says_it_has_sixels_gets_them() {
    let terminal = shown(Setup::default().cell(10, 20).sixel(true));
    // A figure of 600 x 400 on 24 rows less 3, 20 pixels each.
    assert!(raw(&terminal).contains("\x1bP0;1;0q\"1;1;630;420#0;2;"), "{:.3000}", raw(&terminal));
    assert!(!terminal.screen().contains(['▀', '▌', '▛']));
}

#[test]
fn the_environment_names_the_protocol() {
    let kitty = shown(Setup::default().env("TERM", "xterm-kitty"));
    assert!(raw(&kitty).contains("\x1b_Ga=T,f=100,q=2,c="));
    let iterm = shown(Setup::default().env("TERM_PROGRAM", "iTerm.app"));
    assert!(raw(&iterm).contains("\x1b]1337;File=inline=1;size="));
    let tmux = shown(Setup::default().env("TERM_PROGRAM", "iTerm.app").env("TMUX", "/tmp/x"));
    assert!(!raw(&tmux).contains("\x1b]1337;File"), "tmux does not pass pictures on");
}

#[test]
fn without_pictures_the_figure_is_a_file() {
    let terminal = shown(Setup::default().env("SPECTRAL_IMAGES", "none"));
    terminal.wait_for("runs/figures/figure-1.png");
    let bytes = std::fs::read(terminal.path("runs/figures/figure-1.png")).expect("the figure");
    assert!(bytes.starts_with(b"\x89PNG"));
}
