//! Devices, and loading CUDA at run time.

use std::fmt;

use super::{Tensor, checked, ffi};
use crate::declare::{Allowed, FromValue, IntoValue, Value};
use crate::error::{Error, Result, nearest};

/// Device on which a tensor is stored and computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// The CUDA device with this index.
    Cuda(usize),
}

impl Device {
    /// Returns the first CUDA device, or the CPU if there is none.
    pub fn auto() -> Self {
        if cuda_count() > 0 { Device::Cuda(0) } else { Device::Cpu }
    }

    /// Parses `cpu`, `cuda`, `cuda:1` or `auto`; a CUDA device that does not exist is an error.
    pub fn named(name: &str) -> Result<Self> {
        let number = match Self::parse(name)? {
            Some(Device::Cuda(number)) => number,
            Some(Device::Cpu) => return Ok(Device::Cpu),
            None => return Ok(Self::auto()),
        };
        match cuda_count() {
            0 => Err(Error::argument(format!(
                "device \"{name}\" was requested, but there is no usable CUDA device"
            ))
            .hint("use \"auto\" or \"cpu\"; `spectral info` says what was found")),
            count if number >= count => Err(Error::argument(format!(
                "device \"{name}\" was requested, but CUDA has {count} device{}",
                if count == 1 { "" } else { "s" }
            ))
            .hint(format!("the last one is \"cuda:{}\"", count - 1))),
            _ => Ok(Device::Cuda(number)),
        }
    }

    /// Returns the device that a text names, which may not exist; `None` for `auto`.
    fn parse(name: &str) -> Result<Option<Self>> {
        let number = match name {
            "cpu" => return Ok(Some(Device::Cpu)),
            "auto" => return Ok(None),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        if let Some(number) = number {
            return Ok(Some(Device::Cuda(number)));
        }
        let error = Error::argument(format!("unknown device \"{name}\""));
        const NAMES: [&str; 3] = ["auto", "cpu", "cuda"];
        Err(match nearest(name, NAMES) {
            // The word is near to the CPU's by its letters alone.
            _ if name.to_lowercase().starts_with("gpu") => error.hint("did you mean `cuda`?"),
            Some(_) => error.did_you_mean(name, NAMES),
            None => error.hint("it takes \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""),
        })
    }

    /// Returns an error unless a text is the name of a device, which may not exist.
    pub(crate) fn check_name(name: &str) -> Result<()> {
        Self::parse(name).map(drop)
    }

    /// Returns whether this is a CUDA device.
    pub fn is_cuda(self) -> bool {
        matches!(self, Device::Cuda(_))
    }

    pub(crate) fn tch(self) -> tch::Device {
        super::start();
        match self {
            Device::Cpu => tch::Device::Cpu,
            Device::Cuda(n) => tch::Device::Cuda(n),
        }
    }

    pub(crate) fn of(device: tch::Device) -> Self {
        match device {
            tch::Device::Cuda(n) => Device::Cuda(n),
            _ => Device::Cpu,
        }
    }

    /// Waits until all work queued on the device has finished.
    pub fn synchronize(self) -> Result<()> {
        super::start();
        if let Device::Cuda(n) = self {
            // SAFETY: only waits, and reports a failure.
            return ffi::check(unsafe { ffi::sp_synchronize(n as i32) });
        }
        Ok(())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl TryFrom<&str> for Device {
    type Error = Error;

    /// Returns the device of that name: "auto", "cpu", "cuda" or "cuda:N".
    fn try_from(name: &str) -> Result<Self> {
        Self::named(name)
    }
}

impl FromValue for Device {
    fn label() -> String {
        "device".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Str(name) => Device::named(name),
            other => Err(other.mismatch("a device such as \"cpu\"")),
        }
    }
    fn allowed() -> Allowed {
        Allowed::Named(Device::check_name)
    }
}

impl IntoValue for Device {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        Value::Str(self.to_string())
    }
}

/// Returns the number of usable CUDA devices.
pub fn cuda_count() -> usize {
    super::start();
    usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

/// Returns whether an NVIDIA driver is installed.
pub fn has_driver() -> bool {
    // SAFETY: opening the driver's library runs only its own initializer.
    unsafe { libloading::Library::new("libcuda.so.1") }.is_ok()
}

/// Describes in one sentence whether CUDA is usable and, if not, why.
pub fn cuda_status() -> String {
    let count = cuda_count();
    if count > 0 {
        return format!("{count} device{}", if count == 1 { "" } else { "s" });
    }
    let driver = has_driver();
    let libtorch = super::libtorch_folder().join("libtorch_cuda.so").exists();
    match (driver, libtorch) {
        (false, _) => "not used: there is no NVIDIA driver (libcuda.so.1)".to_string(),
        (true, false) => "not used: libtorch was installed without its CUDA half".to_string(),
        (true, true) => "not used: the driver is there, but no device answers".to_string(),
    }
}

/// Loads libtorch's CUDA libraries if a driver is present. This must happen before the first query about CUDA,
/// because libtorch caches a negative answer for the life of the process. Linking to the libraries instead would
/// double the start-up time of everybody without a GPU.
pub(crate) fn load_cuda() {
    #[cfg(target_os = "linux")]
    {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: both libraries run only their own initializers, which expect to be loaded this way.
        unsafe {
            if Library::open(Some("libcuda.so.1"), RTLD_NOW).is_err() {
                return;
            }
            let path = super::libtorch_folder().join("libtorch_cuda.so");
            if let Ok(library) = Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) {
                // The library stays loaded for the life of the process.
                std::mem::forget(library);
            }
        }
    }
}

impl Tensor {
    /// Returns the device of the tensor.
    pub fn device(&self) -> Device {
        Device::of(self.raw().device())
    }

    /// Returns a copy on another device, or the same tensor if it is already there.
    pub fn to_device(&self, device: Device) -> Result<Tensor> {
        checked(self.raw().f_to_device(device.tch())).map(Tensor::wrap)
    }
}

/// Memory of a CUDA device in use by libtorch, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held by tensors now.
    pub allocated: i64,
    /// Peak of what tensors held.
    pub allocated_peak: i64,
    /// Reserved from the driver now.
    pub reserved: i64,
    /// Peak of what was reserved from the driver.
    pub reserved_peak: i64,
}

/// Returns how much memory of a CUDA device libtorch uses; all zeros for the CPU, for which libtorch keeps no
/// statistics.
pub fn memory(device: Device) -> Result<Memory> {
    let Device::Cuda(number) = device else {
        return Ok(Memory::default());
    };
    let mut out = [0; 4];
    // SAFETY: the array has room for the four numbers that are written.
    ffi::check(unsafe { ffi::sp_memory(number as i32, out.as_mut_ptr()) })?;
    let [allocated, allocated_peak, reserved, reserved_peak] = out;
    Ok(Memory { allocated, allocated_peak, reserved, reserved_peak })
}

/// Sets the peaks of [`memory`] to what is in use now.
pub fn reset_memory_peak(device: Device) -> Result<()> {
    let Device::Cuda(number) = device else { return Ok(()) };
    // SAFETY: sets counters.
    ffi::check(unsafe { ffi::sp_reset_memory_peak(number as i32) })
}

/// Sets whether libtorch must use algorithms that return the same bits on every run, which are slower on CUDA.
pub fn set_deterministic(on: bool) -> Result<()> {
    // SAFETY: sets global flags.
    ffi::check(unsafe { ffi::sp_set_deterministic(i32::from(on)) })
}

/// Sets whether float32 matrix products on CUDA may round their inputs to TF32 (10 bits of mantissa).
pub fn set_tf32(on: bool) -> Result<()> {
    // SAFETY: sets global flags.
    ffi::check(unsafe { ffi::sp_set_tf32(i32::from(on)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_devices_that_may_not_exist() {
        for (name, device) in [("auto", None), ("cpu", Some(Device::Cpu)), ("cuda:7", Some(Device::Cuda(7)))]
        {
            assert_eq!(Device::parse(name).unwrap(), device);
        }
        for (name, hint) in [
            ("gpu", "did you mean `cuda`?"),
            ("CUDA", "did you mean `cuda`?"),
            ("cuda:x", "did you mean `cuda`?"),
            ("cpus", "did you mean `cpu`?"),
            ("tpu-v5e", "it takes \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""),
        ] {
            let error = Device::parse(name).unwrap_err();
            assert_eq!(error.message(), format!("unknown device \"{name}\""));
            assert_eq!(error.hint_text(), Some(hint), "{name}");
        }
    }

    #[test]
    fn waiting_for_a_gpu_that_is_not_there_is_an_error() {
        Device::Cpu.synchronize().unwrap();
        assert!(Device::Cuda(63).synchronize().is_err());
    }
}
