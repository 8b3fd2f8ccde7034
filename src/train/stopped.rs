//! Runs that were stopped or failed: what is left of them, and where.

use super::saved::stopped;
use super::training::Training;
use super::{FitOptions, Run};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::torch::is_out_of_memory;

impl Training<'_> {
    /// Keeps a run that an error ended for [`last`], and says what is left of it.
    ///
    /// `unsaved` is why the files could not be written after it.
    pub(super) fn leave(mut self, error: &Error, unsaved: Option<Error>, context: &Context) {
        // Without `out` the losses of the last steps may not have been read. If they cannot be, that error has been told.
        let read = self.flush_losses().is_ok();
        let (done, interrupted) = (self.losses.len(), error.kind() == Kind::Interrupted);
        let FitOptions { steps, .. } = *self.options;
        let at_prompt = context.invocation.script.is_none();
        let at = format!("stopped after step {done} of {steps}");
        let saved = self.saves() && self.written == done && done > 0 && (stopped(error) || self.unread);
        let checkpoint = self.folder.as_ref().filter(|_| saved).map(|folder| folder.of_step(done));
        // Its models would take the memory that is missing.
        let keeps = read && done > 0 && !is_out_of_memory(error);
        match checkpoint {
            _ if unsaved.is_some() => {
                let why = unsaved.map_or_else(String::new, |unsaved| unsaved.message());
                context.note(&format!("{at}, and its last steps are not saved: {why}"));
            }
            Some(path) => context
                .note(&format!("{at}; checkpoint: {}; the same call goes on from there", path.display())),
            None if done == 0 || self.saves() => {}
            None if at_prompt && keeps => context
                .note(&format!("{at}; `train::last()` is the run so far, with its averages and history")),
            None if interrupted => {
                context.note(&format!("{at}; nothing is saved without the option `out`"));
            }
            None => {}
        }
        if keeps && let Ok(run) = self.finish() {
            context.stopped.keep(run);
        }
    }
}

/// Returns the run of this session that was stopped or failed last, as far as it came.
///
/// Its model is the one that was trained. The next run frees it, as does a failure for lack of memory.
pub fn last(context: &Context) -> Result<Run> {
    context.stopped.get().ok_or_else(|| {
        Error::argument("no run was stopped in this session since the last one began").hint(
            "`train::fit` returns a run that ends; `train::last()` is for one that was interrupted or failed",
        )
    })
}
