//! Data sets that are divided, joined, weighted and augmented: from every source, in training, and resumed.
#![cfg(test)]

use std::process::Command;

/// A set of 24 images from each source, and a small model for them.
const SETUP: &str = r#"
let pixels = (tensor::rand([24, 3, 8, 8], #{ seed: 1 }) * 255.0).to("uint8");
let labels = tensor::arange(24) % 3;
let memory = data::from_tensors(pixels, labels);
fn made(more) {
    model::dit(#{ image_size: 8, patch_size: 2, in_channels: 3, num_classes: 3, depth: 1, hidden_size: 16, num_heads: 2 } + more)
}
let o = #{ batch: 8, lr: 1e-2, log_every: 1, flip: true };
fn same(a, b) {
    let other = b.parameters();
    a.parameters().keys().all(|name| a.parameters()[name].equal(other[name]))
}
fn told(f) { let text = ""; try { f.call(); } catch (e) { text = `${e}`; } text }
"#;

fn run(body: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sets.rhai"), format!("{SETUP}{body}")).unwrap();
    for command in ["check", "run"] {
        let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
            .args([command, "sets.rhai"])
            .current_dir(folder.path())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn every_source_is_divided_and_joined_to_the_same_images() {
    run(r#"
    for class in 0..3 { eval::save_images(`images/${class}`, memory.only(class).images()); }
    let folder = |in_memory| data::image_folder("images", #{ size: 8, in_memory: in_memory });
    eval::save_samples("samples.npz", memory);
    let npz = |in_memory| data::npz("samples.npz", #{ in_memory: in_memory });
    tensor::save_safetensors("latents.safetensors", #{ latents: memory.images(), labels: labels });
    let latents = data::latents("latents.safetensors", #{ scale: 1.0 });
    let text = tensor::randn([24, 4], #{ seed: 2 });
    for pair in [[folder.call(true), folder.call(false)], [npz.call(true), npz.call(false)], [latents, latents]] {
        let parts = pair.map(|set| set.with_fields(#{ text: text }).random_split([0.5, (), 0.25], #{ seed: 4, stratify: true }));
        for i in 0..3 {
            let a = parts[0][i];
            let b = parts[1][i];
            assert_eq([a.len, a.counts(), a.split], [[12, 6, 6][i], [[4, 4, 4], [2, 2, 2], [2, 2, 2]][i], b.split]);
            assert_eq(a.images(), b.images());
            assert_eq([a.labels, a.fields.text], [b.labels, b.fields.text]);
        }
        let joined = parts.map(|parts| data::join([parts[2], parts[0], parts[1]]));
        let mixed = data::join([parts[0][2], parts[1][0], parts[0][1]]);
        let weights = tensor::rand([24], #{ seed: 3 });
        let shift = |s| s.images + tensor::rand([s.batch, 1, 1, 1], #{ seed: s.seed });
        let options = #{ batch: 7, flip: true, image_weights: weights, augment: shift };
        let loaders = [joined[0], joined[1], mixed].map(|set| set.loader(options));
        for step in 0..9 {
            let batches = loaders.map(|loader| loader.next());
            for batch in batches {
                assert_eq([batch.images, batch.labels, batch.fields.text],
                    [batches[0].images, batches[0].labels, batches[0].fields.text]);
            }
        }
    }
    // Images of a folder and in memory, with other names of classes.
    let both = data::join([folder.call(false), memory.only([2, 0])]);
    assert_eq([both.len, both.classes], [40, 3]);
    assert_eq(both.labels[24..], data::join([memory, memory.only([2, 0])]).labels[24..]);
    assert_eq(both.subset(30..40).images(), memory.only([2, 0]).subset(6..16).images());
    let message = told(|| data::join([memory, data::fashion_mnist()]));
    assert(message.contains("[3, 8, 8] in tensors (all) and [1, 28, 28] in fashion_mnist (train)"), message);
    "#);
}

#[test]
fn a_run_does_not_resume_on_another_part() {
    run(r#"
    let part = |seed| memory.random_split([0.5, 0.5], #{ seed: seed })[0];
    let whole = made(#{});
    train::fit(whole, part.call(0), o + #{ steps: 6 });
    train::fit(made(#{}), part.call(0), o + #{ steps: 3, out: "run" });
    let message = told(|| train::fit(made(#{}), part.call(1), o + #{ steps: 6, out: "run" }));
    assert(message.contains("other images or labels"), message);
    assert(same(train::fit(made(#{}), part.call(0), o + #{ steps: 6, out: "run" }).model, whole));
    "#);
}

#[test]
fn weights_are_those_of_a_run_and_resume() {
    run(r#"
    let by_class = o + #{ image_weights: [1.0, 0.0, 0.5] };
    let seen = [];
    let whole = made(#{});
    train::fit(whole, memory, by_class + #{ steps: 6, on_step: |s| seen.push(labels[s.indices].to_array()) });
    for classes in seen { assert(classes.all(|class| class != 1)); }
    train::fit(made(#{}), memory, by_class + #{ steps: 3, out: "run" });
    let message = told(|| train::fit(made(#{}), memory, by_class + #{ steps: 6, out: "run", image_weights: [1.0, 0.0, 0.6] }));
    assert(message.contains("`image_weights`"), message);
    let message = told(|| train::fit(made(#{}), memory, o + #{ steps: 6, out: "run" }));
    assert(message.contains("image_weights"), message);
    assert(same(train::fit(made(#{}), memory, by_class + #{ steps: 6, out: "run" }).model, whole));
    let message = told(|| memory.loader(#{ image_weights: [1.0, 2.0] }));
    assert(message.contains("of the 24 images or of the 3 classes, found 2"), message);
    "#);
}

#[test]
fn augmented_runs_resume_to_equal_bits_and_parts_read_what_was_done() {
    run(r#"
    let part = nn::part(|b| {
        let into = b.linear("into", 1, b.width, #{ bias: false });
        |e, c| if "shift" in c.fields { e + into.forward(c.fields.shift.to(e.dtype)) } else { e }
    }, #{ name: "told" }).at("condition");
    let larger = data::from_tensors(tensor::rand([24, 3, 10, 9], #{ seed: 1 }), labels);
    let augment = |s| {
        let shift = tensor::rand([s.batch, 1], #{ seed: s.seed }).narrow(0, s.row, s.images.size(0));
        // Without a seed, as a loss or model may draw too.
        let place = tensor::randint(0, 2, [1]).item();
        let x = s.images.narrow(2, place, 8).narrow(3, 0, 8);
        #{ images: x + shift.reshape([-1, 1, 1, 1]), fields: #{ shift: shift } }
    };
    let loss = |s| { assert_eq(s.fields.shift.shape, [s.t.size(0), 1]); (s.v - s.target).square().mean() };
    let o = o + #{ augment: augment, loss: loss };
    for dtype in ["float32", "float64", "bfloat16"] {
        let build = || made(#{ parts: part, dtype: dtype });
        let whole = build.call();
        let ran = train::fit(whole, larger, o + #{ steps: 6 });
        let out = `run_${dtype}`;
        train::fit(build.call(), larger, o + #{ steps: 3, out: out });
        let resumed = train::fit(build.call(), larger, o + #{ steps: 6, out: out });
        assert(same(resumed.model, whole) && same(resumed.ema, ran.ema));
        let drawn = flow::sample(resumed.ema, #{ labels: [0, 1], steps: 2 });
        assert(drawn.equal(flow::sample(resumed.ema, #{ labels: [0, 1], steps: 2, fields: #{ shift: tensor::zeros([2, 1]) } })));
    }
    let build = || made(#{ parts: part });
    let other = o + #{ steps: 6, out: "run_float32", augment: |s| s.images.narrow(2, 0, 8).narrow(3, 0, 8) };
    let message = told(|| train::fit(build.call(), larger, other));
    assert(message.contains("the code of `augment` changed"), message);
    let message = told(|| train::fit(build.call(), memory, o + #{ steps: 1, augment: |s| s.images.narrow(2, 0, 3) }));
    assert(message.contains("multiples of the patch size 2, found 3 x 8"), message);
    "#);
}

#[test]
fn a_wrong_entry_of_the_map_is_found_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let text = "let l = data::fashion_mnist().loader(#{ augment: |s| s.image.flip([3]) });\n";
    std::fs::write(folder.path().join("wrong.rhai"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_spectral"));
    let output = command.args(["check", "wrong.rhai"]).current_dir(folder.path()).output().unwrap();
    let error =
        String::from_utf8_lossy(&output.stderr).to_string() + &String::from_utf8_lossy(&output.stdout);
    assert!(error.contains("the function in `augment` receives has no entry `image`"), "{error}");
}

#[test]
fn a_model_trains_and_samples_at_other_sizes_and_aspect_ratios() {
    run(r#"
    let wide = data::from_tensors((tensor::rand([24, 3, 8, 12], #{ seed: 5 }) * 255.0).to("uint8"), labels);
    let kinds = [#{}, #{ position: "rope", position_scaling: "linear" }, #{ position: "learned" }];
    for (options, i) in kinds {
        // A run on images of another size, stopped and resumed.
        let whole = made(options);
        train::fit(whole, wide, o + #{ steps: 4 });
        let out = `wide_${i}`;
        train::fit(made(options), wide, o + #{ steps: 2, out: out });
        let resumed = train::fit(made(options), wide, o + #{ steps: 4, out: out });
        assert(same(resumed.model, whole));
        let drawn = |more| flow::sample(whole, #{ labels: [0, 1], steps: 2, seed: 3 } + more);
        assert_eq(drawn.call(#{ size: [8, 12] }).shape, [2, 3, 8, 12]);
        assert_eq(drawn.call(#{ size: 6 }).shape, [2, 3, 6, 6]);
        assert_eq(drawn.call(#{ size: [8, 8] }), drawn.call(#{}));
        let noise = tensor::randn([2, 3, 4, 6], #{ seed: 1 });
        assert_eq(drawn.call(#{ size: [4, 6], noise: noise }).shape, noise.shape);
        // Images do not depend on those sampled with them.
        let seeds = #{ size: [8, 12], seeds: [5, 6] };
        assert_close(drawn.call(seeds + #{ batch: 1 }), drawn.call(seeds), 1e-5);
    }
    let net = made(#{});
    // Each batch may have a size of its own.
    let crop = |s| s.images.narrow(2, 0, if s.seed % 2 == 0 { 8 } else { 4 });
    let ran = train::fit(net, memory, o + #{ steps: 6, augment: crop });
    assert(ran.history.all(|row| row.loss > 0.0));
    let one = [0];
    let refused = [
        [|| flow::sample(net, #{ labels: one, size: 7 }), "multiples of the patch size 2, found 7 x 7"],
        [|| flow::sample(net, #{ labels: one, noise: tensor::zeros([1, 3, 4, 4]) }), "expected noise of shape [1, 3, 8, 8]"],
        [|| flow::sample(net, #{ labels: one, size: [8, 12, 3] }), "[height, width]"],
        [|| flow::log_likelihood(net, tensor::zeros([1, 3, 8, 7])), "multiples of the patch size 2, found 8 x 7"],
        [|| train::fit(net, data::from_tensors(pixels.narrow(2, 0, 7), tensor::arange(24) % 3), o), "multiples of the patch size 2, found 7 x 8"],
    ];
    for pair in refused {
        let message = told(pair[0]);
        assert(message.contains(pair[1]), message);
    }
    assert_eq(flow::log_likelihood(net, tensor::zeros([1, 3, 8, 4]), #{ rtol: 0.1, atol: 0.1 }).nats.shape, [1]);
    "#);
}
