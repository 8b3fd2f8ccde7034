//! Fused operators of a transformer block, which read and write each token once, with their own gradients.
//!
//! In float32 and bfloat16 they run as hand-written CPU operators or as CUDA [kernels](super::kernels). Otherwise,
//! and within [`with_reference_operators`], they run as reference implementations composed of libtorch's operators. The two agree
//! within rounding.

use std::ffi::CStr;
use std::ptr::null_mut;

use torch_sys::C_tensor;

use super::Tensor;
use super::ffi::{self, raw};
use crate::error::Result;

/// Runs `body` with the reference implementations instead of the fused operators on this thread; the switch is
/// restored even if `body` fails or panics.
pub fn with_reference_operators<T>(body: impl FnOnce() -> T) -> T {
    struct Back(i32);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: sets a thread-local flag.
            unsafe { ffi::sp_switch_fused(self.0) };
        }
    }
    // SAFETY: sets a thread-local flag and returns its previous value.
    let _back = Back(unsafe { ffi::sp_switch_fused(0) });
    body()
}

/// Returns the instruction set of the CPU operators in use: `avx512`, `avx2` or `base`, the best that the processor
/// supports.
///
/// The environment variable `SPECTRAL_LOOPS`, read when the program starts, selects a lesser one, as in
/// `SPECTRAL_LOOPS=avx2`.
pub fn instruction_set() -> String {
    // SAFETY: returns a string that lives as long as the program.
    unsafe { CStr::from_ptr(ffi::sp_cpu_operators()) }.to_string_lossy().into_owned()
}

/// Returns `norm(x) (1 + scale) + shift` for tokens [B, N, D]: layer norm over the last dimension without weights,
/// epsilon 1e-6, with one shift and scale [B, 1, D] per image.
pub fn norm_modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe { ffi::made(ffi::sp_norm_modulate(raw(x), raw(shift), raw(scale), 1)) }
}

/// Returns `norm(x) (1 + scale) + shift` like [`norm_modulate`], where norm is RMS norm without weights, epsilon
/// 1e-6: `x / sqrt(mean(x^2) + 1e-6)`.
pub fn rms_modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe { ffi::made(ffi::sp_norm_modulate(raw(x), raw(shift), raw(scale), 0)) }
}

/// Returns the residual stream s and its [`norm_modulate`]: (s, norm(s) (1 + scale) + shift), where s is `x`, or
/// `x + gate m` with a residual `(m, gate)`.
///
/// Continue with the returned s instead of `x`: the backward pass then adds the gradients of the stream and of the
/// norm in one pass over the tokens.
pub fn stream_norm(
    x: &Tensor,
    residual: Option<(&Tensor, &Tensor)>,
    shift: &Tensor,
    scale: &Tensor,
) -> Result<(Tensor, Tensor)> {
    stream(x, residual, shift, scale, true)
}

/// Returns the residual stream and its [`rms_modulate`], like [`stream_norm`].
pub fn stream_rms_norm(
    x: &Tensor,
    residual: Option<(&Tensor, &Tensor)>,
    shift: &Tensor,
    scale: &Tensor,
) -> Result<(Tensor, Tensor)> {
    stream(x, residual, shift, scale, false)
}

fn stream(
    x: &Tensor,
    residual: Option<(&Tensor, &Tensor)>,
    shift: &Tensor,
    scale: &Tensor,
    centered: bool,
) -> Result<(Tensor, Tensor)> {
    let (m, gate) = residual.map_or((null_mut(), null_mut()), |(m, gate)| (raw(m), raw(gate)));
    let mut y = null_mut();
    // SAFETY: the tensors outlive the call; we own both results, and the second is set whenever the first is.
    unsafe {
        let stream =
            ffi::sp_stream_norm(raw(x), m, gate, raw(shift), raw(scale), centered.into(), &raw mut y);
        let stream = ffi::made(stream)?;
        Ok((stream, ffi::made(y)?))
    }
}

/// Returns `x + gate m` for tokens x and m [B, N, D] and one gate [B, 1, D] per image.
pub fn gated_add(x: &Tensor, m: &Tensor, gate: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe { ffi::made(ffi::sp_gated_add(raw(x), raw(m), raw(gate))) }
}

/// Linear filter F of the token grid, the same along both axes.
#[derive(Debug, Clone)]
pub struct GridFilter {
    /// M [1, G, G] of F(X) = M X M^T or, with gains, Q [1, K, G] of F(X) = Q^T (gains * (Q X Q^T)) Q.
    pub matrix: Tensor,
    /// Gains [1, K, K, 1].
    pub gains: Option<Tensor>,
}

/// Correction by linear filters: coefficients g_1 to g_k, [B, k] or per channel [B, k, D], and k - 1 filters.
pub type Correction = (Tensor, Vec<GridFilter>);

/// Returns `x + (1 + Σ g_k) r + Σ (g_i - g_{i+1}) F_i(r)` with `r = gate m`, in one pass over the token grid.
///
/// Tokens x and m are [B, N, D], the gate is [B, 1, D]. Matrices without gains may be trained; their gradient covers
/// the entries between the first and the last nonzero entry of each row. The rows of Q must be even or odd, even
/// ones first; otherwise the reference implementation is used.
pub fn gated_add_corrected(
    x: &Tensor,
    m: &Tensor,
    gate: &Tensor,
    corrections: &[Correction],
) -> Result<Tensor> {
    // SAFETY: see `listed`; the tensors outlive the call.
    listed(corrections, |all| unsafe { ffi::sp_gated_add_corrected(raw(x), raw(m), raw(gate), all) })
}

/// Tokens r [B, N, D] to correct.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// Given tokens.
    Given(Tensor),
    /// `x + gate m` for x and m [B, N, D] and a gate [B, 1, D].
    Sum {
        /// Residual stream.
        x: Tensor,
        /// Residual.
        m: Tensor,
        /// Gate of the residual.
        gate: Tensor,
    },
    /// `norm(x) (1 + scale) + shift` as by [`norm_modulate`] or, unless it is centered, by [`rms_modulate`].
    Norm {
        /// Tokens before the norm.
        x: Tensor,
        /// Shift, [B, 1, D].
        shift: Tensor,
        /// Scale, [B, 1, D].
        scale: Tensor,
        /// Whether the mean is subtracted.
        centered: bool,
    },
}

impl Tokens {
    /// Returns the tokens themselves.
    pub fn plain(&self) -> Result<Tensor> {
        match self {
            Self::Given(r) => Ok(r.clone()),
            Self::Sum { x, m, gate } => gated_add(x, m, gate),
            Self::Norm { x, shift, scale, centered: true } => norm_modulate(x, shift, scale),
            Self::Norm { x, shift, scale, centered: false } => rms_modulate(x, shift, scale),
        }
    }
}

/// Returns `r + Σ g_k r + Σ (g_i - g_{i+1}) F_i(r)` for tokens r, with corrections as in [`gated_add_corrected`].
///
/// With at least 16 images, and as many as threads, the tokens of a sum or a norm are corrected while they are in the
/// caches, and never written to memory. Results do not depend on this.
pub fn corrected(tokens: &Tokens, corrections: &[Correction]) -> Result<Tensor> {
    // SAFETY: see `listed`; the tensors outlive the call.
    listed(corrections, |all| unsafe {
        match tokens {
            Tokens::Given(r) => ffi::sp_gated_add_corrected(null_mut(), raw(r), null_mut(), all),
            Tokens::Sum { x, m, gate } => ffi::sp_stream_corrected(raw(x), raw(m), raw(gate), all),
            Tokens::Norm { x, shift, scale, centered } => {
                ffi::sp_norm_modulate_corrected(raw(x), raw(shift), raw(scale), (*centered).into(), all)
            }
        }
    })
}

/// Calls `run` with checked corrections: each has one filter fewer than coefficients. We own the result.
fn listed(corrections: &[Correction], run: impl FnOnce(ffi::Corrections) -> *mut C_tensor) -> Result<Tensor> {
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
    let made = run(ffi::Corrections {
        coefficients: coefficients.as_mut_ptr(),
        matrices: matrices.as_mut_ptr(),
        gains: gains.as_mut_ptr(),
        count: corrections.len() as i64,
    });
    // SAFETY: the result of an operator, which we own.
    unsafe { ffi::made(made) }
}

/// Returns attention [B, N, D] of packed queries, keys and values [B, N, 3 D]. Queries and keys are normalized by
/// their root mean square, epsilon that of the dtype, and weighted per head.
pub fn attend(qkv: &Tensor, q_weight: &Tensor, k_weight: &Tensor, heads: i64) -> Result<Tensor> {
    attend_with(qkv, Some(RmsOfHeads { q_weight, k_weight, eps: None }), heads)
}

/// RMS norm of the queries and keys of each head.
#[derive(Debug, Clone, Copy)]
pub struct RmsOfHeads<'a> {
    /// Weight of the queries, one number for each entry of a head.
    pub q_weight: &'a Tensor,
    /// Weight of the keys.
    pub k_weight: &'a Tensor,
    /// Number added to the mean square; by default the machine epsilon of the dtype.
    pub eps: Option<f64>,
}

/// Rotation of the pairs of channels (2i, 2i + 1) of queries and keys: cosines and sines, [1 or B, N, D] for heads of D
/// channels, each the same for both channels of a pair. They have no gradients.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// Cosines of the angles.
    pub cos: &'a Tensor,
    /// Sines of the angles.
    pub sin: &'a Tensor,
}

/// Returns attention like [`attend`], with a norm of queries and keys or without one.
pub fn attend_with(qkv: &Tensor, norm: Option<RmsOfHeads>, heads: i64) -> Result<Tensor> {
    attend_rotated(qkv, norm, None, heads)
}

/// Returns attention like [`attend_with`], whose queries and keys are rotated after their norm.
pub fn attend_rotated(
    qkv: &Tensor,
    norm: Option<RmsOfHeads>,
    rotation: Option<Rotation>,
    heads: i64,
) -> Result<Tensor> {
    let (q, k, eps) = match norm {
        Some(norm) => (raw(norm.q_weight), raw(norm.k_weight), norm.eps.unwrap_or(-1.0)),
        None => (null_mut(), null_mut(), -1.0),
    };
    let (cos, sin) = rotation.map_or((null_mut(), null_mut()), |r| (raw(r.cos), raw(r.sin)));
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe { ffi::made(ffi::sp_attend(raw(qkv), q, k, cos, sin, heads, eps)) }
}

/// Applies two linear maps with a tanh-approximated GELU between them. The backward pass recomputes the inner
/// activation unless the forward pass wrote it anyway.
pub fn mlp(x: &Tensor, first: (&Tensor, &Tensor), second: (&Tensor, &Tensor)) -> Result<Tensor> {
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe { ffi::made(ffi::sp_mlp(raw(x), raw(first.0), raw(first.1), raw(second.0), raw(second.1))) }
}

/// Returns the tanh-approximated GELU of [`mlp`], with the same bits on the CPU.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensor outlives the call; we own the result.
    unsafe { ffi::made(ffi::sp_gelu(raw(x))) }
}

/// Returns `scale * tanh(W2 silu(W1 c + b1) + b2)`, the network of a gate, for embeddings c [B, D], W1 [inner, D]
/// and W2 [outputs, inner]. Small float32 weights on the CPU use a CPU operator of ours.
pub fn gate(c: &Tensor, first: (&Tensor, &Tensor), second: (&Tensor, &Tensor), scale: f64) -> Result<Tensor> {
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe {
        ffi::made(ffi::sp_gate(raw(c), raw(first.0), raw(first.1), raw(second.0), raw(second.1), scale))
    }
}

/// Returns `x @ weight^T + bias`. Float32 tokens [B, N, D] on the CPU use oneDNN; autocast on CUDA uses a bfloat16
/// copy of the weights that is updated when they change.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensors outlive the call; we own the result.
    unsafe { ffi::made(ffi::sp_linear(raw(x), raw(weight), raw(bias))) }
}
