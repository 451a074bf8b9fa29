//! A channel from its steward's side, on one home without a network: what is taken, what is refused and why, what a crash
//! leaves, what cannot be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libp2p::identity::ed25519::Keypair;
use potluck_node::api::answers::{Merged, NewRelease, OpenedChannel, ProposalVerdict, Released, SuiteScore};
use potluck_node::api::ask::Ask;
use potluck_node::api::channel;
use potluck_node::api::proto::{Merge, Show};
use potluck_node::home::Home;
use potluck_node::store::{ChannelRecord, Store};
use potluck_protocol::channel::{ProposalInfo, Refusal, Role, VerdictOutcome};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::manifest::Kind;
use potluck_protocol::recipe::Weight;
use potluck_protocol::signed::PublicKey;
use potluck_tests::kit::{Answer, Program, copy_folder, text};
use potluck_tests::planted::{adapter_of, key_of, of, plant};
use potluck_tests::taught::{SKILLS, Skills};

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

    fn ok(&self, args: &[&str]) {
        self.program.ok(&self.home(), args);
    }

    /// The answer of a command that must succeed.
    fn answer<R: Ask>(&self, args: &[&str]) -> R::Answer {
        self.program.answer::<R>(&self.home(), args)
    }

    /// A channel with so many shards, and rules beside the usual ones.
    fn open(&self, shards: usize, rules: &[&str]) -> OpenedChannel {
        let args = skills().open("main", shards);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(rules.iter().copied()).collect();
        self.answer::<channel::Open>(&args)
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
        self.answer::<channel::Propose>(&["channel", "propose", adapter, "--to", "main"]).proposal.to_string()
    }

    fn release(&self) -> Released {
        self.answer::<channel::Release>(&["channel", "release", "main"])
    }

    /// A release that is a version.
    fn version(&self) -> NewRelease {
        match self.release() {
            Released::Version(release) => *release,
            Released::Nothing(nothing) => panic!("{nothing:#?}"),
        }
    }

    fn fails(&self, args: &[&str], code: i32, says: &str) {
        let answer = self.run(args);
        assert_eq!(answer.code, code, "{args:?}: {answer:#?}");
        assert!(answer.stderr.contains(says), "{args:?}: {}", answer.stderr);
    }
}

/// A release's verdicts by the names of the adapters.
fn verdicts(release: &NewRelease) -> BTreeMap<String, ProposalVerdict> {
    let named = |verdict: &ProposalVerdict| (verdict.name.clone().expect("it is here"), verdict.clone());
    release.verdicts.iter().map(named).collect()
}

/// Why an adapter was refused, as the version has it.
fn refusal(verdict: &ProposalVerdict) -> &Refusal {
    match &verdict.outcome {
        VerdictOutcome::Refused(refusal) => refusal,
        VerdictOutcome::Taken { .. } => panic!("{verdict:#?}"),
    }
}

/// The mean loss over the suites of a role.
fn mean(release: &NewRelease, role: Role, when: fn(&SuiteScore) -> f64) -> f64 {
    let suites = release.opened.suites.iter().filter(|suite| suite.role == role);
    let losses: Vec<f64> = suites.map(when).collect();
    losses.iter().sum::<f64>() / losses.len() as f64
}

fn taken<'a>(release: &'a NewRelease, skill: &str) -> &'a ProposalVerdict {
    let found = release.verdicts.iter().find(|one| one.name.as_deref() == Some(skill) && one.taken);
    found.unwrap_or_else(|| panic!("{skill} was not taken: {release:#?}"))
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
    let release = lab.version();
    assert_eq!(release.verdicts.len(), 7, "{release:#?}");
    let verdicts = verdicts(&release);
    assert!(
        matches!(refusal(&verdicts["flipped"]), Refusal::NoGain { alone_micro } if *alone_micro > 0),
        "{release:#?}"
    );
    assert!(matches!(refusal(&verdicts["huge"]), Refusal::Norm { ppm } if *ppm > 1_000_000), "{release:#?}");
    let best = SKILLS.iter().map(|skill| taken(&release, skill).loss_change.expect("a change"));
    let best = best.fold(f64::INFINITY, f64::min);
    let again = release.verdicts.iter().filter(|one| one.name.as_deref() == Some("dates") && !one.taken);
    let again: Vec<_> = again.map(refusal).collect();
    assert_eq!(again, [&Refusal::AlreadyIn]);
    let gained = mean(&release, Role::Improve, |one| one.after) - mean(&release, Role::Improve, |one| one.genesis);
    assert!(gained < best, "together {gained}, the best alone {best}");
    let kept = (mean(&release, Role::Keep, |one| one.after) - mean(&release, Role::Keep, |one| one.genesis)).exp();
    assert!(kept <= 1.1, "what is to be kept is at {kept}");
    let notes = lab.answer::<Show>(&["show", &proposals["json"]]).notes.join("\n");
    assert!(notes.contains("taken by version 1"), "{notes}");
    let notes = lab.answer::<Show>(&["show", &flipped]).notes.join("\n");
    assert!(notes.contains("refused by version 1: alone it moved the held-out loss by +"), "{notes}");

    // Nothing new: no shard is opened.
    assert!(matches!(lab.release(), Released::Nothing(nothing) if nothing.height == 1));

    revoking_is_never_having_had(&lab, &release);
}

/// The version without an adapter is that of a recipe which never had it.
fn revoking_is_never_having_had(lab: &Lab, release: &NewRelease) {
    let revoke = lab.answer::<channel::Revoke>(&["channel", "revoke", "main", "units"]).version;
    assert_eq!((revoke.height, revoke.adapters), (2, 3));
    assert_ne!(revoke.base, release.version.base);
    let weighted = ["dates", "json", "roman"].map(|skill| {
        let taken = taken(release, skill);
        format!("{}@{}", taken.adapter, taken.weight.expect("of what was taken"))
    });
    let out = text(&lab.root.path().join("without"));
    let mut args = vec!["merge", "--base", "tiny", "--fold", "--out", &out];
    args.extend(weighted.iter().map(String::as_str));
    let Merged::Base(folded) = lab.answer::<Merge>(&args) else { panic!("a fold") };
    assert_eq!(folded.digest, revoke.digest);
    // For good: it is neither taken back nor revoked twice.
    lab.fails(&["channel", "revoke", "main", "units"], 3, "not one of the 3 adapters");
    lab.propose(&format!("{}@0.25", taken(release, "units").adapter));
    let Released::Nothing(again) = lab.release() else { panic!("it is revoked") };
    assert_eq!(refusal(&again.verdicts[0]), &Refusal::Revoked);
}

#[test]
fn a_shard_that_scored_is_used_up_whatever_came_of_it() {
    let lab = Lab::new();
    let opened = lab.open(1, &[]);
    lab.publish_altered("flipped", |value| -value);
    lab.propose("flipped");
    let release = lab.version();
    assert_eq!((release.version.adapters, release.shards_left), (0, 0), "{release:#?}");
    // Its rows are public: files of the version, and what the channel had committed to.
    let show = lab.answer::<Show>(&["show", &release.version.version.to_string()]);
    let body = show.body.expect("it is here");
    let paths: Vec<_> = body.files.iter().map(|file| file.path.as_str()).collect();
    assert!(paths.contains(&"evaluation/corpus.jsonl"), "{paths:?}");
    lab.publish("dates");
    lab.propose("dates");
    lab.fails(&["channel", "release", "main"], 9, "are opened");
    lab.fails(&["channel", "release", "main"], 9, "channel open NAME --genesis");
    assert_eq!(opened.shards, 1);
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
    lab.fails(&[&open[..], &[other.as_str()]].concat(), 3, "not connected to a network");
    lab.fails(&[&open[..], &["no-such-base"]].concat(), 3, "no base");
    lab.fails(&[&open[..], &["tiny", "--shards", "49"]].concat(), 2, "fewer than the 49 shards");
    lab.fails(&[&open[..], &["tiny", "--shards", "0"]].concat(), 2, "1 to 1024");
    lab.fails(&[&open[..], &["tiny", "--admit", "me"]].concat(), 2, "not a publisher's key");
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
    fn plant_proposal(&self, channel: &OpenedChannel, adapter: ManifestId, keypair: &Keypair) -> ManifestId {
        let OpenedChannel { genesis, channel, .. } = *channel;
        let info = ProposalInfo { genesis, channel, adapter, weight: Weight::ONE };
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
    let genesis = channel.genesis;
    let good = skills().adapter("dates");
    let nan = skills().altered("dates", "nan", |_| f32::NAN);
    let foreign = BaseId(Digest::of(&genesis.0.0));
    let adapters = [
        (Refusal::NotAdmitted, lab.plant_adapter(&good, genesis, "MIT", &stranger), &stranger),
        (Refusal::Licence, lab.plant_adapter(&good, genesis, "GPL-3.0-only", &admitted), &admitted),
        (Refusal::OtherBase, lab.plant_adapter(&good, foreign, "MIT", &admitted), &admitted),
        (Refusal::Malformed(String::new()), lab.plant_adapter(&nan, genesis, "MIT", &admitted), &admitted),
    ];
    let planted = adapters.map(|(reason, adapter, key)| (reason, lab.plant_proposal(&channel, adapter, key)));
    // Its adapter is nowhere, and nobody can be asked: nothing is said of it.
    lab.plant_proposal(&channel, ManifestId(genesis.0), &admitted);
    let Released::Nothing(nothing) = lab.release() else { panic!("none can be taken") };
    assert_eq!(nothing.later, 1, "{nothing:#?}");
    for (expected, proposal) in planted {
        let verdict = nothing.verdicts.iter().find(|one| one.proposal == proposal).expect("judged");
        // Of what is malformed the reason is the reader's.
        let refused = match refusal(verdict) {
            Refusal::Malformed(_) => &Refusal::Malformed(String::new()),
            other => other,
        };
        assert_eq!(*refused, expected, "{verdict:#?}");
    }
    lab.publish("json");
    lab.fails(&["channel", "propose", "json", "--to", "main"], 8, "admits only listed publishers");
}

#[test]
fn an_adapter_of_a_version_is_taken_on_top_of_it_and_nobody_else_may_release() {
    let lab = Lab::new();
    let channel = lab.open(2, &[]);
    lab.publish("dates");
    lab.propose("dates");
    let (own, base) = (key_of(&lab.home()), lab.version().version.base);
    let adapter = lab.plant_adapter(&skills().adapter("roman"), base, "MIT", &own);
    lab.plant_proposal(&channel, adapter, &own);
    let second = lab.version().version;
    assert_eq!((second.height, second.adapters), (2, 2), "{second:#?}");

    // Another steward's channel, as one who follows it has it.
    let steward = Keypair::generate();
    let store = Store::open(&Home::open(lab.home()).expect("free")).expect("opens");
    let rules = store.manifest(&channel.channel).expect("readable").expect("there").body().kind.clone();
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
    assert_eq!(lab.version().version.adapters, 2);
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
        let next = lab.program.answer::<channel::Revoke>(&home, &["channel", "revoke", "main", "dates"]);
        let (height, done) = (next.version.height, next.finished.is_some());
        assert_eq!((height, next.version.adapters), if done { (3, 0) } else { (2, 1) }, "{point}: {next:#?}");
        assert_eq!(left_behind(&home), ((1..=height).collect(), true), "{point}");
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
        let release = || lab.program.answer::<channel::Release>(&home, &["channel", "release", "main"]);
        let (height, done) = match release() {
            Released::Version(release) => (release.version.height, release.finished),
            Released::Nothing(nothing) => (nothing.height, nothing.finished),
        };
        finished.push(done.is_some());
        assert_eq!(height, 1, "{point}");
        assert_eq!(left_behind(&home), (vec![1], true), "{point}");
        let shown = lab.program.answer::<channel::Show>(&home, &["channel", "show", "main"]);
        let [version] = &shown.versions[..] else { panic!("{point}: {shown:#?}") };
        assert_eq!(version.inputs.len(), 1, "{point}: {shown:#?}");
        digests.insert(version.digest);
        // Nothing is left to open, and nothing new to judge.
        assert!(matches!(release(), Released::Nothing(_)), "{point}");
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert!(finished.contains(&true) && finished.contains(&false), "{finished:?}");
}
