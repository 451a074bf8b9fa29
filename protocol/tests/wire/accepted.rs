//! The bytes that each type must have, written by hand and named.

use std::fmt::Debug;

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::catalogue::Differing;
use potluck_protocol::channel::Change;
use potluck_protocol::codec;
use potluck_protocol::id::{Digest, RecipeId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::shard::Cut;
use potluck_protocol::tensor::DType;

use crate::attacks;
use crate::by_hand;
use crate::channels;
use crate::samples::{self, keypair};
use crate::subjects::MaybeId;
use crate::vectors::Accepted;

pub fn of(file: &str) -> Vec<Accepted> {
    match file {
        "digest_json" => digest_json(),
        "shard_table" => shard_table(),
        "base_identity" => base_identity(),
        "recipe" => recipe(),
        "manifest" => manifest(),
        "announcement" => announcement(),
        "later_announcement" => later_announcement(),
        "request" => request(),
        "reply" => reply(),
        "sealed" => sealed(),
        "signed_manifest" => signed_manifest(),
        "signed_announcement" => signed_announcement(),
        other => panic!("{other} has no vectors"),
    }
}

/// A vector of `value`, which must decode from the bytes written by hand and encode to them.
fn vector<T: MaybeId + PartialEq + Debug>(name: &str, says: &str, value: &T, by_hand: Vec<u8>) -> Accepted {
    assert_eq!(codec::encode(value).as_ref(), Ok(&by_hand), "{}: {name}", T::NAME);
    assert_eq!(codec::decode::<T>(&by_hand).as_ref(), Ok(value), "{}: {name}", T::NAME);
    Accepted::new(name, says, by_hand, value.id_text())
}

fn digest_json() -> Vec<Accepted> {
    let of = |name, says, digest: Digest| {
        let json = format!("\"{digest}\"");
        Accepted::new(name, says, json.into_bytes(), Some(digest.to_string()))
    };
    vec![
        of("empty", "BLAKE3 of nothing", Digest::of(b"")),
        of("potluck", "BLAKE3 of `potluck`", Digest::of(b"potluck")),
        of("context", "BLAKE3 of `potluck` under the context `test`", Digest::of_context("test", b"potluck")),
    ]
}

fn shard_table() -> Vec<Accepted> {
    let of = |name, says, cut, lens: &[u32]| {
        let table = samples::table(cut, lens);
        vector(name, says, &table, by_hand::shard_table(&table))
    };
    vec![
        of("empty", "the table of an empty file", Cut::Fixed, &[]),
        of("fixed", "a file of 1 MiB and 5 bytes", Cut::Fixed, &[1 << 20, 5]),
        of("safetensors", "header, joined small tensors, a large tensor", Cut::Safetensors, &[500, 30, 65_536]),
    ]
}

fn base_identity() -> Vec<Accepted> {
    let full = samples::identity();
    let mut untied = full.clone();
    untied.architecture.tie_word_embeddings = false;
    untied.tensors.truncate(1);
    let mut types = full.clone();
    types.tensors = all_dtypes();
    vec![
        vector("three_tensors", "SmolLM2's architecture with three tensors", &full, by_hand::base_identity(&full)),
        vector("untied", "own output projection, one tensor", &untied, by_hand::base_identity(&untied)),
        vector("every_dtype", "one tensor of every type", &types, by_hand::base_identity(&types)),
    ]
}

fn all_dtypes() -> Vec<potluck_protocol::tensor::TensorEntry> {
    use DType::*;
    let all = [F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K, Q8K];
    let entry = |(index, dtype): (usize, DType)| samples::tensor(&format!("t{index:02}"), dtype, &[2, 256]);
    all.into_iter().enumerate().map(entry).collect()
}

fn recipe() -> Vec<Accepted> {
    let of = |name, says, dtype, inputs: &[(&str, i32)]| {
        let inputs = inputs.iter().map(|(text, weight)| (samples::manifest_id(text), Weight(*weight)));
        let recipe = Recipe::new(samples::base_id(), dtype, inputs).expect("a valid recipe");
        vector(name, says, &recipe, by_hand::recipe_of(&recipe))
    };
    let limit = potluck_protocol::limits::RECIPE_WEIGHT_MAX;
    vec![
        of("genesis", "no input: the parent itself, in f32", DType::F32, &[]),
        of("three", "three adapters at weight one, in bf16", DType::BF16, &[("a", 65536), ("b", 65536), ("c", 65536)]),
        of("summed", "one adapter named twice: its weights are added", DType::F16, &[("a", 3), ("a", 4)]),
        of("extremes", "the largest weights of either sign", DType::F32, &[("a", limit), ("b", -limit)]),
    ]
}

fn manifest() -> Vec<Accepted> {
    let of = |name, says, manifest: &Manifest| vector(name, says, manifest, by_hand::manifest(manifest));
    let recipe = RecipeId(samples::digest("recipe"));
    vec![
        of("adapter", "an adapter with parent, training and evaluation", &samples::adapter()),
        of("bare_adapter", "an adapter with nothing optional, rank 1, an empty file", &samples::bare_adapter()),
        of("base", "a base as published first", &samples::base(None)),
        of("folded_base", "a base made by a recipe", &samples::base(Some(recipe))),
        of("dataset", "rows", &samples::dataset()),
        of("channel", "a fork that admits two keys and two licences", &channels::channel()),
        of("open_channel", "a channel with nothing optional", &channels::open_channel()),
        of("proposal", "an adapter at weight -1/2", &channels::proposal()),
        of("version", "a release with every verdict that there is", &channels::version()),
        of("release", "a release without an opened shard", &channels::bare_version(Change::Release)),
        of("revoke", "a revocation", &channels::bare_version(Change::Revoke)),
        of("rollback", "a way back", &channels::bare_version(Change::Rollback(7))),
        of("mismatch", "a version does not follow from its recipe", &channels::proof(channels::mismatch())),
        of("equivocation", "two versions for one height", &channels::proof(channels::equivocation())),
    ]
}

fn sealed() -> Vec<Accepted> {
    let sealed = channels::sealed();
    let bytes = by_hand::build(|out| channels::put_sealed(out, &sealed));
    vec![vector("two_suites", "one suite to improve, one to keep; the id is the commitment", &sealed, bytes)]
}

fn announcement() -> Vec<Accepted> {
    let of =
        |name, says, announcement: &Announcement| vector(name, says, announcement, by_hand::announcement(announcement));
    let adapter = samples::announcement();
    let base = Announcement { kind: KindTag::Base, sequence: u64::MAX, ..adapter.clone() };
    let dataset = Announcement { kind: KindTag::Dataset, total_bytes: 0, ..adapter.clone() };
    vec![
        of("adapter", "an adapter exists", &adapter),
        of("base", "a base exists; the largest sequence number", &base),
        of("dataset", "a dataset exists; no bytes", &dataset),
    ]
}

fn later_announcement() -> Vec<Accepted> {
    let of = |name, says, kind| {
        let announcement = samples::later_announcement(kind);
        vector(name, says, &announcement, by_hand::later_announcement(&announcement))
    };
    vec![
        of("first", "the first kind that this version does not know", 7),
        of("last", "the last kind that the list can have", 255),
    ]
}

fn request() -> Vec<Accepted> {
    let id = samples::manifest_id("manifest");
    let all = [
        ("manifest", "a signed manifest", Request::Manifest(id)),
        ("have", "which of two shards are there", Request::Have(vec![samples::shard("a"), samples::shard("b")])),
        ("shard", "one shard", Request::Shard(samples::shard("a"))),
        ("providers", "who else has it", Request::Providers(id)),
        ("announcements", "what is announced for a base", Request::Announcements(samples::base_id())),
        ("compare", "64 digests of a base's records", Request::Compare(samples::compare())),
        ("records", "two records", Request::Records(samples::wanted())),
        ("cancel", "a shard is not wanted any more", Request::Cancel(samples::shard("a"))),
        ("peers", "whom it has met", Request::Peers),
    ];
    all.iter().map(|(name, says, request)| vector(name, says, request, by_hand::request(request))).collect()
}

fn reply() -> Vec<Accepted> {
    let provider = Provider { peer: vec![0, 36, 8, 1], addresses: vec![vec![4, 127, 0, 0, 1, 6, 15, 161], vec![1]] };
    let bare = Provider { peer: vec![9], addresses: vec![] };
    let all = [
        ("manifest", "the bytes of a signed manifest (any bytes here)", Reply::Manifest(vec![1, 2, 3])),
        ("have", "the first and third are there", Reply::Have(vec![true, false, true])),
        ("shard", "the last two bytes of five", Reply::Shard { len: 5, offset: 3, bytes: vec![7, 8] }),
        ("providers", "two peers, one with two addresses", Reply::Providers(vec![provider.clone(), bare.clone()])),
        ("announcements", "two announcements (any bytes here)", Reply::Announcements(vec![vec![1, 2], vec![3]])),
        ("differing", "one part differs, with two records; one is empty", Reply::Differing(samples::differing())),
        ("equal", "nothing differs", Reply::Differing(Differing(vec![]))),
        ("records", "two records (any bytes here)", Reply::Records(vec![vec![1, 2], vec![3]])),
        ("no_providers", "nobody known", Reply::Providers(vec![])),
        ("not_found", "refused: not here", Reply::Refused(Refusal::NotFound)),
        ("busy", "refused: later", Reply::Refused(Refusal::Busy { retry_ms: 1500 })),
        ("cancelled", "refused: called back", Reply::Refused(Refusal::Cancelled)),
        ("peers", "two peers, one with two addresses", Reply::Peers(vec![provider, bare])),
    ];
    all.iter().map(|(name, says, reply)| vector(name, says, reply, by_hand::reply(reply))).collect()
}

fn signed_manifest() -> Vec<Accepted> {
    let manifest = samples::adapter();
    let body = by_hand::manifest(&manifest);
    let id = manifest.id_text();
    let own = attacks::entry::<Manifest>(1, &body);
    let other = attacks::entry::<Manifest>(2, &body);
    let mut both = [own, other];
    both.sort();
    vec![
        Accepted::new("publisher", "signed by its publisher", by_hand::envelope(&body, &[own]), id.clone()),
        Accepted::new(
            "two_keys",
            "signed by a second key too: the id is the same",
            by_hand::envelope(&body, &both),
            id,
        ),
    ]
}

fn signed_announcement() -> Vec<Accepted> {
    let announcement = samples::announcement();
    let signed = potluck_protocol::signed::Signed::sign(&announcement, &keypair(1));
    let signed = signed.expect("encodes").expect("its own key");
    let bytes = by_hand::envelope(
        &by_hand::announcement(&announcement),
        &[attacks::entry::<Announcement>(1, &by_hand::announcement(&announcement))],
    );
    assert_eq!(signed.encode().as_ref(), Ok(&bytes));
    let id = signed.verify().expect("our own signature").digest().to_string();
    vec![Accepted::new("publisher", "signed by its publisher", bytes, Some(id))]
}
