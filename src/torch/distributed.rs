//! Processes that compute together: a key-value store to find each other, and collectives of CPU tensors.
//!
//! Both are c10d's, TCPStore and Gloo, which libtorch's CPU library contains. [`nccl`](super::nccl) has the
//! collectives of CUDA tensors, and the room `ranks` decides when which is used.

use std::ffi::c_void;
use std::time::Duration;

use super::ffi;
use super::{Device, Tensor};
use crate::error::{Error, Result};

/// Key-value store on a TCP port, served by one process for all.
#[derive(Debug)]
pub struct Store(*mut c_void);

// SAFETY: TCPStore locks every operation.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: allocated by the shim and freed once.
        unsafe { ffi::sp_free_store(self.0) }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}

impl Store {
    /// Connects to the store at `host` and `port`, waiting up to `timeout` for its server. The server serves it from
    /// this process; with port 0 it picks a free one. Keys are kept apart by `prefix`.
    pub fn open(host: &str, port: u16, server: bool, prefix: &str, timeout: Duration) -> Result<Self> {
        let (host, prefix) = (ffi::c_string(host)?, ffi::c_string(prefix)?);
        let (port, server, timeout) = (port.into(), i32::from(server), milliseconds(timeout));
        // SAFETY: the texts outlive the call.
        let store = unsafe { ffi::sp_open_store(host.as_ptr(), port, server, prefix.as_ptr(), timeout) };
        if store.is_null() { Err(ffi::last_error()) } else { Ok(Self(store)) }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        // SAFETY: the store lives.
        u16::try_from(unsafe { ffi::sp_store_port(self.0) }).unwrap_or(0)
    }

    /// Sets the value of a key.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (ffi::c_string(key)?, ffi::c_string(value)?);
        // SAFETY: the texts outlive the call.
        ffi::check(unsafe { ffi::sp_store_set(self.0, key.as_ptr(), value.as_ptr()) })
    }

    /// Returns the value of a key, waiting up to `timeout` for another process to set it.
    pub fn get(&self, key: &str, timeout: Duration) -> Result<String> {
        let key = ffi::c_string(key)?;
        // SAFETY: the text outlives the call.
        let value = unsafe { ffi::sp_store_get(self.0, key.as_ptr(), milliseconds(timeout)) };
        ffi::text(value).ok_or_else(ffi::last_error)
    }
}

/// All ranks, connected by sockets. Every rank calls the same collectives in the same order.
#[derive(Debug)]
pub struct Group(*mut c_void);

// SAFETY: ProcessGroupGloo may be called from any thread; the order of calls is the caller's concern.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: allocated by the shim and freed once.
        unsafe { ffi::sp_free_group(self.0) }
    }
}

impl Group {
    /// Connects all ranks through sockets of `address`, an address of this machine, or of the network interface
    /// `interface` if that is not empty. Collectives fail after `timeout`.
    pub fn open(
        store: &Store,
        (rank, size): (usize, usize),
        address: &str,
        interface: &str,
        timeout: Duration,
    ) -> Result<Self> {
        let (address, interface) = (ffi::c_string(address)?, ffi::c_string(interface)?);
        // SAFETY: the store lives, and the texts outlive the call.
        let group = unsafe {
            ffi::sp_open_group(
                store.0,
                rank as i32,
                size as i32,
                address.as_ptr(),
                interface.as_ptr(),
                milliseconds(timeout),
            )
        };
        if group.is_null() { Err(ffi::last_error()) } else { Ok(Self(group)) }
    }

    /// Starts to sum a tensor over all ranks in place.
    pub fn sum(&self, tensor: &Tensor) -> Result<Work> {
        // SAFETY: group and tensor live, here and in the functions below.
        Work::of(unsafe { ffi::sp_start_sum(self.0, ffi::raw(on_cpu(tensor)?)) }, &[tensor])
    }

    /// Starts to overwrite a tensor with that of the rank `root`.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Work> {
        // SAFETY: see above.
        let work = unsafe { ffi::sp_start_broadcast(self.0, ffi::raw(on_cpu(tensor)?), root as i32) };
        Work::of(work, &[tensor])
    }

    /// Starts to gather the inputs of all ranks, one after the other, in `output`.
    pub fn gather(&self, output: &Tensor, input: &Tensor) -> Result<Work> {
        let (to, from) = (ffi::raw(on_cpu(output)?), ffi::raw(on_cpu(input)?));
        // SAFETY: see above.
        Work::of(unsafe { ffi::sp_start_gather(self.0, to, from) }, &[output, input])
    }

    /// Starts to exchange equal parts: part i of `input` becomes the part of this rank in `output` of rank i.
    pub fn exchange(&self, output: &Tensor, input: &Tensor) -> Result<Work> {
        let (to, from) = (ffi::raw(on_cpu(output)?), ffi::raw(on_cpu(input)?));
        // SAFETY: see above.
        Work::of(unsafe { ffi::sp_start_exchange(self.0, to, from) }, &[output, input])
    }
}

fn on_cpu(tensor: &Tensor) -> Result<&Tensor> {
    match tensor.device() {
        Device::Cpu => Ok(tensor),
        other => Err(Error::internal(format!("Gloo takes tensors on the CPU, found one on {other}"))),
    }
}

/// A collective in progress, which keeps its tensors alive.
#[derive(Debug)]
pub struct Work {
    raw: *mut c_void,
    _tensors: Vec<Tensor>,
}

impl Drop for Work {
    fn drop(&mut self) {
        // SAFETY: allocated by the shim and freed once; work that is not done keeps its tensors in C++.
        unsafe { ffi::sp_free_work(self.raw) }
    }
}

impl Work {
    fn of(raw: *mut c_void, tensors: &[&Tensor]) -> Result<Self> {
        match raw.is_null() {
            true => Err(ffi::last_error()),
            false => Ok(Self { raw, _tensors: tensors.iter().map(|t| (*t).clone()).collect() }),
        }
    }

    /// Waits up to `time` and returns whether the collective is done; fails if it failed.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        // SAFETY: the work lives.
        match unsafe { ffi::sp_wait_for(self.raw, milliseconds(time)) } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ffi::last_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::DType;

    /// Runs `body` on `size` threads, which are the ranks of a group, and returns their results in order.
    fn on_ranks<T: Send>(size: usize, body: impl Fn(&Group, usize) -> T + Sync) -> Vec<T> {
        crate::torch::start();
        let time = Duration::from_secs(60);
        let server = Store::open("127.0.0.1", 0, true, "", time).unwrap();
        let port = server.port();
        let one = |rank| {
            let store = Store::open("127.0.0.1", port, false, "group", time).unwrap();
            body(&Group::open(&store, (rank, size), "127.0.0.1", "", time).unwrap(), rank)
        };
        std::thread::scope(|scope| {
            let started: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// Would fail, most likely with a crash, if the stand-ins for gloo's headers changed the layout of c10d's
    /// classes.
    #[test]
    fn collectives_have_known_results() {
        let found = on_ranks(3, |group, rank| {
            let time = Duration::from_secs(60);
            let tensor = |values: &[f32]| Tensor::from_f32(values, &[values.len() as i64]).unwrap();
            let sum = Tensor::full(&[1 << 16], rank as f64 + 1.0, DType::Float32, Device::Cpu).unwrap();
            assert!(group.sum(&sum).unwrap().wait(time).unwrap());
            let kept = tensor(&[rank as f32, 10.0 * rank as f32]);
            assert!(group.broadcast(&kept, 2).unwrap().wait(time).unwrap());
            let all = tensor(&[0.0; 6]);
            assert!(group.gather(&all, &tensor(&[rank as f32, -1.0])).unwrap().wait(time).unwrap());
            let parts = tensor(&[0.0; 3]);
            let mine = [0, 1, 2].map(|to| (10 * rank + to) as f32);
            assert!(group.exchange(&parts, &tensor(&mine)).unwrap().wait(time).unwrap());
            let ends = sum.to_f32().unwrap();
            (ends[0] + ends[65535], kept.to_f32().unwrap(), all.to_f32().unwrap(), parts.to_f32().unwrap())
        });
        for (rank, (sum, kept, all, parts)) in found.into_iter().enumerate() {
            assert_eq!(sum, 12.0);
            assert_eq!(kept, [2.0, 20.0]);
            assert_eq!(all, [0.0, -1.0, 1.0, -1.0, 2.0, -1.0]);
            assert_eq!(parts, [0.0, 10.0, 20.0].map(|from| from + rank as f32));
        }
    }

    #[test]
    fn waiting_for_a_rank_that_does_not_come_returns() {
        let found = on_ranks(2, |group, rank| {
            let flag = Tensor::zeros(&[1], DType::Float32, Device::Cpu).unwrap();
            if rank == 1 {
                std::thread::sleep(Duration::from_millis(300));
            }
            let work = group.sum(&flag).unwrap();
            let first = work.wait(Duration::from_millis(20)).unwrap();
            (first, work.wait(Duration::from_secs(60)).unwrap())
        });
        assert_eq!(found[0], (false, true));
        assert!(found[1].1);
    }

    #[test]
    fn a_missing_server_and_a_missing_key_are_errors() {
        let time = Duration::from_millis(200);
        let store = Store::open("127.0.0.1", 0, true, "a", Duration::from_secs(60)).unwrap();
        store.set("key", "value").unwrap();
        assert_eq!(store.get("key", time).unwrap(), "value");
        assert!(store.get("other", time).is_err());
        let other = Store::open("127.0.0.1", store.port(), false, "b", time).unwrap();
        assert!(other.get("key", time).is_err());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(Store::open("127.0.0.1", free, false, "", time).is_err());
    }
}
