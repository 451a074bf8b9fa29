//! The training loop.
//!
//! A step's state is saved only once the next step has found its loss and gradient finite (or the run ends): what is on
//! disk is a state that trains on. Everything that decides the loop is in the checkpoint or follows from the step, so a
//! run that is killed and goes on makes the same bits as one that is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::FitError;
use super::config::{FitConfig, check_samples};
use super::folder::RunFolder;
use super::identity::{RunId, Source};
use super::keeper::Keeper;
use super::order::{Order, micro_batches};
use super::state::{Dropped, HostState, TrainState};
use super::watch::Keep;
use crate::backend::Backend;
use crate::data::sample::Sample;
use crate::evaluate::{EvaluateError, EvaluateOptions, evaluate};
use crate::fit::checkpoint::{Checkpoint, Tally};
use crate::fit::exact::Exact;
use crate::fit::progress::{Evaluated, Event, Progress, StepDone};
use crate::lora::adapter::Adapter;
use crate::lora::init::kaiming;
use crate::lora::layout::Layout;
use crate::model::ModelError;
use crate::model::batch::Batch;
use crate::model::decoder::Model;
use crate::optim::clip_factor;

/// What a run needs beside model, samples and settings.
pub struct Run<'a> {
    /// Where the inputs come from: part of the run's identity.
    pub source: Source<'a>,
    /// The adapter to go on from, with the modules and the rank of the settings; its scale becomes theirs.
    pub start: Option<&'a Adapter>,
    /// Measured every [`FitConfig::eval_every`] steps.
    pub held_out: &'a [Sample],
    /// Where the state is kept. If a state of this very run is there, the run goes on from it.
    pub folder: Option<&'a RunFolder>,
    /// Files for the folder, written when it is known to be this run's.
    pub notes: &'a [(&'a str, Vec<u8>)],
    /// Is told of every step, on this thread.
    pub progress: &'a mut dyn Progress,
    /// Looked at before each micro-batch. A model that is stopped by the same flag ends within one as well.
    pub cancel: &'a AtomicBool,
}

impl<'a> Run<'a> {
    /// A run from nothing that keeps nothing.
    pub fn new(base: &'a str, progress: &'a mut dyn Progress, cancel: &'a AtomicBool) -> Self {
        let source = Source { base, ..Source::default() };
        Self { source, start: None, held_out: &[], folder: None, notes: &[], progress, cancel }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps are done.
    Finished,
    /// The held-out loss has not fallen any more.
    StoppedEarly,
    /// The state at the last whole step is in the run's folder.
    Cancelled,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct FitReport {
    /// What was trained: the last state, or the best one.
    pub adapter: Adapter,
    /// Why the run ended.
    pub end: RunEnd,
    /// Optimiser steps done, those before a resumption included.
    pub steps: u64,
    /// Steps that [`Self::adapter`] has had: fewer where the best state is kept.
    pub kept: u64,
    /// Loss of the last step.
    pub loss: Option<f64>,
    /// The lowest held-out loss, with its step.
    pub best: Option<(u64, f64)>,
    /// Labelled tokens of all steps.
    pub labelled: u64,
    /// Tokens of this process, prompts included.
    pub tokens: usize,
    /// Of this process.
    pub seconds: f64,
}

impl FitReport {
    /// Over this process's part of the run, prompts included.
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
    config.check_held_out(run.held_out)?;
    let layout = Layout::training(&config.lora, model.architecture(), config.train.factors())?;
    let start = match run.start {
        Some(adapter) => layout.flat(adapter)?,
        None => kaiming(&layout, config.seed),
    };
    check_start(&layout, &start)?;
    let id = RunId::new(config, run.source, model.architecture(), samples, run.held_out, &start);
    let (keeper, resumed) = Keeper::open(id, &layout, run.folder, run.notes)?;
    let steps = config.steps(samples.len());
    if let Some(Checkpoint { step, .. }) = resumed {
        run.progress.event(&Event::Resumed { step, steps });
    }
    let Checkpoint { step, tally, state } = resumed.unwrap_or_else(|| Checkpoint {
        step: 0,
        tally: Tally::default(),
        state: HostState::fresh(start, layout.trained),
    });
    let host = state;
    let state = TrainState::new(model, layout, &host, config.recompute)?;
    // Three copies of the adapter that nobody needs any more.
    drop(host);
    let order = Order { seed: config.seed, samples: samples.len(), per_step: config.samples_per_step() };
    let started = Instant::now();
    Fit { model, samples, config, run, keeper, state, order, tally, first: step, step, steps, started, tokens: 0 }
        .all_steps()
}

/// A gradient in A goes through B: where that is zero, A alone would never change.
fn check_start(layout: &Layout, start: &[f32]) -> Result<(), FitError> {
    let mut slots = layout.modules.iter().map(|module| &layout.slots[module.b]);
    let dead = slots.find(|slot| !layout.trains.b && start[slot.range()].iter().all(|value| *value == 0.0));
    dead.map_or(Ok(()), |slot| Err(FitError::ZeroB { name: slot.name.clone() }))
}

/// A run under way.
struct Fit<'a, 'm, B: Backend> {
    model: &'m Model<B>,
    samples: &'a [Sample],
    config: &'a FitConfig,
    run: Run<'a>,
    keeper: Keeper<'a>,
    state: TrainState<'m, B>,
    order: Order,
    tally: Tally,
    /// Steps that were done before this process.
    first: u64,
    /// Whole steps done.
    step: u64,
    steps: u64,
    started: Instant,
    tokens: usize,
}

/// What a step's forward and backward passes found.
struct Gradients {
    loss: f64,
    norm: f64,
    tokens: usize,
    labelled: usize,
    started: Instant,
}

impl<B: Backend> Fit<'_, '_, B> {
    fn all_steps(mut self) -> Result<FitReport, FitError> {
        loop {
            if self.is_evaluation_due() && !self.evaluate()? {
                return self.end(RunEnd::Cancelled);
            }
            if self.tally.watch.is_over(self.config.early_stopping) && self.step < self.steps {
                self.run.progress.event(&Event::StoppedEarly { step: self.step });
                return self.end(RunEnd::StoppedEarly);
            }
            if self.step >= self.steps {
                return self.end(RunEnd::Finished);
            }
            let Some(gradients) = self.gradients()? else { return self.end(RunEnd::Cancelled) };
            let every = self.config.checkpoint_every;
            if every > 0 && self.step.is_multiple_of(every) {
                self.save()?;
            }
            self.update(&gradients)?;
        }
    }

    /// Gradients of the step's mean loss, micro-batch by micro-batch; `None` if the run was cancelled.
    fn gradients(&mut self) -> Result<Option<Gradients>, FitError> {
        let started = Instant::now();
        let indices = self.order.step(self.step);
        let samples: Vec<&Sample> = indices.iter().map(|&index| &self.samples[index]).collect();
        let labelled: usize = samples.iter().map(|sample| sample.labelled()).sum();
        let (mut loss, mut tokens) = (0.0, 0);
        for micro_batch in micro_batches(&samples, self.config) {
            if self.run.cancel.load(Ordering::Relaxed) {
                self.state.clear()?;
                return Ok(None);
            }
            let chosen: Vec<usize> = micro_batch.iter().map(|&at| indices[at]).collect();
            loss += match self.micro_batch(&chosen, 1.0 / labelled as f64) {
                // What it has added so far goes with the step.
                Err(FitError::Model(ModelError::Stopped)) => {
                    self.state.clear()?;
                    return Ok(None);
                }
                added => added?,
            };
            tokens += chosen.iter().map(|&index| self.samples[index].ids.len()).sum::<usize>();
        }
        let norm = self.state.grad_norm()?;
        if !norm.is_finite() {
            return Err(FitError::NonFinite { step: self.step + 1, samples: indices });
        }
        Ok(Some(Gradients { loss, norm, tokens, labelled, started }))
    }

    /// Adds the gradients of a micro-batch; its part of the loss.
    fn micro_batch(&mut self, chosen: &[usize], scale: f64) -> Result<f64, FitError> {
        let rows: Vec<&Sample> = chosen.iter().map(|&index| &self.samples[index]).collect();
        let (batch, targets) = Batch::training(&rows);
        let dropped = Dropped::new(self.config.seed, self.step, chosen, batch.lengths());
        let losses = self.state.accumulate_with_dropout(&batch, &targets, scale, &dropped)?;
        let bad = losses.iter().zip(&targets).filter(|(loss, _)| !loss.is_finite());
        let mut bad: Vec<usize> = bad.map(|(_, target)| chosen[batch.sequence(target.row)]).collect();
        bad.dedup();
        match bad.is_empty() {
            true => Ok(losses.iter().sum::<f64>() * scale),
            false => Err(FitError::NonFinite { step: self.step + 1, samples: bad }),
        }
    }

    fn update(&mut self, gradients: &Gradients) -> Result<(), FitError> {
        let optimizer = &self.config.optimizer;
        let lr = optimizer.lr * self.config.schedule.factor(self.step, self.steps);
        self.step += 1;
        self.state.update(&optimizer.step(self.step, lr, clip_factor(gradients.norm, self.config.max_grad_norm)))?;
        if self.tally.alarm.step(lr) {
            let names = self.state.untouched()?;
            if !names.is_empty() {
                return Err(FitError::DeadFactors { steps: self.step, names });
            }
        }
        self.tokens += gradients.tokens;
        self.tally.loss = Some(Exact::of(gradients.loss));
        self.tally.tokens += gradients.tokens as u64;
        self.tally.labelled += gradients.labelled as u64;
        self.tell(gradients, lr)
    }

    fn tell(&mut self, gradients: &Gradients, lr: f64) -> Result<(), FitError> {
        let all = self.started.elapsed().as_secs_f64();
        let done = StepDone {
            step: self.step,
            steps: self.steps,
            loss: gradients.loss,
            lr,
            grad_norm: gradients.norm,
            tokens: gradients.tokens,
            seconds: gradients.started.elapsed().as_secs_f64(),
            tokens_per_second: self.tokens as f64 / all.max(1e-9),
            seconds_left: all / (self.step - self.first).max(1) as f64 * (self.steps - self.step) as f64,
        };
        self.keeper.record_step(&done)?;
        self.run.progress.event(&Event::Step(done));
        Ok(())
    }

    fn is_evaluation_due(&self) -> bool {
        let every = self.config.eval_every;
        let now = self.step > 0 && (self.step == self.steps || (every > 0 && self.step.is_multiple_of(every)));
        every > 0 && now && self.tally.watch.evaluated < self.step
    }

    /// Measures the held-out samples; `false` if the run was cancelled.
    fn evaluate(&mut self) -> Result<bool, FitError> {
        let started = Instant::now();
        let options = EvaluateOptions { batch_size: self.config.batch_size, stop: Vec::new(), exact_match: false };
        let adapters = self.state.adapters()?;
        let measured = evaluate(self.model, &adapters, self.run.held_out, &options, self.run.cancel);
        drop(adapters);
        let measured = match measured {
            Ok(None) | Err(EvaluateError::Model(ModelError::Stopped)) => return Ok(false),
            Ok(Some(measured)) => measured,
            Err(error) => return Err(error.into()),
        };
        let (step, loss) = (self.step, measured.loss);
        if !loss.is_finite() {
            return Err(FitError::NonFiniteHeldOut { step });
        }
        let min_delta = self.config.early_stopping.map_or(0.0, |stopping| stopping.min_delta);
        let best = self.tally.watch.take(step, loss, min_delta);
        if best && self.config.keep == Keep::Best {
            self.keeper.save_best(step, self.tally, self.state.host()?.params)?;
        }
        let evaluated = Evaluated { step, loss, best, seconds: started.elapsed().as_secs_f64() };
        self.keeper.record_evaluation(&evaluated)?;
        self.run.progress.event(&Event::Evaluated(evaluated));
        Ok(true)
    }

    fn save(&mut self) -> Result<(), FitError> {
        if self.keeper.is_saved(self.step) {
            return Ok(());
        }
        let state = self.state.host()?;
        self.keeper.save(Checkpoint { step: self.step, tally: self.tally, state })?;
        self.run.progress.event(&Event::Checkpoint { step: self.step });
        Ok(())
    }

    fn end(mut self, end: RunEnd) -> Result<FitReport, FitError> {
        let params = self.state.host()?.params;
        check_finite(self.state.layout(), &params, self.step)?;
        self.save()?;
        let best = self.tally.watch.best;
        let (kept, params) = match (self.config.keep, best) {
            (Keep::Best, Some(best)) if end != RunEnd::Cancelled => (best.step, self.keeper.best()?.unwrap_or(params)),
            _ => (self.step, params),
        };
        Ok(FitReport {
            adapter: self.state.layout().adapter(&params),
            end,
            steps: self.step,
            kept,
            loss: self.tally.loss.map(Exact::get),
            best: best.map(|best| (best.step, best.loss.get())),
            labelled: self.tally.labelled,
            tokens: self.tokens,
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }
}

fn check_finite(layout: &Layout, params: &[f32], step: u64) -> Result<(), FitError> {
    let bad = layout.slots.iter().find(|slot| params[slot.range()].iter().any(|value| !value.is_finite()));
    bad.map_or(Ok(()), |slot| Err(FitError::NonFiniteFactor { step, name: slot.name.clone() }))
}
