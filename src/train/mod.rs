//! Training: one call, [`fit`](mod@fit), and the parts it is made of.
//!
//! - [`adamw`]: the optimizer with state of its own; [`parameters`]: what it updates; [`clip`]
//! - [`schedule`]: factors of the learning rate; [`ema`]: averaged weights
//! - [`fit`](mod@fit): the loop; [`run`]: what it returns; [`log`]: its CSV file

pub mod adamw;
pub mod clip;
pub mod ema;
pub mod fit;
pub mod log;
pub mod parameters;
pub mod run;
pub mod schedule;

pub use adamw::{AdamW, AdamWOptions};
pub use ema::{Ema, EmaOptions};
pub use fit::{Fit, fit};
pub use parameters::Parameters;
pub use run::Run;

#[cfg(test)]
mod tests;
