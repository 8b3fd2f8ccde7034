//! How much memory the process and libtorch hold.

use super::device::{self, Device};

/// Bytes of the process, and of libtorch on each CUDA device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// In main memory now; `None` where the system does not say.
    pub resident: Option<u64>,
    /// In main memory at most so far.
    pub peak: Option<u64>,
    /// The part of it that libtorch keeps for tensors to come.
    pub kept: u64,
    /// Each CUDA device with what libtorch holds there.
    pub devices: Vec<(Device, device::Memory)>,
}

/// What is held now.
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

/// Counts the peak of this process anew from here on; `false` where the system cannot.
pub fn reset_peak() -> bool {
    // Linux alone has this file, and 5 is its word for it.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Resident bytes of this process, now and at most.
#[cfg(target_os = "linux")]
fn process() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    (field(&status, "VmRSS:"), field(&status, "VmHWM:"))
}

/// A line of /proc/self/status such as `VmRSS:     1234 kB`, in bytes.
#[cfg(any(target_os = "linux", test))]
fn field(status: &str, name: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?;
    kilobytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Resident bytes of this process at most; macOS counts in bytes.
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
        // Others may take it first: tests share the process.
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
