//! Several processes that run one script: ranks, which make one run together, and workers, which share its sweeps.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::run::Run;
use super::{ending, terminal};
use crate::context::Interrupt;
use crate::error::{Error, Result};
use crate::files;
use crate::ranks::{Launch, Notify, RESTART, Ranks};
use crate::script::attempts::WORKING_FILE;
use crate::torch::distributed::Store;
use crate::torch::{self, device};

/// Variable that limits libtorch's threads.
const THREADS: &str = "OMP_NUM_THREADS";

/// Variable that limits the GPUs that CUDA sees.
const GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Name of no GPU, for a rank that has none.
const NO_GPU: &str = "none-left";

/// Time that the other ranks have to end after one failed, before they are told to and then killed.
const PATIENCE: Duration = Duration::from_secs(12);

/// Makes CUDA see only the GPU of this rank, so that every device name means it. Call it before the first thread
/// starts.
pub fn choose_gpu(launch: Option<&Launch>) {
    let Some(launch) = launch else { return };
    let listed = std::env::var(GPUS).ok();
    if let Some(own) = own_gpu(listed.as_deref(), launch.local_rank, launch.local_size) {
        // SAFETY: there is only one thread yet.
        unsafe { std::env::set_var(GPUS, own) };
    }
}

/// Returns the GPU of a rank among the visible ones; `None` leaves the list as it is, which may be empty, or hold
/// the one GPU that the launcher chose.
fn own_gpu(listed: Option<&str>, local_rank: usize, local_size: Option<usize>) -> Option<String> {
    match listed.map(|list| list.split(',').map(str::trim).collect::<Vec<_>>()) {
        None if local_size == Some(1) => None,
        None => Some(local_rank.to_string()),
        Some(list) if list.len() == 1 => None,
        Some(list) => Some(list.get(local_rank).map_or(NO_GPU, |gpu| gpu).to_string()),
    }
}

/// Connects with the other ranks of a launch, and shares this machine's processors with those that run here.
pub fn connect(launch: Launch, timeout: Duration, notify: Notify) -> Result<Ranks> {
    torch::start();
    let visible = std::env::var(GPUS).unwrap_or_default();
    let chosen = !visible.is_empty() && visible != "-1";
    let gpus = std::fs::read_dir("/proc/driver/nvidia/gpus").is_ok_and(|mut gpus| gpus.next().is_some());
    if chosen && gpus && device::cuda_count() == 0 {
        let local = launch.local_rank;
        return Err(Error::argument(format!(
            "rank {} has no GPU of its own: {GPUS} is {visible:?} for local rank {local}",
            launch.rank
        ))
        .hint(format!("start at most one rank per GPU, or set {GPUS}=-1 to compute on the CPU")));
    }
    if let (None, Some(here @ 2..)) = (std::env::var_os(THREADS), launch.local_size) {
        // A launcher that binds ranks to processors has divided them already.
        // SAFETY: only reads a number of the system.
        let online = usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1);
        if processors() >= online {
            torch::set_threads((online / here).max(1));
        }
    }
    Ranks::connect(launch, timeout, notify)
}

/// Returns the number of processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Variable with the number of a worker, from 0.
const WORKER: &str = "SPECTRAL_WORKER";

/// Returns whether this process prints and shows progress, as one process of a run does.
pub fn prints(ranks: &Ranks) -> bool {
    ranks.is_first() && !std::env::var(WORKER).is_ok_and(|worker| worker != "0")
}

/// What the processes are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They make one run, which ends when one of them fails.
    Ranks,
    /// They share sweeps; when one fails, the others take over its work.
    Workers,
}

/// Starts processes that run a script on this machine, and returns the first exit code that is not 0. Signals are
/// passed on.
pub fn start(kind: Kind, count: usize, options: &Run) -> u8 {
    match begin(kind, count, options) {
        Ok(code) => code,
        Err(error) => terminal::fail(error),
    }
}

fn begin(kind: Kind, count: usize, options: &Run) -> Result<u8> {
    torch::start();
    let gpus = device::cuda_count();
    // The ranks find each other through this process, as through torchrun.
    let store = Store::open("127.0.0.1", 0, true, "", Duration::from_secs(60))?;
    let port = store.port().to_string();
    let threads = (processors() / count).max(1).to_string();
    let (size, latest) = (count.to_string(), Arc::new(AtomicI32::new(0)));
    let interrupt = Interrupt::default();
    let note = |latest: &Arc<AtomicI32>| {
        let latest = Arc::clone(latest);
        move |signal| latest.store(signal, Ordering::SeqCst)
    };
    ending::on_signals(note(&latest));
    let ctrl_c = note(&latest);
    super::run::stop_on_ctrl_c(interrupt, Duration::ZERO, move |_| ctrl_c(libc::SIGINT));
    // Each worker writes into a file of its own here what it computes.
    let works = (kind == Kind::Workers).then(tempfile::tempdir).transpose()?;
    let mut children = Vec::with_capacity(count);
    for rank in 0..count {
        let mut command = script(options)?;
        let number = rank.to_string();
        match kind {
            Kind::Ranks => command.envs([
                ("RANK", number.as_str()),
                ("LOCAL_RANK", &number),
                ("WORLD_SIZE", &size),
                ("LOCAL_WORLD_SIZE", &size),
                ("MASTER_ADDR", "127.0.0.1"),
                ("MASTER_PORT", &port),
                ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            ]),
            Kind::Workers => command.env(WORKER, &number),
        };
        let work = works.as_ref().map(|folder| folder.path().join(&number));
        command.envs(work.iter().map(|file| (WORKING_FILE, file)));
        if let (Kind::Workers, 1..) = (kind, gpus) {
            let listed = std::env::var(GPUS).ok();
            command.envs(own_gpu(listed.as_deref(), rank % gpus, Some(count)).map(|gpu| (GPUS, gpu)));
        }
        if std::env::var_os(THREADS).is_none() {
            command.env(THREADS, &threads);
        }
        let child =
            command.spawn().map_err(|e| Error::argument(format!("rank {rank} cannot be started: {e}")));
        match child {
            Ok(child) => children.push(Process { child, status: None, work }),
            Err(error) => {
                children.iter_mut().for_each(|process| process.signal(libc::SIGKILL));
                return Err(error);
            }
        }
    }
    Ok(wait(kind, &mut children, &latest))
}

/// Returns the command that runs the script in a process of its own.
fn script(options: &Run) -> Result<Command> {
    let program = std::env::current_exe()
        .map_err(|e| Error::argument(format!("this program cannot be started again: {e}")))?;
    let mut command = Command::new(program);
    command.arg("run").args(options.deterministic.then_some("--deterministic"));
    command.args(["--rank-timeout", &options.rank_timeout.to_string()]).arg(&options.file);
    command.arg("--").args(&options.arguments);
    // In a group of its own, so that a signal of the terminal arrives once, through this process.
    command.stdin(Stdio::null()).process_group(0);
    #[cfg(target_os = "linux")]
    {
        let launcher = std::process::id();
        // SAFETY: the closure between fork and exec only makes system calls.
        unsafe {
            command.pre_exec(move || {
                // If this process is killed, its ranks end as on SIGTERM.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // It may have been killed before that call, of which nothing would tell any more.
                if std::os::unix::process::parent_id() != launcher {
                    libc::_exit(1);
                }
                Ok(())
            });
        }
    }
    Ok(command)
}

struct Process {
    child: Child,
    status: Option<ExitStatus>,
    /// File with what a worker computes.
    work: Option<PathBuf>,
}

impl Process {
    /// Returns how a worker failed and what it computed, unless its own message says so.
    fn end(&self, number: usize, others: bool) -> Option<String> {
        let status = self.status.filter(|status| !status.success())?;
        let work = self.work.as_ref().and_then(|file| files::read_text(file).ok());
        let work = work.filter(|work| !work.is_empty());
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by {}", name(signal)),
            // Its script failed outside a sweep, which its own message says.
            (None, _) if work.is_none() => return None,
            (None, code) => format!("ended with exit code {}", code.unwrap_or_default()),
        };
        let doing = work.map(|work| format!(" while it computed {work}")).unwrap_or_default();
        let after = match (others, number) {
            (true, 0) => "; the others take over its work and print nothing, as it printed for all",
            (true, _) => "; the others take over its work",
            (false, _) => "; start again to compute what is left",
        };
        Some(format!("worker {number} {how}{doing}{after}"))
    }

    fn signal(&mut self, signal: i32) {
        if self.status.is_none() {
            // SAFETY: the process has not been waited for, so its number is not another's.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }
}

/// Returns the name of a signal that ends processes, with its number.
fn name(signal: i32) -> String {
    const NAMES: [(i32, &str); 8] = [
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGFPE, "SIGFPE"),
    ];
    match NAMES.iter().find(|(number, _)| *number == signal) {
        Some((libc::SIGKILL, name)) => format!("{name}, as by the system when memory runs out,"),
        Some((_, name)) => (*name).to_string(),
        None => format!("signal {signal}"),
    }
}

/// Waits for all processes; when a rank has failed, the others are ended too. A worker that was killed is reported. The
/// result is the exit code of the first that failed with one; a rank that was killed has none, and the code of a run that
/// ends because of it asks for a restart.
fn wait(kind: Kind, children: &mut [Process], latest: &AtomicI32) -> u8 {
    let (mut first, mut killed, mut failed, mut stopped) = (None, false, None::<Instant>, false);
    let mut steps = [(PATIENCE, libc::SIGTERM), (PATIENCE + Duration::from_secs(3), libc::SIGKILL)]
        .into_iter()
        .peekable();
    loop {
        match latest.swap(0, Ordering::SeqCst) {
            0 => {}
            signal => {
                stopped = true;
                children.iter_mut().for_each(|process| process.signal(signal));
            }
        }
        for number in 0..children.len() {
            let others = children.iter().enumerate().any(|(i, other)| i != number && other.status.is_none());
            let process = &mut children[number];
            if process.status.is_some() {
                continue;
            }
            let Ok(Some(status)) = process.child.try_wait() else { continue };
            process.status = Some(status);
            if !status.success() {
                failed = failed.or_else(|| (kind == Kind::Ranks).then(Instant::now));
                killed |= status.signal().is_some();
                first = first.or(status.code().and_then(|code| u8::try_from(code).ok()));
                // A user who stops all workers knows how they end.
                let told = process.end(number, others).filter(|_| kind == Kind::Workers && !stopped);
                told.into_iter().for_each(|text| terminal::err(&format!("warning: {text}")));
            }
        }
        if children.iter().all(|process| process.status.is_some()) {
            return first.unwrap_or(if killed { RESTART } else { 0 });
        }
        if let (Some(since), Some((after, signal))) = (failed, steps.peek().copied())
            && since.elapsed() >= after
        {
            children.iter_mut().for_each(|process| process.signal(signal));
            steps.next();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_sees_the_gpu_of_its_local_number() {
        assert_eq!(own_gpu(None, 2, Some(4)).as_deref(), Some("2"));
        assert_eq!(own_gpu(None, 0, Some(1)), None);
        assert_eq!(own_gpu(Some("4,6"), 1, Some(2)).as_deref(), Some("6"));
        // Chosen by the launcher, or none on purpose.
        assert_eq!(own_gpu(Some("7"), 3, Some(4)), None);
        assert_eq!(own_gpu(Some(""), 3, Some(4)), None);
        // More ranks than GPUs is an error later on, not a GPU that two ranks share.
        assert_eq!(own_gpu(Some("0,1"), 2, Some(3)).as_deref(), Some(NO_GPU));
    }
}
