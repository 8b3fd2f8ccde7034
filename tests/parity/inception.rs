//! Inception-v3 compared with torch-fidelity's `inception-v3-compat`. Both sides compute weights and images from
//! the same formula; `measures.py` wrote the expected values.

use std::collections::BTreeMap;

use spectral::declare::{IntoValue, Map, Value};
use spectral::eval::features::Extractor;
use spectral::eval::features::inception::{Inception, shapes};
use spectral::torch::{DType, Device, Tensor, call, io, no_grad};

use super::fixtures;

/// Returns float64 values in [-1, 1) that depend on the tensor's index and the position: the finalizer of
/// SplitMix64, whose products overflow on purpose.
fn pattern(index: usize, shape: &[i64]) -> Tensor {
    let op = |name: &str, x: &Tensor, y: Value| -> Tensor {
        call::call(name, &[x.clone().into_value(), y], &Map::new()).unwrap().downcast().unwrap()
    };
    let shifted = |x: &Tensor, bits: i64| {
        // A right shift of signed integers repeats the sign bit; the mask clears the copies.
        let shifted = op("bitwise_right_shift", x, Value::Int(bits));
        op("bitwise_and", &shifted, Value::Int((1 << (64 - bits)) - 1))
    };
    let mixed = |x: &Tensor, bits: i64| op("bitwise_xor", x, shifted(x, bits).into_value());
    let times = |x: &Tensor, factor: u64| x.mul_scalar(factor as i64).unwrap();
    let count = shape.iter().product::<i64>();
    let places = Tensor::arange(0.0, count as f64, 1.0, DType::Int64, Device::Cpu).unwrap();
    let mut z = times(&places.add_scalar(((index as i64) << 32) + 1).unwrap(), 0x9e37_79b9_7f4a_7c15);
    z = times(&mixed(&z, 30), 0xbf58_476d_1ce4_e5b9);
    z = times(&mixed(&z, 27), 0x94d0_49bb_1331_11eb);
    let top = shifted(&mixed(&z, 31), 40).to_dtype(DType::Float64).unwrap();
    top.div_scalar(f64::from(1 << 23)).unwrap().sub_scalar(1.0).unwrap().reshape(shape).unwrap()
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
        let values = pattern(index, &shape).mul_scalar(scale).unwrap().add_scalar(mean).unwrap();
        (name, values.to_dtype(DType::Float32).unwrap())
    };
    shapes().into_iter().enumerate().map(weight).collect()
}

/// Returns images `[B, 3, H, W]` in [-1, 1] whose values correspond to bytes.
fn images(index: usize, shape: &[i64]) -> Tensor {
    let bytes =
        pattern(1000 + index, shape).add_scalar(1.0).unwrap().mul_scalar(128.0).unwrap().floor().unwrap();
    bytes.div_scalar(127.5).unwrap().sub_scalar(1.0).unwrap().to_dtype(DType::Float32).unwrap()
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
            let mut expected = expected[&format!("{name}.{part}")].clone();
            if part == "spatial" {
                // The fixture holds the channels of PyTorch, the features those of each position in turn.
                let channels = expected.reshape(&[shape[0], 7, 17, 17]).unwrap();
                expected = channels.permute(&[0, 2, 3, 1]).unwrap().flatten(1, -1).unwrap();
            }
            let error =
                tensor.sub(&expected).unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap();
            let scale = expected.abs().unwrap().amax(&[], false).unwrap().item().unwrap();
            assert_eq!(tensor.shape(), expected.shape());
            assert!(error <= 2e-5 * scale, "{name}.{part}: off by {error:.1e} of {scale:.1e}");
        }
    }
}
