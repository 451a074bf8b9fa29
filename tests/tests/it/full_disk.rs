//! Small disks, each in a mount namespace of its own.

use std::fs;
use std::process::Command;

use potluck_tests::kit::{text, train_adapter};

use crate::program;

#[test]
fn a_full_disk_is_an_error_and_costs_nothing_that_was_acknowledged() {
    let disk = tempfile::tempdir().expect("a folder");
    let script = r#"mount -t tmpfs -o size=16m tmpfs "$1" || exit 77; exec "$2" full-disk-child "$1""#;
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(env!("CARGO_BIN_EXE_potluck-tests"))
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: `unshare` does not start ({error})"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        return eprintln!("skipped: no mount namespace or tmpfs is allowed here: {errors}");
    }
    assert!(output.status.success(), "{errors}");
}

/// A disk for one checkpoint and a half: the second one does not fit. The command ends with the code for no space, the
/// first checkpoint is whole, and with more space the same command goes on from it to the same bits.
#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_one_before_it() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let [home, expected, disk] = ["home", "expected", "disk"].map(|name| root.path().join(name));
    train_adapter(&program, &home, &expected, 3);
    fs::create_dir(&disk).expect("new");
    let factors = fs::read(expected.join("adapter_model.safetensors")).expect("an adapter");
    let script = r#"
        disk=$1 size=$2 kept=$3; shift 3
        mount -t tmpfs -o size="$size" tmpfs "$disk" || exit 77
        "$@"; code=$?
        [ "$code" = 7 ] || { echo "a full disk gave $code" >&2; exit 1; }
        [ -e "$disk/out.run/last.checkpoint" ] && [ ! -e "$disk/out" ] || { echo "no checkpoint is left" >&2; exit 1; }
        [ ! -e "$disk/out.run/last.checkpoint.tmp" ] || { echo "half a checkpoint is left" >&2; exit 1; }
        mount -o remount,size=64m "$disk" && "$@" && cp "$disk/out/adapter_model.safetensors" "$kept"
    "#;
    let (kept, out, data) =
        (root.path().join("kept"), text(&disk.join("out")), text(&expected.with_extension("jsonl")));
    // A checkpoint has the factors and two moments of each.
    let size = (factors.len() * 9 / 2).to_string();
    let train =
        ["train", "--base", "tiny", "--data", &data, "--out", &out, "--max-steps", "3", "--r", "4", "--seed", "3"];
    let train = train.iter().chain(&["--learning-rate", "1e-3", "--warmup-steps", "0", "--checkpoint-every", "1"]);
    let train = program.command(&home, train);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).args([&text(&disk), &size, &text(&kept)]);
    let output = match command.arg(train.get_program()).args(train.get_args()).output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: `unshare` does not start ({error})"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        return eprintln!("skipped: no mount namespace or tmpfs is allowed here: {errors}");
    }
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("goes on from step 1"), "{errors}");
    assert_eq!(fs::read(&kept).expect("an adapter"), factors);
}
