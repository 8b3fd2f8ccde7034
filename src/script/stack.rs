//! The end of a thread's stack, so that deep recursion of a script is an error and does not end the process.

use std::cell::Cell;
use std::ptr::from_ref;

use crate::error::Error;

/// Bytes that native code called by a script may need, or half of a smaller stack.
const RESERVE: usize = 512 << 10;

/// Returns the error of a script that was stopped because its thread has no stack left.
pub fn too_deep() -> Error {
    Error::argument("recursion is too deep for the stack of this thread").hint(
        "a recursive function needs a base case, and deep recursion a loop; a Rust program may run the session on a \
         thread with a larger stack",
    )
}

thread_local! {
    /// Lowest address that scripts may use on this thread; computed once, since the answer of the system is slow.
    static LOWEST: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Returns whether this thread has too little stack left for a script to go deeper.
pub fn is_used_up() -> bool {
    let lowest = LOWEST.get().unwrap_or_else(|| {
        let lowest = limits().map_or(0, |(end, size)| end + RESERVE.min(size / 2));
        LOWEST.set(Some(lowest));
        lowest
    });
    let here = 0u8;
    from_ref(&here).addr() < lowest
}

/// Returns the lowest address of this thread's stack and its size, if the system says so.
#[cfg(target_os = "linux")]
fn limits() -> Option<(usize, usize)> {
    use std::mem::MaybeUninit;
    use std::ptr::null_mut;

    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut end, mut size) = (null_mut(), 0);
    // SAFETY: the attributes are read only after they were written, and freed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let failed = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut end, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (failed == 0).then(|| (end.addr(), size))
    }
}

/// As above; other systems have only the limit of levels.
#[cfg(not(target_os = "linux"))]
fn limits() -> Option<(usize, usize)> {
    None
}
