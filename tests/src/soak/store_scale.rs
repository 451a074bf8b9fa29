//! A store of ten thousand shards: how long each thing takes.

use std::fs;
use std::time::Instant;

use potluck_node::home::Home;
use potluck_node::store::Store;
use potluck_protocol::shard::VerifiedShard;
use serde_json::{Value, json};

use crate::crash::{Outcome, bytes};

const SMALL: usize = 10_000;
const SMALL_BYTES: usize = 16 << 10;
const LARGE: usize = 256;
const LARGE_BYTES: usize = 1 << 20;

/// Puts, reads, verifies, closes and opens; the seed makes the bytes.
pub fn run(seed: u64) -> Outcome<Value> {
    let folder = tempfile::tempdir()?;
    let home = Home::open(folder.path())?;
    let store = Store::open(&home)?;
    let large = shards(&format!("{seed} large"), LARGE, LARGE_BYTES)?;
    let (put_large, ()) = timed(|| store.put_shards(&large))?;
    let (read_large, ()) = timed(|| large.iter().try_for_each(|shard| store.shard(&shard.id()).map(drop)))?;
    let small = shards(&format!("{seed} small"), SMALL, SMALL_BYTES)?;
    let (put_small, ()) = timed(|| store.put_shards(&small))?;
    let (verify, report) = timed(|| store.verify(|_, _| ()))?;
    let (close, ()) = timed(|| {
        drop(store);
        Ok::<_, std::io::Error>(())
    })?;
    let (open, store) = timed(|| Store::open(&home))?;
    let trusted = store.recovery().index_doubt.is_none();
    drop(store);
    // As after a crash.
    fs::remove_file(folder.path().join("index/current"))?;
    let (open_after_crash, store) = timed(|| Store::open(&home))?;
    let stat = store.stat()?;
    if !report.is_clean() || !trusted || stat.shards != (SMALL + LARGE) as u64 {
        return Err(format!("clean: {}, trusted: {trusted}, {stat:?}", report.is_clean()).into());
    }
    let per_second = |ms: f64| (LARGE * LARGE_BYTES) as f64 / ms / 1048.576;
    Ok(json!({
        "put_1mib_mib_per_second": per_second(put_large), "read_1mib_mib_per_second": per_second(read_large),
        "put_16kib_shards_per_second": SMALL as f64 / put_small * 1000.0, "shards": stat.shards,
        "verify_ms": verify, "close_ms": close, "open_ms": open, "open_after_crash_ms": open_after_crash,
    }))
}

fn shards(seed: &str, count: usize, len: usize) -> Outcome<Vec<VerifiedShard>> {
    Ok((0..count).map(|n| VerifiedShard::of(bytes(&format!("{seed} {n}"), len))).collect::<Result<_, _>>()?)
}

/// Milliseconds.
fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(f64, T), E> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed().as_secs_f64() * 1000.0, value))
}
