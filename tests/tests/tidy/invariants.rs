//! The table of invariants in `docs/architecture.md`, held against the code.
//!
//! A row is `| I7 | statement | where checked | which test |`. A cell says `later` as long as the thing it is about is
//! not built; otherwise the third names files that mention the id, the fourth functions that exist.

use std::collections::BTreeSet;

use crate::sources::{self, Source};

struct Row {
    id: String,
    checked: String,
    kept: String,
}

fn rows() -> Vec<Row> {
    let path = sources::root().join("docs/architecture.md");
    let text = std::fs::read_to_string(&path).expect("docs/architecture.md is there");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, checked, kept] = cells[..] else { return None };
        is_id(id).then(|| Row { id: id.to_owned(), checked: checked.to_owned(), kept: kept.to_owned() })
    };
    text.lines().filter_map(row).collect()
}

fn is_id(word: &str) -> bool {
    word.strip_prefix('I').is_some_and(|n| !n.is_empty() && n.bytes().all(|digit| digit.is_ascii_digit()))
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Ids in the comments of a file.
fn mentions(source: &Source) -> BTreeSet<String> {
    let comments = source.text.lines().filter_map(|line| line.split_once("//").map(|(_, comment)| comment));
    let words = comments.flat_map(|comment| comment.split(|c: char| !c.is_ascii_alphanumeric()));
    words.filter(|word| is_id(word)).map(str::to_owned).collect()
}

/// Our own files describe ids and are no use of them.
fn all() -> Vec<Source> {
    sources::all().into_iter().filter(|source| !source.path.starts_with("tests/tests/tidy/")).collect()
}

#[test]
fn all_sixteen_invariants_are_in_the_table() {
    let ids: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=16).map(|n| format!("I{n}")).collect::<Vec<_>>());
}

#[test]
fn every_invariant_is_checked_where_the_table_says() {
    let sources = all();
    for Row { id, checked, .. } in rows() {
        assert!(checked.contains('`') || checked.contains("later"), "{id} names neither a file nor `later`");
        for path in quoted(&checked) {
            let source = sources.iter().find(|source| source.path == path);
            let source = source.unwrap_or_else(|| panic!("{id}: {path} does not exist"));
            assert!(mentions(source).contains(&id), "{path} has no comment `// {id}` at the check");
        }
    }
}

#[test]
fn every_invariant_is_kept_by_a_test_that_exists() {
    let sources = sources::all();
    for Row { id, kept, .. } in rows() {
        assert!(kept.contains('`') || kept.contains("later"), "{id} names neither a test nor `later`");
        for test in quoted(&kept) {
            let declaration = format!("fn {test}(");
            let exists = sources.iter().any(|source| source.text.contains(&declaration));
            assert!(exists, "{id}: there is no test `{test}`");
        }
    }
}

#[test]
fn the_code_names_no_invariant_that_the_table_lacks() {
    let known: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    for source in all() {
        let unknown: Vec<String> = mentions(&source).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?} are not in docs/architecture.md", source.path);
    }
}
