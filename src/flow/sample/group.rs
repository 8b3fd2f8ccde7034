//! Images that are computed at once: the steps of each kind of solver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::discrete::{Chain, Rule};
use super::step::{Inner, Memory, Moment, SamplingStep};
use super::velocity::{noise, velocity};
use super::{SampleOptions, Sampler, Variance, sde};
use crate::context::Context;
use crate::declare::{FromValue, Function, IntoValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::answer;
use crate::flow::ode::Method;
use crate::flow::ode::adaptive::{Adaptive, Tolerance};
use crate::model::{Model, check_times};
use crate::torch::graph::Graphs;
use crate::torch::{Fields, Tensor};

/// Parts of a progress bar for a solver whose number of steps is not known before.
pub(super) const PARTS: u64 = 100;

/// Images that are computed at once.
pub(super) struct Group {
    pub model: Model,
    pub options: Arc<SampleOptions>,
    pub context: Context,
    pub start: Tensor,
    pub labels: Tensor,
    pub fields: Fields,
    /// Numbers of the steps with noise, and what functions keep.
    pub memory: Memory,
    /// Row of the first image.
    pub first: usize,
    pub size: i64,
}

impl Group {
    /// Returns the velocity of the images in some rows of the group at the times `t`, with the guidance of the times
    /// `guided`.
    fn velocity(
        &self,
        x: &Tensor,
        (t, guided): (&[f64], &[f64]),
        rows: &[usize],
        moment: Option<Moment>,
    ) -> Result<Tensor> {
        self.context.check()?;
        let times = Tensor::from_f64(t, &[t.len() as i64])?.to_dtype(x.dtype())?.to_device(x.device())?;
        let all = rows.len() == self.size as usize;
        let (labels, fields) = if all {
            (self.labels.clone(), self.fields.clone())
        } else {
            let index: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
            let index = Tensor::from_i64(&index, &[index.len() as i64])?.to_device(x.device())?;
            (self.labels.index_select(0, &index)?, self.fields.index_select(&index)?)
        };
        let rows: Vec<usize> = rows.iter().map(|row| self.first + row).collect();
        let stage = self.memory.evaluation();
        let told = |fields: &Fields| self.told(moment, stage, (&labels, fields), &rows);
        velocity(&self.model, &self.options, (x, &times, &labels, &fields), (guided, &rows), &told)
    }

    /// Returns the velocity of all images of the group at one time.
    fn at(&self, x: &Tensor, t: f64, moment: Moment) -> Result<Tensor> {
        let rows: Vec<usize> = (0..self.size as usize).collect();
        let t = vec![t; rows.len()];
        self.velocity(x, (&t, &t), &rows, Some(moment))
    }

    /// Returns the rows of the group among all images.
    fn rows(&self) -> Vec<usize> {
        (self.first..self.first + self.size as usize).collect()
    }

    /// Returns what a function knows of some images in a step.
    fn told(
        &self,
        moment: Option<Moment>,
        stage: usize,
        (labels, fields): (&Tensor, &Fields),
        rows: &[usize],
    ) -> SamplingStep {
        SamplingStep::new(Inner {
            moment,
            stage,
            labels: labels.clone(),
            fields: fields.clone(),
            rows: rows.to_vec(),
            dtype: self.start.dtype(),
            memory: self.memory.clone(),
        })
    }

    /// Calls `keep` with the state after a step.
    fn kept(&self, x: Tensor, moment: Moment) -> Result<Tensor> {
        let Some(keep) = &self.options.keep else { return Ok(x) };
        let t = Tensor::full(&[self.size], moment.next, x.dtype(), x.device())?;
        let told = || self.told(Some(moment), 0, (&self.labels, &self.fields), &self.rows()).into_value();
        let arguments = answer::with_step(answer::with_times(&[], &x, &t)?, keep, told);
        answer::like(&x, "`keep`", keep, &arguments)
    }

    pub fn fixed(
        &self,
        method: &Method,
        graphs: &mut Option<Graphs>,
        update: &mut dyn FnMut(u64),
    ) -> Result<Tensor> {
        let Self { options, size, .. } = self;
        let rows = self.rows();
        let times = options.times();
        let made = Steps::new(&times, &self.memory);
        let mut field = |x: &Tensor, t: f64| {
            self.context.check()?;
            let times = Tensor::full(&[*size], t, x.dtype(), x.device())?;
            let own = vec![t; rows.len()];
            let stage = self.memory.evaluation();
            let told = |fields: &Fields| self.told(Some(made.moment()), stage, (&self.labels, fields), &rows);
            let Some(graphs) = graphs else {
                let state = (x, &times, &self.labels, &self.fields);
                return velocity(&self.model, options, state, (&own, &rows), &told);
            };
            // Only code reads fields, and code is not recorded.
            let none = Fields::default();
            let recorded = |v: &[Tensor]| {
                let state = (&v[0], &v[1], &v[2], &none);
                Ok(vec![velocity(&self.model, options, state, (&own, &rows), &told)?])
            };
            // A recording keeps the scale as a constant. The result is copied because higher-order solvers hold
            // several velocities at once.
            let scale = options.scale_at(t, self.first).to_bits();
            graphs.run(scale, &[x.clone(), times, self.labels.clone()], &recorded)?[0].copy()
        };
        method.integrate_over(&mut field, &self.start, &times, |done, x| {
            update(done as u64);
            let x = self.kept(x, made.moment());
            made.begin(done);
            x
        })
    }

    pub fn adaptive(
        &self,
        method: &Adaptive,
        evaluations: &mut Vec<usize>,
        update: &mut dyn FnMut(u64),
    ) -> Result<Tensor> {
        let SampleOptions { rtol, atol, from, to, .. } = *self.options;
        let cuts = self.options.cuts();
        let (mut x, mut costs) = (self.start.clone(), vec![0; self.size as usize]);
        for ends in cuts.windows(2) {
            // The ends of the guidance interval belong to the parts on both of their sides.
            let inside = 0.5 * (ends[0] + ends[1]);
            let mut field = |x: &Tensor, t: &[f64], rows: &[usize]| {
                self.velocity(x, (t, &vec![inside; t.len()]), rows, None)
            };
            let before = (ends[0] - from) / (to - from);
            let width = (ends[1] - ends[0]) / (to - from);
            let tolerance = Tolerance { rtol, atol };
            let (end, cost) = method.integrate(&mut field, &x, (ends[0], ends[1]), tolerance, |part| {
                update(((before + width * part) * PARTS as f64) as u64);
            })?;
            x = end;
            costs.iter_mut().zip(cost).for_each(|(all, own)| *all += own);
        }
        evaluations.extend(costs);
        Ok(x)
    }

    pub fn stochastic(&self, heun: bool, update: &mut dyn FnMut(u64)) -> Result<Tensor> {
        let options = &self.options;
        let noise = sde::Noise {
            path: &options.path,
            heun,
            diffusion: options.diffusion,
            norm: options.diffusion_norm,
            last: options.last_step,
        };
        let draw = |step: usize| self.draw(step);
        let times = options.times();
        let made = Steps::new(&times, &self.memory);
        noise.run(&self.start, &times, &mut |x, t| self.at(x, t, made.moment()), &draw, &mut |done, x| {
            update(done as u64);
            let x = self.kept(x, made.moment());
            made.begin(done);
            x
        })
    }

    /// Steps of the discrete diffusion.
    pub fn discrete(&self, ddim: bool, update: &mut dyn FnMut(u64)) -> Result<Tensor> {
        let options = &self.options;
        let chain = Chain::new(options.steps, options.spacing)?;
        let rule = match ddim {
            true => Rule::Ddim { eta: options.eta },
            false => Rule::Ddpm(Variance::of(options.variance, &self.model)?),
        };
        let rows = self.rows();
        let mut x = self.start.clone();
        for done in 0..chain.len() {
            self.context.check()?;
            let i = chain.len() - 1 - done;
            let next = if i == 0 { 1.0 } else { chain.time(i - 1) };
            let moment = Moment { step: done, steps: chain.len(), t: chain.time(i), next };
            self.memory.begin();
            let stage = self.memory.evaluation();
            let told = |fields: &Fields| self.told(Some(moment), stage, (&self.labels, fields), &rows);
            let state = (&x, &self.labels, &self.fields);
            let output =
                noise(&self.model, options, state, chain.original(i), (chain.time(i), &rows), &told)?;
            x = chain.step(i, &x, &output, rule, options.clip_denoised, &|| self.draw(done))?;
            update(done as u64 + 1);
        }
        Ok(x)
    }

    /// Steps that a function makes.
    pub fn own(self: &Arc<Self>, update: &mut dyn FnMut(u64)) -> Result<Tensor> {
        let Sampler::Function(function) = &self.options.sampler else {
            return Err(Error::internal("steps of one's own are made by a function"));
        };
        let times = self.options.times();
        let made = Steps::new(&times, &self.memory);
        // The function may write into the state, and the start may be a tensor of the user.
        let mut x = self.start.copy()?;
        for done in 1..times.len() {
            self.context.check()?;
            let moment = made.moment();
            let group = Arc::clone(self);
            let velocity = Function::new(move |given| group.answer(given, moment)).taking(Some(2));
            let told = self.told(Some(moment), 0, (&self.labels, &self.fields), &self.rows());
            let arguments = [
                Value::Function(velocity),
                x.clone().into_value(),
                moment.t.into_value(),
                moment.next.into_value(),
                told.into_value(),
            ];
            x = answer::like(&x, "`sampler`", function, &arguments)?;
            update(done as u64);
            x = self.kept(x, moment)?;
            made.begin(done);
        }
        Ok(x)
    }

    /// Returns the velocity that a function of the user asks for, from the state and the time that it gives.
    fn answer(&self, given: &[Value], moment: Moment) -> Result<Value> {
        let [x, t] = given else {
            return Err(Error::argument(format!(
                "`velocity` takes the state and the time, `velocity.call(x, t)`, found {} values",
                given.len()
            )));
        };
        let x = answer::tensor(x, "`velocity.call(x, t)`", &self.start.signature())?;
        ensure!(
            x.shape() == self.start.shape() && x.dtype() == self.start.dtype(),
            "`velocity.call(x, t)` takes a {}, found a {}",
            self.start.signature(),
            x.signature()
        );
        // Sums of steps are rounded.
        const ROUNDING: f64 = 1e-6;
        let check = |t: f64| {
            ensure!(
                (-ROUNDING..=1.0 + ROUNDING).contains(&t),
                "`velocity.call(x, t)` takes times from 0, noise, to 1, data, found {t}"
            );
            Ok(())
        };
        if let Some(times) = t.downcast::<Tensor>().filter(|t| t.rank() > 0) {
            check_times(&times, &x.shape()).map_err(|e| e.context("`velocity.call(x, t)`"))?;
            let ends = [times.amin(&[], false)?, times.amax(&[], false)?];
            Tensor::stack(&ends, 0)?.to_f64()?.into_iter().try_for_each(check)?;
            let times = times.to_dtype(x.dtype())?.to_device(x.device())?.clamp(0.0, 1.0)?;
            return self.between(&x, &times, moment).map(IntoValue::into_value);
        }
        let t = f64::from_value(t).map_err(|e| {
            e.context("`velocity.call(x, t)`").hint(
                "a time is a number, such as `t` or `next`, or a tensor with one for each image or pixel",
            )
        })?;
        check(t)?;
        self.at(&x, t.clamp(0.0, 1.0), moment).map(IntoValue::into_value)
    }

    /// Returns the velocity of all images of the group at times of their own, or of their pixels. The interval of guidance is
    /// compared with the time at which the step begins.
    fn between(&self, x: &Tensor, times: &Tensor, moment: Moment) -> Result<Tensor> {
        self.context.check()?;
        let (rows, stage) = (self.rows(), self.memory.evaluation());
        let told = |fields: &Fields| self.told(Some(moment), stage, (&self.labels, fields), &rows);
        let guided = vec![moment.t; rows.len()];
        let state = (x, times, &self.labels, &self.fields);
        velocity(&self.model, &self.options, state, (&guided, &rows), &told)
    }

    /// Returns the noise of a step.
    fn draw(&self, step: usize) -> Result<Tensor> {
        let (first, size) = (self.first as i64, self.size);
        let numbers = match &self.options.step_noise {
            Some(given) => given.select(0, step as i64)?.narrow(0, first, size)?,
            None => self.memory.draws.draw(Some(step), first, size)?,
        };
        numbers.to_device(self.start.device())?.to_dtype(self.start.dtype())
    }
}

/// Which of the given steps is being made.
struct Steps<'a> {
    times: &'a [f64],
    memory: &'a Memory,
    made: AtomicUsize,
}

impl<'a> Steps<'a> {
    fn new(times: &'a [f64], memory: &'a Memory) -> Self {
        Self { times, memory, made: AtomicUsize::new(0) }
    }

    fn moment(&self) -> Moment {
        let step = self.made.load(Ordering::Relaxed);
        let at = |i: usize| self.times.get(i).or(self.times.last()).copied().unwrap_or_default();
        Moment { step, steps: self.times.len().saturating_sub(1), t: at(step), next: at(step + 1) }
    }

    /// Begins the step after `done` others.
    fn begin(&self, done: usize) {
        self.made.store(done, Ordering::Relaxed);
        self.memory.begin();
    }
}
