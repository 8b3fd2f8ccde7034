//! Devices, and loading CUDA at run time.

use std::fmt;

use super::{Tensor, checked, ffi};
use crate::declare::{FromValue, IntoValue, Value};
use crate::error::{Error, Result};

/// Where a tensor lives and is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl Device {
    /// The first CUDA device where there is one, else the CPU.
    pub fn auto() -> Self {
        if cuda_count() > 0 { Device::Cuda(0) } else { Device::Cpu }
    }

    /// Reads `cpu`, `cuda`, `cuda:1` or `auto`; a CUDA device that is not there is an error.
    pub fn named(name: &str) -> Result<Self> {
        let number = match name {
            "cpu" => return Ok(Device::Cpu),
            "auto" => return Ok(Self::auto()),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        let Some(number) = number else {
            return Err(Error::argument(format!("unknown device \"{name}\""))
                .hint("it takes \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""));
        };
        match cuda_count() {
            0 => Err(Error::argument(format!(
                "device \"{name}\" was asked for, but there is no usable CUDA device"
            ))
            .hint("use \"auto\" or \"cpu\"; `spectral info` says what was found")),
            count if number >= count => Err(Error::argument(format!(
                "device \"{name}\" was asked for, but there are {count} CUDA devices"
            ))
            .hint(format!("the last one is \"cuda:{}\"", count - 1))),
            _ => Ok(Device::Cuda(number)),
        }
    }

    /// Whether this is a CUDA device.
    pub fn is_cuda(self) -> bool {
        matches!(self, Device::Cuda(_))
    }

    pub(crate) fn tch(self) -> tch::Device {
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

    /// Waits until everything queued on the device is done.
    pub fn synchronize(self) -> Result<()> {
        if let Device::Cuda(n) = self {
            tch::Cuda::synchronize(n as i64);
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
}

impl IntoValue for Device {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        Value::Str(self.to_string())
    }
}

/// How many CUDA devices can be used.
pub fn cuda_count() -> usize {
    usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

/// Whether there is an NVIDIA driver.
pub fn has_driver() -> bool {
    // SAFETY: opening the driver's library runs only its own initialiser.
    unsafe { libloading::Library::new("libcuda.so.1") }.is_ok()
}

/// What stands between this program and CUDA, in a sentence.
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

/// Opens libtorch's CUDA half where a driver is present. It must happen before the first question about
/// CUDA: libtorch caches a "no" for the life of the process. Linking to it instead would double the
/// start-up time of everybody without a GPU.
pub(crate) fn load_cuda() {
    #[cfg(target_os = "linux")]
    {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: both libraries run only their own initialisers, which expect to be loaded this way.
        unsafe {
            if Library::open(Some("libcuda.so.1"), RTLD_NOW).is_err() {
                return;
            }
            let path = super::libtorch_folder().join("libtorch_cuda.so");
            if let Ok(library) = Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) {
                // It stays for the life of the process.
                std::mem::forget(library);
            }
        }
    }
}

impl Tensor {
    /// The device the tensor is on.
    pub fn device(&self) -> Device {
        Device::of(self.raw().device())
    }

    /// A copy on another device; the same tensor when it is already there.
    pub fn to_device(&self, device: Device) -> Result<Tensor> {
        checked(self.raw().f_to_device(device.tch())).map(Tensor::wrap)
    }
}

/// Bytes on a CUDA device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held by tensors now.
    pub allocated: i64,
    /// Held by tensors at most so far.
    pub allocated_peak: i64,
    /// Taken from the driver now.
    pub reserved: i64,
    /// Taken from the driver at most so far.
    pub reserved_peak: i64,
}

/// How much memory of a CUDA device libtorch uses; zeros for the CPU, which keeps no count.
pub fn memory(device: Device) -> Result<Memory> {
    let Device::Cuda(number) = device else {
        return Ok(Memory::default());
    };
    let mut out = [0; 4];
    // SAFETY: the array has the four places that are written.
    ffi::check(unsafe { ffi::sp_memory(number as i32, out.as_mut_ptr()) })?;
    let [allocated, allocated_peak, reserved, reserved_peak] = out;
    Ok(Memory { allocated, allocated_peak, reserved, reserved_peak })
}

/// Whether libtorch must choose algorithms that give the same bits on every run; slower on CUDA.
pub fn set_deterministic(on: bool) -> Result<()> {
    // SAFETY: sets global flags.
    ffi::check(unsafe { ffi::sp_set_deterministic(i32::from(on)) })
}

/// Whether float32 products on CUDA may round their inputs to TF32 (10 bits of mantissa).
pub fn set_tf32(on: bool) -> Result<()> {
    // SAFETY: sets global flags.
    ffi::check(unsafe { ffi::sp_set_tf32(i32::from(on)) })
}
