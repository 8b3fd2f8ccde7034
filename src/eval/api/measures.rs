//! Single metrics of namespace `eval`, on data sets, images, or features of your own.

use std::path::PathBuf;

use super::{record, tell};
use crate::context::Context;
use crate::declare::{IntoValue, Map, Options};
use crate::error::{Error, Result};
use crate::eval::features::{Extracted, Features, FeaturesOptions, embedded, features};
use crate::eval::images::{Input, Samples};
use crate::eval::radial_spectrum::{Grids, RadialSpectrumOptions};
use crate::eval::{
    Images, Moments, SaveImagesOptions, SaveSamplesOptions, Statistics, density_coverage, fid,
    high_frequency_ratio, inception_score, kid, mmd, precision_recall, radial_spectrum, samples, statistics,
};
use crate::functions;
use crate::torch::Tensor;

/// Options of `eval::fid`.
#[derive(Debug, Clone, Options)]
pub struct FidOptions {
    /// Feature extractor; by default the embedded one.
    pub features: Option<Features>,
}
/// Options of `eval::sfid`.
#[derive(Debug, Clone, Options)]
pub struct SfidOptions {
    /// Feature extractor, which must return spatial features; by default the embedded one.
    pub features: Option<Features>,
}
/// Options of `eval::kid`.
#[derive(Debug, Clone, Options)]
pub struct KidOptions {
    /// Feature extractor; by default the embedded one.
    pub features: Option<Features>,
    /// Number of random blocks over which the value is averaged.
    #[option(default = 100, range = 1..=1e6)]
    pub blocks: i64,
    /// Samples of each set in a block; a smaller set is used whole.
    #[option(default = 1000, range = 2..=1e6)]
    pub size: i64,
}
/// Options of `eval::density_coverage`.
#[derive(Debug, Clone, Options)]
pub struct DensityCoverageOptions {
    /// Feature extractor; by default the embedded one.
    pub features: Option<Features>,
    /// The ball around a point reaches to its k-th nearest neighbor.
    #[option(default = 5, range = 1..=1000)]
    pub k: i64,
}
/// Options of `eval::mmd`.
#[derive(Debug, Clone, Options)]
pub struct MmdOptions {
    /// Feature extractor; by default the embedded one.
    pub features: Option<Features>,
    /// Width of the Gaussian kernel, in units of the features.
    #[option(default = mmd::SIGMA, range = 1e-9..=1e9)]
    pub sigma: f64,
    /// Whether to normalize features to length 1 first.
    #[option(default = true, alias = "normalise")]
    pub normalize: bool,
}
/// Options of `eval::precision_recall`.
#[derive(Debug, Clone, Options)]
pub struct PrecisionRecallOptions {
    /// Feature extractor; by default the embedded one.
    pub features: Option<Features>,
    /// The ball around a point reaches to its k-th nearest neighbor.
    #[option(default = 3, range = 1..=1000)]
    pub k: i64,
}
/// Options of `eval::inception_score`.
#[derive(Debug, Clone, Options)]
pub struct InceptionScoreOptions {
    /// Feature extractor whose logits are used; by default the embedded one.
    pub features: Option<Features>,
    /// Number of parts of the set; the score is their mean.
    #[option(default = 10, range = 1..=1000)]
    pub splits: i64,
}
/// Options of `eval::high_frequency_ratio`.
#[derive(Debug, Clone, Options)]
pub struct HighFrequencyOptions {
    /// Where high frequencies begin, as a fraction of the largest ring.
    #[option(default = 0.5, range = 0.0..=1.0)]
    pub threshold: f64,
}

/// Options of `eval::statistics`.
#[derive(Debug, Clone, Options)]
pub struct StatisticsOptions {
    /// Feature extractor; by default the embedded one.
    pub features: Option<Features>,
}

/// Returns the given features, or the embedded ones on the images' device.
fn chosen(images: &Images, given: &Option<Features>, cx: &Context) -> Result<Features> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    embedded::note(images, cx)?.iter().for_each(|note| cx.note(note));
    features(&FeaturesOptions { device: images.device(), ..Default::default() })
}

fn extract(images: &Images, features: &Features, cx: &Context) -> Result<Extracted> {
    tell("measured", images, cx)?;
    features.extract(images, cx)
}

fn feature_vectors(Samples(input): &Samples, given: &Option<Features>, cx: &Context) -> Result<Tensor> {
    match input {
        Input::Vectors(vectors) => Ok(vectors.clone()),
        Input::Images(images) => Ok(extract(images, &chosen(images, given, cx)?, cx)?.features),
        Input::Statistics(statistics) => Err(Input::need_samples(statistics)),
    }
}

fn logits(Samples(input): &Samples, given: &Option<Features>, cx: &Context) -> Result<Tensor> {
    match input {
        Input::Vectors(logits) => Ok(logits.clone()),
        Input::Images(images) => {
            let features = chosen(images, given, cx)?;
            extract(images, &features, cx)?.logits.ok_or_else(|| features.lacks("logits"))
        }
        Input::Statistics(statistics) => Err(Input::need_samples(statistics)),
    }
}

/// One set of a Fréchet distance.
struct Side {
    moments: Moments,
    /// Name and hash of the features, if known.
    label: Option<String>,
    /// Statistics that the moments are of.
    stored: Option<Statistics>,
}

impl Side {
    fn of(input: &Input, name: &str, given: &Option<Features>, spatial: bool, cx: &Context) -> Result<Self> {
        let stored = match input {
            Input::Vectors(vectors) => {
                return Ok(Self { moments: Moments::of(vectors, name)?, label: None, stored: None });
            }
            Input::Images(images) => images.statistics(),
            Input::Statistics(statistics) => Some(statistics),
        };
        if let Some(stored) = stored {
            let moments = if spatial { stored.need_spatial()? } else { stored.features() };
            let label = stored.label().map(str::to_string);
            return Ok(Self { moments: moments.clone(), label, stored: Some(stored.clone()) });
        }
        let Input::Images(images) = input else { return Err(Error::internal("a set without images")) };
        let features = chosen(images, given, cx)?;
        let found = extract(images, &features, cx)?;
        let vectors = match spatial {
            true => found.spatial.ok_or_else(|| features.lacks("spatial features"))?,
            false => found.features,
        };
        Ok(Self { moments: Moments::of(&vectors, name)?, label: Some(features.label()), stored: None })
    }
}

/// Returns the Fréchet distance of features, or of spatial features.
fn frechet(sets: [&Input; 2], given: &Option<Features>, spatial: bool, cx: &Context) -> Result<f64> {
    let real = Side::of(sets[0], "real", given, spatial, cx)?;
    let made = Side::of(sets[1], "generated", given, spatial, cx)?;
    for (side, other) in [(&real, &made), (&made, &real)] {
        if let Some(stored) = &side.stored {
            // A network that was asked for must be that of the statistics, even if it measured nothing.
            let label = other.label.clone().or_else(|| given.as_ref().map(Features::label));
            stored.check_like(&side.moments, label.as_deref(), other.moments.dims())?;
        }
    }
    fid::distance(&real.moments, &made.moments)
}

pub mod space {
    use super::*;
    /// Returns the context of a metric of features, which any rank may compute without the others.
    fn alone(cx: &Context) -> Context {
        Context { ranks: None, ..cx.clone() }
    }

    functions! { in "eval";
        /// Measures the Fréchet distance (FID) between the features of two sets; lower is better.
        ///
        /// It is `|m - n|^2 + tr(S + T - 2 (S T)^(1/2))` for means m, n and unbiased covariances S, T. Each set is
        /// a data set, images [N, C, H, W], features [N, D] of your own, `eval::statistics`, or the path of an npz
        /// file: statistics `mu` and `sigma` of pytorch-fid, or a batch of ADM, whose stored statistics are used
        /// instead of those of its images. Values on different features, or of different counts below some
        /// thousands, are not comparable. Source: Heusel et al. 2017, equation 6.
        ///
        /// ```rhai
        /// // Means 2 and 5, variances 1 and 4: 9 + 1.
        /// let a = tensor([[1.0], [2.0], [3.0]]);
        /// let b = tensor([[3.0], [5.0], [7.0]]);
        /// assert_close(eval::fid(a, b), 10.0, 1e-6);
        /// tensor::save("stats.npz", #{ mu: tensor([5.0]), sigma: tensor([[4.0]]) });
        /// assert_close(eval::fid("stats.npz", a), 10.0, 1e-6);
        /// ```
        fn fid<cx>(real: Input, generated: Input, options: FidOptions) -> f64 {
            frechet([&real, &generated], &options.features, false, cx)
        }

        /// Measures the Fréchet distance between spatial features (sFID); lower is better.
        ///
        /// Like `eval::fid`, on features that keep their position in the image: the first 7 channels of an inner
        /// layer, for Inception the first branch of `Mixed_6d` [N, 17 x 17 x 7], for a classifier its last
        /// convolution. It is therefore sensitive to the arrangement of the image. Each set is a data set, images,
        /// spatial features [N, S], statistics, or the path of an npz file with `mu_s` and `sigma_s` or images.
        /// Source: Nash et al. 2021, arXiv:2103.03841, section 5.2.
        ///
        /// ```rhai
        /// let real = data::fashion_mnist().take(40);
        /// assert_close(eval::sfid(real, real), 0.0, 1e-6);
        /// assert(eval::sfid(real, real.images().flip([2])) > 1.0);
        /// ```
        fn sfid<cx>(real: Input, generated: Input, options: SfidOptions) -> f64 {
            frechet([&real, &generated], &options.features, true, cx)
        }

        /// Computes mean and covariance of the features of images, for `eval::fid` and `eval::sfid`.
        ///
        /// `.save(path)` writes them as an npz file that pytorch-fid and ADM's evaluator read, and `eval::fid` takes
        /// such a file by its path. `images` is a data set, a tensor of images, or the path of a batch of ADM.
        ///
        /// ```rhai
        /// let images = data::fashion_mnist().take(80);
        /// let found = eval::statistics(images);
        /// found.save("stats.npz");
        /// assert_eq(tensor::load("stats.npz").sigma.shape, [64, 64]);
        /// assert_close(eval::fid("stats.npz", images), 0.0, 1e-6);
        /// assert_close(eval::sfid(found, images), 0.0, 1e-6);
        /// ```
        fn statistics<cx>(images: Images, options: StatisticsOptions) -> Statistics {
            let features = chosen(&images, &options.features, cx)?;
            Statistics::of(&extract(&images, &features, cx)?, &features.label())
        }

        /// Writes images as a batch that ADM's evaluator reads: `arr_0` [N, H, W, 3] uint8 in an npz file.
        ///
        /// Values in [-1, 1] are rounded as by the sampling scripts of DiT and SiT, or with `rounding: "down"` as by
        /// ADM's; bytes stay as they are, and gray is repeated for three channels. Labels are `arr_1`. With `statistics`
        /// the file is a reference for ADM's evaluator. `images` is a data set or a tensor; large sets are written in
        /// groups.
        ///
        /// ```rhai
        /// let images = tensor([-1.0, 0.0, 1.0, 0.5]).reshape([4, 1, 1, 1]);
        /// eval::save_samples("samples.npz", images);
        /// let written = tensor::load("samples.npz").arr_0;
        /// assert_eq([written.shape, written.dtype], [[4, 1, 1, 3], "uint8"]);
        /// assert_eq(written[.., 0, 0, 0].to_array(), [0, 128, 255, 191]);
        /// ```
        fn save_samples<cx>(path: PathBuf, images: Images, options: SaveSamplesOptions) -> () {
            tell("saved", &images, cx)?;
            samples::save_samples(&path, &images, &options, cx)
        }

        /// Writes images as PNG files `000000.png`, `000001.png` and so on into a new folder.
        ///
        /// Tools that compute FID of a folder read them. With `by_class` each class has a separate folder, as
        /// `data::image_folder` expects. Values in [-1, 1] are rounded as by `eval::save_samples`; gray is repeated
        /// for three channels. `images` is a data set or a tensor; large sets are written in groups.
        ///
        /// ```rhai
        /// let images = data::fashion_mnist().take(20);
        /// eval::save_images("generated", images, #{ by_class: true });
        /// let read = data::image_folder("generated", #{ size: 28, channels: 1 });
        /// assert_eq(read.len, 20);
        /// assert("T-shirt_top" in files::list("generated"));
        /// ```
        fn save_images<cx>(folder: PathBuf, images: Images, options: SaveImagesOptions) -> () {
            tell("saved", &images, cx)?;
            samples::save_images(&folder, &images, &options, cx)
        }

        /// Measures the kernel distance between features (KID); lower is better, and around 0 for equal
        /// distributions.
        ///
        /// Returns `mean` and `std` of the unbiased estimate of the squared maximum mean discrepancy with the
        /// kernel `(x . y / D + 1)^3`, over `blocks` random choices of `size` samples. With at most `size` samples in
        /// each set there is one block of all, whose `std` is `()`. Unlike FID, its expectation does not depend on
        /// the number of samples. Each set is a data set, images, or features [N, D]. Source: Bińkowski et al. 2018,
        /// arXiv:1801.01401, section 4.
        ///
        /// ```rhai
        /// // k(0, 1) = 1, k(1, 2) = 27; between the sets 1, 1, 8 and 27.
        /// let found = eval::kid(tensor([[0.0], [1.0]]), tensor([[1.0], [2.0]]));
        /// assert_close(found.mean, 1.0 + 27.0 - 2.0 * 37.0 / 4.0, 1e-9);
        /// assert_eq(found.std, ());
        /// ```
        fn kid<cx>(real: Samples, generated: Samples, options: KidOptions) -> Map {
            let vectors = |input| feature_vectors(input, &options.features, cx);
            let found = kid::kid(&vectors(&real)?, &vectors(&generated)?, options.blocks, options.size, &alone(cx))?;
            Ok(record(&[("mean", found.mean.into_value()), ("std", found.std.into_value())]))
        }

        /// Measures density (from 0, near 1 is good) and coverage (from 0 to 1) of generated images in feature
        /// space.
        ///
        /// Around each real point is a ball that reaches to its `k`-th nearest real neighbor, the edge included.
        /// `density` is the mean number of balls that contain a generated point, divided by `k`; `coverage` is the
        /// fraction of balls that contain a generated point. Each set is a data set, images, or features [N, D].
        /// Source: Naeem et al. 2020, arXiv:2002.09797, equations 4 and 5.
        ///
        /// ```rhai
        /// let real = tensor([[0.0], [1.0], [10.0]]);
        /// let found = eval::density_coverage(real, tensor([[0.5], [30.0]]), #{ k: 1 });
        /// assert_close([found.density, found.coverage], [1.0, 2.0 / 3.0], 1e-9);
        /// ```
        fn density_coverage<cx>(real: Samples, generated: Samples, options: DensityCoverageOptions) -> Map {
            let vectors = |input| feature_vectors(input, &options.features, cx);
            let found = density_coverage::density_coverage(&vectors(&real)?, &vectors(&generated)?, options.k, &alone(cx))?;
            Ok(record(&[("density", found.density.into_value()), ("coverage", found.coverage.into_value())]))
        }

        /// Measures the Gaussian kernel distance between features, as CMMD does; lower is better, from 0.
        ///
        /// It is 1000 times the squared maximum mean discrepancy with the kernel `exp(-|x - y|^2 / (2 sigma^2))` of
        /// features of length 1, with the estimate that includes pairs of a sample with itself. With the features
        /// of a CLIP image encoder (`eval::torchscript`) it is CMMD. Each set is a data set, images, or features
        /// [N, D]. Source: Jayasumana et al. 2024, arXiv:2401.09603, section 4.
        ///
        /// ```rhai
        /// let found = eval::mmd(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]), #{ sigma: 5.0, normalize: false });
        /// assert_close(found, 2000.0 * (1.0 - exp(-0.5)), 1e-6);
        /// ```
        fn mmd<cx>(real: Samples, generated: Samples, options: MmdOptions) -> f64 {
            let vectors = |input| feature_vectors(input, &options.features, cx);
            mmd::gaussian_mmd(&vectors(&real)?, &vectors(&generated)?, options.sigma, options.normalize, &alone(cx))
        }

        /// Measures precision and recall of generated images in feature space, each from 0 to 1; higher is better.
        ///
        /// A set covers the balls around its points, each of which reaches to the point's `k`-th nearest neighbor.
        /// `precision` is the fraction of generated points that the real set covers, `recall` the reverse. Each set
        /// is a data set, images, or features [N, D]. Source: Kynkäänniemi et al. 2019, equations 1 and 2.
        ///
        /// ```rhai
        /// let set = tensor([[0.0], [1.0], [3.0], [6.0]]);
        /// assert_eq(eval::precision_recall(set, set, #{ k: 2 }), #{ precision: 1.0, recall: 1.0 });
        /// ```
        fn precision_recall<cx>(real: Samples, generated: Samples, options: PrecisionRecallOptions) -> Map {
            let vectors = |input| feature_vectors(input, &options.features, cx);
            let found =
                precision_recall::precision_recall(&vectors(&real)?, &vectors(&generated)?, options.k, &alone(cx))?;
            Ok(record(&[("precision", found.precision.into_value()), ("recall", found.recall.into_value())]))
        }

        /// Measures the inception score: exp of the mean divergence of the class distributions from their mean.
        ///
        /// It ranges from 1 (all images look like the same class, or like none) to the number of classes; higher is
        /// better. `images` may be logits [N, K]. `mean` and `std` are over `splits` parts of consecutive images.
        /// Source: Salimans et al. 2016, section 4.
        ///
        /// ```rhai
        /// let sure = tensor([[50.0, 0.0], [0.0, 50.0]]);
        /// assert_close(eval::inception_score(sure, #{ splits: 1 }).mean, 2.0, 1e-6);
        /// ```
        fn inception_score<cx>(images: Samples, options: InceptionScoreOptions) -> Map {
            let logits = logits(&images, &options.features, cx)?;
            let found = inception_score::inception_score(&logits, options.splits)?;
            Ok(record(&[("mean", found.mean.into_value()), ("std", found.std.into_value())]))
        }

        /// Returns the mean power of gray images, or of other tensors, by radial frequency, [R] float64.
        ///
        /// Entry r is the mean of |FFT|^2 (orthonormal, of gray values in [0, 1]) over the frequencies from r up to
        /// r + 1 cycles per image, averaged over the images. With `gray: false` it is that of the values of any float tensor
        /// [N, C, H, W], averaged over the channels too: 1 at every frequency for standard normal noise.
        ///
        /// ```rhai
        /// let flat = tensor::zeros([2, 1, 8, 8]);
        /// assert_close(eval::radial_spectrum(flat), [16.0, 0.0, 0.0, 0.0, 0.0, 0.0], 1e-9);
        /// let noise = tensor::randn([500, 4, 8, 8], #{ seed: 1 });
        /// assert_close(eval::radial_spectrum(noise, #{ gray: false }), tensor::ones([6]), 0.15);
        /// ```
        fn radial_spectrum<cx>(images: Grids, options: RadialSpectrumOptions) -> Tensor {
            if !options.gray {
                return radial_spectrum::radial_spectrum_of(&images, cx);
            }
            let images = images.images()?;
            tell("measured", &images, cx)?;
            radial_spectrum::radial_spectrum(&images, cx)
        }

        /// Returns the energy of each gray image by radial frequency, [N, R] float64.
        ///
        /// Entry r of a row is the sum of |FFT|^2 (orthonormal, of gray values in [0, 1]) over the frequencies from
        /// r up to r + 1 cycles per image; a row sums to the image's energy.
        ///
        /// ```rhai
        /// let flat = tensor::zeros([2, 1, 8, 8]);
        /// assert_eq(eval::ring_energy(flat).shape, [2, 6]);
        /// assert_close(eval::ring_energy(flat).sum(1), [16.0, 16.0], 1e-9);
        /// ```
        fn ring_energy<cx>(images: Images) -> Tensor {
            tell("measured", &images, cx)?; Ok(radial_spectrum::ring_energy(&images, cx)?.energy) }

        /// Measures the mean absolute difference between the log radial spectra of two sets; lower is better.
        ///
        /// The difference is one of natural logarithms of power, averaged over all rings, ring 0 included; powers
        /// below 1e-12 count as 1e-12.
        ///
        /// ```rhai
        /// let images = data::fashion_mnist(#{ split: "test" }).take(50);
        /// assert_eq(eval::radial_spectrum_gap(images, images), 0.0);
        /// ```
        fn radial_spectrum_gap<cx>(real: Images, generated: Images) -> f64 {
            [("real", &real), ("generated", &generated)].iter().try_for_each(|(name, images)| tell(name, images, cx))?;
            radial_spectrum::radial_spectrum_gap(&real, &generated, cx)
        }

        /// Measures the fraction of the images' energy at high frequencies, from 0 to 1.
        ///
        /// It is the energy in rings beyond `threshold` times the largest ring, divided by all energy, averaged
        /// over the images.
        ///
        /// ```rhai
        /// assert_close(eval::high_frequency_ratio(tensor::zeros([2, 1, 8, 8])), 0.0, 1e-9);
        /// ```
        fn high_frequency_ratio<cx>(images: Images, options: HighFrequencyOptions) -> f64 {
            tell("measured", &images, cx)?;
            high_frequency_ratio::high_frequency_ratio(&images, options.threshold, cx)
        }

        /// Measures edges and fine detail: `sobel_mean`, `sobel_std` and `laplacian_abs` of gray values in [0, 1].
        ///
        /// These are the mean and (within each image) standard deviation of the Sobel magnitude, and the mean
        /// absolute four-neighbor Laplacian; images are padded with zeros.
        ///
        /// ```rhai
        /// let black = tensor::full([1, 1, 4, 4], -1.0);
        /// assert_close(eval::edge_statistics(black).laplacian_abs, 0.0, 1e-9);
        /// ```
        fn edge_statistics<cx>(images: Images) -> Map {
            tell("measured", &images, cx)?;
            let found = statistics::edge_statistics(&images, cx)?;
            Ok(record(&[
                ("sobel_mean", found.sobel_mean.into_value()),
                ("sobel_std", found.sobel_std.into_value()),
                ("laplacian_abs", found.laplacian_abs.into_value()),
            ]))
        }
    }
}

pub mod statistics_methods {
    use super::*;
    functions! { methods;
        /// Writes the statistics as an npz file: `mu` and `sigma`, and `mu_s` and `sigma_s` of spatial features.
        ///
        /// pytorch-fid reads the first two, ADM's evaluator all four from a file that also holds images, which
        /// `eval::save_samples` writes. A further array names the features, so that others are refused here.
        ///
        /// ```rhai
        /// let found = eval::statistics(data::fashion_mnist().take(80));
        /// found.save("stats.npz");
        /// let written = tensor::load("stats.npz");
        /// assert_eq([written.mu.shape, written.mu_s.shape], [[64], found.mu_s.shape]);
        /// ```
        fn save(found: Statistics, path: PathBuf) -> () { found.save(path) }
    }
}

pub mod statistics_properties {
    use super::*;
    functions! { properties;
        /// Mean of the features, [D] float64.
        ///
        /// ```rhai
        /// assert_eq(eval::statistics(data::fashion_mnist().take(80)).mu.shape, [64]);
        /// ```
        fn mu(found: Statistics) -> Tensor { Ok(found.features().mean.clone()) }

        /// Covariance of the features, [D, D] float64.
        ///
        /// ```rhai
        /// assert_eq(eval::statistics(data::fashion_mnist().take(80)).sigma.shape, [64, 64]);
        /// ```
        fn sigma(found: Statistics) -> Tensor { Ok(found.features().covariance.clone()) }

        /// Mean of the spatial features, [S] float64, or `()` if there are none.
        ///
        /// ```rhai
        /// let colors = eval::extractor(|images| images.mean([2, 3]), #{ name: "mean-color" });
        /// assert_eq(eval::statistics(data::fashion_mnist().take(80), #{ features: colors }).mu_s, ());
        /// ```
        fn mu_s(found: Statistics) -> Option<Tensor> { Ok(found.spatial().map(|s| s.mean.clone())) }

        /// Covariance of the spatial features, [S, S] float64, or `()` if there are none.
        ///
        /// ```rhai
        /// let found = eval::statistics(data::fashion_mnist().take(80));
        /// assert_eq(found.sigma_s.shape, [found.mu_s.len(), found.mu_s.len()]);
        /// ```
        fn sigma_s(found: Statistics) -> Option<Tensor> {
            Ok(found.spatial().map(|s| s.covariance.clone()))
        }
    }
}
