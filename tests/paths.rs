//! Functions of a path: what they know of images and steps, entries beside points, factors of image and noise, times of pixels.
#![cfg(test)]

mod shared;

use std::path::Path;

use shared::spectral;

/// Pairs of images, and a model of their shape.
const SETUP: &str = r#"
fn made(more) {
    model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 } + more)
}
fn near(t) { t.reshape([-1, 1, 1, 1]) }
let images = tensor::rand([24, 1, 4, 4], #{ seed: 1 }) * 2.0 - 1.0;
let set = data::from_tensors(images, tensor::arange(24) % 2).with_fields(#{
    source: tensor::randn([24, 1, 4, 4], #{ seed: 2 }),
    place: tensor::arange(24),
});
let o = #{ batch: 8, lr: 1e-2, log_every: 1 };
// Everything that a path knows has a part in it.
let path = flow::path(#{
    noise: |z, x1, c| {
        let own = z * (1.0 + 0.5 * near(c.labels.float())) + 0.1 * c.fields.source;
        if "step" in c { own + 0.01 * c.step + 0.01 * near(c.indices.float()) } else { own }
    },
    mix: |x1, x0, t, c| {
        let bend = (near(t) * (1.0 - near(t))).sqrt() * tensor::randn(x1.shape, #{ seed: c.seed });
        #{ x_t: near(t) * x1 + (1.0 - near(t)) * x0 + bend, target: x1 - x0, weight: 1.0 + t, scale: 0.5 }
    },
    times: |n, g, c| tensor::rand([n], #{ generator: g }) * min(1.0, (c.step + 2) / 8.0),
});
let weighted = |s| s.pair.scale * (near(s.pair.weight) * (s.v - s.target).square()).mean();
fn same(a, b) {
    let other = b.parameters();
    a.parameters().keys().all(|name| a.parameters()[name].equal(other[name]))
}
"#;

fn program(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let ran = spectral(folder, &[arguments, &["paths.rhai"]].concat(), "");
    (ran.code == Some(0), ran.out + ran.err.as_str())
}

fn run_in(folder: &Path, arguments: &[&str], body: &str) -> String {
    std::fs::write(folder.join("paths.rhai"), format!("{SETUP}{body}")).unwrap();
    let (fine, told) = program(folder, &["check"]);
    assert!(fine, "{told}");
    let (fine, told) = program(folder, arguments);
    assert!(fine, "{told}");
    told
}

fn run(body: &str) -> String {
    run_in(tempfile::tempdir().unwrap().path(), &["run"], body)
}

#[test]
fn functions_know_the_images_and_the_step_of_training() {
    run(r#"
    let seen = [];
    let seeds = [];
    let known = flow::path(#{
        noise: |z, x1, c| {
            assert(c.indices.equal(c.fields.place) && c.labels.equal(c.indices % 2) && x1.equal(images[c.indices]));
            let told = "";
            try { c.fields.text } catch (e) { told = `${e}`; }
            assert(told.contains("the field `text` is not given, found `place`, `source`"), told);
            // Labels that are written into are those of the function alone.
            let own = c.labels;
            own += 1;
            z
        },
        mix: |x1, z, t, c| { seeds.push(c.seed); #{ x_t: z, target: x1, weight: c.labels } },
        times: |n, g, c| { seen.push([n, c.step]); tensor::full([n], c.step / 4.0) },
    });
    let rows = [];
    let loss = |s| {
        rows.push(s.t.size(0));
        assert_close(s.t, tensor::full([s.t.size(0)], s.step / 4.0), 0.0);
        assert(s.pair.weight.equal(s.indices % 2) && s.x_t.equal(s.noise) && s.x1.equal(images[s.indices]));
        (s.v - s.target).square().mean()
    };
    train::fit(made(#{}), set, o + #{ steps: 2, path: known, loss: loss, accumulate: 2 });
    assert_eq(seen, [[8, 0], [8, 1]]);
    assert_eq(rows, [4, 4, 4, 4]);
    assert(seeds[0] != seeds[1]);
    // `timesteps` takes the step too.
    let times = |n, g, c| { assert_eq(c.labels.len(), n); tensor::full([n], c.step / 4.0) };
    train::fit(made(#{}), set, o + #{ steps: 2, timesteps: times, loss: |s| { assert_close(s.t.max(), s.step / 4.0, 0.0); s.v.square().mean() } });
    "#);
}

#[test]
fn samples_begin_with_what_is_known_of_their_images() {
    run(r#"
    let source = tensor::randn([5, 1, 4, 4], #{ seed: 4 });
    let labels = tensor([0, 1, 0, 1, 2]);
    // A velocity of zero leaves the start as it is.
    let still = nn::model(#{ image_shape: [1, 4, 4], num_classes: 2, name: "still", make: |b| |x, t, y| 0.0 * x });
    let seeds = [];
    let start = flow::path(#{ noise: |z, x1, c| {
        assert(x1 == () && !("step" in c) && "labels" in c && "fields" in c);
        let told = "";
        try { c.indices } catch (e) { told = `${e}`; }
        assert(told.contains("`c.indices` is not known here, found `fields`, `labels`, `seed`"), told);
        seeds.push(c.seed);
        c.fields.source + near(c.labels.float())
    } });
    let s = #{ labels: labels, fields: #{ source: source }, path: start, steps: 2, clamp: false };
    let expected = source + near(labels.float());
    for more in [#{}, #{ batch: 2 }, #{ sampler: "dopri5" }, #{ seed: 1 }] {
        assert_close(flow::sample(still, s + more), expected, 0.0);
    }
    assert(seeds[0] == seeds[1] && seeds[0] != seeds[3]);
    // Outside of runs the options of `pair` say what is known.
    let pair = path.pair(images[..2], tensor([0.0, 0.5]), #{ labels: [0, 1], fields: #{ source: source[..2] }, seed: 3 });
    assert_close(pair.weight, tensor([1.0, 1.5]), 0.0);
    assert_eq(pair.scale, 0.5);
    let again = path.pair(images[..2], tensor([0.0, 0.5]), #{ labels: [0, 1], fields: #{ source: source[..2] }, seed: 3, noise: pair.noise });
    assert(again.x_t.equal(pair.x_t));
    let told = "";
    try { path.pair(images[..2], tensor([0.0, 0.5]), #{ labels: [0, 1], fields: #{ source: source[..2] } }); } catch (e) { told = `${e} ${e.hint}`; }
    assert(told.contains("`c.seed` is not known here") && told.contains("`path.pair` takes it as an option"), told);
    "#);
}

#[test]
fn a_run_with_such_a_path_resumes_and_its_path_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let body = r#"
    let whole = made(#{});
    let ran = train::fit(whole, set, o + #{ steps: 6, path: path, loss: weighted });
    train::fit(made(#{}), set, o + #{ steps: 3, path: path, loss: weighted, out: "run" });
    let resumed = train::fit(made(#{}), set, o + #{ steps: 6, path: path, loss: weighted, out: "run" });
    assert(same(resumed.model, whole) && same(resumed.ema, ran.ema));
    let stored = flow::path(resumed.settings.path);
    assert(stored == path);
    let s = #{ labels: [0, 1], fields: #{ source: tensor::ones([2, 1, 4, 4]) }, steps: 2 };
    assert(flow::sample(resumed.ema, s + #{ path: stored }).equal(flow::sample(ran.ema, s + #{ path: path })));
    // Parts of a batch have their rows of everything.
    let parts = made(#{});
    train::fit(parts, set, o + #{ steps: 6, path: path, loss: weighted, accumulate: 4 });
    for name in whole.parameters().keys() { assert_close(parts.parameters()[name], whole.parameters()[name], 1e-4); }
    "#;
    let told = run_in(folder.path(), &["run"], body);
    assert!(!told.contains("not stored"), "{told}");
    // Another function of the same path is another run.
    let other = format!("{SETUP}{body}").replace("(c.step + 2) / 8.0", "(c.step + 3) / 8.0");
    std::fs::write(folder.path().join("paths.rhai"), other).unwrap();
    let (fine, told) = program(folder.path(), &["run"]);
    assert!(!fine && told.contains("holds a run with other settings"), "{told}");
}

#[test]
fn ranks_draw_what_one_process_draws() {
    let body = r#"
    let net = made(#{});
    let run = train::fit(net, set, o + #{ steps: 4, path: path, loss: weighted, accumulate: 2 });
    let times = train::fit(made(#{}), set, o + #{ steps: 4, accumulate: 2, timesteps: |n, g, c| near(c.labels.float()).flatten() * 0.5 + 0.1 });
    if ranks::rank() == 0 { print(`losses ${run.losses} ${times.losses}`); }
    "#;
    let line = |ranks: &str| {
        let folder = tempfile::tempdir().unwrap();
        let told = run_in(folder.path(), &["run", "--ranks", ranks], body);
        told.lines().find(|line| line.starts_with("losses")).unwrap_or_else(|| panic!("{told}")).to_string()
    };
    assert_eq!(line("1"), line("2"));
}

#[test]
fn wrong_numbers_of_arguments_are_found_without_a_run() {
    let folder = tempfile::tempdir().unwrap();
    for (code, expected) in [
        (
            "flow::path(#{ noise: |z| z })",
            "expected a function `|z, x1|` or `|z, x1, c|`, found one that takes 1 value",
        ),
        ("flow::path(#{ mix: |a, b, c, d, e| a })", "`|x1, noise, t|` or `|x1, noise, t, c|`"),
        ("flow::path(#{ times: |n| n })", "`|n, g|` or `|n, g, c|`"),
        ("flow::path(#{ alpha: |t, c| t, sigma: |t| 1.0 - t })", "expected a function `|t|`"),
        ("train::fit(made(#{}), set, #{ loss: |s| s.pears.x })", "receives has no entry `pears`"),
    ] {
        std::fs::write(folder.path().join("paths.rhai"), format!("{SETUP}{code};")).unwrap();
        let (fine, told) = program(folder.path(), &["check"]);
        assert!(!fine && told.contains(expected), "{code}: {told}");
    }
}

/// Images of independent normal numbers have an exact denoiser, whose flow and density are known.
const GAUSSIAN: &str = r#"
// A variance-exploding path, as that of EDM, whose noise has the standard deviation 10 at first.
let sigma = |t| 10.0 * (1.0 - t) ** 2;
let vary = #{ alpha: |t| 1.0, sigma: sigma };
let mean = 0.3;
let std = 0.5;
let exact = |predict| nn::model(#{ image_shape: [1, 4, 4], num_classes: 1, name: "exact", make: |b| |x, t, y| {
    let s = near(sigma.call(t));
    let image = (std * std * x + s * s * mean) / (std * std + s * s);
    let noise = (x - image) / s.clamp_min(1e-3);
    if predict == "x" { image } else if predict == "noise" { noise } else { -noise / s.clamp_min(1e-3) }
} });
let z = tensor::randn([6, 1, 4, 4], #{ seed: 3 });
let s = #{ labels: tensor::zeros([6], #{ dtype: "int64" }), clamp: false, noise: z };
"#;

#[test]
fn factors_that_are_functions_lead_from_noise_to_known_images() {
    run(&format!(
        "{GAUSSIAN}{}",
        r#"
    // The flow keeps the number of standard deviations from the mean.
    let expected = mean + (10.0 * z - mean) * std / (std * std + 100.0).sqrt();
    for predict in ["x", "noise", "score"] {
        let p = flow::path(vary + #{ predict: predict });
        let images = flow::sample(exact.call(predict), s + #{ path: p, sampler: "rk4", steps: 60 });
        assert_close(images, expected, 2e-2);
    }
    let p = flow::path(vary + #{ predict: "x" });
    let net = exact.call("x");
    // The stochastic equation has the same distribution.
    let many = #{ labels: tensor::zeros([300], #{ dtype: "int64" }), clamp: false, path: p, sampler: "euler_maruyama", steps: 250, batch: 300 };
    for diffusion in ["sigma", "sbdm"] {
        let images = flow::sample(net, many + #{ diffusion: diffusion });
        assert_close(images.mean(), mean, 0.05);
        assert_close(images.std(), std, 0.05);
    }
    // The density is that of the images, up to the mean and the variance that the noise lacks.
    let x = mean + std * z;
    let found = flow::log_likelihood(net, x, #{ path: p, probe: "exact" });
    let known = -(0.5 * z.square() + ln(std) + 0.5 * ln(2.0 * PI())).sum([1, 2, 3]);
    assert_close(found.nats, known, 0.5);
    // The noise leads back to the images.
    let back = flow::sample(net, s + #{ path: p, noise: found.noise.float(), sampler: "dopri5", rtol: 1e-5 });
    assert_close(back, x, 1e-2);
    // Training knows the path too, and a checkpoint stores it.
    let run = train::fit(made(#{}), set, o + #{ steps: 3, path: p, out: "run" });
    assert(flow::path(run.settings.path) == p);
    "#
    ));
}

#[test]
fn named_interpolants_written_as_functions_train_and_sample_the_same() {
    run(r#"
    let written = flow::path(#{ alpha: |t| (PI() / 2.0 * t).sin(), sigma: |t| (PI() / 2.0 * t).cos(), predict: "noise" });
    let named = flow::path(#{ interpolant: "gvp", predict: "noise" });
    let nets = [written, named].map(|p| train::fit(made(#{}), set, o + #{ steps: 4, path: p }).model);
    let a = nets[0].parameters();
    let b = nets[1].parameters();
    for name in a.keys() { assert_close(a[name], b[name], 1e-4); }
    let samples = |p, more| flow::sample(nets[0], #{ labels: [0, 1], steps: 10, path: p } + more);
    for more in [#{}, #{ sampler: "euler_maruyama" }, #{ sampler: "sde_heun", diffusion: "sbdm" }] {
        assert_close(samples.call(written, more), samples.call(named, more), 1e-4);
    }
    "#);
}

#[test]
fn pixels_may_have_times_of_their_own() {
    run(r#"
    // Weights that are not zero, and attention that adds the same to every token.
    let net = made(#{});
    no_grad(|| {
        let i = 0;
        for p in net.parameters().values() { i += 1; p += 0.2 * tensor::randn(p.shape, #{ seed: i }); }
    });
    let x = images[..3];
    let y = tensor([0, 1, 2]);
    let at = |t| net.forward(x, tensor::full([3], t), y);
    // One time for all pixels is the time of the image.
    assert_close(net.forward(x, tensor::full([3, 1, 4, 4], 0.3), y), at.call(0.3), 1e-5);
    assert_close(net.forward(x, tensor::full([3, 1, 1, 1], 0.3), y), at.call(0.3), 1e-5);
    // Without attention between them, tokens are those of images with their time.
    no_grad(|| { let w = net.parameters()["blocks.0.attn.proj.weight"]; w *= 0.0; });
    let t = tensor::cat([tensor::full([3, 1, 4, 2], 0.2), tensor::full([3, 1, 4, 2], 0.8)], 3);
    let stitched = tensor::cat([at.call(0.2)[.., .., .., ..2], at.call(0.8)[.., .., .., 2..]], 3);
    assert_close(net.forward(x, t, y), stitched, 1e-5);
    assert((at.call(0.2) - at.call(0.8)).abs().max().item() > 1e-2);

    // Training: independent times of patches, and a loss weighted by them.
    let patches = |n, g| tensor::rand([n, 1, 2, 2], #{ generator: g }).repeat_interleave(2, 2).repeat_interleave(2, 3);
    let forcing = flow::path(#{ times: patches });
    let loss = |s| {
        assert_eq(s.t.shape, [s.x1.size(0), 1, 4, 4]);
        assert_close(s.x_t, s.t * s.x1 + (1.0 - s.t) * s.noise, 1e-6);
        loss::weighted(|t| 1.0 - t).of(s)
    };
    let whole = train::fit(made(#{}), set, o + #{ steps: 6, path: forcing, loss: loss });
    train::fit(made(#{}), set, o + #{ steps: 3, path: forcing, loss: loss, out: "run" });
    let resumed = train::fit(made(#{}), set, o + #{ steps: 6, path: forcing, loss: loss, out: "run" });
    assert(same(whole.model, resumed.model));
    let losses = train::fit(made(#{}), set, o + #{ steps: 60, path: forcing }).losses;
    assert(tensor(losses).narrow(0, 50, 10).mean().item() < 0.95 * tensor(losses).narrow(0, 0, 5).mean().item(), `${losses}`);
    for more in [#{ accumulate: 2 }, #{ precision: "bfloat16" }, #{ checkpoint_activations: true }] {
        train::fit(made(#{}), set, o + #{ steps: 2, path: forcing } + more);
    }
    let told = "";
    try { train::fit(made(#{}), set, o + #{ steps: 2, path: forcing, loss_bins: 4 }); } catch (e) { told = `${e}`; }
    assert(told.contains("`loss_bins` need one time per image"), told);
    told = "";
    let told_of = made(#{ parts: ideas::condition_on("text", 6) });
    try { told_of.forward(x, t, y, #{ fields: #{ text: tensor::zeros([3, 6]) } }); } catch (e) { told = `${e}`; }
    assert(told.contains("at condition changes the embedding of an image"), told);
    told = "";
    try { net.forward(x, t[.., .., .., ..3], y); } catch (e) { told = `${e} ${e.hint}`; }
    assert(told.contains("expected times [3], one per image") && told.contains("[3, 1, 4, 4]"), told);

    // Sampling: a step of one's own gives each pixel its time. The left half arrives before the right half begins.
    let ahead = |velocity, x, t, next, c| {
        let of = |t| tensor::cat([tensor::full([1, 1, 4, 2], min(1.0, 2.0 * t)), tensor::full([1, 1, 4, 2], max(0.0, 2.0 * t - 1.0))], 3);
        x + (of.call(next) - of.call(t)) * velocity.call(x, of.call(t).expand([x.size(0), 1, 4, 4]))
    };
    // The exact velocity of a constant image of 0.5 is known for each pixel.
    let known = nn::model(#{ image_shape: [1, 4, 4], num_classes: 2, make: |b| |x, t, y| (0.5 - x) / (1.0 - t).clamp_min(1e-3) });
    let s = #{ labels: [0, 1, 2], steps: 8, sampler: ahead };
    for more in [#{}, #{ batch: 2 }, #{ guidance: 2.0 }] {
        assert_close(flow::sample(known, s + more), tensor::full([3, 1, 4, 4], 0.5), 1e-5);
    }
    let shapes = [];
    flow::sample(net, s + #{ velocity: |v, x, t, y, c| { shapes.push(t.shape); v } });
    assert_eq(shapes[0], [3, 1, 4, 4]);
    told = "";
    try { flow::sample(net, s + #{ sampler: |velocity, x, t, next, c| velocity.call(x, tensor::full([3], 1.5)) }); } catch (e) { told = `${e}`; }
    assert(told.contains("takes times from 0, noise, to 1, data, found 1.5"), told);
    "#);
}

/// Functions for models with weights that are not zero.
const FILLED: &str = r#"
    fn filled(net) {
        no_grad(|| {
            let i = 0;
            for p in net.parameters().values() { i += 1; p += 0.2 * tensor::randn(p.shape, #{ seed: i }); }
        });
        net
    }
    fn with_weights_of(net, other) {
        let from = other.parameters();
        let own = net.parameters();
        no_grad(|| for name in own.keys() {
            if name in from { let p = own[name]; p *= 0.0; p += from[name]; }
        });
        net
    }
    let x = images[..3];
    let y = tensor([0, 1, 2]);
    let t = tensor::cat([tensor::full([3, 1, 4, 2], 0.2), tensor::full([3, 1, 4, 2], 0.8)], 3);
    let bands = [filter::gaussian(#{ sigma: 1.0 }), filter::gaussian(#{ sigma: 0.5 })];
    let corrections = [
        correction(filter::binomial(), gate::time()),
        correction(filter::dct(), gate::time_label(#{ per: "channel" })),
        correction(bands, gate::static()),
        correction(filter::learned(), gate::static(#{ per: "channel" })),
        correction(filter::custom(|x| 0.5 * x), gate::time()),
        correction(filter::binomial(), gate::custom(|b| { let out = b.linear("out", b.width, 2, #{ init: "zeros" }); |c| out.forward(c.both) })),
    ];
    let places = ["tokens", "norm_attn", "heads", "attn", "norm_mlp", "hidden", "mlp", "block", "image", "velocity"];
"#;

#[test]
fn gates_have_coefficients_of_each_token_where_pixels_have_times() {
    run(&format!(
        r#"{FILLED}
    let plain = filled(made(#{{}}));
    let zeros = correction(filter::binomial(), gate::schedule(|t| [0.0 * t, 0]));
    for c in corrections + [zeros, correction(filter::box(), gate::constant())] {{
        for place in places {{
            // Gates of zero are the plain DiT, to the bit.
            let net = with_weights_of(made(#{{ parts: c.at(place) }}), plain);
            assert_eq(net.forward(x, t, y), plain.forward(x, t, y), `${{c}} at ${{place}}`);
        }}
    }}
    for c in corrections + [correction(filter::binomial(), gate::schedule(|t| [1.0 - t, -0.5])), correction(filter::box(), gate::constant(#{{ high: -0.5 }}))] {{
        for place in places {{
            // One time for all pixels is the time of the image, on any grid.
            let net = filled(made(#{{ parts: c.at(place) }}));
            for x in [x, tensor::randn([3, 1, 4, 8], #{{ seed: 5 }})] {{
                let expected = net.forward(x, tensor::full([3], 0.3), y);
                let found = net.forward(x, tensor::full([3, 1, x.size(2), x.size(3)], 0.3), y);
                assert((found - expected).abs().max().item() < 1e-4, `${{c}} at ${{place}}`);
            }}
        }}
    }}
    // Coefficients by hand: those of a token are those of its time.
    let halves = correction(filter::binomial(), gate::schedule(|t| [1.0 - t, t - 1.0]));
    let net = with_weights_of(made(#{{ corrections: halves }}), plain);
    let seen = net.trace(x, t, y)[0];
    let own = tensor([0.8, 0.2, 0.8, 0.2]).expand([3, 4]);
    assert_close(seen.gates, tensor::stack([own, -own], 2), 1e-6);
    let added = own.unsqueeze(2) * (seen.low - seen.high);
    assert_close(seen.corrected, seen.mlp_residual + added, 1e-5);
    // The block adds it to the stream of the plain DiT.
    assert_close(seen.output, plain.trace(x, t, y)[0].output + added, 1e-5);
    assert(added.abs().max().item() > 1e-3);
    // Pixels have the coefficients of their patch.
    let pixels = filled(made(#{{ parts: halves.at("image") }}));
    let low = |t| filter::binomial().apply(x) * (1.0 - t) + (x - filter::binomial().apply(x)) * (t - 1.0);
    let same = with_weights_of(made(#{{}}), pixels);
    let alike = pixels.forward(x, t, y);
    let by_hand = same.forward(x + low.call(t), t, y);
    assert_close(alike, by_hand, 1e-5);
    // A shape of images is not one of tokens.
    let wrong = made(#{{ corrections: correction(filter::binomial(), gate::schedule(|t| tensor::zeros([3, 2, 16]))) }});
    let told = "";
    try {{ wrong.forward(x, t, y); }} catch (e) {{ told = `${{e}} ${{e.hint}}`; }}
    assert(told.contains("expected coefficients of 2 bands, [B, N, 2] or [B, N, 2, D], found shape [3, 2, 16]"), told);
    assert(told.contains("t is [B, N]"), told);
    "#
    ));
}

#[test]
fn models_with_gates_and_steps_train_where_pixels_have_times() {
    run(&format!(
        r#"{FILLED}
    let patches = |n, g| tensor::rand([n, 1, 2, 2], #{{ generator: g }}).repeat_interleave(2, 2).repeat_interleave(2, 3);
    let forcing = flow::path(#{{ times: patches }});
    let gated = || made(#{{ corrections: [corrections[0], corrections[3]] }});
    let whole = train::fit(gated.call(), set, o + #{{ steps: 6, path: forcing }});
    train::fit(gated.call(), set, o + #{{ steps: 3, path: forcing, out: "gated" }});
    let resumed = train::fit(gated.call(), set, o + #{{ steps: 6, path: forcing, out: "gated" }});
    assert(same(whole.model, resumed.model));
    assert(whole.model.parameters()["blocks.0.freq_gate.2.weight"].abs().max().item() > 1e-4);
    assert(whole.model.parameters()["blocks.0.freq_gate_2_static_logits"].abs().max().item() > 1e-4);
    whole.model.save("gated.safetensors");
    assert_eq(model::open("gated.safetensors").forward(x, t, y), whole.model.forward(x, t, y));
    let again = train::fit(gated.call(), set, o + #{{ steps: 6, path: forcing, checkpoint_activations: true }});
    assert_close(tensor(again.losses), tensor(whole.losses), 1e-5);
    for more in [#{{ accumulate: 2 }}, #{{ precision: "bfloat16" }}] {{
        train::fit(gated.call(), set, o + #{{ steps: 2, path: forcing }} + more);
    }}
    // Steps of a diffusion are those of pixels too, and gates see times.
    let dit = filled(made(#{{ family: "dit", corrections: correction(filter::binomial(), gate::schedule(|t| [1.0 - t, t])) }}));
    let at = |t| dit.forward(x, t, y);
    assert_close(at.call(tensor::full([3, 1, 4, 4], 300.0)), at.call(tensor::full([3], 300.0)), 1e-4);
    let steps = tensor::cat([tensor::full([3, 1, 4, 2], 100.0), tensor::full([3, 1, 4, 2], 900.0)], 3);
    let gates = |t| dit.trace(x, t, y)[0].gates;
    assert_close(gates.call(steps)[.., 0], gates.call(tensor::full([3], 100.0)), 1e-6);
    assert_close(gates.call(steps)[.., 3], gates.call(tensor::full([3], 900.0)), 1e-6);
    let noisy = flow::path(#{{ predict: "ddpm", times: patches }});
    train::fit(dit, set, o + #{{ steps: 3, path: noisy }});
    let ahead = |velocity, x, t, next, c| x + (next - t) * velocity.call(x, tensor::full([x.size(0), 1, 4, 4], t));
    for pair in [[dit, noisy], [whole.model, forcing]] {{
        let s = #{{ labels: [0, 1, 1], steps: 4, path: pair[1] }};
        assert_close(flow::sample(pair[0], s + #{{ sampler: ahead }}), flow::sample(pair[0], s), 1e-4);
    }}
    // Coefficients of a block are those of tokens.
    let half = nn::part(|b| |m, c| {{ m.gate_mlp = 0.5 * m.gate_mlp; m }}).at("modulation");
    for parts in [[half], ideas::adaln_single(), ideas::adaln_single() + [half]] {{
        let net = filled(made(#{{ parts: parts }}));
        assert_close(net.forward(x, tensor::full([3, 1, 4, 4], 0.3), y), net.forward(x, tensor::full([3], 0.3), y), 1e-4);
    }}
    let of_images = nn::part(|b| {{
        let map = b.linear("map", b.width, b.width);
        |m, c| {{ m.gate_mlp = m.gate_mlp + map.forward(c.both).unsqueeze(1); m }}
    }}).at("modulation");
    let told = "";
    try {{ made(#{{ parts: of_images }}).forward(x, t, y); }} catch (e) {{ told = `${{e}}`; }}
    assert(told.contains("gate_mlp") || told.contains("shape"), told);
    "#
    ));
}

/// Mean and spread of the states are those of a Brownian bridge: `0.8 (t (1 - t))^(1/2)` around the straight path.
#[test]
fn a_bridge_has_the_spread_of_a_brownian_bridge_in_training_and_sampling() {
    run(r#"
    let bridge = ideas::bridge("source", #{ noise: 0.8 });
    let n = 4000;
    let source = tensor::full([n, 1, 1, 1], -0.5);
    let check = |t, x| {
        assert_close(x.mean(), t - 0.5, 0.05);
        assert_close(x.std(), 0.8 * (t * (1.0 - t)).sqrt(), 0.03);
    };
    let image = nn::model(#{ image_shape: [1, 1, 1], num_classes: 1, make: |b| |x, t, y| 0.0 * x + 0.5 });
    let s = #{ labels: tensor::zeros([n], #{ dtype: "int64" }), fields: #{ source: source }, steps: 10 } + bridge;
    flow::sample(image, s + #{ keep: |x, t, c| { check.call(c.next, x); x } });
    for t in [0.0, 0.3, 0.5, 1.0] {
        let pair = bridge.path.pair(source + 1.0, tensor::full([n], t), #{ fields: #{ source: source }, seed: 3 });
        check.call(t, pair.x_t);
        assert(pair.noise.equal(source) && pair.target.equal(source + 1.0));
    }
    "#);
}

#[test]
fn schedules_need_derivatives_and_stay_finite_where_they_are_flat() {
    run(r#"
        let flat = flow::path(#{ alpha: |t| t * t, sigma: |t| 1.0 - t * t });
        for sampler in ["euler_maruyama", "sde_heun"] {
            let images = flow::sample(made(#{}), #{ labels: [0, 1], steps: 4, sampler: sampler, path: flat });
            assert(images.abs().max().item() < 1e6, sampler);
        }
        let table = tensor::arange(1001) / 1000.0;
        for alpha in [|t| table[(t * 1000).round().to("int64")], |t| t.detach()] {
            let told = "";
            try { flow::path(#{ alpha: alpha, sigma: |t| 1.0 - t }); } catch (e) { told = `${e}`; }
            assert(told.contains("operations that record gradients"), told);
        }
    "#);
}

#[test]
fn gradients_flow_to_times_through_factors_that_are_functions() {
    run(r#"
    let written = flow::path(#{ alpha: |t| (PI() / 2.0 * t).sin(), sigma: |t| (PI() / 2.0 * t).cos(), predict: "x" });
    let named = flow::path(#{ interpolant: "gvp", predict: "x" });
    let x1 = images[..3];
    let noise = tensor::randn(x1.shape, #{ seed: 2 });
    let one = tensor([0.1, 0.5, 0.9]);
    let pixels = tensor::rand([3, 1, 4, 4], #{ seed: 3 }) * 0.8 + 0.1;
    for at in [one, pixels] {
        for f in [
            |p, t| p.pair(x1, t, #{ noise: noise }).x_t,
            |p, t| p.pair(x1, t, #{ noise: noise }).target,
            |p, t| p.velocity(x1, noise, t),
            |p, t| p.convert(x1, noise, t, "score"),
        ] {
            let slopes = |p| {
                let t = at.clone().requires_grad(true);
                let first = grad(f.call(p, t).square().sum(), t, #{ create_graph: true });
                [first, grad(first.square().sum(), t)]
            };
            let a = slopes.call(written);
            let b = slopes.call(named);
            assert(b[0].abs().max().item() > 1e-2);
            assert_close(a[0], b[0], 1e-3 * (1.0 + b[0].abs().max().item()));
            assert_close(a[1], b[1], 1e-3 * (1.0 + b[1].abs().max().item()));
        }
    }
    // The derivative of a point along its time is the velocity there.
    let p = flow::path(#{ alpha: |t| t ** 2, sigma: |t| 1.0 - t });
    let both = jvp(|t| p.pair(x1, t, #{ noise: noise }).x_t, one, tensor::ones([3]));
    assert_close(both[1], p.pair(x1, one, #{ noise: noise }).target, 1e-5);
    // It is finite where slopes are not, and constants have none.
    let steep = flow::path(#{ alpha: |t| t.sqrt(), sigma: |t| (1.0 - t).sqrt() });
    let large = flow::path(#{ alpha: |t| 1.0, sigma: |t| 2.0 * (1.0 - t) });
    for p in [steep, large] {
        let t = tensor([0.0, 0.3, 1.0]).requires_grad(true);
        let pair = p.pair(x1, t, #{ noise: noise });
        let found = grad(pair.x_t.sum() + pair.target.sum(), t);
        assert(found.isfinite().all().item(), `${found}`);
        // Values are the same with and without gradients.
        assert_eq(pair.x_t.detach(), p.pair(x1, t.detach(), #{ noise: noise }).x_t);
        assert_eq(pair.target.detach(), p.pair(x1, t.detach(), #{ noise: noise }).target);
    }
    "#);
}

#[test]
fn what_others_read_must_not_be_changed_in_place() {
    run(r#"
        let x = tensor::rand([2, 1, 4, 4], #{ seed: 1 });
        let t = tensor([0.25, 0.5]);
        let y = tensor([0, 1]);
        let told = |what, f| {
            let text = "";
            try { f.call(); } catch (e) { text = `${e}`; }
            assert(text.contains(`expected ${what} to stay as given, found a change in place`), text);
        };
        let paths = [
            #{ mix: |x1, x0, t| { x1 *= 0.5; #{ x_t: x1, target: x1 } } },
            #{ noise: |z, x1| { x1 += z; z } },
        ];
        for path in paths {
            let images = x.clone();
            told.call("the images", || flow::path(path).pair(images, t));
        }
        told.call("the noise", || flow::path(#{ mix: |x1, x0, t| { x0 *= 0.5; #{ x_t: x0, target: x1 } } }).pair(x, t, #{ noise: x.clone() }));
        let net = made(#{});
        let start = x.clone();
        told.call("the states", || flow::sample(net, #{ labels: [0, 1], steps: 1, noise: start, velocity: |v, x, t| { x *= 0.5; v } }));
        told.call("the states", || flow::sample(net, #{ labels: [0, 1], steps: 1, guide: |v, u, x, t| { x *= 0.5; v } }));
        let own = nn::model(#{ image_shape: [1, 4, 4], num_classes: 2, make: |b| |x, t, y| { x *= 2.0; x } });
        told.call("the images", || own.forward(x.clone(), t, y));
        let image = nn::part(|b| |x, c| { x *= 2.0; x }).at("image");
        told.call("the images", || made(#{ parts: image }).forward(x.clone(), t, y));
        // What only the function reads is its own.
        assert(flow::sample(net, #{ labels: [0, 1], steps: 1, noise: start, velocity: |v, x, t| { v += 0.5; v } }).equal(
            flow::sample(net, #{ labels: [0, 1], steps: 1, noise: start, velocity: |v, x, t| v + 0.5 })));
        let low = correction(filter::custom(|grid| { grid *= 0.5; grid }), gate::constant(#{ values: [0.5, -0.3] }));
        told.call("the images of filter::custom", || made(#{ corrections: low }).forward(x, t, y));
    "#);
}
