//! Which proposals a release takes, and how much of each: searched while the held-out loss falls.
//!
//! 1. **Alone**: each candidate is scored beside what is in force, at its weight and, unless that is no gain at all, at
//!    parts of it. One that gains less than the gate asks, or hurts what is to be kept at every part, is refused.
//! 2. **In turn**, in the order of their best loss alone: each is tried so beside those that were taken before, and
//!    kept at the best part if the loss falls by what the gate asks and what is to be kept is kept (greedy model
//!    soups, Wortsman et al. 2022).
//! 3. **Together**: those that were taken, and those that only the guard kept out, all at one share of their weights
//!    (task arithmetic's one coefficient, Ilharco et al. 2023). The first that came may have used up what the guard
//!    allows; four skills in part can be worth more than two in full. The better of 2 and 3 goes on.
//! 4. **Weighed anew**: each in its turn gets a larger or smaller part while that lowers the loss.
//!
//! At most nine scores, and twelve for each candidate ([`scores_max`]).

mod search;

use super::spec::{Gate, NormBound};
use super::verdict::{Refusal, Verdict, VerdictOutcome};
use crate::id::ManifestId;
use crate::recipe::Weight;

pub use search::scores_max;
use search::{Failure, Mix, Search, Trial};

/// A proposal that passed every check that needs no score. Its weight is clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The proposal, by which verdicts are sorted.
    pub proposal: ManifestId,
    /// What it offers.
    pub adapter: ManifestId,
    /// The most that may be taken of it.
    pub weight: Weight,
}

/// Mean losses per labelled token, in nats; each a mean over suites.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// Of the suites that are to improve.
    pub improve: f64,
    /// Of those that are to be kept; `None` if the shard has none.
    pub keep: Option<f64>,
}

/// Measures genesis with these adapters on it.
pub trait Scorer {
    /// Why there may be no score.
    type Error;

    /// The losses of genesis with these weighted adapters folded in; none at all is genesis itself.
    fn score(&mut self, inputs: &[(ManifestId, Weight)]) -> Result<Losses, Self::Error>;
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// One for each candidate, sorted by proposal.
    pub verdicts: Vec<Verdict>,
    /// Losses of genesis.
    pub genesis: Losses,
    /// Losses with what was in force already.
    pub before: Losses,
    /// Losses with what was chosen.
    pub after: Losses,
}

/// The weight under which an update of `norm_ppm` (at `weight`) meets the bound; the refusal if it is beyond clipping.
pub fn clip(weight: Weight, norm_ppm: u64, bound: &NormBound) -> Result<Weight, Refusal> {
    if norm_ppm > bound.refuse_ppm {
        return Err(Refusal::Norm { ppm: norm_ppm });
    }
    if norm_ppm <= bound.clip_ppm {
        return Ok(weight);
    }
    let clipped = i128::from(weight.0) * i128::from(bound.clip_ppm) / i128::from(norm_ppm);
    // Smaller than what came in, so it fits.
    match Weight(clipped as i32) {
        Weight(0) => Err(Refusal::Norm { ppm: norm_ppm }),
        weight => Ok(weight),
    }
}

/// Chooses among `candidates` (each adapter once), beside what is `held` already. The numbers are those of the steps above.
pub fn choose<S: Scorer>(
    held: &[(ManifestId, Weight)],
    candidates: &[Candidate],
    gate: &Gate,
    scorer: &mut S,
) -> Result<Choice, S::Error> {
    let genesis = scorer.score(&[])?;
    let before = if held.is_empty() { genesis } else { scorer.score(held)? };
    let mut search = Search { held, gate, genesis, scorer };
    let nothing = Mix { parts: Vec::new(), losses: before };
    let mut verdicts = Vec::new();

    let passed = try_alone(&mut search, &nothing, candidates, &mut verdicts)?; // 1
    let (mut mix, mut kept_out) = try_in_turn(&mut search, nothing, &passed, &mut verdicts)?; // 2
    let taken = mix.parts.iter().map(|part| part.candidate);
    let all: Vec<_> = taken.chain(kept_out.iter().map(|(candidate, _)| *candidate)).collect();
    if all.len() > 1
        && let Some(together) = search.try_together(&all)? // 3
        && together.losses.improve < mix.losses.improve
    {
        mix = together;
        kept_out.clear();
    }
    let mix = search.reweigh(mix)?; // 4

    verdicts.extend(kept_out.into_iter().map(|(candidate, rise_ppm)| refuse(candidate, Refusal::Guard { rise_ppm })));
    verdicts.extend(passed.iter().filter_map(|one| take(one, &mix)));
    verdicts.sort_by_key(|verdict| verdict.proposal);
    Ok(Choice { verdicts, genesis, before, after: mix.losses })
}

/// A candidate that helps enough and hurts nothing, alone and perhaps in part.
struct Passed<'a> {
    candidate: &'a Candidate,
    /// The change of the mean loss at the whole weight, in millionths of a nat.
    alone_micro: i64,
    /// The loss at the best part.
    improve: f64,
}

/// Step 1: those that pass, best first; the others get their verdicts.
fn try_alone<'a, S: Scorer>(
    search: &mut Search<'_, S>,
    nothing: &Mix<'a>,
    candidates: &'a [Candidate],
    verdicts: &mut Vec<Verdict>,
) -> Result<Vec<Passed<'a>>, S::Error> {
    let mut passed = Vec::new();
    for candidate in candidates {
        let trial = search.try_candidate(nothing, candidate)?;
        let alone_micro = change_micro(nothing.losses, trial.whole);
        match trial {
            Trial { best: Some(mix), .. } => {
                passed.push(Passed { candidate, alone_micro, improve: mix.losses.improve });
            }
            Trial { failure: Some(Failure::Rise(rise_ppm)), .. } => {
                verdicts.push(refuse(candidate, Refusal::Guard { rise_ppm }));
            }
            _ => verdicts.push(refuse(candidate, Refusal::NoGain { alone_micro })),
        }
    }
    passed.sort_by(|a, b| a.improve.total_cmp(&b.improve).then(a.candidate.proposal.cmp(&b.candidate.proposal)));
    Ok(passed)
}

/// The mix that a step ends with, and whom the guard alone kept out of it, with the rise in parts per million.
type InTurn<'a> = (Mix<'a>, Vec<(&'a Candidate, u32)>);

/// Step 2. Those that add nothing get their verdicts.
fn try_in_turn<'a, S: Scorer>(
    search: &mut Search<'_, S>,
    nothing: Mix<'a>,
    passed: &[Passed<'a>],
    verdicts: &mut Vec<Verdict>,
) -> Result<InTurn<'a>, S::Error> {
    let (mut mix, mut kept_out) = (nothing, Vec::new());
    for &Passed { candidate, alone_micro, .. } in passed {
        match search.try_candidate(&mix, candidate)? {
            Trial { best: Some(with), .. } => mix = with,
            Trial { failure: Some(Failure::Rise(rise_ppm)), .. } => kept_out.push((candidate, rise_ppm)),
            _ => verdicts.push(refuse(candidate, Refusal::NothingAdded { alone_micro })),
        }
    }
    Ok((mix, kept_out))
}

/// The verdict of a candidate that is in the mix.
fn take(passed: &Passed, mix: &Mix) -> Option<Verdict> {
    let Candidate { proposal, adapter, .. } = *passed.candidate;
    let part = mix.parts.iter().find(|part| part.candidate.proposal == proposal)?;
    let outcome = VerdictOutcome::Taken { weight: part.weight(), alone_micro: passed.alone_micro };
    Some(Verdict { proposal, adapter, outcome })
}

fn change_micro(before: Losses, after: Losses) -> i64 {
    ((after.improve - before.improve) * 1e6).round() as i64
}

fn refuse(candidate: &Candidate, refusal: Refusal) -> Verdict {
    let outcome = VerdictOutcome::Refused(refusal);
    Verdict { proposal: candidate.proposal, adapter: candidate.adapter, outcome }
}

#[cfg(test)]
mod tests;
