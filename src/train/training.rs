//! Steps of a run in progress.

use std::time::Instant;

use super::also::Also;
use super::bins::Bins;
use super::checkpoint::{Folder, PartsOptions};
use super::compared::settings_of;
use super::fit::NotFinite;
use super::log::{Log, Row};
use super::measured::Measured;
use super::objective::{Drawn, Ends, reads_velocity};
use super::reported::shown;
use super::run::Record;
use super::saved::hash;
use super::schedule::Cosine;
use super::scored::{Ended, Scores};
use super::tensorboard::RunEvents;
use super::{
    AdamWOptions, Ema, FitOptions, Method, Optimizer, Parameters, RecordedBackward, Run, posthoc,
    step_generator,
};
use crate::context::{Bar, Context};
use crate::data::{Batch, Dataset, Loader, LoaderOptions};
use crate::declare::{Map, Value};
use crate::error::{Error, Result, Subject};
use crate::flow::losses::wide;
use crate::flow::path::Unread;
use crate::flow::{Facts, Loss, Pair, Times};
use crate::model::Model;
use crate::ranks::{Ranks, share};
use crate::torch::{Device, Fields, Tensor, graph, is_out_of_memory, no_grad, rng, uninterrupted};

/// Number of consecutive batches that are not finite after which a run ends.
const MOST_SKIPPED_IN_A_ROW: usize = 10;

/// A run in progress.
pub(super) struct Training<'a> {
    pub(super) model: &'a Model,
    pub(super) options: &'a FitOptions,
    pub(super) loader: Loader,
    pub(super) optimizer: Optimizer,
    pub(super) also: Also,
    /// Averages of the weights, the main one first.
    pub(super) averages: Vec<Ema>,
    /// Processes that compute each batch together.
    pub(super) ranks: Ranks,
    /// Folder of the run, on rank 0.
    pub(super) folder: Option<Folder>,
    /// Recorded loss and gradients, if requested.
    recorded: Option<RecordedBackward>,
    /// Whether the loss reads the velocity of the model, as far as its code tells.
    pub(super) reads_velocity: bool,
    pub(super) bar: Box<dyn Bar>,
    pub(super) log: Option<Log>,
    /// Events for TensorBoard, on rank 0.
    pub(super) events: Option<RunEvents>,
    /// Where the events ended at the checkpoint that the run resumed.
    pub(super) events_end: Option<Value>,
    start: Instant,
    /// Seconds of the earlier runs that this one resumes.
    pub(super) before: f64,
    /// Steps whose loss and norm have not been read from the device.
    pending: Vec<Pending>,
    /// Losses that have been read, one for each step.
    pub(super) losses: Vec<f64>,
    pub(super) history: Vec<Row>,
    /// Errors by time since the last row, if requested.
    pub(super) bins: Option<Bins>,
    /// Steps, from 1, whose batch was left out.
    pub(super) skipped: Vec<usize>,
    /// What ended the run early.
    pub(super) ended: Option<Ended>,
    pub(super) scores: Scores,
    /// The last step, while `on_step` has not heard of it.
    pub(super) unreported: Option<Row>,
    /// Code of `on_step`, as it was at the start.
    pub(super) stepped_by: Value,
    /// Step of the last checkpoint.
    pub(super) written: usize,
    /// Hash of the weights at the start.
    pub(super) origin: String,
    /// Hashes of the weights of the models in `also` at the start.
    pub(super) also_origins: Map,
    /// Path and step of the checkpoint from which the run began, if it did.
    pub(super) from: Value,
    /// Options at the start, as data. Code may change the values that it captured.
    pub(super) settings: Map,
    /// Design of the model at the start, likewise.
    pub(super) design: serde_json::Value,
    /// Changes of code with which the run was resumed.
    pub(super) accepted: Vec<String>,
    /// Whether the last batch could not be read.
    pub(super) unread: bool,
    /// Whether a script function failed on another rank.
    pub(super) failed_elsewhere: bool,
}

pub(super) struct Pending {
    loss: Tensor,
    pub norm: Tensor,
    pub lr: f64,
    pub indices: Tensor,
    /// Times of a function that have not been checked.
    times: Option<Unread>,
}

/// One gradient for each parameter, not stored on the parameters.
type Gradients = Vec<Option<Tensor>>;

impl<'a> Training<'a> {
    /// Prepares the first step, or resumes from the newest checkpoint in the folder.
    pub(super) fn start(
        model: &'a Model,
        dataset: &Dataset,
        options: &'a FitOptions,
        folder: Option<Folder>,
        context: &Context,
    ) -> Result<Self> {
        let loader = Loader::new(
            dataset,
            &LoaderOptions {
                batch: options.batch as i64,
                seed: options.seed,
                flip: options.flip,
                image_weights: options.image_weights.clone(),
                augment: options.augment.clone(),
                device: model.device(),
                ..LoaderOptions::default()
            },
        )?;
        // Building the parts decides which captured models are stored with them.
        let also = Also::new(&options.also, options.seed, model)?;
        let (settings, design) = (settings_of(model, options)?, model.design().to_json()?);
        let parameters = also.with(Parameters::of(model)?)?;
        let adamw = AdamWOptions {
            lr: options.lr,
            betas: options.betas,
            weight_decay: options.weight_decay,
            groups: options.groups.clone(),
            ..AdamWOptions::default()
        };
        let optimizer = match &options.optimizer {
            Method::AdamW => Optimizer::new(&parameters, &adamw),
            Method::Muon(muon) => Optimizer::muon(&parameters, muon, &adamw),
            Method::Custom(custom) => Optimizer::custom(&parameters, custom, &adamw),
        }?;
        let mut training = Self {
            averages: options.ema.start(model, options.ema_warmup, options.widths())?,
            bar: context.bar("train", options.steps as u64),
            start: Instant::now(),
            before: 0.0,
            pending: Vec::new(),
            losses: Vec::with_capacity(options.steps.min(1 << 20)),
            history: Vec::new(),
            bins: Bins::new(options.loss_bins, model.device())?,
            skipped: Vec::new(),
            ended: None,
            scores: Scores::default(),
            unreported: None,
            stepped_by: Value::Unit,
            written: 0,
            origin: String::new(),
            also_origins: also.origins()?,
            from: Value::Unit,
            settings,
            design,
            accepted: Vec::new(),
            unread: false,
            failed_elsewhere: false,
            log: None,
            events: None,
            events_end: None,
            recorded: recorded(model, options, &optimizer),
            reads_velocity: reads_velocity(&options.loss),
            model,
            options,
            loader,
            optimizer,
            also,
            ranks: Ranks::of(context),
            folder,
        };
        training.same_on_all_ranks()?;
        training.scores.by = training.score_code()?;
        training.stepped_by = training.step_code()?;
        if training.saves() {
            // The data is that of the start, even if a file breaks before the first checkpoint.
            training.loader.state()?;
        }
        uninterrupted(|| match training.saves() && training.resume(context)? {
            true => Ok(()),
            false => training.begin(context),
        })?;
        let writable = training.folder.as_ref().is_none_or(Folder::is_writable);
        if let Some(folder) = training.folder.as_ref().filter(|_| writable) {
            let scored = training.is_scored();
            training.log = Some(Log::create(folder.path(), &training.history, options.loss_bins, scored)?);
        }
        if !options.tensorboard.is_empty() && writable && training.ranks.is_first() {
            let (done, end) = (training.done(), training.events_end.as_ref());
            let (folder, settings) = (&options.tensorboard, &training.settings);
            training.events =
                Some(RunEvents::begin(folder, &options.out, done, end, settings, options.batch)?);
        }
        Ok(training)
    }

    /// Returns an error that names what differs unless all ranks make the same run.
    fn same_on_all_ranks(&self) -> Result<()> {
        if !self.ranks.are_several() {
            return Ok(());
        }
        let options = self.options;
        let data = self.loader.state()?.remove("data").unwrap_or(Value::Unit);
        let design = self.model.design().to_json()?.to_string();
        let device = if self.model.device().is_cuda() { "a GPU" } else { "the CPU" };
        let given = |given: bool| if given { "given" } else { "not given" }.to_string();
        let mut facts = vec![
            ("the version of spectral".to_string(), env!("CARGO_PKG_VERSION").to_string()),
            ("the device".to_string(), device.to_string()),
            ("the model".to_string(), short(&design)),
            ("the hash of the model's weights".to_string(), hash(self.model)?),
            (
                "the hash of the weights of `also`".to_string(),
                format!("{:?}", Value::Map(self.also_origins.clone())),
            ),
            ("the data".to_string(), format!("{data:?}")),
            ("`on_step`".to_string(), given(options.on_step.is_some())),
            ("`score`".to_string(), given(options.score.is_some())),
        ];
        facts.extend(self.settings.iter().map(|(name, value)| {
            (format!("`{name}`"), short(&value.to_json_text().unwrap_or_else(|| format!("{value:?}"))))
        }));
        self.ranks.same(&facts)
    }

    /// Returns whether the run is saved, by rank 0.
    pub(super) fn saves(&self) -> bool {
        !self.options.out.is_empty()
    }

    /// Returns the number of steps so far.
    pub(super) fn done(&self) -> usize {
        self.losses.len() + self.pending.len()
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    pub(super) fn parts(&self) -> PartsOptions {
        PartsOptions {
            model: Some(self.model.clone()),
            ema: self.averages.first().cloned(),
            averages: self.averages.iter().skip(1).cloned().collect(),
            optimizer: Some(self.optimizer.clone()),
            loader: Some(self.loader.clone()),
            ..PartsOptions::default()
        }
    }

    pub(super) fn run(&mut self, context: &Context) -> Result<()> {
        let FitOptions { steps, log_every, checkpoint_every, .. } = *self.options;
        let before = self.ended;
        self.bar.resume(self.done() as u64);
        self.complete()?;
        let (mut captured, begun, mut measured) = (self.captured(), self.done(), false);
        while self.done() < steps && self.ended.is_none() {
            self.check(context)?;
            let step = self.done();
            // With a folder the step is finished, because a checkpoint can keep it; on several ranks, because all
            // must end after the same step.
            let pending = match self.saves() || self.ranks.are_several() {
                true => uninterrupted(|| self.step(step, &Context::default())),
                false => self.step(step, context),
            };
            self.pending.push(pending.map_err(|e| self.explain(e, step))?);
            let done = step + 1;
            // On CUDA, reading a loss makes the CPU wait, so the device would idle.
            let saved = self.saves() && (done.is_multiple_of(checkpoint_every) || done == steps);
            // A score belongs to a row.
            let scored = saved && self.options.score.is_some();
            let logged = done.is_multiple_of(log_every) || done == steps || scored;
            let snapped = self.options.posthoc.as_ref().is_some_and(|p| done.is_multiple_of(p.every));
            if logged || saved || snapped || !self.model.device().is_cuda() || self.options.on_step.is_some()
            {
                let read = self.read(logged)?;
                // Before `on_step` and the checkpoint, so that none goes missing when the run is stopped there: the
                // resumed run begins after this step.
                if snapped {
                    uninterrupted(|| self.snapshots(done))?;
                }
                if let Some((row, _)) = read.as_ref().filter(|_| !std::mem::replace(&mut measured, true)) {
                    Self::without_gradient(row).iter().for_each(|note| context.note(note));
                }
                if saved {
                    self.evaluate()?;
                }
                self.report(read, logged)?;
            }
            if logged || step == begun {
                self.untrained(&mut captured, logged && step > begun)
                    .iter()
                    .for_each(|note| context.note(note));
            }
            if saved && self.ended.is_none() && done < steps {
                self.checkpoint()?;
            }
        }
        let note = if before == self.ended { None } else { self.end_note(false) };
        note.iter().for_each(|note| context.note(note));
        Ok(())
    }

    /// Fails if the user requested a stop: of any rank, for all of them.
    fn check(&self, context: &Context) -> Result<()> {
        match self.ranks.any(context.interrupt.is_raised())? {
            true => Err(Error::interrupted()),
            false => Ok(()),
        }
    }

    /// Writes a snapshot of each average that `posthoc` tracks.
    fn snapshots(&self, step: usize) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        folder.check()?;
        let own = self.options.ema.0.len();
        let tracked = self.averages.iter().skip(own).zip(self.options.widths());
        tracked
            .into_iter()
            .try_for_each(|(average, width)| posthoc::save(folder.path(), average, *width, step))
    }

    /// Moves all averages towards the weights, unless the scalar `skip` is 1.
    fn average(&self, skip: Option<&Tensor>) -> Result<()> {
        self.averages.iter().try_for_each(|average| match skip {
            None => average.update(self.model),
            Some(skip) => average.update_unless(skip, self.model),
        })
    }

    /// Performs one update; its measurements stay on the device.
    fn step(&mut self, step: usize, context: &Context) -> Result<Pending> {
        if let Some(name) = self.optimizer.left_out() {
            return Err(Error::argument(format!(
                "`{name}` was frozen when the run began and is not any more, so it would never be updated"
            ))
            .hint("call `train::fit` again after `unfreeze`, or unfreeze it before and give it `lr: 0.0` in `groups`"));
        }
        self.optimizer.set_factor(self.factor(step)?);
        let lr = self.optimizer.lr();
        let position = self.loader.position();
        let random = self.random()?;
        let result = self.attempt(step, lr, context);
        if result.is_err() {
            // A retry of this step must see the same images, and user code must draw the same numbers.
            self.loader.seek(position);
            rng::restore_defaults(&random)?;
        }
        result
    }

    /// Returns the states of the default generators if a step may draw from them and can be retried.
    fn random(&self) -> Result<Vec<(Device, Tensor)>> {
        let FitOptions { path, loss, timesteps, optimizer, .. } = self.options;
        let times = timesteps.as_ref().is_some_and(Times::calls_code);
        let model = self.model.design().calls_code() || optimizer.calls_code();
        if !self.saves() || !(model || path.calls_code() || loss.calls_code() || times) {
            return Ok(Vec::new());
        }
        self.default_states()
    }

    /// Returns the states of the default generators.
    pub(super) fn default_states(&self) -> Result<Vec<(Device, Tensor)>> {
        let mut devices = vec![Device::Cpu, self.model.device()];
        devices.dedup();
        devices.into_iter().map(|device| Ok((device, rng::default_state(device)?))).collect()
    }

    fn attempt(&mut self, step: usize, lr: f64, context: &Context) -> Result<Pending> {
        let (first, count) = self.loaded();
        let batch = self.loader.next_share(first, count);
        self.unread = batch.is_err();
        let batch = batch?;
        self.model
            .check_images(&batch.images)
            .map_err(|e| e.within(Subject::Option("augment".to_string())))?;
        let (drawn, times) = self.draw(step, &batch)?;
        let (mut measured, gradients) = self.gradients(&drawn, step, context)?;
        if let Some(times) = &times {
            measured.loss = times.mark(&measured.loss)?;
        }
        let (Measured { loss, bins }, gradients) = self.summed(measured, gradients)?;
        context.check()?;
        // The average follows every update, including the one during which the user interrupts.
        let norm = uninterrupted(|| {
            let norm = match gradients {
                None => self.optimizer.update(Some(&loss), self.options.clip)?,
                Some(gradients) => self.optimizer.update_by(gradients, Some(&loss), self.options.clip)?,
            };
            let skips = self.options.not_finite == NotFinite::Skip;
            if skips || !self.model.device().is_cuda() {
                match self.optimizer.failed_update()? {
                    None => self.average(None)?,
                    Some(_) if skips => self.skip(step)?,
                    Some(_) => return Err(self.not_finite(step, loss.item()?)),
                }
            } else {
                self.average(Some(&self.optimizer.skipping()?))?;
            }
            if let (Some(all), Some(batch)) = (&mut self.bins, bins) {
                all.add(&batch)?;
            }
            Ok::<_, Error>(norm)
        })?;
        Ok(Pending { loss, norm, lr, indices: batch.indices, times })
    }

    /// Returns the first image of a batch that is loaded, and their number: this rank's share, or the whole batch if
    /// code may combine its images.
    fn loaded(&self) -> (i64, i64) {
        let FitOptions { batch, path, timesteps, .. } = self.options;
        let whole = path.calls_code_of_images() || timesteps.as_ref().is_some_and(Times::takes_step);
        let (first, count) = match whole {
            true => (0, *batch),
            false => self.ranks.share(*batch),
        };
        (first as i64, count as i64)
    }

    /// Draws times, noise and dropped labels, which depend on the seed, the step and the position in the batch: those
    /// of the whole batch, of which this rank's share is returned. The times of a function are perhaps yet to be checked.
    fn draw(&self, step: usize, batch: &Batch) -> Result<(Drawn, Option<Unread>)> {
        let device = self.model.device();
        let generator = step_generator(self.options.seed, step as u64, device)?;
        let FitOptions { path, timesteps, loss, .. } = self.options;
        let count = self.options.batch as i64;
        let (first, loaded) = self.loaded();
        let images = batch.images.to_dtype(self.model.dtype())?;
        // A function that reads them is called with the whole batch.
        let facts = Facts {
            labels: Some(batch.labels.clone()),
            fields: batch.fields.clone(),
            indices: Some(batch.indices.clone()),
            step: Some(step as i64),
            seed: Some(Facts::seed_of(self.options.seed as u64, step as u64)),
        };
        let seen = facts.into();
        let mut shape = images.shape();
        shape[0] = count;
        // Of the first step of all they are checked at once, and where each step is read anyway.
        let later = device.is_cuda() && step > 0 && self.options.not_finite != NotFinite::Skip;
        let (t, unread, pair) = no_grad(|| {
            let (t, unread) = match path.times_perhaps_unread((&shape[..], device), &generator, &seen, later)
            {
                Some(times) => times?,
                None => {
                    let times = timesteps.clone().unwrap_or_default();
                    times.draw((&shape[..], device), &generator, &seen, "`timesteps`", later)?
                }
            };
            let t = t.narrow(0, first, loaded)?;
            let noise = match loaded == count {
                true => None,
                false => {
                    let noise = Tensor::randn(&shape, images.dtype(), device, Some(&generator))?;
                    Some(noise.narrow(0, first, loaded)?)
                }
            };
            let pair = path.pair(&images, &t, noise.as_ref(), Some(&generator), &seen)?;
            Ok::<_, Error>((t, unread, pair))
        })?;
        let Pair { x_t, target, noise, others } = pair;
        // Labels were checked against the model before the first step.
        let labels = self.model.drop_labels(&batch.labels, Some(&generator))?.narrow(0, first, loaded)?;
        // Otherwise their memory is freed before the forward pass.
        let ends = matches!(loss, Loss::Function(_)).then_some(Ends { x1: images, noise, others });
        let indices = batch.indices.narrow(0, first, loaded)?;
        let fields = batch.fields.clone();
        let drawn = Drawn { x_t, t, labels, target, indices, fields, first, ends };
        let (own, count) = self.ranks.share(self.options.batch);
        let drawn = if count as i64 == loaded { drawn } else { drawn.part(own as i64, count as i64)? };
        Ok((drawn, unread))
    }

    /// Returns the loss and errors by time. Gradients are stored on the parameters, or returned if they were recorded.
    fn gradients(
        &mut self,
        drawn: &Drawn,
        step: usize,
        context: &Context,
    ) -> Result<(Measured, Option<Gradients>)> {
        let Some(mut recorded) = self.recorded.take() else {
            self.optimizer.zero_grad()?;
            return Ok((self.backward(drawn, step, context)?, None));
        };
        let Drawn { x_t, t, labels, target, indices, first, .. } = drawn;
        let made = recorded.run(&[x_t, t, labels, target].map(Tensor::clone), &|v| {
            let [x_t, t, labels, target] = [0, 1, 2, 3].map(|i| v[i].clone());
            // Only code reads fields, and code is not recorded.
            let (indices, fields, first) = (indices.clone(), Fields::default(), *first);
            let part = Drawn { x_t, t, labels, target, indices, fields, first, ends: None };
            self.backward(&part, step, context)?.packed()
        });
        self.recorded = Some(recorded);
        let (packed, gradients) = made?;
        let dtype = wide(target)?.dtype();
        Ok((Measured::unpacked(packed, dtype, self.options.loss_bins)?, Some(gradients)))
    }

    /// Computes the gradients of this rank's share of the mean loss, part by part, and returns that share with the errors
    /// by time. `drawn` is this rank's share of the batch.
    ///
    /// A rank computes its images in so many parts that all ranks together have at least
    /// `accumulate`.
    fn backward(&self, drawn: &Drawn, step: usize, context: &Context) -> Result<Measured> {
        let FitOptions { batch, accumulate, .. } = *self.options;
        if accumulate == 1 && !self.ranks.are_several() {
            context.check()?;
            let (loss, bins) = self.loss(drawn, step)?;
            context.check()?;
            loss.backward(None, false).or_else(|e| context.check().and(Err(e)))?;
            return Ok(Measured { loss: loss.detach()?, bins });
        }
        let (_, count) = self.ranks.share(batch);
        let parts = accumulate.div_ceil(self.ranks.size()).min(count);
        let mut total = None::<Measured>;
        for part in 0..parts {
            context.check()?;
            let (start, size) = share(count, part, parts);
            let (loss, bins) = self.loss(&drawn.part(start as i64, size as i64)?, step)?;
            let loss = loss.mul_scalar(size as f64 / batch as f64)?;
            context.check()?;
            loss.backward(None, false).or_else(|e| context.check().and(Err(e)))?;
            let part = Measured { loss: loss.detach()?, bins };
            total = Some(match total {
                None => part,
                Some(sum) => sum.plus(part)?,
            });
        }
        total.ok_or_else(|| Error::internal("a batch has at least one part"))
    }

    /// Returns measurements and gradients summed over all ranks.
    fn summed(
        &self,
        measured: Measured,
        gradients: Option<Gradients>,
    ) -> Result<(Measured, Option<Gradients>)> {
        if !self.ranks.are_several() {
            return Ok((measured, gradients));
        }
        let own = gradients.unwrap_or_else(|| self.optimizer.gradients());
        // A parameter may have no gradient for the images of one rank, and have one for those of another.
        let count = own.len() as i64;
        let present: Vec<i64> = own.iter().map(|gradient| i64::from(gradient.is_some())).collect();
        let present = Tensor::from_i64(&present, &[count])?;
        self.ranks.sum(std::slice::from_ref(&present))?;
        let all = own.into_iter().zip(self.optimizer.parameters()).zip(present.to_i64()?);
        let all = all.map(|((gradient, parameter), present)| match (gradient, present) {
            (_, 0) => Ok(None),
            (Some(gradient), _) => Ok(Some(gradient)),
            (None, _) => Tensor::zeros(&parameter.shape(), parameter.dtype(), parameter.device()).map(Some),
        });
        let all = all.collect::<Result<Gradients>>()?;
        let measurements = [&measured.loss].into_iter().chain(&measured.bins);
        let tensors: Vec<Tensor> = all.iter().flatten().chain(measurements).cloned().collect();
        self.ranks.sum(&tensors)?;
        Ok((measured, Some(all)))
    }

    fn factor(&self, step: usize) -> Result<f64> {
        let FitOptions { warmup, steps, min_lr_ratio, .. } = *self.options;
        let cosine = Cosine { warmup, steps, min_ratio: min_lr_ratio };
        self.options.schedule.factor(step, &cosine)
    }

    fn not_finite(&self, step: usize, loss: f64) -> Error {
        let FitOptions { steps, lr, .. } = *self.options;
        let what = match loss.is_finite() {
            true => format!(
                "the gradient is not finite at step {} of {steps}, where the loss is {}",
                step + 1,
                shown(loss)
            ),
            false => format!("the loss is not finite at step {} of {steps}: it is {loss}", step + 1),
        };
        Error::argument(format!("{what}; the weights are those before it")).hint(format!(
            "try a smaller learning rate than {lr}, look for broken values in the images, or leave such batches out \
             with `not_finite: \"skip\"`"
        ))
    }

    /// Counts the batch of a step as left out; too many in a row are an error.
    fn skip(&mut self, step: usize) -> Result<()> {
        self.skipped.push(step + 1);
        let last = self.skipped.iter().rev().take(MOST_SKIPPED_IN_A_ROW);
        let in_a_row = last.zip((0..=step + 1).rev()).filter(|(skipped, step)| *skipped == step).count();
        if in_a_row < MOST_SKIPPED_IN_A_ROW {
            return Ok(());
        }
        Err(Error::argument(format!(
            "the losses or gradients of {MOST_SKIPPED_IN_A_ROW} steps in a row, up to step {}, were not finite",
            step + 1
        ))
        .hint("a smaller learning rate may help; the weights are those before these steps"))
    }

    /// Adds the step and a hint to out-of-memory errors, and frees the gradients.
    fn explain(&self, error: Error, step: usize) -> Error {
        if !is_out_of_memory(&error) {
            return error;
        }
        let _ = self.optimizer.zero_grad();
        error
            .context(format!("step {} of {}", step + 1, self.options.steps))
            .hint("compute each batch in parts with `accumulate: 2` or more, or use a smaller batch")
    }

    /// Reads the pending losses and returns the last pending step; a failed step is an error.
    pub(super) fn flush_losses(&mut self) -> Result<Option<Pending>> {
        if let Some(update) = self.optimizer.failed_update()? {
            // Only on CUDA, where steps are not checked one by one. Batches that were left out do not count as
            // updates.
            let step = update as usize - 1 + self.skipped.len();
            let failed = step.saturating_sub(self.losses.len()).min(self.pending.len());
            let unmade = (self.pending.len() - failed) as u64;
            self.averages.iter().for_each(|average| average.uncount(unmade));
            let pending: Vec<Pending> = self.pending.drain(..).collect();
            let (loss, times) =
                pending.get(failed).map_or((Ok(f64::NAN), None), |p| (p.loss.item(), p.times.as_ref()));
            let loss = loss?;
            times.map_or(Ok(()), Unread::check)?;
            return Err(self.not_finite(step, loss));
        }
        let scalars: Vec<Tensor> = self.pending.iter().map(|p| p.loss.clone()).collect();
        if !scalars.is_empty() {
            self.losses.extend(Tensor::stack(&scalars, 0)?.to_f64()?);
        }
        Ok(self.pending.drain(..).next_back())
    }

    pub(super) fn finish(self) -> Result<Run> {
        Ok(Run::new(Record {
            model: self.model.clone(),
            averages: self.averages.iter().map(|a| (a.name().to_string(), a.model())).collect(),
            also: self.also.values().clone(),
            seconds: self.seconds(),
            images: self.losses.len() * self.options.batch,
            losses: self.losses,
            history: self.history,
            skipped: self.skipped,
            settings: self.settings,
        }))
    }
}

/// Returns a text, or a hash of it if it is long.
fn short(text: &str) -> String {
    use sha2::Digest;
    if text.chars().count() <= 60 {
        return text.to_string();
    }
    sha2::Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the recorder of loss and gradients, if requested and possible.
fn recorded(model: &Model, options: &FitOptions, optimizer: &Optimizer) -> Option<RecordedBackward> {
    if !options.cuda_graph {
        return None;
    }
    if options.loss.calls_code() {
        graph::refuse("`loss` calls code at each step, which cannot be recorded");
        return None;
    }
    if options.path.converts_by_code() {
        graph::refuse("`alpha` and `sigma` of the path are called at each step, which cannot be recorded");
        return None;
    }
    RecordedBackward::new(model, optimizer)
}

/// Returns the mean of the finite values; batches that were left out are ignored.
pub(super) fn mean(values: &[f64]) -> f64 {
    let finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    finite.iter().sum::<f64>() / finite.len() as f64
}
