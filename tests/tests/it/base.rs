//! A base from the swarm by its id: with tokenizer and template, from whoever has it, only what differs; and never one
//! that is not what its id says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::shard::Cut;
use potluck_tests::bases::{self, Lie};
use potluck_tests::kit::{Program, Up, text};
use serde_json::Value;

use crate::program;

const CHANGED: [&str; 1] = ["model.norm.weight"];

struct Bench {
    program: Program,
    root: tempfile::TempDir,
    network: &'static str,
}

impl Bench {
    fn new(network: &'static str) -> Self {
        Self { program: program(), root: tempfile::tempdir().expect("a folder"), network }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn up(&self, name: &str, bootstrap: &[&Up]) -> Up {
        let addresses: Vec<_> = bootstrap.iter().map(|up| up.address.as_str()).collect();
        self.program.up(&self.home(name), self.network, &addresses)
    }

    /// Publishes a folder as a base; base id and manifest id.
    fn publish(&self, home: &str, folder: &Path, name: &str) -> (String, String) {
        let args = ["publish", "--base", &text(folder), "--name", name, "--licence", "Apache-2.0"].map(str::to_owned);
        let published = self.program.ok(&self.home(home), args);
        (field(&published, "base"), field(&published, "manifest"))
    }

    fn folder(&self, name: &str, changed: &[&str], seed: u8) -> PathBuf {
        let folder = self.root.path().join(name);
        bases::write(&folder, changed, seed);
        folder
    }

    /// The base must be refused with this code, and leave nothing that could be taken for a base.
    #[track_caller]
    fn refused(&self, home: &str, id: &str, code: i32, says: &str) {
        let answer = self.program.run(&self.home(home), ["base", "add", id, "--timeout", "20"]);
        assert_eq!(answer.code, code, "{answer:#?}");
        assert!(answer.stderr.contains(says) && !answer.stderr.contains("panicked"), "`{says}`: {answer:#?}");
        let known = self.program.ok(&self.home(home), ["base", "list"]);
        assert_eq!(known["bases"].as_array().map(Vec::len), Some(1), "tiny alone: {known}");
        for folder in ["bases", "tmp"] {
            assert_eq!(fs::read_dir(self.home(home).join(folder)).map_or(0, Iterator::count), 0, "{folder}");
        }
    }
}

fn field(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
}

#[test]
fn a_base_comes_from_the_swarm_by_its_id_with_all_it_needs() {
    let bench = Bench::new("base");
    let folder = bench.folder("original", &CHANGED, 1);
    let first = bench.up("one", &[]);
    let (base, manifest) = bench.publish("one", &folder, "small");
    let second = bench.up("two", &[&first]);

    let added = bench.program.ok(&bench.home("two"), ["base", "add", &base]);
    assert_eq!((field(&added, "base"), field(&added, "name")), (base.clone(), "small".to_owned()));
    let place = PathBuf::from(field(&added, "place"));
    assert!(place.starts_with(bench.home("two")), "{added}");
    for (name, bytes) in bases::files(&CHANGED, 1) {
        let fetched = fs::read(place.join(name)).expect("there");
        match name {
            "config.json" => assert!(!String::from_utf8_lossy(&fetched).contains("secret"), "a path stays at home"),
            _ => assert_eq!(fetched, bytes, "{name}"),
        }
    }
    // The template came with it, and both nodes say the same.
    let say = |home: &str, base: &str| {
        bench.program.ok(&bench.home(home), ["generate", "--base", base, "--chat", "--max-new-tokens", "4", "hi"])
    };
    assert_eq!(field(&say("two", &base), "text"), field(&say("one", &text(&folder)), "text"));
    train(&bench, "two", &base);
    assert_eq!(field(&bench.program.ok(&bench.home("two"), ["verify", &manifest]), "kind"), "base");
    let again = bench.program.ok(&bench.home("two"), ["base", "add", &base]);
    assert_eq!(field(&again, "place"), field(&added, "place"));

    // Its publisher goes; who fetched it hands it on: to a command without a daemon, and to one that only names the base.
    first.stop();
    let third = ["base", "add", &base, "--network", "base", "--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap"];
    let third = bench.program.ok(&bench.home("three"), third.iter().copied().chain([second.address.as_str()]));
    assert_eq!(field(&third, "base"), base);
    let _fourth = bench.up("four", &[&second]);
    let generated = bench.program.ok(&bench.home("four"), ["generate", "--base", &base, "--max-new-tokens", "2", "hi"]);
    assert!(generated["text"].is_string(), "{generated}");
    // And by its manifest, as a folder of one's own.
    let _fifth = bench.up("five", &[&second]);
    let out = bench.root.path().join("out");
    let pulled = bench.program.ok(&bench.home("five"), ["pull", &manifest, "--out", &text(&out)]);
    assert_eq!(field(&pulled, "base"), base);
    assert_eq!(fs::read(out.join("model.safetensors")).expect("there"), bases::model(&CHANGED, 1));
}

fn train(bench: &Bench, home: &str, base: &str) {
    let data = bench.root.path().join("rows.jsonl");
    fs::write(&data, "{\"prompt\":\"a\",\"completion\":\"b\"}\n").expect("writable");
    let out = bench.root.path().join("trained");
    let (data, out) = (text(&data), text(&out));
    bench.program.ok(&bench.home(home), ["train", "--base", base, "--data", &data, "--out", &out, "--max-steps", "1"]);
}

#[test]
fn a_gguf_file_is_a_base_of_the_swarm_too() {
    let bench = Bench::new("gguf");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/fixtures/gguf/tiny.gguf");
    let first = bench.up("one", &[]);
    let (base, _) = bench.publish("one", &file, "quantised");
    let _second = bench.up("two", &[&first]);
    let added = bench.program.ok(&bench.home("two"), ["base", "add", &base, "--name", "mine"]);
    assert_eq!((field(&added, "base"), field(&added, "name")), (base, "mine".to_owned()));
    assert!(field(&added, "place").ends_with("model.gguf"), "{added}");
    assert_eq!(fs::read(field(&added, "place")).expect("there"), fs::read(file).expect("there"));
}

/// Bytes of distinct shards that `new` has and `old` has not, by the cut rule: what must travel of a file.
fn differing(old: &[u8], new: &[u8]) -> u64 {
    let shards = |bytes: &[u8]| {
        let (_, pieces) = Cut::choose("x.safetensors", bytes, bytes.len());
        let mut begin = 0;
        let cut = pieces.into_iter().map(|len| {
            let piece = &bytes[begin..begin + len as usize];
            begin += len as usize;
            (Digest::of(piece), u64::from(len))
        });
        cut.collect::<BTreeMap<_, _>>()
    };
    let old = shards(old);
    shards(new).iter().filter(|(id, _)| !old.contains_key(id)).map(|(_, len)| len).sum()
}

/// A table of so many shards as it travels: the cut, the count, and 36 bytes for each.
fn table_len(bytes: &[u8]) -> u64 {
    let (_, pieces) = Cut::choose("x.safetensors", bytes, bytes.len());
    4 + 8 + 36 * pieces.len() as u64
}

#[test]
fn only_what_differs_of_a_new_version_travels() {
    let bench = Bench::new("versions");
    let tensor = "model.layers.3.mlp.up_proj.weight";
    let (old, new) = (bench.folder("old", &CHANGED, 1), bench.folder("new", &[CHANGED[0], tensor], 1));
    let first = bench.up("one", &[]);
    let ids = [(&old, "small-1"), (&new, "small-2")].map(|(folder, name)| bench.publish("one", folder, name).0);
    let _second = bench.up("two", &[&first]);
    let fetched = ids.map(|id| bench.program.ok(&bench.home("two"), ["base", "add", &id])["fetched_bytes"].as_u64());
    let [old, new] = [old, new].map(|folder| fs::read(folder.join("model.safetensors")).expect("there"));
    let expected = differing(&old, &new) + table_len(&new);
    println!("a base of {} bytes, one tensor changed: {:?} bytes travelled of {:?}", new.len(), fetched[1], fetched[0]);
    assert!(fetched[0] > Some(new.len() as u64), "the first one came whole");
    assert_eq!(fetched[1], Some(expected), "the tensor's shards and the table");
    assert_eq!(expected - table_len(&new), 180_224, "one tensor");
}

#[test]
fn only_what_differs_of_a_second_adapter_travels() {
    let bench = Bench::new("shared");
    let (one, two) = (bench.home("adapter"), bench.home("second"));
    let data = bench.root.path().join("rows.jsonl");
    fs::write(&data, "{\"prompt\":\"a\",\"completion\":\"b\"}\n").expect("writable");
    let args = ["train", "--base", "tiny", "--data", &text(&data), "--out", &text(&one), "--max-steps", "1"];
    // A rank at which a factor is a shard of its own.
    let args: Vec<_> = args.iter().copied().chain(["--r", "128", "--lora-alpha", "128"]).collect();
    bench.program.ok(&bench.home("one"), args);
    fs::create_dir(&two).expect("new");
    fs::copy(one.join("adapter_config.json"), two.join("adapter_config.json")).expect("copied");
    fs::copy(one.join("potluck.json"), two.join("potluck.json")).expect("copied");
    let mut model = fs::read(one.join("adapter_model.safetensors")).expect("there");
    let last = model.len() - 4;
    model[last] ^= 1;
    fs::write(two.join("adapter_model.safetensors"), model).expect("writable");

    let first = bench.up("one", &[]);
    let publish = |folder: &Path, name: &str| {
        field(&bench.program.ok(&bench.home("one"), ["publish", &text(folder), "--name", name]), "manifest")
    };
    let ids = [publish(&one, "first"), publish(&two, "second")];
    let _second = bench.up("two", &[&first]);
    let pulled = ids.map(|id| bench.program.ok(&bench.home("two"), ["pull", &id]));
    let read = |answer: &Value| fs::read(Path::new(&field(answer, "folder")).join("adapter_model.safetensors"));
    let [old, new] = pulled.each_ref().map(|answer| read(answer).expect("there"));
    let fetched = pulled.each_ref().map(|answer| answer["fetched_bytes"].as_u64());
    let expected = differing(&old, &new) + table_len(&new);
    println!(
        "an adapter of {} bytes, one value changed: {:?} bytes travelled of {:?}",
        new.len(),
        fetched[1],
        fetched[0]
    );
    assert_eq!(fetched[1], Some(expected), "the factor's shard and the table");
    assert!(expected < new.len() as u64 / 10, "{expected} of {}", new.len());
}

#[test]
fn a_publication_that_is_not_the_base_is_refused() {
    let bench = Bench::new("lies");
    // The id of the true base, which nobody offers here.
    let folder = bench.folder("true", &CHANGED, 1);
    let base: BaseId = field(&bench.program.ok(&bench.home("honest"), ["base", "show", &text(&folder)]), "base")
        .parse()
        .expect("an id");
    let lies = [
        (Lie::OtherWeights, "its files are base"),
        (Lie::NoTokenizer, "tokenizer.json"),
        (Lie::WrongDigest, "hashes to something else"),
        (Lie::NoLicence, "licence"),
        (Lie::Pickle, "not a file of a base"),
        (Lie::OtherShapes, "architecture"),
    ];
    for (lie, says) in lies {
        let [liar, puller] = ["liar", "puller"].map(|name| format!("{name}-{lie:?}"));
        bases::lie(&bench.home(&liar), base, lie);
        let liar = bench.up(&liar, &[]);
        let _puller = bench.up(&puller, &[&liar]);
        bench.refused(&puller, &base.to_string(), 4, says);
    }
}

#[test]
fn beside_a_liar_an_honest_publisher_is_found() {
    let bench = Bench::new("beside");
    let folder = bench.folder("true", &CHANGED, 1);
    let honest = bench.up("honest", &[]);
    let (base, manifest) = bench.publish("honest", &folder, "small");
    // Whichever is tried first.
    bases::lie(&bench.home("liar"), base.parse().expect("an id"), Lie::NoTokenizer);
    let liar = bench.up("liar", &[&honest]);
    let _puller = bench.up("puller", &[&liar, &honest]);
    let search = || bench.program.ok(&bench.home("puller"), ["search", "--kind", "base", "--base", &base]);
    let both = || search()["results"].as_array().map(Vec::len) == Some(2);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !both() && Instant::now() < deadline {}
    assert!(both(), "both are heard of");
    let added = bench.program.ok(&bench.home("puller"), ["base", "add", &base]);
    assert_eq!(field(&added, "base"), base);
    assert_eq!(field(&bench.program.ok(&bench.home("puller"), ["show", &manifest]), "state"), "here, checked");
}

#[test]
fn a_strangers_name_takes_no_name_away() {
    let bench = Bench::new("names");
    let (mine, theirs) = (bench.folder("mine", &CHANGED, 1), bench.folder("theirs", &CHANGED, 2));
    let first = bench.up("one", &[]);
    let (base, _) = bench.publish("one", &theirs, "small");
    let _second = bench.up("two", &[&first]);
    let own = bench.program.ok(&bench.home("two"), ["base", "add", &text(&mine), "--name", "small"]);
    let added = bench.program.ok(&bench.home("two"), ["base", "add", &base]);
    assert_eq!(field(&added, "name"), format!("small-{}", &base[..12]));
    assert_eq!(field(&bench.program.ok(&bench.home("two"), ["base", "show", "small"]), "base"), field(&own, "base"));
    // A base is never fetched by a name that its publisher chose.
    let by_name = bench
        .program
        .run(&bench.home("three"), ["pull", "small", "--network", "x", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(by_name.code, 3, "{by_name:#?}");
}

#[test]
fn what_cannot_be_had_or_published_says_what_to_type() {
    let bench = Bench::new("none");
    let nobody = "ab".repeat(32);
    let run = |args: &[&str]| bench.program.run(&bench.home("one"), args);
    let says = |args: &[&str], code: i32, text: &str| {
        let answer = run(args);
        assert_eq!(answer.code, code, "{args:?}: {answer:#?}");
        assert!(answer.stderr.contains(text), "`{text}`: {answer:#?}");
    };
    let online = ["--network", "none", "--listen", "/ip4/127.0.0.1/tcp/0", "--timeout", "1"];
    says(&[&["base", "add", &nobody][..], &online].concat(), 3, "potluck base add PATH | OWNER/NAME");
    says(&["generate", "--base", &nobody, "hi"], 5, &format!("potluck base add {nobody} --bootstrap ADDRESS"));
    says(&["search"], 5, "potluck up --bootstrap ADDRESS");
    says(&["publish", "--base", "tiny", "--name", "x", "--licence", "MIT"], 2, "everybody has it");
    let folder = text(&bench.folder("base", &CHANGED, 1));
    says(&["publish", "--base", &folder, "--name", "x"], 2, "--licence");
    says(&["publish", "--name", "x"], 2, "FOLDER");
    fs::remove_file(Path::new(&folder).join("tokenizer.json")).expect("ours");
    says(&["publish", "--base", &folder, "--name", "x", "--licence", "MIT"], 3, "tokenizer.json");
}

/// A small disk: the home of who wants the base, in a mount namespace of its own.
#[test]
fn a_base_that_does_not_fit_the_disk_is_not_begun() {
    let bench = Bench::new("room");
    let first = bench.up("one", &[]);
    let (base, _) = bench.publish("one", &bench.folder("original", &CHANGED, 1), "small");
    let disk = bench.root.path().join("disk");
    fs::create_dir(&disk).expect("new");
    let script = r#"disk=$1; shift; mount -t tmpfs -o size=16m tmpfs "$disk" || exit 77; "$@"; code=$?
        [ $(find "$disk/home/shards" -type f | wc -l) = 0 ] || { echo "shards were fetched" >&2; exit 1; }; exit $code"#;
    let args =
        ["base", "add", &base, "--network", "room", "--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", &first.address];
    let add = bench.program.command(&disk.join("home"), args);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).arg(&disk).arg(add.get_program()).args(add.get_args());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: `unshare` does not start ({error})"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        return eprintln!("skipped: no mount namespace or tmpfs is allowed here: {errors}");
    }
    assert_eq!(output.status.code(), Some(7), "{errors}");
    assert!(errors.contains("are needed and"), "{errors}");
}
