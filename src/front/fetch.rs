//! `spectral data fetch NAME`: downloads a public data set once, verifies it, and resumes interrupted downloads.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sha2::{Digest, Sha256};

use super::{progress, run, terminal};
use crate::context::{Interrupt, Progress};
use crate::error::{Error, Kind, Result};
use crate::files;

/// A file that can be downloaded.
struct Source {
    name: &'static str,
    url: &'static str,
    file: &'static str,
    /// Size in bytes.
    size: u64,
    sha256: &'static str,
    /// Script code that opens it.
    opens: &'static str,
}

const KNOWN: [Source; 2] = [
    Source {
        name: "cifar10",
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        file: "cifar-10-binary.tar.gz",
        size: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        opens: "data::cifar10",
    },
    Source {
        name: "cifar100",
        url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        file: "cifar-100-binary.tar.gz",
        size: 168_513_733,
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        opens: "data::cifar100",
    },
];

/// Number of attempts without receiving a byte before a download fails.
const TRIES: usize = 3;
/// Time without data after which a server is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// Options of `spectral data fetch`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Name of the data set.
    #[arg(value_parser = ["cifar10", "cifar100"])]
    name: String,
    /// Target folder.
    #[arg(long, default_value = "data", value_name = "FOLDER")]
    to: PathBuf,
    /// Another address of the same file; its content is verified as well.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

/// Downloads a data set and returns the exit code.
pub fn fetch(options: &Options) -> u8 {
    let Some(source) = KNOWN.iter().find(|source| source.name == options.name) else {
        return terminal::fail(Error::usage(format!("unknown data set \"{}\"", options.name)));
    };
    let interrupt = Interrupt::default();
    run::stop_on_ctrl_c(interrupt.clone(), Duration::ZERO, |presses| {
        if presses > 1 {
            super::end(130)
        }
    });
    let url = options.from.as_deref().unwrap_or(source.url);
    let target = options.to.join(source.file);
    let wanted = Wanted { url, size: source.size, sha256: source.sha256 };
    match download(&wanted, &target, &*progress::for_stderr(), &interrupt) {
        Ok(Outcome::There) => terminal::out(&format!("{} already exists and is complete", target.display())),
        Ok(Outcome::Fetched) => terminal::out(&format!("{}: sha256 as expected", target.display())),
        Err(error) => return terminal::fail(error),
    }
    terminal::out(&format!("in a script: {}(#{{ path: {:?} }})", source.opens, target.display().to_string()));
    0
}

/// Address, size and hash of a file.
struct Wanted<'a> {
    url: &'a str,
    size: u64,
    sha256: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    There,
    Fetched,
}

/// Downloads to `target`. Received data lies beside it in a file that ends in `.part`; a later call resumes from
/// there.
fn download(
    wanted: &Wanted,
    target: &Path,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Outcome> {
    if !wanted.url.starts_with("http://") && !wanted.url.starts_with("https://") {
        return Err(Error::usage(format!(
            "expected an address that begins with http:// or https://, found {}",
            wanted.url
        ))
        .hint("a file that is on this machine can be copied to the data folder"));
    }
    if target.exists() {
        let found = hash(target, interrupt)?;
        return match found == wanted.sha256 {
            true => Ok(Outcome::There),
            false => Err(Error::file(target, format!("expected sha256 {}, found {found}", wanted.sha256))
                .hint("the file is damaged or a different one: remove it, and fetch again")),
        };
    }
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    files::make_dir(target.parent().unwrap_or(Path::new("")))?;
    let mut bar = progress.start(&format!("{} (kB)", name.display()), wanted.size.div_ceil(1000));
    name.push(".part");
    let part = target.with_file_name(&name);
    name.push(".lock");
    let (_claim, mut failures) = (Claim::of(target.with_file_name(name))?, 0);
    bar.resume(length(&part) / 1000);
    loop {
        let before = length(&part);
        if before >= wanted.size {
            break;
        }
        let came = continued(wanted, &part, before, interrupt, &mut |done| bar.update(done / 1000, ""));
        let why = match came {
            Ok(()) if length(&part) >= wanted.size => break,
            Ok(()) => "the connection ended early".to_string(),
            Err(Stop::Broken(why)) => why,
            Err(Stop::Failed(error)) => return Err(error),
        };
        // Failures only count while no data arrives.
        failures = if length(&part) > before { 0 } else { failures + 1 };
        if failures >= TRIES {
            let kept =
                format!("{} bytes are saved in {}: fetch again to resume", length(&part), part.display());
            return Err(Error::new(Kind::File, format!("{}: {why}", wanted.url)).hint(kept));
        }
    }
    drop(bar);
    let found = hash(&part, interrupt)?;
    if found != wanted.sha256 || length(&part) != wanted.size {
        // Resuming from a wrong file would never succeed.
        files::remove(&part)?;
        return Err(Error::file(wanted.url, format!("expected sha256 {}, found {found}", wanted.sha256))
            .hint("the server sent a different file, or the download was damaged; it was deleted"));
    }
    let done =
        File::open(&part).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&part, target));
    done.map_err(|e| files::failed(target, &e))?;
    Ok(Outcome::Fetched)
}

/// A lock whose file disappears with it, so that one program at a time downloads a file.
struct Claim {
    path: PathBuf,
    _held: files::Lock,
}

impl Claim {
    fn of(path: PathBuf) -> Result<Self> {
        Ok(Self { _held: files::lock(&path)?, path })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A file that stays is locked and removed by the next download.
        let _ = files::remove(&self.path);
    }
}

/// Reason why a download stopped.
enum Stop {
    /// The connection failed; it may be tried again.
    Broken(String),
    /// The disk, the user or a server that does not have the file.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Appends the data from byte `start` on.
fn continued(
    wanted: &Wanted,
    part: &Path,
    start: u64,
    interrupt: &Interrupt,
    report: &mut dyn FnMut(u64),
) -> Result<(), Stop> {
    let broken = |e: &dyn std::fmt::Display| Stop::Broken(e.to_string());
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build();
    let mut request =
        ureq::Agent::new_with_config(config).get(wanted.url).header("Accept-Encoding", "identity");
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let response = request.call().map_err(|e| broken(&e))?;
    let begins = |text: &str| {
        text.strip_prefix("bytes ").and_then(|t| t.split('-').next()?.trim().parse::<u64>().ok())
    };
    let at = match response.status().as_u16() {
        200 => 0,
        206 => {
            let range =
                response.headers().get("content-range").and_then(|v| v.to_str().ok()).and_then(begins);
            range.filter(|at| *at == start).ok_or_else(|| {
                Error::new(
                    Kind::File,
                    format!("{}: the server sent another part than was asked for", wanted.url),
                )
            })?
        }
        status @ (500..=599 | 408 | 429) => return Err(broken(&format!("the server answered {status}"))),
        status => {
            return Err(Error::new(Kind::File, format!("{}: the server answered {status}", wanted.url))
                .hint("the file may have moved: option --from names another address")
                .into());
        }
    };
    let stated = response.headers().get("content-length").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(size) = stated.map(|rest| at + rest).filter(|size| *size < wanted.size) {
        let _ = files::remove(part);
        return Err(Error::new(
            Kind::File,
            format!("{}: expected {} bytes, but the server has {size}", wanted.url, wanted.size),
        )
        .hint("it has a different file: pass another address with --from")
        .into());
    }
    let failed = |e: std::io::Error| files::failed(part, &e);
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(part).map_err(failed)?;
    file.set_len(at).map_err(failed)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at)).map_err(failed)?;
    let mut body = response.into_body().into_reader();
    let (mut done, mut buffer) = (at, vec![0; 1 << 16]);
    loop {
        interrupt.check()?;
        let read = match body.read(&mut buffer) {
            Ok(0) => return Ok(file.sync_all().map_err(failed)?),
            Ok(read) => read,
            Err(e) => return Err(broken(&e)),
        };
        if done + read as u64 > wanted.size {
            files::remove(part)?;
            return Err(Error::new(
                Kind::File,
                format!("{}: expected {} bytes, but the server sends more", wanted.url, wanted.size),
            )
            .hint("it has a different file; the download was deleted: pass another address with --from")
            .into());
        }
        file.write_all(&buffer[..read]).map_err(failed)?;
        done += read as u64;
        report(done);
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

/// Returns the SHA-256 of a file in hexadecimal digits.
fn hash(path: &Path, interrupt: &Interrupt) -> Result<String> {
    let failed = |e: std::io::Error| files::failed(path, &e);
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        interrupt.check()?;
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// How the test server handles one request.
    #[derive(Clone, Copy)]
    enum Act {
        /// Sends the requested part, up to this many bytes, and closes the connection.
        Send(usize),
        /// Sends everything, whatever part is requested.
        Whole,
        Status(u16),
    }

    /// Starts a server on the loopback interface that handles requests one after another, and records their ranges.
    fn server(content: Vec<u8>, acts: &[Act]) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
        let (seen, acts) = (Arc::new(Mutex::new(Vec::new())), acts.to_vec());
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            for act in acts {
                let (mut stream, _) = listener.accept().unwrap();
                let mut range = String::new();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let line = line.unwrap().to_lowercase();
                    match line.strip_prefix("range: bytes=") {
                        Some(asked) => range = asked.to_string(),
                        None if line.is_empty() => break,
                        None => {}
                    }
                }
                let start: usize = range.trim_end_matches('-').parse().unwrap_or(0);
                notes.lock().unwrap().push(range.clone());
                let (all, total) = (content.len() - start, content.len());
                let mut answer = |head: String, body: &[u8]| {
                    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
                };
                match act {
                    Act::Status(code) => answer(
                        format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                        &[],
                    ),
                    Act::Send(most) if !range.is_empty() => answer(
                        format!(
                            "HTTP/1.1 206 Partial Content\r\nContent-Length: {all}\r\n\
                             Content-Range: bytes {start}-{}/{total}\r\nConnection: close\r\n\r\n",
                            total - 1
                        ),
                        &content[start..start.saturating_add(most).min(total)],
                    ),
                    Act::Send(most) => answer(
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nConnection: close\r\n\r\n"),
                        &content[..most.min(total)],
                    ),
                    Act::Whole => answer(
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nConnection: close\r\n\r\n"),
                        &content,
                    ),
                }
            }
        });
        (url, seen)
    }

    fn content() -> Vec<u8> {
        (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn get(url: &str, target: &Path) -> Result<Outcome> {
        let sha256 = sha256(&content());
        let wanted = Wanted { url, size: content().len() as u64, sha256: &sha256 };
        let cx = Context::default();
        download(&wanted, target, &*cx.progress, &cx.interrupt)
    }

    #[test]
    fn a_connection_that_breaks_off_is_continued_where_it_was() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("deep/set.tar.gz");
        let (url, seen) = server(content(), &[Act::Send(100_000), Act::Status(503), Act::Send(usize::MAX)]);
        assert_eq!(get(&url, &target).unwrap(), Outcome::Fetched);
        assert_eq!(*seen.lock().unwrap(), ["", "100000-", "100000-"]);
        assert_eq!(std::fs::read(&target).unwrap(), content());
        assert_eq!(files::list(place.path().join("deep")).unwrap(), ["set.tar.gz"]);
        // No server is asked any more.
        assert_eq!(get("http://127.0.0.1:1/", &target).unwrap(), Outcome::There);
    }

    #[test]
    fn a_later_call_goes_on_also_with_a_server_that_cannot() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("set.tar.gz");
        let (url, _) =
            server(content(), &[Act::Send(50_000), Act::Status(500), Act::Status(500), Act::Status(500)]);
        let error = get(&url, &target).unwrap_err();
        assert!(error.message().contains("the server answered 500"), "{error}");
        assert!(error.hint_text().unwrap().contains("50000 bytes are saved"), "{error}");
        let (url, seen) = server(content(), &[Act::Whole]);
        assert_eq!(get(&url, &target).unwrap(), Outcome::Fetched);
        assert_eq!(*seen.lock().unwrap(), ["50000-"]);
        assert_eq!(std::fs::read(&target).unwrap(), content());
    }

    #[test]
    fn another_content_is_refused_and_not_kept() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("set.tar.gz");
        let mut other = content();
        other[1234] ^= 1;
        let (url, _) = server(other.clone(), &[Act::Whole]);
        let error = get(&url, &target).unwrap_err();
        assert!(error.message().contains(&format!("found {}", sha256(&other))), "{error}");
        assert_eq!(files::list(place.path()).unwrap(), [""; 0]);
        let (url, _) = server([content(), vec![0]].concat(), &[Act::Whole]);
        assert!(get(&url, &target).unwrap_err().message().contains("the server sends more"));
        assert_eq!(files::list(place.path()).unwrap(), [""; 0]);
        let (url, _) = server(content()[..70_000].to_vec(), &[Act::Whole]);
        assert!(get(&url, &target).unwrap_err().message().contains("but the server has 70000"));
        assert_eq!(files::list(place.path()).unwrap(), [""; 0]);
        assert!(get("file:///set.tar.gz", &target).unwrap_err().message().contains("http:// or https://"));
        let held = files::lock(place.path().join("set.tar.gz.part.lock")).unwrap();
        let (url, _) = server(content(), &[Act::Whole]);
        assert!(get(&url, &target).unwrap_err().message().contains("is working in this folder"));
        drop(held);
        std::fs::write(&target, "something else").unwrap();
        let error = get(&url, &target).unwrap_err();
        assert!(error.hint_text().unwrap().contains("remove it"), "{error}");
        assert_eq!(std::fs::read(&target).unwrap(), b"something else");
    }

    #[test]
    fn a_missing_file_is_said_at_once_and_an_interrupt_keeps_what_came() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("set.tar.gz");
        let (url, seen) = server(content(), &[Act::Status(404)]);
        assert!(get(&url, &target).unwrap_err().message().contains("the server answered 404"));
        assert_eq!(seen.lock().unwrap().len(), 1);
        std::fs::write(place.path().join("set.tar.gz.part"), &content()[..70_000]).unwrap();
        let (url, _) = server(content(), &[Act::Send(usize::MAX)]);
        let sha256 = sha256(&content());
        let wanted = Wanted { url: &url, size: content().len() as u64, sha256: &sha256 };
        let cx = Context::default();
        cx.interrupt.raise();
        let error = download(&wanted, &target, &*cx.progress, &cx.interrupt).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert_eq!(length(&place.path().join("set.tar.gz.part")), 70_000);
    }
}
