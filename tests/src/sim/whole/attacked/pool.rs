//! What is said in these worlds, signed once for all of them.

use std::sync::OnceLock;

use libp2p::identity::ed25519::{Keypair, SecretKey};

use crate::hostile::signed::{self, Signature};
use crate::sim::catalogue::Offer;
use potluck_protocol::announce::{self, Announcement, KindTag};
use potluck_protocol::catalogue::lot;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::limits::{BASE_BYTES_MAX, SIGNED_MANIFEST_MAX};
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::text::Name;

pub const HONEST: usize = 20;
pub const STRANGERS: usize = 20;
/// What honest nodes publish: each of them two adapters, then come the steward's versions and some auditors' proofs.
pub const ADAPTERS: usize = 2 * HONEST;
pub const VERSIONS: usize = 4;
pub const PROOFS: usize = 4;
pub const MANIFESTS: usize = ADAPTERS + VERSIONS + PROOFS;

/// The epoch in which every world begins; it ends in the next one.
pub const EPOCH: u64 = 90_000;

/// Of what one stranger has to say.
pub const GROUND_EACH: usize = 20;
pub const PHANTOMS_EACH: usize = 12;
pub const JUNK_EACH: usize = 8;
/// Keys that one stranger has, and how often each signs the same again under a higher number.
pub const RESIGNED_EACH: usize = 4;
pub const RESIGNED_TIMES: usize = 24;
const LATER: usize = 16;
/// Keys from which honest nodes get the worst lots, and strangers the best, of both epochs.
const DRAWS: usize = 2_000;

type Record = Authentic<Announcement>;

pub struct Pool {
    /// Of the nodes, the honest ones first.
    pub keys: Vec<Keypair>,
    /// What honest nodes say, by the manifest's number.
    pub honest: Vec<Record>,
    /// For each epoch: records of keys whose lots are best in it.
    pub ground: [Vec<Record>; 2],
    /// Of manifests that do not exist, some of them said to be as large as can be.
    pub phantoms: Vec<Record>,
    /// Each stranger's announcements of all that honest nodes publish.
    pub claims: Vec<Vec<Record>>,
    /// One of each stranger by its node's own key, so that there would be a place for it. It is never said rightly.
    pub unsaid: Vec<Record>,
    /// Proofs that prove nothing.
    pub junk: Vec<Record>,
    /// One manifest of each of some keys, again and again under higher numbers.
    pub resigned: Vec<Vec<Record>>,
    /// Of kinds that only a later version knows.
    pub later: Vec<Vec<u8>>,
}

pub fn base() -> BaseId {
    Offer::base(0)
}

fn keypair(name: &str) -> Keypair {
    let secret = SecretKey::try_from_bytes(Digest::of(name.as_bytes()).0).expect("any 32 bytes are a key");
    Keypair::from(secret)
}

/// Who publishes a manifest.
pub fn publisher(manifest: usize) -> usize {
    match manifest {
        0..ADAPTERS => manifest % HONEST,
        _ if manifest < ADAPTERS + VERSIONS => 0,
        _ => 1 + (manifest - ADAPTERS - VERSIONS) % (HONEST - 1),
    }
}

/// What kind a manifest is of.
pub fn kind(manifest: usize) -> KindTag {
    match manifest {
        0..ADAPTERS => KindTag::Adapter,
        _ if manifest < ADAPTERS + VERSIONS => KindTag::Version,
        _ => KindTag::Proof,
    }
}

fn sign(key: &Keypair, manifest: ManifestId, kind: KindTag, sequence: u64, huge: bool) -> Record {
    let body = Announcement {
        manifest,
        manifest_len: if huge { SIGNED_MANIFEST_MAX as u32 } else { 300 },
        kind,
        name: Name::new("offer").expect("a name"),
        base: base(),
        total_bytes: if huge { BASE_BYTES_MAX } else { 1_000 },
        publisher: PublicKey::of(key),
        sequence,
    };
    let signed = signed::record(key, &body).expect("it is within its bounds");
    announce::verify(base(), &signed.bytes).expect("it was just signed")
}

impl Pool {
    /// Made at the first call.
    pub fn get() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(Self::new)
    }

    fn new() -> Self {
        let drawn: Vec<_> = (0..DRAWS).map(|n| keypair(&format!("drawn {n}"))).collect();
        let lots = |epoch: u64| {
            let mut order: Vec<_> = drawn.iter().collect();
            order.sort_by_cached_key(|key| lot(epoch, &base(), &PublicKey::of(key)));
            order
        };
        let ground = [EPOCH, EPOCH + 1].map(|epoch| {
            let best = lots(epoch).into_iter().take(STRANGERS * GROUND_EACH).enumerate();
            let nowhere = |n: usize| signed::nowhere(&format!("ground {epoch} {n}"));
            best.map(|(n, key)| sign(key, nowhere(n), KindTag::Adapter, 1, n % 5 == 0)).collect()
        });
        let worst = lots(EPOCH).into_iter().rev().take(HONEST).cloned();
        let keys: Vec<_> = worst.chain((0..STRANGERS).map(|n| keypair(&format!("stranger {n}")))).collect();
        let honest = |n: usize| sign(&keys[publisher(n)], Offer::manifest(n as u16), kind(n), 1 + n as u64, false);
        let kinds = [KindTag::Adapter, KindTag::Base, KindTag::Proposal, KindTag::Version];
        let many = |what: &str, count: usize, kinds: &[KindTag]| -> Vec<Record> {
            let name = |n: usize| format!("{what} {n}");
            let one = |n: usize| {
                let (key, manifest) = (keypair(&name(n)), signed::nowhere(&name(n)));
                sign(&key, manifest, kinds[n % kinds.len()], 1, n.is_multiple_of(3))
            };
            (0..count).map(one).collect()
        };
        let claim = |key: &Keypair, n: usize| sign(key, Offer::manifest(n as u16), kind(n), 1 + n as u64, false);
        let again = |n: usize| {
            let (key, manifest) = (keypair(&format!("again {n}")), signed::nowhere(&format!("again {n}")));
            (1..=RESIGNED_TIMES as u64).map(|time| sign(&key, manifest, KindTag::Adapter, time, false)).collect()
        };
        let later = |n: usize| {
            let name = format!("later {n}");
            signed::unknown_kind(&keypair(&name), base(), &name, KindTag::KNOWN + n as u32).expect("it encodes")
        };
        Self {
            honest: (0..MANIFESTS).map(honest).collect(),
            ground,
            phantoms: many("phantom", STRANGERS * PHANTOMS_EACH, &kinds),
            claims: keys[HONEST..].iter().map(|key| (0..MANIFESTS).map(|n| claim(key, n)).collect()).collect(),
            unsaid: keys[HONEST..]
                .iter()
                .map(|key| sign(key, signed::nowhere("unsaid"), KindTag::Adapter, 1, false))
                .collect(),
            junk: many("junk", STRANGERS * JUNK_EACH, &[KindTag::Proof]),
            resigned: (0..STRANGERS * RESIGNED_EACH).map(again).collect(),
            later: (0..LATER).map(later).collect(),
            keys,
        }
    }
}

/// The bytes that travel.
pub fn bytes(record: &Record) -> Vec<u8> {
    record.signed().encode().expect("it was encoded before")
}

/// A record in an envelope that somebody else has signed too, or says so; each number makes another one.
pub fn cosigned(record: &Record, number: u64) -> Vec<u8> {
    // Eight bytes of length, the body, eight bytes of count, then the key and the signature.
    let bytes = bytes(record);
    let (head, own) = bytes.split_at(bytes.len() - 96);
    let read = |part: &[u8]| Signature {
        key: part[..32].try_into().expect("32 bytes"),
        bytes: part[32..].try_into().expect("64 bytes"),
    };
    let mut other = read(own);
    other.key[..8].copy_from_slice(&number.to_le_bytes());
    signed::envelope(&head[8..head.len() - 8], vec![read(own), other])
}

/// A record whose signature is wrong, each number another way.
pub fn forged(record: &Record, number: u64) -> Vec<u8> {
    let mut bytes = bytes(record);
    let at = bytes.len() - 8;
    for (byte, other) in bytes[at..].iter_mut().zip((number + 1).to_le_bytes()) {
        *byte ^= other;
    }
    bytes
}
