//! Four attackers at every honest node, each one laptop on one line, in a neighbourhood of its own.

mod crowd;
mod liar;
mod staying;
mod talker;
mod wiper;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::KindTag;
use potluck_protocol::bulk::Request;
use potluck_protocol::id::{BaseId, ManifestId};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::hostile::bomb::{self, Like};
use crate::hostile::keys::{key, lowest_lots, peers_below, this_epoch};
use crate::hostile::many_signatures::{self, Envelopes};
use crate::hostile::peer::{Manner, Peer, Place};
use crate::hostile::shelf::Shelf;
use crate::hostile::{
    Outcome, junk_proofs, phantom_base, phantom_proposals, questions, signed, unknown_kinds, wiped_catalogue,
};
use crate::loopback;
use crate::soak::attackers::{Attackers as Tasks, Tally, Task};

/// Bytes a second that each of them may send, 10 Mbit/s, to all nodes together. What is below is held to it by a test.
#[cfg(test)]
const LINE: u64 = 1_250_000;

/// Of a batch that is said at one rate.
const BATCH_SECONDS: u64 = 10;

/// Who was put out comes again after so long.
const REST: Duration = Duration::from_secs(2);
const IDLE_HELD: &str = "F2_idle_held";
const SILENT_HELD: &str = "F7_silent_held";
const LIES_COMPARED: &str = "F1_F3_F5_F6_lies_compared";
const GROUND_COMPARED: &str = "F4_F20_ground_compared";
const GROUND_GOSSIPED: &str = "F4_ground_gossiped";
const SIGNED_AGAIN: &str = "F20_signed_again";
const MESSAGES: &str = "F8_messages";
const UNKNOWN_SAID: &str = "F14_unknown";
const QUESTIONS: &str = "F17_questions";
const BUSY: &str = "F17_busy";
const BOMBS_PULLED: &str = "F1_bombs_pulled";
const NAMES: &str = "names";
const PUT_OUT: &str = "put_out";
/// Of these, who gossips what is a misdeed, under each of its names. A neighbourhood of which many are banned is not let
/// in for a while.
const TALK_PUT_OUT: &str = "F8_F14_put_out";

/// What goes on for the whole time, whatever the nodes do about it.
const STEADY: [&str; 10] = [
    IDLE_HELD,
    SILENT_HELD,
    LIES_COMPARED,
    GROUND_COMPARED,
    GROUND_GOSSIPED,
    SIGNED_AGAIN,
    MESSAGES,
    UNKNOWN_SAID,
    QUESTIONS,
    BOMBS_PULLED,
];

/// Where an honest node is.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: String,
    pub peer: PeerId,
}

/// What attackers know of the honest ones.
#[derive(Clone)]
pub struct Stage {
    pub network: String,
    pub seed: u64,
    pub tiny: BaseId,
    /// One that an honest node publishes.
    pub base: BaseId,
    pub channel: ManifestId,
    /// Those whose stewards lie.
    pub others: Vec<ManifestId>,
    pub like: Like,
    pub targets: Vec<Target>,
}

/// They go on until they are stopped.
pub struct Attackers {
    runtime: Runtime,
    tasks: Tasks,
    /// The adapter that states more than it holds.
    pub bomb: ManifestId,
    seen: BTreeMap<&'static str, u64>,
    looks: u64,
    /// Looks at which nothing had been done since the one before.
    quiet: BTreeMap<&'static str, u64>,
}

impl Attackers {
    /// Grinds keys, and begins. All of them share one thread: four laptops in one process must not take this machine
    /// from the honest ones.
    pub fn start(stage: &Stage) -> Outcome<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let tally = Tally::new(&[&STEADY[..], &[BUSY, NAMES, PUT_OUT, TALK_PUT_OUT]].concat());
        let (lies, bomb) = liar::tasks(stage, &tally)?;
        let all = [crowd::tasks(stage, &tally)?, wiper::tasks(stage, &tally)?, lies, talker::tasks(stage, &tally)];
        let tasks = Tasks::start(runtime.handle(), tally, all.into_iter().flatten());
        Ok(Self { runtime, tasks, bomb, seen: BTreeMap::new(), looks: 0, quiet: BTreeMap::new() })
    }

    /// An honest person has tried the bomb.
    pub fn bomb_pulled(&self) {
        self.tasks.tally().add(BOMBS_PULLED, 1);
    }

    /// Whether each attack has gone on since the last look, or was tried and put out.
    pub fn look(&mut self) {
        let now = self.tasks.tally().all();
        self.looks += 1;
        for name in STEADY {
            let went_on = |name: &str| now.get(name) > self.seen.get(name) && now.get(name) > Some(&0);
            let put_out = [MESSAGES, UNKNOWN_SAID].contains(&name) && went_on(TALK_PUT_OUT);
            let still = !went_on(name) && !put_out;
            *self.quiet.entry(name).or_default() += u64::from(still);
        }
        self.seen = now;
    }

    /// Attacks that were quiet at more than one look in ten: of them the run says too little.
    pub fn quiet(&self) -> Vec<&'static str> {
        let quiet = self.quiet.iter().filter(|(_, count)| **count * 10 > self.looks);
        quiet.map(|(name, _)| *name).collect()
    }

    /// Ends all of them; what they did.
    pub fn stop(self) -> Value {
        let done = self.runtime.block_on(self.tasks.stop());
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        done
    }
}

/// Every node's door, as one of the four attackers comes to it.
fn places(stage: &Stage, attacker: u8) -> impl Iterator<Item = Place> + '_ {
    stage.targets.iter().map(move |target| Place {
        network: stage.network.clone(),
        address: target.address.clone(),
        from: loopback::address(90, attacker),
    })
}

#[cfg(test)]
mod tests {
    use super::liar::{BASES as PHANTOM_BASES, PROOFS, PROOFS_OF_OTHERS, PROPOSALS, RENEWED};
    use super::talker::{FLOOD_A_SECOND, MESSAGES_A_SECOND, QUESTIONS_AT_ONCE};
    use super::wiper::{AGAIN, GOSSIPED_A_SECOND, GROUND, Ground};
    use super::*;

    const NODES: u64 = 8;
    /// A record as it is compared, and as it is gossiped: with what gossip puts around it.
    const RECORD: u64 = 300;
    const GOSSIPED: u64 = 600;
    /// An announcement of sixteen signatures with what gossip puts around it.
    const ENVELOPE: u64 = 2_000;

    #[test]
    fn each_attacker_keeps_to_its_line() {
        let ground = NODES * (2 * GROUND as u64 * RECORD / AGAIN.as_secs() + GOSSIPED_A_SECOND * GOSSIPED);
        let lies =
            NODES * (PROPOSALS + PROOFS + 8 * PROOFS_OF_OTHERS + PHANTOM_BASES) as u64 * 1_000 / RENEWED.as_secs();
        let talk =
            (FLOOD_A_SECOND + (NODES - 1) * MESSAGES_A_SECOND) * ENVELOPE + NODES * QUESTIONS_AT_ONCE as u64 * 40;
        for (attacker, bytes) in [("ground", ground), ("lies", lies), ("talk", talk)] {
            assert!(bytes < LINE, "{attacker}: {bytes} bytes a second");
        }
    }

    #[test]
    fn keys_are_ground_for_this_epoch_and_the_next_one() {
        let base = potluck_protocol::id::Digest::of(b"base");
        let ground = Ground::new("test", &[BaseId(base), BaseId(base)], 20, 100).expect("ground");
        let counts: Vec<_> = ground.keys.iter().flatten().map(Vec::len).collect();
        assert_eq!(counts, [20; 4]);
        let firsts = ground.keys[0].each_ref().map(|keys| keys[0].public().to_bytes());
        assert_ne!(firsts[0], firsts[1], "each epoch has lots of its own");
    }
}
