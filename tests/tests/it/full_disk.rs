//! A 16 MiB disk, in a mount namespace of its own.

use std::process::Command;

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
