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
