//! What a person sees, kept as files: each answer on a narrow and on a wide terminal, and in a file.
//!
//! `INSTA_UPDATE=always cargo test --release -p potluck-node` writes the files anew. The difference that git shows then is
//! what a review looks at.

use clap::Parser;
use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId, RecipeId};
use potluck_protocol::signed::PublicKey;
use potluck_protocol::text::Name;

use super::args::{Cli, Verb};
use super::output::{self, Terminal};
use crate::failure::{Failure, Outcome};

const NARROW: usize = 80;
const WIDE: usize = 200;

/// Compares what is rendered with the file of that name.
pub fn check(name: &str, render: impl Fn(Terminal) -> Vec<String>) {
    let on = |width, is_terminal| render(Terminal { width, is_terminal });
    let (narrow, wide, file) = (on(NARROW, true), on(WIDE, true), on(NARROW, false));
    assert_eq!(file, on(WIDE, false), "a file has no width");
    let parts = [("80 columns", narrow), ("200 columns", wide), ("no terminal", file)];
    let mut sheet = String::new();
    for (index, (_, lines)) in parts.iter().enumerate() {
        if parts[..index].iter().any(|(_, before)| before == lines) {
            continue;
        }
        let same = parts.iter().filter(|(_, other)| other == lines).map(|(head, _)| *head);
        let heads = same.collect::<Vec<_>>().join(", ");
        // What moves the cursor or colours text is shown as it is written.
        let text = lines.join("\n").replace('\u{1b}', "\\e");
        sheet.push_str(&format!("--- {heads}\n{text}\n"));
    }
    compare(name, &sheet);
}

/// The same of a table: no line of it is wider than the terminal.
pub fn check_table(name: &str, render: impl Fn(Terminal) -> Vec<String>) {
    for width in [NARROW, WIDE] {
        let lines = render(Terminal { width, is_terminal: true });
        assert!(lines.iter().all(|line| crate::text::columns(line) <= width), "{width}: {lines:#?}");
    }
    check(name, render);
}

/// Compares failures, each behind the command line that it is of.
pub fn check_failures(name: &str, failures: &[(&str, Failure)]) {
    let one =
        |(typed, failure): &(&str, Failure)| format!("$ potluck {typed}\n{}\n", output::failure(failure).join("\n"));
    compare(name, &failures.iter().map(one).collect::<String>());
}

fn compare(name: &str, sheet: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => "snapshots" }, {
        insta::assert_snapshot!(name, sheet);
    });
}

/// What was typed behind `potluck`, parsed.
pub fn parse(words: &str) -> Cli {
    let words = ["potluck"].into_iter().chain(words.split_whitespace());
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
}

/// The failure that a verb gives for what was typed.
pub fn refusal<T>(words: &str, verb: impl FnOnce(&Cli, &Verb) -> Outcome<T>) -> (&str, Failure) {
    let cli = parse(words);
    (words, verb(&cli, &cli.verb).err().expect("it is refused"))
}

pub fn manifest(text: &str) -> ManifestId {
    ManifestId(Digest::of(text.as_bytes()))
}

pub fn base(text: &str) -> BaseId {
    BaseId(Digest::of(text.as_bytes()))
}

pub fn fold(text: &str) -> FoldDigest {
    FoldDigest(Digest::of(text.as_bytes()))
}

pub fn recipe(text: &str) -> RecipeId {
    RecipeId(Digest::of(text.as_bytes()))
}

pub fn key(text: &str) -> PublicKey {
    PublicKey(Digest::of(text.as_bytes()))
}

pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// What the parser says of a wrong command line, for every verb.
#[test]
fn usage_errors_of_every_verb() {
    let wrong = [
        "",
        "nothing",
        "demo --nodes 1",
        "up --metrics nowhere",
        "status --all",
        "peers tiny",
        "network",
        "network new-key --force",
        "base",
        "base add",
        "base list --all",
        "base show",
        "base show x --svg x.svg",
        "channel",
        "channel list x",
        "channel show",
        "channel follow",
        "channel unfollow",
        "channel update x --timeout soon",
        "channel rollback x --to last",
        "channel export x",
        "channel open",
        "channel propose x",
        "channel release",
        "channel revoke x",
        "data check rows.jsonl",
        "train --base tiny",
        "eval --base tiny",
        "generate --base tiny",
        "publish --name x",
        "search --rank many",
        "show",
        "pull",
        "pull x --without-base",
        "verify",
        "merge --base tiny",
        "store",
        "store verify x",
        "bench step",
        "bench generate",
        "bench exchange --size much",
        "bench merge",
    ];
    let sheet = wrong.map(|words| {
        let all = ["potluck"].into_iter().chain(words.split_whitespace());
        let error = Cli::try_parse_from(all).err().unwrap_or_else(|| panic!("`{words}` is taken"));
        format!("$ potluck {words}\n{}\n", error.render())
    });
    compare("errors-usage", &sheet.concat());
}

#[test]
fn a_failure_says_what_happened_and_what_to_type_next() {
    let strangers = Failure::new(
        crate::failure::Kind::Verification,
        "the store is damaged or incomplete\n  `a\u{1b}[2Jb` lacks 1 shard",
    );
    check_failures(
        "errors",
        &[
            ("store verify", strangers.hint("`potluck pull ID` fetches it again")),
            ("train", Failure::interrupted()),
            ("show x", Failure::new(crate::failure::Kind::NotFound, "nothing called `x` is here or was heard of")),
        ],
    );
}
