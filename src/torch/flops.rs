//! Counting of floating-point operations at run time.

use super::{ffi, fused};
use crate::error::Result;

/// Runs `body` on this thread and returns its result with the number of floating-point operations. A multiply-add
/// counts as two.
///
/// Counts matrix products, convolutions, attention and Fourier transforms. While `body` runs, the fused operators
/// are replaced by their reference implementations in libtorch, whose operators can be counted.
pub fn count<T>(body: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    struct Back(i32, f64);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: sets thread-local values.
            unsafe {
                ffi::sp_count_flops(self.0);
                ffi::sp_set_flops(self.1);
            }
        }
    }
    // SAFETY: reads and sets thread-local values.
    let _back = unsafe { Back(ffi::sp_count_flops(1), ffi::sp_flops()) };
    // SAFETY: as above.
    unsafe { ffi::sp_set_flops(0.0) };
    let made = fused::with_reference_operators(body)?;
    // SAFETY: as above.
    Ok((made, unsafe { ffi::sp_flops() }))
}

/// Runs `body` and returns its result with the operations that were counted meanwhile.
pub fn spent<T>(body: impl FnOnce() -> T) -> (T, f64) {
    // SAFETY: reads a thread-local value.
    let before = unsafe { ffi::sp_flops() };
    let made = body();
    // SAFETY: as above.
    (made, unsafe { ffi::sp_flops() } - before)
}

/// Runs `body` and then counts `flops` instead of the operations it performed.
pub fn instead<T>(flops: impl FnOnce() -> f64, body: impl FnOnce() -> T) -> T {
    // SAFETY: reads and sets a thread-local value.
    let before = unsafe { ffi::sp_flops() };
    let made = body();
    // SAFETY: as above.
    unsafe { ffi::sp_set_flops(before + flops()) };
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Tensor};

    fn ones(shape: &[i64]) -> Tensor {
        Tensor::ones(shape, DType::Float32, Device::Cpu).unwrap()
    }

    #[test]
    fn products_convolutions_and_attention_are_counted() {
        let of = |body: &dyn Fn() -> Result<Tensor>| count(body).unwrap().1;
        assert_eq!(of(&|| ones(&[3, 4]).matmul(&ones(&[4, 5]))), 2.0 * 3.0 * 4.0 * 5.0);
        assert_eq!(of(&|| ones(&[2, 3, 4]).linear(&ones(&[5, 4]), Some(&ones(&[5])))), 2.0 * 6.0 * 4.0 * 5.0);
        let image = ones(&[2, 4, 6, 6]);
        let convolved = || image.conv2d(&ones(&[8, 2, 3, 3]), None, &[1, 1], &[1, 1], &[1, 1], 2);
        assert_eq!(of(&convolved), 2.0 * (2.0 * 8.0 * 36.0) * (2.0 * 9.0));
        let heads = ones(&[1, 2, 9, 8]);
        let attended = || heads.attention(&heads, &heads, None, false);
        assert_eq!(of(&attended), 4.0 * (2.0 * 9.0 * 8.0) * 9.0);
        assert_eq!(of(&|| ones(&[3, 4]).exp()), 0.0);
    }

    #[test]
    fn a_stated_count_replaces_what_is_done() {
        let product = || ones(&[3, 4]).matmul(&ones(&[4, 5]));
        assert_eq!(count(|| instead(|| 7.0, product)).unwrap().1, 7.0);
        // Nothing is counted outside of `count`.
        product().unwrap();
        assert_eq!(count(|| Ok(())).unwrap().1, 0.0);
    }
}
