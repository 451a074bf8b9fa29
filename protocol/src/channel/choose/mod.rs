//! Which proposals a release takes: greedily, as in greedy model soups (Wortsman et al. 2022), while the held-out loss
//! falls.
//!
//! 1. Each candidate is scored alone beside what is in force, at its weight and, unless that is no gain at all, at parts
//!    of it ([`PARTS`]). One that gains less than the gate asks, or hurts what is to be kept at every part, is refused.
//! 2. In the order of their best loss alone, each is tried so beside those that were taken before, and kept at the best of
//!    these if the loss falls by what the gate asks and what is to be kept is kept.
//!
//! At most two scores, and eight for each candidate.

use super::spec::{Gate, NormBound};
use super::verdict::{Outcome, Refusal, Verdict};
use crate::id::ManifestId;
use crate::recipe::Weight;

/// What of a weight is tried beside the whole, in quarters: adapters that were trained apart overlap, and some hurt what is
/// to be kept less than they help.
const PARTS: [i32; 3] = [3, 2, 1];

/// A proposal that passed every check that needs no score. Its weight is clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub proposal: ManifestId,
    pub adapter: ManifestId,
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
    type Error;

    fn score(&mut self, inputs: &[(ManifestId, Weight)]) -> Result<Losses, Self::Error>;
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// One for each candidate, sorted by proposal.
    pub verdicts: Vec<Verdict>,
    pub genesis: Losses,
    pub before: Losses,
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

/// Chooses among `candidates` (each adapter once), beside what is `held` already.
pub fn choose<S: Scorer>(
    held: &[(ManifestId, Weight)],
    candidates: &[Candidate],
    gate: &Gate,
    scorer: &mut S,
) -> Result<Choice, S::Error> {
    let genesis = scorer.score(&[])?;
    let before = if held.is_empty() { genesis } else { scorer.score(held)? };
    let bar = Bar { gate, genesis };
    let (mut alone, mut verdicts) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let trial = bar.trial(held, before, candidate, scorer)?;
        let alone_micro = moved(before, trial.whole);
        match (trial.best, trial.fall) {
            (Some((losses, _)), _) => alone.push((losses.improve, alone_micro, candidate)),
            (None, Some(Fall::Rise(rise_ppm))) => verdicts.push(refused(candidate, Refusal::Guard { rise_ppm })),
            (None, _) => verdicts.push(refused(candidate, Refusal::NoGain { alone_micro })),
        }
    }
    alone.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.proposal.cmp(&b.2.proposal)));
    let (mut inputs, mut now) = (held.to_vec(), before);
    for (_, alone_micro, candidate) in alone {
        let trial = bar.trial(&inputs, now, candidate, scorer)?;
        verdicts.push(match (trial.best, trial.fall) {
            (Some((losses, weight)), _) => {
                (inputs, now) = (with(&inputs, candidate.adapter, weight), losses);
                let outcome = Outcome::Taken { weight, alone_micro };
                Verdict { proposal: candidate.proposal, adapter: candidate.adapter, outcome }
            }
            (None, Some(Fall::Rise(rise_ppm))) => refused(candidate, Refusal::Guard { rise_ppm }),
            (None, _) => refused(candidate, Refusal::NothingAdded { alone_micro }),
        });
    }
    verdicts.sort_by_key(|verdict| verdict.proposal);
    Ok(Choice { verdicts, genesis, before, after: now })
}

/// What is asked of a candidate.
struct Bar<'a> {
    gate: &'a Gate,
    genesis: Losses,
}

enum Fall {
    /// Too little.
    Short,
    /// The perplexity of what is to be kept rises by so many parts per million.
    Rise(u32),
}

/// What a candidate does beside others.
struct Trial {
    /// At its whole weight.
    whole: Losses,
    /// The part of its weight that passes with the lowest loss.
    best: Option<(Losses, Weight)>,
    /// Why the whole weight does not pass, if it does not.
    fall: Option<Fall>,
}

impl Bar<'_> {
    /// The whole weight first. One that does not help at all is not tried at parts of it.
    fn trial<S: Scorer>(
        &self,
        inputs: &[(ManifestId, Weight)],
        before: Losses,
        candidate: &Candidate,
        scorer: &mut S,
    ) -> Result<Trial, S::Error> {
        let whole = scorer.score(&with(inputs, candidate.adapter, candidate.weight))?;
        let fall = self.refuses(before, whole);
        let mut best = fall.is_none().then_some((whole, candidate.weight));
        let parts = if matches!(fall, Some(Fall::Short)) { &[][..] } else { &PARTS[..] };
        for part in parts {
            let weight = Weight((i64::from(candidate.weight.0) * i64::from(*part) / 4) as i32);
            if weight.0 == 0 {
                continue;
            }
            let losses = scorer.score(&with(inputs, candidate.adapter, weight))?;
            let lower = best.is_none_or(|(so_far, _)| losses.improve < so_far.improve);
            if lower && self.refuses(before, losses).is_none() {
                best = Some((losses, weight));
            }
        }
        Ok(Trial { whole, best, fall })
    }

    /// A loss that is no number passes nothing.
    fn refuses(&self, before: Losses, after: Losses) -> Option<Fall> {
        let wanted = before.improve * (1.0 - f64::from(self.gate.gain_ppm) / 1e6);
        let gains = after.improve < before.improve && after.improve <= wanted;
        if !gains {
            return Some(Fall::Short);
        }
        // Of perplexity: a share of the loss itself would ask the more, the better the base is.
        let rise = (after.keep? - self.genesis.keep?).exp() - 1.0;
        let kept = rise <= f64::from(self.gate.guard_ppm) / 1e6;
        (!kept).then_some(Fall::Rise((rise * 1e6) as u32))
    }
}

fn moved(before: Losses, after: Losses) -> i64 {
    ((after.improve - before.improve) * 1e6).round() as i64
}

fn with(inputs: &[(ManifestId, Weight)], adapter: ManifestId, weight: Weight) -> Vec<(ManifestId, Weight)> {
    inputs.iter().copied().chain([(adapter, weight)]).collect()
}

fn refused(candidate: &Candidate, refusal: Refusal) -> Verdict {
    let outcome = Outcome::Refused(refusal);
    Verdict { proposal: candidate.proposal, adapter: candidate.adapter, outcome }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
