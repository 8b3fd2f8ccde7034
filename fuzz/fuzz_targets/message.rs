//! For an arbitrary message from a client, the Jupyter kernel answers or reports what is wrong. A zero byte ends a
//! part of the message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::front::jupyter::Answers;
use spectral::session::{Options, Session};

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static ANSWERS: Answers = Answers::new(Session::new(Options::default()).engine()));
    let parts = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    ANSWERS.with(|answers| {
        if let Err(reason) = answers.answer(parts) {
            assert!(reason.contains("dropped") || reason.contains("malformed"), "{reason}");
        }
    });
});
