//! F6: proofs that name versions which nobody has, beside a true one.

use std::time::{Duration, Instant};

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::channel::{Change, Claim, ProofInfo};
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::manifest::Kind;
use potluck_protocol::recipe::Weight;
use serde_json::json;

use super::keys::key;
use super::peer::Manner;
use super::scene::Scene;
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, signed};
use crate::forged::{self, Draft, Weights};

const COUNT: usize = 96;
const UPDATES: usize = 3;
const BOUND: Duration = Duration::from_secs(60);

fn proof(key: &Keypair, genesis: BaseId, channel: ManifestId, claim: Claim) -> Outcome<signed::SignedManifest> {
    signed::manifest(key, "proof", Kind::Proof(ProofInfo { genesis, channel, claim }), Vec::new(), 1)
}

/// Puts so many proofs on a shelf, each by a key of its own.
pub fn offer(
    shelf: &Shelf,
    seed: &str,
    genesis: BaseId,
    channel: ManifestId,
    count: usize,
) -> Outcome<Vec<AnnouncementId>> {
    let one = |n: usize| {
        let seed = format!("{seed} junk proof {n}");
        let [first, second] = ["first", "second"].map(|which| signed::nowhere(&format!("{seed} {which}")));
        let key = key(&seed)?;
        let proof = proof(&key, genesis, channel, Claim::Equivocation { first, second })?;
        Ok(shelf.offer(&key, &proof, 1)?.id)
    };
    (0..count).map(one).collect()
}

/// Puts a true proof on a shelf: two versions that a steward signed for one height, which nobody is told of, and a proof
/// that names them, whose record comes late in the order of ids.
pub fn tell_truth(
    shelf: &Shelf,
    auditor: &Keypair,
    steward: &Keypair,
    genesis: BaseId,
    channel: ManifestId,
) -> Outcome<AnnouncementId> {
    let version = |text: &str| {
        let weights = Weights { digest: FoldDigest(Digest::of(text.as_bytes())), base: BaseId(Digest::of(b"version")) };
        let input = signed::nowhere(text);
        let draft = Draft {
            channel,
            height: 1,
            previous: None,
            change: Change::Release,
            genesis,
            inputs: vec![(input, Weight::ONE)],
            taken: vec![input],
            revoked: Vec::new(),
            weights,
        };
        signed::manifest(steward, "version", forged::version_of(&draft), Vec::new(), 1)
    };
    let two = [version("one")?, version("another")?];
    two.iter().for_each(|version| shelf.keep(version));
    let proof = proof(auditor, genesis, channel, Claim::Equivocation { first: two[0].id, second: two[1].id })?;
    shelf.keep(&proof);
    for sequence in 1.. {
        let record = signed::record(auditor, &signed::announcement_of(&proof, sequence)?)?;
        if record.id.0.0[0] == 0xff {
            shelf.say([record.clone()]);
            return Ok(record.id);
        }
    }
    Err("no record comes late".into())
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "proofs")?;
    let key = |who: &str| key(&format!("{} {who}", scene.seed));
    let (steward, truth, junk) = (key("steward")?, Shelf::default(), Shelf::default());
    let channel = signed::manifest(&steward, "helpers", forged::channel(scene.tiny, None), Vec::new(), 1)?;
    truth.offer(&steward, &channel, 1)?;
    let count = setting.sizes.count.unwrap_or(COUNT);
    let mut said = offer(&junk, &scene.seed.to_string(), scene.tiny, channel.id, count)?;
    let follower = scene.up("follower", &[]);
    let auditor = scene.follower(&follower, &key("auditor")?, Manner::Serving(truth.clone()))?;
    let _liar = scene.follower(&follower, &key("liar")?, Manner::Serving(junk))?;
    let junk_heard = scene.heard(&auditor, &scene.tiny, &said, Duration::from_secs(30));
    scene.ok("follower", &["channel", "follow", &channel.id.to_string(), "--timeout", "10"])?;
    said = vec![tell_truth(&truth, &key("auditor")?, &steward, scene.tiny, channel.id)?];
    let truth_heard = scene.heard(&auditor, &scene.tiny, &said, Duration::from_secs(60));
    let (begun, mut seconds, mut halted) = (Instant::now(), Vec::new(), false);
    for _ in 0..UPDATES {
        let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(300));
        let args = ["channel", "update", "helpers", "--timeout", "10"];
        seconds.push(scene.run_within("follower", &args, limit)?.1.as_secs_f64());
        halted = scene.channel("follower", "helpers")?.is_some_and(|(_, halted)| halted);
        if halted {
            break;
        }
    }
    let took = begun.elapsed();
    let figures = json!({
        "junk": count, "junk_heard": junk_heard, "truth_heard": truth_heard == 1, "true_proof_obeyed": halted,
        "update_seconds": seconds, "seconds": took.as_secs_f64(), "bound_s": BOUND.as_secs(),
    });
    Ok(Found { figures, holds: halted && took < BOUND })
}
