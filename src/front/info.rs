//! `spectral info [--json]`: versions of this program's components, and devices of this machine.

use serde_json::{Value as Json, json};

use super::terminal;
use crate::document::{Block, Cell, Column, Document, Look, Role, Table};
use crate::script::memory::available;
use crate::torch::{self, Device, device, kernels::Nvrtc};

/// Shows versions, devices and where libtorch was found; returns the exit code.
pub fn info(as_json: bool) -> u8 {
    torch::start();
    let info = collect();
    let text = match as_json {
        true => serde_json::to_string_pretty(&info).unwrap_or_default(),
        false => document(&info).shown(None, terminal::color(&std::io::stdout())),
    };
    terminal::out(text.trim_end());
    0
}

/// Returns the version of a dependency, from the lock file of the build.
fn locked(name: &str) -> Option<&'static str> {
    let lock = include_str!("../../Cargo.lock");
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

fn collect() -> Json {
    let count = device::cuda_count();
    let devices: Vec<Json> = (0..count)
        .map(|n| {
            let memory = device::memory(Device::Cuda(n)).unwrap_or_default();
            json!({ "name": format!("cuda:{n}"), "allocated_bytes": memory.allocated, "reserved_bytes": memory.reserved })
        })
        .collect();
    let (total, free) = available();
    json!({
        "spectral": env!("CARGO_PKG_VERSION"),
        "rhai": locked("rhai"),
        "tch": locked("tch"),
        "rust": env!("SPECTRAL_RUSTC"),
        "libtorch": torch::LIBTORCH_VERSION,
        "libtorch_folder": torch::libtorch_folder(),
        "libtorch_found": torch::libtorch_folder().is_dir(),
        "cpu_threads": torch::threads(),
        "cpu_operators": torch::fused::instruction_set(),
        "cpu_cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_bytes": total,
        "memory_free_bytes": free,
        "device": Device::auto().to_string(),
        "cuda": device::cuda_status(),
        "cuda_devices": devices,
        "cuda_compiler": (count > 0).then(compiler),
    })
}

/// Returns the compiler of CUDA kernels, or why there is none.
fn compiler() -> String {
    match Nvrtc::find() {
        Ok(nvrtc) => format!("NVRTC {}", nvrtc.version),
        Err(error) => format!("none, so libtorch's operators are used: {}", error.message()),
    }
}

fn document(info: &Json) -> Document {
    let text = |key: &str| match &info[key] {
        Json::String(s) => s.clone(),
        other => other.to_string(),
    };
    let gib = |key: &str| info[key].as_f64().unwrap_or(0.0) / f64::from(1 << 30);
    let columns = [Column { names: true, ..Column::left().least(10) }, Column::left().after(2)];
    let mut table = Table::new(Look::Open, columns.to_vec());
    let mut row = |name: &str, value: String| table.push([Cell::of(Role::Key, name), value.into()]);
    row("spectral", text("spectral"));
    row("rhai", text("rhai"));
    row("rust", text("rust"));
    row("libtorch", format!("{} in {}", text("libtorch"), text("libtorch_folder")));
    row("device", format!("{}, used for \"auto\"", text("device")));
    row("cuda", text("cuda"));
    for device in info["cuda_devices"].as_array().into_iter().flatten() {
        let name = device["name"].as_str().unwrap_or_default();
        row(name, format!("{} bytes allocated", device["allocated_bytes"]));
    }
    if let Some(compiler) = info["cuda_compiler"].as_str() {
        row("compiler", compiler.to_string());
    }
    row(
        "threads",
        format!(
            "{} on {} cores, CPU operators for {}",
            text("cpu_threads"),
            text("cpu_cores"),
            text("cpu_operators")
        ),
    );
    row("memory", format!("{:.1} GiB, {:.1} GiB free", gib("memory_bytes"), gib("memory_free_bytes")));
    Document::of(Block::Table(table))
}
