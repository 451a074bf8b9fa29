//! `kill -9` of the process that writes a folded base, at seeded moments: the folder is there whole or not at all, and
//! what the dead left is gone after the next.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use potluck_node::worker::proto::{BaseSource, Job, Task};
use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::recipe::Recipe;
use potluck_protocol::tensor::DType;
use potluck_tests::crash::draw;
use potluck_trainer::base::Base;
use serde_json::{Value, json};

use crate::program;

const KILLS: u64 = 24;
/// From the start of a process to some time after it is done.
const MICROS: u64 = 60_000;

/// A worker as the daemon starts it, with `tiny` to be written to `out`.
fn worker(home: &Path, out: &Path) -> Child {
    let mut command = program().command(home, ["worker"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let recipe = Recipe::new(BaseId(Digest::of(b"a base")), DType::F32, []).expect("a recipe");
    let fold = Task::Fold { base: BaseSource::Tiny, recipe, folders: Vec::new(), out: Some(out.to_path_buf()) };
    let job = json!(Job { threads: 1, task: fold });
    let input = child.stdin.as_mut().expect("a pipe");
    writeln!(input, "{job}").expect("it reads");
    child
}

fn id_of(out: &Path) -> BaseId {
    Base::open(out).expect("whole").id().expect("an id")
}

#[test]
fn a_folder_is_there_whole_or_not_at_all() {
    let root = tempfile::tempdir().expect("a folder");
    let (home, folders) = (root.path().join("home"), root.path().join("folders"));
    let out = folders.join("folded");
    let mut appeared = 0;
    for kill in 0..KILLS {
        let mut child = worker(&home, &out);
        // The moment itself is what is tested: nothing tells when it has come.
        std::thread::sleep(Duration::from_micros(draw(&format!("fold {kill}"), MICROS)));
        child.kill().expect("ours");
        child.wait().expect("ours");
        if out.exists() {
            appeared += 1;
            id_of(&out);
            std::fs::remove_dir_all(&out).expect("ours");
        }
    }
    let mut child = worker(&home, &out);
    let mut answer = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut answer).expect("text");
    assert!(child.wait().expect("ours").success(), "{answer}");
    let answer: Value = serde_json::from_str(answer.lines().last().expect("an answer")).expect("JSON");
    assert_eq!(answer["done"]["base"], json!(id_of(&out)), "{answer}, after {appeared} that were whole");
    let names: Vec<_> =
        std::fs::read_dir(&folders).expect("there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["folded"], "what the dead left is gone");
}
