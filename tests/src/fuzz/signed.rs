//! What stands behind a signature: bodies that were changed and then signed by keys that are known here. A changed envelope
//! hardly ever has a right signature, so that nothing behind it would be reached.

use std::convert::Infallible;

use libp2p::identity::ed25519::{Keypair, SecretKey};
use potluck_protocol::announce::{self, Announcement, KindTag, LaterAnnouncement};
use potluck_protocol::catalogue::{Bounds, Catalogue, Inserted, Wanted, verify_records};
use potluck_protocol::codec;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::limits::CATALOGUE_WANTED_MAX;
use potluck_protocol::lineage::{Lineage, enclosed};
use potluck_protocol::manifest::{Kind, Manifest};
use potluck_protocol::shard::VerifiedShard;
use potluck_protocol::signed::{Authentic, PublicKey, Signable, body_id};
use potluck_protocol::verify::{Mapped, verify_manifest};

use super::protocol::{WIRE, WORDS};
use super::{Form, Memory, Outcome, Target, hold, seeds};
use crate::hostile::signed::{envelope, signature};

/// Publishers of one input, in turn.
const KEYS: u8 = 4;
/// Announcements of one input.
const ANNOUNCEMENTS_MAX: usize = 64;
/// Small, so that there is not always room.
const BOUNDS: Bounds = Bounds { per_publisher: 4, per_base: 32, in_all: 1_000 };

pub fn targets() -> [Target; 2] {
    [
        Target {
            name: "signed-body",
            about: "the body of a manifest, rightly signed: what it encloses, and what follows from it",
            form: Form::Bytes,
            words: WORDS,
            seeds: || seeds::vectors("manifest"),
            // A proof encloses two manifests.
            memory: Memory { plus: 3 * WIRE.plus, ..WIRE },
            short: 1000,
            run: body,
        },
        Target {
            name: "catalogue",
            about: "bodies of announcements, rightly signed, heard in two orders",
            form: Form::Parts,
            words: WORDS,
            seeds: announcements,
            // Each is held as bytes, as a value and in the tables of two catalogues.
            memory: Memory::new(256, 16 << 20),
            short: 300,
            run: heard,
        },
    ]
}

fn keypair(n: u8) -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([n + 1; 32]).expect("32 bytes"))
}

/// A body's own bytes under a right signature, whatever they are.
fn sign<T: Signable>(body: &[u8], key: &Keypair) -> Result<Vec<u8>, String> {
    let signature = signature::<T>(key, body).map_err(|error| error.to_string())?;
    Ok(envelope(body, vec![signature]))
}

/// The body with a publisher whose key is here, if it is one.
fn published_by(body: &[u8], key: &Keypair) -> Vec<u8> {
    let publisher = PublicKey::of(key);
    if let Ok(manifest) = codec::decode::<Manifest>(body) {
        return codec::encode(&Manifest { publisher, ..manifest }).unwrap_or_default();
    }
    body.to_vec()
}

fn body(bytes: &[u8]) -> Result<Outcome, String> {
    let key = keypair(0);
    let body = published_by(bytes, &key);
    let signed = sign::<Manifest>(&body, &key)?;
    let id = ManifestId(body_id::<Manifest>(&body));
    let manifest = match verify_manifest(id, &signed) {
        Ok(manifest) => manifest,
        Err(error) => return Outcome::refused(error),
    };
    hold(manifest.id() == id, || "it has another id than its body".to_owned())?;
    let again = manifest.signed().encode().map_err(|error| error.to_string())?;
    hold(again == signed, || "the envelope changed".to_owned())?;
    hold(verify_manifest(ManifestId(Digest::of(b"other")), &signed).is_err(), || "it is taken for another".to_owned())?;
    let tag = KindTag::from(&manifest.body().kind);
    let mut said = match follows(&manifest)? {
        Ok(what) => what,
        Err(error) => error,
    };
    // Nobody has its shards.
    let Ok(mapped) = Mapped::read(manifest, |_| Ok::<Option<VerifiedShard>, Infallible>(None));
    said.push_str(if mapped.is_ok() { "" } else { " without its shards" });
    Outcome::accepted(format!("{} {said}", tag as u32 + 1))
}

/// What is made of it before anything else is fetched; why it is not.
fn follows(manifest: &Authentic<Manifest>) -> Result<Result<String, String>, String> {
    match &manifest.body().kind {
        Kind::Proof(proof) => {
            let Some(found) = enclosed(proof) else { return Ok(Ok("it encloses nothing".to_owned())) };
            if let Ok([one, other]) = &found {
                let apart = one.id() != other.id() && one.body().publisher == other.body().publisher;
                hold(apart, || "it proves what is no contradiction".to_owned())?;
            }
            Ok(found.map(|_| "it proves".to_owned()).map_err(|error| error.to_string()))
        }
        Kind::Channel(_) => {
            Ok(Lineage::open(manifest).map(|_| "a channel".to_owned()).map_err(|error| error.to_string()))
        }
        _ => Ok(Ok(manifest.body().base().map_or("of no base", |_| "of a base").to_owned())),
    }
}

/// One of known and of later kinds, with a publisher whose key is here.
fn announced(body: &[u8], key: &Keypair) -> (Vec<u8>, BaseId) {
    let publisher = PublicKey::of(key);
    if let Ok(known) = codec::decode::<Announcement>(body) {
        let base = known.base;
        return (codec::encode(&Announcement { publisher, ..known }).unwrap_or_default(), base);
    }
    if let Ok(later) = codec::decode::<LaterAnnouncement>(body) {
        let base = later.base;
        return (codec::encode(&LaterAnnouncement { publisher, ..later }).unwrap_or_default(), base);
    }
    (body.to_vec(), BaseId(Digest::of(b"base")))
}

/// Each part is a body.
fn heard(bytes: &[u8]) -> Result<Outcome, String> {
    let (mut records, mut said, mut refused) = (Vec::new(), String::new(), String::new());
    for (n, part) in (0..).zip(seeds::split(bytes).into_iter().take(ANNOUNCEMENTS_MAX)) {
        let key = keypair(n % KEYS);
        let (body, base) = announced(part, &key);
        let signed = sign::<Announcement>(&body, &key)?;
        // As gossip brings it, and as comparing does.
        let page = verify_records(base, std::slice::from_ref(&signed), |_| None);
        match announce::verify(base, &signed) {
            Ok(record) => {
                hold(page.is_ok_and(|page| page.records.len() == 1), || "comparing refuses it".to_owned())?;
                records.push(record);
            }
            Err(error) => {
                hold(page.is_err() == error.is_fault(), || format!("comparing takes it: {error}"))?;
                refused = error.to_string();
            }
        }
    }
    let mut one = listen(&records, &mut said)?;
    let mut other = listen(&records.iter().rev().cloned().collect::<Vec<_>>(), &mut String::new())?;
    for record in &records {
        let base = record.body().base;
        let (question, answer) = (one.question(base), other.compare(&one.question(base)));
        hold(question == other.question(base), || "two orders of what was heard keep two sets".to_owned())?;
        hold(answer.ids().next().is_none(), || "equal catalogues differ".to_owned())?;
    }
    if records.is_empty() { Outcome::refused(refused) } else { Outcome::accepted(format!("{said}{refused}")) }
}

fn listen(records: &[Authentic<Announcement>], said: &mut String) -> Result<Catalogue, String> {
    let mut catalogue = Catalogue::new(BOUNDS);
    for record in records {
        said.push_str(match catalogue.insert(record.clone()) {
            Inserted::New { evicted: None, .. } => "new ",
            Inserted::New { .. } => "for another ",
            Inserted::Stale => "stale ",
            Inserted::NoRoom => "no room ",
            Inserted::TooLong => "too long ",
        });
        let again = catalogue.insert(record.clone());
        hold(!matches!(again, Inserted::New { .. }), || "it is new twice".to_owned())?;
    }
    hold(catalogue.len() <= BOUNDS.in_all, || "more is kept than there is room for".to_owned())?;
    for record in records {
        let base = record.body().base;
        let ids: Vec<_> = catalogue.of_base(&base).map(|one| announce::id(one)).take(CATALOGUE_WANTED_MAX).collect();
        hold(ids.len() <= BOUNDS.per_base, || "a base has more than its places".to_owned())?;
        let answer = catalogue.answer(&Wanted { base, ids: ids.clone() });
        let page = verify_records(base, &answer, |_| None)
            .map_err(|error| format!("it hands out what is refused: {error}"))?;
        hold(page.records.len() == ids.len(), || "it does not hand out what it has".to_owned())?;
    }
    Ok(catalogue)
}

fn announcements() -> Vec<Vec<u8>> {
    let bodies = seeds::vectors("announcement");
    let all = |count: usize| bodies.iter().cycle().take(count).map(Vec::as_slice).collect::<Vec<_>>();
    let mut inputs: Vec<Vec<u8>> = bodies.iter().map(|body| seeds::join(&[body])).collect();
    inputs.extend([2, 5, bodies.len(), 2 * bodies.len()].map(|count| seeds::join(&all(count))));
    inputs
}
