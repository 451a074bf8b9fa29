//! What gossip carries: that a manifest exists. Never the manifest, never a shard.

use serde::{Deserialize, Serialize};

use crate::codec::{Malformed, Wire};
use crate::id::{BaseId, ManifestId};
use crate::limits::{ANNOUNCEMENT_MAX, BASE_BYTES_MAX, SIGNED_MANIFEST_MAX};
use crate::signed::{PublicKey, Signable};
use crate::text::Name;

/// The kind of a manifest, without its fields. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindTag {
    Adapter,
    Base,
    Dataset,
}

/// "This manifest exists", signed by its publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub manifest: ManifestId,
    /// Bytes of the signed manifest.
    pub manifest_len: u32,
    pub kind: KindTag,
    pub name: Name,
    /// Which base it belongs to: the gossip topic.
    pub base: BaseId,
    /// Bytes of all its files.
    pub total_bytes: u64,
    pub publisher: PublicKey,
    /// Rises with every announcement of this publisher: an older one never replaces a newer one.
    pub sequence: u64,
}

impl Signable for Announcement {
    const CONTEXT: &'static str = "potluck 2026 announcement/1";

    fn signer(&self) -> PublicKey {
        self.publisher
    }
}

impl Wire for Announcement {
    const NAME: &'static str = "announcement";
    // The certificate and the envelope's lengths take the rest of ANNOUNCEMENT_MAX.
    const MAX: usize = ANNOUNCEMENT_MAX / 2;

    fn check(&self) -> Result<(), Malformed> {
        let plausible = self.manifest_len as usize <= SIGNED_MANIFEST_MAX && self.total_bytes <= BASE_BYTES_MAX;
        Malformed::unless(plausible, || "the sizes that it states are beyond the limits".to_owned())
    }
}

/// The gossip topic of a base within a network.
pub fn topic(network: &Name, base: &BaseId) -> String {
    format!("/potluck/{network}/announce/1/{base}")
}
