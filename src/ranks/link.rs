//! Connection of every rank with rank 0, which tells all of a rank that died, failed, hangs or received a signal.
//!
//! A socket between the processes shows the end of one at once, without heartbeats that a busy machine could delay.
//! Rank 0 collects what happened and decides how the run ends, so that only one rank tells the user.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// Exit code of a run that ended because a rank died or hangs, which asks launchers to start it again (`EX_TEMPFAIL`
/// of sysexits.h).
pub const RESTART: u8 = 75;

/// Time in which ranks that fail for the same reason report it, before one of them is chosen to show it.
const TOGETHER: Duration = Duration::from_secs(2);

/// Why a collective does not end that all ranks have started.
const DIFFERENT: &str = "the ranks wait for each other in different collectives; every rank calls the same functions of \
     `ranks`, `train::fit` and `flow::sample` in the same order";

/// Time in which a rank that is alive answers where it is.
pub const ANSWER: Duration = Duration::from_secs(3);

/// Time after which another signal means that the user does not wait for the end of a step. Launchers may send
/// several at once.
const HURRY: Duration = Duration::from_secs(2);

/// What a rank must do because of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Act as if this signal had arrived here.
    Signal(i32),
    /// End with this exit code, and show the message if there is one.
    End(u8, Option<String>),
}

/// Receives notices, on another thread.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// A rank and its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Host name.
    pub host: String,
    /// Process ID on the host.
    pub process: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum ToServer {
    Hello {
        token: String,
        rank: usize,
        member: Member,
    },
    Signal(i32),
    Failed {
        code: u8,
        message: String,
    },
    Left,
    Stuck {
        at: u64,
        seconds: u64,
    },
    At(u64),
    /// Not sent: the socket was closed.
    Gone,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum ToRank {
    Members(Vec<Member>),
    Signal(i32),
    Left(usize),
    End(u8, Option<String>),
    /// Whether the rank shows its failure itself.
    Show(bool),
    Where,
    Bye,
}

/// What one rank knows of the others.
struct Shared {
    rank: usize,
    notify: Notify,
    /// Number of collectives that this rank has started.
    started: AtomicU64,
    /// Whether a notice of the end was given, and whether its receiver has acted on it.
    ending: AtomicBool,
    ended: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// When other ranks ended their script.
    left: BTreeMap<usize, Instant>,
    show: Option<bool>,
    /// Whether a signal has reached any rank.
    signaled: bool,
    /// When the first signal arrived at this rank, and whether another one has followed.
    signal: Option<Instant>,
    hurried: bool,
    /// Whether rank 0 has confirmed that this rank has ended.
    dismissed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, code: u8, message: Option<String>) {
        if !self.ending.swap(true, Ordering::SeqCst) {
            (self.notify)(Notice::End(code, message));
            self.ended.store(true, Ordering::SeqCst);
        }
        self.changed.notify_all();
    }

    /// Acts on a message; returns what to answer.
    fn apply(&self, message: ToRank) -> Option<ToServer> {
        match message {
            ToRank::Members(members) => self.state().members = members,
            ToRank::Signal(signal) => {
                self.state().signaled = true;
                (self.notify)(Notice::Signal(signal));
            }
            ToRank::Left(rank) => drop(self.state().left.insert(rank, Instant::now())),
            ToRank::End(code, message) => self.end(code, message),
            ToRank::Show(show) => self.state().show = Some(show),
            ToRank::Where => return Some(ToServer::At(self.started.load(Ordering::SeqCst))),
            ToRank::Bye => self.state().dismissed = true,
        }
        self.changed.notify_all();
        None
    }

    /// Waits until `holds` or `time` is over, and returns whether it holds.
    fn wait(&self, time: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, time, |state| !holds(state));
        waited.map_or_else(|e| holds(&e.into_inner().0), |(state, _)| holds(&state))
    }

    /// Acts on the death of rank 0, which the lowest rank of each machine shows.
    fn lost_server(&self) {
        let state = self.state();
        // Rank 0 leaves early only after an interrupt, which has reached this rank too.
        if state.dismissed || state.left.contains_key(&0) {
            return;
        }
        let members = state.members.clone();
        drop(state);
        let host = |rank: usize| members.get(rank).map(|m| &m.host);
        let first = (1..members.len()).find(|r| host(*r) == host(self.rank)) == Some(self.rank);
        self.end(RESTART, first.then(|| died(&members, 0)));
    }
}

fn name(members: &[Member], rank: usize) -> String {
    match members.get(rank) {
        Some(Member { host, process }) => format!("rank {rank} on {host} (process {process})"),
        None => format!("rank {rank}"),
    }
}

fn died(members: &[Member], rank: usize) -> String {
    format!("{} died: it was killed, it crashed, or its machine is gone", name(members, rank))
}

/// The connection of one rank.
pub struct Link {
    shared: Arc<Shared>,
    out: Out,
}

enum Out {
    /// Rank 0 passes messages to its own server.
    Here(Mutex<Sender<(usize, ToServer)>>),
    There(Mutex<TcpStream>),
}

impl Link {
    /// Connects as rank 0 with the other `size - 1` ranks, which show `token`. Fails if one has not come within
    /// `timeout`.
    pub fn serve(
        listener: &TcpListener,
        token: &str,
        member: Member,
        size: usize,
        timeout: Duration,
        notify: Notify,
    ) -> Result<Self> {
        let broken = |e: std::io::Error| Error::argument(format!("the ranks cannot be connected: {e}"));
        listener.set_nonblocking(true).map_err(broken)?;
        let start = Instant::now();
        let mut streams: BTreeMap<usize, (BufReader<TcpStream>, Member)> = BTreeMap::new();
        while streams.len() + 1 < size {
            match listener.accept() {
                Ok((stream, _)) => {
                    // Whoever does not say the token is no rank of this run.
                    if let Some((rank, reader, member)) = greeted(stream, token)
                        && (1..size).contains(&rank)
                    {
                        streams.insert(rank, (reader, member));
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < timeout => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let missing = (1..size).filter(|r| !streams.contains_key(r)).map(|r| r.to_string());
                    return Err(absent(&missing.collect::<Vec<_>>(), size, timeout));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(e)),
            }
        }
        let members: Vec<Member> =
            std::iter::once(member).chain(streams.values().map(|(_, m)| m.clone())).collect();
        let shared = Arc::new(Shared::new(0, notify));
        shared.state().members.clone_from(&members);
        let (sender, receiver) = channel();
        let mut writers = vec![None];
        for (rank, (reader, _)) in streams {
            writers.push(Some(reader.get_ref().try_clone().map_err(broken)?));
            let sender = sender.clone();
            thread(format!("rank {rank}"), move || {
                read(reader, |message| sender.send((rank, message)).is_ok());
                let _ = sender.send((rank, ToServer::Gone));
            })?;
        }
        let mut server = Server::new(Arc::clone(&shared), writers, members.clone());
        (1..size).for_each(|rank| server.tell(rank, ToRank::Members(members.clone())));
        thread("ranks".to_string(), move || server.run(&receiver))?;
        Ok(Self { shared, out: Out::Here(Mutex::new(sender)) })
    }

    /// Connects as another rank with the server of rank 0.
    pub fn join(
        stream: TcpStream,
        token: &str,
        rank: usize,
        member: Member,
        timeout: Duration,
        notify: Notify,
    ) -> Result<Self> {
        let broken = |e: std::io::Error| Error::argument(format!("rank 0 cannot be reached: {e}"));
        prepare(&stream).map_err(broken)?;
        let reader = BufReader::new(stream.try_clone().map_err(broken)?);
        let shared = Arc::new(Shared::new(rank, notify));
        let link = Self { shared: Arc::clone(&shared), out: Out::There(Mutex::new(stream)) };
        link.send(ToServer::Hello { token: token.to_string(), rank, member });
        let answers = Arc::clone(&shared);
        let writer = reader.get_ref().try_clone().map_err(broken)?;
        thread("ranks".to_string(), move || {
            let mut writer = writer;
            read(reader, |message| {
                if let Some(answer) = answers.apply(message) {
                    let _ = write(&mut writer, &answer);
                }
                true
            });
            answers.lost_server();
        })?;
        let joined = shared.wait(timeout, |state| !state.members.is_empty());
        if joined { Ok(link) } else { Err(absent(&[], 0, timeout)) }
    }

    /// Returns all ranks, in order.
    pub fn members(&self) -> Vec<Member> {
        self.shared.state().members.clone()
    }

    /// Returns a name of a rank for messages: `rank 1 on node7 (process 4711)`.
    pub fn name(&self, rank: usize) -> String {
        name(&self.shared.state().members, rank)
    }

    /// Counts a collective and returns its number.
    pub fn start(&self) -> u64 {
        self.shared.started.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Returns whether the run has to end, so that no collective can complete any more.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::SeqCst)
    }

    /// Returns a rank that ended its script at least `time` ago.
    pub fn left(&self, time: Duration) -> Option<usize> {
        let state = self.shared.state();
        state.left.iter().find(|(_, when)| when.elapsed() >= time).map(|(rank, _)| *rank)
    }

    /// Waits up to `time` until the run has to end or a rank has ended its script.
    pub fn wait_for_end(&self, time: Duration) {
        self.shared.wait(time, |state| self.has_ended() || !state.left.is_empty());
    }

    /// Returns whether a signal has reached any rank, so that all end their scripts.
    pub fn is_signaled(&self) -> bool {
        self.shared.state().signaled
    }

    /// Returns whether this rank got another signal after the first one, so that it no longer waits for others.
    pub fn is_hurried(&self) -> bool {
        self.shared.state().hurried
    }

    /// Tells all ranks of a signal that arrived here.
    pub fn signal(&self, signal: i32) {
        {
            let mut state = self.shared.state();
            state.signaled = true;
            let first = *state.signal.get_or_insert_with(Instant::now);
            state.hurried |= first.elapsed() >= HURRY;
        }
        self.send(ToServer::Signal(signal));
    }

    /// Tells that this rank has waited `time` for a collective that others have not started.
    pub fn stuck(&self, number: u64, time: Duration) {
        self.send(ToServer::Stuck { at: number, seconds: time.as_secs() });
    }

    /// Tells that this rank fails; returns whether it should show why.
    pub fn fail(&self, code: u8, message: &str) -> bool {
        self.send(ToServer::Failed { code, message: message.to_string() });
        let told = self.shared.wait(TOGETHER * 2, |state| state.show.is_some() || self.has_ended());
        // If rank 0 is gone, nobody else may show it.
        self.shared.state().show.unwrap_or(!told || !self.has_ended())
    }

    /// Tells that this rank has ended its script. Rank 0 waits up to `time` until all others have, since they need
    /// it to learn how each other fare.
    pub fn leave(&self, time: Duration) {
        self.send(ToServer::Left);
        self.shared.wait(time, |state| state.dismissed || self.has_ended());
    }

    /// Sends a message; if that fails, the reader notices that the connection is lost.
    fn send(&self, message: ToServer) {
        match &self.out {
            Out::Here(sender) => {
                let _ = sender.lock().unwrap_or_else(PoisonError::into_inner).send((0, message));
            }
            Out::There(stream) => {
                let _ = write(&mut stream.lock().unwrap_or_else(PoisonError::into_inner), &message);
            }
        }
    }
}

impl Shared {
    fn new(rank: usize, notify: Notify) -> Self {
        Self {
            rank,
            notify,
            started: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
}

fn absent(missing: &[String], size: usize, timeout: Duration) -> Error {
    let seconds = timeout.as_secs();
    let what = match missing {
        [] => format!("not all ranks have come within {seconds} s"),
        [one] => format!("rank {one} of {size} has not come within {seconds} s"),
        several => format!("ranks {} of {size} have not come within {seconds} s", several.join(", ")),
    };
    Error::argument(what).hint(
        "start as many processes as the launcher announces; within a batch script of SLURM that is what `srun` does",
    )
}

fn thread(name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
    match std::thread::Builder::new().name(name).stack_size(256 << 10).spawn(body) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::internal(format!("no thread to watch the ranks: {e}"))),
    }
}

/// Sets a connection up so that small messages leave at once and a machine that is gone is noticed within seconds.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let options = [
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 3),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 2),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 2),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 8000),
        ];
        for (level, option, value) in options {
            let value: libc::c_int = value;
            // SAFETY: the descriptor is open, and the value is an integer of the given size.
            unsafe {
                libc::setsockopt(
                    stream.as_raw_fd(),
                    level,
                    option,
                    (&raw const value).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            };
        }
    }
    Ok(())
}

/// Reads the greeting of a rank, within a second.
fn greeted(stream: TcpStream, token: &str) -> Option<(usize, BufReader<TcpStream>, Member)> {
    prepare(&stream).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    match serde_json::from_str(&line).ok()? {
        ToServer::Hello { token: said, rank, member } if said == token => {
            reader.get_ref().set_read_timeout(None).ok()?;
            Some((rank, reader, member))
        }
        _ => None,
    }
}

fn write(stream: &mut TcpStream, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Passes messages to `each` until the connection ends or `each` returns `false`.
fn read<T: DeserializeOwned>(reader: BufReader<TcpStream>, mut each: impl FnMut(T) -> bool) {
    for line in reader.lines() {
        let Ok(line) = line else { return };
        let Ok(message) = serde_json::from_str(&line) else { continue };
        if !each(message) {
            return;
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Status {
    Alive,
    Failed(u8, String),
    Left,
    Gone,
}

/// Decides on rank 0 how the run ends.
struct Server {
    shared: Arc<Shared>,
    writers: Vec<Option<TcpStream>>,
    members: Vec<Member>,
    status: Vec<Status>,
    ended: bool,
    /// When to choose who shows the failure, if a rank has failed.
    choose: Option<Instant>,
    stuck: Option<Stuck>,
    /// The collective that a rank was waiting for although all had come.
    doubted: Option<u64>,
}

/// A question where all ranks are.
struct Stuck {
    at: u64,
    seconds: u64,
    until: Instant,
    behind: BTreeSet<usize>,
}

impl Server {
    fn new(shared: Arc<Shared>, writers: Vec<Option<TcpStream>>, members: Vec<Member>) -> Self {
        let status = vec![Status::Alive; members.len()];
        Self { shared, writers, members, status, ended: false, choose: None, stuck: None, doubted: None }
    }

    fn run(&mut self, receiver: &Receiver<(usize, ToServer)>) {
        loop {
            let until = self.choose.into_iter().chain(self.stuck.as_ref().map(|s| s.until)).min();
            let time =
                until.map_or(Duration::from_secs(3600), |t| t.saturating_duration_since(Instant::now()));
            match receiver.recv_timeout(time) {
                Ok((rank, message)) => self.receive(rank, message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if self.choose.is_some_and(|when| when <= now) {
                self.choose_speaker();
            }
            if self.stuck.as_ref().is_some_and(|stuck| stuck.until <= now) {
                self.judge();
            }
        }
    }

    fn tell(&mut self, rank: usize, message: ToRank) {
        match &mut self.writers[rank] {
            Some(stream) => drop(write(stream, &message)),
            None => {
                if let Some(answer) = self.shared.apply(message) {
                    self.receive(rank, answer);
                }
            }
        }
    }

    fn ranks(&self, which: impl Fn(&Status) -> bool) -> Vec<usize> {
        (0..self.status.len()).filter(|r| which(&self.status[*r])).collect()
    }

    /// Ends the run on all ranks that are still running; rank 0 shows the message.
    fn end(&mut self, code: u8, message: Option<&str>) {
        self.ended = true;
        self.choose = None;
        // Rank 0 comes last, because it may have to wait for its GPU.
        for rank in self.ranks(|status| *status == Status::Alive).into_iter().rev() {
            let message = message.filter(|_| rank == 0).map(str::to_string);
            self.tell(rank, ToRank::End(code, message));
        }
    }

    fn receive(&mut self, rank: usize, message: ToServer) {
        match message {
            ToServer::Hello { .. } => {}
            ToServer::Signal(signal) => {
                for other in self.ranks(|status| *status == Status::Alive) {
                    if other != rank {
                        self.tell(other, ToRank::Signal(signal));
                    }
                }
            }
            ToServer::Failed { code, message } => {
                self.status[rank] = Status::Failed(code, message);
                if self.ended {
                    self.tell(rank, ToRank::Show(false));
                } else {
                    let when = if rank == 0 { Instant::now() } else { Instant::now() + TOGETHER };
                    self.choose = Some(self.choose.map_or(when, |earlier| earlier.min(when)));
                }
            }
            ToServer::Left => {
                self.status[rank] = Status::Left;
                if rank != 0 {
                    self.tell(rank, ToRank::Bye);
                }
                for other in self.ranks(|status| *status == Status::Alive) {
                    self.tell(other, ToRank::Left(rank));
                }
            }
            ToServer::Stuck { at, seconds } => {
                if self.stuck.is_none() && !self.ended {
                    let alive = self.ranks(|status| *status == Status::Alive);
                    let behind = alive.iter().copied().collect();
                    self.stuck = Some(Stuck { at, seconds, until: Instant::now() + ANSWER, behind });
                    alive.into_iter().for_each(|rank| self.tell(rank, ToRank::Where));
                }
            }
            ToServer::At(number) => {
                if let Some(stuck) = &mut self.stuck
                    && number >= stuck.at
                {
                    stuck.behind.remove(&rank);
                }
            }
            ToServer::Gone => {
                if self.status[rank] == Status::Alive && !self.ended {
                    let message = died(&self.members, rank);
                    self.status[rank] = Status::Gone;
                    self.end(RESTART, Some(&message));
                }
                self.status[rank] = Status::Gone;
            }
        }
        let only_rank_0 = self.status[1..].iter().all(|s| matches!(s, Status::Left | Status::Gone));
        if only_rank_0 && self.status[0] == Status::Left {
            self.tell(0, ToRank::Bye);
        }
    }

    /// Lets the lowest rank that has failed show why, and ends all others.
    fn choose_speaker(&mut self) {
        let failed = self.ranks(|status| matches!(status, Status::Failed(..)));
        let code = failed.first().map_or(1, |rank| match &self.status[*rank] {
            Status::Failed(code, _) => *code,
            _ => 1,
        });
        for (i, rank) in failed.into_iter().enumerate() {
            self.tell(rank, ToRank::Show(i == 0));
        }
        self.end(code, None);
    }

    /// Ends the run because of ranks that have not started a collective, or because all have and it does not end.
    fn judge(&mut self) {
        let Some(Stuck { at, seconds, behind, .. }) = self.stuck.take() else { return };
        if self.ended {
            return;
        }
        let behind: Vec<String> = behind.iter().map(|rank| name(&self.members, *rank)).collect();
        if behind.is_empty() {
            // The last rank may just have come, and the collective be under way.
            if self.doubted.replace(at) == Some(at) {
                self.end(1, Some(&format!("{DIFFERENT}: they have waited {seconds} s")));
            }
            return;
        }
        let verb = if behind.len() == 1 { "hangs" } else { "hang" };
        let who = behind.join(" and ");
        self.end(RESTART, Some(&format!("{who} {verb}: the other ranks have waited {seconds} s")));
    }
}
