//! The operators of a block that read and write each token once, with gradients of their own.
//!
//! In float32 and bfloat16 they are loops written for the purpose on the CPU and [kernels](super::kernels) on CUDA;
//! elsewhere, and within [`plain`], the same mathematics in libtorch's operators. The two agree within rounding.

use std::ffi::CStr;
use std::ptr::null_mut;

use super::Tensor;
use super::ffi::{self, raw};
use crate::error::Result;

/// Runs `body` with libtorch's own operators in place of ours on this thread, also when it fails or panics.
pub fn plain<T>(body: impl FnOnce() -> T) -> T {
    struct Back(i32);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: sets a thread-local flag.
            unsafe { ffi::sp_switch_fused(self.0) };
        }
    }
    // SAFETY: sets a thread-local flag and returns what it was.
    let _back = Back(unsafe { ffi::sp_switch_fused(0) });
    body()
}

/// The instruction set that the loops in use were compiled for: `avx512`, `avx2` or `base`, the best that the processor has.
///
/// Where the environment names lesser ones when the program starts, as `SPECTRAL_LOOPS=avx2`, those are used.
pub fn instruction_set() -> String {
    // SAFETY: returns a string that lives as long as the program.
    unsafe { CStr::from_ptr(ffi::sp_loops()) }.to_string_lossy().into_owned()
}

/// `norm(x) (1 + scale) + shift`: layer norm of the last dimension without weights, epsilon 1e-6, and one shift
/// and scale [B, 1, D] per image of tokens [B, N, D].
pub fn norm_modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors live through the call; the result is allocated for us.
    unsafe { ffi::made(ffi::sp_norm_modulate(raw(x), raw(shift), raw(scale))) }
}

/// The residual stream and its [`norm_modulate`]: (s, norm(s) (1 + scale) + shift), where s is `x`, or `x + gate m` with a
/// residual `(m, gate)`.
///
/// Whoever goes on with the returned s rather than with `x` lets the backward pass add the stream's gradient and the norm's in
/// one pass over the tokens.
pub fn stream_norm(
    x: &Tensor,
    residual: Option<(&Tensor, &Tensor)>,
    shift: &Tensor,
    scale: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (m, gate) = residual.map_or((null_mut(), null_mut()), |(m, gate)| (raw(m), raw(gate)));
    let mut y = null_mut();
    // SAFETY: the tensors live through the call; both results are allocated for us, the second where the first is.
    unsafe {
        let stream = ffi::made(ffi::sp_stream_norm(raw(x), m, gate, raw(shift), raw(scale), &raw mut y))?;
        Ok((stream, ffi::made(y)?))
    }
}

/// `x + gate m` for tokens x and m [B, N, D] and one gate [B, 1, D] per image.
pub fn gated_add(x: &Tensor, m: &Tensor, gate: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors live through the call; the result is allocated for us.
    unsafe { ffi::made(ffi::sp_gated_add(raw(x), raw(m), raw(gate))) }
}

/// A linear filter F of the token grid, the same along both axes.
#[derive(Debug, Clone)]
pub struct GridFilter {
    /// M [1, G, G] of F(X) = M X M^T; with gains Q [1, K, G] of F(X) = Q^T (gains * (Q X Q^T)) Q.
    pub matrix: Tensor,
    /// [1, K, K, 1].
    pub gains: Option<Tensor>,
}

/// `x + (1 + Σ g_k) r + Σ (g_i - g_{i+1}) F_i(r)` with `r = gate m`, in one pass over the token grid.
///
/// Each correction is its coefficients g_1 to g_k, [B, k] or one for each channel [B, k, D], and its k - 1 filters. Matrices
/// without gains may be trained; their gradient is that of the entries between the first and the last of each row that are not
/// zero. Rows of Q are even or odd, the even ones first, else libtorch's operators do the work.
pub fn gated_add_corrected(
    x: &Tensor,
    m: &Tensor,
    gate: &Tensor,
    corrections: &[(Tensor, Vec<GridFilter>)],
) -> Result<Tensor> {
    for (coefficients, filters) in corrections {
        let (shape, bands) = (coefficients.shape(), filters.len() as i64 + 1);
        crate::ensure!(
            bands > 1 && matches!(shape.len(), 2 | 3) && shape[1] == bands,
            "expected coefficients [B, {bands}] or [B, {bands}, D] for {} filters, found {shape:?}",
            filters.len()
        );
    }
    let filters = || corrections.iter().flat_map(|(_, filters)| filters);
    let mut coefficients = ffi::raws(corrections.iter().map(|(coefficients, _)| coefficients));
    let mut matrices = ffi::raws(filters().map(|filter| &filter.matrix));
    let mut gains: Vec<_> = filters().map(|filter| filter.gains.as_ref().map_or(null_mut(), raw)).collect();
    // SAFETY: the tensors live through the call, and there is one filter fewer than a correction has coefficients; the
    // result is allocated for us.
    unsafe {
        ffi::made(ffi::sp_gated_add_corrected(
            raw(x),
            raw(m),
            raw(gate),
            coefficients.as_mut_ptr(),
            matrices.as_mut_ptr(),
            gains.as_mut_ptr(),
            corrections.len() as i64,
        ))
    }
}

/// Attention of packed queries, keys and values [B, N, 3 D]: queries and keys are normalised by their root mean
/// square and weighted per head, the values mixed; [B, N, D].
pub fn attend(qkv: &Tensor, q_weight: &Tensor, k_weight: &Tensor, heads: i64) -> Result<Tensor> {
    // SAFETY: the tensors live through the call; the result is allocated for us.
    unsafe { ffi::made(ffi::sp_attend(raw(qkv), raw(q_weight), raw(k_weight), heads)) }
}

/// Two linear maps with a tanh-approximated GELU between them; the inner activation is not kept for the
/// backward pass.
pub fn mlp(x: &Tensor, first: (&Tensor, &Tensor), second: (&Tensor, &Tensor)) -> Result<Tensor> {
    // SAFETY: the tensors live through the call; the result is allocated for us.
    unsafe { ffi::made(ffi::sp_mlp(raw(x), raw(first.0), raw(first.1), raw(second.0), raw(second.1))) }
}

/// `scale * tanh(W2 silu(W1 c + b1) + b2)` for embeddings c [B, D], with W1 [inner, D] and W2 [outputs, inner]: the
/// network of a gate, by loops of our own for weights in float32 on the CPU that are not large.
pub fn gate(c: &Tensor, first: (&Tensor, &Tensor), second: (&Tensor, &Tensor), scale: f64) -> Result<Tensor> {
    // SAFETY: the tensors live through the call; the result is allocated for us.
    unsafe {
        ffi::made(ffi::sp_gate(raw(c), raw(first.0), raw(first.1), raw(second.0), raw(second.1), scale))
    }
}

/// `x @ weight^T + bias`, by oneDNN for float32 tokens [B, N, D] on the CPU; under autocast on CUDA with a copy of the
/// weights in bfloat16 that is made when they change.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors live through the call; the result is allocated for us.
    unsafe { ffi::made(ffi::sp_linear(raw(x), raw(weight), raw(bias))) }
}
