//! Files that are too large to be held: read once, shard by shard, and written beside if they are wanted.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use potluck_protocol::id::{Digest, FileDigest};
use potluck_protocol::limits::{SAFETENSORS_HEADER_MAX, SHARD_MAX};
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::shard::ShardTable;
use potluck_protocol::verify::{Complete, Scan};

use crate::store::error::{Result, StoreError};
use crate::store::{Store, durable};

/// Bytes of a file's start that are kept: a safetensors header with its length field.
const HEAD_MAX: usize = SAFETENSORS_HEADER_MAX + 8;

/// What becomes of a file's pieces as they are read.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&FileEntry, &[u8]) -> Result<()>;

/// See [`Store::scan`]. Holds one shard and the start of one file. The paths are a manifest's and cannot leave the
/// folder. // I13
pub(crate) fn write_files(store: &Store, complete: &Complete, folder: &Path) -> Result<Vec<Scan>> {
    let write = |(file, table): (&FileEntry, &ShardTable)| {
        let (path, mut out) = create(&folder.join(file.path.as_str()))?;
        let scan = scan_file(store, file, table, &mut |_, piece| {
            out.write_all(piece).map_err(StoreError::io("write", &path))
        })?;
        out.sync_all().map_err(StoreError::io("write", &path))?;
        durable::sync_parent(&path)?;
        Ok(scan)
    };
    complete.mapped().files().map(write).collect()
}

/// See [`Store::scan_each`].
pub(crate) fn scan_files(store: &Store, complete: &Complete, each: Each) -> Result<Vec<Scan>> {
    complete.mapped().files().map(|(file, table)| scan_file(store, file, table, each)).collect()
}

pub(crate) fn scan_file(store: &Store, file: &FileEntry, table: &ShardTable, each: Each) -> Result<Scan> {
    let (mut digest, mut head) = (blake3::Hasher::new(), Vec::new());
    for row in &table.rows {
        let shard = store.shard(&row.id)?.ok_or(StoreError::NoShard(row.id))?;
        digest.update(shard.bytes());
        each(file, shard.bytes())?;
        let rest = bytes_wanted(&head).saturating_sub(head.len());
        head.extend_from_slice(&shard.bytes()[..rest.min(shard.bytes().len())]);
    }
    Ok(Scan { digest: FileDigest(Digest(*digest.finalize().as_bytes())), head })
}

/// How much of the start is wanted: one shard, and more if that says that the header is longer.
fn bytes_wanted(head: &[u8]) -> usize {
    let header = head.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
    usize::try_from(header).unwrap_or(usize::MAX).saturating_add(8).clamp(SHARD_MAX, HEAD_MAX)
}

fn create(path: &Path) -> Result<(std::path::PathBuf, File)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(StoreError::io("make the folder", folder))?;
    }
    let file = File::create_new(path).map_err(StoreError::io("make", path))?;
    Ok((path.to_path_buf(), file))
}

#[cfg(test)]
mod tests {
    use potluck_protocol::text::RelPath;
    use potluck_protocol::verify::VerifyError;

    use super::*;
    use crate::store::Source;
    use crate::store::testing::{Fixture, bytes};

    /// A safetensors file whose header is longer than a shard, and a plain one.
    fn files() -> [(&'static str, Vec<u8>); 2] {
        let name = |n: usize| format!("{n:0>240}");
        let tensor = |n: usize| {
            format!(r#""{}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, name(n), n * 4, n * 4 + 4)
        };
        let json = format!("{{{}}}", (0..4000).map(tensor).collect::<Vec<_>>().join(","));
        let model = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &bytes("data", 16_000)].concat();
        assert!(json.len() > SHARD_MAX);
        [("m.safetensors", model), ("x.bin", bytes("x", 3 * SHARD_MAX + 1))]
    }

    fn complete(fixture: &Fixture, store: &Store) -> Complete {
        let sources = files().map(|(name, bytes)| (RelPath::new(name).expect("a path"), Source::Bytes(bytes)));
        let entries = store.import_files(sources.into()).expect("room");
        let mapped = store.map(fixture.sign("base", entries)).expect("readable").expect("it fits");
        mapped.complete(|id| store.has_shard(id)).expect("readable").expect("all is there")
    }

    #[test]
    fn a_scan_knows_of_a_file_what_the_whole_file_tells() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let complete = complete(&fixture, &store);
        let out = fixture.root().join("tmp/look");
        let scans = store.scan(&complete, Some(&out)).expect("room");
        for (scan, (name, bytes)) in scans.iter().zip(files()) {
            assert_eq!(scan.digest, FileDigest(Digest::of(&bytes)));
            assert!(bytes.starts_with(&scan.head) && scan.head.len() <= HEAD_MAX, "{name}");
            assert_eq!(std::fs::read(out.join(name)).expect("there"), bytes);
        }
        assert_eq!(store.scan(&complete, None).expect("readable"), scans);
        complete.inspect_scanned(&scans, |_| Ok(())).expect("digests and cuts are right");
    }

    #[test]
    fn wrong_scans_and_wrong_meaning_are_refused() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let complete = complete(&fixture, &store);
        let scans = store.scan(&complete, None).expect("readable");
        let other = Scan { digest: FileDigest(Digest::of(b"")), ..scans[1].clone() };
        let inspect = |scans: &[Scan]| complete.clone().inspect_scanned(scans, |_| Ok(())).map(drop);
        assert!(
            matches!(inspect(&[scans[0].clone(), other]), Err(VerifyError::FileDigest { path }) if path == "x.bin")
        );
        assert!(matches!(inspect(&scans[..1]), Err(VerifyError::Incomplete { .. })));
        let beheaded = Scan { head: Vec::new(), ..scans[0].clone() };
        assert!(matches!(inspect(&[beheaded, scans[1].clone()]), Err(VerifyError::Table { .. })), "its cut is unknown");
        let meaning = complete.inspect_scanned(&scans, |_| Err(("x".to_owned(), "no".to_owned())));
        assert!(matches!(meaning, Err(VerifyError::Content { .. })));
    }
}
