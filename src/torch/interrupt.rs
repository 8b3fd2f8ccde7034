//! Interrupts within a call into libtorch.
//!
//! While a [`Guard`] is alive and the flag is set, libtorch's requests for CPU memory on this thread fail, and the
//! operation returns [`Error::interrupted`](crate::error::Error::interrupted). Changes that must be completed as a
//! whole are wrapped in [`uninterrupted`].

use std::marker::PhantomData;
use std::ptr::null;

use super::ffi;
use crate::context::Interrupt;
use crate::error::{Error, Result};

/// Guard that makes libtorch stop when the flag of an [`Interrupt`] is set, until it is dropped.
///
/// Guards nest: dropping one makes the previous one active again. They must be dropped in reverse order, as local
/// variables are.
#[must_use = "dropped at once, it guards nothing"]
pub struct Guard {
    earlier: *const u8,
    /// Keeps the flag alive.
    _interrupt: Option<Interrupt>,
    /// The flag is watched by one thread, so the guard must stay on it.
    _here: PhantomData<*const ()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: the previous flag belongs to a guard that outlives this one, or is null.
        unsafe { ffi::sp_watch(self.earlier) };
    }
}

/// Makes operations on this thread stop within one allocation after the flag is set, until the guard is dropped.
pub fn interruptible(interrupt: &Interrupt) -> Guard {
    // A refusal that libtorch kept to itself does not concern what runs now.
    was_refused();
    watch(Some(interrupt.clone()))
}

/// Runs `body` to completion regardless of the flag, for changes that must not be left half done.
pub fn uninterrupted<T>(body: impl FnOnce() -> T) -> T {
    let _mask = watch(None);
    body()
}

/// Returns whether memory was refused on this thread because of an interrupt, since the last question. libtorch
/// passes on only a text, or `tch` a panic, so the reason is recorded beside it.
pub(crate) fn was_refused() -> bool {
    // SAFETY: reads and clears a flag of this thread.
    unsafe { ffi::sp_take_refused() != 0 }
}

/// What a thread watches, to be watched on threads that work for it meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Watched(*const u8);

// SAFETY: the flag is an atomic byte.
unsafe impl Sync for Watched {}

impl Watched {
    /// Calls `body` with what this thread watches. Threads that it starts must end before it returns.
    pub fn during<T>(body: impl FnOnce(&Self) -> T) -> T {
        // SAFETY: reads a pointer of this thread.
        body(&Self(unsafe { ffi::sp_watched() }))
    }

    /// Watches the same on this thread until the guard is dropped.
    pub fn watch(&self) -> Guard {
        // SAFETY: the guard of the thread that called `during` keeps the flag alive until that returns.
        let earlier = unsafe { ffi::sp_watch(self.0) };
        Guard { earlier, _interrupt: None, _here: PhantomData }
    }
}

/// Returns an error if what is watched on this thread was interrupted, for long work that asks libtorch for no memory.
pub(crate) fn check() -> Result<()> {
    // SAFETY: reads a flag that a guard keeps alive.
    match unsafe { ffi::sp_raised() } {
        0 => Ok(()),
        _ => Err(Error::interrupted()),
    }
}

fn watch(interrupt: Option<Interrupt>) -> Guard {
    let flag = interrupt.as_ref().map_or(null(), Interrupt::address);
    // SAFETY: the guard keeps the flag alive for as long as it is watched.
    let earlier = unsafe { ffi::sp_watch(flag) };
    Guard { earlier, _interrupt: interrupt, _here: PhantomData }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::declare::IntoValue;
    use crate::error::Kind;
    use crate::torch::{DType, Device, Tensor, autograd, no_grad};

    fn ones() -> Result<Tensor> {
        Tensor::ones(&[4, 4], DType::Float32, Device::Cpu)
    }

    fn raised() -> Interrupt {
        let interrupt = Interrupt::default();
        interrupt.raise();
        interrupt
    }

    #[test]
    fn operations_stop_while_a_raised_flag_is_watched() {
        crate::torch::start();
        let (calm, raised) = (Interrupt::default(), raised());
        let x = ones().unwrap();
        let guard = interruptible(&raised);
        assert_eq!(ones().unwrap_err(), Error::interrupted());
        assert_eq!(x.matmul(&x).unwrap_err(), Error::interrupted());
        assert_eq!(
            crate::torch::call::call("relu", &[x.clone().into_value()], &Default::default())
                .unwrap_err()
                .kind(),
            Kind::Interrupted
        );
        {
            let _inner = interruptible(&calm);
            ones().unwrap();
        }
        ones().unwrap_err();
        uninterrupted(|| {
            ones().unwrap();
            let _again = interruptible(&raised);
            ones().unwrap_err();
        });
        ones().unwrap_err();
        // Other threads are not affected.
        std::thread::spawn(|| ones().map(drop)).join().unwrap().unwrap();
        raised.clear();
        ones().unwrap();
        raised.raise();
        drop(guard);
        ones().unwrap();
    }

    #[test]
    fn the_modes_of_the_thread_are_as_before() {
        crate::torch::start();
        let (x, raised) = (ones().unwrap(), raised());
        let guard = interruptible(&raised);
        let error = no_grad(|| autograd::autocast(Device::Cpu, || x.matmul(&x))).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        drop(guard);
        assert!(autograd::is_recording());
        assert_eq!(x.matmul(&x).unwrap().dtype(), DType::Float32);
    }

    #[test]
    fn one_backward_pass_stops_in_its_middle() {
        crate::torch::start();
        let w = Tensor::full(&[192, 192], 1.0 / 192.0, DType::Float32, Device::Cpu).unwrap();
        let w = w.set_requires_grad(true).unwrap();
        let deep = |layers: usize| -> Result<Tensor> {
            (1..layers).try_fold(w.clone(), |x, _| x.matmul(&w))?.sum(&[], false)
        };
        let loss = deep(4000).unwrap();
        let interrupt = Interrupt::default();
        let raise = interrupt.clone();
        let user = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            raise.raise();
        });
        let guard = interruptible(&interrupt);
        assert_eq!(loss.backward(None, false).unwrap_err(), Error::interrupted());
        drop(guard);
        user.join().unwrap();
        // The next pass starts fresh and is correct: each row of w^2 summed has the gradient 2.
        w.zero_grad();
        deep(2).unwrap().backward(None, false).unwrap();
        assert!((w.grad().unwrap().mean(&[], false).unwrap().item().unwrap() - 2.0).abs() < 1e-4);
    }
}
