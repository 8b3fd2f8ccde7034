//! End of the Jupyter kernel when its client has died.

use std::time::Duration;

/// Interval between checks of the parent process.
const EVERY: Duration = Duration::from_secs(1);

/// Ends the process once its parent is gone, if a Jupyter client requests that with `JPY_PARENT_PID`.
#[cfg(unix)]
pub fn watch() {
    if std::env::var_os("JPY_PARENT_PID").is_none() {
        return;
    }
    let parent = std::os::unix::process::parent_id();
    let look = move || {
        loop {
            std::thread::sleep(EVERY);
            if std::os::unix::process::parent_id() != parent {
                super::log("the client that started this kernel is gone");
                std::process::exit(1);
            }
        }
    };
    // The Jupyter kernel also works without this thread.
    let _ = std::thread::Builder::new().name("parent".to_string()).spawn(look);
}

#[cfg(not(unix))]
pub fn watch() {
    let _ = EVERY;
}
