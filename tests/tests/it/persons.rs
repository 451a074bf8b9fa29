//! A person's files are theirs: whatever a verb does, what potluck did not write or what was changed since stays.

use std::fs;
use std::path::Path;

use potluck_tests::kit::{copy_folder, text, train_adapter};

use crate::program;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("below a folder")).expect("writable");
    fs::write(path, text).expect("writable");
}

/// A data folder given as a home by mistake, by any verb.
#[test]
fn a_folder_that_is_no_home_is_refused_and_nothing_in_it_goes() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let data = root.path().join("data");
    write(&data.join("tmp/thesis/chapter1.tex"), "work");
    write(&data.join("staged/results.csv"), "rows");
    for verb in [&["status"][..], &["peers"], &["store", "stat"], &["base", "list"], &["network", "new-key"], &["up"]] {
        let refused = program.run(&data, verb);
        assert_eq!(refused.code, 2, "{verb:?}: {refused:#?}");
        assert!(refused.stderr.contains("not a potluck home") && refused.stderr.contains("--home"), "{refused:#?}");
    }
    assert_eq!(fs::read_to_string(data.join("tmp/thesis/chapter1.tex")).expect("there"), "work");
    assert_eq!(fs::read_to_string(data.join("staged/results.csv")).expect("there"), "rows");
    assert_eq!(fs::read_dir(&data).expect("readable").count(), 2, "nothing came");
}

#[cfg(unix)]
#[test]
fn links_in_a_home_are_not_followed_to_remove() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, other) = (root.path().join("home"), root.path().join("other"));
    program.make_home(&home);
    for (folder, name) in [("tmp", "file.0"), ("staged", "keep.txt")] {
        write(&other.join(folder).join(name), "keep");
        fs::remove_dir(home.join(folder)).expect("empty");
        std::os::unix::fs::symlink(other.join(folder), home.join(folder)).expect("writable");
    }
    program.ok(&home, ["status"]);
    assert!(other.join("tmp/file.0").exists() && other.join("staged/keep.txt").exists());
    let new = root.path().join("new");
    fs::create_dir(&new).expect("writable");
    std::os::unix::fs::symlink(&other, new.join("tmp")).expect("writable");
    assert_eq!(program.run(&new, ["status"]).code, 2);
    assert!(other.join("tmp/file.0").exists());
}

/// `pull` prints the folder in the home as its result: from then on a person may have changed it.
#[test]
fn a_changed_adapter_of_the_home_is_set_aside_and_said() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, adapter) = (root.path().join("home"), root.path().join("adapter"));
    train_adapter(&program, &home, &adapter, 3);
    let published = program.ok(&home, ["publish", &text(&adapter), "--name", "x", "--base", "tiny"]);
    let id = published["manifest"].as_str().expect("an id").to_owned();
    let generate = ["generate", "--base", "tiny", "--adapter", "x", "a", "--max-new-tokens", "1"];
    program.ok(&home, generate);
    let folder = home.join("adapters").join(&id);
    write(&folder.join("README.md"), "mine");
    program.ok(&home, generate);
    assert!(folder.join("README.md").exists(), "a file beside those of potluck is no change of them");
    let config = folder.join("adapter_config.json");
    let edited = fs::read_to_string(&config).expect("there").replace("CAUSAL_LM", "CAUSAL_LM ");
    fs::write(&config, &edited).expect("writable");
    let again = program.run(&home, generate);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stderr.contains(&format!("{id}.changed-1")), "it is said: {again:#?}");
    let aside = home.join("adapters").join(format!("{id}.changed-1"));
    assert_eq!(fs::read_to_string(aside.join("adapter_config.json")).expect("kept"), edited);
    assert_eq!(fs::read_to_string(aside.join("README.md")).expect("kept"), "mine");
    assert_ne!(fs::read_to_string(&config).expect("written again"), edited);
}

/// `--out` is refused before anything is done, with the same code by every verb.
#[test]
fn a_full_output_folder_is_refused_first_and_kept() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, adapter) = (root.path().join("home"), root.path().join("adapter"));
    train_adapter(&program, &home, &adapter, 3);
    let (full, a) = (root.path().join("full"), text(&adapter));
    copy_folder(&adapter, &full);
    write(&full.join("notes.txt"), "mine");
    let before = fs::read_dir(&full).expect("readable").count();
    // None of these references is known: had it been looked for first, that would be the answer.
    let out = text(&full);
    for verb in [
        &["pull", "nobody-has-this", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp"][..],
        &["merge", "--base", "no-such-base", &a, &a],
        &["merge", "--fold", "--base", "no-such-base", &a],
        &["train", "--base", "no-such-base", "--data", "no-such-file"],
        &["channel", "export", "no-such-channel"],
    ] {
        let refused = program.run(&home, verb.iter().copied().chain(["--out", &out]));
        assert_eq!(refused.code, 9, "{verb:?}: {refused:#?}");
        assert!(refused.stderr.contains("choose another"), "{refused:#?}");
    }
    assert_eq!(fs::read_dir(&full).expect("readable").count(), before);
}

/// A volume's mount point, and a link to an empty folder, are filled; so is the folder that the command runs in.
#[cfg(unix)]
#[test]
fn an_empty_output_folder_is_filled_and_not_replaced() {
    use std::os::unix::fs::MetadataExt;
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, adapter) = (root.path().join("home"), root.path().join("adapter"));
    train_adapter(&program, &home, &adapter, 3);
    let (real, link, here) = (root.path().join("real"), root.path().join("link"), root.path().join("here"));
    for folder in [&real, &here] {
        fs::create_dir(folder).expect("new");
    }
    std::os::unix::fs::symlink(&real, &link).expect("writable");
    let a = text(&adapter);
    program.ok(&home, ["merge", "--base", "tiny", &a, &a, "--out", &text(&link)]);
    assert!(link.is_symlink() && real.join("adapter_model.safetensors").exists());
    let inode = fs::metadata(&here).expect("there").ino();
    let command = &mut program.command(&home, ["merge", "--base", "tiny", &a, &a, "--out", "."]);
    assert!(command.current_dir(&here).output().expect("it starts").status.success());
    assert_eq!(fs::metadata(&here).expect("there").ino(), inode, "the shell's folder is still the one");
    assert_eq!(fs::read_dir(&here).expect("readable").count(), 3, "two files of PEFT, and which base they are of");
    let disk = root.path().join("disk");
    fs::create_dir(&disk).expect("new");
    let script = r#"mount -t tmpfs tmpfs "$1" || exit 77; disk=$1; shift; "$@" && [ -e "$disk/adapter_config.json" ]"#;
    let merge = program.command(&home, ["merge", "--base", "tiny", &a, &a, "--out", &text(&disk)]);
    let mut within = std::process::Command::new("unshare");
    within.args(["-rm", "sh", "-c", script, "sh"]).arg(&disk).arg(merge.get_program()).args(merge.get_args());
    let output = match within.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: `unshare` does not start ({error})"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        return eprintln!("skipped: no mount namespace or tmpfs is allowed here: {errors}");
    }
    assert!(output.status.success(), "{errors}");
}
