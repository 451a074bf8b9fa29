//! What is tried: one candidate beside others, all at one share, and other shares of those that are in.

use super::{Candidate, Losses, Scorer};
use crate::channel::spec::Gate;
use crate::id::ManifestId;
use crate::recipe::Weight;

/// A weight is tried in so many parts of what was proposed: finer ones differ by less than an opened shard can tell.
const WHOLE: i64 = 32;

/// What is tried of one candidate beside the whole: adapters that were trained apart overlap, and some hurt what is
/// to be kept less than they help.
const PARTS: [i64; 3] = [24, 16, 8];

/// By how much a share is changed when it is weighed anew; the first that lowers the loss is taken.
const STEPS: [i64; 4] = [8, 4, 2, -4];

/// Of one share for all: these, and between the best and the next the halves down to a single part.
const SHARES: [i64; 4] = [8, 16, 24, WHOLE];
const HALVES: [i64; 3] = [4, 2, 1];

/// Scores that a choice among so many candidates takes at most.
pub const fn scores_max(candidates: u64) -> u64 {
    let trial = 1 + PARTS.len() as u64;
    2 + (SHARES.len() + HALVES.len()) as u64 + (2 * trial + STEPS.len() as u64) * candidates
}

/// A candidate, and how many parts of its weight are in.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Whose weight it is a part of.
    pub candidate: &'a Candidate,
    share: i64,
}

impl Part<'_> {
    /// The part of the weight, rounded towards zero.
    pub fn weight(&self) -> Weight {
        // Smaller than what was proposed, so it fits.
        Weight((i64::from(self.candidate.weight.0) * self.share / WHOLE) as i32)
    }
}

/// What could be released beside what is held, and the losses with it.
#[derive(Clone, Debug)]
pub struct Mix<'a> {
    /// Each candidate at most once.
    pub parts: Vec<Part<'a>>,
    /// With all parts beside what is held.
    pub losses: Losses,
}

/// Why a candidate does not pass at its whole weight.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The loss falls too little.
    NoGain,
    /// The perplexity of what is to be kept rises by so many parts per million.
    Rise(u32),
}

/// What a candidate does beside others.
pub struct Trial<'a> {
    /// At its whole weight.
    pub whole: Losses,
    /// With the part of its weight that passes at the lowest loss.
    pub best: Option<Mix<'a>>,
    /// Why it does not pass whole, if it does not.
    pub failure: Option<Failure>,
}

/// Scores by the rules of a channel.
pub struct Search<'a, S> {
    /// What is in force, and stays.
    pub held: &'a [(ManifestId, Weight)],
    /// What a candidate must do to the losses.
    pub gate: &'a Gate,
    /// Losses of genesis, against which the guard is held.
    pub genesis: Losses,
    /// Measures losses.
    pub scorer: &'a mut S,
}

impl<S: Scorer> Search<'_, S> {
    /// A candidate beside a mix: its whole weight first. One that does not help at all is not tried at parts of it.
    pub fn try_candidate<'a>(&mut self, mix: &Mix<'a>, candidate: &'a Candidate) -> Result<Trial<'a>, S::Error> {
        let beside = |share| with(&mix.parts, Part { candidate, share });
        let whole = self.mix(beside(WHOLE))?;
        let failure = self.failure(mix.losses, whole.losses);
        let (whole, mut best) = (whole.losses, failure.is_none().then_some(whole));
        let parts = if matches!(failure, Some(Failure::NoGain)) { &[][..] } else { &PARTS[..] };
        for &share in parts {
            if (Part { candidate, share }).weight().0 == 0 {
                continue;
            }
            let tried = self.mix(beside(share))?;
            let lower = best.as_ref().is_none_or(|best| tried.losses.improve < best.losses.improve);
            if lower && self.failure(mix.losses, tried.losses).is_none() {
                best = Some(tried);
            }
        }
        Ok(Trial { whole, best, failure })
    }

    /// All of them at one share of their weights, beside what is held: the best share that keeps what is to be kept.
    pub fn try_together<'a>(&mut self, candidates: &[&'a Candidate]) -> Result<Option<Mix<'a>>, S::Error> {
        let mut best = None;
        for share in SHARES {
            self.try_share(share, candidates, &mut best)?;
        }
        for half in HALVES {
            let Some((share, _)) = best else { break };
            if share < WHOLE {
                self.try_share(share + half, candidates, &mut best)?;
            }
        }
        Ok(best.map(|(_, mix)| mix))
    }

    /// All at one share: the best so far if it is better.
    fn try_share<'a>(
        &mut self,
        share: i64,
        candidates: &[&'a Candidate],
        best: &mut Option<(i64, Mix<'a>)>,
    ) -> Result<(), S::Error> {
        let parts: Vec<Part> = candidates.iter().map(|candidate| Part { candidate, share }).collect();
        if parts.iter().any(|part| part.weight().0 == 0) {
            return Ok(());
        }
        let tried = self.mix(parts)?;
        let lower = best.as_ref().is_none_or(|(_, best)| tried.losses.improve < best.losses.improve);
        if lower && self.keeps(tried.losses) {
            *best = Some((share, tried));
        }
        Ok(())
    }

    /// Each share is changed once if that lowers the loss.
    pub fn reweigh<'a>(&mut self, mut mix: Mix<'a>) -> Result<Mix<'a>, S::Error> {
        for index in 0..mix.parts.len() {
            let now = mix.parts[index];
            let mut tried = now.share;
            for step in STEPS {
                let share = (now.share + step).clamp(1, WHOLE);
                if share == tried || share == now.share || (Part { share, ..now }).weight().0 == 0 {
                    continue;
                }
                tried = share;
                let mut parts = mix.parts.clone();
                parts[index].share = share;
                let changed = self.mix(parts)?;
                if changed.losses.improve < mix.losses.improve && self.keeps(changed.losses) {
                    mix = changed;
                    break;
                }
            }
        }
        Ok(mix)
    }

    fn mix<'a>(&mut self, parts: Vec<Part<'a>>) -> Result<Mix<'a>, S::Error> {
        let proposed = parts.iter().map(|part| (part.candidate.adapter, part.weight()));
        let inputs: Vec<_> = self.held.iter().copied().chain(proposed).collect();
        Ok(Mix { losses: self.scorer.score(&inputs)?, parts })
    }

    /// A loss that is no number passes nothing.
    fn failure(&self, before: Losses, after: Losses) -> Option<Failure> {
        let wanted = before.improve * (1.0 - f64::from(self.gate.gain_ppm) / 1e6);
        let gains = after.improve < before.improve && after.improve <= wanted;
        if !gains {
            return Some(Failure::NoGain);
        }
        (!self.keeps(after)).then(|| Failure::Rise((self.rise(after) * 1e6) as u32))
    }

    fn keeps(&self, losses: Losses) -> bool {
        self.rise(losses) <= f64::from(self.gate.guard_ppm) / 1e6
    }

    /// Of perplexity: a share of the loss itself would ask the more, the better the base is.
    fn rise(&self, losses: Losses) -> f64 {
        match (self.genesis.keep, losses.keep) {
            (Some(genesis), Some(now)) => (now - genesis).exp() - 1.0,
            _ => 0.0,
        }
    }
}

fn with<'a>(parts: &[Part<'a>], part: Part<'a>) -> Vec<Part<'a>> {
    parts.iter().copied().chain([part]).collect()
}
