//! A short run of every target of `potluck-tests fuzz`, and that a run survives what it looks for.

use std::process::Command;

use serde_json::Value;

fn fuzz(args: &[&str]) -> (bool, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck-tests"));
    let output = command.arg("fuzz").args(args).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.success(), text.lines().map(|line| serde_json::from_str(line).expect("a report")).collect())
}

#[test]
fn no_parser_of_strangers_bytes_breaks_its_promises_in_a_short_run() {
    let (well, reports) = fuzz(&["--seed", "1"]);
    assert!(well, "{reports:#?}");
    assert!(reports.len() >= 18, "a target is missing: {reports:#?}");
    for report in reports {
        let count = |name: &str| report[name].as_u64().unwrap_or_default();
        // Of nothing but refused inputs nothing is learned, and of one kind of refusal neither.
        assert!(count("accepted") > 0 && count("accepted") < count("inputs") && count("outcomes") > 4, "{report:#}");
    }
}

/// A panic, a broken promise, too much memory; and what ends the process: no stack, no memory at all.
#[test]
fn a_run_finds_every_kind_of_fault_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("finds");
    let (well, reports) = fuzz(&["faulty", "--inputs", "400", "--finds", path.to_str().expect("UTF-8")]);
    let [report] = &reports[..] else { panic!("{reports:#?}") };
    assert!(!well && report["broken"].as_u64() > Some(1), "{report:#}");
    let finds = report["finds"].as_array().expect("finds");
    let input_of = |what: &str| {
        let find = finds.iter().find(|find| find["what"].as_str().is_some_and(|found| found.contains(what)));
        let find = find.unwrap_or_else(|| panic!("{what}: {report:#}"));
        std::fs::read(find["file"].as_str().expect("a file")).expect("it was put there")
    };
    assert_eq!(input_of("it was asked to"), b"panic", "made as short as it goes");
    assert_eq!(input_of("does not hold"), b"lie");
    assert_eq!(input_of("that are stated"), b"much");
    for (what, word) in [("overflow", "stack"), ("memory allocation", "memory")] {
        assert!(String::from_utf8_lossy(&input_of(what)).contains(word), "{what}");
    }
}

/// The same seed is the same run, so that a find can be made again.
#[test]
fn a_run_can_be_repeated() {
    let run = || fuzz(&["reply", "lineage", "config", "--seed", "7", "--inputs", "500"]).1;
    let of = |reports: Vec<Value>| -> Vec<_> {
        reports.iter().map(|one| [&one["inputs"], &one["accepted"], &one["outcomes"]].map(Clone::clone)).collect()
    };
    assert_eq!(of(run()), of(run()));
}
