//! Files out of shards: into memory, or as a folder that appears whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use potluck_protocol::id::{Digest, FileDigest, ManifestId};
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::shard::ShardTable;
use potluck_protocol::verify::VerifyError;

use crate::failpoint::{Step, What, pass};
use crate::store::error::{Result, StoreError};
use crate::store::{Store, durable};

impl Store {
    /// A file's bytes, joined from its shards, each verified. The caller bounds `file.len`.
    pub fn read_file(&self, file: &FileEntry, table: &ShardTable) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for row in &table.rows {
            bytes.extend_from_slice(self.shard(&row.id)?.ok_or(StoreError::NoShard(row.id))?.bytes());
        }
        if bytes.len() as u64 != file.len {
            return Err(VerifyError::FileDigest { path: file.path.to_string() }.into());
        }
        Ok(bytes)
    }

    /// Writes the files of a well-formed manifest to a folder that must be empty or not exist. // I13
    pub fn export(&self, id: &ManifestId, out: &Path) -> Result<()> {
        if !self.is_well_formed(id) {
            return Err(StoreError::NotWellFormed(*id));
        }
        let mapped = self.mapped(id)?;
        let vacant = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !vacant {
            return Err(StoreError::Exists(out.to_path_buf()));
        }
        let staging = Staging::beside(out, id)?;
        for (file, table) in mapped.files() {
            self.export_file(file, table, &staging.0.join(file.path.as_str()))?;
        }
        staging.rename(out)
    }

    fn export_file(&self, file: &FileEntry, table: &ShardTable, target: &Path) -> Result<()> {
        let io = StoreError::io("write", target);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(StoreError::io("make the folder", folder))?;
        }
        pass(What::Export, Step::Begin).map_err(StoreError::io("write", target))?;
        let mut out = File::create_new(target).map_err(StoreError::io("make", target))?;
        let mut digest = blake3::Hasher::new();
        for row in &table.rows {
            let shard = self.shard(&row.id)?.ok_or(StoreError::NoShard(row.id))?;
            digest.update(shard.bytes());
            let written = out.write_all(shard.bytes()).and_then(|()| pass(What::Export, Step::Half));
            written.map_err(StoreError::io("write", target))?;
        }
        if FileDigest(Digest(*digest.finalize().as_bytes())) != file.digest {
            return Err(VerifyError::FileDigest { path: file.path.to_string() }.into());
        }
        pass(What::Export, Step::Written).and_then(|()| out.sync_all()).map_err(io)?;
        durable::sync_parent(target)
    }
}

/// A folder beside its final place, removed if it never gets there.
struct Staging(PathBuf);

impl Staging {
    fn beside(out: &Path, id: &ManifestId) -> Result<Self> {
        let name = format!(".potluck-{}-{}", id.short(), std::process::id());
        let path = out.parent().unwrap_or(Path::new("")).join(name);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(StoreError::io("make the folder", parent))?;
        }
        // An earlier attempt of a process of this number, which is dead: we have its number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(StoreError::io("make the folder", &path))?;
        Ok(Self(path))
    }

    fn rename(self, out: &Path) -> Result<()> {
        let io = |error| StoreError::io("rename to", out)(error);
        pass(What::Export, Step::Synced).map_err(io)?;
        match fs::remove_dir(out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => fs::rename(&self.0, out).map_err(io)?,
        }
        pass(What::Export, Step::Renamed).map_err(io)?;
        if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            durable::sync_folder(parent)?;
        }
        pass(What::Export, Step::Done).map_err(io)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After the rename there is nothing left under this name.
        let _ = fs::remove_dir_all(&self.0);
    }
}
