//! The way of a manifest, as types that cannot be skipped:
//!
//! ```text
//! bytes -> Signed<Manifest> -verify-> Authentic<Manifest> -fetch-> VerifiedShard* -> Complete -inspect-> WellFormed
//! ```
//!
//! Each step takes only the type of the step before. Gossip is passed on at `Authentic`; shards may be served once
//! verified; announcing, merging and using need `WellFormed`.

use crate::codec::{self, CodecError};
use crate::id::{Digest, FileDigest, ManifestId, ShardId};
use crate::manifest::{FileEntry, Manifest};
use crate::shard::{Cut, ShardError, ShardTable, TableError, VerifiedShard};
use crate::signed::{Authentic, SignatureError, Signed};

/// Whose fault a failed verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer that sent the bytes: it could have known better.
    Peer,
    /// The publisher who signed them: a peer that passes them on is innocent.
    Publisher,
    /// Nobody, or we cannot tell.
    Nobody,
}

/// Why something is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No signed manifest, or not signed by its publisher.
    #[error("the signature is not valid: {0}")]
    Signature(#[from] SignatureError),
    /// Another manifest, however well signed.
    #[error("manifest {} was asked for, {} came", wanted.short(), got.short())]
    OtherManifest {
        /// The one that was asked for.
        wanted: ManifestId,
        /// The one that came.
        got: ManifestId,
    },
    /// The manifest that was asked for, rightly signed, and this version cannot read it: a later one may.
    #[error(
        "manifest {} is not one that this version of potluck can read; a later version may know what it holds ({error})",
        manifest.short()
    )]
    Unreadable {
        /// Its id.
        manifest: ManifestId,
        /// What stopped the reading.
        error: CodecError,
    },
    /// A shard's bytes are not those of its id.
    #[error("a shard is not what was asked for: {0}")]
    Shard(#[from] ShardError),
    /// A file's shard table is no canonical encoding of one.
    #[error("`{path}`: the shard table is not readable: {error}")]
    TableBytes {
        /// The file.
        path: String,
        /// What is wrong with the bytes.
        error: CodecError,
    },
    /// A file's shard table does not fit the file.
    #[error("`{path}`: {error}")]
    Table {
        /// The file.
        path: String,
        /// What does not fit.
        error: TableError,
    },
    /// All shards are right, and the file is not: the manifest contradicts itself.
    #[error("`{path}` hashes to something else than its manifest says")]
    FileDigest {
        /// The file.
        path: String,
    },
    /// The files do not mean what the manifest says.
    #[error("`{path}`: {reason}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong, by whoever inspected it.
        reason: String,
    },
    /// Not everything has been fetched yet.
    #[error("{missing} of {total} shards are missing")]
    Incomplete {
        /// Shards that are not here.
        missing: usize,
        /// Of how many.
        total: usize,
    },
}

impl VerifyError {
    /// Exhaustive on purpose: a new way to fail must say whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            // Whoever passes on bytes can check signatures and hashes as we do.
            Self::Signature(_) | Self::OtherManifest { .. } | Self::Shard(_) => Blame::Peer,
            // Signed by the publisher, and only visible once the content is there.
            Self::TableBytes { .. } | Self::Table { .. } | Self::FileDigest { .. } | Self::Content { .. } => {
                Blame::Publisher
            }
            // Its bytes have the id that was asked for: whoever passes them on may well understand them.
            Self::Incomplete { .. } | Self::Unreadable { .. } => Blame::Nobody,
        }
    }
}

/// Decodes and verifies the bytes that came for `wanted`.
pub fn verify_manifest(wanted: ManifestId, bytes: &[u8]) -> Result<Authentic<Manifest>, VerifyError> {
    let signed = Signed::<Manifest>::decode(bytes).map_err(SignatureError::from)?;
    let got = ManifestId(signed.digest());
    if got != wanted {
        return Err(VerifyError::OtherManifest { wanted, got });
    }
    match signed.verify() {
        // Not only the kind may be a later version's: so may a reason within a version, or the rule of a recipe.
        Err(SignatureError::Codec(error)) => {
            Signed::<Manifest>::decode(bytes).map_err(SignatureError::from)?.check_signatures()?;
            Err(VerifyError::Unreadable { manifest: wanted, error })
        }
        verified => Ok(verified?),
    }
}

/// The shard table of a file from the bytes of its table shards, joined in order. // I5
pub fn read_table(file: &FileEntry, bytes: &[u8]) -> Result<ShardTable, VerifyError> {
    let path = || file.path.to_string();
    if bytes.len() != file.table_len as usize {
        return Err(VerifyError::Table {
            path: path(),
            error: TableError::Length { sum: bytes.len() as u64, len: file.table_len.into() },
        });
    }
    let table: ShardTable = codec::decode(bytes).map_err(|error| VerifyError::TableBytes { path: path(), error })?;
    table.check_against(file.len).map_err(|error| VerifyError::Table { path: path(), error })?;
    Ok(table)
}

/// An authentic manifest with the tables of all its files: everything that must be fetched is known.
#[derive(Clone, Debug)]
pub struct Mapped {
    manifest: Authentic<Manifest>,
    tables: Vec<ShardTable>,
}

impl Mapped {
    /// Reads every file's table through `shard`, which gives a shard's bytes if they are there.
    pub fn read<E>(
        manifest: Authentic<Manifest>,
        mut shard: impl FnMut(&ShardId) -> Result<Option<VerifiedShard>, E>,
    ) -> Result<Result<Self, VerifyError>, E> {
        let mut tables = Vec::with_capacity(manifest.body().files.len());
        for file in &manifest.body().files {
            let mut bytes = Vec::new();
            for id in &file.table {
                match shard(id)? {
                    Some(piece) if piece.id() == *id => bytes.extend_from_slice(piece.bytes()),
                    Some(other) => {
                        let error = ShardError::WrongBytes { wanted: *id, got: other.id() };
                        return Ok(Err(error.into()));
                    }
                    None => return Ok(Err(VerifyError::Incomplete { missing: 1, total: file.table.len() })),
                }
            }
            match read_table(file, &bytes) {
                Ok(table) => tables.push(table),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(Self { manifest, tables }))
    }

    /// The manifest whose tables these are.
    pub fn manifest(&self) -> &Authentic<Manifest> {
        &self.manifest
    }

    /// Files with their tables.
    pub fn files(&self) -> impl Iterator<Item = (&FileEntry, &ShardTable)> {
        self.manifest.body().files.iter().zip(&self.tables)
    }

    /// Every shard of the content in file order, tables not included; a shard that occurs twice comes twice.
    pub fn shards(&self) -> impl Iterator<Item = crate::shard::ShardRow> + '_ {
        self.tables.iter().flat_map(|table| table.rows.iter().copied())
    }

    /// All shards are there, by `has`. // I7
    pub fn complete<E>(
        self,
        mut has: impl FnMut(&ShardId) -> Result<bool, E>,
    ) -> Result<Result<Complete, VerifyError>, E> {
        let (mut missing, mut total) = (0, 0);
        for row in self.shards() {
            total += 1;
            missing += usize::from(!has(&row.id)?);
        }
        Ok(if missing == 0 { Ok(Complete(self)) } else { Err(VerifyError::Incomplete { missing, total }) })
    }
}

/// A manifest all of whose shards are here.
#[derive(Clone, Debug)]
pub struct Complete(Mapped);

impl Complete {
    /// The manifest with its tables.
    pub fn mapped(&self) -> &Mapped {
        &self.0
    }

    /// The manifest that is complete.
    pub fn manifest(&self) -> &Authentic<Manifest> {
        &self.0.manifest
    }

    /// Checks the files themselves: digest and cut of each, then their meaning by `inspect`, which gets every file's
    /// bytes through `read`. `inspect` is the caller's because the meaning of an adapter (names, shapes, finite
    /// values) is the trainer's to know; its error is the publisher's fault.
    pub fn inspect<E>(
        self,
        read: impl FnMut(&FileEntry, &ShardTable) -> Result<Vec<u8>, E>,
        inspect: impl FnOnce(&Manifest, &[Vec<u8>]) -> Result<(), (String, String)>,
    ) -> Result<Result<WellFormed, VerifyError>, E> {
        Ok(self.inspect_apart(read, inspect)?.map(|()| WellFormed(self)))
    }

    /// [`Self::inspect`] by somebody who can judge a part of the meaning only: nothing follows from it.
    pub fn inspect_apart<E>(
        &self,
        mut read: impl FnMut(&FileEntry, &ShardTable) -> Result<Vec<u8>, E>,
        inspect: impl FnOnce(&Manifest, &[Vec<u8>]) -> Result<(), (String, String)>,
    ) -> Result<Result<(), VerifyError>, E> {
        let mut contents = Vec::new();
        for (file, table) in self.0.files() {
            let bytes = read(file, table)?;
            if let Err(error) = check_file(file, table, FileDigest(Digest::of(&bytes)), &bytes) {
                return Ok(Err(error));
            }
            contents.push(bytes);
        }
        let judged = inspect(self.manifest().body(), &contents);
        Ok(judged.map_err(|(path, reason)| VerifyError::Content { path, reason }))
    }

    /// [`Self::inspect`] for files that are too large to be held: `scans` is what reading each of them once gave, in
    /// the order of the manifest's files; `inspect` judges their meaning by what it knows of them otherwise.
    pub fn inspect_scanned(
        self,
        scans: &[Scan],
        inspect: impl FnOnce(&Manifest) -> Result<(), (String, String)>,
    ) -> Result<WellFormed, VerifyError> {
        let total = self.manifest().body().files.len();
        if scans.len() != total {
            return Err(VerifyError::Incomplete { missing: total.abs_diff(scans.len()), total });
        }
        for ((file, table), scan) in self.0.files().zip(scans) {
            check_file(file, table, scan.digest, &scan.head)?;
        }
        match inspect(self.manifest().body()) {
            Ok(()) => Ok(WellFormed(self)),
            Err((path, reason)) => Err(VerifyError::Content { path, reason }),
        }
    }
}

/// What reading a whole file once, piece by piece, gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// BLAKE3 of the whole file.
    pub digest: FileDigest,
    /// The start of the file: at least what its cut looks at, which is the header of a safetensors file.
    pub head: Vec<u8>,
}

/// Only the start of the file is needed beside its digest.
fn check_file(file: &FileEntry, table: &ShardTable, digest: FileDigest, head: &[u8]) -> Result<(), VerifyError> {
    let path = || file.path.to_string();
    if digest != file.digest {
        return Err(VerifyError::FileDigest { path: path() });
    }
    let len = usize::try_from(file.len).unwrap_or(usize::MAX);
    // The rule follows from the path and the bytes: a publisher does not choose it. // I5
    if Cut::choose(file.path.as_str(), head, len).0 != table.cut {
        return Err(VerifyError::Table { path: path(), error: TableError::WrongCut });
    }
    table.check_cut(head, len).map_err(|error| VerifyError::Table { path: path(), error })
}

/// A complete manifest whose files mean what it says: may be announced, merged and used. // I8
#[derive(Clone, Debug)]
pub struct WellFormed(Complete);

impl WellFormed {
    /// The manifest that may be announced.
    pub fn manifest(&self) -> &Authentic<Manifest> {
        self.0.manifest()
    }

    /// The step before: for what needs no more than that.
    pub fn complete(&self) -> &Complete {
        &self.0
    }
}
