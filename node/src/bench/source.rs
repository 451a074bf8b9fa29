//! What is exchanged in the benchmark: one file of bytes that nobody can compress, in as many homes as there are sources.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::ManifestId;
use potluck_protocol::limits::MIB;
use potluck_protocol::manifest::{DatasetInfo, Kind, Manifest};
use potluck_protocol::signed::{PublicKey, Signed};
use potluck_protocol::text::{Name, RelPath};
use potluck_protocol::verify::VerifyError;

use crate::failure::{Failure, Kind as FailureKind, Outcome};
use crate::home::Home;
use crate::identity::Identity;
use crate::store::{Source, Store, StoreError};

/// Writes so many bytes, the same for the same seed.
pub fn noise(path: &Path, size: u64, seed: u64) -> io::Result<()> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    io::copy(&mut io::Read::take(&mut stream, size), &mut BufWriter::with_capacity(MIB, File::create(path)?))?;
    Ok(())
}

/// Seconds for writing so many bytes into one file, in pieces of 1 MiB, and for one fsync at the end: what the disk gives
/// to a program that does nothing else.
pub fn sequential_write(path: &Path, size: u64) -> io::Result<f64> {
    let mut piece = vec![0; MIB];
    blake3::Hasher::new().finalize_xof().fill(&mut piece);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let began = Instant::now();
    let mut left = size;
    while left > 0 {
        let some = left.min(MIB as u64);
        file.write_all(&piece[..some as usize])?;
        left -= some;
    }
    file.sync_all()?;
    let seconds = began.elapsed().as_secs_f64();
    potluck_trainer::removal::file(path)?;
    Ok(seconds)
}

/// Puts the file into a home as a signed dataset. The publisher is the same for every source, so that all of them have
/// one manifest.
pub fn publish(home: &Path, file: &Path, publisher: &Keypair) -> Outcome<ManifestId> {
    let home = Home::open(home)?;
    let store = Store::open(&home)?;
    // The daemon takes it up as its own.
    Identity::open(&home)?;
    let wrong = |error: String| Failure::new(FailureKind::Failed, format!("the benchmark's manifest: {error}"));
    let path = RelPath::new("noise.bin").map_err(|error| wrong(error.to_string()))?;
    let body = Manifest {
        kind: Kind::Dataset(DatasetInfo { rows: 1 }),
        name: Name::new("noise").map_err(|error| wrong(error.to_string()))?,
        licence: "CC0-1.0".to_owned(),
        description: String::new(),
        created: 0,
        publisher: PublicKey::of(publisher),
        files: store.import_files(vec![(path, Source::Path(file.to_path_buf()))])?,
    };
    let signed = Signed::sign(&body, publisher).map_err(StoreError::from)?;
    let signed = signed.ok_or_else(|| wrong("the key is not its publisher's".to_owned()))?;
    let authentic = signed.verify().map_err(VerifyError::from).map_err(StoreError::from)?;
    let mapped = store.map(authentic)?.map_err(StoreError::from)?;
    let complete = mapped.complete(|id| store.has_shard(id))?.map_err(StoreError::from)?;
    store.commit(&complete)?;
    Ok(complete.manifest().id())
}
