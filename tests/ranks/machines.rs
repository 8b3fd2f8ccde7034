//! Several machines, which are namespaces of this one: a network that is cut, and a sweep in a folder that they share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::shared;
use super::shared::runs::{folder, program, wait};
use super::{fine, ran, unshare};
use spectral::torch::rng::mix;

/// Two network namespaces joined by a cable, which look like two machines; removed at the end.
struct Machines([String; 2]);

impl Machines {
    const ADDRESSES: [&str; 2] = ["10.213.7.1", "10.213.7.2"];

    /// Returns `None` where namespaces cannot be made.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let names = ["a", "b"].map(|end| format!("sp{end}{id}"));
        let made = Self(names.clone());
        let [a, b] = &names;
        let mut commands = vec![
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("link add {a} netns {a} type veth peer name {b} netns {b}"),
        ];
        for (name, address) in names.iter().zip(Self::ADDRESSES) {
            commands.push(format!("-n {name} addr add {address}/24 dev {name}"));
            commands.push(format!("-n {name} link set {name} up"));
            commands.push(format!("-n {name} link set lo up"));
        }
        commands.iter().all(|command| ip(command)).then_some(made)
    }

    /// Starts a rank on the machine of its number, which has the host name `machineN`.
    fn start(&self, folder: &Path, rank: usize) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0[rank], "unshare", "--uts", "sh", "-c"]);
        command.arg(format!("hostname machine{rank} && exec \"$0\" run train.rhai"));
        command.arg(env!("CARGO_BIN_EXE_spectral"));
        let rank = rank.to_string();
        let variables =
            [("RANK", rank.as_str()), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1")];
        command.envs(variables).env("MASTER_ADDR", Self::ADDRESSES[0]).env("MASTER_PORT", "29533");
        command.env("OMP_NUM_THREADS", "1").current_dir(folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
}

#[test]
fn machines_find_each_other_and_both_end_when_the_network_is_cut() {
    let Some(machines) = Machines::new() else {
        eprintln!("skipped: network namespaces need root and iproute2");
        return;
    };
    let place = folder(
        "assert_eq(ranks::sum(ranks::rank() + 1), 3);\nif ranks::rank() == 0 { files::write_text(\"met\", \"\"); }\n\
         loop { ranks::sum(tensor::ones([1000])); sleep(0.02); }",
    );
    let mut children = [0, 1].map(|rank| machines.start(place.path(), rank));
    wait("both ranks", &mut children[0], || place.path().join("met").exists());
    assert!(ip(&format!("-n {0} link set {0} down", machines.0[1])));
    let [first, second] = children.map(ran);
    for (ended, other) in [(&first, 1), (&second, 0)] {
        assert_eq!(ended.code, Some(75), "{}", ended.err);
        assert!(
            ended.err.starts_with(&format!("error: rank {other} on machine{other} (process ")),
            "{}",
            ended.err
        );
        assert_eq!(ended.err.matches("error: ").count(), 1, "{}", ended.err);
    }
}

/// A sweep of eight runs, which note each of their steps.
const SWEEP: &str = r#"
let points = sweep::grid(#{ lr: [0.001, 0.002, 0.003, 0.004], seed: [0, 1] });
let pixels = tensor::rand([30, 1, 4, 4], #{ generator: tensor::generator(5) }) * 2 - 1;
let images = data::from_tensors(pixels, tensor::arange(30) % 2);
let table = sweep::run(points, #{ out: "sweep", columns: ["lr", "seed"] }, |p| {
    let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 8, num_heads: 2 });
    let run = train::fit(net, images, #{
        steps: 30, batch: 8, lr: p.lr, seed: p.seed, out: `sweep/run-${p.lr}-${p.seed}`, checkpoint_every: 5,
        on_step: |s| { files::append_line("steps.txt", `${s.step}`); sleep(0.02); },
    });
    #{ loss: run.loss }
});
files::write_text("table.csv", table.to_csv());
"#;

/// Starts the sweep on a machine of its own, whose messages go to a file.
fn start_sweep(unshared: Command, folder: &Path, machine: usize) -> Child {
    let mut command = unshared;
    command.arg(format!("hostname machine{machine} && exec \"$0\" run train.rhai"));
    command.arg(env!("CARGO_BIN_EXE_spectral")).env("OMP_NUM_THREADS", "1").current_dir(folder);
    let said = std::fs::File::create(folder.join(format!("said{machine}.txt"))).unwrap();
    command.stdin(Stdio::null()).stdout(said).stderr(Stdio::piped()).spawn().unwrap()
}

/// Returns how often each point was finished.
fn finished(folder: &Path) -> BTreeMap<String, usize> {
    let journal = std::fs::read_to_string(folder.join("sweep/journal.jsonl")).unwrap_or_default();
    let mut found = BTreeMap::new();
    let entries = journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    for entry in entries.filter(|entry| entry.get("row").is_some()) {
        *found.entry(entry["name"].as_str().unwrap().to_string()).or_default() += 1;
    }
    found
}

fn steps(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("steps.txt")).unwrap_or_default().lines().count()
}

#[test]
fn machines_that_are_killed_again_and_again_finish_each_point_of_a_sweep_once() {
    if unshare(&["--uts"]).is_none() {
        eprintln!("skipped: namespaces of host names are forbidden here");
        return;
    }
    let undisturbed = folder(SWEEP);
    fine(&shared::finish(program(&["run", "train.rhai"]), undisturbed.path(), ""));
    let table = |folder: &Path| std::fs::read_to_string(folder.join("table.csv")).unwrap();

    let place = folder(SWEEP);
    let start = |machine: usize| start_sweep(unshare(&["--uts"]).unwrap(), place.path(), machine);
    let mut machines = [0, 1].map(start);
    for kill in 0..8u64 {
        let random = mix(kill, 17);
        let victim = (random % 2) as usize;
        let enough = steps(place.path()) + (random >> 8) as usize % 8;
        // Any of both may make the steps, so that kills also come while the victim starts or waits.
        wait("steps", &mut machines[victim], || steps(place.path()) > enough);
        std::thread::sleep(Duration::from_micros((random >> 16) % 20_000));
        machines[victim].kill().unwrap();
        machines[victim].wait().unwrap();
        assert!(finished(place.path()).len() < 8, "the sweep ended after {kill} kills");
        machines[victim] = start(victim);
    }
    machines.map(ran).iter().for_each(fine);
    let found = finished(place.path());
    assert_eq!((found.len(), found.values().sum::<usize>()), (8, 8), "{found:?}");
    assert_eq!(table(place.path()), table(undisturbed.path()));
}

#[test]
fn the_point_of_a_machine_that_is_gone_is_taken_over_when_its_claim_is_old() {
    if unshare(&["--uts"]).is_none() {
        eprintln!("skipped: namespaces of host names are forbidden here");
        return;
    }
    let place = folder(SWEEP);
    let start = |machine: usize| start_sweep(unshare(&["--uts"]).unwrap(), place.path(), machine);
    let mut gone = start(0);
    wait("steps", &mut gone, || steps(place.path()) > 3);
    gone.kill().unwrap();
    gone.wait().unwrap();
    let claims = place.path().join("sweep/claims");
    let owners = std::fs::read_dir(&claims).unwrap().flatten().map(|entry| entry.path());
    let owners: Vec<PathBuf> = owners.filter(|path| path.extension().is_some_and(|e| e == "owner")).collect();
    let [owner] = &owners[..] else { panic!("{owners:?}") };
    assert!(std::fs::read_to_string(owner).unwrap().starts_with("machine0/"));
    // However slow this machine is, the claim stays fresh until the test ends that.
    let touch = |age: Duration| {
        let file = std::fs::File::options().write(true).open(owner).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    let mut other = start(1);
    let mut touched = Instant::now();
    wait("the other points", &mut other, || {
        if touched.elapsed() > Duration::from_secs(5) {
            touch(Duration::ZERO);
            touched = Instant::now();
        }
        let said = std::fs::read_to_string(place.path().join("said1.txt")).unwrap();
        finished(place.path()).len() == 7 && said.contains("waiting for 1 points")
    });
    touch(Duration::from_secs(3600));
    fine(&ran(other));
    let found = finished(place.path());
    assert_eq!((found.len(), found.values().sum::<usize>()), (8, 8), "{found:?}");
    assert!(!owner.exists());
}
