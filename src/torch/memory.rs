//! Memory used by the process and by libtorch.

use super::device::{self, Device};

/// Memory of the process, and of libtorch on each CUDA device, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Main memory in use now; `None` if the system does not report it.
    pub resident: Option<u64>,
    /// Peak of main memory in use.
    pub peak: Option<u64>,
    /// Part of the resident memory that libtorch caches for future tensors.
    pub kept: u64,
    /// Each CUDA device with libtorch's memory there.
    pub devices: Vec<(Device, device::Memory)>,
}

/// Returns the memory in use now.
pub fn memory() -> Memory {
    let devices = (0..device::cuda_count()).map(Device::Cuda);
    let (resident, peak) = process();
    // SAFETY: reads a number under a lock.
    let kept = unsafe { super::ffi::sp_kept() }.unsigned_abs();
    Memory {
        resident,
        peak,
        kept,
        devices: devices.filter_map(|d| Some((d, device::memory(d).ok()?))).collect(),
    }
}

/// Asks the system for large pages for new memory that will be filled, which takes fewer page faults.
///
/// Only the large pages within the memory change, so that no more of it is in use.
#[cfg(target_os = "linux")]
pub(super) fn prefer_large_pages(start: *mut u8, length: usize) {
    let first = start.align_offset(LARGE_PAGE);
    if let Some(length) =
        length.checked_sub(first).map(|rest| rest - rest % LARGE_PAGE).filter(|rest| *rest > 0)
    {
        // SAFETY: the pages are within the memory, and the advice does not change what is there.
        unsafe { libc::madvise(start.wrapping_add(first).cast(), length, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn prefer_large_pages(_: *mut u8, _: usize) {}

/// Size of a large page of x86-64 and of most aarch64 systems.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// Resets the peak of this process; returns `false` if the system does not support it.
pub fn reset_peak() -> bool {
    // Only Linux has this file; 5 resets the peak.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Returns the resident bytes of this process, now and at their peak.
#[cfg(target_os = "linux")]
fn process() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    (field(&status, "VmRSS:"), field(&status, "VmHWM:"))
}

/// Reads a line of /proc/self/status such as `VmRSS:     1234 kB`, in bytes.
#[cfg(any(target_os = "linux", test))]
fn field(status: &str, name: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?;
    kilobytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the peak of resident bytes of this process; macOS counts in bytes.
#[cfg(not(target_os = "linux"))]
fn process() -> (Option<u64>, Option<u64>) {
    // SAFETY: all-zero bytes are a valid value, which the call overwrites.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) == 0).then_some(usage)
    };
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    (None, usage.and_then(|u| u64::try_from(u.ru_maxrss).ok()).map(|m| m * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_status_is_read_in_bytes() {
        let status = "Name:\tspectral\nVmHWM:\t    2048 kB\nVmRSS:\t     3 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(3072));
        assert_eq!(field(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn large_blocks_wait_for_the_next_tensor_of_their_size() {
        use crate::torch::{DType, Device, Tensor, start};
        start();
        let make = || Tensor::zeros(&[3_000_017], DType::Float32, Device::Cpu).unwrap();
        let address = |t: &Tensor| t.raw().data_ptr() as usize;
        let first = make();
        let place = address(&first);
        drop(first);
        assert!(memory().kept >= 12_000_000);
        // Another test may take the block first: tests share the process.
        assert!((0..5).any(|_| address(&make()) == place));
    }

    #[test]
    fn this_process_holds_something() {
        let memory = memory();
        let peak = memory.peak.unwrap();
        assert!(peak > 1 << 20);
        assert!(memory.resident.is_none_or(|now| now > 1 << 20 && now <= peak));
        assert_eq!(memory.devices.len(), device::cuda_count());
    }
}
