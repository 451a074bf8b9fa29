//! A worker as the daemon starts it is confined by the kernel to the files of its job.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};

use potluck_node::worker::confined;
use potluck_node::worker::proto::{BaseSource, BenchStepSettings, BenchTokens, BenchWork, Engine, Job, Task};
use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::recipe::Recipe;
use potluck_protocol::tensor::DType;
use potluck_trainer::model::block::Recompute;
use serde_json::{Value, json};

use crate::program;

fn start(home: &Path, task: Task) -> Child {
    let mut command = program().command(home, ["worker"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    writeln!(child.stdin.as_mut().expect("a pipe"), "{}", json!(Job { threads: 2, task })).expect("it reads");
    child
}

/// The last line that a worker writes; of one that failed, the error of its command line.
fn answer(home: &Path, task: Task) -> Value {
    let mut child = start(home, task);
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    child.wait().expect("ours");
    serde_json::from_str(text.lines().last().expect("an answer")).expect("JSON")
}

/// `tiny` as a folder.
fn write_base(home: &Path, out: &Path) {
    let recipe = Recipe::new(BaseId(Digest::of(b"a base")), DType::F32, []).expect("a recipe");
    let fold = Task::Fold { base: BaseSource::Tiny, recipe, folders: Vec::new(), out: Some(out.to_path_buf()) };
    let folded = answer(home, fold);
    assert!(folded["done"].is_object(), "{folded}");
}

fn status(file: &Path, field: &str) -> String {
    let text = fs::read_to_string(file).expect("the worker is alive");
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    value.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

#[test]
fn every_thread_of_a_worker_is_confined_while_it_works() {
    if !confined::probe().expect("it can be tried").calls() {
        eprintln!("NOT CHECKED: this kernel has no seccomp, by which a thread's state could be seen");
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let tokens = BenchTokens::Hashed { batch: 1, seq: 8 };
    let work = BenchWork::Step(BenchStepSettings {
        engine: Engine::default(),
        recompute: Recompute::None,
        tokens,
        rank: 1,
        steps: Some(1_000_000),
        seed: 0,
        threads: 2,
    });
    let mut child = start(root.path(), Task::Bench { base: BaseSource::Tiny, work });
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it reports");
    assert!(line.contains("progress"), "{line}");
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).expect("the worker is alive");
    let threads: Vec<_> = threads.map(|thread| thread.expect("one").path().join("status")).collect();
    assert!(threads.len() > 2, "one that works, one that hears signals, one that listens to the parent");
    for thread in &threads {
        assert_eq!((status(thread, "NoNewPrivs:"), status(thread, "Seccomp:")), ("1".to_owned(), "2".to_owned()));
    }
    drop(child.stdin.take());
    output.read_to_string(&mut line).expect("it ends");
    child.wait().expect("ours");
}

/// A folder that a base links to was not named to the worker. Whoever made the base's files could have it read there.
#[test]
fn a_worker_opens_nothing_that_its_job_did_not_name() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    write_base(&at("home"), &at("base"));
    fs::create_dir(at("elsewhere")).expect("writable");
    fs::write(at("elsewhere/rag.jinja"), "{{ messages }}").expect("writable");
    symlink(at("elsewhere"), at("base/additional_chat_templates")).expect("writable");
    let described = answer(&at("home"), Task::Describe { base: BaseSource::Path(at("base")) });
    if confined::probe().expect("it can be tried").files() {
        let message = described["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("additional_chat_templates") && message.contains("Permission denied"), "{described}");
    } else {
        eprintln!("NOT CHECKED: this kernel has no landlock; the worker reads what its user can read");
        assert!(described["done"].is_object(), "{described}");
    }
}

/// As the hub's cache has them.
#[test]
fn a_worker_reads_a_base_whose_files_are_links() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    write_base(&at("home"), &at("blobs"));
    fs::create_dir_all(at("snapshots/main")).expect("writable");
    for entry in fs::read_dir(at("blobs")).expect("there") {
        let name = entry.expect("one").file_name();
        let blob = Path::new("../../blobs").join(&name);
        symlink(blob, at("snapshots/main").join(name)).expect("writable");
    }
    symlink(at("snapshots/main"), at("base")).expect("writable");
    for base in ["snapshots/main", "base"] {
        let described = answer(&at("home"), Task::Identify { base: BaseSource::Path(at(base)) });
        assert!(described["done"].is_object(), "{described}");
    }
}
