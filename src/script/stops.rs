//! Why the engine stops a script that would end the process.

use rhai::Dynamic;

use super::memory::{self, UsedUp};
use super::stack;
use crate::error::Error;

/// Operations of a script between two looks at the memory: reading the clock at each makes loops a tenth slower, and a
/// statement that doubles a value takes as many.
const OPERATIONS: u64 = 4;

/// The token of a script that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The thread has no stack left; a program that embeds a session may have a small one.
    Stack,
    /// The values of the script leave too little memory.
    Memory(UsedUp),
}

impl Stop {
    /// Returns why the script that runs on this thread must stop at its `operation`, if it must.
    pub fn due(operation: u64) -> Option<Self> {
        if stack::is_used_up() {
            return Some(Self::Stack);
        }
        if !operation.is_multiple_of(OPERATIONS) {
            return None;
        }
        memory::used_up().map(Self::Memory)
    }

    /// Returns the reason in the token of an ended script.
    pub fn of(token: &Dynamic) -> Option<Self> {
        token.read_lock::<Self>().map(|stop| *stop)
    }

    /// Returns the error, and the kind of it that scripts see.
    pub fn error(self) -> (Error, &'static str) {
        match self {
            Self::Stack => (stack::too_deep(), "depth"),
            Self::Memory(used_up) => (used_up.error(), "limit"),
        }
    }
}
