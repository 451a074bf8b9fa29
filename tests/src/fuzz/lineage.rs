//! Chains of versions: a channel and what is said to follow, each signed, some made to fit the chain before them.

use std::collections::BTreeMap;

use libp2p::identity::ed25519::{Keypair, SecretKey};
use potluck_protocol::channel::{
    Admission, Change, ChannelInfo, Gate, NormBound, Opened, Role, Score, Sealed, Suite, Verdict, VerdictOutcome,
    VersionInfo,
};
use potluck_protocol::codec;
use potluck_protocol::id::{BaseId, Digest, FileDigest, FoldDigest, ManifestId, ShardId};
use potluck_protocol::lineage::{Lineage, is_conflict};
use potluck_protocol::manifest::{FileEntry, Kind, Manifest};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::tensor::DType;
use potluck_protocol::text::{Name, RelPath};

use super::flags::Flags;
use super::{Form, Memory, Outcome, Target, hold, seeds};

/// Versions of one input.
const VERSIONS_MAX: usize = 12;

pub fn target() -> Target {
    Target {
        name: "lineage",
        about: "a channel and its versions, each against the one before",
        form: Form::Parts,
        words: &["sql", "evaluation/sql.jsonl", "MIT"],
        seeds: inputs,
        memory: Memory::new(64, 8 << 20),
        short: 400,
        run,
    }
}

fn keypair() -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([1; 32]).expect("32 bytes"))
}

fn id(text: &str) -> ManifestId {
    ManifestId(Digest::of(text.as_bytes()))
}

fn genesis() -> BaseId {
    BaseId(Digest::of(b"base"))
}

/// Signed by the one key that there is here, as its own if `own`.
fn sign(mut manifest: Manifest, own: bool) -> Option<Authentic<Manifest>> {
    let keypair = keypair();
    if own {
        manifest.publisher = PublicKey::of(&keypair);
    }
    Signed::sign(&manifest, &keypair).ok()??.verify().ok()
}

/// What is made to fit of a version, and whose it is.
const PLACE: u8 = 1;
const RECIPE: u8 = 2;
const OF_ANOTHER: u8 = 4;

/// The first part says of each version what is made to fit.
fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let mut parts = seeds::split(bytes).into_iter();
    let (Some(fits), Some(channel)) = (parts.next(), parts.next()) else { return Outcome::refused("too few parts") };
    let channel = match codec::decode::<Manifest>(channel) {
        Ok(channel) => channel,
        Err(error) => return Outcome::refused(error),
    };
    let Some(channel) = sign(channel, true) else { return Outcome::refused("it cannot be signed") };
    let mut lineage = match Lineage::open(&channel) {
        Ok(lineage) => lineage,
        Err(error) => return Outcome::refused(error),
    };
    let (mut last, mut said) = (None, String::new());
    for (index, body) in parts.take(VERSIONS_MAX).enumerate() {
        let Ok(mut manifest) = codec::decode::<Manifest>(body) else { continue };
        let fit = Flags(fits.get(index).copied().unwrap_or(PLACE | RECIPE));
        if let Kind::Version(version) = &mut manifest.kind {
            make_fit(version, &lineage, fit);
        }
        let Some(version) = sign(manifest, !fit.has(OF_ANOTHER)) else { continue };
        let before = lineage.versions().len();
        match lineage.extend(&version) {
            Ok(()) => check(&lineage)?,
            Err(error) => {
                hold(lineage.versions().len() == before, || "a refused version was taken".to_owned())?;
                said = error.to_string();
            }
        }
        let conflicts = last.as_ref().is_some_and(|last| is_conflict(last, &version));
        hold(!is_conflict(&version, &version), || "a version conflicts with itself".to_owned())?;
        last = Some(version);
        said.push_str(if conflicts { " conflict" } else { "" });
    }
    let height = lineage.versions().len();
    if height == 0 { Outcome::refused(said) } else { Outcome::accepted(format!("height {height} {said}")) }
}

/// What any change would be refused for is made right, so that what comes behind it is looked at.
fn make_fit(version: &mut VersionInfo, lineage: &Lineage, fit: Flags) {
    if fit.has(PLACE) {
        version.channel = lineage.channel();
        version.height = lineage.next_height();
        version.previous = lineage.head().map(|head| head.id);
    }
    if fit.has(RECIPE) {
        let inputs = match version.change {
            Change::Release => lineage.inputs().iter().copied().chain(taken(version)).collect(),
            Change::Revoke => lineage.without(&version.revoked),
            Change::Rollback(height) => lineage.back_to(height).unwrap_or_default(),
        };
        version.recipe = lineage.recipe(inputs).unwrap_or_else(|| version.recipe.clone());
        if version.change != Change::Revoke {
            version.revoked = lineage.revoked().to_vec();
        }
    }
}

fn taken(version: &VersionInfo) -> Vec<(ManifestId, Weight)> {
    let weight = |verdict: &Verdict| match verdict.outcome {
        VerdictOutcome::Taken { weight, .. } => Some((verdict.adapter, weight)),
        VerdictOutcome::Refused(_) => None,
    };
    version.verdicts.iter().filter_map(weight).collect()
}

/// What holds of every chain.
fn check(lineage: &Lineage) -> Result<(), String> {
    let revoked = lineage.revoked();
    let clean = !lineage.inputs().iter().any(|(input, _)| revoked.contains(input));
    hold(clean, || "a revoked adapter is in force".to_owned())?;
    hold(lineage.next_height() as usize == lineage.versions().len() + 1, || "a height was left out".to_owned())?;
    for height in 0..=lineage.next_height() {
        let known = height < lineage.next_height();
        hold(lineage.back_to(height).is_some() == known, || "a way back to nowhere".to_owned())?;
    }
    let _shard = lineage.next_shard();
    hold(lineage.stale(&BTreeMap::new()).is_empty(), || "nothing known is stale".to_owned())
}

fn body(kind: Kind, files: Vec<FileEntry>) -> Vec<u8> {
    let manifest = Manifest {
        kind,
        name: Name::new("commons").expect("a name"),
        licence: "MIT".to_owned(),
        description: String::new(),
        created: 1_700_000_000,
        publisher: PublicKey::of(&keypair()),
        files,
    };
    codec::encode(&manifest).expect("within its bounds")
}

fn sealed() -> Sealed {
    let suite = |name: &str, role| Suite {
        name: Name::new(name).expect("a name"),
        role,
        rows: FileDigest(Digest::of(name.as_bytes())),
    };
    Sealed { salt: Digest::of(b"salt"), suites: vec![suite("sql", Role::Improve), suite("text", Role::Keep)] }
}

fn channel(evaluation: Vec<Digest>) -> Vec<u8> {
    body(
        Kind::Channel(ChannelInfo {
            genesis: genesis(),
            forked_from: None,
            dtype: DType::BF16,
            admission: Admission::Open,
            licences: vec![],
            gate: Gate { gain_ppm: 1000, guard_ppm: 10_000 },
            norm: NormBound { clip_ppm: 500_000, refuse_ppm: 5_000_000 },
            evaluation,
        }),
        vec![],
    )
}

fn version(height: u32, change: Change, taken: &[&str], revoked: &[&str], opened: Option<u32>) -> Vec<u8> {
    let mut verdicts: Vec<_> = taken
        .iter()
        .map(|name| Verdict {
            proposal: id(&format!("proposal of {name}")),
            adapter: id(name),
            outcome: VerdictOutcome::Taken { weight: Weight::ONE, alone_micro: -5 },
        })
        .collect();
    verdicts.sort_by_key(|verdict| verdict.proposal);
    let mut revoked: Vec<_> = revoked.iter().map(|name| id(name)).collect();
    revoked.sort();
    let score = Score { genesis_micro: 3, before_micro: 2, after_micro: 1 };
    let suites = sealed().suites;
    let files = suites.iter().filter(|_| opened.is_some()).map(|suite| FileEntry {
        path: RelPath::new(suite.path()).expect("a path"),
        len: 9,
        digest: suite.rows,
        table: vec![ShardId(Digest::of(b"table"))],
        table_len: 48,
    });
    let files = files.collect();
    let info = VersionInfo {
        channel: id("channel"),
        height,
        previous: (height > 1).then(|| id("version")),
        change,
        recipe: Recipe::new(genesis(), DType::BF16, []).expect("an empty recipe"),
        digest: FoldDigest(Digest::of(&height.to_le_bytes())),
        base: BaseId(Digest::of(format!("base {height}").as_bytes())),
        revoked,
        opened: opened.map(|index| Opened { index, sealed: sealed(), scores: vec![score; 2] }),
        verdicts,
    };
    body(Kind::Version(Box::new(info)), files)
}

fn inputs() -> Vec<Vec<u8>> {
    let release = version(1, Change::Release, &["a", "b"], &[], None);
    let more = version(2, Change::Release, &["c"], &[], None);
    let revoke = version(3, Change::Revoke, &[], &["a"], None);
    let back = version(4, Change::Rollback(1), &[], &["a"], None);
    let commitment = sealed().commitment().expect("encodes");
    let scored = version(1, Change::Release, &["a"], &[], Some(1));
    let sealed_channel = channel(vec![Digest::of(b"first"), commitment, commitment]);
    let again = version(2, Change::Release, &["b"], &[], Some(2));
    let empty = channel(vec![]);
    let mut all = vec![
        seeds::join(&[&[3; 4], &empty, &release, &more, &revoke, &back]),
        seeds::join(&[&[3; 4], &sealed_channel, &scored, &again]),
        seeds::join(&[&[3; 4], &sealed_channel, &release]),
        seeds::join(&[&[0; 4], &empty, &release]),
        seeds::join(&[&[7; 4], &empty, &release]),
    ];
    let bodies = seeds::vectors("manifest").into_iter().filter(|body| body.len() < 8 << 10);
    all.extend(bodies.map(|body| seeds::join(&[&[3; 4], &empty, &body, &revoke])));
    all
}
