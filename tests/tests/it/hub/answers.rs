//! What a server may answer, one test for each manner: it is lived with, or named with what to type.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;

/// Added in spite of it.
#[track_caller]
fn added(manner: Manner) -> Bench {
    let bench = Bench::new();
    let added = bench.add(manner);
    bench.done(&added, "");
    bench
}

/// Refused, with a code and with what is said.
#[track_caller]
fn refused(manner: Manner, code: i32, says: &[&str]) -> Answer {
    let bench = Bench::new();
    let answer = bench.add(manner);
    says.iter().for_each(|says| bench.refused(&answer, code, says));
    answer
}

fn passing(status: u16, after: Option<&'static str>, times: usize) -> Manner {
    Manner::Passing { status, after, times }
}

#[test]
fn too_many_requests_are_waited_out() {
    let bench = Bench::new();
    bench.done(&bench.add(passing(429, Some("0"), 1)), "status 429; trying again in 0 s");
}

#[test]
fn a_date_to_wait_until_is_understood() {
    let bench = Bench::new();
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    bench.done(&bench.add(passing(503, Some(past), 2)), "status 503; trying again in 0 s");
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let bench = Bench::new();
    // The first wait without a word of the server's.
    bench.done(&bench.add(passing(500, None, 1)), "status 500; trying again in 1 s");
    for status in [408, 502, 503, 504] {
        bench.done(&bench.add(passing(status, Some("0"), 1)), &format!("status {status}; trying again in 0 s"));
    }
}

#[test]
fn trouble_that_does_not_pass_ends_the_command() {
    let bench = Bench::new();
    bench.refused(&bench.add(passing(429, Some("0"), usize::MAX)), 1, "HF_TOKEN");
    assert_eq!(bench.hub.asked().len(), 6, "once, and five times more");
    bench.refused(&bench.add(passing(503, Some("0"), usize::MAX)), 1, "status 503");
    assert_eq!(bench.hub.asked().len(), 6);
}

#[test]
fn nobody_waits_an_hour() {
    let bench = Bench::new();
    bench.refused(&bench.add(passing(429, Some("3600"), usize::MAX)), 1, "asks us to wait 3600 s");
    assert_eq!(bench.hub.asked().len(), 1);
}

#[test]
fn what_does_not_pass_is_asked_once() {
    let bench = Bench::new();
    bench.refused(&bench.add(passing(501, None, usize::MAX)), 1, "status 501");
    assert_eq!(bench.hub.asked().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_wait() {
    let bench = Bench::new();
    bench.hub.behave(passing(429, Some("200"), usize::MAX));
    let mut command = bench.command(&["base", "add", REPOSITORY]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    assert!(said.any(|line| line.contains("trying again in 200 s")), "it waits");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("the system has it").success());
    assert_eq!(child.wait().expect("our child").code(), Some(130));
    assert!(said.any(|line| line.contains("goes on from what is here")), "and says what to type");
}

#[test]
fn a_page_that_wants_a_log_in_is_named() {
    let bench = Bench::new();
    let endpoint = bench.hub.endpoint();
    let answer = bench.add(Manner::Page);
    for says in ["a web page came instead: \"Hotel Wi-Fi\"", &format!("open {endpoint} in a browser"), "HF_ENDPOINT"] {
        bench.refused(&answer, 4, says);
    }
}

const GATE: Manner = Manner::Refuses {
    status: 403,
    headers: &[("x-error-code", "GatedRepo"), ("x-error-message", "Access is restricted.\tAsk the author.")],
    json: "",
};

#[test]
fn a_gate_is_shown_with_what_the_hub_says() {
    let answer = refused(GATE, 8, &["Access is restricted. Ask the author.", "ask for access at "]);
    assert!(answer.stderr.contains("then set HF_TOKEN"), "{answer:#?}");
    let bench = Bench::new();
    bench.hub.behave(GATE);
    let answer = bench.with(&bench.hub.endpoint(), TOKEN, &["base", "add", REPOSITORY]);
    bench.refused(&answer, 8, "with the account of the token in HF_TOKEN");
    assert!(!answer.stderr.contains(TOKEN), "a token is never shown");
}

const BAD_TOKEN: Manner = Manner::Refuses {
    status: 401,
    headers: &[("x-error-message", "Invalid credentials in Authorization header")],
    json: "",
};

#[test]
fn a_refused_token_is_named_by_where_it_is_from() {
    let bench = Bench::new();
    bench.hub.behave(BAD_TOKEN);
    let answer = bench.with(&bench.hub.endpoint(), "hf_old", &["base", "add", REPOSITORY]);
    for says in ["refuses the token of HF_TOKEN", "Invalid credentials", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1"] {
        bench.refused(&answer, 8, says);
    }
    let file = bench.cache().join("token");
    fs::create_dir_all(bench.cache()).expect("writable");
    fs::write(&file, "hf_old\n").expect("writable");
    bench.refused(&bench.add(BAD_TOKEN), 8, &format!("refuses the token of {}", file.display()));
    // As the hint says.
    bench.hub.behave(Manner::Plain);
    let without = bench.run_in(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], &["base", "add", REPOSITORY]);
    bench.done(&without, "");
    assert!(bench.hub.asked().iter().all(|asked| asked.token.is_none()));
}

#[test]
fn a_policy_is_quoted() {
    let json = "blocked by \u{1b}[31mpolicy";
    refused(Manner::Refuses { status: 403, headers: &[], json }, 8, &["blocked by [31mpolicy", "HTTPS_PROXY"]);
}

#[test]
fn a_revision_that_is_not_there_is_named() {
    let headers = &[("x-error-code", "RevisionNotFound")];
    let answer = refused(Manner::Refuses { status: 404, headers, json: "" }, 3, &["revision main of"]);
    assert!(answer.stderr.contains(REPOSITORY), "{answer:#?}");
}

#[test]
fn a_commit_that_is_named_is_the_one_that_comes() {
    let bench = Bench::new();
    bench.hub.behave(Manner::Plain);
    let other = format!("{REPOSITORY}@{}", "f".repeat(40));
    for args in [&["base", "add", &other][..], &["generate", "--base", &other, "hello"]] {
        bench.refused(&bench.run(args), 4, &format!("it answers with another commit, {COMMIT}"));
    }
    assert!(bench.hub.asked().iter().all(|asked| asked.path.starts_with("/api/")), "no file is asked for");
    bench.done(&bench.run(&["base", "add", &format!("{REPOSITORY}@{COMMIT}")]), "");
}

#[test]
fn a_list_without_end_is_no_list() {
    added(Manner::LongList(1 << 20));
    refused(Manner::LongList(8 << 20), 4, &["its list is longer than 8388608 bytes", "HF_ENDPOINT"]);
}

#[test]
fn what_a_mirror_leaves_out_is_named() {
    let commit = refused(Manner::Without("x-repo-commit"), 4, &["does not say which commit", "HF_ENDPOINT"]);
    assert!(!commit.stderr.contains("another commit"), "{commit:#?}");
    refused(Manner::Without("etag"), 4, &["says no etag"]);
    refused(Manner::Without("content-length"), 4, &["its length is not said"]);
    refused(Manner::NoSize, 4, &["its length is not said"]);
    refused(Manner::OtherCommit, 4, &["another commit"]);
}

#[test]
fn an_etag_that_is_another_files_hash_is_noticed() {
    refused(Manner::OtherHash, 4, &["hashes to", MODEL]);
    // Small files have hashes too.
    refused(Manner::Damaged("config.json"), 4, &["hashes to", "config.json"]);
    refused(Manner::Damaged("tokenizer.json"), 4, &["hashes to", "tokenizer.json"]);
}

#[test]
fn a_mirror_may_make_up_etags() {
    let bench = added(Manner::OwnEtags);
    assert!(bench.repository().join("blobs/own-config-json").is_file());
}

#[test]
fn a_pointer_instead_of_weights_is_named() {
    refused(Manner::Pointer(MODEL), 4, &["Git LFS pointer", MODEL, "without its large files"]);
}

#[test]
fn redirects_may_be_relative() {
    added(Manner::Relative);
}

#[test]
fn a_repository_may_have_moved() {
    added(Manner::Renamed);
}

#[test]
fn a_mirror_may_send_everything_on_and_hears_the_token_alone() {
    let bench = Bench::new();
    let hub = Hub::start(bases::files(&["model.norm.weight"], 1));
    bench.hub.behave(Manner::Mirrors(hub.address));
    bench.done(&bench.with(&bench.hub.endpoint(), TOKEN, &["base", "add", REPOSITORY]), "");
    assert!(bench.hub.asked().iter().all(|asked| asked.token.is_some()));
    assert!(!hub.asked().is_empty() && hub.asked().iter().all(|asked| asked.token.is_none()));
}

#[test]
fn a_server_that_gives_no_rest_gives_all() {
    let bench = Bench::new();
    bench.refused(&bench.add(Manner::BreaksOff { file: MODEL, after: 1_000_000, times: 9 }), 6, "broke off");
    bench.done(&bench.add(Manner::NoRest), "");
}

#[test]
fn a_part_that_was_damaged_is_fetched_from_nothing() {
    let bench = Bench::new();
    bench.refused(&bench.add(Manner::BreaksOff { file: MODEL, after: 1_000_000, times: 9 }), 6, "broke off");
    let blobs = fs::read_dir(bench.repository().join("blobs")).expect("there").map(|entry| entry.expect("one").path());
    let part = blobs.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "part"));
    let part = part.expect("kept");
    let mut bytes = fs::read(&part).expect("readable");
    bytes[500_000] ^= 1;
    fs::write(&part, bytes).expect("writable");
    bench.done(&bench.add(Manner::Plain), "");
    assert_eq!(fs::read(bench.file(MODEL)).expect("there"), bases::model(&["model.norm.weight"], 1));
}

#[test]
fn a_transfer_that_stands_still_ends() {
    let bench = Bench::new();
    bench.hub.behave(Manner::Stalls { file: MODEL, after: 1_000_000 });
    let answer = bench.run_in(&[("HF_HUB_DOWNLOAD_TIMEOUT", "1")], &["base", "add", REPOSITORY]);
    bench.refused(&answer, 6, "broke off after 3000000 of");
    assert!(answer.stderr.contains("going on from there"), "{answer:#?}");
}
