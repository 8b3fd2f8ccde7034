//! Training loops of users with several networks and optimizers: a stopped one goes on to the same bits.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// The adversarial loop of the guide on objectives, which ends after `UNTIL` steps and saves each third one. Part of it draws
/// from the default generator.
const LOOP: &str = r#"
let images = data::from_tensors(tensor::rand([32, 1, 8, 8], #{ seed: 1 }) * 2.0 - 1.0, tensor::arange(32) % 2);
let net = model::dit(#{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
let b = nn::builder(#{ seed: 1 });
let first = b.conv2d("first", 1, 16, 3);
let score = b.linear("score", 16, 1);
let critic = |x| score.forward(first.forward(x).silu().mean([2, 3])).squeeze(1);
let o = #{ lr: 1e-2, betas: [0.0, 0.99] };
let parts = #{
    model: net, ema: optim::ema(net, 0.9), optimizer: optim::adamw(net, o), loader: images.loader(#{ batch: 8 }),
    others: #{ critic: #{ tensors: b.parameters(), optimizer: optim::muon(b.parameters(), #{ lr: 1e-3, match: "score.weight", adamw: o }) } },
};
let path = "last.safetensors";
let start = if files::exists(path) { checkpoint::load(path, parts).step } else { 0 };
let log = train::tensorboard("events", #{ first: start + 1 });
for step in start..UNTIL {
    let batch = parts.loader.next();
    let z = tensor::randn(batch.images.shape, #{ generator: train::generator(step) });
    let made = z + net.forward(z, tensor::zeros([batch.len]), batch.labels);
    let real = (batch.images + 0.01 * tensor::randn(z.shape)).requires_grad(true);
    let judged = critic.call(real);
    let slope = grad(judged.sum(), real, #{ create_graph: true });
    let hinge = (1.0 - judged).relu().mean() + (1.0 + critic.call(made.detach())).relu().mean();
    parts.others.critic.optimizer.step(hinge + 0.1 * slope.square().sum([1, 2, 3]).mean(), #{ clip: 1.0 });
    let loss = -critic.call(made).mean();
    parts.optimizer.step(loss, #{ clip: 1.0 });
    parts.ema.update(net);
    log.scalar("critic/hinge", hinge, step + 1);
    if (step + 1) % 3 == 0 {
        log.image("samples", made, step + 1);
        checkpoint::save(path, parts + #{ values: #{ step: step + 1, loss: loss.item(), hinge: hinge.item() } });
    }
}
"#;

fn spectral(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(output.status.success(), "{}{error}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).to_string()
}

#[test]
fn an_adversarial_loop_that_was_stopped_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, until: &str| {
        let own = folder.path().join(name);
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("loop.rhai"), LOOP.replace("UNTIL", until)).unwrap();
        spectral(&own, &["check", "loop.rhai"]);
        spectral(&own, &["run", "--deterministic", "loop.rhai"]);
    };
    run("straight", "9");
    // Steps after the last checkpoint are lost and made again.
    for until in ["2", "4", "8", "9"] {
        run("stopped", until);
    }
    let files = ["straight", "stopped"].map(|name| format!("{name}/last.safetensors"));
    spectral(folder.path(), &["checkpoint", "diff", &files[0], &files[1]]);
    let shown = spectral(folder.path(), &["checkpoint", "show", &files[0]]);
    assert!(shown.contains("critic"), "{shown}");
    assert_eq!(std::fs::read_dir(folder.path().join("stopped/events")).unwrap().count(), 4);
}
