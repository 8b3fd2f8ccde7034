//! Runs of several ranks: they equal runs of one, stop together, and end within seconds if one of them dies. The
//! tests start the real program on loopback.
#![cfg(test)]
#![cfg(target_os = "linux")]

mod launchers;
mod machines;
#[path = "../shared/mod.rs"]
mod shared;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use shared::Ran;
use shared::runs::{Left, folder, left, notes, program, script, start_with, wait};
use spectral::declare::Value;

const STEPS: usize = 24;

/// Largest difference of a weight after `STEPS` steps between sums in another order; 6e-8 was found.
const ROUNDING: f64 = 1e-6;

fn arguments(ranks: usize) -> [String; 4] {
    ["run", "--ranks", &ranks.to_string(), "train.rhai"].map(str::to_string)
}

fn start(folder: &Path, ranks: usize) -> Child {
    start_with(folder, &arguments(ranks).each_ref().map(String::as_str))
}

fn ran(mut child: Child) -> Ran {
    use std::io::Read;
    let (mut out, mut err) = (String::new(), String::new());
    let mut stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        stderr.read_to_string(&mut err).unwrap();
        err
    });
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut out).unwrap();
    }
    Ran { code: child.wait().unwrap().code(), out, err: reader.join().unwrap() }
}

fn run_on(folder: &Path, ranks: usize) -> Ran {
    shared::finish(program(&arguments(ranks).each_ref().map(String::as_str)), folder, "")
}

/// Runs a script on so many ranks in a new folder.
fn run_script(script: &str, ranks: usize) -> (tempfile::TempDir, Ran) {
    let place = folder(script);
    let ran = run_on(place.path(), ranks);
    (place, ran)
}

#[track_caller]
fn fine(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

/// Returns the process of each rank, once all have started.
fn processes(parent: &mut Child, ranks: usize) -> BTreeMap<usize, i32> {
    let id = parent.id();
    let mut found = BTreeMap::new();
    wait("the ranks", parent, || {
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
        let children = threads.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        for child in children.collect::<String>().split_whitespace() {
            let variables = std::fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
            let rank = variables.split(|b| *b == 0).find_map(|v| v.strip_prefix(b"RANK="));
            if let Some(rank) = rank.and_then(|r| std::str::from_utf8(r).ok()?.parse().ok()) {
                found.insert(rank, child.parse().unwrap());
            }
        }
        found.len() == ranks
    });
    found
}

fn signal(process: i32, signal: i32) {
    // SAFETY: `kill` only sends a signal to a process that this test has started.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

/// Returns the largest difference of two runs' last weights.
fn distance(a: &Path, b: &Path) -> f64 {
    let weights = |folder: &Path| {
        let path = folder.join("run/weights.safetensors");
        spectral::torch::io::load_named(&path, spectral::torch::Device::Cpu).unwrap().tensors
    };
    let (a, b) = (weights(a), weights(b));
    assert_eq!(a.len(), b.len());
    let difference = |(name, x): (&String, &spectral::torch::Tensor)| {
        x.sub(&b[name]).unwrap().abs().unwrap().to_f64().unwrap().into_iter().fold(0.0, f64::max)
    };
    a.iter().map(difference).fold(0.0, f64::max)
}

#[test]
fn scripts_sum_gather_and_broadcast_and_rank_0_prints() {
    let source = r#"
assert_eq(ranks::size(), 3);
let r = ranks::rank();
assert_eq(ranks::sum(r), 3);
assert_eq(ranks::sum(0.5), 1.5);
assert_eq(ranks::mean(r), 1.0);
let x = tensor::ones([3, 2]) * (r + 1);
assert_eq(ranks::sum(x), tensor::ones([3, 2]) * 6);
assert_eq(x, tensor::ones([3, 2]) * (r + 1));
assert_eq(ranks::mean(x), tensor::ones([3, 2]) * 2);
assert_eq(ranks::gather(tensor::ones([r, 2]) * r), tensor([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]));
assert_eq(ranks::gather(#{ rank: r }), [#{ rank: 0 }, #{ rank: 1 }, #{ rank: 2 }]);
assert_eq(ranks::broadcast(r + 10, 1), 11);
assert_eq(ranks::broadcast(if r == 2 { tensor::arange(4) } else { () }, 2), tensor::arange(4));
ranks::barrier();
let refused = "";
try { ranks::sum(tensor::zeros([r + 1])); } catch (e) { refused = e.message; }
assert(refused.contains("the tensor to sum is tensor [1] float32 on rank 0 on "));
print("once");
"#;
    let (_place, ran) = run_script(source, 3);
    fine(&ran);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("once\n", ""));
}

#[test]
fn n_ranks_are_one_process_that_accumulates_n_parts_bit_for_bit() {
    // Everything that has a state of its own.
    let more = "optimizer: \"muon\", ema: [0.9, 0.99], posthoc: #{ every: 5 }, loss_bins: 4, timesteps: \"mode\", \
                checkpoint_activations: true,";
    for (ranks, options) in [(2, ""), (3, ""), (2, more)] {
        let script = script(STEPS, &format!("accumulate: {ranks}, {options}"));
        let (alone, one) = run_script(&script, 1);
        let (together, several) = run_script(&script, ranks);
        fine(&one);
        fine(&several);
        assert_eq!(several.out, one.out);
        assert_eq!(notes(together.path()), notes(alone.path()));
        assert_eq!(left(together.path()), left(alone.path()), "{ranks} ranks");
    }
    // Each rank computes the changed weights itself.
    let tuned = script(STEPS, "accumulate: 2, checkpoint_activations: true,")
        .replace("model::dit(#{", "model::dit(#{ parts: ideas::lora(#{ rank: 2, names: \"*\" }),");
    let ((alone, one), (together, several)) = (run_script(&tuned, 1), run_script(&tuned, 2));
    fine(&one);
    fine(&several);
    assert_eq!(left(together.path()), left(alone.path()));
    // Parts of other sizes are added in another order, so that only the rounding differs.
    let (alone, one) = run_script(&script(STEPS, ""), 1);
    let (together, several) =
        run_script(&script(STEPS, "").replace("batch: 12", "batch: 12, accumulate: 2"), 3);
    fine(&one);
    fine(&several);
    let off = distance(alone.path(), together.path());
    assert!(off > 0.0 && off < ROUNDING, "{off}");
}

#[test]
fn ranks_have_the_fields_of_their_images() {
    let source = r#"
let read = nn::part(|b| {
    let into = b.linear("into", 3, b.width);
    |e, c| { assert_eq(c.fields.text.shape, [c.x.size(0), 3]); e + into.forward(c.fields.text) }
}, #{ name: "text" }).at("condition");
let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 8, num_heads: 2, parts: read });
let set = data::from_tensors(tensor::rand([30, 1, 4, 4], #{ seed: 1 }) * 2 - 1, tensor::arange(30) % 2)
    .with_fields(#{ text: tensor::randn([30, 3], #{ seed: 2 }) });
let loss = |s| (s.fields.text.mean().exp() * (s.v - s.target).square()).mean();
let run = train::fit(net, set, #{ steps: 6, batch: 8, accumulate: 2, lr: 1e-2, loss: loss });
let text = tensor::randn([5, 3], #{ seed: 3 });
let drawn = flow::sample(run.ema, #{ labels: [0, 1, 0, 1, 2], fields: #{ text: text }, steps: 2, batch: 2, guidance: 2.0 });
print(`${run.losses} ${drawn.double().sum().item()}`);
"#;
    let (_one, alone) = run_script(source, 1);
    let (_two, together) = run_script(source, 2);
    fine(&alone);
    fine(&together);
    assert_eq!(together.out, alone.out);
}

#[test]
fn ranks_augment_and_weight_their_images_as_one_process() {
    let options = "accumulate: 2, image_weights: [1.0, 0.25], augment: |s| {
        let gain = tensor::rand([s.batch, 1, 1, 1], #{ seed: s.seed }).narrow(0, s.row, s.images.size(0));
        #{ images: s.images * gain, fields: #{ gain: gain.flatten(1) } }
    }, loss: |s| (s.fields.gain.mean().exp() * (s.v - s.target).square()).mean(),";
    let script = script(STEPS, options);
    let ((alone, one), (together, several)) = (run_script(&script, 1), run_script(&script, 2));
    fine(&one);
    fine(&several);
    assert_eq!(notes(together.path()), notes(alone.path()));
    assert_eq!(left(together.path()), left(alone.path()));
}

#[test]
fn shares_of_uneven_size_are_weighted() {
    let uneven = |text: String| text.replace("batch: 12", "batch: 7");
    let (alone, one) = run_script(&uneven(script(STEPS, "")), 1);
    let (together, several) = run_script(&uneven(script(STEPS, "")), 3);
    fine(&one);
    fine(&several);
    let off = distance(alone.path(), together.path());
    assert!(off < ROUNDING, "{off}");
    let (_place, few) = run_script(&script(2, "").replace("batch: 12", "batch: 2"), 3);
    assert_eq!(few.code, Some(1));
    assert!(few.err.contains("a batch of 2 cannot be divided over 3 ranks"), "{}", few.err);
    assert_eq!(few.err.matches("error: ").count(), 1, "{}", few.err);
}

/// The state after a stop on SIGTERM, which one rank received.
fn stopped_on_one_rank(script: &str, which: usize, number: i32) -> (tempfile::TempDir, Ran) {
    let place = folder(script);
    let mut child = start(place.path(), 2);
    let ids = processes(&mut child, 2);
    wait("steps", &mut child, || notes(place.path()).len() > 2);
    signal(ids[&which], number);
    (place, ran(child))
}

#[test]
fn a_run_that_a_signal_of_one_rank_stopped_goes_on_with_other_numbers_of_ranks() {
    let usual = script(STEPS, "accumulate: 2,");
    let (alone, one) = run_script(&usual, 1);
    fine(&one);
    // Only the signal can write a checkpoint within so many steps.
    let rare = usual.replace("checkpoint_every: 2", "checkpoint_every: 1000");
    let rare = rare.replace("if ranks::rank() == 0 {", "if ranks::rank() == 0 { sleep(0.02);");
    for (which, number, name) in [(1, libc::SIGTERM, "SIGTERM"), (0, libc::SIGUSR1, "SIGUSR1")] {
        let (place, stopped) = stopped_on_one_rank(&rare, which, number);
        assert_eq!(stopped.code, Some(128 + number), "{}", stopped.err);
        assert_eq!(stopped.err.matches(&format!("interrupted by {name}")).count(), 1, "{}", stopped.err);
        let made = match shared::runs::newest(place.path()).values()["step"] {
            Value::Int(step) => step as usize,
            ref other => panic!("{other:?}"),
        };
        assert!((3..STEPS).contains(&made), "{made} steps");
        std::fs::write(place.path().join("train.rhai"), &usual).unwrap();
        // Two ranks, then one, are the same run to the last bit; three are it up to rounding.
        let ranks = if which == 1 { 1 } else { 3 };
        let went_on = run_on(place.path(), ranks);
        fine(&went_on);
        match ranks {
            1 => {
                let (found, expected) = (left(place.path()), left(alone.path()));
                // Checkpoints before the signal could not be the best.
                assert_eq!(Left { best: expected.best.clone(), ..found }, expected);
            }
            _ => assert!(distance(place.path(), alone.path()) < ROUNDING),
        }
    }
}

#[test]
fn ctrl_c_stops_all_ranks_and_is_told_once() {
    let place = folder(&script(1_000_000, "").replace("\"cosine\"", "\"constant\""));
    let mut child = start(place.path(), 2);
    wait("steps", &mut child, || notes(place.path()).len() > 2);
    signal(child.id() as i32, libc::SIGINT);
    let ended = ran(child);
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert_eq!(ended.err.matches("interrupted").count(), 1, "{}", ended.err);
    assert!(place.path().join("run/weights.safetensors").exists());
}

#[test]
fn the_death_of_any_rank_ends_the_others_and_the_run_started_again_has_the_same_bits() {
    let usual = script(STEPS, "");
    let (undisturbed, whole) = run_script(&usual, 3);
    fine(&whole);
    let slow = usual.replace("if ranks::rank() == 0 {", "if ranks::rank() == 0 { sleep(0.02);");
    let place = folder(&slow);
    for (which, steps) in [(1, 3), (0, 5), (2, 2)] {
        let before = notes(place.path()).len();
        let mut child = start(place.path(), 3);
        let ids = processes(&mut child, 3);
        wait("steps", &mut child, || notes(place.path()).len() > before + steps);
        signal(ids[&which], libc::SIGKILL);
        let ended = ran(child);
        assert_eq!(ended.code, Some(75), "{}", ended.err);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let told = format!("error: rank {which} on {} (process {}) died", host.trim(), ids[&which]);
        assert!(ended.err.contains(&told), "{}", ended.err);
        assert_eq!(ended.err.matches("error: ").count(), 1, "{}", ended.err);
        for id in ids.values() {
            assert!(!PathBuf::from(format!("/proc/{id}")).exists(), "{id} still runs");
        }
    }
    std::fs::write(place.path().join("train.rhai"), &usual).unwrap();
    fine(&run_on(place.path(), 3));
    let (found, expected) = (left(place.path()), left(undisturbed.path()));
    assert_eq!(found, expected);
}

#[test]
fn ranks_that_would_make_different_runs_are_refused_by_what_differs() {
    let refused = |from: &str, to: &str, told: &str| {
        let (place, ran) = run_script(&script(4, "").replace(from, to), 2);
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        assert!(
            ran.err.contains("the ranks do not make the same run: ") && ran.err.contains(told),
            "{}",
            ran.err
        );
        assert_eq!(ran.err.matches("error: ").count(), 1, "{}", ran.err);
        assert!(notes(place.path()).is_empty());
    };
    refused("lr: 1e-3", "lr: 1e-3 * (1 + ranks::rank())", "`lr` is 0.001 on rank 0 on ");
    refused("generator(5)", "generator(5 + ranks::rank())", ": the data is ");
    refused("num_heads: 2", "num_heads: 2, seed: ranks::rank()", "the hash of the model's weights is ");
    refused("depth: 1", "depth: 1 + ranks::rank()", ": the model is ");
}

#[test]
fn a_rank_that_fails_hangs_or_leaves_early_is_told_once() {
    let told = |source: &str, code: i32, parts: &[&str]| {
        let place = folder(source);
        // Shorter than the time after which a rank that has ended is missed, but only `hangs` and `differ` wait so long.
        let timeout = if ["sleep", "gather"].iter().any(|word| source.contains(word)) { "1" } else { "60" };
        let command = program(&["run", "--ranks", "2", "--rank-timeout", timeout, "train.rhai"]);
        let ran = shared::finish(command, place.path(), "");
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        parts.iter().for_each(|part| assert!(ran.err.contains(part), "{part}: {}", ran.err));
        assert_eq!(ran.err.matches("error: ").count(), usize::from(!parts.is_empty()), "{}", ran.err);
    };
    let leaves = "if ranks::rank() == 0 { ranks::barrier(); }";
    told("throw \"everywhere\";", 1, &["error: everywhere", "train.rhai:1"]);
    let alone = "if ranks::rank() == 1 { throw \"only here\"; }\nranks::barrier();";
    told(alone, 1, &["rank 1 on ", "error: only here", "train.rhai:1"]);
    let hangs = "if ranks::rank() == 1 { sleep(100); }\nranks::barrier();";
    told(hangs, 75, &["error: rank 1 on ", "hangs: the other ranks have waited 1 s"]);
    let differ = "if ranks::rank() == 1 { ranks::gather(1); } else { ranks::barrier(); }";
    told(differ, 1, &["error: the ranks wait for each other in different collectives"]);
    told(leaves, 1, &["barrier: rank 1 on ", "has ended its script, while rank 0 on ", "train.rhai:1"]);
    // Rank 0 stays until all have ended, so that nothing breaks the connection.
    let first = "if ranks::rank() == 1 { ranks::barrier(); }";
    let place = folder("");
    let command = program(&["run", "--ranks", "2", "missing.rhai"]);
    let ran = shared::finish(command, place.path(), "");
    assert_eq!((ran.code, ran.err.trim()), (Some(1), "error: missing.rhai: no such file"));
    told(first, 1, &["barrier: rank 0 on ", "has ended its script, while rank 1 on ", "train.rhai:1"]);
    told("if ranks::rank() == 1 { exit(9); }\nranks::barrier();", 9, &[]);
}

#[test]
fn an_error_of_on_step_or_score_on_one_rank_ends_the_run_of_all_and_the_sweep_goes_on() {
    let script = r#"
let net = model::dit(#{ preset: "fashion_tiny", image_size: 4, patch_size: 2, depth: 1, hidden_size: 16, num_heads: 2 });
let set = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::arange(8) % 2);
let fails = |point, step, at| if point == at && step == 3 && ranks::rank() == 1 { throw "only here" };
sweep::run((0..3).map(|i| #{ i: i }), #{ out: "sweep" }, |p| {
    let run = train::fit(net, set, #{ steps: 4, batch: 4, checkpoint_every: 3, out: `runs/${p.i}`,
        on_step: |row| { fails.call(p.i, row.step, 1); }, score: |about| { fails.call(p.i, about.step, 2); about.loss } });
    #{ loss: run.loss }
});
"#;
    let (place, ran) = run_script(script, 2);
    assert!(ran.out.contains("2 of 3 points failed: i 1; i 2"), "{}{}", ran.out, ran.err);
    let journal = std::fs::read_to_string(place.path().join("sweep/journal.jsonl")).unwrap();
    assert_eq!(journal.matches(": only here").count(), 2, "{journal}");
    assert!(journal.contains("rank 1 on "), "{journal}");
    // All steps before the error are kept.
    assert!(place.path().join("runs/1/checkpoints/step-00000003.safetensors").exists(), "{}", ran.err);
}

/// Samples seven images in groups of two, and measures images: with more groups than ranks, and fewer.
const MEASURED: &str = r#"
let net = model::dit(#{ preset: "fashion_tiny", depth: 1 });
let images = flow::sample(net, #{ labels: [0, 1, 2, 3, 4, 5, 6], steps: 3, batch: 2, seed: 4 });
let few = flow::sample(net, #{ labels: [0, 1], steps: 2 });
let real = data::fashion_mnist(#{ split: "test" }).take(300);
let seen = eval::features().extract(real);
let found = eval::compare(real, images, #{ metrics: ["fid", "kid", "radial_spectrum_gap"], kid_size: 7 });
let sums = [images, few, seen.features, seen.logits].map(|x| [x.shape, (x.flatten() * tensor::arange(x.flatten().shape[0])).sum().item()]);
let all = `${sums} ${found.fid} ${found.kid} ${found.radial_spectrum_gap}`;
assert_eq(ranks::gather(all).filter(|other| other != all), []);
print(all);
"#;

#[test]
fn samples_features_and_metrics_are_those_of_one_rank() {
    let [one, two, three] = [1, 2, 3].map(|ranks| run_script(MEASURED, ranks).1);
    [&one, &two, &three].into_iter().for_each(fine);
    assert_eq!(two.out, one.out);
    assert_eq!(three.out, one.out);
}

/// A part that draws random numbers, and a loss of features: what both see depends on the image, not on its rank.
const DRAWN: &str = r#"
let align = ideas::repa(eval::features(), #{ hidden: 8, block: 0 });
let parts = align.parts + [ideas::token_routing(#{ blocks: 1..2 })];
let net = model::dit(#{ depth: 3, hidden_size: 16, num_heads: 2, patch_size: 4, parts: parts });
let images = data::fashion_mnist(#{ split: "test" }).take(64);
let run = train::fit(net, images, #{ steps: 4, batch: 8, lr: 1e-2, also: align.also, loss: align.loss, accumulate: PARTS });
print(run.losses);
"#;

#[test]
fn parts_that_draw_and_losses_of_features_do_not_depend_on_the_rank() {
    let script = DRAWN.replace("PARTS", "2");
    let [one, two] = [1, 2].map(|ranks| run_script(&script, ranks).1);
    [&one, &two].into_iter().for_each(fine);
    assert_eq!(two.out, one.out);
}

/// A sweep of six points.
const SWEEP: &str = r#"
let points = [1, 2, 3, 4, 5, 6].map(|x| #{ x: x });
let table = sweep::run(points, #{ out: "sweep" }, |p| {
    if ranks::rank() == 0 { files::append_line("ran.txt", `${p.x}`); }
    // Of several workers another one has begun a point, too.
    let tries = 0;
    while WAITS && files::read_text("ran.txt").split("\n").len() < 3 {
        tries += 1;
        if tries > 600 { throw "no other worker has begun a point"; }
        sleep(0.1);
    }
    #{ square: ranks::sum(p.x * p.x) / ranks::size() }
});
print(table.to_csv());
"#;

#[test]
fn workers_share_a_sweep_and_ranks_make_each_of_its_points_together() {
    let table = "square,x\n1,1\n4,2\n9,3\n16,4\n25,5\n36,6\n";
    for option in ["--workers", "--ranks"] {
        let place = folder(&SWEEP.replace("WAITS", if option == "--workers" { "true" } else { "false" }));
        let ran = shared::finish(program(&["run", option, "3", "train.rhai"]), place.path(), "");
        fine(&ran);
        assert_eq!(ran.out.matches(table).count(), 1, "{}", ran.out);
        let text = std::fs::read_to_string(place.path().join("ran.txt")).unwrap();
        let mut points: Vec<&str> = text.lines().collect();
        points.sort();
        assert_eq!(points, ["1", "2", "3", "4", "5", "6"]);
    }
}

#[test]
fn a_worker_that_dies_is_reported_with_what_it_computed() {
    for died in ["0", "1"] {
        let source = format!(
            r#"
let table = sweep::run([1, 2, 3, 4].map(|x| #{{ x: x }}), #{{ out: "sweep" }}, |p| {{
    if cli::env("SPECTRAL_WORKER") == "{died}" {{
        files::write_text("begun", `${{p.x}}`);
        while true {{ sleep(0.05); }}
    }}
    let tries = 0;
    while !files::exists("killed") {{
        tries += 1;
        if tries > 600 {{ throw "nobody was killed"; }}
        sleep(0.1);
    }}
    #{{ y: p.x }}
}});
"#
        );
        let place = folder(&source);
        let mut child = start_with(place.path(), &["run", "--workers", "2", "train.rhai"]);
        let begun = place.path().join("begun");
        wait("the worker", &mut child, || std::fs::read(&begun).is_ok_and(|text| !text.is_empty()));
        let point = std::fs::read_to_string(&begun).unwrap();
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().flatten();
        let children = threads.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        let own = format!("SPECTRAL_WORKER={died}");
        let is_own = |id: &i32| {
            let variables = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == own.as_bytes())
        };
        let children = children.collect::<String>();
        let id = children.split_whitespace().filter_map(|id| id.parse().ok()).find(is_own).unwrap();
        // SAFETY: the process is a child of the one that this test has started.
        assert_eq!(unsafe { libc::kill(id, libc::SIGKILL) }, 0);
        std::fs::write(place.path().join("killed"), "").unwrap();
        let ran = ran(child);
        let said = format!("warning: worker {died} was killed by SIGKILL");
        assert!(ran.err.contains(&said), "{}", ran.err);
        assert!(
            ran.err.contains(&format!("while it computed [{point}/4] x {point}; the others")),
            "{}",
            ran.err
        );
        assert_eq!(ran.err.contains("print nothing"), died == "0", "{}", ran.err);
        let journal = std::fs::read_to_string(place.path().join("sweep/journal.jsonl")).unwrap();
        assert_eq!(journal.lines().count(), 4, "{journal}");
    }
}

/// Writes two classes of fifteen images to the folder `images`.
fn write_images(folder: &Path) {
    for number in 0..30u32 {
        let class = folder.join("images").join(["a", "b"][number as usize % 2]);
        std::fs::create_dir_all(&class).unwrap();
        let pixels: Vec<u8> = (0..16).map(|i| (i * (number + 1) * 37 % 251) as u8).collect();
        let mut encoder =
            png::Encoder::new(std::fs::File::create(class.join(format!("{number}.png"))).unwrap(), 4, 4);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }
}

#[test]
fn ranks_that_read_their_shares_of_image_files_make_the_run_of_one_process() {
    let own = "path: flow::path(#{ noise: |z, x1| z - z.mean([0], #{ keepdim: true }) + 0.1 * x1.mean([0], #{ keepdim: true }) }),";
    for (options, files) in [("", true), (own, true), (own, false)] {
        let mut source = script(STEPS, &format!("accumulate: 3, {options}"));
        if files {
            let folder = "data::image_folder(\"images\", #{ size: 4, channels: 1, in_memory: false })";
            source = source.replace("data::from_tensors(pixels, tensor::arange(30) % 2)", folder);
        }
        let [alone, together] = [1, 3].map(|ranks| {
            let place = folder(&source);
            write_images(place.path());
            fine(&run_on(place.path(), ranks));
            place
        });
        assert_eq!(notes(together.path()), notes(alone.path()));
        assert_eq!(left(together.path()), left(alone.path()));
    }
}

/// Returns `unshare` with new namespaces of some kinds, as a user without rights, too; `None` where that is forbidden.
pub fn unshare(kinds: &[&str]) -> Option<Command> {
    [&[][..], &["--user", "--map-root-user"]].into_iter().find_map(|more| {
        let command = || {
            let mut command = Command::new("unshare");
            command.args(more).args(kinds).arg("sh").arg("-c");
            command
        };
        command().arg("true").output().is_ok_and(|output| output.status.success()).then(command)
    })
}

#[test]
fn a_full_disk_of_rank_0_ends_all_ranks_and_the_run_goes_on_from_the_last_checkpoint() {
    let Some(mut command) = unshare(&["--mount"]) else {
        eprintln!("skipped: mount namespaces are forbidden here");
        return;
    };
    let usual = script(STEPS, "");
    let (undisturbed, whole) = run_script(&usual, 2);
    fine(&whole);
    let size = std::fs::metadata(shared::runs::newest(undisturbed.path()).path()).unwrap().len();
    let place = folder(&usual);
    // The disk goes with the namespace, so its files are saved first.
    command.arg(format!(
        "mkdir run && mount -t tmpfs -o size={} none run || exit 99; \"$0\" run --ranks 2 train.rhai; ended=$?; \
         cp -r run saved; exit $ended",
        size * 7 / 2
    ));
    command.arg(env!("CARGO_BIN_EXE_spectral")).env("OMP_NUM_THREADS", "1");
    let ended = shared::finish(command, place.path(), "");
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(ended.err.matches("error: ").count(), 1, "{}", ended.err);
    let told = ended.err.lines().find(|line| line.starts_with("error: ")).unwrap();
    let parts = ["rank 0 on ", "run/checkpoints/step-0000", ".safetensors: no space left on the disk"];
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    let folders =
        std::fs::read_dir("/proc").unwrap().flatten().map(|p| std::fs::read_link(p.path().join("cwd")));
    let here = place.path().canonicalize().unwrap();
    assert!(!folders.flatten().any(|folder| folder == here), "a rank still runs");

    std::fs::remove_dir(place.path().join("run")).unwrap();
    std::fs::rename(place.path().join("saved"), place.path().join("run")).unwrap();
    assert!(shared::runs::unfinished(place.path()).is_empty());
    let Value::Int(saved) = shared::runs::newest(place.path()).values()["step"].clone() else { panic!() };
    assert!((2..STEPS as i64).contains(&saved), "{saved}");
    fine(&run_on(place.path(), 2));
    assert_eq!(left(place.path()), left(undisturbed.path()));
}

#[test]
fn processes_end_with_a_launcher_that_is_killed() {
    for option in ["--ranks", "--workers"] {
        let place = folder("files::append_line(\"begun\", \"\"); while true { sleep(0.05); }");
        let mut child = start_with(place.path(), &["run", option, "3", "train.rhai"]);
        let begun = place.path().join("begun");
        wait("the script", &mut child, || std::fs::read(&begun).is_ok_and(|lines| lines.len() == 3));
        let id = child.id();
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
        let children = threads.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        let children: Vec<String> =
            children.collect::<String>().split_whitespace().map(str::to_string).collect();
        assert_eq!(children.len(), 3);
        child.kill().unwrap();
        child.wait().unwrap();
        let begun = std::time::Instant::now();
        // One that has ended may wait for its parent, who is gone.
        let runs = |id: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
        };
        while children.iter().any(runs) {
            assert!(begun.elapsed().as_secs() < 30, "{option}: processes outlive their launcher");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
