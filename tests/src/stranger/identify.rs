//! What a node says of itself: `/ipfs/id/1.0.0` of libp2p.

use libp2p::identity::PublicKey;

use super::protobuf::{bytes, fields};
use super::{Outcome, rule};

pub const PROTOCOL: &str = "/ipfs/id/1.0.0";

/// Our answer: the version is what tells networks apart.
pub fn answer(network: &str, key: &PublicKey, spoken: &[String]) -> Vec<u8> {
    let mut message = bytes(1, &key.encode_protobuf());
    message.extend(spoken.iter().flat_map(|protocol| bytes(3, protocol.as_bytes())));
    message.extend(bytes(5, version(network).as_bytes()));
    message.extend(bytes(6, b"stranger/1"));
    message
}

/// The other side is of the same network.
pub fn check(network: &str, message: &[u8]) -> Outcome<()> {
    rule(fields(message, 5)? == [version(network).into_bytes()], "the peer is of this network")
}

fn version(network: &str) -> String {
    format!("/potluck/{network}/1")
}
