//! Feature networks, as scripts make and use them.

use std::path::{Path, PathBuf};

use super::record;
use crate::data::Dataset;
use crate::declare::{Function, IntoValue, Map, Value};
use crate::eval::Images;
use crate::eval::features::function::{FunctionOptions, function};
use crate::eval::features::inception::{self, InceptionOptions};
use crate::eval::features::torchscript::{self, TorchScriptOptions};
use crate::eval::features::{self, Classifier, ClassifierOptions, Features, FeaturesOptions};
use crate::functions;
use crate::torch::Tensor;

pub mod space {
    use super::*;
    functions! { in "eval";
        /// Loads a feature extractor, by default the embedded one.
        ///
        /// The embedded features are those of a small classifier of Fashion-MNIST's 60,000 training images. Images
        /// of other sizes or in color are first resized and converted to gray, and results say so. `path` loads a
        /// file written by `classifier.save`.
        ///
        /// ```rhai
        /// let features = eval::features();
        /// assert_eq([features.name, features.dims], ["fashion-mnist-cnn", 64]);
        /// ```
        fn features(options: FeaturesOptions) -> Features { features::features(&options) }

        /// Creates a small convolutional classifier with random weights, to train and use as a feature extractor.
        ///
        /// It has 3 x 3 convolutions, each with ReLU and 2 x 2 max pooling; a hidden layer, whose outputs are the
        /// features; and logits. `scripts/train_features.rhai` trains one.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ channels: [8, 16], features: 32 });
        /// assert_eq(net.forward(tensor::zeros([5, 1, 28, 28])).shape, [5, 10]);
        /// ```
        fn classifier(options: ClassifierOptions) -> Classifier { Classifier::new(&options) }

        /// Loads Inception-v3 in the variant that published FIDs use.
        ///
        /// This is the network of 2015 as TensorFlow ran it, known in torch-fidelity as `inception-v3-compat`.
        /// Images are converted to bytes and resized to 299 x 299 without a half pixel's shift; its features [N,
        /// 2048], logits [N, 1008] (without bias) and spatial features [N, 2023] are those of FID, KID, inception
        /// score and sFID. `path` is the file of its weights, which you have to supply: the public
        /// `weights-inception-2015-12-05-6726825d.pth`, from which no code is executed, or the same as safetensors.
        /// Source: Szegedy et al. 2015, arXiv:1512.00567.
        ///
        /// ```rhai
        /// let told = "";
        /// try { eval::inception("no/inception.safetensors"); } catch (e) { told = e.message; }
        /// assert(told.contains("no such file or folder"), told);
        /// ```
        fn inception(path: PathBuf, options: InceptionOptions) -> Features { inception::inception(&path, &options) }

        /// Loads the network in a TorchScript file as a feature extractor.
        ///
        /// Its `forward` takes images [B, C, H, W] float32 and returns features [B, D], or a tuple of features and
        /// logits, or a dictionary of `features`, `logits` and `spatial`. Images are resized to `image_size` with
        /// antialiasing; values are in [-1, 1], or `(x - mean) / std` of values in [0, 1] if `mean` and `std` are
        /// given. The file is a program that libtorch runs on tensors; no Python pickle is executed. In Python:
        /// `torch.jit.script(net).save("net.pt")`.
        ///
        /// ```rhai
        /// let told = "";
        /// files::write_text("net.pt", "not a network");
        /// try { eval::torchscript("net.pt"); } catch (e) { told = e.message; }
        /// assert(told.contains("net.pt: not a TorchScript file"), told);
        /// ```
        fn torchscript(path: PathBuf, options: TorchScriptOptions) -> Features { torchscript::torchscript(&path, &options) }

        /// Creates a feature extractor from a function.
        ///
        /// The function takes images [B, C, H, W] float32 in [-1, 1] and returns features [B, D], or a map of
        /// `features`, `logits` [B, K] and `spatial` [B, S]. Results record `name` and `version`, which identify
        /// the function: change the version whenever you change the function.
        ///
        /// ```rhai
        /// let colors = eval::extractor(|images| images.mean([2, 3]), #{ name: "mean-color" });
        /// let few = data::fashion_mnist().take(10);
        /// assert_eq(colors.extract(few).features.shape, [10, 1]);
        /// assert_close(eval::fid(few, few, #{ features: colors }), 0.0, 1e-9);
        /// ```
        fn extractor(of: Function, options: FunctionOptions) -> Features { function(&of, &options) }
    }
}

pub mod feature_properties {
    use super::*;
    functions! { properties;
        /// Name of the features, recorded with every result.
        ///
        /// ```rhai
        /// assert_eq(eval::features().name, "fashion-mnist-cnn");
        /// ```
        fn name(features: Features) -> String { Ok(features.name().to_string()) }

        /// First 12 hexadecimal digits of the SHA-256 of the network's weights, or of its file, and of the options that
        /// prepare its input (`channels`, `image_size`, `mean`, `std`) where they are not the usual ones.
        ///
        /// ```rhai
        /// assert_eq(eval::features().hash.len, 12);
        /// ```
        fn hash(features: Features) -> String { Ok(features.hash().to_string()) }

        /// Length of a feature vector, or `()` if it is not known before the first images.
        ///
        /// ```rhai
        /// assert_eq(eval::features().dims, 64);
        /// ```
        fn dims(features: Features) -> Option<i64> { Ok(features.dims()) }
    }
}

pub mod feature_methods {
    use super::*;
    functions! { methods;
        /// Computes `features` [N, D], `logits` [N, K] and `spatial` [N, S] of images, float64.
        ///
        /// What the network does not provide is `()`. If images are a tensor that records gradients, so do the outputs,
        /// for a loss of features, and it may leave [-1, 1], as predictions do; Inception rounds images to bytes and has no gradients, which is an error.
        ///
        /// ```rhai
        /// let features = eval::features();
        /// let seen = features.extract(data::fashion_mnist().take(7));
        /// assert_eq([seen.features.shape, seen.logits.shape], [[7, 64], [7, 10]]);
        /// let x = tensor::randn([2, 1, 28, 28], #{ seed: 1 }).requires_grad(true);
        /// let slope = grad(features.extract(x).features.square().mean(), x);
        /// assert(slope.abs().max().item() > 0.0);
        /// ```
        fn extract<cx>(features: Features, images: Images) -> Map {
            let found = features.extract_recorded(&images, cx)?;
            Ok(record(&[
                ("features", found.features.into_value()),
                ("logits", found.logits.into_value()),
                ("spatial", found.spatial.into_value()),
            ]))
        }

        /// Returns the fraction of a data set's images that the network classifies correctly, from 0 to 1.
        ///
        /// ```rhai
        /// assert(eval::features().accuracy(data::fashion_mnist(#{ split: "test" })) > 0.9);
        /// ```
        fn accuracy<cx>(features: Features, set: Dataset) -> f64 { features.accuracy(&set, cx) }
    }
}

pub mod classifier_methods {
    use super::*;
    functions! { methods;
        /// Computes logits [B, K] of images [B, C, H, W] float32 in [-1, 1], recorded for gradients.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ seed: 3 });
        /// assert_eq(net.forward(tensor::zeros([2, 1, 28, 28])).shape, [2, 10]);
        /// ```
        fn forward(net: Classifier, images: Tensor) -> Tensor { net.forward(&images) }

        /// Returns the parameters as a map from names to tensors, to optimize or inspect.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ channels: [8] });
        /// assert_eq(net.parameters()["conv.0.weight"].shape, [8, 1, 3, 3]);
        /// ```
        fn parameters(net: Classifier) -> Map {
            Ok(net.parameters().iter().map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
        }

        /// Writes weights and shape to a safetensors file that `eval::features` loads.
        ///
        /// `texts` is stored with them: `name` becomes the name of the features; also say what they were trained
        /// on.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ channels: [4], features: 8 });
        /// let path = "target/example-features.safetensors";
        /// net.save(path, #{ name: "tiny", trained_on: "nothing" });
        /// assert_eq(eval::features(#{ path: path }).name, "tiny");
        /// ```
        fn save(net: Classifier, path: String, texts: Option<Map>) -> () {
            let text = |value: Value| match value {
                Value::Str(text) => text,
                other => format!("{other:?}"),
            };
            let texts = texts.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value)));
            net.save(Path::new(&path), &texts.collect())
        }
    }
}
