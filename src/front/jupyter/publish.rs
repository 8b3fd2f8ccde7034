//! Outputs for all clients: the channel `iopub`.
//!
//! Cells write to a [`Publisher`]. Printed text is collected and sent at intervals, in order with all other
//! outputs. [`forward`] sends everything to the socket; it slows the cell down if clients cannot keep up, and
//! disconnects clients that no longer read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jupyter_protocol::{
    ConnectionInfo, DisplayData, ExecutionCount, IoPubWelcome, JupyterMessage, JupyterMessageContent,
    ReplyError, Status, Stdio, StreamContent, Transient, UpdateDisplayData,
};
use jupyter_zmq_client::{KernelIoPubXPubConnection, SubscriptionEvent};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::media::Bundle;
use super::message::{PROTOCOL, Request, child};
use super::stalled;
use crate::context::Interrupt;

/// Time that printed text waits for more.
const GATHER: Duration = Duration::from_millis(40);

/// Printed bytes sent at once.
const PIECE: usize = 64 << 10;

/// Bytes in transit above which a printing cell has to wait.
const QUEUED: usize = 8 << 20;

/// Printed bytes of one cell that reach the notebook; larger files can hardly be opened.
const PRINTED: usize = 16 << 20;

/// Time after which a client that takes no message is disconnected.
const STALLED: Duration = Duration::from_secs(10);

/// Items sent to [`forward`].
enum Item {
    /// A message, and its approximate size in bytes.
    Send(Box<JupyterMessage>, usize),
    /// Printed text starts to wait.
    Waiting,
    /// Answered once everything before it is sent.
    Flushed(oneshot::Sender<()>),
}

/// Bytes in transit, and a condition variable that signals when they decrease.
#[derive(Default)]
struct Load {
    bytes: AtomicUsize,
    lock: Mutex<()>,
    fewer: Condvar,
}

impl Load {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.fewer.notify_all();
    }

    /// Waits until there is room, or the cell is interrupted.
    fn wait(&self, interrupt: &Interrupt) {
        while self.bytes.load(Ordering::SeqCst) > QUEUED && !interrupt.is_raised() {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = self.fewer.wait_timeout(guard, Duration::from_millis(20));
        }
    }
}

/// The running cell, and its text that is not sent yet.
#[derive(Default)]
struct State {
    parent: Option<JupyterMessage>,
    silent: bool,
    stderr: bool,
    text: String,
    printed: usize,
    hidden: usize,
}

/// Target of printed text and shown values; clones share it.
#[derive(Clone)]
pub struct Publisher {
    state: Arc<Mutex<State>>,
    load: Arc<Load>,
    items: UnboundedSender<Item>,
    interrupt: Interrupt,
    /// Whether a client has subscribed.
    listened: watch::Sender<bool>,
}

/// Receiving end of a [`Publisher`].
pub struct Published(UnboundedReceiver<Item>);

/// Creates a publisher, and the receiver that [`forward`] takes.
pub fn publisher(interrupt: Interrupt) -> (Publisher, Published) {
    let (items, received) = unbounded_channel();
    let listened = watch::Sender::new(false);
    let publisher = Publisher { state: Arc::default(), load: Arc::default(), items, interrupt, listened };
    (publisher, Published(received))
}

impl Publisher {
    /// Returns once a client has subscribed; nobody receives what is published earlier.
    pub async fn has_listeners(&self) {
        // `wait_for` fails only if the publisher is gone, but it is `self`.
        let _ = self.listened.subscribe().wait_for(|listened| *listened).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, content: impl Into<JupyterMessageContent>, parent: &JupyterMessage, bytes: usize) {
        let bytes = bytes + 1024;
        self.load.add(bytes);
        // Sending fails only when the Jupyter kernel ends.
        let _ = self.items.send(Item::Send(Box::new(child(content, parent)), bytes));
    }

    /// Reports that a request is being handled.
    pub fn busy(&self, request: &Request) {
        let _order = self.state();
        self.send(Status::busy(), &request.parent, 0);
    }

    /// Reports that a request other than a cell is answered. A cell that runs meanwhile keeps the Jupyter kernel
    /// busy.
    pub fn idle(&self, request: &Request) {
        let state = self.state();
        self.send(Status::idle(), &request.parent, 0);
        if let Some(parent) = &state.parent {
            self.send(Status::busy(), parent, 0);
        }
    }

    /// Starts the output of a cell.
    pub fn begin(&self, request: &Request, silent: bool) {
        let mut state = self.state();
        *state = State { parent: Some(request.parent.clone()), silent, ..State::default() };
        self.send(Status::busy(), &request.parent, 0);
    }

    /// Ends the output of the cell.
    pub fn end(&self) {
        let mut state = self.state();
        self.flush_text(&mut state);
        if let Some(parent) = state.parent.take() {
            self.send(Status::idle(), &parent, 0);
        }
    }

    /// Prints a text and a line end.
    pub fn print(&self, text: &str) {
        self.write(text, false);
        // Outside the lock, so that others can report that they are busy meanwhile.
        self.load.wait(&self.interrupt);
    }

    /// Prints to standard error: notes that the cell did not print itself, and output of `debug`.
    pub fn remark(&self, text: &str) {
        self.write(text, true);
        self.load.wait(&self.interrupt);
    }

    fn write(&self, text: &str, stderr: bool) {
        let mut state = self.state();
        if state.silent || state.parent.is_none() {
            return;
        }
        if state.printed + text.len() > PRINTED {
            state.hidden += text.len() + 1;
            return;
        }
        state.printed += text.len() + 1;
        if state.stderr != stderr {
            self.flush_text(&mut state);
            state.stderr = stderr;
        }
        if state.text.is_empty() {
            let _ = self.items.send(Item::Waiting);
        }
        state.text.push_str(text);
        state.text.push('\n');
        if state.text.len() >= PIECE {
            self.flush_text(&mut state);
        }
    }

    /// Sends the collected text, before something that must come after it.
    pub fn flush(&self) {
        self.flush_text(&mut self.state());
    }

    fn flush_text(&self, state: &mut State) {
        let text = std::mem::take(&mut state.text);
        let Some(parent) = state.parent.as_ref().filter(|_| !text.is_empty()) else { return };
        let name = if state.stderr { Stdio::Stderr } else { Stdio::Stdout };
        let bytes = text.len();
        self.send(StreamContent { name, text }, parent, bytes);
    }

    /// Returns the number of printed bytes of the cell that were held back, and resets it.
    pub fn take_hidden(&self) -> usize {
        std::mem::take(&mut self.state().hidden)
    }

    /// Sends an output of the running cell, after the text printed so far; silent cells have none.
    pub fn output(&self, content: impl Into<JupyterMessageContent>, bytes: usize) -> bool {
        let mut state = self.state();
        if state.silent {
            return false;
        }
        self.flush_text(&mut state);
        let Some(parent) = &state.parent else { return false };
        self.send(content, parent, bytes);
        true
    }

    /// Shows a value below the cell; [`Publisher::update`] can change it if it has an id.
    pub fn display(&self, bundle: Bundle, id: Option<&str>) -> bool {
        let Bundle { data, metadata } = bundle;
        let bytes = weight(&data);
        let transient = Some(Transient { display_id: id.map(str::to_string) });
        let shown = self.output(DisplayData { data, metadata, transient }, bytes);
        self.load.wait(&self.interrupt);
        shown
    }

    /// Changes the value shown with an id.
    pub fn update(&self, bundle: Bundle, id: &str) {
        let Bundle { data, metadata } = bundle;
        let transient = Transient { display_id: Some(id.to_string()) };
        self.output(UpdateDisplayData { data, metadata, transient }, 0);
    }

    /// Clears the outputs of the cell when the next one arrives.
    pub fn clear(&self) {
        self.output(jupyter_protocol::ClearOutput { wait: true }, 0);
    }

    /// Sends a message that no cell has caused.
    pub fn broadcast(&self, content: impl Into<JupyterMessageContent>, parent: &JupyterMessage) {
        let _order = self.state();
        self.send(content, parent, 0);
    }

    /// Sends the code of the cell to all clients.
    pub fn input(&self, code: &str, number: usize) {
        let execution_count = ExecutionCount::new(number);
        self.output(jupyter_protocol::ExecuteInput { code: code.to_string(), execution_count }, code.len());
    }

    /// Sends the result of the cell.
    pub fn result(&self, bundle: Bundle, number: usize) {
        let Bundle { data, metadata } = bundle;
        let bytes = weight(&data);
        // The protocol's schema requires `transient: {}`.
        let transient = Some(Transient::default());
        let execution_count = ExecutionCount::new(number);
        self.output(jupyter_protocol::ExecuteResult { execution_count, data, metadata, transient }, bytes);
    }

    /// Sends the error of the cell.
    pub fn error(&self, error: &ReplyError) {
        let ReplyError { ename, evalue, traceback } = error.clone();
        self.output(jupyter_protocol::ErrorOutput { ename, evalue, traceback }, 0);
    }

    /// Waits until all items are handed to the system.
    pub async fn drained(&self) {
        self.flush();
        let (done, wait) = oneshot::channel();
        if self.items.send(Item::Flushed(done)).is_ok() {
            let _ = wait.await;
        }
    }
}

fn weight(media: &jupyter_protocol::Media) -> usize {
    use jupyter_protocol::MediaType as M;
    let bytes = |form: &M| match form {
        M::Plain(text) | M::Html(text) | M::Svg(text) | M::Png(text) | M::Markdown(text) => text.len(),
        _ => 0,
    };
    media.content.iter().map(bytes).sum()
}

/// Sends all items to the clients, until the Jupyter kernel ends.
pub async fn forward(
    mut socket: KernelIoPubXPubConnection,
    info: ConnectionInfo,
    published: Published,
    publisher: Publisher,
) {
    let Published(mut items) = published;
    let mut flush_at: Option<Instant> = None;
    loop {
        let gathered = async {
            match flush_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            item = items.recv() => match item {
                Some(Item::Send(message, bytes)) => {
                    send(&mut socket, *message, &info).await;
                    publisher.load.remove(bytes);
                }
                Some(Item::Waiting) => flush_at = flush_at.or(Some(Instant::now() + GATHER)),
                Some(Item::Flushed(done)) => {
                    let _ = done.send(());
                }
                None => return,
            },
            () = gathered => {
                flush_at = None;
                publisher.flush();
            }
            event = socket.recv_subscription() => match event {
                Ok(SubscriptionEvent::Subscribe(topic)) => {
                    let mut welcome = JupyterMessage::new(IoPubWelcome::new(topic), None);
                    welcome.header.version = PROTOCOL.to_string();
                    send(&mut socket, welcome, &info).await;
                    publisher.listened.send_replace(true);
                }
                Ok(SubscriptionEvent::Unsubscribe(_)) => {}
                // A client disconnected, in whatever way.
                Err(_) => sleep(Duration::from_millis(1)).await,
            },
        }
    }
}

/// Sends a message to all clients; disconnects a client that takes nothing for a while, so that the others get
/// theirs.
async fn send(socket: &mut KernelIoPubXPubConnection, message: JupyterMessage, info: &ConnectionInfo) {
    let sending = socket.send(message);
    tokio::pin!(sending);
    loop {
        tokio::select! {
            // Errors of clients that are gone do not concern the others.
            _ = &mut sending => return,
            () = sleep(STALLED) => {}
        }
        if stalled::release(info).await > 0 {
            super::log("a client that took no more output was let go");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request() -> Request {
        let parent = JupyterMessage::new(jupyter_protocol::KernelInfoRequest {}, None);
        Request { parent, content: json!({}) }
    }

    /// Returns types and texts of the sent messages, in order.
    fn sent(published: &mut Published) -> Vec<(String, String)> {
        let mut found = Vec::new();
        while let Ok(item) = published.0.try_recv() {
            if let Item::Send(message, _) = item {
                let text = match &message.content {
                    JupyterMessageContent::StreamContent(stream) => stream.text.clone(),
                    _ => String::new(),
                };
                found.push((message.header.msg_type.clone(), text));
            }
        }
        found
    }

    #[test]
    fn printed_lines_are_gathered_and_stay_in_order() {
        let (publisher, mut published) = publisher(Interrupt::default());
        publisher.begin(&request(), false);
        for n in 0..1000 {
            publisher.print(&n.to_string());
        }
        publisher.remark("note");
        publisher.display(Bundle::text("picture"), None);
        publisher.print("after");
        publisher.end();
        let sent = sent(&mut published);
        let kinds: Vec<&str> = sent.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["status", "stream", "stream", "display_data", "stream", "status"]);
        assert!(sent[1].1.starts_with("0\n1\n") && sent[1].1.ends_with("\n999\n"));
        assert_eq!((sent[2].1.as_str(), sent[4].1.as_str()), ("note\n", "after\n"));
    }

    #[test]
    fn silent_cells_and_nobody_say_nothing() {
        let (publisher, mut published) = publisher(Interrupt::default());
        publisher.print("nobody");
        publisher.begin(&request(), true);
        publisher.print("silent");
        assert!(!publisher.display(Bundle::text("x"), None));
        publisher.end();
        assert_eq!(
            sent(&mut published).iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(),
            ["status", "status"]
        );
    }

    #[test]
    fn a_cell_that_prints_without_end_is_cut_and_counted() {
        let (publisher, mut published) = publisher(Interrupt::default());
        publisher.interrupt.raise();
        publisher.begin(&request(), false);
        let line = "x".repeat(1 << 20);
        for _ in 0..20 {
            publisher.print(&line);
        }
        assert_eq!(publisher.take_hidden(), 5 * ((1 << 20) + 1));
        assert_eq!(publisher.take_hidden(), 0);
        let bytes: usize = sent(&mut published).iter().map(|(_, text)| text.len()).sum();
        assert!(bytes <= PRINTED, "{bytes}");
    }

    #[test]
    fn a_running_cell_keeps_the_kernel_busy() {
        let (publisher, mut published) = publisher(Interrupt::default());
        let (cell, other) = (request(), request());
        publisher.begin(&cell, false);
        publisher.busy(&other);
        publisher.idle(&other);
        let mut last = None;
        while let Ok(Item::Send(message, _)) = published.0.try_recv() {
            last = Some(message);
        }
        let last = last.unwrap();
        assert_eq!(last.parent_header.unwrap().msg_id, cell.parent.header.msg_id);
        let busy = serde_json::to_value(Status::busy()).unwrap();
        assert_eq!(serde_json::to_value(last.content).unwrap(), busy);
    }
}
