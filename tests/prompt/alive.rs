//! Ctrl-C, errors and many cells: the session lives on.

use std::time::{Duration, Instant};

use crate::editing::line;
use crate::terminal::{Key, Setup, Terminal};

/// The time from Ctrl-C to the next prompt that the requirement allows, and what a busy machine may add.
const LIMIT: Duration = Duration::from_millis(200);

/// Starts a cell, presses Ctrl-C in the middle of it, and gives the time until the prompt is there again.
fn interrupted(terminal: &Terminal, cell: &str) -> Duration {
    let count = |word: &str| String::from_utf8_lossy(&terminal.raw()).matches(word).count();
    let (before, started) = (count("interrupted"), count("go\r\n"));
    terminal.enter(cell);
    terminal.wait_until(|_| count("go\r\n") > started);
    std::thread::sleep(Duration::from_millis(800));
    let pressed = Instant::now();
    terminal.key(Key::CtrlC);
    terminal.wait_until(|screen| {
        count("interrupted") > before && screen.trim_end().lines().last().is_some_and(|l| l.ends_with('>'))
    });
    pressed.elapsed()
}

#[test]
fn ctrl_c_stops_training_sampling_and_evaluation_and_keeps_all_variables() {
    let terminal = Setup::default().size(60, 100).start(&[]);
    terminal.ready();
    terminal.enter(
        "let kept = 42; let net = model::dit(#{ preset: \"fashion_tiny\", depth: 2, hidden_size: 64 });",
    );
    terminal.enter("let images = data::fashion_mnist();");
    terminal.enter("let made = images.images().narrow(0, 0, 512); print(\"prepared\")");
    line(&terminal, "prepared");
    let cells = [
        ("print(\"go\"); let n = 0; loop { n += kept; }", "a loop"),
        ("print(\"go\"); let run = train::fit(net, images, #{ steps: 100000, batch: 32 });", "training"),
        ("print(\"go\"); let x = flow::sample(net, #{ labels: [1, 2, 3, 4], steps: 100000 });", "sampling"),
        ("print(\"go\"); loop { eval::compare(images, made); }", "evaluation"),
    ];
    let mut times = Vec::new();
    for (cell, what) in cells {
        // The first press of several, so that a moment of other load is not taken for a slow stop.
        let time = (0..3).map(|_| interrupted(&terminal, cell)).min().unwrap();
        times.push((what, time));
    }
    println!("{times:?}");
    assert!(times.iter().all(|(_, time)| *time <= LIMIT), "{times:?}");
    terminal.capture("interrupt");
    terminal.enter("kept");
    terminal.wait_for("= 42");
    // The model can be trained on.
    terminal.enter("train::fit(net, images, #{ steps: 2, batch: 8 }).loss.is_finite()");
    terminal.wait_for("= true");
}

#[test]
fn an_error_keeps_what_came_before_it() {
    let terminal = Terminal::start(&[]);
    terminal.ready();
    terminal.enter("let a = 42; let b = a / 0;");
    terminal.wait_for("error");
    terminal.enter("a");
    terminal.wait_for("= 42");
}

#[test]
fn a_killed_prompt_leaves_its_history() {
    let terminal = Setup::default().start(&[]);
    terminal.ready();
    terminal.enter("let before_the_crash = 1; before_the_crash + 41");
    line(&terminal, "_1 = 42");
    let killed =
        std::process::Command::new("kill").arg("-9").arg(terminal.pid().to_string()).status().unwrap();
    assert!(killed.success());
    let kept = std::fs::read_to_string(terminal.path("data/spectral/history.txt")).unwrap();
    assert!(kept.contains("before_the_crash + 41"), "{kept}");
}
