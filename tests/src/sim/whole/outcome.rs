//! What came of a world of whole nodes.

use std::collections::BTreeSet;

use super::{Node, Plan};
use crate::sim::catalogue::{Manner, Offer};
use crate::sim::{Fault, World, catalogue, swarm};
use potluck_protocol::announce;
use potluck_protocol::id::{AnnouncementId, BaseId};

/// What came of a run in which every pull of a living node ended well, and all honest catalogues ended equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub swarm: swarm::Outcome,
    /// Honest nodes to the end, and the records that they have of all bases, each counted once.
    pub honest: u64,
    pub records: u64,
    /// How long after the end of all trouble the last catalogue changed; 0 if before it.
    pub equal_after_ms: u64,
    /// Of honest nodes: records that came by gossip, by comparing, and by comparing for nothing.
    pub heard: u64,
    pub learned: u64,
    pub redundant: u64,
    /// Questions and answers of comparing, rounds, and bytes, sent by honest nodes.
    pub messages: u64,
    pub bytes: u64,
    pub rounds: u64,
    pub gossip_bytes: u64,
    /// Nodes that were proved wrong by somebody.
    pub blamed: u64,
}

/// A node's number and its catalogue's part.
type Honest<'a> = (usize, &'a catalogue::Node);

impl Outcome {
    pub(super) fn of(plan: &Plan, world: &World<Node>) -> Result<Self, Fault> {
        let swarm = swarm::Outcome::of(world, Node::swarm)?;
        let living = world.actors().map(Node::catalogue).enumerate().filter(|(n, _)| world.is_alive(*n));
        let honest: Vec<Honest> = living.filter(|(n, _)| plan.setting.manner(*n) == Manner::Honest).collect();
        let fault = |(node, rule)| Fault::Rule { at_ms: world.now_ms(), node, rule };
        let all = [0, 1].map(|number| equal(&honest, &Offer::base(number)));
        let [first, second] = all;
        let all: BTreeSet<_> = first.map_err(fault)?.union(&second.map_err(fault)?).copied().collect();
        plan.all_there(&all).map_err(fault)?;
        let sum = |of: fn(&catalogue::Node) -> u64| honest.iter().map(|(_, node)| of(node)).sum::<u64>();
        let changed_ms = honest.iter().map(|(_, node)| node.figures.changed_ms).max().unwrap_or(0);
        let blamed: BTreeSet<usize> = honest.iter().flat_map(|(_, node)| node.blamed.iter().copied()).collect();
        Ok(Self {
            swarm,
            honest: honest.len() as u64,
            records: all.len() as u64,
            equal_after_ms: changed_ms.saturating_sub(plan.calm_ms()),
            heard: sum(|node| node.figures.heard),
            learned: sum(|node| node.figures.learned),
            redundant: sum(|node| node.ledger().redundant),
            messages: sum(|node| node.figures.messages),
            bytes: sum(|node| node.figures.bytes),
            rounds: sum(|node| node.ledger().ended),
            gossip_bytes: sum(|node| node.figures.gossip_bytes),
            blamed: blamed.len() as u64,
        })
    }
}

/// The ids of a base's records, the same on every honest node that follows it.
fn equal(honest: &[Honest], base: &BaseId) -> Result<BTreeSet<AnnouncementId>, (usize, String)> {
    let mut first = None;
    for (number, node) in honest.iter().filter(|(_, node)| node.bases().contains(base)) {
        let ids = node.ids(base);
        let wanted = first.get_or_insert_with(|| ids.clone());
        if ids != *wanted {
            let (more, less) = (ids.difference(wanted).count(), wanted.difference(&ids).count());
            let base = base.short();
            return Err((
                *number,
                format!("of base {base} it has {more} records that another lacks, and lacks {less}"),
            ));
        }
    }
    Ok(first.unwrap_or_default())
}

impl Plan {
    /// Nothing is there that nobody announced, and what those who stay announced is.
    fn all_there(&self, ids: &BTreeSet<AnnouncementId>) -> Result<(), (usize, String)> {
        let id = |offer: &Offer| announce::id(&offer.sign());
        let known: BTreeSet<AnnouncementId> = self.offers.iter().map(|(_, _, offer)| id(offer)).collect();
        if !ids.is_subset(&known) {
            return Err((0, "a record that nobody announced is in the catalogues".to_owned()));
        }
        let manifests = self.offers.iter().filter(|(.., offer)| offer.manifest < self.swarm.manifests() as u16);
        let missing = manifests.filter(|(.., offer)| !ids.contains(&id(offer)));
        missing
            .map(|(node, ..)| *node)
            .next()
            .map_or(Ok(()), |node| Err((node, "what it announced is in no catalogue".to_owned())))
    }
}
