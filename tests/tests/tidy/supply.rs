//! What the program is made of, by the lists of `deny.toml`: where crates come from, under which licences, which are here
//! twice, which must not be here, and why those are here that nobody maintains.
//!
//! `cargo deny check` does the same and knows the advisories too; it takes minutes to build, so the gate does not need it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::sources;

fn read(path: &str) -> String {
    std::fs::read_to_string(sources::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The entries of a list of `deny.toml`, one a line.
fn list(section: &str, key: &str) -> Vec<String> {
    let text = read("deny.toml");
    let inside = text.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let inside = inside.take_while(|line| !line.starts_with('[')).skip_while(|line| *line != format!("{key} = ["));
    let entries: Vec<_> = inside.skip(1).take_while(|line| *line != "]").map(|line| line.trim().to_owned()).collect();
    assert!(!entries.is_empty(), "deny.toml has no list `{key}` in [{section}]");
    entries.into_iter().filter(|line| !line.starts_with('#')).collect()
}

/// The texts between quotes.
fn quoted(entry: &str) -> Vec<&str> {
    entry.split('"').skip(1).step_by(2).collect()
}

fn names(section: &str, key: &str) -> BTreeSet<String> {
    list(section, key).iter().map(|entry| quoted(entry)[0].to_owned()).collect()
}

/// The fields of each package of `Cargo.lock`, for every system that there is.
fn locked() -> Vec<BTreeMap<String, String>> {
    let text = read("Cargo.lock");
    let fields = |package: &str| {
        let pairs = package.lines().filter_map(|line| line.split_once(" = "));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
    };
    let packages: Vec<_> = text.split("[[package]]\n").skip(1).map(fields).collect();
    assert!(packages.len() > 300, "the lock file has another form: {} packages", packages.len());
    packages
}

/// The versions of each crate.
fn versions() -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in locked() {
        versions.entry(package["name"].clone()).or_default().insert(package["version"].clone());
    }
    versions
}

#[test]
fn every_crate_comes_from_one_registry_with_its_checksum() {
    let mut registries = BTreeSet::new();
    for package in locked() {
        let name = &package["name"];
        let Some(source) = package.get("source") else {
            assert!(name.starts_with("potluck-"), "{name} comes from a folder");
            continue;
        };
        assert!(source.starts_with("registry+https://"), "{name} comes from {source}");
        assert!(package.get("checksum").is_some_and(|sum| sum.len() == 64), "{name} has no checksum");
        registries.insert(source.clone());
    }
    assert_eq!(registries.len(), 1, "{registries:?}");
    let manifest = read("Cargo.toml");
    assert!(!manifest.contains("[patch") && !manifest.contains("git = "), "Cargo.toml replaces a crate");
}

#[test]
fn crates_in_several_versions_are_listed_and_banned_ones_are_not_there() {
    let versions = versions();
    let several: BTreeSet<_> = versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| name.clone()).collect();
    assert_eq!(
        several,
        names("bans", "skip"),
        "left: crates that Cargo.lock has in several versions; right: `skip` of deny.toml. Make the new one agree with \
         what is there (`cargo tree -d`), or list it"
    );
    for banned in names("bans", "deny") {
        assert!(!versions.contains_key(&banned), "`{banned}` is banned by deny.toml: see why there");
    }
}

/// What cargo says of each package that is built on this system.
fn packages() -> Vec<Value> {
    let run = |program: std::ffi::OsString, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(sources::root()).output().expect("it starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let tool = |name: &str| std::env::var_os(name.to_uppercase()).unwrap_or_else(|| name.into());
    let about = run(tool("rustc"), &["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    // Of other systems not all crates have been fetched.
    let args = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&run(tool("cargo"), &args)).expect("JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

#[test]
fn every_licence_is_allowed() {
    let allowed = names("licenses", "allow");
    let exceptions: BTreeMap<String, String> = list("licenses", "exceptions")
        .iter()
        .map(|entry| (quoted(entry)[0].to_owned(), quoted(entry)[1].to_owned()))
        .collect();
    let packages = packages();
    assert!(packages.len() > 300, "{}", packages.len());
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} states no licence"));
        let may = |id: &str| allowed.contains(id) || exceptions.get(name).is_some_and(|extra| extra == id);
        let judged = satisfied(licence, &may).unwrap_or_else(|| panic!("{name}: `{licence}` cannot be read"));
        assert!(judged, "{name} is under `{licence}`, which deny.toml does not allow");
    }
    for name in exceptions.keys() {
        assert!(versions().contains_key(name), "deny.toml: there is no `{name}` to make an exception for");
    }
}

/// Whether a licence expression can be met by licences that `may` be; `None` if it is no expression.
fn satisfied(expression: &str, may: &impl Fn(&str) -> bool) -> Option<bool> {
    // An older way to write OR.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (met, rest) = any(&words, may)?;
    rest.is_empty().then_some(met)
}

type Judged<'a> = Option<(bool, &'a [&'a str])>;

fn any<'a>(words: &'a [&'a str], may: &impl Fn(&str) -> bool) -> Judged<'a> {
    let (mut met, mut rest) = every(words, may)?;
    while let Some(behind) = rest.strip_prefix(&["OR"]) {
        let (one, after) = every(behind, may)?;
        (met, rest) = (met || one, after);
    }
    Some((met, rest))
}

fn every<'a>(words: &'a [&'a str], may: &impl Fn(&str) -> bool) -> Judged<'a> {
    let (mut met, mut rest) = one(words, may)?;
    while let Some(behind) = rest.strip_prefix(&["AND"]) {
        let (next, after) = one(behind, may)?;
        (met, rest) = (met && next, after);
    }
    Some((met, rest))
}

fn one<'a>(words: &'a [&'a str], may: &impl Fn(&str) -> bool) -> Judged<'a> {
    match words {
        ["(", inside @ ..] => {
            let (met, rest) = any(inside, may)?;
            Some((met, rest.strip_prefix(&[")"])?))
        }
        ["AND" | "OR" | ")", ..] | [] => None,
        [id, rest @ ..] => Some((may(&id.replace("+WITH+", " WITH ")), rest)),
    }
}

#[test]
fn licence_expressions_are_read() {
    let may = |id: &str| matches!(id, "MIT" | "ISC" | "Apache-2.0 WITH LLVM-exception");
    for (text, judged) in [
        ("MIT", Some(true)),
        ("GPL-3.0", Some(false)),
        ("MIT/GPL-3.0", Some(true)),
        ("GPL-3.0 OR Apache-2.0 WITH LLVM-exception", Some(true)),
        ("MIT AND GPL-3.0", Some(false)),
        ("MIT AND ISC OR GPL-3.0", Some(true)),
        ("(MIT OR GPL-3.0) AND (ISC)", Some(true)),
        ("(MIT OR GPL-3.0) AND GPL-3.0", Some(false)),
        ("MIT ISC", None),
        ("(MIT", None),
        ("", None),
    ] {
        assert_eq!(satisfied(text, &may), judged, "{text}");
    }
}

/// Crates that nobody maintains, with the record that says why they are here and how they go. Those with an advisory stand
/// in `deny.toml` too.
const UNMAINTAINED: [(&str, &str); 6] = [
    ("bincode", "0002-bincode.md"),
    ("sled", "0003-sled.md"),
    ("instant", "0003-sled.md"),
    ("fxhash", "0003-sled.md"),
    ("fs2", "0003-sled.md"),
    ("paste", "0024-unmaintained-crates.md"),
];

#[test]
fn every_unmaintained_crate_has_a_decision_record() {
    let versions = versions();
    for (name, record) in UNMAINTAINED {
        assert!(versions.contains_key(name), "`{name}` is gone: strike it here, in deny.toml and in {record}");
        let text = read(&format!("docs/decisions/{record}"));
        assert!(
            text.contains(&format!("`{name}")) && text.contains("**Way out.**"),
            "{record} does not speak of {name}"
        );
    }
    for ignored in list("advisories", "ignore") {
        let reason = quoted(&ignored)[1];
        let named = UNMAINTAINED
            .iter()
            .find(|(name, record)| reason.starts_with(name) && reason.ends_with(&format!("docs/decisions/{record}")));
        let (_, record) = named.unwrap_or_else(|| panic!("deny.toml ignores an advisory without a record: {ignored}"));
        assert!(read(&format!("docs/decisions/{record}")).contains(quoted(&ignored)[0]), "{record}: {ignored}");
    }
}

/// What the compiler checks in debug builds alone is checked where strangers' numbers are added up.
#[test]
fn overflow_is_checked_in_release_where_numbers_come_from_strangers() {
    let manifest = read("Cargo.toml");
    for name in ["potluck-protocol", "potluck-node"] {
        let section = format!("[profile.release.package.{name}]\noverflow-checks = true\n");
        assert!(manifest.contains(&section), "{name} is built without overflow checks");
    }
}
