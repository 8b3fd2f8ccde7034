//! What the engine's thread and the sockets' thread both know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rhai::Engine;

use crate::context::Interrupt;
use crate::script::catalog::Catalog;
use crate::session::complete::Surroundings;

/// A cell that has run, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub number: usize,
    /// Its text.
    pub code: String,
    /// Its result as text; empty where there was none.
    pub result: String,
}

/// The state between the threads; clones share it.
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
    /// The engine is there; what completion needs is collected beside the first cell.
    pub fn ready(&self, engine: Arc<Engine>) {
        let _ = self.engine.set(engine);
        let catalog = Arc::clone(&self.catalog);
        std::thread::spawn(move || catalog.get_or_init(Catalog::new).entries().len());
    }

    /// The engine, once it is there.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.get()
    }

    /// All that can be typed.
    pub fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(Catalog::new)
    }

    /// Replaces what completion knows of the session.
    pub fn update(&self, around: Surroundings) {
        *locked(&self.around) = around;
    }

    /// What the session holds, as of the last cell.
    pub fn around(&self) -> MutexGuard<'_, Surroundings> {
        locked(&self.around)
    }

    /// Remembers a cell.
    pub fn remember(&self, past: Past) {
        locked(&self.past).push(past);
    }

    /// The cells so far.
    pub fn past(&self) -> MutexGuard<'_, Vec<Past>> {
        locked(&self.past)
    }

    /// Whether a cell is running.
    pub fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::SeqCst);
    }

    /// Asks the running cell to stop; without one there is nothing to stop.
    pub fn stop(&self) {
        if self.running.load(Ordering::SeqCst) {
            self.interrupt.raise();
        }
    }
}
