//! Checks of libtorch, processor, memory and disks.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::files;
use crate::script::memory::available;
use crate::torch::{self, fused};

const GIB: f64 = (1u64 << 30) as f64;

/// Free memory in bytes that training the small presets needs.
const MEMORY: u64 = 1 << 30;

/// Free space on a disk in bytes below which a run soon fills it.
const ROOM: u64 = 1 << 30;

/// Describes this program.
pub(super) fn program() -> Finding {
    let path =
        std::env::current_exe().map_or_else(|_| "of unknown path".to_string(), |p| p.display().to_string());
    Finding::ok("spectral", format!("{}, {path}", env!("CARGO_PKG_VERSION")))
}

/// Checks the release of the libtorch in use and where it was found.
pub(super) fn libtorch() -> Finding {
    let folder = torch::libtorch_folder();
    let wanted = torch::LIBTORCH_VERSION;
    let place = folder.display();
    match stated(&folder, "__version__") {
        Some(found) if found.split('+').next() == Some(wanted) => {
            let kind = match folder.join("libtorch_cuda.so").exists() {
                true => format!(
                    "with CUDA {}",
                    stated(&folder, "cuda").unwrap_or_else(|| "of unknown release".into())
                ),
                false => "without CUDA".to_string(),
            };
            Finding::ok("libtorch", format!("{found}, {kind}, in {place}"))
        }
        Some(found) => Finding::failure(
            "libtorch",
            format!("expected {wanted}, found {found} in {place}"),
            format!("pip install torch=={wanted}, or set LIBTORCH to a folder that holds it"),
        ),
        None => Finding::warning(
            "libtorch",
            format!("of unknown release in {place}"),
            format!("results are checked with {wanted} alone; `cargo xtask libtorch` fetches it"),
        ),
    }
}

/// Returns the value of a name in PyTorch's `version.py` beside the libraries.
pub(super) fn stated(libraries: &Path, name: &str) -> Option<String> {
    let text = files::read_text(libraries.parent()?.join("version.py")).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(name)?.split_once('=').map(|(_, v)| v.trim()))?;
    Some(value.trim_matches(['\'', '"']).to_string()).filter(|value| value != "None")
}

/// Checks the processor and which CPU operators run on it.
pub(super) fn processor() -> Finding {
    let loops = fused::instruction_set();
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    let found = format!("{}, CPU operators for {loops}", model.as_deref().unwrap_or(std::env::consts::ARCH));
    match std::env::var("SPECTRAL_LOOPS") {
        Ok(set) if !set.is_empty() => Finding::warning(
            "processor",
            found,
            format!("SPECTRAL_LOOPS={set} selects them; unset it for the fastest"),
        ),
        _ if loops == "base" && std::env::consts::ARCH == "x86_64" => Finding::warning(
            "processor",
            found,
            "without AVX2 training on the CPU takes several times as long; a virtual machine may hide it",
        ),
        _ => Finding::ok("processor", found),
    }
}

/// Checks how many threads an operator uses.
pub(super) fn threads() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = torch::threads();
    let found = format!("{threads} of an operator, {cores} logical processors");
    let limit = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
        .into_iter()
        .find_map(|name| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?)));
    match limit {
        // libtorch itself chooses one thread for two logical processors.
        Some((name, value)) if threads * 2 < cores => Finding::warning(
            "threads",
            found,
            format!("{name}={value} limits them; unset it where nothing else computes"),
        ),
        Some((name, value)) if threads > cores => Finding::warning(
            "threads",
            found,
            format!("{name}={value} asks for more than there are, which is slower"),
        ),
        _ => Finding::ok("threads", format!("{found}{}", busy(cores))),
    }
}

/// Returns what helps if other programs compute on this machine, too; empty if none do.
fn busy(cores: usize) -> String {
    match load().filter(|load| *load > 0.75 * cores as f64 && !is_passive()) {
        Some(load) => format!(
            ", busy with {load:.1} on average: OMP_WAIT_POLICY=passive lets threads that wait make room for others"
        ),
        None => String::new(),
    }
}

/// Returns how many processes have run or waited for a processor, on average over the last minute.
fn load() -> Option<f64> {
    let mut averages = [0.0; 1];
    // SAFETY: the call fills as many numbers as it is told.
    let filled = unsafe { libc::getloadavg(averages.as_mut_ptr(), 1) };
    (filled == 1).then_some(averages[0])
}

/// Returns whether threads of libtorch that have nothing to do let others run at once.
fn is_passive() -> bool {
    std::env::var("OMP_WAIT_POLICY").is_ok_and(|policy| policy.eq_ignore_ascii_case("passive"))
}

/// Checks the memory of the machine, or the limit of the container.
pub(super) fn memory() -> Finding {
    let (total, free) = available();
    let found = format!("{:.1} GiB, {:.1} GiB free", total as f64 / GIB, free as f64 / GIB);
    match free < MEMORY {
        true => Finding::warning(
            "memory",
            found,
            "training needs about 1 GiB; close other programs, or use a smaller `batch`",
        ),
        false => Finding::ok("memory", found),
    }
}

/// Checks the cache of compiled kernels and downloaded files.
pub(super) fn cache() -> Finding {
    match files::cache() {
        Err(error) => Finding { state: super::State::Warning, ..Finding::error("cache", &error) },
        Ok(folder) => disk(
            "cache",
            &folder,
            "kernels are recompiled at every start, and data cannot be fetched; \
             set SPECTRAL_CACHE to another folder",
        ),
    }
}

/// Checks the folder in which runs are written.
pub(super) fn working_folder() -> Finding {
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    disk(
        "folder",
        &folder,
        "runs with `out` cannot be written here; change to another folder, or give `out` a full path",
    )
}

/// Checks that a folder, or its nearest existing parent, is writable, and how much space it has.
fn disk(name: &str, folder: &Path, otherwise: &str) -> Finding {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let place = folder.display();
    if let Err(error) = tempfile::tempfile_in(there) {
        return Finding::warning(name, format!("{place} cannot be written: {}", reason(&error)), otherwise);
    }
    match room(there) {
        Some(bytes) if bytes < ROOM => Finding::warning(
            name,
            format!("{place}, {:.1} GiB free", bytes as f64 / GIB),
            "make room: a checkpoint of a large model takes gigabytes",
        ),
        Some(bytes) => Finding::ok(name, format!("{place}, {:.1} GiB free", bytes as f64 / GIB)),
        None => Finding::ok(name, place.to_string()),
    }
}

/// Returns the system's message of an error, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Returns the bytes that this user may still write to the disk of a folder.
fn room(folder: &Path) -> Option<u64> {
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: the call fills the struct, and the path ends with a zero byte.
    let answer = unsafe {
        let mut answer: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut answer) == 0).then_some(answer)?
    };
    Some(answer.f_bavail.saturating_mul(answer.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::doctor::State;

    #[test]
    fn the_release_is_read_from_pythons_file() {
        let folder = tempfile::tempdir().unwrap();
        let libraries = folder.path().join("lib");
        let file = folder.path().join("version.py");
        fs::write(
            &file,
            "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n",
        )
        .unwrap();
        assert_eq!(stated(&libraries, "__version__").as_deref(), Some("2.11.0+cu130"));
        assert_eq!(stated(&libraries, "cuda").as_deref(), Some("13.0"));
        assert_eq!(stated(&libraries, "hip"), None);
    }

    #[test]
    fn room_is_that_of_the_disk() {
        assert!(room(Path::new("/")).is_some());
        assert!(room(Path::new("/no/such/folder")).is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a/b");
        assert_eq!(disk("cache", &inside, "").state, State::Ok);
        // Nobody can write to the system's own tables.
        let finding = disk("cache", Path::new("/proc/spectral"), "set SPECTRAL_CACHE");
        assert_eq!((finding.state, finding.advice.as_deref()), (State::Warning, Some("set SPECTRAL_CACHE")));
    }
}
