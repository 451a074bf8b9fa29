//! What no source file holds.

use crate::sources::{self, Source};

/// Files that may read the environment.
const ENVIRONMENT: [&str; 2] = ["node/src/config.rs", "node/src/failpoint.rs"];

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
    let parked = [
        concat!("#[", "ignore"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
    ];
    let mut found = Vec::new();
    for source in sources::all() {
        let lines = source.text.lines().enumerate();
        let wrong = lines.filter(|(_, line)| parked.iter().any(|word| line.contains(word)));
        found.extend(wrong.map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim())));
    }
    assert_none("finish it, or write an issue", found);
}

#[test]
fn nothing_that_users_run_unwraps() {
    assert_none("return an error, or say by `expect` why it cannot fail", places(|_, code| code.contains(".unwrap()")));
}

#[test]
fn every_queue_is_bounded() {
    // The standard library's channel takes no number, tokio's does.
    let unbounded = ["unbounded", "Unbounded", "mpsc::channel()"];
    let wrong = |_: &Source, code: &str| {
        unbounded.iter().any(|word| code.contains(word)) || (code.contains("mpsc::channel::<") && code.contains(">()"))
    };
    assert_none("a queue has a bound (I12)", places(wrong));
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

#[test]
fn few_files_read_the_environment() {
    let wrong = |source: &Source, code: &str| {
        let reads = code.contains("std::env") || code.contains("env::var") || code.contains("env::args");
        reads && !ENVIRONMENT.contains(&source.path.as_str())
    };
    assert_none("ask node/src/config.rs", places(wrong));
}

/// Where the debug form is right: in implementations of `Debug`, and in the names of a test's failpoints.
const DEBUG_FORM: [&str; 4] =
    ["protocol/src/id.rs", "protocol/src/signed.rs", "protocol/src/shard.rs", "node/src/failpoint.rs"];

/// `ManifestId(50ba21fb7ff0)` is nothing that a person can type: ids have `short()`, types `Display`, strangers' texts
/// `escape_debug()`.
#[test]
fn nobody_is_shown_the_debug_form() {
    let wrong = |source: &Source, code: &str| {
        let shown = source.path.starts_with("node/src/") || source.path.starts_with("protocol/src/");
        let exempt = DEBUG_FORM.iter().any(|path| source.path.starts_with(path)) || source.path.ends_with("_tests.rs");
        shown && !exempt && ["{:?}", ":?}", ":#?}"].iter().any(|form| code.contains(form))
    };
    assert_none("write an id as `id.short()`", places(wrong));
}

/// The file that says what a signal does.
const SIGNALS: &str = "node/src/signals.rs";

#[test]
fn one_file_takes_signals() {
    let wrong = |source: &Source, code: &str| {
        let takes = ["ctrl_c(", "signal::unix", "tokio::signal", "SignalKind", "signal_hook"];
        source.path.starts_with("node/src") && source.path != SIGNALS && takes.iter().any(|call| code.contains(call))
    };
    assert_none("ask node/src/signals.rs: every stop is in order, and says how to go on", places(wrong));
}

/// The file that may remove anything: it asks whether what goes is the program's own.
const REMOVAL: &str = "trainer/src/removal.rs";

#[test]
fn only_one_file_removes() {
    let removes = ["remove_file", "remove_dir", "remove_dir_all"];
    let wrong = |source: &Source, code: &str| {
        source.path != REMOVAL
            && removes.iter().any(|call| code.contains(&format!("{call}(")) || code.contains(&format!("::{call}")))
    };
    assert_none("remove through trainer/src/removal.rs: a person's files are theirs", places(wrong));
}

/// Of a person's file it is not known what it is: opening a pipe waits, reading a device may never end.
#[test]
fn files_are_read_whole_in_one_way() {
    let wrong = |_: &Source, code: &str| {
        let whole = code.contains("fs::read(") || code.contains("fs::read_to_string(");
        whole && !code.contains("/proc/") && !code.contains("/sys/")
    };
    assert_none("read through trainer/src/files.rs: a regular file, within a bound", places(wrong));
}

/// Where memory is read past what the compiler can check: mapped files, and the kernels of the cpu backend.
fn may_be_unsafe(path: &str) -> bool {
    path == "trainer/src/base/mapped.rs" || path.starts_with("trainer/src/backend/cpu/kernel/")
}

#[test]
fn memory_is_safe_but_for_mapped_files_and_kernels() {
    let wrong = |source: &Source, code: &str| {
        !may_be_unsafe(&source.path) && (code.contains("unsafe {") || code.contains("unsafe fn"))
    };
    assert_none("no unsafe code", places(wrong));
}

#[test]
fn every_unsafe_block_has_its_reason() {
    let mut bare = Vec::new();
    for source in sources::all().into_iter().filter(|source| may_be_unsafe(&source.path)) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let opens = line.contains("unsafe {") || line.trim_start().starts_with("unsafe impl");
            let above = lines[..index].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
            // A statement may begin on the line above the block.
            let reason =
                above.chain(lines[..index].iter().rev().skip(1).take(1)).any(|line| line.contains("// SAFETY"));
            if opens && !reason && !line.contains("unsafe fn") {
                bare.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert_none("a line `// SAFETY: ...` above each unsafe block", bare);
}
