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
