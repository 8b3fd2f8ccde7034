//! The CUDA driver, opened at run time: loading compiled kernels and starting them.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

use libloading::Library;

use super::Launch;
use crate::error::{Error, Result};

type Status = c_int;

/// A device, as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// What it is called, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// What the compiler calls its architecture, such as `sm_90`.
    pub arch: String,
    /// Its memory in bytes.
    pub memory: u64,
    /// The newest CUDA that the driver knows, major and minor.
    pub cuda: (i32, i32),
}

/// A loaded file of kernels.
#[derive(Clone, Copy)]
pub(super) struct Module(*mut c_void);

/// A kernel.
#[derive(Clone, Copy)]
pub(super) struct Function(*mut c_void);

// SAFETY: handles of the driver, which may be used from any thread.
unsafe impl Send for Function {}

/// The functions of the driver that are needed, by the names in its library.
pub(super) struct Driver {
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    device_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
    retain: unsafe extern "C" fn(*mut *mut c_void, c_int) -> Status,
    push: unsafe extern "C" fn(*mut c_void) -> Status,
    pop: unsafe extern "C" fn(*mut *mut c_void) -> Status,
    load_data: unsafe extern "C" fn(*mut *mut c_void, *const c_void) -> Status,
    get_function: unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> Status,
    #[allow(clippy::type_complexity)]
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
    /// The primary context of each device, which libtorch computes in.
    contexts: Vec<*mut c_void>,
    _library: Library,
}

// SAFETY: contexts are handles, and every use of them makes its own current first.
unsafe impl Send for Driver {}

const MAJOR: c_int = 75;
const MINOR: c_int = 76;

impl Driver {
    /// Opens the driver and retains the context of every device.
    pub(super) fn open() -> Result<Self> {
        // SAFETY: the library runs only its own initialiser; names and types are those of the driver's interface.
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
        // SAFETY: the driver gives a string of its own, or leaves the pointer null.
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

    /// What the compiler calls a device's architecture, such as `sm_90`.
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

    /// How many devices there are.
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.contexts.len()).unwrap_or(i32::MAX)
    }

    /// What the driver says of a device.
    pub(super) fn gpu(&self, device: i32) -> Result<Gpu> {
        let handle = self.device(device)?;
        let (mut name, mut memory, mut version) = ([0 as c_char; 256], 0usize, 0);
        // SAFETY: names and types are those of the driver's interface; each writes what it is given room for, and the
        // name ends in a zero.
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

    /// Runs `body` with the context of a device.
    fn within<T>(&self, context: *mut c_void, body: impl FnOnce() -> Result<T>) -> Result<T> {
        // SAFETY: a context that was retained; it is taken away again below.
        self.check("cuCtxPushCurrent", unsafe { (self.push)(context) })?;
        let result = body();
        let mut gone = null_mut();
        // SAFETY: takes what was pushed above.
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
            // SAFETY: writes one handle, which stays for the life of the process.
            self.check("cuDevicePrimaryCtxRetain", unsafe { (self.retain)(&raw mut context, handle) })?;
            self.contexts[index] = context;
        }
        self.within(self.contexts[index], || {
            let mut module = null_mut();
            // SAFETY: the image is complete, as its header says how long it is.
            let status = unsafe { (self.load_data)(&raw mut module, cubin.as_ptr().cast()) };
            self.check("cuModuleLoadData", status)?;
            Ok(Module(module))
        })
    }

    /// A kernel of a loaded file.
    pub(super) fn function(&self, device: i32, module: Module, name: &CStr) -> Result<Function> {
        self.within(self.context(device)?, || {
            let mut function = null_mut();
            // SAFETY: the module was loaded in this context and the name ends in zero.
            let status = unsafe { (self.get_function)(&raw mut function, module.0, name.as_ptr()) };
            self.check("cuModuleGetFunction", status)?;
            Ok(Function(function))
        })
    }

    /// Starts a kernel.
    pub(super) fn launch(&self, device: i32, function: Function, launch: &Launch) -> Result<()> {
        let Launch { blocks, threads, stream, arguments, .. } = *launch;
        self.within(self.context(device)?, || {
            // SAFETY: the shim gives as many arguments as the kernel takes, of its types, and they are copied here.
            let status = unsafe {
                (self.launch)(function.0, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, null_mut())
            };
            self.check("cuLaunchKernel", status)
        })
    }
}
