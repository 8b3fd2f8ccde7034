//! Command line, REPL and Jupyter kernel.
//!
//! - [`run`], [`check`], [`checkpoint`], [`info`], [`doctor`], [`docs`], [`examples`], [`fetch`], [`mod@bench`],
//!   [`mod@completions`]: the commands; each returns its exit code
//! - [`repl`]: the REPL; [`jupyter`]: the Jupyter kernel
//! - [`picture`]: images in a terminal; [`pager`]: long texts; [`export`]: values as
//!   files
//! - [`processes`]: several processes that run one script
//! - [`ask`]: questions to the user; [`input`]: lines of standard input; [`ending`]: signals and failed output;
//!   [`progress`]: bars on a terminal, lines elsewhere; [`terminal`]: colors, width, reports
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "front ends print")]

pub mod ask;
pub mod bench;
pub mod check;
pub mod checkpoint;
pub mod completions;
pub mod docs;
pub mod doctor;
pub mod ending;
pub mod examples;
pub mod export;
pub mod fetch;
pub mod info;
pub mod input;
pub mod jupyter;
pub mod pager;
pub mod picture;
pub mod processes;
pub mod progress;
pub mod repl;
pub mod run;
pub mod terminal;

/// Stack size of the thread that runs scripts, deep enough for every depth that rhai's limits allow. The system
/// only allocates the part that is used.
pub const STACK: usize = 256 << 20;

/// Prepares the process before its first thread. A file that becomes larger than the system allows is then an error
/// of the write and does not end the program. For bitwise reproducible results on CUDA, cuBLAS needs a setting of
/// its own.
pub fn prepare(deterministic: bool) {
    // SAFETY: there is only one thread yet, and both settings are plain values.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        if deterministic && std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
            std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        }
    }
}

/// Runs a command on a thread with a deep stack and returns its exit code.
pub fn on_deep_stack(command: impl FnOnce() -> u8 + Send + 'static) -> u8 {
    match std::thread::Builder::new().name("spectral".to_string()).stack_size(STACK).spawn(command) {
        // A panic that reaches this point is already printed.
        Ok(thread) => thread.join().unwrap_or(1),
        Err(error) => terminal::fail(crate::error::Error::internal(format!("no thread to run on: {error}"))),
    }
}

/// Ends the program at once. At a regular exit libtorch would destroy its thousands of operators one by one, which
/// takes long and has no benefit, and a thread that still computes could crash.
pub fn end(code: u8) -> ! {
    let code = ending::flushed(code);
    // SAFETY: the call does not return, and nothing is left to be written at exit: files are written where they are
    // created.
    unsafe { libc::_exit(i32::from(code)) }
}
