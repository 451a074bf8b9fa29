//! What a release decides of each proposal, by what the checks and the worker found.

use potluck_protocol::channel::{Outcome as Fate, Refusal, Verdict};
use potluck_protocol::limits::VERDICTS_MAX;

use crate::app::channel::steward::proposals::Group;

/// What the checks before scoring gave.
#[derive(Default)]
pub struct Screening {
    pub fit: Vec<Group>,
    pub refused: Vec<(Group, Refusal)>,
    /// Proposals of adapters that nobody could be asked for.
    pub later: usize,
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
        all.extend(shared(group, &Fate::Refused(refusal.clone())));
    }
    // Those that count come first, whatever else was proposed.
    all.sort_by_key(|(first, _)| !first);
    let mut all: Vec<Verdict> = all.into_iter().map(|(_, verdict)| verdict).take(VERDICTS_MAX).collect();
    all.sort_by_key(|verdict| verdict.proposal);
    all
}

/// The same adapter proposed again shares the fate of the proposal that counts; what was taken is in already.
fn shared<'a>(group: &'a Group, fate: &'a Fate) -> impl Iterator<Item = (bool, Verdict)> + 'a {
    let again = match fate {
        Fate::Taken { .. } => Fate::Refused(Refusal::AlreadyIn),
        Fate::Refused(refusal) => Fate::Refused(refusal.clone()),
    };
    let verdict = |proposal, outcome| Verdict { proposal, adapter: group.first.info.adapter, outcome };
    let others = group.others.iter().map(move |other| (false, verdict(other.id, again.clone())));
    std::iter::once((true, verdict(group.first.id, fate.clone()))).chain(others)
}
