//! Collectives of CUDA tensors by NVIDIA's NCCL, which comes with libtorch's CUDA library and is opened at run time.
//!
//! NCCL's C interface is stable, so neither its headers nor CUDA's are needed. Collectives are queued on libtorch's
//! current stream and return at once.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::Library;

use super::{DType, Device, Tensor, ffi};
use crate::ensure;
use crate::error::{Error, Kind, Result};

type Status = c_int;
type Raw = *mut c_void;

/// Identifier of a communicator, which rank 0 makes and the others must receive.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Id([u8; 128]);

impl Id {
    /// Returns the identifier as hexadecimal text.
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the text of an identifier.
    pub fn parse(text: &str) -> Result<Self> {
        let byte = |i: usize| text.get(2 * i..2 * i + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let mut id = [0; 128];
        for (i, place) in id.iter_mut().enumerate() {
            *place = byte(i).ok_or_else(|| Error::internal("an identifier of NCCL has 128 bytes"))?;
        }
        Ok(Self(id))
    }
}

/// The opened library.
pub struct Nccl {
    get_unique_id: unsafe extern "C" fn(*mut Id) -> Status,
    comm_init_rank: unsafe extern "C" fn(*mut Raw, c_int, Id, c_int) -> Status,
    all_reduce: unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Raw, Raw) -> Status,
    broadcast: unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Raw, Raw) -> Status,
    all_gather: unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, Raw, Raw) -> Status,
    async_error: unsafe extern "C" fn(Raw, *mut Status) -> Status,
    comm_abort: unsafe extern "C" fn(Raw) -> Status,
    error_text: unsafe extern "C" fn(Status) -> *const c_char,
    _library: Library,
}

/// Sum, of NCCL's reductions.
const SUM: c_int = 0;

impl Nccl {
    /// Opens the NCCL that libtorch has loaded, or that the system finds.
    pub fn open() -> Result<Self> {
        Self::open_at("libnccl.so.2")
    }

    /// Opens the library in a file.
    pub fn open_at(file: impl AsRef<OsStr>) -> Result<Self> {
        // SAFETY: the library only runs its own initializer; names and types match NCCL's interface.
        unsafe {
            let library = Library::new(file.as_ref())
                .map_err(|e| Error::argument(format!("NCCL cannot be opened: {e}")))?;
            macro_rules! find {
                ($name:literal) => {
                    *library.get($name).map_err(|e| Error::argument(format!("NCCL lacks a function: {e}")))?
                };
            }
            Ok(Self {
                get_unique_id: find!(b"ncclGetUniqueId\0"),
                comm_init_rank: find!(b"ncclCommInitRank\0"),
                all_reduce: find!(b"ncclAllReduce\0"),
                broadcast: find!(b"ncclBroadcast\0"),
                all_gather: find!(b"ncclAllGather\0"),
                async_error: find!(b"ncclCommGetAsyncError\0"),
                comm_abort: find!(b"ncclCommAbort\0"),
                error_text: find!(b"ncclGetErrorString\0"),
                _library: library,
            })
        }
    }

    /// Makes the identifier of a new communicator.
    pub fn id(&self) -> Result<Id> {
        let mut id = Id([0; 128]);
        // SAFETY: the call fills the identifier.
        self.check(unsafe { (self.get_unique_id)(&mut id) })?;
        Ok(id)
    }

    fn check(&self, status: Status) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: NCCL returns a static text.
        let text = unsafe {
            let text = (self.error_text)(status);
            if text.is_null() { "unknown".into() } else { CStr::from_ptr(text).to_string_lossy() }
        };
        Err(Error::new(Kind::Torch, format!("NCCL failed: {text}"))
            .hint("set NCCL_DEBUG=WARN to see why; NCCL needs a GPU for each rank"))
    }
}

/// One rank's end of a communicator.
pub struct Communicator {
    nccl: Arc<Nccl>,
    /// Null after it was aborted.
    raw: AtomicPtr<c_void>,
    /// Held while the communicator is in use, so that an abort does not free it meanwhile.
    queueing: Mutex<()>,
    device: Device,
}

impl Communicator {
    /// Connects with the other ranks that use the same identifier; waits for all of them.
    pub fn join(nccl: Arc<Nccl>, id: Id, (rank, size): (usize, usize), device: Device) -> Result<Self> {
        let mut raw = null_mut();
        on(device, || {
            // SAFETY: the call fills the pointer.
            nccl.check(unsafe { (nccl.comm_init_rank)(&mut raw, size as c_int, id, rank as c_int) })
        })?;
        Ok(Self { nccl, raw: AtomicPtr::new(raw), queueing: Mutex::new(()), device })
    }

    /// Queues the sum of a contiguous tensor over all ranks, in place.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        let (data, count, dtype) = self.data(tensor)?;
        // SAFETY: the memory holds `count` elements, and libtorch does not reuse it before work that was queued
        // earlier on the stream, here and below.
        self.queue(|nccl, raw, stream| unsafe {
            (nccl.all_reduce)(data, data, count, dtype, SUM, raw, stream)
        })
    }

    /// Queues the overwriting of a contiguous tensor with that of a rank.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<()> {
        let (data, count, dtype) = self.data(tensor)?;
        // SAFETY: see above.
        self.queue(|nccl, raw, stream| unsafe {
            (nccl.broadcast)(data, data, count, dtype, root as c_int, raw, stream)
        })
    }

    /// Queues the gathering of contiguous inputs of equal size, one after the other, in `output`.
    pub fn gather(&self, output: &Tensor, input: &Tensor) -> Result<()> {
        let ((to, _, _), (from, count, dtype)) = (self.data(output)?, self.data(input)?);
        // SAFETY: see above; the caller's output has room for the inputs of all ranks.
        self.queue(|nccl, raw, stream| unsafe { (nccl.all_gather)(from, to, count, dtype, raw, stream) })
    }

    /// Fails if a collective has failed since it was queued.
    pub fn check(&self) -> Result<()> {
        let _queueing = self.queueing.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = self.raw.load(Ordering::SeqCst);
        if raw.is_null() {
            return Err(aborted());
        }
        let mut status = 0;
        // SAFETY: the communicator has not been aborted; the call fills the status.
        self.nccl.check(unsafe { (self.nccl.async_error)(raw, &mut status) })?;
        self.nccl.check(status)
    }

    /// Makes all collectives end, also those that wait for a rank that will not come, and later ones fail. Waits while
    /// NCCL queues a collective.
    pub fn abort(&self) {
        let _waits = self.queueing.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = self.raw.swap(null_mut(), Ordering::SeqCst);
        if !raw.is_null() {
            // SAFETY: taken above, so that nobody else frees it.
            unsafe { (self.nccl.comm_abort)(raw) };
        }
    }

    fn queue(&self, start: impl FnOnce(&Nccl, Raw, Raw) -> Status) -> Result<()> {
        let stream = stream(self.device)?;
        let _queueing = self.queueing.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = self.raw.load(Ordering::SeqCst);
        if raw.is_null() {
            return Err(aborted());
        }
        on(self.device, || self.nccl.check(start(&self.nccl, raw, stream)))
    }

    fn data(&self, tensor: &Tensor) -> Result<(*mut c_void, usize, c_int)> {
        ensure!(
            tensor.device() == self.device && tensor.is_contiguous(),
            "expected a contiguous tensor on {}, found a {}",
            self.device,
            tensor.signature()
        );
        let dtype = match tensor.dtype() {
            DType::Int8 => 0,
            DType::UInt8 | DType::Bool => 1,
            DType::Int32 => 2,
            DType::Int64 => 4,
            DType::Float16 => 6,
            DType::Float32 => 7,
            DType::Float64 => 8,
            DType::BFloat16 => 9,
            other => {
                return Err(Error::argument(format!("ranks cannot exchange tensors of {}", other.name())));
            }
        };
        Ok((tensor.raw().data_ptr(), tensor.count(), dtype))
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        self.abort();
    }
}

fn aborted() -> Error {
    Error::new(Kind::Torch, "the communicator of the ranks was aborted")
}

/// Returns the current stream of a device; null on the CPU, where tests emulate NCCL.
fn stream(device: Device) -> Result<Raw> {
    if device == Device::Cpu {
        return Ok(null_mut());
    }
    let name = ffi::c_string(&device.to_string())?;
    let mut stream = null_mut();
    // SAFETY: the name outlives the call, which fills the pointer.
    ffi::check(unsafe { ffi::sp_native_stream(name.as_ptr(), &mut stream) })?;
    Ok(stream)
}

/// Runs `body` with this device as the current one of the thread.
fn on<T>(device: Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let Device::Cuda(number) = device else { return body() };
    let mut earlier = 0;
    // SAFETY: the calls fill and read a number.
    ffi::check(unsafe { ffi::sp_exchange_device(number as c_int, &mut earlier) })?;
    let result = body();
    // SAFETY: as above.
    ffi::check(unsafe { ffi::sp_exchange_device(earlier, &mut 0) })?;
    result
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// Compiles `tests/nccl/fake.c`, whose ranks are threads and whose device is the CPU.
    pub(crate) fn fake(folder: &tempfile::TempDir) -> (Arc<Nccl>, PathBuf) {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nccl/fake.c");
        let file = folder.path().join("libfake.so");
        let compiler = std::env::var("CC").unwrap_or("cc".to_string());
        let built = Command::new(compiler)
            .args(["-shared", "-fPIC", "-pthread", "-o"])
            .arg(&file)
            .arg(source)
            .status();
        assert!(built.unwrap().success());
        (Arc::new(Nccl::open_at(&file).unwrap()), file)
    }

    fn on_ranks<T: Send>(
        nccl: &Arc<Nccl>,
        size: usize,
        body: impl Fn(&Communicator, usize) -> T + Sync,
    ) -> Vec<T> {
        let id = Id::parse(&nccl.id().unwrap().text()).unwrap();
        let one = |rank| {
            let joined = Communicator::join(Arc::clone(nccl), id, (rank, size), Device::Cpu);
            body(&joined.unwrap(), rank)
        };
        std::thread::scope(|scope| {
            let started: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn collectives_reach_nccl_with_their_memory_count_and_type() {
        let folder = tempfile::tempdir().unwrap();
        let (nccl, _) = fake(&folder);
        let found = on_ranks(&nccl, 3, |ranks, rank| {
            let sum = Tensor::from_f32(&[rank as f32, 1.5], &[2]).unwrap();
            ranks.sum(&sum).unwrap();
            let wide = Tensor::from_i64(&[rank as i64, 1 << 40], &[2]).unwrap();
            ranks.sum(&wide).unwrap();
            let kept = Tensor::from_f64(&[rank as f64], &[1]).unwrap();
            ranks.broadcast(&kept, 2).unwrap();
            let all = Tensor::from_u8(&[9; 6], &[6]).unwrap();
            ranks.gather(&all, &Tensor::from_u8(&[rank as u8, 7], &[2]).unwrap()).unwrap();
            ranks.check().unwrap();
            (sum.to_f32().unwrap(), wide.to_i64().unwrap(), kept.item().unwrap(), all.to_bytes().unwrap())
        });
        for (sum, wide, kept, all) in found {
            assert_eq!(sum, [3.0, 4.5]);
            assert_eq!(wide, [3, 3 << 40]);
            assert_eq!(kept, 2.0);
            assert_eq!(all, [0, 7, 1, 7, 2, 7]);
        }
    }

    #[test]
    fn failures_carry_the_text_of_nccl_at_once_or_later() {
        let folder = tempfile::tempdir().unwrap();
        let (nccl, file) = fake(&folder);
        // SAFETY: the functions are those of the file that was just compiled.
        let library = unsafe { Library::new(file) }.unwrap();
        // SAFETY: the setters of the fake take an integer.
        let set = |name: &[u8], value: c_int| unsafe {
            let set: libloading::Symbol<unsafe extern "C" fn(c_int)> = library.get(name).unwrap();
            set(value);
        };
        let x = Tensor::from_f32(&[1.0], &[1]).unwrap();
        on_ranks(&nccl, 1, |ranks, _| {
            ranks.check().unwrap();
            set(b"fake_async_error", 3);
            assert_eq!(ranks.check().unwrap_err().message(), "NCCL failed: fake error 3");
            set(b"fake_async_error", 0);
            set(b"fake_error", 5);
            assert_eq!(ranks.sum(&x).unwrap_err().message(), "NCCL failed: fake error 5");
            assert!(nccl.id().unwrap_err().hint_text().is_some_and(|hint| hint.contains("NCCL_DEBUG")));
            set(b"fake_error", 0);
            ranks.sum(&x).unwrap();
        });
        let error = on_ranks(&nccl, 1, |ranks, _| ranks.sum(&x.expand(&[4]).unwrap()).unwrap_err());
        assert!(error[0].message().starts_with("expected a contiguous tensor on cpu"), "{}", error[0]);
        let nowhere = Nccl::open_at(folder.path().join("none.so")).err().unwrap();
        assert!(nowhere.message().starts_with("NCCL cannot be opened: "), "{nowhere}");
    }

    /// In the fake a collective waits for all ranks in a thread of its own, as a kernel does on a stream.
    #[test]
    fn an_abort_ends_what_waits_for_a_rank_that_does_not_come() {
        let folder = tempfile::tempdir().unwrap();
        let (nccl, file) = fake(&folder);
        // SAFETY: as above.
        let library = unsafe { Library::new(file) }.unwrap();
        // SAFETY: the function of the fake takes nothing and returns an integer.
        let waiting = || unsafe {
            let waiting: libloading::Symbol<unsafe extern "C" fn() -> c_int> =
                library.get(b"fake_waiting").unwrap();
            waiting()
        };
        on_ranks(&nccl, 2, |ranks, rank| {
            if rank == 0 {
                let x = Tensor::from_f32(&[1.0], &[1]).unwrap();
                // SAFETY: `fake_queue(1)` lets collectives return before the other rank has come.
                unsafe {
                    let queue: libloading::Symbol<unsafe extern "C" fn(c_int)> =
                        library.get(b"fake_queue").unwrap();
                    queue(1);
                }
                ranks.sum(&x).unwrap();
                assert_eq!(waiting(), 1);
                ranks.abort();
                assert_eq!(waiting(), 0);
                assert!(ranks.sum(&x).unwrap_err().message().contains("was aborted"));
                assert!(ranks.check().is_err());
                ranks.abort();
            }
        });
    }

    #[test]
    fn an_abort_does_not_free_what_is_being_asked_for_errors() {
        let folder = tempfile::tempdir().unwrap();
        let (nccl, file) = fake(&folder);
        // SAFETY: as above.
        let library = unsafe { Library::new(file) }.unwrap();
        on_ranks(&nccl, 1, |ranks, _| {
            std::thread::scope(|scope| {
                let a_while = |milliseconds| {
                    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
                };
                scope.spawn(move || {
                    while ranks.check().is_ok() {
                        a_while(1);
                    }
                });
                a_while(50);
                ranks.abort();
            });
        });
        // SAFETY: the function of the fake takes nothing and returns an integer.
        let freed = unsafe {
            let freed: libloading::Symbol<unsafe extern "C" fn() -> c_int> =
                library.get(b"fake_freed").unwrap();
            freed()
        };
        assert_eq!(freed, 0);
    }
}
