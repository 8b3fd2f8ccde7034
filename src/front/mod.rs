//! What stands before a person: the commands of `spectral` and the prompt.
//!
//! - [`run`], [`check`], [`checkpoint`], [`info`], [`doctor`], [`docs`], [`examples`], [`fetch`], [`mod@bench`]: the
//!   commands; each gives its exit code
//! - [`repl`]: the prompt; [`jupyter`]: the kernel for notebooks
//! - [`picture`]: images in a terminal; [`paint`]: results in colour; [`pager`]: long ones;
//!   [`export`]: as files
//! - [`ask`]: questions to the reader; [`input`]: lines of standard input; [`ending`]: signals, failed output;
//!   [`progress`]: bars on a terminal, lines elsewhere; [`terminal`]: colours, width, reports

pub mod ask;
pub mod bench;
pub mod check;
pub mod checkpoint;
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
pub mod paint;
pub mod picture;
pub mod progress;
pub mod repl;
pub mod run;
pub mod terminal;

/// The stack of the thread that runs scripts: deep enough for every depth that rhai's limits allow. The
/// system gives memory only to the part that is used.
pub const STACK: usize = 256 << 20;

/// What the process needs before its first thread: a file that becomes larger than the system allows is an error
/// where it is written, not the end of the program; and for equal bits on CUDA the matrix library needs its own setting.
pub fn prepare(deterministic: bool) {
    // SAFETY: there is one thread yet, and both settings are plain values.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        if deterministic && std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
            std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        }
    }
}

/// Runs a command on a thread with a deep stack and gives its exit code.
pub fn on_deep_stack(command: impl FnOnce() -> u8 + Send + 'static) -> u8 {
    match std::thread::Builder::new().name("spectral".to_string()).stack_size(STACK).spawn(command) {
        // A panic that reaches this point was printed where it happened.
        Ok(thread) => thread.join().unwrap_or(1),
        Err(error) => terminal::fail(crate::error::Error::internal(format!("no thread to run on: {error}"))),
    }
}

/// Ends the program at once. What libtorch would do at a usual end, taking its thousands of operators down one by one,
/// takes long and helps nobody; and a thread that still computes could fall over it.
pub fn end(code: u8) -> ! {
    let code = ending::flushed(code);
    // SAFETY: it does not come back, and nothing of ours waits for the end: files are written where they are made.
    unsafe { libc::_exit(i32::from(code)) }
}
