//! Models of the public families compared with outputs of the public code, and everything around opening their files.
//!
//! `tests/fixtures/families` holds files that the public code wrote, with random weights: a state dictionary or a training
//! file for each model, and a safetensors file with its configuration, inputs and output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spectral::context::Context;
use spectral::data;
use spectral::declare::Options;
use spectral::flow::{self, Path as FlowPath, SampleOptions};
use spectral::model::accounting::Accounting;
use spectral::model::open::open;
use spectral::model::{Config, DitOptions, Family, LoadOptions, Model, OpenOptions, Part, Position, Weights};
use spectral::nn::{MlpKind, QkNorm, TokenNorm};
use spectral::spectral::{correction, filter, gate};
use spectral::torch::io::{TensorFile, load_named, load_safetensors, save_safetensors};
use spectral::torch::{DType, Device, Tensor, autograd, fused, no_grad};
use spectral::train::FitOptions;
use spectral::train::fit::fit;

use super::model::{close, error};

/// A fixture: its file of weights, and its inputs and output.
struct Fixture {
    name: &'static str,
    file: PathBuf,
    family: Family,
    config: serde_json::Value,
    tensors: BTreeMap<String, Tensor>,
}

const FIXTURES: [(&str, &str, Family); 6] = [
    ("dit", "dit.pt", Family::Dit),
    ("sit", "sit.training.pt", Family::Sit),
    ("sit_plain", "sit_plain.pt", Family::Sit),
    ("lightningdit", "lightningdit.training.pt", Family::LightningDit),
    ("lightningdit_all", "lightningdit_all.pt", Family::LightningDit),
    ("lightningdit_none", "lightningdit_none.training.pt", Family::LightningDit),
];

fn fixtures() -> Vec<Fixture> {
    let folder = super::fixtures().join("families");
    let read = |(name, file, family): &(&'static str, &str, Family)| {
        let loaded = load_safetensors(&folder.join(format!("{name}.safetensors")), Device::Cpu).unwrap();
        let config = serde_json::from_str(&loaded.metadata["config"]).unwrap();
        Fixture { name, file: folder.join(file), family: *family, config, tensors: loaded.tensors }
    };
    FIXTURES.iter().map(read).collect()
}

fn fixture(name: &str) -> Fixture {
    fixtures().into_iter().find(|fixture| fixture.name == name).unwrap()
}

impl Fixture {
    fn options(&self) -> OpenOptions {
        let num_heads = self.config["num_heads"].as_i64();
        OpenOptions { family: Some(self.family), num_heads, ..Default::default() }
    }

    fn open(&self, dtype: Option<DType>) -> Model {
        open(&self.file, &OpenOptions { dtype, ..self.options() }, &Context::default()).unwrap()
    }

    fn forward(&self, model: &Model) -> Tensor {
        let x = self.tensors["x"].to_dtype(model.dtype()).unwrap();
        model.forward(&x, &self.tensors["t"], &self.tensors["y"]).unwrap()
    }
}

/// Opens a file and returns the error.
fn refused(path: &Path, options: &OpenOptions) -> spectral::error::Error {
    open(path, options, &Context::default()).map(|model| model.title()).unwrap_err()
}

#[test]
fn outputs_equal_those_of_the_public_code() {
    spectral::torch::start();
    for fixture in fixtures() {
        let model = fixture.open(None);
        let expected = &fixture.tensors["output"];
        let v = no_grad(|| fixture.forward(&model));
        close(fixture.name, &v, expected, 1e-5);
        let plain = fused::with_reference_operators(|| no_grad(|| fixture.forward(&model)));
        close(&format!("{} in libtorch's operators", fixture.name), &plain, expected, 1e-5);
        // Half precision follows within its rounding.
        for dtype in [DType::BFloat16, DType::Float16] {
            let model = fixture.open(Some(dtype));
            close(&format!("{} {}", fixture.name, dtype.name()), &fixture.forward(&model), expected, 5e-2);
        }
    }
}

#[test]
fn shapes_tell_the_configuration() {
    for fixture in fixtures() {
        let model = fixture.open(None);
        let (config, expected) = (model.config().unwrap(), &fixture.config);
        let int = |name: &str| expected[name].as_i64().unwrap();
        let flag = |name: &str| expected[name].as_bool().unwrap_or(false);
        assert_eq!(config.image_size, int("input_size"), "{}", fixture.name);
        assert_eq!(
            [config.patch_size, config.in_channels, config.hidden_size, config.depth, config.num_heads],
            ["patch_size", "in_channels", "hidden_size", "depth", "num_heads"].map(int)
        );
        assert_eq!((config.num_classes, config.class_dropout_prob), (int("num_classes"), 0.1));
        assert_eq!(config.mlp_ratio, expected["mlp_ratio"].as_f64().unwrap());
        assert_eq!(config.learn_sigma(), flag("learn_sigma"));
        let rms = flag("use_rmsnorm");
        let qk = match (flag("use_qknorm"), rms) {
            (false, _) => QkNorm::None,
            (true, true) => QkNorm::Rms,
            (true, false) => QkNorm::Layer,
        };
        assert_eq!(config.qk_norm(), qk, "{}", fixture.name);
        assert_eq!(config.norm() == TokenNorm::Rms, rms);
        assert_eq!(config.mlp() == MlpKind::SwiGlu, flag("use_swiglu"));
        assert_eq!(config.position() == Position::Rope, flag("use_rope"));
        assert_eq!(config.shift, !flag("wo_shift"));
        assert_eq!(Accounting::of(config).unwrap().parameters, model.num_parameters());
    }
}

/// Returns the sum of the squares of the output, and its gradients.
fn gradients(fixture: &Fixture, model: &Model) -> (Tensor, Vec<Tensor>) {
    let loss = fixture.forward(model).square().unwrap().mean(&[], false).unwrap();
    let trained: Vec<Tensor> =
        model.parameters().iter().map(|(_, p)| p.clone()).filter(Tensor::requires_grad).collect();
    let found = autograd::grad(std::slice::from_ref(&loss), &trained, None, false, false).unwrap();
    (loss, found.into_iter().map(|g| g.expect("every parameter takes part")).collect())
}

#[test]
fn gradients_equal_finite_differences() {
    spectral::torch::start();
    for fixture in fixtures() {
        let model = fixture.open(Some(DType::Float64));
        let (_, exact) = gradients(&fixture, &model);
        let trained: Vec<(&String, &Tensor)> =
            model.parameters().iter().filter(|(_, p)| p.requires_grad()).map(|(n, p)| (n, p)).collect();
        // Along one direction for each parameter.
        let h = 1e-5;
        let value = || {
            no_grad(|| fixture.forward(&model)).square().unwrap().mean(&[], false).unwrap().item().unwrap()
        };
        for ((name, parameter), gradient) in trained.iter().zip(&exact) {
            let numbers: Vec<f64> = (0..parameter.count()).map(|i| (i as f64 * 0.7 + 0.3).sin()).collect();
            let direction = Tensor::from_f64(&numbers, &parameter.shape()).unwrap();
            let moved = |by: f64| {
                let start = parameter.detach().unwrap().copy().unwrap();
                no_grad(|| parameter.copy_(&start.add(&direction.mul_scalar(by).unwrap()).unwrap())).unwrap();
                let found: f64 = value();
                no_grad(|| parameter.copy_(&start)).unwrap();
                found
            };
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            let along: f64 = gradient.mul(&direction).unwrap().sum(&[], false).unwrap().item().unwrap();
            assert!(
                (slope - along).abs() <= 1e-6 * along.abs().max(1e-2),
                "{} {name}: {slope} {along}",
                fixture.name
            );
        }
        // The fused operators give the same in float32.
        let single = fixture.open(None);
        let (_, found) = gradients(&fixture, &single);
        for (((name, _), gradient), exact) in trained.iter().zip(&found).zip(&exact) {
            // A bias of all keys changes no score relative to another, so that its gradient is rounding alone.
            if name.ends_with("k_norm.bias") {
                continue;
            }
            close(&format!("{} {name}", fixture.name), gradient, exact, 1e-4);
        }
    }
}

/// Reads the names and shapes in a file, without a prefix.
fn names(path: &Path, prefix: &str) -> BTreeMap<String, Vec<i64>> {
    let file = TensorFile::open(path).unwrap();
    let all = file.tensors.iter();
    all.filter_map(|(name, about)| Some((name.strip_prefix(prefix)?.to_string(), about.shape.clone())))
        .collect()
}

#[test]
fn saved_models_have_the_names_and_shapes_of_the_public_code() {
    let folder = tempfile::tempdir().unwrap();
    for fixture in fixtures() {
        let path = folder.path().join(format!("{}.safetensors", fixture.name));
        let model = fixture.open(None);
        model.save(&path).unwrap();
        let prefix = match fixture.name {
            "sit" => "ema.",
            "lightningdit" | "lightningdit_none" => "ema.module.",
            _ => "",
        };
        let expected = names(&fixture.file, prefix);
        assert!(expected.len() > 30);
        assert_eq!(names(&path, ""), expected, "{}", fixture.name);
        // All values come back, those of tables too, with the configuration or without.
        let again = open(&path, &OpenOptions::default(), &Context::default()).unwrap();
        assert_eq!(again.design(), model.design());
        assert!(fixture.forward(&again).equal(&fixture.forward(&model)).unwrap());
        let tensors = load_named(&path, Device::Cpu).unwrap().tensors;
        let original = load_named(&fixture.file, Device::Cpu).unwrap().tensors;
        for (name, tensor) in &tensors {
            close(name, tensor, &original[&format!("{prefix}{name}")], 1e-6);
        }
        save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
        let bare = open(&path, &fixture.options(), &Context::default()).unwrap();
        assert_eq!(bare.design(), model.design());
    }
}

#[test]
fn a_model_loads_files_as_they_are() {
    for fixture in fixtures() {
        let opened = fixture.open(None);
        let model = Model::new(opened.config().unwrap().clone(), 7, Device::Cpu).unwrap();
        assert!(!fixture.forward(&model).equal(&fixture.forward(&opened)).unwrap());
        model.load(&fixture.file, &LoadOptions::default()).unwrap();
        assert!(fixture.forward(&model).equal(&fixture.forward(&opened)).unwrap(), "{}", fixture.name);
    }
}

/// A training file with weights that differ from their average.
#[test]
fn a_training_file_has_two_sets_of_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    let original = fixture("sit_plain").open(None);
    let mut both = BTreeMap::new();
    for (name, parameter) in original.parameters() {
        both.insert(format!("ema.module.{name}"), parameter.copy().unwrap());
        both.insert(format!("model.module.{name}"), parameter.mul_scalar(0.5).unwrap().detach().unwrap());
    }
    save_safetensors(&path, &both, &BTreeMap::new()).unwrap();
    let fixture = fixture("sit_plain");
    let weight = |model: &Model| model.parameters()[1].1.detach().unwrap();
    for (weights, factor) in [(Weights::Ema, 1.0), (Weights::Model, 0.5)] {
        let options = OpenOptions { weights: Some(weights), ..fixture.options() };
        let opened = open(&path, &options, &Context::default()).unwrap();
        let expected = weight(&original).mul_scalar(factor).unwrap();
        assert!(weight(&opened).equal(&expected).unwrap());
        let loaded = Model::new(original.config().unwrap().clone(), 3, Device::Cpu).unwrap();
        loaded.load(&path, &LoadOptions { weights: Some(weights), ..Default::default() }).unwrap();
        assert!(weight(&loaded).equal(&expected).unwrap());
    }
}

fn odd(family: Family) -> Config {
    Config {
        family,
        image_size: 12,
        patch_size: 4,
        in_channels: 3,
        num_classes: 7,
        depth: 3,
        hidden_size: 40,
        num_heads: 5,
        mlp_ratio: 3.3,
        ..Config::preset("fashion_tiny").unwrap()
    }
}

/// Fills all parameters with other random numbers than the start of training has, mostly zeros.
fn randomized(config: Config) -> Model {
    let model = Model::new(config, 5, Device::Cpu).unwrap();
    for (i, (_, parameter)) in model.parameters().iter().enumerate() {
        let numbers: Vec<f64> =
            (0..parameter.count()).map(|k| 0.3 * ((k * 7 + i * 13) as f64).sin()).collect();
        let values = Tensor::from_f64(&numbers, &parameter.shape()).unwrap();
        no_grad(|| parameter.copy_(&values)).unwrap();
    }
    model
}

#[test]
fn every_option_and_size_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let base = odd(Family::LightningDit);
    let configs = [
        odd(Family::Dit),
        odd(Family::Sit),
        base.clone(),
        Config { learn_sigma: Some(false), qkv_bias: false, ..odd(Family::Dit) },
        Config { learn_sigma: Some(true), shift: false, ..base.clone() },
        Config { qk_norm: Some(QkNorm::Layer), position: Some(Position::Sincos), ..base.clone() },
        Config { qk_norm: Some(QkNorm::Rms), mlp: Some(MlpKind::Gelu), ..base.clone() },
        Config { norm: Some(TokenNorm::Layer), hidden_size: 64, num_heads: 2, depth: 12, ..base.clone() },
        Config { mlp_ratio: 2.0 / 3.0, patch_size: 1, image_size: 5, in_channels: 9, ..base },
        Config { class_dropout_prob: 0.0, ..odd(Family::Sit) },
    ];
    for config in configs {
        let model = randomized(config.clone());
        let mut tensors: BTreeMap<String, Tensor> = model.parameters().iter().cloned().collect();
        tensors.extend(model.stored_tables());
        save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
        let options = OpenOptions {
            family: Some(config.family),
            num_heads: Some(config.num_heads),
            num_classes: Some(config.num_classes),
            ..Default::default()
        };
        let opened = open(&path, &options, &Context::default()).unwrap();
        let found = opened.config().unwrap();
        assert_eq!(found.inner_size(), config.inner_size());
        assert_eq!(&Config { mlp_ratio: config.mlp_ratio, ..found.clone() }, &config);
        let [c, h, w] = model.image_shape();
        let x = Tensor::from_f64(
            &(0..2 * c * h * w).map(|i| (i as f64).cos()).collect::<Vec<_>>(),
            &[2, c, h, w],
        );
        let x = x.unwrap().to_dtype(DType::Float32).unwrap();
        let t = Tensor::from_f32(&[0.25, 0.75], &[2]).unwrap();
        let y = Tensor::from_i64(&[0, 6], &[2]).unwrap();
        let out = model.forward(&x, &t, &y).unwrap();
        assert_eq!(out.shape(), [2, config.out_channels(), h, w]);
        assert!(out.equal(&opened.forward(&x, &t, &y).unwrap()).unwrap());
        assert_eq!(Accounting::of(&config).unwrap().parameters, model.num_parameters());
    }
}

/// The file of a fixture without the tensors that `leave` rejects.
fn altered(folder: &Path, name: &str, edit: impl Fn(&mut BTreeMap<String, Tensor>)) -> PathBuf {
    let mut tensors: BTreeMap<String, Tensor> =
        fixture(name).open(None).parameters().iter().cloned().collect();
    edit(&mut tensors);
    let path = folder.join("altered.safetensors");
    save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    path
}

#[test]
fn heads_come_from_tables_arguments_or_public_widths() {
    spectral::torch::start();
    let heads = |path: &Path, options: &OpenOptions| {
        open(path, options, &Context::default()).map(|model| model.config().unwrap().num_heads)
    };
    // Rotary tables and norms of heads tell the size of a head.
    for name in ["lightningdit", "lightningdit_all", "lightningdit_none"] {
        let fixture = fixture(name);
        assert_eq!(heads(&fixture.file, &OpenOptions::default()).unwrap(), 3, "{name}");
        let error = refused(&fixture.file, &OpenOptions { num_heads: Some(4), ..Default::default() });
        assert!(error.message().contains("heads of size 16, which are 3 in a width of 48"), "{error}");
        assert_eq!(error.hint_text(), Some("leave `num_heads` out, or give 3"));
    }
    // A width of no public model.
    let sit = fixture("sit");
    let error = refused(&sit.file, &OpenOptions::default());
    assert!(error.message().contains("no public model has the width 48"), "{error}");
    assert!(error.hint_text().unwrap().contains("give `num_heads`"), "{error}");
    // The family comes from the arguments of training, which the state dictionary does not have.
    let options = OpenOptions { num_heads: Some(3), ..Default::default() };
    let model = open(&sit.file, &options, &Context::default()).unwrap();
    assert_eq!(model.config().unwrap().family, Family::Sit);
    let error = refused(&fixture("sit_plain").file, &options);
    assert!(error.message().contains("DiT and SiT have parameters of the same names"), "{error}");
    assert!(error.hint_text().unwrap().contains("`family: \"sit\"`"), "{error}");
}

#[test]
fn files_that_do_not_fit_say_what_would() {
    let folder = tempfile::tempdir().unwrap();
    let lightning = fixture("lightningdit");
    let error = refused(&lightning.file, &OpenOptions { family: Some(Family::Sit), ..Default::default() });
    let message = error.message();
    assert!(
        message.contains("rotary positions, RMS norm, SwiGLU, which the family `sit` does not have"),
        "{error}"
    );
    assert_eq!(error.hint_text(), Some("`family: \"lightningdit\"` fits"));
    // A model of other options.
    let load = |config: Config, file: &Path| {
        let model = Model::new(config, 0, Device::Cpu).unwrap();
        let before = model.parameters()[2].1.to_f64().unwrap();
        let error = model.load(file, &LoadOptions::default()).unwrap_err();
        assert_eq!(model.parameters()[2].1.to_f64().unwrap(), before);
        (error.message(), error.hint_text().unwrap_or_default().to_string())
    };
    let of = |name: &str| fixture(name).open(None).config().unwrap().clone();
    let cases = [
        (Config { depth: 3, ..of("dit") }, "dit", "blocks.2", "depth: 2"),
        (
            Config { image_size: 16, ..of("dit") },
            "dit",
            "[1, 16, 48], and the model's has [1, 64, 48]",
            "image_size: 8",
        ),
        (Config { image_size: 16, patch_size: 4, ..of("dit") }, "dit", "[48, 4, 2, 2]", "patch_size: 2"),
        (Config { learn_sigma: Some(false), ..of("dit") }, "dit", "final_layer.linear", "learn_sigma: true"),
        (Config { num_classes: 10, ..of("sit") }, "sit", "y_embedder", "num_classes: 5"),
        (
            Config { mlp: Some(MlpKind::Gelu), ..of("lightningdit") },
            "lightningdit",
            "mlp.fc1",
            "mlp: \"swiglu\"",
        ),
        (of("sit"), "lightningdit", "unexpected", "norm: \"rms\""),
        (of("lightningdit_all"), "lightningdit", "q_norm", "qk_norm: \"none\""),
        (Config::preset("fashion_tiny").unwrap(), "sit", "missing", "model::open(path"),
    ];
    for (config, name, said, hinted) in cases {
        let (message, hint) = load(config, &fixture(name).file);
        assert!(message.contains(said) && hint.contains(hinted), "{name}: {message}\nhint: {hint}");
    }
    // Parts of files.
    let options = fixture("dit").options();
    let path = altered(folder.path(), "dit", |t| t.retain(|name, _| !name.starts_with("blocks.0.")));
    assert!(refused(&path, &options).message().contains("have block 1, but no `blocks.0`"));
    let path = altered(folder.path(), "dit", |t| drop(t.remove("blocks.1.attn.proj.bias")));
    let error = refused(&path, &options);
    assert!(error.message().contains("1 missing: `blocks.1.attn.proj.bias`"), "{error}");
    let path = altered(folder.path(), "dit", |t| drop(t.remove("final_layer.linear.weight")));
    assert!(refused(&path, &options).message().contains("no `final_layer.linear.weight`, the final layer"));
    let path = altered(folder.path(), "dit", |t| {
        let found = t.insert("head.weight".to_string(), t["final_layer.linear.bias"].clone());
        assert!(found.is_none());
    });
    let error = refused(&path, &options);
    assert!(error.message().contains("1 unexpected: `head.weight`"), "{error}");
    assert_eq!(error.hint_text(), Some("to leave them out: #{ ignore: \"head.*\" }"));
    let ignoring = |pattern: &str| OpenOptions { ignore: pattern.into(), ..options.clone() };
    open(&path, &ignoring("head.*"), &Context::default()).unwrap();
    assert!(refused(&path, &ignoring("haed.*")).message().contains("no tensor of the file matches `haed.*`"));
    let error = refused(&fixture("dit").file, &OpenOptions { num_classes: Some(9), ..options.clone() });
    assert!(error.message().contains("has 6 rows, and `num_classes` is 9"), "{error}");
    let error = refused(&fixture("dit").file, &OpenOptions { image_size: Some(17), ..options.clone() });
    assert!(error.message().contains("image size 17 is not divisible by patch size 2"), "{error}");
    // Half a file, as after a broken download.
    for name in ["dit", "sit"] {
        let whole = std::fs::read(&fixture(name).file).unwrap();
        let path = folder.path().join("half.pt");
        for part in [whole.len() / 2, whole.len() - 1, 100] {
            std::fs::write(&path, &whole[..part]).unwrap();
            let error = refused(&path, &fixture(name).options());
            assert!(error.message().contains("half.pt") && error.hint_text().is_some(), "{error}");
        }
    }
    let saved = folder.path().join("saved.safetensors");
    fixture("dit").open(None).save(&saved).unwrap();
    let error = refused(&saved, &options);
    assert!(error.message().contains("stores the configuration of its model, `family` included"), "{error}");
}

#[test]
fn a_file_opens_at_another_size_with_the_positions_of_that_size() {
    for name in ["dit", "sit"] {
        let fixture = fixture(name);
        let options = OpenOptions { image_size: Some(16), ..fixture.options() };
        let larger = open(&fixture.file, &options, &Context::default()).unwrap();
        let config = larger.config().unwrap().clone();
        assert_eq!(config, Config { image_size: 16, ..fixture.open(None).config().unwrap().clone() });
        let fresh = Model::new(config, 0, Device::Cpu).unwrap();
        let (found, expected) = (&larger.parameters()[0], &fresh.parameters()[0]);
        assert!(found.0 == "pos_embed" && found.1.equal(&expected.1).unwrap());
        // Images of the size of the file still give what the public code gives.
        close(name, &fixture.forward(&larger), &fixture.tensors["output"], 1e-5);
    }
}

#[test]
fn a_model_without_fixed_positions_in_the_file_computes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = altered(folder.path(), "sit_plain", |t| drop(t.remove("pos_embed")));
    let fixture = fixture("sit_plain");
    let error = refused(&path, &fixture.options());
    assert!(
        error.message().contains("no position embedding") && error.hint_text() == Some("give `image_size`")
    );
    let options = OpenOptions { image_size: Some(8), ..fixture.options() };
    let model = open(&path, &options, &Context::default()).unwrap();
    close("computed positions", &fixture.forward(&model), &fixture.tensors["output"], 1e-5);
    // Trained positions cannot be computed.
    let options = OpenOptions { position: Some(Position::Learned), ..options };
    assert!(refused(&path, &options).message().contains("`pos_embed`"));
    let options = OpenOptions { position: Some(Position::Learned), ..fixture.options() };
    let model = open(&fixture.file, &options, &Context::default()).unwrap();
    let positions = &model.parameters()[0];
    assert!(positions.0 == "pos_embed" && positions.1.requires_grad());
    assert!(!fixture.open(None).parameters()[0].1.requires_grad());
}

#[test]
fn corrections_of_zero_change_no_bit() {
    spectral::torch::start();
    for fixture in fixtures() {
        let model = fixture.open(None);
        let paper = correction(
            filter::binomial(filter::Binomial::default()).unwrap(),
            gate::time(gate::Time::default()).unwrap(),
        )
        .unwrap();
        let grown = model.attach(&[Part::of_correction(&paper)], 1).unwrap();
        assert!(grown.num_parameters() > model.num_parameters());
        assert!(fixture.forward(&grown).equal(&fixture.forward(&model)).unwrap(), "{}", fixture.name);
        assert!(grown.starts_plain().unwrap());
        assert_eq!(
            Accounting::of(grown.config().unwrap()).unwrap().parameters,
            grown.num_parameters(),
            "{}",
            fixture.name
        );
        let listed = model.config().unwrap().clone().with_corrections(vec![paper]);
        assert!(Model::new(listed, 2, Device::Cpu).unwrap().starts_plain().unwrap());
    }
}

#[test]
fn every_family_is_trained_and_sampled() {
    spectral::torch::start();
    for fixture in fixtures() {
        let model = fixture.open(None);
        let images = fixture.tensors["x"].clamp(-1.0, 1.0).unwrap();
        let labels = fixture.tensors["y"].clamp(0, 4).unwrap();
        let data = data::from_tensors(&images, &labels, ()).unwrap();
        let options =
            |path: FlowPath| FitOptions { steps: 2, batch: 3, lr: 1e-3, path, ..FitOptions::default() };
        let ddpm = || {
            let map = [("predict".to_string(), spectral::declare::Value::Str("ddpm".to_string()))];
            FlowPath::new(flow::path::PathOptions::from_map(&map.into_iter().collect()).unwrap()).unwrap()
        };
        let (path, other) = match fixture.family {
            Family::Dit => (ddpm(), FlowPath::default()),
            _ => (FlowPath::default(), ddpm()),
        };
        let before: Vec<Tensor> = model.parameters().iter().map(|(_, p)| p.copy().unwrap()).collect();
        let refused = fit(&model, &data, &options(other.clone()), &Context::default()).unwrap_err();
        let hint = refused.hint_text().unwrap_or_default();
        match fixture.family {
            Family::Dit => {
                assert!(refused.message().contains("returns 8 channels for images of 4"), "{refused}");
                assert!(
                    hint.contains("predict: \"ddpm\"") && hint.contains("`learn_sigma: false`"),
                    "{refused}"
                );
            }
            _ => assert!(refused.message().contains("diffusion steps from 0 to 999"), "{refused}"),
        }
        let run = fit(&model, &data, &options(path.clone()), &Context::default()).unwrap();
        for ((name, after), before) in model.parameters().iter().zip(&before) {
            assert_eq!(after.equal(before).unwrap(), !after.requires_grad(), "{} {name}", fixture.name);
        }
        let labels = flow::sample::Labels::Tensor(Tensor::from_i64(&[0, 4, 5], &[3]).unwrap());
        let sampling = |path: FlowPath| SampleOptions {
            labels: Some(labels.clone()),
            steps: 3,
            guidance: 2.0,
            path,
            ..SampleOptions::default()
        };
        let images = flow::sample::sample(run.ema(), &sampling(path), &Context::default()).unwrap();
        assert_eq!(images.shape(), [3, 4, 8, 8]);
        assert!(images.to_f64().unwrap().iter().all(|x| x.is_finite()));
        assert!(flow::sample::sample(run.ema(), &sampling(other), &Context::default()).is_err());
    }
}

#[test]
fn a_model_without_a_null_label_has_no_guidance() {
    let model = randomized(Config { class_dropout_prob: 0.0, ..odd(Family::Sit) });
    let labels =
        |all: &[i64]| Some(flow::sample::Labels::Tensor(Tensor::from_i64(all, &[all.len() as i64]).unwrap()));
    let options = SampleOptions { labels: labels(&[0, 6]), steps: 1, ..SampleOptions::default() };
    flow::sample::sample(&model, &options, &Context::default()).unwrap();
    let guided = SampleOptions { guidance: 2.0, ..options.clone() };
    let error = flow::sample::sample(&model, &guided, &Context::default()).unwrap_err();
    assert!(error.message().contains("no null label"), "{error}");
    let null = SampleOptions { labels: labels(&[7]), ..options };
    let error = flow::sample::sample(&model, &null, &Context::default()).unwrap_err();
    assert!(error.message().ends_with("expected 0 to 6"), "{error}");
}

/// Every option that public models differ in, in the paper's family too.
#[test]
fn options_of_families_work_in_every_family() {
    spectral::torch::start();
    let own = || Config { image_size: 8, ..odd(Family::SpectralDit) };
    let reference = randomized(own());
    let x = Tensor::ones(&[1, 3, 8, 8], DType::Float32, Device::Cpu).unwrap();
    let t = Tensor::from_f32(&[0.25], &[1]).unwrap();
    let y = Tensor::from_i64(&[3], &[1]).unwrap();
    let forward = |model: &Model| no_grad(|| model.forward(&x, &t, &y)).unwrap();
    for options in [
        Config { qk_norm: Some(QkNorm::None), ..own() },
        Config { qk_norm: Some(QkNorm::Layer), ..own() },
        Config { norm: Some(TokenNorm::Rms), ..own() },
        Config { mlp: Some(MlpKind::SwiGlu), ..own() },
        Config { position: Some(Position::Rope), ..own() },
        Config { position: Some(Position::Learned), ..own() },
        Config { shift: false, ..own() },
        Config { learn_sigma: Some(true), ..own() },
        Config { time_order: spectral::nn::embed::FeatureOrder::SinCos, ..own() },
        Config { time_scale: 1000.0, ..own() },
    ] {
        let model = randomized(options.clone());
        let found = forward(&model);
        assert_eq!(found.shape(), x.shape());
        assert!(error(&found, &forward(&reference)) > 1e-6, "{options:?}");
        let plain = fused::with_reference_operators(|| forward(&model));
        close("libtorch's operators", &found, &plain, 1e-5);
        assert_eq!(Accounting::of(&options).unwrap().parameters, model.num_parameters(), "{options:?}");
        let restored = spectral::model::Design::from_json(&model.design().to_json().unwrap()).unwrap();
        assert_eq!(&restored, model.design());
    }
}

/// A time in [0, 1] with the factor 1000 has the features of a diffusion step.
#[test]
fn a_factor_of_times_reaches_diffusion_steps() {
    let fixture = fixture("dit");
    let options = OpenOptions { time_scale: Some(1000.0), ..fixture.options() };
    let model = open(&fixture.file, &options, &Context::default()).unwrap();
    let t = fixture.tensors["t"].to_dtype(DType::Float64).unwrap().mul_scalar(1e-3).unwrap();
    let found = model.forward(&fixture.tensors["x"], &t, &fixture.tensors["y"]).unwrap();
    close("times in [0, 1]", &found, &fixture.tensors["output"], 1e-4);
    let late = Tensor::from_f32(&[1.5, 0.0, 0.0], &[3]).unwrap();
    let error = model.forward(&fixture.tensors["x"], &late, &fixture.tensors["y"]).unwrap_err();
    assert!(error.message().contains("time 1.5 is out of range"), "{error}");
    let steps = Tensor::from_f32(&[1001.0, 0.0, 0.0], &[3]).unwrap();
    let error = fixture.open(None).forward(&fixture.tensors["x"], &steps, &fixture.tensors["y"]).unwrap_err();
    assert!(error.hint_text().unwrap().contains("diffusion steps from 0, data, to 1000"), "{error}");
}

#[test]
fn script_options_make_the_same_models() {
    use spectral::declare::Value;
    let map = [
        ("family", Value::Str("lightningdit".to_string())),
        ("qk_norm", Value::Str("layer".to_string())),
        ("position", Value::Str("sincos".to_string())),
        ("shift", Value::Bool(false)),
    ];
    let map = map.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let config = DitOptions::from_map(&map).unwrap().config;
    assert_eq!((config.qk_norm(), config.position(), config.shift), (QkNorm::Layer, Position::Sincos, false));
    assert_eq!((config.norm(), config.mlp(), config.learn_sigma()), (TokenNorm::Rms, MlpKind::SwiGlu, false));
    let odd = Config { hidden_size: 132, num_heads: 6, position: Some(Position::Rope), ..config };
    let error = odd.check().unwrap_err();
    assert!(error.message().contains("heads of a size divisible by 4, found 22"), "{error}");
}
