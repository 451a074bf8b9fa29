//! What gossip carries: that a manifest exists. Never the manifest, never a shard.
//!
//! Kinds are a list that grows. An announcement of a kind that a later version has added differs from others in that
//! number alone, so that everything else about it is checked here too ([`LaterAnnouncement`]).

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Malformed, Wire};
use crate::id::{AnnouncementId, BaseId, ManifestId};
use crate::limits::{ANNOUNCEMENT_MAX, BASE_BYTES_MAX, CATALOGUE_RECORD_MAX, SIGNED_MANIFEST_MAX, TAGS_MAX};
use crate::manifest::Kind;
use crate::signed::{Authentic, Claimed, PublicKey, Signable, SignatureError, Signed};
use crate::text::Name;

/// The kind of a manifest, without its fields. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindTag {
    /// A LoRA adapter.
    Adapter,
    /// The files of a base model.
    Base,
    /// Rows.
    Dataset,
    /// A channel's rules.
    Channel,
    /// An adapter offered to a channel.
    Proposal,
    /// A version of a channel.
    Version,
    /// A pointer at what a steward did wrong.
    Proof,
}

impl KindTag {
    /// How many kinds this version knows.
    pub const KNOWN: u32 = 7;

    /// How many 32nds of the places of a base its announcements of this kind have: no kind pushes out another, so that
    /// a flood of adapters leaves versions and proofs where they are.
    pub(crate) const fn share(self) -> usize {
        match self {
            Self::Adapter => 16,
            Self::Base | Self::Dataset | Self::Channel => 2,
            Self::Proposal => 4,
            Self::Version | Self::Proof => 3,
        }
    }

    /// Whether channels live by it: to miss one is to miss a revocation or a proof.
    pub const fn is_of_channels(self) -> bool {
        matches!(self, Self::Channel | Self::Version | Self::Proof)
    }
}

impl From<&Kind> for KindTag {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::Adapter(_) => Self::Adapter,
            Kind::Base(_) => Self::Base,
            Kind::Dataset(_) => Self::Dataset,
            Kind::Channel(_) => Self::Channel,
            Kind::Proposal(_) => Self::Proposal,
            Kind::Version(_) => Self::Version,
            Kind::Proof(_) => Self::Proof,
        }
    }
}

/// "This manifest exists", signed by its publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Whose existence is announced.
    pub manifest: ManifestId,
    /// Bytes of the signed manifest.
    pub manifest_len: u32,
    /// What sort of thing it is, so that a search need not fetch the manifest.
    pub kind: KindTag,
    /// The manifest's name.
    pub name: Name,
    /// Which base it belongs to: the gossip topic.
    pub base: BaseId,
    /// Bytes of all its files.
    pub total_bytes: u64,
    /// The manifest's publisher, who signs this.
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
        check_sizes(self.manifest_len, self.total_bytes)
    }
}

fn check_sizes(manifest_len: u32, total_bytes: u64) -> Result<(), Malformed> {
    let plausible = manifest_len as usize <= SIGNED_MANIFEST_MAX && total_bytes <= BASE_BYTES_MAX;
    Malformed::unless(plausible, || "the sizes that it states are beyond the limits".to_owned())
}

/// An announcement of a kind that this version does not know: the fields of every announcement, in the same context.
/// No bytes are both this and an [`Announcement`]. // I3
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterAnnouncement {
    /// Whose existence is announced.
    pub manifest: ManifestId,
    /// Bytes of the signed manifest.
    pub manifest_len: u32,
    /// From [`KindTag::KNOWN`] on, and below [`TAGS_MAX`].
    pub kind: u32,
    /// The manifest's name.
    pub name: Name,
    /// Which base it belongs to.
    pub base: BaseId,
    /// Bytes of all its files.
    pub total_bytes: u64,
    /// Who signs this.
    pub publisher: PublicKey,
    /// As in every announcement.
    pub sequence: u64,
}

impl Signable for LaterAnnouncement {
    const CONTEXT: &'static str = Announcement::CONTEXT;

    fn signer(&self) -> PublicKey {
        self.publisher
    }
}

impl Wire for LaterAnnouncement {
    const NAME: &'static str = "announcement of a later version";
    const MAX: usize = Announcement::MAX;

    fn check(&self) -> Result<(), Malformed> {
        let later = (KindTag::KNOWN..TAGS_MAX).contains(&self.kind);
        Malformed::unless(later, || "its kind is no later version's".to_owned())?;
        check_sizes(self.manifest_len, self.total_bytes)
    }
}

/// The gossip topic of a base within a network.
pub fn topic(network: &Name, base: &BaseId) -> String {
    format!("/potluck/{network}/announce/1/{base}")
}

/// The base whose topic within a network this is, if it is one.
pub fn base_of_topic(network: &Name, topic: &str) -> Option<BaseId> {
    let base = topic.rsplit('/').next()?.parse().ok()?;
    (self::topic(network, &base) == topic).then_some(base)
}

/// Why an announcement is not taken: mostly because it is provably wrong, by its bytes alone, so that whoever passed it
/// on could have known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// More than [`CATALOGUE_RECORD_MAX`] bytes, which no announcement needs that its publisher alone has signed.
    #[error("{len} bytes, at most {CATALOGUE_RECORD_MAX} are allowed")]
    TooLong {
        /// Bytes that came.
        len: usize,
    },
    /// No canonical encoding of an announcement.
    #[error("it cannot be read: {0}")]
    Codec(#[from] CodecError),
    /// Not signed, or not by the publisher that it names.
    #[error("it is not signed by its publisher: {0}")]
    Signature(#[from] SignatureError),
    /// It was said on the topic of another base.
    #[error("it belongs to base {}, not to base {}", named.short(), expected.short())]
    OtherBase {
        /// The base that it names.
        named: BaseId,
        /// The base of the topic.
        expected: BaseId,
    },
    /// Everything about it is right, and only a later version knows what it announces.
    #[error("kind {kind} is not known to this version of potluck")]
    LaterKind {
        /// The kind's number.
        kind: u32,
        /// The announcement's name.
        id: AnnouncementId,
    },
}

impl AnnouncementError {
    /// It is wrong, as opposed to unknown here.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::LaterKind { .. })
    }
}

/// Takes an announcement's bytes apart, and checks what costs next to nothing: its length, its form, that it belongs to
/// `base`, and that its publisher is among its signers. Its signatures are not checked.
pub fn read(base: BaseId, bytes: &[u8]) -> Result<Claimed<Announcement>, AnnouncementError> {
    if bytes.len() > CATALOGUE_RECORD_MAX {
        return Err(AnnouncementError::TooLong { len: bytes.len() });
    }
    let signed = Signed::<Announcement>::decode(bytes)?;
    if later_kind(signed.body()).is_some() {
        let later = read_later(base, bytes)?;
        return Err(AnnouncementError::LaterKind { kind: later.claim().kind, id: AnnouncementId(later.digest()) });
    }
    let claimed = signed.read()?;
    check_base(claimed.claim().base, base)?;
    Ok(claimed)
}

/// The same, and checks its signatures, of a later kind too. // I8
pub fn verify(base: BaseId, bytes: &[u8]) -> Result<Authentic<Announcement>, AnnouncementError> {
    match read(base, bytes) {
        Ok(claimed) => Ok(claimed.verify()?),
        Err(later @ AnnouncementError::LaterKind { .. }) => {
            read_later(base, bytes)?.verify()?;
            Err(later)
        }
        Err(fault) => Err(fault),
    }
}

fn read_later(base: BaseId, bytes: &[u8]) -> Result<Claimed<LaterAnnouncement>, AnnouncementError> {
    let claimed = Signed::<LaterAnnouncement>::decode(bytes)?.read()?;
    check_base(claimed.claim().base, base)?;
    Ok(claimed)
}

fn check_base(named: BaseId, expected: BaseId) -> Result<(), AnnouncementError> {
    if named == expected { Ok(()) } else { Err(AnnouncementError::OtherBase { named, expected }) }
}

/// The kind that a body states, if a later version has added it. It stands behind the manifest's id and length.
fn later_kind(body: &[u8]) -> Option<u32> {
    codec::later_tag(body.get(36..)?, KindTag::KNOWN)
}

/// The announcement's name: of its body alone, whoever signed it beside its publisher.
pub fn id(announcement: &Authentic<Announcement>) -> AnnouncementId {
    AnnouncementId(announcement.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    #[test]
    fn a_topic_names_its_base_and_nothing_else_does() {
        let (network, base) = (Name::new("main").expect("a name"), BaseId(Digest::of(b"base")));
        let topic = topic(&network, &base);
        assert_eq!(base_of_topic(&network, &topic), Some(base));
        let others =
            [topic.to_uppercase(), format!("{topic}/"), format!("/x{topic}"), topic[1..].to_owned(), String::new()];
        assert!(others.iter().all(|other| base_of_topic(&network, other).is_none()));
        assert_eq!(base_of_topic(&Name::new("other").expect("a name"), &topic), None);
    }
}
