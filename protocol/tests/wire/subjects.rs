//! The types that have vectors, each with the way to read it.

use potluck_protocol::announce::{Announcement, LaterAnnouncement};
use potluck_protocol::base::BaseIdentity;
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::channel::Sealed;
use potluck_protocol::codec::{self, CodecError, Wire};
use potluck_protocol::id::Digest;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::recipe::Recipe;
use potluck_protocol::shard::ShardTable;
use potluck_protocol::signed::{Signable, SignatureError, Signed, body_id};

/// A value that was read: its bytes when written again, and its id if the type has one.
#[derive(Debug)]
pub struct Read {
    pub again: Vec<u8>,
    pub id: Option<String>,
}

/// One vector file.
pub struct Subject {
    /// The file's name without its ending.
    pub file: &'static str,
    /// The type whose `impl Wire` it pins, if it is one.
    pub wire: Option<&'static str>,
    /// The longest encoding.
    pub max: usize,
    /// Decodes, verifies if signed, and writes again; the error starts with the name of its variant.
    pub read: fn(&[u8]) -> Result<Read, String>,
}

pub fn all() -> Vec<Subject> {
    vec![
        Subject { file: "digest_json", wire: None, max: 66, read: read_digest_json },
        plain::<ShardTable>("shard_table", "ShardTable"),
        plain::<BaseIdentity>("base_identity", "BaseIdentity"),
        plain::<Recipe>("recipe", "Recipe"),
        plain::<Manifest>("manifest", "Manifest"),
        plain::<Announcement>("announcement", "Announcement"),
        plain::<LaterAnnouncement>("later_announcement", "LaterAnnouncement"),
        plain::<Sealed>("sealed", "Sealed"),
        plain::<Request>("request", "Request"),
        plain::<Reply>("reply", "Reply"),
        signed::<Manifest>("signed_manifest"),
        signed::<Announcement>("signed_announcement"),
    ]
}

pub fn subject(file: &str) -> Subject {
    all().into_iter().find(|subject| subject.file == file).expect("a subject of that name")
}

/// The id of a value, for the types that have one.
pub trait MaybeId: Wire {
    fn id_text(&self) -> Option<String> {
        None
    }
}

impl MaybeId for ShardTable {}

impl MaybeId for Sealed {
    fn id_text(&self) -> Option<String> {
        self.commitment().ok().map(|id| id.to_string())
    }
}

impl MaybeId for Announcement {}
impl MaybeId for LaterAnnouncement {}
impl MaybeId for Request {}
impl MaybeId for Reply {}

impl MaybeId for BaseIdentity {
    fn id_text(&self) -> Option<String> {
        self.id().ok().map(|id| id.to_string())
    }
}

impl MaybeId for Recipe {
    fn id_text(&self) -> Option<String> {
        self.id().ok().map(|id| id.to_string())
    }
}

impl MaybeId for Manifest {
    fn id_text(&self) -> Option<String> {
        codec::encode(self).ok().map(|bytes| body_id::<Self>(&bytes).to_string())
    }
}

fn plain<T: MaybeId>(file: &'static str, wire: &'static str) -> Subject {
    Subject { file, wire: Some(wire), max: T::MAX, read: read_wire::<T> }
}

fn signed<T: Signable>(file: &'static str) -> Subject {
    let max = potluck_protocol::limits::SIGNED_MANIFEST_MAX;
    Subject { file, wire: Some("Envelope"), max, read: read_signed::<T> }
}

fn read_wire<T: MaybeId>(bytes: &[u8]) -> Result<Read, String> {
    let value: T = codec::decode(bytes).map_err(|error| codec_text(&error))?;
    let again = codec::encode(&value).map_err(|error| codec_text(&error))?;
    Ok(Read { again, id: value.id_text() })
}

fn read_signed<T: Signable>(bytes: &[u8]) -> Result<Read, String> {
    let signed = Signed::<T>::decode(bytes).map_err(|error| codec_text(&error))?;
    let authentic = signed.verify().map_err(|error| match error {
        SignatureError::Codec(error) => codec_text(&error),
        SignatureError::WeakKey => "WeakKey".to_owned(),
        SignatureError::Missing => "Missing".to_owned(),
        SignatureError::Invalid => "Invalid".to_owned(),
    })?;
    let again = authentic.signed().encode().map_err(|error| codec_text(&error))?;
    Ok(Read { again, id: Some(authentic.digest().to_string()) })
}

fn read_digest_json(bytes: &[u8]) -> Result<Read, String> {
    let digest: Digest = serde_json::from_slice(bytes).map_err(|error| format!("Undecodable: {error}"))?;
    Ok(Read { again: serde_json::to_vec(&digest).map_err(|error| error.to_string())?, id: Some(digest.to_string()) })
}

/// The variant's name, then the rule if our own code states one: what the codec's library says is not pinned.
fn codec_text(error: &CodecError) -> String {
    match error {
        CodecError::TooLong { .. } => "TooLong".to_owned(),
        CodecError::Undecodable { .. } => "Undecodable".to_owned(),
        CodecError::TrailingBytes { .. } => "TrailingBytes".to_owned(),
        CodecError::NotCanonical { .. } => "NotCanonical".to_owned(),
        CodecError::Malformed { rule, .. } => format!("Malformed: {rule}"),
    }
}
