//! Swarms of real nodes in one process, over TCP on the loopback interface: members that are killed, cut off from each
//! other, and asked what they know.

mod heard;
mod member;
mod node;
pub mod observer;
mod whole;

pub use heard::Heard;
pub use member::{Member, Plan};
pub use node::Node;
pub use whole::Swarm;

use libp2p::identity::ed25519;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::signed::{Authentic, PublicKey, Signed};

use crate::crash::Outcome;

/// The base that everybody follows.
pub fn base() -> BaseId {
    BaseId(Digest::of(b"the base of a test swarm"))
}

/// A key that follows from a text.
pub fn key(seed: &str) -> Outcome<ed25519::Keypair> {
    let mut secret = *blake3::hash(seed.as_bytes()).as_bytes();
    Ok(ed25519::SecretKey::try_from_bytes(&mut secret)?.into())
}

/// An announcement of a manifest that nobody has: only its name matters.
pub fn announcement(publisher: &ed25519::Keypair, name: &str, sequence: u64) -> Outcome<Authentic<Announcement>> {
    let body = Announcement {
        manifest: ManifestId(Digest::of(name.as_bytes())),
        manifest_len: 100,
        kind: KindTag::Adapter,
        name: name.parse()?,
        base: base(),
        total_bytes: 1000,
        publisher: PublicKey::of(publisher),
        sequence,
    };
    let signed = Signed::sign(&body, publisher)?.ok_or("it is its own signer")?;
    Ok(signed.verify()?)
}
