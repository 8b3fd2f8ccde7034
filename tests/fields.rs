//! Tensors that belong to each image: from data sets and options to parts, networks and losses.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// Data with a field, and a model whose part and loss read it.
const SETUP: &str = r#"
fn text() {
    nn::part(|b| {
        let into = b.linear("into", 3, b.width, #{ init: "zeros" });
        |e, c| e + into.forward(c.fields.text.to(e.dtype))
    }, #{ name: "text", plain: true }).at("condition")
}
fn made(more) {
    model::dit(#{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 2, hidden_size: 16, num_heads: 2, parts: text() } + more)
}
fn data_with(seed) {
    let images = tensor::rand([24, 1, 8, 8], #{ seed: 1 }) * 2.0 - 1.0;
    data::from_tensors(images, tensor::arange(24) % 2).with_fields(#{
        text: tensor::randn([24, 3], #{ seed: seed }),
        weight: tensor::rand([24, 1, 8, 8], #{ seed: 2 }) > 0.3,
    })
}
let weighted = |s| (s.fields.weight * (s.v - s.target).square()).mean();
let o = #{ batch: 8, lr: 1e-2, log_every: 1, flip: true, loss: weighted };
fn same(a, b) {
    let other = b.parameters();
    a.parameters().keys().all(|name| a.parameters()[name].equal(other[name]))
}
"#;

fn run(body: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), body)
}

fn run_in(folder: &Path, body: &str) -> String {
    std::fs::write(folder.join("fields.rhai"), format!("{SETUP}{body}")).unwrap();
    let program = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
            .args([command, "fields.rhai"])
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(output.status.success(), "{}{error}", String::from_utf8_lossy(&output.stdout));
        error
    };
    program("check");
    program("run")
}

#[test]
fn a_run_with_fields_resumes_to_equal_bits_and_is_refused_with_other_fields() {
    run(r#"
    let whole = made(#{});
    let ran = train::fit(whole, data_with(5), o + #{ steps: 6 });
    train::fit(made(#{}), data_with(5), o + #{ steps: 3, out: "run" });
    let told = "";
    try { train::fit(made(#{}), data_with(6), o + #{ steps: 6, out: "run" }); } catch (e) { told = `${e}`; }
    assert(told.contains("other images, labels or fields"), told);
    let resumed = train::fit(made(#{}), data_with(5), o + #{ steps: 6, out: "run" });
    assert(same(resumed.model, whole) && same(resumed.ema, ran.ema));
    let given = #{ labels: [0, 1], fields: #{ text: tensor::randn([2, 3], #{ seed: 4 }) }, steps: 2 };
    assert(flow::sample(model::open("run/ema.safetensors"), given).equal(flow::sample(ran.ema, given)));
    // Every field counts: other values make another run.
    let other = made(#{});
    train::fit(other, data_with(6), o + #{ steps: 6 });
    assert(!same(other, whole));
    // Batches in parts have the rows of their images.
    let parts = made(#{});
    train::fit(parts, data_with(5), o + #{ steps: 6, accumulate: 4 });
    for name in whole.parameters().keys() { assert_close(parts.parameters()[name], whole.parameters()[name], 1e-4); }
    "#);
}

#[test]
fn a_loss_reads_fields_and_its_models_have_them_too() {
    run(r#"
    let net = made(#{});
    let set = data_with(5);
    let loss = |s| {
        assert_eq(s.fields.keys(), ["text", "weight"]);
        assert(s.fields.text.equal(set.fields.text[s.indices]));
        let own = s.model.forward(s.x_t, s.t, s.y);
        assert(own.equal(s.v));
        assert(own.equal(s.model.forward(s.x_t, s.t, s.y, #{ fields: s.fields })));
        assert(s.ema.forward(s.x_t, s.t, s.y).equal(s.ema.forward(s.x_t, s.t, s.y, #{ fields: s.fields })));
        // One that is given comes before that of the step, and the others stay.
        let zero = s.model.forward(s.x_t, s.t, s.y, #{ fields: #{ text: tensor::zeros([8, 3]) } });
        assert(s.step < 3 || !own.equal(zero));
        // Other images have no fields of the step.
        let told = "";
        try { s.model.forward(s.x_t[..4], s.t[..4], s.y[..4]); } catch (e) { told = `${e} ${e.hint}`; }
        assert(told.contains("made from `s.fields.text`"), told);
        assert(told.contains("the field `text` of the step has 8 rows, one per image, but this call has 4 images"), told);
        let few = s.model.forward(s.x_t[..4], s.t[..4], s.y[..4], #{ fields: #{ text: s.fields.text[..4] } });
        assert_close(few, own[..4], 1e-5);
        assert_close(flow::velocity(s.model, s.x_t, s.t, s.y, #{ guidance: 0.0 }), own.detach() * 0.0 +
            s.model.forward(s.x_t, s.t, s.y * 0 + 2), 1e-5);
        weighted.call(s)
    };
    train::fit(net, set, o + #{ steps: 4, loss: loss });
    "#);
}

#[test]
fn samples_have_the_values_by_hand_for_batches_solvers_and_guidance() {
    run(r#"
    // dx/dt = -k x with k of each image, and without it where the label is dropped.
    let net = nn::model(#{ image_shape: [1, 2, 3], num_classes: 1, make: |b| |x, t, y, c| {
        assert_eq(c.dropped.dtype, "bool");
        -tensor::where(c.dropped, 0.0, c.fields.k).reshape([-1, 1, 1, 1]) * x
    }});
    let k = tensor([0.5, 1.0, 2.0, 3.0, 0.1]);
    let x = tensor::randn([5, 1, 2, 3], #{ seed: 1 });
    let o = #{ labels: [0, 0, 0, 0, 0], fields: #{ k: k }, noise: x, clamp: false };
    let shrunk = |by| x * (-by * k).exp().reshape([-1, 1, 1, 1]);
    for more in [#{ sampler: "rk4" }, #{ sampler: "dopri5", rtol: 1e-6 }, #{ sampler: "adaptive_heun", rtol: 1e-5 }] {
        let found = flow::sample(net, o + #{ batch: 2 } + more);
        assert_close(found, shrunk.call(1.0), 1e-3);
    }
    // v_null + s (v - v_null) = -s k x; a guide gets both.
    for more in [#{ guidance: 2.0 }, #{ guidances: [2.0, 2.0, 2.0, 2.0, 2.0] }, #{ guide: |v, n, x, t| n + 2.0 * (v - n) }] {
        assert_close(flow::sample(net, o + more + #{ sampler: "rk4", steps: 100 }), shrunk.call(2.0), 1e-4);
    }
    let v = flow::velocity(net, x, tensor::zeros([5]), tensor([0, 0, 0, 0, 0]), #{ guidance: 3.0, fields: #{ k: k } });
    assert_close(v, -3.0 * k.reshape([-1, 1, 1, 1]) * x, 1e-5);
    // log p(0) = 6 (k - log(2 pi) / 2)
    let found = flow::log_likelihood(net, x * 0.0, #{ labels: o.labels, fields: #{ k: k }, batch: 3, rtol: 1e-6 });
    assert_close(found.nats.float(), 6.0 * (k - 0.5 * ln(2.0 * PI())), 1e-3);
    // Fields of each evaluation are those of its images, whatever the groups.
    let own = |x, t, c| {
        assert_eq(c.labels.shape, c.rows.shape);
        #{ k: k[c.rows] }
    };
    let same = flow::log_likelihood(net, x * 0.0, #{ labels: o.labels, fields: own, batch: 3, rtol: 1e-6 });
    assert_close(same.nats, found.nats, 1e-9);
    // What they change with x is a part of the divergence: a velocity of k x / 2 from the fields alone.
    let through = nn::model(#{ image_shape: [1, 2, 3], num_classes: 1, make: |b| |x, t, y, c| -c.fields.v });
    for probe in ["rademacher", "exact"] {
        let s = #{ labels: o.labels, fields: |x, t, c| #{ v: k[c.rows].reshape([-1, 1, 1, 1]) * x }, probe: probe, rtol: 1e-6 };
        assert_close(flow::log_likelihood(through, x * 0.0, s).nats, found.nats, 1e-3);
    }
    let told = "";
    try { flow::log_likelihood(net, x, #{ labels: o.labels, fields: |x, t, c| #{ k: k[..2] } }); } catch (e) { told = `${e}`; }
    assert(told.contains("`fields`"), told);
    "#);
}

#[test]
fn forward_passes_take_fields_in_every_form() {
    run(r#"
    let t = tensor([0.2, 0.7]);
    let y = tensor([0, 2]);
    let fields = #{ text: tensor::randn([2, 3], #{ seed: 9 }) };
    for dtype in ["float32", "float64", "bfloat16"] {
        let net = made(#{ dtype: dtype });
        assert(net.starts_plain(#{ fields: fields }));
        let x = tensor::randn([2, 1, 8, 8], #{ seed: 1 }).to(dtype);
        no_grad(|| { for p in net.parameters().values() { p.copy_(0.1 * tensor::randn(p.shape, #{ seed: 3 }).to(dtype)); } });
        let v = net.forward(x, t, y, #{ fields: fields });
        assert(v.equal(net.observe(x, t, y, #{ fields: fields }).v));
        assert(v.equal(net.copy().forward(x, t, y, #{ fields: fields })));
        assert_eq(net.trace(x, t, y, #{ fields: fields })[1].output.shape, [2, 16, 16]);
        assert(!v.equal(net.forward(x, t, y, #{ fields: #{ text: fields.text * 2.0 } })));
        // Each image has its own row.
        let one = net.forward(x[1..], t[1..], y[1..], #{ fields: #{ text: fields.text[1..] } });
        assert_close(one, v[1..], if dtype == "bfloat16" { 0.1 } else { 1e-5 });
        let out = net.attach(nn::part(|b| |v, c| v + c.fields.shift, #{ name: "shift" }).at("velocity"));
        let shifted = out.forward(x, t, y, #{ fields: fields + #{ shift: tensor::ones([2, 1, 8, 8]).to(dtype) } });
        assert_close(shifted, v + 1.0, 1e-6);
    }
    // Operations are counted once the shapes are known.
    let net = made(#{});
    assert(`${net}`.contains("counted after a forward pass"));
    net.forward(tensor::zeros([2, 1, 8, 8]), t, y, #{ fields: fields });
    assert_eq(net.flops - made(#{ parts: [] }).flops, 2.0 * 3 * 16);
    // What is wrong is named.
    let told = |f| { let text = ""; try { f.call(); } catch (e) { text = `${e}`; } text };
    let x = tensor::zeros([2, 1, 8, 8]);
    let rows = told.call(|| net.forward(x, t, y, #{ fields: #{ text: tensor::zeros([3, 3]) } }));
    assert(rows.contains("expected the field `text` of shape [2, ..], one row per image, found tensor [3, 3] float32"), rows);
    let name = told.call(|| net.forward(x, t, y, #{ fields: #{ txet: fields.text } }));
    assert(name.contains("the field `text` is not given, found `txet`"), name);
    let kind = told.call(|| net.forward(x, t, y, #{ fields: #{ text: "a cat" } }));
    assert(kind.contains("the field `text`"), kind);
    "#);
}

#[test]
fn a_wrong_field_says_what_is_wrong_and_leaves_the_model_as_it_is() {
    run(r#"
    let net = model::dit(#{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2,
        parts: ideas::condition_on("age", 5) });
    let sampled = |field| flow::sample(net, #{ labels: [0, 1, 0, 1, 0], steps: 1, fields: #{ age: field } });
    for wrong in [tensor::zeros([5]), tensor::zeros([5, 1]), tensor::zeros([5, 4])] {
        let message = "";
        try { sampled.call(wrong); } catch (e) { message = e.message; }
        assert(message.contains(`the field "age" must be of shape [B, size], here [5, 5], found ${wrong.shape}`), message);
    }
    sampled.call(tensor::zeros([5, 5]));
    assert(net.flops > 0.0);
    assert(`${net}`.contains("FLOPs per image"));
    "#);
}

#[test]
fn fields_that_are_no_images_are_not_mirrored() {
    run(r#"
    let set = data_with(5).with_fields(#{
        tokens: tensor::randn([24, 2, 3, 4]),
        wide: tensor::randn([24, 2, 16, 16]),
        mask: tensor::randn([24, 8, 8]),
    });
    let mirrored = |loader| { let b = loader.next(); [b.fields.tokens, b.fields.wide, b.fields.mask] };
    let plain = mirrored.call(set.loader(#{ batch: 24, shuffle: false }));
    let flipped = mirrored.call(set.loader(#{ batch: 24, shuffle: false, flip: true }));
    assert(plain[0].equal(flipped[0]));
    assert(!plain[1].equal(flipped[1]) && !plain[2].equal(flipped[2]));
    "#);
}

/// `s.v` is computed when it is first read, so a loss may make the fields that the model needs.
#[test]
fn a_loss_that_makes_fields_needs_no_forward_pass_but_its_own() {
    run(r#"
    let images = tensor::rand([24, 1, 8, 8], #{ seed: 1 }) * 2.0 - 1.0;
    let plain = data::from_tensors(images, tensor::arange(24) % 2);
    let words = plain.with_fields(#{ words: tensor::arange(24) });
    let encode = |s| tensor::stack([s.fields.words, s.fields.words * 2, -s.fields.words], 1).to("float32") * 0.1;
    let own = |s| {
        let v = s.model.forward(s.x_t, s.t, s.y, #{ fields: #{ text: encode.call(s) } });
        assert("v" in s && s.keys().contains("kept"));
        (v - s.target).square().mean()
    };
    let a = made(#{});
    let ran = train::fit(a, words, #{ batch: 8, steps: 3, lr: 1e-2, loss: own });
    // The same numbers as fields of the data set, where `s.v` has them.
    let all = tensor::arange(24);
    let given = plain.with_fields(#{ text: tensor::stack([all, all * 2, -all], 1).to("float32") * 0.1 });
    let b = made(#{});
    let other = train::fit(b, given, #{ batch: 8, steps: 3, lr: 1e-2, loss: |s| (s.v - s.target).square().mean() });
    assert_eq(ran.losses, other.losses);
    assert(same(a, b));
    // Reading `s.v` needs the field, and so do the bins.
    let told = |o| {
        let error = "";
        try { train::fit(made(#{}), words, #{ batch: 8, steps: 1 } + o); } catch (e) { error = `${e}`; }
        error
    };
    let error = told.call(#{ loss: |s| (s.v - s.target).square().mean() });
    assert(error.contains("the field `text` is not given"), error);
    let error = told.call(#{ loss: own, loss_bins: 2 });
    assert(error.contains("`loss_bins` measure the velocity with the fields of the data set: the field `text` is not given"), error);
    let error = told.call(#{ loss: |s| (own.call(s) + s.targt).mean() });
    assert(error.contains("a loss knows no `targt`"), error);
    "#);
}

/// What surrounds the reading of `s.v` does not change it.
#[test]
fn a_velocity_that_is_read_late_has_the_same_bits() {
    run(r#"
    // A name that the code does not tell: the forward pass runs when it is read.
    let late = |s| s["-v".sub_string(1)];
    let losses = [
        |s| { let v = s.v; (v - s.target).square().mean() },
        |s| (late.call(s) - s.target).square().mean(),
        |s| { let still = no_grad(|| late.call(s).detach()); (late.call(s) - s.target).square().mean() + 0.0 * still.mean() },
        |s| { autocast(|| late.call(s), #{ device: "cpu" }); (late.call(s) - s.target).square().mean() },
        |s| { `${s}`; (late.call(s) - s.target).square().mean() },
        |s| { let other = s + #{ t: s.t * 0.5 }; (late.call(other) - s.target).square().mean() + 0.0 * late.call(s).mean() },
        |s| { s.target = s.target * 1.0; loss::mse().of(s) },
    ];
    for o in [#{}, #{ precision: "bfloat16" }, #{ accumulate: 2, loss_bins: 2 }] {
        let all = losses.map(|loss| {
            let net = made(#{});
            let run = train::fit(net, data_with(5), #{ batch: 8, steps: 3, lr: 1e-2, log_every: 1, loss: loss } + o);
            [run.losses, run.history.map(|row| row.grad_norm)]
        });
        for one in all { assert_eq(one, all[0]); }
    }
    // After the step it is not computed any more.
    let kept = [];
    let keep = |s| { kept.push(s); (s.model.forward(s.x_t, s.t, s.y) - s.target).square().mean() };
    train::fit(made(#{}), data_with(5), #{ batch: 8, steps: 1, loss: keep });
    let told = "";
    try { kept[0].v } catch (e) { told = `${e}`; }
    assert(told.contains("the step, which is over"), told);
    "#);
}

#[test]
fn a_field_that_code_changes_in_place_is_an_error() {
    run(r#"
    let given = data_with(5);
    let had = given.fields.text.clone();
    fn wrong(net, body) {
        let told = "";
        try { body.call(net) } catch (e) { told = e.message; }
        assert(told.contains("the field `text` was changed in place"), told);
    }
    let part = |change| nn::part(|b| |e, c| { change.call(c.fields.text); e }).at("condition");
    let one = |change| model::dit(#{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2, parts: part.call(change) });
    let adds = one.call(|x| no_grad(|| x.add_(1.0)));
    wrong(adds, |net| flow::sample(net, #{ labels: [0, 1], fields: #{ text: had[..2].clone() }, steps: 1 }));
    wrong(adds, |net| train::fit(net, given, #{ steps: 1, batch: 4 }));
    wrong(one.call(|x| { x[0, 0] = 7.0; }), |net| flow::sample(net, #{ labels: [0], fields: #{ text: had[..1].clone() }, steps: 1 }));
    assert(given.fields.text.equal(had));
    // Reading it, and changing a copy, are fine.
    flow::sample(one.call(|x| x.clone().add_(1.0)), #{ labels: [0, 1], fields: #{ text: had[..2] }, steps: 1 });
    "#);
}
