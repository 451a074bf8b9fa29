//! What a release decides of each proposal, by what the checks and the worker found.

use potluck_protocol::channel::{Refusal, Verdict, VerdictOutcome};
use potluck_protocol::limits::VERDICTS_MAX;

use crate::app::channel::steward::proposals::Group;

/// What the checks before scoring gave.
#[derive(Default)]
pub struct Screening {
    pub fit: Vec<Group>,
    pub refused: Vec<(Group, Refusal)>,
    /// Proposals that are left for another release: nobody could be asked, what they offer rests, or they were too many.
    pub later: usize,
    /// Proposals that could not be had now, or whose adapters could not: those of which this is signed, and those that were
    /// not looked for in full.
    pub missing: usize,
}

/// One for each proposal, sorted, as many as a version holds.
pub fn verdicts(screening: &Screening, chosen: &[Verdict]) -> Vec<Verdict> {
    let mut all = Vec::new();
    for group in &screening.fit {
        if let Some(verdict) = chosen.iter().find(|verdict| verdict.proposal == group.first.id) {
            all.extend(shared(group, &verdict.outcome));
        }
    }
    for (group, refusal) in &screening.refused {
        all.extend(shared(group, &VerdictOutcome::Refused(refusal.clone())));
    }
    // Those that count come first, whatever else was proposed.
    all.sort_by_key(|(first, _)| !first);
    let mut all: Vec<Verdict> = all.into_iter().map(|(_, verdict)| verdict).take(VERDICTS_MAX).collect();
    all.sort_by_key(|verdict| verdict.proposal);
    all
}

/// The same adapter proposed again shares the fate of the proposal that counts; what was taken is in already.
fn shared<'a>(group: &'a Group, fate: &'a VerdictOutcome) -> impl Iterator<Item = (bool, Verdict)> + 'a {
    let again = match fate {
        VerdictOutcome::Taken { .. } => VerdictOutcome::Refused(Refusal::AlreadyIn),
        VerdictOutcome::Refused(refusal) => VerdictOutcome::Refused(refusal.clone()),
    };
    let verdict = |proposal, outcome| Verdict { proposal, adapter: group.first.info.adapter, outcome };
    let others = group.others.iter().map(move |other| (false, verdict(other.id, again.clone())));
    std::iter::once((true, verdict(group.first.id, fate.clone()))).chain(others)
}

#[cfg(test)]
mod tests {
    use potluck_protocol::channel::ProposalInfo;
    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::recipe::Weight;
    use potluck_protocol::signed::PublicKey;

    use super::*;
    use crate::app::channel::steward::proposals::Proposal;

    fn proposal(n: usize, adapter: usize) -> Proposal {
        let id = |what: &str, n: usize| ManifestId(Digest::of(format!("{what} {n}").as_bytes()));
        let (genesis, channel) = (BaseId(Digest::of(b"base")), ManifestId(Digest::of(b"channel")));
        let info = ProposalInfo { genesis, channel, adapter: id("adapter", adapter), weight: Weight(1) };
        Proposal { id: id("proposal", n), info, proposer: PublicKey(Digest::of(b"somebody")) }
    }

    #[test]
    fn what_is_proposed_twice_is_in_once_and_what_counts_is_never_crowded_out() {
        let first = proposal(0, 0);
        let taken = VerdictOutcome::Taken { weight: Weight(1), alone_micro: -1 };
        let chosen = Verdict { proposal: first.id, adapter: first.info.adapter, outcome: taken.clone() };
        // So many that they alone would fill a version.
        let others: Vec<_> = (1..=2 * VERDICTS_MAX).map(|n| proposal(n, 0)).collect();
        let refused = Group { first: proposal(5_000_000, 1), others: Vec::new() };
        let screening = Screening {
            fit: vec![Group { first: first.clone(), others }],
            refused: vec![(refused.clone(), Refusal::Licence)],
            ..Screening::default()
        };
        let all = verdicts(&screening, &[chosen]);
        assert_eq!(all.len(), VERDICTS_MAX);
        assert!(all.is_sorted_by_key(|verdict| verdict.proposal));
        let of = |id: ManifestId| all.iter().find(|verdict| verdict.proposal == id).map(|verdict| &verdict.outcome);
        assert_eq!(of(first.id), Some(&taken));
        assert_eq!(of(refused.first.id), Some(&VerdictOutcome::Refused(Refusal::Licence)));
        let again = all.iter().filter(|verdict| verdict.adapter == first.info.adapter && verdict.proposal != first.id);
        assert!(again.clone().count() > 0);
        assert!(again.into_iter().all(|verdict| verdict.outcome == VerdictOutcome::Refused(Refusal::AlreadyIn)));
    }
}
