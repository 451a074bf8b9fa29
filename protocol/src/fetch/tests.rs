//! The machine among simulated providers: by seed, with a clock of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use libp2p_identity::PeerId;
use proptest::prelude::*;

use super::{Action, Event, Fetch, Holdings, RequestId};
use crate::id::{Digest, ShardId};
use crate::shard::ShardRow;

/// How a simulated provider behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Delivers everything at so many bytes a second.
    Honest(u64),
    /// Sends wrong bytes after so many good shards.
    Liar(u32),
    /// Answers so many requests, then says nothing more.
    Silent(u32),
    /// Sends a byte now and then, and never a whole shard.
    Dripping,
    /// Is gone after so many shards.
    Vanishing(u32),
    /// Says `Busy` to two requests of three.
    Busy,
    /// Says that it has everything, and then that it has nothing.
    Empty,
}

fn peer_id(n: u64) -> PeerId {
    let mut hash = vec![0x12, 0x20];
    hash.extend(Digest::of(&n.to_le_bytes()).0);
    PeerId::from_bytes(&hash).expect("a SHA-256 multihash")
}

fn shards(lens: impl IntoIterator<Item = u32>) -> Vec<ShardRow> {
    let row = |(n, len): (usize, u32)| ShardRow { id: ShardId(Digest::of(&n.to_le_bytes())), len };
    lens.into_iter().enumerate().map(row).collect()
}

struct Provider {
    kind: Kind,
    /// Asked and not answered, in order.
    queue: Vec<RequestId>,
    free_at: u64,
    served: u32,
    /// Answers of an earlier stream are void.
    stream: u32,
    bytes: u64,
    paused: bool,
    /// Has every shard.
    full: bool,
}

/// Time, order of scheduling, who, on which stream, what, and of which request.
type Scheduled = (u64, u64, PeerId, u32, u8, u64);

struct World {
    fetch: Fetch,
    now: u64,
    providers: BTreeMap<PeerId, Provider>,
    events: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    trace: Vec<Action>,
    done: bool,
}

/// What a scheduled answer says.
const ARRIVED: u8 = 0;
const PROGRESS: u8 = 1;
const WRONG: u8 = 2;
const LOST: u8 = 3;
const BUSY: u8 = 4;
const NOT_FOUND: u8 = 5;

impl World {
    fn new(lens: impl IntoIterator<Item = u32>, kinds: &[(Kind, Holdings)]) -> Self {
        let mut world = Self {
            fetch: Fetch::new(shards(lens)),
            now: 1_000,
            providers: BTreeMap::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            trace: Vec::new(),
            done: false,
        };
        for (n, (kind, holdings)) in kinds.iter().enumerate() {
            let (peer, kind) = (peer_id(n as u64), *kind);
            let full = *holdings == Holdings::All;
            let provider =
                Provider { kind, queue: Vec::new(), free_at: 0, served: 0, stream: 0, bytes: 0, paused: false, full };
            world.providers.insert(peer, provider);
            world.feed(Event::Found { peer, holdings: holdings.clone() });
        }
        world
    }

    fn feed(&mut self, event: Event) {
        let actions = self.fetch.handle(event, self.now);
        for action in &actions {
            match action {
                Action::Ask { peer, request, shard } => self.asked(*peer, *request, *shard),
                Action::Reset { peer } | Action::Drop { peer } => {
                    let provider = self.providers.get_mut(peer).expect("only known peers are named");
                    provider.queue.clear();
                    provider.stream += 1;
                    provider.paused = true;
                }
                Action::Done => {
                    assert!(!self.done, "done comes once");
                    self.done = true;
                }
            }
        }
        self.trace.extend(actions);
        self.assert_nobody_honest_is_idle();
    }

    fn schedule(&mut self, at: u64, peer: PeerId, what: u8, value: u64) {
        self.sequence += 1;
        let stream = self.providers[&peer].stream;
        self.events.push(Reverse((at, self.sequence, peer, stream, what, value)));
    }

    fn asked(&mut self, peer: PeerId, request: RequestId, shard: ShardRow) {
        let now = self.now;
        let provider = self.providers.get_mut(&peer).expect("only known peers are asked");
        provider.queue.push(request);
        provider.paused = false;
        let n = provider.served;
        provider.served += 1;
        let rate = if let Kind::Honest(rate) = provider.kind { rate } else { 1 << 20 };
        let at = provider.free_at.max(now) + (u64::from(shard.len) * 1000 / rate).max(1);
        provider.free_at = at;
        match provider.kind {
            Kind::Honest(_) => {
                // Pieces show that a slow provider is alive.
                (now..at).step_by(1000).skip(1).for_each(|at| self.schedule(at, peer, PROGRESS, 0));
                self.schedule(at, peer, ARRIVED, request.0);
                self.providers.get_mut(&peer).expect("known").bytes += u64::from(shard.len);
            }
            Kind::Liar(good) if n >= good => self.schedule(at, peer, WRONG, 0),
            Kind::Vanishing(good) if n >= good => self.schedule(at, peer, LOST, 0),
            Kind::Silent(good) if n >= good => {}
            Kind::Dripping => self.schedule(now + 2000, peer, PROGRESS, 0),
            Kind::Busy if !n.is_multiple_of(3) => self.schedule(now + 1, peer, BUSY, request.0),
            Kind::Empty => self.schedule(now + 1, peer, NOT_FOUND, request.0),
            _ => self.schedule(at, peer, ARRIVED, request.0),
        }
    }

    /// Invariant 15's other half: an honest provider of everything that is owed nothing and not pausing has nothing left to give.
    fn assert_nobody_honest_is_idle(&self) {
        let owed: usize = self.providers.values().map(|provider| provider.queue.len()).sum();
        for provider in self.providers.values() {
            let able = provider.full && !provider.paused && matches!(provider.kind, Kind::Honest(_));
            if able && provider.queue.is_empty() {
                assert!(self.fetch.missing().count() <= owed, "an honest provider is idle at {} ms", self.now);
            }
        }
    }

    /// Until everything is there; the time that it took.
    fn run(&mut self) -> u64 {
        let start = self.now;
        for _ in 0..200_000 {
            if self.done {
                return self.now - start;
            }
            let wake = self.fetch.wake_at_ms(self.now);
            let next = self.events.peek().map(|Reverse((at, ..))| *at);
            match (next, wake) {
                (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => self.step(),
                (_, Some(wake)) => {
                    self.now = wake;
                    self.feed(Event::Tick);
                }
                (_, None) => panic!("nothing will ever happen: {} are missing", self.fetch.missing().count()),
            }
        }
        panic!("still not done at {} ms", self.now);
    }

    /// Until no provider has anything to say.
    fn run_until_quiet(&mut self) {
        while !self.events.is_empty() {
            self.step();
        }
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, peer, stream, what, value))) = self.events.pop() else { return };
        self.now = self.now.max(at);
        let provider = self.providers.get_mut(&peer).expect("only known peers answer");
        if provider.stream != stream {
            return;
        }
        // Drops come for ever, as long as anything is owed.
        if what == PROGRESS && provider.kind == Kind::Dripping && !provider.queue.is_empty() {
            self.schedule(at + 2000, peer, PROGRESS, 0);
        }
        let provider = self.providers.get_mut(&peer).expect("only known peers answer");
        let request = RequestId(value);
        if matches!(what, ARRIVED | BUSY | NOT_FOUND) {
            provider.queue.retain(|queued| *queued != request);
        }
        let event = match what {
            ARRIVED => Event::Arrived { peer, request },
            PROGRESS => Event::Progress { peer },
            WRONG => Event::Wrong { peer },
            BUSY => Event::Busy { peer, request, retry_ms: 100 },
            NOT_FOUND => Event::NotFound { peer, request },
            _ => {
                provider.queue.clear();
                Event::Lost { peer }
            }
        };
        self.feed(event);
    }
}

fn all(kinds: &[Kind]) -> Vec<(Kind, Holdings)> {
    kinds.iter().map(|kind| (*kind, Holdings::All)).collect()
}

const MIB: u32 = 1 << 20;

#[test]
fn nothing_wanted_is_done_at_once() {
    let mut fetch = Fetch::new([]);
    assert_eq!(fetch.handle(Event::Tick, 0), [Action::Done]);
    assert_eq!(fetch.handle(Event::Tick, 1), []);
    assert_eq!(fetch.wake_at_ms(1), None);
}

#[test]
fn equal_providers_share_the_work() {
    let mut world = World::new([MIB; 60], &all(&[Kind::Honest(1 << 20); 3]));
    let took = world.run();
    for provider in world.providers.values() {
        assert!((15..=25).contains(&(provider.bytes / u64::from(MIB))), "{} bytes", provider.bytes);
    }
    assert!(took < 24_000, "60 MiB at 3 MiB/s took {took} ms");
}

#[test]
fn a_slow_provider_helps_and_does_not_hold_up() {
    let mut world = World::new([MIB; 50], &all(&[Kind::Honest(5 << 20), Kind::Honest(100 << 10)]));
    let took = world.run();
    assert!(took < 12_500, "50 MiB at 5 MiB/s beside a slow one took {took} ms");
}

#[test]
fn a_provider_that_is_slow_but_alone_is_waited_for() {
    let mut world = World::new([MIB; 3], &all(&[Kind::Honest(10 << 10)]));
    world.run();
    assert!(!world.trace.iter().any(|action| matches!(action, Action::Drop { .. })));
}

#[test]
fn a_shard_that_occurs_twice_is_fetched_once() {
    let rows = shards([5, 5]);
    let fetch = Fetch::new([rows[0], rows[1], rows[0]]);
    assert_eq!(fetch.wants(), rows);
}

#[test]
fn a_liar_is_dropped_and_never_asked_again() {
    let mut world = World::new([MIB; 20], &all(&[Kind::Liar(2), Kind::Honest(1 << 20)]));
    world.run();
    let liar = peer_id(0);
    let dropped = world.trace.iter().position(|action| *action == Action::Drop { peer: liar }).expect("dropped");
    let asked = |action: &Action| matches!(action, Action::Ask { peer, .. } if *peer == liar);
    assert!(!world.trace[dropped..].iter().any(asked));
    let found = Event::Found { peer: liar, holdings: Holdings::All };
    assert!(!world.fetch.handle(found, world.now).iter().any(asked));
}

#[test]
fn partial_providers_complete_each_other() {
    let even = Holdings::These((0..20).map(|n| n % 2 == 0).collect());
    let odd = Holdings::These((0..20).map(|n| n % 2 == 1).collect());
    let mut world = World::new([MIB; 20], &[(Kind::Honest(1 << 20), even.clone()), (Kind::Honest(1 << 20), odd)]);
    world.run();
    assert_eq!(world.fetch.missing_count(), (0, 0));
    let mut alone = World::new([MIB; 20], &[(Kind::Honest(1 << 20), even)]);
    alone.run_until_quiet();
    assert_eq!(alone.fetch.missing_count(), (10, 10 << 20));
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (10u64 << 10..20 << 20).prop_map(Kind::Honest),
        (0u32..5).prop_map(Kind::Liar),
        (0u32..5).prop_map(Kind::Silent),
        Just(Kind::Dripping),
        (0u32..5).prop_map(Kind::Vanishing),
        Just(Kind::Busy),
        Just(Kind::Empty),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Invariant 15: one honest full provider is enough, whatever the others do, and the same seed has the same trace.
    #[test]
    fn one_honest_provider_is_always_enough(
        mut kinds in proptest::collection::vec(kind(), 0..6),
        honest in 20u64 << 10..10 << 20,
        place in any::<proptest::sample::Index>(),
        lens in proptest::collection::vec(1u32..=MIB, 1..40),
    ) {
        kinds.insert(place.index(kinds.len() + 1), Kind::Honest(honest));
        let run = || {
            let mut world = World::new(lens.clone(), &all(&kinds));
            let took = world.run();
            (took, world.trace)
        };
        prop_assert_eq!(run(), run());
    }
}
