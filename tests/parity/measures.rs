//! Distances between features compared with torch-fidelity, SciPy and the papers' definitions. `measures.py` wrote
//! the expected values.

use spectral::context::Context;
use spectral::declare::{FromValue, Map, OneOrMany, Value};
use spectral::eval::summary::{PairedOptions, Rows, paired};
use spectral::eval::{density_coverage, fid, kid, mmd};
use spectral::torch::{Device, Tensor, io};

use super::fixtures;

fn features() -> [Tensor; 2] {
    spectral::torch::start();
    let path = fixtures().join("metrics_float64.safetensors");
    let arrays = io::load_safetensors(&path, Device::Cpu).unwrap().tensors;
    ["features_real", "features_fake"].map(|name| arrays[name].clone())
}

fn numbers() -> serde_json::Value {
    let text = std::fs::read_to_string(fixtures().join("measures.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn close(name: &str, found: f64, expected: &serde_json::Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("no number `{name}`"));
    let error = ((found - expected) / expected).abs();
    assert!(error <= tolerance, "{name}: expected {expected}, found {found}, relative error {error:.1e}");
}

#[test]
fn frechet_distances_also_of_singular_covariances() {
    let ([real, made], numbers) = (features(), numbers());
    close("fid", fid::frechet_distance(&real, &made).unwrap(), &numbers["fid"], 1e-6);
    // 15 and 12 samples of 24 dimensions, compared with a result computed to 50 digits.
    let (few, fewer) = (real.narrow(0, 0, 15).unwrap(), made.narrow(0, 0, 12).unwrap());
    close("fid_singular", fid::frechet_distance(&few, &fewer).unwrap(), &numbers["fid_singular"], 1e-6);
}

#[test]
fn kernel_distances() {
    let ([real, made], numbers, cx) = (features(), numbers(), Context::default());
    let first = |set: &Tensor| set.narrow(0, 0, 260).unwrap();
    close(
        "kid_of_260",
        kid::cubic_mmd(&first(&real), &first(&made), &cx).unwrap(),
        &numbers["kid_of_260"],
        1e-9,
    );
    let whole = kid::kid(&real, &made, 100, 1000, &cx).unwrap();
    close("kid_of_all", whole.mean, &numbers["kid_of_all"], 1e-9);
    close("mmd", mmd::gaussian_mmd(&real, &made, 10.0, true, &cx).unwrap(), &numbers["mmd"], 1e-9);
}

#[test]
fn density_and_coverage() {
    let ([real, made], numbers) = (features(), numbers());
    let found = density_coverage::density_coverage(&real, &made, 5, &Context::default()).unwrap();
    close("density", found.density, &numbers["density"], 1e-12);
    close("coverage", found.coverage, &numbers["coverage"], 1e-12);
}

#[test]
fn paired_tests() {
    spectral::torch::start();
    let numbers = &numbers()["paired"];
    let mut rows = Vec::new();
    for (setting, key) in [("base", "y"), ("new", "x")] {
        for (seed, value) in numbers[key].as_array().unwrap().iter().enumerate() {
            rows.push(Value::Map(Map::from([
                ("setting".to_string(), Value::Str(setting.to_string())),
                ("seed".to_string(), Value::Int(seed as i64)),
                ("loss".to_string(), Value::Float(value.as_f64().unwrap())),
            ])));
        }
    }
    let rows = Rows::from_value(&Value::List(rows)).unwrap();
    let options = PairedOptions { metrics: OneOrMany(vec!["loss".to_string()]), ..Default::default() };
    let row = paired(&rows, &options).unwrap().row(0).unwrap();
    for (column, key) in [("t", "t"), ("p", "p"), ("p_flips", "p_flips")] {
        close(key, f64::from_value(&row[column]).unwrap(), &numbers[key], 1e-9);
    }
}
