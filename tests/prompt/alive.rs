//! The session survives Ctrl-C, errors and many cells.

use std::cell::OnceCell;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::editing::line;
use crate::terminal::{Key, Setup, Terminal};

/// Starts a cell, presses Ctrl-C while it runs, and returns the time until the next prompt.
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
    let setup =
        Setup::default().size(90, 100).file("endless.rhai", "fn on(n) { while true { n += 1 } }\non(1);");
    let terminal = setup.start(&[]);
    terminal.ready();
    terminal
        .enter("let spots = tensor::rand([1000000]).to_array(); let cloud = plot::scatter(spots, spots);");
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
        ("print(\"go\"); loop { cloud.save(\"cloud.png\"); }", "a picture"),
        ("print(\"go\"); loop { cloud.svg(); }", "a drawing"),
        ("print(\"go\"); import \"endless\" as e;", "an import"),
    ];
    // Each cell would run for minutes; the terminal stops waiting for a prompt long before. The times are only shown.
    for (cell, what) in cells {
        println!("{what}: stopped after {:?}", [(); 3].map(|()| interrupted(&terminal, cell)));
    }
    terminal.enter("kept");
    terminal.wait_for("= 42");
}

#[test]
fn a_stopped_training_leaves_its_model_to_go_on_with() {
    let terminal = Setup::default().size(24, 100).start(&[]);
    terminal.ready();
    terminal.enter(
        "let net = model::dit(#{ preset: \"fashion_tiny\", depth: 2, hidden_size: 64 }); let kept = 42;",
    );
    terminal.enter("let images = data::fashion_mnist();");
    terminal.enter("print(\"go\"); let run = train::fit(net, images, #{ steps: 100000, batch: 32 });");
    terminal.wait_for("go\n");
    // Long enough for some steps; an earlier interrupt would work as well.
    std::thread::sleep(Duration::from_millis(2500));
    terminal.key(Key::CtrlC);
    terminal.wait_for("all variables are as the cell left them");
    terminal.enter("kept");
    line(&terminal, "_4 = 42");
    terminal.enter("train::fit(net, images, #{ steps: 2, batch: 8 }).steps");
    line(&terminal, "_5 = 2");
    terminal.capture("interrupt");
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

#[test]
fn the_second_press_offers_to_end_and_each_cell_counts_anew() {
    let terminal = Setup::default().size(40, 100).start(&[]);
    terminal.ready();
    terminal.enter("let kept = 42;");
    let pipe = terminal.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Reading a pipe cannot be interrupted, and lasts until its writer closes it.
    for _ in 0..2 {
        let before = terminal.screen().matches("once more to end").count();
        terminal.enter(&format!("files::read_text(\"{}\")", pipe.display()));
        let writer = OnceCell::new();
        terminal.wait_until(|_| {
            // Fails until the cell has opened the pipe.
            let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
            opened.is_ok_and(|file| writer.set(file).is_ok())
        });
        terminal.key(Key::CtrlC);
        // Two presses at once would be one signal.
        std::thread::sleep(Duration::from_millis(500));
        terminal.key(Key::CtrlC);
        terminal.wait_until(|screen| screen.matches("once more to end").count() > before);
        drop(writer);
        terminal.ready();
    }
    terminal.enter("kept");
    terminal.wait_for("= 42");
}

#[test]
fn ctrl_c_in_another_program_is_its_own_matter() {
    let terminal = Terminal::start(&[]);
    terminal.ready();
    terminal.enter(":shell trap 'echo caught' INT; echo waiting; sleep 30; sleep 30; sleep 30; echo over");
    line(&terminal, "waiting");
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        terminal.key(Key::CtrlC);
    }
    line(&terminal, "over");
    terminal.enter("6 * 7");
    terminal.wait_for("= 42");
}
