//! What no source file holds, as far as no lint can say it. (The lints are in `[workspace.lints]` of `Cargo.toml`, and in
//! `clippy.toml`.)

use crate::sources::{self, Source};

/// The file that turns numbers of seconds into durations.
const SECONDS: &str = "node/src/seconds.rs";

/// The file that may name the codec's library.
const CODEC: &str = "protocol/src/codec.rs";

/// Every place in running code where `wrong` is found.
fn places(wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources::all() {
        let lines = source.code.iter().filter(|(_, code)| wrong(&source, code));
        found.extend(lines.map(|(line, code)| format!("{}:{line}: {}", source.path, code.trim())));
    }
    found
}

fn assert_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    let bare = sources::all().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none("a file starts with `//!` and a sentence", bare.map(|source| source.path).collect());
}

/// In tests too: what is parked is forgotten.
#[test]
fn nothing_is_parked() {
    let parked = [concat!("#[", "ignore"), concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut found = Vec::new();
    for source in sources::all() {
        let lines = source.text.lines().enumerate();
        let wrong = lines.filter(|(_, line)| parked.iter().any(|word| line.contains(word)));
        found.extend(wrong.map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim())));
    }
    assert_none("finish it, or write an issue", found);
}

/// What somebody typed overflows when it is added to a moment, unless it is bounded first.
#[test]
fn seconds_that_people_name_come_through_one_type() {
    let wrong = |source: &Source, code: &str| {
        let made = code.split("Duration::from_secs(").skip(1);
        let named = made.filter_map(|rest| rest.chars().next()).any(|first| first.is_ascii_lowercase());
        named && source.path.starts_with("node/src") && source.path != SECONDS
    };
    assert_none("take `Seconds` and its `duration()`", places(wrong));
}

#[test]
fn one_file_names_the_codecs_library() {
    let wrong = |source: &Source, code: &str| source.path != CODEC && code.contains("bincode");
    assert_none("encode through potluck_protocol::codec (docs/decisions/0002-bincode.md)", places(wrong));
}

/// Where the debug form is right: in implementations of `Debug`, and in the names of a test's failpoints.
const DEBUG_FORM: [&str; 4] =
    ["protocol/src/id.rs", "protocol/src/signed.rs", "protocol/src/shard.rs", "node/src/failpoint.rs"];

/// `ManifestId(50ba21fb7ff0)` is nothing that a person can type: ids have `short()`, types `Display`, strangers' texts
/// `escape_debug()`. (`clippy::use_debug` sees prints only.)
#[test]
fn nobody_is_shown_the_debug_form() {
    let wrong = |source: &Source, code: &str| {
        let shown = source.path.starts_with("node/src/") || source.path.starts_with("protocol/src/");
        let exempt = DEBUG_FORM.iter().any(|path| source.path.starts_with(path)) || source.path.ends_with("_tests.rs");
        shown && !exempt && ["{:?}", ":?}", ":#?}"].iter().any(|form| code.contains(form))
    };
    assert_none("write an id as `id.short()`", places(wrong));
}
