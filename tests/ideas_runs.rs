//! Runs whose model, path and loss are defined by the script have all properties of other runs.
#![cfg(test)]
#![cfg(unix)]

mod shared;

use std::path::Path;
use std::time::{Duration, Instant};

use shared::runs::{Left, folder, left, newest, notes, program, same_notes, start_with, wait};
use spectral::torch::rng::mix;

const STEPS: usize = 60;

/// Parts with parameters at several places, in a DiT of two blocks. One of them draws random numbers from its step.
const PARTS: &str = r##"let strength = 0.5;
let mixed = nn::part(|b| {
    let gate = b.linear("gate", b.width, b.width, #{ init: "zeros" });
    |r, c| {
        c.keep("attn", r);
        r + strength * gate.forward(c.time).tanh().unsqueeze(1) * r
    }
}, #{ name: "mixed" }).at("attn");
let routed = nn::part(|b| {
    let share = b.parameter("share", [1], #{ init: "ones" });
    |x, c| {
        let drawn = tensor::rand([1, x.size(1), 1], #{ generator: tensor::generator(if c.step == () { 0 } else { c.step }) });
        x + (c.inner(x) - x) * (drawn < 0.75).to("float32") * share
    }
}).at("span", #{ blocks: 0..2 });
let low_rank = nn::part(|b| {
    let down = b.parameter("down", [2, b.inputs], #{ init: "kaiming_uniform" });
    let up = b.parameter("up", [b.outputs, 2], #{ init: "zeros" });
    |w| w + 0.5 * up @ down
}, #{ name: "low_rank" }).at("weight", #{ names: ["*.qkv.*", "patch_embed.*", "*.mlp.net.2.*"], blocks: "all" });
fn scaled(b) {
    let scale = b.parameter("scale", [b.channels], #{ init: "zeros" });
    |v, c| v * (1.0 + scale.reshape([1, -1, 1, 1])) + 0.1 * c.x * scale.reshape([1, -1, 1, 1])
}
let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 2, hidden_size: 8,
                          num_heads: 2, parts: [mixed, routed, nn::part(scaled).at("velocity"),
                                                correction(filter::binomial(), gate::time()).at("mlp"), low_rank] });
let width = 8;
"##;

/// Network defined by the script.
const NETWORK: &str = r##"let model = nn::model(#{ image_shape: [1, 4, 4], num_classes: 2, make: |b| {
    let first = b.conv2d("first", 1, 8, 3);
    let last = b.conv2d("last", 8, 1, 3);
    let label = b.embedding("label", 3, 8);
    |x, t, y, c| {
        let h = (first.forward(x) + label.forward(y).reshape([-1, 8, 1, 1])).silu();
        c.keep("attn", h.flatten(2).transpose(1, 2));
        last.forward(h) * (1.0 + t.reshape([-1, 1, 1, 1]))
    }
}});
let width = 8;
"##;

const RUN: &str = r##"let pixels = tensor::rand([30, 1, 4, 4], #{ generator: tensor::generator(5) }) * 2 - 1;
let images = data::from_tensors(pixels, tensor::arange(30) % 2);
let color = 0.5;
let path = flow::path(#{
    noise: |z, x1| color * z + 0.1 * x1,
    times: |n, g| tensor::rand([n], #{ generator: g }) ** 2,
    predict: "x",
});
let project = nn::part(|b| {
    let map = b.linear("map", width, 1);
    |h| map.forward(h)
}, #{ name: "project" });
fn own_loss(s) {
    let near = s.also.project.call(s.kept.attn).square().mean();
    (s.v - s.target).square().mean() + 0.1 * (near - 1.0).square()
}
let run = train::fit(model, images, #{
    steps: STEPS, batch: 8, accumulate: 2, lr: 1e-3, flip: true, warmup: 5, log_every: 3, path: path, also: project,
    loss: own_loss, groups: [#{ match: ["*.gate*", "*map*"], lr: 1e-2 }, #{ match: "*.bias", weight_decay: 0.1 }],
    out: "run", checkpoint_every: 2, keep: 3, ema: 0.9,
    on_step: |s| files::append_line("steps.txt", `${s.step} ${s.indices.to_array()} ${s.loss} ${s.grad_norm}`),
});
print(`${run.steps} steps, loss ${run.loss}`);
"##;

fn script(network: &str) -> String {
    format!("tensor::seed(3);\n{network}{RUN}").replace("STEPS", &STEPS.to_string())
}

fn ran(folder: &Path, arguments: &[&str]) -> shared::Ran {
    shared::finish(program(arguments), folder, "")
}

const PLAIN: [&str; 2] = ["run", "train.rhai"];

/// Kills a run at random moments, resumes it each time, and compares it with an undisturbed run.
#[track_caller]
fn killed_is_undisturbed(script: &str, arguments: &[&str], kills: u64) {
    let straight = folder(script);
    let first = ran(straight.path(), arguments);
    assert_eq!(first.code, Some(0), "{}", first.err);
    let (expected, undisturbed) = (notes(straight.path()), left(straight.path()));
    assert_eq!(expected.len(), STEPS);
    let killed = folder(script);
    for kill in 0..kills {
        let before = notes(killed.path()).len();
        let mut child = start_with(killed.path(), arguments);
        let more = mix(kill, 7) % 4;
        wait("steps", &mut child, || notes(killed.path()).len() as u64 > before as u64 + more);
        std::thread::sleep(Duration::from_micros(mix(kill, 3) % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(!killed.path().join("run/weights.safetensors").exists(), "the run ended before it was killed");
    let last = ran(killed.path(), arguments);
    assert_eq!((last.code, last.out), (Some(0), first.out), "{}", last.err);
    same_notes(&notes(killed.path()), &expected);
    assert_eq!(left(killed.path()), undisturbed);
}

#[test]
fn a_run_with_parts_that_is_killed_is_the_run_that_was_not() {
    killed_is_undisturbed(&script(PARTS), &PLAIN, 8);
}

#[test]
fn so_is_one_of_a_network_of_ones_own() {
    killed_is_undisturbed(&script(NETWORK).replace("*.gate*", "last.*"), &PLAIN, 5);
}

#[test]
fn so_is_a_deterministic_one() {
    killed_is_undisturbed(&script(PARTS), &["run", "--deterministic", "train.rhai"], 4);
}

#[test]
fn so_is_one_whose_part_draws_from_the_default_generator() {
    let script = script(PARTS)
        .replace(", #{ generator: tensor::generator(if c.step == () { 0 } else { c.step }) }", "");
    assert!(!script.contains("c.step"));
    killed_is_undisturbed(&script, &PLAIN, 4);
    // Ctrl-C within a step, which must be repeated after resuming.
    let slow = script.replace("x + (c.inner(x) - x)", &format!("{SLOW} x + (c.inner(x) - x)"));
    assert_ne!(slow, script);
    let straight = folder(&slow);
    std::fs::write(straight.path().join("slow"), "").unwrap();
    assert_eq!(ran(straight.path(), &PLAIN).code, Some(0));
    let stopped = folder(&slow);
    assert_eq!(within_the_slow_part(stopped.path()).0, Some(130));
    let last = ran(stopped.path(), &PLAIN);
    assert_eq!(last.code, Some(0), "{}", last.err);
    let expected = left(straight.path());
    assert_eq!(Left { best: expected.best.clone(), ..left(stopped.path()) }, expected);
}

/// Code that makes a part slow in its third step, once.
const SLOW: &str = "if c.step == 2 && !files::exists(\"slow\") {
        files::write_text(\"slow\", \"\");
        for i in 0..1_000_000 { tensor::ones([99, 99]).exp(); }
    }";

/// Sends Ctrl-C to a run in its slow part. Returns the exit code and standard error.
fn within_the_slow_part(folder: &Path) -> (Option<i32>, String) {
    let mut child = start_with(folder, &PLAIN);
    wait("the slow part", &mut child, || folder.join("slow").exists());
    std::thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    // SAFETY: `kill` only sends a signal to the child that was just started.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_the_run_wrote_is_opened_without_the_script_and_gives_the_same() {
    let place = folder(
        &(script(PARTS).replace("steps: 60", "steps: 6")
            + r##"
let x = tensor::rand([3, 1, 4, 4], #{ seed: 2 });
let ask = |net| net.forward(x, tensor([0.1, 0.5, 0.9]), tensor([0, 1, 2]));
tensor::save("answers.safetensors", #{ ema: ask.call(run.ema), model: ask.call(run.model) });
"##),
    );
    let first = ran(place.path(), &PLAIN);
    assert_eq!(first.code, Some(0), "{}", first.err);
    std::fs::remove_file(place.path().join("train.rhai")).unwrap();
    let open = r##"
let x = tensor::rand([3, 1, 4, 4], #{ seed: 2 });
let ask = |net| net.forward(x, tensor([0.1, 0.5, 0.9]), tensor([0, 1, 2]));
let told = tensor::load("answers.safetensors");
let checkpoint = "run/checkpoints/step-00000006.safetensors";
assert(ask.call(model::open("run/ema.safetensors")).equal(told.ema));
assert(ask.call(model::open("run/weights.safetensors")).equal(told.model));
assert(ask.call(model::open(checkpoint)).equal(told.ema));
assert(ask.call(model::open(checkpoint, #{ weights: "model" })).equal(told.model));
assert(ask.call(model::open("exported.safetensors")).equal(told.ema));
"##;
    std::fs::write(place.path().join("open.rhai"), open).unwrap();
    let checkpoint = "run/checkpoints/step-00000006.safetensors";
    let done =
        ran(place.path(), &["checkpoint", "export", checkpoint, "exported.safetensors", "--weights", "ema"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let opened = ran(place.path(), &["run", "open.rhai"]);
    assert_eq!(opened.code, Some(0), "{}", opened.err);

    let shown = ran(place.path(), &["checkpoint", "show", checkpoint]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    for text in ["fn scaled(b) {", "let gate = b.linear(\"gate\"", "fn own_loss(s) {", "also"] {
        assert!(shown.out.contains(text), "{text} in\n{}", shown.out);
    }
    let other = "run/checkpoints/step-00000004.safetensors";
    let compared = ran(place.path(), &["checkpoint", "diff", checkpoint, other]);
    assert_eq!(compared.code, Some(1), "{}", compared.err);
    for text in ["values.step: 6 | 4", "also: "] {
        assert!(compared.out.contains(text), "{text} in\n{}", compared.out);
    }
    assert!(!compared.out.contains("pieces"), "{}", compared.out);
    let same = ran(place.path(), &["checkpoint", "diff", checkpoint, checkpoint]);
    assert_eq!((same.code, same.out.as_str()), (Some(0), "no difference\n"));
}

#[test]
fn changed_code_is_refused_with_its_name_and_line() {
    let source = script(PARTS).replace("steps: 60", "steps: 4");
    let place = folder(&source);
    assert_eq!(ran(place.path(), &PLAIN).code, Some(0));
    let again = |from: &str, to: &str| {
        assert!(source.contains(from), "{from}");
        std::fs::write(place.path().join("train.rhai"), source.replace(from, to)).unwrap();
        ran(place.path(), &PLAIN)
    };
    let refused = |from: &str, to: &str, name: &str| {
        let ran = again(from, to);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        let line = source.lines().position(|line| line.contains(from)).unwrap() + 1;
        for text in [format!("the code of `{name}` changed: line {line} of train.rhai was `"), to.to_string()]
        {
            assert!(ran.err.contains(&text), "{text} in\n{}", ran.err);
        }
        assert!(ran.err.contains("resume: false"), "{}", ran.err);
    };
    refused("c.keep(\"attn\", r)", "c.keep(\"attn\", r * 2.0)", "parts.mixed");
    refused("(drawn < 0.75)", "(drawn < 0.5)", "parts[1]");
    refused("v * (1.0 + scale", "v * (2.0 + scale", "parts[2]");
    refused("color * z + 0.1", "color * z + 0.2", "path.noise");
    refused("(near - 1.0)", "(near - 2.0)", "loss");
    refused("map.forward(h)", "map.forward(h * 2.0)", "also.project");
    // The code is named even if its change also changes the initial weights.
    refused("b.parameter(\"scale\", [b.channels]", "b.parameter(\"size\", [b.channels]", "parts[2]");
    // Captured values belong to the code.
    let other = again("let strength = 0.5", "let strength = 0.25");
    assert!(other.err.contains("the code of `parts.mixed` changed"), "{}", other.err);
    let other = again("let color = 0.5", "let color = 0.25");
    assert!(other.err.contains("the code of `path.noise` changed"), "{}", other.err);

    // Code that the run does not use may change, and so may comments and layout.
    for (from, to) in [
        ("color * z + 0.1 * x1", "color*z // noise\n  + /* image */ 0.1 * x1"),
        ("    (s.v - s.target)", "\n\n(s.v\n-s.target)"),
        ("tensor::seed(3);", "// A comment.\n\nfn unrelated() { 3 }\ntensor::seed(3);"),
        ("print(`${run.steps}", "print(unrelated()); fn unrelated() { 3 }\nprint(`${run.steps}"),
        ("steps: 4", "steps: 6"),
    ] {
        let ran = again(from, to);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        std::fs::write(place.path().join("train.rhai"), &source).unwrap();
    }

    // Changes that are meant are recorded, and are compared from then on.
    let changed = |source: &str| {
        source
            .replace("steps: 4", "steps: 8")
            .replace("c.keep(\"attn\", r)", "c.keep(\"attn\", r * 1.0)")
            .replace("(near - 1.0)", "(near - 1.5)")
    };
    let accepting = |source: &str| source.replace("out: \"run\"", "accept_code: true, out: \"run\"");
    let run = |text: String| {
        std::fs::write(place.path().join("train.rhai"), text).unwrap();
        ran(place.path(), &PLAIN)
    };
    let other = run(accepting(&changed(&source)).replace("lr: 1e-3", "lr: 2e-3"));
    assert!(other.err.contains("`lr` was 0.001 and is 0.002"), "{}", other.err);
    assert!(run(changed(&source)).err.contains("`accept_code: true`"));
    let ran_on = run(accepting(&changed(&source)));
    assert_eq!(ran_on.code, Some(0), "{}", ran_on.err);
    for name in ["loss", "parts.mixed"] {
        let note = format!("run: after step 6: the code of `{name}` changed");
        assert!(ran_on.err.contains(&note), "{}", ran_on.err);
    }
    let later = run(changed(&source).replace("steps: 8", "steps: 9"));
    assert_eq!(later.code, Some(0), "{}", later.err);
    let shown =
        ran(place.path(), &["checkpoint", "show", &newest(place.path()).path().display().to_string()]);
    assert!(shown.out.contains("after step 6: the code of `loss` changed"), "{}", shown.out);
    assert_eq!(run(source.clone()).code, Some(1));
}

/// A captured value that code changes is no change of the code, neither for a new process nor within one.
#[test]
fn code_that_counts_resumes_and_a_note_says_that_it_counts_anew() {
    let counts = script(PARTS)
        .replace("steps: 60", "steps: 8")
        .replace("let strength = 0.5;", "let strength = 0.5; let calls = 0; let seen = 0; let times = 0;")
        .replace("c.keep(\"attn\", r);", "c.keep(\"attn\", r); calls += 1;")
        .replace("loss: own_loss", "loss: |s| { seen += 1; own_loss(s) }")
        .replace("warmup: 5", "warmup: 0, schedule: |step| { times += 1; 1.0 }")
        .replace(
            "|s| files::append",
            "|s| if s.step == 5 && !files::exists(\"go\") { throw \"stop\" } else { files::append",
        )
        .replace("${s.grad_norm}`),", "${s.grad_norm}`) },");
    let straight = folder(&counts);
    std::fs::write(straight.path().join("go"), "").unwrap();
    let whole = ran(straight.path(), &PLAIN);
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    let place = folder(&counts);
    let stopped = ran(place.path(), &PLAIN);
    assert!(stopped.err.contains("error: stop"), "{}", stopped.err);
    std::fs::write(place.path().join("go"), "").unwrap();
    let resumed = ran(place.path(), &PLAIN);
    assert_eq!(resumed.code, Some(0), "{}", resumed.err);
    let note = "note: run: code of `loss`, `schedule`, `model` had changed values that it captured";
    assert!(resumed.err.contains(note), "{}", resumed.err);
    let (expected, found) = (left(straight.path()), left(place.path()));
    assert_eq!(Left { best: expected.best.clone(), values: expected.values.clone(), ..found }, expected);

    // The same call in one process goes on with what it has counted.
    let twice = counts.replace("let run = train::fit", "let again = || train::fit")
        + "\ntry { again.call() } catch (e) { files::write_text(\"go\", \"\"); again.call(); }\nprint(seen);";
    let twice = twice.replace("print(`${run.steps} steps, loss ${run.loss}`);", "");
    let place = folder(&twice);
    let both = ran(place.path(), &PLAIN);
    assert_eq!((both.code, both.out.as_str()), (Some(0), "16\n"), "{}", both.err);
    assert!(!both.err.contains("had changed values"), "{}", both.err);
}

#[test]
fn a_part_that_gives_nan_stops_the_run_or_is_skipped() {
    let broken = "v * (if c.step == 3 { 0.0 / 0.0 } else { 1.0 }) * (1.0 + scale";
    let source = script(PARTS).replace("steps: 60", "steps: 6").replace("v * (1.0 + scale", broken);
    let place = folder(&source);
    let stopped = ran(place.path(), &PLAIN);
    assert_eq!(stopped.code, Some(1), "{}", stopped.err);
    assert!(stopped.err.contains("the loss is not finite at step 4 of 6"), "{}", stopped.err);
    assert!(newest(place.path()).values().contains_key("step"));
    // The same run skips the batch if `not_finite` asks for it, and equals a run that did so from its start.
    let skipping = source.replace("keep: 3,", "keep: 3, not_finite: \"skip\",");
    std::fs::write(place.path().join("train.rhai"), &skipping).unwrap();
    let last = ran(place.path(), &PLAIN);
    assert_eq!(last.code, Some(0), "{}", last.err);
    let straight = folder(&skipping);
    assert_eq!(ran(straight.path(), &PLAIN).code, Some(0));
    let expected = left(straight.path());
    assert_eq!(Left { best: expected.best.clone(), ..left(place.path()) }, expected);
    assert!(expected.values.contains("\"skipped\": [4]"), "{}", expected.values);
}

#[test]
fn ctrl_c_within_a_slow_part_returns_within_a_second() {
    for out in ["out: \"run\",", ""] {
        let source = script(PARTS)
            .replace("c.keep(\"attn\", r);", &format!("c.keep(\"attn\", r); {SLOW}"))
            .replace("out: \"run\",", out);
        let place = folder(&source);
        let (code, said) = within_the_slow_part(place.path());
        assert_eq!(code, Some(130), "{said}");
        assert!(said.lines().any(|l| l.starts_with("interrupted")), "{said}");
        if !out.is_empty() {
            assert!(matches!(newest(place.path()).values()["step"], spectral::declare::Value::Int(2)));
        }
    }
}

#[test]
fn gradients_of_gradients_go_through_parts() {
    let text = script(PARTS);
    let end = text.find("let run = train::fit").unwrap();
    let rest = r##"
let x = tensor::rand([2, 1, 4, 4], #{ seed: 2 });
let names = ["blocks.1.parts.mixed.gate.weight", "parts.1.share", "parts.2.scale", "blocks.0.attn.qkv.weight"];
let all = model.parameters();
no_grad(|| for name in all.keys() { let p = all[name]; p.copy_(tensor::randn(p.shape, #{ seed: 7 }) * 0.3); });
let weights = names.map(|name| all[name]);
let loss = || model.forward(x, tensor([0.2, 0.7]), tensor([0, 1])).square().mean();
let slopes = || grad(loss.call(), weights, #{ create_graph: true });
let penalty = || { let sum = tensor(0.0); for g in slopes.call() { sum += g.square().sum(); } sum };
let second = grad(penalty.call(), weights);
// Each is the slope of the penalty along itself.
for i in 0..weights.len() {
    let w = weights[i];
    let g = second[i];
    let step = 1e-2 / g.norm().item();
    let start = w.detach().copy();
    no_grad(|| w.copy_(start + g * step));
    let above = penalty.call().item();
    no_grad(|| w.copy_(start - g * step));
    let below = penalty.call().item();
    no_grad(|| w.copy_(start));
    let found = (above - below) / (2.0 * step);
    let expected = g.square().sum().item();
    assert(expected > 0.0 && (found / expected - 1.0).abs() < 0.05, `${names[i]}: ${found}, ${expected}`);
}
"##;
    let place = folder(&(text[..end].to_string() + rest));
    let done = ran(place.path(), &PLAIN);
    assert_eq!(done.code, Some(0), "{}", done.err);
}

#[test]
fn code_that_no_checkpoint_holds_is_told_of_once() {
    let captured = script(PARTS)
        .replace("steps: 60", "steps: 4")
        .replace("let strength = 0.5;", "let strength = tensor::generator(1);")
        .replace("strength * gate", "strength.seed * gate")
        .replace("let color = 0.5;", "let color = tensor::generator(1);")
        .replace("color * z", "0.5 * color.seed * z");
    let place = folder(&captured);
    let told = ran(place.path(), &PLAIN);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let notes: Vec<&str> = told.err.lines().filter(|line| line.starts_with("note:")).collect();
    // The code of the path is compared with that of a resumed run, whatever it captures.
    let [part] = &notes[..] else { panic!("{}", told.err) };
    assert!(part.starts_with("note: the part `mixed` at attn is not stored, so the model"), "{part}");
    assert!(part.ends_with("its variable `strength`: a generator is not stored with code"), "{part}");
    // Without an output folder nothing is stored, so the note is not needed.
    std::fs::write(place.path().join("train.rhai"), captured.replace("out: \"run\",", "")).unwrap();
    let quiet = ran(place.path(), &PLAIN);
    assert_eq!((quiet.code, quiet.err.contains("note:")), (Some(0), false), "{}", quiet.err);
}
