//! Inception-v3 against torch-fidelity's `inception-v3-compat`, with weights and images from a formula that both sides
//! compute: `measures.py` made the numbers.

use std::collections::BTreeMap;

use spectral::eval::features::Extractor;
use spectral::eval::features::inception::{Inception, shapes};
use spectral::torch::{Device, Tensor, io, no_grad};

use super::fixtures;

/// Numbers in [-1, 1) by tensor and place: the finaliser of SplitMix64.
fn pattern(index: usize, count: i64) -> impl Iterator<Item = f64> {
    (0..count as u64).map(move |i| {
        let mut z = i.wrapping_add((index as u64) << 32).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

fn weights() -> BTreeMap<String, Tensor> {
    let weight = |(index, (name, shape)): (usize, (String, Vec<i64>))| {
        let inputs: i64 = shape[1..].iter().product();
        let (mean, scale) = match name.as_str() {
            "fc.weight" => (0.0, (6.0 / inputs as f64).sqrt()),
            n if n.ends_with("conv.weight") => (0.0, (6.0 / inputs as f64).sqrt()),
            n if n.ends_with("bn.weight") || n.ends_with("running_var") => (1.0, 0.25),
            _ => (0.0, 0.1),
        };
        let values: Vec<f32> =
            pattern(index, shape.iter().product()).map(|u| (mean + scale * u) as f32).collect();
        (name, Tensor::from_f32(&values, &shape).unwrap())
    };
    shapes().into_iter().enumerate().map(weight).collect()
}

/// Images [B, 3, H, W] in [-1, 1] with the values of bytes.
fn images(index: usize, shape: &[i64]) -> Tensor {
    let byte = |u: f64| ((u + 1.0) * 128.0).floor() as f32 / 127.5 - 1.0;
    let values: Vec<f32> = pattern(1000 + index, shape.iter().product()).map(byte).collect();
    Tensor::from_f32(&values, shape).unwrap()
}

#[test]
fn features_logits_and_spatial_features() {
    spectral::torch::start();
    let path = fixtures().join("inception.safetensors");
    let expected = io::load_safetensors(&path, Device::Cpu).unwrap().tensors;
    let net = Inception::new(weights(), Device::Cpu).unwrap();
    for (name, index, shape) in [("small", 0, [2, 3, 32, 32]), ("tall", 1, [1, 3, 340, 310])] {
        let (prepared, _) = net.prepare(&images(index, &shape)).unwrap();
        let found = no_grad(|| net.outputs(&prepared)).unwrap();
        for (part, tensor) in [
            ("features", found.features),
            ("logits", found.logits.unwrap()),
            ("spatial", found.spatial.unwrap()),
        ] {
            let expected = &expected[&format!("{name}.{part}")];
            let error =
                tensor.sub(expected).unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap();
            let scale = expected.abs().unwrap().amax(&[], false).unwrap().item().unwrap();
            assert_eq!(tensor.shape(), expected.shape());
            assert!(error <= 2e-5 * scale, "{name}.{part}: off by {error:.1e} of {scale:.1e}");
        }
    }
}
