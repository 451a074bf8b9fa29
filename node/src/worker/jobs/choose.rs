//! Judging proposals: norms first, then losses of genesis with adapters on it, on the rows of one opened shard.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use potluck_protocol::channel::{
    self, Candidate, Choice, Losses, NormBound, Refusal, Role, Score, Scorer, Verdict, VerdictOutcome,
};
use potluck_protocol::id::ManifestId;
use potluck_protocol::recipe::Weight;
use potluck_trainer::backend::cpu::CpuBackend;
use potluck_trainer::base::Base;
use potluck_trainer::evaluate::{EvaluateOptions, evaluate};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::norm::Norms;
use potluck_trainer::model::decoder::Model;
use potluck_trainer::peft;

use super::measure::BATCH;
use super::open::{self, Purpose};
use super::rows::Rows;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{Progress, Unit};
use crate::worker::context::Context;
use crate::worker::failures;
use crate::worker::proto::choose::{ChooseTask, Chosen, Proposed, SuiteFile, Weighed};
use crate::worker::proto::{Engine, FoldSource};

/// Adapters with their weights.
type Inputs = [(ManifestId, Weight)];

pub fn choose(task: &ChooseTask, context: &Context) -> Outcome<Chosen> {
    let base = open::base(&task.genesis)?;
    context.report(Progress::Phase { text: format!("weighing {} adapters", task.proposed.len()) });
    let mut norms = Norms::new(&base);
    let (mut verdicts, mut candidates, mut weighed) = (Vec::new(), Vec::new(), Vec::new());
    for proposed in &task.proposed {
        let (norm, clipped) = weigh(&base, &mut norms, proposed, &task.norm);
        let (proposal, adapter) = (proposed.proposal, proposed.adapter.id);
        weighed.extend(norm.map(|ppm| Weighed { adapter, ppm }));
        match clipped {
            Ok(weight) => candidates.push(Candidate { proposal, adapter, weight }),
            Err(refusal) => verdicts.push(Verdict { proposal, adapter, outcome: VerdictOutcome::Refused(refusal) }),
        }
    }
    // A shard is opened for somebody who may pass, never in vain.
    let scores = match candidates.is_empty() {
        true => None,
        false => {
            let (choice, scores) = score(task, &base, &candidates, context)?;
            verdicts.extend(choice.verdicts);
            Some(scores)
        }
    };
    verdicts.sort_by_key(|verdict| verdict.proposal);
    Ok(Chosen { verdicts, scores, weighed })
}

/// The norm, and the weight that meets the bound or why there is none.
fn weigh(
    base: &Base,
    norms: &mut Norms<'_>,
    proposed: &Proposed,
    bound: &NormBound,
) -> (Option<u64>, Result<Weight, Refusal>) {
    let weight = proposed.adapter.weight;
    let read = peft::read(&proposed.adapter.folder, base.architecture()).map_err(|error| error.to_string());
    let norm = read.and_then(|adapter| norms.relative(&adapter, weight.get()).map_err(|error| error.to_string()));
    match norm {
        // What is not finite saturates.
        Ok(norm) if !norm.is_nan() => {
            let ppm = (norm * 1e6).round() as u64;
            (Some(ppm), channel::clip(weight, ppm, bound))
        }
        Ok(_) => (None, Err(Refusal::malformed("its norm is no number"))),
        Err(reason) => (None, Err(Refusal::malformed(&reason))),
    }
}

fn score(task: &ChooseTask, base: &Base, candidates: &[Candidate], context: &Context) -> Outcome<(Choice, Vec<Score>)> {
    let suites = task.suites.iter().map(|suite| Suite::read(suite, base)).collect::<Outcome<Vec<_>>>()?;
    let backend = open::cpu(Engine::default(), Purpose::Run)?;
    let model = open::load(backend, base, open::residency_to_generate(base))?;
    let folder = |source: &FoldSource| (source.id, source.folder.clone());
    let proposed = task.proposed.iter().map(|proposed| folder(&proposed.adapter));
    let mut scorer = OnRows {
        base,
        model,
        suites,
        folders: task.held.iter().map(folder).chain(proposed).collect(),
        read: BTreeMap::new(),
        seen: BTreeMap::new(),
        context,
        most: channel::scores_max(candidates.len() as u64),
    };
    let held: Vec<_> = task.held.iter().map(|source| (source.id, source.weight)).collect();
    scorer.check(&held)?;
    let choice = channel::choose(&held, candidates, &task.gate, &mut scorer)?;
    let mut after = held.clone();
    after.extend(choice.verdicts.iter().filter_map(|verdict| match verdict.outcome {
        VerdictOutcome::Taken { weight, .. } => Some((verdict.adapter, weight)),
        VerdictOutcome::Refused(_) => None,
    }));
    let [genesis, before, after] = [&[][..], &held, &after].map(|inputs| scorer.measure(inputs));
    let (genesis, before, after) = (genesis?, before?, after?);
    let scores = genesis.iter().zip(&before).zip(&after).map(|((genesis, before), after)| Score {
        genesis_micro: to_micro(*genesis),
        before_micro: to_micro(*before),
        after_micro: to_micro(*after),
    });
    Ok((choice, scores.collect()))
}

fn to_micro(loss: f64) -> u64 {
    (loss * 1e6).round() as u64
}

/// A suite's rows, tokenised once.
struct Suite {
    role: Role,
    rows: Rows,
}

impl Suite {
    fn read(suite: &SuiteFile, base: &Base) -> Outcome<Self> {
        Ok(Self { role: suite.role, rows: Rows::read_whole(&suite.rows, base)? })
    }
}

/// Losses on the rows, each set of inputs measured once.
struct OnRows<'a> {
    base: &'a Base,
    model: Model<CpuBackend>,
    suites: Vec<Suite>,
    folders: BTreeMap<ManifestId, PathBuf>,
    /// Those of the last inputs: all of them together may be larger than memory.
    read: BTreeMap<ManifestId, Adapter>,
    /// By inputs, a loss for each suite.
    seen: BTreeMap<Vec<(ManifestId, Weight)>, Vec<f64>>,
    context: &'a Context,
    most: u64,
}

impl OnRows<'_> {
    /// Without a loss of what is in force there is nothing to compare with.
    fn check(&mut self, held: &Inputs) -> Outcome<()> {
        for inputs in [&[][..], held] {
            if self.measure(inputs)?.iter().any(|loss| !loss.is_finite()) {
                return Err(Failure::new(
                    Kind::Verification,
                    format!("the loss of genesis with {} adapters is no number on these rows", inputs.len()),
                )
                .hint("look for the rows with `potluck eval`; a channel with other rows is opened with `potluck channel open`"));
            }
        }
        Ok(())
    }

    /// The loss of each suite. In the order of ids, so that one set of inputs has one result.
    fn measure(&mut self, inputs: &Inputs) -> Outcome<Vec<f64>> {
        let mut inputs = inputs.to_vec();
        inputs.sort();
        if let Some(known) = self.seen.get(&inputs) {
            return Ok(known.clone());
        }
        self.load(&inputs)?;
        let adapters: Vec<_> = inputs.iter().filter_map(|(id, weight)| Some((self.read.get(id)?, *weight))).collect();
        let weighted: Vec<_> = adapters.iter().map(|(adapter, weight)| (*adapter, weight.get() as f32)).collect();
        let attached = open::attach_borrowed(&self.model, &weighted)?;
        let mut losses = Vec::with_capacity(self.suites.len());
        for suite in &self.suites {
            let options = EvaluateOptions { batch_size: BATCH, stop: Vec::new(), exact_match: false };
            let measured = evaluate(&self.model, &attached, &suite.rows.samples, &options, self.context.cancel())
                .map_err(|error| failures::evaluate(suite.rows.places(), &error))?;
            losses.push(measured.ok_or_else(Failure::interrupted)?.loss);
        }
        self.seen.insert(inputs, losses.clone());
        let done = self.seen.len() as u64;
        let count = Progress::Count { what: "scored".to_owned(), done, total: self.most.max(done), unit: Unit::Items };
        self.context.report(count);
        Ok(losses)
    }

    fn load(&mut self, inputs: &Inputs) -> Outcome<()> {
        self.read.retain(|id, _| inputs.iter().any(|(input, _)| input == id));
        for (id, _) in inputs {
            if !self.read.contains_key(id) {
                let folder = self.folders.get(id).map_or(Path::new(""), PathBuf::as_path);
                let adapter = peft::read(folder, self.base.architecture());
                self.read.insert(*id, adapter.map_err(|error| failures::peft(folder, &error))?);
            }
        }
        Ok(())
    }

    fn mean(&self, losses: &[f64], role: Role) -> Option<f64> {
        let own: Vec<f64> =
            self.suites.iter().zip(losses).filter(|(suite, _)| suite.role == role).map(|(_, loss)| *loss).collect();
        (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64)
    }
}

impl Scorer for OnRows<'_> {
    type Error = Failure;

    fn score(&mut self, inputs: &Inputs) -> Outcome<Losses> {
        let losses = self.measure(inputs)?;
        let improve = self.mean(&losses, Role::Improve).unwrap_or(f64::NAN);
        Ok(Losses { improve, keep: self.mean(&losses, Role::Keep) })
    }
}
