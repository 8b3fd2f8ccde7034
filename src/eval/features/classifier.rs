//! A small convolutional classifier whose last hidden layer provides features.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::extractor::{Extractor, Outputs, hash_tensors, spatial_features};
use super::prepare::Prepared;
use crate::declare::{Display, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::scripted;
use crate::torch::io::{self, Loaded};
use crate::torch::placement::together;
use crate::torch::{DType, Device, Generator, Tensor, no_grad};

/// Value of `format` in the metadata of a saved classifier.
const FORMAT: &str = "spectral classifier 1";

/// Options of [`Classifier`].
#[derive(Debug, Clone, PartialEq, Options)]
pub struct ClassifierOptions {
    /// Channels of the images.
    #[option(default = 1, range = 1..=1024)]
    pub in_channels: i64,
    /// Height and width of the images, in pixels.
    #[option(default = 28, range = 1..=4096)]
    pub image_size: i64,
    /// Number of classes.
    #[option(default = 10, range = 2..=1e6)]
    pub classes: i64,
    /// Output channels of each convolution, which is followed by ReLU and 2 x 2 max pooling.
    #[option(default = vec![16, 32, 64], range = 1..=4096)]
    pub channels: Vec<i64>,
    /// Length of the feature vector: the last hidden layer before its SiLU activation.
    #[option(default = 64, range = 1..=65536)]
    pub features: i64,
    /// Seed of the initial weights.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the weights.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Classifier of 3 x 3 convolutions with ReLU and pooling, one hidden layer and logits. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Classifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ClassifierOptions,
    /// In layer order: weight, bias, weight, bias, ..
    parameters: Vec<(String, Tensor)>,
}

scripted!(
    Classifier,
    "classifier",
    |c| Display::text(c.summary()),
    bytes = Classifier::bytes,
    facts = |c| vec![
        ("parameters", c.parameters().iter().map(|(_, t)| t.count()).sum::<usize>().to_string()),
        ("device", c.device().to_string()),
    ],
);

impl Classifier {
    /// Returns the bytes of the parameters and their gradients.
    pub fn bytes(&self) -> u64 {
        let held = |p: &Tensor| p.bytes() + p.grad().map_or(0, |g| g.bytes());
        self.0.parameters.iter().map(|(_, p)| held(p)).sum()
    }

    /// Creates a classifier with random weights (He et al. 2015, arXiv:1502.01852, equation 10) and zero biases.
    pub fn new(options: &ClassifierOptions) -> Result<Self> {
        options.check()?;
        let generator = Generator::new(options.seed as u64, Device::Cpu)?;
        Self::with(options, |name, shape| {
            let tensor = match name.ends_with("weight") {
                true => {
                    let inputs = shape[1..].iter().product::<i64>() as f64;
                    Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator))?
                        .mul_scalar((2.0 / inputs).sqrt())?
                }
                false => Tensor::zeros(shape, DType::Float32, Device::Cpu)?,
            };
            tensor.to_device(options.device)?.set_requires_grad(true)
        })
    }

    fn with(
        options: &ClassifierOptions,
        mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut shapes = Vec::new();
        let (mut width, mut side) = (options.in_channels, options.image_size);
        for (i, channels) in options.channels.iter().enumerate() {
            shapes.push((format!("conv.{i}"), vec![*channels, width, 3, 3]));
            (width, side) = (*channels, side / 2);
        }
        ensure!(
            side >= 1,
            "images of {} x {} pixels cannot be halved {} times",
            options.image_size,
            options.image_size,
            options.channels.len()
        );
        shapes.push(("features".to_string(), vec![options.features, width * side * side]));
        shapes.push(("head".to_string(), vec![options.classes, options.features]));
        let mut parameters = Vec::new();
        for (layer, shape) in shapes {
            for (name, shape) in
                [(format!("{layer}.weight"), &shape[..]), (format!("{layer}.bias"), &shape[..1])]
            {
                let tensor = parameter(&name, shape)?;
                parameters.push((name, tensor));
            }
        }
        Ok(Self(Arc::new(Inner { options: options.clone(), parameters })))
    }

    /// Returns the options.
    pub fn options(&self) -> &ClassifierOptions {
        &self.0.options
    }

    /// Returns the device of the weights.
    pub fn device(&self) -> Device {
        self.0.options.device
    }

    /// Returns the parameters by name, in layer order.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }

    /// Returns features, logits and the last convolution's first channels for images [B, C, H, W] float32 in
    /// [-1, 1], with gradient history.
    pub fn outputs(&self, images: &Tensor) -> Result<Outputs> {
        let ClassifierOptions { in_channels, image_size, .. } = self.0.options;
        let shape = images.shape();
        ensure!(
            shape.len() == 4 && shape[1..] == [in_channels, image_size, image_size],
            "expected images [B, {in_channels}, {image_size}, {image_size}], found shape {shape:?}"
        );
        together("the classifier", self.device(), [("the tensor of images", images.device())])?;
        let mut layers = self.0.parameters.chunks_exact(2).map(|pair| (&pair[0].1, &pair[1].1));
        let mut x = images.clone();
        for (weight, bias) in layers.by_ref().take(self.0.options.channels.len()) {
            x = x.conv2d(weight, Some(bias), &[1, 1], &[1, 1], &[1, 1], 1)?.relu()?;
            x = x.max_pool2d(&[2, 2], None, &[0, 0])?;
        }
        let spatial = spatial_features(&x)?;
        x = x.flatten(1, -1)?;
        let mut linear = |x: &Tensor| match layers.next() {
            Some((weight, bias)) => x.linear(weight, Some(bias)),
            None => Err(Error::internal("a classifier lacks a layer")),
        };
        // Features are taken before the activation: after a ReLU many would be zero for every image, and none would
        // be close to the Gaussian that the Fréchet distance assumes.
        let features = linear(&x)?;
        let logits = linear(&features.silu()?)?;
        Ok(Outputs { features, logits: Some(logits), spatial: Some(spatial) })
    }

    /// Returns logits [B, K] of images [B, C, H, W] float32 in [-1, 1].
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let logits = self.outputs(images)?.logits;
        logits.ok_or_else(|| Error::internal("a classifier gave no logits"))
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of each parameter's name, shape and little-endian
    /// float32 values, in layer order.
    pub fn hash(&self) -> Result<String> {
        hash_tensors(self.0.parameters.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// Returns a copy on a device, with its own weights that require no gradients.
    pub fn copy_to(&self, device: Device) -> Result<Self> {
        let weights: BTreeMap<&str, &Tensor> =
            self.0.parameters.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let options = ClassifierOptions { device, ..self.0.options.clone() };
        no_grad(|| {
            Self::with(&options, |name, shape| match weights.get(name) {
                Some(tensor) => tensor.detach()?.copy()?.to_device(device),
                None => Err(Error::internal(format!("no parameter `{name}` of shape {shape:?}"))),
            })
        })
    }

    /// Writes the weights, the options, and the user's texts (`name`, `accuracy`, ..) to a safetensors file.
    pub fn save(&self, path: &Path, texts: &BTreeMap<String, String>) -> Result<()> {
        let ClassifierOptions { in_channels, image_size, classes, ref channels, features, .. } =
            self.0.options;
        let mut metadata = texts.clone();
        metadata.insert("format".to_string(), FORMAT.to_string());
        for (key, value) in [
            ("in_channels", in_channels.to_string()),
            ("image_size", image_size.to_string()),
            ("classes", classes.to_string()),
            ("channels", channels.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")),
            ("features", features.to_string()),
        ] {
            metadata.insert(key.to_string(), value);
        }
        let tensors = self.0.parameters.iter().cloned().collect();
        io::save_safetensors(path, &tensors, &metadata)
    }

    /// Reads a file of [`Classifier::save`], and the texts in it.
    pub fn load(path: &Path, device: Device) -> Result<(Self, BTreeMap<String, String>)> {
        Self::from_loaded(io::load_safetensors(path, device)?, path, device)
    }

    /// Reads the content of such a file; error messages name it `path`.
    pub fn parse(bytes: &[u8], path: &Path, device: Device) -> Result<(Self, BTreeMap<String, String>)> {
        Self::from_loaded(io::parse_safetensors(bytes, path, device)?, path, device)
    }

    fn from_loaded(loaded: Loaded, path: &Path, device: Device) -> Result<(Self, BTreeMap<String, String>)> {
        let Loaded { tensors, metadata, .. } = loaded;
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(Error::file(
                path,
                "expected the weights of a classifier with its shape in the metadata",
            )
            .hint("make one with `eval::classifier(..)` and `.save(path)`"));
        }
        let wrong = |key: &str| Error::file(path, format!("the metadata `{key}` is missing or no number"));
        let number =
            |key: &str| metadata.get(key).and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| wrong(key));
        let channels = metadata.get("channels").ok_or_else(|| wrong("channels"))?;
        let options = ClassifierOptions {
            in_channels: number("in_channels")?,
            image_size: number("image_size")?,
            classes: number("classes")?,
            channels: channels
                .split_whitespace()
                .map(|c| c.parse().map_err(|_| wrong("channels")))
                .collect::<Result<_>>()?,
            features: number("features")?,
            seed: 0,
            device,
        };
        let named = |e: Error| e.in_file(path);
        options.check().map_err(named)?;
        let net = Self::with(&options, |name, shape| {
            let tensor = tensors.get(name).ok_or_else(|| Error::argument(format!("no tensor `{name}`")))?;
            ensure!(
                tensor.shape() == shape && tensor.dtype() == DType::Float32,
                "expected `{name}` to be {shape:?} float32, found {}",
                tensor.signature()
            );
            Ok(tensor.clone())
        });
        let net = net.map_err(named)?;
        let extra = tensors.keys().find(|name| !net.0.parameters.iter().any(|(known, _)| known == *name));
        match extra {
            Some(extra) => {
                Err(Error::file(path, format!("the tensor `{extra}` has no place in this classifier")))
            }
            None => Ok((net, metadata)),
        }
    }

    fn summary(&self) -> String {
        let ClassifierOptions { in_channels, image_size, classes, ref channels, features, .. } =
            self.0.options;
        let count: usize = self.0.parameters.iter().map(|(_, t)| t.count()).sum();
        format!(
            "classifier of [B, {in_channels}, {image_size}, {image_size}] into {classes} classes: convolutions \
             {channels:?}, {features} features, {count} parameters on {}",
            self.device()
        )
    }
}

/// A classifier as feature extractor, with its hash. Training it would invalidate the hash, so it is a copy.
#[derive(Debug)]
pub struct Hashed {
    net: Classifier,
    hash: String,
}

impl Hashed {
    /// Hashes a classifier that is no longer trained.
    pub fn new(net: Classifier) -> Result<Self> {
        Ok(Self { hash: net.hash()?, net })
    }
}

impl Extractor for Hashed {
    fn hash(&self) -> &str {
        &self.hash
    }

    fn dims(&self) -> Option<i64> {
        Some(self.net.options().features)
    }

    fn device(&self) -> Device {
        self.net.device()
    }

    fn prepare(&self, images: &Tensor) -> Result<(Tensor, String)> {
        let ClassifierOptions { in_channels, image_size, device, .. } = *self.net.options();
        Ok(Prepared::new(images, device)?.channels(in_channels)?.resized(image_size)?.finish())
    }

    fn outputs(&self, images: &Tensor) -> Result<Outputs> {
        self.net.outputs(images)
    }

    fn describe(&self) -> String {
        let ClassifierOptions { in_channels: c, image_size: s, classes, features, .. } = self.net.options();
        format!("[N, {features}] features and [N, {classes}] logits of images [N, {c}, {s}, {s}]")
    }

    fn bytes(&self) -> u64 {
        self.net.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::eval::Images;
    use crate::eval::features::{Features, FeaturesOptions, features};

    #[test]
    fn features_of_a_tensor_that_records_gradients_have_those_of_finite_differences() {
        let generator = Generator::new(4, Device::Cpu).unwrap();
        let x = Tensor::rand(&[3, 1, 28, 28], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        let net = features(&FeaturesOptions::default()).unwrap();
        let loss = |net: &Features, x: &Tensor| {
            let found = net.extract_recorded(&Images::new(x).unwrap(), &Context::default()).unwrap();
            found.features.square().unwrap().mean(&[], false).unwrap()
        };
        let leaf = x.copy().unwrap().set_requires_grad(true).unwrap();
        let recorded = loss(&net, &leaf);
        recorded.backward(None, false).unwrap();
        let slope = leaf.grad().unwrap();
        let way = slope
            .div_scalar(slope.square().unwrap().sum(&[], false).unwrap().item().unwrap().sqrt())
            .unwrap();
        let at = |step: f64| loss(&net, &x.add(&way.mul_scalar(step).unwrap()).unwrap()).item().unwrap();
        let measured = (at(1e-2) - at(-1e-2)) / 2e-2;
        let exact = slope.mul(&way).unwrap().sum(&[], false).unwrap().item().unwrap();
        assert!((measured - exact).abs() < 0.02 * exact && exact > 0.0, "{measured} {exact}");
        // Otherwise nothing is recorded, and the values are the same.
        let plain = loss(&net, &x);
        assert!(!plain.requires_grad() && !no_grad(|| loss(&net, &leaf)).requires_grad());
        assert_eq!(plain.item().unwrap(), recorded.item().unwrap());
    }
    use crate::torch::ops::loss::Reduction;

    fn small() -> Classifier {
        let options =
            ClassifierOptions { image_size: 8, channels: vec![4], features: 5, ..Default::default() };
        Classifier::new(&options).unwrap()
    }

    fn images() -> Tensor {
        Tensor::linspace(-1.0, 1.0, 128, DType::Float32, Device::Cpu).unwrap().reshape(&[2, 1, 8, 8]).unwrap()
    }

    #[test]
    fn shapes_gradients_and_seeds() {
        let net = small();
        let outputs = net.outputs(&images()).unwrap();
        let logits = outputs.logits.unwrap();
        assert_eq!((outputs.features.shape(), logits.shape()), (vec![2, 5], vec![2, 10]));
        assert_eq!(outputs.spatial.unwrap().shape(), [2, 4 * 4 * 4]);
        let labels = Tensor::from_i64(&[3, 4], &[2]).unwrap();
        logits
            .cross_entropy(&labels, None, Reduction::Mean, -100, 0.0)
            .unwrap()
            .backward(None, false)
            .unwrap();
        assert!(net.parameters().iter().all(|(_, p)| p.grad().is_some()));
        assert_eq!(small().hash().unwrap(), net.hash().unwrap());
        assert!(net.forward(&images().reshape(&[4, 1, 4, 8]).unwrap()).is_err());
    }

    #[test]
    fn a_file_gives_the_same_network_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let net = small();
        net.save(&path, &BTreeMap::from([("name".to_string(), "mine".to_string())])).unwrap();
        let (loaded, texts) = Classifier::load(&path, Device::Cpu).unwrap();
        assert_eq!((texts["name"].as_str(), loaded.hash().unwrap()), ("mine", net.hash().unwrap()));
        let (a, b) = (net.forward(&images()).unwrap(), loaded.forward(&images()).unwrap());
        assert!(a.detach().unwrap().equal(&b).unwrap());
    }

    #[test]
    fn foreign_and_damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let message = |path: &Path| Classifier::load(path, Device::Cpu).unwrap_err().to_string();
        io::save_safetensors(&path, &BTreeMap::from([("x".to_string(), images())]), &BTreeMap::new())
            .unwrap();
        assert!(message(&path).contains("expected the weights of a classifier"));
        small().save(&path, &BTreeMap::new()).unwrap();
        let mut loaded = io::load_safetensors(&path, Device::Cpu).unwrap();
        loaded.tensors.insert("head.bias".to_string(), images());
        io::save_safetensors(&path, &loaded.tensors, &loaded.metadata).unwrap();
        assert!(message(&path).contains("expected `head.bias` to be [10] float32"));
        loaded.tensors.remove("head.bias");
        io::save_safetensors(&path, &loaded.tensors, &loaded.metadata).unwrap();
        assert!(message(&path).contains("no tensor `head.bias`"));
    }

    #[test]
    fn too_many_convolutions_are_refused() {
        let options = ClassifierOptions { image_size: 8, channels: vec![4; 4], ..Default::default() };
        assert!(Classifier::new(&options).unwrap_err().message().contains("halved 4 times"));
    }
}
