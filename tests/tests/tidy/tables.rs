//! The tables of `docs/operations.md` that scripts and people rely on say what the code does.

use std::collections::BTreeSet;

use crate::sources;

const PAGE: &str = "docs/operations.md";
/// Of what the hub's own programs read.
const HUB: &str = "docs/hub.md";
/// The files that name variables of the environment: those that read it, and the one that says what the hub's mean.
const READERS: [&str; 3] = ["node/src/config.rs", "node/src/failpoint.rs", "node/src/hub/settings.rs"];
/// What libraries read for us: the platform's folders, and the folder for short-lived files.
const BY_LIBRARIES: [&str; 3] = ["HOME", "XDG_DATA_HOME", "TMPDIR"];

fn page(path: &str) -> Option<String> {
    std::fs::read_to_string(sources::root().join(path)).ok()
}

/// The rows of a section's table, as their cells.
fn rows(page: &str, section: &str) -> Vec<Vec<String>> {
    let start = page.find(&format!("## {section}\n")).unwrap_or_else(|| panic!("{PAGE} has no section `{section}`"));
    let text = &page[start + 3..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_exit_code_stands_in_the_table() {
    let failure = page("node/src/failure.rs").expect("the file of the codes");
    let kinds = &failure[failure.find("pub enum Kind {").expect("the codes")..];
    let kinds = &kinds[..kinds.find("\n}").expect("its end")];
    // `NotFound = 3,`
    let code = |line: &str| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse::<u8>().ok();
    let mut codes: BTreeSet<u8> = kinds.lines().filter_map(code).collect();
    assert!(codes.len() > 9, "the codes have moved: {codes:?}");
    codes.insert(0);
    let table = rows(&page(PAGE).expect("the page"), "Exit codes");
    let told: Vec<u8> = table.iter().map(|row| row[0].trim_matches('`').parse().expect("a code")).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), codes);
    assert_eq!(told.len(), codes.len(), "each once");
    assert!(table.iter().all(|row| row.len() == 3 && row.iter().all(|cell| !cell.is_empty())), "{table:#?}");
}

#[test]
fn every_variable_of_the_environment_stands_in_the_table() {
    let text = page(PAGE).expect("the page");
    let table = rows(&text, "Environment");
    let told: BTreeSet<&str> = table.iter().flat_map(|row| quoted(&row[0])).collect();
    let hub = page(HUB).unwrap_or_default();
    let mut read = BTreeSet::new();
    for source in sources::all().into_iter().filter(|source| READERS.contains(&source.path.as_str())) {
        for (_, code) in &source.code {
            let texts = code.split('"').skip(1).step_by(2);
            read.extend(texts.filter(|text| is_variable(text)).map(str::to_owned));
        }
    }
    assert!(read.contains("POTLUCK_HOME") && read.contains("HF_TOKEN"), "the readers have moved: {read:?}");
    for name in &read {
        let known = told.contains(name.as_str()) || quoted(&hub).any(|text| text == name);
        assert!(known, "`{name}` is read and stands neither in {PAGE} nor in {HUB}");
    }
    for name in told {
        assert!(read.contains(name) || BY_LIBRARIES.contains(&name), "{PAGE}: nobody reads `{name}`");
    }
}

/// `POTLUCK_HOME`, `TERM`.
fn is_variable(text: &str) -> bool {
    // `YES` is a value, and one name has a single word.
    (text.contains('_') || text == "TERM")
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn help_points_at_the_tables() {
    let help = page("node/src/cli/args.rs").expect("the command line");
    assert!(help.contains(PAGE), "`potluck --help` ends with where the tables are");
}
