//! What channels are made of: fixed values, their bytes by hand, and what must be refused.

use potluck_protocol::channel::{
    Admission, Change, ChannelInfo, Claim, Envelope, Gate, NormBound, Opened, ProofInfo, ProposalInfo, Refusal, Role,
    Score, Sealed, Suite, Verdict, VerdictOutcome, VersionInfo,
};
use potluck_protocol::id::{BaseId, FileDigest, FoldDigest, ManifestId};
use potluck_protocol::manifest::{Kind, Manifest};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::signed::PublicKey;
use potluck_protocol::tensor::DType;

use crate::by_hand::{self, Bytes};
use crate::samples::{self, base_id, digest, keypair, manifest_id, name};
use crate::vectors::Refused;

fn manifest(kind: Kind, named: &str, files: Vec<potluck_protocol::manifest::FileEntry>) -> Manifest {
    Manifest { kind, name: name(named), files, ..samples::dataset() }
}

pub fn sealed() -> Sealed {
    let suite = |text: &str, role| Suite { name: name(text), role, rows: FileDigest(digest(text)) };
    Sealed { salt: digest("salt"), suites: vec![suite("sql", Role::Improve), suite("text", Role::Keep)] }
}

pub fn channel_info() -> ChannelInfo {
    let mut keys: Vec<_> = [1, 2].map(|seed| PublicKey::of(&keypair(seed))).to_vec();
    keys.sort();
    ChannelInfo {
        genesis: base_id(),
        forked_from: Some(manifest_id("elsewhere")),
        dtype: DType::BF16,
        admission: Admission::Listed(keys),
        licences: vec!["Apache-2.0".to_owned(), "MIT".to_owned()],
        gate: Gate { gain_ppm: 1_000, guard_ppm: 10_000 },
        norm: NormBound { clip_ppm: 500_000, refuse_ppm: 5_000_000 },
        evaluation: vec![sealed().commitment().expect("encodes"), digest("another")],
    }
}

pub fn channel() -> Manifest {
    manifest(Kind::Channel(channel_info()), "commons", vec![])
}

pub fn open_channel() -> Manifest {
    let info = ChannelInfo {
        forked_from: None,
        admission: Admission::Open,
        licences: vec![],
        evaluation: vec![],
        ..channel_info()
    };
    manifest(Kind::Channel(info), "open", vec![])
}

pub fn proposal_info() -> ProposalInfo {
    ProposalInfo {
        genesis: base_id(),
        channel: manifest_id("channel"),
        adapter: manifest_id("adapter"),
        weight: Weight(-(1 << 15)),
    }
}

pub fn proposal() -> Manifest {
    manifest(Kind::Proposal(proposal_info()), "iso-dates", vec![])
}

/// One verdict of each kind, sorted by proposal.
fn verdicts() -> Vec<Verdict> {
    let outcomes = vec![
        VerdictOutcome::Taken { weight: Weight::ONE, alone_micro: -12_345 },
        VerdictOutcome::Refused(Refusal::NotAdmitted),
        VerdictOutcome::Refused(Refusal::Licence),
        VerdictOutcome::Refused(Refusal::OtherBase),
        VerdictOutcome::Refused(Refusal::Missing),
        VerdictOutcome::Refused(Refusal::Malformed("`x` is not finite".to_owned())),
        VerdictOutcome::Refused(Refusal::Norm { ppm: 9_000_000 }),
        VerdictOutcome::Refused(Refusal::NoGain { alone_micro: 7 }),
        VerdictOutcome::Refused(Refusal::NothingAdded { alone_micro: -7 }),
        VerdictOutcome::Refused(Refusal::Guard { rise_ppm: 20_000 }),
        VerdictOutcome::Refused(Refusal::AlreadyIn),
        VerdictOutcome::Refused(Refusal::Revoked),
    ];
    let verdict = |(n, outcome): (usize, VerdictOutcome)| {
        let mut proposal = digest("proposal");
        proposal.0[0] = n as u8;
        Verdict { proposal: ManifestId(proposal), adapter: manifest_id(&format!("adapter {n}")), outcome }
    };
    outcomes.into_iter().enumerate().map(verdict).collect()
}

pub fn version_info() -> VersionInfo {
    let inputs = [(manifest_id("adapter 0"), Weight::ONE)];
    let score = |n| Score { genesis_micro: n, before_micro: n + 1, after_micro: n + 2 };
    let mut revoked = vec![manifest_id("gone"), manifest_id("also gone")];
    revoked.sort();
    VersionInfo {
        channel: manifest_id("channel"),
        height: 2,
        previous: Some(manifest_id("version 1")),
        change: Change::Release,
        recipe: Recipe::new(base_id(), DType::BF16, inputs).expect("a valid recipe"),
        digest: FoldDigest(digest("fold")),
        base: BaseId(digest("folded base")),
        revoked,
        opened: Some(Opened { index: 0, sealed: sealed(), scores: vec![score(10), score(20)] }),
        verdicts: verdicts(),
    }
}

pub fn version() -> Manifest {
    let files = sealed().suites.iter().map(|suite| samples::file(&suite.path(), 500)).collect();
    manifest(Kind::Version(Box::new(version_info())), "commons", files)
}

/// The smallest version of each change.
pub fn bare_version(change: Change) -> Manifest {
    let info = VersionInfo {
        height: 1,
        previous: None,
        change,
        revoked: vec![],
        opened: None,
        verdicts: vec![],
        ..version_info()
    };
    manifest(Kind::Version(Box::new(info)), "commons", vec![])
}

pub fn proof(claim: Claim) -> Manifest {
    let info = ProofInfo { genesis: base_id(), channel: manifest_id("channel"), claim };
    manifest(Kind::Proof(info), "commons", vec![])
}

pub fn mismatch() -> Claim {
    Claim::Mismatch { version: manifest_id("version 2"), digest: FoldDigest(digest("another fold")) }
}

pub fn equivocation() -> Claim {
    Claim::Equivocation { first: manifest_id("one"), second: manifest_id("other") }
}

pub fn enclosed() -> Claim {
    Claim::Enclosed { first: Envelope(b"one envelope".to_vec()), second: Envelope(b"other envelope".to_vec()) }
}

pub fn put_channel(out: &mut Bytes, info: &ChannelInfo) {
    let ChannelInfo { genesis, forked_from, dtype, admission, licences, gate, norm, evaluation } = info;
    let Gate { gain_ppm, guard_ppm } = gate;
    let NormBound { clip_ppm, refuse_ppm } = norm;
    out.digest(&genesis.0).option(forked_from, |out, id| {
        out.digest(&id.0);
    });
    out.u32(by_hand::dtype_tag(*dtype));
    match admission {
        Admission::Open => out.u32(0),
        Admission::Listed(keys) => out.u32(1).list(keys, |out, key| {
            out.digest(&key.0);
        }),
    };
    out.list(licences, |out, licence| {
        out.bytes(licence.as_bytes());
    });
    out.u32(*gain_ppm).u32(*guard_ppm).u64(*clip_ppm).u64(*refuse_ppm).list(evaluation, |out, digest| {
        out.digest(digest);
    });
}

pub fn put_proposal(out: &mut Bytes, info: &ProposalInfo) {
    let ProposalInfo { genesis, channel, adapter, weight } = info;
    out.digest(&genesis.0).digest(&channel.0).digest(&adapter.0).raw(&weight.0.to_le_bytes());
}

pub fn put_sealed(out: &mut Bytes, sealed: &Sealed) {
    let Sealed { salt, suites } = sealed;
    out.digest(salt).list(suites, |out, Suite { name, role, rows }| {
        out.bytes(name.as_str().as_bytes());
        out.u32(match role {
            Role::Improve => 0,
            Role::Keep => 1,
        });
        out.digest(&rows.0);
    });
}

fn put_verdict(out: &mut Bytes, verdict: &Verdict) {
    let Verdict { proposal, adapter, outcome } = verdict;
    out.digest(&proposal.0).digest(&adapter.0);
    let refusal = match outcome {
        VerdictOutcome::Taken { weight, alone_micro } => {
            out.u32(0).raw(&weight.0.to_le_bytes()).u64(*alone_micro as u64);
            return;
        }
        VerdictOutcome::Refused(refusal) => refusal,
    };
    out.u32(1);
    match refusal {
        Refusal::NotAdmitted => out.u32(0),
        Refusal::Licence => out.u32(1),
        Refusal::OtherBase => out.u32(2),
        Refusal::Missing => out.u32(3),
        Refusal::Malformed(reason) => out.u32(4).bytes(reason.as_bytes()),
        Refusal::Norm { ppm } => out.u32(5).u64(*ppm),
        Refusal::NoGain { alone_micro } => out.u32(6).u64(*alone_micro as u64),
        Refusal::NothingAdded { alone_micro } => out.u32(7).u64(*alone_micro as u64),
        Refusal::Guard { rise_ppm } => out.u32(8).u32(*rise_ppm),
        Refusal::AlreadyIn => out.u32(9),
        Refusal::Revoked => out.u32(10),
    };
}

pub fn put_version(out: &mut Bytes, info: &VersionInfo) {
    let VersionInfo { channel, height, previous, change, recipe, digest, base, revoked, opened, verdicts } = info;
    out.digest(&channel.0).u32(*height).option(previous, |out, id| {
        out.digest(&id.0);
    });
    match change {
        Change::Release => out.u32(0),
        Change::Revoke => out.u32(1),
        Change::Rollback(height) => out.u32(2).u32(*height),
    };
    out.raw(&by_hand::recipe_of(recipe)).digest(&digest.0).digest(&base.0).list(revoked, |out, id| {
        out.digest(&id.0);
    });
    out.option(opened, |out, Opened { index, sealed, scores }| {
        put_sealed(out.u32(*index), sealed);
        out.list(scores, |out, Score { genesis_micro, before_micro, after_micro }| {
            out.u64(*genesis_micro).u64(*before_micro).u64(*after_micro);
        });
    });
    out.list(verdicts, put_verdict);
}

pub fn put_proof(out: &mut Bytes, info: &ProofInfo) {
    let ProofInfo { genesis, channel, claim } = info;
    out.digest(&genesis.0).digest(&channel.0);
    match claim {
        Claim::Mismatch { version, digest } => out.u32(0).digest(&version.0).digest(&digest.0),
        Claim::Equivocation { first, second } => out.u32(1).digest(&first.0).digest(&second.0),
        Claim::Enclosed { first, second } => out.u32(2).bytes(&first.0).bytes(&second.0),
    };
}

pub fn refused() -> Vec<Refused> {
    [refused_channels(), refused_versions(), refused_others()].concat()
}

fn refused_channels() -> Vec<Refused> {
    let with = |change: &dyn Fn(&mut ChannelInfo)| {
        let mut info = channel_info();
        change(&mut info);
        by_hand::manifest(&manifest(Kind::Channel(info), "commons", vec![]))
    };
    let files = manifest(Kind::Channel(channel_info()), "commons", vec![samples::file("x", 1)]);
    let unsorted = with(&|c| {
        if let Admission::Listed(keys) = &mut c.admission {
            keys.reverse();
        }
    });
    let none = with(&|c| c.admission = Admission::Listed(vec![]));
    let many = with(&|c| c.evaluation = vec![digest("x"); 1025]);
    let of =
        |name: &str, says: &str, bytes, error: &str| Refused::new(name, says, bytes, &format!("Malformed: {error}"));
    vec![
        of("channel_files", "a channel with a file", by_hand::manifest(&files), "1 files"),
        of("channel_type", "versions in Q4_0", with(&|c| c.dtype = DType::Q4_0), "the versions' type"),
        of("channel_keys_unsorted", "keys in the wrong order", unsorted, "the admitted keys"),
        of("channel_keys_none", "a list that admits nobody", none, "the admitted keys"),
        of("channel_licences", "licences in the wrong order", with(&|c| c.licences.reverse()), "the licences"),
        of("channel_licence", "an empty licence", with(&|c| c.licences = vec![String::new()]), "the licences"),
        of("channel_clip_0", "nothing passes the clip", with(&|c| c.norm.clip_ppm = 0), "the norm bounds"),
        of("channel_clip", "the clip above the bound", with(&|c| c.norm.refuse_ppm = 1), "the norm bounds"),
        of("channel_gate", "a gain of more than all", with(&|c| c.gate.gain_ppm = 1_000_001), "the gate"),
        of("channel_sealed", "1,025 sealed shards", many, "more than 1024 sealed"),
    ]
}

fn refused_versions() -> Vec<Refused> {
    let with = |change: &dyn Fn(&mut VersionInfo)| {
        let mut info = version_info();
        change(&mut info);
        by_hand::manifest(&Manifest { kind: Kind::Version(Box::new(info)), ..version() })
    };
    let opened = |change: &dyn Fn(&mut Opened)| with(&|v| change(v.opened.as_mut().expect("a release")));
    let long = "x".repeat(201);
    let reason = with(&|v| v.verdicts[5].outcome = VerdictOutcome::Refused(Refusal::Malformed(long.clone())));
    let twice = with(&|v| v.verdicts.insert(0, v.verdicts[0].clone()));
    let improve = opened(&|o| o.sealed.suites.remove(0).role = Role::Keep);
    let no_suite = opened(&|o| o.sealed.suites.clear());
    let of =
        |name: &str, says: &str, bytes, error: &str| Refused::new(name, says, bytes, &format!("Malformed: {error}"));
    vec![
        of("version_0", "height 0", with(&|v| v.height = 0), "the first version"),
        of("version_1", "height 1 after another", with(&|v| v.height = 1), "the first version"),
        of("version_2", "height 2 after none", with(&|v| v.previous = None), "the first version"),
        of("version_revoked", "revoked in the wrong order", with(&|v| v.revoked.reverse()), "what is revoked"),
        of("version_verdicts", "a proposal judged twice", twice, "the verdicts"),
        of("version_reason", "a reason of 201 bytes", reason, "a reason"),
        of("version_suites", "suites in the wrong order", opened(&|o| o.sealed.suites.reverse()), "the suites"),
        of("version_no_suite", "a shard of nothing", no_suite, "the suites"),
        of("version_improve", "a shard that asks for nothing", improve, "no suite"),
        of("version_scores", "a score too few", opened(&|o| o.scores.truncate(1)), "not one score"),
    ]
}

fn refused_others() -> Vec<Refused> {
    let weight = |weight| {
        let info = ProposalInfo { weight, ..proposal_info() };
        by_hand::manifest(&manifest(Kind::Proposal(info), "p", vec![]))
    };
    let Claim::Enclosed { first, second } = enclosed() else { unreachable!() };
    let enclosing = |first: &Envelope, second: &Envelope| {
        by_hand::manifest(&proof(Claim::Enclosed { first: first.clone(), second: second.clone() }))
    };
    let of = |name: &str, says: &str, bytes| Refused::new(name, says, bytes, "Malformed: the enclosed versions");
    let tag = |bytes: Vec<u8>, at: usize| crate::refused::patch(&bytes, at, &[9]);
    vec![
        Refused::new("proposal_0", "a weight of zero", weight(Weight(0)), "Malformed: the weight"),
        Refused::new(
            "proposal_min",
            "a weight whose sign cannot turn",
            weight(Weight(i32::MIN)),
            "Malformed: the weight",
        ),
        of("proof_enclosed_order", "enclosed versions in the wrong order", enclosing(&second, &first)),
        of("proof_enclosed_same", "one version enclosed twice", enclosing(&first, &first)),
        of("proof_enclosed_none", "an enclosed version of no bytes", enclosing(&Envelope(vec![]), &second)),
        Refused::new("proof_claim", "an unknown claim", tag(by_hand::manifest(&proof(mismatch())), 68), "Undecodable"),
    ]
}
