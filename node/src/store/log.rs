//! `state.log`: an append-only file of checksummed records, fsync'd before anything is acknowledged.
//!
//! ```text
//! file   = "potluck state/1\n" record*
//! record = "rec1"  length: u32 le  first 8 bytes of BLAKE3(length, payload)  payload: a `Record` in canonical form
//! ```
//!
//! A crash can damage only what was not acknowledged: the end. So an unreadable end is cut off (a copy goes to
//! `quarantine/`), while an unreadable place with valid records behind it is an error that only a person may dismiss.
//! The marker `rec1` is what makes the two cases distinguishable when a length field itself is damaged.
//!
//! A newer version that only adds kinds of records keeps the header; one that changes the framing counts the header's
//! number up. Both are told apart from damage (a record of an unknown kind has a right checksum) and refused, also when
//! salvaging: what this version cannot read it must not rewrite.
//!
//! A missing file is a new home's only if nothing else was written there: a key and manifests come after it. Otherwise it is
//! an error like damage, since what it said (promises above all) is lost.
//!
//! The file is rewritten from the state (tmp, fsync, rename) when it is long and mostly history, and after any failed
//! append: what a failed fsync left behind is unknowable.

use std::fs::{File, OpenOptions};
use std::io::Write;

use potluck_protocol::codec;

use crate::failpoint::{Step, What, pass};
use crate::home::Layout;
use crate::store::durable;
use crate::store::error::{Result, StoreError};
use crate::store::frame::{self, Scan};
use crate::store::state::{Record, State};

const HEADER: &[u8] = b"potluck state/1\n";
/// What the header of every version begins with.
const HEADER_START: &[u8] = b"potluck state/";
/// A longer file is refused: it is none of ours. Ten million pins fit.
const FILE_MAX: u64 = 1 << 30;
/// A log is rewritten only above this length, and when four times as long as its state.
const COMPACT_MIN: u64 = 256 << 10;
/// Sequence numbers passed over when records were lost: one of them may have carried a number that is in use.
const SEQUENCE_GAP: u64 = 1 << 20;

/// The open log with the state that it gives.
#[derive(Debug)]
pub(crate) struct Log {
    layout: Layout,
    /// In append mode. `None` after a failed append: the file must be rewritten before the next.
    file: Option<File>,
    len: u64,
    /// What the file's length would be if it held the state only.
    compact_len: u64,
    state: State,
    /// Bytes that were cut off, if any.
    lost: Option<u64>,
}

impl Log {
    /// Reads the log, or makes an empty one in a new home. With `salvage` it keeps every record that can be read, wherever
    /// the damage is, and makes one where it is missing.
    pub fn open(layout: &Layout, salvage: bool) -> Result<Self> {
        let path = layout.state_log();
        let mut log =
            Self { layout: layout.clone(), file: None, len: 0, compact_len: 0, state: State::default(), lost: None };
        let Some(bytes) = durable::read(&path, FILE_MAX)? else {
            log.begin(salvage)?;
            return Ok(log);
        };
        if bytes.len() as u64 > FILE_MAX {
            return Err(StoreError::LogDamaged { path, offset: FILE_MAX, reason: "it is longer than any log of ours" });
        }
        let good = log.read(&bytes, salvage)?;
        if good == bytes.len() && log.lost.is_none() {
            log.len = bytes.len() as u64;
            log.compact_len = HEADER.len() as u64 + log.encode()?.len() as u64;
            log.file = Some(log.appender()?);
        } else {
            log.recover(&bytes, good)?;
        }
        Ok(log)
    }

    /// Makes the log where there is none.
    fn begin(&mut self, salvage: bool) -> Result<()> {
        match written_after(&self.layout)? {
            Some(what) if !salvage => return Err(StoreError::LogMissing { path: self.layout.state_log(), what }),
            Some(what) => {
                tracing::warn!(
                    "state.log is missing beside {what}: a new one begins, and what the old one said is lost"
                );
                self.lost = Some(0);
                self.state.sequence += SEQUENCE_GAP;
            }
            None => {}
        }
        self.rewrite()
    }

    /// Applies all valid records; gives the offset up to which the file is good.
    fn read(&mut self, bytes: &[u8], salvage: bool) -> Result<usize> {
        let mut offset = HEADER.len();
        if is_newer(bytes) {
            return Err(self.newer("its header has a higher number"));
        }
        if !bytes.starts_with(HEADER) {
            self.tolerate(salvage, 0, "the header is not this program's")?;
            offset = 0;
        }
        while offset < bytes.len() {
            match frame::scan(bytes, offset, <Record as codec::Wire>::MAX) {
                Scan::Frame { payload, end } => {
                    match codec::decode(payload) {
                        Ok(record) => self.state.apply(record),
                        Err(_) => return Err(self.newer("it has a record of a kind that this version does not know")),
                    }
                    offset = end;
                }
                Scan::Damage { next: Some(next) } => {
                    self.tolerate(salvage, offset, "a record's checksum is wrong, and valid records follow")?;
                    offset = next;
                }
                Scan::Damage { next: None } => break,
            }
        }
        Ok(offset.min(bytes.len()))
    }

    fn newer(&self, what: &'static str) -> StoreError {
        StoreError::Newer { path: self.layout.state_log(), what }
    }

    fn tolerate(&mut self, salvage: bool, offset: usize, reason: &'static str) -> Result<()> {
        if salvage {
            self.lost.get_or_insert(0);
            return Ok(());
        }
        Err(StoreError::LogDamaged { path: self.layout.state_log(), offset: offset as u64, reason })
    }

    /// Keeps a copy of the damaged file and writes a good one. On a full disk the latter waits for the next append, so
    /// that the home can be opened and room be made.
    fn recover(&mut self, bytes: &[u8], good: usize) -> Result<()> {
        let cut = (bytes.len() - good) as u64;
        self.lost = Some(cut);
        self.state.sequence += SEQUENCE_GAP;
        let copy = self.layout.quarantine().join(format!("state.log.{}", fingerprint(bytes)));
        tracing::warn!(cut, copy = %copy.display(), "state.log had an unreadable part, which no acknowledged write left");
        let kept = std::fs::write(&copy, bytes).map_err(StoreError::io("write", &copy));
        match kept.and_then(|()| self.rewrite()) {
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }

    /// What all records together say.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that were cut off when the log was opened.
    pub fn lost(&self) -> Option<u64> {
        self.lost
    }

    /// Adds a record: on disk when it returns, or without effect.
    pub fn append(&mut self, record: Record) -> Result<()> {
        let frame = frame::encode(&codec::encode(&record)?);
        if self.file.is_none() {
            self.rewrite()?;
        }
        self.write(&frame)?;
        self.state.apply(record);
        if self.len > COMPACT_MIN && self.len / 4 > self.compact_len {
            // The record is durable already: a disk that is too full for a rewrite is no reason to fail.
            if let Err(error) = self.rewrite() {
                tracing::warn!(%error, "state.log could not be shortened");
            }
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<()> {
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        let (first, second) = frame.split_at(frame.len() / 2);
        let written = pass(What::Append, Step::Begin)
            .and_then(|()| file.write_all(first))
            .and_then(|()| pass(What::Append, Step::Half))
            .and_then(|()| file.write_all(second))
            .and_then(|()| pass(What::Append, Step::Written))
            .and_then(|()| file.sync_data())
            .and_then(|()| pass(What::Append, Step::Done));
        if let Err(error) = written {
            self.file = None;
            return Err(StoreError::io("append to", &self.layout.state_log())(error));
        }
        self.len += frame.len() as u64;
        Ok(())
    }

    /// Writes the file again if somebody took it away while it was in use; whether it was gone.
    pub fn put_back(&mut self) -> Result<bool> {
        let gone = !self.layout.state_log().exists();
        if gone {
            self.rewrite()?;
        }
        Ok(gone)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for record in self.state.records() {
            bytes.extend(frame::encode(&codec::encode(&record)?));
        }
        Ok(bytes)
    }

    /// Replaces the file by one that holds the state only.
    fn rewrite(&mut self) -> Result<()> {
        let bytes = [HEADER, &self.encode()?].concat();
        // Should this fail, the file may be the old or the new one: both give this state, and the next append tries again.
        self.file = None;
        durable::write(&self.layout.tmp(), What::Log, &self.layout.state_log(), &bytes)?;
        self.len = bytes.len() as u64;
        self.compact_len = self.len;
        self.file = Some(self.appender()?);
        Ok(())
    }

    fn appender(&self) -> Result<File> {
        let path = self.layout.state_log();
        OpenOptions::new().append(true).open(&path).map_err(StoreError::io("open", &path))
    }
}

/// Something in the home that is only ever written when the log is there.
fn written_after(layout: &Layout) -> Result<Option<&'static str>> {
    if layout.identity().exists() {
        return Ok(Some("identity.key"));
    }
    let manifests = durable::names_in::<potluck_protocol::id::ManifestId>(&layout.manifests())?;
    Ok((!manifests.is_empty()).then_some("a manifest"))
}

/// The header is that of a later version. One flipped bit makes 3, 5 or 9 of our 1: those numbers are never used.
fn is_newer(bytes: &[u8]) -> bool {
    let flipped: u32 = bytes.iter().zip(HEADER).map(|(byte, ours)| (byte ^ ours).count_ones()).sum();
    let line =
        bytes.strip_prefix(HEADER_START).map(|rest| rest.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let number =
        line.and_then(|digits| std::str::from_utf8(digits.get(..8.min(digits.len()))?).ok()?.parse::<u32>().ok());
    number.is_some_and(|number| number > 1) && flipped > 1
}

/// Distinguishes copies of damaged files; the same damage found twice is kept once.
fn fingerprint(bytes: &[u8]) -> String {
    potluck_protocol::id::Digest::of(bytes).short()
}

#[cfg(test)]
mod tests;
