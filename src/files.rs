//! File reading and writing with clear error messages; a file is written completely or not at all.

pub(crate) mod api;
pub mod claim;
mod kind;
mod png;

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, nearest};

pub use kind::{Kind, recognize};
pub use png::png;

/// Reads the bytes of a file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).map_err(|e| failed(path, &e))
}

/// Reads the text of a UTF-8 file.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path)?).map_err(|e| match recognize(e.as_bytes()) {
        Some(kind) => {
            Error::file(path, format!("expected UTF-8 text, found {}", kind.describe())).hint(kind.advice())
        }
        None => Error::file(path, format!("not UTF-8 text (byte {})", e.utf8_error().valid_up_to()))
            .hint("convert it where it was written, or by `iconv -f latin1 -t utf-8`"),
    })
}

/// Number of first bytes from which the type of a file is recognized.
const FIRST: u64 = 1 << 16;

/// Returns the type of a file, or `None` if its first bytes identify none.
pub fn kind(path: impl AsRef<Path>) -> Result<Option<Kind>> {
    let (path, mut bytes) = (path.as_ref(), Vec::new());
    let read = fs::File::open(path).and_then(|file| file.take(FIRST).read_to_end(&mut bytes));
    read.map_err(|e| failed(path, &e))?;
    Ok(recognize(&bytes))
}

/// Prefix of the temporary names under which files are written.
const UNFINISHED: &str = ".writing-";

/// Writes a file atomically: writes a temporary file beside it, syncs and renames it, then syncs the folder.
/// Readers see the old content or the new one, even after a power failure. Creates missing folders. A link stays one and
/// its target is replaced; the new file has the permissions of the old one.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    write_with(path, |file| file.write_all(content.as_ref()).map_err(|e| failed(path, &e)))
}

/// Like [`write`](fn@write), for content that is written piece by piece: `fill` writes it, and its error leaves the old file.
pub fn write_with(path: impl AsRef<Path>, fill: impl FnOnce(&mut fs::File) -> Result<()>) -> Result<()> {
    let path = path.as_ref();
    let failed = |e: std::io::Error| failed(path, &e);
    let (links, target) = way(path).map_err(failed)?;
    if let Some(mut open) = opened_already(&links).map_err(failed)? {
        return fill(&mut open);
    }
    let folder = parent(&target);
    make_dir(folder)?;
    if target.is_dir() {
        return Err(Error::file(path, "is a folder, not a file"));
    }
    // Opening the old file shows whether it may be written.
    let old = match fs::OpenOptions::new().write(true).open(&target) {
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        other => Some(other.map_err(failed)?),
    };
    let kept = old.as_ref().map(fs::File::metadata).transpose().map_err(failed)?;
    if let (Some(mut device), Some(metadata)) = (old, &kept)
        && !metadata.is_file()
    {
        return fill(&mut device);
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask of the user still applies.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    fill(file.as_file_mut())?;
    if let Some(old) = kept {
        file.as_file().set_permissions(old.permissions()).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|e| failed(e.error))?;
    sync_dir(folder).map_err(failed)
}

/// Returns the standard output or error that the way of a path such as `/dev/stdout` passes. It is written to where it
/// is, since another program may have redirected it into a file.
#[allow(clippy::disallowed_methods, reason = "it writes to them only where a user names them as a file")]
fn opened_already(way: &[PathBuf]) -> std::io::Result<Option<fs::File>> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let passes = |number: u32| {
            let names = [format!("/dev/fd/{number}"), format!("/proc/self/fd/{number}")];
            way.iter().any(|path| names.iter().any(|name| path == Path::new(name)))
        };
        if passes(1) {
            std::io::stdout().flush()?;
            return Ok(Some(std::io::stdout().as_fd().try_clone_to_owned()?.into()));
        }
        if passes(2) {
            return Ok(Some(std::io::stderr().as_fd().try_clone_to_owned()?.into()));
        }
    }
    Ok(None)
}

/// Largest number of links that are followed, as in Linux.
const LINKS: usize = 40;

/// Returns what a symbolic link points to, or `None` if the path is not one.
fn linked(path: &Path) -> std::io::Result<Option<PathBuf>> {
    match path.is_symlink() {
        true => Ok(Some(parent(path).join(fs::read_link(path)?))),
        false => Ok(None),
    }
}

/// Returns the links from a path on, one after another, and the path behind them, which does not need to exist.
fn way(path: &Path) -> std::io::Result<(Vec<PathBuf>, PathBuf)> {
    let (mut links, mut target) = (Vec::new(), path.to_path_buf());
    while let Some(next) = linked(&target)? {
        links.push(std::mem::replace(&mut target, next));
        if links.len() > LINKS {
            return Err(std::io::Error::other("too many links follow each other"));
        }
    }
    Ok((links, target))
}

/// Extensions that promise a format.
const PROMISES: [&str; 14] = [
    "safetensors",
    "pt",
    "pth",
    "npy",
    "npz",
    "h5",
    "pkl",
    "csv",
    "tsv",
    "json",
    "xlsx",
    "parquet",
    "png",
    "html",
];

/// Returns an error if the extension of a path promises another format than one of `own`, since other programs would
/// refuse the file.
pub fn check_extension(path: &Path, own: &[&str]) -> Result<()> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if own.contains(&ending.as_str()) || !PROMISES.contains(&ending.as_str()) {
        return Ok(());
    }
    let expected = own.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(" or ");
    Err(Error::argument(format!("expected a {expected} file, found \"{}\"", path.display()))
        .hint(format!("name it {}", path.with_extension(own[0]).display())))
}

/// Returns an error unless a file can be written at a path, for long work whose result goes there. Creates missing
/// folders.
pub fn check_writable(path: &Path) -> Result<()> {
    let (_, target) = way(path).map_err(|e| failed(path, &e))?;
    if target.is_dir() {
        return Err(Error::file(path, "is a folder, not a file"));
    }
    if target.exists() {
        return fs::OpenOptions::new().write(true).open(&target).map(|_| ()).map_err(|e| failed(path, &e));
    }
    make_dir(parent(&target))?;
    let made = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent(&target));
    made.map(|_| ()).map_err(|e| failed(path, &e))
}

/// Syncs a folder, so that its names are as durable as the contents of the files.
fn sync_dir(folder: &Path) -> std::io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match cfg!(unix) {
        true => fs::File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// Removes unfinished files that killed writers left in a folder; nobody may be writing there.
pub fn remove_unfinished(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    if !folder.is_dir() {
        return Ok(());
    }
    list(folder)?.iter().filter(|n| n.starts_with(UNFINISHED)).try_for_each(|n| remove(folder.join(n)))
}

/// Returns whether a path leads to an open file or folder, and not to nothing or to another one in its place.
pub fn leads_to(path: impl AsRef<Path>, open: &fs::File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |data: &fs::Metadata| (data.dev(), data.ino());
        matches!((fs::metadata(path), open.metadata()), (Ok(there), Ok(own)) if place(&there) == place(&own))
    }
    #[cfg(not(unix))]
    {
        path.as_ref().exists() && open.metadata().is_ok()
    }
}

/// Creates a hard link in the same folder, replacing an existing file of that name. Copies the file if the file
/// system has no links.
pub fn link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let folder = parent(to);
    let save = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        let temporary = builder.make_in(folder, |path| match fs::hard_link(from, path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                fs::copy(from, path)?;
                fs::File::open(path)?.sync_all()
            }
            other => other,
        })?;
        let path = temporary.into_temp_path();
        // `rename` does nothing if both names belong to the same file; the temporary name is removed afterwards.
        fs::rename(&path, to)?;
        sync_dir(folder)
    };
    save().map_err(|e| failed(to, &e))
}

/// Exclusive lock of a file; released on drop and when the process ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, not read")] fs::File);

/// Takes a lock, or fails at once and names the process that holds it. The file remains after the lock is released, with
/// its content; an empty one notes the process.
pub fn lock(path: impl AsRef<Path>) -> Result<Lock> {
    let path = path.as_ref();
    match claim(path)? {
        Ok(lock) => Ok(lock),
        Err(mut file) => {
            let owner = match owner(&mut file).ok().flatten() {
                Some(process) if process == std::process::id() => "this program".to_string(),
                Some(process) if process > 0 => format!("process {process}"),
                _ => "another program".to_string(),
            };
            Err(Error::file(path, format!("{owner} is working in this folder"))
                .hint("wait for it to end, or choose another folder"))
        }
    }
}

/// Locks a file, or returns `None` if another holder has it.
pub fn try_lock(path: impl AsRef<Path>) -> Result<Option<Lock>> {
    Ok(claim(path.as_ref())?.ok())
}

/// Returns the lock, or the open file if another holder has locked it.
fn claim(path: &Path) -> Result<std::result::Result<Lock, fs::File>> {
    make_dir(parent(path))?;
    let open = || fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let mut file = open().map_err(|e| failed(path, &e))?;
    match file.try_lock() {
        Ok(()) => {
            let mut note = || -> std::io::Result<()> {
                // A file with other content, such as results that a lock protects, keeps it.
                if owner(&mut file)?.is_some() {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{OWNER}{}", std::process::id())?;
                }
                Ok(())
            };
            note().map_err(|e| failed(path, &e))?;
            Ok(Ok(Lock(file)))
        }
        Err(fs::TryLockError::WouldBlock) => Ok(Err(file)),
        Err(fs::TryLockError::Error(error)) => Err(failed(path, &error)),
    }
}

/// What a lock file says before the number of its process. It tells the note of a lock from a file that holds a number.
const OWNER: &str = "locked by process ";

/// Returns the process that a lock file names, 0 if the file is empty, or `None` if it holds something else.
fn owner(file: &mut fs::File) -> std::io::Result<Option<u32>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(64).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(Some(0));
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text.strip_prefix(OWNER).and_then(|rest| rest.strip_suffix('\n')?.parse().ok()))
}

/// Appends one line in a single synced write. First ends a line that an earlier crash left unfinished.
pub fn append_line(path: impl AsRef<Path>, line: &str) -> Result<()> {
    let path = path.as_ref();
    make_dir(parent(path))?;
    let new = !path.exists();
    let save = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                bytes.push(b'\n');
            }
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_data()
    };
    save().map_err(|e| {
        // A full disk has room for the name of a file, but not for the line.
        if new && fs::metadata(path).is_ok_and(|file| file.len() == 0) {
            let _ = fs::remove_file(path);
        }
        failed(path, &e)
    })
}

/// Creates a folder and its parents, if they do not exist.
pub fn make_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    match path.as_os_str().is_empty() {
        true => Ok(()),
        false => fs::create_dir_all(path).map_err(|e| failed(path, &e)),
    }
}

/// Returns the user's cache folder, which `cargo xtask` shares: `SPECTRAL_CACHE`, else `spectral` in
/// `XDG_CACHE_HOME` or `~/.cache`.
pub fn cache() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = variable("SPECTRAL_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("spectral")))
        .or_else(|| etcetera::home_dir().ok().map(|home| home.join(".cache/spectral")));
    match cache {
        Some(cache) if cache.is_absolute() => Ok(cache),
        Some(cache) => Err(Error::file(cache, "expected an absolute path for the cache")
            .hint("set SPECTRAL_CACHE to an absolute path")),
        None => Err(Error::usage(
            "expected a folder for the cache, found none of SPECTRAL_CACHE, XDG_CACHE_HOME, HOME",
        )
        .hint("set SPECTRAL_CACHE to an absolute path")),
    }
}

/// Returns the names in a folder, sorted.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        entries(path)?.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Returns the names in a folder as the system has them, sorted. They need not be text.
pub fn entries(path: impl AsRef<Path>) -> Result<Vec<OsString>> {
    let path = path.as_ref();
    let entries = fs::read_dir(path).map_err(|e| failed(path, &e))?;
    let names: std::io::Result<Vec<OsString>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names = names.map_err(|e| failed(path, &e))?;
    names.sort();
    Ok(names)
}

/// Removes a file, a link or an empty folder; fails if the folder is not empty. What a link points to stays.
pub fn remove(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let folder = path.is_dir() && !path.is_symlink();
    let removed = if folder { fs::remove_dir(path) } else { fs::remove_file(path) };
    removed.map_err(|e| failed(path, &e))
}

/// Converts an I/O error into an [`Error`] with a plain message.
pub fn failed(path: &Path, error: &std::io::Error) -> Error {
    let message = match error.kind() {
        ErrorKind::NotFound => return missing(path),
        ErrorKind::PermissionDenied => "permission denied".to_string(),
        ErrorKind::StorageFull => "no space left on the disk".to_string(),
        ErrorKind::QuotaExceeded => "the disk quota is used up".to_string(),
        ErrorKind::FileTooLarge => "the file would be larger than the system allows".to_string(),
        ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_string(),
        ErrorKind::IsADirectory => "is a folder, not a file".to_string(),
        ErrorKind::NotADirectory => "a part of the path is a file, not a folder".to_string(),
        ErrorKind::AlreadyExists => "a file is in the way of this folder".to_string(),
        ErrorKind::InvalidFilename => "the name is too long for the file system".to_string(),
        ErrorKind::DirectoryNotEmpty => "the folder is not empty".to_string(),
        _ => error.to_string().to_lowercase(),
    };
    let error_ = Error::file(path, message);
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            error_.hint("free some space, or write elsewhere")
        }
        _ => error_,
    }
}

/// Returns the error for a missing path, with the nearest existing name as a hint.
fn missing(path: &Path) -> Error {
    let error = Error::file(path, "there is no such file or folder");
    if let Ok(Some(target)) = linked(path) {
        return error.hint(format!("it is a link to {}, which does not exist", target.display()));
    }
    let folder = parent(path);
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        return error.hint(format!("the folder {} does not exist either", folder.display()));
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let siblings = list(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    match nearest(&name, siblings.unwrap_or_default().iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{}`?", folder.join(near).display())),
        None if path.is_relative() => match std::env::current_dir() {
            Ok(here) => error.hint(format!("paths are relative to {}", here.display())),
            Err(_) => error,
        },
        None => error,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Joins the parts of a path.
pub fn join<S: AsRef<str>>(parts: &[S]) -> String {
    parts.iter().map(AsRef::as_ref).collect::<PathBuf>().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        let path = folder.path().join("deep/er/x.txt");
        write(&path, "first, and longer")?;
        write(&path, "second")?;
        assert_eq!(read_text(&path)?, "second");
        assert_eq!(list(folder.path().join("deep/er"))?, ["x.txt"]);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_permissions_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(at("real/private"), "old").unwrap();
        fs::set_permissions(at("real/private"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("real/private", at("first")).unwrap();
        symlink("first", at("second")).unwrap();
        symlink("real/later", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        write(at("second"), "new").unwrap();
        write(at("dangling"), "new").unwrap();
        assert_eq!(read_text(at("real/private")).unwrap(), "new");
        assert_eq!(read_text(at("real/later")).unwrap(), "new");
        assert!(["first", "second", "dangling"].iter().all(|link| at(link).is_symlink()));
        assert_eq!(fs::metadata(at("real/private")).unwrap().permissions().mode() & 0o777, 0o600);
        let error = write(at("circle"), "x").unwrap_err();
        assert!(error.message().contains("links"), "{error}");
        assert_eq!(list(at("real")).unwrap(), ["later", "private"]);
    }

    #[test]
    fn a_name_that_promises_another_format_is_refused() {
        let check = |name: &str| check_extension(Path::new(name), &["safetensors"]);
        assert!(
            ["net.safetensors", "net", "net.v2", "net.SAFETENSORS"].iter().all(|name| check(name).is_ok())
        );
        let error = check("runs/net.pt").unwrap_err();
        assert_eq!(error.message(), "expected a .safetensors file, found \"runs/net.pt\"");
        assert_eq!(error.hint_text(), Some("name it runs/net.safetensors"));
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        let path = folder.path().join("journal");
        write(&path, "whole\ntor")?;
        append_line(&path, "next")?;
        assert_eq!(read_text(&path)?, "whole\ntor\nnext\n");
        Ok(())
    }

    #[test]
    fn a_missing_file_names_its_neighbor() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        write(folder.path().join("results.csv"), "")?;
        let error = read(folder.path().join("result.csv")).unwrap_err();
        assert!(error.message().ends_with("there is no such file or folder"), "{error}");
        assert!(error.hint_text().is_some_and(|h| h.contains("results.csv")), "{error}");
        Ok(())
    }

    #[test]
    fn a_lock_is_held_once_and_let_go_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/lock");
        let held = lock(&path).unwrap();
        let error = lock(&path).unwrap_err();
        assert!(error.message().ends_with("this program is working in this folder"), "{error}");
        drop(held);
        lock(&path).unwrap();
    }

    #[test]
    fn a_locked_file_keeps_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        for content in ["a,b\n1,2\n", "42\n", "locked by process x\n"] {
            write(&path, content).unwrap();
            let held = lock(&path).unwrap();
            let error = lock(&path).unwrap_err();
            assert!(error.message().ends_with("another program is working in this folder"), "{error}");
            drop(held);
            assert!(try_lock(&path).unwrap().is_some() && claim::try_claim(&path).unwrap().is_some());
            assert_eq!(read_text(&path).unwrap(), content);
        }
        write(&path, "locked by process 123456789\n").unwrap();
        drop(lock(&path).unwrap());
        assert_eq!(read_text(&path).unwrap(), format!("locked by process {}\n", std::process::id()));
    }

    #[cfg(unix)]
    #[test]
    fn a_removed_link_leaves_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(at("real/kept"), "").unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        remove(at("link")).unwrap();
        remove(at("dangling")).unwrap();
        assert_eq!(list(folder.path()).unwrap(), ["real"]);
        assert!(remove(at("real")).unwrap_err().message().ends_with("the folder is not empty"));
    }

    #[test]
    fn a_link_replaces_its_name_and_outlives_the_first_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(at("a"), "new").unwrap();
        write(at("best"), "old").unwrap();
        link(at("a"), at("best")).unwrap();
        link(at("a"), at("best")).unwrap();
        remove(at("a")).unwrap();
        assert_eq!(read_text(at("best")).unwrap(), "new");
        assert_eq!(list(folder.path()).unwrap(), ["best"]);
    }

    #[test]
    fn what_killed_writers_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path().join(".writing-1a2b"), "half").unwrap();
        write(folder.path().join("whole"), "").unwrap();
        remove_unfinished(folder.path()).unwrap();
        assert_eq!(list(folder.path()).unwrap(), ["whole"]);
        remove_unfinished(folder.path().join("nowhere")).unwrap();
    }

    #[test]
    fn a_folder_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), "x").unwrap_err();
        assert!(error.message().contains("is a folder"), "{error}");
    }
}
