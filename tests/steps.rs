//! What functions of `flow::sample` know of a step, and samplers and fields that are functions.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// A network with the velocity `(1 + y) x`, and one with the exact mean velocity up to `r` of `dx/dt = x`.
const SETUP: &str = r#"
let net = nn::model(#{ image_shape: [1, 2, 3], num_classes: 3, make: |b| |x, t, y, c| x * (1.0 + y.reshape([-1, 1, 1, 1])) });
let mean = nn::model(#{ image_shape: [1, 2, 3], num_classes: 1, make: |b| |x, t, y, c| {
    let d = (c.fields.r - t).reshape([-1, 1, 1, 1]);
    x * (d.exp() - 1.0) / d
}});
let labels = tensor([0, 1, 2, 0, 1]);
let noise = tensor::randn([5, 1, 2, 3], #{ seed: 3 });
let o = #{ labels: labels, noise: noise, steps: 5, clamp: false };
// The second step on takes the velocity of the step before into account.
let multistep = |velocity, x, t, next, c| {
    let image = x + (1.0 - t) * velocity.call(x, t);
    let h = ln(next / (1.0 - next)) - ln(t / (1.0 - t));
    let d = image;
    if "h" in c.state && next < 1.0 { d = image + h / (2.0 * c.state.h) * (image - c.state.image); }
    c.state.image = image;
    c.state.h = h;
    ((1.0 - next) * x + (next - t) * d) / (1.0 - t)
};
let churned = |velocity, x, t, next, c| {
    if c.step > 0 { x += 0.1 * c.noise() + 0.1 * c.noise(); }
    x + (next - t) * velocity.call(x, t)
};
"#;

fn program(folder: &Path, arguments: &[&str], body: &str) -> String {
    std::fs::write(folder.join("steps.rhai"), format!("{SETUP}{body}")).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
            .args(arguments)
            .arg("steps.rhai")
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .env("OMP_NUM_THREADS", "1")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(output.status.success(), "{}{error}", String::from_utf8_lossy(&output.stdout));
        error
    };
    run(&["check"]);
    run(arguments)
}

fn run(body: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), &["run"], body)
}

#[test]
fn functions_know_the_step_the_images_and_what_they_kept() {
    run(r#"
    let seen = [];
    let look = |v, x, t, y, c| {
        seen.push([c.step, c.steps, c.t, c.next, c.stage, t[0].item(), c.rows.tolist(), c.labels.tolist(), c.fields.k.tolist(), c.state.n]);
        c.state.n = (c.state.n ?? 0) + 1;
        v
    };
    let ks = #{ k: tensor([10, 11, 12, 13, 14]) };
    flow::sample(net, o + #{ steps: 2, sampler: "heun", batch: 3, fields: ks, velocity: look });
    assert_eq(seen, [
        [0, 2, 0.0, 0.5, 0, 0.0, [0, 1, 2], [0, 1, 2], [10, 11, 12], ()],
        [0, 2, 0.0, 0.5, 1, 0.5, [0, 1, 2], [0, 1, 2], [10, 11, 12], 1],
        [1, 2, 0.5, 1.0, 0, 0.5, [0, 1, 2], [0, 1, 2], [10, 11, 12], 2],
        [1, 2, 0.5, 1.0, 1, 1.0, [0, 1, 2], [0, 1, 2], [10, 11, 12], 3],
        [0, 2, 0.0, 0.5, 0, 0.0, [3, 4], [0, 1], [13, 14], ()],
        [0, 2, 0.0, 0.5, 1, 0.5, [3, 4], [0, 1], [13, 14], 1],
        [1, 2, 0.5, 1.0, 0, 0.5, [3, 4], [0, 1], [13, 14], 2],
        [1, 2, 0.5, 1.0, 1, 1.0, [3, 4], [0, 1], [13, 14], 3],
    ]);
    // `keep` sees the step that ended, and shares the state.
    let ends = [];
    let keep = |x, t, c| { ends.push([c.step, c.t, c.next, t[0].item(), c.state.n]); x };
    let count = |cond, uncond, x, t, y, c| { c.state.n = (c.state.n ?? 0) + 1; cond };
    flow::sample(net, o + #{ steps: 2, times: [0.0, 0.25, 1.0], keep: keep, guide: count });
    assert_eq(ends, [[0, 0.0, 0.25, 0.25, 1], [1, 0.25, 1.0, 1.0, 2]]);
    // Samplers that choose their own steps know none.
    let rows = [];
    let own = |v, x, t, y, c| { assert(c.step == () && c.next == () && c.rows.shape == y.shape); rows.push(c.rows.len()); v };
    flow::sample(net, o + #{ sampler: "dopri5", rtol: 1e-6, velocity: own });
    assert(rows[0] == 5 && rows[rows.len() - 1] < 5);
    // The same functions under a diffusion.
    let sizes = #{ image_size: 2, in_channels: 1, patch_size: 1, num_classes: 3, depth: 1, hidden_size: 16, num_heads: 2 };
    let path = flow::path(#{ predict: "ddpm" });
    let steps = [];
    let guide = |cond, uncond, x, t, y, c| { steps.push([c.step, c.steps, c.t < c.next]); cond };
    flow::sample(model::dit(sizes + #{ family: "dit" }), #{ labels: [0], sampler: "ddpm", steps: 2, path: path, guide: guide });
    assert_eq(steps, [[0, 2, true], [1, 2, true]]);
    "#);
}

#[test]
fn momentum_in_the_state_does_not_leak_between_groups() {
    let notes = run(r#"
    let slow = |v, x, t, y, c| {
        if "v" in c.state { v = 1.5 * v - 0.5 * c.state.v; }
        c.state.v = v;
        v
    };
    let whole = flow::sample(net, o + #{ velocity: slow });
    assert_close(flow::sample(net, o + #{ velocity: slow, batch: 2 }), whole, 0.0);
    // A loop of one's own.
    let x = noise;
    let before = ();
    for i in 0..5 {
        let v = net.forward(x, tensor::full([5], i / 5.0), labels);
        if before != () { v = 1.5 * v - 0.5 * before; }
        before = v;
        x += 0.2 * v;
    }
    assert_close(x, whole, 1e-5);
    "#);
    assert!(!notes.contains("captured"), "{notes}");
    let notes = run(r#"
    let n = 0;
    let changed = |v, x, t| { n += 1; v };
    flow::sample(net, o + #{ velocity: changed });
    assert_eq(n, 5);
    flow::sample(net, o + #{ velocity: changed, batch: 2 });
    let fixed = tensor::ones([1, 1, 2, 3]);
    flow::sample(net, o + #{ keep: |x, t| x * fixed, batch: 2 });
    "#);
    assert_eq!(notes.matches("captured").count(), 1, "{notes}");
    assert!(notes.contains("`velocity` changed values that it captured"), "{notes}");
}

#[test]
fn a_sampler_of_ones_own_is_a_loop_with_everything_else() {
    run(r#"
    let heun = |velocity, x, t, next, c| {
        let v = velocity.call(x, t);
        x + (next - t) / 2.0 * (v + velocity.call(x + (next - t) * v, next))
    };
    let more = #{ guidance: 1.5, guidance_interval: [0.2, 0.7], keep: |x, t| x * 0.99, shift: 2.0, velocity: |v, x, t| 0.5 * v };
    assert_close(flow::sample(net, o + more + #{ sampler: heun, batch: 2 }), flow::sample(net, o + more + #{ sampler: "heun" }), 1e-5);
    // The velocity of a network that predicts images.
    let path = flow::path(#{ predict: "x" });
    assert_close(flow::sample(net, o + #{ path: path, sampler: heun }), flow::sample(net, o + #{ path: path, sampler: "heun" }), 1e-5);
    // DPM-Solver++(2M), and a loop of one's own.
    let x = noise;
    let last = ();
    let h0 = ();
    for i in 0..5 {
        let t = i / 5.0;
        let next = (i + 1) / 5.0;
        let image = x + (1.0 - t) * net.forward(x, tensor::full([5], t), labels);
        let h = ln(next / (1.0 - next)) - ln(t / (1.0 - t));
        let d = if i > 0 && i < 4 { image + h / (2.0 * h0) * (image - last) } else { image };
        last = image;
        h0 = h;
        x = ((1.0 - next) * x + (next - t) * d) / (1.0 - t);
    }
    assert_close(flow::sample(net, o + #{ sampler: multistep, batch: 2 }), x, 1e-4);
    // Second order on a smooth part of the path, where Euler's error is larger.
    let part = o + #{ start: noise, from: 0.2, to: 0.8 };
    part.remove("noise");
    let exact = flow::sample(net, part + #{ sampler: "rk4", steps: 200 });
    let error = |sampler, n| (flow::sample(net, part + #{ sampler: sampler, steps: n }) - exact).abs().max().item();
    let ratio = error.call(multistep, 20) / error.call(multistep, 40);
    assert(ratio > 3.4 && ratio < 4.6, `${ratio}`);
    assert(error.call(multistep, 40) < 0.2 * error.call("euler", 40));
    // A step that writes into its state does not change the noise that was given.
    let kept = noise * 1.0;
    flow::sample(net, o + #{ sampler: |velocity, x, t, next, c| { x += 1.0; x } });
    assert_close(noise, kept, 0.0);
    // Noise of a step is that of the image, whatever is sampled with it.
    let seeds = #{ seeds: [5, 6, 7, 8, 9] };
    for more in [#{}, seeds] {
        let whole = flow::sample(net, o + more + #{ sampler: churned });
        assert_close(flow::sample(net, o + more + #{ sampler: churned, batch: 2 }), whole, 1e-5);
        assert((whole - flow::sample(net, o + #{ sampler: "euler" })).abs().min().item() > 0.0);
        assert((whole - flow::sample(net, o + #{ sampler: churned, seed: 1 })).abs().min().item() > 0.0);
    }
    // Gradients may be recorded in a step.
    let steered = |velocity, x, t, next, c| enable_grad(|| {
        let x = x.detach().requires_grad(true);
        let v = velocity.call(x, t);
        let slope = grad((x + (1.0 - t) * v).square().sum(), x);
        (x + (next - t) * v - 0.01 * slope).detach()
    });
    assert(flow::sample(net, o + #{ sampler: steered }).abs().mean().item() < flow::sample(net, o).abs().mean().item());
    for dtype in ["float64", "bfloat16"] {
        let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 }).to(dtype);
        let made = flow::sample(net, #{ labels: [0, 1], steps: 3, sampler: multistep });
        assert_eq(made.dtype, if dtype == "float64" { dtype } else { "float32" });
    }
    "#);
}

#[test]
fn fields_of_each_evaluation_make_mean_velocities_exact() {
    run(r#"
    let o = #{ labels: [0, 0, 0], noise: tensor::ones([3, 1, 2, 3]), clamp: false };
    let upto = |x, t, c| #{ r: tensor::full([x.size(0)], c.next) };
    for n in [1, 2, 4] {
        assert_close(flow::sample(mean, o + #{ steps: n, fields: upto, batch: 2 }), 2.718281828 * o.noise, 1e-5);
    }
    // Guidance and the weaker model have the fields of the evaluation too.
    for more in [#{ guidance: 2.0 }, #{ guidances: [2.0, 1.0, 3.0] }, #{ autoguidance: mean, guidance: 3.0 }, #{ guide: |cond, uncond, x, t, y, c| { assert_eq(c.fields.r[0].item(), c.next); uncond } }] {
        assert_close(flow::sample(mean, o + #{ steps: 2, fields: upto } + more), 2.718281828 * o.noise, 1e-5);
    }
    // Self-conditioning: the network sees the last prediction.
    let net = nn::model(#{ image_shape: [1, 2, 3], num_classes: 1, make: |b| |x, t, y, c| 1.0 + c.fields.before });
    let seen = |x, t, c| #{ before: c.state.v ?? tensor::zeros_like(x) };
    let learn = |v, x, t, y, c| { c.state.v = v; v };
    assert_close(flow::sample(net, o + #{ steps: 3, fields: seen, velocity: learn, batch: 2 }), o.noise + (1.0 + 2.0 + 3.0) / 3.0, 1e-5);
    "#);
}

#[test]
fn ranks_make_the_images_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let body = r#"
    let count = |v, x, t, y, c| { c.state.n = (c.state.n ?? 0) + 1; v + 0.1 * c.state.n * c.rows.reshape([-1, 1, 1, 1]) };
    let made = [multistep, churned].map(|s| flow::sample(net, o + #{ sampler: s, velocity: count, batch: 2 }));
    let made = tensor::stack(made, 0);
    if files::exists("made.npz") { assert(made.equal(tensor::load("made.npz").made)); } else { tensor::save("made.npz", #{ made: made }); }
    "#;
    program(folder.path(), &["run"], body);
    program(folder.path(), &["run", "--ranks", "2"], body);
}
