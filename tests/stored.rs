//! Code of imported files that is stored with models: opened without the files, or after they changed.
#![cfg(test)]

mod shared;

use std::path::Path;
use std::process::Command;

use shared::{bad, good, spectral};

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

const SHOW: &str = "
let v = net.forward(tensor::ones([1, 1, 4, 4]), tensor([0.5]), tensor([1]));
print(`sum ${v.square().sum().item()}`);
";

const SHAPE: &str = "let shape = #{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };";

fn net(parts: &str) -> String {
    format!(
        "{SHAPE}
        let net = model::dit(shape + #{{ {parts} }});
        for p in net.parameters().values() {{ no_grad(|| p.copy_(tensor::rand(p.shape, #{{ seed: 3 }}) * 0.2)); }}\n"
    )
}

fn sum(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("sum ")).unwrap_or_else(|| panic!("{text}"))
}

/// Saves the model of a script, then opens it alone in another folder, and beside the files with each of the changes. Returns
/// what `checkpoint show` prints.
fn opens_as_saved(files: &[(&str, &str)], changes: &[(&str, &str)], script: &str) -> String {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(here.path(), files);
    let saved = good(here.path(), "make.rhai", &format!("{script}{SHOW}net.save(\"net.safetensors\");"));
    assert!(!saved.contains("not stored"), "{saved}");
    std::fs::copy(here.path().join("net.safetensors"), there.path().join("net.safetensors")).unwrap();
    let open = format!(
        "let net = model::open(\"net.safetensors\");{SHOW}net.save(\"again.safetensors\");
        net = model::open(\"again.safetensors\");{SHOW}"
    );
    let alone = good(there.path(), "open.rhai", &open);
    assert_eq!(alone.matches(sum(&saved)).count(), 2, "{alone}");
    for (name, text) in changes {
        write(here.path(), &[(name, text)]);
        // The script itself means the new files, and its model and the stored one live side by side.
        let both = format!("let old = model::open(\"net.safetensors\");{script}{SHOW}net = old;{SHOW}");
        let both = good(here.path(), "make.rhai", &both);
        assert!(both.contains(sum(&saved)) && sum(&both) != sum(&saved), "{text}: {both}");
        write(here.path(), files);
    }
    let shown = spectral(here.path(), &["checkpoint", "show", "net.safetensors"], "");
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    shown.out
}

#[test]
fn functions_of_imported_files_are_stored_with_what_they_need() {
    let files = [
        (
            "lib/my.rhai",
            "import \"more\" as more;
            import \"more\" as again;
            const HALF = 0.5;
            export const SHIFT = 0.25 + HALF;
            export const TWIST = |x| x * 1.5 + helper(x);
            fn f(x) { more::power(x) * global::HALF + helper(x) }
            private fn helper(x) { x * 0.125 + x.square() * again::small() }
            fn unused(x) { missing::f(x) }",
        ),
        (
            "lib/more.rhai",
            "const BY = [2.0, #{ a: 1.0 }];
            fn power(x) { x.square() * global::BY[0] + x * global::BY[1].a + deep(x) }
            fn small() { 0.01 }
            fn deep(x) { import \"deep/own\" as own; own::f(x) }",
        ),
        (
            "lib/deep/own.rhai",
            "import \"../more\" as more; fn f(x) { x.tanh() + x.square() * more::small() }",
        ),
    ];
    let script = "import \"lib/my\" as my;
        const OWN = 3.0;
        fn twice(x) { my::f(x) * global::OWN }
        let scale = |x| my::more::power(x) * 0.1;
        let part = nn::part(|b| |r, c| twice(r) + my::SHIFT + my::TWIST.call(r) + scale.call(r)).at(\"mlp\");\n"
        .to_string()
        + net("parts: part").as_str();
    let changes = [
        (0, files[0].1.replace("0.125", "0.5")),
        (0, files[0].1.replace("HALF = 0.5", "HALF = 0.75")),
        (0, files[0].1.replace("x * 1.5", "x * 2.5")),
        (1, files[1].1.replace("small() { 0.01", "small() { 2.0")),
        (1, files[1].1.replace("a: 1.0", "a: 2.0")),
        (2, files[2].1.replace("x.tanh()", "x * 3.0")),
    ];
    let changes: Vec<(&str, &str)> = changes.iter().map(|(i, text)| (files[*i].0, text.as_str())).collect();
    let shown = opens_as_saved(&files, &changes, &script);
    assert!(shown.contains("lib/more.rhai") && shown.contains("fn small() { 0.01 }"), "{shown}");
    assert!(!shown.contains("unused"), "{shown}");
}

#[test]
fn gates_networks_and_named_functions_are_stored_with_imported_files() {
    let files = [("lib/my.rhai", "fn rule(t) { [t * 0.5, 1.0 - t] }\nfn f(x) { x * 2.0 }")];
    let changed = [("lib/my.rhai", "fn rule(t) { [t * 0.25, 1.0 - t] }\nfn f(x) { x * 3.0 }")];
    let import = "import \"lib/my\" as my;\n";
    let gate =
        "parts: correction(filter::gaussian(#{ sigma: 1.0 }), gate::schedule(|t| my::rule(t))).at(\"mlp\")";
    opens_as_saved(&files, &changed, &(import.to_string() + net(gate).as_str()));
    let named =
        format!("{import}fn make(b) {{ |x, c| my::f(x) }}\n{}", net("parts: nn::part(make).at(\"mlp\")"));
    opens_as_saved(&files, &changed, &named);
    let network = "let net = nn::model(#{ image_shape: [1, 4, 4], num_classes: 2, make: |b| {
            import \"lib/my\" as own;
            |x, t, y| { import \"lib/my\" as my; my::f(x) + own::f(x) }
        } });";
    opens_as_saved(&files, &changed, network);
}

#[test]
fn what_an_import_holds_and_no_file_can_hold_is_said() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (
                "my.rhai",
                "export const BIG = tensor::zeros([70000]);\nconst OTHER = BIG;\nfn f(x) { x + global::OTHER[0] }",
            ),
            ("early.rhai", "const N = 2.0;\nfn f(x) { x * global::N }"),
        ],
    );
    let with = |body: &str| {
        let part = format!("parts: nn::part(|b| |x, c| {{ {body} }}).at(\"mlp\")");
        format!("import \"my\" as my;\nlet which = \"my\";\n{}net.save(\"net.safetensors\");", net(&part))
    };
    for (body, text) in [
        ("x + my::BIG[0]", "its constant `BIG`: a tensor [70000] float32 is not stored with code"),
        ("my::f(x)", "its constant `OTHER`: a tensor [70000] float32 is not stored with code"),
        ("import which as w; w::f(x)", "it imports a file whose name is computed"),
        ("import \"none\" as w; w::f(x)", "none.rhai: no such script to import"),
        ("x * global::NONE", "its constant `NONE` is not known"),
    ] {
        let out = good(folder.path(), "make.rhai", &with(body));
        assert!(
            out.contains("is not stored, so the model must be built again") && out.contains(text),
            "{out}"
        );
        let error = bad(folder.path(), "open.rhai", "model::open(\"net.safetensors\");");
        assert!(error.contains("its code was not stored"), "{error}");
    }
    // A file that no function has imported so far is read.
    let out = good(folder.path(), "make.rhai", &with("import \"early\" as early; early::f(x)"));
    assert!(!out.contains("not stored"), "{out}");
    let shown = format!("let net = model::open(\"net.safetensors\");{SHOW}");
    let expected = good(folder.path(), "open.rhai", &shown);
    std::fs::remove_file(folder.path().join("early.rhai")).unwrap();
    assert_eq!(good(folder.path(), "open.rhai", &shown), expected);
}

#[test]
fn a_run_resumes_whether_or_not_its_imports_were_read_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let values = [("lib/z.rhai", "export const ZZ = 2.0;\nconst K = 0.5;\nfn k(x) { x * global::K }")];
    write(folder.path(), &values);
    let run = |first: &str, out: &str, steps: usize| {
        let text = net("")
            + "let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::arange(8) % 2);
            let own = |s| { import \"lib/z\" as z; z::k(z::ZZ * (s.v - s.target).square().mean()) };\n"
            + format!("train::fit(net, images, #{{ steps: {steps}, batch: 4, out: \"{out}\", loss: own }});")
                .as_str();
        good(folder.path(), "train.rhai", &(first.to_string() + text.as_str()));
    };
    run("", "a", 1);
    run("import \"lib/z\" as q;\n", "a", 2);
    run("import \"lib/z\" as q;\n", "b", 1);
    run("", "b", 2);
}

/// The file of a closure says where its imports start, also when native code calls it.
#[test]
fn closures_of_imported_files_import_from_their_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("lib/parts.rhai", "fn make() { |x| { import \"near\" as near; near::f(x) } }"),
            ("lib/near.rhai", "fn f(x) { x + 1 }"),
        ],
    );
    let out = good(folder.path(), "a.rhai", "import \"lib/parts\" as p; print([1, 2].map(p::make()));");
    assert!(out.contains("[2, 3]"), "{out}");
}

/// Names of folders are bytes on Linux, and messages show them with replacement characters.
#[cfg(target_os = "linux")]
#[test]
fn scripts_below_a_folder_whose_name_is_not_utf_8_import_their_neighbors() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join(OsStr::from_bytes(b"n\xff"));
    let files = [
        ("lib/my.rhai", "import \"more\" as more;\nfn f() { more::f() + 1 }"),
        ("lib/more.rhai", "fn f() { 1 }"),
        ("a.rhai", "import \"lib/my\" as my;\nprint(my::f());"),
    ];
    write(&inner, &files);
    for command in ["run", "check"] {
        let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
            .arg(command)
            .arg(Path::new(OsStr::from_bytes(b"n\xff")).join("a.rhai"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn code_of_filters_is_stored_and_a_run_with_it_resumes() {
    let filtered = net(
        "corrections: correction(filter::custom(|g| (g * gain).tanh()), gate::constant(#{ low: 0.5, high: 0.2 }))",
    );
    let stored = format!("let gain = 0.3;{filtered}");
    let shown = opens_as_saved(&[], &[], &stored);
    assert!(shown.contains("|g| (g * gain).tanh()") && shown.contains("gain = 0.3"), "{shown}");
    // What no file can hold is compared.
    for place in ["corrections: filtered", "parts: filtered.at(\"attn\")"] {
        let folder = tempfile::tempdir().unwrap();
        let train = |steps: i64, out: &str, code: &str| {
            let net = net(place);
            let text = format!(
                "let big = tensor::ones([70000]) * 0.3;
                let filtered = correction(filter::custom(|g| {code}), gate::constant(#{{ low: 0.5, high: 0.2 }}));
                {net}
                let images = data::from_tensors(tensor::rand([8, 1, 4, 4], #{{ seed: 2 }}), tensor::arange(8) % 2);
                let run = train::fit(net, images, #{{ steps: {steps}, batch: 4, lr: 1e-2, out: \"{out}\" }});
                tensor::save(\"{out}.safetensors\", #{{ v: net.forward(tensor::ones([1, 1, 4, 4]), tensor([0.5]), tensor([1])) }});"
            );
            write(folder.path(), &[("train.rhai", &text)]);
            spectral(folder.path(), &["run", "train.rhai"], "")
        };
        let code = "(g * big[0]).tanh()";
        for (steps, out) in [(4, "whole"), (2, "parts"), (4, "parts")] {
            let ran = train(steps, out, code);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
        }
        good(
            folder.path(),
            "same.rhai",
            "assert(tensor::load(\"whole.safetensors\").v.equal(tensor::load(\"parts.safetensors\").v));",
        );
        let changed = train(4, "parts", "(g * big[0]).sin()");
        assert!(changed.err.contains("filter` changed") && changed.err.contains(".sin()"), "{}", changed.err);
    }
}

#[test]
fn a_function_that_captures_functions_is_stored_in_time_that_they_bound() {
    let folder = tempfile::tempdir().unwrap();
    let saved = |first: &str, levels: usize, wrap: &str| {
        let make = format!("let f = {first};\nfor i in 0..{levels} {{ let g = f; let h = f; f = {wrap}; }}");
        let parts = "parts: nn::part(|b| |r, c| f.call(r)).at(\"mlp\")";
        good(
            folder.path(),
            "make.rhai",
            &format!("{make}\n{}net.save(\"net.safetensors\"); print(\"saved\");", net(parts)),
        )
    };
    let chain = saved("|x| x * 2.0", 30, "|x| g.call(x)");
    assert!(chain.contains("saved") && !chain.contains("not stored"), "{chain}");
    let opened =
        good(folder.path(), "open.rhai", &format!("let net = model::open(\"net.safetensors\");{SHOW}"));
    assert!(opened.contains("sum "), "{opened}");
    // What is captured at the end of a chain cannot be stored.
    let tensor = saved("{ let large = tensor::zeros([400, 400]); |x| x + large[0, 0] }", 30, "|x| g.call(x)");
    assert!(tensor.contains("saved") && tensor.contains("not stored"), "{tensor}");
    let doubled = saved("|x| x", 40, "|x| g.call(h.call(x))");
    assert!(
        doubled.contains("saved") && doubled.contains("it captures more than 1000 functions"),
        "{doubled}"
    );
}
