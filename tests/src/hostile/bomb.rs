//! F1: an adapter whose shard table names one shard again and again. Little travels, and whoever reads it whole needs what
//! the manifest states.

use std::fs;
use std::path::Path;
use std::time::Duration;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::channel::ProposalInfo;
use potluck_protocol::codec;
use potluck_protocol::id::{BaseId, Digest, FileDigest, ManifestId, ShardId};
use potluck_protocol::limits::SHARD_MAX;
use potluck_protocol::manifest::{AdapterInfo, FileEntry, Kind};
use potluck_protocol::recipe::Weight;
use potluck_protocol::shard::{Cut, ShardRow, ShardTable};
use potluck_protocol::text::RelPath;
use serde_json::{Value, json};

use super::keys::key;
use super::peer::Manner;
use super::scene::{Scene, mib};
use super::shelf::Shelf;
use super::signed::{self, SignedManifest};
use super::{Found, Outcome, Setting, attacked};
use crate::processes;

const PULLED_MIB: u64 = 3000;
const PROPOSED_MIB: u64 = 1000;

/// What a daemon may have had at most.
const BOUND_MIB: u64 = 300;

/// What an honest adapter says of itself, and a bomb after it.
#[derive(Clone, Debug)]
pub struct Like {
    config: Vec<u8>,
    info: AdapterInfo,
}

impl Like {
    /// By a PEFT folder.
    pub fn of(folder: &Path, base: BaseId) -> Outcome<Self> {
        let config = fs::read(folder.join("adapter_config.json"))?;
        let read: Value = serde_json::from_slice(&config)?;
        let mut target_modules: Vec<String> = serde_json::from_value(read["target_modules"].clone())?;
        target_modules.sort();
        let info = AdapterInfo {
            base,
            trained_on: base,
            r: u32::try_from(read["r"].as_u64().ok_or("a rank")?)?,
            target_modules,
            parents: Vec::new(),
            training: None,
            evaluations: Vec::new(),
        };
        Ok(Self { config, info })
    }
}

/// Puts a bomb of so many MiB on a shelf, announced.
pub fn offer(shelf: &Shelf, like: &Like, key: &Keypair, mib: u64) -> Outcome<SignedManifest> {
    let digest = |bytes: &[u8]| FileDigest(Digest::of(bytes));
    let config = file(shelf, "adapter_config.json", &like.config, 1, digest(&like.config))?;
    let piece = vec![0; SHARD_MAX];
    let mut whole = blake3::Hasher::new();
    for _ in 0..mib {
        whole.update(&piece);
    }
    let whole = FileDigest(Digest(*whole.finalize().as_bytes()));
    let model = file(shelf, "adapter_model.safetensors", &piece, mib, whole)?;
    let bomb = signed::manifest(key, "bomb", Kind::Adapter(like.info.clone()), vec![config, model], mib)?;
    shelf.offer(key, &bomb, 1)?;
    Ok(bomb)
}

/// A file of one piece, so many times.
fn file(shelf: &Shelf, path: &str, piece: &[u8], times: u64, digest: FileDigest) -> Outcome<FileEntry> {
    let row = ShardRow { id: ShardId(Digest::of(piece)), len: u32::try_from(piece.len())? };
    let table = codec::encode(&ShardTable { cut: Cut::Fixed, rows: vec![row; usize::try_from(times)?] })?;
    let parts = table.chunks(SHARD_MAX).map(|part| (ShardId(Digest::of(part)), part.to_vec()));
    let parts: Vec<_> = parts.collect();
    let entry = FileEntry {
        path: RelPath::new(path)?,
        len: piece.len() as u64 * times,
        digest,
        table: parts.iter().map(|(id, _)| *id).collect(),
        table_len: u32::try_from(table.len())?,
    };
    shelf.stock(parts);
    shelf.stock([(row.id, piece.to_vec())]);
    Ok(entry)
}

/// The proposal of an adapter.
pub fn proposal(key: &Keypair, genesis: BaseId, channel: ManifestId, adapter: ManifestId) -> Outcome<SignedManifest> {
    let info = ProposalInfo { genesis, channel, adapter, weight: Weight::ONE };
    signed::manifest(key, "proposal", Kind::Proposal(info), Vec::new(), 1)
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "bomb")?;
    let like = Like::of(&scene.adapter("trainer", 3), scene.tiny)?;
    let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(180));
    let pulled = pulled(&scene, &like, setting.sizes.mib.unwrap_or(PULLED_MIB), limit)?;
    let proposed_mib = setting.sizes.mib.map_or(PROPOSED_MIB, |mib| mib / 3);
    let released = released(&scene, &like, proposed_mib, limit)?;
    let peak = |part: &Value| part["daemon_peak_mib"].as_u64().unwrap_or(u64::MAX);
    let holds = peak(&pulled).max(peak(&released)) < BOUND_MIB;
    Ok(Found { figures: json!({ "pull": pulled, "release": released, "bound_mib": BOUND_MIB }), holds })
}

fn pulled(scene: &Scene, like: &Like, stated: u64, limit: Duration) -> Outcome<Value> {
    let (key, shelf) = (key(&format!("{} bomber", scene.seed))?, Shelf::default());
    let bomb = offer(&shelf, like, &key, stated)?;
    let up = scene.up("victim", &[]);
    let _bomber = scene.follower(&up, &key, Manner::Serving(shelf.clone()))?;
    let before = mib(processes::peak_memory(up.pid())?);
    let (answer, took) = scene.run_within("victim", &["pull", &bomb.id.to_string(), "--timeout", "60"], limit)?;
    attacked(shelf.manifests_asked() > 0, || "nobody asked for the bomb's manifest".to_owned())?;
    Ok(json!({
        "stated_mib": stated, "daemon_mib_before": before, "daemon_peak_mib": mib(processes::peak_memory(up.pid())?),
        "seconds": took.as_secs_f64(), "code": answer.as_ref().map(|answer| answer.code),
        "said": answer.map(|answer| answer.json["error"]["message"].clone()),
    }))
}

fn released(scene: &Scene, like: &Like, stated: u64, limit: Duration) -> Outcome<Value> {
    let (key, shelf) = (key(&format!("{} proposer", scene.seed))?, Shelf::default());
    let channel = scene.open_channel("steward")?;
    let bomb = offer(&shelf, like, &key, stated)?;
    let proposal = shelf.offer(&key, &proposal(&key, scene.tiny, channel, bomb.id)?, 2)?;
    let up = scene.up("steward", &[]);
    let proposer = scene.follower(&up, &key, Manner::Serving(shelf.clone()))?;
    let heard = scene.all_heard(&proposer, &scene.tiny, &[proposal.id], Duration::from_secs(30))?;
    let before = mib(processes::peak_memory(up.pid())?);
    let (answer, took) = scene.run_within("steward", &["channel", "release", "main", "--timeout", "30"], limit)?;
    attacked(shelf.manifests_asked() > 0, || "the steward asked for no manifest".to_owned())?;
    Ok(json!({
        "stated_mib": stated, "proposals_heard": heard, "daemon_mib_before": before,
        "daemon_peak_mib": mib(processes::peak_memory(up.pid())?), "seconds": took.as_secs_f64(),
        "code": answer.as_ref().map(|answer| answer.code),
        "verdicts": answer.map(|answer| answer.json["verdicts"].clone()),
    }))
}
