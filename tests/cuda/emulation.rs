//! Launcher that compiles CUDA kernels as C++ and runs them on the CPU, using `emulator.h`.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::c_void;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use libloading::Library;
use spectral::error::{Error, Result};
use spectral::torch::Device;
use spectral::torch::kernels::{self, COMMON, Launch, Launcher, names, source};

use crate::recording::{self, Started, note};

/// Number of runs per kernel name.
pub type Ran = BTreeMap<String, usize>;

/// Launcher that compiles kernels with the C++ compiler and runs one at a time.
#[derive(Default)]
pub struct Emulator(Mutex<State>);

#[derive(Default)]
struct State {
    /// Compiled libraries, by file and definitions.
    loaded: Vec<(String, Library)>,
    ran: Ran,
    failures: Vec<String>,
}

/// Serializes kernels, because a library has only one set of blocks and threads.
pub static RUNNING: Mutex<()> = Mutex::new(());

type Sizes = unsafe extern "C" fn(*mut usize) -> u32;
type Run = unsafe extern "C" fn(u32, u32, *mut *mut c_void) -> i32;

impl Emulator {
    /// Returns the kernels that ran since the last call. Fails the test if a kernel file could not be compiled or
    /// opened.
    pub fn ran(&self) -> Ran {
        let mut state = self.0.lock().unwrap();
        assert!(state.failures.is_empty(), "{}", state.failures.join("\n"));
        std::mem::take(&mut state.ran)
    }
}

/// Compiles a file of kernels into a library, which later test runs reuse.
fn library(file: &str, defines: &str) -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda");
    let (header, main) = (include_str!("emulator.h"), include_str!("emulate.cpp"));
    let text = source(file)?;
    let mut hash = DefaultHasher::new();
    (file, defines, text, COMMON.1, header, main).hash(&mut hash);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{file}-{:016x}.so", hash.finish()));
    if path.exists() {
        return Ok(path);
    }
    // Several tests, and several test runs, may compile the same file at once.
    static COMPILED: AtomicUsize = AtomicUsize::new(0);
    let number = COMPILED.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{}-{number}.partial", std::process::id()));
    let entries: String = names(text).iter().map(|name| format!("EXPORT({name}) ")).collect();
    let output = Command::new("c++")
        .args(["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-U_FORTIFY_SOURCE"])
        .arg(format!("-I{}", here.join("../../kernels/cuda").display()))
        .args(defines.lines().map(|define| format!("-D{define}")))
        .arg(format!("-DKERNELS=\"{file}.cu\""))
        .arg(format!("-DENTRIES={entries}"))
        .arg(here.join("emulate.cpp"))
        .arg("-o")
        .arg(&partial)
        .output()
        .map_err(|e| Error::internal(format!("c++ could not be started: {e}")))?;
    if !output.status.success() {
        return Err(Error::internal(format!(
            "{file}, {defines}: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    std::fs::rename(&partial, &path).unwrap();
    Ok(path)
}

/// Returns copies of the arguments that a kernel is started with.
///
/// # Safety
/// The arguments must be those that the kernel takes.
unsafe fn arguments(library: &Library, name: &str, given: *mut *mut c_void) -> Vec<Vec<u64>> {
    let mut sizes = [0; 32];
    // SAFETY: every kernel was exported with this function, and no kernel takes more than 32 arguments.
    unsafe {
        let count = library.get::<Sizes>(format!("sizes_{name}").as_bytes()).unwrap()(sizes.as_mut_ptr());
        let copy = |(i, size): (usize, &usize)| {
            let mut copy = vec![0u64; size.div_ceil(8)];
            std::ptr::copy_nonoverlapping(*given.add(i).cast::<*const u8>(), copy.as_mut_ptr().cast(), *size);
            copy
        };
        sizes[..count as usize].iter().enumerate().map(copy).collect()
    }
}

impl Launcher for Emulator {
    fn load(&self, _: i32, file: &str, defines: &str) -> Result<Option<i64>> {
        let mut state = self.0.lock().unwrap();
        let key = format!("{file}\n{defines}");
        if let Some(known) = state.loaded.iter().position(|(known, _)| *known == key) {
            return Ok(Some(known as i64 + 1));
        }
        let opened = library(file, defines).and_then(|path| {
            // SAFETY: the library contains only kernels and runs nothing when it is opened.
            unsafe { Library::new(path) }.map_err(|e| Error::internal(e.to_string()))
        });
        match opened {
            Ok(library) => {
                state.loaded.push((key, library));
                Ok(Some(state.loaded.len() as i64))
            }
            Err(error) => {
                state.failures.push(error.message());
                Ok(None)
            }
        }
    }

    fn launch(&self, kernels: i64, launch: &Launch) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        let name = launch.name.to_str().unwrap();
        let code = {
            let (_, library) = &state.loaded[usize::try_from(kernels).unwrap() - 1];
            // SAFETY: every kernel was exported with this signature, and the glue code passes the arguments that it
            // takes.
            unsafe {
                let _alone = RUNNING.lock().unwrap();
                let run = library.get::<Run>(format!("emulate_{name}").as_bytes()).unwrap();
                let code = run(launch.blocks, launch.threads, launch.arguments);
                note(|| Started {
                    run: *run,
                    blocks: launch.blocks,
                    threads: launch.threads,
                    arguments: arguments(library, name, launch.arguments),
                });
                code
            }
        };
        *state.ran.entry(name.to_string()).or_default() += 1;
        match code {
            0 => Ok(()),
            1 => Err(Error::internal(format!("the threads of {name} wait for ever"))),
            _ => Err(Error::internal(format!("{name} cannot have {} threads", launch.threads))),
        }
    }
}

/// Launcher of the second device.
static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::default);

/// Variable of a process whose CUDA device is the one of `second.rs`.
pub const SECOND: &str = "SPECTRAL_TEST_SECOND";

/// Returns the device that the kernels run on.
pub fn device() -> Device {
    let second = std::env::var_os(SECOND).is_some();
    if second {
        kernels::install(&*EMULATOR);
    }
    spectral::torch::start();
    let device =
        std::env::var("SPECTRAL_TEST_DEVICE").map_or(Device::Cpu, |name| Device::named(&name).unwrap());
    // A GPU records graphs itself, and its machine may have no compiler for the recorder.
    if second || !device.is_cuda() {
        recording::load();
    }
    device
}

/// Runs `body` with the CUDA kernels. Returns its value and, if the kernels are emulated, which ones ran.
pub fn with_kernels<T>(body: impl FnOnce() -> T) -> (T, Option<Ran>) {
    if device().is_cuda() {
        let second = std::env::var_os(SECOND).map(|_| &*EMULATOR);
        let before = kernels::started();
        second.map(Emulator::ran);
        let value = body();
        assert!(kernels::started() > before, "no kernel was started");
        return (value, second.map(Emulator::ran));
    }
    let emulator = Emulator::default();
    let value = kernels::emulated(&emulator, body);
    (value, Some(emulator.ran()))
}
