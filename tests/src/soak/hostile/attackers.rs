//! Four attackers, each with as many names as it likes, at every honest node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use libp2p::PeerId;
use libp2p::identity::ed25519::Keypair;
use potluck_protocol::bulk::Request;
use potluck_protocol::id::{BaseId, ManifestId};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::hostile::bomb::{self, Like};
use crate::hostile::crowd::{Place, at, hold};
use crate::hostile::keys::{key, lowest_lots, peers_below, this_epoch};
use crate::hostile::many_signatures::{self, Envelopes};
use crate::hostile::peer::Manner;
use crate::hostile::shelf::Shelf;
use crate::hostile::{
    Outcome, junk_proofs, phantom_base, phantom_proposals, questions, signed, unknown_kinds, wiped_catalogue,
};

/// At each node.
const IDLE: usize = 8;
const SILENT: usize = 2;

const WIPING: usize = 4096;
const DRAWS: usize = 100_000;
/// The same is said again under a higher number so often.
const AGAIN: Duration = Duration::from_secs(30);

const PROOFS: usize = 96;
const PROPOSALS: usize = 256;
const BASES: usize = 4;
const BOMB_MIB: u64 = 1000;

/// At each node.
const MESSAGES_A_SECOND: u64 = 50;
const MESSAGES_AT_ONCE: usize = 500;
const QUESTIONS_AT_ONCE: usize = 64;
const QUESTIONS_PAUSE: Duration = Duration::from_millis(500);
const ASKING: Duration = Duration::from_secs(30);
/// Who was put out comes again under another name.
const REST: Duration = Duration::from_secs(2);

/// Where an honest node is.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: String,
    pub peer: PeerId,
}

/// What attackers know of the honest ones.
pub struct Stage {
    pub network: String,
    pub seed: u64,
    pub tiny: BaseId,
    /// One that an honest node publishes.
    pub base: BaseId,
    pub channel: ManifestId,
    pub helpers: ManifestId,
    pub like: Like,
    pub targets: Vec<Target>,
}

#[derive(Debug, Default)]
struct Counts {
    rounds: AtomicU64,
    messages: AtomicU64,
    unknown: AtomicU64,
    questions: AtomicU64,
    busy: AtomicU64,
    names: AtomicU64,
}

/// They go on until they are stopped.
pub struct Attackers {
    runtime: Runtime,
    tasks: JoinSet<()>,
    counts: Arc<Counts>,
}

impl Attackers {
    pub fn start(stage: &Stage) -> Outcome<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (mut tasks, counts) = (JoinSet::new(), Arc::<Counts>::default());
        let all = [crowd(stage)?, wiper(stage, &counts)?, liar(stage)?, talker(stage, &counts)];
        for task in all.into_iter().flatten() {
            tasks.spawn_on(task, runtime.handle());
        }
        Ok(Self { runtime, tasks, counts })
    }

    /// Ends all of them; what they did.
    pub fn stop(mut self) -> Value {
        self.tasks.abort_all();
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        json!({
            "wiping_rounds": count(&counts.rounds), "messages": count(&counts.messages),
            "unknown": count(&counts.unknown), "questions": count(&counts.questions), "busy": count(&counts.busy),
            "names": count(&counts.names),
        })
    }
}

type Tasks = Vec<BoxFuture<'static, ()>>;

fn places(stage: &Stage) -> impl Iterator<Item = Place> + '_ {
    stage.targets.iter().map(|target| Place {
        network: stage.network.clone(),
        address: target.address.clone(),
        base: stage.tiny,
    })
}

/// F2 and F7: peers that come before all honest ones, idle and silent.
fn crowd(stage: &Stage) -> Outcome<Tasks> {
    let first = stage.targets.iter().map(|target| target.peer).min().ok_or("there are honest nodes")?;
    let mut tasks: Tasks = Vec::new();
    for (n, place) in places(stage).enumerate() {
        for (kind, manner, count) in [("idle", Manner::Idle, IDLE), ("silent", Manner::Silent, SILENT)] {
            let keys = peers_below(&format!("{} {kind} {n}", stage.seed), &first, count)?;
            tasks.push(Box::pin(hold(place.clone(), keys, manner)));
        }
    }
    Ok(tasks)
}

/// F4 and F20: ground records, said again and again under higher numbers.
fn wiper(stage: &Stage, counts: &Arc<Counts>) -> Outcome<Tasks> {
    let seed = stage.seed.to_string();
    let keys = lowest_lots(&seed, this_epoch()?, &stage.tiny, WIPING, DRAWS)?;
    let shelf = Shelf::default();
    wiped_catalogue::say(&shelf, &keys, stage.tiny, 1)?;
    let own = key(&format!("{seed} wiper"))?;
    let mut tasks: Tasks = Vec::new();
    for place in places(stage) {
        tasks.push(Box::pin(ask_again(place, own.clone(), shelf.clone())));
    }
    tasks.push(Box::pin(say_again(shelf, keys, stage.tiny, counts.clone())));
    Ok(tasks)
}

async fn say_again(shelf: Shelf, keys: Vec<Keypair>, base: BaseId, counts: Arc<Counts>) {
    for sequence in 2.. {
        sleep(AGAIN).await;
        shelf.forget(&base);
        // Its own keys sign.
        if wiped_catalogue::say(&shelf, &keys, base, sequence).is_err() {
            return;
        }
        counts.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Stays connected, and asks now and then, so that the node compares.
async fn ask_again(place: Place, key: Keypair, shelf: Shelf) {
    loop {
        if let Ok(peer) = at(&place, &key, Manner::Serving(shelf.clone())).await {
            while peer.known(&place.base).await.is_ok() && !peer.is_gone() {
                sleep(AGAIN / 4).await;
            }
        }
        sleep(REST).await;
    }
}

/// F1, F3, F5 and F6: proposals, proofs and bases that do not exist, and a bomb.
fn liar(stage: &Stage) -> Outcome<Tasks> {
    let (shelf, seed) = (Shelf::default(), stage.seed.to_string());
    let own = key(&format!("{seed} liar"))?;
    let bomb = bomb::offer(&shelf, &stage.like, &own, BOMB_MIB)?;
    bomb::propose(&shelf, &own, stage.tiny, stage.channel, bomb.id)?;
    phantom_proposals::offer(&shelf, &seed, stage.tiny, stage.channel, PROPOSALS)?;
    for channel in [stage.channel, stage.helpers] {
        junk_proofs::offer(&shelf, &format!("{seed} {}", channel.short()), stage.tiny, channel, PROOFS)?;
    }
    phantom_base::offer(&shelf, &seed, stage.base, BASES)?;
    let mut tasks: Tasks = Vec::new();
    for place in places(stage) {
        let manner = Manner::Serving(shelf.clone());
        tasks.push(Box::pin(hold(place.clone(), vec![own.clone()], manner.clone())));
        // The other base's topic, under a name of its own.
        let other = Place { base: stage.base, ..place };
        tasks.push(Box::pin(hold(other, vec![key(&format!("{seed} liar on bases"))?], manner)));
    }
    Ok(tasks)
}

/// F8, F14 and F17: talk that costs those who listen.
fn talker(stage: &Stage, counts: &Arc<Counts>) -> Tasks {
    let mut tasks: Tasks = Vec::new();
    for (n, place) in places(stage).enumerate() {
        let seed = format!("{} talker {n}", stage.seed);
        tasks.push(Box::pin(talk(place.clone(), format!("{seed} talks"), counts.clone())));
        tasks.push(Box::pin(question(place, format!("{seed} asks"), counts.clone())));
    }
    tasks
}

/// A name that nobody has seen, as long as there is somebody to talk to.
async fn talk(place: Place, seed: String, counts: Arc<Counts>) {
    for name in 0.. {
        let seed = format!("{seed} {name}");
        // Whatever ends it, the next name goes on.
        drop(talk_once(&place, &seed, &counts).await);
        sleep(REST).await;
    }
}

async fn talk_once(place: &Place, seed: &str, counts: &Counts) -> Outcome<()> {
    let mut peer = at(place, &key(seed)?, Manner::Serving(Shelf::default())).await?;
    counts.names.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_secs(1)).await;
    let mut envelopes = Envelopes::new(seed, place.base)?;
    for turn in 0.. {
        let messages = (0..MESSAGES_AT_ONCE).map(|_| envelopes.make());
        let said = many_signatures::say(&mut peer, &place.base, messages, MESSAGES_A_SECOND).await;
        counts.messages.fetch_add(said as u64, Ordering::Relaxed);
        if said < MESSAGES_AT_ONCE || peer.is_gone() {
            break;
        }
        let unknown = unknown_kinds::speak(&mut peer, &format!("{seed} {turn}"), &place.base, 4).await?;
        counts.unknown.fetch_add(unknown as u64, Ordering::Relaxed);
    }
    Ok(())
}

async fn question(place: Place, seed: String, counts: Arc<Counts>) {
    for name in 0.. {
        drop(question_once(&place, &format!("{seed} {name}"), &counts).await);
        sleep(REST).await;
    }
}

async fn question_once(place: &Place, seed: &str, counts: &Counts) -> Outcome<()> {
    let peer = at(place, &key(seed)?, Manner::Serving(Shelf::default())).await?;
    counts.names.fetch_add(1, Ordering::Relaxed);
    loop {
        for request in [Request::Providers(signed::nowhere(seed)), Request::Announcements(place.base)] {
            let asked = questions::ask(&peer, &request, QUESTIONS_AT_ONCE, QUESTIONS_PAUSE, ASKING).await?;
            counts.questions.fetch_add(asked.answered, Ordering::Relaxed);
            counts.busy.fetch_add(asked.busy, Ordering::Relaxed);
        }
    }
}
