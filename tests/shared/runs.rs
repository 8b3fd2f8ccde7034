//! Runs of the program that are killed or interrupted, and the files that they leave.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use spectral::train::checkpoint::Checkpoint;

use super::{Ran, finish};

/// Returns a script with a model of some thousand parameters and 30 images in batches of 12, so that epochs end within
/// batches. Rank 0 logs every step: its number, the images and the loss to its last bit.
pub fn script(steps: usize, options: &str) -> String {
    format!(
        r#"tensor::seed(3);
let model = model::dit(#{{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 8,
                          num_heads: 2, corrections: correction(filter::binomial(), gate::time()) }});
let pixels = tensor::rand([30, 1, 4, 4], #{{ generator: tensor::generator(5) }}) * 2 - 1;
let images = data::from_tensors(pixels, tensor::arange(30) % 2);
let run = train::fit(model, images, #{{
    steps: {steps}, batch: 12, lr: 1e-3, flip: true, schedule: "cosine", warmup: 5, log_every: 3,
    out: "run", checkpoint_every: 2, keep: 3, {options}
    on_step: |s| {{
        if ranks::rank() == 0 {{
            files::append_line("steps.txt", `${{s.step}} ${{s.indices.to_array()}} ${{s.loss}} ${{s.grad_norm}}`);
        }}
    }},
}});
print(`${{run.steps}} steps, loss ${{run.loss}}`);
"#
    )
}

/// Returns the path of a torchrun: the one of `SPECTRAL_TORCHRUN`, which `cargo xtask test` sets, or a provisioned one.
pub fn torchrun() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let provision = || {
        let mut command = Command::new(env!("CARGO"));
        let output = command.args(["xtask", "torchrun"]).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "cargo xtask torchrun failed");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    };
    FOUND.get_or_init(|| std::env::var_os("SPECTRAL_TORCHRUN").map_or_else(provision, PathBuf::from)).clone()
}

pub fn folder(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.rhai"), script).unwrap();
    folder
}

pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spectral"));
    // The model is tiny and tests run in parallel, so several threads would mostly wait for each other.
    command.args(arguments).env("OMP_NUM_THREADS", "1");
    command
}

pub fn start(folder: &Path) -> Child {
    start_with(folder, &["run", "train.rhai"])
}

pub fn start_with(folder: &Path, arguments: &[&str]) -> Child {
    program(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub fn run(folder: &Path) -> Ran {
    finish(program(&["run", "train.rhai"]), folder, "")
}

/// Returns the logged steps. A killed run may have several lines for one step and an incomplete last line.
pub fn notes(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("steps.txt")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

/// Waits until a condition holds, and fails if the program ends or the condition does not hold within two minutes.
pub fn wait(what: &str, child: &mut Child, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the program ended with {status} before {what}: {said}");
        }
        assert!(start.elapsed() < Duration::from_secs(120), "no {what} within two minutes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the temporary names of checkpoints that are being written or were never finished.
pub fn unfinished(folder: &Path) -> Vec<String> {
    let mut names = spectral::files::list(folder.join("run/checkpoints")).unwrap_or_default();
    names.retain(|name| name.starts_with(".writing-"));
    names
}

pub fn newest(folder: &Path) -> Checkpoint {
    let names = spectral::files::list(folder.join("run/checkpoints")).unwrap();
    let name = names.iter().rfind(|n| n.starts_with("step-")).unwrap();
    Checkpoint::read(folder.join("run/checkpoints").join(name)).unwrap()
}

/// Everything a run left behind, except the time it took.
#[derive(Debug, PartialEq)]
pub struct Left {
    pub tensors: BTreeMap<String, Vec<u8>>,
    pub values: String,
    pub best: String,
    pub log: Vec<String>,
    pub weights: Vec<BTreeMap<String, Vec<u8>>>,
    pub snapshots: BTreeMap<String, Vec<u8>>,
}

pub fn left(folder: &Path) -> Left {
    let saved = newest(folder);
    let bytes = |tensors: &BTreeMap<String, spectral::torch::Tensor>| -> BTreeMap<String, Vec<u8>> {
        tensors.iter().map(|(name, t)| (name.clone(), t.to_bytes().unwrap())).collect()
    };
    let mut tensors = saved.tensors.clone();
    let history = tensors.remove("run.history").unwrap();
    tensors.insert("run.history".to_string(), history.narrow(1, 0, 4).unwrap().contiguous().unwrap());
    let mut values = saved.values();
    values.remove("seconds");
    let best = format!("{:?}", values.remove("best"));
    let log = std::fs::read_to_string(folder.join("run/log.csv")).unwrap();
    let weights = ["weights", "ema"].map(|name| {
        let path = folder.join(format!("run/{name}.safetensors"));
        bytes(&spectral::torch::io::load_named(&path, spectral::torch::Device::Cpu).unwrap().tensors)
    });
    Left {
        tensors: bytes(&tensors),
        values: format!("{values:?}"),
        best,
        log: log.lines().map(without_seconds).collect(),
        snapshots: snapshots(folder),
        weights: weights.into(),
    }
}

/// Returns a row of the log without its fifth field, the seconds.
fn without_seconds(row: &str) -> String {
    let mut fields: Vec<&str> = row.split(',').collect();
    fields.remove(4);
    fields.join(",")
}

/// Returns the snapshots of averages.
fn snapshots(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = std::fs::read_dir(folder.join("run/snapshots"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    all.map(|path| (path.file_name().unwrap().display().to_string(), std::fs::read(&path).unwrap())).collect()
}

/// Checks that every logged step equals one of the undisturbed run, and that no step is missing.
#[track_caller]
pub fn same_notes(found: &[String], expected: &[String]) {
    let mut seen = vec![false; expected.len()];
    for note in found {
        match expected.iter().position(|e| e == note) {
            Some(step) => seen[step] = true,
            // A kill may cut a line short.
            None => {
                assert!(expected.iter().any(|e| e.starts_with(note.as_str())), "a step of its own: {note}");
            }
        }
    }
    assert!(seen.iter().all(|s| *s), "steps are missing");
}

/// Sends Ctrl-C `times` times after some steps. Returns the exit code and standard error.
pub fn interrupted(folder: &Path, times: usize) -> (Option<i32>, String) {
    let before = notes(folder).len();
    let mut child = start(folder);
    wait("steps", &mut child, || notes(folder).len() > before + 2);
    for _ in 0..times {
        // SAFETY: `kill` only sends a signal to the child that was just started.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}
