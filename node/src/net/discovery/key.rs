//! The names under which things are found in the DHT.

use libp2p::kad::RecordKey;
use potluck_protocol::id::{BaseId, Digest, ManifestId};

/// 32 bytes; a key of any other length means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// Who has all of a manifest: its id as it is.
    pub fn manifest(id: ManifestId) -> Self {
        Self(id.0.0)
    }

    /// Who follows a base: a hash, so that it is no manifest's key.
    pub fn base(id: BaseId) -> Self {
        Self(Digest::of(&[b"base/1", id.0.0.as_slice()].concat()).0)
    }

    /// `None`: not one of ours.
    pub fn of(key: &RecordKey) -> Option<Self> {
        key.as_ref().try_into().ok().map(Self)
    }

    /// The key as Kademlia takes it.
    pub fn record(self) -> RecordKey {
        RecordKey::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_protocol_document_says() {
        let id = Digest([7; 32]);
        assert_eq!(Key::manifest(ManifestId(id)).0, [7; 32]);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"base/1").update(&[7; 32]);
        assert_eq!(Key::base(BaseId(id)).0, *hasher.finalize().as_bytes());
        assert_eq!(Key::of(&Key([9; 32]).record()), Some(Key([9; 32])));
        assert_eq!(Key::of(&RecordKey::new(&[9; 31])), None);
    }
}
