//! Why the engine stops a script that would end the process.

use rhai::Dynamic;

use super::memory::{self, UsedUp};
use super::stack;
use crate::error::Error;

/// The token of a script that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The thread has no stack left; a program that embeds a session may have a small one.
    Stack,
    /// The values of the script leave too little memory.
    Memory(UsedUp),
}

impl Stop {
    /// Returns why the script that runs on this thread must stop, if it must.
    pub fn due() -> Option<Self> {
        if stack::is_used_up() {
            return Some(Self::Stack);
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
