//! Namespace `eval`, and the methods of features, classifiers and comparisons.

use std::path::Path;

use crate::context::Context;
use crate::data::Dataset;
use crate::declare::{IntoValue, Map, Value};
use crate::error::Result;
use crate::eval::compare::{CompareOptions, compare};
use crate::eval::features::{Classifier, ClassifierOptions, Extracted, Features, FeaturesOptions, features};
use crate::eval::images::Input;
use crate::eval::{
    Comparison, FAMILIES, Images, fid, high_frequency_ratio, inception_score, precision_recall,
    radial_spectrum, statistics,
};
use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// What the Fréchet distance is measured on.
    pub struct Fid {
        /// The features of images; by default the embedded ones.
        features: Option<Features> = None;
    }
    /// How precision and recall are measured.
    pub struct PrecisionRecall {
        /// The features of images; by default the embedded ones.
        features: Option<Features> = None;
        /// Which neighbour's distance makes a point's ball.
        k: i64 = 3 => range(1.0, 1000.0);
    }
    /// How the inception score is measured.
    pub struct InceptionScore {
        /// The features whose logits are used; by default the embedded ones.
        features: Option<Features> = None;
        /// Parts of the set; the score is their mean.
        splits: i64 = 10 => range(1.0, 1000.0);
    }
    /// Where high frequencies begin.
    pub struct HighFrequency {
        /// As a share of the largest ring.
        threshold: f64 = 0.5 => range(0.0, 1.0);
    }
}

fn extract(images: &Images, given: &Option<Features>, cx: &Context) -> Result<Extracted> {
    match given {
        Some(given) => given.extract(images, cx),
        None => {
            features(&FeaturesOptions { device: images.device(), ..Default::default() })?.extract(images, cx)
        }
    }
}

fn feature_vectors(input: &Input, given: &Option<Features>, cx: &Context) -> Result<Tensor> {
    match input {
        Input::Vectors(vectors) => Ok(vectors.clone()),
        Input::Images(images) => Ok(extract(images, given, cx)?.features),
    }
}

fn record(entries: &[(&str, Value)]) -> Map {
    entries.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}

pub mod space {
    use super::*;
    functions! { in "eval";
        /// Measures how near made images come to real ones, by every metric at once.
        ///
        /// `real` is a data set or a tensor, `made` too; images are [N, C, H, W] in [-1, 1] of one shape. The result
        /// prints as a table, with the features, their hash and all counts; `result.fid` and the like are numbers,
        /// `result.real("sobel_mean")` is the value of the real images, `result.to_map()` is all of it.
        /// `eval::metrics()` lists the metrics.
        ///
        /// ```rhai
        /// let real = data::fashion_mnist(#{ split: "test" }).take(100);
        /// let found = eval::compare(real, real.images(), #{ seed: 1 });
        /// assert_close(found.fid, 0.0, 1e-6);
        /// assert_eq(found["precision"], 1.0);
        /// assert_eq(found.to_map().made_count, 100);
        /// ```
        fn compare<cx>(real: Images, made: Images, options: CompareOptions) -> Comparison {
            compare(&real, &made, &options, cx)
        }

        /// Lists the metrics that `eval::compare` measures.
        ///
        /// Each is a map of `name`, `summary`, `better` (`lower`, `higher` or `as real`), `unit` and `source`.
        ///
        /// ```rhai
        /// assert_eq(eval::metrics()[0].name, "fid");
        /// assert_eq(eval::metrics()[0].better, "lower");
        /// ```
        fn metrics() -> Vec<Map> {
            let all = FAMILIES.iter().flat_map(|family| family.metrics);
            Ok(all.map(|m| record(&[
                ("name", m.name.into_value()),
                ("summary", m.summary.into_value()),
                ("better", m.better.word().into_value()),
                ("unit", m.unit.into_value()),
                ("source", m.source.into_value()),
            ])).collect())
        }

        /// Loads a feature extractor, by default the embedded one.
        ///
        /// The embedded features are those of a small classifier of Fashion-MNIST's 60,000 training images. Images of
        /// other sizes or in colour are resized and made grey first, and results say so. `path` loads what
        /// `classifier.save` wrote.
        ///
        /// ```rhai
        /// let features = eval::features();
        /// assert_eq([features.name, features.dims], ["fashion-mnist-cnn", 64]);
        /// ```
        fn features(options: FeaturesOptions) -> Features { features(&options) }

        /// Makes a small convolutional classifier with random weights, to train and use as features.
        ///
        /// 3 x 3 convolutions, each with ReLU and a maximum over 2 x 2 pixels; a hidden layer, which gives the
        /// features; logits. `scripts/train_features.rhai` trains one.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ channels: [8, 16], features: 32 });
        /// assert_eq(net.forward(tensor::zeros([5, 1, 28, 28])).shape, [5, 10]);
        /// ```
        fn classifier(options: ClassifierOptions) -> Classifier { Classifier::new(&options) }

        /// Measures the Fréchet distance (FID) between the features of two sets; lower is better.
        ///
        /// `|m - n|^2 + tr(S + T - 2 (S T)^(1/2))` for means m, n and unbiased covariances S, T. Each set is a data
        /// set, images [N, C, H, W], or features [N, D] of your own. Values on different features, or of different
        /// counts below some thousands, do not compare. Source: Heusel et al. 2017, equation 6.
        ///
        /// ```rhai
        /// // Means 2 and 5, variances 1 and 4: 9 + 1.
        /// let a = tensor([[1.0], [2.0], [3.0]]);
        /// let b = tensor([[3.0], [5.0], [7.0]]);
        /// assert_close(eval::fid(a, b), 10.0, 1e-6);
        /// ```
        fn fid<cx>(real: Input, made: Input, options: Fid) -> f64 {
            let vectors = |input| feature_vectors(input, &options.features, cx);
            fid::frechet_distance(&vectors(&real)?, &vectors(&made)?)
        }

        /// Measures precision and recall of made images in features, each from 0 to 1, higher is better.
        ///
        /// A set covers the balls around its points that reach their `k`-th nearest neighbours. `precision` is the
        /// share of made points that the real set covers, `recall` the reverse. Each set is a data set, images, or
        /// features [N, D]. Source: Kynkäänniemi et al. 2019, equations 1 and 2.
        ///
        /// ```rhai
        /// let set = tensor([[0.0], [1.0], [3.0], [6.0]]);
        /// assert_eq(eval::precision_recall(set, set, #{ k: 2 }), #{ precision: 1.0, recall: 1.0 });
        /// ```
        fn precision_recall<cx>(real: Input, made: Input, options: PrecisionRecall) -> Map {
            let vectors = |input| feature_vectors(input, &options.features, cx);
            let found =
                precision_recall::precision_recall(&vectors(&real)?, &vectors(&made)?, options.k, cx)?;
            Ok(record(&[("precision", found.precision.into_value()), ("recall", found.recall.into_value())]))
        }

        /// Measures the inception score: exp of the mean divergence of class distributions from their mean.
        ///
        /// From 1 (all images look like the same class, or like none) to the number of classes; higher is better.
        /// `images` may be logits [N, K]. `mean` and `std` are over `splits` parts of consecutive images. Source:
        /// Salimans et al. 2016, section 4.
        ///
        /// ```rhai
        /// let sure = tensor([[50.0, 0.0], [0.0, 50.0]]);
        /// assert_close(eval::inception_score(sure, #{ splits: 1 }).mean, 2.0, 1e-6);
        /// ```
        fn inception_score<cx>(images: Input, options: InceptionScore) -> Map {
            let logits = match &images {
                Input::Vectors(logits) => logits.clone(),
                Input::Images(images) => extract(images, &options.features, cx)?.logits,
            };
            let found = inception_score::inception_score(&logits, options.splits)?;
            Ok(record(&[("mean", found.mean.into_value()), ("std", found.std.into_value())]))
        }

        /// Gives the mean power of grey images by radial frequency, [R] float64.
        ///
        /// Entry r is the mean of |FFT|^2 (orthonormal, of grey values in [0, 1]) over the frequencies from r up to
        /// r + 1 cycles per image, averaged over the images.
        ///
        /// ```rhai
        /// let flat = tensor::zeros([2, 1, 8, 8]);
        /// assert_close(eval::radial_spectrum(flat), [16.0, 0.0, 0.0, 0.0, 0.0, 0.0], 1e-9);
        /// ```
        fn radial_spectrum<cx>(images: Images) -> Tensor { radial_spectrum::radial_spectrum(&images, cx) }

        /// Gives the energy of each grey image by radial frequency, [N, R] float64.
        ///
        /// Entry r of a row is the sum of |FFT|^2 (orthonormal, of grey values in [0, 1]) over the frequencies from r
        /// up to r + 1 cycles per image; a row sums to the image's energy.
        ///
        /// ```rhai
        /// let flat = tensor::zeros([2, 1, 8, 8]);
        /// assert_eq(eval::ring_energy(flat).shape, [2, 6]);
        /// assert_close(eval::ring_energy(flat).sum(1), [16.0, 16.0], 1e-9);
        /// ```
        fn ring_energy<cx>(images: Images) -> Tensor { Ok(radial_spectrum::ring_energy(&images, cx)?.energy) }

        /// Measures the mean absolute difference of two sets' logarithmic radial spectra; lower is better.
        ///
        /// In nepers of power, averaged over all rings, ring 0 included; powers below 1e-12 count as 1e-12.
        ///
        /// ```rhai
        /// let images = data::fashion_mnist(#{ split: "test" }).take(50);
        /// assert_eq(eval::radial_spectrum_gap(images, images), 0.0);
        /// ```
        fn radial_spectrum_gap<cx>(real: Images, made: Images) -> f64 {
            radial_spectrum::radial_spectrum_gap(&real, &made, cx)
        }

        /// Measures the share of images' energy at high frequencies, from 0 to 1.
        ///
        /// Energy in rings beyond `threshold` times the largest ring, divided by all energy, averaged over the images.
        ///
        /// ```rhai
        /// assert_close(eval::high_frequency_ratio(tensor::zeros([2, 1, 8, 8])), 0.0, 1e-9);
        /// ```
        fn high_frequency_ratio<cx>(images: Images, options: HighFrequency) -> f64 {
            high_frequency_ratio::high_frequency_ratio(&images, options.threshold, cx)
        }

        /// Measures edges and fine detail: `sobel_mean`, `sobel_std` and `laplacian_abs` of grey values in [0, 1].
        ///
        /// Mean and (within each image) standard deviation of the Sobel magnitude, and the mean absolute
        /// four-neighbour Laplacian; images are surrounded by zeros.
        ///
        /// ```rhai
        /// let black = tensor::full([1, 1, 4, 4], -1.0);
        /// assert_close(eval::edge_statistics(black).laplacian_abs, 0.0, 1e-9);
        /// ```
        fn edge_statistics<cx>(images: Images) -> Map {
            let found = statistics::edge_statistics(&images, cx)?;
            Ok(record(&[
                ("sobel_mean", found.sobel_mean.into_value()),
                ("sobel_std", found.sobel_std.into_value()),
                ("laplacian_abs", found.laplacian_abs.into_value()),
            ]))
        }
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

        /// First 12 hexadecimal digits of the SHA-256 of the network's weights.
        ///
        /// ```rhai
        /// assert_eq(eval::features().hash.len, 12);
        /// ```
        fn hash(features: Features) -> String { Ok(features.hash().to_string()) }

        /// Length of a feature vector.
        ///
        /// ```rhai
        /// assert_eq(eval::features().dims, 64);
        /// ```
        fn dims(features: Features) -> i64 { Ok(features.dims()) }
    }
}

pub mod feature_methods {
    use super::*;
    functions! { methods;
        /// Gives `features` [N, D] and `logits` [N, K] of images, float64.
        ///
        /// ```rhai
        /// let seen = eval::features().extract(data::fashion_mnist().take(7));
        /// assert_eq([seen.features.shape, seen.logits.shape], [[7, 64], [7, 10]]);
        /// ```
        fn extract<cx>(features: Features, images: Images) -> Map {
            let found = features.extract(&images, cx)?;
            Ok(record(&[("features", found.features.into_value()), ("logits", found.logits.into_value())]))
        }

        /// Gives the share of a data set's images that the network classifies right, from 0 to 1.
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
        /// Gives logits [B, K] of images [B, C, H, W] float32 in [-1, 1], recorded for gradients.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ seed: 3 });
        /// assert_eq(net.forward(tensor::zeros([2, 1, 28, 28])).shape, [2, 10]);
        /// ```
        fn forward(net: Classifier, images: Tensor) -> Tensor { net.forward(&images) }

        /// Gives the parameters as a map from names to tensors, to optimise or inspect.
        ///
        /// ```rhai
        /// let net = eval::classifier(#{ channels: [8] });
        /// assert_eq(net.parameters()["conv.0.weight"].shape, [8, 1, 3, 3]);
        /// ```
        fn parameters(net: Classifier) -> Map {
            Ok(net.parameters().iter().map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
        }

        /// Writes weights and shape as a safetensors file that `eval::features` loads.
        ///
        /// `texts` is stored with them: `name` becomes the name of the features; say here what they were trained on.
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

pub mod comparison_properties {
    use super::*;
    functions! { properties;
        /// What to keep in mind when reading the values.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// assert(eval::compare(few, few).notes[0].contains("10 real images"));
        /// ```
        fn notes(found: Comparison) -> Vec<String> { Ok(found.notes().to_vec()) }

        /// Name and hash of the features, or `()` where no metric used them.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// assert_eq(eval::compare(few, few, #{ metrics: ["sobel_mean"] }).features, ());
        /// assert(eval::compare(few, few).features.starts_with("fashion-mnist-cnn@"));
        /// ```
        fn features(found: Comparison) -> Option<String> { Ok(found.features()) }
    }
}

pub mod comparison_methods {
    use super::*;
    functions! { methods;
        /// Gives the value of a metric by its name; `found.fid` is short for `found["fid"]`.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let found = eval::compare(few, few, #{ metrics: ["laplacian_abs"] });
        /// assert_eq(found.laplacian_abs, found["laplacian_abs"]);
        /// let told = "";
        /// try { found.laplacian_ab; } catch (e) { told = e.message; }
        /// assert(told.contains("unknown metric"), told);
        /// ```
        fn value["[]"](found: Comparison, metric: String) -> f64 { found.value(&metric) }

        /// Gives the value that a metric has for the real images alone.
        ///
        /// Metrics that compare both sets, such as `fid`, have none.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let found = eval::compare(few, few, #{ metrics: ["sobel_mean"] });
        /// assert_eq(found.real("sobel_mean"), found.sobel_mean);
        /// ```
        fn real(found: Comparison, metric: String) -> f64 { found.real_value(&metric) }

        /// Gives everything as a map: metrics, `real_` values, features, counts, split, seed, notes.
        ///
        /// ```rhai
        /// let few = data::fashion_mnist().take(10);
        /// let map = eval::compare(few, few, #{ metrics: ["sobel_mean"] }).to_map();
        /// assert_eq([map.real_name, map.real_split, map.real_count], ["fashion_mnist", "train", 10]);
        /// ```
        fn to_map(found: Comparison) -> Map { Ok(found.to_map()) }
    }
}
