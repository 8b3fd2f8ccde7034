//! A kernel whose client died must not stay behind.

use std::time::Duration;

/// How often the parent is looked for.
const EVERY: Duration = Duration::from_secs(1);

/// Ends the process once the one that started it is gone, where a Jupyter client asks for that with
/// `JPY_PARENT_PID`.
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
    // Without the thread the kernel works all the same.
    let _ = std::thread::Builder::new().name("parent".to_string()).spawn(look);
}

#[cfg(not(unix))]
pub fn watch() {
    let _ = EVERY;
}
