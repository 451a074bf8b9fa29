//! Files out of shards: only looked at, piece by piece, or as a folder that appears whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use potluck_protocol::id::{Digest, FileDigest, ManifestId};
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::shard::ShardTable;
use potluck_protocol::verify::{Complete, Mapped, Scan, VerifyError};
use potluck_trainer::files::StagedFolder;

use crate::failpoint::{Step, What, pass};
use crate::store::error::{Result, StoreError};
use crate::store::{Store, durable, scan};

/// Name and bytes of a file that no manifest lists.
pub type Note<'a> = (&'a str, Vec<u8>);

impl Store {
    /// Reads every file of a complete manifest, each shard verified, and with `folder` writes it there, durably: for a
    /// look at what is not known to be well-formed yet, so below `tmp/`.
    pub fn scan(&self, complete: &Complete, folder: Option<&Path>) -> Result<Vec<Scan>> {
        match folder {
            Some(folder) => scan::write_files(self, complete, folder),
            None => self.scan_each(complete, |_, _| Ok(())),
        }
    }

    /// Reads every file of a complete manifest, each shard verified, and shows it to `each` shard by shard, in the order
    /// of the file. An error of `each` ends the look.
    pub fn scan_each(
        &self,
        complete: &Complete,
        mut each: impl FnMut(&FileEntry, &[u8]) -> Result<()>,
    ) -> Result<Vec<Scan>> {
        scan::scan_files(self, complete, &mut each)
    }

    /// Writes the files of a well-formed manifest, and notes of ours beside them, to a folder that must be empty or not
    /// exist. // I13
    pub fn export(&self, id: &ManifestId, out: &Path, notes: &[Note]) -> Result<()> {
        if !self.is_well_formed(id) {
            return Err(StoreError::NotWellFormed(*id));
        }
        self.export_files(&self.mapped(id)?, out, notes)
    }

    /// The same of one that is whole, and of which nobody here can say whether it is well-formed: into a person's folder,
    /// never into a place of the home.
    pub fn export_apart(&self, complete: &Complete, out: &Path, notes: &[Note]) -> Result<()> {
        self.export_files(complete.mapped(), out, notes)
    }

    fn export_files(&self, mapped: &Mapped, out: &Path, notes: &[Note]) -> Result<()> {
        let staged = StagedFolder::create(out).map_err(|error| export_error(error, out))?;
        for (file, table) in mapped.files() {
            self.export_file(file, table, &staged.path().join(file.path.as_str()))?;
        }
        for (name, bytes) in notes {
            staged.write(name, bytes).map_err(StoreError::io("write", out))?;
        }
        pass(What::Export, Step::Synced).map_err(StoreError::io("write", out))?;
        staged.commit().map_err(|error| export_error(error, out))?;
        let done = pass(What::Export, Step::Renamed).and_then(|()| pass(What::Export, Step::Done));
        done.map_err(StoreError::io("write", out))
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

/// An error of a folder that is to appear.
fn export_error(error: std::io::Error, out: &Path) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Exists(out.to_path_buf()),
        _ => StoreError::io("write", out)(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failpoint;
    use crate::store::testing::{Fixture, bytes, files_below};

    #[test]
    fn a_folder_appears_whole() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let id = fixture.add(&store, "x", 2_000_000);
        let out = fixture.root().join("runs/deep/out");
        store.export(&id, &out, &[("note.json", b"{}".to_vec())]).expect("room");
        assert_eq!(fs::read(out.join("note.json")).expect("it came with the files"), b"{}");
        assert_eq!(fs::read(out.join("a.json")).expect("there"), bytes("x/a.json", 2_000_000));
        assert_eq!(fs::read(out.join("b.bin")).expect("there"), bytes("x/b.bin", 2_000_000));
        assert!(matches!(store.export(&id, &out, &[]), Err(StoreError::Exists(_))));
        let empty = fixture.root().join("runs/empty");
        fs::create_dir(&empty).expect("writable");
        store.export(&id, &empty, &[]).expect("an empty folder is no obstacle");
        let file = fixture.root().join("runs/file");
        fs::write(&file, b"mine").expect("writable");
        assert!(matches!(store.export(&id, &file, &[]), Err(StoreError::Exists(_))));
        assert_eq!(fs::read(&file).expect("there"), b"mine");
    }

    #[test]
    fn what_is_not_well_formed_or_not_there_is_not_exported() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let complete = fixture.complete(&store, "x", 100).expect("room");
        store.commit(&complete).expect("room");
        let out = fixture.root().join("runs/out");
        let refused = store.export(&complete.manifest().id(), &out, &[]);
        assert!(matches!(refused, Err(StoreError::NotWellFormed(_))));
        let id = fixture.add(&store, "y", 100);
        let shard = store.mapped(&id).expect("here").shards().next().expect("one").id;
        fs::write(crate::store::shards::path(store.layout(), &shard), b"rotten").expect("writable");
        assert!(matches!(store.export(&id, &out, &[]), Err(StoreError::NoShard(missing)) if missing == shard));
        assert!(files_below(&fixture.root().join("runs")).is_empty() && !out.exists());
    }

    #[test]
    fn a_full_disk_leaves_no_folder_or_a_whole_one() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let id = fixture.add(&store, "x", 100);
        for point in failpoint::ALL.iter().filter(|point| point.what == What::Export) {
            let out = fixture.root().join("runs").join(point.to_string());
            let armed = failpoint::scoped(&format!("{point}:enospc")).expect("valid");
            assert!(store.export(&id, &out, &[]).expect_err("full").is_no_space(), "{point}");
            drop(armed);
            let left = fs::read_dir(fixture.root().join("runs")).expect("readable").count();
            if matches!(point.step, Step::Renamed | Step::Done) {
                assert_eq!((files_below(&out).len(), left), (2, 1), "{point}");
                fs::remove_dir_all(&out).expect("ours");
            } else {
                assert_eq!(left, 0, "{point}");
            }
        }
    }
}
