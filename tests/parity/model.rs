//! Forward, gradients, traces and pieces of the model compared with the oracle.

use std::collections::BTreeMap;
use std::path::PathBuf;

use spectral::model::{Config, Model};
use spectral::nn::embed::{sincos_2d, timestep_features};
use spectral::spectral::{correction, filter, gate};
use spectral::torch::io::{Loaded, load_safetensors};
use spectral::torch::{DType, Device, Tensor, autograd};

/// Returns the name and content of every model fixture in the folder.
pub fn models() -> Vec<(String, Loaded)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(super::fixtures())
        .expect("the folder of fixtures can be read")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    paths.sort();
    let loaded = paths.into_iter().map(|path| {
        let name = path.file_name().expect("a file name").to_string_lossy().into_owned();
        (name, load_safetensors(&path, Device::Cpu).expect("a fixture loads"))
    });
    let models: Vec<_> = loaded.filter(|(_, f)| f.metadata.contains_key("hidden_size")).collect();
    assert!(!models.is_empty(), "the folder of fixtures holds no model");
    models
}

/// Returns the configuration from a fixture's metadata, which the oracle writes as strings.
pub fn config(metadata: &BTreeMap<String, String>) -> Config {
    let text = |name: &str| metadata.get(name).unwrap_or_else(|| panic!("metadata `{name}`")).as_str();
    let int = |name: &str| text(name).parse::<i64>().expect("an integer");
    let float = |name: &str| text(name).parse::<f64>().expect("a float");
    let scale = float("gate_scale");
    let gate = match text("gate") {
        "none" => None,
        "time" => Some(gate::time(gate::Time { scale, ..Default::default() })),
        "time_label" => Some(gate::time_label(gate::TimeLabel { scale, ..Default::default() })),
        "static" => Some(gate::r#static(gate::Static { scale, ..Default::default() })),
        other => panic!("the oracle wrote an unknown gate {other}"),
    };
    let paper = filter::binomial(filter::Binomial { order: 4 }).expect("the paper's filter");
    Config {
        image_size: int("image_size"),
        patch_size: int("patch_size"),
        in_channels: int("in_channels"),
        num_classes: int("num_classes"),
        depth: int("depth"),
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        mlp_ratio: float("mlp_ratio"),
        class_dropout_prob: float("class_dropout_prob"),
        corrections: gate.into_iter().map(|g| correction(&paper, g.expect("a gate")).unwrap()).collect(),
        ..Config::default()
    }
}

/// Returns the model of a fixture with the fixture's weights.
pub fn build(fixture: &Loaded) -> Model {
    let model = Model::new(config(&fixture.metadata), 0, Device::Cpu).expect("the model builds");
    model.assign(&fixture.tensors, "w.").expect("the fixture's weights fit");
    model
}

/// Returns the largest error relative to the largest expected value.
pub fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let largest = |t: &Tensor| t.to_f64().unwrap().iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let difference =
        found.to_dtype(DType::Float64).unwrap().sub(&expected.to_dtype(DType::Float64).unwrap()).unwrap();
    assert!(difference.to_f64().unwrap().iter().all(|x| x.is_finite()), "not all values are finite");
    largest(&difference) / largest(expected).max(1e-12)
}

/// Fails with the name if the error exceeds the tolerance.
pub fn close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let error = error(found, expected);
    assert!(error <= tolerance, "{what}: relative error {error:.3e}, above {tolerance:.0e}");
}

#[test]
fn forward() {
    spectral::torch::start();
    for (name, fixture) in models() {
        let f = &fixture.tensors;
        let v = build(&fixture).forward(&f["x_t"], &f["t"], &f["y"]).unwrap();
        close(&name, &v, &f["v"], 1e-5);
    }
}

#[test]
fn every_gradient() {
    spectral::torch::start();
    for (name, fixture) in models() {
        let (f, model) = (&fixture.tensors, build(&fixture));
        let loss = model
            .forward(&f["x_t"], &f["t"], &f["y"])
            .unwrap()
            .mse_loss(&f["target"], spectral::torch::ops::loss::Reduction::Mean)
            .unwrap();
        close(&format!("{name} loss"), &loss, &f["loss"], 1e-5);
        let parameters: Vec<Tensor> = model.parameters().iter().map(|(_, p)| p.clone()).collect();
        let gradients = autograd::grad(&[loss], &parameters, None, false, false).unwrap();
        for ((parameter, _), gradient) in model.parameters().iter().zip(gradients) {
            let gradient = gradient.expect("every parameter takes part");
            close(&format!("{name} {parameter}"), &gradient, &f[&format!("g.{parameter}")], 1e-4);
        }
    }
}

#[test]
fn traces() {
    spectral::torch::start();
    for (name, fixture) in models() {
        let f = &fixture.tensors;
        let blocks = build(&fixture).trace(&f["x_t"], &f["t"], &f["y"]).unwrap();
        let expected: Vec<&String> = f.keys().filter(|k| k.starts_with("trace.")).collect();
        assert!(!expected.is_empty());
        for key in expected {
            let (block, part) = key["trace.".len()..].split_once('.').expect("trace.BLOCK.PART");
            let block: usize = block.parse().expect("a block's number");
            let found = blocks[block].to_map().get(part).and_then(|v| v.downcast::<Tensor>());
            let found = found.unwrap_or_else(|| panic!("the trace has no {part}"));
            close(&format!("{name} {key}"), &found, &f[key], 1e-5);
        }
    }
}

#[test]
fn pieces() {
    spectral::torch::start();
    let pieces =
        load_safetensors(&super::fixtures().join("pieces.safetensors"), Device::Cpu).unwrap().tensors;
    let paper = filter::binomial(filter::Binomial { order: 4 }).unwrap();
    close("binomial", &paper.apply(&pieces["tokens"], 7).unwrap(), &pieces["binomial"], 1e-5);
    close("sincos_2d", &sincos_2d(16, 4).unwrap(), &pieces["sincos_2d_16_4"], 1e-5);
    let features = timestep_features(&pieces["t"], 256).unwrap();
    close("timestep_embedding", &features, &pieces["timestep_embedding_256"], 1e-5);
}
