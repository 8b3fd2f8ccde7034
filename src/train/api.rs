//! Namespace `train`: a training loop in one call.

use std::path::PathBuf;

use crate::data::Dataset;
use crate::declare::{IntoValue, Map, Options, Value};
use crate::functions;
use crate::model::Model;
use crate::torch::{Device, Generator};
use crate::train::{
    self, Ema, FitOptions, Optimizer, PosthocAverageOptions, Run, checkpoint, optim, posthoc, tensorboard,
};

crate::api! {
    types: [Optimizer, optim::Update, Ema, Run, tensorboard::TensorBoard],
    functions: [
        optim, space, session, properties, checkpoint::api::space, tensorboard::api::space, tensorboard::api::methods,
    ],
}

/// Options of `train::generator`.
#[derive(Debug, Clone, Options)]
pub struct StepGeneratorOptions {
    /// Seed of the whole run.
    #[option(default = 0)]
    pub seed: i64,
    /// Device on which the numbers are drawn: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
}

pub mod space {
    use super::*;
    functions! { in "train";
        /// Trains a model by flow matching and returns the run: the model, its averaged weights, and all losses.
        ///
        /// The model is trained in place. Each step draws a batch, times and noise, and makes one AdamW update of
        /// `(v(x_t, t, y) - (x - noise)).square().mean()`. `path` and `loss` replace this loss, see `flow::path`
        /// and `loss::spectral`. Labels are dropped with the model's `class_dropout_prob`. On the CPU equal seeds
        /// give equal weights, bit for bit.
        ///
        /// A loss or gradient that is not finite ends the run with an error before that update. In that case, and
        /// after Ctrl-C, the model keeps its last good weights, and they are written to `out`. `train::last()` returns
        /// the run as far as it came.
        ///
        /// With `out` the run writes checkpoints, and the same call resumes from the newest one, bit-identical to a
        /// run that was never stopped; a run that finished, or that `on_step` or `patience` ended, is returned at once.
        /// Other settings, images or initial weights are an error. Two runs in one folder are refused, and so is a
        /// folder whose checkpoints are missing. See the guide on checkpoints.
        ///
        /// On several ranks each computes its share of every batch, and the run equals that of one process; see
        /// `ranks::rank`.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 3, batch: 4, lr: 1e-3 });
        /// assert_eq(run.losses.len(), 3);
        /// ```
        fn fit<cx>(model: Model, dataset: Dataset, options: FitOptions) -> Run {
            if !options.out.is_empty() {
                train::not_stored(&model, &options).iter().for_each(|note| cx.note(note));
            }
            train::fit::fit(&model, &dataset, &options, cx)
        }

        /// Returns a model with the power-function average of any length at a step of a run, from its
        /// snapshots.
        ///
        /// `folder` is the `out` of a run with the option `posthoc`, which may still be running. The average is the
        /// combination of the snapshots up to `step` whose weights of the updates are nearest to those of a
        /// power-function average of length `sigma_rel`, by least squares. Lengths between the tracked ones and
        /// somewhat beyond them are accurate if there are some dozens of snapshots. Source: Karras et al. 2024
        /// (EDM2), section 3.2 and algorithm 3.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// train::fit(model, images, #{ steps: 6, batch: 4, out: "runs/averages", posthoc: #{ every: 2 } });
        /// let ema = train::posthoc_average("runs/averages", #{ sigma_rel: 0.08 });
        /// assert_eq(flow::sample(ema, #{ labels: [0], steps: 1 }).shape, [1, 1, 4, 4]);
        /// ```
        fn posthoc_average<cx>(folder: PathBuf, options: PosthocAverageOptions) -> Model {
            posthoc::posthoc_average(folder, &options, cx)
        }

        /// Returns the generator of one step, whose numbers depend only on the seed and the step.
        ///
        /// A loop that draws times, noise and dropped labels from it, as `train::fit` does, draws the same numbers
        /// after it was stopped and restarted. The CPU's generator takes 32 bits of a hash of seed and step, so two of many
        /// thousand steps may draw equal numbers; with seed 0 a step also draws those of the loader's epoch of that number.
        ///
        /// ```rhai
        /// let draw = |step| tensor::randn([4], #{ generator: train::generator(step, #{ seed: 1 }) });
        /// assert_eq(draw.call(7), draw.call(7));
        /// assert((draw.call(7) - draw.call(8)).abs().max().item() > 0.0);
        /// ```
        fn generator(step: u64, options: StepGeneratorOptions) -> Generator {
            train::step_generator(options.seed, step, options.device)
        }
    }
}

pub mod session {
    use super::*;
    functions! { script in "train";
        /// Returns the run that was stopped or failed last in this session, as far as it came: its model, averages,
        /// losses and history.
        ///
        /// It is there after Ctrl-C at the prompt or in a notebook, and after an error. The next run frees it. A run with
        /// `out` goes on if the same call is made again.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([8, 1, 4, 4]), tensor::zeros([8], #{ dtype: "int64" }));
        /// let watch = |s| if s.step == 2 { throw "enough" };
        /// try { train::fit(model, images, #{ steps: 400, batch: 4, on_step: watch }); } catch { }
        /// let run = train::last();
        /// assert_eq(run.steps, 2);
        /// let picture = flow::sample(run.ema, #{ labels: [0], steps: 2 });
        /// ```
        fn last<cx>() -> Run { train::last(cx) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// The trained model, with its last weights.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// print(run.model);
        /// ```
        fn model(run: Run) -> Model { Ok(run.model().clone()) }

        /// A model with the averaged weights, for sampling.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// print(run.ema);
        /// ```
        fn ema(run: Run) -> Model { Ok(run.ema().clone()) }

        /// The loss of every step.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert_eq(run.losses.len(), run.steps);
        /// ```
        fn losses(run: Run) -> Vec<f64> { Ok(run.losses().to_vec()) }

        /// The models with averaged weights, by the names of the averages.
        ///
        /// `ema` is the first one. A name that is not given is the decay, or `power_` and the length; averages that
        /// `posthoc` tracks are called `posthoc_` and the length.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4, ema: [0.9, #{ name: "slow", decay: 0.99 }] });
        /// assert_eq(run.averages.keys(), ["0.9", "slow"]);
        /// assert_eq(flow::sample(run.averages.slow, #{ labels: [0], steps: 1 }).shape, [1, 1, 4, 4]);
        /// ```
        fn averages(run: Run) -> Map {
            Ok(run.averages().iter().map(|(name, model)| (name.clone(), model.clone().into_value())).collect())
        }

        /// The functions of the parts of `also`, and its models, with their trained parameters, by name.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let scale = nn::part(|b| { let w = b.parameter("w", [1], #{ init: "ones" }); |v| v * w }, #{ name: "scale" });
        /// let loss = |s| (s.also.scale.call(s.v) - s.target).square().mean();
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4, also: scale, loss: loss });
        /// assert_eq(run.also.scale.call(tensor::zeros([1, 1, 4, 4])), tensor::zeros([1, 1, 4, 4]));
        /// ```
        fn also(run: Run) -> Map { Ok(run.also().clone()) }

        /// The mean loss of the last tenth of the steps (at least one step).
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert_close(run.loss, run.losses[1], 1e-12);
        /// ```
        fn loss(run: Run) -> f64 { Ok(run.loss()) }

        /// The steps, counted from 1, whose batch was skipped because the loss or gradient was not finite.
        ///
        /// Empty unless `not_finite` is `"skip"`.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4, not_finite: "skip" });
        /// assert_eq(run.skipped, []);
        /// ```
        fn skipped(run: Run) -> Vec<usize> { Ok(run.skipped().to_vec()) }

        /// The number of steps made.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert_eq(run.steps, 2);
        /// ```
        fn steps(run: Run) -> usize { Ok(run.steps()) }

        /// Wall-clock seconds of the loop.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert(run.seconds > 0.0);
        /// ```
        fn seconds(run: Run) -> f64 { Ok(run.seconds()) }

        /// Training images per second of wall-clock time.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert(run.images_per_second > 0.0);
        /// ```
        fn images_per_second(run: Run) -> f64 { Ok(run.images_per_second()) }

        /// All options of the run with their values.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert_eq(run.settings.batch, 4);
        /// ```
        fn settings(run: Run) -> Map { Ok(run.settings().clone()) }

        /// The logged steps: maps of `step`, `loss` (mean since the previous one), `lr`, `grad_norm`, `seconds`.
        ///
        /// The row of a checkpoint also has the result of the option `score`, as `score`. With the option
        /// `loss_bins`, each row has an array `loss_bins`, the mean squared error of the velocity in equal bins of
        /// the times from 0 (noise) to 1 (data); a bin without samples has NaN.
        ///
        /// ```rhai
        /// let model = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 });
        /// let images = data::from_tensors(tensor::zeros([4, 1, 4, 4]), tensor::zeros([4], #{ dtype: "int64" }));
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4 });
        /// assert_eq(run.history[0].step, 2);
        /// let run = train::fit(model, images, #{ steps: 2, batch: 4, loss_bins: 5 });
        /// assert_eq(run.history[0].loss_bins.len(), 5);
        /// ```
        fn history(run: Run) -> Vec<Value> { Ok(run.history().iter().map(|row| row.clone().into_value()).collect()) }
    }
}
