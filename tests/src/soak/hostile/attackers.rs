//! Four attackers at every honest node, each one laptop on one line, in a neighbourhood of its own.

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

/// At each node: together as many as a node lets in from one neighbourhood.
const IDLE: usize = 12;
const SILENT: usize = 4;

/// As many records as a base may have, by the best of so many keys.
const GROUND: usize = 4096;
const DRAWS: usize = 100_000;
/// Kinds that the ground records are of: no other ones matter to anybody here.
const KINDS: [KindTag; 4] = [KindTag::Adapter, KindTag::Version, KindTag::Proof, KindTag::Proposal];
/// All of them are signed again under higher numbers so often. Signing them takes half a second of a laptop.
const AGAIN: Duration = Duration::from_secs(30);
/// By gossip at each node: as many newcomers as one neighbourhood may bring for ever.
const GOSSIPED_A_SECOND: u64 = 4;

const PROOFS: usize = 96;
/// Against each channel whose steward lies.
const PROOFS_OF_OTHERS: usize = 16;
const PROPOSALS: usize = 256;
const BASES: usize = 4;
const BOMB_MIB: u64 = 1000;
/// New ones by new keys take the place of all these lies so often.
const RENEWED: Duration = Duration::from_secs(60);

/// At each node: the most that is no misdeed, so that it goes on for the whole time.
const MESSAGES_A_SECOND: u64 = 50;
/// At one node after the other, for a minute each: the one who says it is banned for it, and comes under another name.
const FLOOD_A_SECOND: u64 = 200;
const TURN: Duration = Duration::from_secs(60);
/// Of a batch that is said at one rate.
const BATCH_SECONDS: u64 = 10;
const UNKNOWN: usize = 4;

/// At each node so many a second. The answers, of 20 KiB at most, are 84 Mbit/s of all eight nodes: a fast line.
const QUESTIONS_AT_ONCE: usize = 64;
const QUESTIONS_PAUSE: Duration = Duration::from_secs(1);
const ASKING: Duration = Duration::from_secs(30);

/// Whoever is connected asks so often, which makes the node compare.
const ASKS: Duration = Duration::from_secs(7);
/// Who was put out comes again after so long.
const REST: Duration = Duration::from_secs(2);
/// Who of a crowd was put out is looked for so often.
const HELD: Duration = Duration::from_secs(5);

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
        let (lies, bomb) = liar(stage, &tally)?;
        let all = [crowd(stage, &tally)?, wiper(stage, &tally)?, lies, talker(stage, &tally)];
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

/// F2 and F7: peers that come before all honest ones, idle and silent.
fn crowd(stage: &Stage, tally: &Tally) -> Outcome<Vec<Task>> {
    let first = stage.targets.iter().map(|target| target.peer).min().ok_or("there are honest nodes")?;
    let kinds = [("idle", Manner::Idle, IDLE, IDLE_HELD), ("silent", Manner::Silent, SILENT, SILENT_HELD)];
    let mut tasks: Vec<Task> = Vec::new();
    for (n, place) in places(stage, 1).enumerate() {
        for (kind, manner, count, counted) in &kinds {
            let keys = peers_below(&format!("{} {kind} {n}", stage.seed), &first, *count)?;
            let held = hold(place.clone(), stage.tiny, keys, manner.clone(), tally.clone(), counted);
            tasks.push(Box::pin(held));
        }
    }
    Ok(tasks)
}

/// Keeps a peer of each key connected, and counts those that are: who was put out comes again.
async fn hold(place: Place, base: BaseId, keys: Vec<Keypair>, manner: Manner, tally: Tally, counted: &'static str) {
    let mut held: Vec<Option<Peer>> = keys.iter().map(|_| None).collect();
    loop {
        for (peer, key) in held.iter_mut().zip(&keys) {
            if peer.as_ref().is_none_or(Peer::is_gone) {
                *peer = Peer::at(&place, &base, key, manner.clone()).await.ok();
            }
        }
        tally.add(counted, held.iter().flatten().filter(|peer| !peer.is_gone()).count() as u64);
        sleep(HELD).await;
    }
}

/// Keys that were ground before the attack, for each base: those of the epoch in which it begins, and of the next one.
#[derive(Clone)]
struct Ground {
    epoch: u64,
    keys: Arc<Vec<[Vec<Keypair>; 2]>>,
}

impl Ground {
    fn new(seed: &str, bases: &[BaseId], count: usize, draws: usize) -> Outcome<Self> {
        let epoch = this_epoch()?;
        let places: Vec<_> = bases.iter().flat_map(|base| [(epoch, *base), (epoch + 1, *base)]).collect();
        let mut found = lowest_lots(seed, &places, count, draws)?.into_iter();
        let mut keys = Vec::new();
        while let (Some(now), Some(next)) = (found.next(), found.next()) {
            keys.push([now, next]);
        }
        Ok(Self { epoch, keys: Arc::new(keys) })
    }

    /// Says all that are good now, instead of what was said before.
    fn say(&self, shelf: &Shelf, bases: &[BaseId], sequence: u64) -> Outcome<()> {
        let next = usize::from(this_epoch()? > self.epoch);
        for (base, keys) in bases.iter().zip(self.keys.iter()) {
            shelf.forget(base);
            wiped_catalogue::say(shelf, &keys[next], &KINDS, *base, sequence)?;
        }
        Ok(())
    }
}

/// F4 and F20: ground records of every base, said again and again under higher numbers.
fn wiper(stage: &Stage, tally: &Tally) -> Outcome<Vec<Task>> {
    let (seed, bases, shelf) = (stage.seed.to_string(), vec![stage.tiny, stage.base], Shelf::default());
    let ground = Ground::new(&seed, &bases, GROUND, DRAWS)?;
    ground.say(&shelf, &bases, 1)?;
    let own = key(&format!("{seed} wiper"))?;
    let mut tasks: Vec<Task> = Vec::new();
    for (n, place) in places(stage, 2).enumerate() {
        let staying = Staying {
            place: place.clone(),
            bases: bases.clone(),
            key: own.clone(),
            shelf: shelf.clone(),
            tally: tally.clone(),
            counted: GROUND_COMPARED,
        };
        tasks.push(Box::pin(staying.go_on()));
        let gossiper = key(&format!("{seed} gossips at {n}"))?;
        tasks.push(Box::pin(gossip(place, stage.tiny, gossiper, shelf.clone(), tally.clone())));
    }
    tasks.push(Box::pin(say_again(ground, shelf, bases, tally.clone())));
    Ok(tasks)
}

async fn say_again(ground: Ground, shelf: Shelf, bases: Vec<BaseId>, tally: Tally) {
    for sequence in 2.. {
        sleep(AGAIN).await;
        // Its own keys sign.
        if ground.say(&shelf, &bases, sequence).is_err() {
            return;
        }
        tally.add(SIGNED_AGAIN, 1);
    }
}

/// Says by gossip what is on a shelf.
async fn gossip(place: Place, base: BaseId, key: Keypair, shelf: Shelf, tally: Tally) {
    loop {
        if let Ok(mut peer) = Peer::at(&place, &base, &key, Manner::Serving(Shelf::default())).await {
            let (mut records, batch) = (Vec::new(), (GOSSIPED_A_SECOND * BATCH_SECONDS) as usize);
            while !peer.is_gone() {
                if records.is_empty() {
                    records = shelf.said_of(&base);
                }
                let some = records.split_off(records.len().saturating_sub(batch));
                let said = many_signatures::say(&mut peer, &base, some.into_iter(), GOSSIPED_A_SECOND).await;
                tally.add(GROUND_GOSSIPED, said as u64);
            }
        }
        tally.add(PUT_OUT, 1);
        sleep(REST).await;
    }
}

/// One that stays connected as long as it is let in, comes again if it is put out, and asks now and then.
struct Staying {
    place: Place,
    bases: Vec<BaseId>,
    key: Keypair,
    shelf: Shelf,
    tally: Tally,
    counted: &'static str,
}

impl Staying {
    async fn go_on(self) {
        loop {
            // Whatever ends it, it comes again.
            drop(self.once().await);
            self.tally.add(PUT_OUT, 1);
            sleep(REST).await;
        }
    }

    async fn once(&self) -> Outcome<()> {
        let mut peer = Peer::connect(&self.place, &self.key, Manner::Serving(self.shelf.clone())).await?;
        for base in &self.bases {
            peer.follow(base).await?;
        }
        while !peer.is_gone() {
            for base in &self.bases {
                self.tally.add(self.counted, u64::from(peer.known(base).await.is_ok()));
            }
            sleep(ASKS).await;
        }
        Ok(())
    }
}

/// F1, F3, F5 and F6: proposals, proofs and bases that do not exist, and a bomb.
fn liar(stage: &Stage, tally: &Tally) -> Outcome<(Vec<Task>, ManifestId)> {
    let shelf = Shelf::default();
    let own = key(&format!("{} liar", stage.seed))?;
    let bomb = bomb::offer(&shelf, &stage.like, &own, BOMB_MIB)?;
    lie(stage, &shelf, &own, bomb.id, 0)?;
    let mut tasks: Vec<Task> = Vec::new();
    for place in places(stage, 3) {
        let staying = Staying {
            place,
            bases: vec![stage.tiny, stage.base],
            key: own.clone(),
            shelf: shelf.clone(),
            tally: tally.clone(),
            counted: LIES_COMPARED,
        };
        tasks.push(Box::pin(staying.go_on()));
    }
    tasks.push(Box::pin(lie_again(stage.clone(), shelf, own, bomb.id)));
    Ok((tasks, bomb.id))
}

async fn lie_again(stage: Stage, shelf: Shelf, own: Keypair, bomb: ManifestId) {
    for round in 1.. {
        sleep(RENEWED).await;
        shelf.forget(&stage.tiny);
        shelf.forget(&stage.base);
        if lie(&stage, &shelf, &own, bomb, round).is_err() {
            return;
        }
    }
}

/// Everything that a round has, by keys that nobody has seen; the bomb is proposed by its publisher.
fn lie(stage: &Stage, shelf: &Shelf, own: &Keypair, bomb: ManifestId, round: u64) -> Outcome<()> {
    let seed = format!("{} round {round}", stage.seed);
    shelf.offer(own, &bomb::proposal(own, stage.tiny, stage.channel, bomb)?, 2 + round)?;
    phantom_proposals::offer(shelf, &seed, stage.tiny, stage.channel, PROPOSALS)?;
    junk_proofs::offer(shelf, &seed, stage.tiny, stage.channel, PROOFS)?;
    for other in &stage.others {
        junk_proofs::offer(shelf, &format!("{seed} {}", other.short()), stage.tiny, *other, PROOFS_OF_OTHERS)?;
    }
    phantom_base::offer(shelf, &seed, stage.base, BASES)?;
    Ok(())
}

/// F8, F14 and F17: talk that costs those who listen.
fn talker(stage: &Stage, tally: &Tally) -> Vec<Task> {
    let (mut tasks, begun): (Vec<Task>, _) = (Vec::new(), Instant::now());
    let turns = stage.targets.len() as u64;
    for (n, place) in (0..).zip(places(stage, 4)) {
        let seed = format!("{} talker {n}", stage.seed);
        let is_flooded = move || begun.elapsed().as_secs() / TURN.as_secs() % turns == n;
        let talk = Talk { place, base: stage.tiny, seed, tally: tally.clone() };
        tasks.push(Box::pin(talk.clone().talk(is_flooded)));
        tasks.push(Box::pin(talk.question()));
    }
    tasks
}

/// Somebody who takes a name that nobody has seen whenever the last one is put out.
#[derive(Clone)]
struct Talk {
    place: Place,
    base: BaseId,
    seed: String,
    tally: Tally,
}

impl Talk {
    async fn talk(self, is_flooded: impl Fn() -> bool) {
        for name in 0.. {
            // Whatever ends it, the next name goes on.
            drop(self.talk_once(&format!("{} talks {name}", self.seed), &is_flooded).await);
            self.tally.add(PUT_OUT, 1);
            self.tally.add(TALK_PUT_OUT, 1);
            sleep(REST).await;
        }
    }

    async fn talk_once(&self, seed: &str, is_flooded: impl Fn() -> bool) -> Outcome<()> {
        let mut peer = Peer::at(&self.place, &self.base, &key(seed)?, Manner::Serving(Shelf::default())).await?;
        self.tally.add(NAMES, 1);
        let mut envelopes = Envelopes::new(seed, self.base)?;
        for turn in 0.. {
            // First: for the messages it is put out, and this is nobody's fault.
            let unknown = unknown_kinds::speak(&mut peer, &format!("{seed} {turn}"), &self.base, UNKNOWN).await?;
            self.tally.add(UNKNOWN_SAID, unknown as u64);
            let rate = if is_flooded() { FLOOD_A_SECOND } else { MESSAGES_A_SECOND };
            let messages = (0..rate * BATCH_SECONDS).map(|_| envelopes.make());
            let said = many_signatures::say(&mut peer, &self.base, messages, rate).await;
            self.tally.add(MESSAGES, said as u64);
            if peer.is_gone() {
                break;
            }
        }
        Ok(())
    }

    async fn question(self) {
        for name in 0.. {
            drop(self.question_once(&format!("{} asks {name}", self.seed)).await);
            self.tally.add(PUT_OUT, 1);
            sleep(REST).await;
        }
    }

    async fn question_once(&self, seed: &str) -> Outcome<()> {
        let peer = Peer::at(&self.place, &self.base, &key(seed)?, Manner::Serving(Shelf::default())).await?;
        self.tally.add(NAMES, 1);
        loop {
            for request in [Request::Providers(signed::nowhere(seed)), Request::Announcements(self.base)] {
                let asked = questions::ask(&peer, &request, QUESTIONS_AT_ONCE, QUESTIONS_PAUSE, ASKING).await?;
                self.tally.add(QUESTIONS, asked.answered);
                self.tally.add(BUSY, asked.busy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let lies = NODES * (PROPOSALS + PROOFS + 8 * PROOFS_OF_OTHERS + BASES) as u64 * 1_000 / RENEWED.as_secs();
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
