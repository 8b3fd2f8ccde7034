//! Checking an arbitrary script returns a list of findings and executes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::session::{Options, Session};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    thread_local!(static SESSION: Session = Session::new(Options::default()));
    SESSION.with(|session| {
        let _ = session.is_complete(text);
        let _ = session.engine().compile(text);
    });
});
