//! Output that cannot be written, input that is not a terminal, and signals.
#![cfg(test)]

mod shared;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shared::{Ran, spectral};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_spectral"))
}

fn here() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn repl(folder: &Path, input: &str) -> Ran {
    spectral(folder, &["repl"], input)
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_ends_with_a_message() {
    let folder = here();
    let script = "print(\"start\"); files::write_text(\"after.txt\", \"reached\");";
    std::fs::write(folder.path().join("s.rhai"), script).unwrap();
    std::fs::write(folder.path().join("last.rhai"), "print(\"last\")").unwrap();
    for arguments in [&["run", "s.rhai"][..], &["run", "last.rhai"], &["docs"], &["info"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = program().args(arguments).current_dir(folder.path()).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).to_string();
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {told}");
        assert_eq!(
            told.matches("standard output cannot be written: No space left").count(),
            1,
            "{arguments:?}: {told}"
        );
        assert!(!told.contains("panicked"), "{told}");
    }
    assert!(!folder.path().join("after.txt").exists());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("echo 1 | '{}' repl", env!("CARGO_BIN_EXE_spectral"))]).stdout(full);
    assert_eq!(command.stderr(Stdio::null()).status().unwrap().code(), Some(1));
}

/// The link stands for `/dev/stdout`, which an error here would damage for every program.
#[cfg(target_os = "linux")]
#[test]
fn a_script_writes_to_a_redirected_standard_output_in_its_order() {
    let folder = here();
    std::os::unix::fs::symlink("/proc/self/fd/1", folder.path().join("out")).unwrap();
    let script = "print(\"a\"); files::write_text(\"out\", \"b\\n\"); print(\"c\");";
    std::fs::write(folder.path().join("s.rhai"), script).unwrap();
    let target = std::fs::File::create(folder.path().join("target")).unwrap();
    let status =
        program().args(["run", "s.rhai"]).current_dir(folder.path()).stdout(target).status().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(folder.path().join("target")).unwrap(), "a\nb\nc\n");
    assert!(folder.path().join("out").is_symlink());
}

#[test]
fn a_note_names_closures_that_call_the_old_version_of_a_function() {
    let folder = here();
    let cells = "fn error(x) { x }\nlet old = |x| error(x);\nlet other = |x| x;\nfn error(x) { 9 * x }\nold.call(1)\n";
    let ran = repl(folder.path(), &format!("{cells}let fresh = |x| error(x);\nfresh.call(1)\n"));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1\n9\n"), "{}", ran.err);
    let note = "note: `old` still calls the old `error`; create it again to use the new one\n";
    assert_eq!(ran.err, note);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = here();
    std::fs::write(folder.path().join("s.rhai"), "loop { print(\"more\"); }").unwrap();
    let mut child = program()
        .args(["run", "s.rhai"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn piped_input_knows_commands_and_help() {
    let folder = here();
    let ran = repl(
        folder.path(),
        "let a = 1;\n:vars\n?filter::gaussian\nfilter::box?\n:time a + 1\n_ + 40\n:last x.json\n",
    );
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for part in
        ["int    1", "Standard deviation", "filter::box(", "took ", "\n2\n", "\n42\n", "written to x.json"]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let ran = repl(folder.path(), "5\n:save s\n:history\n:trace\n:quit\nprint(\"not reached\")\n");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("there was no error") && !ran.out.contains("not reached"), "{}", ran.out);
    assert!(folder.path().join("s.rhai").exists());
    for (wrong, told) in
        [(":frob", "no command `:frob`"), (":edit", "needs a terminal"), ("?frobnicate", "frobnicate")]
    {
        let ran = repl(folder.path(), &format!("{wrong}\n\"goes on\"\n"));
        assert_eq!(ran.code, Some(1), "{wrong}");
        assert!(ran.err.contains(told) && ran.out.contains("goes on"), "{wrong}: {}", ran.err);
    }
}

#[test]
fn a_cell_may_ask_for_the_next_line() {
    let folder = here();
    let ran = repl(
        folder.path(),
        "let n = input(\"? \")\nAda\nlet m = input();\n\nlet k = [input(),\ninput()];\n1\n2\n[n, m, k]\n",
    );
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.ends_with("[\"Ada\", \"\", [\"1\", \"2\"]]\n"), "{}", ran.out);
    let ran = repl(folder.path(), "input()\n");
    assert!(ran.code == Some(1) && ran.err.contains("standard input ended"), "{}", ran.err);
}

#[test]
fn a_piped_cell_goes_on_over_lines() {
    let folder = here();
    let input = "[1,\n2]\n// a remark\n  .len()\nif false { 1 }\nelse { 3 }\nlet s = `a\n(b`;\ns.len()\n1 +\n4\nlet c = '(';\n5";
    let ran = repl(folder.path(), input);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "2\n3\n4\n5\n5\n", ""));
    let ran = repl(folder.path(), "let a = 1;\n\nlet b = [2,\n nothing];\n");
    assert!(ran.err.contains("standard input:4:2"), "{}", ran.err);
}

#[test]
fn long_input_is_compiled_once() {
    let folder = here();
    let array: String = (0..5000).map(|i| format!("[{i}, {i}.5],\n")).collect();
    let cells: String = (0..3000).map(|i| format!("let x{i} = {i};\n")).collect();
    for input in [format!("let x = [\n{array}];\nx.len()\n"), format!("{cells}x2999 + 2001\n")] {
        let started = Instant::now();
        assert_eq!(repl(folder.path(), &input).out, "5000\n");
        // Takes well below a second on an idle machine. Compiling everything again for each line would take
        // minutes.
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}

const TRAINING: &str = "let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
let set = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: \"int64\" }));
train::fit(net, set, #{ steps: 1000000, batch: 4, out: \"run\", on_step: |s| if s.step == 3 { print(\"runs\") } });";

fn started(folder: &Path, command: &mut Command) -> Child {
    std::fs::write(folder.join("s.rhai"), TRAINING).unwrap();
    let mut child =
        command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    child
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: `kill` only sends a signal to the child that was just started.
    unsafe { libc::kill(child.id() as i32, signal) };
}

#[test]
fn signals_end_a_run_with_a_checkpoint() {
    for (number, name, code) in
        [(libc::SIGTERM, "SIGTERM", 143), (libc::SIGHUP, "SIGHUP", 129), (libc::SIGUSR1, "SIGUSR1", 138)]
    {
        let folder = here();
        let child = started(folder.path(), program().args(["run", "s.rhai"]));
        signal(&child, number);
        // A scheduler may signal both the process and its group.
        signal(&child, number);
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).to_string();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(&format!("interrupted by {name}")), "{told}");
        let kept = std::fs::read_dir(folder.path().join("run/checkpoints")).unwrap().count();
        assert!(kept > 0, "{name}: no checkpoint");
    }
}

#[test]
fn what_nohup_ignores_stays_ignored() {
    let folder = here();
    let child =
        started(folder.path(), Command::new("nohup").args([env!("CARGO_BIN_EXE_spectral"), "run", "s.rhai"]));
    signal(&child, libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, libc::SIGTERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_signal_ends_a_session_that_waits_for_input() {
    let folder = here();
    let mut child = program()
        .arg("repl")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"print(\"here\");\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    signal(&child, libc::SIGTERM);
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(143));
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    let folder = here();
    let script = TRAINING.replace("1000000", "40").replace("out: \"run\", ", "");
    std::fs::write(folder.path().join("s.rhai"), script).unwrap();
    let pair = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_spectral"));
    command.args(["run", "s.rhai"]);
    command.cwd(folder.path());
    command.env("TERM", "dumb");
    command.env_remove("CLICOLOR_FORCE");
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut shown = Vec::new();
    // On some systems, reading the end of a pseudo-terminal is an error.
    let _ = pair.master.try_clone_reader().unwrap().read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
    assert!(shown.contains("train 40/40"), "{shown}");
    assert!(!shown.contains(['\r', '\x1b']), "{shown:?}");
}
