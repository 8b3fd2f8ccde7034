//! Runs that are killed, interrupted or refused: whatever happens to the program, a resumed run equals a run that
//! was never stopped. The tests start, kill and restart the real program.
#![cfg(test)]
#![cfg(unix)]

mod shared;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::Duration;

use shared::runs::{
    Left, folder, interrupted, left, newest, notes, program, run, same_notes, start, unfinished, wait,
};
use spectral::torch::rng::mix;

const STEPS: usize = 160;

fn script(steps: usize, options: &str) -> String {
    shared::runs::script(steps, &format!("accumulate: 2, {options}"))
}

/// Returns the log and the results of an undisturbed run.
fn undisturbed(script: &str) -> (Vec<String>, Left) {
    let straight = folder(script);
    let ran = run(straight.path());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let expected = notes(straight.path());
    assert_eq!(expected.len(), STEPS);
    (expected, left(straight.path()))
}

#[test]
fn a_run_that_is_killed_thirty_times_is_the_run_that_was_not() {
    survives("", 30);
}

#[test]
fn so_is_one_with_several_averages_snapshots_muon_and_bins() {
    let options = "optimizer: \"muon\", ema: [0.9, #{ sigma_rel: 0.1 }], posthoc: #{ every: 20 }, loss_bins: 4, \
                   timesteps: flow::edm(#{ shift: 2.0 }), loss: loss::min_snr(), checkpoint_activations: true,";
    survives(options, 9);
}

/// Kills a run so many times and compares it with an undisturbed one.
fn survives(options: &str, times: usize) {
    // Each step also draws from the default generator, whose state must be restored as well.
    let script =
        script(STEPS, options).replace("${s.grad_norm}", "${s.grad_norm} ${tensor::rand([1]).item()}");
    let (expected, undisturbed) = undisturbed(&script);
    let killed = folder(&script);
    let mut random = 11u64;
    let mut below = |limit: u64| {
        random = mix(random, 1);
        random % limit
    };
    let (mut kills, mut within_a_write) = (0, 0);
    while kills < times {
        let mut child = start(killed.path());
        let (before, old) = (notes(killed.path()).len(), unfinished(killed.path()));
        let writes = || unfinished(killed.path()).iter().any(|name| !old.contains(name));
        let steps = below(4) as usize;
        match kills % 3 {
            // Kills while a checkpoint is written.
            0 => wait("a checkpoint", &mut child, writes),
            // Kills some steps later, at a random moment.
            1 => {
                wait("steps", &mut child, || notes(killed.path()).len() > before + steps);
                std::thread::sleep(Duration::from_micros(below(20_000)));
            }
            // Kills while the program starts, resumes from a checkpoint, or makes its first steps.
            _ => {
                wait("the lock", &mut child, || killed.path().join("run/lock").exists());
                std::thread::sleep(Duration::from_millis(below(300)));
            }
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "the run ended after {kills} kills");
        kills += 1;
        within_a_write += usize::from(writes());
    }
    assert!(within_a_write > 0, "no kill came within the writing of a checkpoint");
    let ran = run(killed.path());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    same_notes(&notes(killed.path()), &expected);
    assert_eq!(left(killed.path()), undisturbed);
    assert!(unfinished(killed.path()).is_empty());

    // A finished run is returned, not repeated.
    let before = notes(killed.path()).len();
    let again = run(killed.path());
    assert_eq!((again.code, again.out), (Some(0), ran.out));
    assert_eq!(notes(killed.path()).len(), before);
}

#[test]
fn ctrl_c_finishes_the_step_and_saves_it_and_twice_leaves_at_once() {
    let (expected, undisturbed) = undisturbed(&script(STEPS, ""));
    // Checkpoints are rare here, so the saved one was written because of the interrupt.
    let stopped = folder(&script(STEPS, "").replace("checkpoint_every: 2", "checkpoint_every: 1000"));
    let (code, said) = interrupted(stopped.path(), 1);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.lines().any(|l| l.starts_with("interrupted")), "{said}");
    let place = newest(stopped.path()).path().file_name().unwrap().display().to_string();
    let named = format!("of {STEPS}; checkpoint: run/checkpoints/{place}; the same call goes on from there");
    assert!(said.contains("note: stopped after step ") && said.contains(&named), "{said}");
    let step = newest(stopped.path()).values()["step"].clone();
    let made = notes(stopped.path()).len() as i64;
    // The last step may have finished before its line was written.
    assert!(
        matches!(step, spectral::declare::Value::Int(s) if s == made || s == made + 1),
        "{step:?} of {made}"
    );

    std::fs::write(stopped.path().join("train.rhai"), script(STEPS, "")).unwrap();
    let (code, said) = interrupted(stopped.path(), 2);
    assert_eq!(code, Some(130), "{said}");
    let ran = run(stopped.path());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains(&format!(" of {STEPS} from run/checkpoints/step-")), "{}", ran.err);
    let found = notes(stopped.path());
    for note in found.iter().filter(|note| !expected.contains(note)) {
        assert!(expected.iter().any(|e| e.starts_with(note.as_str())), "a step of its own: {note}");
    }
    // The first steps had no checkpoints that could have been the best.
    assert_eq!(Left { best: undisturbed.best.clone(), ..left(stopped.path()) }, undisturbed);
}

/// Groups, a path and a loss defined by the script.
const OWN: &str = r##"groups: [#{ match: "*.freq_gate*", lr: 1e-2 }],
    path: flow::path(#{ noise: |z, x1| z * 0.5 + 0.1 * x1, times: |n, g| tensor::rand([n], #{ generator: g }) ** 2, predict: "x" }),
    loss: |s| ((s.v - s.target).square() * (1.0 + s.t.reshape([-1, 1, 1, 1]))).mean(),"##;

#[test]
fn a_run_with_functions_and_groups_that_was_stopped_is_the_run_that_was_not() {
    let (expected, undisturbed) = undisturbed(&script(STEPS, OWN));
    let stopped = folder(&script(STEPS, OWN));
    let (code, said) = interrupted(stopped.path(), 1);
    assert_eq!(code, Some(130), "{said}");
    for _ in 0..3 {
        let before = notes(stopped.path()).len();
        let mut child = start(stopped.path());
        wait("steps", &mut child, || notes(stopped.path()).len() > before + 2);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = run(stopped.path());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    same_notes(&notes(stopped.path()), &expected);
    assert_eq!(Left { best: undisturbed.best.clone(), ..left(stopped.path()) }, undisturbed);
}

#[test]
fn a_run_that_a_function_ended_is_returned_until_the_function_is_another_one() {
    let ends_at = |step: usize| {
        script(20, "")
            .replace("on_step: |s| {", &format!("on_step: |s| {{ if s.step == {step} {{ return false; }}"))
    };
    let place = folder(&ends_at(5));
    let first = run(place.path());
    assert!(first.out.starts_with("5 steps"), "{}{}", first.out, first.err);
    let again = run(place.path());
    assert_eq!((again.code, again.out), (Some(0), first.out), "{}", again.err);
    let said = "note: `on_step` has ended the run in run after 5 of 20 steps, which is returned as it is; to go on, give more \
                `steps`, another `on_step` or none";
    assert!(again.err.contains(said), "{}", again.err);
    std::fs::write(place.path().join("train.rhai"), ends_at(9)).unwrap();
    let other = run(place.path());
    assert!(other.out.starts_with("9 steps"), "{}{}", other.out, other.err);
    assert!(other.err.contains("note: resumes at step 5 of 20 from run/checkpoints/step-"), "{}", other.err);
    std::fs::write(place.path().join("train.rhai"), script(20, "")).unwrap();
    assert!(run(place.path()).out.starts_with("20 steps"));
    let straight = folder(&script(20, ""));
    assert_eq!(run(straight.path()).code, Some(0));
    assert_eq!(left(place.path()).weights, left(straight.path()).weights);
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let place = folder(&script(1_000_000, ""));
    let mut first = start(place.path());
    wait("steps", &mut first, || !notes(place.path()).is_empty());
    let second = shared::spectral(place.path(), &["run", "train.rhai"], "");
    let id = first.id();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.code, Some(1), "{}", second.err);
    assert!(
        second.err.contains(&format!("run/lock: process {id} is working in this folder")),
        "{}",
        second.err
    );
}

#[test]
fn a_full_disk_ends_the_run_with_one_message_and_leaves_the_last_checkpoint_whole() {
    let place = folder(&script(4, "").replace("\"cosine\"", "\"constant\""));
    assert_eq!(run(place.path()).code, Some(0));
    let before = newest(place.path());
    let size = std::fs::metadata(before.path()).unwrap().len();
    std::fs::write(place.path().join("train.rhai"), script(20, "").replace("\"cosine\"", "\"constant\""))
        .unwrap();
    let limited = || {
        let mut command = program(&["run", "train.rhai"]);
        let limit = libc::rlimit { rlim_cur: size / 2, rlim_max: size / 2 };
        // SAFETY: the closure between fork and exec only sets a limit.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        shared::finish(command, place.path(), "")
    };
    let ran = limited();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(ran.err.matches("error: ").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("step-00000006.safetensors: the file would be larger than"), "{}", ran.err);
    let after = newest(place.path());
    assert_eq!((after.path(), unfinished(place.path())), (before.path(), Vec::new()));
    // With enough space again, the run resumes.
    let ran = run(place.path());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(notes(place.path()).iter().filter(|n| n.starts_with("20 ")).count(), 1);
}

#[test]
fn other_settings_data_or_weights_are_refused_by_name() {
    let place = folder(&script(4, ""));
    assert_eq!(run(place.path()).code, Some(0));
    let refused = |from: &str, to: &str| {
        std::fs::write(place.path().join("train.rhai"), script(4, "").replace(from, to)).unwrap();
        let ran = run(place.path());
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        ran.err
    };
    let said = refused("lr: 1e-3", "lr: 2e-3");
    assert!(said.contains("run holds a run with other settings: `lr` was 0.001 and is 0.002"), "{said}");
    assert!(said.contains("resume: false"), "{said}");
    let said = refused("lr: 1e-3", "lr: 1e-3, groups: [#{ match: \"*.bias\", lr: 1e-4 }]");
    assert!(said.contains("`groups` was [] and is [{\"lr\":0.0001,\"match\":\"*.bias\"}]"), "{said}");
    let said = refused("lr: 1e-3", "lr: 1e-3, loss: loss::spectral(basis::dct(), |r| 1.0 / (1.0 + r))");
    assert!(said.contains("`loss.kind` was \"mse\" and is \"spectral\""), "{said}");
    let said = refused("generator(5)", "generator(6)");
    assert!(said.contains("saved with data"), "{said}");
    let said = refused("num_heads: 2", "num_heads: 2, seed: 1");
    assert!(said.contains("started from other weights"), "{said}");
    let said = refused("steps: 4", "steps: 3");
    assert!(said.contains("`steps` was 4 and is 3"), "{said}");
    // Starting over must be requested by the user.
    std::fs::write(place.path().join("train.rhai"), script(2, "resume: false,")).unwrap();
    assert_eq!(run(place.path()).code, Some(0));
}

#[test]
fn deterministic_runs_are_equal_bit_for_bit() {
    // The default generator starts with a different seed each time, unless deterministic mode fixes it too.
    let source = script(6, "").replace("tensor::seed(3);", "").replace("generator: tensor::generator(5)", "");
    let source = source.replace("rand([30, 1, 4, 4], #{  })", "rand([30, 1, 4, 4])");
    let once = |arguments: &[&str]| {
        let place = folder(&source);
        let ran = shared::finish(program(arguments), place.path(), "");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        (notes(place.path()), left(place.path()))
    };
    let deterministic = ["run", "--deterministic", "train.rhai"];
    assert_eq!(once(&deterministic), once(&deterministic));
    assert_ne!(once(&["run", "train.rhai"]), once(&["run", "train.rhai"]));
}

/// Runs a script with 12 GiB of address space.
fn with_little_memory(source: &str) -> shared::Ran {
    let place = folder(source);
    let mut command = program(&["run", "train.rhai"]);
    let limit = libc::rlimit { rlim_cur: 12 << 30, rlim_max: 12 << 30 };
    // SAFETY: the closure between fork and exec only sets a limit.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    shared::finish(command, place.path(), "")
}

#[test]
fn without_memory_the_allocation_is_named_and_the_memory_comes_back() {
    // Memory that is never touched uses only address space, which is limited here.
    let source = r#"
let block = 200_000_000;
let held = [];
let told = "";
try { loop { held.push(tensor::empty([block])); } } catch (e) { told = e.message; }
print(told);
let count = held.len();
held = [];
// As much as all blocks together, so that none of them is large enough for it.
tensor::empty([block * (count - 1)]);
print(tensor::ones([3]).sum().item());
"#;
    let ran = with_little_memory(source);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let expected = "out of memory on the cpu: an allocation of 800.0 MB failed";
    assert!(ran.out.contains(expected) && ran.out.ends_with("3.0\n"), "{}{}", ran.out, ran.err);
}

#[test]
fn a_step_without_memory_leaves_the_model_and_the_session_as_they_were() {
    let source = r#"
let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 64, num_heads: 2 });
let images = data::from_tensors(tensor::zeros([200_000, 1, 4, 4]), tensor::zeros([200_000], #{ dtype: "int64" }));
let before = net.parameters()["patch_embed.proj.weight"].copy();
let held = [];
try { loop { held.push(tensor::empty([20_000_000])); } } catch { }
try { train::fit(net, images, #{ steps: 2, batch: 200_000, out: "run" }); } catch (e) { print(e.message); }
assert(net.parameters()["patch_embed.proj.weight"].equal(before));
held = [];
print(train::fit(net, images, #{ steps: 3, batch: 8, out: "smaller" }).losses.len());
"#;
    let ran = with_little_memory(source);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    // Which operator fails depends on what the allocator still has cached.
    for expected in ["train::fit: step 1 of 2: ", "out of memory on the cpu: an allocation of "] {
        assert!(ran.out.contains(expected), "{}{}", ran.out, ran.err);
    }
    assert!(ran.out.ends_with("\n3\n"), "{}", ran.out);
}
