//! Another implementation of the protocol, by `docs/protocol.md` alone, from the raw parts of libp2p.
//!
//! It takes TCP, noise and yamux from libp2p, and nothing of potluck: the test `the_stranger_knows_the_document_only` of
//! `tidy` holds it to that. What it could not do by the document was added to the document.
//!
//! Goals: to publish an adapter that a potluck daemon pulls, and to pull one from a daemon, checking everything itself.
//! Non-goals: to be fast, to serve many peers, to look for peers.

mod adapter;
pub mod bulk;
pub mod connection;
mod cut;
pub mod gossip;
pub mod identify;
pub mod negotiate;
mod node;
mod objects;
pub mod protobuf;
mod pull;
mod wire;

pub use adapter::Adapter;
pub use node::{Node, Said};
pub use pull::Pulled;

/// What everything here returns.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// `Ok` if `holds`, else the rule that was broken.
fn rule(holds: bool, rule: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(rule.into()) }
}

/// 32 bytes of BLAKE3, or a key.
pub type Digest = [u8; 32];

/// An id as people write it.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// And back.
pub fn unhex(text: &str) -> Outcome<Digest> {
    let digits = text.as_bytes();
    rule(digits.len() == 64, "an id has 64 digits")?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
    }
    Ok(digest)
}
