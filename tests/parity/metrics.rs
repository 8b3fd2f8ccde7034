//! Metrics in float64 compared with the NumPy oracle.

use spectral::context::Context;
use spectral::eval::{
    Images, fid, high_frequency_ratio, inception_score, precision_recall, radial_spectrum, statistics,
};
use spectral::torch::{Device, Tensor, io};

use super::fixtures;

struct Oracle {
    arrays: io::Loaded,
    numbers: serde_json::Value,
}

impl Oracle {
    fn load() -> Self {
        spectral::torch::start();
        let folder = fixtures();
        let arrays = io::load_safetensors(&folder.join("metrics_float64.safetensors"), Device::Cpu).unwrap();
        let text = std::fs::read_to_string(folder.join("metrics.json")).unwrap();
        Self { arrays, numbers: serde_json::from_str(&text).unwrap() }
    }

    fn array(&self, name: &str) -> &Tensor {
        &self.arrays.tensors[name]
    }

    fn images(&self, name: &str) -> Images {
        Images::new(self.array(name)).unwrap()
    }

    fn check(&self, name: &str, found: f64, tolerance: f64) {
        let expected = self.numbers[name].as_f64().unwrap_or_else(|| panic!("no number `{name}`"));
        let error = ((found - expected) / expected).abs();
        assert!(error <= tolerance, "{name}: expected {expected}, found {found}, relative error {error:.1e}");
    }
}

#[test]
fn spectra_and_their_gap() {
    let (oracle, cx) = (Oracle::load(), Context::default());
    for (images, spectrum) in [("real", "spectrum_real"), ("fake", "spectrum_fake")] {
        let found = radial_spectrum::radial_spectrum(&oracle.images(images), &cx).unwrap();
        assert!(found.allclose(oracle.array(spectrum), 1e-9, 0.0).unwrap(), "{spectrum}");
    }
    let gap = radial_spectrum::radial_spectrum_gap(&oracle.images("real"), &oracle.images("fake"), &cx);
    oracle.check("radial_spectrum_gap", gap.unwrap(), 1e-9);
}

#[test]
fn high_frequencies_and_edges() {
    let (oracle, cx) = (Oracle::load(), Context::default());
    for set in ["real", "fake"] {
        let images = oracle.images(set);
        let ratio = high_frequency_ratio::high_frequency_ratio(&images, 0.5, &cx).unwrap();
        oracle.check(&format!("hf_ratio_{set}"), ratio, 1e-9);
        let found = statistics::edge_statistics(&images, &cx).unwrap();
        oracle.check(&format!("sobel_mean_{set}"), found.sobel_mean, 1e-9);
        oracle.check(&format!("sobel_std_{set}"), found.sobel_std, 1e-9);
        oracle.check(&format!("laplacian_abs_{set}"), found.laplacian_abs, 1e-9);
    }
}

#[test]
fn distances_of_features() {
    let oracle = Oracle::load();
    let (real, made) = (oracle.array("features_real"), oracle.array("features_fake"));
    oracle.check("fid", fid::frechet_distance(real, made).unwrap(), 1e-6);
    let shares = precision_recall::precision_recall(real, made, 3, &Context::default()).unwrap();
    oracle.check("precision", shares.precision, 1e-9);
    oracle.check("recall", shares.recall, 1e-9);
    let score = inception_score::inception_score(oracle.array("logits"), 10).unwrap();
    oracle.check("inception_score_mean", score.mean, 1e-9);
    oracle.check("inception_score_std", score.std, 1e-9);
}
