//! Channels and versions signed by hand, right and wrong ones: what a steward who lies, or whose program is another one,
//! may send. The daemon of the home announces them as its own.

use std::path::Path;

use potluck_node::home::Home;
use potluck_node::identity::Identity;
use potluck_node::store::{Store, StoreError};
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::channel::{
    Admission, Change, ChannelInfo, Claim, Gate, NormBound, ProofInfo, ProposalInfo, Verdict, VerdictOutcome,
    VersionInfo,
};
use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::manifest::{Kind, Manifest};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::tensor::DType;
use potluck_protocol::text::Name;
use serde_json::Value;

use crate::kit::{Program, text};

/// What an honest version states of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    pub digest: FoldDigest,
    pub base: BaseId,
}

/// A version to sign.
#[derive(Clone, Debug)]
pub struct Draft {
    pub channel: ManifestId,
    pub height: u32,
    pub previous: Option<ManifestId>,
    pub change: Change,
    pub genesis: BaseId,
    pub inputs: Vec<(ManifestId, Weight)>,
    /// Of these, the ones that are new.
    pub taken: Vec<ManifestId>,
    pub revoked: Vec<ManifestId>,
    pub weights: Weights,
}

/// A channel without sealed shards: whoever is told to is taken.
pub fn open(home: &Path, name: &str, genesis: BaseId, forked_from: Option<ManifestId>) -> ManifestId {
    sign(home, name, channel(genesis, forked_from))
}

/// What such a channel's manifest says.
pub fn channel(genesis: BaseId, forked_from: Option<ManifestId>) -> Kind {
    Kind::Channel(ChannelInfo {
        genesis,
        forked_from,
        dtype: DType::F32,
        admission: Admission::Open,
        licences: Vec::new(),
        gate: Gate { gain_ppm: 0, guard_ppm: 0 },
        norm: NormBound { clip_ppm: 1, refuse_ppm: 2 },
        evaluation: Vec::new(),
    })
}

/// Signs a version with the key of `home`.
pub fn version(home: &Path, draft: &Draft) -> ManifestId {
    sign(home, &name_of(home, &draft.channel), version_of(draft))
}

/// The channel's name, which its versions bear; another one where the channel is not known.
fn name_of(home: &Path, channel: &ManifestId) -> String {
    let store = Store::open(&Home::open(home).expect("no daemon runs on it")).expect("opens");
    let manifest = store.manifest(channel).expect("readable");
    manifest.map_or_else(|| "version".to_owned(), |manifest| manifest.body().name.to_string())
}

/// What a version's manifest says.
pub fn version_of(draft: &Draft) -> Kind {
    let taken = |adapter: &ManifestId| {
        let weight = draft.inputs.iter().find(|(id, _)| id == adapter).map_or(Weight::ONE, |(_, weight)| *weight);
        Verdict {
            proposal: ManifestId(Digest::of(&adapter.0.0)),
            adapter: *adapter,
            outcome: VerdictOutcome::Taken { weight, alone_micro: -1_000 },
        }
    };
    let mut verdicts: Vec<Verdict> = draft.taken.iter().map(taken).collect();
    verdicts.sort_by_key(|verdict| verdict.proposal);
    Kind::Version(Box::new(VersionInfo {
        channel: draft.channel,
        height: draft.height,
        previous: draft.previous,
        change: draft.change,
        recipe: Recipe::new(draft.genesis, DType::F32, draft.inputs.clone()).expect("bounded"),
        digest: draft.weights.digest,
        base: draft.weights.base,
        revoked: draft.revoked.clone(),
        opened: None,
        verdicts,
    }))
}

/// Signs a claim against a channel's steward.
pub fn proof(home: &Path, genesis: BaseId, channel: ManifestId, claim: Claim) -> ManifestId {
    sign(home, "proof", Kind::Proof(ProofInfo { genesis, channel, claim }))
}

/// Signs a proposal of an adapter, which need not exist.
pub fn proposal(home: &Path, genesis: BaseId, channel: ManifestId, adapter: ManifestId) -> ManifestId {
    sign(home, "proposal", Kind::Proposal(ProposalInfo { genesis, channel, adapter, weight: Weight::ONE }))
}

/// What folding these adapters into a base gives, as the program itself does it.
pub fn weights(program: &Program, home: &Path, base: &str, inputs: &[(ManifestId, Weight)]) -> Weights {
    let out = tempfile::tempdir().expect("a folder");
    let folder = text(&out.path().join("folded"));
    let adapters = inputs.iter().map(|(id, weight)| format!("{id}@{}", weight.get()));
    let args = ["merge", "--base", base, "--fold", "--dtype", "f32", "--out", &folder].map(str::to_owned);
    let folded = program.ok(home, args.into_iter().chain(adapters));
    Weights { digest: id(&folded["digest"]), base: id(&folded["base"]) }
}

/// An id in an answer.
pub fn id<T: std::str::FromStr>(value: &Value) -> T {
    let text = value.as_str().expect("a text");
    text.parse().unwrap_or_else(|_| panic!("{text} is no id"))
}

/// The announcement of something that nobody has, signed with the key of `home`.
pub fn announcement(home: &Path, base: BaseId, kind: KindTag, name: &str, sequence: u64) -> Authentic<Announcement> {
    let home = Home::open(home).expect("no daemon runs on it");
    let identity = Identity::open(&home).expect("readable");
    let body = Announcement {
        manifest: ManifestId(Digest::of(format!("{name} {sequence}").as_bytes())),
        manifest_len: 100,
        kind,
        name: Name::new(name).expect("a name"),
        base,
        total_bytes: 1,
        publisher: PublicKey::of(identity.keypair()),
        sequence,
    };
    let signed = Signed::sign(&body, identity.keypair()).expect("encodes").expect("its own key");
    signed.verify().expect("just signed")
}

fn sign(home: &Path, name: &str, kind: Kind) -> ManifestId {
    let home = Home::open(home).expect("no daemon runs on it");
    let store = Store::open(&home).expect("opens");
    let identity = Identity::open(&home).expect("readable");
    let manifest = Manifest {
        kind,
        name: Name::new(name).expect("a name"),
        licence: String::new(),
        description: String::new(),
        created: 1,
        publisher: PublicKey::of(identity.keypair()),
        files: Vec::new(),
    };
    let signed = Signed::sign(&manifest, identity.keypair()).expect("encodes").expect("its own key");
    let mapped = store.map(signed.verify().expect("just signed")).expect("readable").expect("it fits");
    let complete = mapped.complete(|id| store.has_shard(id)).expect("readable").expect("all is there");
    let well_formed = complete.inspect_scanned(&[], |_| Ok(())).map_err(StoreError::from).expect("no files");
    store.commit_well_formed(&well_formed).expect("room");
    well_formed.manifest().id()
}
