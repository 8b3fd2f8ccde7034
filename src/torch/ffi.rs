//! Rust declarations of the C++ shim.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use torch_sys::C_tensor;

use super::{Tensor, kernels, torch_error};
use crate::error::{Error, Result};

/// Value passed to or from C++; the tags have the same numbers as in the shim.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Raw {
    pub tag: i32,
    pub integer: i64,
    pub number: f64,
    pub pointer: *const c_void,
    pub length: i64,
}

pub(super) const NONE: i32 = 0;
pub(super) const TENSOR: i32 = 1;
pub(super) const INT: i32 = 2;
pub(super) const FLOAT: i32 = 3;
pub(super) const BOOL: i32 = 4;
pub(super) const STRING: i32 = 5;
pub(super) const LIST: i32 = 6;
pub(super) const GENERATOR: i32 = 7;

/// Why an operator does not take its arguments; [`Raw`] tags and the reasons have the same numbers in the shim.
#[repr(C)]
pub(super) struct Unfit {
    pub reason: i32,
    pub name: *const c_char,
    pub expected: *const c_char,
    pub found: i64,
    pub count: i64,
}

/// Result of `sp_call` for arguments that the operator does not take.
pub(super) const REFUSED: c_int = 1;

pub(super) type Emit = unsafe extern "C" fn(*mut c_void, *const Raw);
type Tensors = *mut *mut C_tensor;

/// Corrections by linear filters, each with one filter fewer than coefficients; missing gains are null.
#[repr(C)]
pub(super) struct Corrections {
    pub coefficients: Tensors,
    pub matrices: Tensors,
    pub gains: Tensors,
    pub count: i64,
}

#[allow(improper_ctypes, reason = "the types of torch-sys are opaque")]
unsafe extern "C" {
    fn sp_take_error() -> *mut c_char;
    pub(super) fn sp_take_refused() -> c_int;
    pub(super) fn sp_refusal(out: *mut Unfit);
    fn sp_free_text(text: *mut c_char);
    fn sp_start();
    fn sp_is_started() -> c_int;
    pub(super) fn sp_watch(flag: *const u8) -> *const u8;
    pub(super) fn sp_watched() -> *const u8;
    pub(super) fn sp_raised() -> c_int;
    pub(super) fn sp_call(
        op: *const c_char,
        overload: *const c_char,
        values: *const Raw,
        names: *const *const c_char,
        count: i64,
        emit: Emit,
        sink: *mut c_void,
    ) -> c_int;
    pub(super) fn sp_schemas(op: *const c_char) -> *mut c_char;
    pub(super) fn sp_operator_names() -> *mut c_char;
    pub(super) fn sp_backward(
        t: *mut C_tensor,
        gradient: *mut C_tensor,
        retain: c_int,
        create: c_int,
    ) -> c_int;
    pub(super) fn sp_recomputed(
        inputs: Tensors,
        count: i64,
        code: *const super::recompute::RawCode,
    ) -> *mut C_tensor;
    pub(super) fn sp_set_tensor(to: *mut C_tensor, from: *const C_tensor);
    pub(super) fn sp_grad(
        outs: Tensors,
        out_count: i64,
        out_grads: Tensors,
        ins: Tensors,
        in_count: i64,
        results: Tensors,
        retain: c_int,
        create: c_int,
    ) -> c_int;
    pub(super) fn sp_fused_adamw(
        params: Tensors,
        grads: Tensors,
        first: Tensors,
        second: Tensors,
        steps: Tensors,
        count: i64,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        scale: *mut C_tensor,
        skip: *mut C_tensor,
    ) -> c_int;
    pub(super) fn sp_global_norm(tensors: Tensors, count: i64) -> *mut C_tensor;
    pub(super) fn sp_foreach_mul(tensors: Tensors, count: i64, factor: *mut C_tensor) -> c_int;
    pub(super) fn sp_foreach_lerp(tensors: Tensors, ends: Tensors, count: i64, weight: f64) -> c_int;
    pub(super) fn sp_clear_grads(tensors: Tensors, count: i64) -> c_int;
    pub(super) fn sp_switch_fused(on: c_int) -> c_int;
    pub(super) fn sp_count_flops(on: c_int) -> c_int;
    pub(super) fn sp_flops() -> f64;
    pub(super) fn sp_set_flops(value: f64);
    pub(super) fn sp_has_launcher() -> c_int;
    pub(super) fn sp_install_launcher(launcher: *const kernels::Raw);
    pub(super) fn sp_emulate(launcher: *const kernels::Raw) -> *const kernels::Raw;
    pub(super) fn sp_kernels_started() -> i64;
    pub(super) fn sp_attention_choices() -> *mut c_char;
    pub(super) fn sp_product_choices() -> *mut c_char;
    pub(super) fn sp_cpu_operators() -> *const c_char;
    pub(super) fn sp_norm_modulate(
        x: *mut C_tensor,
        shift: *mut C_tensor,
        scale: *mut C_tensor,
        centered: c_int,
    ) -> *mut C_tensor;
    pub(super) fn sp_stream_norm(
        x: *mut C_tensor,
        m: *mut C_tensor,
        gate: *mut C_tensor,
        shift: *mut C_tensor,
        scale: *mut C_tensor,
        centered: c_int,
        y: Tensors,
    ) -> *mut C_tensor;
    pub(super) fn sp_gated_add(x: *mut C_tensor, m: *mut C_tensor, gate: *mut C_tensor) -> *mut C_tensor;
    pub(super) fn sp_gated_add_corrected(
        x: *mut C_tensor,
        m: *mut C_tensor,
        gate: *mut C_tensor,
        corrections: Corrections,
    ) -> *mut C_tensor;
    pub(super) fn sp_norm_modulate_corrected(
        x: *mut C_tensor,
        shift: *mut C_tensor,
        scale: *mut C_tensor,
        centered: c_int,
        corrections: Corrections,
    ) -> *mut C_tensor;
    pub(super) fn sp_stream_corrected(
        x: *mut C_tensor,
        m: *mut C_tensor,
        gate: *mut C_tensor,
        corrections: Corrections,
    ) -> *mut C_tensor;
    pub(super) fn sp_attend(
        qkv: *mut C_tensor,
        q_weight: *mut C_tensor,
        k_weight: *mut C_tensor,
        cos: *mut C_tensor,
        sin: *mut C_tensor,
        heads: i64,
        eps: f64,
    ) -> *mut C_tensor;
    pub(super) fn sp_mlp(
        x: *mut C_tensor,
        w1: *mut C_tensor,
        b1: *mut C_tensor,
        w2: *mut C_tensor,
        b2: *mut C_tensor,
    ) -> *mut C_tensor;
    pub(super) fn sp_gelu(x: *mut C_tensor) -> *mut C_tensor;
    pub(super) fn sp_gate(
        c: *mut C_tensor,
        w1: *mut C_tensor,
        b1: *mut C_tensor,
        w2: *mut C_tensor,
        b2: *mut C_tensor,
        scale: f64,
    ) -> *mut C_tensor;
    pub(super) fn sp_linear(x: *mut C_tensor, weight: *mut C_tensor, bias: *mut C_tensor) -> *mut C_tensor;
    pub(super) fn sp_has_recorder(device: *const c_char) -> c_int;
    pub(super) fn sp_emulate_graphs(recorder: *const c_void) -> *const c_void;
    pub(super) fn sp_graph_symbols() -> *const c_char;
    pub(super) fn sp_side_stream(device: *const c_char) -> *mut c_void;
    pub(super) fn sp_side_stream_wait(side_stream: *mut c_void) -> c_int;
    pub(super) fn sp_side_stream_free(side_stream: *mut c_void);
    pub(super) fn sp_graph(device: *const c_char) -> *mut c_void;
    pub(super) fn sp_graph_end(graph: *mut c_void) -> c_int;
    pub(super) fn sp_graph_replay(graph: *const c_void) -> c_int;
    pub(super) fn sp_graph_free(graph: *mut c_void);
    pub(super) fn sp_renew_bf16_weights(weights: Tensors, count: i64, addresses: *mut *const c_void)
    -> c_int;
    pub(super) fn sp_autocasts(device: *const c_char) -> c_int;
    pub(super) fn sp_keep_warnings(keep: c_int);
    pub(super) fn sp_take_warning() -> *mut c_char;
    pub(super) fn sp_warn_once(text: *const c_char);
    pub(super) fn sp_open_store(
        host: *const c_char,
        port: c_int,
        server: c_int,
        prefix: *const c_char,
        timeout: i64,
    ) -> *mut c_void;
    pub(super) fn sp_store_port(store: *mut c_void) -> c_int;
    pub(super) fn sp_store_set(store: *mut c_void, key: *const c_char, value: *const c_char) -> c_int;
    pub(super) fn sp_store_get(store: *mut c_void, key: *const c_char, timeout: i64) -> *mut c_char;
    pub(super) fn sp_free_store(store: *mut c_void);
    pub(super) fn sp_open_group(
        store: *mut c_void,
        rank: c_int,
        size: c_int,
        address: *const c_char,
        interface: *const c_char,
        timeout: i64,
    ) -> *mut c_void;
    pub(super) fn sp_free_group(group: *mut c_void);
    pub(super) fn sp_start_sum(group: *mut c_void, tensor: *mut C_tensor) -> *mut c_void;
    pub(super) fn sp_start_broadcast(group: *mut c_void, tensor: *mut C_tensor, root: c_int) -> *mut c_void;
    pub(super) fn sp_start_gather(
        group: *mut c_void,
        output: *mut C_tensor,
        input: *mut C_tensor,
    ) -> *mut c_void;
    pub(super) fn sp_start_exchange(
        group: *mut c_void,
        output: *mut C_tensor,
        input: *mut C_tensor,
    ) -> *mut c_void;
    pub(super) fn sp_wait_for(work: *mut c_void, milliseconds: i64) -> c_int;
    pub(super) fn sp_free_work(work: *mut c_void);
    pub(super) fn sp_native_stream(device: *const c_char, stream: *mut *mut c_void) -> c_int;
    pub(super) fn sp_exchange_device(device: c_int, earlier: *mut c_int) -> c_int;
    pub(super) fn sp_generator(device: *const c_char, seed: u64) -> *mut c_void;
    pub(super) fn sp_generator_free(generator: *mut c_void);
    pub(super) fn sp_generator_state(generator: *mut c_void, device: *const c_char) -> *mut C_tensor;
    pub(super) fn sp_generator_restore(
        generator: *mut c_void,
        device: *const c_char,
        state: *mut C_tensor,
    ) -> c_int;
    pub(super) fn sp_set_deterministic(on: c_int) -> c_int;
    pub(super) fn sp_set_tf32(on: c_int) -> c_int;
    pub(super) fn sp_autocast_enter(cuda: c_int, on: c_int, earlier: *mut [c_int; 2]) -> c_int;
    pub(super) fn sp_autocast_leave(cuda: c_int, earlier: *const [c_int; 2]) -> c_int;
    pub(super) fn sp_synchronize(device: c_int) -> c_int;
    pub(super) fn sp_kept() -> i64;
    pub(super) fn sp_trace_start(cuda: c_int) -> c_int;
    pub(super) fn sp_trace_stop(path: *const c_char) -> c_int;
    pub(super) fn sp_reset_memory_peak(device: c_int) -> c_int;
    pub(super) fn sp_memory(device: c_int, out: *mut i64) -> c_int;
}

/// Returns whether [`start`](super::start) ran in this process and on this thread.
pub(super) fn is_started() -> bool {
    // SAFETY: reads a pointer and a thread-local flag.
    unsafe { sp_is_started() != 0 }
}

pub(super) fn start() {
    // SAFETY: sets a function pointer and a thread-local flag, and wraps the allocator once.
    unsafe { sp_start() }
}

pub(super) fn raw(tensor: &Tensor) -> *mut C_tensor {
    tensor.raw().as_ptr().cast_mut().cast()
}

pub(super) fn raws<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*mut C_tensor> {
    tensors.into_iter().map(raw).collect()
}

/// Takes ownership of a tensor that the shim allocated.
///
/// # Safety
/// `pointer` must come from the shim and have no other owner.
pub(super) unsafe fn owned(pointer: *mut C_tensor) -> Tensor {
    // SAFETY: guaranteed by the caller.
    Tensor::wrap(unsafe { tch::Tensor::from_ptr(pointer.cast()) })
}

/// Takes ownership as [`owned`] does, or returns the shim's error if the pointer is null.
///
/// # Safety
/// As for [`owned`].
pub(super) unsafe fn made(pointer: *mut C_tensor) -> Result<Tensor> {
    if pointer.is_null() {
        return Err(last_error());
    }
    // SAFETY: guaranteed by the caller.
    Ok(unsafe { owned(pointer) })
}

pub(super) fn text(pointer: *mut c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the shim returns strings allocated by strdup.
    unsafe {
        let text = CStr::from_ptr(pointer).to_string_lossy().into_owned();
        sp_free_text(pointer);
        Some(text)
    }
}

pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::argument(format!("{text:?} holds a zero byte")))
}

pub(super) fn last_error() -> Error {
    // SAFETY: always returns a string.
    torch_error(&text(unsafe { sp_take_error() }).unwrap_or_default())
}

pub(super) fn check(code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(last_error()) }
}
