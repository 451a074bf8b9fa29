//! Who may: what a daemon makes is its user's alone, whatever the umask and whoever made the home before.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use potluck_tests::kit::text;

use crate::program;

/// Nobody, on every Linux.
const NOBODY: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").mode() & 0o777
}

/// The home is open to a group, and the umask would leave everything open.
#[test]
fn whatever_the_umask_a_daemons_files_are_its_users_alone() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    fs::create_dir(&home).expect("new");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o775)).expect("ours");
    let up = program.command(&home, ["up", "--stop-with-input", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp"]);
    let mut child = Command::new("sh");
    child.args(["-c", r#"umask 000; exec "$@""#, "sh"]).arg(up.get_program()).args(up.get_args());
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().expect("piped")), &mut line)
        .expect("readable");
    assert!(line.contains("potluck.up/1"), "{line}");
    let modes = ["daemon.sock", "state.log", "identity.key", "lock", "potluck-home"].map(|name| mode(&home.join(name)));
    let folders = [".", "index", "tmp", "shards"].map(|name| mode(&home.join(name)));
    let refused = as_nobody(&program, root.path(), &home);
    drop(child.stdin.take());
    child.wait().expect("our child");
    assert_eq!((modes, folders), ([0o600; 5], [0o700; 4]));
    if let Some(refused) = refused {
        assert_ne!(refused.status.code(), Some(0));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert!(said.contains("another user") && !said.contains("4711"), "{said}");
    }
}

/// Another user asks that daemon for a file of its owner's; only root can try.
fn as_nobody(program: &potluck_tests::kit::Program, root: &Path, home: &Path) -> Option<std::process::Output> {
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        eprintln!("skipped: only root can become another user");
        return None;
    }
    let secret = root.join("secret.jsonl");
    fs::write(&secret, "{\"prompt\":\"my pin is\",\"completion\":\"4711\"}\n").expect("writable");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut command = program.command(home, ["data", "check", &text(&secret), "--base", "tiny"]);
    match command.uid(NOBODY).gid(0).output() {
        Ok(output) => Some(output),
        // The program lies where only root may go.
        Err(error) => {
            eprintln!("skipped: another user cannot run the program ({error})");
            None
        }
    }
}

#[test]
fn what_is_no_home_of_ours_says_so() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let file = root.path().join("file");
    fs::write(&file, "x").expect("writable");
    let refused = program.run(&file, ["status"]);
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(refused.stderr.contains("is not a folder"), "{refused:#?}");
}

/// A home whose path is too long for a socket has it in the temporary folder, which each process may see elsewhere.
#[test]
fn a_client_with_another_temporary_folder_finds_the_daemon() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("h".repeat(120));
    let others = ["one", "two"].map(|name| root.path().join(name));
    for folder in &others {
        fs::create_dir(folder).expect("new");
    }
    let args = ["up", "--stop-with-input", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp"];
    let up = program.up_with(&home, &args, &[("TMPDIR", &text(&others[0]))]);
    let status = program.command(&home, ["status"]).env("TMPDIR", &others[1]).output().expect("it starts");
    let status = potluck_tests::kit::answer(status);
    assert_eq!((status.code, status.json["peer"].as_str()), (0, Some(up.peer.as_str())), "{status:#?}");
    up.stop();
}
