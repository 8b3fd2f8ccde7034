//! The files of one or several archives, as folders.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Archive, Entry, Index, Opened, ReadAt, What, tar, zip};
use crate::context::Context;
use crate::data::item::Item;
use crate::error::{Error, Result};
use crate::files;

/// Most threads that read the indices of several archives.
const MOST_THREADS: usize = 16;

/// Longest file that is kept with the index, such as the label of an image.
const SMALL: u64 = 1 << 16;

/// A file of an archive.
#[derive(Debug)]
pub struct Listed {
    /// Number of its archive.
    pub archive: usize,
    /// Name and place.
    pub entry: Entry,
    /// Its content, if it is a small file that was asked for.
    pub small: Option<Box<[u8]>>,
}

/// The files of archives in their order, and as folders below a root.
#[derive(Debug)]
pub struct Listing {
    root: PathBuf,
    archives: Vec<Arc<Archive>>,
    files: Vec<Listed>,
    /// Folders with the names and numbers of their files.
    folders: BTreeMap<PathBuf, Folder>,
    /// What was left out.
    pub notes: Vec<String>,
}

#[derive(Debug, Default)]
struct Folder {
    folders: Vec<OsString>,
    /// Names with numbers; several archives may have files of one name.
    files: Vec<(OsString, usize)>,
}

/// An archive with its index and the small files that were asked for.
type Scanned = (Archive, Index, Vec<Option<Box<[u8]>>>);

impl Listing {
    /// Reads the indices of archives, whose files lie below `root`. Files with the endings `small` are read at once. An
    /// archive whose end is missing is an error, or with `skip` a note.
    pub fn open(paths: &[PathBuf], root: &Path, small: &[&str], skip: bool, cx: &Context) -> Result<Self> {
        let (mut archives, mut files, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut passed: BTreeMap<What, (usize, String)> = BTreeMap::new();
        let all = on_threads(paths, "archives", cx, |path, stop| scan(path, small, stop))?;
        for (number, (path, scanned)) in paths.iter().zip(all).enumerate() {
            let (archive, index, contents) = scanned?;
            if let Some(cut) = index.cut {
                let count = index.entries.len();
                let error = Error::file(path, &cut);
                if !skip || count == 0 {
                    return Err(error.hint(match count {
                        0 => "download or write it again, and compare its checksum".to_string(),
                        _ => format!(
                            "download or write it again; `on_error: \"skip\"` takes the {count} entries before that place"
                        ),
                    }));
                }
                notes.push(format!("{}; the {count} entries before are read", error.message()));
            }
            for (what, name) in index.passed {
                passed.entry(what).or_insert((0, name)).0 += 1;
            }
            let listed = |(entry, small)| Listed { archive: number, entry, small };
            files.extend(index.entries.into_iter().zip(contents).map(listed));
            archives.push(Arc::new(archive));
        }
        notes.extend(passed.iter().map(|(what, (count, first))| what.note(*count, first)));
        let mut folders: BTreeMap<PathBuf, Folder> =
            BTreeMap::from([(root.to_path_buf(), Folder::default())]);
        for (number, file) in files.iter().enumerate() {
            let path = root.join(&file.entry.name);
            let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { continue };
            add_folder(&mut folders, parent, root);
            if let Some(folder) = folders.get_mut(parent) {
                folder.files.push((name.to_os_string(), number));
            }
        }
        let mut hidden: Option<(usize, usize)> = None;
        for folder in folders.values_mut() {
            folder.files.sort();
            folder.folders.sort();
            // A name stands for the folder if it is that of a file too, since the files below would be out of reach.
            let Folder { folders, files } = folder;
            files.retain(|(name, number)| {
                let kept = folders.binary_search(name).is_err();
                if !kept {
                    hidden.get_or_insert((0, *number)).0 += 1;
                }
                kept
            });
        }
        if let Some((count, first)) = hidden {
            let what = if count == 1 { "1 file that has" } else { &format!("{count} files that have") };
            let name = &files[first].entry.name;
            notes.push(format!("skipped {what} the name of a folder, the first is `{name}`"));
        }
        Ok(Self { root: root.to_path_buf(), archives, files, folders, notes })
    }

    /// Returns the path that stands for all archives.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns all files in the order of the archives.
    pub fn files(&self) -> &[Listed] {
        &self.files
    }

    /// Returns a file by its number.
    pub fn item(&self, number: usize) -> Item {
        let Listed { archive, entry, .. } = &self.files[number];
        Item::Part { archive: Arc::clone(&self.archives[*archive]), entry: entry.clone() }
    }

    /// Returns whether there is a folder.
    pub fn is_dir(&self, path: &Path) -> bool {
        self.folders.contains_key(path)
    }

    /// Returns the names in a folder in alphabetical order: folders, and files as often as there are some of that name.
    pub fn names(&self, folder: &Path) -> Vec<OsString> {
        let Some(folder) = self.folders.get(folder) else { return Vec::new() };
        let files = folder.files.iter().map(|(name, _)| name.clone());
        let mut names: Vec<OsString> = folder.folders.iter().cloned().chain(files).collect();
        names.sort();
        names
    }

    /// Returns the numbers of the files of paths in the order of a search: of several archives with files of one name those
    /// of each.
    pub fn chosen(&self, paths: &[PathBuf]) -> Result<Vec<usize>> {
        let mut seen: HashMap<&Path, usize> = HashMap::new();
        let mut chosen = Vec::with_capacity(paths.len());
        for path in paths {
            let count = seen.entry(path).or_insert(0);
            let found = self.numbers(path).get(*count).copied();
            chosen
                .push(found.ok_or_else(|| Error::internal(format!("there is no file {}", path.display())))?);
            *count += 1;
        }
        Ok(chosen)
    }

    /// Returns the numbers of the files of a path.
    pub fn numbers(&self, path: &Path) -> Vec<usize> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
        let Some(folder) = self.folders.get(parent) else { return Vec::new() };
        let from = folder.files.partition_point(|(other, _)| other.as_os_str() < name);
        let of_name = folder.files[from..].iter().take_while(|(other, _)| other == name);
        of_name.map(|(_, number)| *number).collect()
    }
}

/// Adds a folder and those above it up to the root.
fn add_folder(folders: &mut BTreeMap<PathBuf, Folder>, path: &Path, root: &Path) {
    if folders.contains_key(path) {
        return;
    }
    folders.insert(path.to_path_buf(), Folder::default());
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        if path != root {
            add_folder(folders, parent, root);
        }
        if let Some(parent) = folders.get_mut(parent) {
            parent.folders.push(name.to_os_string());
        }
    }
}

/// Reads archives by several threads, which are told by a flag when the user wants to stop; `what` they are for the
/// progress bar.
pub(in crate::data) fn on_threads<P: Sync, T: Send>(
    paths: &[P],
    what: &str,
    cx: &Context,
    read: impl Fn(&P, &AtomicBool) -> Result<T> + Sync,
) -> Result<Vec<Result<T>>> {
    let (stop, next, done) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Vec<Mutex<Option<Result<T>>>> = paths.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (Some(path), Some(result)) = (paths.get(number), results.get(number)) else { break };
            let done_now = read(path, &stop);
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done_now);
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut bar = (paths.len() > 1).then(|| cx.bar(what, paths.len() as u64));
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..paths.len().min(MOST_THREADS)).map(|_| scope.spawn(work)).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            if let Err(interrupted) = cx.check() {
                stop.store(true, Ordering::Relaxed);
                return Err(interrupted);
            }
            if let Some(bar) = &mut bar {
                bar.update(done.load(Ordering::Relaxed) as u64, "");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    })?;
    let taken = results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    let gone = || Err(Error::internal("the index of an archive was not read"));
    Ok(taken.map(|result| result.unwrap_or_else(gone)).collect())
}

/// An archive that refuses to be read once the user wants to stop.
#[derive(Debug)]
pub(in crate::data) struct Stoppable<'a> {
    /// The archive.
    pub opened: Opened,
    /// Whether the user wants to stop.
    pub stop: &'a AtomicBool,
}

impl ReadAt for Stoppable<'_> {
    fn length(&self) -> u64 {
        self.opened.length()
    }
    fn fill(&self, at: u64, to: &mut [u8]) -> IoResult<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(std::io::Error::other("interrupted")),
            false => self.opened.fill(at, to),
        }
    }
}

fn scan(path: &Path, small: &[&str], stop: &AtomicBool) -> Result<Scanned> {
    let (archive, opened) = Archive::open(path)?;
    let file = Stoppable { opened, stop };
    let index = index(&file, path).map_err(|e| e.in_file(path))?;
    let content = |entry: &Entry| -> Option<Box<[u8]>> {
        let ending = Path::new(&entry.name).extension().and_then(OsStr::to_str);
        let wanted =
            ending.is_some_and(|ending| small.iter().any(|other| other.eq_ignore_ascii_case(ending)));
        if !wanted || entry.place.size > SMALL {
            return None;
        }
        // What is damaged is read again when it is needed, which then is an error or skipped.
        entry.place.read(&file).ok().map(Vec::into_boxed_slice)
    };
    let contents = index.entries.iter().map(content).collect();
    Ok((archive, index, contents))
}

/// Reads the index of an archive; its first bytes tell its format.
fn index(file: &dyn ReadAt, path: &Path) -> Result<Index> {
    let mut first = vec![0; file.length().min(512) as usize];
    file.fill(0, &mut first).map_err(|e| files::failed(path, &e))?;
    if zip::is_zip(&first) {
        return zip::index(file);
    }
    if tar::is_tar(&first) {
        return tar::index(file);
    }
    let (found, hint) = match files::kind(path)? {
        Some(files::Kind::Gzip | files::Kind::Compressed) => (
            "a compressed file",
            "a compressed tar has no random access: decompress it, such as by `gunzip FILE`; its images are compressed \
             by themselves, so it stays as small",
        ),
        Some(kind) => (kind.describe(), kind.advice()),
        None => ("neither", "the file may be damaged, or is not what its name says"),
    };
    Err(Error::argument(format!("expected a folder of images, or a zip, tar or Parquet file, found {found}"))
        .hint(hint))
}

/// Reads the index of an archive in memory, for tests on arbitrary bytes: that of a zip, or of a tar.
pub fn parse(bytes: &[u8]) -> Result<Index> {
    if zip::is_zip(bytes) { zip::index(&bytes) } else { tar::index(&bytes) }
}
