//! An answer that is empty is told of: a person who sees nothing does not know whether anything ran.

use std::fs;
use std::path::Path;
use std::process::Command;

use potluck_tests::bases;
use potluck_tests::kit::{Answer, Program, answer, text};
use potluck_trainer::tiny;

use crate::program;

/// A base that ends every answer at once: each of its tokens is an end.
fn mute(folder: &Path, template: bool) {
    bases::write(folder, &["model.norm.weight"], 1);
    let tokens: Vec<u32> = (0..tiny::architecture().vocab_size).collect();
    let ends = serde_json::json!({ "eos_token_id": tokens });
    fs::write(folder.join("generation_config.json"), ends.to_string()).expect("writable");
    if !template {
        fs::remove_file(folder.join("chat_template.jinja")).expect("there");
    }
}

/// As a person runs it, without progress.
fn quietly(program: &Program, home: &Path, args: &[&str]) -> Answer {
    let bare = program.command(home, [""; 0]);
    let mut command = Command::new(bare.get_program());
    answer(command.arg("--home").arg(home).arg("--quiet").args(args).output().expect("it starts"))
}

#[test]
fn an_empty_answer_is_told_of_with_what_may_give_one() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, chat, plain) = (root.path().join("home"), root.path().join("chat"), root.path().join("plain"));
    mute(&chat, true);
    mute(&plain, false);
    let (chat, plain) = (text(&chat), text(&plain));
    for (args, says, points) in [
        (&["generate", "--base", &chat, "hi"][..], "ask it with --chat", true),
        (&["generate", "--base", &chat, "--chat", "hi"], "the model ended it at once", false),
        (&["generate", "--base", &plain, "hi"], "a finished text", false),
    ] {
        let answer = program.run(&home, args);
        assert_eq!((answer.code, &answer.json["text"]), (0, &"".into()), "{answer:#?}");
        let remark = answer.json["remark"].as_str().expect("a remark").to_owned();
        assert!(remark.contains(says) && remark.contains("--chat") == points, "{remark}");
        let typed = quietly(&program, &home, args);
        assert_eq!((typed.code, typed.stdout.as_str()), (0, "\n"), "{typed:#?}");
        assert!(typed.stderr.contains(&remark), "{typed:#?}");
    }
    let spoken = program.ok(&home, ["generate", "--base", "tiny", "--max-new-tokens", "4", "a"]);
    assert!(spoken["remark"].is_null(), "{spoken}");
}
