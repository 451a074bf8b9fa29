//! The frames of the bulk protocol `/potluck/NETWORK/bulk/1`.
//!
//! Half-duplex: who opens the stream sends requests only, who accepts it sends replies only. (Both writing at once has
//! deadlocked yamux: rust-libp2p issue 5410.) A frame is a little-endian `u32` length, then that many bytes of
//! [`Request`] or [`Reply`] in the canonical encoding. Replies to one stream's requests come in the order of the
//! requests; a shard comes in pieces of at most [`DATA_MAX`] bytes, between which the downloader may call it back.
//!
//! Both lists grow at their end. A request that this version does not know is refused with [`Refusal::NotFound`], a reply
//! or refusal that it does not know counts as that; neither is a fault, for it comes from a later version.
//!
//! Goals: every frame bounded, nothing answered by silence. Non-goals: to verify (receivers do that by hash), to find
//! peers.

use serde::{Deserialize, Serialize};

use crate::catalogue::{Compare, Differing, Question, Wanted};
use crate::codec::{Growing, Malformed, Wire, later_tag};
use crate::id::{BaseId, ManifestId, ShardId};
use crate::limits::{
    ADDRESS_MAX, ADDRESSES_MAX, ANNOUNCEMENT_MAX, ANNOUNCEMENTS_MAX, CATALOGUE_RECORD_MAX, CATALOGUE_WANTED_MAX,
    DATA_MAX, HAVE_MAX, PROVIDERS_MAX, REPLY_MAX, REQUEST_MAX, SHARD_MAX, SIGNED_MANIFEST_MAX,
};

/// What a downloader asks. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The signed manifest of that id.
    Manifest(ManifestId),
    /// Which of these shards the provider can serve now.
    Have(Vec<ShardId>),
    /// One shard.
    Shard(ShardId),
    /// Peers that the provider believes to hold the manifest.
    Providers(ManifestId),
    /// Announcements of a base that the provider stands behind; of a node from before that, some that it knows.
    Announcements(BaseId),
    /// Where the provider's catalogue of a base differs from ours.
    Compare(Compare),
    /// Records of its catalogue.
    Records(Wanted),
    /// The oldest request for that shard on this stream is not wanted any more: what is left of its answer may be
    /// replaced by [`Refusal::Cancelled`]. Has no answer of its own; one that comes too late is ignored.
    Cancel(ShardId),
    /// Peers of this network that the provider has met lately and where they can be dialled.
    Peers,
}

impl From<Question> for Request {
    fn from(question: Question) -> Self {
        match question {
            Question::Compare(compare) => Self::Compare(compare),
            Question::StoodBehind(base) => Self::Announcements(base),
            Question::Records(wanted) => Self::Records(wanted),
        }
    }
}

/// What a provider answers. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The signed manifest's bytes.
    Manifest(#[serde(with = "serde_bytes")] Vec<u8>),
    /// One flag for each shard asked about, in order.
    Have(Vec<bool>),
    /// The next piece of the shard asked for.
    Shard {
        /// Bytes of the whole shard.
        len: u32,
        /// Where this piece starts: pieces come in order without gaps.
        offset: u32,
        /// 1 to [`DATA_MAX`] of them.
        // The same encoding as a list of bytes, copied in one piece.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Hints of whom else to ask: at most [`PROVIDERS_MAX`], each with at most [`ADDRESSES_MAX`] addresses.
    Providers(Vec<Provider>),
    /// The request cannot be served.
    Refused(Refusal),
    /// Signed announcements.
    Announcements(Vec<Vec<u8>>),
    /// The parts that differ, with the ids of the records in them.
    Differing(Differing),
    /// Signed announcements, each one that was asked for; those that are gone are left out.
    Records(Vec<Vec<u8>>),
    /// Hints of whom to dial, bounded as [`Reply::Providers`].
    Peers(Vec<Provider>),
}

/// Why a request is not served. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The provider does not hold it.
    NotFound,
    /// Not now.
    Busy {
        /// Milliseconds after which it is worth asking again.
        retry_ms: u32,
    },
    /// The downloader has called it back; the pieces before this were all.
    Cancelled,
}

/// A peer and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// The libp2p peer id, as bytes.
    pub peer: Vec<u8>,
    /// Multiaddresses, as bytes.
    pub addresses: Vec<Vec<u8>>,
}

impl Wire for Request {
    const NAME: &'static str = "bulk request";
    const MAX: usize = REQUEST_MAX;

    fn check(&self) -> Result<(), Malformed> {
        match self {
            Self::Have(shards) => Malformed::unless((1..=HAVE_MAX).contains(&shards.len()), || {
                format!("{} shards asked about, not 1 to {HAVE_MAX}", shards.len())
            }),
            Self::Compare(compare) => {
                Malformed::unless(compare.is_bounded(), || "not one digest for each part of a catalogue".to_owned())
            }
            Self::Records(wanted) => {
                Malformed::unless(wanted.is_bounded(), || "too many records, none, or not sorted".to_owned())
            }
            Self::Manifest(_)
            | Self::Shard(_)
            | Self::Providers(_)
            | Self::Announcements(_)
            | Self::Cancel(_)
            | Self::Peers => Ok(()),
        }
    }
}

impl Request {
    /// How many requests this version knows.
    const KNOWN: u32 = 9;
}

impl Growing for Request {
    fn later_tag(bytes: &[u8]) -> Option<u32> {
        later_tag(bytes, Self::KNOWN)
    }
}

impl Reply {
    /// How many replies this version knows.
    const KNOWN: u32 = 9;
    /// The number of [`Self::Refused`].
    const REFUSED: u32 = 4;
}

impl Refusal {
    /// How many refusals this version knows.
    const KNOWN: u32 = 3;
}

impl Growing for Reply {
    /// A later reply, or a later refusal in a reply.
    fn later_tag(bytes: &[u8]) -> Option<u32> {
        let refusal = bytes.strip_prefix(&Self::REFUSED.to_le_bytes());
        later_tag(bytes, Self::KNOWN).or_else(|| later_tag(refusal?, Refusal::KNOWN))
    }
}

impl Wire for Reply {
    const NAME: &'static str = "bulk reply";
    const MAX: usize = REPLY_MAX;

    fn check(&self) -> Result<(), Malformed> {
        let (good, rule) = match self {
            Self::Manifest(bytes) => (bytes.len() <= SIGNED_MANIFEST_MAX, "the manifest is too long"),
            Self::Have(flags) => (flags.len() <= HAVE_MAX, "more flags than can be asked for"),
            Self::Shard { len, offset, bytes } => (
                (1..=SHARD_MAX as u32).contains(len)
                    && (1..=DATA_MAX).contains(&bytes.len())
                    && u64::from(*offset) + bytes.len() as u64 <= u64::from(*len),
                "the piece does not lie within a shard",
            ),
            Self::Providers(peers) | Self::Peers(peers) => (
                peers.len() <= PROVIDERS_MAX && peers.iter().all(Provider::is_bounded),
                "too many providers or addresses",
            ),
            Self::Refused(_) => (true, ""),
            Self::Announcements(all) => (
                all.len() <= ANNOUNCEMENTS_MAX && all.iter().all(|one| (1..=ANNOUNCEMENT_MAX).contains(&one.len())),
                "too many announcements, or too long ones",
            ),
            Self::Differing(differing) => (differing.is_bounded(), "the parts or ids are too many or not sorted"),
            Self::Records(all) => (
                all.len() <= CATALOGUE_WANTED_MAX
                    && all.iter().all(|one| (1..=CATALOGUE_RECORD_MAX).contains(&one.len())),
                "too many records, or too long ones",
            ),
        };
        Malformed::unless(good, || rule.to_owned())
    }
}

impl Provider {
    fn is_bounded(&self) -> bool {
        self.peer.len() <= 64
            && self.addresses.len() <= ADDRESSES_MAX
            && self.addresses.iter().all(|address| (1..=ADDRESS_MAX).contains(&address.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{self, CodecError, Heard};
    use crate::limits::TAGS_MAX;

    /// What the decoder says of a tag, and whether it is taken for a later version's.
    fn judged<T: Growing + std::fmt::Debug>(tags: &[u32]) -> (String, Option<u32>) {
        let bytes: Vec<u8> = tags.iter().flat_map(|tag| tag.to_le_bytes()).collect();
        let Err(CodecError::Undecodable { reason, .. }) = codec::decode::<T>(&bytes) else { return Default::default() };
        let later = match codec::decode_growing::<T>(&bytes) {
            Ok(Heard::Later(tag)) => Some(tag),
            _ => None,
        };
        (reason, later)
    }

    #[test]
    fn the_first_number_that_is_not_known_is_a_later_versions() {
        for (known, (reason, later)) in [
            (Request::KNOWN, judged::<Request>(&[Request::KNOWN])),
            (Reply::KNOWN, judged::<Reply>(&[Reply::KNOWN])),
            (Refusal::KNOWN, judged::<Reply>(&[Reply::REFUSED, Refusal::KNOWN])),
        ] {
            assert!(reason.contains(&format!("variant index 0 <= i < {known}")), "{known}: {reason}");
            assert_eq!(later, Some(known));
        }
        assert_eq!(judged::<Request>(&[Request::KNOWN - 1, 0]).1, None, "what is known and damaged is a fault");
        assert_eq!(judged::<Request>(&[TAGS_MAX]).1, None, "no version makes it");
        assert_eq!(judged::<Reply>(&[Reply::REFUSED, TAGS_MAX]).1, None);
    }

    #[test]
    fn a_later_request_is_no_longer_than_any_request() {
        let mut long = vec![0; Request::MAX + 1];
        long[0] = 200;
        assert!(matches!(codec::decode_growing::<Request>(&long), Err(CodecError::TooLong { .. })));
        long.pop();
        assert_eq!(codec::decode_growing::<Request>(&long), Ok(Heard::Later(200)));
    }
}
