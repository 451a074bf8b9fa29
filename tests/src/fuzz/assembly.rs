//! From table and content shards to a file that is what its manifest says.

use std::collections::BTreeMap;
use std::convert::Infallible;

use libp2p::identity::ed25519::{Keypair, SecretKey};
use potluck_protocol::codec;
use potluck_protocol::id::{Digest, FileDigest, ShardId};
use potluck_protocol::limits::{FILES_MAX, SHARD_MAX};
use potluck_protocol::manifest::{DatasetInfo, FileEntry, Kind, Manifest};
use potluck_protocol::shard::{Cut, ShardRow, ShardTable, VerifiedShard};
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::text::{Name, RelPath};
use potluck_protocol::verify::{Mapped, Scan};

use super::flags::Flags;
use super::{Form, Memory, Outcome, Target, hold, seeds};

pub fn target() -> Target {
    Target {
        name: "assembly",
        about: "files from their shards, with tables that lie",
        form: Form::Parts,
        words: &["model.safetensors", "a/b.json", "rows.jsonl"],
        seeds: inputs,
        memory: Memory::new(64, 8 << 20),
        short: 1000,
        run,
    }
}

/// Lies of a file, by bit.
const WRONG_CUT: u8 = 1;
const WRONG_LENGTH: u8 = 2;
const WRONG_DIGEST: u8 = 4;
const OWN_ROWS: u8 = 8;
const LOST_SHARD: u8 = 16;
const REPEATED_SHARD: u8 = 32;

/// All shards that somebody holds, and the files that they say these are.
#[derive(Default)]
struct Published {
    shards: BTreeMap<ShardId, Vec<u8>>,
    files: Vec<FileEntry>,
    contents: Vec<Vec<u8>>,
}

/// Four parts a file: its lies, its path, its content, and the lengths of its rows where they are its own.
fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let parts = seeds::split(bytes);
    let mut published = Published::default();
    let mut lies = Flags(0);
    for file in parts.chunks_exact(4).take(FILES_MAX) {
        let lie = Flags::of(file[0]);
        lies = lies.with(lie);
        if let Err(reason) = published.add(lie, file[1], file[2], file[3]) {
            return Outcome::refused(reason);
        }
    }
    published.files.sort_by(|one, other| one.path.cmp(&other.path));
    let Some(manifest) = sign(&published.files) else { return Outcome::refused("no manifest") };
    assemble(manifest, &published, lies)
}

impl Published {
    fn add(&mut self, lie: Flags, path: &[u8], content: &[u8], rows: &[u8]) -> Result<(), String> {
        let path = RelPath::new(String::from_utf8_lossy(path).into_owned()).map_err(|error| error.to_string())?;
        let (cut, mut lens) = Cut::choose(path.as_str(), content, content.len());
        let cut = match (lie.has(WRONG_CUT), cut) {
            (false, cut) => cut,
            (true, Cut::Fixed) => Cut::Safetensors,
            (true, Cut::Safetensors) => Cut::Fixed,
        };
        if lie.has(OWN_ROWS) {
            lens = rows.chunks_exact(4).map(|len| u32::from_le_bytes([len[0], len[1], len[2], len[3]])).collect();
        }
        let (mut at, mut table) = (0, Vec::new());
        for len in lens {
            let end = content.len().min(at + (len as usize).min(SHARD_MAX));
            let id = self.hold(&content[at.min(end)..end])?;
            table.push(ShardRow { id, len });
            at = end;
        }
        if lie.has(REPEATED_SHARD) {
            table.extend(table.first().copied().into_iter().cycle().take(1000));
        }
        if lie.has(LOST_SHARD) {
            self.shards.pop_last();
        }
        let encoded = codec::encode(&ShardTable { cut, rows: table }).map_err(|error| error.to_string())?;
        let table = encoded.chunks(SHARD_MAX).map(|piece| self.hold(piece)).collect::<Result<Vec<_>, _>>()?;
        let digest = if lie.has(WRONG_DIGEST) { Digest::of(b"other") } else { Digest::of(content) };
        let len = content.len() as u64 + u64::from(lie.has(WRONG_LENGTH));
        let table_len = encoded.len() as u32;
        self.files.push(FileEntry { path, len, digest: FileDigest(digest), table, table_len });
        self.contents.push(content.to_vec());
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<ShardId, String> {
        let shard = VerifiedShard::of(bytes.to_vec()).map_err(|error| error.to_string())?;
        let id = shard.id();
        self.shards.insert(id, shard.into_bytes());
        Ok(id)
    }

    fn get(&self, id: &ShardId) -> Option<VerifiedShard> {
        VerifiedShard::check(*id, self.shards.get(id)?.clone()).ok()
    }
}

fn sign(files: &[FileEntry]) -> Option<Authentic<Manifest>> {
    let keypair = Keypair::from(SecretKey::try_from_bytes([1; 32]).ok()?);
    let manifest = Manifest {
        kind: Kind::Dataset(DatasetInfo { rows: 1 }),
        name: Name::new("x").ok()?,
        licence: String::new(),
        description: String::new(),
        created: 0,
        publisher: PublicKey::of(&keypair),
        files: files.to_vec(),
    };
    Signed::sign(&manifest, &keypair).ok()??.verify().ok()
}

/// As a pull and an inspection do it.
fn assemble(manifest: Authentic<Manifest>, published: &Published, lies: Flags) -> Result<Outcome, String> {
    let Ok(mapped) = Mapped::read(manifest, |id| Ok::<_, Infallible>(published.get(id)));
    let mapped = match mapped {
        Ok(mapped) => mapped,
        Err(error) => return Outcome::refused(error),
    };
    let rows: u64 = mapped.shards().map(|row| u64::from(row.len)).sum();
    hold(rows == mapped.manifest().body().total_bytes(), || "the rows are not the files".to_owned())?;
    let Ok(complete) = mapped.complete(|id| Ok::<_, Infallible>(published.shards.contains_key(id)));
    let complete = match complete {
        Ok(complete) => complete,
        Err(error) => return Outcome::refused(error),
    };
    let scan = |(_, table): (&FileEntry, &ShardTable)| {
        let shard = |row: &ShardRow| published.shards.get(&row.id).cloned().unwrap_or_default();
        let head: Vec<u8> = table.rows.iter().flat_map(shard).collect();
        Scan { digest: FileDigest(Digest::of(&head)), head }
    };
    let scans: Vec<_> = complete.mapped().files().map(scan).collect();
    match complete.inspect_scanned(&scans, |_| Ok(())) {
        Err(error) => Outcome::refused(error),
        Ok(whole) => {
            let right = whole.manifest().body().files.iter().all(|file| {
                published
                    .contents
                    .iter()
                    .any(|content| file.digest.0 == Digest::of(content) && file.len == content.len() as u64)
            });
            hold(right, || "a file is well-formed and is none of those that were published".to_owned())?;
            hold(!lies.has(WRONG_DIGEST), || "a wrong digest was taken".to_owned())?;
            Outcome::accepted("whole")
        }
    }
}

fn inputs() -> Vec<Vec<u8>> {
    let adapter = seeds::fixture("peft/adapter/adapter_model.safetensors");
    let rows: Vec<u8> = [3u32, 2, 4].iter().flat_map(|len| len.to_le_bytes()).collect();
    let file = |lie: u8, path: &str, content: &[u8]| seeds::join(&[&[lie], path.as_bytes(), content, &rows]);
    let small = b"{\"a\": 1}\n";
    let one = [file(0, "a.json", small), file(0, "b/model.safetensors", &adapter)].concat();
    let lies = [WRONG_CUT, WRONG_LENGTH, WRONG_DIGEST, OWN_ROWS, LOST_SHARD, REPEATED_SHARD];
    let mut all = vec![one, file(0, "empty", b"")];
    all.extend(lies.iter().map(|lie| file(*lie, "a.json", small)));
    all.extend(lies.iter().map(|lie| file(*lie, "model.safetensors", &adapter)));
    all
}
