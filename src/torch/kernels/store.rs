//! Disk cache of compiled kernels, so that each is compiled once per machine and not at every start.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::nvrtc::Nvrtc;
use super::{COMMON, source};
use crate::error::Result;
use crate::files;

/// Loads the machine code of a kernel file from the user's cache. Code that is not there, or that `load` refuses, is
/// compiled and written to the cache.
pub(super) fn loaded<T>(
    nvrtc: &Nvrtc,
    (file, defines, arch): (&str, &str, &str),
    load: impl FnMut(&[u8]) -> Result<T>,
) -> Result<T> {
    loaded_from(folder(), nvrtc, (file, defines, arch), load)
}

fn loaded_from<T>(
    folder: Option<PathBuf>,
    nvrtc: &Nvrtc,
    (file, defines, arch): (&str, &str, &str),
    mut load: impl FnMut(&[u8]) -> Result<T>,
) -> Result<T> {
    let key = key(nvrtc, file, defines, arch)?;
    let path = folder.map(|folder| folder.join(format!("{key}.cubin")));
    let found = path.as_ref().and_then(|p| files::read(p).ok()).filter(|code| is_whole(code));
    if let Some(loaded) = found.and_then(|code| load(&code).ok()) {
        return Ok(loaded);
    }
    let (code, _) = nvrtc.compile(file, defines, arch, &[])?;
    // Without a writable disk the kernel is just compiled again at the next start.
    if let Some(path) = path {
        let _ = files::write(path, &code);
    }
    load(&code)
}

/// Returns the cache key, a hash of everything that the code depends on.
fn key(nvrtc: &Nvrtc, file: &str, defines: &str, arch: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for part in [COMMON.1, source(file)?, &Nvrtc::options(defines, arch).join("\n"), &nvrtc.version] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns whether this is an ELF file that is at least as long as its header says.
fn is_whole(code: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let bytes = code.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let whole = || {
        let table_end = |start: usize, entry: usize, count: usize| {
            number(start, 8)?.checked_add(number(entry, 2)?.checked_mul(number(count, 2)?)?)
        };
        let sections = table_end(0x28, 0x3a, 0x3c)?;
        let segments = table_end(0x20, 0x36, 0x38)?;
        Some(code.starts_with(b"\x7fELF") && sections.max(segments) <= code.len() as u64)
    };
    whole().unwrap_or(false)
}

/// Returns the folder of the cache.
fn folder() -> Option<PathBuf> {
    Some(files::cache().ok()?.join("kernels"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ensure;
    use crate::error::Error;

    #[test]
    fn what_was_compiled_is_read_again_and_what_is_broken_is_not() {
        // `cargo xtask test` provides the compiler.
        let Ok(nvrtc) = Nvrtc::find() else { return };
        let folder = tempfile::tempdir().unwrap();
        let defines = "ACTIVATED=0\nE=float\nC=float\nSIZE=8\nVEC=4\nLANES=2\nROWS=128";
        let load = |arch: &str, load: &mut dyn FnMut(&[u8]) -> Result<Vec<u8>>| {
            loaded_from(Some(folder.path().to_path_buf()), &nvrtc, ("bias_gelu", defines, arch), load)
        };
        let compile = |arch: &str| load(arch, &mut |code| Ok(code.to_vec())).unwrap();
        let first = compile("sm_90");
        let names = files::list(folder.path()).unwrap();
        assert_eq!(names.len(), 1);
        // Other content in its place shows that the file is read.
        let path = folder.path().join(&names[0]);
        let mut other = first.clone();
        other.push(0);
        files::write(&path, &other).unwrap();
        assert_eq!(compile("sm_90"), other);
        files::write(&path, &first[..first.len() / 2]).unwrap();
        assert_eq!(compile("sm_90").len(), first.len());
        // The driver may refuse a file that looks whole, which is then replaced.
        let mut broken = first.clone();
        broken[0x100] ^= 1;
        files::write(&path, &broken).unwrap();
        let mut tries = 0;
        let mut picky = |code: &[u8]| {
            tries += 1;
            ensure!(code != broken, "an invalid image");
            Ok(code.to_vec())
        };
        assert_eq!(load("sm_90", &mut picky).unwrap().len(), first.len());
        assert_eq!(tries, 2);
        assert_ne!(files::read(&path).unwrap(), broken);
        assert!(load("sm_90", &mut |_| Err(Error::internal("always"))).is_err());
        compile("sm_80");
        assert_eq!(files::list(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn code_that_was_cut_off_is_not_taken() {
        let mut code = b"\x7fELF".to_vec();
        code.resize(0x40, 0);
        // Two sections of 16 bytes after the header.
        code[0x28] = 0x40;
        code[0x3a] = 16;
        code[0x3c] = 2;
        assert!(!is_whole(&code));
        code.resize(0x60, 0);
        assert!(is_whole(&code));
        code[0] = 0;
        assert!(!is_whole(&code) && !is_whole(b"\x7fELF"));
    }
}
