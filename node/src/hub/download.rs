//! Files into the cache: each goes on from where it broke off, is counted and hashed, and only then gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use potluck_trainer::removal;
use ureq::Body;

use super::cache::{Held, Snapshot};
use super::client::{Client, Remote};
use super::digest::{self, Wrong};
use super::limits::{CHUNK, FORWARD, RESERVE, TOTAL_MAX, TRIES, WAIT_FIRST};
use super::{HubError, Talk};
use crate::disk;

/// Fetches what the snapshot lacks or has wrong, after a look at how much that is and whether there is room. // I14
pub fn all(client: &Client, snapshot: &Snapshot, remotes: &[Remote], talk: &Talk) -> Result<(), HubError> {
    let mut missing = Vec::new();
    for remote in remotes {
        match snapshot.holds_file(&remote.name, &remote.etag, Some(remote.size))? {
            Held::Right => {}
            Held::Nothing => missing.push(remote),
            Held::Wrong(wrong) => {
                talk.note(format!("`{}` in the cache is not used: {wrong}", remote.name));
                missing.push(remote);
            }
        }
    }
    let total = missing.iter().try_fold(0u64, |sum, remote| sum.checked_add(remote.size)).unwrap_or(u64::MAX);
    if total > TOTAL_MAX {
        return Err(HubError::TooLarge { what: client.id().to_string(), bytes: total, max: TOTAL_MAX });
    }
    let mut here = 0;
    for remote in &missing {
        here += begun(snapshot, remote)?;
    }
    check_room(snapshot, total.saturating_sub(here))?;
    let mut done = 0;
    for remote in missing {
        fetch_file(client, snapshot, remote, &Report { talk, before: done, total })?;
        done += remote.size;
    }
    Ok(())
}

fn check_room(snapshot: &Snapshot, bytes: u64) -> Result<(), HubError> {
    let folder = snapshot.folder();
    let free = disk::free_bytes(folder).map_err(HubError::io("ask for the free space of", folder))?;
    if bytes == 0 || free >= bytes.saturating_add(RESERVE) {
        return Ok(());
    }
    Err(HubError::NoSpace { bytes, free, cache: folder.to_path_buf() })
}

/// Bytes of a file that are here: all, or what an earlier attempt left.
fn begun(snapshot: &Snapshot, remote: &Remote) -> Result<u64, HubError> {
    if snapshot.holds_blob(&remote.etag, remote.size)? == Held::Right {
        return Ok(remote.size);
    }
    let part = part(&snapshot.blob(&remote.etag));
    Ok(fs::metadata(part).map_or(0, |metadata| metadata.len()).min(remote.size))
}

fn part(blob: &Path) -> PathBuf {
    blob.with_extension("part")
}

/// Who hears how far a file is, and where it begins among the others.
struct Report<'a> {
    talk: &'a Talk,
    before: u64,
    total: u64,
}

impl Report<'_> {
    fn advance(&self, bytes: u64) {
        self.talk.bytes(self.before + bytes, self.total);
    }
}

fn fetch_file(client: &Client, snapshot: &Snapshot, remote: &Remote, report: &Report) -> Result<(), HubError> {
    let _lock = snapshot.lock(&remote.etag, &remote.name)?;
    // Whoever held the lock may have fetched it.
    if snapshot.holds_blob(&remote.etag, remote.size)? != Held::Right {
        let part = part(&snapshot.blob(&remote.etag));
        // A part that an earlier run left may be damaged: once more, from nothing.
        let old = fs::metadata(&part).is_ok_and(|found| found.len() > 0);
        if let Some(wrong) = fetch_whole(client, remote, &part, report)? {
            let wrong = if old { fetch_whole(client, remote, &part, report)? } else { Some(wrong) };
            if let Some(wrong) = wrong {
                return Err(HubError::Wrong { file: remote.name.clone(), wrong });
            }
        }
        snapshot.place(&part, &remote.etag)?;
    }
    report.advance(remote.size);
    snapshot.link(&remote.name, &remote.etag)
}

/// The breaks of one transfer.
#[derive(Default)]
struct Breaks {
    tries: usize,
    reached: u64,
}

impl Breaks {
    /// Whether a transfer that broke here is gone on with. One that came far since it last broke has not failed again.
    fn go_on(&mut self, got: u64) -> bool {
        self.tries = if got >= self.reached.saturating_add(FORWARD) { 1 } else { self.tries + 1 };
        self.reached = self.reached.max(got);
        self.tries < TRIES
    }
}

/// Fetches a file whole, through breaks. What is wrong with it is told, and not kept: it cannot be gone on with.
fn fetch_whole(client: &Client, remote: &Remote, part: &Path, report: &Report) -> Result<Option<Wrong>, HubError> {
    let mut breaks = Breaks::default();
    while let Err(error) = attempt(client, remote, part, report) {
        match &error {
            // What came is kept, and the rest is asked for.
            HubError::Broken { got, .. } if breaks.go_on(*got) => {}
            _ => return Err(error),
        }
        report.talk.note(format!("{error}; going on from there"));
        report.talk.wait(WAIT_FIRST)?;
    }
    let wrong = digest::check(part, &remote.etag, Some(remote.size)).map_err(HubError::io("read", part))?;
    if wrong.is_some() {
        removal::file(part).map_err(HubError::io("remove", part))?;
    }
    Ok(wrong)
}

/// Asks for what is missing and appends it.
fn attempt(client: &Client, remote: &Remote, path: &Path, report: &Report) -> Result<(), HubError> {
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
        copy(remote, from, body, &mut file, path, report)?;
    }
    file.sync_all().map_err(writing)
}

/// No byte more than the file has, and no byte less.
fn copy(remote: &Remote, from: u64, body: Body, file: &mut File, path: &Path, report: &Report) -> Result<(), HubError> {
    let broken = |got, reason: &str| {
        let (file, size) = (remote.name.clone(), remote.size);
        HubError::Broken { file, got, size, reason: reason.to_owned() }
    };
    let (mut reader, mut got) = (body.into_reader(), from);
    let mut chunk = vec![0; CHUNK];
    loop {
        report.talk.go_on()?;
        let read = reader.read(&mut chunk).map_err(|error| broken(got, &error.to_string()))?;
        if read == 0 {
            break;
        }
        if got + read as u64 > remote.size {
            return Err(HubError::answer(&remote.name, format!("more than its {} bytes come", remote.size)));
        }
        file.write_all(&chunk[..read]).map_err(HubError::io("write", path))?;
        got += read as u64;
        report.advance(got);
    }
    if got == remote.size { Ok(()) } else { Err(broken(got, "the server ended it")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_may_break_often_if_it_comes_far_between() {
        let ends_after = |step: u64| {
            let mut breaks = Breaks::default();
            (1..=100).take_while(|count| breaks.go_on(count * step)).count()
        };
        assert_eq!(ends_after(0), TRIES - 1);
        assert_eq!(ends_after(FORWARD - 1), TRIES - 1);
        assert_eq!(ends_after(FORWARD), 100);
    }
}
