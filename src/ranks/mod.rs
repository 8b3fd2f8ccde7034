//! Several processes, called ranks, that make one run together.
//!
//! - [`Ranks`]: the ranks of a call, and what they do together: sums, broadcasts, barriers; a process that was
//!   started alone is the only rank of its run
//! - [`launch`]: what launchers say in environment variables; `link`: deaths, failures and signals of other ranks
//! - `api`: namespace `ranks`
//!
//! `spectral run` connects the ranks of a script. A Rust program does so itself, and passes them on in the context of
//! each call:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use spectral::context::Context;
//! use spectral::ranks::{Launch, Notice, Ranks, TIMEOUT};
//!
//! let ranks = match Launch::from_env()? {
//!     // Whoever starts the ranks again sees the code 75 if one of them has died.
//!     Some(launch) => Ranks::connect(launch, TIMEOUT, Arc::new(|notice| match notice {
//!         Notice::End(code, _) => std::process::exit(code.into()),
//!         Notice::Signal(_) => {}
//!     }))?,
//!     None => Ranks::default(),
//! };
//! let context = ranks.context(Context::default());
//! // spectral::train::fit(&model, &images, &options, &context)?;
//! ranks.leave(TIMEOUT);
//! # Ok::<(), spectral::error::Error>(())
//! ```

pub(crate) mod api;
pub mod launch;
mod link;

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::torch::distributed::{Group, Store, Work};
use crate::torch::nccl::{Communicator, Id, Nccl};
use crate::torch::{DType, Device, Tensor, uninterrupted};

pub use api::space::*;
pub use launch::Launch;
pub use link::{Notice, Notify, RESTART};

use link::{ANSWER, Link, Member};

/// Largest number of bytes of several tensors that are summed as one.
const BUCKET: u64 = 32 << 20;

/// Time that the ranks have to find each other, within which a cluster starts all of them.
const CONNECT: Duration = Duration::from_secs(300);

/// Interval at which a waiting rank looks whether the run has to end.
const LOOK: Duration = Duration::from_millis(200);

/// Time after which a rank that ended its script cannot take part in a collective that others wait for.
const LATE: Duration = Duration::from_secs(5);

/// Time in which the death of a rank is noticed, and rank 0 decides what it means.
const VERDICT: Duration = Duration::from_secs(5);

/// Time after which a rank asks again why a collective does not end.
const AGAIN: Duration = Duration::from_secs(60);

/// What a rank that was interrupted tells the others instead of a message.
const INTERRUPTED: &str = "\n";

/// Time for which a rank waits for one that does not come to a collective, by default.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// The ranks that make a run together; clones share the connection.
///
/// Every rank calls the same collectives in the same order. A collective fails as interrupted if the run has to end:
/// another rank died, failed or hangs.
#[derive(Clone, Default)]
pub struct Ranks(Option<Arc<Inner>>);

struct Inner {
    launch: Launch,
    timeout: Duration,
    group: Group,
    link: Link,
    /// Rank 0 may serve it, so it lives as long as the ranks.
    store: Store,
    /// Connection of the ranks' GPUs, made when a tensor on one is first exchanged.
    gpus: Arc<OnceLock<Gpus>>,
}

/// How tensors on GPUs are exchanged.
enum Gpus {
    /// By NCCL.
    Connected(Communicator),
    /// Through main memory, since the GPUs cannot be connected.
    Copied,
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl Ranks {
    /// Connects all ranks of a launch. `notify` receives what other ranks demand, and `timeout` is the time for
    /// which a rank waits for one that does not come to a collective.
    pub fn connect(launch: Launch, timeout: Duration, notify: Notify) -> Result<Self> {
        crate::torch::start();
        let Launch { rank, size, .. } = launch;
        let place = format!("{}:{}", launch.address, launch.port);
        let serves = rank == 0 && !launch.served;
        let store = Store::open(&launch.address, launch.port, serves, &launch.prefix, CONNECT)
            .map_err(|e| unreachable(&e, &launch))?;
        // A rank that has to end must not wait for a GPU that waits for another rank.
        let gpus = Arc::new(OnceLock::new());
        let connected = Arc::clone(&gpus);
        let notify: Notify = Arc::new(move |notice| {
            let gpus = connected.get().filter(|_| matches!(notice, Notice::End(..)));
            aborting(&*notify, notice, gpus);
        });
        let member = Member { host: host(), process: std::process::id() };
        let link = if rank == 0 {
            let listener = listen(&launch)?;
            let port = listener.local_addr().map(|a| a.port()).unwrap_or_default();
            let token = format!("{:016x}", rand_u64());
            store.set("link", &format!("{port} {token}"))?;
            Link::serve(&listener, &token, member, size, CONNECT, notify)?
        } else {
            let text = store.get("link", CONNECT).map_err(|e| unreachable(&e, &launch))?;
            let parsed =
                text.split_once(' ').and_then(|(port, token)| Some((port.parse::<u16>().ok()?, token)));
            let Some((port, token)) = parsed else {
                return Err(Error::argument(format!(
                    "the store at {place} is not that of this run: it holds {text:?}"
                )));
            };
            let stream = TcpStream::connect((launch.address.as_str(), port)).map_err(|e| {
                Error::argument(format!("rank 0 cannot be reached at {}:{port}: {e}", launch.address))
                    .hint("the ranks connect by TCP ports that the system picks, which a firewall must allow")
            })?;
            Link::join(stream, token, rank, member, CONNECT, notify)?
        };
        let interface = std::env::var("GLOO_SOCKET_IFNAME").unwrap_or_default();
        let address = address(&launch, &store, &link)?;
        // Gloo's own limit only matters if ours fails.
        let group = Group::open(&store, (rank, size), &address, &interface, timeout + CONNECT)
            .map_err(|e| unconnected(&e, &launch, &link))?;
        Ok(Self(Some(Arc::new(Inner { launch, timeout, group, link, store, gpus }))))
    }

    /// Returns the ranks of a call.
    pub fn of(context: &Context) -> Self {
        context.ranks.as_ref().and_then(|ranks| ranks.downcast_ref::<Self>()).cloned().unwrap_or_default()
    }

    /// Returns the context of calls that these ranks make together.
    pub fn context(&self, context: Context) -> Context {
        Context { ranks: self.0.as_ref().map(|_| Arc::new(self.clone()) as _), ..context }
    }

    /// Returns the number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |inner| inner.launch.rank)
    }

    /// Returns the number of ranks.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |inner| inner.launch.size)
    }

    /// Returns whether this is the rank that writes files and prints.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Returns whether there are several ranks.
    pub fn are_several(&self) -> bool {
        self.0.is_some()
    }

    /// Returns a name of a rank for messages: `rank 1 on node7 (process 4711)`.
    pub fn name(&self, rank: usize) -> String {
        self.0.as_ref().map_or_else(|| format!("rank {rank}"), |inner| inner.link.name(rank))
    }

    /// Returns the first image of this rank and the number of its images, if `count` images are divided over the
    /// ranks: equal parts in order, with one more each on the first ranks if they do not divide evenly.
    pub fn share(&self, count: usize) -> (usize, usize) {
        share(count, self.rank(), self.size())
    }

    /// Sums tensors over all ranks in place; they may have any shapes and dtypes, equal on all ranks.
    ///
    /// Sums of floats are those of the ranks in order, ((x0 + x1) + x2) .., whatever the tensor's size; floats of 16
    /// bits are summed in float32 and rounded.
    pub fn sum(&self, tensors: &[Tensor]) -> Result<()> {
        let Some(inner) = &self.0 else { return Ok(()) };
        uninterrupted(|| buckets(tensors).into_iter().try_for_each(|bucket| inner.sum(bucket)))
    }

    /// Overwrites a tensor with that of rank `root`.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<()> {
        let Some(inner) = &self.0 else { return Ok(()) };
        uninterrupted(|| {
            if let Some(gpus) = inner.gpus(tensor)? {
                return inner.queued(tensor, |x| gpus.broadcast(x, root), gpus);
            }
            inner.on_cpu(tensor, |x| inner.finish(|| inner.group.broadcast(x, root)))
        })
    }

    /// Returns the tensors of all ranks in order, one after the other along the first dimension. Only that may
    /// differ between ranks.
    pub fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        match &self.0 {
            None => Ok(tensor.clone()),
            Some(inner) => uninterrupted(|| inner.gather(tensor)),
        }
    }

    /// Returns the text of rank 0.
    pub fn broadcast_text(&self, text: &str) -> Result<String> {
        let mut all = self.gather_texts(if self.is_first() { text } else { "" })?;
        Ok(all.swap_remove(0))
    }

    /// Returns the texts of all ranks, in order.
    pub fn gather_texts(&self, text: &str) -> Result<Vec<String>> {
        if !self.are_several() {
            return Ok(vec![text.to_string()]);
        }
        let bytes = text.as_bytes();
        uninterrupted(|| {
            let lengths = self.gather(&Tensor::from_i64(&[bytes.len() as i64], &[1])?)?.to_i64()?;
            let all = self.gather(&Tensor::from_u8(bytes, &[bytes.len() as i64])?)?.to_bytes()?;
            let mut start = 0;
            let part = |length: &i64| {
                let end = start + *length as usize;
                let text = String::from_utf8_lossy(all.get(start..end).unwrap_or_default()).into_owned();
                start = end;
                text
            };
            Ok(lengths.iter().map(part).collect())
        })
    }

    /// Waits until all ranks have called it.
    pub fn barrier(&self) -> Result<()> {
        self.sum(&[Tensor::from_i64(&[0], &[1])?])
    }

    /// Returns whether any rank passed `true`.
    pub fn any(&self, flag: bool) -> Result<bool> {
        if !self.are_several() {
            return Ok(flag);
        }
        let sum = uninterrupted(|| Tensor::from_i64(&[i64::from(flag)], &[1]))?;
        self.sum(std::slice::from_ref(&sum))?;
        Ok(sum.item_i64()? > 0)
    }

    /// Fails on all ranks if `result` is an error on one of them; ranks without an error of their own name the one
    /// that failed.
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        if !self.are_several() {
            return result;
        }
        if !self.any(result.is_err())? {
            return result;
        }
        let mine = match &result {
            Ok(_) => String::new(),
            Err(error) if error.kind() == Kind::Interrupted => INTERRUPTED.to_string(),
            Err(error) => format!("{}\n{}", error.message(), error.hint_text().unwrap_or_default()),
        };
        let all = self.gather_texts(&mine)?;
        let failed = all.iter().enumerate().find(|(_, text)| !text.is_empty());
        match (result, failed) {
            (Ok(_), Some((_, text))) if text == INTERRUPTED => Err(Error::interrupted()),
            (Ok(_), Some((rank, text))) => {
                let (message, hint) = text.split_once('\n').unwrap_or((text, ""));
                let error = Error::argument(format!("{}: {message}", self.name(rank)));
                Err(if hint.is_empty() { error } else { error.hint(hint) })
            }
            (result, _) => result,
        }
    }

    /// Returns an error that names the first difference unless all ranks pass the same facts, each a name and a
    /// value.
    pub fn same(&self, facts: &[(impl AsRef<str>, String)]) -> Result<()> {
        if !self.are_several() {
            return Ok(());
        }
        let facts: Vec<(&str, &String)> = facts.iter().map(|(name, value)| (name.as_ref(), value)).collect();
        let mine = serde_json::to_string(&facts).map_err(|e| Error::internal(e.to_string()))?;
        let all = self.gather_texts(&mine)?;
        let read = |text: &String| serde_json::from_str::<Vec<(String, String)>>(text).unwrap_or_default();
        let first = read(&all[0]);
        for (rank, text) in all.iter().enumerate().filter(|(_, text)| **text != all[0]) {
            let other = read(text);
            let differing = first.iter().find(|fact| !other.contains(fact));
            let differing = differing.or(other.iter().find(|fact| !first.contains(fact)));
            let Some((name, _)) = differing else { continue };
            let of = |facts: &[(String, String)]| {
                facts.iter().find(|(n, _)| n == name).map_or("missing", |(_, value)| value).to_string()
            };
            return Err(Error::argument(format!(
                "the ranks do not make the same run: {name} is {} on {} and {} on {}",
                of(&first),
                self.name(0),
                of(&other),
                self.name(rank),
            ))
            .hint("start all ranks with the same script, arguments and files"));
        }
        Ok(())
    }

    /// Tells all ranks of a signal that arrived here.
    pub fn signal(&self, signal: i32) {
        if let Some(inner) = &self.0 {
            inner.link.signal(signal);
        }
    }

    /// Tells the others that this rank fails, and returns whether it should show why.
    pub fn fail(&self, code: u8, message: &str) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.link.fail(code, message))
    }

    /// Tells the others that this rank has ended its script; rank 0 waits up to `time` until all have.
    pub fn leave(&self, time: Duration) {
        if let Some(inner) = &self.0 {
            inner.link.leave(time);
        }
    }
}

/// Passes on a notice, then ends what waits on connected GPUs. An abort can itself wait for NCCL, and whoever receives the
/// notice ends the program after a time.
fn aborting(notify: &dyn Fn(Notice), notice: Notice, gpus: Option<&Gpus>) {
    notify(notice);
    if let Some(Gpus::Connected(gpus)) = gpus {
        gpus.abort();
    }
}

/// Splits tensors into runs of one dtype and device that together hold at most [`BUCKET`] bytes, or one tensor.
fn buckets(tensors: &[Tensor]) -> Vec<&[Tensor]> {
    let (mut all, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, tensor) in tensors.iter().enumerate() {
        let first = &tensors[start];
        let other = (tensor.dtype(), tensor.device()) != (first.dtype(), first.device());
        if i > start && (other || bytes + tensor.bytes() > BUCKET) {
            all.push(&tensors[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes += tensor.bytes();
    }
    all.extend((start < tensors.len()).then_some(&tensors[start..]));
    all
}

/// Returns the first position and the number of a rank's part of `count`.
pub fn share(count: usize, rank: usize, size: usize) -> (usize, usize) {
    let (each, more) = (count / size, count % size);
    (rank * each + rank.min(more), each + usize::from(rank < more))
}

impl Inner {
    /// Runs a collective to its end.
    fn finish(&self, start: impl FnOnce() -> Result<Work>) -> Result<()> {
        let (number, began) = (self.link.start(), Instant::now());
        let work = start().map_err(|e| self.explain(e))?;
        // When to ask why the others do not come.
        let mut ask = self.timeout;
        while !work.wait(LOOK).map_err(|e| self.explain(e))? {
            if self.link.has_ended() {
                return Err(Error::interrupted());
            }
            if let Some(rank) = self.link.left(LATE) {
                return Err(self.left(rank));
            }
            if self.link.is_hurried() && began.elapsed() >= LATE {
                return Err(Error::interrupted());
            }
            if began.elapsed() >= ask {
                self.link.stuck(number, began.elapsed());
                ask = began.elapsed() + self.timeout.min(AGAIN).max(ANSWER * 2);
            }
        }
        Ok(())
    }

    /// Returns the reason for a failed collective. If the connection to another rank broke, that rank has died, which
    /// rank 0 tells all, or ended its script.
    fn explain(&self, error: Error) -> Error {
        self.link.wait_for_end(VERDICT);
        match self.link.left(Duration::ZERO) {
            _ if self.link.has_ended() => Error::interrupted(),
            Some(rank) => self.left(rank),
            None => Error::new(Kind::Torch, format!("the ranks lost each other: {}", error.message())),
        }
    }

    /// Returns the error of a collective for which a rank is missing that ended its script.
    fn left(&self, rank: usize) -> Error {
        if self.link.is_signaled() {
            return Error::interrupted();
        }
        let [gone, own] = [rank, self.launch.rank].map(|rank| self.link.name(rank));
        Error::argument(format!("{gone} has ended its script, while {own} waits for it")).hint(
            "every rank calls the same functions of `ranks`, `train::fit` and `flow::sample` in the same order",
        )
    }

    /// Returns the connection of the GPUs if the tensor is on one, and connects them first if needed. GPUs that
    /// cannot be connected, such as one that two ranks share, exchange tensors through main memory.
    fn gpus(&self, tensor: &Tensor) -> Result<Option<&Communicator>> {
        let device = tensor.device();
        if !device.is_cuda() {
            return Ok(None);
        }
        if self.gpus.get().is_none() {
            let _ = self.gpus.set(self.connect_gpus(device)?);
        }
        match self.gpus.get() {
            Some(Gpus::Connected(gpus)) => Ok(Some(gpus)),
            _ => Ok(None),
        }
    }

    fn connect_gpus(&self, device: Device) -> Result<Gpus> {
        let Launch { rank, size, .. } = self.launch;
        let nccl = Nccl::open().map(Arc::new);
        // Every rank takes the same way.
        if self.count(nccl.is_ok())? < size {
            return Ok(Gpus::Copied);
        }
        let nccl = nccl?;
        if rank == 0 {
            self.store.set("nccl", &nccl.id()?.text())?;
        }
        let id = Id::parse(&self.store.get("nccl", CONNECT)?)?;
        let joined = Communicator::join(nccl, id, (rank, size), device);
        if self.count(joined.is_ok())? < size {
            return Ok(Gpus::Copied);
        }
        joined.map(Gpus::Connected)
    }

    /// Returns the number of ranks that pass `true`.
    fn count(&self, flag: bool) -> Result<usize> {
        let sum = Tensor::from_i64(&[i64::from(flag)], &[1])?;
        self.finish(|| self.group.sum(&sum))?;
        Ok(sum.item_i64()? as usize)
    }

    /// Queues a collective of a tensor on a GPU, and copies the result back if the tensor is not contiguous.
    fn queued(
        &self,
        tensor: &Tensor,
        start: impl FnOnce(&Tensor) -> Result<()>,
        gpus: &Communicator,
    ) -> Result<()> {
        let plain = tensor.detach()?;
        let carried = plain.contiguous()?;
        start(&carried).and_then(|()| gpus.check()).map_err(|e| self.explain(e))?;
        if carried.shares_memory(&plain) { Ok(()) } else { plain.copy_(&carried) }
    }

    /// Calls `run` with a contiguous tensor on the CPU, and copies it back if it is another one.
    fn on_cpu(&self, tensor: &Tensor, run: impl FnOnce(&Tensor) -> Result<()>) -> Result<()> {
        let plain = tensor.detach()?;
        let own = plain.to_device(Device::Cpu)?.contiguous()?;
        let carried = match own.dtype() {
            DType::Bool => own.to_dtype(DType::UInt8)?,
            _ => own,
        };
        run(&carried)?;
        if carried.shares_memory(&plain) {
            return Ok(());
        }
        plain.copy_(&carried)
    }

    /// Sums tensors of one dtype and device, joined, so that many small ones take one collective.
    fn sum(&self, tensors: &[Tensor]) -> Result<()> {
        if let [tensor] = tensors {
            return self.sum_one(tensor);
        }
        let flat: Vec<Tensor> = tensors.iter().map(|t| t.detach()?.reshape(&[-1])).collect::<Result<_>>()?;
        let joined = Tensor::cat(&flat, 0)?;
        self.sum_one(&joined)?;
        let mut start = 0;
        tensors.iter().try_for_each(|tensor| {
            let count = tensor.count() as i64;
            let part = joined.narrow(0, start, count)?.reshape(&tensor.shape())?;
            start += count;
            tensor.detach()?.copy_(&part)
        })
    }

    fn sum_one(&self, tensor: &Tensor) -> Result<()> {
        if let Some(gpus) = self.gpus(tensor)? {
            return self.queued(tensor, |x| gpus.sum(x), gpus);
        }
        self.on_cpu(tensor, |x| match x.dtype() {
            DType::BFloat16 | DType::Float16 => {
                let wide = x.to_dtype(DType::Float32)?;
                self.sum_on_cpu(&wide)?;
                x.copy_(&wide)
            }
            _ => self.sum_on_cpu(x),
        })
    }

    /// Sums in the order of the ranks: each rank sums one part of the tensor, for which it receives the others'
    /// parts, and the sums are gathered. That moves as many bytes as Gloo's sum, whose order depends on the place in
    /// the tensor. Of two ranks the order does not matter.
    fn sum_on_cpu(&self, x: &Tensor) -> Result<()> {
        let (size, count) = (self.launch.size as i64, x.count() as i64);
        if count == 0 {
            return Ok(());
        }
        if size == 2 || !x.dtype().is_float() {
            return self.finish(|| self.group.sum(x));
        }
        let part = (count + size - 1) / size;
        let flat = x.reshape(&[-1])?;
        let rest = Tensor::zeros(&[part * size - count], x.dtype(), Device::Cpu)?;
        let sent = Tensor::cat(&[flat.clone(), rest], 0)?;
        let received = Tensor::zeros(&[part * size], x.dtype(), Device::Cpu)?;
        self.finish(|| self.group.exchange(&received, &sent))?;
        let parts = received.reshape(&[size, part])?;
        let mut sum = parts.select(0, 0)?;
        for rank in 1..size {
            sum = sum.add(&parts.select(0, rank)?)?;
        }
        self.finish(|| self.group.gather(&sent, &sum))?;
        // A view, since `x` is contiguous.
        flat.copy_(&sent.narrow(0, 0, count)?)
    }

    /// Gathers rows whose number may differ: all ranks send as many as the largest.
    fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        let size = self.launch.size as i64;
        let shape = tensor.shape();
        let rows = shape.first().copied().unwrap_or(1);
        let counts = Tensor::zeros(&[size], DType::Int64, Device::Cpu)?;
        let mine = Tensor::from_i64(&[rows], &[1])?;
        self.finish(|| self.group.gather(&counts, &mine))?;
        let counts = counts.to_i64()?;
        let most = counts.iter().copied().max().unwrap_or(0);
        let row: Vec<i64> = shape.iter().skip(1).copied().collect();
        let width = row.iter().product::<i64>();
        let dtype = tensor.dtype();
        let (carried, device) = (if dtype == DType::Bool { DType::UInt8 } else { dtype }, tensor.device());
        // Gloo moves bytes, of which every element has a whole number.
        let bytes = carried.size() as i64;
        let own = tensor.detach()?.to_device(Device::Cpu)?.to_dtype(carried)?.contiguous()?;
        let own = Tensor::from_u8(&own.to_bytes()?, &[rows * width * bytes])?;
        let rest = Tensor::zeros(&[(most - rows) * width * bytes], DType::UInt8, Device::Cpu)?;
        let sent = Tensor::cat(&[own, rest], 0)?;
        let all = Tensor::zeros(&[size * most * width * bytes], DType::UInt8, Device::Cpu)?;
        if most * width > 0 {
            self.finish(|| self.group.gather(&all, &sent))?;
        }
        let all = all.to_bytes()?;
        let (each, length) = ((most * width * bytes) as usize, (width * bytes) as usize);
        let mut kept = Vec::with_capacity(all.len());
        for (rank, count) in counts.iter().enumerate() {
            kept.extend_from_slice(&all[rank * each..rank * each + *count as usize * length]);
        }
        let joined: Vec<i64> = std::iter::once(counts.iter().sum()).chain(row).collect();
        Tensor::from_bytes(&kept, &joined, carried)?.to_dtype(dtype)?.to_device(device)
    }
}

fn unreachable(error: &Error, launch: &Launch) -> Error {
    let Launch { address, port, launcher, .. } = launch;
    Error::argument(format!(
        "rank {} cannot reach the store of rank 0 at {address}:{port}, which {launcher} announced: {}",
        launch.rank,
        error.message()
    ))
    .hint("check that all ranks were started and that this name and port can be reached from all machines")
}

/// Returns the error of a rank whose connection to another one was closed while it was made, most likely because that
/// rank has failed, which rank 0 then tells all.
fn unconnected(error: &Error, launch: &Launch, link: &Link) -> Error {
    link.wait_for_end(VERDICT);
    // Gloo's message begins with places in its own source: `[..] Connection closed by peer`.
    let message = error.message();
    let reason = message.rsplit("] ").next().unwrap_or_default().trim();
    Error::argument(format!("rank {} cannot be connected with all others: {reason}", launch.rank))
        .detail(Some(&message))
        .hint(
            "another rank may have ended; the ranks connect by TCP ports that the system picks, which a firewall must \
             allow",
        )
}

/// Returns a number that two runs do not share.
fn rand_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Returns the name of this machine.
fn host() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the call writes at most the given number of bytes.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|b| *b == 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&name[..end]).into_owned();
    if failed != 0 || text.is_empty() { "unknown".to_string() } else { text }
}

/// Opens the port at which rank 0 hears the others: of this machine alone if all ranks are here.
fn listen(launch: &Launch) -> Result<TcpListener> {
    let here = launch.is_local() && route(launch).is_some_and(|address| address.is_loopback());
    let addresses = if here { &["127.0.0.1:0", "[::1]:0"] } else { &["[::]:0", "0.0.0.0:0"] };
    TcpListener::bind(
        &addresses.iter().filter_map(|a| a.parse().ok()).collect::<Vec<std::net::SocketAddr>>()[..],
    )
    .map_err(|e| Error::argument(format!("no port to hear the other ranks at: {e}")))
}

/// Returns the address of this machine from which the machine of rank 0 is reached; sends nothing.
fn route(launch: &Launch) -> Option<std::net::IpAddr> {
    (launch.address.as_str(), launch.port).to_socket_addrs().ok()?.find_map(|to| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// Returns the address of this machine at which the other ranks reach it.
///
/// The machine of rank 0 may know its own name as a loopback address, which the other machines do not reach; one of
/// them then tells the address at which they do.
fn address(launch: &Launch, store: &Store, link: &Link) -> Result<String> {
    let own = route(launch);
    let members = link.members();
    let other = members.iter().position(|member| member.host != members[0].host);
    let loopback = own.is_none_or(|address| address.is_loopback());
    match other {
        Some(rank) if rank == launch.rank => {
            let seen =
                (launch.address.as_str(), launch.port).to_socket_addrs().ok().and_then(|mut a| a.next());
            store.set("address", &seen.map(|to| to.ip().to_string()).unwrap_or_default())?;
        }
        Some(_) if loopback => return store.get("address", CONNECT),
        _ => {}
    }
    Ok(own.map_or_else(|| "127.0.0.1".to_string(), |address| address.to_string()))
}

#[cfg(test)]
pub(crate) mod tests;
