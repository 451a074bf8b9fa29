//! What attackers sign: manifests and announcements in the right form, and envelopes in a form that nobody else makes.

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::codec;
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, ManifestId};
use potluck_protocol::manifest::{FileEntry, Kind, Manifest};
use potluck_protocol::signed::{PublicKey, Signable, Signed};
use potluck_protocol::text::Name;

use super::Outcome;

/// A manifest as it travels.
#[derive(Clone, Debug)]
pub struct SignedManifest {
    pub id: ManifestId,
    pub body: Manifest,
    pub bytes: Vec<u8>,
}

/// An announcement as it travels.
#[derive(Clone, Debug)]
pub struct SignedRecord {
    pub id: AnnouncementId,
    pub base: BaseId,
    pub bytes: Vec<u8>,
}

/// A manifest of a kind. `created` makes it another one.
pub fn manifest(key: &Keypair, name: &str, kind: Kind, files: Vec<FileEntry>, created: u64) -> Outcome<SignedManifest> {
    let body = Manifest {
        kind,
        name: Name::new(name)?,
        licence: "MIT".to_owned(),
        description: String::new(),
        created,
        publisher: PublicKey::of(key),
        files,
    };
    let signed = Signed::sign(&body, key)?.ok_or("it is its own signer")?;
    Ok(SignedManifest { id: ManifestId(signed.digest()), bytes: signed.encode()?, body })
}

/// A manifest that exists in name only.
pub fn nowhere(seed: &str) -> ManifestId {
    ManifestId(Digest::of(seed.as_bytes()))
}

/// "This exists", of something that need not.
pub fn announcement(key: &Keypair, manifest: ManifestId, kind: KindTag, base: BaseId) -> Announcement {
    Announcement {
        manifest,
        manifest_len: 300,
        kind,
        name: Name::new("offer").expect("a name"),
        base,
        total_bytes: 1,
        publisher: PublicKey::of(key),
        sequence: 1,
    }
}

/// The announcement of a manifest.
pub fn announcement_of(manifest: &SignedManifest, sequence: u64) -> Outcome<Announcement> {
    let body = &manifest.body;
    Ok(Announcement {
        manifest: manifest.id,
        manifest_len: u32::try_from(manifest.bytes.len())?,
        kind: KindTag::from(&body.kind),
        name: body.name.clone(),
        base: body.base().ok_or("it belongs to a base")?,
        total_bytes: body.total_bytes(),
        publisher: body.publisher,
        sequence,
    })
}

/// An announcement signed by its publisher.
pub fn record(key: &Keypair, body: &Announcement) -> Outcome<SignedRecord> {
    let signed = Signed::sign(body, key)?.ok_or("it is its own signer")?;
    Ok(SignedRecord { id: AnnouncementId(signed.digest()), base: body.base, bytes: signed.encode()? })
}

/// One signature, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    pub key: [u8; 32],
    pub bytes: [u8; 64],
}

/// A key's signature over the bytes of a body.
pub fn signature<T: Signable>(key: &Keypair, body: &[u8]) -> Outcome<Signature> {
    let message = [&[u8::try_from(T::CONTEXT.len())?], T::CONTEXT.as_bytes(), body].concat();
    let bytes = key.sign(&message).try_into().map_err(|_| "ed25519 signs with 64 bytes")?;
    Ok(Signature { key: key.public().to_bytes(), bytes })
}

/// A body under any signatures.
pub fn envelope(body: &[u8], mut signatures: Vec<Signature>) -> Vec<u8> {
    signatures.sort_by_key(|one| one.key);
    let list = signatures.iter().flat_map(|one| [one.key.as_slice(), one.bytes.as_slice()].concat());
    let counted = |count: usize| (count as u64).to_le_bytes();
    let head = [counted(body.len()).as_slice(), body, &counted(signatures.len())].concat();
    head.into_iter().chain(list).collect()
}

/// Where an encoded announcement has its kind: after the manifest's id and length.
const KIND_AT: usize = 36;

/// An announcement of a kind that no version of the program knows yet, rightly signed.
pub fn unknown_kind(key: &Keypair, base: BaseId, seed: &str, kind: u32) -> Outcome<Vec<u8>> {
    let known = announcement(key, nowhere(seed), KindTag::Adapter, base);
    let mut body = codec::encode(&known)?;
    body[KIND_AT..KIND_AT + 4].copy_from_slice(&kind.to_le_bytes());
    Ok(envelope(&body, vec![signature::<Announcement>(key, &body)?]))
}

#[cfg(test)]
mod tests {
    use potluck_protocol::announce;

    use super::*;
    use crate::hostile::keys::key;

    #[test]
    fn envelopes_by_hand_are_what_the_protocol_reads() {
        let keys: Vec<_> = (0..16).map(|n| key(&n.to_string()).expect("a key")).collect();
        let base = BaseId(Digest::of(b"base"));
        let one = announcement(&keys[0], nowhere("a"), KindTag::Adapter, base);
        let body = codec::encode(&one).expect("encodes");
        let sign = |key: &Keypair| signature::<Announcement>(key, &body).expect("signs");
        assert_eq!(record(&keys[0], &one).expect("signs").bytes, envelope(&body, vec![sign(&keys[0])]));
        let all = envelope(&body, keys.iter().map(sign).collect());
        let all = Signed::<Announcement>::decode(&all).expect("an envelope");
        assert_eq!(all.verify().expect("right").body(), &one);
        let known = unknown_kind(&keys[0], base, "a", KindTag::Adapter as u32).expect("signs");
        assert_eq!(announce::verify(base, &known).expect("right").body(), &one);
    }
}
