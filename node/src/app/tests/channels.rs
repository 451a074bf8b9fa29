//! A steward's release and a follower's update, without a swarm and without a worker process: the store holds what peers
//! would have sent, and a script answers for the numerics.

use std::sync::{Arc, Mutex};

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::channel::{Claim, ProofInfo, ProposalInfo, Refusal, Role, Score, Verdict, VerdictOutcome};
use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::recipe::Weight;
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_trainer::data::check::Report;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Script, Stage};
use crate::api::answers::{InForce, NewRelease, NothingReleased, Released};
use crate::api::channel::{Follow, Open, Propose, Release, SuiteRows, Unfollow, Update};
use crate::app::call::{Call, ChosenBy};
use crate::app::channel::follower::chain::Found;
use crate::app::channel::follower::limits::PROOFS_AT_ONCE;
use crate::app::channel::follower::update::Asked;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{Halt, Store};
use crate::worker::answers::Folded;
use crate::worker::proto::Task;
use crate::worker::proto::choose::{ChooseTask, Chosen};

/// What every fold gives.
fn folded() -> Folded {
    Folded { digest: FoldDigest(Digest::of(b"folded")), base: BaseId(Digest::of(b"version")) }
}

/// Every proposal that is weighed is taken as it is, and lowers the loss.
fn take_all(task: &ChooseTask) -> Chosen {
    let verdict = |proposed: &crate::worker::proto::choose::Proposed| Verdict {
        proposal: proposed.proposal,
        adapter: proposed.adapter.id,
        outcome: VerdictOutcome::Taken { weight: proposed.adapter.weight, alone_micro: -50_000 },
    };
    let mut verdicts: Vec<_> = task.proposed.iter().map(verdict).collect();
    verdicts.sort_by_key(|verdict| verdict.proposal);
    let score = Score { genesis_micro: 3_000_000, before_micro: 3_000_000, after_micro: 2_900_000 };
    Chosen { verdicts, scores: Some(vec![score; task.suites.len()]), weighed: Vec::new() }
}

/// A worker that finds all rows good and takes every adapter; a fold gives `folded`.
fn script(folded: Folded) -> Arc<Script> {
    Script::new(move |task| {
        let answer = match task {
            Task::CheckData { .. } => json!(Report::default()),
            Task::Choose(task) => json!(take_all(task)),
            Task::Fold { .. } => json!(folded),
            _ => return Err(Failure::new(Kind::Failed, "not in the script")),
        };
        Ok(answer)
    })
}

/// Opens the channel `ours` with two sealed shards; its id.
async fn open(stage: &Stage, licences: &[&str]) -> ManifestId {
    let rows = stage.fixture.root().join("rows.jsonl");
    std::fs::write(&rows, "{\"text\": \"one\"}\n{\"text\": \"two\"}\n").expect("room");
    let open = Open {
        name: "ours".to_owned(),
        genesis: "small".to_owned(),
        description: String::new(),
        licence: "MIT".to_owned(),
        dtype: Some("f32".to_owned()),
        admit: Vec::new(),
        licences: licences.iter().map(|licence| (*licence).to_owned()).collect(),
        suites: vec![SuiteRows { name: "prose".to_owned(), role: Role::Improve, rows }],
        shards: 2,
        gain_ppm: 1_000,
        guard_ppm: 1_000,
        clip_ppm: 100_000,
        refuse_ppm: 1_000_000,
    };
    stage.ask(open).await.expect("opens").channel
}

async fn release(stage: &Stage) -> Released {
    let release = Release { channel: "ours".to_owned(), timeout_seconds: 1.into(), threads: 1, offline: false };
    stage.ask(release).await.expect("releases")
}

/// A release that must be a version.
async fn release_version(stage: &Stage) -> NewRelease {
    match release(stage).await {
        Released::Version(release) => *release,
        Released::Nothing(nothing) => panic!("{nothing:?}"),
    }
}

/// A release that must be none.
async fn release_nothing(stage: &Stage) -> NothingReleased {
    match release(stage).await {
        Released::Nothing(nothing) => nothing,
        Released::Version(release) => panic!("{release:?}"),
    }
}

/// A steward whose channel has one version, of one adapter; the channel and the version.
async fn released() -> (Stage, ManifestId, ManifestId) {
    let stage = Stage::new(&script(folded())).await;
    let channel = open(&stage, &[]).await;
    propose(&stage, "three").await;
    let version = release_version(&stage).await.version.version;
    (stage, channel, version)
}

/// An adapter of that name is published here by somebody else, and proposed by this node.
async fn propose(stage: &Stage, name: &str) -> ManifestId {
    let adapter = stage.fixture.add(stage.store(), name, 100);
    let (channel, name) = ("ours".to_owned(), name.to_owned());
    let propose = Propose { channel, adapter: name, weight: 0.5, timeout_seconds: 1.into() };
    stage.ask(propose).await.expect("proposes");
    adapter
}

#[tokio::test]
async fn a_release_takes_what_was_proposed_and_judges_it_once() {
    let script = script(folded());
    let stage = Stage::new(&script).await;
    let channel = open(&stage, &[]).await;
    let adapter = propose(&stage, "three").await;
    assert_eq!(script.asked(), ["check"], "the rows are read before they are sealed");

    let answer = release_version(&stage).await;
    assert_eq!((answer.released, answer.version.height), (true, 1));
    assert_eq!((answer.version.base, answer.version.digest), (folded().base, folded().digest));
    assert!(answer.verdicts[0].taken);
    assert_eq!(answer.shards_left, 1);
    assert_eq!(script.asked(), ["choose", "fold"]);
    let (store, version) = (stage.store(), answer.version.version);
    assert_eq!(store.channel(&channel).and_then(|record| record.current), Some(version), "it is in force here");
    assert!([adapter, version].iter().all(|id| store.pins().contains(id)), "followers can have all of it");

    let again = release_nothing(&stage).await;
    assert_eq!((again.released, again.version), (false, Some(version)));
    assert!(script.asked().is_empty(), "nothing new: no shard is opened and nothing is folded");
}

/// F19: while a fold goes on, a copy of this home may sign.
#[tokio::test]
async fn a_version_that_a_copy_signs_while_ours_is_folded_is_not_signed_twice() {
    let (meanwhile, rest) = (Arc::<Mutex<Option<(Store, Authentic<Manifest>)>>>::default(), script(folded()));
    let heard = meanwhile.clone();
    let script = Script::new(move |task| {
        let heard = || heard.lock().expect("no test panicked with it").take();
        if let Task::Fold { .. } = task
            && let Some((store, version)) = heard()
        {
            let mapped = store.map(version).expect("readable").expect("it fits");
            let complete = mapped.complete(|id| store.has_shard(id)).expect("readable").expect("the same rows");
            store.commit(&complete).expect("room");
        }
        (rest.answers)(task)
    });
    let stage = Stage::new(&script).await;
    let channel = open(&stage, &[]).await;
    propose(&stage, "three").await;
    let copy = stage.copy(&script).await;
    stage.fixture.add(stage.store(), "four", 100);
    propose(&copy, "four").await;
    let theirs = release_version(&copy).await.version.version;
    let signed = copy.store().manifest(&theirs).expect("readable").expect("just signed");
    *meanwhile.lock().expect("no test panicked with it") = Some((stage.store().clone(), signed));

    let release = || Release { channel: "ours".to_owned(), timeout_seconds: 1.into(), threads: 1, offline: false };
    let failure = stage.ask(release()).await.expect_err("signed elsewhere");
    assert_eq!(failure.kind, Kind::Conflict, "{failure}");
    assert!(failure.message.contains(&theirs.to_string()), "{failure}");
    assert_eq!(stage.store().promised(&channel), None, "nothing is promised for that height");
    // The next command goes on from the copy's version.
    propose(&stage, "five").await;
    let again = release_version(&stage).await;
    assert_eq!((again.version.height, stage.store().promised(&channel).map(|kept| kept.height)), (2, Some(2)));
    let versions = stage.store().manifests().expect("readable").into_iter().filter(|one| one.kind == KindTag::Version);
    assert_eq!(versions.count(), 2, "one for each height");
}

#[tokio::test]
async fn a_proposal_that_the_rules_refuse_is_not_weighed() {
    let script = script(folded());
    let stage = Stage::new(&script).await;
    let channel = open(&stage, &["MIT"]).await;
    // It states no licence. Whoever runs another program can propose it all the same.
    let adapter = stage.fixture.add(stage.store(), "three", 100);
    let info = ProposalInfo { genesis: Stage::base(), channel, adapter, weight: Weight(1 << 15) };
    let name = "three".parse().expect("a name");
    let publisher = &stage.node.parts.publisher;
    publisher.publish_record(ManifestKind::Proposal(info), &name, "", String::new()).await.expect("signed");
    script.asked();

    let answer = release_nothing(&stage).await;
    assert_eq!((answer.released, answer.height), (false, 0));
    assert_eq!(answer.verdicts[0].outcome, VerdictOutcome::Refused(Refusal::Licence));
    assert!(script.asked().is_empty());
}

/// The adapter of an innocent publisher cannot be held against a base that is damaged here. That is no verdict on it.
#[tokio::test]
async fn a_stewards_own_damaged_base_refuses_nobodys_adapter() {
    let rest = script(folded());
    let script = Script::new(move |task| match task {
        Task::Describe { .. } => Err(Failure::new(Kind::Verification, "model.safetensors is damaged")),
        task => (rest.answers)(task),
    });
    let stage = Stage::new(&script).await;
    let channel = open(&stage, &[]).await;
    // Here whole, and not looked at yet.
    let complete = stage.fixture.complete(stage.store(), "three", 100).expect("room");
    stage.store().commit(&complete).expect("room");
    let adapter = complete.manifest().id();
    let info = ProposalInfo { genesis: Stage::base(), channel, adapter, weight: Weight(1 << 15) };
    let name = "three".parse().expect("a name");
    let publisher = &stage.node.parts.publisher;
    publisher.publish_record(ManifestKind::Proposal(info), &name, "", String::new()).await.expect("signed");

    let release = Release { channel: "ours".to_owned(), timeout_seconds: 1.into(), threads: 1, offline: false };
    let failure = stage.ask(release).await.expect_err("a damaged base");
    assert_eq!(failure.kind, Kind::Verification, "{failure}");
    assert_eq!(failure.message, "base `small`: model.safetensors is damaged");
    assert!(!stage.store().is_well_formed(&adapter));
    let versions = stage.store().manifests().expect("readable").into_iter().filter(|one| one.kind == KindTag::Version);
    assert_eq!(versions.count(), 0, "nothing was signed about it");
}

#[tokio::test]
async fn a_follower_folds_a_release_again_and_takes_it() {
    let (steward, channel, version) = released().await;
    let script = script(folded());
    let follower = steward.hand_over(&script).await;
    let answer = follow(&follower, channel).await.expect("follows");
    assert_eq!((answer.from, answer.height), (0, 1));
    assert_eq!((answer.version, answer.base), (Some(version), folded().base));
    assert_eq!(follower.store().channel(&channel).and_then(|record| record.current), Some(version));
    assert_eq!(script.asked(), ["fold"]);

    let update = Update { channel: "ours".to_owned(), timeout_seconds: 1.into() };
    let again = follower.ask(update).await.expect("nothing newer");
    assert_eq!((again.from, again.height), (1, 1));
    assert!(script.asked().is_empty(), "what is in force is not folded again");
}

#[tokio::test]
async fn a_follower_halts_a_channel_whose_version_folds_to_something_else() {
    let (steward, channel, version) = released().await;
    let digest = FoldDigest(Digest::of(b"something else"));
    let follower = steward.hand_over(&script(Folded { digest, ..folded() })).await;
    let failure = follow(&follower, channel).await.expect_err("a lie");
    assert_eq!(failure.kind, Kind::Verification, "{failure}");
    let record = follower.store().channel(&channel).expect("followed");
    assert_eq!((record.current, record.halted), (None, Some(Halt::Mismatch { version, digest })));
    let held = follower.store().manifests().expect("readable");
    assert!(held.iter().any(|one| one.kind == KindTag::Proof), "the proof is kept for whoever asks");

    let update = Update { channel: "ours".to_owned(), timeout_seconds: 1.into() };
    assert_eq!(follower.ask(update).await.map_err(|failure| failure.kind), Err(Kind::Verification));
}

/// Programs from before decision 0023 cannot read a proof that encloses what it proves. They judge the one that names two
/// versions, if they hear of it first and the prover hands out both.
#[tokio::test]
async fn two_versions_for_one_height_are_proven_in_a_form_that_old_followers_can_judge_too() {
    let (steward, channel, version) = released().await;
    let first = steward.store().manifest(&version).expect("readable").expect("just signed");
    let again = Manifest { description: "the same height again".to_owned(), ..first.body().clone() };
    let publisher = &steward.node.parts.publisher;
    let complete = publisher.sign_and_store(&again).await.expect("its rows are here");
    let second = publisher.objects.inspect_record(complete).await.expect("a record").manifest().id();
    let (first, second) = (version.min(second), version.max(second));

    let follower = steward.hand_over(&script(folded())).await;
    let failure = follow(&follower, channel).await.expect_err("two versions for one height");
    assert_eq!(failure.kind, Kind::Verification, "{failure}");
    let store = follower.store();
    let manifests = store.manifests().expect("readable");
    let proofs = manifests.iter().filter(|one| one.kind == KindTag::Proof).map(|one| store.manifest(&one.id));
    let claims: Vec<Claim> = proofs
        .map(|manifest| match &manifest.expect("readable").expect("listed").body().kind {
            ManifestKind::Proof(proof) => proof.claim.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let named = Claim::Equivocation { first, second };
    assert!(claims.contains(&named), "{claims:?}");
    assert!(claims.iter().any(|claim| matches!(claim, Claim::Enclosed { .. })), "{claims:?}");
    for id in [first, second] {
        assert!(store.is_well_formed(&id), "whoever judges the proof that names it gets it here");
    }
    let told = Found::equivocation(
        &store.manifest(&first).expect("readable").expect("here"),
        &store.manifest(&second).expect("readable").expect("here"),
    );
    assert_eq!(told.claims.first(), Some(&named), "the one that everybody can read is announced first");
}

/// A version's verdict is for good: no other release looks at the proposal again.
#[tokio::test]
async fn what_was_not_looked_for_in_full_is_signed_as_missing_by_no_version() {
    let stage = Stage::new(&script(folded())).await;
    let channel = open(&stage, &[]).await;
    let info = ProposalInfo {
        genesis: Stage::base(),
        channel,
        adapter: ManifestId(Digest::of(b"nobody is here who could have it")),
        weight: Weight::ONE,
    };
    let (publisher, name) = (&stage.node.parts.publisher, "offer".parse().expect("a name"));
    publisher.publish_record(ManifestKind::Proposal(info), &name, "", String::new()).await.expect("signed");
    let (stage, tasks) = stage.online(&script(folded())).await;
    let nothing = release_nothing(&stage).await;
    assert_eq!((nothing.missing, nothing.verdicts.len()), (1, 0), "{nothing:?}");
    let again = release_nothing(&stage).await;
    assert_eq!((again.later, again.verdicts.len()), (1, 0), "{again:?}");
    assert!(tasks.finish().await);
}

/// F6: proofs by keys that cost nothing are read once each, in an order that nobody chooses.
#[tokio::test]
async fn a_true_proof_is_found_among_hundreds_that_name_what_nobody_has() {
    const JUNK: usize = 500;
    let (steward, channel, version) = released().await;
    let first = steward.store().manifest(&version).expect("readable").expect("just signed");
    let other = Manifest { description: "the same height again".to_owned(), ..first.body().clone() };
    let other = steward.node.parts.publisher.sign(&other).expect("its own key");
    let (follower, tasks) = steward.hand_over(&script(folded())).await.online(&script(folded())).await;
    let network = follower.node.network().expect("it is online").clone();
    network.handle.subscribe(Stage::base()).await.expect("one base is not too many");
    for n in 0..JUNK {
        let key = Keypair::generate();
        let said = Announcement {
            manifest: ManifestId(Digest::of(&n.to_le_bytes())),
            manifest_len: 1,
            kind: KindTag::Proof,
            name: "proof".parse().expect("a name"),
            base: Stage::base(),
            total_bytes: 0,
            publisher: PublicKey::of(&key),
            sequence: 1,
        };
        let said = Signed::sign(&said, &key).expect("encodes").expect("its key").verify().expect("just signed");
        network.handle.announce(said).await.expect("there is room");
    }
    let claim = Found::equivocation(&first, &other).claims.pop().expect("they fit");
    assert!(matches!(claim, Claim::Enclosed { .. }), "the proof needs nobody who has the versions");
    let info = ProofInfo { genesis: Stage::base(), channel, claim };
    let name = "proof".parse().expect("a name");
    let publisher = &follower.node.parts.publisher;
    publisher.publish_record(ManifestKind::Proof(info), &name, "", String::new()).await.expect("signed");

    let (progress, cancel) = (mpsc::channel(1).0, CancellationToken::new());
    let call = Call { progress: &progress, cancel: &cancel, chosen_by: ChosenBy::Us };
    let mut updates = 0;
    while follower.store().channel(&channel).is_some_and(|record| record.halted.is_none()) {
        updates += 1;
        assert!(updates <= JUNK.div_ceil(PROOFS_AT_ONCE) + 1, "what led nowhere was read again");
        // As the daemon does it of its own accord.
        let _halts_or_not = follower.node.parts.channels.follower.update(&call, channel, Asked::Daemon).await;
    }
    let halted = follower.store().channel(&channel).and_then(|record| record.halted);
    let both = [first.id().min(other.id()), first.id().max(other.id())];
    assert_eq!(halted, Some(Halt::Equivocation { first: both[0], second: both[1] }));
    assert!(tasks.finish().await);
}

/// Follows with audits. The home was another's: the channel is no longer this node's own.
async fn follow(stage: &Stage, channel: ManifestId) -> Outcome<InForce> {
    stage.ask(Unfollow { channel: "ours".to_owned(), force: false }).await.expect("not its own");
    let follow = Follow { channel: channel.to_string(), name: None, audit: true, timeout_seconds: 1.into() };
    stage.ask(follow).await
}
