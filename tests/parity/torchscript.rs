//! A network exported by PyTorch returns the same features and logits here. `measures.py` wrote it.

use spectral::context::Context;
use spectral::eval::Images;
use spectral::eval::features::torchscript::{TorchScriptOptions, torchscript};
use spectral::torch::Tensor;

use super::fixtures;

#[test]
fn features_and_logits_of_an_exported_network() {
    spectral::torch::start();
    let path = fixtures().join("means.pt");
    // Rescaled to [0, 1], the three channels are 0, 0.5 and 1.
    let pixels = [[-1.0f32; 4], [0.0; 4], [1.0; 4]].concat();
    let images = Images::new(&Tensor::from_f32(&pixels, &[1, 3, 2, 2]).unwrap()).unwrap();
    let extract = |options: &TorchScriptOptions| {
        let found = torchscript(&path, options).unwrap().extract(&images, &Context::default()).unwrap();
        (found.features.to_f64().unwrap(), found.logits.unwrap().to_f64().unwrap(), found.prepared)
    };
    let (features, logits, prepared) = extract(&TorchScriptOptions::default());
    assert_eq!((features, logits, prepared.as_str()), (vec![-1.0, 0.0, 1.0], vec![2.0, 1.0], ""));
    let options = TorchScriptOptions {
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        image_size: Some(4),
        ..Default::default()
    };
    let (features, logits, prepared) = extract(&options);
    assert_eq!((features, logits), (vec![-2.0, 0.0, 2.0], vec![4.0, 2.0]));
    assert_eq!(prepared, "2 x 2 resized to 4 x 4, normalized by [0.5, 0.5, 0.5] and [0.25, 0.25, 0.25]");
}

#[test]
fn the_file_names_and_hashes_the_features() {
    spectral::torch::start();
    let path = fixtures().join("means.pt");
    let features = torchscript(&path, &TorchScriptOptions::default()).unwrap();
    assert_eq!((features.name(), features.hash().len()), ("means", 12));
    // Other input makes other features, which must not be compared with these or taken from the cache.
    let hash = |options: TorchScriptOptions| torchscript(&path, &options).unwrap().hash().to_string();
    let plain = TorchScriptOptions::default();
    let normalized =
        |mean: f64| TorchScriptOptions { mean: vec![mean; 3], std: vec![0.5; 3], ..plain.clone() };
    let mut all = vec![
        hash(plain.clone()),
        hash(TorchScriptOptions { channels: 1, ..plain.clone() }),
        hash(TorchScriptOptions { image_size: Some(8), ..plain.clone() }),
        hash(normalized(0.5)),
        hash(normalized(0.4)),
    ];
    assert_eq!(all[0], hash(TorchScriptOptions { batch: 2, name: Some("other".into()), ..plain.clone() }));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
    let wrong = TorchScriptOptions { mean: vec![0.5], ..Default::default() };
    assert!(torchscript(&path, &wrong).unwrap_err().message().contains("one number for each"));
    let cut = tempfile::tempdir().unwrap();
    let file = cut.path().join("cut.pt");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = torchscript(&file, &TorchScriptOptions::default()).unwrap_err();
    assert!(error.message().contains("cut.pt: not a TorchScript file"), "{error}");
}
