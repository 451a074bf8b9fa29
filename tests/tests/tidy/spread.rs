//! How many files a type's methods lie in. A type whose methods are everywhere has no inside: every file knows all of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{self, Source};

/// Files that may hold inherent `impl` blocks of one type.
const FILES: usize = 12;

/// The type of an inherent `impl` block that begins on this line.
fn inherent(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let closes = |c: char| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        };
        rest = &rest[rest.find(closes)? + 1..];
    }
    let rest = rest.strip_prefix(' ')?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).unwrap_or(rest.len());
    let name = rest[..end].rsplit("::").next()?;
    (!rest.contains(" for ") && !name.is_empty()).then_some(name)
}

/// Each type of each crate with the files of its inherent methods.
fn spread(sources: &[Source]) -> BTreeMap<(&str, &str), BTreeSet<&str>> {
    let mut files: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for source in sources {
        let name = source.path.split('/').next().unwrap_or_default();
        for of in source.lines.iter().filter_map(|(_, line)| inherent(line)) {
            files.entry((name, of)).or_default().insert(source.path.as_str());
        }
    }
    files
}

#[test]
fn no_type_has_methods_in_more_files_than_somebody_can_read() {
    let sources = sources::all();
    let spread = spread(&sources);
    assert!(spread.contains_key(&("node", "Store")), "types are found");
    let wide: Vec<_> = spread.into_iter().filter(|(_, files)| files.len() > FILES).collect();
    assert!(wide.is_empty(), "give each part of the work a type of its own: {wide:#?}");
}

#[test]
fn inherent_blocks_are_told_from_those_of_traits() {
    assert_eq!(inherent("impl Store {"), Some("Store"));
    assert_eq!(inherent("impl<'a, T: Into<u8>> Pass<'a, T> {"), Some("Pass"));
    assert_eq!(inherent("impl net::Actor<'_> {"), Some("Actor"));
    for line in ["impl Display for Store {", "impl<T> From<T> for Store {", "    impl Inner {", "implement()"] {
        assert_eq!(inherent(line), None, "{line}");
    }
}
