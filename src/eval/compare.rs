//! All metrics of two sets of images.

use std::path::Path;

use super::comparison::{Comparison, Entry, How, Network, Record, Settings, Side};
use super::features::{Extracted, Features, FeaturesOptions, cache, embedded, features};
use super::metric::{Family, Metric, Needs, Pair, Reading, SampleOptions};
use super::moments::Moments;
use super::{FAMILIES, Images, Statistics, kid};
use crate::context::Context;
use crate::declare::Options;
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::ode::Solver;
use crate::ranks::Ranks;
use crate::torch::Tensor;

/// Options of [`compare`]: metrics, their parameters, and how the generated images were sampled.
#[derive(Debug, Clone, Options)]
pub struct CompareOptions {
    /// Feature extractor of FID and the other feature metrics; by default the embedded one.
    pub features: Option<Features>,
    /// Names of the metrics; empty for all that the features support.
    pub metrics: Vec<String>,
    /// Rank of the nearest neighbor whose distance is the radius of a point's ball, for precision and recall.
    #[option(default = 3, range = 1..=1000)]
    pub k: i64,
    /// Rank of the nearest neighbor whose distance is the radius of a point's ball, for density and coverage.
    #[option(default = 5, range = 1..=1000)]
    pub density_k: i64,
    /// Number of splits for the inception score.
    #[option(default = 10, range = 1..=1000)]
    pub splits: i64,
    /// Number of random blocks that KID is averaged over.
    #[option(default = 100, range = 1..=1e6)]
    pub kid_blocks: i64,
    /// Number of images in each block of KID.
    #[option(default = 1000, range = 2..=1e6)]
    pub kid_size: i64,
    /// Lower bound of high frequencies, as a fraction of the largest ring.
    #[option(default = 0.5, range = 0.0..=1.0)]
    pub threshold: f64,
    /// Seed of the generated images; only recorded, like the four options below.
    pub seed: Option<i64>,
    /// Guidance scale of the sampling.
    pub guidance: Option<f64>,
    /// Number of sampling steps.
    #[option(range = 1..=1e9)]
    pub steps: Option<i64>,
    /// Name of the solver, as in `flow::sample`.
    pub sampler: Option<Solver>,
    /// Decay of the averaged weights used for sampling; 0 for the last weights.
    #[option(range = 0.0..=1.0)]
    pub ema: Option<f64>,
    /// Folder for cached features of the real images. By default, Inception and TorchScript networks use a
    /// folder in the user's cache, and others are not cached; `""` disables the cache.
    pub cache: Option<String>,
}

/// Returns the names of all metrics.
pub fn metric_names() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|f| f.metrics).map(|m| m.name).collect()
}

/// Compares generated images (`made`) with real ones; both must have the same channels and size.
pub fn compare(real: &Images, made: &Images, options: &CompareOptions, cx: &Context) -> Result<Comparison> {
    options.check()?;
    let mut wanted = wanted(&options.metrics)?;
    if real.shape() != made.shape() {
        let (shape, found) = (real.shape(), made.shape());
        let error = Error::argument(format!(
            "expected generated images of shape {shape:?} like the real ones, found {found:?}"
        ));
        return Err(match shape[1..] == found[1..] {
            // Files such as those of `eval::save_samples` have three channels even for gray images.
            true => error.hint(
                "take one channel of gray images that were stored in color: `data::npz(path).images().narrow(1, 0, 1)`",
            ),
            false => error,
        });
    }
    for (name, images) in [("real", real), ("generated", made)] {
        ensure!(images.count() >= 2, "a comparison needs at least 2 {name} images, found {}", images.count());
    }
    let on_features = wanted.iter().any(|(family, _)| family.needs != Needs::Pixels);
    let features = match (&options.features, on_features) {
        (_, false) => None,
        (Some(given), true) => Some(given.clone()),
        (None, true) => Some(features(&FeaturesOptions { device: made.device(), ..Default::default() })?),
    };
    let content = real.content_hash()?;
    let extract = |images: &Images, reference: bool| {
        let Some(features) = &features else { return Ok(None) };
        match cache_folder(features, options).filter(|_| reference) {
            Some(folder) => cache::extract(features, images, &content, &folder, cx).map(Some),
            None => features.extract(images, cx).map(Some),
        }
    };
    let pair = Pair {
        real: SampleOptions { images: real, extracted: extract(real, true)? },
        made: SampleOptions { images: made, extracted: extract(made, false)? },
        options,
    };
    let mut notes = Vec::new();
    for (name, images) in [("real", real), ("generated", made)] {
        notes.extend(images.notes(cx)?.iter().map(|note| format!("{name} images: {note}")));
    }
    if on_features && options.features.is_none() {
        notes.extend(embedded::note(made, cx)?);
    }
    if let (Some(features), Some(extracted)) = (&features, &pair.made.extracted) {
        let lacking = leave_out(&mut wanted, features, extracted, !options.metrics.is_empty())?;
        if !lacking.is_empty() {
            notes.push(format!("{} skipped: the features have no {}", lacking.0.join(", "), lacking.1));
        }
        notes.extend(remarks(&wanted, &pair, extracted));
        notes.extend(check_statistics(&wanted, &pair, features)?);
    }
    let counts = [real.count(), made.count()];
    let kid_blocks = kid::blocks_of(counts, options.kid_blocks, options.kid_size);
    let has = |name: &str| wanted.iter().any(|(_, metrics)| metrics.iter().any(|m| m.name == name));
    if kid_blocks == 1 && (has("kid") || has("kid_std")) {
        notes.push(format!(
            "KID is of one block of {} real and {} generated images: it has no standard deviation, kid_std",
            real.count().min(options.kid_size),
            made.count().min(options.kid_size)
        ));
    }
    let families: Vec<&Family> = wanted.iter().map(|(family, _)| *family).collect();
    let mut entries = Vec::new();
    for ((family, metrics), readings) in wanted.into_iter().zip(measure(&families, &pair, cx)?) {
        let measured = family.metrics.iter().zip(readings);
        entries.extend(
            measured
                .filter(|(metric, _)| metrics.iter().any(|m| m.name == metric.name))
                .filter(|(metric, _)| kid_blocks > 1 || metric.name != "kid_std")
                .map(|(metric, reading)| Entry { metric, reading }),
        );
    }
    let side = |sample: &SampleOptions, hash: String| -> Result<Side> {
        Ok(Side {
            name: sample.images.name().to_string(),
            split: sample.images.split().map(str::to_string),
            count: sample.images.count(),
            hash,
            resize: sample.extracted.as_ref().map(|e| e.prepared.clone()).unwrap_or_default(),
            statistics: sample.images.statistics().map(Statistics::hash).transpose()?.unwrap_or_default(),
        })
    };
    let CompareOptions { k, density_k, splits, kid_size, threshold, .. } = *options;
    let CompareOptions { seed, guidance, steps, sampler, ema, .. } = *options;
    let network = |features: Features, extracted: &Extracted| -> Result<Network> {
        let (name, hash) = (features.name().to_string(), features.hash().to_string());
        Ok(Network { name, hash, dims: extracted.features.size(1)? })
    };
    let network = features.zip(pair.made.extracted.as_ref()).map(|(f, e)| network(f, e)).transpose()?;
    Ok(Comparison::new(Record {
        entries,
        features: network,
        real: side(&pair.real, content)?,
        made: side(&pair.made, String::new())?,
        settings: Settings { k, density_k, splits, kid_blocks, kid_size, threshold },
        how: How { seed, guidance, steps, sampler: sampler.map(|solver| solver.to_string()), ema },
        notes,
    }))
}

/// Returns the readings of each family. Several ranks compute the divided families together and each of the others
/// once, on the ranks in turn, so that all return the readings of one rank.
fn measure(families: &[&Family], pair: &Pair, cx: &Context) -> Result<Vec<Vec<Reading>>> {
    let ranks = Ranks::of(cx);
    let alone = Context { ranks: None, ..cx.clone() };
    let mut single = 0;
    // One row for each metric: whether this rank measured it, its value, whether there is one of the real images.
    let mut rows: Vec<[f64; 4]> = Vec::new();
    for family in families {
        cx.check()?;
        let own = match family.divided {
            true => ranks.is_first(),
            false => {
                single += 1;
                (single - 1) % ranks.size() == ranks.rank()
            }
        };
        let readings = match (family.divided, own) {
            (true, _) => (family.measure)(pair, cx)?,
            (false, true) => (family.measure)(pair, &alone)?,
            (false, false) => Vec::new(),
        };
        ensure!(
            !own || readings.len() == family.metrics.len(),
            "expected {} readings of `{}`, found {}",
            family.metrics.len(),
            family.metrics[0].name,
            readings.len()
        );
        rows.extend((0..family.metrics.len()).map(|i| match readings.get(i).filter(|_| own) {
            Some(Reading { made, real }) => {
                [1.0, *made, f64::from(u8::from(real.is_some())), real.unwrap_or(0.0)]
            }
            None => [0.0; 4],
        }));
    }
    let count = rows.len();
    let all = ranks.gather(&Tensor::from_f64(rows.as_flattened(), &[count as i64, 4])?)?.to_f64()?;
    let row = |metric: usize| {
        let of_ranks = all.chunks_exact(4).skip(metric).step_by(count.max(1));
        let mut own = of_ranks.filter(|row| row[0] == 1.0);
        own.next().map(|row| Reading { made: row[1], real: (row[2] == 1.0).then_some(row[3]) })
    };
    let mut readings =
        (0..count).map(|metric| row(metric).ok_or_else(|| Error::internal("no rank measured it")));
    families.iter().map(|family| readings.by_ref().take(family.metrics.len()).collect()).collect()
}

/// Returns the folder for cached features, if they are cached.
fn cache_folder(features: &Features, options: &CompareOptions) -> Option<std::path::PathBuf> {
    match &options.cache {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(Path::new(folder).to_path_buf()),
        None if features.is_slow() => cache::folder(),
        None => None,
    }
}

type Wanted = Vec<(&'static Family, Vec<&'static Metric>)>;

/// Returns the families of the named metrics, in the order of the table.
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

/// Metrics that were left out, and the outputs they lack.
#[derive(Default)]
struct Lacking(Vec<&'static str>, String);

impl Lacking {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Removes the families that the features do not support; an error if they were requested by name.
fn leave_out(wanted: &mut Wanted, features: &Features, found: &Extracted, by_name: bool) -> Result<Lacking> {
    let mut lacking = Lacking::default();
    let mut what = Vec::new();
    let missing = |needs: Needs| match needs {
        Needs::Logits if found.logits.is_none() => Some("logits"),
        Needs::Spatial if found.spatial.is_none() => Some("spatial features"),
        _ => None,
    };
    for (family, metrics) in wanted.iter() {
        if let Some(thing) = missing(family.needs) {
            if by_name {
                return Err(features.lacks(thing).context(format!("metric `{}`", metrics[0].name)));
            }
            lacking.0.extend(metrics.iter().map(|m| m.name));
            what.push(thing);
        }
    }
    wanted.retain(|(family, _)| missing(family.needs).is_none());
    lacking.1 = what.join(" and no ");
    Ok(lacking)
}

/// Returns notes on the statistics stored with the images, after checking that they are of this network.
fn check_statistics(wanted: &Wanted, pair: &Pair, features: &Features) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (name, sample) in [("real", &pair.real), ("generated", &pair.made)] {
        let (Some(statistics), Some(extracted)) = (sample.images.statistics(), &sample.extracted) else {
            continue;
        };
        let hint = format!("`data::npz(path)` opens the {name} images without the statistics");
        let check = |own: &Moments, dims| {
            statistics.check_like(own, Some(&features.label()), dims).map_err(|e| e.hint(&hint))
        };
        let wants = |name: &str| wanted.iter().any(|(_, metrics)| metrics.iter().any(|m| m.name == name));
        if wants("fid") {
            check(statistics.features(), extracted.features.size(1)?)?;
            notes.push(format!("fid uses the statistics stored with the {name} images"));
        }
        if let (true, Some(spatial)) = (wants("sfid"), &extracted.spatial) {
            check(statistics.need_spatial().map_err(|e| e.hint(&hint))?, spatial.size(1)?)?;
            notes.push(format!("sfid uses the statistics stored with the {name} images"));
        }
    }
    Ok(notes)
}

/// Returns notes on the values of metrics of these features.
fn remarks(wanted: &Wanted, pair: &Pair, made: &Extracted) -> Vec<String> {
    let on_fid = wanted.iter().any(|(_, metrics)| metrics.iter().any(|m| m.name == "fid"));
    let dims = made.features.shape()[1];
    let sides = [("real", pair.real.images), ("generated", pair.made.images)];
    let few = sides
        .into_iter()
        .filter(|(_, images)| on_fid && images.count() <= dims && images.statistics().is_none());
    let mut notes: Vec<String> = few
        .map(|(name, images)| {
            format!(
                "{} {name} images for {dims} dimensions of features: FID is then biased upwards; compare only \
                 values of equal counts",
                images.count()
            )
        })
        .collect();
    if !made.prepared.is_empty() {
        notes.push(format!("features computed from prepared images: {}", made.prepared));
    }
    notes
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{fashion_mnist, fashion_mnist::FashionMnistOptions};
    use crate::torch::{DType, Device, Generator, Tensor};

    fn real(count: usize) -> Images {
        let test = FashionMnistOptions { split: crate::data::Split::Test, path: None };
        Images::of(&fashion_mnist(&test).unwrap().take(count).unwrap())
    }

    fn noise(shape: &[i64]) -> Images {
        let generator = Generator::new(0, Device::Cpu).unwrap();
        let noise = Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        Images::new(&noise.clamp(-1.0, 1.0).unwrap()).unwrap()
    }

    #[test]
    fn ranks_compute_each_metric_once_and_have_the_numbers_of_one_rank() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        const COUNTED: Family = Family {
            measure: |pair, cx| {
                CALLS.fetch_add(1, Ordering::SeqCst);
                (crate::eval::fid::FAMILY.measure)(pair, cx)
            },
            ..crate::eval::fid::FAMILY
        };
        use crate::eval::{density_coverage, kid, mmd, precision_recall};
        let families = [
            &COUNTED,
            &kid::FAMILY,
            &COUNTED,
            &precision_recall::FAMILY,
            &density_coverage::FAMILY,
            &mmd::FAMILY,
            &COUNTED,
        ];
        let images = noise(&[2, 1, 4, 4]);
        // Enough for several groups of rows.
        let drawn = |seed: u64, count: i64| Extracted {
            features: {
                let generator = Generator::new(seed, Device::Cpu).unwrap();
                Tensor::randn(&[count, 40], DType::Float64, Device::Cpu, Some(&generator)).unwrap()
            },
            logits: None,
            spatial: None,
            prepared: String::new(),
        };
        let (real, made) = (drawn(1, 2600), drawn(2, 1900));
        for (kid_blocks, kid_size) in [(5, 300), (1, 3000)] {
            let options = CompareOptions { kid_blocks, kid_size, ..CompareOptions::default() };
            let readings = |cx: &Context| {
                let side = |extracted: &Extracted| SampleOptions {
                    images: &images,
                    extracted: Some(extracted.clone()),
                };
                let pair = Pair { real: side(&real), made: side(&made), options: &options };
                measure(&families, &pair, cx).unwrap()
            };
            let alone = readings(&Context::default());
            assert_eq!(CALLS.swap(0, Ordering::SeqCst), 3);
            let together =
                crate::ranks::tests::on_ranks(2, |ranks| readings(&ranks.context(Context::default())));
            assert_eq!(CALLS.swap(0, Ordering::SeqCst), 3);
            together.iter().for_each(|rank| assert_eq!(*rank, alone));
        }
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
        assert_eq!(far.notes().len(), 1, "{:?}", far.notes());
        assert!(far.notes()[0].starts_with("KID is of one block of 200 real and 100 generated images"));
        assert!(far.value("kid_std").is_err() && far.record().settings.kid_blocks == 1);
        let options = CompareOptions { kid_blocks: 3, kid_size: 50, ..options };
        assert!(compare(&set, &set, &options, &cx).unwrap().value("kid_std").is_ok());
    }

    #[test]
    fn few_images_are_noted_and_one_is_refused() {
        let (cx, options) = (Context::default(), CompareOptions::default());
        let few = compare(&real(100), &noise(&[20, 1, 28, 28]), &options, &cx).unwrap();
        assert!(few.notes()[0].contains("20 generated images for 64 dimensions"));
        let options = CompareOptions { metrics: vec!["kid".to_string()], ..options };
        let kid = compare(&real(100), &noise(&[20, 1, 28, 28]), &options, &cx).unwrap();
        assert!(!kid.notes().iter().any(|note| note.contains("FID")), "{:?}", kid.notes());
        let options = CompareOptions::default();
        let one = compare(&real(100), &noise(&[1, 1, 28, 28]), &options, &cx).unwrap_err();
        assert!(one.message().contains("at least 2 generated images, found 1"));
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
    fn other_ranges_are_refused_and_the_unit_range_is_noted() {
        let images = real(10);
        let mut bytes = Vec::new();
        let mut keep = |part| {
            bytes.push(part);
            Ok(())
        };
        images.in_chunks(&Context::default(), &mut keep).unwrap();
        let unit = Tensor::cat(&bytes, 0).unwrap().add_scalar(1.0).unwrap().div_scalar(2.0).unwrap();
        let error = Images::new(&unit.mul_scalar(255.0).unwrap()).unwrap_err();
        assert!(error.message().contains("in [-1, 1], found 0 to 255"), "{error}");
        let options = CompareOptions { metrics: vec!["sobel_mean".to_string()], ..Default::default() };
        let found = compare(&images, &Images::new(&unit).unwrap(), &options, &Context::default()).unwrap();
        let [note] = found.notes() else { panic!("{:?}", found.notes()) };
        assert!(note.starts_with("generated images: all pixel values are in [0, 1]"), "{note}");
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
    fn color_of_another_size_is_noted() {
        let images = noise(&[40, 3, 32, 32]);
        let found = compare(&images, &images, &CompareOptions::default(), &Context::default()).unwrap();
        assert!(found.notes().iter().any(|n| n.contains("gray, 32 x 32 resized to 28 x 28")));
        let named =
            |n: &String| n.contains("gray images of clothing") && n.contains("`eval::inception(path)`");
        assert!(found.notes().iter().any(named), "{:?}", found.notes());
        let own = CompareOptions {
            features: Some(features(&FeaturesOptions::default()).unwrap()),
            ..Default::default()
        };
        let found = compare(&images, &images, &own, &Context::default()).unwrap();
        assert!(!found.notes().iter().any(named), "{:?}", found.notes());
    }
}
