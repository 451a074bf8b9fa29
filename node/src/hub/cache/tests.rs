//! The cache on this disk: what is taken, what is noticed, what stays.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::hub::look::{Look, look};
use crate::hub::select::{HELPFUL, TEMPLATES};
use crate::hub::talk::tests::recorded;
use crate::hub::{Event, read_settings};

const COMMIT: &str = "1111111111111111111111111111111111111111";
const NAMES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

struct Bench {
    root: TempDir,
    settings: Settings,
    id: HubId,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let cache = root.path().to_owned();
        let get = |name: &str| (name == "HF_HUB_CACHE").then(|| cache.clone().into_os_string());
        let settings = read_settings(get, None).expect("settings");
        Self { root, settings, id: "a/b".parse().expect("an id") }
    }

    /// What comes of something done with the snapshot, and what was said.
    fn with<T>(&self, fresh: Fresh, done: impl FnOnce(&Snapshot) -> T) -> (T, Vec<Event>) {
        let (talk, told) = recorded();
        let result = done(&Snapshot::at(&self.settings, &talk, fresh, &self.id, COMMIT));
        (result, told.take())
    }

    fn add(&self, name: &str) {
        self.with(Fresh::Ask, |snapshot| {
            snapshot.create().expect("writable");
            fs::write(snapshot.blob(&etag(name)), name).expect("writable");
            snapshot.link(name, &etag(name)).expect("linked");
            snapshot.point_to(&self.id).expect("noted");
        });
    }

    fn look(&self, id: &str) -> Look {
        let (talk, _) = recorded();
        look(&self.settings, &id.parse().expect("an id"), Fresh::Cached, &talk).expect("readable")
    }

    #[track_caller]
    fn lacks(&self, says: &str) {
        let look = self.look("a/b");
        assert!(matches!(&look, Look::Lacking(reason) if reason.contains(says)), "{says}: {look:?}");
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join("models--a--b").join(path)
    }
}

/// Each file holds its own name.
fn etag(name: &str) -> String {
    Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_snapshot_is_taken_when_it_is_whole() {
    let bench = Bench::new();
    bench.lacks("nothing of it");
    for name in NAMES {
        if name != NAMES[0] {
            bench.lacks(name);
        }
        bench.add(name);
    }
    let unknown = |id: &str| match bench.look(id) {
        Look::Here(here) => here.unknown,
        Look::Lacking(reason) => panic!("{reason}"),
    };
    let others = [&HELPFUL[..], &[TEMPLATES]].concat();
    assert_eq!(unknown("a/b"), others, "another program fetched these only");
    assert_eq!(unknown(&format!("a/b@{COMMIT}")), others);
    bench.with(Fresh::Ask, |snapshot| {
        HELPFUL.into_iter().for_each(|name| snapshot.note_lacking(name));
        snapshot.note_templates(&NAMES.map(str::to_owned));
        assert_eq!(name_of(snapshot.folder()).as_deref(), Some("a/b"));
        assert_eq!(snapshot.read("config.json", 11).expect("there"), b"config.json");
        assert!(matches!(snapshot.read("config.json", 10), Err(HubError::TooLarge { .. })));
    });
    assert_eq!(unknown("a/b"), [""; 0], "the repository has no more");
    fs::remove_file(bench.at("blobs").join(etag(NAMES[2]))).expect("ours");
    bench.lacks(NAMES[2]);
}

#[test]
fn additional_templates_are_checked_and_missed() {
    let bench = Bench::new();
    NAMES.iter().for_each(|name| bench.add(name));
    let unknown = || match bench.look("a/b") {
        Look::Here(here) => here.unknown.contains(&TEMPLATES),
        Look::Lacking(reason) => panic!("{reason}"),
    };
    let [tools, rag] = ["additional_chat_templates/tool_use.jinja", "additional_chat_templates/rag.jinja"];
    assert!(unknown(), "nobody has said that there are none");
    bench.add(tools);
    assert!(!unknown(), "whoever fetched it fetched them all");
    let blob = bench.at("blobs").join(etag(tools));
    fs::write(&blob, "another template").expect("writable");
    bench.lacks("hashes to");
    fs::remove_file(&blob).expect("ours");
    bench.lacks(tools);
    fs::write(&blob, tools).expect("writable");
    let note = |files: &[&str]| {
        let files: Vec<_> = files.iter().map(|&file| file.to_owned()).collect();
        bench.with(Fresh::Ask, |snapshot| snapshot.note_templates(&files));
    };
    note(&["config.json", tools, rag, "additional_chat_templates/../x.jinja"]);
    bench.lacks(rag);
    bench.add(rag);
    assert!(!unknown());
    // None is known as well as some.
    let folder = bench.at("snapshots").join(COMMIT).join(TEMPLATES);
    fs::remove_dir_all(&folder).expect("ours");
    bench.lacks(TEMPLATES);
    note(&["config.json"]);
    assert!(!unknown());
    fs::write(bench.at(".checked").join(format!("{COMMIT}.templates")), "../../../x.jinja\n").expect("writable");
    assert!(unknown(), "a note that names something else is none");
}

#[test]
fn weights_in_several_files_are_all_needed() {
    let bench = Bench::new();
    NAMES[..2].iter().for_each(|name| bench.add(name));
    bench.add("model-1.safetensors");
    bench.lacks("model.safetensors");
    let index = bench.at("snapshots").join(COMMIT).join("model.safetensors.index.json");
    fs::write(index, r#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#).expect("writable");
    bench.lacks("model-2.safetensors");
    bench.add("model-2.safetensors");
    assert!(matches!(bench.look("a/b"), Look::Here(_)));
}

#[test]
fn a_blob_that_is_not_what_it_is_called_is_noticed() {
    let bench = Bench::new();
    NAMES.iter().for_each(|name| bench.add(name));
    assert!(matches!(bench.look("a/b"), Look::Here(_)));
    let blob = bench.at("blobs").join(etag(NAMES[2]));
    for wrong in ["modeL.safetensors", "model"] {
        fs::write(&blob, wrong).expect("writable");
        bench.lacks("hashes to");
    }
    fs::write(&blob, NAMES[2]).expect("writable");
    assert!(matches!(bench.look("a/b"), Look::Here(_)), "as it was");
}

#[test]
fn what_was_hashed_is_hashed_again_when_it_changed_or_the_hub_is_asked() {
    let bench = Bench::new();
    bench.add(NAMES[2]);
    let held = |fresh| bench.with(fresh, |snapshot| snapshot.holds_blob(&etag(NAMES[2]), 17).expect("readable")).0;
    let (blob, note) = (bench.at("blobs").join(etag(NAMES[2])), bench.at(".checked").join(etag(NAMES[2])));
    let write = |text: &str, day: u64| {
        fs::write(&blob, text).expect("writable");
        let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
        File::options().write(true).open(&blob).expect("there").set_modified(time).expect("ours");
    };
    assert_eq!(held(Fresh::Cached), Held::Right);
    assert!(!note.exists(), "it was written just now");
    write(NAMES[2], 1);
    assert_eq!(held(Fresh::Cached), Held::Right);
    assert!(note.exists());
    write("modeL.safetensors", 2);
    assert!(matches!(held(Fresh::Cached), Held::Wrong(Wrong::Hash { .. })), "another time: hashed anew");
    write("modeL.safetensors", 1);
    assert_eq!(held(Fresh::Cached), Held::Right, "the same length and time: not hashed");
    assert!(matches!(held(Fresh::Ask), Held::Wrong(Wrong::Hash { .. })));
    let (longer, _) = bench.with(Fresh::Cached, |snapshot| snapshot.holds_blob(&etag(NAMES[2]), 18).expect("readable"));
    assert_eq!(longer, Held::Wrong(Wrong::Length { is: 17, wanted: 18 }));
}

#[test]
fn what_was_there_is_set_aside_and_said() {
    let bench = Bench::new();
    bench.add("config.json");
    let part = bench.at("blobs/part");
    fs::write(&part, "new").expect("writable");
    let ((), told) = bench.with(Fresh::Ask, |snapshot| snapshot.place(&part, &etag("config.json")).expect("placed"));
    let aside = bench.at("blobs").join(format!("{}.changed-1", etag("config.json")));
    assert_eq!(fs::read_to_string(&aside).expect("kept"), "config.json");
    assert!(matches!(&told[..], [Event::Note(text)] if text.contains(&aside.display().to_string())), "{told:?}");
    let file = bench.at("snapshots").join(COMMIT).join("config.json");
    assert_eq!(fs::read_to_string(&file).expect("linked"), "new");
    // A file that stands where a link belongs.
    fs::remove_file(&file).expect("ours");
    fs::write(&file, "a person's").expect("writable");
    bench.with(Fresh::Ask, |snapshot| snapshot.link("config.json", &etag("config.json")).expect("linked"));
    assert_eq!(fs::read_to_string(&file).expect("linked"), "new");
    assert_eq!(fs::read_to_string(file.with_file_name("config.json.changed-1")).expect("kept"), "a person's");
}

#[test]
fn a_revision_is_the_commit_that_its_file_names() {
    let bench = Bench::new();
    bench.add("config.json");
    let of = |id: &str| commit(&bench.settings, &id.parse().expect("an id"));
    for (text, is) in [(format!("{COMMIT}\n"), true), (format!(" {COMMIT}\r\n"), true), ("main".to_owned(), false)] {
        fs::write(bench.at("refs/main"), &text).expect("writable");
        assert_eq!(of("a/b").is_some(), is, "{text:?}");
    }
    bench.with(Fresh::Ask, |snapshot| snapshot.point_to(&bench.id).expect("noted"));
    assert_eq!(fs::read_to_string(bench.at("refs/main")).expect("there"), COMMIT, "as the hub's programs write it");
    assert_eq!(of(&format!("a/b@{COMMIT}")).as_deref(), Some(COMMIT));
    assert_eq!(of("a/b@v1"), None);
}

#[test]
fn the_cache_is_tagged_and_locked_as_by_the_hubs_programs() {
    let bench = Bench::new();
    bench.add("config.json");
    let tag = fs::read_to_string(bench.root.path().join("CACHEDIR.TAG")).expect("backups pass over it");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
    bench.with(Fresh::Ask, |snapshot| {
        let _held = snapshot.lock("abc", "config.json").expect("free");
        let path = bench.root.path().join(".locks/models--a--b/abc.lock");
        assert!(File::open(path).expect("there").try_lock().is_err(), "nobody else has it meanwhile");
    });
}

#[test]
fn other_folders_have_no_hub_name() {
    for other in
        ["/models/x", "/c/models--a--b/snapshots/main", "/c/a--b/snapshots/0123456789abcdef0123456789abcdef01234567"]
    {
        assert_eq!(name_of(Path::new(other)), None, "{other}");
    }
}
