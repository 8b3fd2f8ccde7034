//! Networks of scripts that are written with blocks of a DiT, and parts of such networks.
#![cfg(test)]

mod shared;

use shared::{bad, good};
use spectral::prelude::*;

/// A DiT in the words of a script, with the names of the native one.
const OWN: &str = r#"
let small = #{ image_size: 8, patch_size: 2, in_channels: 2, num_classes: 3, depth: 3, hidden_size: 16, num_heads: 2, qk_norm: "rms" };
fn own(c, options) {
    let side = c.image_size / c.patch_size;
    let grid = c["grid"] ?? [side, side];
    let shape = [c.in_channels, grid[0] * c.patch_size, grid[1] * c.patch_size];
    let dtype = c["dtype"] ?? "float32";
    nn::model(#{ image_shape: shape, num_classes: c.num_classes, dtype: dtype, name: "own", make: |b| {
        let patches = b.patch_embed("patch_embed", c.in_channels, c.patch_size, c.hidden_size);
        let times = b.timestep_embed("time_embed", c.hidden_size);
        let labels = b.label_embed("label_embed", c.num_classes, c.hidden_size);
        let blocks = [];
        for i in 0..c.depth {
            let own = #{ qk_norm: c.qk_norm, index: i, depth: c.depth } + options;
            blocks.push(b.dit_block(`blocks.${i}`, c.hidden_size, c.num_heads, own));
        }
        let last = b.final_layer("final_layer", c.hidden_size, c.patch_size ** 2 * c.in_channels, #{ norm: options["norm"] });
        |x, t, y, seen| {
            let seen = seen.with_embeddings(times.forward(t), labels.forward(y));
            let h = patches.forward(x) + nn::sincos_positions(c.hidden_size, grid).to(x.dtype);
            for block in blocks { h = block.forward(h, seen); }
            nn::unpatchify(last.forward(h, seen), c.patch_size, shape)
        }
    }})
}
fn fill(net) {
    let all = net.parameters();
    for (name, i) in all.keys() { no_grad(|| all[name].copy_(tensor::randn(all[name].shape, #{ seed: i }) * 0.2)); }
    net
}
let x = tensor::randn([3, 2, 8, 8], #{ seed: 1 });
let t = tensor([0.1, 0.5, 0.9]);
let y = tensor([0, 1, 3]);
let images = data::from_tensors(tensor::rand([16, 2, 8, 8], #{ seed: 2 }) * 2 - 1, tensor::arange(16) % 3);
let paper = correction(filter::binomial(), gate::time_label());
"#;

fn script(text: &str) -> String {
    OWN.to_string() + text
}

fn run(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path(), "script.rhai", &script(text))
}

#[test]
fn a_dit_of_blocks_equals_the_native_one_in_every_bit() {
    run(r#"
let gated = nn::part(|b| {
    let s = b.parameter("s", [b.width], #{ init: "ones" });
    |h, c| h * (s + c.time.unsqueeze(1) * c.block + c.input.mean() * c.grid)
}, #{ name: "gated" }).at("heads", #{ blocks: 1.. });
let last = correction(filter::gaussian(#{ sigma: 1.0 }), gate::schedule(|t| [t, -t])).at("attn", #{ blocks: "last" });
let kinds = [
    [#{}, #{}],
    [#{ corrections: paper }, #{ corrections: paper, grid: 4 }],
    [#{ mlp: "swiglu", norm: "rms", qkv_bias: false, shift: false, mlp_ratio: 2.0 },
        #{ mlp: "swiglu", norm: "rms", qkv_bias: false, shift: false, mlp_ratio: 2.0 }],
    [#{ position: "rope" }, #{ rope: [4, 4] }],
    [#{ parts: [gated, last] }, #{ parts: [gated, last], grid: 4 }],
];
for kind in kinds {
    for dtype in ["float32", "float64", "bfloat16"] {
        let plain = model::dit(small + kind[0] + #{ dtype: dtype });
        let net = own(small + #{ dtype: dtype }, kind[1]);
        let weights = plain.parameters();
        let own = net.parameters();
        assert_eq(own.keys(), weights.keys());
        for name in own.keys() { assert(own[name].equal(weights[name]), name); }
        fill(plain);
        fill(net);
        let x = x.to(dtype);
        let t = t.to(dtype);
        assert(net.forward(x, t, y).equal(plain.forward(x, t, y)));
        let gradients = [plain, net].map(|m| grad(m.forward(x, t, y).square().sum(), m.parameters().values()));
        for i in 0..gradients[0].len {
            assert(gradients[0][i].abs().sum().item() > 0.0, own.keys()[i]);
            assert(gradients[0][i].equal(gradients[1][i]), own.keys()[i]);
        }
        let traces = [plain, net].map(|m| m.trace(x, t, y));
        assert_eq(traces[1].len, 3);
        for i in 0..3 { for key in traces[0][i].keys().filter(|k| k != "corrections" && k != "bands") {
            assert(traces[0][i][key].equal(traces[1][i][key]), key);
        } }
    }
}
"#);
}

/// A native model takes the same images, since it takes any size.
#[test]
fn blocks_of_wide_grids_equal_the_native_ones_in_every_bit() {
    run(r#"
let sized = nn::part(|b| |h, c| h * (c.grid_size[0] + 0.1 * c.grid_size[1]), #{ name: "sized" }).at("mlp");
let kinds = [
    [#{ corrections: paper }, #{ corrections: paper, grid: [2, 4] }],
    [#{ position: "rope", rope_theta: 500.0 }, #{ rope: [2, 4], rope_theta: 500.0 }],
    [#{ parts: sized }, #{ parts: sized, grid: [2, 4] }],
];
let wide = x[.., .., ..4, ..];
for kind in kinds {
    let plain = fill(model::dit(small + kind[0]));
    let net = fill(own(small + #{ grid: [2, 4] }, kind[1]));
    assert(net.forward(wide, t, y).equal(plain.forward(wide, t, y)));
}
let usual = fill(own(small + #{ grid: [2, 4] }, #{ rope: [2, 4] })).forward(wide, t, y);
assert(!usual.equal(fill(own(small + #{ grid: [2, 4] }, #{ rope: [2, 4], rope_theta: 500.0 })).forward(wide, t, y)));
let layer = |theta| nn::builder().attention("a", 8, 1, #{ rope: [1, 2], rope_theta: theta }).forward(tensor::rand([1, 2, 8], #{ seed: 1 }));
assert(!layer.call(10000.0).equal(layer.call(100.0)));
"#);
}

#[test]
fn blocks_have_the_parameters_of_every_family_below_their_name() {
    run(r#"
for family in ["spectraldit", "dit", "sit", "lightningdit"] {
    let b = nn::builder();
    let options = small;
    options.remove("qk_norm");
    let all = model::dit(options + #{ family: family }).parameters();
    let block = b.dit_block("blocks.1", 16, 2, #{ family: family }).parameters();
    let last = b.final_layer("final_layer", 16, if family in ["dit", "sit"] { 16 } else { 8 }, #{ family: family }).parameters();
    let names = all.keys().filter(|n| n.starts_with("blocks.1.") || n.starts_with("final_layer."));
    let own = block + last;
    assert_eq(own.keys(), names);
    for name in names { assert(own[name].equal(all[name]), name); }
}
"#);
}

#[test]
fn a_block_with_known_weights_adds_what_its_gates_let_through() {
    run(r#"
let b = nn::builder();
let block = b.dit_block("deep.block", 8, 2);
let p = block.parameters();
no_grad(|| {
    for weight in p.values() { weight.fill_(0.0); }
    p["deep.block.attn.proj.bias"].fill_(2.0);
    p["deep.block.mlp.net.2.bias"].fill_(3.0);
    // Gates of attention and of the MLP are the third and the last sixth.
    p["deep.block.ada_ln.1.bias"].reshape([6, 8])[2].fill_(10.0);
    p["deep.block.ada_ln.1.bias"].reshape([6, 8])[5].fill_(0.5);
});
let x = tensor::rand([2, 5, 8]);
assert_close(block.forward(x, tensor::rand([2, 8])), x + 21.5, 1e-5);
"#);
}

#[test]
fn training_computes_blocks_again_to_the_same_bits_as_a_native_model() {
    run(r#"
let train = |net, again| {
    let run = train::fit(net, images, #{ steps: 4, batch: 8, lr: 1e-2, checkpoint_activations: again });
    [run.history.map(|row| row.loss), net.parameters().values()]
};
for options in [#{}, #{ corrections: paper }] {
    let native = train.call(model::dit(small + options), false);
    for again in [false, true] {
        let found = train.call(own(small, options + #{ grid: 4 }), again);
        assert_eq(found[0], native[0]);
        for i in 0..native[1].len { assert(found[1][i].equal(native[1][i])); }
    }
}
// Weights that parts change are computed again too.
let low = ideas::lora(#{ names: "blocks.*" });
let a = train.call(fill(own(small, #{})).attach(low), false);
let b = train.call(fill(own(small, #{})).attach(low), true);
assert_eq(a[0], b[0]);
for i in 0..a[1].len { assert(a[1][i].equal(b[1][i])); }
"#);
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str, text: &str| bad(folder.path(), name, &script(text));
    let error = told(
        "none.rhai",
        r#"let net = nn::model(#{ image_shape: [2, 8, 8], num_classes: 3, make: |b| {
    let mix = b.conv2d("mix", 2, 2, 3);
    |x, t, y| mix.forward(x)
}});
train::fit(net, images, #{ steps: 1, batch: 8, checkpoint_activations: true });"#,
    );
    assert!(
        error.contains("computes blocks of a custom network again that get the call, found none"),
        "{error}"
    );
    let error = told(
        "code.rhai",
        "let part = nn::part(|b| |h, c| h).at(\"heads\");
         train::fit(own(small, #{ parts: part }), images, #{ steps: 1, batch: 8, checkpoint_activations: true });",
    );
    assert!(error.contains("cannot compute a block with code or parts again"), "{error}");
}

#[test]
fn a_part_for_weights_of_a_model_inside_says_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"let made = model::dit(small);
nn::model(#{ image_shape: [2, 8, 8], num_classes: 3, parts: ideas::lora(#{ names: "*.attn.qkv.weight" }), make: |b| {
    let net = b.model("net", made);
    |x, t, y| net.forward(x, t, y)
}});"#;
    let error = bad(folder.path(), "inside.rhai", &script(text));
    assert!(
        error.contains("`net.blocks.0.attn.qkv.weight` is not of a linear map that this model makes"),
        "{error}"
    );
    assert!(error.contains("`model.attach(part)`"), "{error}");
}

#[test]
fn operations_of_blocks_are_those_of_the_native_ones() {
    run(r#"
let wide = small + #{ image_size: 16 };
for options in [#{}, #{ corrections: paper }, #{ corrections: [paper, correction(filter::gaussian(#{ sigma: 0.5 }), gate::time())] }] {
    let native = model::dit(wide + options);
    let net = own(wide, options + #{ grid: 8 });
    assert_close(net.flops, native.flops, 0.0);
    assert_eq(net.num_parameters, native.num_parameters);
}
"#);
}

#[test]
fn parts_of_a_network_change_images_velocities_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    let out = good(
        folder.path(),
        "make.rhai",
        &script(
            r#"
let twice = nn::part(|b| |x, c| { c.keep("own", c.x); 2.0 * x }, #{ name: "twice" }).at("image");
let more = nn::part(|b| { let s = b.parameter("s", [b.channels, 1, 1], #{ init: "ones" }); |v, c| v + s * c.t.reshape([-1, 1, 1, 1]) }).at("velocity");
let net = nn::model(#{ image_shape: [2, 8, 8], num_classes: 3, parts: [twice, more], make: |b| |x, t, y| 3.0 * x });
assert_close(net.forward(x, t, y), 6.0 * x + t.reshape([-1, 1, 1, 1]), 1e-5);
assert(net.observe(x, t, y).kept.own.equal(x));
assert_eq(net.parameters().keys(), ["parts.1.s"]);
assert_eq(net.config.parts.len, 2);
assert(!net.starts_plain() && nn::model(#{ make: |b| |x, t, y| x }).starts_plain());

// Low-rank changes of the weights of a network: they start as it was, train alone, and merge.
let base = fill(own(small, #{}));
let tuned = base.attach(ideas::lora(#{ names: ["*.attn.*", "final_layer.linear.*"], rank: 2 }));
assert_eq(tuned.parameters().keys().filter(|n| n.ends_with("parts.lora.up")).len(), 7);
assert(tuned.starts_plain() && tuned.forward(x, t, y).equal(base.forward(x, t, y)));
let text = tuned.summary();
assert(text.contains("network without parts") && text.contains("part `lora`"), text);
assert(tuned.flops > base.flops && tuned.num_parameters > base.num_parameters);
tuned.freeze("*");
tuned.unfreeze("*parts.*");
let start = tuned.copy();
let fit = |net, steps, out| train::fit(net, images, #{ steps: steps, batch: 8, lr: 1e-2, out: out });
fit.call(tuned, 4, "whole");
assert(!tuned.starts_plain());
fit.call(start.copy(), 2, "stopped");
let again = start.copy();
fit.call(again, 4, "stopped");
assert(again.forward(x, t, y).equal(tuned.forward(x, t, y)));
let merged = tuned.merge();
assert_eq(merged.parameters().keys(), base.parameters().keys());
assert_close(merged.forward(x, t, y), tuned.forward(x, t, y), 1e-4);
assert(!merged.forward(x, t, y).equal(base.forward(x, t, y)));
tuned.save("tuned.safetensors");
net.save("net.safetensors");
tensor::save_safetensors("out.safetensors", #{ tuned: tuned.forward(x, t, y), net: net.forward(x, t, y) });
print(net);
"#,
        ),
    );
    assert!(!out.contains("not stored") && out.contains("part `twice`"), "{out}");
    good(
        folder.path(),
        "open.rhai",
        r#"
let x = tensor::randn([3, 2, 8, 8], #{ seed: 1 });
let t = tensor([0.1, 0.5, 0.9]);
let y = tensor([0, 1, 3]);
let out = tensor::load_safetensors("out.safetensors");
assert(model::open("tuned.safetensors").forward(x, t, y).equal(out.tuned));
assert(model::open("net.safetensors").forward(x, t, y).equal(out.net));
assert_eq(model::open("whole/checkpoints/step-00000004.safetensors", #{ weights: "model" }).config.parts.len, 1);
"#,
    );
}

#[test]
fn wrong_uses_say_what_is_expected() {
    let found = run(r#"
let told = |f| { let text = ""; try { f.call(); } catch (e) { text = `${e}`; } text };
let b = nn::builder();
let same = nn::part(|b| |x, c| x, #{ name: "same" });
let net = |parts| nn::model(#{ parts: parts, make: |b| |x, t, y| x });
let block = b.dit_block("a", 8, 2, #{ rope: [2, 3] });
let c = tensor::rand([1, 8]);
print(told.call(|| block.forward(tensor::rand([1, 5, 8]), c)));
print(told.call(|| block.forward(tensor::rand([1, 6, 4]), c)));
print(told.call(|| block.forward(tensor::rand([1, 6, 8]), c.expand([2, 8]))));
print(told.call(|| block.forward(tensor::rand([1, 6, 8]).double(), c)));
print(told.call(|| b.dit_block("b", 9, 2)));
print(told.call(|| b.dit_block("c", 8, 2, #{ corrections: paper })));
print(told.call(|| b.dit_block("d", 8, 2, #{ parts: same.at("tokens") })));
print(told.call(|| b.dit_block("e", 8, 2, #{ index: 2, depth: 2 })));
print(told.call(|| b.dit_block("a", 8, 2)));
let seen = b.dit_block("f", 8, 2, #{ grid: 2, corrections: paper });
print(told.call(|| seen.forward(tensor::rand([1, 4, 8]), c)));
print(told.call(|| own(small, #{ grid: 5, corrections: paper }).forward(x, t, y)));
print(told.call(|| net.call(same.at("attn"))));
print(told.call(|| net.call(paper.at("velocity"))));
print(told.call(|| net.call(ideas::lora())));
print(told.call(|| net.call(same.at("weight", #{ blocks: 1 }))));
print(told.call(|| net.call([same.at("image"), same.at("velocity")])));
let bare = nn::model(#{ image_shape: [2, 8, 8], num_classes: 3, make: |b| { let block = b.dit_block("a", 8, 2); |x, t, y, c| block.forward(x, c) } });
print(told.call(|| bare.forward(x, t, y)));
let wrong = nn::model(#{ image_shape: [2, 8, 8], num_classes: 3, make: |b| |x, t, y, c| { c.with_embeddings(t); x } });
print(told.call(|| wrong.forward(x, t, y)));
"#);
    for expected in [
        "expected the 6 tokens of the grid of its rotary positions, found 5",
        "expected tokens [B, N, 8], found a tensor [1, 6, 4]",
        "expected an embedding c [1, 8], found a tensor [2, 8]",
        "expected tokens of float32, the dtype of the layer, found float64",
        "the number of heads must divide 9, found 2",
        "corrections filter the grid of the tokens, which is not given",
        "at tokens is not inside of a block",
        "`index` must be below the `depth` 2, found 2",
        "parameter `a.attn.qkv.weight` already exists",
        "corrections and parts of a block read the call of the forward pass, found the embedding c",
        "expected the 25 tokens of its 5 x 5 grid, found 16",
        "a custom network has the places `image`, `velocity` and `weight`, found the part `same`",
        "the places of a custom network take parts made of code, found the correction",
        "no weight of a linear map matches `*.attn.*`",
        "a custom network has no numbered blocks",
        "two parts are called `same`",
        "dit_block `a`: a custom network has no embedding `both`",
        "expected an embedding `time` of shape",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn a_network_of_blocks_in_rust_is_that_of_a_script() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let text = "let net = fill(own(small, #{ grid: 4, corrections: paper }));
        tensor::save_safetensors(\"out.safetensors\", #{ v: net.forward(x, t, y), x: x });";
    good(folder.path(), "own.rhai", &script(text));
    let made = tensor::load_safetensors(folder.path().join("out.safetensors").display().to_string(), ())?;

    let make = function(|b: SharedBuilder| {
        let patches = b.patch_embed("patch_embed", 2, 2, 16)?;
        let times = b.timestep_embed("time_embed", 16)?;
        let labels = b.label_embed("label_embed", 3, 16)?;
        let paper = correction(filter::binomial(())?, gate::time_label(())?)?;
        let options = nn::DitBlockOptions {
            qk_norm: Some(nn::QkNorm::Rms),
            grid: Some(spectral::torch::ops::vision::Pair([4, 4])),
            corrections: paper.into(),
            ..Default::default()
        };
        let block = |i: i64| b.dit_block(&format!("blocks.{i}"), 16, 2, &options);
        let blocks = (0..3).map(block).collect::<Result<Vec<_>>>()?;
        let last = b.final_layer("final_layer", 16, 8, &nn::FinalLayerOptions::default())?;
        Ok(function(move |x: Tensor, t: Tensor, y: Tensor, c: Call| {
            let c = c.with_embeddings(&times.forward(&t)?, Some(&labels.forward(&y)?))?;
            let h = (patches.forward(&x)? + nn::sincos_positions(16, (4, 4), ())?)?;
            let h = blocks.iter().try_fold(h, |h, block| block.forward(&h, &c))?;
            nn::unpatchify(last.forward(&h, &c)?, 2, (2, 8, 8))
        }))
    });
    let interface = nn::Interface { image_shape: (2, 8, 8), num_classes: 3, ..Default::default() };
    let net = nn::model(nn::NetworkOptions { interface, make: Some(make), ..Default::default() })?;
    let mut all: Vec<_> = net.parameters().to_vec();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (i, (_, p)) in all.iter().enumerate() {
        let values = Tensor::randn(
            &p.shape(),
            DType::Float32,
            Device::Cpu,
            Some(&Generator::new(i as u64, Device::Cpu)?),
        )?;
        no_grad(|| p.copy_(&(values * 0.2)?))?;
    }
    let tensor_of = |name: &str| {
        made.get(name).and_then(Value::downcast::<Tensor>).ok_or_else(|| Error::argument("none"))
    };
    let (t, y) = (Tensor::from_f32(&[0.1, 0.5, 0.9], &[3])?, Tensor::from_i64(&[0, 1, 3], &[3])?);
    assert!(net.forward(&tensor_of("x")?, &t, &y)?.equal(&tensor_of("v")?)?);
    Ok(())
}
