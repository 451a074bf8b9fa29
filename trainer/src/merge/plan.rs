//! A merge, module by module: what it will make is known before the first value is read, and each module is handed out
//! as soon as it is there.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use std::collections::BTreeSet;
use std::io;

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::RANK_MAX;
use rayon::prelude::*;

use super::MergeError;
use super::dare::Dare;
use super::delta::Delta;
use super::input::{Input, parts, stacked_rank};
use super::limits::{DENSE, SCRATCH, STACKED_RANK_MAX};
use super::method::{Density, Method};
use super::refit::refit;
use super::stack::{Merged, stack};
use super::ties::Ties;
use super::truncate::{Rows, Truncated, truncate};
use crate::lora::factors::PairShape;
use crate::peft::FactorsWriter;
use crate::random::splitmix64;

/// Takes the modules of a result, in any order and from any thread.
pub trait ModuleSink: Sync {
    /// A is `[rank, inner]`, B `[out, rank]`, both row-major, the scale in B.
    fn module(&self, module: &str, a: &[f32], b: &[f32]) -> io::Result<()>;
}

impl ModuleSink for FactorsWriter {
    fn module(&self, module: &str, a: &[f32], b: &[f32]) -> io::Result<()> {
        Self::module(self, module, a, b)
    }
}

/// Checked inputs and a method.
pub struct MergePlan<'a> {
    inputs: Vec<Input<'a>>,
    method: Method,
    /// Sorted, each with its `(out, inner)`.
    modules: Vec<(String, (usize, usize))>,
    rank: usize,
}

/// What a method kept of what it could not keep whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Share of the energy (the sum of squares of the dense update) that the rank keeps, over all modules; 1 of an exact
    /// sum.
    pub kept_energy: f64,
    /// The module that lost most, and the share that it keeps.
    pub least_kept: Option<(String, f64)>,
}

/// A module's energy before and after.
#[derive(Clone, Copy, Debug, Default)]
struct Energy {
    total: f64,
    kept: f64,
}

impl<'a> MergePlan<'a> {
    /// Every module that an adapter has fits the base. // I6
    pub fn new(inputs: &[Input<'a>], architecture: &Architecture, method: Method) -> Result<Self, MergeError> {
        method.check()?;
        let mut names = BTreeSet::new();
        for (index, input) in (1..).zip(inputs) {
            if let Some(module) = input.factors.misfit(architecture) {
                return Err(MergeError::Module { index, module: module.to_owned() });
            }
            names.extend(input.factors.modules());
        }
        let shape = |name: &str| {
            let (out, inner) = architecture.module_shape(name).unwrap_or_default();
            (name.to_owned(), (out as usize, inner as usize))
        };
        let modules: Vec<_> = names.into_iter().map(shape).collect();
        let stacked = modules.iter().map(|(name, _)| stacked_rank(inputs, name)).max().ok_or(MergeError::Nothing)?;
        let (rank, method) = settle(method, inputs, stacked)?;
        Ok(Self { inputs: inputs.to_vec(), method, modules, rank })
    }

    /// Of the result; `lora_alpha` is the same.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Of the result, sorted.
    pub fn modules(&self) -> &[(String, (usize, usize))] {
        &self.modules
    }

    /// Merges. Threads share modules out, as many at a time as `SCRATCH` allows: their number changes no bit.
    pub fn run(
        &self,
        sink: &dyn ModuleSink,
        stop: &AtomicBool,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Report, MergeError> {
        let energies = Mutex::new(vec![Energy::default(); self.modules.len()]);
        let (next, count, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let work = |_| {
            while let Some((name, shape)) = self.modules.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
                    return Err(MergeError::Stopped);
                }
                let energy = self.module(name, *shape, sink).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                if let Ok(at) = self.modules.binary_search_by(|(other, _)| other.cmp(name)) {
                    energies.lock().unwrap_or_else(PoisonError::into_inner)[at] = energy;
                }
                done(count.fetch_add(1, Ordering::Relaxed) + 1);
            }
            Ok(())
        };
        let outcomes: Vec<_> = (0..self.workers()).into_par_iter().with_max_len(1).map(work).collect();
        // The others stop because of the one that failed: its reason is the one to tell.
        let (told, stopped): (Vec<_>, Vec<_>) =
            outcomes.into_iter().filter_map(Result::err).partition(|error| !matches!(error, MergeError::Stopped));
        match told.into_iter().chain(stopped).next() {
            Some(error) => Err(error),
            None => Ok(self.report(&energies.into_inner().unwrap_or_else(PoisonError::into_inner))),
        }
    }

    /// Modules at a time.
    fn workers(&self) -> usize {
        let most = self.modules.iter().map(|(name, shape)| self.scratch(name, *shape)).max().unwrap_or(0);
        (SCRATCH / most.max(1)).clamp(1, rayon::current_num_threads().max(1))
    }

    /// Bytes that merging a module takes at most, roughly.
    fn scratch(&self, name: &str, (out, inner): (usize, usize)) -> usize {
        let stacked = stacked_rank(&self.inputs, name);
        let (narrow, wide) = (4 * stacked * (out + inner), 8 * stacked * (out + inner));
        let result = 4 * self.rank * (out + inner);
        let dense = 8 * (out * inner).min(DENSE);
        match self.method {
            Method::Sum => narrow + result,
            Method::Refit { .. } => narrow + wide + 3 * result,
            Method::Ties { .. } => wide + 4 * result + dense,
            Method::Dare { .. } => wide + 4 * result + dense + self.inputs.len() * out * inner / 8,
        }
    }

    fn module(&self, name: &str, shape: (usize, usize), sink: &dyn ModuleSink) -> Result<Energy, MergeError> {
        let parts = parts(&self.inputs, name)?;
        let unsettled = || MergeError::Decomposition { module: name.to_owned() };
        let truncated = match self.method {
            Method::Sum => Truncated { merged: stack(&parts, shape, self.rank), total: 0.0, kept: 0.0 },
            Method::Refit { .. } => refit(&parts, shape, self.rank).ok_or_else(unsettled)?,
            Method::Ties { density, lambda, seed, .. } => {
                let deltas = parts.iter().map(Delta::new).collect();
                drop(parts);
                let mut ties = Ties::new(deltas, Density::new(density)?, lambda);
                self.dense(name, &mut ties, seed)?
            }
            Method::Dare { density, seed, .. } => {
                let mut dare = Dare::new(&parts, name, Density::new(density)?, seed);
                drop(parts);
                self.dense(name, &mut dare, seed)?
            }
        };
        let Truncated { merged: Merged { a, b }, total, kept } = truncated;
        if a.iter().chain(&b).any(|value| !value.is_finite()) {
            return Err(MergeError::NotFinite { module: name.to_owned() });
        }
        sink.module(name, &a, &b)?;
        Ok(Energy { total, kept })
    }

    /// Of a dense result: every module starts its range finder elsewhere.
    fn dense(&self, name: &str, rows: &mut dyn Rows, seed: u64) -> Result<Truncated, MergeError> {
        let place = name.bytes().fold(seed, |key, byte| splitmix64(key ^ u64::from(byte)));
        let truncated = truncate(rows, self.rank, place);
        truncated.ok_or_else(|| MergeError::Decomposition { module: name.to_owned() })
    }

    fn report(&self, energies: &[Energy]) -> Report {
        let total: f64 = energies.iter().map(|energy| energy.total).sum();
        let kept: f64 = energies.iter().map(|energy| energy.kept).sum();
        let share = |energy: &Energy| if energy.total > 0.0 { energy.kept / energy.total } else { 1.0 };
        let shares = self.modules.iter().zip(energies).map(|((name, _), energy)| (name, share(energy)));
        let least = shares.min_by(|one, other| one.1.total_cmp(&other.1));
        Report {
            kept_energy: share(&Energy { total, kept }),
            least_kept: least.filter(|(_, share)| *share < 1.0).map(|(name, share)| (name.clone(), share)),
        }
    }
}

/// The result's rank. Where the exact sum fits the rank that was asked for, it is the answer.
fn settle(method: Method, inputs: &[Input], stacked: usize) -> Result<(usize, Method), MergeError> {
    if stacked > STACKED_RANK_MAX {
        return Err(MergeError::Stacked { rank: stacked });
    }
    let shapes = |input: &Input| -> Vec<PairShape> {
        input.factors.modules().into_iter().filter_map(|module| input.factors.shape(module)).collect()
    };
    let largest = || inputs.iter().flat_map(shapes).map(|shape| shape.rank).max().unwrap_or(1);
    match method {
        Method::Sum if stacked > RANK_MAX as usize => Err(MergeError::Rank { rank: stacked }),
        Method::Sum => Ok((stacked, Method::Sum)),
        Method::Refit { rank } => {
            let rank = rank.unwrap_or_else(largest);
            Ok(if rank >= stacked { (stacked, Method::Sum) } else { (rank, method) })
        }
        Method::Ties { rank, .. } | Method::Dare { rank, .. } => Ok((rank.unwrap_or_else(largest), method)),
    }
}
