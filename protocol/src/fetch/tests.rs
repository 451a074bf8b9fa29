//! The machine by hand. Arbitrary events and whole transfers are in `tests/tests/simulated`.

use libp2p_identity::PeerId;

use super::peer::Peer;
use super::{Action, Event, Fetch, Holdings, RequestId};
use crate::id::{Digest, ShardId};
use crate::shard::ShardRow;

const MIB: u32 = 1 << 20;

fn peer_id(node: usize) -> PeerId {
    let hash = Digest::of(&node.to_le_bytes()).0;
    PeerId::from_bytes(&[&[0x12, 0x20], &hash[..]].concat()).expect("32 bytes under the code of SHA-256 are a peer id")
}

fn shards(lens: impl IntoIterator<Item = u32>) -> Vec<ShardRow> {
    let row = |(n, len): (usize, u32)| ShardRow { id: ShardId(Digest::of(&n.to_le_bytes())), len };
    lens.into_iter().enumerate().map(row).collect()
}

fn found(node: usize) -> Event {
    Event::Found { peer: peer_id(node), holdings: Holdings::All }
}

/// The requests to a node among actions.
fn asks(actions: &[Action], node: usize) -> Vec<RequestId> {
    let ask = |action: &Action| match action {
        Action::Ask { peer, request, .. } if *peer == peer_id(node) => Some(*request),
        _ => None,
    };
    actions.iter().filter_map(ask).collect()
}

#[test]
fn nothing_wanted_is_done_at_once() {
    let mut fetch = Fetch::new([], 1);
    assert_eq!(fetch.handle(Event::Tick, 0), [Action::Done]);
    assert_eq!(fetch.handle(Event::Tick, 1), []);
    assert_eq!(fetch.wake_at_ms(1), None);
}

#[test]
fn a_shard_that_occurs_twice_is_fetched_once() {
    let rows = shards([5, 5]);
    let fetch = Fetch::new([rows[0], rows[1], rows[0]], 1);
    assert_eq!(fetch.wants(), rows);
}

#[test]
fn a_shard_that_comes_just_after_the_reset_counts() {
    let mut fetch = Fetch::new(shards([MIB]), 1);
    let request = asks(&fetch.handle(found(1), 0), 1)[0];
    let stalls = fetch.wake_at_ms(0).expect("it may stand still");
    let actions = fetch.handle(found(2), stalls);
    assert_eq!(actions[0], Action::Reset { peer: peer_id(1) });
    let copy = asks(&actions, 2)[0];
    let actions = fetch.handle(Event::Arrived { peer: peer_id(1), request }, stalls + 1);
    assert_eq!(actions, [Action::Cancel { peer: peer_id(2), request: copy }, Action::Done]);
    // A second time it is unknown.
    assert_eq!(fetch.handle(Event::Arrived { peer: peer_id(1), request }, stalls + 2), []);
    assert_eq!(fetch.wasted_bytes(), 0);
}

#[test]
fn the_copy_that_loses_is_cancelled() {
    let mut fetch = Fetch::new(shards([MIB]), 1);
    let slow = asks(&fetch.handle(found(1), 0), 1)[0];
    fetch.handle(Event::Progress { peer: peer_id(1), request: slow, bytes: 1000 }, 1_000);
    fetch.handle(Event::Progress { peer: peer_id(1), request: slow, bytes: 1000 }, 2_000);
    let fast = asks(&fetch.handle(found(2), 2_000), 2)[0];
    let actions = fetch.handle(Event::Arrived { peer: peer_id(2), request: fast }, 2_500);
    assert_eq!(actions, [Action::Cancel { peer: peer_id(1), request: slow }, Action::Done]);
    assert_eq!(fetch.wasted_bytes(), 2000);
    fetch.handle(Event::Arrived { peer: peer_id(1), request: slow }, 3_000);
    assert_eq!(fetch.wasted_bytes(), u64::from(MIB), "it came whole, and that was known in part");
}

#[test]
fn second_copies_on_their_way_are_bounded() {
    let (mut fetch, mut slow) = (Fetch::new(shards([MIB; 20]), 1), Vec::new());
    for node in 0..20 {
        let request = asks(&fetch.handle(found(node), 0), node)[0];
        slow.push((peer_id(node), request));
    }
    for now in [1_000, 2_000] {
        for (peer, request) in &slow {
            fetch.handle(Event::Progress { peer: *peer, request: *request, bytes: 1000 }, now);
        }
    }
    // Each of these would be a thousand times faster; 5 % of twenty shards is one.
    let copies: usize = (20..25).map(|node| asks(&fetch.handle(found(node), 2_000), node).len()).sum();
    assert_eq!(copies, 1);
}

/// How one of several providers serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Serves {
    Everything,
    /// A byte every two seconds.
    Dripping,
    /// The same, after it gave its first requests back: it is asked again, and known to be slow.
    BusyAtFirst,
    /// Seven tenths of its first shard, and then the same.
    MostOfOne,
    Nothing,
}

/// A transfer of shards with these lengths from providers that are found each second, the last one two seconds after the
/// others: when it is there, if it is within half a minute, and how many bytes came for nothing.
fn fetched(lens: &[u32], providers: &[Serves], seed: u64) -> (Option<u64>, u64) {
    let (mut fetch, mut owed) = (Fetch::new(shards(lens.iter().copied()), seed), Vec::new());
    for tenth in 0..300 {
        let (now_ms, mut events) = (100 * tenth, vec![Event::Tick]);
        let found_at = |node: usize| 10 * node as u64 + if node + 1 == providers.len() { 20 } else { 0 };
        events.extend((0..providers.len()).filter(|node| found_at(*node) == tenth).map(found));
        let first: Vec<(usize, RequestId)> = owed.clone();
        for (node, serves) in providers.iter().enumerate() {
            let Some((_, request)) = first.iter().find(|(of, _)| *of == node).copied() else { continue };
            match serves {
                Serves::Everything => events.push(Event::Arrived { peer: peer_id(node), request }),
                Serves::BusyAtFirst if tenth == 41 => {
                    let theirs = owed.extract_if(.., |(of, _)| *of == node);
                    let busy = |(_, request)| Event::Busy { peer: peer_id(node), request, retry_ms: 50 };
                    events.extend(theirs.map(busy));
                }
                Serves::MostOfOne if tenth == 51 => {
                    events.push(Event::Progress { peer: peer_id(node), request, bytes: MIB / 10 * 7 });
                }
                Serves::Dripping | Serves::BusyAtFirst | Serves::MostOfOne if tenth % 20 == 0 => {
                    events.push(Event::Progress { peer: peer_id(node), request, bytes: 1 });
                }
                Serves::Dripping | Serves::BusyAtFirst | Serves::MostOfOne | Serves::Nothing => {}
            }
        }
        for event in events {
            if let Event::Arrived { request, .. } = &event {
                owed.retain(|(_, of)| of != request);
            }
            let actions = fetch.handle(event, now_ms);
            for action in &actions {
                match action {
                    Action::Cancel { request, .. } => owed.retain(|(_, of)| of != request),
                    Action::Reset { peer } => owed.retain(|(node, _)| peer_id(*node) != *peer),
                    _ => {}
                }
            }
            owed.extend(
                (0..providers.len()).flat_map(|node| asks(&actions, node).into_iter().map(move |one| (node, one))),
            );
        }
        if fetch.is_done() {
            return (Some(now_ms), fetch.wasted_bytes());
        }
    }
    (None, fetch.wasted_bytes())
}

#[test]
fn who_sends_a_byte_now_and_then_keeps_no_shard_from_being_asked_elsewhere() {
    use Serves::{BusyAtFirst, Dripping, Everything, MostOfOne, Nothing};
    let crowds = [
        &[Dripping][..],
        &[Nothing, Dripping],
        &[Dripping, Nothing, Dripping],
        &[Dripping, BusyAtFirst],
        &[BusyAtFirst, Dripping, BusyAtFirst],
        &[Nothing, Dripping, Dripping, Dripping],
        // The account of what may be wasted is spent before the second one's shard is looked at.
        &[MostOfOne, BusyAtFirst, MostOfOne],
    ];
    for crowd in crowds {
        for (count, seed) in [1, 2, 3, 6, 20].into_iter().flat_map(|count| (0..20).map(move |seed| (count, seed))) {
            let (done_ms, wasted) = fetched(&vec![MIB; count], &[crowd, &[Everything]].concat(), seed);
            let most = if crowd.contains(&MostOfOne) { 2 * u64::from(MIB) } else { 100 };
            assert!(
                done_ms.is_some() && wasted < most,
                "{count} shards, seed {seed}: {done_ms:?}, {wasted} bytes wasted"
            );
        }
    }
}

#[test]
fn what_has_not_begun_is_taken_over() {
    let mut fetch = Fetch::new(shards([MIB / 4; 8]), 1);
    // The slow one gets four at once; the other one proves itself with the rest.
    let slow = asks(&fetch.handle(found(1), 0), 1);
    let mut fast = asks(&fetch.handle(found(2), 0), 2);
    assert_eq!((slow.len(), fast.len()), (4, 4));
    let mut taken = Vec::new();
    for now in 1..=8 {
        if fast.is_empty() {
            break;
        }
        let request = fast.remove(0);
        let actions = fetch.handle(Event::Arrived { peer: peer_id(2), request }, 100 * now);
        let cancel = |action: &Action| match action {
            Action::Cancel { peer, request } if *peer == peer_id(1) => Some(*request),
            _ => None,
        };
        taken.extend(actions.iter().filter_map(cancel));
        fast.extend(asks(&actions, 2));
    }
    // The first, which has begun, is the only one that is asked twice.
    assert!(taken.len() >= 3 && slow[1..].iter().all(|request| taken.contains(request)), "{taken:?} of {slow:?}");
}

#[test]
fn a_full_list_makes_place_for_the_better_one() {
    let mut fetch = Fetch::new(shards([MIB; 4]), 1);
    for node in 0..64 {
        let actions = fetch.handle(found(node), 0);
        for request in asks(&actions, node) {
            fetch.handle(Event::Busy { peer: peer_id(node), request, retry_ms: 10_000 }, 0);
        }
    }
    let honest = fetch.handle(found(64), 1);
    assert_eq!(asks(&honest, 64).len(), 1);
}

#[test]
fn a_window_is_seconds_of_a_slow_provider_and_round_trips_of_a_fast_one() {
    // Requests of 64 KiB that fit, at so many bytes a second and 100 ms there and back.
    let fit = |rate: u64| {
        let mut peer = Peer::new(Holdings::All, 0, 0);
        peer.ask(RequestId(0), 0, MIB, false, 0);
        peer.note_progress(RequestId(0), 1, 100);
        peer.note_progress(RequestId(0), 1 << 16, 100 + 65_536_000 / rate);
        let now = 200 + 65_536_000 / rate;
        peer.complete(RequestId(0), 100 + (u64::from(MIB) * 1000) / rate);
        let asked = (1..=100).take_while(|n| {
            let room = peer.has_room(now);
            if room {
                peer.ask(RequestId(*n), 0, 1 << 16, false, now);
            }
            room
        });
        asked.count()
    };
    assert_eq!(fit(4 << 10), 1);
    assert_eq!(fit(64 << 10), 2);
    assert_eq!(fit(1 << 20), 32);
    // 300 ms of 20 MiB/s, as many as there may be of 200 MiB/s.
    assert!(fit(20 << 20) > 60, "{}", fit(20 << 20));
    assert_eq!(fit(200 << 20), 64);
}

fn found_some(node: usize, shards: impl IntoIterator<Item = bool>) -> Event {
    Event::Found { peer: peer_id(node), holdings: Holdings::These(shards.into_iter().collect()) }
}

fn released(actions: &[Action]) -> Vec<PeerId> {
    let release = |action: &Action| match action {
        Action::Release { peer } => Some(*peer),
        _ => None,
    };
    actions.iter().filter_map(release).collect()
}

#[test]
fn those_that_have_nothing_take_no_place_from_the_one_that_has_it() {
    let mut fetch = Fetch::new(shards([MIB; 2]), 1);
    for node in 0..200 {
        assert_eq!(released(&fetch.handle(found_some(node, [false, false]), 0)), [peer_id(node)]);
    }
    let actions = fetch.handle(found(200), 0);
    assert_eq!((asks(&actions, 200).len(), released(&actions).len()), (1, 0));
    // What has come is of no use either.
    let request = asks(&actions, 200)[0];
    fetch.handle(Event::Arrived { peer: peer_id(200), request }, 10);
    let first = fetch.missing().next().copied().expect("one is missing");
    let had = fetch.wants().iter().map(|row| *row != first).collect::<Vec<_>>();
    assert_eq!(released(&fetch.handle(found_some(201, had), 10)), [peer_id(201)]);
}

#[test]
fn who_was_never_needed_gives_its_place_to_a_newcomer_after_a_while() {
    let mut fetch = Fetch::new(shards([MIB]), 1);
    (0..64).for_each(|node| drop(fetch.handle(found(node), 0)));
    assert_eq!(released(&fetch.handle(found(64), 4_000)), [peer_id(64)], "all of them are new");
    let actions = fetch.handle(found(64), 5_000);
    assert_eq!(released(&actions).len(), 1);
    assert_ne!(released(&actions), [peer_id(64)]);
}

/// Sixty-four that drip: each has delivered a shard, and sends a piece of 1,000 bytes a second from then on.
fn dripping() -> (Fetch, Vec<(usize, RequestId)>) {
    let (mut fetch, mut owed) = (Fetch::new(shards([MIB; 1_000]), 1), Vec::new());
    let mut requests: Vec<_> = (0..64).map(|node| (node, asks(&fetch.handle(found(node), 0), node))).collect();
    for (node, asked) in &mut requests {
        let request = asked.remove(0);
        let actions = fetch.handle(Event::Arrived { peer: peer_id(*node), request }, 1_000);
        owed.push((*node, asks(&actions, *node)[0]));
    }
    for second in 2..=10 {
        for (node, request) in &owed {
            let piece = Event::Progress { peer: peer_id(*node), request: *request, bytes: 1_000 };
            assert_eq!(released(&fetch.handle(piece, 1_000 * second)), []);
        }
    }
    (fetch, owed)
}

#[test]
fn a_newcomer_gets_the_place_of_one_that_drips_though_that_delivered() {
    let (mut fetch, _) = dripping();
    let actions = fetch.handle(found(64), 10_000);
    assert_eq!(released(&actions).len(), 1);
    assert!(!asks(&actions, 64).is_empty(), "{actions:?}");
}

#[test]
fn newcomers_that_deliver_nothing_push_out_few_of_those_that_do_and_none_that_are_fast() {
    let (mut fetch, owed) = dripping();
    // One of them is fast after all.
    let (fast, mut request) = owed[7];
    for now in 0..20 {
        let actions = fetch.handle(Event::Arrived { peer: peer_id(fast), request }, 10_000 + 100 * now);
        request = asks(&actions, fast).first().copied().unwrap_or(RequestId(request.0 + 1));
    }
    let gone = |fetch: &mut Fetch, nodes: std::ops::Range<usize>, now_ms: u64| {
        nodes.flat_map(|node| released(&fetch.handle(found(node), now_ms))).collect::<Vec<_>>()
    };
    let first = gone(&mut fetch, 64..1_000, 12_000);
    let proven: Vec<_> = owed.iter().map(|(node, _)| peer_id(*node)).collect();
    assert_eq!(first.iter().filter(|peer| proven.contains(peer)).count(), 8);
    assert!(!first.contains(&peer_id(fast)));
    // Later ones get the places of those, and of nobody else.
    let later = gone(&mut fetch, 1_000..2_000, 60_000);
    assert!(!later.is_empty() && later.iter().all(|peer| !proven.contains(peer)));
}

/// Sixty-three that take a question for the only shard and are silent; how long until the one that would answer is asked.
fn asked_after_ms(len: u32, seed: u64) -> u64 {
    let mut fetch = Fetch::new(shards([len]), seed);
    let (honest, mut now_ms) = (64, 0);
    let mut asked: Vec<_> = (1..=64).flat_map(|node| asks(&fetch.handle(found(node), 0), honest)).collect();
    while asked.is_empty() {
        now_ms = fetch.wake_at_ms(now_ms).expect("the shard is missing");
        asked = asks(&fetch.handle(Event::Tick, now_ms), honest);
    }
    now_ms
}

#[test]
fn a_crowd_that_is_silent_is_asked_in_rounds_that_double() {
    for seed in 0..50 {
        let (small, large) = (asked_after_ms(360, seed), asked_after_ms(MIB, seed));
        assert!(small <= 5_000 && large <= 30_000, "seed {seed}: {small} and {large} ms");
    }
}
