//! What a verb answers reaches whoever asked, or is an error: a full disk behind standard output, a command line that is wrong.

use std::fs::File;
use std::process::Command;

use crate::program;

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let home = tempfile::tempdir().expect("a folder");
    for json in [&["--json"][..], &[]] {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        let mut command = Command::new(env!("CARGO_BIN_EXE_potluck-under-test"));
        let ended =
            command.arg("--home").arg(home.path()).args(json).arg("status").stdout(full).output().expect("runs");
        assert_eq!(ended.status.code(), Some(7), "{json:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn a_wrong_command_line_is_one_json_object() {
    let home = tempfile::tempdir().expect("a folder");
    for wrong in [&["pull"][..], &["no-such-verb"], &["status", "--no-such-flag"], &["train", "--r", "x"]] {
        let answer = program().run(home.path(), wrong);
        assert_eq!((answer.code, answer.json["code"].as_u64()), (2, Some(2)), "{wrong:?}: {}", answer.stdout);
        assert!(answer.json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{wrong:?}");
    }
}
