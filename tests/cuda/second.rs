//! The emulated kernels on tensors of a second device, which answers to the name CUDA: operators, a model, and scripts take the
//! way of a GPU, except for NVRTC, the driver and graphs.

use std::process::Command;

use spectral::session::{Options, Session};
use spectral::torch::kernels;

use crate::emulation::{SECOND, device};
use crate::library::library;

#[test]
fn operators_models_and_scripts_take_the_way_of_a_gpu() {
    if std::env::var_os(SECOND).is_some() || std::env::var_os("SPECTRAL_TEST_DEVICE").is_some() {
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["operators::", "model::", "second::", "--test-threads=1"])
        .env("LD_PRELOAD", library())
        .env("SPECTRAL_TEST_DEVICE", "cuda")
        .env(SECOND, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("second::scripts_train_and_sample_as_on_the_cpu ... ok"), "{out}");
}

/// Runs in the process that the test above starts.
#[test]
fn scripts_train_and_sample_as_on_the_cpu() {
    if std::env::var_os(SECOND).is_none() {
        return;
    }
    assert!(device().is_cuda());
    let before = kernels::started();
    let mut session = Session::new(Options::default());
    let script = r#"
let images = data::from_tensors(tensor::rand([16, 1, 10, 10], #{ seed: 1 }) * 2 - 1, tensor::arange(16) % 4)
    .with_fields(#{ text: tensor::randn([16, 6], #{ seed: 2 }) });
let paper = correction(filter::binomial(), gate::time());
let on = |device, more| {
    let o = #{ image_size: 10, patch_size: 2, in_channels: 1, num_classes: 4, depth: 2, hidden_size: 24, num_heads: 2,
               corrections: paper, device: device };
    o.mixin(more);
    let net = model::dit(o);
    let run = train::fit(net, images, #{ steps: 3, batch: 8, lr: 1e-2, seed: 3 });
    flow::sample(run.ema, #{ labels: [1, 3], steps: 2, seed: 1, guidance: 2.0, fields: images.take(2).fields }).cpu()
};
for more in [
    #{}, #{ position: "rope", norm: "rms" }, #{ parts: ideas::gated_attention() },
    #{ parts: ideas::lora(#{ names: "*" }) }, #{ parts: ideas::condition_on("text", 6) }, #{ parts: ideas::adaln_single() },
    #{ parts: ideas::neighborhood_attention() }, #{ corrections: correction(filter::dct(#{ cutoff: 0.5 }), gate::time_label()) },
] {
    assert_close(on.call("cuda", more), on.call("cpu", more), 5e-3);
}"#;
    session.run_cell(script, "script").map_err(|report| report.render(false)).unwrap();
    assert!(kernels::started() > before, "no kernel was started");
}
