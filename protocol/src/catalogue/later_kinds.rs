//! Comparing with a peer that has records of a kind which only a later version knows.

use libp2p_identity::ed25519::{Keypair, SecretKey};
use libp2p_identity::{PeerId, PublicKey};

use super::{Action, Catalogue, Differing, Event, Neighbourhood, Page, Question, Reconcile};
use crate::id::{AnnouncementId, BaseId, Digest};

#[test]
fn a_record_of_a_later_kind_is_fetched_once_and_brings_no_comparison_forward() {
    let (mut machine, mut ours) = (Reconcile::new(1), Catalogue::default());
    let key = Keypair::from(SecretKey::try_from_bytes([7; 32]).expect("any 32 bytes are a key"));
    let (peer, base) = (PeerId::from_public_key(&PublicKey::from(key.public())), BaseId(Digest::of(b"base")));
    let later = AnnouncementId(Digest::of(b"later"));
    let (mut compared, mut fetched) = (0, 0);
    let mut events = vec![Event::Met { peer, base, near: Neighbourhood(1) }];
    for second in 0..3_600 {
        events.push(Event::Tick);
        while let Some(event) = events.pop() {
            for action in machine.handle(event, 1_000 * second, &mut ours) {
                match action {
                    Action::Ask { round, question: Question::Compare(_), .. } => {
                        compared += 1;
                        events.push(Event::Differs { round, differing: Differing::of([later]) });
                    }
                    Action::Ask { round, question: Question::Records(wanted), .. } => {
                        assert_eq!(wanted.ids, [later]);
                        fetched += 1;
                        let page = Page { records: Vec::new(), later: vec![later] };
                        events.push(Event::Records { round, page });
                    }
                    Action::Ended { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    // When it was met, and as often as with anybody else.
    assert!(fetched == 1 && (5..=9).contains(&compared), "compared {compared} times, fetched {fetched} times");
}
