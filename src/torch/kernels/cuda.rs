//! Kernel launcher for GPUs.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::driver::{Driver, Function};
use super::nvrtc::Nvrtc;
use super::{Launch, Launcher, names, source, store};
use crate::error::{Error, Result};

/// Launcher that compiles kernels for the present GPU and launches them; driver and compiler are opened on first
/// use.
#[derive(Default)]
pub struct Cuda(Mutex<State>);

#[derive(Default)]
struct State {
    opened: Option<Opened>,
    /// Numbers of loaded files by device and file, then by definitions; `None` if loading failed.
    known: HashMap<(i32, &'static str), HashMap<String, Option<i64>>>,
    loaded: Vec<Loaded>,
    /// Whether a failure has been reported; only the first one is.
    reported: bool,
}

struct Opened {
    driver: Driver,
    nvrtc: Nvrtc,
}

struct Loaded {
    device: i32,
    functions: Vec<(CString, Function)>,
}

impl Cuda {
    /// Creates a launcher; nothing is opened yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn opened(&mut self) -> Result<&mut Opened> {
        if self.opened.is_none() {
            self.opened = Some(Opened { driver: Driver::open()?, nvrtc: Nvrtc::find()? });
        }
        self.opened.as_mut().ok_or_else(|| Error::internal("the CUDA driver is not open"))
    }

    fn compile(&mut self, device: i32, file: &'static str, defines: &str) -> Result<i64> {
        let Opened { driver, nvrtc } = self.opened()?;
        let arch = driver.arch(device)?;
        let module = store::loaded(nvrtc, (file, defines, &arch), |cubin| driver.load(device, cubin))?;
        let mut functions = Vec::new();
        for name in names(source(file)?) {
            let name =
                CString::new(name).map_err(|_| Error::internal("a kernel's name holds a zero byte"))?;
            let function = driver.function(device, module, &name)?;
            functions.push((name, function));
        }
        self.loaded.push(Loaded { device, functions });
        Ok(self.loaded.len() as i64)
    }
}

impl Launcher for Cuda {
    fn load(&self, device: i32, file: &str, defines: &str) -> Result<Option<i64>> {
        let mut state = self.lock();
        let file = super::FILES
            .iter()
            .map(|(name, _)| *name)
            .find(|name| *name == file)
            .ok_or_else(|| Error::internal(format!("no kernel file is named \"{file}\"")))?;
        if let Some(known) = state.known.get(&(device, file)).and_then(|all| all.get(defines)) {
            return Ok(*known);
        }
        let made = state.compile(device, file, defines);
        let number = made.as_ref().ok().copied();
        state.known.entry((device, file)).or_default().insert(defines.to_string(), number);
        match made {
            Ok(number) => Ok(Some(number)),
            Err(error) if !std::mem::replace(&mut state.reported, true) => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn launch(&self, kernels: i64, launch: &Launch) -> Result<()> {
        let state = self.lock();
        let loaded = usize::try_from(kernels - 1).ok().and_then(|i| state.loaded.get(i));
        let (Some(loaded), Some(opened)) = (loaded, &state.opened) else {
            return Err(Error::internal(format!("kernels {kernels} are not loaded")));
        };
        let found = loaded.functions.iter().find(|(name, _)| name.as_c_str() == launch.name);
        let (_, function) =
            found.ok_or_else(|| Error::internal(format!("no kernel is named {:?}", launch.name)))?;
        opened.driver.launch(loaded.device, *function, launch)
    }
}
