//! Benchmark of evaluation: Inception features of a batch of images, and metrics of features.

use std::collections::BTreeMap;

use super::Setting;
use crate::context::Context;
use crate::error::Result;
use crate::eval::features::Extractor;
use crate::eval::features::inception::{Inception, shapes};
use crate::eval::fid::frechet_distance;
use crate::eval::kid::kid;
use crate::eval::precision_recall::precision_recall;
use crate::torch::{DType, Device, Generator, Tensor, no_grad};

/// Measurements of this module; `benches/fidelity.py` has the same.
pub(super) const KINDS: [&str; 4] = ["inception", "fid", "kid", "precision_recall"];

/// Number of vectors in each set of features.
const COUNT: i64 = 5000;
/// Length of a feature vector.
const WIDTH: i64 = 2048;

/// A network with random weights, images for it, and two sets of features.
pub(super) struct Bench {
    net: Inception,
    images: Tensor,
    real: Tensor,
    made: Tensor,
    cx: Context,
}

impl Bench {
    pub(super) fn new(setting: &Setting) -> Result<Self> {
        let generator = Generator::new(1, Device::Cpu)?;
        let random = |shape: &[i64]| Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator));
        let mut weights = BTreeMap::new();
        for (name, shape) in shapes() {
            let inputs: i64 = shape[1..].iter().product();
            let weight = match name.ends_with("running_var") || name.ends_with("bn.weight") {
                true => Tensor::ones(&shape, DType::Float32, Device::Cpu)?,
                false => random(&shape)?.mul_scalar((2.0 / inputs as f64).sqrt())?,
            };
            weights.insert(name, weight);
        }
        let [batch, _, height, width] = setting.images();
        let sample = |shift: f64| random(&[COUNT, WIDTH])?.abs()?.add_scalar(shift)?.to_dtype(DType::Float64);
        Ok(Self {
            net: Inception::new(weights, setting.device)?,
            images: random(&[batch, 3, height, width])?.clamp(-1.0, 1.0)?,
            real: sample(0.0)?,
            made: sample(0.1)?,
            cx: Context::default(),
        })
    }
}

impl super::Work for Bench {
    fn run(&self, what: &str) -> Result<()> {
        match what {
            "fid" => frechet_distance(&self.real, &self.made).map(drop),
            "kid" => kid(&self.real, &self.made, 100, 1000, &self.cx).map(drop),
            "precision_recall" => precision_recall(&self.real, &self.made, 3, &self.cx).map(drop),
            _ => {
                let (images, _) = self.net.prepare(&self.images)?;
                no_grad(|| self.net.outputs(&images)).map(drop)
            }
        }
    }
}
