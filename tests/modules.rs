//! Models as modules of networks and parts: trained, stored, opened and resumed.
#![cfg(test)]

mod shared;

use shared::{bad, good};

const INSIDE: &str = "
let small = #{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 3, depth: 1, hidden_size: 16, num_heads: 2 };
fn fill(net) { for p in net.parameters().values() { no_grad(|| p.copy_(tensor::randn(p.shape, #{ seed: 3 }) * 0.2)); } net }
let made = fill(model::dit(small + #{ corrections: correction(filter::box(), gate::time()) }));
fn around(made, shape) {
    nn::model(#{ image_shape: shape, num_classes: 3, make: |b| {
        let inner = b.model(\"deep.inner\", made);
        let s = b.parameter(\"s\", [1], #{ init: \"ones\" });
        |x, t, y| s * inner.forward(x, t, y) + x
    }})
}
let x = tensor::randn([2, 1, 8, 8], #{ seed: 1 });
let t = tensor([0.2, 0.6]);
let y = tensor([1, 3]);
let images = data::from_tensors(tensor::rand([8, 1, 8, 8], #{ seed: 2 }) * 2 - 1, tensor::arange(8) % 3);
";

fn script(text: &str) -> String {
    INSIDE.to_string() + text
}

#[test]
fn a_model_inside_of_a_network_is_trained_stored_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let out = good(
        folder.path(),
        "train.rhai",
        &script(
            r#"
            let own = made.forward(x, t, y);
            let net = around(made, [1, 8, 8]);
            assert_eq(net.num_parameters, made.num_parameters + 1);
            assert_close(net.forward(x, t, y), own + x, 0.0);
            let start = net.copy();
            assert_close(start.forward(x, t, y), own + x, 0.0);
            let half = net.to("bfloat16").parameters();
            assert(half.values().all(|p| p.dtype == "bfloat16"));
            assert_eq(half.keys(), net.parameters().keys());
            // Another network of it shares nothing, and neither does a network in a network.
            let outer = around(net, [1, 8, 8]);
            assert_close(outer.forward(x, t, y), own + 2 * x, 1e-5);
            assert("deep.inner.deep.inner.blocks.0.attn.qkv.weight" in outer.parameters());

            let run = train::fit(net, images, #{ steps: 4, batch: 4, lr: 1e-2, out: "whole" });
            let before = start.parameters();
            let after = net.parameters();
            assert(after.keys().filter(|n| !n.contains("pos_embed") && after[n].equal(before[n])).len() == 0);
            assert(!run.ema.forward(x, t, y).equal(start.forward(x, t, y)));
            assert_close(made.forward(x, t, y), own, 0.0);

            // A run that was stopped ends with the same bits.
            let again = start.copy();
            train::fit(again, images, #{ steps: 2, batch: 4, lr: 1e-2, out: "stopped" });
            let again = start.copy();
            train::fit(again, images, #{ steps: 4, batch: 4, lr: 1e-2, out: "stopped" });
            assert(again.forward(x, t, y).equal(net.forward(x, t, y)));

            // What is frozen stays frozen in the network, and in its copies.
            made.freeze("*");
            let frozen = around(made, [1, 8, 8]).copy();
            assert_eq(frozen.parameters().values().filter(|p| p.requires_grad).len(), 1);

            net.save("net.safetensors");
            tensor::save("out.safetensors", #{ v: net.forward(x, t, y), ema: run.ema.forward(x, t, y) });
            "#,
        ),
    );
    assert!(!out.contains("not stored"), "{out}");
    // The script that made the model is not needed, nor is the model that the code captured.
    good(
        folder.path(),
        "open.rhai",
        &script(
            r#"
            let expected = tensor::load("out.safetensors");
            let net = model::open("net.safetensors");
            assert(net.forward(x, t, y).equal(expected.v));
            assert(net.copy().forward(x, t, y).equal(expected.v));
            net.save("again.safetensors");
            assert(model::open("again.safetensors").forward(x, t, y).equal(expected.v));
            "#,
        ),
    );
}

#[test]
fn a_model_that_is_not_a_module_is_not_stored_and_has_no_weights_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let captured = |make: &str| {
        script(&format!(
            "let net = nn::model(#{{ image_shape: [1, 8, 8], num_classes: 3, make: |b| {{ {make} }} }});
             net.save(\"net.safetensors\");"
        ))
    };
    let out = good(
        folder.path(),
        "captured.rhai",
        &captured("let s = b.parameter(\"s\", [1]); |x, t, y| s * made.forward(x, t, y)"),
    );
    assert!(out.contains("is not stored with code"), "{out}");
    // One that was a module as well has its settings in the file, but no weights of its own.
    good(
        folder.path(),
        "both.rhai",
        &captured("let m = b.model(\"m\", made); |x, t, y| m.forward(x, t, y) + made.forward(x, t, y)"),
    );
    let error =
        bad(folder.path(), "open.rhai", &script("model::open(\"net.safetensors\").forward(x, t, y);"));
    assert!(error.contains("the settings of this model, but not its weights"), "{error}");
    let twice = captured("let a = b.model(\"m\", made); let c = b.model(\"m\", made); |x, t, y| x");
    let error = bad(folder.path(), "twice.rhai", &twice);
    assert!(error.contains("already exists"), "{error}");
}

#[test]
fn a_model_inside_of_a_part_is_trained_with_the_loss_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let text = |steps: i64, out: &str| {
        script(&format!(
            r#"
            let fake = nn::part(|b| {{
                let net = b.model("net", made);
                |x, t, y| net.forward(x, t, y)
            }}, #{{ name: "fake" }});
            let loss = |s| (s.v - s.target).square().mean()
                + (s.also.fake.call(s.x_t.detach(), s.t, s.y) - s.target).square().mean();
            let net = model::dit(small);
            let run = train::fit(net, images, #{{
                steps: {steps}, batch: 4, lr: 1e-2, loss: loss, also: fake, out: "{out}",
                groups: [#{{ match: "also.fake.*", lr: 0.5 }}],
            }});
            tensor::save("{out}.safetensors", #{{
                v: net.forward(x, t, y), fake: run.also.fake.call(x, t, y), made: made.forward(x, t, y),
            }});
            "#
        ))
    };
    good(folder.path(), "whole.rhai", &text(4, "whole"));
    good(folder.path(), "first.rhai", &text(2, "parts"));
    let out = good(folder.path(), "second.rhai", &text(4, "parts"));
    assert!(!out.contains("changed"), "{out}");
    good(
        folder.path(),
        "same.rhai",
        "let a = tensor::load(\"whole.safetensors\"); let b = tensor::load(\"parts.safetensors\");
         assert(a.v.equal(b.v) && a.fake.equal(b.fake) && !a.fake.equal(a.made));",
    );
}

#[test]
fn a_module_of_a_part_in_a_dit_is_attached_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    good(
        folder.path(),
        "part.rhai",
        &script(
            r#"
            let part = nn::part(|b| {
                let net = b.model("net", made);
                |x, c| net.forward(x, c.t, c.y) + x
            }, #{ name: "inside" }).at("image");
            let net = fill(model::dit(small + #{ parts: part }));
            let grown = fill(model::dit(small)).attach(part);
            assert("parts.inside.net.blocks.0.attn.qkv.weight" in grown.parameters());
            assert_close(grown.forward(x, t, y), net.forward(x, t, y), 1e-5);
            let more = grown.attach(nn::part(|b| |x, c| x).at("tokens"));
            assert(more.forward(x, t, y).equal(grown.forward(x, t, y)));
            assert(grown.flops > net.flops * 0.99);
            grown.save("net.safetensors");
            assert(model::open("net.safetensors").forward(x, t, y).equal(grown.forward(x, t, y)));
            "#,
        ),
    );
}

#[test]
fn a_layer_in_a_variable_of_several_builds_is_an_error_of_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let error = bad(
        folder.path(),
        "shared.rhai",
        "let one = ();
         let part = nn::part(|b| {
             if one == () { one = b.linear(\"one\", b.width, b.width); }
             |r, c| r + one.forward(r)
         }).at(\"block\");
         model::dit(#{ depth: 2, hidden_size: 16, num_heads: 2, parts: part }).copy();",
    );
    assert!(error.contains("the copy has no parameter `blocks.0.parts.0.one.weight`"), "{error}");
    assert!(error.contains("the same parameters in every call"), "{error}");
}

#[test]
fn a_part_around_blocks_runs_all_images() {
    let folder = tempfile::tempdir().unwrap();
    let error = bad(
        folder.path(),
        "batch.rhai",
        "let part = nn::part(|b| |x, c| c.inner(x.narrow(0, 0, 1)).expand([3, -1, -1])).at(\"span\");
         let net = model::dit(#{ depth: 2, hidden_size: 16, num_heads: 2, parts: part });
         net.forward(tensor::zeros([3, 1, 28, 28]), tensor([0.3, 0.4, 0.6]), tensor([0, 1, 2]));",
    );
    assert!(error.contains("`c.inner` needs the tokens of all 3 images, found those of 1"), "{error}");
}

#[test]
fn models_in_also_are_trained_saved_and_resumed_to_equal_bits() {
    let folder = tempfile::tempdir().unwrap();
    let text = |steps: i64, out: &str, more: &str| {
        script(&format!(
            r#"
            let critic = made.copy();
            critic.freeze("blocks.*.attn.*");
            let scale = nn::part(|b| {{ let w = b.parameter("w", [1], #{{ init: "ones" }}); |v| v * w }});
            let loss = |s| (s.also.scale.call(s.v) - s.target).square().mean()
                + (s.also.critic.forward(s.x_t.detach(), s.t, s.y) - s.target).square().mean();
            let net = model::dit(small);
            {more}
            let run = train::fit(net, images, #{{
                steps: {steps}, batch: 4, lr: 1e-2, loss: loss, also: #{{ critic: critic, scale: scale }}, out: "{out}",
                groups: [#{{ match: "also.critic.*", lr: 0.5 }}],
            }});
            assert(run.also.critic.forward(x, t, y).equal(critic.forward(x, t, y)));
            tensor::save("{out}.safetensors", #{{
                v: net.forward(x, t, y), critic: critic.forward(x, t, y), made: made.forward(x, t, y),
                scale: run.also.scale.call(tensor::ones([1])),
                kept: critic.parameters()["blocks.0.attn.qkv.weight"], had: made.parameters()["blocks.0.attn.qkv.weight"],
            }});
            "#
        ))
    };
    good(folder.path(), "whole.rhai", &text(4, "whole", ""));
    good(folder.path(), "first.rhai", &text(2, "parts", ""));
    // The same call in one process finds the weights of the checkpoint in the model.
    let again = text(
        4,
        "parts",
        "train::fit(net, images, #{ steps: 2, batch: 4, lr: 1e-2, loss: loss, also: #{ critic: critic, scale: scale }, out: \"parts\", groups: [#{ match: \"also.critic.*\", lr: 0.5 }] });",
    );
    let out = good(folder.path(), "second.rhai", &again);
    assert!(!out.contains("changed"), "{out}");
    good(
        folder.path(),
        "same.rhai",
        "let a = tensor::load(\"whole.safetensors\"); let b = tensor::load(\"parts.safetensors\");
         assert(a.keys().all(|name| a[name].equal(b[name])) && !a.critic.equal(a.made));
         assert(a.kept.equal(a.had) && a.scale.item() != 1.0);",
    );
    let other = text(4, "parts", "for p in critic.parameters().values() { no_grad(|| p.mul_(2.0)); }");
    let error = bad(folder.path(), "other.rhai", &other);
    assert!(error.contains("the run started from other weights of `also.critic`"), "{error}");
    let deeper = text(4, "parts", "")
        .replace("let critic = made.copy()", "let critic = model::dit(small + #{ depth: 2 })");
    let error = bad(folder.path(), "deeper.rhai", &deeper);
    assert!(error.contains("other settings") && error.contains("also"), "{error}");
}

#[test]
fn what_cannot_be_trained_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |also: &str, told: &str| {
        let text = format!(
            "let frozen = made.copy(); frozen.freeze(\"*\"); let net = model::dit(small);
             let part = nn::part(|b| |x| x, #{{ name: \"model\" }});
             train::fit(net, images, #{{ steps: 1, batch: 4, also: {also} }});"
        );
        let error = bad(folder.path(), "refused.rhai", &script(&text));
        assert!(error.contains(told), "{also}: {error}");
    };
    refused("frozen", "`also.model` has no parameter that records gradients");
    refused("net", "are the same parameter");
    refused("[made, part]", "two entries of `also` are called `model`");
    refused("#{ twice: made, made: made }", "are the same parameter");
    refused("[nn::part(|b| |x| x)]", "has no name");
    refused("#{ one: 7 }", "`one`: expected a part or a model");
}

/// Runs the training of a script, and returns the notes about captured values that nothing trains.
fn untrained(folder: &std::path::Path, text: &str) -> Vec<String> {
    let start = "
        let w = tensor::ones([1]).requires_grad(true);
        let other = fill(model::dit(small));
        let layer = nn::builder().linear(\"l\", 8, 8);
        let o = #{ steps: 12, batch: 4, lr: 1e-3, log_every: 4 };
        fn error(v, s) { (v - s.target).square().mean() }
    ";
    let out = good(folder, "captured.rhai", &script(&format!("{start}{text}")));
    let notes = out.lines().filter(|line| line.contains("nothing trains it"));
    notes
        .map(|line| line.trim_start_matches("note: ").split(',').next().unwrap_or_default().to_string())
        .collect()
}

#[test]
fn captured_values_that_receive_gradients_and_that_nothing_trains_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    let found = |text: &str| untrained(folder.path(), text);
    let own = "let net = model::dit(small);";
    let fit =
        |loss: &str, more: &str| format!("{own} train::fit(net, images, o + #{{ loss: {loss}, {more} }});");
    assert_eq!(found(&fit("|s| error(s.v * w, s)", "")), ["`loss` captured `w`"]);
    assert_eq!(found(&fit("|s| error(layer.forward(s.v), s)", "")), ["`loss` captured `layer`"]);
    let model = "|s| error(s.v + other.forward(s.x_t, s.t, s.y), s)";
    assert_eq!(found(&fit(model, "")), ["`loss` captured `other`"]);
    // In a map, an array, a function, a ready loss and the function of a part.
    let held = "let held = #{ all: [1, w] }; let f = |v| v * held.all[1];";
    assert_eq!(
        found(&format!("{held} {}", fit("|s| error(f.call(s.v), s)", ""))),
        ["`loss` captured `held.all[1]`"]
    );
    assert_eq!(found(&fit("loss::weighted(|t| t * w)", "")), ["`loss` captured `w`"]);
    let part = |make: &str| {
        format!(
            "let net = model::dit(small + #{{ parts: nn::part({make}, #{{ name: \"p\" }}).at(\"tokens\") }}); train::fit(net, images, o);"
        )
    };
    assert_eq!(found(&part("|b| |x, c| x * w")), ["the code of `parts.p` captured `w`"]);
    let made = "|b| { let own = tensor::ones([1]).requires_grad(true); |x, c| x * own }";
    assert_eq!(found(&part(made)), ["the code of `parts.p` captured `own`"]);
    let filter = "let net = model::dit(small + #{ corrections: correction(filter::custom(|x| x * w), gate::constant(#{ low: 1.0, high: 0.5 })) }); train::fit(net, images, o);";
    assert_eq!(found(filter), ["the code of `blocks.0.freq_filter` captured `w`"]);
    // Reading it in `on_step` trains nothing.
    assert_eq!(
        found(&fit("|s| error(s.v * w, s)", "on_step: |s| { w.item(); true }")),
        ["`loss` captured `w`"]
    );
}

#[test]
fn captured_values_without_gradients_or_with_an_optimizer_are_not_noted() {
    let folder = tempfile::tempdir().unwrap();
    let none = |text: &str| assert_eq!(untrained(folder.path(), text), Vec::<String>::new(), "{text}");
    let fit = |before: &str, loss: &str, more: &str| {
        format!(
            "let net = model::dit(small); {before} train::fit(net, images, o + #{{ loss: {loss}, {more} }});"
        )
    };
    let teacher = "|s| error(s.v - no_grad(|| other.forward(s.x_t, s.t, s.y)), s)";
    none(&fit("", teacher, ""));
    none(&fit("other.freeze(\"*\");", "|s| error(s.v + other.forward(s.x_t, s.t, s.y), s)", ""));
    none(&fit("", "|s| error(s.v * w.detach(), s)", ""));
    none(&fit("", "|s| error(s.model.forward(s.x_t, s.t, s.y) + net.forward(s.x_t, s.t, s.y), s)", ""));
    none(&fit("", "|s| error(s.v, s) + (s.ema.forward(s.x_t, s.t, s.y) - s.v).square().mean()", ""));
    none(&fit("", "|s| error(s.v + s.also.model.forward(s.x_t, s.t, s.y), s)", "also: other"));
    // Trained by the script: by an optimizer, by hand in place, and by a new tensor.
    let loss = "|s| error(s.v * w, s)";
    none(&fit("let opt = optim::adamw(w);", loss, "on_step: |s| { opt.step(w.square().sum()); true }"));
    none(&fit("", loss, "on_step: |s| { no_grad(|| w.sub_(0.1)); true }"));
    none(&fit("", loss, "on_step: |s| { w = (w.detach() * 0.9).requires_grad(true); true }"));
}
