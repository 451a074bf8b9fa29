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
    /// Reads the log, or makes an empty one. With `salvage` it keeps every record that can be read, wherever the damage
    /// is.
    pub fn open(layout: &Layout, salvage: bool) -> Result<Self> {
        let path = layout.state_log();
        let mut log =
            Self { layout: layout.clone(), file: None, len: 0, compact_len: 0, state: State::default(), lost: None };
        let Some(bytes) = durable::read(&path, FILE_MAX)? else {
            log.rewrite()?;
            return Ok(log);
        };
        if bytes.len() as u64 > FILE_MAX {
            return Err(StoreError::LogDamaged { path, offset: FILE_MAX, reason: "it is longer than any log of ours" });
        }
        let good = log.read(&bytes, salvage)?;
        if good == bytes.len() && log.lost.is_none() {
            log.len = bytes.len() as u64;
            log.compact_len = HEADER.len() as u64 + log.encoded()?.len() as u64;
            log.file = Some(log.appender()?);
        } else {
            log.recover(&bytes, good)?;
        }
        Ok(log)
    }

    /// Applies all valid records; gives the offset up to which the file is good.
    fn read(&mut self, bytes: &[u8], salvage: bool) -> Result<usize> {
        let mut offset = HEADER.len();
        if !bytes.starts_with(HEADER) {
            self.tolerate(salvage, 0, "the header is not this program's")?;
            offset = 0;
        }
        while offset < bytes.len() {
            match frame::scan(bytes, offset, <Record as codec::Wire>::MAX) {
                Scan::Frame { payload, end } => {
                    match codec::decode(payload) {
                        Ok(record) => self.state.apply(record),
                        Err(_) => {
                            self.tolerate(salvage, offset, "a record that only a newer version of potluck knows")?
                        }
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

    fn encoded(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for record in self.state.records() {
            bytes.extend(frame::encode(&codec::encode(&record)?));
        }
        Ok(bytes)
    }

    /// Replaces the file by one that holds the state only.
    fn rewrite(&mut self) -> Result<()> {
        let bytes = [HEADER, &self.encoded()?].concat();
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

/// Distinguishes copies of damaged files; the same damage found twice is kept once.
fn fingerprint(bytes: &[u8]) -> String {
    potluck_protocol::id::Digest::of(bytes).short()
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Digest, ManifestId};

    use super::*;
    use crate::failpoint;
    use crate::home::Home;

    fn id(n: u64) -> ManifestId {
        ManifestId(Digest::of(&n.to_le_bytes()))
    }

    /// A log of three records, its bytes, and where each record ends.
    fn three() -> (tempfile::TempDir, Home, Vec<u8>, Vec<usize>) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open(folder.path()).expect("free");
        let mut log = Log::open(home.layout(), false).expect("new");
        let mut ends = vec![log.len() as usize];
        for record in [Record::Pin(id(1)), Record::Sequence(7), Record::Pin(id(3))] {
            log.append(record).expect("room");
            ends.push(log.len() as usize);
        }
        let bytes = std::fs::read(home.layout().state_log()).expect("exists");
        (folder, home, bytes, ends)
    }

    #[test]
    fn a_record_torn_at_any_byte_costs_nothing_that_was_acknowledged() {
        let (_folder, home, bytes, ends) = three();
        for len in ends[2]..bytes.len() {
            for zeros in [0, bytes.len() - len] {
                let torn = [&bytes[..len], &vec![0; zeros]].concat();
                std::fs::write(home.layout().state_log(), &torn).expect("writable");
                let mut log = Log::open(home.layout(), false).expect("opens");
                assert_eq!(log.state().pins, [id(1)].into());
                let lost = torn.len() > ends[2];
                assert_eq!(log.lost(), lost.then(|| (torn.len() - ends[2]) as u64), "cut at {len}");
                let wanted = if lost { 7 + SEQUENCE_GAP } else { 7 };
                assert_eq!(log.state().sequence, wanted, "a number that may be in use is passed over");
                log.append(Record::Pin(id(4))).expect("room");
                drop(log);
                let log = Log::open(home.layout(), false).expect("opens");
                assert_eq!((log.lost(), log.state().sequence), (None, wanted));
                assert_eq!(log.state().pins, [id(1), id(4)].into());
            }
        }
    }

    #[test]
    fn damage_before_the_last_record_is_an_error_until_a_person_dismisses_it() {
        let (_folder, home, bytes, ends) = three();
        let path = home.layout().state_log();
        for bit in (0..ends[2] * 8).step_by(5) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).expect("writable");
            let error = Log::open(home.layout(), false).expect_err("damaged");
            assert!(matches!(error, StoreError::LogDamaged { .. }), "bit {bit}: {error}");
            assert_eq!(std::fs::read(&path).expect("exists"), bad, "the file stays as it is");
            let log = Log::open(home.layout(), true).expect("salvaged");
            assert!(log.state().pins.contains(&id(3)) && log.state().sequence >= SEQUENCE_GAP, "bit {bit}");
            drop(log);
            assert!(Log::open(home.layout(), false).is_ok_and(|log| log.lost().is_none()));
        }
    }

    #[test]
    fn a_failed_append_has_no_effect_and_the_next_one_works() {
        for point in failpoint::ALL.iter().filter(|point| point.what == What::Append) {
            let (_folder, home, _, _) = three();
            let mut log = Log::open(home.layout(), false).expect("opens");
            let before = log.state().clone();
            let armed = failpoint::scoped(&format!("{point}:enospc")).expect("valid");
            assert!(log.append(Record::Pin(id(9))).expect_err("full").is_no_space());
            assert_eq!(*log.state(), before);
            drop(armed);
            log.append(Record::Pin(id(10))).expect("room again");
            let wanted = log.state().clone();
            drop(log);
            assert_eq!(*Log::open(home.layout(), false).expect("opens").state(), wanted, "{point}");
        }
    }

    #[test]
    fn history_is_dropped_and_state_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open(folder.path()).expect("free");
        let mut log = Log::open(home.layout(), false).expect("new");
        // Appending is slow by its fsync: history is written by hand, the last record by the log.
        drop(log.append(Record::Pin(id(0))));
        let frame = frame::encode(&codec::encode(&Record::Unpin(id(1))).expect("encodes"));
        log.len += 8192 * frame.len() as u64;
        let mut bytes = std::fs::read(home.layout().state_log()).expect("exists");
        (0..8192).for_each(|_| bytes.extend_from_slice(&frame));
        std::fs::write(home.layout().state_log(), &bytes).expect("writable");
        log.append(Record::Sequence(5)).expect("room");
        assert!(log.len() < 200, "{}", log.len());
        let again = Log::open(home.layout(), false).expect("opens");
        assert_eq!((again.state(), again.len()), (log.state(), log.len()));
    }
}
