//! Chains that hold, and every way in which the next link may be wrong.

use libp2p_identity::ed25519::{Keypair, SecretKey};

use super::*;
use crate::channel::{Admission, Gate, NormBound, Refusal, Role, Score, Sealed, Suite, Verdict};
use crate::id::{Digest, FileDigest, FoldDigest};
use crate::manifest::FileEntry;
use crate::signed::Signed;
use crate::tensor::DType;
use crate::text::RelPath;

fn keypair(seed: u8) -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([seed; 32]).expect("32 bytes"))
}

fn id(text: &str) -> ManifestId {
    ManifestId(Digest::of(text.as_bytes()))
}

fn base(text: &str) -> BaseId {
    BaseId(Digest::of(text.as_bytes()))
}

fn signed(kind: Kind, files: Vec<FileEntry>, seed: u8) -> Authentic<Manifest> {
    let key = keypair(seed);
    let manifest = Manifest {
        kind,
        name: Name::new("channel").expect("a name"),
        licence: String::new(),
        description: String::new(),
        created: 1,
        publisher: PublicKey::of(&key),
        files,
    };
    Signed::sign(&manifest, &key).expect("encodes").expect("its key").verify().expect("signed just now")
}

fn sealed(n: u8) -> Sealed {
    let suite = |name: &str, role| Suite {
        name: Name::new(name).expect("a name"),
        role,
        rows: FileDigest(Digest::of(format!("{name} {n}").as_bytes())),
    };
    Sealed { salt: Digest::of(&[n]), suites: vec![suite("sql", Role::Improve), suite("text", Role::Keep)] }
}

fn rows(sealed: &Sealed) -> Vec<FileEntry> {
    let entry = |suite: &Suite| FileEntry {
        path: RelPath::new(suite.path()).expect("a path"),
        len: 10,
        digest: suite.rows,
        table: vec![crate::id::ShardId(suite.rows.0)],
        table_len: 48,
    };
    sealed.suites.iter().map(entry).collect()
}

fn spec() -> Authentic<Manifest> {
    let info = ChannelInfo {
        genesis: base("genesis"),
        forked_from: None,
        dtype: DType::BF16,
        admission: Admission::Open,
        licences: Vec::new(),
        gate: Gate { gain_ppm: 1_000, guard_ppm: 10_000 },
        norm: NormBound { clip_ppm: 1, refuse_ppm: 2 },
        evaluation: (0..3).map(|n| sealed(n).commitment().expect("encodes")).collect(),
    };
    signed(Kind::Channel(info), Vec::new(), 1)
}

/// The next release of `lineage`: it takes these adapters and opens the next shard.
fn release(lineage: &Lineage, adapters: &[&str]) -> VersionInfo {
    let verdict = |adapter: &&str| Verdict {
        proposal: id(&format!("proposal of {adapter}")),
        adapter: id(adapter),
        outcome: VerdictOutcome::Taken { weight: Weight::ONE, alone_micro: -1 },
    };
    let mut verdicts: Vec<_> = adapters.iter().map(verdict).collect();
    verdicts.sort_by_key(|verdict| verdict.proposal);
    let index = lineage.next_shard();
    let score = Score { genesis_micro: 3, before_micro: 2, after_micro: 1 };
    let opened = Opened { index, sealed: sealed(index as u8), scores: vec![score; 2] };
    let inputs = lineage.inputs().iter().copied().chain(adapters.iter().map(|text| (id(text), Weight::ONE)));
    version(lineage, Change::Release, lineage.recipe(inputs).expect("bounded"), Some(opened), verdicts)
}

fn version(
    lineage: &Lineage,
    change: Change,
    recipe: Recipe,
    opened: Option<Opened>,
    verdicts: Vec<Verdict>,
) -> VersionInfo {
    let height = lineage.next_height();
    let name = format!("{:?}", recipe.inputs());
    VersionInfo {
        channel: lineage.channel(),
        height,
        previous: lineage.head().map(|head| head.id),
        change,
        digest: FoldDigest(Digest::of(name.as_bytes())),
        base: base(&name),
        recipe,
        revoked: lineage.revoked().to_vec(),
        opened,
        verdicts,
    }
}

fn sign(version: VersionInfo) -> Authentic<Manifest> {
    let files = version.opened.as_ref().map_or_else(Vec::new, |opened| rows(&opened.sealed));
    signed(Kind::Version(Box::new(version)), files, 1)
}

fn grown(versions: &[&[&str]]) -> Lineage {
    let mut lineage = Lineage::open(&spec()).expect("a channel");
    for adapters in versions {
        let next = sign(release(&lineage, adapters));
        lineage.extend(&next).expect("the next one");
    }
    lineage
}

fn revoke(lineage: &Lineage, gone: &str) -> VersionInfo {
    let mut revoked: Vec<_> = lineage.revoked().iter().copied().chain([id(gone)]).collect();
    revoked.sort();
    let recipe = lineage.recipe(lineage.without(&revoked)).expect("bounded");
    VersionInfo { revoked, ..version(lineage, Change::Revoke, recipe, None, Vec::new()) }
}

#[test]
fn a_revoked_input_leaves_the_recipe_that_never_had_it() {
    let mut lineage = grown(&[&["a", "b"], &["c"]]);
    lineage.extend(&sign(revoke(&lineage, "b"))).expect("the next one");
    let never = grown(&[&["a"], &["c"]]);
    let recipe = |lineage: &Lineage| lineage.head().expect("one").version.recipe.clone();
    assert_eq!(recipe(&lineage), recipe(&never));
    assert_eq!(lineage.back_to(1).expect("there"), [(id("a"), Weight::ONE)], "a rollback does not bring it back");
    let again = release(&lineage, &["b"]);
    assert_eq!(lineage.extend(&sign(again)), Err(LineageError::Recipe), "nor does a release");
}

#[test]
fn a_rollback_is_the_earlier_recipe() {
    let mut lineage = grown(&[&["a"], &["b"]]);
    let recipe = lineage.recipe(lineage.back_to(1).expect("there")).expect("bounded");
    let back = version(&lineage, Change::Rollback(1), recipe.clone(), None, Vec::new());
    lineage.extend(&sign(back)).expect("the next one");
    assert_eq!(lineage.inputs(), [(id("a"), Weight::ONE)]);
    let forward = version(&lineage, Change::Rollback(4), recipe, None, Vec::new());
    assert_eq!(lineage.extend(&sign(forward)), Err(LineageError::Rollback(4)));
}

#[test]
fn every_wrong_link_is_refused() {
    type Damage = (fn(&mut VersionInfo), LineageError);
    let lineage = grown(&[&["a"], &["b"]]);
    let wrongs: Vec<Damage> = vec![
        (|v| v.channel = id("other"), LineageError::OtherChannel(id("other"))),
        (|v| v.height = 4, LineageError::Height { height: 4, wanted: 3 }),
        (|v| v.height = 2, LineageError::Height { height: 2, wanted: 3 }),
        (|v| v.previous = Some(id("other")), LineageError::Previous(2)),
        (|v| v.recipe.parent = base("other"), LineageError::Genesis(base("other"))),
        (|v| v.recipe.dtype = DType::F32, LineageError::Type),
        (|v| v.revoked = vec![id("a")], LineageError::Revoked),
        (|v| v.verdicts.clear(), LineageError::Recipe),
        (|v| v.verdicts[0].outcome = VerdictOutcome::Refused(Refusal::Missing), LineageError::Recipe),
        (|v| v.change = Change::Revoke, LineageError::NothingRevoked),
        (|v| v.change = Change::Rollback(2), LineageError::Recipe),
        (|v| v.opened = None, LineageError::Unscored),
        (|v| v.opened.as_mut().expect("a release").index = 1, LineageError::Reopened(1)),
        (|v| v.opened.as_mut().expect("a release").index = 9, LineageError::Commitment(9)),
        (|v| v.opened.as_mut().expect("a release").sealed.salt = Digest::of(b"x"), LineageError::Commitment(2)),
    ];
    for (damage, error) in wrongs {
        let mut next = release(&lineage, &["c"]);
        damage(&mut next);
        assert_eq!(lineage.clone().extend(&sign(next)), Err(error));
    }
    let good = release(&lineage, &["c"]);
    let stranger = signed(Kind::Version(Box::new(good.clone())), rows(&sealed(2)), 2);
    assert!(matches!(lineage.clone().extend(&stranger), Err(LineageError::Signer { .. })));
    let rowless = signed(Kind::Version(Box::new(good.clone())), Vec::new(), 1);
    assert!(matches!(lineage.clone().extend(&rowless), Err(LineageError::Rows(_))));
    lineage.clone().extend(&sign(good)).expect("undamaged it is the next one");
}

#[test]
fn two_versions_of_one_height_are_a_conflict() {
    let lineage = grown(&[&["a"]]);
    let (one, other) = (sign(release(&lineage, &["b"])), sign(release(&lineage, &["c"])));
    assert!(is_conflict(&one, &other) && !is_conflict(&one, &one));
    let next = {
        let mut longer = lineage.clone();
        longer.extend(&one).expect("the next one");
        sign(release(&longer, &["c"]))
    };
    assert!(!is_conflict(&one, &next), "another height");
    let stranger = signed(other.body().kind.clone(), rows(&sealed(1)), 2);
    assert!(!is_conflict(&one, &stranger), "another key");
}

#[test]
fn what_was_trained_on_a_revoked_adapter_is_stale() {
    let mut lineage = grown(&[&["a", "b"], &["c", "d"], &["e"]]);
    let held = lineage.at(1).expect("there").version.base;
    lineage.extend(&sign(revoke(&lineage, "b"))).expect("the next one");
    let info = |base: BaseId, parents: &[&str]| AdapterInfo {
        base,
        trained_on: base,
        r: 1,
        target_modules: vec!["q_proj".to_owned()],
        parents: parents.iter().map(|text| id(text)).collect(),
        training: None,
        evaluations: Vec::new(),
    };
    let genesis = lineage.spec().genesis;
    let adapters = BTreeMap::from([
        (id("a"), info(genesis, &[])),
        (id("c"), info(held, &[])),
        (id("d"), info(genesis, &["b"])),
        (id("e"), info(genesis, &["c"])),
        (id("not in force"), info(held, &[])),
    ]);
    assert_eq!(lineage.stale(&adapters), BTreeSet::from([id("c"), id("d"), id("e")]));
    assert!(grown(&[&["a"]]).stale(&adapters).is_empty(), "nothing is revoked");
}

#[test]
fn a_proof_that_encloses_two_versions_is_checked_without_asking_anybody() {
    let lineage = Lineage::open(&spec()).expect("a channel");
    let version =
        |adapters: &[&str], seed| signed(Kind::Version(Box::new(release(&lineage, adapters))), Vec::new(), seed);
    let proof = |claim| ProofInfo { genesis: base("genesis"), channel: lineage.channel(), claim };
    let (one, other) = (version(&["a"], 1), version(&["b"], 1));
    let claim = enclose(&one, &other).expect("short");
    assert_eq!(Some(&claim), enclose(&other, &one).as_ref(), "whoever finds them says the same");
    let found = enclosed(&proof(claim.clone())).expect("it encloses them").expect("it holds");
    assert_eq!(BTreeSet::from(found.map(|found| found.id())), BTreeSet::from([one.id(), other.id()]));

    // What is no contradiction proves nothing: other keys, one version twice, another channel.
    for (first, second) in [(&one, &version(&["b"], 2)), (&one, &one), (&one, &spec())] {
        let claim = enclose(first, second).expect("short");
        assert_eq!(enclosed(&proof(claim)), Some(Err(ProofError::NoConflict)));
    }
    let elsewhere = ProofInfo { channel: id("another channel"), ..proof(claim.clone()) };
    assert_eq!(enclosed(&elsewhere), Some(Err(ProofError::NoConflict)));
    // Nor does what the steward has not signed.
    let Claim::Enclosed { mut first, second } = claim else { panic!("it encloses them") };
    let last = first.0.len() - 1;
    first.0[last] ^= 1;
    let forged = enclosed(&proof(Claim::Enclosed { first, second }));
    assert!(matches!(forged, Some(Err(ProofError::Signature(_)))), "{forged:?}");
    let (first, second) = (one.id(), other.id());
    assert_eq!(enclosed(&proof(Claim::Equivocation { first, second })), None, "a pointer encloses nothing");
}
