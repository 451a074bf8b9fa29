//! Every type against its vector file, every vector file against a type.

use std::collections::BTreeSet;

use crate::subjects::{self, Subject};
use crate::vectors::{self, Vectors};
use crate::{accepted, refused};

/// The file as the code of this version would write it.
fn made(subject: &Subject) -> Vectors {
    let about = format!(
        "{}: made by POTLUCK_BLESS=1 cargo test --release -p potluck-protocol --test wire golden. \
         Regenerating is an approval of a format change.",
        subject.file
    );
    Vectors { about, accepted: accepted::of(subject.file), refused: refused::of(subject.file) }
}

#[test]
fn golden_vectors_are_the_format() {
    for subject in subjects::all() {
        let made = made(&subject);
        if vectors::blessing() {
            vectors::save(subject.file, &made);
        }
        let kept = vectors::load(subject.file);
        for (kept, made) in kept.accepted.iter().zip(&made.accepted) {
            assert_eq!(kept, made, "{}: the format changed", subject.file);
        }
        for (kept, made) in kept.refused.iter().zip(&made.refused) {
            assert_eq!(kept, made, "{}: the refused bytes changed", subject.file);
        }
        assert_eq!(kept, made, "{}: a vector was added or removed", subject.file);
        check(&subject, &kept);
    }
}

fn check(subject: &Subject, vectors: &Vectors) {
    let file = subject.file;
    assert!(!vectors.accepted.is_empty() && !vectors.refused.is_empty(), "{file} lacks vectors");
    for vector in &vectors.accepted {
        let read = (subject.read)(&vector.hex.0).unwrap_or_else(|error| panic!("{file}: {}: {error}", vector.name));
        assert_eq!(read.again, vector.hex.0, "{file}: {}", vector.name);
        assert_eq!(read.id, vector.id, "{file}: {}", vector.name);
    }
    for vector in &vectors.refused {
        let error = (subject.read)(&vector.hex.0).expect_err(&format!("{file}: {} was accepted", vector.name));
        assert!(error.starts_with(&vector.error), "{file}: {}: {error}, not {}", vector.name, vector.error);
    }
    let names = vectors.accepted.iter().map(|v| &v.name).chain(vectors.refused.iter().map(|v| &v.name));
    let distinct: BTreeSet<_> = names.clone().collect();
    assert_eq!(distinct.len(), names.count(), "{file}: a name occurs twice");
}

#[test]
fn golden_files_and_types_match() {
    let files: BTreeSet<String> = std::fs::read_dir(vectors::folder())
        .expect("the folder of vectors is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let wanted: BTreeSet<String> = subjects::all().iter().map(|subject| format!("{}.json", subject.file)).collect();
    assert_eq!(files, wanted, "left: files, right: types with vectors");
}

/// A type that gets `impl Wire` gets vectors with it.
#[test]
fn golden_vectors_exist_for_every_wire_type() {
    let covered: BTreeSet<&str> = subjects::all().iter().filter_map(|subject| subject.wire).collect();
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let impls = text.lines().filter_map(|line| line.strip_prefix("impl Wire for "));
            found.extend(impls.map(|rest| rest.trim_end_matches([' ', '{', '}']).to_owned()));
        }
    }
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), covered, "left: types, right: vectors");
}
