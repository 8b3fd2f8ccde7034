//! Version and folder of the libtorch in use.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// libtorch version this program was built for.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// Returns the folder of the loaded libtorch libraries or, if it cannot be determined, of the one linked at build
/// time.
pub fn libtorch_folder() -> PathBuf {
    loaded_from().unwrap_or_else(|| PathBuf::from(env!("SPECTRAL_LIBTORCH")))
}

/// Returns the folder from which the system loaded libtorch. An installed program finds libtorch by a path relative
/// to itself, so the path known at build time does not apply.
fn loaded_from() -> Option<PathBuf> {
    // A C function of libtorch; its address identifies the library.
    const INSIDE: &CStr = c"aoti_torch_device_type_cpu";
    // SAFETY: both calls only look up symbols, and the name lives as long as the library.
    let path = unsafe {
        let address = libc::dlsym(libc::RTLD_DEFAULT, INSIDE.as_ptr());
        let mut found: libc::Dl_info = std::mem::zeroed();
        if address.is_null() || libc::dladdr(address, &mut found) == 0 || found.dli_fname.is_null() {
            return None;
        }
        PathBuf::from(OsStr::from_bytes(CStr::from_ptr(found.dli_fname).to_bytes()))
    };
    Some(path.canonicalize().ok()?.parent()?.to_path_buf())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_folder_is_the_one_that_the_system_took_libtorch_from() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
        let library = mapped.map(Path::new).find(|path| path.ends_with("libtorch_cpu.so")).unwrap();
        assert_eq!(loaded_from().as_deref(), library.parent());
        assert_eq!(Some(libtorch_folder().as_path()), library.parent());
    }
}
