//! Inception-v3 in the variant used for published FIDs (Szegedy et al. 2015, arXiv:1512.00567).
//!
//! This is the network of 2015 with 1008 classes as TensorFlow runs it: images are rounded to bytes and resized
//! bilinearly without a half-pixel shift, average pooling excludes padding, and the last block uses max pooling.
//! The user supplies the weights, with the names of the public PyTorch file (`Conv2d_1a_3x3.conv.weight`, ..).

use std::collections::BTreeMap;
use std::path::Path;

use super::Features;
use super::extractor::{Extractor, Outputs, hash_tensors, spatial_features};
use super::prepare::Prepared;
use crate::declare::{IntoValue, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Tensor, call, io};

/// Height and width of the input.
const SIDE: i64 = 299;
/// Length of a feature vector.
const FEATURES: i64 = 2048;
/// Number of ImageNet classes in the 2015 network, some of them unused.
const CLASSES: i64 = 1008;

/// Options of [`inception`].
#[derive(Debug, Clone, Options)]
pub struct InceptionOptions {
    /// Name of the features in results.
    #[option(default = "inception-v3-fid")]
    pub name: String,
    /// Number of images per batch; by default 32 on the CPU and 250 on CUDA.
    #[option(range = 1..=1e6)]
    pub batch: Option<i64>,
    /// Device of the network.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Returns the features of Inception-v3 with weights from a file.
pub fn inception(path: &Path, options: &InceptionOptions) -> Result<Features> {
    options.check()?;
    let named = |e: Error| e.in_file(path);
    let weights = io::load_named(path, options.device)?.tensors;
    let mut net = Inception::new(weights, options.device).map_err(named)?;
    net.batch = options.batch.unwrap_or(net.batch);
    net.hash = hash_tensors(net.weights.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
    Features::of(&options.name, net)
}

/// The network.
#[derive(Debug)]
pub struct Inception {
    weights: BTreeMap<String, Tensor>,
    device: Device,
    batch: i64,
    hash: String,
}

/// One convolution: name, kernel size, stride and padding.
type Step<'a> = (&'a str, [i64; 2], i64, [i64; 2]);

/// Returns a convolution that keeps the image size.
const fn same(name: &str, height: i64, width: i64) -> Step<'_> {
    (name, [height, width], 1, [height / 2, width / 2])
}

impl Inception {
    /// Creates a network from weights; every weight must be present in its shape, and no others.
    pub fn new(weights: BTreeMap<String, Tensor>, device: Device) -> Result<Self> {
        let shapes = shapes();
        for (name, shape) in &shapes {
            let tensor = weights.get(name).ok_or_else(|| {
                Error::argument(format!("the weight `{name}` is missing")).hint(
                    "these must be the weights of the Inception of 2015, under the names of torch-fidelity",
                )
            })?;
            ensure!(
                tensor.shape() == *shape && tensor.dtype().is_float(),
                "expected `{name}` to be {shape:?} of floats, found {}",
                tensor.signature()
            );
        }
        let known = |name: &String| shapes.contains_key(name) || name.ends_with("num_batches_tracked");
        if let Some(extra) = weights.keys().find(|name| !known(name)) {
            return Err(Error::argument(format!("the weight `{extra}` has no place in this network")));
        }
        let weights = weights
            .into_iter()
            .filter(|(name, _)| shapes.contains_key(name))
            .map(|(name, tensor)| Ok((name, tensor.detach()?.to_dtype(DType::Float32)?.to_device(device)?)))
            .collect::<Result<_>>()?;
        let batch = if device.is_cuda() { 250 } else { 32 };
        Ok(Self { weights, device, batch, hash: String::new() })
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name).ok_or_else(|| Error::internal(format!("no weight `{name}`")))
    }

    /// Convolution, batch normalization with fixed statistics, ReLU.
    fn convolve(&self, x: &Tensor, block: &str, (name, _, stride, padding): Step) -> Result<Tensor> {
        let at = if block.is_empty() { name.to_string() } else { format!("{block}.{name}") };
        let get = |part: &str| self.weight(&format!("{at}.{part}"));
        let x = x.conv2d(get("conv.weight")?, None, &[stride, stride], &padding, &[1, 1], 1)?;
        let get = |part: &str| get(part).map(Some);
        let (weight, bias) = (get("bn.weight")?, get("bn.bias")?);
        let (mean, var) = (get("bn.running_mean")?, get("bn.running_var")?);
        x.batch_norm(weight, bias, mean, var, false, 0.1, 0.001)?.relu()
    }

    /// Applies convolutions in sequence.
    fn chain(&self, x: &Tensor, block: &str, steps: &[Step]) -> Result<Tensor> {
        steps.iter().try_fold(x.clone(), |x, step| self.convolve(&x, block, *step))
    }

    /// Returns the outputs of a block's branches, without its pooling branch.
    fn branches(&self, x: &Tensor, block: &str, kind: Kind) -> Result<Vec<Tensor>> {
        branches(kind).iter().map(|steps| self.chain(x, block, steps)).collect()
    }

    fn block(&self, x: &Tensor, block: &str, kind: Kind) -> Result<Tensor> {
        let mut parts = self.branches(x, block, kind)?;
        if let Kind::E(_) = kind {
            let fork = |x: &Tensor, a: &str, b: &str| -> Result<Tensor> {
                let (across, down) = (same(a, 1, 3), same(b, 3, 1));
                Tensor::cat(&[self.convolve(x, block, across)?, self.convolve(x, block, down)?], 1)
            };
            parts[1] = fork(&parts[1], "branch3x3_2a", "branch3x3_2b")?;
            parts[2] = fork(&parts[2], "branch3x3dbl_3a", "branch3x3dbl_3b")?;
        }
        parts.push(match kind {
            Kind::B | Kind::D => x.max_pool2d(&[3, 3], Some(&[2, 2]), &[0, 0])?,
            Kind::E(Pool::Max) => self.convolve(
                &x.max_pool2d(&[3, 3], Some(&[1, 1]), &[1, 1])?,
                block,
                same("branch_pool", 1, 1),
            )?,
            _ => self.convolve(&mean_of_neighbors(x)?, block, same("branch_pool", 1, 1))?,
        });
        Tensor::cat(&parts, 1)
    }
}

/// 3 x 3 average pooling that excludes padding.
fn mean_of_neighbors(x: &Tensor) -> Result<Tensor> {
    let pair = |i: i64| Value::List(vec![Value::Int(i); 2]);
    let arguments = [x.clone().into_value(), pair(3), pair(1), pair(1)];
    let named = Map::from([("count_include_pad".to_string(), Value::Bool(false))]);
    let value = call::call("avg_pool2d", &arguments, &named)?;
    value.downcast().ok_or_else(|| Error::internal("avg_pool2d returned no tensor"))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pool {
    Mean,
    Max,
}

/// Block types, named as in the literature.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// 35 x 35 pixels.
    A,
    /// From 35 x 35 to 17 x 17 pixels.
    B,
    /// 17 x 17 pixels.
    C,
    /// From 17 x 17 to 8 x 8 pixels.
    D,
    /// 8 x 8 pixels.
    E(Pool),
}

/// Convolutions before the blocks; 3 x 3 max pooling follows the third and the last.
const STEM: [Step; 5] = [
    ("Conv2d_1a_3x3", [3, 3], 2, [0, 0]),
    ("Conv2d_2a_3x3", [3, 3], 1, [0, 0]),
    same("Conv2d_2b_3x3", 3, 3),
    same("Conv2d_3b_1x1", 1, 1),
    ("Conv2d_4a_3x3", [3, 3], 1, [0, 0]),
];

const BLOCKS: [(&str, Kind); 11] = [
    ("Mixed_5b", Kind::A),
    ("Mixed_5c", Kind::A),
    ("Mixed_5d", Kind::A),
    ("Mixed_6a", Kind::B),
    ("Mixed_6b", Kind::C),
    ("Mixed_6c", Kind::C),
    ("Mixed_6d", Kind::C),
    ("Mixed_6e", Kind::C),
    ("Mixed_7a", Kind::D),
    ("Mixed_7b", Kind::E(Pool::Mean)),
    ("Mixed_7c", Kind::E(Pool::Max)),
];

/// Block whose first branch provides the spatial features of sFID (Nash et al. 2021).
const SPATIAL_BLOCK: &str = "Mixed_6d";

fn branches(kind: Kind) -> Vec<Vec<Step<'static>>> {
    let half = |name, side| (name, [side, side], 2, [0, 0]);
    match kind {
        Kind::A => vec![
            vec![same("branch1x1", 1, 1)],
            vec![same("branch5x5_1", 1, 1), same("branch5x5_2", 5, 5)],
            vec![same("branch3x3dbl_1", 1, 1), same("branch3x3dbl_2", 3, 3), same("branch3x3dbl_3", 3, 3)],
        ],
        Kind::B => vec![
            vec![half("branch3x3", 3)],
            vec![same("branch3x3dbl_1", 1, 1), same("branch3x3dbl_2", 3, 3), half("branch3x3dbl_3", 3)],
        ],
        Kind::C => vec![
            vec![same("branch1x1", 1, 1)],
            vec![same("branch7x7_1", 1, 1), same("branch7x7_2", 1, 7), same("branch7x7_3", 7, 1)],
            vec![
                same("branch7x7dbl_1", 1, 1),
                same("branch7x7dbl_2", 7, 1),
                same("branch7x7dbl_3", 1, 7),
                same("branch7x7dbl_4", 7, 1),
                same("branch7x7dbl_5", 1, 7),
            ],
        ],
        Kind::D => vec![
            vec![same("branch3x3_1", 1, 1), half("branch3x3_2", 3)],
            vec![
                same("branch7x7x3_1", 1, 1),
                same("branch7x7x3_2", 1, 7),
                same("branch7x7x3_3", 7, 1),
                half("branch7x7x3_4", 3),
            ],
        ],
        // The last convolutions of the second and third branch are parallel.
        Kind::E(_) => vec![
            vec![same("branch1x1", 1, 1)],
            vec![same("branch3x3_1", 1, 1)],
            vec![same("branch3x3dbl_1", 1, 1), same("branch3x3dbl_2", 3, 3)],
        ],
    }
}

/// Returns the name and shape of every weight.
pub fn shapes() -> BTreeMap<String, Vec<i64>> {
    let mut shapes = BTreeMap::new();
    let mut add = |block: &str, name: &str, out: i64, inputs: i64, kernel: [i64; 2]| {
        let at = if block.is_empty() { name.to_string() } else { format!("{block}.{name}") };
        shapes.insert(format!("{at}.conv.weight"), vec![out, inputs, kernel[0], kernel[1]]);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.insert(format!("{at}.bn.{part}"), vec![out]);
        }
    };
    let mut width = 3;
    for ((name, kernel, ..), out) in STEM.iter().zip([32, 32, 64, 80, 192]) {
        add("", name, out, width, *kernel);
        width = out;
    }
    for (block, kind) in BLOCKS {
        // Output channels of each convolution of each branch, then of the one after the pooling, if there is one.
        let inner = match block {
            "Mixed_6b" => 128,
            "Mixed_6e" => 192,
            _ => 160,
        };
        let (widths, pool): (Vec<Vec<i64>>, Option<i64>) = match kind {
            Kind::A => {
                let pool = if block == "Mixed_5b" { 32 } else { 64 };
                (vec![vec![64], vec![48, 64], vec![64, 96, 96]], Some(pool))
            }
            Kind::B => (vec![vec![384], vec![64, 96, 96]], None),
            Kind::C => {
                let i = inner;
                (vec![vec![192], vec![i, i, 192], vec![i, i, i, i, 192]], Some(192))
            }
            Kind::D => (vec![vec![192, 320], vec![192, 192, 192, 192]], None),
            Kind::E(_) => (vec![vec![320], vec![384], vec![448, 384]], Some(192)),
        };
        let mut total = pool.unwrap_or(width);
        for (steps, widths) in branches(kind).iter().zip(&widths) {
            let mut inputs = width;
            for ((name, kernel, ..), out) in steps.iter().zip(widths) {
                add(block, name, *out, inputs, *kernel);
                inputs = *out;
            }
            total += inputs;
        }
        if let Kind::E(_) = kind {
            for (name, kernel) in [
                ("branch3x3_2a", [1, 3]),
                ("branch3x3_2b", [3, 1]),
                ("branch3x3dbl_3a", [1, 3]),
                ("branch3x3dbl_3b", [3, 1]),
            ] {
                add(block, name, 384, 384, kernel);
            }
            total += 2 * 384;
        }
        if let Some(pool) = pool {
            add(block, "branch_pool", pool, width, [1, 1]);
        }
        width = total;
    }
    shapes.insert("fc.weight".to_string(), vec![CLASSES, width]);
    shapes.insert("fc.bias".to_string(), vec![CLASSES]);
    shapes
}

impl Extractor for Inception {
    fn hash(&self) -> &str {
        &self.hash
    }

    fn rounds(&self) -> bool {
        true
    }

    fn dims(&self) -> Option<i64> {
        Some(FEATURES)
    }

    fn device(&self) -> Device {
        self.device
    }

    fn batch(&self) -> i64 {
        self.batch
    }

    fn prepare(&self, images: &Tensor) -> Result<(Tensor, String)> {
        let prepared = Prepared::new(images, self.device)?.channels(3)?.bytes()?;
        let (images, how) = prepared.resized_like_tensorflow(SIDE)?.finish();
        Ok((images.sub_scalar(128.0)?.div_scalar(128.0)?, how))
    }

    fn outputs(&self, images: &Tensor) -> Result<Outputs> {
        let mut x = images.clone();
        for (i, step) in STEM.into_iter().enumerate() {
            x = self.convolve(&x, "", step)?;
            if i == 2 || i == 4 {
                x = x.max_pool2d(&[3, 3], Some(&[2, 2]), &[0, 0])?;
            }
        }
        let mut spatial = None;
        for (block, kind) in BLOCKS {
            if block == SPATIAL_BLOCK {
                let first = self.convolve(&x, block, same("branch1x1", 1, 1))?;
                spatial = Some(spatial_features(&first)?);
            }
            x = self.block(&x, block, kind)?;
        }
        let features = x.adaptive_avg_pool2d(&[1, 1])?.flatten(1, -1)?;
        // Without the bias, as in published inception scores.
        let logits = features.linear(self.weight("fc.weight")?, None)?;
        Ok(Outputs { features, logits: Some(logits), spatial })
    }

    fn describe(&self) -> String {
        format!(
            "[N, {FEATURES}] features and [N, {CLASSES}] logits of images resized to {SIDE} x {SIDE}, on {}",
            self.device
        )
    }

    fn bytes(&self) -> u64 {
        self.weights.values().map(Tensor::bytes).sum()
    }

    fn is_slow(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_has_as_many_weights_as_the_one_of_2015() {
        let shapes = shapes();
        let learned = |name: &String| !name.contains("running");
        let count: i64 =
            shapes.iter().filter(|(n, _)| learned(n)).map(|(_, s)| s.iter().product::<i64>()).sum();
        // 94 convolutions with one normalization each, and 1008 classes of 2048 features.
        assert_eq!(shapes.keys().filter(|n| n.ends_with("conv.weight")).count(), 94);
        assert_eq!(shapes["fc.weight"], [1008, 2048]);
        assert_eq!(count, 21_785_568 + 1008 * 2049);
    }

    #[test]
    fn wrong_weights_are_named() {
        let message = |weights| Inception::new(weights, Device::Cpu).unwrap_err().message();
        assert!(message(BTreeMap::new()).contains("is missing"));
        let one = Tensor::zeros(&[1], DType::Float32, Device::Cpu).unwrap();
        let weights: BTreeMap<_, _> = shapes().into_keys().map(|name| (name, one.clone())).collect();
        assert!(message(weights).contains("to be [32] of floats, found tensor [1]"));
    }
}
