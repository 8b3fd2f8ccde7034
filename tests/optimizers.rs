//! Optimizers that are functions in scripts: those of std-lib against PyTorch, resumed runs, and what the program says of
//! wrong ones.
#![cfg(test)]

use std::path::Path;
use std::process::{Command, Output};

fn program(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs")
}

fn fine(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{error}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).to_string() + &error
}

fn run(body: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.rhai"), format!("{COMMON}{body}")).unwrap();
    fine(&program(folder.path(), &["run", "a.rhai"]))
}

/// A small model and data set, and runs of them.
const COMMON: &str = r#"
let small = #{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
tensor::seed(3);
let images = data::from_tensors(tensor::rand([16, 1, 4, 4]) * 0.2 - 0.9, tensor::arange(16) % 2);
fn same(a, b) {
    let other = b.values();
    a.values().all(|p, i| p.equal(other[i]))
}
fn ready() {
    #{
        sgd: optimizers::sgd() + #{ lr: 0.03 },
        plain: optimizers::sgd(#{ momentum: 0.0 }) + #{ lr: 0.1 },
        lion: optimizers::lion() + #{ lr: 3e-3 },
        adafactor: optimizers::adafactor() + #{ lr: 1.0 },
        cautious_adamw: optimizers::cautious_adamw() + #{ lr: 1e-2 },
        soap: optimizers::soap(#{ every: 3 }) + #{ lr: 1e-2 },
    }
}
"#;

/// The numbers are those of `torch.optim` 2.11 in float64, and for Lion of the published code, after five steps.
#[test]
fn five_steps_are_those_of_pytorch() {
    let expected = include_str!("fixtures/optimizers.json");
    run(&format!(
        r#"
        let expected = {};
        let matrix = |r, c, k| {{
            let i = tensor::arange(r).to("float64").unsqueeze(1);
            let j = tensor::arange(c).to("float64").unsqueeze(0);
            (1.0 + 7.0 * k + 3.0 * i + 1.7 * j + i * j).sin()
        }};
        let adamw = #{{
            state: |p| #{{ m: tensor::zeros_like(p.param), v: tensor::zeros_like(p.param) }},
            update: |u| {{
                let m = u.state.m.lerp(u.grad, 1.0 - u.betas[0]);
                let v = u.state.v.lerp(u.grad.square(), 1.0 - u.betas[1]);
                let root = (v / (1.0 - u.betas[1] ** u.step)).sqrt() + u.eps;
                let step = m / (1.0 - u.betas[0] ** u.step) / root;
                #{{ param: u.param * (1.0 - u.lr * u.weight_decay) - u.lr * step, state: #{{ m: m, v: v }} }}
            }},
        }};
        // The same rule for all parameters at once.
        let all = |rule| {{
            let one = rule.update;
            let made = rule + #{{ update_all: |us| us.map(|u| one.call(u)) }};
            made.remove("update");
            made
        }};
        let cases = [
            ["sgd", optimizers::sgd() + #{{ lr: 0.1, weight_decay: 0.01 }}],
            ["sgd_nesterov", optimizers::sgd(#{{ nesterov: true }}) + #{{ lr: 0.1, weight_decay: 0.01 }}],
            ["sgd_dampening", optimizers::sgd(#{{ momentum: 0.8, dampening: 0.3 }}) + #{{ lr: 0.1 }}],
            ["lion", optimizers::lion() + #{{ lr: 0.01, weight_decay: 0.1 }}],
            ["adafactor", optimizers::adafactor() + #{{ lr: 0.02, weight_decay: 0.1 }}],
            ["adamw", adamw + #{{ lr: 0.02, weight_decay: 0.1 }}],
            ["adamw", all.call(adamw) + #{{ lr: 0.02, weight_decay: 0.1 }}],
        ];
        for one in cases {{
            let name = one[0];
            let rule = one[1];
            let w = (0.5 * matrix.call(3, 4, 0)).detach().requires_grad(true);
            let b = (0.5 * matrix.call(1, 3, 9)[0]).contiguous().detach().requires_grad(true);
            let opt = optim::custom(#{{ w: w, b: b }}, rule);
            for k in 1..6 {{
                opt.step((w * matrix.call(3, 4, k)).sum() + (b * matrix.call(1, 3, k + 20)[0]).sum());
            }}
            let found = tensor::cat([w.detach().reshape([-1]), b.detach()], 0);
            let apart = (found - tensor(expected[name], #{{ dtype: "float64" }})).abs().max().item();
            assert(apart < 1e-7, `${{name}}: ${{apart}}`);
        }}"#,
        expected.trim().replace('{', "#{")
    ));
}

/// Every ready optimizer lowers the loss, and a run that was stopped ends with the same bits.
#[test]
fn runs_with_ready_optimizers_resume_to_the_bit() {
    let out = run(r#"
        for name in ready().keys() {
            let rule = ready()[name];
            let more = #{ batch: 16, log_every: 10, optimizer: rule, ema: 0.9 };
            let straight = model::dit(small);
            let run = train::fit(straight, images, more + #{ steps: 9 });
            let first = model::dit(small);
            let moved = straight.parameters().values();
            let start = first.parameters().values();
            assert(moved.filter(|p, i| p.equal(start[i])).len() < 2, name);
            train::fit(first, images, more + #{ steps: 5, out: `runs/${name}` });
            let again = model::dit(small);
            let resumed = train::fit(again, images, more + #{ steps: 9, out: `runs/${name}` });
            assert(same(straight.parameters(), again.parameters()), name);
            assert(same(run.ema.parameters(), resumed.ema.parameters()), name);
            let long = train::fit(model::dit(small), images, more + #{ steps: 40 });
            assert(long.history[3].loss < 0.75 * long.history[0].loss, name);
        }"#);
    assert!(!out.contains("not stored"), "{out}");
}

#[test]
fn a_resumed_run_compares_the_code_and_the_state() {
    run(r#"
        let message = |options| {
            let m = "";
            try { train::fit(model::dit(small), images, options); } catch (e) { m = `${e}`; }
            m
        };
        let options = |rule| #{ steps: 4, batch: 4, out: "runs/a", optimizer: rule };
        let rule = |f| #{ name: "own", state: |p| #{ m: tensor::zeros_like(p.param) }, update: f };
        let descent = |u| #{ param: u.param - u.lr * u.grad, state: u.state };
        train::fit(model::dit(small), images, options.call(rule.call(descent)));
        train::fit(model::dit(small), images, options.call(rule.call(descent)) + #{ steps: 6 });
        let other = message.call(options.call(rule.call(|u| #{ param: u.param - 2 * u.lr * u.grad, state: u.state })) + #{ steps: 8 });
        assert(other.contains("the code of `optimizer.update` changed"), other);
        let plain = message.call(options.call("adamw") + #{ steps: 8 });
        assert(plain.contains("`optimizer` was own, which has code and is \"adamw\""), plain);
        let accepted = options.call(rule.call(|u| #{ param: u.param - 3 * u.lr * u.grad, state: u.state })) + #{ steps: 8, accept_code: true };
        train::fit(model::dit(small), images, accepted);
        let keys = message.call(accepted + #{ steps: 9, optimizer: rule.call(|u| u.param) + #{ state: |p| #{ v: p.param } } });
        assert(keys.contains("the state lacks `v."), keys);
    "#);
}

#[test]
fn the_check_knows_functions_and_keys_of_optimizers() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
let net = model::dit(#{ depth: 1 });
let images = data::fashion_mnist().take(8);
train::fit(net, images, #{ steps: 1, optimizer: #{ update: |u, v| u.param } });
train::fit(net, images, #{ steps: 1, optimizer: #{ update: |u| u.param - u.lr * u.gradient } });
train::fit(net, images, #{ steps: 1, optimizer: #{ update: |u| u.param, stat: |p| #{} } });
let opt = optim::custom(net, #{ update: |u| u.weight, state: |p, q| #{} });
train::fit(net, images, #{ steps: 1, optimizer: #{ kind: "muon", lr: 0.02, momentum: 0.9 } });
train::fit(net, images, #{ steps: 1, optimizer: #{ update: |u| u.param - u.lr * u.grad * u.step, lr: 0.1 } });
"#;
    std::fs::write(folder.path().join("a.rhai"), script).unwrap();
    let output = program(folder.path(), &["check", "a.rhai"]);
    let text = String::from_utf8_lossy(&output.stdout).to_string() + &String::from_utf8_lossy(&output.stderr);
    for expected in [
        "expected a function `|u|`, found one that takes 2 values",
        "the map that the function in `update` receives has no entry `gradient`",
        "unknown option `stat`",
        "the map that the function in `update` receives has no entry `weight`",
        "expected a function `|p|`, found one that takes 2 values",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("a.rhai:8") && !text.contains("a.rhai:9"), "{text}");
}

/// Each rank has the summed gradients, so that all make the same update.
#[cfg(target_os = "linux")]
#[test]
fn two_ranks_give_the_bits_of_one_with_two_micro_batches() {
    let folder = tempfile::tempdir().unwrap();
    let script = |accumulate: usize, out: &str| {
        format!(
            "{COMMON}for name in ready().keys() {{
                let rule = ready()[name];
                train::fit(model::dit(small), images, #{{ steps: 4, batch: 8, lr: 1e-3, optimizer: rule, accumulate: {accumulate}, out: `{out}/${{name}}` }});
            }}"
        )
    };
    std::fs::write(folder.path().join("one.rhai"), script(2, "one")).unwrap();
    std::fs::write(folder.path().join("two.rhai"), script(2, "two")).unwrap();
    let with = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
            .args(arguments)
            .current_dir(folder.path())
            .env("NO_COLOR", "1")
            .env("OMP_NUM_THREADS", "1")
            .output()
            .unwrap();
        fine(&output)
    };
    with(&["run", "one.rhai"]);
    with(&["run", "--ranks", "2", "two.rhai"]);
    for name in ["sgd", "plain", "lion", "adafactor", "cautious_adamw", "soap"] {
        let weights = |out: &str| {
            std::fs::read(folder.path().join(format!("{out}/{name}/weights.safetensors"))).unwrap()
        };
        assert!(weights("one") == weights("two"), "{name}");
    }
}
