//! The transfer scheduler among arbitrary events: from any peer, of any request, in any order.

use libp2p::PeerId;
use potluck_protocol::fetch::{Action, Event, Fetch, Holdings, RequestId};
use potluck_protocol::id::{Digest, ShardId};
use potluck_protocol::shard::ShardRow;
use potluck_tests::sim::Ledger;
use potluck_tests::sim::swarm::peer_id;
use proptest::prelude::*;

use super::MIB;

fn shards(lens: impl IntoIterator<Item = u32>) -> Vec<ShardRow> {
    let row = |(n, len): (usize, u32)| ShardRow { id: ShardId(Digest::of(&n.to_le_bytes())), len };
    lens.into_iter().enumerate().map(row).collect()
}

/// What happens in the test of arbitrary events.
#[derive(Clone, Debug)]
struct Happening {
    kind: u8,
    node: usize,
    /// Chooses a request or holdings.
    number: u64,
    after_ms: u64,
}

fn happening() -> impl Strategy<Value = Happening> {
    let after = prop_oneof![Just(0u64), 1u64..50, 50u64..20_000];
    let fields = (0u8..12, 0usize..6, any::<u64>(), after);
    fields.prop_map(|(kind, node, number, after_ms)| Happening { kind, node, number, after_ms })
}

/// A machine among arbitrary events.
struct Arbitrary {
    fetch: Fetch,
    ledger: Ledger,
    now: u64,
    asked: Vec<(PeerId, RequestId)>,
    all: Vec<Action>,
}

impl Arbitrary {
    fn feed(&mut self, event: Event) -> Vec<Action> {
        let actions = self.ledger.step(&mut self.fetch, event, self.now).unwrap_or_else(|rule| panic!("{rule}"));
        for action in &actions {
            if let Action::Ask { peer, request, .. } = action {
                self.asked.push((*peer, *request));
            }
        }
        self.all.extend(actions.iter().cloned());
        actions
    }

    fn happen(&mut self, happening: &Happening) {
        self.now += happening.after_ms;
        let peer = peer_id(happening.node);
        let wanted = self.fetch.wants().len();
        // Mostly one of its own requests, sometimes one of somebody else's or of nobody's.
        let own: Vec<RequestId> = self.asked.iter().filter(|(asked, _)| *asked == peer).map(|(_, id)| *id).collect();
        let request = match own.get(happening.number as usize % (own.len() + 1)) {
            Some(request) => *request,
            None => RequestId(happening.number % 64),
        };
        let flags = (0..wanted).map(|n| happening.number >> (n % 64) & 1 == 1).collect();
        self.feed(match happening.kind {
            0 | 1 => Event::Found { peer, holdings: Holdings::All },
            2 => Event::Found { peer, holdings: Holdings::These(flags) },
            3 => Event::Progress { peer, request, bytes: happening.number as u32 },
            4..=6 => Event::Arrived { peer, request },
            7 => Event::NotFound { peer, request },
            8 => Event::Busy { peer, request, retry_ms: happening.number as u32 },
            9 => Event::Lost { peer },
            10 if happening.number.is_multiple_of(4) => Event::Wrong { peer },
            _ => Event::Tick,
        });
    }

    /// From now on one honest provider answers, and nobody else.
    fn finish(&mut self) {
        let honest = peer_id(99);
        self.feed(Event::Found { peer: honest, holdings: Holdings::All });
        let mut answered = 0;
        for _ in 0..100_000 {
            if self.fetch.is_done() {
                return;
            }
            let next = self.asked.iter().filter(|(peer, _)| *peer == honest).nth(answered).copied();
            if let Some((peer, request)) = next {
                (self.now, answered) = (self.now + 10, answered + 1);
                self.feed(Event::Arrived { peer, request });
            } else {
                self.now = self.fetch.wake_at_ms(self.now).expect("something is missing, so time matters");
                self.feed(Event::Tick);
            }
        }
        panic!("{:?} are missing at {} ms", self.fetch.missing_count(), self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is said, by known and unknown peers, of known and unknown requests: no rule of the ledger is broken,
    /// one honest provider is enough, and the same events have the same actions.
    #[test]
    fn arbitrary_events_break_no_rule(
        seed in any::<u64>(),
        lens in proptest::collection::vec(1u32..=MIB, 1..30),
        happenings in proptest::collection::vec(happening(), 0..120),
    ) {
        let run = || {
            let fetch = Fetch::new(shards(lens.iter().copied()), seed);
            let ledger = Ledger::new(&fetch);
            let mut one = Arbitrary { fetch, ledger, now: 1, asked: Vec::new(), all: Vec::new() };
            happenings.iter().for_each(|happening| one.happen(happening));
            one.finish();
            one.all
        };
        prop_assert_eq!(run(), run());
    }
}
