//! What the functions of a path know of the images that they are called for.

use std::fmt;
use std::sync::Arc;

use crate::declare::Display;
use crate::error::{Error, Result, list};
use crate::torch::fields::GivenFields;
use crate::torch::rng::mix;
use crate::torch::{Fields, Tensor};
use crate::{ensure, functions, scripted};

/// Separates the seeds of paths from those of everything else that is drawn for a step.
const PATHS: u64 = u64::MAX - 4;

/// Facts of the images that a function of a path is called for, and of their step. Not all of them exist everywhere.
#[derive(Clone, Default)]
pub struct Facts {
    /// Labels `[B]`, before label dropout.
    pub labels: Option<Tensor>,
    /// Fields of the images.
    pub fields: Fields,
    /// Positions of the images in the data set, int64 `[B]`.
    pub indices: Option<Tensor>,
    /// Training step, from 0.
    pub step: Option<i64>,
    /// Seed of the step.
    pub seed: Option<i64>,
}

impl Facts {
    /// Returns the seed of a step of a run, unrelated to the numbers that training and sampling draw themselves.
    pub fn seed_of(run: u64, step: u64) -> i64 {
        // A seed is not negative.
        (mix(mix(run, PATHS), step) >> 1) as i64
    }

    /// Returns an error unless labels, fields and indices have one row per image.
    pub fn check_rows(&self, count: i64) -> Result<()> {
        for (name, given) in [("labels", &self.labels), ("indices", &self.indices)] {
            if let Some(tensor) = given {
                ensure!(
                    tensor.shape() == [count],
                    "expected `{name}` of shape [{count}], one per image, found {}",
                    tensor.signature()
                );
            }
        }
        self.fields.check_rows(count)
    }
}

/// Last argument of the functions of a path: the images that they are called for, and their step. Clones share it.
#[derive(Clone, Default)]
pub struct PathStep(Arc<Facts>);

impl From<Facts> for PathStep {
    fn from(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }
}

impl fmt::Debug for PathStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a step of a path with {}", self.names().join(", "))
    }
}

scripted!(
    PathStep,
    "path_step",
    |s| Display::text(format!("{s:?}")),
    describe = |_| ("the step", "of a path".to_string()),
);

impl PathStep {
    /// Runs `body`, which calls a function of the path; an error if it changed a field in place.
    pub(super) fn unwritten<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.0.fields.unwritten(body)
    }
}

/// Properties and methods, as in scripts.
impl PathStep {
    /// Returns the names of what is known.
    pub fn names(&self) -> Vec<&'static str> {
        let Facts { labels, indices, step, seed, .. } = &*self.0;
        let known = [
            ("fields", true),
            ("indices", indices.is_some()),
            ("labels", labels.is_some()),
            ("seed", seed.is_some()),
            ("step", step.is_some()),
        ];
        known.into_iter().filter_map(|(name, known)| known.then_some(name)).collect()
    }

    /// Returns the labels of the images before label dropout, int64 `[B]`.
    pub fn labels(&self) -> Result<Tensor> {
        // Changes in place must not reach the batch.
        self.known("labels", self.0.labels.as_ref())?.copy()
    }

    /// Returns the fields of the images.
    pub fn fields(&self) -> &Fields {
        &self.0.fields
    }

    /// Returns the positions of the images in the data set, int64 `[B]`.
    pub fn indices(&self) -> Result<Tensor> {
        self.known("indices", self.0.indices.as_ref())?.copy()
    }

    /// Returns the training step, from 0.
    pub fn step(&self) -> Result<i64> {
        self.known("step", self.0.step)
    }

    /// Returns the seed of the step.
    pub fn seed(&self) -> Result<i64> {
        self.known("seed", self.0.seed)
    }

    fn known<T>(&self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| {
            Error::argument(format!("`c.{name}` is not known here, found {}", list(&self.names()))).hint(format!(
                "`train::fit` knows it, `flow::sample` knows fields, labels and seed, and `path.pair` takes it as an \
                 option; `\"{name}\" in c` tells"
            ))
        })
    }
}

/// Methods of a step.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Returns whether a value is available in this call: `"step" in c` is false in `flow::sample`.
        ///
        /// ```rhai
        /// let wide = flow::path(#{ noise: |z, x1, c| if "step" in c { 2.0 * z } else { z } });
        /// let noise = |more| wide.pair(tensor::zeros([1, 2]), tensor([0.5]), #{ generator: tensor::generator(1) } + more).noise;
        /// assert_close(noise.call(#{ step: 0 }), 2.0 * noise.call(#{}), 0.0);
        /// ```
        fn contains(step: PathStep, name: String) -> bool { Ok(step.names().contains(&name.as_str())) }
    }
}

/// Properties of a step.
pub mod properties {
    use super::*;
    functions! { properties;
        /// Labels of the images, int64 [B], before training drops some of them.
        ///
        /// ```rhai
        /// // Noise around a mean of its own for each class.
        /// let means = tensor([-0.5, 0.5]);
        /// let path = flow::path(#{ noise: |z, x1, c| z + means[c.labels].reshape([-1, 1, 1, 1]) });
        /// let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// assert_eq(flow::sample(net, #{ labels: [0, 1], steps: 2, path: path }).shape, [2, 1, 4, 4]);
        /// ```
        fn labels(step: PathStep) -> Tensor { step.labels() }

        /// Fields of the images: those of the data set, or the option `fields` of `flow::sample`.
        ///
        /// ```rhai
        /// // A path from one image to another.
        /// let path = flow::path(#{ noise: |z, x1, c| c.fields.source });
        /// let pair = path.pair(tensor::ones([2, 1, 4, 4]), tensor([0.0, 0.5]), #{ fields: #{ source: tensor::zeros([2, 1, 4, 4]) } });
        /// assert_close(pair.x_t.mean([1, 2, 3]), tensor([0.0, 0.5]), 1e-6);
        /// ```
        fn fields(step: PathStep) -> GivenFields { Ok(GivenFields(step.fields().clone())) }

        /// Positions of the images in the data set, int64 [B] on the CPU; an error in `flow::sample`.
        ///
        /// ```rhai
        /// // Noise that belongs to an image through all epochs.
        /// let own = tensor::randn([8, 1, 4, 4], #{ seed: 1 });
        /// let path = flow::path(#{ noise: |z, x1, c| if "indices" in c { own[c.indices] } else { z } });
        /// let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// train::fit(net, images, #{ steps: 1, batch: 4, path: path });
        /// ```
        fn indices(step: PathStep) -> Tensor { step.indices() }

        /// Training step, from 0; an error in `flow::sample`.
        ///
        /// ```rhai
        /// // A curriculum: the times reach the data within 100 steps.
        /// let times = |n, g, c| tensor::rand([n], #{ generator: g }) * min(1.0, 0.5 + c.step / 200.0);
        /// let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// train::fit(net, images, #{ steps: 2, batch: 4, path: flow::path(#{ times: times }) });
        /// ```
        fn step(step: PathStep) -> i64 { step.step() }

        /// Seed of the step, derived from the seed of the run and the step; in `flow::sample`, from its `seed`.
        ///
        /// The functions of a path get all images of a batch at once, whatever `accumulate` and the number of ranks, so draws
        /// with this seed do not depend on them.
        ///
        /// ```rhai
        /// // A Brownian bridge: noise that vanishes at both ends.
        /// let bridge = |x1, x0, t, c| {
        ///     let t = t.reshape([-1, 1, 1, 1]);
        ///     let e = tensor::randn(x1.shape, #{ seed: c.seed });
        ///     #{ x_t: (1.0 - t) * x0 + t * x1 + (t * (1.0 - t)).sqrt() * e, target: x1 }
        /// };
        /// let x1 = tensor::ones([1, 1, 4, 4]);
        /// assert_close(flow::path(#{ mix: bridge }).pair(x1, tensor([1.0]), #{ seed: 3 }).x_t, x1, 1e-6);
        /// ```
        fn seed(step: PathStep) -> i64 { step.seed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_an_error_that_names_it() {
        let labels = Tensor::from_i64(&[1, 2], &[2]).unwrap();
        let step = PathStep::from(Facts { labels: Some(labels.clone()), seed: Some(7), ..Facts::default() });
        assert_eq!((step.names(), step.seed().unwrap()), (vec!["fields", "labels", "seed"], 7));
        let error = step.indices().unwrap_err();
        assert_eq!(error.message(), "`c.indices` is not known here, found `fields`, `labels`, `seed`");
        assert!(error.hint_text().unwrap().ends_with("`\"indices\" in c` tells"));
        assert!(PathStep::default().labels().unwrap_err().message().ends_with("found `fields`"));
        // What a function writes into the labels stays with it.
        let own = step.labels().unwrap();
        own.add_(&labels).unwrap();
        assert!(step.labels().unwrap().equal(&labels).unwrap() && !own.equal(&labels).unwrap());
    }

    #[test]
    fn facts_have_one_row_per_image() {
        let two = Some(Tensor::from_i64(&[1, 2], &[2]).unwrap());
        let facts = Facts { labels: two.clone(), indices: two.clone(), ..Facts::default() };
        facts.check_rows(2).unwrap();
        let error = facts.check_rows(3).unwrap_err();
        assert_eq!(error.message(), "expected `labels` of shape [3], one per image, found tensor [2] int64");
        let column = two.map(|t| t.unsqueeze(1).unwrap());
        let error = Facts { indices: column, ..Facts::default() }.check_rows(2).unwrap_err();
        assert!(error.message().starts_with("expected `indices` of shape [2]"), "{error}");
    }

    #[test]
    fn seeds_depend_on_run_and_step() {
        let all = [Facts::seed_of(0, 0), Facts::seed_of(0, 1), Facts::seed_of(1, 0)];
        assert!(all.iter().all(|seed| *seed >= 0));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    }
}
