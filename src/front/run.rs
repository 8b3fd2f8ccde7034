//! `spectral run FILE -- ARGUMENTS`: runs a script.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::ending::Ending;
use super::input::Input;
use super::picture::{self, Protocol};
use super::processes::{self, Kind};
use super::{ask, progress, terminal};
use crate::context::{Context, Interrupt, Invocation, Print, Warn};
use crate::error::{Error, Result};
use crate::ranks::Launch;
use crate::script::engine::EngineOptions;
use crate::script::resolver::{read_input, read_script};
use crate::session::{Options, Session};
use crate::text;
use crate::torch::{device, rng};

/// A script to run.
#[derive(clap::Args)]
pub struct Run {
    /// The script; `-` reads it from standard input.
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub file: std::path::PathBuf,
    /// Make results bitwise reproducible on this machine; slower on CUDA.
    #[arg(long)]
    pub deterministic: bool,
    /// Run the script as this many processes that train together; 1 ignores torchrun, srun and mpirun.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub ranks: Option<u16>,
    /// Seconds to wait for a rank that has not reached a sum, before the run ends.
    #[arg(long, value_name = "SECONDS", default_value_t = crate::ranks::TIMEOUT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rank_timeout: u64,
    /// Run the script in this many processes that share its sweeps, each on a GPU of its own where there are some.
    #[arg(long, value_name = "N", conflicts_with = "ranks", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Arguments of the script; `-- --help` lists them.
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// Returns this process's place among the ranks of its launcher, and chooses its GPU. Call it before the first
/// thread starts.
pub fn launch(options: &Run) -> Result<Option<Launch>> {
    if options.ranks == Some(1) || options.workers.is_some() {
        return Ok(None);
    }
    let launch = Launch::from_env()?;
    match (&launch, options.ranks) {
        (Some(launch), Some(_)) => Err(Error::usage(format!(
            "this is already rank {} of {}, started by {}",
            launch.rank, launch.size, launch.launcher
        ))
        .hint("leave out `--ranks`, which starts ranks without a launcher")),
        _ => {
            let alone = launch.is_none() && options.ranks.is_none();
            if let Some(note) = Launch::without_srun(|name| std::env::var(name).ok()).filter(|_| alone) {
                terminal::err(&format!("note: {note}"));
            }
            processes::choose_gpu(launch.as_ref());
            Ok(launch)
        }
    }
}

/// Runs a script file and returns the exit code.
///
/// With `deterministic`, runs on one machine are bitwise reproducible: operators with several algorithms use one
/// that does not depend on timing, TF32 is off, and the default generators start from seed 0.
pub fn run(options: Run, launch: Result<Option<Launch>>) -> u8 {
    let launch = match launch {
        Ok(launch) => launch,
        Err(error) => return terminal::fail(error),
    };
    let several = options.ranks.is_some_and(|n| n > 1) || options.workers.is_some_and(|n| n > 1);
    if options.file == Path::new("-") && (several || launch.is_some()) {
        let error = Error::usage("several processes cannot read one script from standard input");
        return terminal::fail(error.hint("save the script as a file"));
    }
    // Whatever is wrong with the file is told once, before any process starts.
    if several && let Err(error) = read_script(&options.file) {
        return terminal::fail(error);
    }
    if let Some(ranks @ 2..) = options.ranks {
        return processes::start(Kind::Ranks, usize::from(ranks), &options);
    }
    if let Some(workers @ 2..) = options.workers {
        return processes::start(Kind::Workers, usize::from(workers), &options);
    }
    let (interrupt, timeout) = (Interrupt::default(), Duration::from_secs(options.rank_timeout));
    let ending = Ending::new(interrupt.clone());
    if let Some(launch) = launch {
        // A signal that arrives before the ranks are connected ends the program at once.
        let listener = ending.clone();
        let notify = Arc::new(move |notice| listener.obey(notice));
        match processes::connect(launch, timeout, notify) {
            Ok(ranks) => ending.join(&ranks),
            Err(error) => return ending.conclude_early(error),
        }
    }
    let Run { file, deterministic, arguments, .. } = options;
    let run = || {
        let source = if file == Path::new("-") { read_input()? } else { read_script(&file)? };
        let name = file.display().to_string();
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let sha256 = Some(text::sha256(&source));
        let invocation = Invocation { script: Some(name.clone()), arguments, sha256 };
        let second = |_: usize| super::end(130);
        let Started { mut session, .. } =
            make_session(folder, invocation, Arc::new(|_| true), None, second, interrupt, ending.clone());
        ending.on_signals(|| false);
        if deterministic {
            device::set_deterministic(true)?;
            device::set_tf32(false)?;
            rng::seed(0);
        }
        Ok(session.run_file(&source, &name).map(drop))
    };
    let result = run().unwrap_or_else(|error: Error| Err(error.into()));
    ending.conclude(result)
}

/// A session with the state that its front end shares.
pub struct Started {
    /// Session that runs cells.
    pub session: Session,
    /// Reason for an early end of the program, if any.
    pub ending: Ending,
    /// Standard input, from which cells may take lines too.
    pub input: Input,
}

/// Creates a session for cells that a user sends. It prints to standard output, shows progress, and stops on Ctrl-C and
/// on the signals of [`Ending`].
pub fn session(folder: std::path::PathBuf, invocation: Invocation) -> Started {
    let second = |_: usize| super::end(130);
    let interrupt = Interrupt::default();
    let ending = Ending::new(interrupt.clone());
    let started = make_session(folder, invocation, Arc::new(|_| true), None, second, interrupt, ending);
    started.ending.on_signals(|| false);
    Started { session: started.session.at_prompt(), ..started }
}

/// Creates a session for the REPL. Printed text goes to the screen if `filter` lets it, and only a third Ctrl-C
/// ends the program, since all variables would be lost.
pub fn prompt_session(filter: Filter, images: Option<Protocol>) -> Started {
    let again = |presses: usize| match presses {
        2 => terminal::err(
            "\nthe cell is still stopping; press Ctrl-C once more to end spectral and lose all variables",
        ),
        _ => super::end(130),
    };
    let interrupt = Interrupt::default();
    let ending = Ending::new(interrupt.clone());
    let (folder, invocation) = (std::path::PathBuf::new(), Invocation::default());
    let started = make_session(folder, invocation, filter, images, again, interrupt, ending);
    Started { session: started.session.at_prompt(), ..started }
}

fn make_session(
    folder: std::path::PathBuf,
    invocation: Invocation,
    filter: Filter,
    images: Option<Protocol>,
    again: impl Fn(usize) + Send + Sync + 'static,
    interrupt: Interrupt,
    ending: Ending,
) -> Started {
    let input = Input::default();
    let ranks = ending.ranks();
    // Launchers pass on a Ctrl-C that the terminal has sent to all ranks already.
    let apart = if ranks.are_several() { Duration::from_secs(1) } else { Duration::ZERO };
    let told = ranks.clone();
    stop_on_ctrl_c(interrupt.clone(), apart, move |presses| match presses {
        1 => told.signal(libc::SIGINT),
        more => again(more),
    });
    let progress = progress::for_stderr();
    let (printer, output) = (Arc::clone(&progress), ending.clone());
    let print: Print = Arc::new(move |text: &str| {
        if filter(text) {
            printer.print(text, &output);
        }
    });
    let ask = ask::on_terminal(interrupt.clone(), input.clone());
    let note = progress::remarks(&progress, "note");
    let warn = Warn::new(progress::remarks(&progress, "warning"));
    let mut context = Context {
        interrupt,
        progress,
        invocation: Arc::new(invocation),
        ask,
        note,
        warn,
        ..Context::default()
    };
    let mut print = print;
    let mut columns = EngineOptions::default().columns;
    if ranks.are_several() {
        context = ranks.context(Context { ask: Context::default().ask, ..context });
    }
    let quiet = Context::default();
    if !processes::prints(&ranks) {
        print = Arc::clone(&quiet.print);
        context = Context { progress: quiet.progress, note: quiet.note, warn: quiet.warn, ..context };
    } else if std::io::stdout().is_terminal() {
        columns = Arc::new(|| Some(terminal::width()));
        // Determined when the first picture is shown, since a terminal may have to be queried.
        let protocol = OnceLock::new();
        let protocol = move || *protocol.get_or_init(|| images.unwrap_or_else(Protocol::of_terminal));
        context.show = picture::shower(protocol, Arc::clone(&print));
        let screen = Arc::clone(&print);
        // Moves the cursor home and clears everything below.
        context.clear = Arc::new(move || screen("\x1b[H\x1b[2J\x1b[A"));
    }
    let engine = EngineOptions { context, print, columns, ..EngineOptions::default() };
    Started { session: Session::new(Options { engine, folder }), ending, input }
}

/// Returns whether a printed text goes to the screen.
pub type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Makes the first Ctrl-C stop the cell; `pressed` receives the number of presses and decides what the second and
/// third do while it has not stopped. A press counts only if it is `apart` from the one before.
pub fn stop_on_ctrl_c(
    interrupt: Interrupt,
    apart: Duration,
    pressed: impl Fn(usize) + Send + Sync + 'static,
) {
    let (presses, last) = (AtomicUsize::new(0), Mutex::new(None::<Instant>));
    // Fails only if a handler already exists, which then does the same.
    let _ = ctrlc::set_handler(move || {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(Instant::now()).is_some_and(|before| before.elapsed() < apart) {
            return;
        }
        if !interrupt.is_raised() {
            presses.store(0, Ordering::SeqCst);
        }
        let count = presses.fetch_add(1, Ordering::SeqCst) + 1;
        if count == 1 {
            interrupt.raise();
        }
        pressed(count);
    });
}
