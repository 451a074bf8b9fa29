//! Three hundred kills of one growing home.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::{Ack, Outcome};
use crate::killing::{Killer, Moment};

const KILLS: u64 = 300;

/// Kills at seeded moments; after each, another process finds everything that was ever acknowledged.
pub fn run(seed: u64) -> Outcome<Value> {
    let folder = tempfile::tempdir()?;
    let killer = Killer::new(std::env::current_exe()?);
    let (mut acks, mut slowest) = (Vec::<Ack>::new(), Duration::ZERO);
    for n in 0..KILLS {
        let moment = Moment::of(seed * KILLS + n);
        acks.extend(killer.kill(folder.path(), seed * KILLS + n, moment)?);
        let start = Instant::now();
        killer.look(folder.path(), &acks, &format!("kill {n}, {moment:?}"))?;
        slowest = slowest.max(start.elapsed());
    }
    let published = acks.iter().filter(|ack| matches!(ack, Ack::Published(_))).count();
    Ok(json!({
        "kills": KILLS, "acknowledged": acks.len(), "published": published, "lost": 0,
        "slowest_reopen_and_verify_ms": slowest.as_millis() as u64,
    }))
}
