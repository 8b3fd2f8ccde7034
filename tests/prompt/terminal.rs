//! Pseudo-terminal that runs the real `spectral-repl`, for tests that type and read the screen.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::capture;

/// Timeout of every wait. It is generous, since a busy machine is not a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// Interval between two looks at the screen.
const GLANCE: Duration = Duration::from_millis(5);

/// Key without a character, as terminals of the xterm family send it.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "all keys of a terminal, also those that no test presses")]
pub enum Key {
    Enter,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Escape,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    CtrlC,
    CtrlD,
    CtrlL,
    /// Ctrl with a letter.
    Ctrl(char),
    /// Alt with a character.
    Alt(char),
    /// Alt-Enter.
    AltEnter,
    /// Function key, from 1.
    F(u8),
}

impl Key {
    fn bytes(self) -> Vec<u8> {
        let text = match self {
            Key::Enter => "\r",
            Key::Tab => "\t",
            Key::BackTab => "\x1b[Z",
            Key::Backspace => "\x7f",
            Key::Delete => "\x1b[3~",
            Key::Escape => "\x1b",
            Key::Up => "\x1b[A",
            Key::Down => "\x1b[B",
            Key::Right => "\x1b[C",
            Key::Left => "\x1b[D",
            Key::Home => "\x1b[H",
            Key::End => "\x1b[F",
            Key::PageUp => "\x1b[5~",
            Key::PageDown => "\x1b[6~",
            Key::CtrlC => "\x03",
            Key::CtrlD => "\x04",
            Key::CtrlL => "\x0c",
            Key::AltEnter => "\x1b\r",
            Key::Ctrl(letter) => return vec![letter.to_ascii_lowercase() as u8 & 0x1f],
            Key::Alt(letter) => return format!("\x1b{letter}").into_bytes(),
            Key::F(n @ 1..=4) => return vec![0x1b, b'O', b'P' + n - 1],
            Key::F(n) => {
                let code = [15, 17, 18, 19, 20, 21, 23, 24][usize::from(n) - 5];
                return format!("\x1b[{code}~").into_bytes();
            }
        };
        text.as_bytes().to_vec()
    }
}

/// Configuration of a terminal before the prompt starts in it.
pub struct Setup {
    rows: u16,
    columns: u16,
    cell: (u16, u16),
    sixel: bool,
    variables: Vec<(String, String)>,
    home: tempfile::TempDir,
}

impl Default for Setup {
    fn default() -> Self {
        let home = tempfile::tempdir().expect("a temporary home");
        Self { rows: 24, columns: 80, cell: (0, 0), sixel: false, variables: Vec::new(), home }
    }
}

impl Setup {
    /// Sets the number of rows and columns.
    pub fn size(mut self, rows: u16, columns: u16) -> Self {
        (self.rows, self.columns) = (rows, columns);
        self
    }

    /// Sets the size of a character in pixels that the terminal reports. By default, it reports none.
    pub fn cell(mut self, width: u16, height: u16) -> Self {
        self.cell = (width, height);
        self
    }

    /// Sets whether the terminal reports support for sixel images in its device attributes.
    pub fn sixel(mut self, sixel: bool) -> Self {
        self.sixel = sixel;
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_string(), value.to_string()));
        self
    }

    /// Writes a file to the home folder, which is also the working directory.
    pub fn file(self, path: &str, content: &str) -> Self {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
        self
    }

    /// Starts `spectral-repl` with the arguments.
    pub fn start(self, arguments: &[&str]) -> Terminal {
        let home = self.home.path();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_spectral-repl"));
        command.args(arguments);
        command.cwd(home);
        command.env_clear();
        for kept in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBTORCH"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        for (name, folder) in [
            ("HOME", ""),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
        ] {
            command.env(name, home.join(folder));
        }
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("OMP_NUM_THREADS", "2")] {
            command.env(name, value);
        }
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        let pair = native_pty_system().openpty(self.pty_size()).expect("a pseudo-terminal");
        let child = pair.slave.spawn_command(command).expect("spectral-repl starts");
        // Only the child may hold this end, so that reading ends when the child does.
        drop(pair.slave);
        let writer = Arc::new(Mutex::new(pair.master.take_writer().expect("a writer")));
        let replies = Replies { sixel: self.sixel, pending: Vec::new() };
        let (rows, columns) = (some(self.rows), some(self.columns));
        let parser = vt100::Parser::new_with_callbacks(rows, columns, 10_000, replies);
        let shown = Arc::new(Mutex::new(Shown { parser, raw: Vec::new(), ended: false }));
        let reader = pair.master.try_clone_reader().expect("a reader");
        let (seen, answers) = (Arc::clone(&shown), Arc::clone(&writer));
        std::thread::spawn(move || follow(reader, &seen, &answers));
        Terminal { files: self.home, cell: self.cell, shown, writer, child, master: pair.master }
    }

    fn pty_size(&self) -> PtySize {
        pty_size(self.rows, self.columns, self.cell)
    }
}

fn pty_size(rows: u16, cols: u16, cell: (u16, u16)) -> PtySize {
    PtySize { rows, cols, pixel_width: cols * cell.0, pixel_height: rows * cell.1 }
}

fn some(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal with rows and columns")
}

type Parser = vt100::Parser<Replies>;

/// Output of the terminal so far.
struct Shown {
    parser: Parser,
    raw: Vec<u8>,
    ended: bool,
}

/// Replies to the queries that programs send to a terminal.
struct Replies {
    sixel: bool,
    pending: Vec<u8>,
}

impl vt100::Callbacks for Replies {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        end: char,
    ) {
        let parameter = parameters.first().and_then(|p| p.first()).copied().unwrap_or(0);
        match (first, end, parameter) {
            (None, 'n', 5) => self.pending.extend(b"\x1b[0n"),
            (None, 'n', 6) => {
                let (row, column) = screen.cursor_position();
                self.pending.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
            }
            (None, 'c', 0) => {
                let answer: &[u8] = if self.sixel { b"\x1b[?62;4;22c" } else { b"\x1b[?62;22c" };
                self.pending.extend(answer);
            }
            _ => {}
        }
    }
}

fn follow(mut reader: Box<dyn Read + Send>, shown: &Mutex<Shown>, writer: &Mutex<Box<dyn Write + Send>>) {
    let mut buffer = [0; 4096];
    // On Linux, reading from a terminal whose program has ended returns an error.
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let replies = {
            let mut shown = shown.lock().expect("the screen");
            shown.raw.extend(&buffer[..count]);
            shown.parser.process(&buffer[..count]);
            std::mem::take(&mut shown.parser.callbacks_mut().pending)
        };
        if !replies.is_empty() {
            let _ = writer.lock().expect("the writer").write_all(&replies);
        }
    }
    shown.lock().expect("the screen").ended = true;
}

/// Terminal with a running prompt. Dropping it ends the prompt.
pub struct Terminal {
    /// Home folder and working directory of the prompt, removed at the end.
    pub files: tempfile::TempDir,
    cell: (u16, u16),
    shown: Arc<Mutex<Shown>>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Starts `spectral-repl` on 24 rows of 80 columns.
    pub fn start(arguments: &[&str]) -> Self {
        Setup::default().start(arguments)
    }

    /// Types text unchanged. A newline is Enter.
    pub fn type_text(&self, text: &str) {
        self.send(text.replace('\n', "\r").as_bytes());
    }

    /// Types a line and Enter.
    pub fn enter(&self, line: &str) {
        self.type_text(line);
        self.key(Key::Enter);
    }

    /// Pastes text, in the brackets that terminals put around it.
    pub fn paste(&self, text: &str) {
        self.send(format!("\x1b[200~{}\x1b[201~", text.replace('\n', "\r")).as_bytes());
    }

    /// Presses a key.
    pub fn key(&self, key: Key) {
        self.send(&key.bytes());
    }

    fn send(&self, bytes: &[u8]) {
        let mut writer = self.writer.lock().expect("the writer");
        writer.write_all(bytes).and_then(|()| writer.flush()).expect("a terminal that takes keys");
    }

    /// Returns the rows of the screen, without trailing spaces and trailing empty rows.
    pub fn screen(&self) -> String {
        let shown = self.shown.lock().expect("the screen");
        rows(shown.parser.screen())
    }

    /// Returns everything that the program has written, escape codes included.
    pub fn raw(&self) -> Vec<u8> {
        self.shown.lock().expect("the screen").raw.clone()
    }

    /// Waits until the screen shows the text.
    pub fn wait_for(&self, text: &str) {
        self.wait(&format!("{text:?}"), |screen| screen.contains(text));
    }

    /// Waits until the prompt is ready for the next line.
    pub fn ready(&self) {
        self.wait("an empty prompt", |screen| screen.lines().last().is_some_and(|line| line.ends_with('>')));
    }

    /// Waits until the function returns true for the screen.
    pub fn wait_until(&self, wanted: impl Fn(&str) -> bool) {
        self.wait("what the test wants", wanted);
    }

    fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            // Read first: if the program has ended, the screen below already shows all its output.
            let ended = self.shown.lock().expect("the screen").ended;
            let screen = self.screen();
            if wanted(&screen) {
                return;
            }
            let state = if ended { "the prompt ended" } else { "it did not come" };
            if ended || start.elapsed() > DEADLINE {
                panic!("waiting for {what}: {state}; the screen is\n{}", framed(&screen));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Resizes the terminal and notifies the program.
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut shown = self.shown.lock().expect("the screen");
        shown.parser.set_size(some(rows), some(columns));
        self.master.resize(pty_size(rows, columns, self.cell)).expect("a terminal of another size");
    }

    /// Waits for the program to end and returns its exit code.
    pub fn exit_code(&mut self) -> u32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child to wait for") {
                return status.exit_code();
            }
            if start.elapsed() > DEADLINE {
                panic!("the prompt does not end; the screen is\n{}", framed(&self.screen()));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Returns the process id of the prompt.
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("a running prompt")
    }

    /// Returns a path in the home folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes the screen as `NAME.svg` to the folder that `SPECTRAL_CAPTURES` names, if it is set.
    pub fn capture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("SPECTRAL_CAPTURES") {
            let shown = self.shown.lock().expect("the screen");
            let path = Path::new(&folder).join(format!("{name}.svg"));
            std::fs::create_dir_all(&folder).expect("a folder for captures");
            std::fs::write(path, capture::svg(shown.parser.screen())).expect("a capture");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The program may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(screen: &vt100::Screen) -> String {
    let (_, columns) = screen.size();
    let text: Vec<String> = screen.rows(0, columns.get()).map(|row| row.trim_end().to_string()).collect();
    text.join("\n").trim_end().to_string()
}

fn framed(screen: &str) -> String {
    let mut out = String::new();
    for line in screen.lines() {
        let _ = writeln!(out, "  | {line}");
    }
    out
}
