//! Main loop of the Jupyter kernel: sockets on one thread, the engine on another.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use jupyter_protocol::{
    CodeMirrorMode, ConnectionInfo, HelpLink, InterruptReply, JupyterMessage, KernelInfoReply, LanguageInfo,
    ReplyStatus, ShutdownReply,
};
use jupyter_zmq_client::{
    KernelHeartbeatConnection, KernelIoPubXPubConnection, RouterRecvConnection, RouterSendConnection,
    create_kernel_control_connection, create_kernel_heartbeat_connection,
    create_kernel_iopub_xpub_connection, create_kernel_shell_connection, create_kernel_stdin_connection,
};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use zeromq::{SocketRecv, SocketSend};

use super::cell::Cells;
use super::input::Asker;
use super::message::{self, Request};
use super::publish::{Published, Publisher, forward, publisher};
use super::queue::{Job, Queue};
use super::shared::Shared;
use super::{answer, connection, log, parent, progress};
use crate::context::{Context, Invocation, Print, Warn};
use crate::error::{Error, Kind, Result};
use crate::front::terminal;
use crate::script::engine::EngineOptions;
use crate::session::{Options, Session};

/// Time that a cell has to stop when the Jupyter kernel is shut down.
const GRACE: Duration = Duration::from_secs(2);

/// Time that the first request waits for a client that subscribes to outputs.
const LISTENERS: Duration = Duration::from_secs(1);

/// Time that sockets have to send the last messages.
const LINGER: Duration = Duration::from_millis(100);

/// Time after which a client that takes no reply is given up.
const REPLY: Duration = Duration::from_secs(10);

/// Runs a Jupyter kernel until it is shut down; `file` is the connection file. Returns the exit code.
pub fn run(file: &Path) -> u8 {
    match start(file) {
        Ok(()) => 0,
        Err(error) => terminal::fail(error),
    }
}

fn start(file: &Path) -> Result<()> {
    let (info, warning) = connection::read(file)?;
    if let Some(warning) = warning {
        log(&warning);
    }
    let shared = Shared::default();
    let queue = Queue::default();
    let (publisher, published) = publisher(shared.interrupt.clone());
    let (replies, shell_out) = unbounded_channel();
    let (questions, stdin_out) = unbounded_channel();
    let (answered, answers) = std::sync::mpsc::channel();
    let asker = Asker::new(questions, answers, publisher.clone(), shared.interrupt.clone());

    let sockets = Sockets {
        info,
        session: uuid::Uuid::new_v4().to_string(),
        shared: shared.clone(),
        queue: queue.clone(),
        publisher: publisher.clone(),
        replies: replies.clone(),
        answered,
    };
    let (bound, is_bound) = std::sync::mpsc::channel();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("jupyter".to_string())
        .spawn(move || sockets.serve(published, shell_out, stdin_out, &bound, has_ended))
        .map_err(|error| Error::internal(format!("no thread for the sockets: {error}")))?;
    is_bound.recv().map_err(|_| Error::internal("the sockets' thread is gone"))??;

    let stop = shared.clone();
    // Fails only if a handler already exists.
    let _ = ctrlc::set_handler(move || stop.stop());
    parent::watch();
    let session = session(&shared, &publisher, &asker);
    shared.ready(session.engine());
    Cells { session, publisher, shared, queue, replies, asker, number: 0, example: None }.run();
    let _ = ended.send(());
    let _ = thread.join();
    Ok(())
}

/// Creates a session whose output goes to the notebook.
fn session(shared: &Shared, publisher: &Publisher, asker: &Asker) -> Session {
    let (printer, debugger) = (publisher.clone(), publisher.clone());
    let (shower, clearer, asker) = (publisher.clone(), publisher.clone(), asker.clone());
    let noter = publisher.clone();
    let warner = publisher.clone();
    let context = Context {
        interrupt: shared.interrupt.clone(),
        progress: Arc::new(progress::Bars(publisher.clone())),
        invocation: Arc::new(Invocation::default()),
        show: Arc::new(move |display| shower.display(display.into(), None)),
        ask: Arc::new(move |prompt, password| asker.ask(prompt, password)),
        clear: Arc::new(move || clearer.clear()),
        note: Arc::new(move |text: &str| noter.remark(&format!("note: {text}"))),
        warn: Warn::new(Arc::new(move |text: &str| warner.remark(&format!("warning: {text}")))),
        ..Context::default()
    };
    let print = Arc::new(move |text: &str| printer.print(text));
    let debug: Print = Arc::new(move |text: &str| debugger.remark(text));
    let engine = EngineOptions { context, print, debug: Some(debug), ..EngineOptions::default() };
    Session::new(Options { engine, ..Options::default() }).at_prompt()
}

/// State of the sockets' thread.
struct Sockets {
    info: ConnectionInfo,
    session: String,
    shared: Shared,
    queue: Queue,
    publisher: Publisher,
    replies: UnboundedSender<JupyterMessage>,
    answered: Sender<String>,
}

/// The bound sockets.
struct Bound {
    shell: jupyter_zmq_client::KernelShellConnection,
    control: jupyter_zmq_client::KernelControlConnection,
    stdin: jupyter_zmq_client::KernelStdinConnection,
    iopub: KernelIoPubXPubConnection,
    heartbeat: KernelHeartbeatConnection,
}

impl Sockets {
    fn serve(
        self,
        published: Published,
        shell_out: UnboundedReceiver<JupyterMessage>,
        stdin_out: UnboundedReceiver<JupyterMessage>,
        bound: &Sender<Result<()>>,
        ended: tokio::sync::oneshot::Receiver<()>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = bound.send(Err(Error::internal(format!("no runtime for the sockets: {error}"))));
                return;
            }
        };
        runtime.block_on(async {
            let sockets = match self.bind().await {
                Ok(sockets) => sockets,
                Err(error) => {
                    let _ = bound.send(Err(error));
                    return;
                }
            };
            let _ = bound.send(Ok(()));
            let Bound { shell, control, stdin, iopub, heartbeat } = sockets;
            let (shell_send, shell_read) = shell.split();
            let (control_send, control_read) = control.split();
            let (stdin_send, stdin_read) = stdin.split();
            let (info, publisher) = (self.info.clone(), self.publisher.clone());
            // Each of these ends only when the Jupyter kernel does.
            tokio::select! {
                () = forward(iopub, info, published, publisher) => {}
                () = send_all(shell_send, shell_out) => {}
                () = send_all(stdin_send, stdin_out) => {}
                () = beat(heartbeat) => {}
                () = self.listen_stdin(stdin_read) => {}
                () = self.listen_shell(shell_read) => {}
                () = self.listen_control(control_read, control_send, ended) => {}
            }
        });
    }

    async fn bind(&self) -> Result<Bound> {
        let (info, id) = (&self.info, self.session.as_str());
        let port = |what: &'static str, address: String| {
            move |error: jupyter_zmq_client::RuntimeError| {
                Error::new(Kind::File, format!("the {what} socket cannot listen on {address}: {error}"))
                    .hint("another program has the port; start the kernel again, with other ports")
            }
        };
        Ok(Bound {
            heartbeat: create_kernel_heartbeat_connection(info)
                .await
                .map_err(port("heartbeat", info.hb_url()))?,
            iopub: create_kernel_iopub_xpub_connection(info, id)
                .await
                .map_err(port("iopub", info.iopub_url()))?,
            shell: create_kernel_shell_connection(info, id).await.map_err(port("shell", info.shell_url()))?,
            control: create_kernel_control_connection(info, id)
                .await
                .map_err(port("control", info.control_url()))?,
            stdin: create_kernel_stdin_connection(info, id).await.map_err(port("stdin", info.stdin_url()))?,
        })
    }

    async fn listen_shell(&self, mut socket: RouterRecvConnection) {
        let mut first = true;
        loop {
            let request = message::read(&mut socket).await;
            // A client's sockets connect one by one, and some clients wait forever for an output that was sent too
            // early. So the first answer waits until a client subscribes, for a limited time.
            if std::mem::take(&mut first) {
                let _ = timeout(LISTENERS, self.publisher.has_listeners()).await;
            }
            match request {
                Ok(request) if request.kind() == "execute_request" => self.execute(request),
                Ok(request) => {
                    self.publisher.busy(&request);
                    if let Some(reply) = self.answer(&request).await {
                        let _ = self.replies.send(reply);
                    }
                    self.publisher.idle(&request);
                }
                Err(error) => dropped(&error).await,
            }
        }
    }

    fn execute(&self, request: Request) {
        match request.fields() {
            Ok(cell) => self.queue.push(Job { request, cell }),
            Err(error) => {
                self.publisher.busy(&request);
                let _ = self.replies.send(request.refusal("malformed request", &error));
                self.publisher.idle(&request);
            }
        }
    }

    /// Returns the reply to a request other than a cell; `None` if it needs none.
    async fn answer(&self, request: &Request) -> Option<JupyterMessage> {
        let shared = &self.shared;
        let reply = match request.kind() {
            "kernel_info_request" => return Some(request.reply(about())),
            "complete_request" | "inspect_request" | "history_request" => answer::content(request, shared)?,
            "is_complete_request" => {
                while shared.engine().is_none() {
                    sleep(Duration::from_millis(10)).await;
                }
                answer::content(request, shared)?
            }
            // The Jupyter kernel opens no comms and has no targets.
            "comm_info_request" => Ok(json!({ "status": "ok", "comms": {} })),
            "comm_open" => {
                let comm_id = request.fields().map(|m: message::CommOpen| m.comm_id).ok()?;
                let close = jupyter_protocol::CommClose {
                    comm_id: jupyter_protocol::CommId(comm_id),
                    data: Default::default(),
                };
                self.publisher.broadcast(close, &request.parent);
                return None;
            }
            "shutdown_request" => return Some(self.shut_down(request).await),
            "interrupt_request" => return Some(self.interrupt(request)),
            kind if kind.ends_with("_request") => Err(format!("this kernel does not know `{kind}`")),
            _ => return None,
        };
        Some(match reply {
            Ok(content) => request.reply_raw(content),
            Err(error) => request.refusal("malformed request", &error),
        })
    }

    fn interrupt(&self, request: &Request) -> JupyterMessage {
        self.shared.stop();
        request.reply(InterruptReply::new())
    }

    /// Stops the running cell and prevents others from starting.
    async fn shut_down(&self, request: &Request) -> JupyterMessage {
        let restart = request.fields().map(|m: message::Shutdown| m.restart).unwrap_or_default();
        self.queue.close();
        self.shared.stop();
        request.reply(ShutdownReply { restart, status: ReplyStatus::Ok, error: None })
    }

    async fn listen_control(
        &self,
        mut socket: RouterRecvConnection,
        mut out: RouterSendConnection,
        ended: tokio::sync::oneshot::Receiver<()>,
    ) {
        let requests = async {
            loop {
                match message::read(&mut socket).await {
                    Ok(request) => {
                        self.publisher.busy(&request);
                        if let Some(reply) = self.answer(&request).await {
                            send(&mut out, reply).await;
                        }
                        self.publisher.idle(&request);
                        if request.kind() == "shutdown_request" {
                            return;
                        }
                    }
                    Err(error) => dropped(&error).await,
                }
            }
        };
        tokio::pin!(ended);
        tokio::select! {
            () = requests => {
                let _ = timeout(GRACE, &mut ended).await;
            }
            // The shutdown request came on the shell socket.
            _ = &mut ended => {}
        }
        let _ = timeout(GRACE, self.publisher.drained()).await;
        // A message counts as sent once it is in the socket's own queue.
        sleep(LINGER).await;
        // A cell that does not stop must not keep the process alive; files are written completely or not at all.
        std::process::exit(0);
    }

    async fn listen_stdin(&self, mut socket: RouterRecvConnection) {
        loop {
            match message::read(&mut socket).await {
                Ok(request) if request.kind() == "input_reply" => {
                    if let Ok(message::Input { value }) = request.fields() {
                        let _ = self.answered.send(value);
                    }
                }
                Ok(_) => {}
                Err(error) => dropped(&error).await,
            }
        }
    }
}

/// Logs that a message could not be read; the pause keeps a socket that fails at once from using all the time.
async fn dropped(error: &str) {
    log(error);
    sleep(Duration::from_millis(1)).await;
}

/// Sends a reply; a client that takes no replies must not delay those of others.
async fn send(socket: &mut RouterSendConnection, message: JupyterMessage) {
    match timeout(REPLY, socket.send(message)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log(&format!("a client is gone: {error}")),
        Err(_) => log("a client takes no reply"),
    }
}

async fn send_all(mut socket: RouterSendConnection, mut messages: UnboundedReceiver<JupyterMessage>) {
    while let Some(message) = messages.recv().await {
        send(&mut socket, message).await;
    }
}

/// Echoes heartbeats, so that clients know that the process is alive.
async fn beat(mut heartbeat: KernelHeartbeatConnection) {
    loop {
        match heartbeat.socket.recv().await {
            Ok(message) => {
                let _ = heartbeat.socket.send(message).await;
            }
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Returns the description of the Jupyter kernel for clients.
fn about() -> KernelInfoReply {
    let link = |text: &str, url: &str| HelpLink { text: text.to_string(), url: url.to_string() };
    KernelInfoReply {
        status: ReplyStatus::Ok,
        protocol_version: message::PROTOCOL.to_string(),
        implementation: "spectral".to_string(),
        implementation_version: env!("CARGO_PKG_VERSION").to_string(),
        language_info: LanguageInfo {
            name: "rhai".to_string(),
            version: "1.25".to_string(),
            // Editors do not know rhai; Rust's syntax highlighting suits it.
            mimetype: Some("text/x-rustsrc".to_string()),
            file_extension: Some(".rhai".to_string()),
            pygments_lexer: Some("rust".to_string()),
            codemirror_mode: Some(CodeMirrorMode::Simple("rust".to_string())),
            nbconvert_exporter: Some("script".to_string()),
        },
        banner: format!(
            "spectral {}: rhai over libtorch, with DiT and SpectralDiT. Tab completes, ?name explains, :help lists more.",
            env!("CARGO_PKG_VERSION")
        ),
        help_links: vec![link("The rhai book", "https://rhai.rs/book")],
        debugger: false,
        error: None,
    }
}
