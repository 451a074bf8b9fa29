//! F8: announcements under as many signatures as an envelope may have. One body and a few keys make any number of
//! envelopes, without signing again.

use std::time::Duration;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::codec;
use potluck_protocol::id::BaseId;
use potluck_protocol::limits::SIGNATURES_MAX;
use potluck_protocol::splitmix::SplitMix64;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::keys::key;
use super::peer::{Manner, Peer};
use super::scene::{Scene, metric};
use super::shelf::Shelf;
use super::signed::{self, Signature};
use super::{Found, Outcome, Setting, attacked};
use crate::kit::Up;
use crate::processes;

const COUNT: usize = 2000;
const A_SECOND: u64 = 500;
const KEYS: usize = 30;
const BOUND: f64 = 2.5;
/// After so long a node has done what it was asked to do.
const SETTLED: Duration = Duration::from_secs(1);

/// Makes envelopes of one body.
pub struct Envelopes {
    body: Vec<u8>,
    publisher: Signature,
    others: Vec<Signature>,
    rng: SplitMix64,
}

impl Envelopes {
    pub fn new(seed: &str, base: BaseId) -> Outcome<Self> {
        let keys = (0..KEYS).map(|n| key(&format!("{seed} signer {n}"))).collect::<Outcome<Vec<Keypair>>>()?;
        let manifest = signed::nowhere(&format!("{seed} signed often"));
        let body = codec::encode(&signed::announcement(&keys[0], manifest, KindTag::Adapter, base))?;
        let mut signatures = Vec::new();
        for key in &keys {
            signatures.push(signed::signature::<Announcement>(key, &body)?);
        }
        let publisher = signatures.remove(0);
        let rng = SplitMix64::new(u64::from_le_bytes(*manifest.0.0.first_chunk().ok_or("a digest")?));
        Ok(Self { body, publisher, others: signatures, rng })
    }

    /// The next one: nobody has seen it, and every signature in it is right.
    pub fn make(&mut self) -> Vec<u8> {
        let mut signatures = self.rng.sample(self.others.clone(), SIGNATURES_MAX - 1);
        signatures.push(self.publisher);
        signed::envelope(&self.body, signatures)
    }
}

/// Says messages at a rate, as long as they are taken; how many.
pub async fn say(peer: &mut Peer, base: &BaseId, messages: impl Iterator<Item = Vec<u8>>, a_second: u64) -> usize {
    let (begun, mut said) = (Instant::now(), 0);
    for message in messages {
        sleep_until(begun + Duration::from_millis(1000 * said as u64 / a_second)).await;
        if peer.publish(base, &message).await.is_err() {
            break;
        }
        said += 1;
    }
    said
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "signatures")?;
    let victim = scene.up("victim", &[]);
    let count = setting.sizes.count.unwrap_or(COUNT);
    let seed = format!("{} many", scene.seed);
    let mut envelopes = Envelopes::new(&seed, scene.tiny)?;
    let many: Vec<Vec<u8>> = (0..count).map(|_| envelopes.make()).collect();
    let single = |n: usize| {
        let manifest = signed::nowhere(&format!("{seed} signed once {n}"));
        let key = key(&format!("{seed} once {n}"))?;
        Ok(signed::record(&key, &signed::announcement(&key, manifest, KindTag::Adapter, scene.tiny))?.bytes)
    };
    let ones = (0..count).map(single).collect::<Outcome<Vec<_>>>()?;
    let one = cost(&scene, &victim, "one", ones)?;
    let many = cost(&scene, &victim, "sixteen", many)?;
    // One that is put out for it has been heard enough.
    attacked(one.0 == count, || format!("{} of {count} messages with one signature were taken", one.0))?;
    attacked(many.0 > 0, || "no message with sixteen signatures was taken".to_owned())?;
    let ratio = many.1 / one.1.max(0.01);
    let micros = |(said, seconds): (usize, f64)| 1e6 * seconds / said.max(1) as f64;
    let figures = json!({
        "messages": count, "a_second": A_SECOND,
        "one_signature": { "taken": one.0, "processor_s": one.1, "us_each": micros(one) },
        "sixteen_signatures": { "taken": many.0, "processor_s": many.1, "us_each": micros(many) },
        "ratio": ratio, "bound": BOUND,
        "misdeeds": metric(&victim, "potluck_misdeeds_total")?, "banned": metric(&victim, "potluck_peers_banned_total")?,
    });
    Ok(Found { figures, holds: ratio <= BOUND })
}

/// Messages that were taken, and the daemon's processor time for them.
fn cost(scene: &Scene, up: &Up, who: &str, messages: Vec<Vec<u8>>) -> Outcome<(usize, f64)> {
    let key = key(&format!("{} says {who}", scene.seed))?;
    let mut peer = scene.follower(up, &key, Manner::Serving(Shelf::default()))?;
    std::thread::sleep(SETTLED);
    let before = processes::processor_seconds(up.pid())?;
    let said = scene.block_on(say(&mut peer, &scene.tiny, messages.into_iter(), A_SECOND));
    // What is on its way is looked at as well.
    std::thread::sleep(SETTLED);
    Ok((said, processes::processor_seconds(up.pid())? - before))
}
