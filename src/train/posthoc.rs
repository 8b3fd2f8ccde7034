//! Averages of any length after training, from snapshots of power-function averages.
//!
//! Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2), section 3 and
//! appendix C.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ema::{Ema, power_of};
use crate::context::Context;
use crate::declare::Options;
use crate::ensure;
use crate::error::{Error, Result, list};
use crate::files;
use crate::model::weights::CONFIG;
use crate::model::{Design, Model};
use crate::torch::io::{TensorFile, save_safetensors};
use crate::torch::{DType, Device, Tensor, no_grad, uninterrupted};

/// Key of a snapshot's width and count of updates in its metadata.
const ABOUT: &str = "snapshot";

/// Options of `train::posthoc_average`.
#[derive(Debug, Clone, Options)]
pub struct PosthocAverageOptions {
    /// Width of the average, as a fraction of the steps.
    #[option(default = 0.1, range = 0.001..=0.28)]
    pub sigma_rel: f64,
    /// Step of the average, one that has snapshots; by default the last one.
    pub step: Option<usize>,
    /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// An average at a point of the training: the exponent of its weights, and the number of updates so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    power: f64,
    updates: f64,
}

impl Point {
    /// Returns the point of an average of a length.
    fn new(sigma_rel: f64, updates: f64) -> Result<Self> {
        Ok(Self { power: power_of(sigma_rel)?, updates })
    }

    /// Returns the inner product of the weights that two averages give to the updates (equation 151).
    ///
    /// An average with exponent p after t updates has the density `(p + 1) u^p / t^(p + 1)` of updates u up to t. The
    /// product of two densities is integrated up to the smaller of both counts.
    fn dot(self, other: Self) -> f64 {
        let (p, q) = (self.power, other.power);
        let (first, last) = match self.updates < other.updates {
            true => ((self.updates, p), (other.updates, q)),
            false => ((other.updates, q), (self.updates, p)),
        };
        // The powers of the counts are huge, their ratio is not.
        let ratio = (first.0 / last.0).powf(last.1);
        (p + 1.0) * (q + 1.0) * ratio / ((p + q + 1.0) * last.0)
    }
}

/// Returns the coefficients of `points` whose weighted sum is nearest to the average at `target`; they sum to 1
/// (algorithm 3).
fn coefficients(points: &[Point], target: Point) -> Result<Vec<f64>> {
    let count = points.len() as i64;
    let products = points.iter().flat_map(|a| points.iter().map(|b| a.dot(*b)));
    let products = Tensor::from_f64(&products.collect::<Vec<_>>(), &[count, count])?;
    let wanted: Vec<f64> = points.iter().map(|a| a.dot(target)).collect();
    let solved = products.solve(&Tensor::from_f64(&wanted, &[count])?)?.to_f64()?;
    let sum: f64 = solved.iter().sum();
    ensure!(sum.is_finite() && sum != 0.0, "the snapshots do not determine an average of this length");
    Ok(solved.iter().map(|one| one / sum).collect())
}

/// Returns the folder of the snapshots of a run.
pub(super) fn folder_of(run: &Path) -> PathBuf {
    run.join("snapshots")
}

/// Writes a snapshot of an average.
pub(super) fn save(run: &Path, average: &Ema, sigma_rel: f64, step: usize) -> Result<()> {
    let about = serde_json::json!({ "sigma_rel": sigma_rel, "updates": average.updates() });
    let texts = BTreeMap::from([
        (ABOUT.to_string(), about.to_string()),
        (CONFIG.to_string(), average.model().design().to_json()?.to_string()),
    ]);
    let path = path_of(run, average.name(), step);
    save_safetensors(&path, &average.tensors(), &texts)
}

/// Returns how many snapshots of the averages with these names a run lacks, which writes them each `every` steps, up to a
/// step.
pub(super) fn missing<'a>(
    run: &Path,
    names: impl Iterator<Item = &'a str>,
    every: usize,
    last: usize,
) -> usize {
    let steps = (1..=last / every).map(|number| number * every);
    let paths = names.flat_map(|name| steps.clone().map(move |step| path_of(run, name, step)));
    paths.filter(|path| !path.exists()).count()
}

/// Returns the path of a snapshot.
fn path_of(run: &Path, average: &str, step: usize) -> PathBuf {
    folder_of(run).join(format!("{average}-{step:08}.safetensors"))
}

/// Removes the snapshots of a run after a step, which another run has left, or one that lost its last checkpoints.
pub(super) fn clear_after(run: &Path, last: usize) -> Result<()> {
    let folder = folder_of(run);
    if !folder.is_dir() {
        return Ok(());
    }
    let all = files::list(&folder)?;
    let all = all.iter().filter(|name| step_of(name).is_some_and(|step| step > last));
    all.into_iter().try_for_each(|name| files::remove(folder.join(name)))
}

/// Returns the step in the name of a snapshot.
fn step_of(name: &str) -> Option<usize> {
    name.strip_suffix(".safetensors")?.rsplit_once('-')?.1.parse().ok()
}

/// Reads what a snapshot is of; `None` if no update came before it, since all batches were skipped.
fn point_of(path: &Path) -> Result<Option<Point>> {
    let file = TensorFile::open(path)?;
    let about =
        file.metadata.get(ABOUT).and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let number = |name: &str| about.as_ref()?.get(name)?.as_f64();
    match (number("sigma_rel"), number("updates")) {
        (Some(_), Some(0.0)) => Ok(None),
        (Some(sigma_rel), Some(updates)) if updates >= 1.0 => Point::new(sigma_rel, updates).map(Some),
        _ => Err(Error::file(path, "the file is not a snapshot of an average")),
    }
}

/// Returns a model whose weights are the power-function average of any length at a step of a finished or running
/// run.
///
/// It is the least-squares combination of the snapshots in the run's folder up to that step. `context` compiles the code
/// of the model.
pub fn posthoc_average(
    run: impl AsRef<Path>,
    options: &PosthocAverageOptions,
    context: &Context,
) -> Result<Model> {
    options.check()?;
    let folder = folder_of(run.as_ref());
    let names = if folder.is_dir() { files::list(&folder)? } else { Vec::new() };
    let mut found: Vec<(usize, PathBuf)> =
        names.iter().filter_map(|name| Some((step_of(name)?, folder.join(name)))).collect();
    found.sort();
    let mut steps: Vec<usize> = found.iter().map(|(step, _)| *step).collect();
    steps.dedup();
    let Some(step) = options.step.or(steps.last().copied()) else {
        return Err(Error::argument(format!("{} has no snapshots of averages", run.as_ref().display()))
            .hint("train with the options `out` and `posthoc: #{ every: 500 }`"));
    };
    if !steps.contains(&step) {
        let texts: Vec<String> = steps.iter().map(usize::to_string).collect();
        return Err(Error::argument(format!("there are no snapshots of step {step}"))
            .hint(format!("the steps with snapshots are {}", list(&texts))));
    }
    found.retain(|(of, _)| *of <= step);
    let (mut points, mut paths): (Vec<Point>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for (_, path) in found {
        // Snapshots between which all batches were skipped are equal, and two equal ones determine no combination.
        if let Some(point) = point_of(&path)?.filter(|point| !points.contains(point)) {
            points.push(point);
            paths.push(path);
        }
    }
    ensure!(!points.is_empty(), "all batches up to step {step} were skipped, so there is nothing to average");
    let updates = points.iter().fold(0.0, |most, point: &Point| point.updates.max(most));
    let factors = coefficients(&points, Point::new(options.sigma_rel, updates)?)?;
    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut config = None;
    for (path, factor) in paths.iter().zip(factors) {
        context.check()?;
        let mut file = TensorFile::open(path)?;
        config = file.metadata.get(CONFIG).cloned().or(config);
        let loaded = file.load(|_| true, Device::Cpu)?;
        no_grad(|| {
            uninterrupted(|| {
                loaded.tensors.into_iter().try_for_each(|(name, tensor)| {
                    let part = tensor.to_dtype(DType::Float64)?.mul_scalar(factor)?;
                    let sum = match sums.remove(&name) {
                        Some(sum) => sum.add(&part)?,
                        None => part,
                    };
                    sums.insert(name, sum);
                    Ok::<_, Error>(())
                })
            })
        })?;
    }
    let config = config.ok_or_else(|| Error::internal("a snapshot has a configuration"))?;
    let config = serde_json::from_str(&config)
        .map_err(|e| Error::argument(format!("the stored configuration is not JSON: {e}")))?;
    let design = Design::from_json(&config)?.compiled(context)?;
    Model::given(design, sums, options.device)
}

#[cfg(test)]
mod tests;
