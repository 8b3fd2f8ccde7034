//! Properties of every idea in std-lib/ideas.rhai: it starts as documented, every parameter learns, and what is
//! stored can be loaded again.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// The ideas as a script uses them: the options that each adds to the model, to training and to sampling.
const IDEAS: &str = include_str!("shared/ideas.rhai");

fn run(folder: &Path, name: &str, body: &str) -> String {
    std::fs::write(folder.join(name), format!("{IDEAS}{body}")).expect("a script");
    let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(["run", name])
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).to_string() + &error
}

#[test]
fn an_idea_that_says_so_starts_as_the_plain_dit_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(
        folder.path(),
        "plain.rhai",
        r#"
        for name in ideas_of.keys() {
            let parts = if "parts" in ideas_of[name] { ideas_of[name].parts } else { [] };
            let promised = parts.all(|p| p.plain);
            let starts = made(ideas_of[name]).starts_plain(#{ fields: images.take(2).fields });
            if promised { assert(starts, name); }
            if !starts { print(name); }
        }"#,
    );
    assert_eq!(
        out.split_whitespace().collect::<Vec<_>>(),
        [
            "adaln_single",
            "dora",
            "dynamic_tanh",
            "gated_attention",
            "linear_attention",
            "mixture_of_experts",
            "mv_split",
            "neighborhood_attention",
            "spectral_forcing",
            "weight_normalization"
        ]
    );
}

#[test]
fn every_parameter_learns_and_a_run_that_was_stopped_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(
        folder.path(),
        "learn.rhai",
        r#"
        for name in ideas_of.keys() {
            let idea = ideas_of[name];
            let straight = made(idea);
            let start = straight.copy();
            let run = train::fit(straight, images, settings(idea, #{ steps: 6 }));
            let before = start.parameters().values();
            // Weights behind a zero at the start learn from the second step on; the table of labels has rows that never came up.
            let moved = straight.parameters().values().all(|p, i| !p.equal(before[i]));
            assert(moved, name);
            let stopped = made(idea);
            train::fit(stopped, images, settings(idea, #{ steps: 3, out: `runs/${name}` }));
            let again = made(idea);
            let resumed = train::fit(again, images, settings(idea, #{ steps: 6, out: `runs/${name}` }));
            assert(same(straight.parameters(), again.parameters()), name);
            assert(same(run.ema.parameters(), resumed.ema.parameters()), name);
            let more = #{ labels: [3, 4], steps: 2, seed: 1 };
            if "sample" in idea { more.mixin(idea.sample); }
            let made_images = flow::sample(run.ema, more);
            let opened = model::open(`runs/${name}/ema.safetensors`);
            assert(flow::sample(opened, more).equal(made_images), name);
        }"#,
    );
    // A loss that captures a network cannot be stored, but it is compared when a run resumes.
    assert!(!out.contains("not stored"), "{out}");
}

#[test]
fn what_an_idea_computes_does_not_depend_on_how_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "same.rhai",
        r#"
        // Routes do not depend on the parts of a batch, and do on the seed.
        let routed = |more| train::fit(made(ideas_of.token_routing), images, #{ steps: 6, batch: 8, lr: 1e-2 } + more).losses;
        let whole = routed.call(#{});
        for parts in [2, 4] { assert_close(tensor(routed.call(#{ accumulate: parts })), tensor(whole), 1e-5); }
        // So do the draws of a loss. Untrained maps that are zero would hide them.
        let mean = ideas::mean_flow();
        let drawn = |more| {
            let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: mean.parts });
            let all = net.parameters();
            no_grad(|| { for name in all.keys() { all[name].copy_(0.2 * tensor::randn(all[name].shape, #{ seed: name.len() })); } });
            train::fit(net, images, #{ steps: 2, batch: 8, lr: 1e-2, loss: mean.loss } + more).losses
        };
        let whole = drawn.call(#{});
        for parts in [2, 4] { assert_close(tensor(drawn.call(#{ accumulate: parts })), tensor(whole), 1e-5); }
        assert(drawn.call(#{ seed: 1 })[0] != whole[0]);
        let seen = [];
        let look = nn::part(|b| |x, c| { seen.push([c.seed, c.row, c.batch]); x }, #{ name: "look" }).at("tokens");
        let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: look });
        for seed in [0, 1] { train::fit(net.copy(), images, #{ steps: 1, batch: 8, accumulate: 2, seed: seed }); }
        assert_eq(seen.map(|s| [s[1], s[2]]), [[0, 8], [4, 8], [0, 8], [4, 8]]);
        assert(seen[0][0] == seen[1][0] && seen[0][0] != seen[2][0]);
        // The model in a loss runs in the training step.
        let parts = ideas::long_skips(4, #{ backbone: 3.0, skip: 0.0 });
        let net = model::dit(#{ depth: 4, hidden_size: 16, num_heads: 2, parts: parts });
        train::fit(net, images, #{ steps: 6, batch: 8, lr: 1e-2 });
        let loss = |s| {
            assert(s.v.equal(s.model.forward(s.x_t, s.t, s.y)));
            assert(!s.v.equal(net.forward(s.x_t, s.t, s.y)));
            assert(s.v.equal(s.model.observe(s.x_t, s.t, s.y).v));
            assert_eq(s.ema.forward(s.x_t, s.t, s.y).shape, s.v.shape);
            loss::mse().of(s)
        };
        train::fit(net, images, #{ steps: 1, batch: 8, loss: loss });
        // The learned vector stands for the field where the label is dropped.
        let net = made(ideas_of.condition_on);
        no_grad(|| { for p in net.parameters().values() { p.copy_(0.1 * tensor::randn(p.shape, #{ seed: 3 })); } });
        let t = tensor([0.2, 0.7]);
        let none = net.parameters()["parts.text.none"].expand([2, 6]);
        let of = |text, y| net.forward(images.images()[..2], t, tensor(y), #{ fields: #{ text: text } });
        assert(of.call(images.fields.text[..2], [10, 10]).equal(of.call(images.fields.text[2..4], [10, 10])));
        assert_close(of.call(none, [3, 3]), of.call(none, [3, 3]), 0.0);
        assert(!of.call(images.fields.text[..2], [3, 3]).equal(of.call(none, [3, 3])));
        // Without `r` the network of MeanFlow gives the velocity, which is that for r = t.
        let net = made(ideas_of.mean_flow);
        no_grad(|| { for p in net.parameters().values() { p.copy_(0.1 * tensor::randn(p.shape, #{ seed: 3 })); } });
        let u = |r| net.forward(images.images()[..2], t, tensor([3, 4]), #{ fields: #{ r: r } });
        assert(net.forward(images.images()[..2], t, tensor([3, 4])).equal(u.call(t)));
        assert(!u.call(t).equal(u.call(tensor::ones([2]))));
        // A model that is guided by itself is not guided, whatever it predicts.
        let o = #{ labels: [3, 4], steps: 4, path: flow::path(#{ predict: "x" }) };
        let guided = flow::sample(net, o + ideas::autoguidance(net, 2.0));
        assert_close(guided, flow::sample(net, o), 1e-5);"#,
    );
}

/// The numbers are those of PyTorch 2.11: LoRA and DoRA as in PEFT, and `normalize(w) / sqrt(fan_in)` of EDM2 times a gain.
#[test]
fn changed_weights_are_those_of_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "weights.rhai",
        r#"
        let wave = |shape, by, start| {
            let count = shape.reduce(|a, b| a * b, 1);
            (tensor::arange(count).to("float64") * by + start).sin().reshape(shape)
        };
        let expected = #{
            lora: [0.8953572280121689, 0.2518321239925022, -1.0667264047731482, -2.2193070911629373],
            dora: [0.5301212929856326, 0.14910425359788237, -0.6315852078569145, -1.3140028447768217],
            weight_normalization: [0.6344035328499211, 0.6855393832994129, 0.10639348627026951, -0.5705700913770592],
        };
        let o = #{ rank: 2, alpha: 3.0, names: "*.proj.*" };
        for part in [ideas::lora(o), ideas::dora(o), ideas::weight_normalization(#{ learned: true, names: "*.proj.*" })] {
            let net = model::dit(#{ depth: 1, hidden_size: 4, num_heads: 1, parts: part, dtype: "float64" });
            let set = |name, by, start| {
                let found = net.parameters(#{ match: "blocks.0.attn.proj.*" });
                let p = found[`blocks.0.attn.proj.${name}`];
                if p != () { no_grad(|| p.copy_(wave.call(p.shape, by, start))); }
            };
            set.call("weight", 1.0, 1.0);
            set.call(`parts.${part.name}.down`, 0.5, 2.0);
            set.call(`parts.${part.name}.up`, 0.3, 1.0);
            set.call(`parts.${part.name}.change`, 0.2, 0.1);
            set.call(`parts.${part.name}.gain`, 0.2, 0.1);
            let gain = net.parameters()[`blocks.0.attn.proj.parts.${part.name}.gain`];
            if gain != () { no_grad(|| gain.copy_(gain + 1.0)); }
            let found = net.merge().parameters()["blocks.0.attn.proj.weight"];
            assert_close(found[0], tensor(expected[part.name], #{ dtype: "float64" }), 1e-12);
        }"#,
    );
}

#[test]
fn a_tuned_model_is_saved_merged_and_opened_like_the_plain_one() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "tune.rhai",
        r#"
        fn blur(scale) { nn::part(|b| { let s = b.parameter("s", [1], #{ init: "zeros" }); |r, c| r * (1.0 + scale + s) }) }
        let small = #{ depth: 2, hidden_size: 16, num_heads: 2 };
        let x = tensor::rand([2, 1, 28, 28], #{ seed: 1 });
        let t = tensor([0.2, 0.6]);
        let y = tensor([1, 4]);
        for family in ["spectraldit", "sit"] {
            let origin = model::dit(small + #{ family: family });
            for p in origin.parameters().values() { no_grad(|| p.copy_(tensor::randn(p.shape, #{ seed: 3 }) * 0.1)); }
            origin.save("public.safetensors");
            // A part without a name has another index once the part before it is merged.
            let parts = [ideas::lora(#{ names: ["*.qkv.*", "*.mlp.*"] }), blur(0.5).at("mlp"), blur(0.1).at("tokens")];
            let net = model::open("public.safetensors").attach(parts);
            net.freeze("*");
            net.unfreeze("*.parts.*");
            let before = origin.parameters();
            let run = train::fit(net, images, #{ steps: 4, batch: 4, lr: 1e-2 });
            // What is frozen stays, the average has parts of its own, and changes of weights are learned.
            assert(origin.parameters().keys().all(|name| net.parameters()[name].equal(before[name])));
            assert(net.parameters(#{ match: "*.parts.*" }).values().all(|p| p.abs().max().item() > 0.0));
            assert(!run.ema.forward(x, t, y).equal(net.forward(x, t, y)));
            net.save("tuned.safetensors");
            assert(model::open("tuned.safetensors").forward(x, t, y).equal(net.forward(x, t, y)));
            assert(net.copy().forward(x, t, y).equal(net.forward(x, t, y)));
            let merged = net.merge();
            assert_close(merged.forward(x, t, y), net.forward(x, t, y), 1e-5);
            assert_eq(merged.config.parts.len(), 2);
            merged.save("merged.safetensors");
            assert(model::open("merged.safetensors").forward(x, t, y).equal(merged.forward(x, t, y)));
            // The file of a merged model without other parts is that of the public one.
            let net = model::open("public.safetensors").attach(ideas::lora());
            for p in net.parameters(#{ match: "*.up" }).values() { no_grad(|| p.copy_(tensor::randn(p.shape) * 0.1)); }
            let merged = net.merge();
            merged.save("merged.safetensors");
            assert_eq(tensor::load("merged.safetensors").keys(), tensor::load("public.safetensors").keys());
            origin.load("merged.safetensors");
            assert_close(origin.forward(x, t, y), net.forward(x, t, y), 1e-5);
            assert(net.to("bfloat16").merge().parameters()["blocks.0.attn.qkv.weight"].dtype == "bfloat16");
        }"#,
    );
}

/// The numbers are those of PyTorch, in float64 from the formulas of the papers.
#[test]
fn attention_of_ideas_is_that_of_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "attention.rhai",
        r#"
        let i = tensor::arange(18).to("float64");
        let of = |x| x.reshape([1, 1, 9, 2]);
        let w = of.call((0.37 * i).sin());
        let wanted = #{
            linear_attention: [ideas::linear_attention(), 0.086757, 0.052141, 0.158979, -0.10349],
            neighborhood_attention: [ideas::neighborhood_attention(#{ radius: 1 }), -1.833354, 0.244298, 0.874829, 2.102899],
            value_residual: [ideas::value_residual(), -0.025112, 0.206819, -0.173595, 0.009471],
        };
        for name in wanted.keys() {
            let expected = wanted[name];
            let given = [of.call((0.7 * i + 0.2).sin()), of.call((1.3 * i + 1.0).sin()), of.call((0.9 * i).cos())];
            for x in given { x.requires_grad_(); }
            let idea = expected[0];
            let outputs = [];
            // The part is run on tensors of ours, in a block of a 3 x 3 grid.
            let around = nn::part(|b| {
                let f = b.part("f", idea);
                |x, c| {
                    c.keep("first_values", of.call((0.4 * i).sin()));
                    outputs.push(f.call(#{ q: given[0], k: given[1], v: given[2] }, c));
                    c.inner(x)
                }
            }).at("attend", #{ blocks: 1 });
            let net = model::dit(#{ image_size: 6, patch_size: 2, in_channels: 1, num_classes: 2, depth: 2, hidden_size: 4, num_heads: 1, parts: around });
            net.forward(tensor::zeros([1, 1, 6, 6]), tensor::zeros([1]), tensor([0]));
            (outputs[0] * w).sum().backward();
            let found = [(outputs[0] * w).sum().item()];
            for x in given { found.push((x.grad * w).sum().item()); }
            assert_close(tensor(found), tensor(expected.extract(1..5)), 2e-6);
        }
        // Hidden units that stay run the fused operator, which adds those of a wide MLP in slices.
        assert(model::dit(#{ depth: 1, parts: nn::part(|b| |h, c| h).at("hidden") }).starts_plain());
        // Gates for each head and for each channel, with weights that are not zero.
        for per in ["head", "channel"] {
            let idea = ideas::gated_attention(#{ per: per, start: 0.8 });
            let look = nn::part(|b| {
                let f = b.part("f", idea);
                |x, c| { let y = f.call(x, c); c.keep("x", x); c.keep("y", y); c.keep("input", c.input); y }
            }, #{ name: "look" }).at("heads");
            let net = model::dit(#{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2, parts: look });
            let gate = |name| net.parameters()["blocks.0.parts.look.f.gate." + name];
            no_grad(|| gate.call("weight").copy_(tensor::randn(gate.call("weight").shape, #{ seed: 1 })));
            let kept = net.observe(tensor::randn([2, 1, 8, 8], #{ seed: 2 }), tensor([0.2, 0.7]), tensor([0, 1])).kept;
            let g = (kept.input @ gate.call("weight").transpose(0, 1) + 4.0.ln()).sigmoid();
            let wide = kept.x.reshape([2, 16, 2, 8]) * g.reshape([2, 16, 2, -1]);
            assert_close(kept.y, wide.reshape([2, 16, 16]), 1e-6);
        }"#,
    );
}

/// The formulas of the papers, computed for all tokens at once from the weights.
#[test]
fn modules_of_ideas_are_those_of_the_formulas() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "modules.rhai",
        r#"
        let small = #{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 2, hidden_size: 8, num_heads: 2, dtype: "float64" };
        fn filled(net) {
            let all = net.parameters();
            no_grad(|| { for name in all.keys() { all[name].copy_(0.4 * tensor::randn(all[name].shape, #{ seed: name.len() })); } });
            net
        }
        let x = tensor::randn([3, 1, 8, 8], #{ seed: 1, dtype: "float64" });
        let t = tensor([0.2, 0.7, 0.5]);
        let y = tensor([0, 1, 2]);
        let around = nn::part(|b| |x, c| {
            let made = c.inner(x);
            c.keep(`in_${c.block}`, x);
            c.keep(`out_${c.block}`, made);
            made
        }, #{ name: "look" });
        // Experts: a sum over all of them, with the weights of those that a token has not chosen set to zero.
        for o in [#{ experts: 4, active: 2, ratio: 0.5 }, #{ experts: 3, active: 3 }, #{ experts: 5, active: 1, shared_experts: 1 }, #{ experts: 3, active: 2, shared_experts: 0 }] {
            let moe = ideas::mixture_of_experts(o);
            let net = filled(model::dit(small + #{ parts: moe.parts + [around.at("feed_forward")] }));
            let kept = net.observe(x, t, y).kept;
            for block in 0..2 {
                let w = |name| net.parameters()[`blocks.${block}.parts.experts.${name}`];
                let mlp = |name, h| {
                    let h = (h @ w.call(name + ".net.0.weight").transpose(0, 1) + w.call(name + ".net.0.bias"));
                    h.gelu(#{ approximate: "tanh" }) @ w.call(name + ".net.2.weight").transpose(0, 1) + w.call(name + ".net.2.bias")
                };
                let h = kept[`in_${block}`];
                let e = (h @ w.call("router.weight").transpose(0, 1)).exp();
                let p = e / e.sum(-1, #{ keepdim: true });
                let least = p.sort(-1, #{ descending: true }).values[.., .., o.active - 1].unsqueeze(-1);
                let chosen = (p >= least).to("float64");
                assert_eq(chosen.sum().item(), o.active * 48.0);
                let sum = if o["shared_experts"] == 0 { 0.0 * h } else { mlp.call("shared", h) };
                for i in 0..o.experts { sum = sum + mlp.call(`expert_${i}`, h) * (chosen * p)[.., .., i].unsqueeze(-1); }
                assert_close(kept[`out_${block}`], sum, 1e-10);
                let f = chosen.mean([0, 1]) / o.active;
                assert_close(kept[`balance_${block}`], o.experts * (f * p.mean([0, 1])).sum(), 1e-10);
            }
            let s = #{ v: x, target: 0.5 * x, kept: kept };
            let balance = (kept.balance_0 + kept.balance_1) / 2.0;
            assert_close(moe.loss.call(s), (0.5 * x).square().mean() + 0.01 * balance, 1e-10);
        }
        for wrong in [#{ experts: 2, active: 3 }, #{ active: 0 }, #{ shared_experts: -1 }] {
            let told = "";
            try { ideas::mixture_of_experts(wrong); } catch (e) { told = `${e}`; }
            assert(told.contains("must be"), told);
        }
        // A network trains under autocast, and experts that no token has chosen have a gradient of zero.
        let moe = ideas::mixture_of_experts(#{ experts: 64, active: 1, ratio: 0.25 });
        let net = filled(model::dit(small + #{ dtype: "float32", parts: moe.parts }));
        let seen = net.observe(x.float()[..1], t[..1], y[..1]);
        seen.v.square().mean().backward();
        let grads = net.parameters(#{ match: "*.expert_*.net.0.weight" }).values().map(|p| p.grad);
        assert(grads.all(|g| g != ()));
        assert(grads.some(|g| g.abs().max().item() == 0.0) && grads.some(|g| g.abs().max().item() > 0.0));
        let images = data::from_tensors(tensor::rand([8, 1, 8, 8], #{ seed: 2 }) * 2.0 - 1.0, tensor::arange(8) % 2);
        assert(train::fit(net, images, #{ steps: 2, batch: 4, precision: "bfloat16", loss: moe.loss }).loss < 1e3);
        // tanh(alpha x) is modulated by the coefficients of the block.
        let tanh = ideas::dynamic_tanh(#{ start: 0.8 });
        let stream = nn::part(|b| |x, c| { c.keep(`x_${c.block}`, c.stream); x }, #{ name: "stream" });
        let coefficients = nn::part(|b| |m, c| { c.keep(`shift_${c.block}`, m.shift_mlp); c.keep(`scale_${c.block}`, m.scale_mlp); m }, #{ name: "m" });
        let net = filled(model::dit(small + #{ parts: tanh + [around.at("feed_forward"), stream.at("norm_mlp"), coefficients.at("modulation")] }));
        let kept = net.observe(x, t, y).kept;
        for block in 0..2 {
            let alpha = 0.8 * net.parameters()[`blocks.${block}.parts.tanh_mlp.alpha`];
            let normal = (alpha * kept[`x_${block}`]).tanh();
            assert_close(kept[`in_${block}`], normal * (1.0 + kept[`scale_${block}`]) + kept[`shift_${block}`], 1e-10);
        }
        // One map for all blocks, of which each adds its table; another part adds to the embedding.
        let more = nn::part(|b| |e, c| { let e = e + 0.3; c.keep("e", e); e }, #{ name: "more" }).at("condition");
        let net = filled(model::dit(small + #{ parts: ideas::adaln_single() + [more, coefficients.at("modulation")] }));
        let kept = net.observe(x, t, y).kept;
        let w = net.parameters();
        for block in 0..2 {
            let e = kept.e * kept.e.sigmoid();
            let six = e @ w["parts.adaln_single.map.weight"].transpose(0, 1) + w["parts.adaln_single.map.bias"];
            let own = w[`blocks.${block}.parts.adaln_table.table`];
            assert_close(kept[`shift_${block}`], (six[.., 24..32] + own[3]).unsqueeze(1), 1e-10);
            assert_close(kept[`scale_${block}`], (six[.., 32..40] + own[4]).unsqueeze(1), 1e-10);
        }"#,
    );
}

#[test]
fn one_step_of_mean_flow_has_the_spread_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "mean_flow.rhai",
        r#"
        // Two classes with the means -0.5 and 0.5 and the standard deviation 0.25 in four pixels.
        let y = tensor::arange(512) % 2;
        let x = (y.float() - 0.5).reshape([512, 1, 1, 1]) + 0.25 * tensor::randn([512, 1, 2, 2], #{ seed: 3 });
        let mean = ideas::mean_flow();
        let sizes = #{ image_size: 2, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 32, num_heads: 2 };
        let net = model::dit(sizes + #{ class_dropout_prob: 0.0, parts: mean.parts });
        let set = data::from_tensors(x.clamp(-1.0, 1.0), y);
        let run = train::fit(net, set, #{ steps: 400, batch: 64, lr: 3e-3, ema: 0.99, loss: mean.loss });
        let o = #{ labels: y, steps: 1, seed: 1, clamp: false };
        let one = flow::sample(run.ema, o + #{ fields: #{ r: tensor::ones([512]) } });
        let euler = flow::sample(run.ema, o);
        assert_close(flow::sample(run.ema, o + #{ fields: mean.fields }), one, 0.0);
        let two = flow::sample(run.ema, o + #{ fields: mean.fields, steps: 2 });
        for k in 0..2 {
            assert_close(two[y == k].std(), 0.25, 0.1);
            assert_close(one[y == k].mean(), k - 0.5, 0.1);
            let spread = |x| x[y == k].std().item();
            // One step along the velocity at the noise ends near the mean of the data.
            assert(spread.call(one) > 0.12 && spread.call(euler) < 0.1, `${spread.call(one)} ${spread.call(euler)}`);
        }"#,
    );
}

#[test]
fn ideas_work_on_images_that_are_not_square() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        "oblong.rhai",
        r#"
        let wide = data::from_tensors(tensor::rand([16, 1, 8, 12], #{ seed: 2 }) * 2.0 - 1.0, tensor::arange(16) % 10);
        fn net() {
            nn::model(#{ image_shape: [1, 8, 12], make: |b| {
                let into = b.conv2d("into", 1, 8, 3);
                let out = b.conv2d("out", 8, 1, 3);
                |x, t, y| out.forward(into.forward(x).silu()) * (1.0 + t.reshape([-1, 1, 1, 1]))
            } })
        }
        for idea in [
            #{ loss: ideas::jpeg_loss() }, #{ loss: ideas::wavelet_loss() }, #{ path: ideas::low_pass_path() },
            #{ path: ideas::equal_snr(wide.images()) }, #{ path: ideas::low_pass_source(#{ factor: 2 }) },
        ] {
            idea.mixin(#{ steps: 2, batch: 4 });
            assert(train::fit(net(), wide, idea).loss < 100.0);
        }
        let sample = |more| { let s = #{ labels: [1, 2], steps: 2 }; s.mixin(more); flow::sample(net(), s).shape };
        assert_eq(sample.call(#{ guide: ideas::frequency_guidance() }), [2, 1, 8, 12]);
        assert_eq(sample.call(ideas::autoguidance(net(), 1.5)), [2, 1, 8, 12]);
        assert_eq(ideas::blurred(wide.images(), 4).shape, [16, 1, 8, 12]);"#,
    );
}
