//! Signatures: beside the body, over the exact bytes, one context per type.
//!
//! `Signed<T>` is what travels and lies on disk. [`Signed::verify`] makes an [`Authentic<T>`] of it, and there is no
//! other way to make one. Whoever must decide whether that is worth the time reads a [`Claimed<T>`] first, which
//! nothing takes that stores or passes on. // I3

use std::marker::PhantomData;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Malformed, Wire};
use crate::id::Digest;
use crate::limits::SIGNATURES_MAX;

/// An ed25519 public key: who published something. The same key is the peer's libp2p identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(pub Digest);

impl PublicKey {
    /// The public half of a key pair.
    pub fn of(keypair: &libp2p_identity::ed25519::Keypair) -> Self {
        Self(Digest(keypair.public().to_bytes()))
    }

    /// The libp2p name of the key; `None` if the bytes are no point of the curve.
    pub fn peer_id(&self) -> Option<libp2p_identity::PeerId> {
        let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(&self.0.0).ok()?;
        Some(libp2p_identity::PublicKey::from(key).to_peer_id())
    }

    /// The key that a peer's name spells out; `None` if that is of another kind, or only the digest of one. Nothing is
    /// computed: bytes that are no point of the curve are no name of a peer that has connected.
    pub fn of_peer(peer: &libp2p_identity::PeerId) -> Option<Self> {
        let bytes = peer.to_bytes();
        Some(Self(Digest(bytes.strip_prefix(&SPELT_OUT)?.try_into().ok()?)))
    }

    /// The first 12 hex digits, for people. Never an identity.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

/// What stands before an ed25519 key in a peer's name: a multihash that hashes nothing, of 36 bytes; and in these
/// (libp2p's protobuf) the kind of the key and its length.
const SPELT_OUT: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?})", self.0)
    }
}

/// A body that is signed on its own.
pub trait Signable: Wire {
    /// Separates this type's signatures and ids from every other's. // I3
    const CONTEXT: &'static str;

    /// The key whose signature must be there.
    fn signer(&self) -> PublicKey;
}

/// One signature, and whose it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SignatureOf {
    key: PublicKey,
    /// The 64 bytes of the signature as two halves (serde knows arrays up to 32).
    signature: ([u8; 32], [u8; 32]),
}

/// The signatures of a body. A list, so that thresholds can come later; today exactly the signer's must be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Certificate(Vec<SignatureOf>);

/// A body's exact bytes with their certificate, unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    bytes: Vec<u8>,
    certificate: Certificate,
    body: PhantomData<T>,
}

/// What an encoded [`Signed`] is on the wire.
#[derive(Serialize, Deserialize)]
struct Envelope {
    body: Vec<u8>,
    certificate: Certificate,
}

impl Wire for Envelope {
    const NAME: &'static str = "signed envelope";
    const MAX: usize = crate::limits::SIGNED_MANIFEST_MAX;

    fn check(&self) -> Result<(), Malformed> {
        let signatures = &self.certificate.0;
        Malformed::unless((1..=SIGNATURES_MAX).contains(&signatures.len()), || {
            format!("{} signatures, not 1 to {SIGNATURES_MAX}", signatures.len())
        })?;
        let sorted = signatures.windows(2).all(|pair| pair[0].key < pair[1].key);
        Malformed::unless(sorted, || "the signatures are not sorted by key, each key once".to_owned())
    }
}

/// Why a signed body is not believed. Always the fault of whoever made the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The envelope or the body cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Some signer's key is of small order, under which forgeries verify, or no point of the curve.
    #[error("the signer's key is weak or no key at all")]
    WeakKey,
    /// Others have signed, the body's own signer has not.
    #[error("the signer's signature is missing")]
    Missing,
    /// Some signature is not that key's over these bytes.
    #[error("a signature does not verify")]
    Invalid,
}

impl<T: Signable> Signed<T> {
    /// Signs with the body's own signer. `None` if `keypair` is not that signer's.
    pub fn sign(body: &T, keypair: &libp2p_identity::ed25519::Keypair) -> Result<Option<Self>, CodecError> {
        let key = PublicKey::of(keypair);
        if key != body.signer() {
            return Ok(None);
        }
        let bytes = codec::encode(body)?;
        let signature = halves(&keypair.sign(&message::<T>(&bytes)));
        let certificate = Certificate(vec![SignatureOf { key, signature }]);
        Ok(Some(Self { bytes, certificate, body: PhantomData }))
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(&Envelope { body: self.bytes.clone(), certificate: self.certificate.clone() })
    }

    /// Takes an envelope apart; believes nothing of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let Envelope { body, certificate } = codec::decode(bytes)?;
        if body.len() > T::MAX {
            return Err(CodecError::TooLong { what: T::NAME, len: body.len(), max: T::MAX });
        }
        Ok(Self { bytes: body, certificate, body: PhantomData })
    }

    /// BLAKE3 of the body under its context, whatever the body holds: nothing is believed by it.
    pub fn digest(&self) -> Digest {
        body_id::<T>(&self.bytes)
    }

    /// Reads the body and looks whether its own signer is among those who signed. Nothing is believed of it yet: this is
    /// for those who want to know whether checking its signatures is worth the time.
    pub fn read(self) -> Result<Claimed<T>, SignatureError> {
        let body: T = codec::decode(&self.bytes)?;
        if !self.certificate.0.iter().any(|one| one.key == body.signer()) {
            return Err(SignatureError::Missing);
        }
        Ok(Claimed { id: body_id::<T>(&self.bytes), body, signed: self })
    }

    /// Checks every signature, strictly, over the bytes as received. // I3
    pub fn verify(self) -> Result<Authentic<T>, SignatureError> {
        self.read()?.verify()
    }

    /// The body's bytes, which nothing is known of yet.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether every signature is its key's over the body, whatever the body holds: what can be checked of a body that
    /// only a later version can read. Whose signature must be there, only the body says.
    pub fn check_signatures(&self) -> Result<(), SignatureError> {
        let message = message::<T>(&self.bytes);
        for SignatureOf { key, signature } in &self.certificate.0 {
            let key = VerifyingKey::from_bytes(&key.0.0).map_err(|_| SignatureError::WeakKey)?;
            if key.is_weak() {
                return Err(SignatureError::WeakKey);
            }
            // Strict: no small-order points, no second form of one signature.
            key.verify_strict(&message, &join(signature)).map_err(|_| SignatureError::Invalid)?;
        }
        Ok(())
    }
}

/// A body that was read and whose signatures have not been checked: anybody may have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed<T> {
    id: Digest,
    body: T,
    signed: Signed<T>,
}

impl<T: Signable> Claimed<T> {
    /// What it says; whoever made it may have lied.
    pub fn claim(&self) -> &T {
        &self.body
    }

    /// BLAKE3 of the body under its context.
    pub fn digest(&self) -> Digest {
        self.id
    }

    /// How many signatures [`Self::verify`] checks.
    pub fn signature_count(&self) -> usize {
        self.signed.certificate.0.len()
    }

    /// Checks every signature, strictly, over the bytes as received. // I3
    pub fn verify(self) -> Result<Authentic<T>, SignatureError> {
        self.signed.check_signatures()?;
        let Self { id, body, signed } = self;
        Ok(Authentic { id, body, signed })
    }
}

/// What is signed: the type's context, its length, then the body.
fn message<T: Signable>(bytes: &[u8]) -> Vec<u8> {
    [&[T::CONTEXT.len() as u8], T::CONTEXT.as_bytes(), bytes].concat()
}

/// The id of a body: BLAKE3 of its bytes under its context; signatures are not part of it.
pub fn body_id<T: Signable>(bytes: &[u8]) -> Digest {
    Digest::of_context(T::CONTEXT, bytes)
}

fn halves(signature: &[u8]) -> ([u8; 32], [u8; 32]) {
    let mut halves = ([0; 32], [0; 32]);
    halves.0.copy_from_slice(&signature[..32]);
    halves.1.copy_from_slice(&signature[32..]);
    halves
}

fn join((first, second): &([u8; 32], [u8; 32])) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(first);
    bytes[32..].copy_from_slice(second);
    Signature::from_bytes(&bytes)
}

/// A body whose signatures have been checked, with the bytes to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentic<T> {
    id: Digest,
    body: T,
    signed: Signed<T>,
}

impl<T: Signable> Authentic<T> {
    /// What is signed.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// BLAKE3 of the body under its context.
    pub fn digest(&self) -> Digest {
        self.id
    }

    /// The envelope exactly as it was received or made.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }
}
