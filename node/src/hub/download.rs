//! Files into the cache: each goes on from where it broke off, is counted and hashed, and only then gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use ureq::Body;

use super::HubError;
use super::cache::Snapshot;
use super::client::{Client, Remote};
use super::limits::{CHUNK, RESERVE, TOTAL_MAX, TRIES};

/// Hears of bytes done and in all.
type Report<'a> = &'a mut dyn FnMut(u64, u64);

/// Fetches what the snapshot lacks, after a look at how much that is and whether there is room. // I14
pub fn all(client: &Client, snapshot: &Snapshot, remotes: &[Remote], report: Report) -> Result<(), HubError> {
    let missing: Vec<_> = remotes.iter().filter(|remote| !snapshot.has(&remote.name)).collect();
    let total = missing.iter().try_fold(0u64, |sum, remote| sum.checked_add(remote.size)).unwrap_or(u64::MAX);
    if total > TOTAL_MAX {
        return Err(HubError::TooLarge { bytes: total, max: TOTAL_MAX });
    }
    let here: u64 = missing.iter().map(|remote| begun(&snapshot.blob(&remote.etag), remote.size)).sum();
    check_room(snapshot, total.saturating_sub(here))?;
    let mut done = 0;
    for remote in missing {
        let mut advance = |bytes: u64| report(done + bytes, total);
        one(client, snapshot, remote, &mut advance)?;
        done += remote.size;
    }
    Ok(())
}

fn check_room(snapshot: &Snapshot, bytes: u64) -> Result<(), HubError> {
    let folder = snapshot.folder();
    let free = fs2::available_space(folder).map_err(HubError::io("ask for the free space of", folder))?;
    if bytes == 0 || free >= bytes.saturating_add(RESERVE) {
        return Ok(());
    }
    Err(HubError::NoSpace { bytes, free, cache: folder.to_path_buf() })
}

/// Bytes of a file that an earlier attempt left.
fn begun(blob: &Path, size: u64) -> u64 {
    let len = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    len(blob).or_else(|| len(&part(blob))).unwrap_or(0).min(size)
}

fn part(blob: &Path) -> PathBuf {
    blob.with_extension("part")
}

fn one(client: &Client, snapshot: &Snapshot, remote: &Remote, advance: &mut dyn FnMut(u64)) -> Result<(), HubError> {
    let blob = snapshot.blob(&remote.etag);
    let whole = fs::metadata(&blob).is_ok_and(|metadata| metadata.len() == remote.size);
    if !whole {
        let _lock = lock(&blob, &remote.name)?;
        let path = part(&blob);
        let mut broken = None;
        for _ in 0..TRIES {
            match attempt(client, remote, &path, advance) {
                Ok(()) => {
                    broken = None;
                    break;
                }
                // The connection is gone; what came is kept, and the rest is asked for.
                Err(error @ HubError::Broken { .. }) => broken = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = broken {
            return Err(error);
        }
        check_digest(remote, &path)?;
        fs::rename(&path, &blob).map_err(HubError::io("rename to", &blob))?;
    }
    advance(remote.size);
    snapshot.link(&remote.name, &blob)
}

/// Held while a file is written; the system lets go of it however we end.
fn lock(blob: &Path, name: &str) -> Result<File, HubError> {
    let path = blob.with_extension("lock");
    let file = File::create(&path).map_err(HubError::io("open the lock", &path))?;
    file.try_lock().map_err(|_| HubError::Busy { file: name.to_owned() })?;
    Ok(file)
}

/// Asks for what is missing and appends it.
fn attempt(client: &Client, remote: &Remote, path: &Path, advance: &mut dyn FnMut(u64)) -> Result<(), HubError> {
    let writing = |error| HubError::io("write", path)(error);
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(writing)?;
    let mut start = file.metadata().map_err(writing)?.len();
    // Longer than the file ever was: of something else.
    if start > remote.size {
        file.set_len(0).map_err(writing)?;
        start = 0;
    }
    if start < remote.size {
        let (from, body) = client.bytes(remote, start)?;
        file.set_len(from).map_err(writing)?;
        file.seek(std::io::SeekFrom::Start(from)).map_err(writing)?;
        copy(remote, from, body, &mut file, path, advance)?;
    }
    file.sync_all().map_err(writing)
}

/// No byte more than the file has, and no byte less.
fn copy(
    remote: &Remote,
    from: u64,
    body: Body,
    file: &mut File,
    path: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<(), HubError> {
    let broken = |got, reason: &str| {
        let (file, size) = (remote.name.clone(), remote.size);
        HubError::Broken { file, got, size, reason: reason.to_owned() }
    };
    let (mut reader, mut got) = (body.into_reader(), from);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = reader.read(&mut chunk).map_err(|error| broken(got, &error.to_string()))?;
        if read == 0 {
            break;
        }
        if got + read as u64 > remote.size {
            return Err(HubError::answer(&remote.name, format!("more than its {} bytes come", remote.size)));
        }
        file.write_all(&chunk[..read]).map_err(HubError::io("write", path))?;
        got += read as u64;
        advance(got);
    }
    if got == remote.size { Ok(()) } else { Err(broken(got, "the server ended it")) }
}

/// The hub names large files by their SHA-256. Small ones have a git hash, and a mirror may say anything: of those only the
/// length is known; what they mean is checked when the base is opened.
fn check_digest(remote: &Remote, path: &Path) -> Result<(), HubError> {
    if remote.etag.len() != 64 || !remote.etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let reading = |error| HubError::io("read", path)(error);
    let mut file = File::open(path).map_err(reading)?;
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk).map_err(reading)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
    }
    let got: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if got == remote.etag.to_ascii_lowercase() {
        return Ok(());
    }
    // It cannot be gone on with.
    potluck_trainer::removal::file(path).map_err(HubError::io("remove", path))?;
    Err(HubError::Digest { file: remote.name.clone(), wanted: remote.etag.clone(), got })
}
