//! Claims of files among processes on several machines that share a folder.
//!
//! A lock ends with its process but may not reach other machines, depending on the file system. A claim is a lock and,
//! beside it, a file with the owner's machine and process, which the owner touches again and again. Another machine
//! takes a claim over when that file has not been touched for [`STALE`].

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Lock, failed, parent, try_lock};
use crate::error::Result;

/// Interval at which an owner touches its file.
const BEAT: Duration = Duration::from_secs(10);

/// Age at which an owner's file shows that it is gone.
pub const STALE: Duration = Duration::from_secs(60);

/// A claim, released on drop and when the process ends.
#[derive(Debug)]
pub struct Claim {
    owner: PathBuf,
    text: String,
    beating: Arc<Beating>,
    _lock: Lock,
}

#[derive(Debug, Default)]
struct Beating {
    ended: Mutex<bool>,
    changed: Condvar,
}

/// Claims a path, or returns `None` if another process has it, on this or another machine that shares the folder.
pub fn try_claim(path: impl AsRef<Path>) -> Result<Option<Claim>> {
    try_claim_as(path.as_ref(), &machine(), BEAT, STALE)
}

fn try_claim_as(path: &Path, machine: &str, beat: Duration, stale: Duration) -> Result<Option<Claim>> {
    // Whoever else claims the path on this machine holds the lock.
    let Some(lock) = try_lock(path)? else { return Ok(None) };
    let mut owner = path.as_os_str().to_owned();
    owner.push(".owner");
    let owner = PathBuf::from(owner);
    let text = format!("{machine} {}\n", std::process::id());
    let create = || -> std::io::Result<bool> {
        match fs::OpenOptions::new().write(true).create_new(true).open(&owner) {
            Ok(mut file) => file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map(|()| true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    };
    let claim = || -> std::io::Result<bool> {
        if create()? {
            return Ok(true);
        }
        Ok(is_gone(&owner, machine, stale)? && move_away(&owner, machine, stale)? && create()?)
    };
    if !claim().map_err(|e| failed(&owner, &e))? {
        return Ok(None);
    }
    let beating = Arc::new(Beating::default());
    let (touched, until) = (owner.clone(), Arc::clone(&beating));
    let keep = move || {
        let mut ended = until.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            let waited = until.changed.wait_timeout(ended, beat);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !*ended {
                // A rewrite gets the time of the file server, which is the same for all machines.
                let _ = fs::read(&touched)
                    .and_then(|text| fs::OpenOptions::new().write(true).open(&touched)?.write_all(&text));
            }
        }
    };
    // Without this thread other machines may run the same work, too, which costs time and nothing else.
    let _ = std::thread::Builder::new().name("claim".to_string()).stack_size(64 << 10).spawn(keep);
    Ok(Some(Claim { owner, text, beating, _lock: lock }))
}

/// Returns whether the owner that a file names is gone.
fn is_gone(owner: &Path, machine: &str, stale: Duration) -> std::io::Result<bool> {
    // A process of this machine that held the claim would hold the lock, too.
    let known = fs::read_to_string(owner).unwrap_or_default();
    Ok(known.starts_with(&format!("{machine} ")) || age(owner)?.is_none_or(|age| age >= stale))
}

/// Moves the file of an owner that is gone out of the way, and returns whether its place is free.
fn move_away(owner: &Path, machine: &str, stale: Duration) -> std::io::Result<bool> {
    // Of several that see it, one moves the file.
    let folder = tempfile::Builder::new().prefix(".gone-").tempdir_in(parent(owner))?;
    let aside = folder.path().join("owner");
    match fs::rename(owner, &aside) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(e),
    }
    let gone = is_gone(&aside, machine, stale)?;
    if !gone {
        // Another machine was faster, and this is its file. A link, unlike a move, replaces no third one.
        match fs::hard_link(&aside, owner) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => fs::rename(&aside, owner)?,
            _ => {}
        }
    }
    Ok(gone)
}

impl Drop for Claim {
    fn drop(&mut self) {
        *self.beating.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.beating.changed.notify_all();
        // Another machine may have taken over in the meantime.
        if fs::read_to_string(&self.owner).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.owner);
        }
    }
}

/// Returns how long ago a file was written, by the clock of its file system; `None` if it is gone.
fn age(path: &Path) -> std::io::Result<Option<Duration>> {
    let modified = match fs::File::open(path).and_then(|file| file.metadata()?.modified()) {
        Ok(modified) => modified,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let probe = tempfile::NamedTempFile::with_prefix_in(".now-", parent(path))?;
    let now: SystemTime = probe.as_file().metadata()?.modified()?;
    Ok(Some(now.duration_since(modified).unwrap_or_default()))
}

/// Returns a name of this machine that no other machine or container has, and that a restart changes.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_string()).unwrap_or_default();
    let processes = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    [
        read("/proc/sys/kernel/hostname"),
        read("/proc/sys/kernel/random/boot_id"),
        processes.to_string_lossy().into_owned(),
    ]
    .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(path: &Path, machine: &str) -> Option<Claim> {
        try_claim_as(path, machine, Duration::from_millis(20), Duration::from_millis(400)).unwrap()
    }

    /// Leaves the owner's file of a machine whose locks do not reach this one.
    fn elsewhere(path: &Path) -> PathBuf {
        let owner = path.with_extension("owner");
        fs::create_dir_all(parent(path)).unwrap();
        fs::write(&owner, "other/machine 12\n").unwrap();
        owner
    }

    #[test]
    fn a_path_has_one_owner_which_is_in_the_file_while_it_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claims/a");
        let held = try_claim(&path).unwrap().unwrap();
        let owner = path.with_extension("owner");
        let text = fs::read_to_string(&owner).unwrap();
        assert!(text.ends_with(&format!(" {}\n", std::process::id())), "{text}");
        assert!(try_claim(&path).unwrap().is_none());
        drop(held);
        assert!(!owner.exists());
        assert!(try_claim(&path).unwrap().is_some());
    }

    #[test]
    fn a_claim_of_another_machine_counts_while_it_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let owner = elsewhere(&path);
        assert!(claim(&path, "here").is_none());
        // No age is near a limit of an hour.
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&owner).unwrap().set_modified(old).unwrap();
        let held = claim(&path, "here").unwrap();
        assert!(fs::read_to_string(&owner).unwrap().starts_with("here "));
        // Nothing else is left in the folder.
        assert_eq!(super::super::list(folder.path()).unwrap(), ["a", "a.owner"]);
        // While it lives the owner touches its file.
        fs::File::options().write(true).open(&owner).unwrap().set_modified(old).unwrap();
        let start = std::time::Instant::now();
        while age(&owner).unwrap().unwrap() > Duration::from_secs(60) {
            assert!(start.elapsed() < Duration::from_secs(60), "the file is not touched");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(held);
    }

    #[test]
    fn the_file_of_a_faster_machine_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let owner = elsewhere(&path);
        let stale = Duration::from_secs(3000);
        assert!(!move_away(&owner, "here", stale).unwrap());
        assert_eq!(fs::read_to_string(&owner).unwrap(), "other/machine 12\n");
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&owner).unwrap().set_modified(old).unwrap();
        assert!(move_away(&owner, "here", stale).unwrap() && !owner.exists());
        assert!(super::super::list(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn a_claim_of_a_dead_process_of_this_machine_is_free_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(path.with_extension("owner"), "here 12\n").unwrap();
        assert!(claim(&path, "here").is_some());
    }

    #[test]
    fn whoever_was_taken_over_does_not_release_the_other_ones_claim() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let held = claim(&path, "here").unwrap();
        let owner = elsewhere(&path);
        drop(held);
        assert_eq!(fs::read_to_string(owner).unwrap(), "other/machine 12\n");
    }
}
