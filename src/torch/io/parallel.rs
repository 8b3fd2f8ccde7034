//! Reading of many tensors by several threads, so that the disk, checksums and copies do not wait for each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::error::Result;
use crate::torch::interrupt::Watched;

/// Maximum number of threads; more do not make a disk faster.
const MOST: usize = 8;

/// Number of bytes that are worth a thread.
const WORTH: u64 = 8 << 20;

/// Reads `count` parts, which have `bytes` bytes together, and calls `each` with every one in order.
///
/// `read` is called with the number of a part on threads that have a clone of `source` each; small amounts are read on
/// this thread. An interrupt that is watched on this thread is watched on all of them. The first error in the order of
/// the parts ends the reading and is returned.
pub(super) fn in_order<S: Clone + Send, T: Send>(
    source: &S,
    (count, bytes): (usize, u64),
    read: impl Fn(&mut S, usize) -> Result<T> + Sync,
    mut each: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MOST).min(count).min((bytes / WORTH) as usize);
    if threads < 2 {
        let mut source = source.clone();
        return (0..count).try_for_each(|part| each(part, read(&mut source, part)?));
    }
    Watched::during(|watched| {
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..threads {
                let (mut source, sender) = (source.clone(), sender.clone());
                let (read, next, stopped) = (&read, &next, &stopped);
                scope.spawn(move || {
                    let _guard = watched.watch();
                    while !stopped.load(Ordering::Relaxed) {
                        let part = next.fetch_add(1, Ordering::Relaxed);
                        if part >= count {
                            break;
                        }
                        let result = read(&mut source, part);
                        let failed = result.is_err();
                        if sender.send((part, result)).is_err() || failed {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let result = take(count, &receiver, each);
            stopped.store(true, Ordering::Relaxed);
            result
        })
    })
}

/// Calls `each` with the parts in order, whenever they come.
fn take<T>(
    count: usize,
    parts: &mpsc::Receiver<(usize, Result<T>)>,
    mut each: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let mut early = BTreeMap::new();
    for part in 0..count {
        let result = loop {
            if let Some(result) = early.remove(&part) {
                break result;
            }
            match parts.recv() {
                Ok((found, result)) => drop(early.insert(found, result)),
                // A thread panicked, and the scope passes the panic on.
                Err(_) => return Ok(()),
            }
        };
        each(part, result?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Interrupt;
    use crate::error::{Error, Kind};
    use crate::torch::{DType, Device, Tensor, interruptible};

    /// Enough bytes for several threads.
    const MANY: u64 = MOST as u64 * WORTH;

    #[test]
    fn parts_come_in_order_whatever_their_number_and_size() {
        for (count, bytes) in [(0, MANY), (1, MANY), (100, 0), (100, MANY)] {
            let mut found = Vec::new();
            let square = |factor: &mut usize, part: usize| Ok(*factor * part * part);
            let each = |part, value| {
                found.push((part, value));
                Ok(())
            };
            in_order(&3, (count, bytes), square, each).unwrap();
            assert_eq!(found, (0..count).map(|part| (part, 3 * part * part)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_in_the_order_of_the_parts_is_returned() {
        for bytes in [0, MANY] {
            for _ in 0..50 {
                let read = |_: &mut (), part: usize| match part {
                    7 | 8 => Err(Error::argument(format!("part {part}"))),
                    _ => Ok(part),
                };
                let mut last = 0;
                let each = |part, _| {
                    last = part;
                    Ok(())
                };
                let error = in_order(&(), (100, bytes), read, each).unwrap_err();
                assert_eq!((error.message().as_str(), last), ("part 7", 6));
            }
            let error = in_order(
                &(),
                (9, bytes),
                |_, part| Ok(part),
                |part, _| match part {
                    3 => Err(Error::argument("enough")),
                    _ => Ok(()),
                },
            );
            assert_eq!(error.unwrap_err().message(), "enough");
        }
    }

    #[test]
    fn an_interrupt_reaches_the_threads() {
        let interrupt = Interrupt::default();
        let _guard = interruptible(&interrupt);
        let read = |_: &mut (), part: usize| {
            if part == 3 {
                interrupt.raise();
            }
            Tensor::zeros(&[4], DType::Float32, Device::Cpu)
        };
        let error = in_order(&(), (1000, MANY), read, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
    }
}
