//! What the functions of `flow::sample` know of the step that calls them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Draws;
use crate::declare::{Display, Map, Value};
use crate::error::{Error, Result};
use crate::torch::fields::GivenFields;
use crate::torch::rng::mix;
use crate::torch::{DType, Device, Fields, Tensor};
use crate::{functions, scripted};

/// Separates the numbers that functions draw from those of the samplers.
const FUNCTIONS: u64 = u64::MAX - 3;

/// Values by name that functions keep from step to step, for one group of images. Clones share them.
#[derive(Clone, Default)]
pub struct State(Arc<Mutex<Map>>);

impl State {
    fn all(&self) -> std::sync::MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of a name, if it was set.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.all().get(name).cloned()
    }

    fn text(&self) -> String {
        let names: Vec<String> = self.all().keys().cloned().collect();
        if names.is_empty() { "nothing kept".to_string() } else { format!("kept: {}", names.join(", ")) }
    }

    /// Sets the value of a name.
    pub fn set(&self, name: &str, value: Value) {
        self.all().insert(name.to_string(), value);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().keys()).finish()
    }
}

scripted!(State, "state", |s| Display::text(s.text()));

/// A step between two given times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub step: usize,
    pub steps: usize,
    pub t: f64,
    pub next: f64,
}

/// What stays the same for a group of images: where numbers are drawn, and what functions keep.
#[derive(Debug, Clone)]
pub(in crate::flow) struct Memory {
    pub draws: Arc<Draws>,
    pub seed: u64,
    pub state: State,
    /// Evaluations, and draws of noise, in the current step.
    evaluated: Arc<AtomicUsize>,
    drawn: Arc<AtomicUsize>,
}

impl Memory {
    pub fn new(draws: &Arc<Draws>, seed: u64) -> Self {
        let (evaluated, drawn) = Default::default();
        Self { draws: Arc::clone(draws), seed, state: State::default(), evaluated, drawn }
    }

    /// Begins a step.
    pub fn begin(&self) {
        self.evaluated.store(0, Ordering::Relaxed);
        self.drawn.store(0, Ordering::Relaxed);
    }

    /// Returns the number of evaluations before this one in the step.
    pub fn evaluation(&self) -> usize {
        self.evaluated.fetch_add(1, Ordering::Relaxed)
    }
}

/// The step in which a function of `flow::sample` is called, and the images of the call. Clones share it.
#[derive(Clone)]
pub struct SamplingStep(Arc<Inner>);

pub(super) struct Inner {
    pub moment: Option<Moment>,
    pub stage: usize,
    pub labels: Tensor,
    pub fields: Fields,
    /// Rows among all images.
    pub rows: Vec<usize>,
    pub dtype: DType,
    pub memory: Memory,
}

impl SamplingStep {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Returns what a function knows of images in some `rows` of all, in an evaluation of a solver that chooses its own steps.
    pub(in crate::flow) fn of_evaluation(
        memory: &Memory,
        stage: usize,
        (labels, fields): (&Tensor, &Fields),
        rows: &[usize],
        dtype: DType,
    ) -> Self {
        let (labels, fields, memory) = (labels.clone(), fields.clone(), memory.clone());
        Self::new(Inner { moment: None, stage, labels, fields, rows: rows.to_vec(), dtype, memory })
    }
}

impl fmt::Debug for SamplingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a step of sampling with step, steps, t, next, stage, labels, fields, rows, seed, state")
    }
}

scripted!(
    SamplingStep,
    "sampling_step",
    |s| Display::text(format!("{s:?}")),
    describe = |_| ("the step", "of sampling".to_string()),
);

/// Properties and methods, as in scripts.
impl SamplingStep {
    /// Returns the index of the step; `None` for a sampler that chooses its own steps.
    pub fn step(&self) -> Option<i64> {
        self.0.moment.map(|moment| moment.step as i64)
    }

    /// Returns the number of steps.
    pub fn steps(&self) -> Option<i64> {
        self.0.moment.map(|moment| moment.steps as i64)
    }

    /// Returns the time at which the step begins.
    pub fn t(&self) -> Option<f64> {
        self.0.moment.map(|moment| moment.t)
    }

    /// Returns the time at which the step ends.
    pub fn next(&self) -> Option<f64> {
        self.0.moment.map(|moment| moment.next)
    }

    /// Returns the number of evaluations of the step before this one.
    pub fn stage(&self) -> i64 {
        self.0.stage as i64
    }

    /// Returns the labels of the images, int64 `[B]`.
    pub fn labels(&self) -> Tensor {
        self.0.labels.clone()
    }

    /// Returns the fields of the images.
    pub fn fields(&self) -> &Fields {
        &self.0.fields
    }

    /// Returns the positions of the images among all that are sampled, int64 `[B]`.
    pub fn rows(&self) -> Result<Tensor> {
        let rows: Vec<i64> = self.0.rows.iter().map(|row| *row as i64).collect();
        Tensor::from_i64(&rows, &[rows.len() as i64])?.to_device(self.device())
    }

    /// Returns a seed that depends on the seed of sampling and the step alone.
    pub fn seed(&self) -> i64 {
        let step = self.0.moment.map_or(0, |moment| moment.step as u64);
        (mix(mix(self.0.memory.seed, FUNCTIONS), step) >> 1) as i64
    }

    /// Returns what functions keep for these images.
    pub fn state(&self) -> &State {
        &self.0.memory.state
    }

    /// Draws standard normal numbers of the shape of the state, others in each call. Those of an image depend on its seed, its
    /// row and the step alone.
    pub fn noise(&self) -> Result<Tensor> {
        let Some(moment) = self.0.moment else {
            return Err(Error::argument("a sampler that chooses its own steps has no noise of a step")
                .hint("use a sampler with given steps, such as `euler` or `heun`"));
        };
        let (first, size) = (self.0.rows.first().copied().unwrap_or(0) as i64, self.0.rows.len() as i64);
        let call = self.0.memory.drawn.fetch_add(1, Ordering::Relaxed);
        // Those of stochastic samplers are numbered by the step alone.
        let stream = ((call + 1) << 32) + moment.step;
        let numbers = self.0.memory.draws.draw(Some(stream), first, size)?;
        numbers.to_device(self.device())?.to_dtype(self.0.dtype)
    }

    fn device(&self) -> Device {
        self.0.labels.device()
    }
}

/// Methods of a step and of what it keeps.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Draws standard normal noise in the shape of the state; each call returns other numbers.
        ///
        /// Those of an image follow from its seed, its row and the step, so they do not depend on `batch` and on ranks. An error
        /// for samplers that choose their own steps.
        ///
        /// ```rhai
        /// let model = model::dit(#{ depth: 1 });
        /// let jitter = |x, t, c| if c.next < 1.0 { x + 0.1 * c.noise() } else { x };
        /// let o = #{ labels: [0, 1, 2], steps: 2, keep: jitter };
        /// assert_close(flow::sample(model, o), flow::sample(model, o + #{ batch: 2 }), 1e-5);
        /// ```
        fn noise(step: SamplingStep) -> Tensor { step.noise() }

        /// Returns the value that was kept under a name; `()` if there is none: `c.state.momentum`.
        ///
        /// ```rhai
        /// let seen = |v, x, t, y, c| { assert(c.step == 0 || c.state.last == c.step - 1); c.state.last = c.step; v };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0, 1], steps: 3, velocity: seen });
        /// ```
        fn kept["[]"](state: State, name: String) -> Value { Ok(state.get(&name).unwrap_or(Value::Unit)) }

        /// Keeps a value under a name: `c.state.momentum = m`.
        ///
        /// ```rhai
        /// let count = |x, t, c| { c.state.n = (c.state.n ?? 0) + 1; assert_eq(c.state.n, c.step + 1); x };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0, 1], steps: 2, keep: count });
        /// ```
        fn keep["[]="](state: State, name: String, value: Value) -> () {
            state.set(&name, value);
            Ok(())
        }

        /// Returns whether a value was kept under a name: `"momentum" in c.state`.
        ///
        /// ```rhai
        /// let first = |x, t, c| { assert_eq("seen" in c.state, c.step > 0); c.state.seen = true; x };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0, 1], steps: 2, keep: first });
        /// ```
        fn contains(state: State, name: String) -> bool { Ok(state.get(&name).is_some()) }
    }
}

/// Properties of a step.
pub mod properties {
    use super::*;
    functions! { properties;
        /// Index of the step, from 0; `()` for samplers that choose their own steps.
        ///
        /// ```rhai
        /// let late = |v, x, t, y, c| if c.step == c.steps - 1 { v + 1.0 } else { v };
        /// let images = flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0], steps: 2, noise: tensor::zeros([1, 1, 28, 28]), velocity: late });
        /// assert_close(images.mean(), 0.5, 1e-6);
        /// ```
        fn step(step: SamplingStep) -> Option<i64> { Ok(step.step()) }

        /// Number of steps; `()` for samplers that choose their own.
        ///
        /// ```rhai
        /// let look = |x, t, c| { assert_eq(c.steps, 3); x };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0], steps: 3, keep: look });
        /// ```
        fn steps(step: SamplingStep) -> Option<i64> { Ok(step.steps()) }

        /// Time at which the step begins; `()` for samplers that choose their own steps.
        ///
        /// The time of an evaluation is the argument `t` of the function, which differs from it in the later evaluations of a
        /// step, as those of `heun`.
        ///
        /// ```rhai
        /// let look = |x, t, c| { assert_close(t, [c.next], 1e-6); assert_close(c.next - c.t, 0.25, 1e-9); x };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0], steps: 4, keep: look });
        /// ```
        fn t(step: SamplingStep) -> Option<f64> { Ok(step.t()) }

        /// Time at which the step ends; `()` for samplers that choose their own steps.
        ///
        /// ```rhai
        /// // CFG++ (Chung et al. 2024): only the image of the next state is guided, and not its noise.
        /// let plus = |cond, uncond, x, t, y, c| uncond + 0.6 * c.next * (1.0 - c.t) / (c.next - c.t) * (cond - uncond);
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0], steps: 4, guide: plus });
        /// ```
        fn next(step: SamplingStep) -> Option<f64> { Ok(step.next()) }

        /// Index of the evaluation within the step: 0 and 1 for the two of `heun`.
        ///
        /// ```rhai
        /// let look = |v, x, t, y, c| { assert_eq(c.stage == 0, t.item() == c.t); v };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0], steps: 2, sampler: "heun", velocity: look });
        /// ```
        fn stage(step: SamplingStep) -> i64 { Ok(step.stage()) }

        /// Labels of the images of the call, int64 [B].
        ///
        /// ```rhai
        /// let look = |x, t, c| { assert_eq(c.labels, tensor([3, 4])); x };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [3, 4], steps: 1, keep: look });
        /// ```
        fn labels(step: SamplingStep) -> Tensor { Ok(step.labels()) }

        /// Fields of the images of the call, from the option `fields`: `c.fields.text`.
        ///
        /// If `fields` is a function, `guide` and `velocity` receive its result for the evaluation, and other
        /// functions receive no fields.
        ///
        /// ```rhai
        /// let toward = |v, x, t, y, c| v + 0.1 * (c.fields.seen - x);
        /// let o = #{ labels: [0, 1, 2], steps: 2, fields: #{ seen: tensor::zeros([3, 1, 28, 28]) }, velocity: toward };
        /// assert_eq(flow::sample(model::dit(#{ depth: 1 }), o + #{ batch: 2 }).shape, [3, 1, 28, 28]);
        /// ```
        fn fields(step: SamplingStep) -> GivenFields { Ok(GivenFields(step.fields().clone())) }

        /// Indices of the images of the call among all sampled images, int64 [B], to select their rows:
        /// `all[c.rows]`.
        ///
        /// ```rhai
        /// let scales = tensor([1.0, 2.0, 3.0]);
        /// let scaled = |cond, uncond, x, t, y, c| uncond + scales[c.rows].reshape([-1, 1, 1, 1]) * (cond - uncond);
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0, 1, 2], steps: 2, batch: 2, guide: scaled });
        /// ```
        fn rows(step: SamplingStep) -> Tensor { step.rows() }

        /// Seed of the step, for random numbers that all images share. It follows from `seed` and the step.
        ///
        /// For numbers of each image use `c.noise()`.
        ///
        /// ```rhai
        /// let turn = |v, x, t, y, c| if tensor::rand([1], #{ seed: c.seed }).item() < 0.5 { v } else { v.flip([3]) };
        /// flow::sample(model::dit(#{ depth: 1 }), #{ labels: [0], steps: 2, velocity: turn });
        /// ```
        fn seed(step: SamplingStep) -> i64 { Ok(step.seed()) }

        /// Values that functions keep from step to step, by name: `c.state.last = v`. A name that was not set is `()`.
        ///
        /// They are new for each group of images that are computed at once, and all functions of the call share them. Values that
        /// a function captured are the same for all groups.
        ///
        /// ```rhai
        /// // Guidance with momentum, as in APG (Sadat et al. 2024).
        /// let slow = |cond, uncond, x, t, y, c| {
        ///     let d = cond - uncond;
        ///     if "d" in c.state { d = d - 0.5 * c.state.d; }
        ///     c.state.d = d;
        ///     cond + 2.0 * d
        /// };
        /// let o = #{ labels: [0, 1, 2], steps: 3, guide: slow };
        /// let model = model::dit(#{ depth: 1 });
        /// assert_close(flow::sample(model, o), flow::sample(model, o + #{ batch: 2 }), 1e-5);
        /// ```
        fn state(step: SamplingStep) -> State { Ok(step.state().clone()) }
    }
}
