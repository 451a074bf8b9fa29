//! Ids and names of what is not here and was only heard of.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use potluck_tests::bases;
use potluck_tests::kit::{Up, text};
use potluck_tests::taught::string;

use super::{Bench, printed};

/// Waits until a search of the home knows so many announcements.
fn hear(bench: &Bench, home: &str, count: u64) {
    let heard = || bench.ok(home, &["search"])["heard"].as_u64();
    let deadline = Instant::now() + Duration::from_secs(60);
    while heard() < Some(count) && Instant::now() < deadline {}
    assert_eq!(heard(), Some(count));
}

fn up(bench: &Bench, home: &str, others: &[&Up]) -> Up {
    let others: Vec<&str> = others.iter().map(|up| up.address.as_str()).collect();
    bench.program.up(&bench.path(home), "ids", &others)
}

#[test]
fn what_was_heard_of_is_told_truly_and_taken_by_short_ids_and_names() {
    let bench = Bench::new();
    let (a, b) = (bench.adapter("one", 3), bench.adapter("one", 5));
    let one = up(&bench, "one", &[]);
    let rows = format!("loud={}", text(&bench.path("adapter-3.jsonl")));
    let args = ["publish", &a, "--name", "support-a", "--license", "apache-2.0", "--evaluate", &rows];
    let id = string(&bench.ok("one", &args), "manifest");
    let other = string(&bench.ok("one", &["publish", &b, "--name", "support-b", "--licence", "MIT"]), "manifest");
    let first = bench.open("one", "fjord", 3);
    let folder = bench.path("base");
    bases::write(&folder, &["model.norm.weight"], 1);
    let folder = text(&folder);
    let args = ["publish", "--base", &folder, "--name", "small", "--licence", "MIT"];
    let published = bench.ok("one", &args);
    let (base, offered) = (string(&published, "base"), string(&published, "manifest"));
    let three = up(&bench, "three", &[&one]);
    let second = bench.open("three", "fjord", 3);

    let two = up(&bench, "two", &[&one, &three]);
    hear(&bench, "two", 5);
    known_before_it_is_fetched(&bench, &id);
    searched_and_typed_again(&bench, &one, &[&id, &other, &offered, &first, &second], &base);
    channels_by_name_and_id(&bench, [&first, &second]);

    // A base by the start of an id that was heard of.
    bench.ok("two", &["search", "--base", &base]);
    let added = bench.ok("two", &["base", "add", &base[..12].to_uppercase()]);
    assert_eq!(added["base"], base.as_str());
    let pulled = bench.ok("two", &["pull", &id[..8].to_uppercase()]);
    assert_eq!(pulled["manifest"], id.as_str());
    assert_eq!(bench.ok("two", &["show", &id])["state"], "here, checked");
    assert!(
        bench.says("two", &["channel", "propose", &id[..12], "--to", &first[..12]]).contains("proposed to channel")
    );

    // Nobody is left who could say more than the announcement does.
    [one, three, two].into_iter().for_each(Up::stop);
    let _alone = up(&bench, "two", &[]);
    let shown = bench.ok("two", &["show", &other[..12]]);
    let unknown = ["licence", "description", "created", "evaluations"].map(|field| shown[field].is_null());
    assert_eq!((unknown, &shown["name"]), ([true; 4], &"support-b".into()), "{shown}");
    let told = bench.says("two", &["show", &other[..12]]);
    assert!(told.contains("licence not known until it is fetched") && !told.contains("no licence"), "{told}");
}

/// Whoever announces something takes no name from what is here, of whatever kind it is.
#[test]
fn what_is_here_keeps_its_name_whatever_is_announced() {
    let bench = Bench::new();
    let folder = bench.adapter("one", 3);
    let one = up(&bench, "one", &[]);
    let theirs = string(&bench.ok("one", &["publish", &folder, "--name", "fjord"]), "manifest");
    let ours = bench.open("two", "fjord", 3);
    let _two = up(&bench, "two", &[&one]);
    let heard = || bench.ok("two", &["search"])["results"].to_string().contains(&theirs);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !heard() && Instant::now() < deadline {}
    assert!(heard(), "the adapter is announced");
    let shown = bench.ok("two", &["show", "fjord"]);
    assert_eq!((&shown["kind"], &shown["manifest"]), (&"channel".into(), &ours.into()), "{shown}");
    bench.fails("two", &["pull", "fjord"], 2, "is a channel, no adapter");
    assert_eq!(bench.ok("two", &["pull", &theirs[..12]])["manifest"], theirs.as_str(), "its id takes theirs");
}

fn known_before_it_is_fetched(bench: &Bench, id: &str) {
    let shown = bench.ok("two", &["show", &id[..16]]);
    assert_eq!((&shown["licence"], &shown["rank"]), (&"Apache-2.0".into(), &4.into()), "{shown}");
    assert_eq!((&shown["state"], &shown["base_name"]), (&"heard of, not here".into(), &"tiny".into()), "{shown}");
    let [figure] = &shown["evaluations"].as_array().expect("a list")[..] else { panic!("{shown}") };
    assert_eq!((&figure["suite"], &figure["samples"]), (&"loud".into(), &8.into()));
    let told = bench.says("two", &["show", &id[..16].to_uppercase()]);
    let loss = format!("loud: loss {:.4}", figure["loss"].as_f64().expect("a loss"));
    assert!(told.contains(&loss) && told.contains("of 8 held-out rows"), "{told}");
    let publisher = string(&shown, "publisher");
    assert!(told.contains(&format!("published by {publisher} on 20")) && told.contains("Apache-2.0"), "{told}");
    assert!(told.contains(&format!("potluck pull {}", &id[..12])), "{told}");
}

/// Every id in the table is one.
fn searched_and_typed_again(bench: &Bench, one: &Up, known: &[&str], base: &str) {
    let told = bench.says("two", &["search"]);
    assert!(told.contains("tiny") && told.contains("rank 4, Apache-2.0"), "{told}");
    let keys: BTreeSet<String> = bench.ok("two", &["search"])["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|offer| string(offer, "publisher"))
        .collect();
    for word in printed(&told) {
        if keys.iter().any(|key| key.starts_with(&word)) {
            let found = bench.ok("two", &["search", "--publisher", &word]);
            assert!(found["results"].as_array().is_some_and(|all| !all.is_empty()), "{word}: {found}");
        } else if known.iter().any(|id| id.starts_with(&word)) {
            assert!(bench.ok("two", &["show", &word])["manifest"].as_str().is_some_and(|id| id.starts_with(&word)));
        } else if base.starts_with(&word) {
            let found = bench.ok("two", &["search", "--base", &word]);
            assert_eq!(found["results"][0]["base"], base, "{found}");
        } else {
            panic!("`{word}` is none of {known:?}: {told}");
        }
    }
    let peers = bench.says("two", &["peers"]);
    assert!(peers.contains(&one.peer), "{peers}");
    let ours = bench.ok("two", &["search", "--licence", "APACHE-2.0"]);
    assert_eq!(ours["results"].as_array().map(Vec::len), Some(1), "{ours}");
    let doubted = bench.says("two", &["search", "--license", "apache2"]);
    assert!(doubted.contains("no match among") && doubted.contains("did you mean `Apache-2.0`"), "{doubted}");
}

fn channels_by_name_and_id(bench: &Bench, [first, second]: [&str; 2]) {
    bench.fails("two", &["pull", &first[..12]], 2, "is a channel, no adapter");
    bench.fails("two", &["base", "show", &first[..12]], 3, "potluck channel follow");
    // Two that were heard of have the name.
    for verb in [&["show", "fjord"][..], &["channel", "follow", "fjord"], &["pull", "fjord"]] {
        let answer = bench.run("two", verb);
        let listed = [first, second].iter().all(|id| answer.stderr.contains(&id[..12]));
        assert!(answer.code == 9 && listed, "{verb:?}: {answer:#?}");
    }
    assert_eq!(bench.ok("two", &["show", &second[..8]])["kind"], "channel");
    let followed = bench.says("two", &["channel", "follow", &first[..12]]);
    assert!(followed.contains(&format!("channel {}, steward ", &first[..12])), "{followed}");
    // What is followed is what the name means from now on.
    assert_eq!(bench.ok("two", &["channel", "show", "fjord"])["channel"], first);
    assert!(bench.says("two", &["show", "fjord"]).contains("sealed evaluation shards"));
    bench.ok("two", &["channel", "unfollow", &first[..8].to_uppercase()]);
    bench.ok("two", &["channel", "follow", &first[..12]]);
}
