//! Queue of cells that wait for the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::message::{Execute, Request};

/// A cell that a client requests to run.
pub struct Job {
    /// Request.
    pub request: Request,
    /// Fields of the request.
    pub cell: Execute,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Cells in order of arrival; clones share them.
#[derive(Clone, Default)]
pub struct Queue(Arc<(Mutex<State>, Condvar)>);

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a cell.
    pub fn push(&self, job: Job) {
        self.state().jobs.push_back(job);
        self.0.1.notify_all();
    }

    /// Waits for the next cell; returns `None` once the Jupyter kernel ends.
    pub fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Removes and returns all waiting cells.
    pub fn drain(&self) -> Vec<Job> {
        self.state().jobs.drain(..).collect()
    }

    /// Closes the queue, so that no further cell runs.
    pub fn close(&self) {
        self.state().closed = true;
        self.0.1.notify_all();
    }
}
