//! Which files are exempt from a lint that holds everywhere else. An attribute is quickly written: here it is seen.

use std::collections::BTreeSet;

use crate::sources;

/// Files that call a method of `clippy.toml`: the one that removes, the ones that read the environment, take signals, and
/// read what the kernel says.
const METHODS: [&str; 6] = [
    "node/src/config.rs",
    "node/src/failpoint.rs",
    "node/src/procfs.rs",
    "node/src/signals.rs",
    "trainer/src/memory.rs",
    "trainer/src/removal.rs",
];

/// Where memory is read past what the compiler can check: mapped files, and the kernels of the cpu backend.
const UNSAFE: [&str; 2] = ["trainer/src/backend/cpu/kernel/mod.rs", "trainer/src/base/mapped.rs"];

/// Shipped files with an attribute for a lint; the attributes of test builds are no exemption.
fn exempt_from(lint: &str) -> Vec<String> {
    let names = |line: &str| line.contains(lint) && !line.contains("cfg_attr(test,");
    let exempt = sources::all().into_iter().filter(|source| source.code.iter().any(|(_, line)| names(line)));
    exempt.map(|source| source.path).collect()
}

/// A group of lints holds those above among others.
#[test]
fn nobody_is_exempt_from_a_group_of_lints() {
    for group in ["clippy::all", "clippy::style", "clippy::restriction", "(warnings)"] {
        assert_eq!(exempt_from(group), [""; 0]);
    }
}

/// Clippy sees what this machine compiles. Code for other systems is looked at as text.
#[test]
fn code_for_other_systems_keeps_the_rules_too() {
    let calls = ["remove_file(", "remove_dir(", "remove_dir_all(", ".unwrap()", "tokio::signal", "env::var"];
    for source in sources::all().into_iter().filter(|source| !METHODS.contains(&source.path.as_str())) {
        let wrong = source.code.iter().find(|(_, line)| calls.iter().any(|call| line.contains(call)));
        assert!(wrong.is_none(), "{}: {wrong:?}: see clippy.toml", source.path);
    }
}

#[test]
fn only_these_files_call_a_disallowed_method() {
    assert_eq!(exempt_from("disallowed_methods"), METHODS);
}

#[test]
fn memory_is_safe_but_for_mapped_files_and_kernels() {
    assert_eq!(exempt_from("unsafe_code"), UNSAFE);
}

/// I12: the constructors of queues without a bound are disallowed, and none of the files above has a queue.
#[test]
fn every_queue_is_bounded() {
    let path = sources::root().join("clippy.toml");
    let text = std::fs::read_to_string(path).expect("clippy.toml is there");
    for queue in
        ["std::sync::mpsc::channel", "tokio::sync::mpsc::unbounded_channel", "futures::channel::mpsc::unbounded"]
    {
        assert!(text.contains(&format!("path = \"{queue}\"")), "clippy.toml disallows {queue}");
    }
    let sources = sources::all();
    let exempt = sources.iter().filter(|source| METHODS.contains(&source.path.as_str()));
    let queues = exempt.filter(|source| source.code.iter().any(|(_, line)| line.contains("mpsc")));
    assert_eq!(queues.map(|source| &source.path).collect::<BTreeSet<_>>(), BTreeSet::new());
}
