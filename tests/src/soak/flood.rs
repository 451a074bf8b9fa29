//! One real node, everything that strangers can throw at it at once, and honest nodes that want to join meanwhile.

mod attacks;
pub mod gossip;
mod honest;
mod raw;
mod target;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::Outcome;
use honest::Honest;
pub use raw::Wire;
use target::Target;
pub use target::child;

/// How long all attacks go on together.
const FLOOD: Duration = Duration::from_secs(45);

/// Honest nodes join, one after the other, so often.
const JOIN_EVERY: Duration = Duration::from_secs(5);

/// What is promised.
const JOINED: Duration = Duration::from_secs(3);
const RESIDENT: u64 = 512 << 20;

/// Afterwards everything is given back within this: the longest patience that a node has is its silent streams'.
const RELEASED: Duration = Duration::from_secs(60);

/// Descriptors that a node may hold more than before: the store opens files when it likes.
const DESCRIPTORS: u64 = 8;

/// See the module. The seed makes keys and choices.
pub fn run(seed: u64) -> Outcome<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(flood(seed))
}

async fn flood(seed: u64) -> Outcome<Value> {
    let folder = tempfile::tempdir()?;
    let target = Target::start(&folder.path().join("target"))?;
    let witness = Honest::start(&folder.path().join("witness"), &format!("{seed} witness")).await?;
    witness.join(&target).await?;
    let quiet = joined(seed, 0, &folder, &target, &witness).await?;
    let (descriptors, resident) = (target.descriptors()?, target.resident()?);
    let attacks = attacks::start(seed, &target);
    let begun = Instant::now();
    let (mut peak, mut joins) = (resident, Vec::new());
    let mut next = begun + Duration::from_secs(2);
    while begun.elapsed() < FLOOD {
        if Instant::now() >= next {
            next = Instant::now() + JOIN_EVERY;
            joins.push(joined(seed, 1 + joins.len(), &folder, &target, &witness).await?);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        peak = peak.max(target.resident()?);
    }
    let metrics = target.metrics().await?;
    let attacked = attacks.stop().await;
    let released = released(&target, descriptors).await?;
    let after = joined(seed, 1 + joins.len(), &folder, &target, &witness).await?;
    let slowest = joins.iter().max().copied().unwrap_or_default();
    let figures = json!({
        "attacks": attacked,
        "denied": metrics.family("potluck_connections_denied_total"),
        "misdeeds": metrics.family("potluck_misdeeds_total"),
        "announcements": metrics.family("potluck_gossip_announcements_total"),
        "dropped": metrics.family("potluck_queue_dropped_total"),
        "refusals": metrics.family("potluck_refusals_total"),
        "banned": metrics.family("potluck_peers_banned_total"),
        "restarts": metrics.family("potluck_swarm_restarts_total"),
        "resident_mib_before": resident >> 20, "resident_mib_peak": peak >> 20, "resident_mib_after": target.resident()? >> 20,
        "joins": joins.len(), "join_s_quiet": quiet.as_secs_f64(), "join_s_slowest": slowest.as_secs_f64(),
        "join_s_after": after.as_secs_f64(), "released_after_s": released.as_secs_f64(),
        "witness_disconnected": witness.disconnected(),
    });
    let held = slowest <= JOINED && peak < RESIDENT && witness.disconnected() == 0 && !joins.is_empty();
    if held { Ok(figures) } else { Err(format!("what is promised does not hold: {figures}").into()) }
}

/// A new honest node joins, is heard by the witness through the target, and pulls something small: how long it took.
async fn joined(
    seed: u64,
    n: usize,
    folder: &tempfile::TempDir,
    target: &Target,
    witness: &Honest,
) -> Outcome<Duration> {
    let node = Honest::start(&folder.path().join(format!("honest{n}")), &format!("{seed} honest {n}")).await?;
    let begun = Instant::now();
    node.join(target).await.map_err(|error| format!("honest node {n} cannot join: {error}"))?;
    let met = begun.elapsed();
    let told = node.tell(witness, &format!("{seed}.{n}")).await;
    told.map_err(|error| format!("honest node {n} was not heard: {error}"))?;
    let heard = begun.elapsed();
    node.pull(target.manifest).await.map_err(|error| format!("honest node {n} cannot pull: {error}"))?;
    let took = begun.elapsed();
    eprintln!("honest node {n}: connected after {met:.1?}, heard after {heard:.1?}, pulled after {took:.1?}");
    node.stop().await;
    Ok(took)
}

/// Until only the witness is connected and descriptors are as few as before: how long it took.
async fn released(target: &Target, descriptors: u64) -> Outcome<Duration> {
    let begun = Instant::now();
    loop {
        let (now, peers) = (target.descriptors()?, target.metrics().await?.value("potluck_peers"));
        // The page itself is one more.
        if peers == Some(1.0) && now <= descriptors + DESCRIPTORS {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > RELEASED {
            return Err(format!("not released: {peers:?} peers, {now} descriptors, {descriptors} before").into());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
