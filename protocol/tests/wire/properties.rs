//! What holds for every value and for any bytes.

use std::fmt::Debug;

use potluck_protocol::codec::{self, CodecError, Wire};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::{SignatureError, Signed};
use proptest::prelude::*;

use crate::arbitrary::{self, config};
use crate::by_hand;
use crate::subjects::{self, Subject};
use crate::vectors;

/// Decoding gives the value back, and the bytes are those of the format written by hand. // I2
fn there_and_back<T: Wire + PartialEq + Debug>(value: &T, by_hand: Vec<u8>) -> Result<(), TestCaseError> {
    let bytes = codec::encode(value).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&bytes, &by_hand);
    let back = codec::decode::<T>(&bytes);
    prop_assert_eq!(back.as_ref(), Ok(value));
    Ok(())
}

/// Bytes are refused, or are exactly what their value is written as. // I2
fn refused_or_canonical(subject: &Subject, bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(read) = (subject.read)(bytes) {
        prop_assert_eq!(&read.again[..], bytes, "{}", subject.file);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn shard_tables_come_back(value in arbitrary::table()) {
        there_and_back(&value, by_hand::shard_table(&value))?;
    }

    #[test]
    fn base_identities_come_back(value in arbitrary::identity()) {
        there_and_back(&value, by_hand::base_identity(&value))?;
    }

    #[test]
    fn recipes_come_back(value in arbitrary::recipe()) {
        there_and_back(&value, by_hand::recipe_of(&value))?;
    }

    #[test]
    fn manifests_come_back(value in arbitrary::manifest()) {
        there_and_back(&value, by_hand::manifest(&value))?;
    }

    #[test]
    fn announcements_come_back(value in arbitrary::announcement()) {
        there_and_back(&value, by_hand::announcement(&value))?;
    }

    #[test]
    fn requests_come_back(value in arbitrary::request()) {
        there_and_back(&value, by_hand::request(&value))?;
    }

    #[test]
    fn replies_come_back(value in arbitrary::reply()) {
        there_and_back(&value, by_hand::reply(&value))?;
    }

    #[test]
    fn digests_come_back_from_json(value in arbitrary::digest()) {
        let json = serde_json::to_string(&value).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(serde_json::from_str(&json).ok(), Some(value));
        prop_assert_eq!(value.to_string().parse(), Ok(value));
    }

    #[test]
    fn signed_bodies_come_back(manifest in arbitrary::manifest(), keypair in arbitrary::keypair()) {
        let manifest = arbitrary::signed_by(&keypair, manifest);
        let signed = Signed::sign(&manifest, &keypair).ok().flatten().expect("its own key");
        let bytes = signed.encode().expect("within its bounds");
        let authentic = Signed::<Manifest>::decode(&bytes).expect("our own bytes").verify().expect("our own signature");
        prop_assert_eq!(authentic.body(), &manifest);
        prop_assert_eq!(authentic.signed(), &signed);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for subject in subjects::all() {
            refused_or_canonical(&subject, &bytes)?;
        }
    }

    /// Bytes written over, put in or taken out, small numbers favoured: counts and tags are small.
    #[test]
    fn mutated_bytes_are_refused_or_canonical(
        at in any::<prop::sample::Index>(),
        put in prop::collection::vec(prop_oneof![any::<u8>(), 0..4u8], 0..9),
        taken in 0..9usize,
    ) {
        for (subject, bytes) in accepted() {
            let at = at.index(bytes.len());
            let rest = bytes.get(at + taken..).unwrap_or_default();
            refused_or_canonical(&subject, &[&bytes[..at], &put, rest].concat())?;
        }
    }
}

/// Every accepted vector with its subject.
fn accepted() -> impl Iterator<Item = (Subject, Vec<u8>)> {
    let vectors_of = |subject: Subject| {
        let vectors = vectors::load(subject.file).accepted;
        let file = subject.file;
        vectors.into_iter().map(move |vector| (subjects::subject(file), vector.hex.0))
    };
    subjects::all().into_iter().flat_map(vectors_of)
}

#[test]
fn every_truncation_is_refused() {
    for (subject, bytes) in accepted() {
        for len in 0..bytes.len() {
            let error = (subject.read)(&bytes[..len]).expect_err(subject.file);
            assert!(error.starts_with("Undecodable"), "{} cut to {len} bytes: {error}", subject.file);
        }
    }
}

#[test]
fn every_trailing_byte_is_refused() {
    for (subject, bytes) in accepted().filter(|(subject, _)| subject.wire.is_some()) {
        for extra in [0, 1, 255] {
            let error = (subject.read)(&[&bytes[..], &[extra]].concat()).expect_err(subject.file);
            assert_eq!(error, "TrailingBytes", "{}", subject.file);
        }
    }
}

#[test]
fn every_changed_byte_is_refused_or_canonical() {
    for (subject, bytes) in accepted() {
        let signed = subject.file.starts_with("signed");
        // A signature check a byte is slow enough to take one change of each.
        let changes: &[u8] = if signed { &[1] } else { &[1, 2, 128, 255] };
        for (at, change) in (0..bytes.len()).flat_map(|at| changes.iter().map(move |change| (at, change))) {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            match (subject.read)(&changed) {
                Ok(_) if signed => panic!("{}: byte {at} is not covered by the signature", subject.file),
                Ok(read) => assert_eq!(read.again, changed, "{}: byte {at}", subject.file),
                Err(_) => {}
            }
        }
    }
}

/// Whatever stands at that place, the decoder must not believe it and allocate. // I4
#[test]
fn a_count_of_two_to_the_63_anywhere_is_refused_or_canonical() {
    for (subject, bytes) in accepted() {
        for at in 0..bytes.len().saturating_sub(8) {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&(1u64 << 63).to_le_bytes());
            if let Ok(read) = (subject.read)(&changed) {
                assert_eq!(read.again, changed, "{}: byte {at}", subject.file);
            }
        }
    }
}

/// Length is looked at first: the bytes beyond the limit are not even decoded. // I4
#[test]
fn oversized_bytes_are_refused_by_their_length() {
    for subject in subjects::all().into_iter().filter(|subject| subject.wire.is_some()) {
        let error = (subject.read)(&vec![0; subject.max + 1]).expect_err(subject.file);
        assert_eq!(error, "TooLong", "{}", subject.file);
    }
}

#[test]
fn nothing_oversized_is_written_either() {
    let manifest = Manifest { description: "x".repeat(4097), ..crate::samples::adapter() };
    assert!(matches!(codec::encode(&manifest), Err(CodecError::Malformed { .. })));
    let signed = Signed::sign(&manifest, &crate::samples::keypair(1));
    assert!(matches!(signed, Err(CodecError::Malformed { .. })));
}

#[test]
fn nobody_signs_for_another() {
    let manifest = crate::samples::adapter();
    assert_eq!(Signed::sign(&manifest, &crate::samples::keypair(2)), Ok(None));
    // An unknown key in the body is no signature of it.
    let error =
        Signed::<Manifest>::decode(&by_hand::envelope(&by_hand::manifest(&manifest), &[])).expect_err("unsigned");
    assert!(matches!(SignatureError::from(error), SignatureError::Codec(CodecError::Malformed { .. })));
}
