//! Layers of the builder: values and gradients of PyTorch, and a DiT written with them that equals the native one.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// Runs a script in a folder and returns what it prints.
fn run(folder: &Path, text: &str) -> String {
    std::fs::write(folder.join("script.rhai"), text).expect("a script");
    let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(["run", "script.rhai"])
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).to_string()
}

/// Fills tensors with numbers that PyTorch filled them with, and compares a weighted sum of an output and of each
/// gradient: inputs first, then the parameters in the order of their names.
const COMPARE: &str = r#"
fn fill(shape, k) {
    let count = 1;
    for size in shape { count *= size; }
    (((tensor::arange(count) + k) * 37 % 101).double() / 101 - 0.5).reshape(shape)
}
fn weights(layer) {
    let all = layer.parameters().values();
    for i in 0..all.len { no_grad(|| all[i].copy_(fill(all[i].shape, i))); }
    all
}
fn compare(out, inputs, expected, within) {
    let sum = (out * fill(out.shape, 5)).sum();
    let found = [sum.item()];
    for g in grad(sum, inputs) { found.push((g * fill(g.shape, 3)).sum().item()); }
    assert_close(tensor(found, #{ dtype: "float64" }), tensor(expected, #{ dtype: "float64" }), within);
}
let b = nn::builder(#{ dtype: "float64" });
"#;

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"
let x = fill([2, 3, 8], 1).requires_grad_();
let c = fill([2, 4, 5], 2).requires_grad_();
let mask = tensor([[1, 1, 0, 1], [0, 1, 1, 0]]).bool();
let cross = b.cross_attention("cross", 8, 5, 2, #{ qk_norm: "none" });
let p = weights(cross);
compare(cross.forward(x, c, mask), [x, c] + p,
    [2.207876824295165, -0.0017218713208409847, -0.2891924219338525, 0.7477576941107499, -0.6680304273038885, -1.6788059994118223, 0.30742588811243804, 0.012919701004421734, 0.004776397545371597], 1e-9);

let x = fill([2, 4, 3, 5], 1).requires_grad_();
let up = b.conv_transpose2d("up", 4, 6, 3, #{ stride: 2, groups: 2 });
let p = weights(up);
assert_eq(up.forward(x).shape, [2, 6, 6, 10]);
compare(up.forward(x), [x] + p,
    [0.8901835483028746, 1.1072278877726025, 0.10856778747181664, 0.40544753426425945], 1e-9);

let x = fill([2, 3, 6], 1).requires_grad_();
let gated = b.mlp("gated", 6, 5, #{ kind: "swiglu" });
let p = weights(gated);
compare(gated.forward(x), [x] + p,
    [0.003256818185481153, 0.12987500537098742, 0.00651913010187135, 0.07121881628591561, -0.07607097343397698, -0.16711863520144166], 1e-9);

let x = fill([2, 6, 16], 1).requires_grad_();
let attn = b.attention("blocks.0.attn", 16, 2, #{ qk_norm: "layer", qkv_bias: false, rope: [2, 3] });
let p = weights(attn);
// Tables of positions are of float32.
compare(attn.forward(x), [x] + p,
    [0.8247413001601176, -0.08115859915087499, 0.04112675726593167, 0.0017060502884610196, -1.8634937751200862, 0.0028120775348848687, 0.06898697018479677, 0.05094962640688781, 0.2510894599484999], 1e-5);

let x = fill([2, 6, 8], 1);
assert_close((nn::rope(x, [2, 3]) * fill([2, 6, 8], 5)).sum().item(), -4.184366422305194, 1e-5);
"#;
    run(folder.path(), &format!("{COMPARE}{text}"));
}

/// A DiT with SwiGLU, norms of queries and keys, and rotary positions, in the words of a script.
const OWN: &str = r#"
fn own(c) {
    let side = c.image_size / c.patch_size;
    nn::model(#{ image_shape: [c.in_channels, c.image_size, c.image_size], num_classes: c.num_classes, dtype: c.dtype, make: |b| {
        let width = c.hidden_size;
        let patches = b.patch_embed("patch_embed", c.in_channels, c.patch_size, width);
        let times = b.timestep_embed("time_embed", width);
        let labels = b.label_embed("label_embed", c.num_classes, width);
        let norm = b.norm("norm", width, #{ affine: false });
        let blocks = [];
        for i in 0..c.depth {
            let at = `blocks.${i}`;
            blocks.push(#{
                attn: b.attention(at + ".attn", width, c.num_heads, #{ qk_norm: c.qk_norm, rope: [side, side] }),
                mlp: b.mlp(at + ".mlp", width, 42, #{ kind: "swiglu" }),
                ada_ln: b.linear(at + ".ada_ln.1", width, 6 * width, #{ init: "zeros" }),
            });
        }
        let ada_ln = b.linear("final_layer.ada_ln.1", width, 2 * width, #{ init: "zeros" });
        let out = b.linear("final_layer.linear", width, c.patch_size ** 2 * c.in_channels, #{ init: "zeros" });
        |x, t, y| {
            let both = (times.forward(t) + labels.forward(y)).silu();
            let h = patches.forward(x) + nn::sincos_positions(width, [side, side]).to(x.dtype);
            for block in blocks {
                let m = block.ada_ln.forward(both).chunk(6, -1);
                h = h + m[2].unsqueeze(1) * block.attn.forward(nn::modulate(norm.forward(h), m[0], m[1]));
                h = h + m[5].unsqueeze(1) * block.mlp.forward(nn::modulate(norm.forward(h), m[3], m[4]));
            }
            let m = ada_ln.forward(both).chunk(2, -1);
            let patches = out.forward(nn::modulate(norm.forward(h), m[0], m[1]));
            nn::unpatchify(patches, c.patch_size, [c.in_channels, c.image_size, c.image_size])
        }
    }})
}
let c = #{ image_size: 8, patch_size: 2, in_channels: 3, num_classes: 2, depth: 2, hidden_size: 16, num_heads: 2, qk_norm: "layer" };
"#;

#[test]
fn a_dit_written_in_a_script_equals_the_native_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"
for dtype in ["float64", "float32", "bfloat16"] {
    let within = #{ float64: 1e-9, float32: 2e-5, bfloat16: 0.1 }[dtype];
    let plain = model::dit(c + #{ mlp: "swiglu", position: "rope", dtype: dtype });
    let net = own(c + #{ dtype: dtype });
    let weights = plain.parameters();
    assert_eq(net.parameters().keys(), weights.keys());
    for (name, i) in weights.keys() {
        let value = tensor::randn(weights[name].shape, #{ seed: i }) * 0.2;
        for p in [weights[name], net.parameters()[name]] { no_grad(|| p.copy_(value)); }
    }
    let x = tensor::randn([3, 3, 8, 8], #{ seed: 1 }).to(dtype);
    let t = tensor([0.1, 0.5, 0.9]).to(dtype);
    let y = tensor([0, 1, 2]);
    assert_close(net.forward(x, t, y).float(), plain.forward(x, t, y).float(), within);
    if dtype == "bfloat16" { continue; }
    let gradients = [plain, net].map(|m| grad(m.forward(x, t, y).square().sum(), m.parameters().values()));
    for i in 0..gradients[0].len {
        assert(gradients[1][i].abs().sum().item() > 0.0, weights.keys()[i]);
        assert_close(gradients[1][i] / gradients[0][i].abs().amax(), gradients[0][i] / gradients[0][i].abs().amax(), within);
    }
}
"#;
    run(folder.path(), &format!("{OWN}{text}"));
}

#[test]
fn a_network_of_new_layers_trains_samples_and_opens_without_its_script() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"
let net = nn::model(#{ image_shape: [1, 8, 12], num_classes: 2, make: |b| {
    let words = b.embedding("words", 3, 4);
    let cross = b.cross_attention("blocks.0.cross", 16, 4, 2);
    let attn = b.attention("blocks.0.attn", 16, 2, #{ rope: [2, 3] });
    let down = b.conv2d("down", 1, 16, 4, #{ stride: 4, padding: 0 });
    let up = b.conv_transpose2d("up", 16, 1, 4, #{ stride: 4 });
    |x, t, y| {
        let h = down.forward(x).flatten(2).transpose(1, 2);
        h = h + attn.forward(h);
        h = h + cross.forward(h, words.forward(y).unsqueeze(1));
        up.forward(h.transpose(1, 2).reshape([-1, 16, 2, 3]))
    }
}});
let images = data::from_tensors(tensor::rand([16, 1, 8, 12], #{ seed: 1 }) * 2 - 1, tensor::arange(16) % 2);
let run = train::fit(net, images, #{ steps: 3, batch: 8 });
assert_eq(flow::sample(run.ema, #{ labels: [0, 1], steps: 2 }).shape, [2, 1, 8, 12]);
run.model.save("net.safetensors");
let x = tensor::rand([2, 1, 8, 12], #{ seed: 2 });
let t = tensor([0.1, 0.7]);
let y = tensor([0, 2]);
tensor::save_safetensors("out.safetensors", #{ v: run.model.forward(x, t, y) });
"#;
    run(folder.path(), text);
    let text = r#"
let x = tensor::rand([2, 1, 8, 12], #{ seed: 2 });
let t = tensor([0.1, 0.7]);
let y = tensor([0, 2]);
assert_eq(model::open("net.safetensors").forward(x, t, y), tensor::load_safetensors("out.safetensors").v);
"#;
    run(folder.path(), text);
}

#[test]
fn wrong_uses_say_what_is_expected() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"
let b = nn::builder();
let told = |f| { let text = ""; try { f.call(); } catch (e) { text = `${e}`; } text };
let attn = b.attention("a", 8, 2, #{ rope: [2, 3] });
let cross = b.cross_attention("c", 8, 4, 2);
let x = tensor::rand([1, 5, 8]);
print(told.call(|| attn.forward(x)));
print(told.call(|| cross.forward(x)));
print(told.call(|| cross.forward(x, tensor::rand([1, 3, 5]))));
print(told.call(|| cross.forward(x, tensor::rand([1, 3, 4]), tensor([[1, 1, 0]]))));
print(told.call(|| attn.forward(x, x)));
print(told.call(|| b.attention("d", 6, 1, #{ rope: [2, 3] })));
print(told.call(|| b.linear("blocks..0", 2, 2)));
print(told.call(|| b.conv_transpose2d("e", 2, 2, 4)));
print(told.call(|| nn::patchify(tensor::rand([1, 1, 4, 5]), 2)));
print(told.call(|| nn::unpatchify(tensor::rand([1, 4, 4]), 2, [2, 4, 4])));
"#;
    let found = run(folder.path(), text);
    for expected in [
        "expected the 6 tokens of the grid of its rotary positions, found 5",
        "expected two inputs, found one",
        "expected a context [1, M, 4], found a tensor [1, 3, 5]",
        "expected a mask bool [1, 3] of the context, found tensor [1, 3] int64",
        "takes one input",
        "need a size of heads divisible by 4, found 6",
        "expected a name of letters, digits and `_`, or several with dots between them, found \"blocks..0\"",
        "the size of a window must be odd to keep the size of the image, found 4",
        "expected a patch size that divides 4 and 5, found 2",
        "expected patches [B, 4, 8] of images [2, 4, 4], found a tensor [1, 4, 4]",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}
