//! Training and sampling as scripts write them.
#![cfg(test)]

use spectral::declare::Value;
use spectral::session::{Options, Session};

const TINY: &str = r#"
    fn tiny() {
        model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 })
    }
    // Dark images of class 0 and bright ones of class 1.
    fn two_classes() {
        let labels = tensor::arange(32) % 2;
        let images = (labels * 1.6 - 0.8).reshape([32, 1, 1, 1]) + tensor::zeros([32, 1, 4, 4]);
        data::from_tensors(images, labels)
    }
"#;

/// Runs a script after the helpers above, in a new session.
fn run(code: &str) -> Result<String, String> {
    let mut session = Session::new(Options::default());
    let outcome = session.run_cell(&format!("{TINY}\n{code}"), "script.rhai");
    outcome
        .map(|o| format!("{:?}", o.value().unwrap_or(&Value::Unit)))
        .map_err(|report| report.render(false).clone())
}

#[track_caller]
fn works(code: &str) {
    if let Err(report) = run(code) {
        panic!("{report}");
    }
}

#[track_caller]
fn fails(code: &str, parts: &[&str]) {
    let report = run(code).expect_err("the script should fail");
    for part in parts {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn a_loop_by_hand_learns() {
    works(
        r#"
        let model = tiny();
        let loader = two_classes().loader(#{ batch: 16, seed: 0 });
        let rng = tensor::generator(0);
        let opt = optim::adamw(model, #{ lr: 3e-3, betas: [0.9, 0.99] });
        let ema = optim::ema(model, 0.9);
        let losses = [];
        for step in 0..60 {
            let batch = loader.next();
            let t = tensor::rand([batch.len], #{ generator: rng });
            let pair = flow::pair(batch.images, t, #{ generator: rng });  // x_t and the target velocity
            let loss = (model.forward(pair.x_t, t, batch.labels) - pair.target).square().mean();
            opt.set_lr(3e-3 * optim::cosine(step, #{ warmup: 5, steps: 60 }));
            let update = opt.step(loss, #{ clip: 1.0 });
            assert(update.grad_norm > 0.0);
            ema.update(model);
            losses.push(loss.item());
        }
        let mean = |from| losses.extract(from, 10).reduce(|sum, x| sum + x, 0.0) / 10.0;
        assert(mean.call(50) < 0.8 * mean.call(0), `from ${mean.call(0)} to ${mean.call(50)}`);
        assert_eq(ema.updates, 60);
    "#,
    );
}

#[test]
fn one_call_trains_and_tells_a_function_of_the_script() {
    works(
        r#"
        let seen = [];
        let run = train::fit(tiny(), two_classes(), #{
            steps: 6, batch: 4, log_every: 2, schedule: "cosine",
            timesteps: flow::logit_normal(#{ mean: 0.5 }),
            on_step: |s| { seen.push(s.step); s.step < 5 },
        });
        assert_eq(seen, [1, 2, 3, 4, 5]);
        assert_eq(run.steps, 5);
        assert_eq(run.history.map(|row| row.step), [2, 4, 5]);
        assert_eq(run.settings.timesteps.kind, "logit_normal");
        let images = flow::sample(run.ema, #{ labels: [0, 1, 2], steps: 3, sampler: "rk4", guidance: 1.5 });
        assert_eq(images.shape, [3, 1, 4, 4]);
        assert(images.abs().max().item() <= 1.0);
    "#,
    );
}

/// The stored settings name a sampler with its options and a function by its code; a changed one is refused.
#[test]
fn times_and_weights_are_settings_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let code = r#"
        let run = |options| train::fit(tiny(), two_classes(), #{ batch: 4, checkpoint_every: 2 } + options);
        let options = #{ steps: 2, out: OUT, timesteps: |n, g| tensor::rand([n], #{ generator: g }) ** 2,
                         loss: loss::min_snr(#{ gamma: 4.0 }) };
        let first = run.call(options);
        assert_eq(first.steps, 2);
        let more = run.call(options + #{ steps: 4, out: OUT });
        assert_eq(more.losses.len(), 4);
        let whole = run.call(options + #{ steps: 4, out: "" });
        assert_eq(more.losses, whole.losses);
        for other in [#{ loss: loss::min_snr() }, #{ timesteps: flow::mode() }] {
            let refused = "";
            try { run.call(options + #{ steps: 6 } + other); } catch (e) { refused = e.to_string(); }
            assert(refused.contains("holds a run with other settings"), refused);
        }
        let shifted = run.call(#{ steps: 1, timesteps: flow::edm(#{ shift: 2.0 }) });
        assert_eq(shifted.settings.timesteps.options.shift, 2.0);
    "#;
    works(&code.replace("OUT", &format!("{:?}", folder.path().join("run"))));
}

#[test]
fn a_mistyped_option_is_an_error_that_suggests_the_right_one() {
    fails(
        "train::fit(tiny(), two_classes(), #{ stepps: 3 });",
        &["train::fit", "stepps", "did you mean `steps`?", "script.rhai"],
    );
    fails("optim::adamw(tiny(), #{ learning_rate: 1 });", &["unknown option `learning_rate`", "`lr`"]);
    fails("flow::sample(tiny(), #{ labels: [0], sampler: \"rk5\" });", &["`sampler` must be one of", "rk4"]);
    fails("flow::sample(tiny(), #{ labels: [7] });", &["label 7 is out of range"]);
    fails("flow::pair(1, 2);", &["argument `x1`", "expected tensor, found the integer 1"]);
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_weights_and_the_session_alone() {
    works(
        r#"
        let w = tensor::ones([2]).requires_grad(true);
        let opt = optim::adamw(w, #{ lr: 0.1 });
        let told = "";
        try { opt.step((w / 0.0 - w / 0.0).sum()); } catch (e) { told = `${e}`; }
        assert(told.contains("not finite at update 1"), told);
        assert_close(w, tensor::ones([2]), 0.0);
        opt.step(w.sum());
        assert_close(w, tensor::ones([2]) * 0.9, 1e-6);
    "#,
    );
}

#[test]
fn an_error_of_the_scripts_function_keeps_its_place() {
    fails(
        "train::fit(tiny(), two_classes(), #{ steps: 3, on_step: |s| {\n let wrong = s.step + missing;\n } });",
        &["missing", "let wrong = s.step + missing"],
    );
    fails(
        "flow::integrate(|x, t| 3, tensor::zeros([2]));",
        &["expected a tensor from the velocity function, found the integer 3"],
    );
}

#[test]
fn groups_of_parameters_are_named_by_globs() {
    works(
        r#"
        let model = tiny();
        let groups = [#{ match: "final*", lr: 1e-2, weight_decay: 0.1 }, #{ match: ["*.bias", "time_embed*"], betas: [0.5, 0.9] }];
        let opt = optim::adamw(model, #{ lr: 1e-3, groups: groups });
        assert(`${opt}`.contains("group 2 #{ betas: [0.5, 0.9], match: [\"*.bias\", \"time_embed*\"] }: "), `${opt}`);
        let run = train::fit(model, two_classes(), #{ steps: 3, batch: 4, groups: groups, schedule: "cosine" });
        assert_eq(run.settings.groups[0].match, "final*");
        checkpoint::save("opt.safetensors", #{ optimizer: opt });
        assert_eq(checkpoint::info("opt.safetensors").optimizer.rates, [1e-3, 1e-2, 1e-3]);
        files::remove("opt.safetensors");
    "#,
    );
    fails(
        "optim::adamw(tiny(), #{ groups: [#{ match: \"*.atn.*\", lr: 0.1 }] });",
        &["no parameter matches `*.atn.*`", "similar names: `blocks.0.attn"],
    );
    fails(
        "optim::adamw(tiny(), #{ groups: #{ match: \"*\", rate: 0.1 } });",
        &["group 1: unknown option `rate`"],
    );
    fails("train::fit(tiny(), two_classes(), #{ groups: [#{ lr: 0.1 }] });", &["group 1 needs `match`"]);
}

#[test]
fn a_path_and_a_loss_of_the_script_train_and_sample() {
    works(
        r#"
        let smooth = |z, x1| basis::fft().scale(z, |r| 1.0 / (1.0 + r));
        let early = |n, g| tensor::rand([n], #{ generator: g }) ** 2;
        let path = flow::path(#{ noise: smooth, times: early, predict: "x" });
        let steps = [];
        let loss = |s| {
            steps.push(s.step);
            let weight = 1.0 + s.t.reshape([-1, 1, 1, 1]);
            (weight * (s.v - s.target).square()).mean()
        };
        let run = train::fit(tiny(), two_classes(), #{ steps: 3, batch: 4, path: path, loss: loss, accumulate: 2 });
        assert_eq(steps, [0, 0, 1, 1, 2, 2]);
        assert_eq(run.settings.path.options.predict, "x");
        assert_eq(run.settings.loss.kind, "function");
        let images = flow::sample(run.ema, #{ labels: [0, 1], steps: 2, path: path, velocity: |v, x, t| v * (1.0 - t.reshape([-1, 1, 1, 1])) });
        assert_eq(images.shape, [2, 1, 4, 4]);
        let spectral = loss::spectral(basis::haar(), |r| 1.0 / (1.0 + r));
        train::fit(tiny(), two_classes(), #{ steps: 2, batch: 4, loss: spectral });
    "#,
    );
}

#[test]
fn what_functions_of_the_script_give_is_checked_where_they_stand() {
    let fit =
        |options: &str| format!("train::fit(tiny(), two_classes(), #{{ steps: 2, batch: 4, {options} }});");
    fails(
        &fit("loss: |s| s.v - s.target"),
        &["`loss` must return a scalar tensor that records gradients, found a tensor [4, 1, 4, 4]"],
    );
    fails(
        &fit("loss: |s| 0.5"),
        &["`loss`: expected a scalar tensor that records gradients, found the float 0.5"],
    );
    fails(&fit("loss: |s| {\n let wrong = s.v + missing;\n }"), &["missing", "let wrong = s.v + missing"]);
    fails(
        &fit("path: flow::path(#{ noise: |z, x1| z[0] })"),
        &["`noise` of the path must return a tensor [4, 1, 4, 4]"],
    );
    fails(
        &fit("path: flow::path(#{ times: |n, g| tensor::ones([n]) + 1 })"),
        &["must return times from 0, noise, to 1, data, found 2"],
    );
    fails(
        "flow::path(#{ predict: \"eps\" });",
        &["`predict` must be one of `v`, `x`, `noise`, `score`, `ddpm`, found \"eps\""],
    );
    fails(
        &fit("path: flow::path(#{ interpolant: \"gvp\" }), loss: |s| loss::min_snr().of(s)"),
        &["loss::min_snr(#{ gamma: 5.0 }) weights errors on the straight path"],
    );
    fails(
        "flow::path(#{ predict: \"x\", mix: |x1, z, t| #{ x_t: x1, target: z } });",
        &[
            "a path with `mix` has points of its own, from which only `predict: \"v\"` gives velocities, found \"x\"",
            "points `alpha(t) x1 + sigma(t) noise` need no `mix`",
        ],
    );
    fails("flow::path(#{ nose: |z, x1| z });", &["unknown option `nose`", "did you mean `noise`?"]);
    fails(
        "flow::sample(tiny(), #{ labels: [0], guide: |c| c });",
        &["found one that takes 1 value, line 12 of script.rhai"],
    );
}

#[test]
fn a_loss_receives_the_positions_of_its_images() {
    works(
        r#"
        let images = data::from_tensors(tensor::rand([12, 1, 4, 4], #{ seed: 3 }) * 2 - 1, tensor::arange(12) % 2);
        let pixels = images.images();
        let seen = [];
        let loss = |s| {
            assert_eq(pixels[s.indices], s.x1);
            seen.push(s.indices.tolist());
            (s.v - s.target).square().mean()
        };
        train::fit(tiny(), images, #{ steps: 3, batch: 6, accumulate: 2, loss: loss });
        assert_eq(seen.map(|s| s.len()), [3, 3, 3, 3, 3, 3]);
        let first = seen[0] + seen[1] + seen[2] + seen[3];
        first.sort();
        assert_eq(first, (0..12).map(|i| i));
        "#,
    );
}

#[test]
fn a_changed_value_of_a_step_is_that_of_one_variable() {
    works(
        r#"
        fn half(s) { s.target = s.target * 0.5; loss::mse().of(s) }
        let first = |loss| {
            tensor::seed(0);
            train::fit(tiny(), two_classes(), #{ steps: 1, batch: 8, seed: 0, loss: loss }).history[0].loss
        };
        let copied = first.call(|s| loss::mse().of(s + #{ target: s.target * 0.5 }) + 10.0 * loss::mse().of(s));
        assert_eq(first.call(|s| half(s) + 10.0 * loss::mse().of(s)), copied);
        assert_eq(first.call(|s| {
            let all = [s, s];
            all[0].target = s.target * 0.5;
            loss::mse().of(all[0]) + 10.0 * loss::mse().of(all[1])
        }), copied);
        // A variable that a closure captured is shared with it.
        assert_eq(first.call(|s| {
            let other = s;
            let change = || other.target = s.target * 0.5;
            change.call();
            loss::mse().of(other) + 10.0 * loss::mse().of(s)
        }), copied);
    "#,
    );
    let constant =
        "train::fit(tiny(), two_classes(), #{ steps: 1, loss: |s| { const C = s; C.t = 1; s.t.mean() } })";
    fails(constant, &["constant"]);
}

#[test]
fn runs_that_end_early_are_returned_and_functions_know_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    works(&format!(
        r#"
        let options = #{{ steps: 40, batch: 8, checkpoint_every: 2, score: |s| (s.step - 4) ** 2, out: "{}" }};
        let stops = options + #{{ on_step: |s| s.best == () || s.step < s.best.step + 6 }};
        let run = train::fit(tiny(), two_classes(), stops);
        assert_eq(run.steps, 10);
        assert_eq(train::fit(tiny(), two_classes(), stops).losses, run.losses);
        let other = stops + #{{ go_on: true, on_step: |s| s.history.len() < 9 || s.score != 196 }};
        assert_eq(train::fit(tiny(), two_classes(), other).steps, 18);
        let more = options + #{{ patience: 3, go_on: true }};
        assert_eq(train::fit(tiny(), two_classes(), more).steps, 24);
        "#,
        folder.path().display()
    ));
}
