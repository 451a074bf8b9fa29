//! Arbitrary values of every type, within its bounds.

use libp2p_identity::ed25519::Keypair;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::base::{Architecture, BaseIdentity, F32Bits, Family};
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::catalogue::{Bucket, Compare, Differing, Wanted};
use potluck_protocol::channel::{Change, Claim, VersionInfo};
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, FileDigest, FoldDigest, ManifestId, RecipeId, ShardId};
use potluck_protocol::limits::{BASE_BYTES_MAX, RANK_MAX, RECIPE_WEIGHT_MAX, SHARD_MAX, SIGNED_MANIFEST_MAX};
use potluck_protocol::manifest::{AdapterInfo, BaseInfo, DatasetInfo, Evaluation, FileEntry, Kind, Manifest, Training};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::shard::{Cut, ShardRow, ShardTable};
use potluck_protocol::signed::PublicKey;
use potluck_protocol::tensor::{DType, TensorEntry};
use potluck_protocol::text::{Name, RelPath};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::{channels, samples};

/// Bounded, and the same cases on every run.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(0x706f_746c), failure_persistence: None, ..Default::default() }
}

pub fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn shard_id() -> impl Strategy<Value = ShardId> {
    digest().prop_map(ShardId)
}

fn manifest_id() -> impl Strategy<Value = ManifestId> {
    digest().prop_map(ManifestId)
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_]([A-Za-z0-9._-]{0,40}[A-Za-z0-9_-])?".prop_map(|text| Name::new(text).expect("fits the rule"))
}

fn path() -> impl Strategy<Value = RelPath> {
    let part = "x[A-Za-z0-9._-]{0,20}[A-Za-z0-9_-]";
    vec(part, 1..=4).prop_map(|parts| RelPath::new(parts.join("/")).expect("fits the rule"))
}

pub fn table() -> impl Strategy<Value = ShardTable> {
    let row = (shard_id(), 1..=SHARD_MAX as u32).prop_map(|(id, len)| ShardRow { id, len });
    let cut = prop_oneof![Just(Cut::Fixed), Just(Cut::Safetensors)];
    (cut, vec(row, 0..20)).prop_map(|(cut, rows)| ShardTable { cut, rows })
}

fn architecture() -> impl Strategy<Value = Architecture> {
    let float = || (0.0f32..1e9).prop_map(|value| F32Bits::new(value.max(f32::MIN_POSITIVE)).expect("finite"));
    let sizes = (1u32..1 << 24, 1u32..1 << 20, 1u32..1 << 20, 1u32..1 << 12);
    (sizes, 1u32..32, 1u32..32, 1u32..1000, float(), float(), any::<bool>()).prop_map(
        |((vocab, hidden, inner, layers), groups, heads, half, eps, theta, tie)| Architecture {
            family: Family::Llama,
            vocab_size: vocab,
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: groups * heads,
            num_key_value_heads: heads,
            head_dim: 2 * half,
            rms_norm_eps: eps,
            rope_theta: theta,
            tie_word_embeddings: tie,
        },
    )
}

fn dtype() -> impl Strategy<Value = DType> {
    use DType::*;
    prop::sample::select(vec![F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K, Q8K])
}

pub fn identity() -> impl Strategy<Value = BaseIdentity> {
    let tensors = btree_map("[!-~]{1,60}", (dtype(), vec(any::<u64>(), 0..=8), digest()), 1..12);
    (architecture(), digest(), tensors).prop_map(|(architecture, tokenizer, tensors)| {
        let entry = |(name, (dtype, shape, digest))| TensorEntry { name, dtype, shape, digest };
        BaseIdentity::new(architecture, tokenizer, tensors.into_iter().map(entry).collect())
    })
}

pub fn recipe() -> impl Strategy<Value = Recipe> {
    let float = prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]);
    let weight = (1..=RECIPE_WEIGHT_MAX, any::<bool>()).prop_map(|(w, plus)| Weight(if plus { w } else { -w }));
    (digest(), float, btree_map(manifest_id(), weight, 0..12))
        .prop_map(|(parent, dtype, inputs)| Recipe::new(BaseId(parent), dtype, inputs).expect("within its bounds"))
}

fn files() -> impl Strategy<Value = Vec<FileEntry>> {
    let row = (0u64..1 << 28, digest(), vec(shard_id(), 1..=4), 1..=SHARD_MAX as u32);
    btree_map(path(), row, 1..6).prop_filter_map("paths that differ in case only", |rows| {
        let entry = |(path, (len, digest, table, last)): (RelPath, (u64, Digest, Vec<ShardId>, u32))| {
            let table_len = (table.len() as u32 - 1) * SHARD_MAX as u32 + last;
            FileEntry { path, len, digest: FileDigest(digest), table, table_len }
        };
        let files: Vec<FileEntry> = rows.into_iter().map(entry).collect();
        let mut folded: Vec<_> = files.iter().map(|file| file.path.as_str().to_lowercase()).collect();
        folded.sort();
        folded.windows(2).all(|pair| pair[0] != pair[1]).then_some(files)
    })
}

fn adapter() -> impl Strategy<Value = AdapterInfo> {
    let training = (any::<[u64; 4]>(), digest()).prop_map(|([steps, tokens, seed, rate], data)| Training {
        steps,
        tokens,
        seed,
        learning_rate_nano: rate,
        data,
    });
    let evaluation =
        (name(), any::<[u64; 2]>(), 0..=1_000_000u32).prop_map(|(suite, [samples, loss_micro], exact_match_ppm)| {
            Evaluation { suite, samples, exact_match_ppm, loss_micro }
        });
    let targets = btree_set("[!-~]{1,30}", 1..8);
    let lists = (targets, vec(manifest_id(), 0..4), option::of(training), vec(evaluation, 0..4));
    (digest(), digest(), 1..=RANK_MAX, lists).prop_map(|(base, view, r, (targets, parents, training, evaluations))| {
        AdapterInfo {
            base: BaseId(base),
            trained_on: BaseId(view),
            r,
            target_modules: targets.into_iter().collect(),
            parents,
            training,
            evaluations,
        }
    })
}

pub fn manifest() -> impl Strategy<Value = Manifest> {
    let base = (digest(), architecture(), option::of(digest().prop_map(RecipeId)));
    let kind = prop_oneof![
        adapter().prop_map(Kind::Adapter),
        base.prop_map(|(base, architecture, recipe)| Kind::Base(BaseInfo { base: BaseId(base), architecture, recipe })),
        any::<u64>().prop_map(|rows| Kind::Dataset(DatasetInfo { rows })),
        about_channels(),
    ];
    (kind, name(), "[ -~]{0,64}", "\\PC{0,200}", any::<u64>(), files()).prop_map(
        |(kind, name, licence, description, created, files)| Manifest {
            name,
            licence,
            description,
            created,
            publisher: samples::publisher(),
            files: held_by(&kind, files),
            kind,
        },
    )
}

/// What says something about a channel says it in the body, but for a version's rows, which are few.
fn held_by(kind: &Kind, mut files: Vec<FileEntry>) -> Vec<FileEntry> {
    match kind {
        Kind::Channel(_) | Kind::Proposal(_) | Kind::Proof(_) => files.clear(),
        Kind::Version(_) => files.iter_mut().for_each(|file| file.len %= 1 << 20),
        Kind::Adapter(_) | Kind::Base(_) | Kind::Dataset(_) => {}
    }
    files
}

fn about_channels() -> impl Strategy<Value = Kind> {
    let fixed = vec![channels::channel(), channels::open_channel(), channels::proposal(), channels::version()];
    let fixed: Vec<_> = fixed.into_iter().map(|manifest| manifest.kind).collect();
    let version = (recipe(), digest(), 1..9u32, any::<u32>()).prop_map(|(recipe, digest, height, back)| {
        let previous = (height > 1).then_some(ManifestId(digest));
        let change = Change::Rollback(back);
        let info = VersionInfo { recipe, height, previous, change, ..channels::version_info() };
        Kind::Version(Box::new(info))
    });
    let claim = (manifest_id(), manifest_id(), digest(), any::<bool>()).prop_map(|(one, other, digest, lie)| {
        let mismatch = Claim::Mismatch { version: one, digest: FoldDigest(digest) };
        channels::proof(if lie { mismatch } else { Claim::Equivocation { first: one, second: other } }).kind
    });
    prop_oneof![prop::sample::select(fixed), version, claim]
}

pub fn announcement() -> impl Strategy<Value = Announcement> {
    let kind =
        prop::sample::select(vec![KindTag::Adapter, KindTag::Base, KindTag::Dataset, KindTag::Version, KindTag::Proof]);
    let sizes = (0..=SIGNED_MANIFEST_MAX as u32, 0..=BASE_BYTES_MAX, any::<u64>());
    (manifest_id(), kind, name(), digest(), sizes).prop_map(
        |(manifest, kind, name, base, (manifest_len, total_bytes, sequence))| Announcement {
            manifest,
            manifest_len,
            kind,
            name,
            base: BaseId(base),
            total_bytes,
            publisher: samples::publisher(),
            sequence,
        },
    )
}

pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        manifest_id().prop_map(Request::Manifest),
        vec(shard_id(), 1..20).prop_map(Request::Have),
        shard_id().prop_map(Request::Shard),
        shard_id().prop_map(Request::Cancel),
        Just(Request::Peers),
        manifest_id().prop_map(Request::Providers),
        digest().prop_map(|base| Request::Announcements(BaseId(base))),
        (digest(), vec(digest(), 64))
            .prop_map(|(base, buckets)| { Request::Compare(Compare { base: BaseId(base), buckets }) }),
        (digest(), btree_set(digest(), 1..20)).prop_map(|(base, ids)| {
            Request::Records(Wanted { base: BaseId(base), ids: ids.into_iter().map(AnnouncementId).collect() })
        }),
    ]
}

/// The parts in which these ids lie.
fn differing(ids: std::collections::BTreeSet<Digest>) -> Reply {
    let mut buckets: Vec<Bucket> = Vec::new();
    for id in ids {
        let index = id.0[0] / 4;
        if buckets.last().is_none_or(|last| last.index != index) {
            buckets.push(Bucket { index, ids: Vec::new() });
        }
        buckets.iter_mut().last().expect("just pushed").ids.push(AnnouncementId(id));
    }
    Reply::Differing(Differing(buckets))
}

pub fn reply() -> impl Strategy<Value = Reply> {
    let piece = (vec(any::<u8>(), 1..200), 0..1000u32, 0..1000u32).prop_map(|(bytes, offset, rest)| Reply::Shard {
        len: bytes.len() as u32 + offset + rest,
        offset,
        bytes,
    });
    let provider = (vec(any::<u8>(), 0..=64), vec(vec(any::<u8>(), 1..=256), 0..=4))
        .prop_map(|(peer, addresses)| Provider { peer, addresses })
        .boxed();
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(Reply::Manifest),
        vec(any::<bool>(), 0..100).prop_map(Reply::Have),
        vec(vec(any::<u8>(), 1..100), 0..=64).prop_map(Reply::Announcements),
        vec(vec(any::<u8>(), 1..100), 0..=64).prop_map(Reply::Records),
        btree_set(digest(), 0..30).prop_map(differing),
        piece,
        vec(provider.clone(), 0..=16).prop_map(Reply::Providers),
        vec(provider, 0..=16).prop_map(Reply::Peers),
        Just(Reply::Refused(Refusal::NotFound)),
        Just(Reply::Refused(Refusal::Cancelled)),
        any::<u32>().prop_map(|retry_ms| Reply::Refused(Refusal::Busy { retry_ms })),
    ]
}

/// A key whose secret bytes are arbitrary.
pub fn keypair() -> impl Strategy<Value = Keypair> {
    any::<u8>().prop_map(samples::keypair)
}

pub fn signed_by(keypair: &Keypair, manifest: Manifest) -> Manifest {
    Manifest { publisher: PublicKey::of(keypair), ..manifest }
}
