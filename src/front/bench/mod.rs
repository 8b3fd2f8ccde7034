//! `spectral bench`: speed of this program on this machine, one JSON line per measurement.
//!
//! The rows have the keys that `benches/pytorch.py` prints, so that the two can be compared; `cargo xtask bench`
//! does. Milliseconds are medians of the runs after a warm-up. The speed of a machine drifts and other programs
//! take their share, so only ratios of alternating runs are meaningful.
//!
//! - `step`: a training step and a forward pass; `filters`: cost of a step with each type of filter
//! - `block`: the parts of one block
//! - `parts`: cost of a part at each place, and of a scripted part relative to the same part in Rust
//! - `metrics`: Inception features, and metrics of features
//! - `script`: a training loop in a script relative to the same loop in Rust; `start`: time until the prompt
//! - `serve`: steps or metrics for another program, one run per request

mod block;
mod filters;
mod metrics;
mod parts;
mod script;
mod serve;
mod start;
mod step;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::terminal;
use crate::error::{Error, Result};
use crate::files;
use crate::model::{Config, presets};
use crate::spectral::{Filter, Gate, correction, gate};
use crate::torch::{self, Device, fused, graph, kernels, memory, trace};

/// Options of `spectral bench`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Size of the model.
    #[arg(long, default_value = "cifar10_small")]
    preset: String,
    /// Overrides of the preset's sizes: image_size, patch_size, depth, hidden_size or num_heads,
    /// `depth=8,hidden_size=256`.
    #[arg(long, value_name = "SIZE=NUMBER", value_delimiter = ',')]
    with: Vec<String>,
    /// Images per step.
    #[arg(long, default_value_t = 256)]
    batch: i64,
    /// Device: "auto", "cpu", "cuda" or "cuda:N".
    #[arg(long, default_value = "auto")]
    device: String,
    /// Gate of a SpectralDiT, or none for a plain DiT.
    #[arg(long, default_value = "none", value_parser = GATES)]
    gate: String,
    /// Filters of the corrections of a block, with default options, separated by commas.
    #[arg(long, default_value = "binomial", value_delimiter = ',', value_parser = FILTERS)]
    filter: Vec<String>,
    /// Measurements, separated by commas: train, forward, filters, block, parts, script, start, and for evaluation
    /// inception, fid, kid, precision_recall.
    #[arg(long, default_value = "train,forward", value_delimiter = ',', value_parser = KINDS)]
    what: Vec<String>,
    /// Timed runs of each measurement.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Warm-up runs before them.
    #[arg(long, default_value_t = 5)]
    warmup: u32,
    /// CPU threads per operator; 0 leaves the choice to libtorch.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Use libtorch's operators instead of the fused ones.
    #[arg(long)]
    plain: bool,
    /// Record the training step and the forward pass as CUDA graphs and replay them.
    #[arg(long, conflicts_with = "plain")]
    graph: bool,
    /// Make one run for each line of standard input, which names the measurement; for a program that alternates
    /// between several of these.
    #[arg(long)]
    serve: bool,
    /// Also write a Chrome trace of one step of each kind.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

const GATES: [&str; 4] = ["none", "time", "time_label", "static"];
/// Filters that need no code.
const FILTERS: [&str; 8] = ["binomial", "gaussian", "box", "haar", "ideal", "butterworth", "dct", "learned"];
const KINDS: [&str; 11] = [
    "train",
    "forward",
    "filters",
    "block",
    "parts",
    "script",
    "start",
    "inception",
    "fid",
    "kid",
    "precision_recall",
];

/// Runs the benchmark, prints the rows and returns the exit code.
pub fn bench(options: &Options) -> u8 {
    let outcome = match options.plain {
        true => fused::with_reference_operators(|| measure(options)),
        false => measure(options),
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => terminal::fail(error),
    }
}

fn measure(options: &Options) -> Result<()> {
    torch::start();
    if options.threads > 0 {
        torch::set_threads(options.threads);
    }
    let device = match options.device.as_str() {
        "auto" => Device::auto(),
        name => Device::named(name)?,
    };
    crate::ensure!(options.batch >= 1, "`--batch` must be at least 1, found {}", options.batch);
    if options.graph {
        let other = options.what.iter().find(|what| !step::KINDS.contains(&what.as_str()));
        crate::ensure!(
            other.is_none(),
            "`--graph` measures train and forward, found {}",
            other.map_or("", |w| w)
        );
    }
    if options.graph && !graph::available(device) {
        // Measuring something else under this name would mislead.
        return Err(Error::argument(format!(
            "`--graph` needs CUDA and its graphs, and the device is {device}"
        ))
        .hint("leave it out, or see what `spectral info` says of CUDA"));
    }
    torch::device::set_tf32(true)?;
    let before = memory().resident.unwrap_or_default();
    let setting = Setting { options, device, config: config(options)?, before };
    if options.serve {
        return serve::serve(&setting);
    }
    // libtorch would print its warnings with places in its sources.
    let _kept = torch::keep_warnings();
    // A folder that cannot be written is named before the minutes that a benchmark takes.
    if let Some(path) = &options.profile {
        files::write(path, "")?;
    }
    for what in &options.what {
        match what.as_str() {
            "filters" => filters::bench(&setting)?,
            "block" => block::bench(&setting)?,
            "parts" => parts::bench(&setting)?,
            "script" => script::bench(&setting)?,
            "start" => start::bench(&setting)?,
            _ => whole(&setting, what)?,
        }
        torch::take_warnings().iter().for_each(|text| terminal::err(&format!("note: {text}")));
    }
    match &options.profile {
        Some(path) => trace::record(path, device, || step::once(&setting)),
        None => Ok(()),
    }
}

/// A benchmark that makes one run at a time.
trait Work {
    /// Makes one run of a measurement.
    fn run(&self, what: &str) -> Result<()>;

    /// Makes the first runs of a measurement, which compile, record graphs and choose algorithms by measuring.
    fn prepare(&self, what: &str) -> Result<()> {
        self.run(what)
    }
}

/// Returns the benchmark that makes the runs of a measurement.
fn work(setting: &Setting, what: &str) -> Result<Box<dyn Work>> {
    if step::KINDS.contains(&what) {
        Ok(Box::new(step::Bench::new(setting)?))
    } else if metrics::KINDS.contains(&what) {
        Ok(Box::new(metrics::Bench::new(setting)?))
    } else {
        let known = step::KINDS.iter().chain(&metrics::KINDS).copied().collect::<Vec<_>>().join(", ");
        Err(Error::argument(format!("`--serve` takes {known}, found \"{what}\"")))
    }
}

/// Times the runs of one measurement.
fn whole(setting: &Setting, what: &str) -> Result<()> {
    let work = work(setting, what)?;
    work.prepare(what)?;
    reset_peak(setting)?;
    let times = setting.time(|| work.run(what))?;
    setting.row(what, &times, json!({ "peak_gib": peak(setting) }));
    Ok(())
}

fn config(options: &Options) -> Result<Config> {
    let mut plain = presets::find(&options.preset)?;
    for size in &options.with {
        let (name, number) = size.split_once('=').unwrap_or((size, ""));
        let number = number.parse().map_err(|_| {
            Error::argument(format!(
                "expected a size and a number such as `depth=8` after `--with`, found `{size}`"
            ))
        })?;
        match name {
            "image_size" => plain.image_size = number,
            "patch_size" => plain.patch_size = number,
            "depth" => plain.depth = number,
            "hidden_size" => plain.hidden_size = number,
            "num_heads" => plain.num_heads = number,
            other => {
                let known = ["image_size", "patch_size", "depth", "hidden_size", "num_heads"];
                let error = Error::argument(format!("`--with` knows no size `{other}`"));
                return Err(error.did_you_mean(other, known));
            }
        }
    }
    let filters = options.filters()?;
    Ok(match options.gate()? {
        Some(gate) => plain
            .with_corrections(filters.iter().map(|filter| correction(filter, &gate)).collect::<Result<_>>()?),
        None => plain,
    })
}

impl Options {
    fn gate(&self) -> Result<Option<Gate>> {
        Ok(match self.gate.as_str() {
            "time" => Some(gate::time(gate::Time::default())?),
            "time_label" => Some(gate::time_label(gate::TimeLabel::default())?),
            "static" => Some(gate::r#static(gate::Static::default())?),
            _ => None,
        })
    }

    fn filters(&self) -> Result<Vec<Filter>> {
        self.filter.iter().map(|name| Filter::named(name)).collect()
    }
}

/// Begins a new measurement of the peak memory.
fn reset_peak(setting: &Setting) -> Result<()> {
    memory::reset_peak();
    torch::device::reset_memory_peak(setting.device)
}

/// Returns the peak memory since the last reset, in GiB.
fn peak(setting: &Setting) -> Option<f64> {
    let bytes = match setting.device {
        // The peak of the process, without what it held before the model was created.
        Device::Cpu => memory().peak.map(|peak| peak.saturating_sub(setting.before)),
        cuda => torch::device::memory(cuda).ok().map(|m| m.allocated_peak.unsigned_abs()),
    };
    bytes.map(|bytes| rounded(bytes as f64 / f64::from(1 << 30)))
}

/// Settings shared by all measurements.
struct Setting<'a> {
    options: &'a Options,
    device: Device,
    config: Config,
    /// Bytes that the process held before the model was created.
    before: u64,
}

/// Times of one run, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Wall-clock time.
    wall: f64,
    /// Processor time of all threads together.
    used: f64,
}

impl Setting<'_> {
    /// Returns the shape of a batch of images.
    fn images(&self) -> [i64; 4] {
        let Config { in_channels, image_size, .. } = self.config;
        [self.options.batch, in_channels, image_size, image_size]
    }

    /// Times a function after a warm-up; each run waits for the device.
    fn time(&self, mut run: impl FnMut() -> Result<()>) -> Result<Times> {
        for _ in 0..self.options.warmup {
            run()?;
        }
        self.device.synchronize()?;
        let mut times = Vec::new();
        for _ in 0..self.options.runs {
            times.push(self.one(&mut run)?);
        }
        Times::of(&times)
    }

    /// Times one run.
    fn one(&self, run: &mut impl FnMut() -> Result<()>) -> Result<Run> {
        let (start, used) = (Instant::now(), processor_time());
        run()?;
        self.device.synchronize()?;
        let wall = start.elapsed().as_secs_f64() * 1e3;
        Ok(Run { wall, used: (processor_time() - used) * 1e3 })
    }

    /// Prints a row: measurement, settings, times, and the entries of `more`.
    fn row(&self, what: &str, times: &Times, more: Json) {
        let device = match self.device {
            Device::Cpu => format!("cpu x{}", torch::threads()),
            cuda => cuda.to_string(),
        };
        let mut row = json!({
            "what": what,
            "preset": self.options.preset,
            "gate": self.options.gate,
            "filter": self.options.filter.join(","),
            "batch": self.options.batch,
            "mode": match (self.options.plain, self.options.graph) {
                (true, _) => "plain",
                (_, true) => "graph",
                _ => "spectral",
            },
            "sdpa": attention(),
            "device": device,
            "torch": torch::LIBTORCH_VERSION,
            "ms": rounded(times.median),
            "min": rounded(times.least),
            "max": rounded(times.most),
            "cpu_ms": rounded(times.used),
        });
        if let (Json::Object(row), Json::Object(more)) = (&mut row, more) {
            row.extend(more.into_iter().collect::<Map<_, _>>());
        }
        terminal::out(&row.to_string());
    }
}

/// Summary of the times of several runs, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    median: f64,
    least: f64,
    most: f64,
    /// Median of the processor time.
    used: f64,
}

impl Times {
    fn of(runs: &[Run]) -> Result<Self> {
        let walls: Vec<f64> = runs.iter().map(|r| r.wall).collect();
        Ok(Self {
            median: median(walls.clone())?,
            least: walls.iter().copied().fold(f64::INFINITY, f64::min),
            most: walls.iter().copied().fold(0.0, f64::max),
            used: median(runs.iter().map(|r| r.used).collect())?,
        })
    }
}

fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => Err(Error::internal("nothing was timed")),
        n if n % 2 == 0 => Ok((values[middle - 1] + values[middle]) / 2.0),
        _ => Ok(values[middle]),
    }
}

/// Returns the processor time of this process in seconds, summed over all threads.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the given struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Returns the libtorch backends that attention has used so far, separated by commas.
fn attention() -> String {
    let choices = kernels::attention_choices();
    let mut names: Vec<&str> = choices.lines().filter_map(|line| line.split(':').next()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "default".to_string() } else { names.join(",") }
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_middle_two() {
        let run = |wall| Run { wall, used: 2.0 * wall };
        let times = Times::of(&[4.0, 1.0, 30.0, 2.0].map(run)).unwrap();
        assert_eq!(times, Times { median: 3.0, least: 1.0, most: 30.0, used: 6.0 });
        assert_eq!(median(vec![5.0, 7.0, 6.0]).unwrap(), 6.0);
        assert!(Times::of(&[]).is_err());
    }

    #[test]
    fn work_takes_processor_time() {
        let before = processor_time();
        let sum = (0..3_000_000u64).fold(0, |sum, i| std::hint::black_box(sum ^ i));
        assert!(processor_time() > before, "{sum}");
    }
}
