//! A steward that signs two versions for one height, and proofs of it.

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::channel::{Change, Claim, ProofInfo};
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::lineage::enclose;
use potluck_protocol::manifest::{Kind, Manifest};
use potluck_protocol::recipe::Weight;
use potluck_protocol::signed::{Authentic, Signed};

use super::shelf::Shelf;
use super::signed::{self, SignedManifest};
use super::{Outcome, keys};
use crate::forged::{self, Draft, Weights};

/// The channel of a steward that will lie.
#[derive(Clone, Debug)]
pub struct Liar {
    pub key: Keypair,
    pub genesis: BaseId,
    pub channel: SignedManifest,
}

impl Liar {
    pub fn new(seed: &str, name: &str, genesis: BaseId) -> Outcome<Self> {
        let key = keys::key(seed)?;
        let channel = signed::manifest(&key, name, forged::channel(genesis, None), Vec::new(), 1)?;
        Ok(Self { key, genesis, channel })
    }

    /// Two first versions.
    pub fn lie(&self) -> Outcome<[SignedManifest; 2]> {
        let version = |text: &str| {
            let input = signed::nowhere(text);
            let draft = Draft {
                channel: self.channel.id,
                height: 1,
                previous: None,
                change: Change::Release,
                genesis: self.genesis,
                inputs: vec![(input, Weight::ONE)],
                taken: vec![input],
                revoked: Vec::new(),
                weights: Weights {
                    digest: FoldDigest(Digest::of(text.as_bytes())),
                    base: BaseId(Digest::of(b"version")),
                },
            };
            signed::manifest(&self.key, self.channel.body.name.as_str(), forged::version_of(&draft), Vec::new(), 1)
        };
        Ok([version("one")?, version("another")?])
    }

    /// A proof that names the two versions: whoever judges it has to ask for them.
    pub fn name(&self, prover: &Keypair, [one, other]: &[SignedManifest; 2]) -> Outcome<SignedManifest> {
        let claim = Claim::Equivocation { first: one.id, second: other.id };
        proof(prover, self.genesis, self.channel.id, claim)
    }

    /// A proof that encloses them.
    pub fn enclose(&self, prover: &Keypair, [one, other]: &[SignedManifest; 2]) -> Outcome<SignedManifest> {
        let claim = enclose(&authentic(one)?, &authentic(other)?).ok_or("two small versions fit into one manifest")?;
        proof(prover, self.genesis, self.channel.id, claim)
    }
}

/// A proof, true or not.
pub fn proof(key: &Keypair, genesis: BaseId, channel: ManifestId, claim: Claim) -> Outcome<SignedManifest> {
    signed::manifest(key, "proof", Kind::Proof(ProofInfo { genesis, channel, claim }), Vec::new(), 1)
}

/// Offers something under a record that comes late in the order of ids.
pub fn offer_late(shelf: &Shelf, key: &Keypair, manifest: &SignedManifest) -> Outcome<AnnouncementId> {
    shelf.keep(manifest);
    for sequence in 1.. {
        let record = signed::record(key, &signed::announcement_of(manifest, sequence)?)?;
        if record.id.0.0[0] == 0xff {
            shelf.say([record.clone()]);
            return Ok(record.id);
        }
    }
    Err("no record comes late".into())
}

fn authentic(manifest: &SignedManifest) -> Outcome<Authentic<Manifest>> {
    Ok(Signed::<Manifest>::decode(&manifest.bytes)?.verify()?)
}
