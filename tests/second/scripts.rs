//! The experiment scripts, which choose a GPU if there is one, at toy size.

use std::path::{Path, PathBuf};

use crate::{run, run_text};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn report_of(name: &str, arguments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> = ["--"].into_iter().chain(arguments.split_whitespace()).collect();
    let printed = run(folder.path(), script(name).to_str().unwrap(), &arguments);
    let path = printed.lines().find_map(|line| line.strip_prefix("report: ")).expect("the path of a report");
    std::fs::read_to_string(folder.path().join(path)).unwrap()
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
        assert!(report_of(name, &arguments).contains("1 x cuda"), "{name}");
    }
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
    assert_eq!(
        lines.next(),
        Some("forward: the model is on cuda:0, but found a tensor [2, 1, 28, 28] float32 on cpu")
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
