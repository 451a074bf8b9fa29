//! Keys as people write them: the 64 hex digits of a publisher, or a peer id.

use libp2p::PeerId;
use libp2p::identity;
use potluck_protocol::channel::Admission;
use potluck_protocol::id::Digest;
use potluck_protocol::signed::PublicKey;

use crate::failure::{Failure, Kind, Outcome};

/// The publishers that may propose; everybody if none is named.
pub fn admission(keys: &[String]) -> Outcome<Admission> {
    if keys.is_empty() {
        return Ok(Admission::Open);
    }
    let mut keys = keys.iter().map(|text| key(text)).collect::<Outcome<Vec<_>>>()?;
    keys.sort();
    keys.dedup();
    Ok(Admission::Listed(keys))
}

fn key(text: &str) -> Outcome<PublicKey> {
    let wrong = || {
        Failure::new(Kind::Usage, format!("`{text}` is no key of a publisher"))
            .hint("give the peer id that `potluck status` shows there, or the publisher that `potluck show` names")
    };
    let key = match text.parse::<Digest>() {
        Ok(bytes) => PublicKey(bytes),
        Err(_) => of_peer(text.parse().map_err(|_| wrong())?).ok_or_else(wrong)?,
    };
    // Bytes that are no key at all would admit nobody.
    if key.peer_id().is_some() { Ok(key) } else { Err(wrong()) }
}

/// The ed25519 key that a peer id holds.
fn of_peer(peer: PeerId) -> Option<PublicKey> {
    let hash: &libp2p::multihash::Multihash<64> = peer.as_ref();
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_ed25519().ok()?;
    Some(PublicKey(Digest(key.to_bytes())))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;

    use super::*;

    #[test]
    fn a_key_is_hex_or_a_peer_id() {
        let own = PublicKey::of(&Keypair::generate());
        let peer = own.peer_id().expect("a key").to_string();
        let listed = admission(&[own.0.to_string(), peer]).expect("both");
        assert_eq!(listed, Admission::Listed(vec![own]));
        assert_eq!(admission(&[]), Ok(Admission::Open));
        for wrong in ["", "me", "12D3KooW", &PeerId::random().to_string()] {
            assert_eq!(admission(&[wrong.to_owned()]).map_err(|failure| failure.kind), Err(Kind::Usage), "{wrong}");
        }
    }
}
