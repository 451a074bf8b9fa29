//! Drawings of a small lineage.

use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::signed::PublicKey;

use super::super::svg;
use super::*;
use crate::api::lineage::{Halted, Verdict};
use crate::cli::snapshots::check;
use crate::store::Halt;

fn id(text: &str) -> ManifestId {
    ManifestId(Digest::of(text.as_bytes()))
}

fn input(name: &str, stale: bool) -> Input {
    Input { adapter: id(name), name: Some(name.to_owned()), weight: 0.5, stale }
}

fn shown() -> Shown {
    let version = |height: u32, change, inputs: Vec<Input>, added: Vec<Input>, removed| Version {
        height,
        version: id(&format!("v{height}")),
        base: BaseId(Digest::of(b"base")),
        digest: FoldDigest(Digest::of(b"digest")),
        created: 1_795_305_600,
        change,
        in_force: height == 1,
        inputs,
        added,
        removed,
        loss_change: (change == Change::Release).then_some(-0.1234),
        verdicts: vec![Verdict {
            proposal: id("p"),
            adapter: id("evil"),
            name: Some("<b>evil\u{1b}[2J</b>".to_owned()),
            taken: false,
            reason: "too \"large\" & wrong".to_owned(),
        }],
    };
    Shown {
        channel: id("channel"),
        name: "helpers".to_owned(),
        steward: PublicKey(Digest::of(b"key")),
        own: false,
        steward_heard: Some(1_795_305_600),
        genesis: BaseId(Digest::of(b"genesis")),
        genesis_name: Some("tiny".to_owned()),
        forked_from: None,
        rules: Vec::new(),
        height: 1,
        held: true,
        audit: false,
        halted: Some(Halted {
            proof: Halt::Equivocation { first: id("a"), second: id("b") },
            reason: "two versions for one height".to_owned(),
        }),
        broken: None,
        versions: vec![
            version(1, Change::Release, vec![input("sql", false)], vec![input("sql", false)], vec![]),
            version(2, Change::Revoke, vec![input("dates", true)], vec![], vec![input("sql", false)]),
        ],
    }
}

#[test]
fn a_terminal_sees_the_newest_first_and_what_is_in_force() {
    let lines = render(&shown());
    let at =
        |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:#?}"));
    assert!(at("HALTED: two versions for one height") < at("o  version 2  2026-11-22  revoke"));
    assert!(at("o  version 2") < at("*  version 1"));
    assert!(at("- sql @ 0.5") < at("= dates @ 0.5  stale"));
    assert!(lines[at("*  version 1")].ends_with("<- in force here, held"));
    assert!(lines[at("*  version 1")].contains("release, loss -0.1234"));
    assert!(at("+ sql @ 0.5") < at("genesis"));
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "a stranger's name steers no terminal");
}

#[test]
fn a_picture_holds_strangers_words_as_words() {
    let svg = svg::document(&shown());
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("&lt;b&gt;evil [2J&lt;/b&gt;: too &quot;large&quot; &amp; wrong"), "{svg}");
    assert!(!svg.contains("<b>") && !svg.contains("<script") && !svg.contains("href"));
    assert_eq!(svg.matches("<circle").count(), 3);
    assert_eq!(svg.matches("in force here").count(), 1);
    let file = tempfile::NamedTempFile::new().expect("a file");
    for (text, ours) in [(svg.as_str(), true), ("<svg xmlns", false), ("a person's notes", false)] {
        std::fs::write(file.path(), text).expect("writable");
        assert_eq!(svg::is_one(file.path()).expect("readable"), ours, "{text}");
    }
}

#[test]
fn what_is_seen() {
    check("channel-show", |_| render(&shown()));
    let empty = Shown { versions: Vec::new(), halted: None, height: 0, held: false, steward_heard: None, ..shown() };
    check("channel-show-empty", |_| render(&empty));
}
