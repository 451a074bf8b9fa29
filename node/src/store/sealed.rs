//! Sealed evaluation shards on disk: a folder each, named by its commitment, with what is committed to and the rows.
//!
//! They are written whole, private to the user, before a channel that commits to them is signed; a release reads them and
//! makes them public as files of its version.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use potluck_protocol::channel::Sealed;
use potluck_protocol::codec::{self, Wire};
use potluck_protocol::id::Digest;
use potluck_trainer::files;

use crate::home::temporary;
use crate::store::error::{Result, StoreError};
use crate::store::{Store, durable};

/// What is committed to, encoded.
const SEALED_FILE: &str = "sealed";

/// The file of a suite's rows.
fn rows_file(suite: &str) -> String {
    format!("{suite}.jsonl")
}

/// A sealed shard that is here.
#[derive(Clone, Debug)]
pub struct SealedShard {
    /// What the channel has committed to.
    pub sealed: Sealed,
    folder: PathBuf,
}

impl SealedShard {
    /// Where a suite's rows lie.
    pub fn rows(&self, suite: &str) -> PathBuf {
        self.folder.join(rows_file(suite))
    }
}

impl Store {
    /// Keeps a shard durably, with the rows of each of its suites in their order; its commitment.
    pub fn seal(&self, sealed: &Sealed, rows: &[Vec<u8>]) -> Result<Digest> {
        let commitment = sealed.commitment()?;
        self.0.space.check(rows.iter().map(|rows| rows.len() as u64).sum())?;
        let tmp = self.layout().tmp();
        let staging = temporary::folder(&tmp, temporary::Purpose::Sealed);
        let staging = staging.map_err(StoreError::io("make a folder in", &tmp))?;
        write(&staging.path().join(SEALED_FILE), &codec::encode(sealed)?)?;
        for (suite, rows) in sealed.suites.iter().zip(rows) {
            write(&staging.path().join(rows_file(suite.name.as_str())), rows)?;
        }
        durable::sync_folder(staging.path())?;
        let target = self.layout().sealed().join(commitment.to_string());
        files::rename(&staging.keep(), &target).map_err(StoreError::io("rename", &target))?;
        Ok(commitment)
    }

    /// The shard of a commitment; `None` if it is not in this home, or was changed since.
    pub fn sealed(&self, commitment: &Digest) -> Result<Option<SealedShard>> {
        let folder = self.layout().sealed().join(commitment.to_string());
        let Some(bytes) = durable::read(&folder.join(SEALED_FILE), Sealed::MAX as u64)? else { return Ok(None) };
        let sealed: Sealed = codec::decode(&bytes)?;
        let shard = SealedShard { sealed, folder };
        Ok((shard.sealed.commitment()? == *commitment && intact(&shard)?).then_some(shard))
    }
}

/// Whether all rows are those that were committed to.
fn intact(shard: &SealedShard) -> Result<bool> {
    for suite in &shard.sealed.suites {
        let path = shard.rows(suite.name.as_str());
        let mut hasher = blake3::Hasher::new();
        match File::open(&path) {
            Ok(file) => drop(hasher.update_reader(file).map_err(StoreError::io("read", &path))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        }
        if Digest(*hasher.finalize().as_bytes()) != suite.rows.0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(path).map_err(StoreError::io("make", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(StoreError::io("write", path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use potluck_protocol::channel::{Role, Suite};
    use potluck_protocol::id::FileDigest;
    use potluck_protocol::text::Name;

    use super::*;
    use crate::store::testing::Fixture;

    #[test]
    fn a_sealed_shard_is_whole_private_and_known_by_its_commitment() {
        let fixture = Fixture::new();
        let rows = [b"{\"text\":\"a\"}\n".to_vec(), b"{\"text\":\"b\"}\n".to_vec()];
        let suite = |name: &str, rows: &[u8]| Suite {
            name: Name::new(name).expect("a name"),
            role: Role::Improve,
            rows: FileDigest(Digest::of(rows)),
        };
        let suites = vec![suite("one", &rows[0]), suite("two", &rows[1])];
        let sealed = Sealed { salt: Digest::of(b"salt"), suites };
        let commitment = fixture.open().seal(&sealed, &rows).expect("room");
        let store = fixture.open();
        let shard = store.sealed(&commitment).expect("readable").expect("here");
        assert_eq!(shard.sealed, sealed);
        assert_eq!(fs::read(shard.rows("two")).expect("there"), rows[1]);
        #[cfg(unix)]
        for folder in [store.layout().sealed(), shard.folder.clone()] {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(folder).expect("there")) & 0o777;
            assert_eq!(mode, 0o700);
        }
        fs::write(shard.rows("two"), b"{\"text\":\"c\"}\n").expect("writable");
        assert!(store.sealed(&commitment).expect("readable").is_none(), "other rows are not what was committed to");
        assert!(store.sealed(&Digest::of(b"other")).expect("readable").is_none());
    }
}
