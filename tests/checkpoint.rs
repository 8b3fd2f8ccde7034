//! `spectral checkpoint`: the output of its subcommands and the files that they write.
#![cfg(test)]

mod shared;

use std::path::Path;

use shared::spectral;

const SHAPE: &str =
    r#"image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 8, num_heads: 2"#;

/// Creates a folder with the runs `a` and `b` of one command, which differ only in the seed.
fn runs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"
tensor::seed(0);
for (name, seed) in ["a", "b"] {{
    let net = model::dit(#{{ {SHAPE} }});
    let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::arange(8) % 2);
    train::fit(net, images, #{{ steps: 4, batch: 4, seed: seed, lr: 1e-2, out: name }});
}}
"#
    );
    std::fs::write(folder.path().join("train.rhai"), script).unwrap();
    let ran = spectral(folder.path(), &["run", "train.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    folder
}

fn of(folder: &Path, arguments: &[&str]) -> shared::Ran {
    spectral(folder, &[&["checkpoint"], arguments].concat(), "")
}

#[test]
fn an_average_is_exported_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"
let net = model::dit(#{{ {SHAPE} }});
let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::arange(8) % 2);
let run = train::fit(net, images, #{{ steps: 4, batch: 4, lr: 1e-2, out: "a", ema: [0.5, 0.9] }});
run.averages["0.9"].save("second.safetensors");
"#
    );
    std::fs::write(folder.path().join("train.rhai"), script).unwrap();
    let ran = spectral(folder.path(), &["run", "train.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let file = "a/checkpoints/step-00000004.safetensors";
    let export = |name: &str| of(folder.path(), &["export", file, "net.safetensors", "--average", name]);
    assert_eq!(export("0.9").code, Some(0), "{}", export("0.9").err);
    let same = of(folder.path(), &["diff", "net.safetensors", "second.safetensors"]);
    assert_eq!(same.out, "no difference\n", "{}", same.err);
    let itself = of(folder.path(), &["export", file, &format!("a/../{file}")]);
    assert!(itself.err.contains("would overwrite the one that is read"), "{}", itself.err);
    let missing = export("0.99");
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("has no average called \"0.99\""), "{}", missing.err);
    assert!(missing.err.contains("did you mean `0.9`"), "{}", missing.err);
}

#[test]
fn captured_code_is_shown_as_code() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"
let half = |x| {{
    0.5 * x
}};
let scale = 2.0;
let net = model::dit(#{{ {SHAPE} }});
let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::arange(8) % 2);
train::fit(net, images, #{{ steps: 1, batch: 4, out: "a", loss: |s| scale * half.call(loss::mse().of(s)) }});
"#
    );
    std::fs::write(folder.path().join("train.rhai"), script).unwrap();
    assert_eq!(spectral(folder.path(), &["run", "train.rhai"], "").code, Some(0));
    let shown = of(folder.path(), &["show", "a/checkpoints/step-00000001.safetensors"]).out;
    for part in ["half ", "    3 |     0.5 * x\n", "scale = 2.0"] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(!shown.contains("\"pieces\""), "{shown}");
}

#[test]
fn files_are_shown_compared_exported_and_imported() {
    let runs = runs();
    let at = |run: &str| format!("{run}/checkpoints/step-00000004.safetensors");
    let (a, b) = (at("a"), at("b"));

    let shown = of(runs.path(), &["show", &a]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    for part in [
        "spectral",
        "hidden_size        8",
        "step               4",
        "lr                 0.01",
        "optimizer    ",
    ] {
        assert!(shown.out.contains(part), "{part} in\n{}", shown.out);
    }
    assert!(!shown.out.contains("attn.qkv"), "{}", shown.out);
    assert!(
        of(runs.path(), &["show", &a, "--tensors"])
            .out
            .contains("ema.blocks.0.attn.qkv.weight  tensor [24, 8]")
    );
    let json: serde_json::Value =
        serde_json::from_str(&of(runs.path(), &["show", &a, "--json"]).out).unwrap();
    assert_eq!(json["facts"]["values"]["settings"]["batch"], 4);
    assert_eq!(json["tensors"]["run.losses"]["shape"], serde_json::json!([4]));

    let listed = of(runs.path(), &["show", "a"]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    for part in
        ["step-00000004.safetensors", "the newest checkpoint", "weights.safetensors", "ema.safetensors"]
    {
        assert!(listed.out.contains(part), "{part} in\n{}", listed.out);
    }
    let json: serde_json::Value =
        serde_json::from_str(&of(runs.path(), &["show", "a", "--json"]).out).unwrap();
    assert_eq!(json["newest"], a.as_str());
    for arguments in [&["diff", "a", "b"][..], &["export", "a", "net.safetensors"]] {
        let refused = of(runs.path(), arguments);
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains(&format!("give one of them, such as `{a}`")), "{}", refused.err);
    }
    std::fs::create_dir(runs.path().join("empty")).unwrap();
    let empty = of(runs.path(), &["show", "empty"]);
    assert!(empty.err.contains("the folder has no checkpoints or weights"), "{}", empty.err);

    let same = of(runs.path(), &["diff", &a, &a]);
    assert_eq!((same.code, same.out.as_str()), (Some(0), "no difference\n"));
    // A run that was made again differs in its times and its folder.
    std::fs::rename(runs.path().join("a"), runs.path().join("first")).unwrap();
    assert_eq!(spectral(runs.path(), &["run", "train.rhai"], "").code, Some(0));
    let again = of(runs.path(), &["diff", &a, &at("first")]);
    let said = "no difference, apart from times and the folder of the run\n";
    assert_eq!((again.code, again.out.as_str()), (Some(0), said));
    let weights = of(runs.path(), &["diff", "a/weights.safetensors", &a]);
    assert_eq!(weights.code, Some(1));
    let (count, total) = counts(&weights.out);
    assert!(0 < count && count <= total, "{}", weights.out);
    let other = of(runs.path(), &["diff", &a, &b]);
    assert_eq!(other.code, Some(1), "{}", other.err);
    assert!(other.out.contains("values.settings.seed: 0 | 1"), "{}", other.out);
    assert!(other.out.contains("model: ") && other.out.contains("tensors differ; model."), "{}", other.out);

    for weights in ["ema", "model"] {
        let done = of(runs.path(), &["export", &a, "net.safetensors", "--weights", weights]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let own = if weights == "ema" { "a/ema.safetensors" } else { "a/weights.safetensors" };
        let same = of(runs.path(), &["diff", "net.safetensors", own]);
        assert_eq!(same.out, "no difference\n", "{weights}: {}", same.err);
    }

    let options = format!(
        "{{{}}}",
        SHAPE
            .split(", ")
            .map(|o| o.replacen(": ", "\": ", 1))
            .map(|o| format!("\"{o}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let done =
        of(runs.path(), &["import", &a, "imported.safetensors", "--options", &options, "--prefix", "model."]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        of(runs.path(), &["diff", "imported.safetensors", "a/weights.safetensors"]).out,
        "no difference\n"
    );
}

/// Returns the numbers in a line such as `weights: 3 of 23 tensors differ`.
fn counts(out: &str) -> (usize, usize) {
    let line = out.lines().find(|line| line.starts_with("weights: ")).unwrap();
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn tensors_that_are_not_wanted_are_left_out_by_an_import() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"
let all = model::dit(#{{ {SHAPE} }}).parameters();
all["head.weight"] = tensor::ones([2]);
all["other.bias"] = tensor::ones([2]);
tensor::save("weights.safetensors", all);
"#
    );
    std::fs::write(folder.path().join("save.rhai"), script).unwrap();
    let ran = spectral(folder.path(), &["run", "save.rhai"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let options = r#"{"image_size": 4, "patch_size": 2, "depth": 1, "hidden_size": 8, "num_heads": 2, "num_classes": 2}"#;
    let plain = ["import", "weights.safetensors", "net.safetensors", "--options", options];
    let refused = of(folder.path(), &plain);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("to leave them out: --ignore 'head.*' --ignore 'other.*'"),
        "{}",
        refused.err
    );
    let ignoring = [&plain[..], &["--ignore", "head.*", "--ignore", "other.*"]].concat();
    let done = of(folder.path(), &ignoring);
    assert_eq!(done.code, Some(0), "{}", done.err);
}

#[test]
fn weights_with_corrections_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"model::dit(#{{ {SHAPE}, corrections: [correction(filter::gaussian(#{{ sigma: 0.7 }}), gate::time())] }}).save("net.safetensors");"#
    );
    std::fs::write(folder.path().join("save.rhai"), script).unwrap();
    assert_eq!(spectral(folder.path(), &["run", "save.rhai"], "").code, Some(0));
    let options = |corrections: &str| {
        format!(
            r#"{{"image_size": 4, "patch_size": 2, "depth": 1, "hidden_size": 8, "num_heads": 2, "num_classes": 2,
                "corrections": {corrections}}}"#
        )
    };
    let import = |corrections: &str| {
        of(
            folder.path(),
            &["import", "net.safetensors", "again.safetensors", "--options", &options(corrections)],
        )
    };
    let done =
        import(r#"[{"filter": {"kind": "gaussian", "options": {"sigma": 0.7}}, "gate": {"kind": "time"}}]"#);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let same = of(folder.path(), &["diff", "net.safetensors", "again.safetensors"]);
    assert_eq!(same.out, "no difference\n", "{}", same.err);
    for (wrong, said) in [
        (r#"[{"filter": {"kind": "gausian"}, "gate": {"kind": "time"}}]"#, "did you mean `gaussian`?"),
        (r#"[{"filter": {"kind": "gaussian"}}]"#, "has a `gate`"),
        ("[7]", "expected a stored correction"),
    ] {
        let failed = import(wrong);
        assert_eq!(failed.code, Some(1), "{wrong}");
        assert!(failed.err.contains(said), "{wrong}: {}", failed.err);
    }
}

#[test]
fn files_that_are_something_else_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state_dict.pt");
    let fixture = fixture.display().to_string();
    let shown = of(folder.path(), &["show", &fixture, "--tensors"]);
    assert!(shown.out.contains("model.whole  tensor [2, 3] float32"), "{}{}", shown.out, shown.err);
    let failed = |arguments: &[&str]| {
        let ran = of(folder.path(), arguments);
        assert_eq!(ran.code, Some(1), "{}", ran.out);
        ran.err
    };
    let said = failed(&["import", &fixture, "net.safetensors", "--prefix", "model."]);
    assert!(said.contains("the weights do not fit the model"), "{said}");
    assert!(failed(&["export", &fixture, "net.safetensors"]).contains("state_dict.pt: "));
    assert!(failed(&["show", "nowhere.pt"]).contains("there is no such file"));
    std::fs::write(folder.path().join("cut.safetensors"), [9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    assert!(failed(&["show", "cut.safetensors"]).contains("the header is longer than the file"));
}

#[test]
fn code_that_differs_is_shown_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, before: &str, error: &str| {
        let script = format!(
            r#"{before}
let net = model::dit(#{{ {SHAPE} }});
let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::arange(8) % 2);
let loss = |s| {{
    let error = s.v - s.target;
    {error}
}};
let same = nn::part(|b| |x, c| x, #{{ name: "same" }});
train::fit(net, images, #{{ steps: 2, batch: 4, out: "{name}", loss: loss, also: same }});
"#
        );
        std::fs::write(folder.path().join("train.rhai"), script).unwrap();
        let ran = spectral(folder.path(), &["run", "train.rhai"], "");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        format!("{name}/checkpoints/step-00000002.safetensors")
    };
    let [a, b] =
        [run("a", "", "error.square().mean()"), run("b", "// Absolute errors.\n", "error.abs().mean()")];
    let found = of(folder.path(), &["diff", &a, &b]);
    assert_eq!(found.code, Some(1), "{}", found.err);
    let expected = "values.settings.loss.options.function:
  - the closure in line 4 of train.rhai
  + the closure in line 5 of train.rhai
  -       6 |     error.square().mean()
  +       7 |     error.abs().mean()
";
    assert!(found.out.contains(expected), "{}", found.out);
    assert!(
        found.out.contains("values.settings.also[0].code:\n") && !found.out.contains("pieces"),
        "{}",
        found.out
    );
}
