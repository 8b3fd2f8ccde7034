//! Interrupts and progress for long native calls.
//!
//! A [`Context`] is passed explicitly, so nothing here is global. Rust users who need neither interrupts nor
//! progress pass `&Context::default()`.

mod profile;

pub use profile::{Call, Profile, Timer};

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::document::Document;
use crate::error::{Error, Result};

/// Flag raised by Ctrl-C and polled by long native loops; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    raised: AtomicBool,
    /// Whether the program is ending, so that no later cell may run.
    ending: AtomicBool,
}

impl Interrupt {
    /// Requests a stop; safe to call from a signal handler's thread.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
    }

    /// Requests a permanent stop, which [`Interrupt::clear`] does not revoke.
    pub fn end(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
        self.raise();
    }

    /// Clears the request before the next cell starts.
    pub fn clear(&self) {
        self.0.raised.store(false, Ordering::SeqCst);
        if self.0.ending.load(Ordering::SeqCst) {
            self.raise();
        }
    }

    /// Returns whether a stop was requested.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Returns the address of the flag, for code that cannot call Rust; valid while this clone lives.
    pub(crate) fn address(&self) -> *const u8 {
        self.0.raised.as_ptr().cast()
    }

    /// Fails with [`Error::interrupted`] if a stop was requested.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// Receiver of progress; the front end decides how it is shown.
pub trait Progress: Send + Sync {
    /// Starts a bar of `total` units (steps, images, ..) with a label.
    fn start(&self, label: &str, total: u64) -> Box<dyn Bar>;

    /// Starts a bar of work that began earlier.
    fn start_late(&self, label: &str, total: u64, began: Instant) -> Box<dyn Bar> {
        let _ = began;
        self.start(label, total)
    }
}

/// A running progress bar; dropping it ends it.
pub trait Bar: Send {
    /// Reports that `done` of the total units are finished; `note` is a short remark such as `loss 0.123`.
    fn update(&mut self, done: u64, note: &str);

    /// Reports that `done` units were finished earlier, as when a run is resumed: rates and the remaining time count
    /// only what follows.
    fn resume(&mut self, done: u64) {
        let _ = done;
    }
}

struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64) -> Box<dyn Bar> {
        Box::new(Silent)
    }
}

impl Bar for Silent {
    fn update(&mut self, _: u64, _: &str) {}
}

/// Time after which a late bar shows.
const LATE: Duration = Duration::from_secs(1);

/// A bar that shows when its work takes long.
struct Late {
    progress: Arc<dyn Progress>,
    label: String,
    total: u64,
    began: Instant,
    bar: Option<Box<dyn Bar>>,
}

impl Bar for Late {
    fn update(&mut self, done: u64, note: &str) {
        if self.began.elapsed() >= LATE {
            let start = || self.progress.start_late(&self.label, self.total, self.began);
            self.bar.get_or_insert_with(start).update(done, note);
        }
    }
}

/// How the running script was started.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// File of the script as the user wrote it; `None` at the REPL's prompt.
    pub script: Option<String>,
    /// SHA-256 of its text.
    pub sha256: Option<String>,
    /// Arguments after `--` on the command line.
    pub arguments: Vec<String>,
}

/// Receives text to print, one text per call, without the line end.
pub type Print = Arc<dyn Fn(&str) + Send + Sync>;

/// Representations of a value; a front end shows the richest one it supports.
#[derive(Debug, Clone, Default)]
pub struct Display {
    /// Plain text, always present.
    pub text: String,
    /// HTML for notebooks and reports.
    pub html: Option<String>,
    /// A PNG image.
    pub png: Option<Vec<u8>>,
    /// An SVG image.
    pub svg: Option<String>,
}

impl Display {
    /// Creates a display with plain text only.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Creates a display of a document, as text and HTML.
    pub fn of(document: &Document) -> Self {
        let html = Some(document.to_html());
        Self { html, ..Self::text(document.to_text(None)) }
    }
}

/// Shows a value in a rich form, such as the picture of a figure; returns `false` if that is not possible.
pub type Show = Arc<dyn Fn(&Display) -> bool + Send + Sync>;

/// Asks the user a question and waits for the answer; the second argument hides the typed text where possible.
/// Fails if nobody can answer.
pub type Ask = Arc<dyn Fn(&str, bool) -> Result<String> + Send + Sync>;

/// Receiver of warnings; clones share the record of what was already warned about.
#[derive(Clone)]
pub struct Warn {
    say: Print,
    said: Arc<Mutex<BTreeSet<String>>>,
}

impl Warn {
    /// Creates a receiver that passes warnings to `say`, without the line end.
    pub fn new(say: Print) -> Self {
        Self { say, said: Arc::default() }
    }

    /// Returns `true` if this is the first call with `matter`, and remembers it.
    pub fn is_first(&self, matter: &str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(matter.to_string())
    }

    /// Gives a warning.
    pub fn say(&self, text: &str) {
        (self.say)(text);
    }
}

/// What the last call of a kind left behind when it was stopped; clones share it.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Option<Arc<dyn Any + Send + Sync>>>>);

impl Kept {
    /// Keeps a value, in place of an earlier one.
    pub fn keep(&self, value: impl Any + Send + Sync) {
        *self.lock() = Some(Arc::new(value));
    }

    /// Returns the value, if one of this type is kept.
    pub fn get<T: Any + Send + Sync + Clone>(&self) -> Option<T> {
        self.lock().as_ref()?.downcast_ref().cloned()
    }

    /// Frees the value.
    pub fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<dyn Any + Send + Sync>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles stored code, given as JSON; `declare::Function` knows the type of the result.
pub type Compile = Arc<dyn Fn(&str) -> Result<Arc<dyn Any + Send + Sync>> + Send + Sync>;

/// Interrupts, progress and output of a long call; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Raised by Ctrl-C.
    pub interrupt: Interrupt,
    /// Receives progress.
    pub progress: Arc<dyn Progress>,
    /// How the running script was started.
    pub invocation: Arc<Invocation>,
    /// Receives text that scripts print, and text that script functions print on their own.
    pub print: Print,
    /// Receives notes that are not results, such as which parts of a file were skipped.
    pub note: Print,
    /// Receives warnings.
    pub warn: Warn,
    /// Receives values that a script shows.
    pub show: Show,
    /// Asks the user for input.
    pub ask: Ask,
    /// Clears shown output.
    pub clear: Arc<dyn Fn() + Send + Sync>,
    /// Counts native calls while it runs.
    pub profile: Profile,
    /// Compiles code stored in a file.
    pub compile: Compile,
    /// The run that was stopped last, for a session that goes on; the room `train` knows its type.
    pub stopped: Kept,
    /// The processes that make this run together, if there are several; the room `ranks` knows its type.
    pub ranks: Option<Arc<dyn Any + Send + Sync>>,
}

impl Context {
    /// Fails if the user requested a stop; call it at least every 0.1 s in a native loop.
    pub fn check(&self) -> Result<()> {
        self.interrupt.check()
    }

    /// Starts a progress bar.
    pub fn bar(&self, label: &str, total: u64) -> Box<dyn Bar> {
        self.progress.start(label, total)
    }

    /// Starts a progress bar that shows after a second, for calls that are often short and made in a loop.
    pub fn late_bar(&self, label: &str, total: u64) -> Box<dyn Bar> {
        let (progress, label) = (Arc::clone(&self.progress), label.to_string());
        Box::new(Late { progress, label, total, began: Instant::now(), bar: None })
    }

    /// Prints text; for script functions whose purpose is to print, since native modules never do.
    pub fn print(&self, text: &str) {
        (self.print)(text);
    }

    /// Gives a note that is neither a result nor an error; for script functions, since native modules return their
    /// notes.
    pub fn note(&self, text: &str) {
        (self.note)(text);
    }

    /// Asks the user and waits for the answer.
    pub fn ask(&self, prompt: &str, hidden: bool) -> Result<String> {
        (self.ask)(prompt, hidden)
    }

    /// Clears the output of the running cell, where possible.
    pub fn clear(&self) {
        (self.clear)();
    }

    /// Shows a value; returns `false` if nobody can see it.
    pub fn show(&self, display: &Display) -> bool {
        (self.show)(display)
    }
}

impl Default for Context {
    /// Returns a context that is never interrupted and shows nothing.
    fn default() -> Self {
        Self {
            interrupt: Interrupt::default(),
            progress: Arc::new(Silent),
            invocation: Arc::new(Invocation::default()),
            print: Arc::new(|_| {}),
            note: Arc::new(|_| {}),
            warn: Warn::new(Arc::new(|_| {})),
            profile: Profile::default(),
            stopped: Kept::default(),
            ranks: None,
            show: Arc::new(|_| false),
            clear: Arc::new(|| {}),
            compile: Arc::new(|_| {
                Err(Error::argument("code of a script cannot be run here")
                    .hint("open the file in a script, at the prompt or in a notebook of spectral"))
            }),
            ask: Arc::new(|_, _| {
                Err(Error::argument("input cannot be read: there is no terminal or notebook to ask")
                    .hint("pass the value as an argument, or run the script in a terminal"))
            }),
        }
    }
}
