//! Detection of the picture protocol that a terminal supports.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::Protocol;

/// Time to wait for an answer; every terminal answers, but connections may be slow.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the protocol for a terminal with these environment variables.
///
/// `asked` is the terminal's description of itself, if it was queried; see [`ask`]. `SPECTRAL_IMAGES` takes
/// precedence over everything else.
pub fn detect(variable: impl Fn(&str) -> Option<String>, asked: Option<&str>) -> Protocol {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(protocol) = set("SPECTRAL_IMAGES").as_deref().and_then(Protocol::named) {
        return protocol;
    }
    let (term, program) = (set("TERM").unwrap_or_default(), set("TERM_PROGRAM").unwrap_or_default());
    // The font of the Linux console has no quarter blocks.
    if ["dumb", "linux"].contains(&term.as_str()) {
        return Protocol::None;
    }
    // Programs inside tmux or screen see the variables of the outer terminal, which cannot get pictures from them.
    let inside = set("TMUX").is_some()
        || set("ZELLIJ").is_some()
        || term.starts_with("tmux")
        || term.starts_with("screen");
    if !inside {
        let kitty = ["ghostty", "WarpTerminal"].contains(&program.as_str())
            || ["xterm-kitty", "xterm-ghostty"].contains(&term.as_str())
            || set("KITTY_WINDOW_ID").is_some();
        if kitty {
            return Protocol::Kitty;
        }
        let iterm = ["iTerm.app", "WezTerm", "vscode", "mintty", "rio"].contains(&program.as_str())
            || set("LC_TERMINAL").is_some_and(|name| name == "iTerm2");
        if iterm {
            return Protocol::Iterm;
        }
        let sixel = term.ends_with("-sixel")
            || ["foot", "mlterm", "yaft", "contour"].iter().any(|name| term.starts_with(name))
            || set("KONSOLE_VERSION").and_then(|v| v.parse().ok()).is_some_and(|v: u32| v >= 220_400);
        if sixel {
            return Protocol::Sixel;
        }
    }
    if asked.is_some_and(says_sixel) {
        return Protocol::Sixel;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
    // If the locale is not set, as in containers, assume that the outer terminal is modern.
    let unicode = locale.is_none_or(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    if unicode && set("NO_COLOR").is_none() { Protocol::Blocks } else { Protocol::None }
}

/// Returns whether an answer such as `ESC [ ? 62 ; 4 ; 22 c` contains sixel graphics, attribute 4.
fn says_sixel(answer: &str) -> bool {
    let body = answer.split("\x1b[?").nth(1).and_then(|rest| rest.split('c').next());
    // The first number is the conformance level of the terminal.
    body.is_some_and(|body| body.split(';').skip(1).any(|attribute| attribute == "4"))
}

/// Queries the terminal on standard output for its attributes (DA1) and returns its answer.
///
/// Does nothing while typed keys wait to be read, since they could not be told from the answer. Call it only
/// between lines, since a line editor must not read the terminal meanwhile.
pub fn ask() -> Option<String> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return None;
    }
    let before = attributes()?;
    let mut quiet = before;
    quiet.c_lflag &= !(libc::ICANON | libc::ECHO);
    quiet.c_cc[libc::VMIN] = 0;
    quiet.c_cc[libc::VTIME] = 0;
    set_attributes(&quiet)?;
    let answer = if readable(Duration::ZERO) { None } else { answer() };
    set_attributes(&before)?;
    answer
}

fn answer() -> Option<String> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(b"\x1b[c").and_then(|()| stdout.flush()).ok()?;
    let (start, mut answer) = (Instant::now(), Vec::new());
    while !answer.ends_with(b"c") {
        let left = PATIENCE.checked_sub(start.elapsed())?;
        if !readable(left) {
            return None;
        }
        let mut byte = [0u8];
        // SAFETY: the call writes at most one byte into a buffer of one byte.
        if unsafe { libc::read(libc::STDIN_FILENO, byte.as_mut_ptr().cast(), 1) } != 1 {
            return None;
        }
        answer.push(byte[0]);
    }
    String::from_utf8(answer).ok()
}

fn attributes() -> Option<libc::termios> {
    // SAFETY: the call fills the given struct.
    unsafe {
        let mut found: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(libc::STDIN_FILENO, &mut found) == 0).then_some(found)
    }
}

fn set_attributes(wanted: &libc::termios) -> Option<()> {
    // SAFETY: `tcgetattr` filled the struct.
    (unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSADRAIN, wanted) } == 0).then_some(())
}

fn readable(patience: Duration) -> bool {
    let mut waiting = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer refers to one struct, as the count says.
    unsafe { libc::poll(&mut waiting, 1, patience.as_millis() as libc::c_int) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], asked: Option<&str>) -> Protocol {
        let look =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| v.to_string());
        detect(look, asked)
    }

    #[test]
    fn terminals_are_known_by_what_they_say() {
        let cases: &[(&[(&str, &str)], Protocol)] = &[
            (&[("TERM", "xterm-kitty")], Protocol::Kitty),
            (&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")], Protocol::Kitty),
            (&[("TERM_PROGRAM", "ghostty")], Protocol::Kitty),
            (&[("TERM_PROGRAM", "iTerm.app")], Protocol::Iterm),
            (&[("LC_TERMINAL", "iTerm2")], Protocol::Iterm),
            (&[("TERM_PROGRAM", "WezTerm")], Protocol::Iterm),
            (&[("TERM_PROGRAM", "vscode")], Protocol::Iterm),
            (&[("TERM", "foot")], Protocol::Sixel),
            (&[("TERM", "mlterm-256color")], Protocol::Sixel),
            (&[("TERM", "yaft-256color-sixel")], Protocol::Sixel),
            (&[("KONSOLE_VERSION", "230401")], Protocol::Sixel),
            (&[("KONSOLE_VERSION", "210000")], Protocol::Blocks),
            (&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")], Protocol::Blocks),
            (&[("TERM", "xterm-256color")], Protocol::Blocks),
            (&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")], Protocol::None),
            (&[("NO_COLOR", "1")], Protocol::None),
            (&[("TERM", "dumb")], Protocol::None),
            (&[("TERM", "linux")], Protocol::None),
            (&[("TMUX", "x"), ("KITTY_WINDOW_ID", "1")], Protocol::Blocks),
            (&[("TERM", "screen-256color"), ("TERM_PROGRAM", "iTerm.app")], Protocol::Blocks),
            (&[("TERM", "xterm-kitty"), ("SPECTRAL_IMAGES", "sixel")], Protocol::Sixel),
            (&[("TERM", "dumb"), ("SPECTRAL_IMAGES", "Blocks")], Protocol::Blocks),
            (&[("TERM", "xterm-kitty"), ("SPECTRAL_IMAGES", "unknown")], Protocol::Kitty),
        ];
        for (variables, expected) in cases {
            assert_eq!(found(variables, None), *expected, "{variables:?}");
        }
    }

    #[test]
    fn the_answer_of_a_terminal_counts_where_the_environment_is_silent() {
        let xterm = [("TERM", "xterm-256color")];
        assert_eq!(found(&xterm, Some("\x1b[?62;4;22c")), Protocol::Sixel);
        assert_eq!(found(&xterm, Some("\x1b[?64;1;2;4c")), Protocol::Sixel);
        assert_eq!(found(&xterm, Some("\x1b[?62;22c")), Protocol::Blocks);
        // The conformance level of a VT400 is not an attribute, and 14 is not 4.
        assert_eq!(found(&xterm, Some("\x1b[?4;14c")), Protocol::Blocks);
        assert_eq!(found(&xterm, Some("noise")), Protocol::Blocks);
        assert_eq!(found(&[("TMUX", "x")], Some("\x1b[?1;2;4c")), Protocol::Sixel);
    }
}
