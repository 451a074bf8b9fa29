//! Torn, damaged, old and newer logs.

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

#[test]
fn a_log_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let (_folder, home, bytes, ends) = three();
    let path = home.layout().state_log();
    let next = [b"potluck state/2\n", &bytes[HEADER.len()..]].concat();
    let unknown = frame::encode(&[99, 0, 0, 0, 1, 2, 3]);
    let inside = [&bytes[..ends[1]], &unknown, &bytes[ends[1]..]].concat();
    let at_the_end = [&bytes[..], &unknown].concat();
    for newer in [next, inside, at_the_end] {
        std::fs::write(&path, &newer).expect("writable");
        for salvage in [false, true] {
            let error = Log::open(home.layout(), salvage).expect_err("newer");
            assert!(matches!(error, StoreError::Newer { .. }), "{error}");
            assert!(error.to_string().contains("made by a newer potluck"), "{error}");
            assert_eq!(std::fs::read(&path).expect("exists"), newer, "the file stays as it is");
        }
    }
}

#[test]
fn a_missing_log_beside_a_key_or_a_manifest_is_an_error_and_no_new_state() {
    for beside in ["identity.key", "manifests/6b2a7a6c1e0c1d7e5d8f9f0e7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b"] {
        let (folder, home, bytes, _) = three();
        let path = home.layout().state_log();
        std::fs::write(folder.path().join(beside), b"written when there was a log").expect("writable");
        drop(Log::open(home.layout(), false).expect("it is there"));
        std::fs::remove_file(&path).expect("there");
        let error = Log::open(home.layout(), false).expect_err("what it said is lost");
        assert!(matches!(error, StoreError::LogMissing { .. }), "{beside}: {error}");
        assert!(error.to_string().contains("--salvage-state"), "{error}");
        assert!(!path.exists(), "{beside}: nothing came in its place");
        std::fs::write(&path, &bytes).expect("writable");
        assert_eq!(Log::open(home.layout(), false).expect("put back").state().pins, [id(1), id(3)].into());
        std::fs::remove_file(&path).expect("there");
        let log = Log::open(home.layout(), true).expect("a person says so");
        assert_eq!((log.lost(), log.state().sequence), (Some(0), SEQUENCE_GAP), "numbers in use are passed over");
        drop(log);
        Log::open(home.layout(), false).expect("from now on it is there");
    }
}
