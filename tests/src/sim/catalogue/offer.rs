//! Announcements in few words.

use libp2p::identity::ed25519::{Keypair, SecretKey};

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::text::Name;

/// What is announced, each part by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    pub publisher: u8,
    pub base: u8,
    pub manifest: u16,
    pub sequence: u64,
    /// Makes another announcement of the same key and sequence number: equivocation.
    pub variant: u8,
}

impl Offer {
    /// So many of one publisher for base 0, each of its own manifest.
    pub fn many(publisher: u8, count: u16) -> Vec<Authentic<Announcement>> {
        let offer = |manifest| Self { publisher, base: 0, manifest, sequence: manifest.into(), variant: 0 };
        (0..count).map(|manifest| offer(manifest).sign()).collect()
    }

    pub fn base(number: u8) -> BaseId {
        BaseId(Digest::of(&[b'b', number]))
    }

    pub fn manifest(number: u16) -> ManifestId {
        ManifestId(Digest::of(&number.to_le_bytes()))
    }

    pub fn keypair(publisher: u8) -> Keypair {
        Keypair::from(SecretKey::try_from_bytes([publisher; 32]).expect("any 32 bytes are a key"))
    }

    /// The announcement, signed.
    pub fn sign(self) -> Authentic<Announcement> {
        self.sign_by(&Self::keypair(self.publisher))
    }

    /// The same by another key than its publisher's.
    pub fn sign_by(self, keypair: &Keypair) -> Authentic<Announcement> {
        let body = Announcement {
            manifest: Self::manifest(self.manifest),
            manifest_len: 100,
            kind: KindTag::Adapter,
            name: Name::new("n").expect("a letter is a name"),
            base: Self::base(self.base),
            total_bytes: self.variant.into(),
            publisher: PublicKey::of(keypair),
            sequence: self.sequence,
        };
        let signed =
            Signed::sign(&body, keypair).expect("it is within its bounds").expect("the key is the publisher's");
        signed.verify().expect("it was just signed")
    }
}
