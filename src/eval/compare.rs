//! Every metric of two sets at once.

use super::comparison::{Comparison, Entry, Record, Side};
use super::features::{Features, FeaturesOptions, features};
use super::metric::{Family, Metric, Pair, Sample};
use super::{FAMILIES, Images};
use crate::context::Context;
use crate::declare::Options;
use crate::ensure;
use crate::error::{Error, Result};

crate::options! {
    /// What is measured, and how.
    pub struct CompareOptions {
        /// What FID, precision, recall and inception score are measured on; by default the embedded features.
        features: Option<Features> = None;
        /// Which neighbour's distance makes a point's ball, for precision and recall.
        k: i64 = 3 => range(1.0, 1000.0);
        /// Parts of the set for the inception score.
        splits: i64 = 10 => range(1.0, 1000.0);
        /// Where high frequencies begin, as a share of the largest ring.
        threshold: f64 = 0.5 => range(0.0, 1.0);
        /// Names of the metrics to measure; empty for all.
        metrics: Vec<String> = Vec::new();
        /// The seed the made images were drawn with; it is only recorded.
        seed: Option<i64> = None;
    }
}

/// The names of all metrics.
pub fn metric_names() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|f| f.metrics).map(|m| m.name).collect()
}

/// Measures how near `made` images come to `real` ones; both must have the same channels and size.
pub fn compare(real: &Images, made: &Images, options: &CompareOptions, cx: &Context) -> Result<Comparison> {
    options.check()?;
    let wanted = wanted(&options.metrics)?;
    ensure!(
        real.shape() == made.shape(),
        "expected made images of shape {:?} like the real ones, found {:?}",
        real.shape(),
        made.shape()
    );
    for (name, images) in [("real", real), ("made", made)] {
        ensure!(images.count() >= 2, "a comparison needs at least 2 {name} images, found {}", images.count());
    }
    let on_features = wanted.iter().any(|(family, _)| family.on_features);
    let features = match (&options.features, on_features) {
        (_, false) => None,
        (Some(given), true) => Some(given.clone()),
        (None, true) => Some(features(&FeaturesOptions { device: made.device(), ..Default::default() })?),
    };
    let sample = |images| -> Result<Sample> {
        let extracted = features.as_ref().map(|f| f.extract(images, cx)).transpose()?;
        Ok(Sample { images, extracted })
    };
    let pair = Pair { real: sample(real)?, made: sample(made)?, options };
    let mut entries = Vec::new();
    for (family, metrics) in wanted {
        let readings = (family.measure)(&pair, cx)?;
        let measured = family.metrics.iter().zip(readings);
        entries.extend(
            measured
                .filter(|(metric, _)| metrics.iter().any(|m| m.name == metric.name))
                .map(|(metric, reading)| Entry { metric, reading }),
        );
    }
    let mut notes = Vec::new();
    if let Some(features) = &features {
        let few = [("real", real), ("made", made)].into_iter().filter(|(_, i)| i.count() <= features.dims());
        notes.extend(few.map(|(name, images)| {
            format!(
                "{} {name} images for {} dimensions of features: FID is then biased upwards; compare only \
                 values of equal counts",
                images.count(),
                features.dims()
            )
        }));
        if pair.made.extracted.as_ref().is_some_and(|e| !e.prepared.is_empty()) {
            notes.push(format!("features of images made {}", pair.made.extracted()?.prepared));
        }
    }
    let side = |images: &Images| Side {
        name: images.name().to_string(),
        split: images.split().map(str::to_string),
        count: images.count(),
    };
    Ok(Comparison::new(Record {
        entries,
        features: features.map(|f| (f.name().to_string(), f.hash().to_string(), f.dims())),
        real: side(real),
        made: side(made),
        k: options.k,
        splits: options.splits,
        threshold: options.threshold,
        seed: options.seed,
        notes,
    }))
}

type Wanted = Vec<(&'static Family, Vec<&'static Metric>)>;

/// The families that hold the named metrics, in the table's order.
fn wanted(names: &[String]) -> Result<Wanted> {
    let known = metric_names();
    if let Some(unknown) = names.iter().find(|n| !known.contains(&n.as_str())) {
        return Err(Error::argument(format!("unknown metric \"{unknown}\""))
            .did_you_mean(unknown, known.iter().copied()));
    }
    let is_wanted = |metric: &&Metric| names.is_empty() || names.iter().any(|n| n == metric.name);
    let chosen = FAMILIES.iter().map(|family| (*family, family.metrics.iter().filter(is_wanted).collect()));
    Ok(chosen.filter(|(_, metrics): &(_, Vec<_>)| !metrics.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{fashion_mnist, fashion_mnist::FashionMnist};
    use crate::torch::{DType, Device, Generator, Tensor};

    fn real(count: usize) -> Images {
        let test = FashionMnist { split: "test".to_string(), path: None };
        Images::of(&fashion_mnist(&test).unwrap().take(count).unwrap())
    }

    fn noise(shape: &[i64]) -> Images {
        let generator = Generator::new(0, Device::Cpu).unwrap();
        Images::new(&Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator)).unwrap()).unwrap()
    }

    #[test]
    fn a_set_equals_itself_and_noise_is_far() {
        let (cx, options) = (Context::default(), CompareOptions::default());
        let set = real(200);
        let same = compare(&set, &set, &options, &cx).unwrap();
        assert!(same.value("fid").unwrap() < 1e-6);
        assert_eq!(same.value("precision").unwrap(), 1.0);
        assert_eq!(same.value("radial_spectrum_gap").unwrap(), 0.0);
        let far = compare(&set, &noise(&[100, 1, 28, 28]), &options, &cx).unwrap();
        assert!(far.value("fid").unwrap() > 100.0);
        assert!(far.value("recall").unwrap() < 0.1);
        assert!(far.value("high_frequency_ratio").unwrap() > same.value("high_frequency_ratio").unwrap());
        assert!(far.notes().is_empty());
    }

    #[test]
    fn few_images_are_noted_and_one_is_refused() {
        let (cx, options) = (Context::default(), CompareOptions::default());
        let few = compare(&real(100), &noise(&[20, 1, 28, 28]), &options, &cx).unwrap();
        assert!(few.notes()[0].contains("20 made images for 64 dimensions"));
        let one = compare(&real(100), &noise(&[1, 1, 28, 28]), &options, &cx).unwrap_err();
        assert!(one.message().contains("at least 2 made images, found 1"));
    }

    #[test]
    fn wrong_shapes_and_names_are_refused() {
        let cx = Context::default();
        let options = CompareOptions::default();
        let shape = compare(&real(10), &noise(&[10, 3, 32, 32]), &options, &cx).unwrap_err();
        assert!(shape.message().contains("[1, 28, 28] like the real ones, found [3, 32, 32]"));
        let options = CompareOptions { metrics: vec!["fidd".to_string()], ..options };
        assert_eq!(
            compare(&real(10), &real(10), &options, &cx).unwrap_err().hint_text(),
            Some("did you mean `fid`?")
        );
    }

    #[test]
    fn only_what_is_asked_for_is_measured() {
        let names = ["radial_spectrum_gap", "laplacian_abs"].map(str::to_string).to_vec();
        let options = CompareOptions { metrics: names, ..Default::default() };
        let found = compare(&real(10), &real(10), &options, &Context::default()).unwrap();
        assert!(found.value("laplacian_abs").is_ok());
        assert!(found.value("sobel_mean").unwrap_err().message().contains("was not measured"));
        assert!(found.features().is_none());
    }

    #[test]
    fn colour_of_another_size_is_noted() {
        let images = noise(&[40, 3, 32, 32]);
        let found = compare(&images, &images, &CompareOptions::default(), &Context::default()).unwrap();
        assert!(found.notes().iter().any(|n| n.contains("grey, 32 x 32 resized to 28 x 28")));
    }
}
