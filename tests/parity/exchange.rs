//! npz files of NumPy, and the values that the evaluators of ADM and pytorch-fid measure from them. `exchange.py` wrote
//! both.

use std::collections::BTreeMap;
use std::path::PathBuf;

use spectral::context::Context;
use spectral::declare::{FromValue, Value};
use spectral::eval::{
    self, Images, Input, Rounding, SaveSamplesOptions, Statistics, precision_recall, samples,
};
use spectral::torch::io::{load_named, save_npz};
use spectral::torch::{DType, Device, Tensor};

use super::fixtures;

fn path(name: &str) -> PathBuf {
    spectral::torch::start();
    fixtures().join("exchange").join(name)
}

fn numbers() -> BTreeMap<String, Tensor> {
    load_named(&path("numbers.npz"), Device::Cpu).unwrap().tensors
}

fn close(name: &str, found: f64) {
    let measured: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path("measured.json")).unwrap()).unwrap();
    let expected = measured[name].as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-6, "{name}: expected {expected}, found {found}");
}

/// Reads the argument of a script.
fn input(path: &std::path::Path) -> Input {
    Input::from_value(&Value::Str(path.display().to_string())).unwrap()
}

#[test]
fn distances_from_public_statistics_are_those_of_the_public_evaluators() {
    let numbers = numbers();
    let (reference, pytorch) = (path("reference.npz"), path("pytorch_fid.npz"));
    // Statistics against statistics, in both forms, and against custom features.
    let fid = |a: Input, b: Input| eval::fid(a, b, ()).unwrap();
    close("fid", fid(input(&reference), input(&pytorch)));
    close("fid_pytorch", fid(input(&pytorch), input(&reference)));
    close("fid", fid(input(&reference), Input::try_from(&numbers["made"]).unwrap()));
    close("sfid", eval::sfid(input(&reference), &numbers["made_s"], ()).unwrap());
    close("sfid", eval::sfid(&numbers["real_s"], &numbers["made_s"], ()).unwrap());
    let flat = |name: &str| {
        let ones = Tensor::ones(&[numbers[name].shape()[0], 2], DType::Float32, Device::Cpu).unwrap();
        Tensor::cat(&[numbers[name].clone(), ones], 1).unwrap()
    };
    close("fid_constant", eval::fid(flat("real"), flat("made"), ()).unwrap());
    // What is read is written, so that others read it back.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.npz");
    let Input::Images(images) = input(&reference) else { panic!("the reference has images") };
    images.statistics().unwrap().save(&copy).unwrap();
    close("fid", fid(input(&copy), input(&pytorch)));
    assert!(matches!(input(&copy), Input::Statistics(_)));
    let error = eval::sfid(input(&pytorch), input(&reference), ()).unwrap_err();
    assert!(error.message().contains("expected statistics `mu_s` and `sigma_s`"), "{error}");
}

#[test]
fn precision_and_recall_are_those_of_adm() {
    let (numbers, cx) = (numbers(), Context::default());
    for prefix in ["", "whole_"] {
        let set = |name: &str| &numbers[&format!("{prefix}{name}")];
        let found = precision_recall::precision_recall(set("real"), set("made"), 3, &cx).unwrap();
        close(&format!("{prefix}precision"), found.precision);
        close(&format!("{prefix}recall"), found.recall);
    }
}

#[test]
fn samples_are_the_bytes_of_the_public_scripts() {
    let (numbers, cx) = (numbers(), Context::default());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("samples.npz");
    let x = numbers["x"].clamp(-1.0, 1.0).unwrap();
    for (rounding, name) in [(Rounding::Nearest, "dit"), (Rounding::Down, "adm")] {
        let options = SaveSamplesOptions { rounding, ..Default::default() };
        samples::save_samples(&file, &Images::new(&x).unwrap(), &options, &cx).unwrap();
        let written = load_named(&file, Device::Cpu).unwrap().tensors;
        assert!(written["arr_0"].equal(&numbers[name]).unwrap(), "{name}");
        // Bytes that were read stay the same with either rounding.
        let again = folder.path().join("again.npz");
        samples::save_samples(&again, &Images::open(&file).unwrap(), &options, &cx).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&file).unwrap());
    }
}

#[test]
fn a_compressed_batch_has_images_labels_and_statistics() {
    let reference = path("reference.npz");
    let images = Images::try_from(reference.as_path()).unwrap();
    let arrays = load_named(&reference, Device::Cpu).unwrap().tensors;
    assert_eq!((images.count(), images.shape(), images.name()), (9, [3, 6, 5], "reference"));
    assert_eq!(images.statistics().unwrap().features().dims(), 12);
    let set = spectral::data::npz(reference.as_path(), ()).unwrap();
    assert_eq!(set.labels().to_i64().unwrap(), arrays["arr_1"].to_i64().unwrap());
    let bytes = set.stored().load().unwrap().permute(&[0, 2, 3, 1]).unwrap();
    assert!(bytes.equal(&arrays["arr_0"]).unwrap());
}

#[test]
fn statistics_of_another_network_are_refused_with_the_option_that_fits() {
    let cx = Context::default();
    let folder = tempfile::tempdir().unwrap();
    let file = |arrays: &[(&str, &Tensor)]| {
        let path = folder.path().join("stats.npz");
        let arrays: BTreeMap<_, _> = arrays.iter().map(|(n, t)| (n.to_string(), (*t).clone())).collect();
        save_npz(&path, &arrays).unwrap();
        Input::from_value(&Value::Str(path.display().to_string()))
    };
    let eye = |dims| Tensor::eye(dims, dims, DType::Float64, Device::Cpu).unwrap();
    let zeros = |dims: i64| Tensor::zeros(&[dims], DType::Float64, Device::Cpu).unwrap();
    let set = spectral::data::fashion_mnist(()).unwrap().take(70).unwrap();
    // Another dimension than that of the network of the images.
    let inception = file(&[("mu", &zeros(96)), ("sigma", &eye(96))]).unwrap();
    let error = eval::fid(inception.clone(), &set, ()).unwrap_err();
    assert!(
        error.message().contains("expected statistics of 64 dimensions like the features fashion-mnist-cnn@")
    );
    assert!(error.message().contains("found 96 (from "), "{error}");
    assert!(error.hint_text().unwrap().contains("`features`"), "{error}");
    // The same dimension, of a network with another name.
    let features = eval::features(()).unwrap();
    let own = eval::statistics(&set, ()).unwrap();
    let other =
        Statistics::of(&features.extract(&Images::of(&set), &cx).unwrap(), "other@0123456789ab").unwrap();
    assert!(eval::fid(Input::from(own.clone()), &set, ()).unwrap() < 1e-6);
    let error = eval::fid(Input::from(other), &set, ()).unwrap_err();
    assert!(error.message().contains("found those of other@0123456789ab"), "{error}");
    // Incomplete and malformed files, and metrics that need more.
    let missing = file(&[("mu", &zeros(4))]).unwrap_err();
    assert!(missing.message().contains("expected statistics `mu` and `sigma`, found `mu` and no `sigma`"));
    let wrong = file(&[("mu", &zeros(4)), ("sigma", &eye(5))]).unwrap_err();
    assert!(
        wrong.message().contains("`sigma` as floats [D, D], found float64 [4] and float64 [5, 5]"),
        "{wrong}"
    );
    let empty = file(&[("x", &zeros(4))]).unwrap_err();
    assert!(empty.message().contains("expected images in the array `arr_0`, found none"), "{empty}");
    assert!(empty.hint_text().unwrap().contains("the file holds `x`"));
    let error = eval::kid(Input::from(own), &set, ()).unwrap_err();
    assert!(error.message().contains("expected images or features, found statistics"), "{error}");
    let error = eval::fid(inception, file(&[("arr_0", &eye(5))]).unwrap(), ()).unwrap_err();
    assert!(error.message().contains("expected statistics of 5 dimensions like the other set, found 96"));
}

#[test]
fn a_comparison_uses_the_statistics_of_a_reference_and_records_them() {
    let folder = tempfile::tempdir().unwrap();
    let reference = folder.path().join("reference.npz");
    let set = spectral::data::fashion_mnist(()).unwrap();
    // Statistics of 300 images beside 80 of them, as in a reference of ADM.
    let (whole, few, made) =
        (set.take(300).unwrap(), set.take(80).unwrap(), set.subset(&(300..400).collect::<Vec<_>>()).unwrap());
    let options = SaveSamplesOptions {
        statistics: Some(eval::statistics(&whole, ()).unwrap()),
        ..SaveSamplesOptions::default()
    };
    eval::save_samples(&reference, &few, options).unwrap();
    let generated = folder.path().join("made.npz");
    eval::save_samples(&generated, &made, ()).unwrap();
    let metrics = ["fid", "sfid", "precision"].map(str::to_string).to_vec();
    let options = || eval::CompareOptions { metrics: metrics.clone(), ..Default::default() };
    let found = eval::compare(reference.as_path(), generated.as_path(), options()).unwrap();
    let plain = eval::compare(&few, &made, options()).unwrap();
    let near = |name: &str, expected: f64| {
        let value = found.value(name).unwrap();
        assert!((value - expected).abs() < 1e-4 * (1.0 + expected), "{name}: {value} and not {expected}");
    };
    near("fid", eval::fid(&whole, &made, ()).unwrap());
    near("sfid", eval::sfid(&whole, &made, ()).unwrap());
    near("precision", plain.value("precision").unwrap());
    assert!((found.value("fid").unwrap() - plain.value("fid").unwrap()).abs() > 1.0);
    assert!(
        found.notes().iter().any(|note| note.contains("fid uses the statistics stored with the real images"))
    );
    assert_eq!(found.record().real.statistics.len(), 12);
    let error = found.against(&plain, &Default::default()).unwrap_err();
    assert!(error.message().contains("real_statistics"), "{error}");
    // The images alone, without the statistics.
    let images = spectral::data::npz(reference.as_path(), ()).unwrap();
    let alone = eval::compare(&images, generated.as_path(), options()).unwrap();
    assert!((alone.value("fid").unwrap() - plain.value("fid").unwrap()).abs() < 1e-3);
}
