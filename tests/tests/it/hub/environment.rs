//! The variables that `huggingface_hub` reads, by what they do. Their table is `docs/hub.md`.

use super::*;

#[test]
fn each_variable_puts_the_cache_where_it_says() {
    let bench = Bench::new();
    let root = bench.root.path().to_str().expect("UTF-8");
    let rows: [(&str, String, &str); 6] = [
        ("HF_HUB_CACHE", format!("{root}/a"), "a"),
        ("HF_HUB_CACHE", "~/b".to_owned(), "b"),
        ("HUGGINGFACE_HUB_CACHE", "$HOME/c".to_owned(), "c"),
        ("HF_HOME", format!("{root}/d"), "d/hub"),
        ("XDG_CACHE_HOME", format!("{root}/e"), "e/huggingface/hub"),
        ("HF_ENDPOINT", bench.hub.endpoint(), ".cache/huggingface/hub"),
    ];
    for (name, value, place) in rows {
        let mut command = bench.command(&["base", "add", REPOSITORY]);
        command.env_remove("HF_HOME").env("HOME", root).env(name, &value);
        bench.done(&answer(command.output().expect("the program starts")), "");
        let file = bench.root.path().join(place).join(folder()).join("snapshots").join(COMMIT).join(MODEL);
        assert!(file.is_file(), "{name}={value}: {}", file.display());
    }
}

#[test]
fn each_place_of_a_token_is_looked_at() {
    let bench = Bench::new();
    fs::create_dir_all(bench.cache()).expect("writable");
    let other = bench.root.path().join("other-token");
    fs::write(&other, TOKEN).expect("writable");
    let other = other.to_str().expect("UTF-8");
    let spaced = format!(" {TOKEN}\n");
    let opens = |environment: &[(&str, &str)]| {
        bench.hub.behave(Manner::Gated);
        bench.run_in(environment, &["base", "add", REPOSITORY]).code == 0
    };
    assert!(opens(&[("HF_TOKEN", &spaced)]) && opens(&[("HUGGING_FACE_HUB_TOKEN", TOKEN)]));
    assert!(opens(&[("HF_TOKEN_PATH", other)]));
    assert!(!opens(&[("HF_TOKEN", "hf_other"), ("HF_TOKEN_PATH", other)]), "the variable is nearer");
    assert!(!opens(&[("HF_TOKEN_PATH", other), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]));
    fs::write(bench.cache().join("token"), TOKEN).expect("writable");
    assert!(opens(&[]), "`hf auth login` leaves it there");
}

#[test]
fn a_value_that_means_nothing_is_named() {
    let bench = Bench::new();
    let empty = bench.root.path().join("empty.pem");
    fs::write(&empty, "").expect("writable");
    for (name, value) in [
        ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
        ("HF_HUB_ETAG_TIMEOUT", "-1"),
        ("HTTP_PROXY", "gopher://proxy"),
        ("HF_TOKEN", "hf_a hf_b"),
        ("HF_ENDPOINT", "huggingface.co"),
        ("HF_HUB_USER_AGENT_ORIGIN", "a\nb"),
        ("SSL_CERT_FILE", empty.to_str().expect("UTF-8")),
        ("REQUESTS_CA_BUNDLE", "/nowhere/at/all.pem"),
    ] {
        let refused = bench.run_in(&[(name, value)], &["base", "add", REPOSITORY]);
        bench.refused(&refused, 2, name);
    }
    assert!(bench.hub.asked().is_empty());
}

/// Whatever the cache has: a variable that means nothing is not passed over.
#[test]
fn an_endpoint_that_is_none_is_named_with_a_whole_cache_too() {
    let bench = Bench::filled();
    for (endpoint, args) in [
        ("huggingface.co", &["base", "add", REPOSITORY][..]),
        ("me:secret@mirror.example", &["generate", "--base", REPOSITORY, "hello"]),
    ] {
        let refused = bench.run_in(&[("HF_ENDPOINT", endpoint)], args);
        assert_eq!(refused.code, 2, "{refused:#?}");
        assert!(refused.stderr.contains("HF_ENDPOINT: it is no address of a hub"), "{refused:#?}");
        assert!(!format!("{refused:?}").contains("secret"), "{refused:#?}");
    }
}

#[test]
fn a_password_of_a_mirror_is_sent_and_never_shown() {
    let bench = Bench::new();
    let mirror = bench.hub.endpoint().replace("http://", "http://me:secret@");
    for manner in [Manner::Page, Manner::Gated, Manner::Circle] {
        bench.hub.behave(manner);
        let refused = bench.run_in(&[("HF_ENDPOINT", &mirror)], &["base", "add", REPOSITORY]);
        assert_ne!(refused.code, 0, "{refused:#?}");
        assert!(!format!("{refused:?}").contains("secret"), "{refused:#?}");
    }
    bench.hub.behave(Manner::Plain);
    bench.done(&bench.run_in(&[("HF_ENDPOINT", &mirror)], &["base", "add", REPOSITORY]), "");
    // `me:secret`, as HTTP writes it.
    let sent = |asked: &Asked| asked.token.as_deref() == Some("Basic bWU6c2VjcmV0");
    assert!(bench.hub.asked().iter().all(sent), "{:#?}", bench.hub.asked());
}

#[test]
fn a_proxy_leads_to_hosts_that_nobody_here_knows() {
    let bench = Bench::new();
    let proxy = bench.hub.endpoint();
    let environment =
        [("HF_ENDPOINT", "http://hub.invalid"), ("http_proxy", proxy.as_str()), ("NO_PROXY", "other.invalid")];
    bench.done(&bench.run_in(&environment, &["base", "add", REPOSITORY]), "");
    let asked = bench.hub.asked();
    assert!(asked.iter().any(|asked| asked.method == "CONNECT" && asked.path == "hub.invalid:80"), "{asked:#?}");
}

#[test]
fn a_proxy_that_does_not_answer_is_named_unless_it_is_not_asked() {
    let bench = Bench::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let proxy = format!("http://{nobody}");
    let answer = bench.run_in(&[("ALL_PROXY", &proxy)], &["base", "add", REPOSITORY]);
    bench.refused(&answer, 5, "through the proxy of ALL_PROXY");
    let direct = [("ALL_PROXY", proxy.as_str()), ("NO_PROXY", "elsewhere, 127.0.0.1")];
    bench.done(&bench.run_in(&direct, &["base", "add", REPOSITORY]), "");
}

#[test]
fn bars_links_and_the_callers_name_are_as_they_are_wanted() {
    let bench = Bench::new();
    let environment = [
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("HF_HUB_DISABLE_SYMLINKS", "1"),
        ("HF_HUB_USER_AGENT_ORIGIN", "a-partner"),
    ];
    let add = || bench.run_in(&environment, &["base", "add", REPOSITORY]);
    let added = add();
    bench.done(&added, "");
    assert!(!added.stderr.contains(&format!("{REPOSITORY}: ")), "no bytes are counted: {added:#?}");
    let agents: Vec<_> = bench.hub.asked().into_iter().filter_map(|asked| asked.agent).collect();
    assert!(!agents.is_empty() && agents.iter().all(|agent| agent.ends_with("; origin/a-partner")), "{agents:#?}");
    assert!(bench.file(MODEL).is_file() && !bench.file(MODEL).is_symlink());
    bench.hub.behave(Manner::Plain);
    bench.done(&add(), "");
    assert!(
        bench.hub.asked().iter().all(|asked| asked.range.as_deref() != Some("bytes=0-")),
        "nothing is fetched twice"
    );
    // A copy is checked too.
    fs::write(bench.file(MODEL), "changed").expect("writable");
    bench.done(&add(), "is not used");
    assert_eq!(fs::read(bench.file(MODEL)).expect("there"), bases::model(&["model.norm.weight"], 1));
}
