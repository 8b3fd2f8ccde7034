//! NVRTC, NVIDIA's run-time compiler library, opened at run time.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use libloading::Library;

use super::{COMMON, source};
use crate::error::{Error, Result};

type Program = *mut c_void;
type Status = c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> Status;
type Copy = unsafe extern "C" fn(Program, *mut c_char) -> Status;

/// The opened compiler library.
pub struct Nvrtc {
    /// Version, such as `13.0`.
    pub version: String,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    log: (Size, Copy),
    cubin: (Size, Copy),
    error_text: unsafe extern "C" fn(Status) -> *const c_char,
    _libraries: [Option<Library>; 2],
}

const BUILTINS: &str = "libnvrtc-builtins";

/// Returns the folders to search: the one named by `SPECTRAL_NVRTC`, those of pip packages beside libtorch, and
/// libtorch's own.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    folders.extend(std::env::var_os("SPECTRAL_NVRTC").filter(|v| !v.is_empty()).map(PathBuf::from));
    let libtorch = crate::torch::libtorch_folder();
    if let Some(packages) = libtorch.parent().and_then(Path::parent) {
        folders.push(packages.join("nvidia/cu13/lib"));
        folders.push(packages.join("nvidia/cuda_nvrtc/lib"));
    }
    folders.push(libtorch);
    folders
}

/// Returns the first library in a folder whose name has this prefix, except variants for old drivers (`.alt.`) and, unless
/// the prefix names it, the compiler's library of builtins.
fn library_in(folder: &Path, start: &str) -> Option<PathBuf> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let fits = |name: &str| {
        let other = name.starts_with(BUILTINS) && start != BUILTINS;
        name.starts_with(start) && name.contains(".so") && !name.contains(".alt.") && !other
    };
    names.iter().filter_map(|n| n.to_str()).find(|n| fits(n)).map(|name| folder.join(name))
}

impl Nvrtc {
    /// Opens the library that comes with libtorch, or the system's.
    pub fn find() -> Result<Self> {
        for folder in candidates() {
            let library = library_in(&folder, "libnvrtc.so").or_else(|| library_in(&folder, "libnvrtc-"));
            if let Some(library) = library {
                return Self::open(&library);
            }
        }
        let system = ["libnvrtc.so.13", "libnvrtc.so.12"];
        let opened = system.iter().find_map(|name| Self::open(Path::new(name)).ok());
        opened.ok_or_else(|| {
            Error::argument("the compiler for CUDA kernels, NVRTC, was not found")
                .hint("name its folder in SPECTRAL_NVRTC, or `pip install nvidia-cuda-nvrtc` beside libtorch")
        })
    }

    /// Opens a library.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |cause: libloading::Error| {
            Error::file(path, format!("cannot be used as NVRTC: {cause}"))
                .hint("name the folder of another one in SPECTRAL_NVRTC")
        };
        // SAFETY: the libraries only run their own initializers; names and types match NVRTC's interface.
        unsafe {
            // The compiler looks up its builtins library by name and finds it if it is already loaded.
            let builtins = path.parent().and_then(|folder| library_in(folder, BUILTINS));
            let builtins = builtins.map(|path| Library::new(path)).transpose().map_err(failed)?;
            let library = Library::new(path).map_err(failed)?;
            macro_rules! symbol {
                ($name:literal) => {
                    *library.get(concat!($name, "\0").as_bytes()).map_err(failed)?
                };
            }
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status = symbol!("nvrtcVersion");
            let (mut major, mut minor) = (0, 0);
            version(&raw mut major, &raw mut minor);
            Ok(Nvrtc {
                version: format!("{major}.{minor}"),
                create: symbol!("nvrtcCreateProgram"),
                compile: symbol!("nvrtcCompileProgram"),
                destroy: symbol!("nvrtcDestroyProgram"),
                log: (symbol!("nvrtcGetProgramLogSize"), symbol!("nvrtcGetProgramLog")),
                cubin: (symbol!("nvrtcGetCUBINSize"), symbol!("nvrtcGetCUBIN")),
                error_text: symbol!("nvrtcGetErrorString"),
                _libraries: [Some(library), builtins],
            })
        }
    }

    /// Returns the compiler options for definitions (`NAME=value`, one per line) and an architecture such as
    /// `sm_90`.
    pub fn options(defines: &str, arch: &str) -> Vec<String> {
        let own = ["--std=c++17".to_string(), format!("--gpu-architecture={arch}")];
        own.into_iter().chain(defines.lines().map(|define| format!("--define-macro={define}"))).collect()
    }

    /// Compiles a kernel file to machine code, with additional options `more`; returns the code and the compiler's
    /// log.
    pub fn compile(&self, file: &str, defines: &str, arch: &str, more: &[&str]) -> Result<(Vec<u8>, String)> {
        let text =
            |s: &str| CString::new(s).map_err(|_| Error::internal("a kernel's text holds a zero byte"));
        let (code, name, header, header_name) =
            (text(source(file)?)?, text(&format!("{file}.cu"))?, text(COMMON.1)?, text(COMMON.0)?);
        let mut options = Self::options(defines, arch);
        options.extend(more.iter().map(ToString::to_string));
        let options = options.iter().map(|o| text(o)).collect::<Result<Vec<_>>>()?;
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program = Owned { nvrtc: self, handle: null_mut() };
        let (headers, names) = ([header.as_ptr()], [header_name.as_ptr()]);
        // SAFETY: all strings are zero-terminated and outlive the call, and the lists have the lengths given.
        let status = unsafe {
            (self.create)(
                &raw mut program.handle,
                code.as_ptr(),
                name.as_ptr(),
                1,
                headers.as_ptr(),
                names.as_ptr(),
            )
        };
        self.check(file, arch, status, "")?;
        // SAFETY: as above.
        let status = unsafe { (self.compile)(program.handle, options.len() as c_int, options.as_ptr()) };
        let log = program.read(self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_string();
        self.check(file, arch, status, &log)?;
        let cubin = program.read(self.cubin)?;
        Ok((cubin, log))
    }

    fn check(&self, file: &str, arch: &str, status: Status, log: &str) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: returns a static string.
        let text = unsafe { CStr::from_ptr((self.error_text)(status)) }.to_string_lossy();
        let first = log.lines().find(|line| line.contains("error")).unwrap_or_default();
        let version = &self.version;
        let message = format!("NVRTC {version} could not compile {file}.cu for {arch}: {text} {first}");
        Err(Error::argument(message.trim_end())
            .hint("name the folder of another NVRTC in SPECTRAL_NVRTC")
            .detail(Some(log)))
    }
}

struct Owned<'a> {
    nvrtc: &'a Nvrtc,
    handle: Program,
}

impl Owned<'_> {
    /// Reads an output of the compiler, of the size that it reports.
    fn read(&self, (size, copy): (Size, Copy)) -> Result<Vec<u8>> {
        let mut length = 0;
        // SAFETY: the program is valid, and the buffer has the size reported first.
        let (status, bytes) = unsafe {
            size(self.handle, &raw mut length);
            let mut bytes = vec![0u8; length];
            (copy(self.handle, bytes.as_mut_ptr().cast()), bytes)
        };
        if status == 0 {
            Ok(bytes)
        } else {
            Err(Error::internal(format!("NVRTC returned no output: status {status}")))
        }
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: created by the same library; null is allowed.
        unsafe { (self.nvrtc.destroy)(&raw mut self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_found_beside_its_builtins() {
        let folder = tempfile::tempdir().unwrap();
        let found = |start| {
            let path = library_in(folder.path(), start)?;
            path.file_name().and_then(|name| name.to_str()).map(str::to_string)
        };
        // Names in an archive of libtorch, where a hash follows.
        for name in
            ["libnvrtc-builtins-07fb3db5.so.13.0", "libnvrtc-e23ab219.so.13", "libnvrtc-e23.alt.so.13"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(found("libnvrtc-").unwrap(), "libnvrtc-e23ab219.so.13");
        assert_eq!(found(BUILTINS).unwrap(), "libnvrtc-builtins-07fb3db5.so.13.0");
        assert_eq!(found("libnvrtc.so"), None);
    }
}
