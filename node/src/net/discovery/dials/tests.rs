//! Hints are bounded, and what fails is left alone for a while.

use super::*;

fn address(n: usize) -> Multiaddr {
    format!("/ip4/10.{}.{}.1/tcp/7740", n / 250, n % 250).parse().expect("a good address")
}

fn hinted(dials: &mut Dials, n: usize, why: Why) -> PeerId {
    let peer = PeerId::random();
    dials.hint(peer, &[address(n)], why, 0);
    peer
}

#[test]
fn no_more_are_dialled_than_are_wanted() {
    let mut dials = Dials::default();
    let peers: Vec<_> = (0..10).map(|n| hinted(&mut dials, n, Why::Named)).collect();
    let first = dials.due(3, 0);
    assert_eq!(first.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), peers[..3]);
    assert!(dials.due(3, 0).is_empty(), "three are on their way");
    dials.connected(&peers[0]);
    assert!(dials.due(2, 0).is_empty());
    dials.failed(&peers[1], &[], 0);
    assert_eq!(dials.due(2, 0).len(), 1);
    let near = hinted(&mut dials, 99, Why::Nearby);
    assert_eq!(dials.due(0, 0), [(near, vec![address(99)])]);
}

#[test]
fn an_address_that_failed_is_left_alone_whoever_is_said_to_be_there() {
    let mut dials = Dials::default();
    let victim = address(1);
    let first = hinted(&mut dials, 1, Why::Named);
    assert_eq!(dials.due(8, 0).len(), 1);
    dials.failed(&first, std::slice::from_ref(&victim), 0);
    for _ in 0..50 {
        dials.hint(PeerId::random(), std::slice::from_ref(&victim), Why::Named, 0);
    }
    assert!(dials.due(8, 0).is_empty());
    let wake = dials.wake_at_ms(8, 0).expect("it is tried again");
    assert_eq!(wake, limits::BACK_OFF_FIRST.as_millis() as u64);
    assert!(!dials.due(8, wake).is_empty());
}

#[test]
fn pauses_double_and_named_peers_are_given_up() {
    let mut dials = Dials::default();
    let (named, near) = (hinted(&mut dials, 1, Why::Named), hinted(&mut dials, 2, Why::Nearby));
    let (mut now, mut dialled, mut last) = (0, HashMap::new(), 0);
    while let Some(at) = dials.wake_at_ms(8, now).filter(|at| *at < 7_200_000) {
        now = at;
        for (peer, addresses) in dials.due(8, now) {
            *dialled.entry(peer).or_insert(0u32) += 1;
            dials.failed(&peer, &addresses, now);
            last = now;
        }
    }
    assert_eq!(dialled[&named], limits::TRIES);
    let longest = limits::BACK_OFF_MAX.as_millis() as u64;
    assert!((15..30).contains(&dialled[&near]) && last + longest >= 7_200_000, "{dialled:?}");
    // It was there after all, and is dialled again when it has gone.
    dials.connected(&near);
    assert_eq!(dials.wake_at_ms(8, now), None);
    dials.lost(&near, now);
    assert_eq!(dials.due(0, now + back_off_ms(1)).len(), 1);
    dials.forget(&near);
    assert_eq!(dials.wake_at_ms(8, now), None);
}

#[test]
fn hints_are_bounded_in_peers_addresses_and_groups() {
    let mut dials = Dials::default();
    let near = hinted(&mut dials, 9_000, Why::Nearby);
    for n in 0..2 * limits::HINTS {
        hinted(&mut dials, n, Why::Named);
    }
    assert_eq!((dials.wanted.len(), dials.order.len()), (limits::HINTS, limits::HINTS));
    assert!(dials.wanted.contains_key(&near), "who is near is not forgotten for who is named");
    let peer = PeerId::random();
    dials.hint(peer, &(0..20).map(|n| address(10_000 + n)).collect::<Vec<_>>(), Why::Named, 0);
    assert_eq!(dials.wanted[&peer].addresses.len(), limits::HINT_ADDRESSES);
    let mut dials = Dials::default();
    for port in 1..100 {
        let address = format!("/ip4/198.51.100.{port}/tcp/22").parse().expect("a good address");
        dials.hint(PeerId::random(), &[address], Why::Named, 0);
    }
    assert_eq!(dials.wanted.len(), limits::HINTS_PER_GROUP);
    for n in 0..2 * limits::FAILED {
        dials.failed(&peer, &[address(n)], 0);
    }
    assert_eq!((dials.failed.len(), dials.failed_order.len()), (limits::FAILED, limits::FAILED));
    let peers: Vec<_> = dials.wanted.keys().copied().collect();
    peers.iter().for_each(|peer| dials.forget(peer));
    assert!(dials.groups.is_empty() && dials.order.is_empty());
}

#[test]
fn who_dials_second_waits() {
    let mut dials = Dials::default();
    dials.hint(PeerId::random(), &[address(1)], Why::Nearby, 5_000);
    assert!(dials.due(8, 4_999).is_empty());
    assert_eq!(dials.wake_at_ms(8, 0), Some(5_000));
    assert_eq!(dials.due(8, 5_000).len(), 1);
}
