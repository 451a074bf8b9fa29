//! Signed bodies that must be refused: weak keys, second forms of signatures, signatures of something else.
//!
//! Where a lenient verifier would say yes, the construction is checked against one, so that the vector is known to
//! attack what it names.

use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use libp2p_identity::ed25519::Keypair;
use potluck_protocol::announce::Announcement;
use potluck_protocol::id::Digest;
use potluck_protocol::limits::SIGNATURES_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::{PublicKey, Signable};
use sha2::{Digest as _, Sha512};

use crate::by_hand;
use crate::samples::{self, keypair};
use crate::vectors::Refused;

/// A key and its signature as an envelope holds them.
pub type Entry = ([u8; 32], [u8; 64]);

/// The points of order 1, 2, 4 and 8 with every encoding that a decoder may take (libsodium's block list).
const SMALL_ORDER: [(&str, &str); 12] = [
    ("order_4_all_zero", "0000000000000000000000000000000000000000000000000000000000000000"),
    ("order_4_signed", "0000000000000000000000000000000000000000000000000000000000000080"),
    ("order_1_identity", "0100000000000000000000000000000000000000000000000000000000000000"),
    ("order_1_signed", "0100000000000000000000000000000000000000000000000000000000000080"),
    ("order_2", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("order_8_a", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ("order_8_a_signed", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    ("order_8_b", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ("order_8_b_signed", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ("order_4_not_reduced", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("order_1_not_reduced", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("order_1_not_reduced_signed", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
];

/// The order of the base point, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The encoding of the identity point.
const IDENTITY: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// What is signed, written by hand: the context's length, the context, the body.
fn message(context: &str, body: &[u8]) -> Vec<u8> {
    [&[context.len() as u8], context.as_bytes(), body].concat()
}

fn signature(keypair: &Keypair, message: &[u8]) -> [u8; 64] {
    keypair.sign(message).try_into().expect("64 bytes")
}

/// An honest signature of `body` by the key of that seed.
pub fn entry<T: Signable>(seed: u8, body: &[u8]) -> Entry {
    let keypair = keypair(seed);
    (keypair.public().to_bytes(), signature(&keypair, &message(T::CONTEXT, body)))
}

fn lenient(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify(message, &signature).is_ok())
}

/// Refused envelopes of any signed type: `body` writes one whose publisher is that key.
pub fn of<T: Signable>(body: impl Fn(PublicKey) -> Vec<u8>, other_context: &str) -> Vec<Refused> {
    let mut all = weak_keys(&body);
    let body = body(samples::publisher());
    all.extend(second_forms::<T>(&body));
    all.extend(other_signatures::<T>(&body, other_context));
    all.extend(other_certificates::<T>(&body));
    all.extend(other_bodies::<T>(&body));
    all
}

/// With the identity as key and as R, and S = 0, the lenient equation holds for every message.
fn weak_keys(body: &impl Fn(PublicKey) -> Vec<u8>) -> Vec<Refused> {
    let mut forged = [0; 64];
    forged[..32].copy_from_slice(&IDENTITY);
    assert!(lenient(&IDENTITY, b"anything", &forged));
    let mut keys: Vec<(String, [u8; 32])> = SMALL_ORDER
        .iter()
        .map(|(name, hex)| (format!("key_{name}"), hex.parse::<Digest>().expect("32 bytes of hex").0))
        .collect();
    keys.push(("key_no_point".to_owned(), no_point()));
    let refused = |(name, key): (String, [u8; 32])| {
        let says = "the publisher's key has a small order or is no point: anybody could sign for it";
        Refused::new(&name, says, by_hand::envelope(&body(PublicKey(Digest(key))), &[(key, forged)]), "WeakKey")
    };
    keys.into_iter().map(refused).collect()
}

/// The least y that no point has.
fn no_point() -> [u8; 32] {
    let candidates = (2..=255u8).map(|y| {
        let mut bytes = [0; 32];
        bytes[0] = y;
        bytes
    });
    let mut none = candidates.filter(|bytes| VerifyingKey::from_bytes(bytes).is_err());
    none.next().expect("half of all y have no point")
}

fn second_forms<T: Signable>(body: &[u8]) -> Vec<Refused> {
    let (key, honest) = entry::<T>(1, body);
    let mut plus_l = honest;
    let mut carry = 0u16;
    for (byte, add) in plus_l[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    let small_r = small_order_r(1, &message(T::CONTEXT, body));
    assert!(lenient(&key, &message(T::CONTEXT, body), &small_r), "the attack must work on a lenient verifier");
    vec![
        Refused::new(
            "signature_plus_l",
            "S + L instead of S: the second form of one signature",
            by_hand::envelope(body, &[(key, plus_l)]),
            "Invalid",
        ),
        Refused::new(
            "signature_small_order_r",
            "R is the identity: lenient verifiers accept it",
            by_hand::envelope(body, &[(key, small_r)]),
            "Invalid",
        ),
        Refused::new("signature_zero", "64 zero bytes", by_hand::envelope(body, &[(key, [0; 64])]), "Invalid"),
    ]
}

/// RFC 8032 with the nonce zero: R is the identity and S = k a.
fn small_order_r(seed: u8, message: &[u8]) -> [u8; 64] {
    let public = keypair(seed).public().to_bytes();
    let mut secret: [u8; 32] = Sha512::digest([seed; 32])[..32].try_into().expect("32 of 64 bytes");
    secret[0] &= 248;
    secret[31] = secret[31] & 127 | 64;
    let hash = Sha512::digest([&IDENTITY[..], &public, message].concat());
    let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
    let response = challenge * Scalar::from_bytes_mod_order(secret);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&IDENTITY);
    signature[32..].copy_from_slice(response.as_bytes());
    signature
}

fn other_signatures<T: Signable>(body: &[u8], other_context: &str) -> Vec<Refused> {
    let (key, honest) = entry::<T>(1, body);
    let (other_key, others) = entry::<T>(2, body);
    let mut mixed = [(key, honest), (other_key, honest)];
    mixed.sort();
    let of = |name, says, entries: &[Entry], error| Refused::new(name, says, by_hand::envelope(body, entries), error);
    let typed = signature(&keypair(1), &message(other_context, body));
    let bare = signature(&keypair(1), body);
    vec![
        of("other_type", "the publisher's signature of these bytes as another type", &[(key, typed)], "Invalid"),
        of("no_context", "the publisher's signature of the bare bytes", &[(key, bare)], "Invalid"),
        of("other_signer", "a stranger's valid signature only", &[(other_key, others)], "Missing"),
        of("other_key", "a stranger's signature under the publisher's key", &[(key, others)], "Invalid"),
        of("second_invalid", "the publisher's signature, and one that is not valid", &mixed, "Invalid"),
    ]
}

fn other_certificates<T: Signable>(body: &[u8]) -> Vec<Refused> {
    let own = entry::<T>(1, body);
    let mut many: Vec<Entry> = (1..=SIGNATURES_MAX as u8 + 1).map(|seed| entry::<T>(seed, body)).collect();
    many.sort();
    let mut unsorted = [own, entry::<T>(2, body)];
    unsorted.sort();
    unsorted.reverse();
    let of = |name, says, entries: &[Entry], error| Refused::new(name, says, by_hand::envelope(body, entries), error);
    let sorting = "Malformed: the signatures are not sorted by key, each key once";
    vec![
        of("unsigned", "no signature", &[], "Malformed: 0 signatures, not 1 to 16"),
        of("too_many", "one signature more than allowed, all valid", &many, "Malformed: 17 signatures, not 1 to 16"),
        of("unsorted_keys", "two valid signatures in the wrong order", &unsorted, sorting),
        of("duplicate_keys", "the same signature twice", &[own, own], sorting),
    ]
}

/// Signed by the publisher, and still no body.
fn other_bodies<T: Signable>(body: &[u8]) -> Vec<Refused> {
    let longer = [body, &[0]].concat();
    let shorter = &body[..body.len() - 1];
    let mut changed = body.to_vec();
    let name = body.windows(9).position(|part| part == b"iso-dates").expect("the sample's name");
    changed[name] ^= 1;
    let huge = vec![0; T::MAX + 1];
    let of = |name, says, body: &[u8], signed: &[u8], error| {
        Refused::new(name, says, by_hand::envelope(body, &[entry::<T>(1, signed)]), error)
    };
    let mut all = vec![
        of("body_trailing", "a byte after the body, signed with it", &longer, &longer, "TrailingBytes"),
        of("body_truncated", "the body's last byte missing, signed so", shorter, shorter, "Undecodable"),
        of("body_changed", "one bit of the body changed after signing", &changed, body, "Invalid"),
        of("body_empty", "no body, signed so", &[], &[], "Undecodable"),
        Refused::new(
            "envelope_trailing",
            "a byte after the envelope",
            [by_hand::envelope(body, &[entry::<T>(1, body)]), vec![0]].concat(),
            "TrailingBytes",
        ),
    ];
    if huge.len() < 4096 {
        all.push(of("body_too_long", "a body beyond the limit of its type", &huge, &huge, "TooLong"));
    }
    all
}

pub fn manifest() -> Vec<Refused> {
    let body = |publisher| by_hand::manifest(&Manifest { publisher, ..samples::adapter() });
    of::<Manifest>(body, Announcement::CONTEXT)
}

pub fn announcement() -> Vec<Refused> {
    let body = |publisher| by_hand::announcement(&Announcement { publisher, ..samples::announcement() });
    of::<Announcement>(body, Manifest::CONTEXT)
}
