//! What a long native call needs from whoever started it: a way to stop, and a way to say how far it is.
//!
//! A [`Context`] is passed down explicitly, so nothing here is global. Rust users who need neither
//! write `&Context::default()`.

mod profile;

pub use profile::{Call, Profile, Timer};

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// A flag that Ctrl-C raises and long native loops poll; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    raised: AtomicBool,
    /// Whether the program ends, so that no later cell may run.
    ending: AtomicBool,
}

impl Interrupt {
    /// Asks whoever polls this flag to stop; safe to call from a signal handler's thread.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
    }

    /// Asks to stop for good: [`Interrupt::clear`] does not take it back.
    pub fn end(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
        self.raise();
    }

    /// Takes the request back, before the next cell starts.
    pub fn clear(&self) {
        self.0.raised.store(false, Ordering::SeqCst);
        if self.0.ending.load(Ordering::SeqCst) {
            self.raise();
        }
    }

    /// Whether somebody asked to stop.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Where the flag lies, for code that cannot call Rust; valid while this clone lives.
    pub(crate) fn address(&self) -> *const u8 {
        self.0.raised.as_ptr().cast()
    }

    /// Fails with [`Error::interrupted`] once somebody asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// Where progress goes; the front end decides what it looks like.
pub trait Progress: Send + Sync {
    /// Starts a bar of `total` units (steps, images, ..) under a label.
    fn start(&self, label: &str, total: u64) -> Box<dyn Bar>;
}

/// One running progress bar; dropping it ends it.
pub trait Bar: Send {
    /// `done` of the total are finished; `note` is a short remark such as `loss 0.123`.
    fn update(&mut self, done: u64, note: &str);
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

/// How the running script was started.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The script's file as the user wrote it; `None` at a prompt.
    pub script: Option<String>,
    /// What followed `--` on the command line.
    pub arguments: Vec<String>,
}

/// Receives text for the reader, one text per call, without its line end.
pub type Print = Arc<dyn Fn(&str) + Send + Sync>;

/// The forms in which a value can be shown; a front end picks the richest it can.
#[derive(Debug, Clone, Default)]
pub struct Display {
    /// Plain text, always there.
    pub text: String,
    /// HTML for notebooks and reports.
    pub html: Option<String>,
    /// A PNG image.
    pub png: Option<Vec<u8>>,
    /// An SVG image.
    pub svg: Option<String>,
}

impl Display {
    /// Text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Shows a value to the reader in a rich form, such as a figure's picture; `false` where that cannot be done.
pub type Show = Arc<dyn Fn(&Display) -> bool + Send + Sync>;

/// Asks the reader a question and waits for the answer; the second argument hides what is typed, where it can be
/// hidden. Fails where there is nobody to ask.
pub type Ask = Arc<dyn Fn(&str, bool) -> Result<String> + Send + Sync>;

/// Says what a reader should know and a script does not ask for; clones share what was said.
#[derive(Clone)]
pub struct Warn {
    say: Print,
    said: Arc<Mutex<BTreeSet<String>>>,
}

impl Warn {
    /// Says warnings through `say`, which gets them without their line end.
    pub fn new(say: Print) -> Self {
        Self { say, said: Arc::default() }
    }

    /// Whether the matter was not warned of before; from now on it was.
    pub fn is_first(&self, matter: &str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(matter.to_string())
    }

    /// Says a warning.
    pub fn say(&self, text: &str) {
        (self.say)(text);
    }
}

/// Makes what stored code stands for, given as JSON; what is made is for `declare::Function` to know.
pub type Compile = Arc<dyn Fn(&str) -> Result<Arc<dyn Any + Send + Sync>> + Send + Sync>;

/// How a long call stops and reports; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Raised by Ctrl-C.
    pub interrupt: Interrupt,
    /// Receives progress.
    pub progress: Arc<dyn Progress>,
    /// How the running script was started.
    pub invocation: Arc<Invocation>,
    /// Receives what scripts print, and what a script function says on its own.
    pub print: Print,
    /// Receives remarks that are no result, such as what was passed over in a file.
    pub note: Print,
    /// Receives warnings.
    pub warn: Warn,
    /// Receives what a script wants to be looked at.
    pub show: Show,
    /// Asks for input.
    pub ask: Ask,
    /// Removes what was shown.
    pub clear: Arc<dyn Fn() + Send + Sync>,
    /// Counts native calls when asked to.
    pub profile: Profile,
    /// Compiles code that a file holds.
    pub compile: Compile,
}

impl Context {
    /// Fails once the user asked to stop; call it at least every 0.1 s in a native loop.
    pub fn check(&self) -> Result<()> {
        self.interrupt.check()
    }

    /// Starts a progress bar.
    pub fn bar(&self, label: &str, total: u64) -> Box<dyn Bar> {
        self.progress.start(label, total)
    }

    /// Says something to the reader; for script functions whose purpose it is, native rooms never do.
    pub fn print(&self, text: &str) {
        (self.print)(text);
    }

    /// Tells the reader something that is no result and no error; for script functions, native rooms give notes back.
    pub fn note(&self, text: &str) {
        (self.note)(text);
    }

    /// Asks the reader and waits for the answer.
    pub fn ask(&self, prompt: &str, hidden: bool) -> Result<String> {
        (self.ask)(prompt, hidden)
    }

    /// Removes what the running cell has shown so far, where that can be done.
    pub fn clear(&self) {
        (self.clear)();
    }

    /// Shows something to the reader; `false` where there is nobody who could see it.
    pub fn show(&self, display: &Display) -> bool {
        (self.show)(display)
    }
}

impl Default for Context {
    /// Never interrupted, silent, unseen.
    fn default() -> Self {
        Self {
            interrupt: Interrupt::default(),
            progress: Arc::new(Silent),
            invocation: Arc::new(Invocation::default()),
            print: Arc::new(|_| {}),
            note: Arc::new(|_| {}),
            warn: Warn::new(Arc::new(|_| {})),
            profile: Profile::default(),
            show: Arc::new(|_| false),
            clear: Arc::new(|| {}),
            compile: Arc::new(|_| {
                Err(Error::argument("code of a script cannot be run here")
                    .hint("open the file in a script, at the prompt or in a notebook of spectral"))
            }),
            ask: Arc::new(|_, _| {
                Err(Error::argument("there is nobody who could be asked for input")
                    .hint("give the value as an argument, or run the script at a terminal"))
            }),
        }
    }
}
