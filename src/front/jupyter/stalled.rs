//! Disconnection of clients that no longer read.
//!
//! The output socket sends to one client after the other and waits for each. A client that is stopped but not dead
//! would block all others forever. The library cannot drop a single client, so its connection is ended here.

use std::time::Duration;

use jupyter_protocol::ConnectionInfo;

/// Time without progress after which a connection counts as stalled.
#[cfg(target_os = "linux")]
const STILL: Duration = Duration::from_secs(1);

/// Ends the output socket's connections whose bytes do not move, and returns their number.
#[cfg(target_os = "linux")]
pub async fn release(info: &ConnectionInfo) -> usize {
    let before = linux::waiting(info);
    tokio::time::sleep(STILL).await;
    let after = linux::waiting(info);
    let stalled = after.iter().filter(|one| before.contains(one));
    stalled.filter(|(descriptor, _)| linux::end(*descriptor)).count()
}

/// Other systems do not report how many bytes wait to be sent.
#[cfg(not(target_os = "linux"))]
pub async fn release(_: &ConnectionInfo) -> usize {
    tokio::time::sleep(Duration::from_secs(1)).await;
    0
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{Shutdown, TcpStream};
    use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use jupyter_protocol::ConnectionInfo;
    use jupyter_protocol::connection_info::Transport;

    /// Returns a second descriptor of the same socket, if the number is open.
    fn tcp(descriptor: RawFd) -> Option<TcpStream> {
        // SAFETY: the number is only duplicated, which fails if it is not open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        borrowed.try_clone_to_owned().ok().map(TcpStream::from)
    }

    fn listens_at(descriptor: RawFd, info: &ConnectionInfo) -> bool {
        let Some(stream) = tcp(descriptor) else { return false };
        match info.transport {
            Transport::TCP => stream.local_addr().is_ok_and(|a| a.port() == info.iopub_port),
            Transport::IPC => {
                let stream = UnixStream::from(std::os::fd::OwnedFd::from(stream));
                let path = format!("{}-{}", info.ip, info.iopub_port);
                stream.local_addr().is_ok_and(|a| a.as_pathname() == Some(Path::new(&path)))
            }
        }
    }

    /// Returns the descriptors of the output socket's connections, with the number of bytes that each has not sent
    /// yet.
    pub fn waiting(info: &ConnectionInfo) -> Vec<(RawFd, i32)> {
        let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let numbers = open.filter_map(|entry| entry.file_name().to_string_lossy().parse::<RawFd>().ok());
        let unsent = |descriptor: RawFd| {
            let mut bytes = 0;
            // SAFETY: the call writes one integer to the given address.
            let told = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &mut bytes) } == 0;
            (told && bytes > 0).then_some((descriptor, bytes))
        };
        numbers.filter(|n| listens_at(*n, info)).filter_map(unsent).collect()
    }

    /// Ends a connection; the sender gets an error and drops the client.
    pub fn end(descriptor: RawFd) -> bool {
        tcp(descriptor).is_some_and(|stream| {
            debug_assert!(stream.as_raw_fd() != descriptor);
            stream.shutdown(Shutdown::Both).is_ok()
        })
    }
}
