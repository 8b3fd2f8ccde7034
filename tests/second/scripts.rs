//! The experiment scripts, which choose a GPU if there is one, at toy size.

use std::path::{Path, PathBuf};

use crate::images::prepare;
use crate::{run, run_text};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn run_script(folder: &Path, name: &str, arguments: &str) -> String {
    let arguments: Vec<&str> = ["--"].into_iter().chain(arguments.split_whitespace()).collect();
    run(folder, script(name).to_str().unwrap(), &arguments)
}

fn report_of(folder: &Path, name: &str, arguments: &str) -> String {
    let printed = run_script(folder, name, arguments);
    let path = printed.lines().find_map(|line| line.strip_prefix("report: ")).expect("the path of a report");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

#[test]
fn experiments_use_the_device_and_end_with_a_report() {
    let few = "--steps 2 --samples 20 --seeds 1";
    let small = format!("--cutoffs 0.5 --depth 1 --width 16 --sampling-steps 2 {few}");
    for (name, arguments) in [
        ("ablate_cutoff.rhai", small),
        ("reproduce_effect.rhai", format!("--data embedded --scale small {few}")),
        ("compare_ideas.rhai", format!("--scale small --arms DiT,SpectralDiT {few}")),
        ("finetune_correction.rhai", format!("--pretrain 2 --sampling-steps 2 {few}")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        assert!(report_of(folder.path(), name, &arguments).contains("1 x cuda"), "{name}");
    }
}

#[test]
fn the_experiment_on_latents_uses_the_device_and_ends_with_a_report() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let toy = "--images images --vae vae.safetensors --image-size 16 --seeds 1 --steps 2 --batch 4 --depth 1 --width 32 \
               --heads 2 --samples 20 --sampling-steps 2";
    assert!(report_of(folder.path(), "imagenet100_latent.rhai", toy).contains("1 x cuda"));
}

/// Writes `count` images of noise and their labels in the format of MNIST.
fn write_idx(folder: &Path, name: &str, count: u32) {
    let header = |kind: u8, sizes: &[u32]| {
        let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
        [0, 0, 8, kind].into_iter().chain(sizes).collect::<Vec<u8>>()
    };
    let pixels = (0..count * 28 * 28).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    let images: Vec<u8> = header(3, &[count, 28, 28]).into_iter().chain(pixels).collect();
    let labels: Vec<u8> = header(1, &[count]).into_iter().chain((0..count).map(|i| (i % 10) as u8)).collect();
    std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
    std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
}

#[test]
fn the_classifier_of_features_trains_on_the_device() {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), "train", 64);
    write_idx(folder.path(), "t10k", 20);
    let arguments = "--data . --out features.safetensors --epochs 1 --batch 16";
    let printed = run_script(folder.path(), "train_features.rhai", arguments);
    assert!(printed.contains("accuracy on the 20 test images"), "{printed}");
    assert!(folder.path().join("features.safetensors").exists());
}

#[test]
fn tensors_of_two_devices_are_refused_with_the_line_and_advice() {
    let told = run_text(
        r#"
let told = "";
try { tensor::ones([2]) + tensor::ones([2], #{ device: "cpu" }); } catch (e) { told = `${e.message}`; }
print(told);
let net = model::dit(#{ depth: 1 });
try { net.forward(data::fashion_mnist().take(2).images(), tensor::rand([2]), tensor([1, 2])); } catch (e) { told = `${e.message}`; }
print(told);"#,
    );
    let mut lines = told.lines();
    assert!(lines.next().unwrap().contains("expected all tensors to be on the same device"), "{told}");
    assert_eq!(lines.next(), Some("forward: the model is on cuda:0, but `x` is on cpu"));
}

#[test]
fn what_is_on_another_device_is_named_before_anything_is_computed() {
    run_text(
        r#"
let told = |f| { let told = "nothing"; try { f.call(); } catch (e) { told = `${e.message}; ${e.hint}`; } told };
let refused = |f, expected| {
    let found = told.call(f);
    assert(found.contains(expected), `expected "${expected}", found "${found}"`);
};
let small = #{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
let net = model::dit(small);
let x = tensor::rand([2, 1, 8, 8]);
let t = tensor([0.2, 0.5]);
let y = tensor([0, 1]);
let hint = "move one of them: `.to(\"cuda:0\")`";

refused.call(|| net.forward(x, t.cpu(), y), "the model is on cuda:0, but `t` is on cpu; " + hint);
refused.call(|| flow::velocity(net, x.cpu(), t, y, #{ guidance: 3 }), "the model is on cuda:0, but `x` is on cpu; " + hint);
refused.call(|| flow::velocity(net, x, t, y.cpu(), #{ guidance: 3 }), "the model is on cuda:0, but `y` is on cpu; " + hint);
let text = tensor::rand([2, 3], #{ device: "cpu" });
refused.call(|| flow::velocity(net, x, t, y, #{ guidance: 3, fields: #{ text: text } }),
    "the model is on cuda:0, but the field `text` is on cpu; " + hint);

let here = tensor::zeros([2]).requires_grad_();
let there = tensor::zeros([2], #{ device: "cpu" }).requires_grad_();
refused.call(|| optim::adamw(#{ a: here, b: there }), "parameter `a` is on cuda:0, but parameter `b` is on cpu; " + hint);
optim::adamw(here).step((here - 1.0).square().sum().cpu());

let ema = optim::ema(net, 0.9);
refused.call(|| ema.update(model::dit(small + #{ device: "cpu" })), "the average is on cuda:0, but the model is on cpu; " + hint);

let b = nn::builder();
for layer in [
    b.linear("linear", 8, 4), b.conv2d("conv", 1, 4, 3), b.norm("norm", 8), b.mlp("mlp", 8, 16),
] {
    refused.call(|| layer.forward(x.cpu()), "the layer is on cuda:0, but `x` is on cpu; " + hint);
    layer.forward(x);
}
let cross = b.cross_attention("cross", 8, 8, 2);
let tokens = x[0];
refused.call(|| cross.forward(tokens, tokens.cpu()), "the layer is on cuda:0, but `context` is on cpu; " + hint);
let judge = eval::classifier(#{ channels: [4], features: 8, image_size: 8, classes: 2 });
refused.call(|| judge.forward(x.cpu()), "the classifier is on cuda:0, but the tensor of images is on cpu; " + hint);

assert_eq(flow::pair(x, t, #{ noise: x.cpu() }).x_t.device, "cuda:0");
assert_eq(flow::path().pair(x, t, #{ noise: x.cpu() }).noise.device, "cuda:0");"#,
    );
}

#[test]
fn values_are_checked_and_small_tensors_moved_as_on_the_cpu() {
    run_text(
        r#"
let told = |f| { let told = "nothing"; try { f.call(); } catch (e) { told = e.message; } told };
let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2 });
let x = tensor::zeros([2, 1, 28, 28]);
let y = tensor([[1, 2], [77, 78]]);
net.forward(x, tensor([0.5, 0.5]), y[0]);
// The same memory as in the call before, with other strides and other times.
assert(told.call(|| net.forward(x, tensor([0.5, 0.5]), y[.., 0])).contains("label 77 is out of range"));
assert(told.call(|| net.forward(x, tensor([7.0, 0.5]), y[0])).contains("time 7 is out of range"));

let a = tensor::ones([2, 2]);
let b = a.cpu();
assert_eq(autocast(|| [(a @ a).dtype, (b @ b).dtype]), ["bfloat16", "bfloat16"]);
assert_eq([(a @ a).dtype, (b @ b).dtype], ["float32", "float32"]);

assert_eq(tensor([b[0, 0], b[0, 1]]).device, "cpu");
assert_eq(tensor([1.0]).device, "cuda:0");
assert_eq(b.type_as(tensor([1])).device, "cuda:0");

let path = flow::path(#{ noise: |z, x1| z.cpu() });
assert_eq(path.pair(x, tensor([0.1, 0.2], #{ device: "cpu" })).x_t.device, "cuda:0");
train::fit(net, data::fashion_mnist().take(4), #{ steps: 1, batch: 4, path: path });
let drawn = plot::grid([x, x.cpu()]);"#,
    );
}

#[test]
fn answers_of_functions_are_moved_and_options_may_follow_what_is_left_out() {
    run_text(
        r#"
let small = #{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
let net = model::dit(small);
let few = #{ labels: [0, 1], steps: 2, seed: 1 };
for more in [
    #{ sampler: |v, x, t, n, c| (x + (n - t) * v.call(x, t)).cpu() }, #{ keep: |x, t| x.cpu() },
    #{ guide: |c, u, x, t, y| c.cpu() }, #{ velocity: |v, x, t, y| v.cpu() },
] {
    assert_eq(flow::sample(net, few + more).device, "cuda:0", `${more}`);
}
let gain = tensor::full([1], 0.5);
let path = flow::path(#{ alpha: |t| t * gain / gain, sigma: |t| 1.0 - t, predict: "x" });
let x = tensor::rand([2, 1, 8, 8]);
let t = tensor([0.2, 0.4], #{ device: "cpu" });
assert_eq(path.pair(x, t).x_t.device, "cuda:0");
assert_eq(path.convert(x, x, t, "v").device, "cuda:0");
assert_eq(flow::pair(x, t).x_t.device, "cuda:0");
assert_eq(flow::sample(net, few + #{ path: flow::path(#{ alpha: |t| t * gain / gain, sigma: |t| 1.0 - t }) }).device, "cuda:0");
assert_eq(tensor::arange(3, #{ device: "cpu" }).device, "cpu");
assert_eq(tensor::eye(3, #{ device: "cpu", dtype: "float64" }).dtype, "float64");"#,
    );
}
