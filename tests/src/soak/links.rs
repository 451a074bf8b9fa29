//! Pulls over links whose speed is set: daemons in network namespaces, each with a link of its own to one segment.

mod world;

use serde_json::{Value, json};

use crate::crash::{Outcome, draw};
use crate::kit::Program;
use world::{MB, World};

/// What every full source gives a second.
const SPEED: u64 = 25 * MB;
const SLOW: u64 = MB;
const SIZE: u64 = 256 << 20;

/// Kills of one pull, and the speed of the link meanwhile: slow enough that all of them fall into it.
const KILLS: u64 = 20;
const KILL_SPEED: u64 = 100 * MB;
const KILL_SIZE: u64 = 1 << 30;

/// One source, four, three, and three with a slow fourth, in turn.
pub fn shaped(seed: u64) -> Outcome<Value> {
    let program = Program::this()?;
    let mut seconds = Vec::new();
    for (name, speeds) in [
        ("one", &[SPEED][..]),
        ("four", &[SPEED; 4]),
        ("three", &[SPEED; 3]),
        ("three_and_a_slow_one", &[SPEED, SPEED, SPEED, SLOW]),
    ] {
        let world = World::new(&program, SIZE, seed, speeds)?;
        let mut puller = world.puller()?;
        let fetched = puller.fetch(world.manifest)?;
        eprintln!("{name}: {:.2} s, {} bytes twice", fetched.seconds, fetched.wasted_bytes);
        seconds.push(fetched.seconds);
    }
    let [one, four, three, slow] = seconds[..] else { return Err("four runs".into()) };
    Ok(json!({
        "size_bytes": SIZE, "bytes_per_second_each": SPEED, "slow_bytes_per_second": SLOW,
        "one_seconds": one, "four_seconds": four, "three_seconds": three, "three_and_a_slow_one_seconds": slow,
        "four_against_one": one / four, "slow_one_costs": slow / three - 1.0,
        "holds": one / four >= 3.6 && slow / three < 1.05,
    }))
}

/// `kill -9` of the puller, again and again during one pull; what was on the wire in all.
pub fn kill(seed: u64) -> Outcome<Value> {
    let program = Program::this()?;
    let world = World::new(&program, KILL_SIZE, seed, &[KILL_SPEED])?;
    let before = world.sent()?;
    let (mut kills, mut adopted_pulls) = (0, 0);
    while kills < KILLS {
        let mut puller = world.puller()?;
        // Spread over the pull, at moments that the seed draws.
        let share = (kills + 1) as f64 / (KILLS + 1) as f64 + draw(&format!("{seed} {kills}"), 1000) as f64 / 1e6;
        if !puller.kill_at(world.manifest, (share * KILL_SIZE as f64) as u64)? {
            return Err(format!("the pull ended before kill {kills}").into());
        }
        kills += 1;
        adopted_pulls += 1;
    }
    let mut puller = world.puller()?;
    puller.fetch(world.manifest)?;
    let wire = world.sent()? - before;
    puller.verify()?;
    Ok(json!({
        "size_bytes": KILL_SIZE, "kills": kills, "pulls": adopted_pulls + 1, "bytes_on_the_wire": wire,
        "share_of_size": wire as f64 / KILL_SIZE as f64, "holds": wire as f64 <= 1.05 * KILL_SIZE as f64,
    }))
}
