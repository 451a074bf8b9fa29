//! Files into shards: cut, stored durably, described by the entry that a manifest holds for them.
//!
//! A file is never held whole: its head (for the cut) and one batch of shards are.

use std::fs::File;
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
    Bytes(Vec<u8>),
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
                let file = File::open(&from).map_err(StoreError::io("open", &from))?;
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
