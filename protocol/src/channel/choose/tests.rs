//! Choosing against a scorer whose losses are known.

use std::convert::Infallible;

use super::*;
use crate::id::Digest;

const GATE: Gate = Gate { gain_ppm: 1_000, guard_ppm: 10_000 };

fn id(n: u8) -> ManifestId {
    ManifestId(Digest::of(&[n]))
}

/// Adapter `n` moves the loss by its effect times its weight; all effects add up, kept ones as well.
struct Table(Vec<(ManifestId, f64, f64)>);

impl Scorer for Table {
    type Error = Infallible;

    fn score(&mut self, inputs: &[(ManifestId, Weight)]) -> Result<Losses, Infallible> {
        let (mut improve, mut keep) = (2.0, 3.0);
        for (adapter, weight) in inputs {
            let (_, on_improve, on_keep) = self.0.iter().find(|(id, ..)| id == adapter).expect("known");
            improve += on_improve * weight.get();
            keep += on_keep * weight.get();
        }
        Ok(Losses { improve, keep: Some(keep) })
    }
}

fn candidate(n: u8) -> Candidate {
    Candidate { proposal: id(100 + n), adapter: id(n), weight: Weight::ONE }
}

fn outcome(choice: &Choice, n: u8) -> VerdictOutcome {
    let verdict = choice.verdicts.iter().find(|verdict| verdict.adapter == id(n)).expect("judged");
    verdict.outcome.clone()
}

#[test]
fn what_helps_is_taken_and_what_harms_is_told_why() {
    let effects =
        vec![(id(1), -0.5, 0.0), (id(2), -0.2, 0.005), (id(3), 0.4, 0.0), (id(4), -0.3, 0.9), (id(5), -0.0001, 0.0)];
    let candidates: Vec<_> = (1..=5).map(candidate).collect();
    let choice = choose(&[], &candidates, &GATE, &mut Table(effects)).expect("scores");
    assert!(matches!(outcome(&choice, 1), VerdictOutcome::Taken { weight: Weight::ONE, alone_micro: -500_000 }));
    assert!(matches!(outcome(&choice, 2), VerdictOutcome::Taken { weight: Weight::ONE, .. }));
    assert_eq!(outcome(&choice, 3), VerdictOutcome::Refused(Refusal::NoGain { alone_micro: 400_000 }));
    assert!(matches!(outcome(&choice, 4), VerdictOutcome::Refused(Refusal::Guard { rise_ppm: 1_459_000..1_460_000 })));
    assert_eq!(outcome(&choice, 5), VerdictOutcome::Refused(Refusal::NoGain { alone_micro: -100 }));
    assert!((choice.after.improve - 1.3).abs() < 1e-9 && choice.before == choice.genesis);
}

#[test]
fn what_would_hurt_is_taken_in_part() {
    let table = || Table(vec![(id(1), -0.5, 0.015)]);
    let choice = choose(&[], &[candidate(1)], &GATE, &mut table()).expect("scores");
    // Half of it in its turn; an eighth more when it is weighed anew, which is nearly all that the guard allows.
    let weight = Weight(5 << 13);
    assert_eq!(outcome(&choice, 1), VerdictOutcome::Taken { weight, alone_micro: -500_000 });
    assert!((choice.after.improve - (2.0 - 0.5 * 0.625)).abs() < 1e-9);
}

/// Losses as of skills that do not overlap, and what is to be kept, which suffers with the square of a share.
struct Skills {
    scores: u64,
}

impl Scorer for Skills {
    type Error = Infallible;

    fn score(&mut self, inputs: &[(ManifestId, Weight)]) -> Result<Losses, Infallible> {
        self.scores += 1;
        let improve = inputs.iter().map(|(_, weight)| (1.0 - weight.get()).powi(2) - 1.0).sum::<f64>();
        let keep = inputs.iter().map(|(_, weight)| weight.get().powi(2)).sum::<f64>();
        Ok(Losses { improve: 4.0 + improve, keep: Some(0.01 * keep) })
    }
}

#[test]
fn four_that_the_guard_allows_in_part_are_worth_more_than_one_in_full() {
    let candidates: Vec<_> = (1..=4).map(candidate).collect();
    let mut scorer = Skills { scores: 0 };
    let choice = choose(&[], &candidates, &GATE, &mut scorer).expect("scores");
    // One in full is 3.0, and nearly all that the guard allows; four at nearly half are 1.06.
    assert!((1..=4).all(|n| matches!(outcome(&choice, n), VerdictOutcome::Taken { .. })), "{choice:?}");
    assert!(choice.after.improve < 1.1, "{choice:?}");
    assert!(choice.after.keep.expect("measured") <= 1.01f64.ln() + 1e-12);
    assert!(scorer.scores <= scores_max(4), "{}", scorer.scores);
}

#[test]
fn one_that_adds_nothing_is_not_taken_together_with_others_either() {
    /// The second is the first again.
    struct Twice;
    impl Scorer for Twice {
        type Error = Infallible;
        fn score(&mut self, inputs: &[(ManifestId, Weight)]) -> Result<Losses, Infallible> {
            let sum: f64 = inputs.iter().map(|(_, weight)| weight.get()).sum();
            Ok(Losses { improve: 1.0 + (1.0 - sum).powi(2), keep: None })
        }
    }
    let choice = choose(&[], &[candidate(1), candidate(2)], &GATE, &mut Twice).expect("scores");
    let taken = |n| matches!(outcome(&choice, n), VerdictOutcome::Taken { weight: Weight::ONE, .. });
    let nothing = |n| outcome(&choice, n) == VerdictOutcome::Refused(Refusal::NothingAdded { alone_micro: -1_000_000 });
    assert!((taken(1) && nothing(2)) || (taken(2) && nothing(1)), "{choice:?}");
}

#[test]
fn the_order_of_proposals_does_not_matter() {
    let effects = || Table((1..=6).map(|n| (id(n), -0.1 * f64::from(n % 4), 0.002 * f64::from(n))).collect());
    let mut candidates: Vec<_> = (1..=6).map(candidate).collect();
    let one = choose(&[], &candidates, &GATE, &mut effects()).expect("scores");
    candidates.reverse();
    assert_eq!(choose(&[], &candidates, &GATE, &mut effects()).expect("scores"), one);
    assert!(
        one.after.keep.expect("measured") <= 3.0 + 1.01f64.ln() + 1e-9,
        "what is to be kept was given away bit by bit"
    );
}

#[test]
fn a_loss_that_is_no_number_passes_nothing() {
    let choice = choose(&[], &[candidate(1)], &GATE, &mut Table(vec![(id(1), f64::NAN, 0.0)])).expect("scores");
    assert!(matches!(outcome(&choice, 1), VerdictOutcome::Refused(Refusal::NoGain { .. })));
    let choice = choose(&[], &[candidate(1)], &GATE, &mut Table(vec![(id(1), -1.0, f64::NAN)])).expect("scores");
    assert!(matches!(outcome(&choice, 1), VerdictOutcome::Refused(Refusal::Guard { .. })));
}

#[test]
fn a_large_update_is_clipped_and_a_huge_one_refused() {
    let bound = NormBound { clip_ppm: 100_000, refuse_ppm: 1_000_000 };
    assert_eq!(clip(Weight::ONE, 100_000, &bound), Ok(Weight::ONE));
    assert_eq!(clip(Weight::ONE, 400_000, &bound), Ok(Weight(1 << 14)));
    assert_eq!(clip(Weight(-(1 << 16)), 400_000, &bound), Ok(Weight(-(1 << 14))));
    assert_eq!(clip(Weight::ONE, 1_000_001, &bound), Err(Refusal::Norm { ppm: 1_000_001 }));
    assert_eq!(clip(Weight(1), 400_000, &bound), Err(Refusal::Norm { ppm: 400_000 }));
}
