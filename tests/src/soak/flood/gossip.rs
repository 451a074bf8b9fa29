//! gossipsub's frames by hand: whatever an honest implementation would not send.

use libp2p::identity::Keypair;
use potluck_protocol::announce;

use super::raw::varint;
use super::target::NETWORK;
use crate::crash::{Outcome, bytes};
use crate::swarm::{announcement, base, key};

/// The protocol of the flooded network.
pub fn protocol() -> String {
    format!("/potluck/{NETWORK}/meshsub/1.1.0")
}

/// A field of bytes.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A frame with one message, signed as gossipsub wants it.
pub fn message(from: &Keypair, sequence: u64, data: &[u8]) -> Outcome<Vec<u8>> {
    let topic = announce::topic(&NETWORK.parse()?, &base());
    let peer = from.public().to_peer_id().to_bytes();
    let unsigned =
        [field(1, &peer), field(2, data), field(3, &sequence.to_be_bytes()), field(4, topic.as_bytes())].concat();
    let signature = from.sign(&[b"libp2p-pubsub:", unsigned.as_slice()].concat())?;
    Ok(framed(&field(2, &[unsigned, field(5, &signature)].concat())))
}

/// A message whose signature is wrong.
pub fn unsigned(from: &Keypair, sequence: u64, data: &[u8]) -> Outcome<Vec<u8>> {
    let mut frame = message(from, sequence, data)?;
    *frame.last_mut().ok_or("it is not empty")? ^= 1;
    Ok(frame)
}

/// An announcement that verifies.
pub fn good(seed: &str) -> Outcome<Vec<u8>> {
    Ok(announcement(&key(seed)?, "flood", 1)?.signed().encode()?)
}

/// Bytes that no announcement has.
pub fn nonsense(seed: &str) -> Vec<u8> {
    bytes(seed, 300)
}

/// The beginning of a frame of a mebibyte.
pub fn oversized() -> Vec<u8> {
    [varint(1 << 20), vec![7; 64 << 10]].concat()
}

fn framed(rpc: &[u8]) -> Vec<u8> {
    [varint(rpc.len() as u64), rpc.to_vec()].concat()
}
