//! State shared by the engine's thread and the sockets' thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rhai::Engine;

use crate::context::Interrupt;
use crate::script::catalog::Catalog;
use crate::session::complete::Surroundings;

/// A cell that has run, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Number of the cell.
    pub number: usize,
    /// Code of the cell.
    pub code: String,
    /// Result as text; empty if there was none.
    pub result: String,
}

/// State shared by the threads; clones share it.
#[derive(Clone, Default)]
pub struct Shared {
    engine: Arc<OnceLock<Arc<Engine>>>,
    catalog: Arc<OnceLock<Catalog>>,
    around: Arc<Mutex<Surroundings>>,
    past: Arc<Mutex<Vec<Past>>>,
    running: Arc<AtomicBool>,
    /// Stops the running cell.
    pub interrupt: Interrupt,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Sets the engine, and collects what completion needs in parallel to the first cell.
    pub fn ready(&self, engine: Arc<Engine>) {
        let _ = self.engine.set(engine);
        let catalog = Arc::clone(&self.catalog);
        std::thread::spawn(move || catalog.get_or_init(Catalog::new).entries().len());
    }

    /// Returns the engine, once it exists.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.get()
    }

    /// Returns the catalogue of everything that can be typed.
    pub fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(Catalog::new)
    }

    /// Replaces the session's state that completion sees.
    pub fn update(&self, around: Surroundings) {
        *locked(&self.around) = around;
    }

    /// Returns the session's state as of the last cell.
    pub fn around(&self) -> MutexGuard<'_, Surroundings> {
        locked(&self.around)
    }

    /// Adds a cell to the history.
    pub fn remember(&self, past: Past) {
        locked(&self.past).push(past);
    }

    /// Returns the cells run so far.
    pub fn past(&self) -> MutexGuard<'_, Vec<Past>> {
        locked(&self.past)
    }

    /// Sets whether a cell is running.
    pub fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::SeqCst);
    }

    /// Asks the running cell to stop; does nothing if none runs.
    pub fn stop(&self) {
        if self.running.load(Ordering::SeqCst) {
            self.interrupt.raise();
        }
    }
}
