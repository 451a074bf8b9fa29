//! The training loop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::FitError;
use super::alarm::Alarm;
use super::config::{FitConfig, check_samples};
use super::order::Order;
use super::state::{HostState, TrainState};
use crate::backend::Backend;
use crate::checkpoint::{self, Checkpoint, RunId};
use crate::lora::adapter::Adapter;
use crate::lora::init::kaiming;
use crate::lora::layout::Layout;
use crate::model::batch::Batch;
use crate::model::decoder::Model;
use crate::optim::clip_factor;
use crate::progress::{Event, Progress, StepDone};
use crate::sample::Sample;

/// What a run needs beside model, samples and settings.
pub struct Run<'a> {
    /// Names the base's weights (a base id); a checkpoint goes on only with the same.
    pub base: &'a str,
    /// Where the state is kept. If a state of this very run is there, the run goes on from it.
    pub checkpoint: Option<&'a Path>,
    pub progress: &'a mut dyn Progress,
    /// Looked at before each batch.
    pub cancel: &'a AtomicBool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    /// The state at the last whole step is in the checkpoint.
    Cancelled,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct FitReport {
    pub adapter: Adapter,
    pub outcome: Outcome,
    /// Optimiser steps that the adapter has had, those before a resumption included.
    pub steps: u64,
    /// Loss of the last step of this process.
    pub loss: Option<f64>,
    /// Tokens of this process, prompts included, padding not.
    pub tokens: usize,
    pub seconds: f64,
}

impl FitReport {
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds.max(1e-9)
    }
}

/// Trains an adapter. Blocks; runs on the calling thread's rayon pool, with the same result on any number of threads.
pub fn fit<'a, B: Backend>(
    model: &Model<B>,
    samples: &'a [Sample],
    config: &'a FitConfig,
    run: Run<'a>,
) -> Result<FitReport, FitError> {
    config.check()?;
    check_samples(samples)?;
    let layout = Layout::new(&config.lora, model.architecture())?;
    let id = RunId::new(config, run.base, model.architecture(), samples);
    let resumed = run.checkpoint.map(|path| checkpoint::load(path, &id, layout.len)).transpose()?.flatten();
    let step = resumed.as_ref().map_or(0, |checkpoint| checkpoint.step);
    if resumed.is_some() {
        run.progress.event(&Event::Resumed { step });
    }
    let start = match resumed {
        Some(checkpoint) => checkpoint.state,
        None => HostState::fresh(kaiming(&layout, config.seed)),
    };
    let alarm = Alarm::new(&layout);
    let state = TrainState::new(model, layout, &start, config.recompute)?;
    let order = Order { seed: config.seed, samples: samples.len(), per_step: config.samples_per_step() };
    let steps = config.steps(samples.len());
    let started = Instant::now();
    let fit = Fit {
        samples,
        config,
        run,
        id,
        state,
        order,
        alarm,
        first: step,
        step,
        saved: step,
        steps,
        started,
        tokens: 0,
    };
    fit.all_steps()
}

/// A run under way.
struct Fit<'a, 'm, B: Backend> {
    samples: &'a [Sample],
    config: &'a FitConfig,
    run: Run<'a>,
    id: RunId,
    state: TrainState<'m, B>,
    order: Order,
    alarm: Alarm,
    /// Steps that were done before this process.
    first: u64,
    /// Whole steps done.
    step: u64,
    /// Steps that the checkpoint has.
    saved: u64,
    steps: u64,
    started: Instant,
    tokens: usize,
}

/// What a step's forward and backward passes found.
struct Gradients {
    loss: f64,
    tokens: usize,
    /// The samples of the step.
    samples: Vec<usize>,
}

impl<B: Backend> Fit<'_, '_, B> {
    fn all_steps(mut self) -> Result<FitReport, FitError> {
        let mut loss = None;
        while self.step < self.steps {
            let Some(gradients) = self.gradients()? else {
                self.save()?;
                return self.report(Outcome::Cancelled, loss);
            };
            loss = Some(gradients.loss);
            self.update(gradients)?;
            let every = self.config.checkpoint_every;
            if every > 0 && self.step.is_multiple_of(every) {
                self.save()?;
            }
        }
        self.save()?;
        self.report(Outcome::Finished, loss)
    }

    /// Gradients of the step's mean loss, batch by batch; `None` if the run was cancelled.
    fn gradients(&mut self) -> Result<Option<Gradients>, FitError> {
        let mut indices = self.order.step(self.step);
        // Rows of like length share a batch, so that little is padding. Stable, so the order stays a function of the seed.
        indices.sort_by_key(|&index| self.samples[index].ids.len());
        let labelled: usize = indices.iter().map(|&index| self.samples[index].labelled()).sum();
        let scale = 1.0 / labelled as f64;
        let (mut loss, mut tokens) = (0.0, 0);
        for chunk in indices.chunks(self.config.batch_size) {
            if self.run.cancel.load(Ordering::Relaxed) {
                self.state.clear()?;
                return Ok(None);
            }
            let rows: Vec<&Sample> = chunk.iter().map(|&index| &self.samples[index]).collect();
            let (batch, targets) = Batch::training(&rows);
            let losses = self.state.accumulate(&batch, &targets, scale)?;
            let bad = losses.iter().zip(&targets).filter(|(loss, _)| !loss.is_finite());
            let mut bad: Vec<usize> = bad.map(|(_, target)| chunk[batch.sequence(target.row)]).collect();
            if !bad.is_empty() {
                bad.dedup();
                return Err(FitError::NonFinite { step: self.step + 1, samples: bad });
            }
            loss += losses.iter().sum::<f64>() * scale;
            tokens += rows.iter().map(|sample| sample.ids.len()).sum::<usize>();
        }
        Ok(Some(Gradients { loss, tokens, samples: indices }))
    }

    fn update(&mut self, gradients: Gradients) -> Result<(), FitError> {
        let Gradients { loss, tokens, samples } = gradients;
        let step = self.step + 1;
        let grad_norm = self.state.grad_norm()?;
        if !grad_norm.is_finite() {
            return Err(FitError::NonFinite { step, samples });
        }
        let optimizer = &self.config.optimizer;
        let lr = optimizer.lr * self.config.schedule.factor(self.step, self.steps);
        if self.alarm.watching() && lr > 0.0 {
            self.alarm.step(&self.state.live()?, self.state.layout())?;
        }
        self.state.update(&optimizer.step(step, lr, clip_factor(grad_norm, self.config.max_grad_norm)))?;
        (self.step, self.tokens) = (step, self.tokens + tokens);
        let seconds = self.started.elapsed().as_secs_f64();
        let done = step - self.first;
        let event = StepDone {
            step,
            steps: self.steps,
            loss,
            lr,
            grad_norm,
            tokens,
            tokens_per_second: self.tokens as f64 / seconds.max(1e-9),
            seconds_left: seconds / done.max(1) as f64 * (self.steps - step) as f64,
        };
        self.run.progress.event(&Event::Step(event));
        Ok(())
    }

    fn save(&mut self) -> Result<(), FitError> {
        if let Some(path) = self.run.checkpoint.filter(|_| self.saved < self.step) {
            let checkpoint = Checkpoint { step: self.step, state: self.state.host()? };
            checkpoint::save(path, &self.id, &checkpoint)?;
            self.saved = self.step;
            self.run.progress.event(&Event::Checkpoint { step: self.step });
        }
        Ok(())
    }

    fn report(self, outcome: Outcome, loss: Option<f64>) -> Result<FitReport, FitError> {
        let adapter = self.state.layout().adapter(&self.state.host()?.params);
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(FitReport { adapter, outcome, steps: self.step, loss, tokens: self.tokens, seconds })
    }
}
