//! Runs the program as a user does, for tests of commands and of messages.

#[cfg(unix)]
#[allow(dead_code, reason = "not every test stops runs")]
pub mod runs;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Result of a run of the program.
#[derive(Debug)]
#[allow(dead_code, reason = "not every test looks at everything")]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Writes a script into a folder and runs it, which must succeed. Returns what it printed.
#[allow(dead_code, reason = "not every test runs scripts")]
pub fn good(folder: &Path, script: &str, text: &str) -> String {
    std::fs::write(folder.join(script), text).unwrap();
    let ran = spectral(folder, &["run", script], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out + ran.err.as_str()
}

/// Writes a script into a folder and runs it, which must fail. Returns its messages.
#[allow(dead_code, reason = "not every test runs scripts")]
pub fn bad(folder: &Path, script: &str, text: &str) -> String {
    std::fs::write(folder.join(script), text).unwrap();
    let ran = spectral(folder, &["run", script], "");
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    ran.err
}

#[allow(dead_code, reason = "not every test looks at everything")]
/// Runs `spectral` with arguments in a folder, with text as its standard input.
pub fn spectral(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spectral"));
    command.args(arguments);
    finish(command, folder, input)
}

/// Runs a prepared command in a folder, with text as its standard input.
pub fn finish(mut command: Command, folder: &Path, input: &str) -> Ran {
    let mut child = command
        .current_dir(folder)
        .env_remove("CLICOLOR_FORCE")
        .env_remove("COLUMNS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends early closes its input, which is not a failure.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
