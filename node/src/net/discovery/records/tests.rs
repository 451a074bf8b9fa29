//! What strangers say never pushes out what is ours, nor what other strangers say.

use std::time::Duration;

use libp2p::Multiaddr;
use proptest::prelude::*;

use super::*;

fn key(n: u32) -> Key {
    Key(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn group(n: u16) -> AddressGroup {
    let [a, b] = n.to_be_bytes();
    AddressGroup::from(&format!("/ip4/1.{a}.{b}.1/tcp/1").parse::<Multiaddr>().expect("a good address"))
}

fn record(key: Key, provider: PeerId) -> ProviderRecord {
    let addresses = vec!["/ip4/198.51.100.7/tcp/7740".parse().expect("a good address")];
    let expires = Some(Instant::now() + limits::RECORD_TTL);
    ProviderRecord { key: key.record(), provider, expires, addresses }
}

/// The counts say what is there.
fn assert_consistent(records: &Records) {
    let all: Vec<_> = records.theirs.iter().flat_map(|(key, all)| all.iter().map(move |held| (key, held))).collect();
    assert_eq!(all.len(), records.order.len());
    assert_eq!(records.peers.values().sum::<usize>(), all.len());
    assert_eq!(records.groups.values().map(BTreeMap::len).sum::<usize>(), all.len());
    let sizes = records.groups.iter().map(|(group, members)| (members.len(), *group)).collect();
    assert_eq!(records.sizes, sizes);
    for (key, held) in &all {
        let name = (**key, held.record.provider);
        assert_eq!(records.order.get(&held.number), Some(&name));
        assert_eq!(records.groups[&held.group].get(&held.number), Some(&name));
    }
    let bounds = records.bounds;
    assert!(all.len() <= bounds.all && records.theirs.values().all(|all| (1..=bounds.per_key).contains(&all.len())));
    assert!(records.peers.values().all(|count| *count <= bounds.per_peer));
    assert!(records.sizes.iter().all(|(size, _)| *size <= bounds.per_group));
}

#[test]
fn ten_thousand_records_of_a_stranger_do_not_push_ours_out() {
    let local = PeerId::random();
    let mut records = Records::new(local);
    for n in 0..100 {
        records.add_provider(record(key(n), local)).expect("there is room");
    }
    let (stranger, honest) = (PeerId::random(), PeerId::random());
    records.hear(record(key(5), honest), group(1), Instant::now()).expect("there is room");
    let heard = (0..10_000).filter(|n| records.hear(record(key(*n), stranger), group(2), Instant::now()).is_ok());
    assert_eq!(heard.count(), limits::RECORDS_PER_PEER);
    // Then with a key for each record, from one network.
    for n in 0..10_000 {
        let _ = records.hear(record(key(n), PeerId::random()), group(2), Instant::now());
    }
    assert_eq!(records.len(), 1 + limits::RECORDS_PER_GROUP);
    assert_consistent(&records);
    assert_eq!(records.provided().count(), 100);
    assert!((0..100).all(|n| records.providers(&key(n).record()).iter().any(|one| one.provider == local)));
    assert!(records.providers(&key(5).record()).iter().any(|one| one.provider == honest));
    records.add_provider(record(key(20_000), local)).expect("strangers' records are not counted as ours");
}

#[test]
fn a_large_group_makes_room_for_others() {
    let mut records = Records::new(PeerId::random());
    // Five networks' worth of keys made by somebody who has them all.
    for n in 0..5 * limits::RECORDS_PER_GROUP as u32 {
        let _ = records.hear(record(key(n), PeerId::random()), group((n % 5) as u16), Instant::now());
    }
    assert_eq!(records.len(), limits::RECORDS);
    let honest = PeerId::random();
    for n in 0..50 {
        records.hear(record(key(1_000_000 + n), honest), group(9), Instant::now()).expect("room is made");
    }
    for n in 0..1_000 {
        let _ = records.hear(record(key(2_000_000 + n), PeerId::random()), group((n % 5) as u16), Instant::now());
    }
    assert_consistent(&records);
    assert!((0..50).all(|n| records.providers(&key(1_000_000 + n).record()).len() == 1));
}

#[test]
fn one_network_cannot_fill_a_key() {
    let mut records = Records::new(PeerId::random());
    for _ in 0..100 {
        let _ = records.hear(record(key(1), PeerId::random()), group(1), Instant::now());
    }
    let honest: Vec<_> = (0..30).map(|n| (PeerId::random(), group(100 + n))).collect();
    for (n, (peer, group)) in honest.iter().enumerate() {
        let heard = records.hear(record(key(1), *peer), *group, Instant::now());
        assert!(heard.is_ok() || n >= limits::RECORDS_PER_KEY - 1, "{n}");
    }
    let again = records.hear(record(key(1), PeerId::random()), honest[0].1, Instant::now());
    assert!(again.is_err() || records.theirs[&key(1)].iter().filter(|held| held.group == honest[0].1).count() == 1);
    assert_eq!(records.providers(&key(1).record()).len(), limits::RECORDS_PER_KEY);
    assert_consistent(&records);
}

#[test]
fn whoever_came_first_with_many_networks_keeps_nobody_out_of_a_key() {
    let mut records = Records::new(PeerId::random());
    let first: Vec<_> = (0..limits::RECORDS_PER_KEY as u16).map(|n| (PeerId::random(), group(n))).collect();
    for (peer, group) in &first {
        records.hear(record(key(1), *peer), *group, Instant::now()).expect("there is room");
    }
    let mut kept = 0;
    for n in 0..200 {
        kept += usize::from(records.hear(record(key(1), PeerId::random()), group(1000 + n), Instant::now()).is_ok());
        // Those who were there come again after each of them.
        for (peer, group) in &first {
            let _ = records.hear(record(key(1), *peer), *group, Instant::now());
        }
    }
    assert!(kept > 0, "ten times as many networks, and none of them is heard of");
    let here = records.providers(&key(1).record());
    assert_eq!(here.len(), limits::RECORDS_PER_KEY);
    let of_first = here.iter().filter(|one| first.iter().any(|(peer, _)| *peer == one.provider)).count();
    assert!(of_first < limits::RECORDS_PER_KEY, "nobody else is left");
    assert_consistent(&records);
}

#[test]
fn what_is_old_or_makes_no_sense_goes() {
    let local = PeerId::random();
    let mut records = Records::new(local);
    let now = Instant::now();
    let peer = PeerId::random();
    records.hear(record(key(1), peer), group(1), now).expect("there is room");
    records.hear(record(key(2), peer), group(1), now + 2 * limits::RECORD_TTL).expect("there is room");
    assert_eq!((records.len(), records.providers(&key(1).record()).len()), (1, 0));
    let odd = ProviderRecord { key: RecordKey::new(&[1; 31]), ..record(key(1), peer) };
    assert_eq!(records.hear(odd.clone(), group(1), now), Err(Refused::Key));
    assert_eq!(records.hear(record(key(1), local), group(1), now), Err(Refused::Ourselves));
    assert!(records.add_provider(record(key(1), peer)).is_err(), "only ours come unfiltered");
    assert!(records.add_provider(odd).is_err());
    assert!(records.put(Record::new(key(1).record(), vec![1])).is_err());
}

#[test]
fn our_own_keys_are_bounded_too() {
    let local = PeerId::random();
    let mut records = Records::new(local);
    for n in 0..limits::PROVIDED as u32 {
        records.add_provider(record(key(n), local)).expect("there is room");
    }
    assert!(records.add_provider(record(key(u32::MAX), local)).is_err());
    records.add_provider(record(key(0), local)).expect("it is there already");
    records.remove_provider(&key(0).record(), &local);
    records.add_provider(record(key(u32::MAX), local)).expect("there is room again");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_comes_the_bounds_hold(all in prop::collection::vec((0u32..6, 0usize..8, 0u16..4, 0u64..4, any::<bool>()), 0..120)) {
        let peers: Vec<_> = (0..8u8).map(|n| crate::net::testing::key(n + 1)).map(|key| PeerId::from_public_key(&libp2p::identity::Keypair::from(key).public())).collect();
        let mut records = Records::with_bounds(PeerId::random(), Bounds { all: 12, per_peer: 4, per_group: 8, per_key: 3 });
        let start = Instant::now();
        for (n, peer, from, hours, remove) in all {
            let now = start + Duration::from_secs(hours * 3600);
            if remove {
                records.remove_provider(&key(n).record(), &peers[peer]);
            } else {
                let _ = records.hear(record(key(n), peers[peer]), group(from), now);
            }
            assert_consistent(&records);
        }
    }
}
