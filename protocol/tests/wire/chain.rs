//! From bytes to `WellFormed`, and every way off that path with the one who is to blame.

use std::collections::BTreeMap;

use potluck_protocol::codec;
use potluck_protocol::id::{Digest, FileDigest, ShardId};
use potluck_protocol::limits::{REPEATED_FACTOR, REPEATED_FREE, SHARD_MAX};
use potluck_protocol::manifest::{FileEntry, Manifest};
use potluck_protocol::shard::{Cut, ShardError, ShardRow, ShardTable, TableError, VerifiedShard};
use potluck_protocol::signed::{Authentic, Signed};
use potluck_protocol::text::RelPath;
use potluck_protocol::verify::{Blame, Complete, Mapped, Scan, VerifyError, WellFormed, verify_manifest};

use crate::samples::{self, keypair};

type Shards = BTreeMap<ShardId, VerifiedShard>;

/// A small safetensors file of one tensor.
fn safetensors() -> Vec<u8> {
    let json = br#"{"t":{"dtype":"F16","shape":[50000],"data_offsets":[0,100000]}}"#;
    [&(json.len() as u64).to_le_bytes()[..], json, &[7; 100_000]].concat()
}

/// Cuts `bytes` into `lens` and keeps the shards, those of the table included.
fn put(shards: &mut Shards, path: &str, bytes: &[u8], cut: Cut, lens: &[u32]) -> FileEntry {
    let mut keep = |bytes: &[u8]| {
        let shard = VerifiedShard::of(bytes.to_vec()).expect("short enough");
        let id = shard.id();
        shards.insert(id, shard);
        id
    };
    let mut at = 0;
    let mut rows = Vec::new();
    for &len in lens {
        rows.push(ShardRow { id: keep(&bytes[at..at + len as usize]), len });
        at += len as usize;
    }
    let table = codec::encode(&ShardTable { cut, rows }).expect("a valid table");
    FileEntry {
        path: RelPath::new(path).expect("a path"),
        len: bytes.len() as u64,
        digest: FileDigest(Digest::of(bytes)),
        table: vec![keep(&table)],
        table_len: table.len() as u32,
    }
}

/// A signed adapter of that one file, and its shards.
fn published(cut: Cut, lens: &[u32]) -> (Manifest, Shards) {
    let mut shards = Shards::new();
    let file = put(&mut shards, "adapter_model.safetensors", &safetensors(), cut, lens);
    (Manifest { files: vec![file], ..samples::adapter() }, shards)
}

fn honest() -> (Manifest, Shards) {
    let (cut, lens) = Cut::choose("x.safetensors", &safetensors(), safetensors().len());
    published(cut, &lens)
}

fn sign(manifest: &Manifest) -> Authentic<Manifest> {
    let signed = Signed::sign(manifest, &keypair(1)).expect("within bounds").expect("its own key");
    signed.verify().expect("our own signature")
}

fn mapped(manifest: &Manifest, shards: &Shards) -> Result<Mapped, VerifyError> {
    let get = |id: &ShardId| Ok::<_, std::convert::Infallible>(shards.get(id).cloned());
    let Ok(result) = Mapped::read(sign(manifest), get);
    result
}

fn complete(manifest: &Manifest, shards: &Shards) -> Result<Complete, VerifyError> {
    let has = |id: &ShardId| Ok::<_, std::convert::Infallible>(shards.contains_key(id));
    let Ok(result) = mapped(manifest, shards)?.complete(has);
    result
}

fn inspected(manifest: &Manifest, shards: &Shards, content: &[u8]) -> Result<WellFormed, VerifyError> {
    complete(manifest, shards)?.inspect_scanned(&[scan(content)], |_| Ok(()))
}

fn scan(content: &[u8]) -> Scan {
    Scan { digest: FileDigest(Digest::of(content)), head: content.to_vec() }
}

#[test]
fn an_honest_manifest_becomes_well_formed() {
    let (manifest, shards) = honest();
    let well_formed = inspected(&manifest, &shards, &safetensors()).expect("honest");
    assert_eq!(well_formed.manifest().body(), &manifest);
    let wanted = sign(&manifest).id();
    let bytes = sign(&manifest).signed().encode().expect("within bounds");
    assert_eq!(verify_manifest(wanted, &bytes).map(|manifest| manifest.id()), Ok(wanted));
}

#[test]
fn another_manifest_is_the_peers_fault() {
    let bytes = sign(&honest().0).signed().encode().expect("within bounds");
    let error = verify_manifest(samples::manifest_id("wanted"), &bytes).expect_err("another one");
    assert!(matches!(error, VerifyError::OtherManifest { .. }));
    assert_eq!(error.blame(), Blame::Peer);
    let error = verify_manifest(sign(&honest().0).id(), &bytes[1..]).expect_err("damaged");
    assert_eq!(error.blame(), Blame::Peer);
}

#[test]
fn missing_shards_are_nobodys_fault() {
    let (manifest, shards) = honest();
    let only_tables = shards.iter().filter(|(id, _)| manifest.files[0].table.contains(id));
    let only_tables: Shards = only_tables.map(|(id, shard)| (*id, shard.clone())).collect();
    for there in [Shards::new(), only_tables] {
        let error = complete(&manifest, &there).expect_err("incomplete");
        assert!(matches!(error, VerifyError::Incomplete { .. }));
        assert_eq!(error.blame(), Blame::Nobody);
    }
}

#[test]
fn a_store_that_gives_another_shard_is_not_believed() {
    let (manifest, _) = honest();
    let other = VerifiedShard::of(b"other".to_vec()).expect("short enough");
    let Ok(result) = Mapped::read(sign(&manifest), |_| Ok::<_, std::convert::Infallible>(Some(other.clone())));
    assert!(matches!(result, Err(VerifyError::Shard(ShardError::WrongBytes { .. }))));
}

/// I5: valid tables, signed, every shard there, and still not the cut of the file.
#[test]
fn a_cut_that_is_not_the_rules_is_the_publishers_fault() {
    let len = safetensors().len() as u32;
    let cases = [(Cut::Fixed, vec![len]), (Cut::Safetensors, vec![len]), (Cut::Safetensors, vec![100, len - 100])];
    for (cut, lens) in cases {
        let (manifest, shards) = published(cut, &lens);
        let whole = complete(&manifest, &shards).expect("all is there");
        let apart = whole.inspect_apart(&[scan(&safetensors())], |_| Ok(()));
        let error = inspected(&manifest, &shards, &safetensors()).expect_err("not the rule's cut");
        assert_eq!(apart.as_ref(), Err(&error), "whoever judges a part of it sees that too");
        assert!(matches!(error, VerifyError::Table { error: TableError::WrongCut, .. }), "{cut:?}: {error}");
        assert_eq!(error.blame(), Blame::Publisher);
    }
}

#[test]
fn crumbs_for_shards_are_refused_before_they_are_fetched() {
    let len = safetensors().len();
    let mut crumbs = vec![10; len / 10];
    crumbs.push((len % 10) as u32);
    for cut in [Cut::Fixed, Cut::Safetensors] {
        let (manifest, shards) = published(cut, &crumbs);
        let error = mapped(&manifest, &shards).expect_err("crumbs");
        assert!(matches!(error, VerifyError::Table { error: TableError::WrongCut, .. }));
        assert_eq!(error.blame(), Blame::Publisher);
    }
}

#[test]
fn a_table_that_does_not_fit_its_file_is_the_publishers_fault() {
    let (mut manifest, shards) = honest();
    manifest.files[0].len += 1;
    let longer = mapped(&manifest, &shards).expect_err("the rows do not add up");
    assert!(matches!(longer, VerifyError::Table { error: TableError::Length { .. }, .. }));
    manifest.files[0].len -= 1;
    manifest.files[0].table_len -= 1;
    let shorter = mapped(&manifest, &shards).expect_err("not the table's length");
    assert!(matches!(shorter, VerifyError::Table { error: TableError::Length { .. }, .. }));
    assert_eq!((longer.blame(), shorter.blame()), (Blame::Publisher, Blame::Publisher));
}

#[test]
fn content_that_is_not_the_manifests_is_the_publishers_fault() {
    let (manifest, shards) = honest();
    let mut other = safetensors();
    other[50_000] ^= 1;
    let error = inspected(&manifest, &shards, &other).expect_err("another file");
    assert!(matches!(error, VerifyError::FileDigest { .. }));
    assert_eq!(error.blame(), Blame::Publisher);

    let complete = complete(&manifest, &shards).expect("complete");
    let wrong = |_: &Manifest| Err(("adapter_model.safetensors".into(), "NaN".into()));
    let result = complete.inspect_scanned(&[scan(&safetensors())], wrong);
    assert_eq!(result.expect_err("refused by its meaning").blame(), Blame::Publisher);
}

/// A megabyte of traffic that is to become gigabytes on disk: seen by the tables alone, before a shard is fetched.
#[test]
fn a_table_that_repeats_a_shard_beyond_what_is_honest_is_refused_before_it_is_fetched() {
    let (manifest, mut shards) = honest();
    let piece = VerifiedShard::of(vec![0; SHARD_MAX]).expect("short enough");
    let mut of_repeats = |rows: u64| {
        let len = SHARD_MAX as u32;
        let table = ShardTable { cut: Cut::Fixed, rows: vec![ShardRow { id: piece.id(), len }; rows as usize] };
        let table = VerifiedShard::of(codec::encode(&table).expect("a valid table")).expect("short enough");
        let file = FileEntry {
            path: RelPath::new("adapter_model.safetensors").expect("a path"),
            len: rows * u64::from(len),
            digest: FileDigest(Digest::of(b"nobody has read it yet")),
            table: vec![table.id()],
            table_len: table.bytes().len() as u32,
        };
        shards.insert(table.id(), table);
        mapped(&Manifest { files: vec![file], ..manifest.clone() }, &shards).map(drop)
    };
    let most = REPEATED_FREE / SHARD_MAX as u64 + REPEATED_FACTOR;
    assert_eq!(of_repeats(most), Ok(()), "zeros, as factors have that were never trained");
    let error = of_repeats(most + 1).expect_err("a bomb");
    assert!(matches!(error, VerifyError::Repeated { distinct, .. } if distinct == SHARD_MAX as u64), "{error}");
    assert_eq!(error.blame(), Blame::Publisher);
    assert!(matches!(of_repeats(4000), Err(VerifyError::Repeated { .. })));
}
