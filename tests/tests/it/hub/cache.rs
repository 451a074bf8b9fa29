//! What lies in the hub's cache: used as it is when it is right, fetched anew when it is not, and a person's files stay.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;

/// The blob of a file of the snapshot.
fn blob(bench: &Bench, name: &str) -> PathBuf {
    fs::canonicalize(bench.file(name)).expect("a link to a blob")
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).expect("writable");
}

fn truncate(path: &Path) {
    let len = fs::metadata(path).expect("there").len();
    fs::OpenOptions::new().write(true).open(path).expect("writable").set_len(len / 2).expect("shorter");
}

/// In whatever way a file is wrong, the command that finds it fetches it, and the old one is still there.
#[test]
fn a_wrong_blob_is_fetched_anew_and_kept_aside() {
    for (name, spoil) in
        [(MODEL, truncate as fn(&Path)), (MODEL, flip), ("config.json", flip), ("tokenizer.json", truncate)]
    {
        let bench = Bench::new();
        let first = bench.add(Manner::Plain);
        let (blob, good) = (blob(&bench, name), fs::read(bench.file(name)).expect("there"));
        spoil(&blob);
        let spoilt = fs::read(&blob).expect("there");
        let again = bench.add(Manner::Plain);
        bench.done(&again, &format!("`{name}` in the cache is not used"));
        assert_eq!(again.json["base"], first.json["base"], "{name}");
        assert_eq!(fs::read(bench.file(name)).expect("there"), good, "{name}");
        let aside = PathBuf::from(format!("{}.changed-1", blob.display()));
        assert_eq!(fs::read(&aside).expect("kept"), spoilt, "{name}");
        let aside = aside.file_name().expect("a name").to_string_lossy();
        assert!(again.stderr.contains(&*aside), "{again:#?}");
        let files = bench.hub.asked().into_iter().filter(|asked| asked.range.as_deref() == Some("bytes=0-"));
        assert_eq!(files.count(), 1, "the other files are as they were");
    }
}

#[test]
fn a_wrong_blob_stays_in_its_place_until_the_right_one_is_here() {
    let bench = Bench::filled();
    let blob = blob(&bench, MODEL);
    flip(&blob);
    let spoilt = fs::read(&blob).expect("there");
    let failed = bench.add(Manner::BreaksOff { file: MODEL, after: 1_000_000, times: 9 });
    assert_eq!(failed.code, 6, "{failed:#?}");
    assert_eq!(fs::read(&blob).expect("there"), spoilt);
}

#[test]
fn a_file_that_changed_is_noticed_by_whoever_uses_the_base() {
    let bench = Bench::filled();
    let generate = ["generate", "--base", REPOSITORY, "--max-new-tokens", "4", "hello"];
    let first = bench.run(&generate);
    bench.done(&first, "");
    flip(&blob(&bench, MODEL));
    let again = bench.run(&generate);
    bench.done(&again, "in the cache is not used: it hashes to");
    assert_eq!(again.json, first.json);
}

#[test]
fn offline_nobody_is_asked_and_what_is_wrong_is_said() {
    let bench = Bench::filled();
    bench.hub.behave(Manner::Plain);
    let offline = |args: &[&str]| bench.run_in(&[("HF_HUB_OFFLINE", "1")], args);
    bench.done(&offline(&["base", "add", REPOSITORY]), "");
    // Some editors end a file with a line.
    fs::write(bench.repository().join("refs/main"), format!("{COMMIT}\n")).expect("writable");
    bench.done(&offline(&["base", "add", REPOSITORY]), "");
    let nothing = offline(&["base", "add", "potluck-tests/other"]);
    assert_eq!(nothing.code, 3, "{nothing:#?}");
    assert!(nothing.stderr.contains("nothing of it is in"), "{nothing:#?}");
    flip(&blob(&bench, MODEL));
    for args in [&["base", "add", REPOSITORY][..], &["generate", "--base", REPOSITORY, "hello"]] {
        let wrong = offline(args);
        assert_eq!(wrong.code, 3, "{wrong:#?}");
        for says in [MODEL, "hashes to", "unset HF_HUB_OFFLINE"] {
            assert!(wrong.stderr.contains(says), "`{says}`: {wrong:#?}");
        }
    }
    assert!(bench.hub.asked().is_empty());
    bench.done(&bench.run(&["base", "add", REPOSITORY]), "is not used");
}

/// Another program fetched the files that it needed itself.
#[test]
fn a_chat_template_that_another_program_left_out_is_fetched_or_missed_aloud() {
    let bench = Bench::filled();
    let template = bench.file("chat_template.jinja");
    fs::remove_file(&template).expect("ours");
    bench.hub.behave(Manner::Plain);
    let generate = ["generate", "--base", REPOSITORY, "--max-new-tokens", "1", "hello"];
    let offline = bench.run_in(&[("HF_HUB_OFFLINE", "1")], &generate);
    bench.done(&offline, "the repository may have it: chat_template.jinja");
    assert!(bench.hub.asked().is_empty());
    bench.done(&bench.run(&generate), "");
    assert_eq!(fs::read_to_string(&template).expect("fetched"), bases::TEMPLATE);
    // What the repository does not have is known from then on, by the hub's own programs too.
    for (name, lacks) in [("generation_config.json", true), ("tokenizer_config.json", true), ("config.json", false)] {
        assert_eq!(bench.repository().join(".no_exist").join(COMMIT).join(name).is_file(), lacks, "{name}");
    }
}

#[test]
fn an_additional_chat_template_is_checked_and_missed() {
    const TOOLS: &str = "additional_chat_templates/tool_use.jinja";
    let mut files = bases::files(&["model.norm.weight"], 1);
    // Another content than the default one's, which would be the same blob.
    let template = format!("{}{{# with tools #}}", bases::TEMPLATE);
    files.push((TOOLS, template.clone().into_bytes()));
    let bench = Bench { hub: Hub::start(files), ..Bench::new() };
    bench.done(&bench.add(Manner::Plain), "");
    let offline = || bench.run_in(&[("HF_HUB_OFFLINE", "1")], &["base", "add", REPOSITORY]);
    bench.done(&offline(), "");
    flip(&blob(&bench, TOOLS));
    let wrong = offline();
    assert!(wrong.code == 3 && wrong.stderr.contains("hashes to"), "{wrong:#?}");
    fs::remove_dir_all(bench.file("additional_chat_templates")).expect("ours");
    let missing = offline();
    assert!(missing.code == 3 && missing.stderr.contains(&format!("{TOOLS} is missing in")), "{missing:#?}");
    let generate = ["generate", "--base", REPOSITORY, "--max-new-tokens", "1", "hello"];
    bench.done(&bench.run(&generate), "");
    assert_eq!(fs::read_to_string(bench.file(TOOLS)).expect("fetched"), template);
    // As another program leaves it: without our note.
    fs::remove_dir_all(bench.repository().join(".checked")).expect("ours");
    let noted = offline();
    bench.done(&noted, "");
    assert!(!noted.stderr.contains("the repository may have it"), "{noted:#?}");
    fs::remove_dir_all(bench.file("additional_chat_templates")).expect("ours");
    bench.done(&offline(), "the repository may have it: additional_chat_templates");
}

#[test]
fn a_hub_that_is_away_leaves_what_was_fetched() {
    let bench = Bench::filled();
    bench.hub.behave(Manner::Passing { status: 503, after: Some("0"), times: usize::MAX });
    bench.done(&bench.run(&["base", "add", REPOSITORY]), "is taken from the cache as it was fetched last");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    bench.done(&bench.with(&format!("http://{nobody}"), "", &["base", "add", REPOSITORY]), "is taken from the cache");
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_made_anew() {
    let bench = Bench::filled();
    fs::remove_file(blob(&bench, MODEL)).expect("ours");
    bench.done(&bench.add(Manner::Plain), "");
    let file = bench.file(MODEL);
    fs::remove_file(&file).expect("ours");
    std::os::unix::fs::symlink("../../blobs/gone", &file).expect("writable");
    bench.done(&bench.add(Manner::Plain), "");
    assert_eq!(fs::read(&file).expect("there"), bases::model(&["model.norm.weight"], 1));
    assert!(bench.hub.asked().iter().all(|asked| asked.range.as_deref() != Some("bytes=0-")), "the blob was here");
}

#[test]
fn locks_are_where_the_hubs_programs_have_theirs() {
    let bench = Bench::filled();
    let etag = blob(&bench, MODEL).file_name().expect("a name").to_owned();
    let lock = bench.cache().join("hub/.locks").join(folder()).join(etag).with_extension("lock");
    assert!(lock.is_file(), "{}", lock.display());
    // Another process fetches it: it is waited for.
    fs::remove_file(blob(&bench, MODEL)).expect("ours");
    let held = fs::File::open(&lock).expect("there");
    held.lock().expect("free");
    bench.hub.behave(Manner::Plain);
    let mut command = bench.command(&["base", "add", REPOSITORY]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    assert!(said.any(|line| line.contains("another process is fetching")), "it waits");
    drop(held);
    let rest: Vec<String> = said.collect();
    assert_eq!(child.wait().expect("our child").code(), Some(0), "{rest:#?}");
}
