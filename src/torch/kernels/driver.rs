//! The CUDA driver, opened at run time: loads and launches compiled kernels.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

use libloading::Library;

use super::Launch;
use crate::error::{Error, Result};

type Status = c_int;

/// Device properties reported by the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compiler's name of the architecture, such as `sm_90`.
    pub arch: String,
    /// Memory in bytes.
    pub memory: u64,
    /// Newest CUDA version that the driver supports, major and minor.
    pub cuda: (i32, i32),
}

/// Loaded file of kernels.
#[derive(Clone, Copy)]
pub(super) struct Module(*mut c_void);

/// Handle of a kernel.
#[derive(Clone, Copy)]
pub(super) struct Function(*mut c_void);

// SAFETY: driver handles may be used from any thread.
unsafe impl Send for Function {}

/// Opened driver library with the functions in use.
pub(super) struct Driver {
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    device_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
    retain: unsafe extern "C" fn(*mut *mut c_void, c_int) -> Status,
    push: unsafe extern "C" fn(*mut c_void) -> Status,
    pop: unsafe extern "C" fn(*mut *mut c_void) -> Status,
    load_data: unsafe extern "C" fn(*mut *mut c_void, *const c_void) -> Status,
    get_function: unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> Status,
    launch: unsafe extern "C" fn(
        *mut c_void,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        *mut c_void,
        *mut *mut c_void,
        *mut *mut c_void,
    ) -> Status,
    error_text: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
    /// Primary context of each device, which libtorch uses too; null until it is retained.
    contexts: Vec<*mut c_void>,
    _library: Library,
}

// SAFETY: contexts are handles, and every use makes its context current first.
unsafe impl Send for Driver {}

const MAJOR: c_int = 75;
const MINOR: c_int = 76;

impl Driver {
    /// Opens the driver. The contexts of devices are retained on first use.
    pub(super) fn open() -> Result<Self> {
        // SAFETY: the library only runs its own initializer; names and types match the driver's interface.
        unsafe {
            let library = Library::new("libcuda.so.1").map_err(|_| {
                Error::argument("there is no NVIDIA driver (libcuda.so.1)")
                    .hint("check that nvidia-smi works")
            })?;
            macro_rules! symbol {
                ($name:literal) => {
                    *library.get(concat!($name, "\0").as_bytes()).map_err(|_| {
                        Error::argument(concat!("the NVIDIA driver has no function ", $name))
                            .hint("update the driver")
                    })?
                };
            }
            let init: unsafe extern "C" fn(c_uint) -> Status = symbol!("cuInit");
            let count: unsafe extern "C" fn(*mut c_int) -> Status = symbol!("cuDeviceGetCount");
            let mut driver = Driver {
                device_get: symbol!("cuDeviceGet"),
                device_attribute: symbol!("cuDeviceGetAttribute"),
                retain: symbol!("cuDevicePrimaryCtxRetain"),
                push: symbol!("cuCtxPushCurrent_v2"),
                pop: symbol!("cuCtxPopCurrent_v2"),
                load_data: symbol!("cuModuleLoadData"),
                get_function: symbol!("cuModuleGetFunction"),
                launch: symbol!("cuLaunchKernel"),
                error_text: symbol!("cuGetErrorString"),
                contexts: Vec::new(),
                _library: library,
            };
            driver.check("cuInit", init(0))?;
            let mut devices = 0;
            driver.check("cuDeviceGetCount", count(&raw mut devices))?;
            driver.contexts = vec![null_mut(); usize::try_from(devices).unwrap_or(0)];
            Ok(driver)
        }
    }

    fn check(&self, what: &str, status: Status) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        let mut text = std::ptr::null();
        // SAFETY: the driver returns a static string, or leaves the pointer null.
        let text = unsafe {
            (self.error_text)(status, &raw mut text);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err(Error::argument(format!("{what} of the CUDA driver failed with status {status}: {text}")))
    }

    fn device(&self, device: i32) -> Result<c_int> {
        let mut handle = 0;
        // SAFETY: writes one number.
        self.check("cuDeviceGet", unsafe { (self.device_get)(&raw mut handle, device) })?;
        Ok(handle)
    }

    /// Returns the compiler's name of a device's architecture, such as `sm_90`.
    pub(super) fn arch(&self, device: i32) -> Result<String> {
        let handle = self.device(device)?;
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: writes one number.
            let status = unsafe { (self.device_attribute)(&raw mut value, which, handle) };
            self.check("cuDeviceGetAttribute", status).map(|()| value)
        };
        Ok(format!("sm_{}{}", attribute(MAJOR)?, attribute(MINOR)?))
    }

    /// Returns the number of devices.
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.contexts.len()).unwrap_or(i32::MAX)
    }

    /// Returns the properties of a device.
    pub(super) fn gpu(&self, device: i32) -> Result<Gpu> {
        let handle = self.device(device)?;
        let (mut name, mut memory, mut version) = ([0 as c_char; 256], 0usize, 0);
        // SAFETY: names and types match the driver's interface; each call writes no more than it has room for, and
        // the name ends in a zero.
        let name = unsafe {
            let symbol = |name: &str| Error::argument(format!("the NVIDIA driver has no function {name}"));
            let get_name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> Status =
                *self._library.get(b"cuDeviceGetName\0").map_err(|_| symbol("cuDeviceGetName"))?;
            let get_memory: unsafe extern "C" fn(*mut usize, c_int) -> Status =
                *self._library.get(b"cuDeviceTotalMem_v2\0").map_err(|_| symbol("cuDeviceTotalMem_v2"))?;
            let get_version: unsafe extern "C" fn(*mut c_int) -> Status =
                *self._library.get(b"cuDriverGetVersion\0").map_err(|_| symbol("cuDriverGetVersion"))?;
            self.check("cuDeviceGetName", get_name(name.as_mut_ptr(), name.len() as c_int - 1, handle))?;
            self.check("cuDeviceTotalMem", get_memory(&raw mut memory, handle))?;
            self.check("cuDriverGetVersion", get_version(&raw mut version))?;
            CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
        };
        Ok(Gpu {
            name,
            arch: self.arch(device)?,
            memory: memory as u64,
            cuda: (version / 1000, version % 1000 / 10),
        })
    }

    /// Runs `body` with a context as the current one.
    fn within<T>(&self, context: *mut c_void, body: impl FnOnce() -> Result<T>) -> Result<T> {
        // SAFETY: a retained context; it is popped again below.
        self.check("cuCtxPushCurrent", unsafe { (self.push)(context) })?;
        let result = body();
        let mut gone = null_mut();
        // SAFETY: pops the context pushed above.
        self.check("cuCtxPopCurrent", unsafe { (self.pop)(&raw mut gone) })?;
        result
    }

    fn context(&self, device: i32) -> Result<*mut c_void> {
        let kept = usize::try_from(device).ok().and_then(|i| self.contexts.get(i));
        match kept {
            Some(context) if !context.is_null() => Ok(*context),
            _ => Err(Error::internal(format!("CUDA device {device} has no context"))),
        }
    }

    /// Loads a compiled file on a device.
    pub(super) fn load(&mut self, device: i32, cubin: &[u8]) -> Result<Module> {
        let handle = self.device(device)?;
        let known = usize::try_from(device).ok().filter(|i| *i < self.contexts.len());
        let index = known.ok_or_else(|| Error::internal(format!("CUDA device {device} is not there")))?;
        if self.contexts[index].is_null() {
            let mut context = null_mut();
            // SAFETY: writes one handle, which is valid for the life of the process.
            self.check("cuDevicePrimaryCtxRetain", unsafe { (self.retain)(&raw mut context, handle) })?;
            self.contexts[index] = context;
        }
        self.within(self.contexts[index], || {
            let mut module = null_mut();
            // SAFETY: the image is complete, since its header states its length.
            let status = unsafe { (self.load_data)(&raw mut module, cubin.as_ptr().cast()) };
            self.check("cuModuleLoadData", status)?;
            Ok(Module(module))
        })
    }

    /// Returns a kernel of a loaded file.
    pub(super) fn function(&self, device: i32, module: Module, name: &CStr) -> Result<Function> {
        self.within(self.context(device)?, || {
            let mut function = null_mut();
            // SAFETY: the module was loaded in this context and the name ends in zero.
            let status = unsafe { (self.get_function)(&raw mut function, module.0, name.as_ptr()) };
            self.check("cuModuleGetFunction", status)?;
            Ok(Function(function))
        })
    }

    /// Launches a kernel.
    pub(super) fn launch(&self, device: i32, function: Function, launch: &Launch) -> Result<()> {
        let Launch { blocks, threads, stream, arguments, .. } = *launch;
        self.within(self.context(device)?, || {
            // SAFETY: the shim passes as many arguments as the kernel takes, of its types, and they are copied
            // here.
            let status = unsafe {
                (self.launch)(function.0, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, null_mut())
            };
            self.check("cuLaunchKernel", status)
        })
    }
}
