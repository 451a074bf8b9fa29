//! What a run leaves on disk while it runs, in an order in which a kill at any moment loses nothing but steps since the
//! last checkpoint: the best state and the lines of the metrics first, then the checkpoint that counts them.
//!
//! A kill in between leaves a best state that is later than the checkpoint. The run that goes on comes to the same
//! evaluation again, with the same bits, and writes the same file.

use super::FitError;
use super::folder::RunFolder;
use super::identity::RunId;
use super::metrics::Metrics;
use super::state::HostState;
use crate::fit::checkpoint::{self, Checkpoint, CheckpointError, Sizes, Tally};
use crate::fit::progress::{Evaluated, StepDone};
use crate::lora::layout::Layout;

/// A run's folder as the loop sees it. Without a folder it keeps the best state in memory, and nothing else.
pub struct Keeper<'a> {
    id: RunId,
    folder: Option<&'a RunFolder>,
    metrics: Option<Metrics>,
    /// Steps of the checkpoint on disk.
    saved: Option<u64>,
    best: Option<Vec<f32>>,
    sizes: Sizes,
}

impl<'a> Keeper<'a> {
    /// The state to go on from, if there is one of this very run; a state of another run is refused before anything is
    /// written.
    pub fn open(
        id: RunId,
        layout: &Layout,
        folder: Option<&'a RunFolder>,
        notes: &[(&str, Vec<u8>)],
    ) -> Result<(Self, Option<Checkpoint>), FitError> {
        let sizes = Sizes { params: layout.len, moments: layout.trained };
        let mut keeper = Self { id, folder, metrics: None, saved: None, best: None, sizes };
        let Some(folder) = folder else { return Ok((keeper, None)) };
        let resumed = checkpoint::load(&folder.last(), &keeper.id, sizes)?;
        let (step, watch) = resumed.as_ref().map_or_else(Default::default, |last| (last.step, last.tally.watch));
        keeper.saved = resumed.as_ref().map(|last| last.step);
        for (name, bytes) in notes {
            folder.note(name, bytes)?;
        }
        keeper.metrics = Some(Metrics::open(&folder.metrics(), step, watch.evaluated).map_err(FitError::Metrics)?);
        Ok((keeper, resumed))
    }

    pub fn record_step(&mut self, done: &StepDone) -> Result<(), FitError> {
        self.metrics.as_mut().map_or(Ok(()), |metrics| metrics.append_step(done)).map_err(FitError::Metrics)
    }

    pub fn record_evaluation(&mut self, evaluated: &Evaluated) -> Result<(), FitError> {
        self.metrics.as_mut().map_or(Ok(()), |metrics| metrics.append_evaluation(evaluated)).map_err(FitError::Metrics)
    }

    /// Whether there is nothing to write: the state is on disk already, or there is no place for it.
    pub fn is_saved(&self, step: u64) -> bool {
        self.folder.is_none() || self.saved.unwrap_or(0) == step
    }

    pub fn save(&mut self, checkpoint: Checkpoint) -> Result<(), FitError> {
        let Some(folder) = self.folder else { return Ok(()) };
        self.metrics.as_ref().map_or(Ok(()), Metrics::sync).map_err(FitError::Metrics)?;
        checkpoint::save(&folder.last(), &self.id, &checkpoint)?;
        self.saved = Some(checkpoint.step);
        Ok(())
    }

    /// Keeps the factors with the lowest held-out loss so far; there are no moments with them.
    pub fn save_best(&mut self, step: u64, tally: Tally, params: Vec<f32>) -> Result<(), FitError> {
        let Some(folder) = self.folder else {
            self.best = Some(params);
            return Ok(());
        };
        let state = HostState::fresh(params, 0);
        Ok(checkpoint::save(&folder.best(), &self.id, &Checkpoint { step, tally, state })?)
    }

    /// The best factors; `None` if none were kept.
    pub fn best(&mut self) -> Result<Option<Vec<f32>>, FitError> {
        let Some(folder) = self.folder else { return Ok(self.best.take()) };
        let sizes = Sizes { moments: 0, ..self.sizes };
        let missing = || CheckpointError::Damaged { path: folder.best(), fault: "it is missing" };
        let best = checkpoint::load(&folder.best(), &self.id, sizes)?.ok_or_else(missing)?;
        Ok(Some(best.state.params))
    }
}
