//! Files into shards: cut, stored durably, described by the entry that a manifest holds for them.
//!
//! A file is never held whole: its head (for the cut) and one batch of shards are.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use potluck_protocol::codec;
use potluck_protocol::id::{Digest, FileDigest, ShardId};
use potluck_protocol::limits::{SAFETENSORS_HEADER_MAX, SHARD_MAX};
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::shard::{Cut, ShardRow, ShardTable, VerifiedShard};
use potluck_protocol::text::RelPath;
use potluck_protocol::verify::VerifyError;

use crate::store::Store;
use crate::store::error::{Result, StoreError};
use crate::store::shards::BATCH;

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory.
    Bytes(Vec<u8>),
    /// A file, read once.
    Path(PathBuf),
}

impl Store {
    /// Stores files durably and gives their entries, sorted by path as a manifest wants them. A file that changes
    /// while it is read is refused.
    pub fn import_files(&self, files: Vec<(RelPath, Source)>) -> Result<Vec<FileEntry>> {
        let import = |(path, source)| match source {
            Source::Bytes(bytes) => {
                let len = bytes.len() as u64;
                self.import_file(path, Path::new("memory"), len, Cursor::new(bytes))
            }
            Source::Path(from) => {
                let file = potluck_trainer::files::open(&from).map_err(StoreError::io("open", &from))?;
                let len = file.metadata().map_err(StoreError::io("read", &from))?.len();
                self.import_file(path, &from, len, file)
            }
        };
        let mut entries = files.into_iter().map(import).collect::<Result<Vec<_>>>()?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn import_file(&self, path: RelPath, from: &Path, len: u64, mut bytes: impl Read) -> Result<FileEntry> {
        let head = head(&path, len, &mut bytes).map_err(StoreError::io("read", from))?;
        let (cut, pieces) = Cut::choose(path.as_str(), &head, usize::try_from(len).unwrap_or(usize::MAX));
        let mut whole = Cursor::new(head).chain(bytes);
        let mut digest = blake3::Hasher::new();
        let mut rows = Vec::with_capacity(pieces.len());
        for batch in pieces.chunks(BATCH) {
            let mut shards = Vec::with_capacity(batch.len());
            for &piece in batch {
                let bytes = read_exact(&mut whole, piece, from)?;
                digest.update(&bytes);
                let shard = VerifiedShard::of(bytes).map_err(VerifyError::from)?;
                rows.push(ShardRow { id: shard.id(), len: piece });
                shards.push(shard);
            }
            self.put_shards(shards)?;
        }
        if whole.read(&mut [0]).map_err(StoreError::io("read", from))? != 0 {
            return Err(StoreError::Changed(from.to_path_buf()));
        }
        let (table, table_len) = self.put_table(&ShardTable { cut, rows })?;
        Ok(FileEntry { path, len, digest: FileDigest(Digest(*digest.finalize().as_bytes())), table, table_len })
    }

    fn put_table(&self, table: &ShardTable) -> Result<(Vec<ShardId>, u32)> {
        let bytes = codec::encode(table)?;
        let pieces = bytes.chunks(SHARD_MAX).map(|piece| VerifiedShard::of(piece.to_vec()));
        let pieces = pieces.collect::<Result<Vec<_>, _>>().map_err(VerifyError::from)?;
        self.put_shards(&pieces)?;
        Ok((pieces.iter().map(VerifiedShard::id).collect(), bytes.len() as u32))
    }
}

/// The bytes that the cut looks at: a safetensors file's header, of others nothing.
fn head(path: &RelPath, len: u64, bytes: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    if !path.as_str().ends_with(".safetensors") {
        return Ok(head);
    }
    bytes.by_ref().take(8).read_to_end(&mut head)?;
    let header = head.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
    if header <= SAFETENSORS_HEADER_MAX as u64 && header <= len {
        bytes.by_ref().take(header).read_to_end(&mut head)?;
    }
    Ok(head)
}

fn read_exact(bytes: &mut impl Read, len: u32, from: &Path) -> Result<Vec<u8>> {
    let mut piece = vec![0; len as usize];
    bytes.read_exact(&mut piece).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => StoreError::Changed(from.to_path_buf()),
        _ => StoreError::io("read", from)(error),
    })?;
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use potluck_protocol::verify;
    use proptest::prelude::*;

    use super::*;
    use crate::store::testing::{Fixture, bytes};

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect("a path")
    }

    /// A safetensors file with tensors of these lengths.
    fn safetensors(lens: &[usize]) -> Vec<u8> {
        let mut begin = 0;
        let tensor = |(n, len): (usize, &usize)| {
            let end = begin + len * 4;
            let text = format!(r#""t{n}":{{"dtype":"F32","shape":[{len}],"data_offsets":[{begin},{end}]}}"#);
            begin = end;
            text
        };
        let json = format!("{{{}}}", lens.iter().enumerate().map(tensor).collect::<Vec<_>>().join(","));
        let data = bytes("data", begin);
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &data].concat()
    }

    fn round_trip(store: &Store, name: &str, content: &[u8]) -> ShardTable {
        let source = Source::Bytes(content.to_vec());
        let entry = store.import_files(vec![(path(name), source)]).expect("room").remove(0);
        assert_eq!((entry.len, entry.digest), (content.len() as u64, FileDigest(Digest::of(content))));
        let pieces = entry.table.iter().map(|id| store.shard(id).expect("readable").expect("stored").into_bytes());
        let table = verify::read_table(&entry, &pieces.collect::<Vec<_>>().concat()).expect("a table");
        assert_eq!(table.check_cut(content, content.len()), Ok(()));
        let mut back = Vec::new();
        let keep = &mut |_: &FileEntry, piece: &[u8]| {
            back.extend_from_slice(piece);
            Ok(())
        };
        crate::store::scan::scan_file(store, &entry, &table, keep).expect("stored");
        assert_eq!(back, content);
        table
    }

    #[test]
    fn files_come_back_and_are_cut_by_their_kind() {
        let fixture = Fixture::new();
        let store = fixture.open();
        for len in [0, 1, SHARD_MAX - 1, SHARD_MAX, SHARD_MAX + 1, 3 * SHARD_MAX] {
            assert_eq!(round_trip(&store, "x.bin", &bytes("x", len)).cut, Cut::Fixed);
        }
        let table = round_trip(&store, "m.safetensors", &safetensors(&[10, 20_000, 7, 300_000]));
        assert_eq!((table.cut, table.rows.len()), (Cut::Safetensors, 6));
        for broken in [&b"\xff"[..], &[0xff; 100], &safetensors(&[10])[..40], b""] {
            assert_eq!(round_trip(&store, "m.safetensors", broken).cut, Cut::Fixed);
        }
    }

    #[test]
    fn a_file_that_is_read_from_disk_is_the_same_as_from_memory() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let content = safetensors(&[100_000, 5]);
        let file = fixture.root().join("tmp/source");
        std::fs::write(&file, &content).expect("writable");
        let import = |source| store.import_files(vec![(path("m.safetensors"), source)]).expect("room");
        assert_eq!(import(Source::Path(file.clone())), import(Source::Bytes(content.clone())));
        let named = [("b", b"1"), ("a", b"2")].map(|(name, text)| (path(name), Source::Bytes(text.to_vec())));
        let sorted = store.import_files(named.into()).expect("room");
        assert_eq!(sorted.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let missing = store.import_files(vec![(path("x"), Source::Path(fixture.root().join("none")))]);
        assert!(missing.is_err_and(|error| error.to_string().contains("none")));
        for len in [content.len() as u64 - 1, content.len() as u64 + 1] {
            let changed = store.import_file(path("x.bin"), &file, len, content.as_slice());
            assert!(matches!(changed, Err(StoreError::Changed(_))));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_bytes_come_back(content in proptest::collection::vec(any::<u8>(), 0..600), tensors in any::<bool>()) {
            let fixture = Fixture::new();
            let store = fixture.open();
            round_trip(&store, if tensors { "m.safetensors" } else { "m.bin" }, &content);
        }
    }
}
