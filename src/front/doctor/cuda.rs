//! Checks of the GPU: driver, devices, kernel compiler, and choices made by measuring.

use super::Finding;
use super::machine::stated;
use crate::error::Result;
use crate::torch::graph::{self, Graphs, WARM_UP};
use crate::torch::kernels::{self, Gpu, Nvrtc};
use crate::torch::{self, DType, Device, Generator, Tensor, autograd, device, fused};

/// Checks driver, GPUs and compiler; `wanted` if kernels are to be tried on a GPU.
pub(super) fn look(wanted: bool) -> Vec<Finding> {
    let gpus = match kernels::gpus() {
        Ok(gpus) => gpus,
        // Without a driver, a GPU is not expected.
        Err(_) if !device::has_driver() => return vec![Finding::ok("cuda", device::cuda_status())],
        Err(error) => return vec![Finding::error("cuda", &error)],
    };
    let mut all = vec![driver(&gpus)];
    all.extend(gpus.iter().enumerate().map(|(n, gpu)| {
        let memory = gpu.memory as f64 / f64::from(1 << 30);
        Finding::ok(format!("cuda:{n}"), format!("{}, {memory:.0} GiB, {}", gpu.name, gpu.arch))
    }));
    if device::cuda_count() == 0 {
        let advice = match torch::libtorch_folder().join("libtorch_cuda.so").exists() {
            true => "check that nvidia-smi works, and that CUDA_VISIBLE_DEVICES hides no device",
            false => "pip install --force-reinstall torch==2.11.0 gives the one with CUDA",
        };
        all.push(Finding::warning("cuda", device::cuda_status(), advice));
    }
    all.push(match Nvrtc::find() {
        Ok(nvrtc) => Finding::ok("compiler", format!("NVRTC {}", nvrtc.version)),
        Err(error) if wanted => Finding::error("compiler", &error),
        Err(error) => Finding::warning("compiler", error.message(), error.hint_text().unwrap_or_default()),
    });
    all
}

/// Checks the driver against the CUDA version that libtorch was built for.
fn driver(gpus: &[Gpu]) -> Finding {
    let release = std::fs::read_to_string("/proc/driver/nvidia/version").ok().and_then(|text| {
        text.split_whitespace()
            .find(|word| word.chars().all(|c| c.is_ascii_digit() || c == '.') && word.contains('.'))
            .map(str::to_string)
    });
    let release = release.unwrap_or_else(|| "of unknown release".to_string());
    let Some((major, minor)) = gpus.first().map(|gpu| gpu.cuda) else {
        return Finding::warning(
            "driver",
            format!("{release}, but no device"),
            "check that nvidia-smi lists one",
        );
    };
    let found = format!("{release}, for CUDA up to {major}.{minor}");
    let built =
        stated(&torch::libtorch_folder(), "cuda").and_then(|v| v.split('.').next()?.parse::<i32>().ok());
    match built {
        Some(built) if built > major => Finding::failure(
            "driver",
            format!("{found}; this libtorch is built for CUDA {built}"),
            "update the driver, or install PyTorch for an older CUDA: pip install torch==2.11.0 --index-url \
             https://download.pytorch.org/whl/cu126",
        ),
        _ => Finding::ok("driver", found),
    }
}

/// Returns the attention backends and matrix product algorithms that were measured while operators were tried, with
/// their times.
pub(super) fn choices(device: Device) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Err(error) = measured(device) {
        all.push(Finding::error("attention", &error));
    }
    for (name, text) in
        [("attention", kernels::attention_choices()), ("products", kernels::product_choices())]
    {
        if !text.trim().is_empty() {
            all.push(Finding::ok(name, text.trim()));
        }
    }
    all
}

/// Runs attention once at the size of the `cifar10_small` preset, which measures the backends.
fn measured(device: Device) -> Result<()> {
    let generator = Generator::new(3, Device::Cpu)?;
    let draw = |shape: &[i64]| {
        Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator))?.to_device(device)
    };
    let qkv = draw(&[64, 256, 3 * 384])?.to_dtype(DType::BFloat16)?.set_requires_grad(true)?;
    let weight = draw(&[64])?;
    let value = fused::attend(&qkv, &weight, &weight, 6)?;
    autograd::grad(&[value.sum(&[], false)?], &[qkv], None, false, false).map(drop)
}

/// Checks that a function can be recorded as a CUDA graph and replayed.
pub(super) fn graphs(device: Device) -> Finding {
    if !graph::available(device) {
        return Finding::warning(
            "graphs",
            "this libtorch cannot record CUDA graphs",
            "`cuda_graph: true` runs without graphs; pip install --force-reinstall torch==2.11.0",
        );
    }
    match replayed(device) {
        Err(error) => Finding::error("graphs", &error),
        Ok(None) => Finding::warning(
            "graphs",
            "no graph was recorded",
            "`cuda_graph: true` runs without graphs; see the warning above",
        ),
        Ok(Some(true)) => Finding::ok("graphs", "recorded and replayed with equal results"),
        Ok(Some(false)) => Finding::failure(
            "graphs",
            "a replay gave a different result",
            "keep `cuda_graph` off, and report this",
        ),
    }
}

/// Returns whether a replayed function gives the same result as without a graph; `None` if it was not recorded.
fn replayed(device: Device) -> Result<Option<bool>> {
    let generator = Generator::new(5, Device::Cpu)?;
    let draw = |shape: &[i64]| {
        Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator))?.to_device(device)
    };
    let weight = draw(&[64, 64])?;
    let body = |v: &[Tensor]| Ok(vec![v[0].matmul(&weight)?.tanh()?]);
    let mut graphs = Graphs::new(device, vec![weight.clone()]);
    let mut equal = true;
    for _ in 0..WARM_UP + 3 {
        let x = draw(&[32, 64])?;
        let found = torch::no_grad(|| graphs.run(0, std::slice::from_ref(&x), &body))?.remove(0).copy()?;
        let expected = torch::no_grad(|| body(&[x]))?.remove(0);
        equal &= found.allclose(&expected, 1e-4, 1e-5)?;
    }
    Ok((graphs.counts().replayed > 0).then_some(equal))
}
