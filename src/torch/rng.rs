//! Random numbers: the default generators, and generators with their own state.

use std::ffi::c_void;
use std::sync::Arc;

use super::{Device, Tensor, ffi, uninterrupted};
use crate::declare::Display;
use crate::error::Result;
use crate::scripted;

/// Random number generator with its own state; clones share it.
#[derive(Clone)]
pub struct Generator(Arc<Owned>);

struct Owned {
    pointer: *mut c_void,
    device: Device,
    seed: u64,
}

// SAFETY: libtorch guards a generator's state with a mutex of its own.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: allocated by the shim and freed once.
        unsafe { ffi::sp_generator_free(self.pointer) }
    }
}

impl Generator {
    /// Creates a generator for tensors on `device`, seeded with `seed`.
    pub fn new(seed: u64, device: Device) -> Result<Self> {
        super::start();
        let name = ffi::c_string(&device.to_string())?;
        // SAFETY: the name outlives the call.
        let pointer = unsafe { ffi::sp_generator(name.as_ptr(), seed) };
        if pointer.is_null() {
            return Err(ffi::last_error());
        }
        Ok(Self(Arc::new(Owned { pointer, device, seed })))
    }

    /// Returns the device of the tensors it fills.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// Returns the seed it was created with.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns the full state as a uint8 tensor.
    pub fn state(&self) -> Result<Tensor> {
        state(self.0.pointer, self.0.device)
    }

    /// Restores a state from [`Generator::state`].
    pub fn restore(&self, saved: &Tensor) -> Result<()> {
        restore(self.0.pointer, self.0.device, saved)
    }

    pub(super) fn pointer(&self) -> *const c_void {
        self.0.pointer
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "generator(seed {}, {})", self.seed(), self.device())
    }
}

scripted!(
    Generator,
    "generator",
    |g| Display::text(format!("{g:?}")),
    facts = |g| vec![("seed", g.seed().to_string()), ("device", g.device().to_string())],
);

/// Mixes two numbers into one seed with the finalizer of SplitMix64, so that neighboring inputs give unrelated
/// seeds.
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Seeds the default generators of all devices.
pub fn seed(seed: i64) {
    super::start();
    uninterrupted(|| tch::manual_seed(seed));
}

/// Returns the state of a device's default generator as a uint8 tensor.
pub fn default_state(device: Device) -> Result<Tensor> {
    state(std::ptr::null_mut(), device)
}

/// Restores the states of the default generators of some devices.
pub fn restore_defaults(saved: &[(Device, Tensor)]) -> Result<()> {
    saved.iter().try_for_each(|(device, state)| restore_default(*device, state))
}

/// Restores a state from [`default_state`].
pub fn restore_default(device: Device, saved: &Tensor) -> Result<()> {
    restore(std::ptr::null_mut(), device, saved)
}

fn state(pointer: *mut c_void, device: Device) -> Result<Tensor> {
    super::start();
    let name = ffi::c_string(&device.to_string())?;
    // SAFETY: the generator and the name outlive the call.
    let tensor = uninterrupted(|| unsafe { ffi::sp_generator_state(pointer, name.as_ptr()) });
    if tensor.is_null() {
        return Err(ffi::last_error());
    }
    // SAFETY: allocated by the shim, which gives up ownership.
    Ok(unsafe { ffi::owned(tensor) })
}

fn restore(pointer: *mut c_void, device: Device, saved: &Tensor) -> Result<()> {
    let name = ffi::c_string(&device.to_string())?;
    let saved = saved.to_device(Device::Cpu)?;
    // SAFETY: all three outlive the call.
    ffi::check(uninterrupted(|| unsafe {
        ffi::sp_generator_restore(pointer, name.as_ptr(), ffi::raw(&saved))
    }))
}
