//! Parts and networks defined by scripts: stored with their code, opened without the script, errors with a place.
#![cfg(test)]

mod shared;

use shared::{bad, good, spectral};

const SHARED: &str = "
fn swing(x) { half(x) * 2.0 }      // calls the next one
private fn half(x) { x * 0.5 }
fn split(b) {
    let gate = b.parameter(\"gate\", [2], #{ init: \"ones\" });
    |r, c| r + gate[0] * swing(r) * c.t.mean()
}
fn blurred(options) {
    let low = filter::gaussian(#{ sigma: options.sigma });
    let names = [\"a\", \"b\"];
    let scale = |x| x * options.scale;
    nn::part(|b| {
        let width = b.parameter(`w_${names[1]}`, [b.width], #{ init: \"zeros\" });
        |r, c| scale.call(low.apply(r, c.grid)) * width + r
    }, #{ name: \"blurred\", plain: true })
}
let parts = [nn::part(split).at(\"mlp\", #{ blocks: \"even\" }), blurred(#{ sigma: 1.5, scale: 0.5 }).at(\"attn\", #{ blocks: 1..2 })];
let net = model::dit(#{ depth: 3, hidden_size: 16, num_heads: 2, parts: parts });
for p in net.parameters().values() { no_grad(|| p.copy_(tensor::rand(p.shape, #{ seed: 3 }) * 0.2)); }
let x = tensor::rand([2, 1, 28, 28], #{ seed: 1 });
let t = tensor([0.2, 0.6]);
let y = tensor([1, 4]);
";

#[test]
fn functions_without_parameters_are_stored_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = |helpers: &str| {
        format!(
            "{helpers}
            let part = nn::part(|b| |r, c| r * scale() + other()).at(\"mlp\");
            let net = model::dit(#{{ depth: 1, hidden_size: 16, num_heads: 2, parts: part }});
            net.save(\"net.safetensors\");"
        )
    };
    for helpers in [
        "fn scale() { 1.0 } fn other() { 2 } fn more() { other() }",
        "private fn scale ( ) // here\n{ let f = || other(); f.call() }\n/* two */ private fn other(/* none */)\n\n{ 2 }",
        "fn scale(x) { x + scale() } fn scale() { other(1) } fn other(x) { `${ x }`.len() } fn other() { other(1) }",
    ] {
        good(folder.path(), "make.rhai", &text(helpers));
        let opened =
            good(folder.path(), "open.rhai", "print(model::open(\"net.safetensors\").config.parts);");
        assert!(opened.contains("make.rhai"), "{opened}");
        let shown = spectral(folder.path(), &["checkpoint", "show", "net.safetensors"], "").out;
        assert!(shown.contains("scale") && !shown.contains("more") && !shown.contains("let part"), "{shown}");
    }
}

#[test]
fn a_model_with_code_opens_without_its_script() {
    let folder = tempfile::tempdir().unwrap();
    good(
        folder.path(),
        "make.rhai",
        &(SHARED.to_string()
            + "net.save(\"net.safetensors\"); tensor::save(\"v.npy\", net.forward(x, t, y));"),
    );
    std::fs::remove_file(folder.path().join("make.rhai")).unwrap();
    let out = good(
        folder.path(),
        "open.rhai",
        "let net = model::open(\"net.safetensors\");
         let v = net.forward(tensor::rand([2, 1, 28, 28], #{ seed: 1 }), tensor([0.2, 0.6]), tensor([1, 4]));
         assert(v.equal(tensor::load(\"v.npy\")));
         print(net.config.parts);
         net.save(\"again.safetensors\");
         assert(model::open(\"again.safetensors\").forward(tensor::rand([2, 1, 28, 28], #{ seed: 1 }), tensor([0.2, 0.6]), tensor([1, 4])).equal(v));",
    );
    assert!(out.contains("split of make.rhai at mlp in blocks \"even\""), "{out}");
    assert!(
        out.contains("part `blurred`, the closure in line 12 of make.rhai at attn in blocks 1..2"),
        "{out}"
    );
}

#[test]
fn code_keeps_the_bases_losses_paths_and_times_that_it_captured() {
    let folder = tempfile::tempdir().unwrap();
    let text = "let basis = basis::haar(#{ levels: 1 });
        let smooth = loss::spectral(basis::dct(), |r| 1.0 / (1.0 + r));
        let snr = loss::min_snr(#{ gamma: 3.0 });
        let path = flow::path(#{ predict: \"x\", noise: |z, x1| 2.0 * z });
        let times = flow::mode();
        let part = nn::part(|b| |x, c| {
            let v = basis.scale(x, |r| 1.0 - 0.1 * r);
            let s = #{ v: v, target: x, t: c.t };
            let density = times.density(c.t).to(x.dtype).reshape([-1, 1, 1, 1]);
            path.velocity(v, x, c.t) * (1.0 + smooth.of(s) + snr.of(s)) + density
        }).at(\"image\");
        let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: part });\n";
    let seen =
        "print(net.observe(tensor::rand([1, 1, 28, 28], #{ seed: 1 }), tensor([0.5]), tensor([1])).kept);";
    let part = text
        .replace("path.velocity", "let y = path.velocity")
        .replace("+ density\n", "+ density;\nc.keep(\"y\", y.square().sum()); y\n");
    let expected = good(folder.path(), "make.rhai", &format!("{part}net.save(\"net.safetensors\");{seen}"));
    assert!(expected.contains('y') && !expected.contains("not stored"), "{expected}");
    let found =
        good(folder.path(), "open.rhai", &format!("let net = model::open(\"net.safetensors\");{seen}"));
    assert_eq!(found, expected);
}

#[test]
fn an_error_in_stored_code_names_the_line_of_the_file_that_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = "let part = nn::part(|b| {\n    |x, c| x.narrow(1, 0, 3)\n}).at(\"tokens\");\n\
                let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: part });\n\
                net.save(\"net.safetensors\");\n";
    good(folder.path(), "wrong.rhai", text);
    let call = "net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.5]), tensor([1]));";
    let shape = "expected a tensor of shape [1, 196, 16] like its input, found [1, 3, 16]";
    let error = bad(folder.path(), "call.rhai", &(text.to_string() + call));
    assert!(error.contains("the part at tokens, line 2 of call.rhai: ") && error.contains(shape), "{error}");
    let error =
        bad(folder.path(), "open.rhai", &format!("let net = model::open(\"net.safetensors\");\n{call}"));
    assert!(error.contains("line 2 of call.rhai, as it was stored: ") && error.contains(shape), "{error}");
}

#[test]
fn a_part_that_needs_no_call_takes_one_argument_also_when_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let net = |part: &str| {
        format!(
            "let net = model::dit(#{{ depth: 1, hidden_size: 16, num_heads: 2, parts: nn::part({part}).at(\"tokens\") }});
             net.save(\"net.safetensors\");\n"
        )
    };
    let seen =
        "print(net.forward(tensor::ones([1, 1, 28, 28]), tensor([0.5]), tensor([1])).square().sum().item());";
    let expected = good(folder.path(), "both.rhai", &(net("|b| |x, c| x * 0.5") + seen));
    for part in ["|b| |x| x * 0.5", "|b| { let half = 0.5; |x| x * half }"] {
        assert_eq!(good(folder.path(), "one.rhai", &(net(part) + seen)), expected);
        let opened = format!("let net = model::open(\"net.safetensors\");\n{seen}");
        assert_eq!(good(folder.path(), "open.rhai", &opened), expected);
    }
    let error = bad(folder.path(), "three.rhai", &(net("|b|\n|x, c, d| x") + seen));
    assert!(
        error.contains("expected a function `|x|` or `|x, c|`, found one that takes 3 values"),
        "{error}"
    );
    assert!(error.contains("line 2 of three.rhai"), "{error}");
}

#[test]
fn what_cannot_be_stored_is_said_when_the_model_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let with = |captured: &str| {
        format!(
            "let held = {captured};
             let part = nn::part(|b| |x, c| x * held).at(\"tokens\");
             let net = model::dit(#{{ depth: 1, hidden_size: 16, num_heads: 2, parts: part }});
             net.save(\"net.safetensors\");"
        )
    };
    let out = good(
        folder.path(),
        "tensor.rhai",
        &with("tensor::zeros([70000])[0..1]").replace("x * held", "x * held.sum()").replace("[0..1]", ""),
    );
    assert!(out.contains("is not stored, so the model must be built again"), "{out}");
    assert!(out.contains("its variable `held`") && out.contains("is not stored with code"), "{out}");
    let error = bad(folder.path(), "open.rhai", "model::open(\"net.safetensors\");");
    assert!(error.contains("its code was not stored") && error.contains("model.load(FILE)"), "{error}");
    for held in ["2.0", "tensor([2.0])", "tensor([2])"] {
        let out = good(folder.path(), "number.rhai", &with(held));
        assert!(!out.contains("not stored"), "{out}");
    }
    good(folder.path(), "open.rhai", "model::open(\"net.safetensors\");");
}

#[test]
fn functions_of_an_imported_file_are_stored_as_those_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("lib.rhai"),
        "fn twice(x) { twice(x, 2.0) }\nfn make() { nn::part(|b| |x, c| twice(x)) }\nfn twice(x, by) { x * by }",
    )
    .unwrap();
    let net = |part: &str| {
        format!(
            "import \"lib\" as lib;
             let net = model::dit(#{{ depth: 1, hidden_size: 16, num_heads: 2, parts: {part}.at(\"tokens\") }});
             net.save(\"net.safetensors\");"
        )
    };
    let out = good(folder.path(), "own.rhai", &net("lib::make()"));
    assert!(!out.contains("not stored"), "{out}");
    std::fs::remove_file(folder.path().join("own.rhai")).unwrap();
    good(
        folder.path(),
        "open.rhai",
        "model::open(\"net.safetensors\").forward(tensor::zeros([1, 1, 28, 28]), tensor([0.5]), tensor([1]));",
    );
}

#[test]
fn a_hostile_file_runs_nothing_when_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let text = "fn make(b) { files::write_text(\"ran.txt\", \"x\"); |x, c| x }
                let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: nn::part(make).at(\"tokens\") });
                checkpoint::save(\"net.ckpt\", #{ model: net });";
    good(folder.path(), "make.rhai", text);
    std::fs::remove_file(folder.path().join("ran.txt")).unwrap();
    let text = spectral(folder.path(), &["checkpoint", "show", "net.ckpt"], "").out;
    assert!(text.contains("fn make(b) { files::write"), "{text}");
    good(folder.path(), "show.rhai", "checkpoint::info(\"net.ckpt\");");
    assert!(!folder.path().join("ran.txt").exists());
    // Opening the file as a model runs its code, as requested.
    good(folder.path(), "open.rhai", "model::open(\"net.ckpt\", #{ weights: \"model\" });");
    assert!(folder.path().join("ran.txt").exists());
}

#[test]
fn networks_of_ones_own_are_stored_traced_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = "let net = nn::model(#{ image_shape: [2, 4, 6], num_classes: 3, name: \"tiny\", make: |b| {
            let mix = b.conv2d(\"mix\", 2, 2, 3);
            |x, t, y, c| { let v = mix.forward(x); c.keep(\"v\", v); v + y.reshape([-1, 1, 1, 1]) }
        }});
        print(net);
        assert_eq(net.flops, 2 * 2 * 4 * 6 * 2 * 9 * 1.0);
        let x = tensor::rand([2, 2, 4, 6], #{ seed: 2 });
        let seen = net.trace(x, tensor([0.1, 0.2]), tensor([0, 3]));
        assert_eq(seen[0].v.shape, [2, 2, 4, 6]);
        net.save(\"net.safetensors\");
        let again = model::open(\"net.safetensors\");
        assert(again.forward(x, tensor([0.1, 0.2]), tensor([0, 3])).equal(net.forward(x, tensor([0.1, 0.2]), tensor([0, 3]))));
        assert_eq(net.copy().config.image_shape, [2, 4, 6]);";
    let out = good(folder.path(), "own.rhai", text);
    assert!(out.contains("tiny") && out.contains("2 x 4 x 6, 3 classes"), "{out}");
    let error = bad(
        folder.path(),
        "wrong.rhai",
        "let net = nn::model(#{ image_shape: [1, 4, 4], make: |b| |x, t, y| x.mean() });
         net.forward(tensor::zeros([1, 1, 4, 4]), tensor([0.0]), tensor([0]));",
    );
    assert!(error.contains("expected a velocity of the images' shape [1, 1, 4, 4], found []"), "{error}");
    let error = bad(folder.path(), "none.rhai", "nn::model(#{ image_shape: [1, 4, 4] });");
    assert!(error.contains("option `make` is missing"), "{error}");
    let error = bad(
        folder.path(),
        "late.rhai",
        "let kept = []; let net = nn::model(#{ make: |b| { kept.push(b); |x, t, y| x } }); kept[0].linear(\"x\", 2, 2);",
    );
    assert!(error.contains("parameters can no longer be added"), "{error}");
}

#[test]
fn code_that_is_not_stored_is_compared_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("lib")).unwrap();
    let library = "import \"more\" as more;\nfn error(s) { more::power(s.v - s.target) }
        const APART = 1;\nfn apart() { import \"last\" as l; global::APART * l::one() }\n";
    let more = "fn power(x) { x.square() }";
    std::fs::write(path.join("lib/last.rhai"), "fn one() { 1 }").unwrap();
    std::fs::write(path.join("lib/errors.rhai"), library).unwrap();
    std::fs::write(path.join("lib/more.rhai"), more).unwrap();
    let script = "import \"lib/errors\" as errors;
        let shape = #{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
        let big = tensor::full([70000], 0.5);
        let rule = gate::schedule(|t| [0.5 * t, t * 0.0 * big[1]]);
        let custom = gate::custom(|b| |c| tensor::stack([c.t, c.t * 2.0 + 0.0 * big[1]], 1));
        let part = nn::part(|b| |r, c| r * errors::apart() + 0.0 * big[0]).at(\"mlp\");
        let corrections = correction(filter::binomial(), rule);
        let moved = correction(filter::binomial(), custom).at(\"attn\");
        let net = model::dit(shape + #{ parts: [part, moved], corrections: corrections });
        let frozen = model::dit(shape + #{ seed: 7 });
        let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: \"int64\" }));
        let loss = |s| errors::error(s).mean() + 0.0 * frozen.forward(s.x_t, s.t, s.y).mean() + 0.0 * big[0];
        let noise = |z, x1| z * big[0] + 0.0 * net.parameters().values()[0].mean().detach();
        let run = train::fit(net, images, #{ steps: 4, batch: 4, lr: 1e-3, out: \"run\", loss: loss, path: flow::path(#{ noise: noise }) });
        let again = train::fit(net, images, #{ steps: 5, batch: 4, lr: 1e-3, out: \"run\", loss: loss, path: flow::path(#{ noise: noise }) });";
    let out = good(path, "train.rhai", script);
    assert!(!out.contains("cannot tell"), "{out}");
    std::fs::write(path.join("lib/errors.rhai"), library.replace("(s.v", "( s.v") + "fn unused() {}")
        .unwrap();
    let again = script.replace("steps: 4", "steps: 5");
    good(path, "train.rhai", &again);
    for (from, to, name) in [
        ("errors::error(s).mean()", "errors::error(s).sum()", "loss"),
        ("seed: 7", "seed: 8", "loss"),
        ("z * big[0]", "big[0] * z", "path.noise"),
        ("r * errors", "r + errors", "model.parts[0]"),
        ("[0.5 * t", "[0.25 * t", "model.corrections[0].gate"),
        ("c.t * 2.0", "c.t * 3.0", "model.parts[1].gate"),
        ("full([70000], 0.5)", "full([70000], 0.25)", "loss"),
    ] {
        assert!(again.contains(from));
        let error = bad(path, "train.rhai", &again.replace(from, to));
        assert!(error.contains(&format!("the code of `{name}` changed")), "{error}");
    }
    std::fs::write(path.join("lib/more.rhai"), "\nfn power(x) { x.abs() }").unwrap();
    let error = bad(path, "train.rhai", &again);
    assert!(error.contains("line 2 of lib/more.rhai was `fn power(x) { x.square() }`"), "{error}");
    std::fs::write(path.join("lib/more.rhai"), more).unwrap();
    std::fs::write(path.join("lib/errors.rhai"), library.replace("APART = 1", "APART = 2")).unwrap();
    let error = bad(path, "train.rhai", &again);
    assert!(error.contains("`APART` of lib/errors.rhai was 1 and is 2"), "{error}");
    std::fs::write(path.join("lib/errors.rhai"), library).unwrap();
    std::fs::write(path.join("lib/last.rhai"), "fn one() { 2 }").unwrap();
    let error = bad(path, "train.rhai", &again);
    assert!(error.contains("line 1 of lib/last.rhai was `fn one() { 1 }`"), "{error}");
    std::fs::write(path.join("lib/last.rhai"), "fn one() { 1 }").unwrap();
    good(path, "train.rhai", &again);
}

#[test]
fn a_sweep_says_that_results_were_made_by_other_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let script = "let twice = |x| 2 * x;
        let r = sweep::run([1, 2, 3], #{ out: \"s\", remake: false }, |p| #{ y: twice.call(p) });
        print(r[\"y\"]); print(report::provenance());";
    let first = good(path, "s.rhai", script);
    assert!(first.contains("[2, 4, 6]") && first.contains("script_sha256"), "{first}");
    let same = good(path, "s.rhai", &script.replace("2 * x", "2*x /* twice */"));
    assert!(same.contains("finished before") && !same.contains("other code"), "{same}");
    let changed = script.replace("2 * x", "3 * x");
    let other = good(path, "s.rhai", &changed);
    assert!(other.contains("3 of 3 results in s/journal.jsonl were made by other code"), "{other}");
    assert!(other.contains("[2, 4, 6]"), "{other}");
    let made = good(path, "s.rhai", &changed.replace("remake: false", "remake: true"));
    assert!(made.contains("[3, 6, 9]") && !made.contains("finished before"), "{made}");
    assert!(!good(path, "s.rhai", &changed).contains("other code"));
}

#[test]
fn replaced_modules_are_stored_and_files_with_their_weights_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        fn wide() {
            nn::part(|b| {
                let up = b.linear("up", b.width, 2 * b.width);
                let down = b.linear("down", 2 * b.width, b.width);
                |x| down.forward(up.forward(x).silu())
            }, #{ name: "wide", replaces: true }).at("feed_forward", #{ blocks: 1.. })
        }
        let small = #{ depth: 3, hidden_size: 16, num_heads: 2 };
        let x = tensor::rand([2, 1, 28, 28], #{ seed: 1 });
        let t = tensor([0.2, 0.6]);
        let y = tensor([1, 4]);
        fn fill(net) { for p in net.parameters().values() { no_grad(|| p.copy_(tensor::randn(p.shape, #{ seed: 3 }) * 0.1)); } net }
        for family in ["spectraldit", "dit", "sit", "lightningdit"] {
            let plain = fill(model::dit(small + #{ family: family }));
            plain.save("plain.safetensors");
            tensor::save("public.safetensors", plain.parameters());
            let t = if family == "dit" { 900.0 * t } else { t };
            let net = fill(model::dit(small + #{ family: family, parts: wide() }));
            assert_eq(net.parameters(#{ match: ["blocks.0.mlp.*", "blocks.1.attn.*"] }).len() > 2, true);
            assert(!net.parameters().keys().some(|name| name.starts_with("blocks.1.mlp") || name.starts_with("blocks.2.mlp")));
            let v = net.forward(x, t, y);
            net.save("net.safetensors");
            assert(model::open("net.safetensors").forward(x, t, y).equal(v));
            assert_eq(model::open("net.safetensors").config.parts[0].replaces, true);
            // Weights of a module that the model lacks are not dropped without a word.
            let told = "";
            try { net.load("public.safetensors"); } catch (e) { told = `${e}`; }
            assert(told.contains("blocks.1.mlp"), told);
            let grown = model::open("plain.safetensors").attach(wide());
            assert(grown.parameters()["blocks.0.attn.qkv.weight"].equal(plain.parameters()["blocks.0.attn.qkv.weight"]));
            assert_eq(grown.parameters().keys(), net.parameters().keys());
            // The same through the names of what is left out.
            net.load("public.safetensors", #{ ignore: ["blocks.1.mlp.*", "blocks.2.mlp.*"], partial: true });
            assert(net.parameters()["blocks.2.attn.qkv.weight"].equal(plain.parameters()["blocks.2.attn.qkv.weight"]));
            // LoRA adapts what is there, and merging keeps the replacement.
            let tuned = fill(net.attach(ideas::lora(#{ names: ["blocks.*.mlp.*", "*.attn.*"] })));
            assert_eq(tuned.parameters(#{ match: "*.mlp.*.lora.up" }).keys().all(|name| name.starts_with("blocks.0.")), true);
            let merged = tuned.merge();
            assert_close(merged.forward(x, t, y), tuned.forward(x, t, y), 1e-4);
            assert_eq(merged.parameters().keys(), net.parameters().keys());
            let none = false;
            try { net.attach(ideas::lora(#{ names: "blocks.1.mlp.*" })); } catch { none = true; }
            assert(none);
        }
        let images = data::fashion_mnist().take(16);
        let run = |steps, out| {
            let net = model::dit(small + #{ parts: wide() });
            train::fit(net, images, #{ steps: steps, batch: 4, lr: 1e-2, weight_decay: 0.1, out: out });
            net
        };
        run.call(2, "run");
        let resumed = run.call(4, "run").parameters();
        let straight = run.call(4, "other").parameters();
        assert(resumed.keys().all(|name| resumed[name].equal(straight[name])));
    "#;
    good(folder.path(), "replaced.rhai", text);
    let error = bad(
        folder.path(),
        "load.rhai",
        "let part = nn::part(|b| { let s = b.parameter(\"s\", [1]); |x| s * x }, #{ replaces: true }).at(\"feed_forward\");
         let net = model::dit(#{ depth: 3, hidden_size: 16, num_heads: 2, family: \"lightningdit\", parts: part });
         net.load(\"public.safetensors\");",
    );
    assert!(error.contains("6 unexpected") || error.contains("12 unexpected"), "{error}");
    assert!(
        error.contains("a module that the part at feed_forward replaces") && error.contains(".attach(part)"),
        "{error}"
    );
}

#[test]
fn replacements_leave_what_others_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
        let x = tensor::rand([2, 1, 28, 28]);
        for place in [\"norm_attn\", \"norm_mlp\"] {
            let halves = nn::part(|b| |x| { x *= 0.5; x }, #{ replaces: true }).at(place);
            let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: halves });
            let told = \"\";
            try { net.forward(x, tensor([0.5, 0.5]), tensor([0, 1])); } catch (e) { told = `${e}`; }
            assert(told.contains(\"expected the tokens to stay as given\"), told);
        }";
    good(folder.path(), "place.rhai", text);
}

#[test]
fn files_open_with_another_scaling_of_positions_than_they_were_saved_with() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
        for family in [\"sit\", \"lightningdit\", \"spectraldit\"] {
            let net = model::dit(#{ family: family, image_size: 8, patch_size: 2, in_channels: 1, depth: 1, hidden_size: 16, num_heads: 2 });
            for p in net.parameters().values() { if p.requires_grad { no_grad(|| p.copy_(tensor::randn(p.shape, #{ seed: 3 }) * 0.2)); } }
            net.save(\"small.safetensors\");
            model::open(\"small.safetensors\", #{ image_size: 16, position_scaling: \"linear\" }).save(\"large.safetensors\");
            let of = |net| net.forward(tensor::randn([1, 1, 16, 16], #{ seed: 4 }), tensor([0.5]), tensor([1]));
            let all = [];
            for scaling in [\"none\", \"ntk\", \"linear\"] {
                let o = #{ position_scaling: scaling };
                all.push(of.call(model::open(\"small.safetensors\", o + #{ image_size: 16 })));
                assert(of.call(model::open(\"large.safetensors\", o)).equal(all[-1]), `${family} ${scaling}`);
            }
            assert(!all[0].equal(all[2]));
        }";
    good(folder.path(), "open.rhai", text);
}

#[test]
fn parts_that_depend_on_the_grid_say_so_at_another_size() {
    let folder = tempfile::tempdir().unwrap();
    good(
        folder.path(),
        "sizes.rhai",
        r#"
let small = #{ image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
let bias = nn::part(|b| {
    let table = b.parameter("table", [b.grid * b.grid, 1], #{ init: "zeros" });
    |x| x + table
}, #{ name: "bias" }).at("tokens");
let net = model::dit(small + #{ parts: bias });
net.save("net.safetensors");
let told = "";
try { model::open("net.safetensors", #{ image_size: 12 }); } catch (e) { told = `${e} ${e.hint}`; }
let expected = "`parts.bias.table` depends on the grid: it has shape [16, 1] for images of 8 x 8, with which the model was made, and [36, 1] for 12 x 12";
assert(told.contains(expected) && told.contains("keep `image_size: 8`"), told);
told = "";
try { net.forward(tensor::zeros([1, 1, 12, 8]), tensor([0.5]), tensor([0])); } catch (e) { told = `${e} ${e.hint}`; }
assert(told.contains("`b.grid` was 4 when the part was made, and these images have a grid of 6 x 4 tokens, `c.grid_size`"), told);
// At the size of the model nothing is said of grids.
let wrong = model::dit(small + #{ parts: nn::part(|b| |x| x + tensor::zeros([5, 1])).at("tokens") });
told = "";
try { wrong.forward(tensor::zeros([1, 1, 8, 8]), tensor([0.5]), tensor([0])); } catch (e) { told = `${e} ${e.hint}`; }
assert(told.len() > 0 && !told.contains("b.grid"), told);
// A part whose parameters do not depend on the grid opens at any size.
let plain = model::dit(small + #{ parts: nn::part(|b| { let s = b.parameter("s", [1]); |x| x * s }).at("tokens") });
plain.save("plain.safetensors");
assert_eq(model::open("plain.safetensors", #{ image_size: 12 }).config.image_size, 12);
"#,
    );
}

#[test]
fn weights_of_a_network_with_other_code_are_loaded_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let text = |scale: &str, body: &str| {
        format!(
            r#"
let scale = {scale};
let net = nn::model(#{{ image_shape: [1, 4, 4], num_classes: 2, make: |b| {{
    let w = b.parameter("w", [1], #{{ init: "ones" }});
    |x, t, y| {body}
}} }});
let size = #{{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 }};
let gated = correction(filter::binomial(), gate::schedule(|t| [scale * t, 0.0]));
let part = nn::part(|b| |x, c| {{ let w = scale; {body} }}, #{{ name: "own" }}).at("tokens");
let dit = model::dit(size + #{{ corrections: gated, parts: part }});
"#
        )
    };
    let save = r#"net.save("net.safetensors"); dit.save("dit.safetensors");"#;
    let load = r#"net.load("net.safetensors"); dit.load("dit.safetensors");"#;
    good(folder.path(), "own.rhai", &(text("2.0", "x * w * scale") + save));
    // Comments, layout and lines before make no difference.
    let same = format!("// More.\n{}{load}", text("2.0", "x  *  w * scale /* the same */"));
    let told = good(folder.path(), "own.rhai", &same);
    assert!(!told.contains("made for another model"), "{told}");
    let told = good(folder.path(), "own.rhai", &(text("2.0", "x * w + scale") + load));
    assert!(
        told.contains("the weights fit, but they were made for another model, so that the outputs differ: the code of the network")
            && told.contains("line 5 of own.rhai was `|x, t, y| x * w * scale` and is `|x, t, y| x * w + scale`")
            && told.contains("the code of `parts.own` differs: line 9"),
        "{told}"
    );
    let told = good(folder.path(), "own.rhai", &(text("3.0", "x * w * scale") + load));
    assert!(
        told.contains("the code of the network differs: `scale` was 2.0 and is 3.0")
            && told.contains("the code of `corrections[0].gate` differs: `scale` was 2.0 and is 3.0")
            && told.contains("the code of `parts.own` differs: `scale` was 2.0 and is 3.0"),
        "{told}"
    );
}
