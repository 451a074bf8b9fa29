//! gossipsub, as far as somebody needs it who follows one topic and says something once.

use libp2p::identity::Keypair;

use super::protobuf::{bytes, fields, flag};
use super::{Digest, Outcome, hex};

pub fn protocol(network: &str) -> String {
    format!("/potluck/{network}/meshsub/1.1.0")
}

pub fn topic(network: &str, base: &Digest) -> String {
    format!("/potluck/{network}/announce/1/{}", hex(base))
}

/// "I follow this topic."
pub fn subscribe(topic: &str) -> Vec<u8> {
    bytes(1, &[flag(1, true), bytes(2, topic.as_bytes())].concat())
}

/// Whether a message says that its sender follows a topic.
pub fn follows(message: &[u8], topic: &str) -> Outcome<bool> {
    let topics = fields(message, 1)?.iter().map(|one| fields(one, 2)).collect::<Outcome<Vec<_>>>()?;
    Ok(topics.concat().iter().any(|one| one == topic.as_bytes()))
}

/// Data on a topic, signed as gossipsub's `StrictSign` wants it.
pub fn publish(keypair: &Keypair, topic: &str, data: &[u8], number: u64) -> Outcome<Vec<u8>> {
    let from = keypair.public().to_peer_id().to_bytes();
    let message =
        [bytes(1, &from), bytes(2, data), bytes(3, &number.to_be_bytes()), bytes(4, topic.as_bytes())].concat();
    let signature = keypair.sign(&[b"libp2p-pubsub:", message.as_slice()].concat())?;
    Ok(bytes(2, &[message, bytes(5, &signature)].concat()))
}
