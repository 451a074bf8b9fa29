//! Fifty nodes, of which a third is killed and started again and again while they talk.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::Outcome;
use crate::swarm::Swarm;

const NODES: usize = 50;
const DIALS: usize = 4;
/// Killed each time.
const KILLED: usize = NODES * 3 / 10;
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_secs(30);
const DEAD: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(250);

/// An announcement has this long to reach a node that lives all the while.
const WITHIN: Duration = Duration::from_secs(10);
/// All catalogues are equal so long after the end.
const AGREE: Duration = Duration::from_secs(30);
/// Of a hundred thousand.
const REACHED: u64 = 99_900;

/// See the module. The seed chooses the graph, who is killed, and who talks.
pub fn run(seed: u64) -> Outcome<Value> {
    let mut swarm = Swarm::start(seed, &[NODES], DIALS)?;
    let mut lives: Vec<Vec<(Instant, Option<Instant>)>> =
        swarm.members.iter().map(|member| member.since().map(|at| (at, None)).into_iter().collect()).collect();
    let begun = Instant::now();
    let mut restarts = 0;
    for round in 1..=ROUNDS {
        swarm.talk_until(begun + ROUND * round - DEAD, PAUSE)?;
        let killed = chosen(&mut swarm);
        for &n in &killed {
            swarm.members[n].kill();
            if let Some(life) = lives[n].last_mut() {
                life.1 = Some(Instant::now());
            }
        }
        swarm.talk_until(begun + ROUND * round, PAUSE)?;
        for &n in &killed {
            swarm.members[n].start()?;
            lives[n].push((Instant::now(), None));
            restarts += 1;
        }
    }
    // The last that was said has its time as well.
    swarm.talk_until(Instant::now() + Duration::from_secs(1), PAUSE)?;
    let talked = begun.elapsed();
    let agreed = swarm.agree(AGREE)?;
    std::thread::sleep(WITHIN.saturating_sub(agreed));
    let mut figures = reached(&swarm, &lives)?;
    figures["nodes"] = json!(NODES);
    figures["restarts"] = json!(restarts);
    figures["talked_s"] = json!(talked.as_secs());
    figures["catalogues_equal_after_s"] = json!(agreed.as_secs_f64());
    figures["honest_banned"] = json!(swarm.bans()?);
    if swarm.bans()? > 0 {
        return Err(format!("honest nodes were banned: {figures}").into());
    }
    Ok(figures)
}

fn chosen(swarm: &mut Swarm) -> Vec<usize> {
    let mut chosen = Vec::new();
    while chosen.len() < KILLED {
        let n = swarm.draw(NODES);
        if !chosen.contains(&n) {
            chosen.push(n);
        }
    }
    chosen
}

/// Of all pairs of an announcement and another node that lived from then on for long enough: how many met, and when.
fn reached(swarm: &Swarm, lives: &[Vec<(Instant, Option<Instant>)>]) -> Outcome<Value> {
    let (mut pairs, mut met) = (0u64, 0u64);
    let mut took = Vec::new();
    for (manifest, at, by) in &swarm.said {
        for (n, member) in swarm.members.iter().enumerate().filter(|(n, _)| n != by) {
            let lived = |(from, to): &(Instant, Option<Instant>)| from <= at && to.is_none_or(|to| to >= *at + WITHIN);
            if !lives[n].iter().any(lived) {
                continue;
            }
            pairs += 1;
            if let Some(heard) = member.heard.at(manifest)
                && heard <= *at + WITHIN
            {
                met += 1;
                took.push(heard.saturating_duration_since(*at).as_millis() as u64);
            }
        }
    }
    took.sort_unstable();
    let part = |of: usize| took.get(took.len().saturating_sub(1) * of / 1000).copied().unwrap_or_default();
    let figures = json!({
        "announcements": swarm.said.len(), "pairs": pairs, "reached": met,
        "reached_percent": 100.0 * met as f64 / pairs.max(1) as f64,
        "ms_half": part(500), "ms_99_percent": part(990), "ms_last": part(1000),
    });
    if pairs == 0 || met * 100_000 < pairs * REACHED {
        return Err(format!("too few announcements came: {figures}").into());
    }
    Ok(figures)
}
