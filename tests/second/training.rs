//! Training and sampling on the second device give the numbers of the CPU, and user code finds its tensors there.

use crate::{counts, run_text};

#[test]
fn training_sampling_and_densities_are_those_of_the_cpu() {
    run_text(
        r#"
let images = data::fashion_mnist().take(64);
let options = |more| {
    let o = #{ steps: 4, batch: 16, lr: 1e-3, seed: 3, flip: true, accumulate: 2, clip: 1.0 };
    o.mixin(more);
    o
};
let on = |device, more| {
    let net = model::dit(#{ depth: 2, hidden_size: 16, num_heads: 2, position: "rope", device: device,
                            corrections: correction(filter::binomial(), gate::time()) });
    let run = train::fit(net, images, options.call(more));
    assert_eq(run.model.device, device);
    let seen = #{ labels: [3, 7], steps: 3, seed: 1, guidance: 2.0 };
    #{
        losses: run.losses,
        samples: flow::sample(run.ema, seen).cpu(),
        density: flow::log_likelihood(run.ema, images.take(2).images(), #{ labels: [1, 2] }).bits_per_dim.cpu(),
    }
};
for more in [
    #{}, #{ loss: loss::spectral(basis::dct(), |r| 1.0 + r) }, #{ optimizer: "muon" },
    #{ path: flow::path(#{ times: |n, g| tensor::rand([n], #{ generator: g }) ** 2, noise: |z, x1| 0.5 * z }) },
] {
    let here = on.call("cuda:0", more);
    let there = on.call("cpu", more);
    // Four times what was measured. The iteration of muon amplifies differences.
    let within = if "optimizer" in more { 1.2e-3 } else { 5e-7 };
    assert_close(here.losses, there.losses, within);
    assert_close(here.samples, there.samples, within);
    assert_close(here.density, there.density, within);
}"#,
    );
}

#[test]
fn functions_of_a_run_create_tensors_where_the_model_is() {
    run_text(
        r#"
tensor::set_default_device("cpu");
let here = |what| {
    assert([tensor::zeros([1]).device, tensor::default_device()] == ["cuda:0", "cuda:0"], what);
};
let part = nn::part(|b| {
    here.call("builder");
    let scale = tensor::ones([16]);
    |x, c| { here.call("part"); x * scale }
}, #{ name: "scale" });
let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: part.at("tokens"), device: "cuda",
                        corrections: correction(filter::binomial(), gate::custom(|b|
                            |s| { here.call("gate"); s.t.unsqueeze(1) * tensor::ones([2]) })) });
let augment = |s| { assert_eq(tensor::zeros([1]).device, s.images.device); s.images + tensor::zeros([1]) };
let run = train::fit(net, data::fashion_mnist().take(8), #{
    steps: 2, batch: 4, augment: augment,
    path: flow::path(#{
        times: |n, g| { here.call("times"); tensor::rand([n], #{ generator: g }) },
        noise: |z, x1| { here.call("noise"); z + tensor::zeros([1]) },
    }),
    loss: |s| { here.call("loss"); ((s.v - s.target) * tensor::ones([1])).square().mean() },
    on_step: |s| { here.call("on_step"); },
});
let guide = |c, u, x, t, y| { here.call("guide"); c + tensor::zeros([1]) };
let images = flow::sample(run.ema, #{ labels: [1, 2], steps: 1, guide: guide });
assert_eq(images.device, "cuda:0");
let found = jvp(|x| { here.call("jvp"); x * tensor::ones([1]) }, [images], [tensor::ones_like(images)]);
assert_eq(tensor::zeros([1]).device, "cpu");"#,
    );
}

#[test]
fn draws_of_a_loss_resume_with_the_same_bits() {
    run_text(
        r#"
let images = data::fashion_mnist().take(16);
let made = || model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, seed: 2 });
let options = |steps, out| #{
    steps: steps, batch: 4, out: out, checkpoint_every: 2, seed: 1,
    loss: |s| ((s.v - s.target) * tensor::rand(s.v.shape)).square().mean() * (1.0 + tensor::rand([1], #{ device: "cpu" }).item()),
};
tensor::seed(5);
let straight = made.call();
train::fit(straight, images, options.call(6, "straight"));
tensor::seed(5);
train::fit(made.call(), images, options.call(2, "parts"));
tensor::seed(99);
let resumed = made.call();
train::fit(resumed, images, options.call(6, "parts"));
let a = straight.parameters().values();
let b = resumed.parameters().values();
assert(a.all(|p, i| p.equal(b[i])));"#,
    );
}

#[test]
fn fields_autoencoders_and_features_keep_to_the_device() {
    run_text(
        r#"
let set = data::fashion_mnist().take(16).with_fields(#{ text: tensor::randn([16, 6]) });
assert_eq(set.fields.text.device, "cpu");
let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: ideas::condition_on("text", 6) });
let run = train::fit(net, set, #{ steps: 1, batch: 8 });
let two = flow::sample(run.ema, #{ labels: [1, 2], steps: 1, fields: set.take(2).fields });
assert_eq(two.device, "cuda:0");
let v = net.forward(two, tensor::rand([2]), tensor([1, 2]), #{ fields: #{ text: tensor::randn([2, 6]) } });
let vae = vae::random(#{ block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1, in_channels: 1 });
assert_eq(vae.decode(vae.encode(two)).device, "cuda:0");
let distance = |device| eval::fid(two.to(device), set, #{ features: eval::features(#{ device: device }) });
assert_close(distance.call("cuda"), distance.call("cpu"), 1e-6);
let loader = set.loader(#{ batch: 4 });
let b = loader.next();
assert_eq([b.images.device, b.labels.device, b.fields.text.device], ["cuda:0", "cuda:0", "cuda:0"]);"#,
    );
}

/// A host that waits for the device in each step leaves it idle.
#[test]
fn steps_neither_wait_for_the_device_nor_send_to_it() {
    assert_eq!(counts("let x = tensor([1.0, 2.0]); x.sum().item(); x.cpu();"), [2, 1]);
    let own = "loss: |s| (s.v - s.target).square().mean(),";
    let path = "path: flow::path(#{ noise: |z, x1| 0.5 * z, predict: \"x\" }), loss_bins: 4,";
    let spectral = |basis: &str| format!("loss: loss::spectral(basis::{basis}(), |r| 1.0 + r),");
    let smooth = "path: { let b = basis::fft(); flow::path(#{ noise: |z, x1| b.scale(z, |r| 1.0 / (1.0 + r)), \
                  times: |n, g| tensor::rand([n], #{ generator: g }) ** 2 }) },";
    let half = "precision: \"bfloat16\", accumulate: 2, clip: 1.0,";
    for (model, options) in [
        ("corrections: correction(filter::binomial(), gate::time()), position: \"rope\"", ""),
        ("corrections: correction(filter::learned(), gate::time_label())", half),
        ("parts: ideas::lora(#{ names: \"*\" })", path),
        ("parts: ideas::condition_on(\"text\", 6)", own),
        ("parts: ideas::gated_attention()", "optimizer: \"muon\","),
        ("", spectral("dct").as_str()),
        ("", spectral("fft").as_str()),
        ("", spectral("haar").as_str()),
        ("", spectral("laplacian").as_str()),
        ("", smooth),
    ] {
        let train = |steps: usize| {
            counts(&format!(
                r#"let images = data::fashion_mnist().take(64).with_fields(#{{ text: tensor::randn([64, 6]) }});
let net = model::dit(#{{ depth: 2, hidden_size: 16, num_heads: 2, {model} }});
train::fit(net, images, #{{ steps: {steps}, batch: 8, log_every: 1000, {options} }});"#
            ))
        };
        // The first steps check what they are given; the update is looked at in the sixteenth.
        assert_eq!(train(8), train(4), "{model}, {options}");
    }
    let sample = |steps: usize, guided: &str| {
        counts(&format!(
            r#"let net = model::dit(#{{ depth: 2, hidden_size: 16, num_heads: 2 }});
flow::sample(net, #{{ labels: [1, 2], steps: {steps}, seed: 1, {guided} }});"#
        ))
    };
    assert_eq!(sample(12, "guidance: 2.0"), sample(4, "guidance: 2.0"));
    let guide = "guide: { let b = basis::dct(); |c, u, x, t| c + b.scale(c - u, |r| r < 0.5) },";
    assert_eq!(sample(12, guide), sample(4, guide));
}

/// Times of a function are checked when the losses are read, and the weights are those before a step with wrong ones.
#[test]
fn wrong_times_of_a_later_step_leave_the_weights_before_it() {
    run_text(
        r#"
let images = data::fashion_mnist().take(32);
let small = #{ depth: 1, hidden_size: 16, num_heads: 2, seed: 1 };
let untrained = model::dit(small).parameters().values();
let trained = |times, more, expected| {
    let net = model::dit(small);
    let told = "";
    let o = #{ steps: 12, batch: 8, seed: 2, lr: 1e-2, log_every: 6, path: flow::path(#{ times: times }) };
    try { train::fit(net, images, o + more); } catch (e) { told = e.message; }
    assert(told.contains(expected), told);
    net.parameters().values()
};
for more in [#{}, #{ not_finite: "skip" }, #{ accumulate: 2 }, #{ loss_bins: 4 }] {
    let wrong = |n, g, c| tensor::full([n], if c.step < 3 { 0.5 } else { 1.5 });
    let found = trained.call(wrong, more, "`times` of the path must return times from 0, noise, to 1, data, found 1.5");
    let failing = |n, g, c| if c.step < 3 { tensor::full([n], 0.5) } else { throw "stop here" };
    let expected = trained.call(failing, more, "stop here");
    assert(found.all(|p, i| p.equal(expected[i])), `${more}`);
    assert(found.some(|p, i| !p.equal(untrained[i])));
}"#,
    );
}

#[test]
fn code_in_files_computes_where_its_model_is_opened() {
    run_text(
        r#"
let small = #{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
let k = tensor::full([16], 0.5);
let part = nn::part(|b| |x| x * k, #{ name: "k" }).at("mlp");
let net = model::dit(small + #{ parts: part });
net.save("net.safetensors");
for device in ["cuda:0", "cpu"] {
    let opened = model::open("net.safetensors", #{ device: device });
    let on = |shape| tensor::zeros(shape, #{ device: device });
    assert_eq(opened.forward(on.call([1, 1, 8, 8]), on.call([1]), on.call([1]).to("int64")).device, device);
}

let b = nn::builder(#{ device: "cpu" });
let f = b.part("p", nn::part(|b| { let k = tensor::ones([2]); |x| x * k }));
assert_eq(f.call(tensor::ones([2], #{ device: "cpu" })).device, "cpu");

let g = tensor::generator(1);
let state = g.state();
let first = tensor::rand([3], #{ generator: g });
g.restore(state.to("cuda"));
assert(tensor::rand([3], #{ generator: g }).equal(first));

tensor::set_default_device("cpu");
let images = data::from_tensors(tensor::rand([8, 1, 8, 8]), tensor::arange(8) % 2);
let run = train::fit(model::dit(small + #{ device: "cuda" }), images, #{ steps: 1, batch: 4, out: "run",
    score: |s| s.ema.forward(tensor::randn([2, 1, 8, 8]), tensor([0.2, 0.5]), tensor([0, 1])).std().item() });
let told = "";
try { flow::sample(run.ema, #{ labels: [0], steps: 1, guidance: 2.0, autoguidance: model::dit(small) }); }
catch (e) { told = e.message; }
assert(told.contains("the model is on cuda:0, but `autoguidance` is on cpu"), told);"#,
    );
}
