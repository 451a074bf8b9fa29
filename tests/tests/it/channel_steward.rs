//! A channel from its steward's side, on one home without a network: what is taken, what is refused and why, what a crash
//! leaves, what cannot be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libp2p::identity::ed25519::Keypair;
use potluck_node::home::Home;
use potluck_node::store::{ChannelRecord, Store};
use potluck_protocol::channel::ProposalInfo;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::manifest::Kind;
use potluck_protocol::recipe::Weight;
use potluck_protocol::signed::PublicKey;
use potluck_tests::kit::{Answer, Program, copy_folder, text};
use potluck_tests::planted::{adapter_of, key_of, of, plant};
use potluck_tests::taught::{SKILLS, Skills, string};
use serde_json::Value;

use crate::program;

/// Trained once for all tests of this file: they read them only.
fn skills() -> &'static Skills {
    static TRAINED: OnceLock<Skills> = OnceLock::new();
    TRAINED.get_or_init(|| Skills::train(&program()))
}

/// A steward's home with the adapters of all skills published.
struct Lab {
    program: Program,
    root: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { program: program(), root: tempfile::tempdir().expect("a folder") }
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.home(), args)
    }

    fn ok(&self, args: &[&str]) -> Value {
        self.program.ok(&self.home(), args)
    }

    /// A channel with so many shards, and rules beside the usual ones.
    fn open(&self, shards: usize, rules: &[&str]) -> Value {
        let args = skills().open("main", shards).into_iter().chain(rules.iter().map(|&rule| rule.to_owned()));
        self.program.ok(&self.home(), args)
    }

    fn publish(&self, skill: &str) -> String {
        skills().publish(&self.program, &self.home(), &skills().adapter(skill), skill)
    }

    /// Publishes a skill's adapter with its B changed.
    fn publish_altered(&self, name: &str, change: impl Fn(f32) -> f32) -> String {
        let folder = skills().altered("dates", name, change);
        skills().publish(&self.program, &self.home(), &folder, name)
    }

    fn propose(&self, adapter: &str) -> String {
        string(&self.ok(&["channel", "propose", adapter, "--to", "main"]), "proposal")
    }

    fn release(&self) -> Value {
        self.ok(&["channel", "release", "main"])
    }

    fn fails(&self, args: &[&str], code: i32, says: &str) {
        let answer = self.run(args);
        assert_eq!(answer.code, code, "{args:?}: {answer:#?}");
        assert!(answer.stderr.contains(says), "{args:?}: {}", answer.stderr);
    }
}

/// A release's verdicts by the names of the adapters.
fn verdicts(release: &Value) -> BTreeMap<String, Value> {
    let all = release["verdicts"].as_array().expect("a list").iter();
    all.map(|verdict| (string(verdict, "name"), verdict.clone())).collect()
}

/// A verdict's outcome as the version has it.
fn refusal(verdict: &Value) -> &Value {
    &verdict["outcome"]["refused"]
}

/// The mean loss over the suites of a role.
fn mean(release: &Value, role: &str, when: &str) -> f64 {
    let suites = release["opened"]["suites"].as_array().expect("a list").iter();
    let losses: Vec<f64> =
        suites.filter(|suite| suite["role"] == role).map(|suite| suite[when].as_f64().expect("a loss")).collect();
    losses.iter().sum::<f64>() / losses.len() as f64
}

/// Must-show 1, in short: four skills become one version that beats each of them alone, and harm is refused with a reason.
#[test]
fn four_skills_become_one_version_and_harm_is_refused() {
    let lab = Lab::new();
    // How the rows are dealt is chance: by the default of 1 % a skill is sometimes left out, for what it costs the corpus.
    lab.open(2, &["--guard", "10%"]);
    let mut proposals = BTreeMap::new();
    for skill in SKILLS {
        lab.publish(skill);
        proposals.insert(skill, lab.propose(skill));
    }
    lab.publish_altered("flipped", |value| -value);
    lab.publish_altered("huge", |value| value * 1000.0);
    let [flipped, _huge] = ["flipped", "huge"].map(|name| lab.propose(name));
    // The same adapter again, at another weight: it counts once.
    lab.propose("dates@0.5");
    let release = lab.release();
    let all = release["verdicts"].as_array().expect("a list");
    assert_eq!(all.len(), 7, "{release:#}");
    let verdicts = verdicts(&release);
    assert!(refusal(&verdicts["flipped"])["no_gain"]["alone_micro"].as_i64() > Some(0), "{release:#}");
    assert!(refusal(&verdicts["huge"])["norm"]["ppm"].as_u64() > Some(1_000_000), "{release:#}");
    let best = SKILLS.iter().map(|skill| {
        let taken = all.iter().find(|one| one["name"] == *skill && one["taken"] == true);
        taken.unwrap_or_else(|| panic!("{skill} was not taken: {release:#}"))["loss_change"].as_f64().expect("a change")
    });
    let best = best.fold(f64::INFINITY, f64::min);
    let again: Vec<_> = all.iter().filter(|one| one["name"] == "dates" && one["taken"] == false).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["outcome"]["refused"], "already_in");
    let gained = mean(&release, "improve", "after") - mean(&release, "improve", "genesis");
    assert!(gained < best, "together {gained}, the best alone {best}");
    let kept = (mean(&release, "keep", "after") - mean(&release, "keep", "genesis")).exp();
    assert!(kept <= 1.1, "what is to be kept is at {kept}");
    let show = lab.ok(&["show", &proposals["json"]]).to_string();
    assert!(show.contains("taken by version 1"), "{show}");
    let show = lab.ok(&["show", &flipped]).to_string();
    assert!(show.contains("refused by version 1: alone it moved the held-out loss by +"), "{show}");

    // Nothing new: no shard is opened.
    let nothing = lab.release();
    assert_eq!((&nothing["released"], nothing["height"].as_u64()), (&Value::Bool(false), Some(1)));

    revoking_is_never_having_had(&lab, &release);
}

/// The version without an adapter is that of a recipe which never had it.
fn revoking_is_never_having_had(lab: &Lab, release: &Value) {
    let revoke = lab.ok(&["channel", "revoke", "main", "units"]);
    assert_eq!((revoke["height"].as_u64(), revoke["adapters"].as_u64()), (Some(2), Some(3)));
    assert_ne!(revoke["base"], release["base"]);
    let verdicts = verdicts(release);
    let weighted = ["dates", "json", "roman"].map(|skill| {
        let taken = release["verdicts"].as_array().expect("a list").iter();
        let taken = taken.into_iter().find(|one| one["name"] == skill && one["taken"] == true).expect("taken");
        format!("{}@{}", string(taken, "adapter"), taken["weight"])
    });
    let out = text(&lab.root.path().join("without"));
    let mut args = vec!["merge", "--base", "tiny", "--fold", "--out", &out];
    args.extend(weighted.iter().map(String::as_str));
    assert_eq!(lab.ok(&args)["digest"], revoke["digest"]);
    // For good: it is neither taken back nor revoked twice.
    lab.fails(&["channel", "revoke", "main", "units"], 3, "none of the 3 adapters");
    let weight = verdicts["units"]["adapter"].as_str().expect("an id").to_owned() + "@0.25";
    lab.propose(&weight);
    let again = lab.release();
    assert_eq!(again["released"], false);
    assert_eq!(again["verdicts"][0]["outcome"]["refused"], "revoked");
}

#[test]
fn a_shard_that_scored_is_used_up_whatever_came_of_it() {
    let lab = Lab::new();
    let opened = lab.open(1, &[]);
    lab.publish_altered("flipped", |value| -value);
    lab.propose("flipped");
    let release = lab.release();
    assert_eq!((&release["released"], release["adapters"].as_u64()), (&Value::Bool(true), Some(0)), "{release:#}");
    assert_eq!(release["shards_left"], 0);
    // Its rows are public: files of the version, and what the channel had committed to.
    let show = lab.ok(&["show", &string(&release, "version")]);
    let paths: Vec<_> =
        show["body"]["files"].as_array().expect("a list").iter().map(|file| string(file, "path")).collect();
    assert!(paths.contains(&"evaluation/corpus.jsonl".to_owned()), "{paths:?}");
    lab.publish("dates");
    lab.propose("dates");
    lab.fails(&["channel", "release", "main"], 9, "used up");
    lab.fails(&["channel", "release", "main"], 9, "channel open NAME --genesis");
    assert_eq!(opened["shards"], 1);
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_code() {
    let lab = Lab::new();
    lab.fails(&["channel", "release", "nowhere"], 3, "no channel `nowhere`");
    lab.fails(&["channel", "revoke", "nowhere", "x"], 3, "no channel");
    let other = "ab".repeat(32);
    let rows = format!("dates={}", text(&skills().rows("dates")));
    let upper = rows.replace("dates=", "DATES=");
    let open = ["channel", "open", "x", "--improve", &rows, "--genesis"];
    lab.fails(&[&open[..], &[other.as_str()]].concat(), 3, "on no network");
    lab.fails(&[&open[..], &["no-such-base"]].concat(), 3, "no base");
    lab.fails(&[&open[..], &["tiny", "--shards", "49"]].concat(), 2, "fewer than the 49 shards");
    lab.fails(&[&open[..], &["tiny", "--shards", "0"]].concat(), 2, "1 to 1024");
    lab.fails(&[&open[..], &["tiny", "--admit", "me"]].concat(), 2, "no key");
    lab.fails(&[&open[..], &["tiny", "--clip", "5%", "--refuse", "1%"]].concat(), 2, "wrong way round");
    lab.fails(&[&open[..], &["tiny", "--improve", upper.as_str()]].concat(), 2, "one name");
    lab.fails(&["channel", "open", "x", "--genesis", "tiny", "--keep", &rows], 2, "--improve");
    let bad = lab.root.path().join("bad.jsonl");
    fs::write(&bad, "{\"prompt\":\"a\"}\n").expect("writable");
    let bad = format!("bad={}", text(&bad));
    lab.fails(&["channel", "open", "x", "--genesis", "tiny", "--improve", &bad], 2, "completion");
    let sealed = lab.home().join("sealed");
    assert_eq!(fs::read_dir(sealed).expect("there").count(), 0, "what is refused seals nothing");

    lab.open(1, &["--allow-licence", "MIT"]);
    lab.fails(&["channel", "open", "main", "--genesis", "tiny", "--improve", &rows], 9, "already");
    lab.publish("dates");
    lab.fails(&["channel", "propose", "dates@1025", "--to", "main"], 2, "beyond 1024");
    lab.fails(&["channel", "propose", "dates@0", "--to", "main"], 2, "beyond 1024");
    lab.fails(&["channel", "propose", "nothing", "--to", "main"], 3, "nothing");
    lab.fails(&["channel", "propose", "dates", "--to", "nowhere"], 3, "whole id");
    let folder = text(&skills().adapter("json"));
    lab.fails(&["channel", "propose", &folder, "--to", "main"], 2, "publish it first");
    lab.ok(&["publish", &folder, "--base", "tiny", "--name", "unlicensed"]);
    lab.fails(&["channel", "propose", "unlicensed", "--to", "main"], 11, "no licence");
    let base = lab.root.path().join("other");
    potluck_tests::bases::write(&base, &["model.norm.weight"], 1);
    let base = text(&base);
    lab.ok(&["base", "add", &base, "--name", "other"]);
    // The same factors, which do not say what they were trained on.
    let silent = lab.root.path().join("silent");
    std::fs::create_dir(&silent).expect("writable");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(std::path::Path::new(&folder).join(file), silent.join(file)).expect("there");
    }
    lab.ok(&["publish", &text(&silent), "--base", &base, "--name", "foreign", "--licence", "MIT"]);
    lab.fails(&["channel", "propose", "foreign", "--to", "main"], 11, "the channel's genesis, nor a version of it");
}

impl Lab {
    /// A proposal that this program would not have made.
    fn plant_proposal(&self, channel: &Value, adapter: ManifestId, keypair: &Keypair) -> ManifestId {
        let info = ProposalInfo {
            genesis: string(channel, "genesis").parse().expect("an id"),
            channel: string(channel, "channel").parse().expect("an id"),
            adapter,
            weight: Weight::ONE,
        };
        plant(&self.home(), &of(Kind::Proposal(info), keypair, Vec::new()), keypair, true)
    }

    fn plant_adapter(&self, folder: &Path, base: BaseId, licence: &str, keypair: &Keypair) -> ManifestId {
        let mut manifest = adapter_of(&self.home(), folder, base, keypair);
        manifest.licence = licence.to_owned();
        plant(&self.home(), &manifest, keypair, false)
    }
}

#[test]
fn what_a_program_of_ours_would_not_propose_is_refused_with_its_reason() {
    let lab = Lab::new();
    let (admitted, stranger) = (Keypair::generate(), Keypair::generate());
    let admit = PublicKey::of(&admitted).0.to_string();
    let rules = ["--admit", &admit, "--allow-licence", "MIT"];
    let channel = lab.open(1, &rules);
    let genesis: BaseId = string(&channel, "genesis").parse().expect("an id");
    let good = skills().adapter("dates");
    let nan = skills().altered("dates", "nan", |_| f32::NAN);
    let foreign = BaseId(Digest::of(&genesis.0.0));
    let adapters = [
        ("not_admitted", lab.plant_adapter(&good, genesis, "MIT", &stranger), &stranger),
        ("licence", lab.plant_adapter(&good, genesis, "GPL-3.0-only", &admitted), &admitted),
        ("other_base", lab.plant_adapter(&good, foreign, "MIT", &admitted), &admitted),
        ("malformed", lab.plant_adapter(&nan, genesis, "MIT", &admitted), &admitted),
    ];
    let planted = adapters.map(|(reason, adapter, key)| (reason, lab.plant_proposal(&channel, adapter, key)));
    // Its adapter is nowhere, and nobody can be asked: nothing is said of it.
    lab.plant_proposal(&channel, ManifestId(genesis.0), &admitted);
    let release = lab.release();
    assert_eq!((&release["released"], release["later"].as_u64()), (&Value::Bool(false), Some(1)), "{release:#}");
    for (reason, proposal) in planted {
        let all = release["verdicts"].as_array().expect("a list");
        let verdict = all.iter().find(|one| one["proposal"] == proposal.to_string()).expect("judged");
        let refused = refusal(verdict);
        assert!(refused == reason || refused.get(reason).is_some(), "{reason}: {verdict:#}");
    }
    lab.publish("json");
    lab.fails(&["channel", "propose", "json", "--to", "main"], 8, "admits listed publishers");
}

#[test]
fn an_adapter_of_a_version_is_taken_on_top_of_it_and_nobody_else_may_release() {
    let lab = Lab::new();
    let channel = lab.open(2, &[]);
    lab.publish("dates");
    lab.propose("dates");
    let first = lab.release();
    let (own, base) = (key_of(&lab.home()), string(&first, "base").parse().expect("an id"));
    let adapter = lab.plant_adapter(&skills().adapter("roman"), base, "MIT", &own);
    lab.plant_proposal(&channel, adapter, &own);
    let second = lab.release();
    assert_eq!((second["height"].as_u64(), second["adapters"].as_u64()), (Some(2), Some(2)), "{second:#}");

    // Another steward's channel, as one who follows it has it.
    let steward = Keypair::generate();
    let store = Store::open(&Home::open(lab.home()).expect("free")).expect("opens");
    let id: ManifestId = string(&channel, "channel").parse().expect("an id");
    let rules = store.manifest(&id).expect("readable").expect("there").body().kind.clone();
    drop(store);
    let other = plant(&lab.home(), &of(rules, &steward, Vec::new()), &steward, true);
    let store = Store::open(&Home::open(lab.home()).expect("free")).expect("opens");
    let name = "other".parse().expect("a name");
    let record = ChannelRecord { id: other, name, current: None, held: false, audit: false, halted: None };
    store.set_channel(record).expect("room");
    drop(store);
    let key = PublicKey::of(&steward);
    lab.fails(&["channel", "release", "other"], 8, &key.0.to_string());
    lab.fails(&["channel", "revoke", "other", "dates"], 8, "the steward");
}

/// The heights of the versions that lie in a home, and whether the one in force there is whole.
fn left_behind(home: &Path) -> (Vec<u32>, bool) {
    let store = Store::open(&Home::open(home).expect("free")).expect("opens");
    let mut heights = Vec::new();
    for summary in store.manifests().expect("readable") {
        if let Some(manifest) = store.manifest(&summary.id).expect("readable")
            && let Kind::Version(version) = &manifest.body().kind
        {
            heights.push(version.height);
        }
    }
    heights.sort();
    let channel = store.channels().pop().expect("one channel");
    (heights, channel.current.is_some_and(|id| store.is_well_formed(&id)))
}

/// A steward that dies at any step of publishing keeps the old version in force, and whatever is asked next, what was
/// promised is finished first: never two versions of one height.
#[test]
fn a_death_at_any_step_leaves_one_version_for_each_height() {
    let lab = Lab::new();
    lab.open(1, &[]);
    for skill in ["dates", "units"] {
        lab.publish(skill);
        lab.propose(skill);
    }
    assert_eq!(lab.release()["adapters"], 2);
    let (mut points, mut finished) = (vec!["recipe.begin", "manifest.half", "manifest.renamed"], Vec::new());
    // Each append in its middle, as often as there is one.
    let appends: Vec<String> = (1..9).map(|n| format!("append.half@{n}")).collect();
    points.extend(appends.iter().map(String::as_str));
    for (index, point) in points.into_iter().enumerate() {
        let home = lab.root.path().join(format!("home-{index}"));
        copy_folder(&lab.home(), &home);
        let mut dying = lab.program.command(&home, ["channel", "revoke", "main", "units"]);
        let dead = dying.env("POTLUCK_FAILPOINT", format!("{point}:abort")).output().expect("starts");
        if dead.status.success() {
            // There are no more appends.
            assert!(point > "append.half@4", "{point}");
            break;
        }
        let (heights, whole) = left_behind(&home);
        assert!(whole && heights.len() <= 2, "{point}: {heights:?}");
        // Something else than before is asked for.
        let next = lab.program.ok(&home, ["channel", "revoke", "main", "dates"]);
        let done = next["finished"].is_string();
        assert_eq!(next["height"], if done { 3 } else { 2 }, "{point}: {next:#}");
        assert_eq!(next["adapters"], if done { 0 } else { 1 }, "{point}: {next:#}");
        let (heights, whole) = left_behind(&home);
        assert_eq!(
            (heights, whole),
            ((1..=next["height"].as_u64().expect("a height") as u32).collect(), true),
            "{point}"
        );
        finished.push(done);
    }
    assert!(finished.contains(&true) && finished.contains(&false), "{finished:?}");
}

/// The same of a release, which has one shard to open: it ends with the one version that it would have made.
#[test]
fn a_release_that_dies_at_any_step_is_made_once() {
    let lab = Lab::new();
    lab.open(1, &[]);
    lab.publish("dates");
    lab.propose("dates");
    let points =
        ["recipe.begin", "manifest.half", "manifest.renamed", "append.half@1", "append.half@2", "append.done@2"];
    let (mut digests, mut finished) = (BTreeSet::new(), Vec::new());
    for (index, point) in points.into_iter().enumerate() {
        let home = lab.root.path().join(format!("home-{index}"));
        copy_folder(&lab.home(), &home);
        let mut dying = lab.program.command(&home, ["channel", "release", "main"]);
        let dead = dying.env("POTLUCK_FAILPOINT", format!("{point}:abort")).output().expect("starts");
        assert!(!dead.status.success(), "{point} was never passed");
        assert!(left_behind(&home).0.len() <= 1, "{point}");
        let next = lab.program.ok(&home, ["channel", "release", "main"]);
        finished.push(next["finished"].is_string());
        assert_eq!(next["height"], 1, "{point}: {next:#}");
        assert_eq!(left_behind(&home), (vec![1], true), "{point}");
        let shown = lab.program.ok(&home, ["channel", "show", "main"]);
        let [version] = &shown["versions"].as_array().expect("a list")[..] else { panic!("{point}: {shown:#}") };
        assert_eq!(version["inputs"].as_array().map(Vec::len), Some(1), "{point}: {shown:#}");
        digests.insert(string(version, "digest"));
        // Nothing is left to open, and nothing new to judge.
        assert_eq!(lab.program.ok(&home, ["channel", "release", "main"])["released"], false, "{point}");
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert!(finished.contains(&true) && finished.contains(&false), "{finished:?}");
}
