//! `cargo xtask bench`: runs spectral and PyTorch in turn and prints the ratios of their times.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clap::Args;

use crate::failure::{Doing, Failure, Result};
use crate::machine::Machine;
use crate::steps::{Cargo, folder_of};

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Preset of the model.
    #[arg(long, default_value = "cifar10_small")]
    preset: String,
    /// Images per step.
    #[arg(long, default_value_t = 32)]
    batch: u32,
    /// Gate of the SpectralDiT.
    #[arg(long, default_value = "time")]
    gate: String,
    /// What to measure: train, forward.
    #[arg(long, default_value = "train,forward", value_delimiter = ',')]
    what: Vec<String>,
    /// Number of rounds; each runs every program once.
    #[arg(long, default_value_t = 15)]
    runs: u32,
    /// Number of warm-up runs before the first round.
    #[arg(long, default_value_t = 5)]
    warmup: u32,
    /// Device: "cpu" or "cuda".
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Number of CPU threads; 0 leaves the choice to libtorch.
    #[arg(long, default_value_t = 0)]
    threads: u32,
    /// Skip torch.compile, which takes a minute to start.
    #[arg(long)]
    no_compile: bool,
    /// Replay CUDA graphs: spectral's own, and torch.compile with mode="reduce-overhead".
    #[arg(long)]
    graph: bool,
    /// Measure training against tokens, width, depth and batch instead, and write one row per measurement to a CSV
    /// file.
    #[arg(long, value_name = "FILE")]
    grow: Option<PathBuf>,
    /// Compare evaluation with torch-fidelity instead: Inception features of a batch, and the metrics of features.
    #[arg(long, conflicts_with = "grow")]
    metrics: bool,
    /// Python that has PyTorch, and torch-fidelity for `--metrics`; by default one is installed in the cache if
    /// needed.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// Child process that runs one step per request.
struct Runner {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    rows: Vec<Row>,
}

/// Measurements of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    wall: f64,
    used: f64,
    peak: f64,
}

/// Builds spectral, finds PyTorch, runs both and prints the tables.
pub fn bench(cargo: &Cargo, machine: &Machine, options: &Options) -> Result<()> {
    cargo.build_release()?;
    let spectral = folder_of("release")?.join("spectral");
    let python = match &options.python {
        Some(python) => python.clone(),
        None => python(machine, options.metrics)?,
    };
    let script = machine.root.join("benches/pytorch.py");
    let words = |program: &Path, arguments: &[&str]| {
        let arguments = arguments.iter().map(OsString::from);
        [program.as_os_str().to_owned()].into_iter().chain(arguments).collect::<Vec<_>>()
    };
    if options.metrics {
        let script = machine.root.join("benches/fidelity.py");
        let commands = [
            ("spectral", words(&spectral, &["bench"])),
            ("torch-fidelity", words(&python, &[&script.to_string_lossy()])),
        ];
        let extra = [OsString::from("--batch"), options.batch.to_string().into()];
        for what in ["inception", "fid", "kid", "precision_recall"] {
            let runners = rounds(&commands, what, &extra, options)?;
            println!("{}", table(what, options, &runners)?);
        }
        return Ok(());
    }
    let ours = |gate: &str| {
        let graph: &[&str] = if options.graph { &["--graph"] } else { &[] };
        words(&spectral, &[&["bench", "--gate", gate][..], graph].concat())
    };
    let theirs =
        |gate: &str, mode: &str| words(&python, &[&script.to_string_lossy(), "--gate", gate, "--mode", mode]);
    let gate = options.gate.as_str();
    let mut commands = vec![
        ("spectral DiT", ours("none")),
        ("spectral SpectralDiT", ours(gate)),
        ("PyTorch eager DiT", theirs("none", "eager")),
        ("PyTorch eager SpectralDiT", theirs(gate, "eager")),
    ];
    if !options.no_compile {
        let mode = if options.graph { "reduce-overhead" } else { "compile" };
        commands.push(("torch.compile DiT", theirs("none", mode)));
    }
    if let Some(file) = &options.grow {
        return grow(&commands[..4], file, options);
    }
    for what in &options.what {
        let extra = [OsString::from("--batch"), options.batch.to_string().into()];
        let runners = rounds(&commands, what, &extra, options)?;
        println!("{}", table(what, options, &runners)?);
    }
    Ok(())
}

/// Starts every program, runs them in turn `options.runs` times, and stops them.
fn rounds(
    commands: &[(&'static str, Vec<OsString>)],
    what: &str,
    extra: &[OsString],
    options: &Options,
) -> Result<Vec<Runner>> {
    let mut runners = commands
        .iter()
        .map(|(name, words)| Runner::start(name, &[words, extra].concat(), what, options))
        .collect::<Result<Vec<_>>>()?;
    for round in 0..options.runs {
        eprint!("\r{what}: round {} of {}", round + 1, options.runs);
        let _ = stderr().flush();
        for runner in &mut runners {
            runner.run(what)?;
        }
    }
    eprintln!();
    for runner in &mut runners {
        runner.stop()?;
    }
    Ok(runners)
}

/// Name of an axis, its values, and a function from a value to the sizes and the images per step.
type Axis = (&'static str, &'static [u32], fn(u32) -> (String, u32));

/// Axes of growth. All start from the same model: 256 tokens, width 128, two blocks, eight images.
const AXES: [Axis; 4] = [
    ("tokens", &[64, 256, 1024, 4096], |n| (format!("image_size={},hidden_size=128,depth=2", n.isqrt()), 2)),
    ("width", &[64, 128, 256, 512], |n| {
        (format!("image_size=16,hidden_size={n},num_heads={},depth=2", n / 32), 8)
    }),
    ("depth", &[1, 2, 4, 8], |n| (format!("image_size=16,hidden_size=128,depth={n}"), 8)),
    ("batch", &[1, 4, 16, 64], |n| ("image_size=16,hidden_size=128,depth=2".to_string(), n)),
];

/// Measures training steps along every axis and writes the CSV file that `benches/growth.rhai` plots.
fn grow(commands: &[(&'static str, Vec<OsString>)], file: &Path, options: &Options) -> Result<()> {
    let mut csv = String::from("axis,value,program,ms,cpu_ms,peak_gib\n");
    for (axis, values, sizes) in AXES {
        for value in values {
            let (with, batch) = sizes(*value);
            eprintln!("{axis} {value}");
            let with = format!("patch_size=1,{with}");
            let extra = ["--with".to_string(), with, "--batch".to_string(), batch.to_string()];
            for runner in rounds(commands, "train", &extra.map(OsString::from), options)? {
                let of = |f: fn(&Row) -> f64| median(runner.rows.iter().map(f).collect());
                let peak = runner.rows.last().map_or(f64::NAN, |row| row.peak);
                csv += &format!(
                    "{axis},{value},{},{:.3},{:.3},{peak:.4}\n",
                    runner.name,
                    of(|r| r.wall),
                    of(|r| r.used)
                );
            }
            // Written after each value, so that an interrupted run keeps its results.
            fs::write(file, &csv).doing(format!("write {}", file.display()))?;
        }
    }
    println!("written to {}", file.display());
    Ok(())
}

impl Runner {
    /// Starts the program `words[0]` with the remaining words and the options as arguments.
    fn start(name: &'static str, words: &[OsString], what: &str, options: &Options) -> Result<Self> {
        eprintln!("starting {name}");
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::new(format!("{name} has no program")));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--serve", "--what", what, "--preset", &options.preset, "--device", &options.device])
            .args(["--warmup", &options.warmup.to_string(), "--threads", &options.threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().doing(format!("start {name}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(format!("{name} has no pipes")));
        };
        let mut runner =
            Runner { name, child, input: Some(input), output: BufReader::new(output), rows: Vec::new() };
        let answer = runner.line()?;
        match answer.contains("\"ready\"") {
            true => Ok(runner),
            false => Err(Failure::new(format!("expected {name} to report that it is ready, found {answer}"))),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).doing(format!("read from {}", self.name))?;
        match read {
            0 => Err(Failure::new(format!("{} exited early; see its message above", self.name))),
            _ => Ok(line.trim().to_owned()),
        }
    }

    fn run(&mut self, what: &str) -> Result<()> {
        if let Some(input) = &mut self.input {
            writeln!(input, "{what}").doing(format!("write to {}", self.name))?;
        }
        let line = self.line()?;
        let row = Row::read(&line).ok_or_else(|| {
            Failure::new(format!(
                "expected a row with ms, cpu_ms and peak_gib from {}, found {line}",
                self.name
            ))
        })?;
        self.rows.push(row);
        Ok(())
    }

    /// Closes the program's input, which ends it.
    fn stop(&mut self) -> Result<()> {
        self.input = None;
        self.child.wait().doing(format!("wait for {}", self.name))?;
        Ok(())
    }
}

impl Row {
    fn read(line: &str) -> Option<Self> {
        Some(Row {
            wall: number(line, "ms")?,
            used: number(line, "cpu_ms")?,
            peak: number(line, "peak_gib")?,
        })
    }
}

/// Returns the number at `key` in one line of flat JSON.
fn number(line: &str, key: &str) -> Option<f64> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    rest.split([',', '}']).next()?.trim().parse().ok()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Formats the times of all programs, then the ratios of interest: the median over rounds of the ratio within a
/// round.
fn table(what: &str, options: &Options, runners: &[Runner]) -> Result<String> {
    let gigabytes = |r: &Runner| r.rows.last().map_or(f64::NAN, |row| row.peak);
    let graphs = if options.graph { ", graphs" } else { "" };
    let mut text =
        format!("\n{what}, {}, batch {}, {}{graphs}\n", options.preset, options.batch, options.device);
    text += &format!("{:<48}{:>10}{:>10}{:>10}\n", "", "ms", "cpu ms", "peak GiB");
    for r in runners {
        let of = |f: fn(&Row) -> f64| median(r.rows.iter().map(f).collect());
        text += &format!(
            "{:<48}{:>10.1}{:>10.1}{:>10.3}\n",
            r.name,
            of(|r| r.wall),
            of(|r| r.used),
            gigabytes(r)
        );
    }
    let ratios = [
        ("spectral SpectralDiT", "spectral DiT"),
        ("spectral SpectralDiT", "PyTorch eager SpectralDiT"),
        ("spectral DiT", "PyTorch eager DiT"),
        ("spectral DiT", "torch.compile DiT"),
        ("spectral", "torch-fidelity"),
    ];
    text += &format!("{:<48}{:>10}{:>10}{:>10}\n", "ratios", "ms", "cpu ms", "peak");
    for (above, below) in ratios {
        let find = |name: &str| runners.iter().find(|r| r.name == name);
        let (Some(a), Some(b)) = (find(above), find(below)) else { continue };
        let ratio =
            |f: fn(&Row) -> f64| median(a.rows.iter().zip(&b.rows).map(|(x, y)| f(x) / f(y)).collect());
        let name = format!("{above} / {below}");
        text += &format!(
            "{name:<48}{:>10.3}{:>10.3}{:>10.3}\n",
            ratio(|r| r.wall),
            ratio(|r| r.used),
            gigabytes(a) / gigabytes(b)
        );
    }
    Ok(text)
}

/// Returns a Python that has PyTorch of libtorch's version and, if needed, torch-fidelity: the user's if it has
/// them, otherwise one in the cache.
fn python(machine: &Machine, fidelity: bool) -> Result<PathBuf> {
    const VERSION: &str = "2.11.0";
    let has_torch = |python: &Path| {
        let more = if fidelity { ", torch_fidelity" } else { "" };
        let check = format!("import torch{more}; assert torch.__version__.startswith('{VERSION}')");
        let mut command = Command::new(python);
        command.args(["-c", &check]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let users = PathBuf::from("python3");
    if has_torch(&users) {
        return Ok(users);
    }
    let folder = machine.cache.join(format!("pytorch-{VERSION}"));
    let own = folder.join("bin/python");
    if has_torch(&own) {
        return Ok(own);
    }
    eprintln!(
        "installing PyTorch {VERSION} into {}; this takes some minutes and gigabytes",
        folder.display()
    );
    fs::create_dir_all(&machine.cache).doing(format!("create {}", machine.cache.display()))?;
    let run = |command: &mut Command, name: &str| {
        let status = command.stdout(Stdio::from(stderr())).status().doing(format!("start {name}"))?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("{name} failed ({status})"))
                .hint("or name a Python that has PyTorch with --python FILE")),
        }
    };
    run(Command::new(&users).args(["-m", "venv", "--clear"]).arg(&folder), "python3 -m venv")?;
    let mut install = Command::new(&own);
    install.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        &format!("torch=={VERSION}"),
        "numpy",
        "torch-fidelity==0.4.0",
    ]);
    if !machine.driver {
        // The wheels without CUDA are smaller. If that index is unreachable, the default wheels work as well.
        install.args(["--extra-index-url", "https://download.pytorch.org/whl/cpu"]);
    }
    run(&mut install, "pip install torch")?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_programs_are_read() {
        let ours = r#"{"batch":32,"cpu_ms":7.5,"ms":3.25,"peak_gib":0.125,"what":"train"}"#;
        let theirs = r#"{"what": "train", "ms": 3.25, "min": 1.0, "cpu_ms": 7.5, "peak_gib": 0.125}"#;
        let row = Row { wall: 3.25, used: 7.5, peak: 0.125 };
        assert_eq!(Row::read(ours), Some(row));
        assert_eq!(Row::read(theirs), Some(row));
        assert_eq!(Row::read("{\"ready\": [\"train\"]}"), None);
    }

    #[test]
    fn the_median_lies_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 30.0, 2.0]), 3.0);
        assert_eq!(median(vec![5.0, 7.0, 6.0]), 6.0);
    }
}
