//! Eight honest nodes, and four attackers that do at once what the attack programs do one by one, each at a rate that one
//! laptop and one line can hold: what honest people want of each other goes on.

mod attackers;
mod honest;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash;
use crate::hostile::{Outcome, Setting, Sizes};
use crate::kit::Program;
use attackers::Attackers;
use honest::{Honest, Times};

/// What may be asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// How long the soak `hostile` goes on [default: 60]
    #[arg(long)]
    minutes: Option<u64>,
    /// The program that the nodes of `hostile` run [default: the one that this one was built with]
    #[arg(long, value_name = "PATH")]
    potluck: Option<PathBuf>,
}

impl Options {
    pub fn are_given(&self) -> bool {
        self.minutes.is_some() || self.potluck.is_some()
    }
}

const MINUTES: u64 = 60;
/// Something is published, and every second time a version is made, so often.
const EVERY: Duration = Duration::from_secs(60);

/// What is promised.
const PULL_HALF_S: f64 = 1.0;
const PULL_ALL_S: f64 = 10.0;
const FOLLOWED_S: f64 = 60.0;
const PEAK_MIB: u64 = 300;
const CORES: f64 = 0.1;

/// The whole hour.
pub fn run(seed: u64) -> crash::Outcome<Value> {
    run_with(seed, &Options::default())
}

/// See the module. The seed makes keys.
pub fn run_with(seed: u64, options: &Options) -> crash::Outcome<Value> {
    let program = Program::at(options.potluck.as_deref())?;
    let minutes = options.minutes.unwrap_or(MINUTES).max(1);
    let figures = soak(&Setting { program, seed, sizes: Sizes::default() }, minutes);
    let figures = figures.map_err(|error| -> Box<dyn Error> { error })?;
    if figures["short"].as_array().is_some_and(Vec::is_empty) {
        return Ok(figures);
    }
    println!("{figures}");
    Err(format!("what is promised does not hold: {}", figures["short"]).into())
}

fn soak(setting: &Setting, minutes: u64) -> Outcome<Value> {
    let mut honest = Honest::start(setting)?;
    let attackers = Attackers::start(&honest.stage()?)?;
    let begun = Instant::now();
    honest.begin()?;
    let until = Duration::from_secs(60 * minutes);
    for cycle in 0.. {
        honest.publish_and_pull(cycle)?;
        honest.add_base(cycle)?;
        if cycle % 2 == 0 {
            honest.release(cycle)?;
        }
        let next = EVERY * u32::try_from(cycle + 1)?;
        if next >= until {
            break;
        }
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    honest.prove()?;
    let usage = honest.usage()?;
    let attacks = attackers.stop();
    let (times, banned) = honest.end()?;
    let cores = usage.iter().map(|node| node.cores).fold(0.0, f64::max);
    let peak = usage.iter().map(|node| node.peak_mib).max().unwrap_or_default();
    let short = short(&times, banned, cores, peak);
    Ok(json!({
        "soak": "hostile", "seed": setting.seed, "minutes": minutes, "attacks": attacks,
        "publications": times.publications, "pulls": seconds(&times.pulls), "pulls_failed": times.pulls_failed,
        "base_adds": seconds(&times.bases), "base_adds_failed": times.bases_failed,
        "release_s": times.release, "released": times.released,
        "versions": times.versions, "versions_followed": seconds(&times.followed), "not_followed": times.not_followed,
        "proof_obeyed": seconds(&times.obeyed), "proof_not_obeyed": times.not_obeyed,
        "honest_banned": banned, "peak_mib": peak, "cores_most": cores,
        "nodes": usage.iter().map(|node| json!({ "peak_mib": node.peak_mib, "cores": node.cores })).collect::<Vec<_>>(),
        "short": short,
    }))
}

/// What does not hold, in words.
fn short(times: &Times, banned: usize, cores: f64, peak: u64) -> Vec<String> {
    let all = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let rules = [
        (times.pulls_failed == 0, format!("{} pulls failed", times.pulls_failed)),
        (half(&times.pulls) < PULL_HALF_S, format!("half of the pulls took over {} s", half(&times.pulls))),
        (all(&times.pulls) < PULL_ALL_S, format!("a pull took {} s", all(&times.pulls))),
        (times.bases_failed == 0, format!("{} times the base was not had", times.bases_failed)),
        (times.release.is_some_and(|took| took < FOLLOWED_S), format!("the release took {:?} s", times.release)),
        (times.released, "the honest adapter is in no version".to_owned()),
        (times.not_followed == 0, format!("{} times a version was not followed", times.not_followed)),
        (all(&times.followed) < FOLLOWED_S, format!("a version was followed after {} s", all(&times.followed))),
        (times.not_obeyed == 0, format!("{} nodes did not obey a true proof", times.not_obeyed)),
        (banned == 0, format!("{banned} honest nodes were banned")),
        (peak < PEAK_MIB, format!("a node had {peak} MiB")),
        (cores < CORES, format!("a node used {cores} cores on average")),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
}

fn half(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

fn seconds(times: &[f64]) -> Value {
    let most = times.iter().copied().fold(0.0, f64::max);
    json!({ "count": times.len(), "half_s": times.first().map(|_| half(times)), "most_s": most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_said() {
        let good = Times { pulls: vec![0.1; 7], release: Some(5.0), released: true, ..Times::default() };
        assert_eq!(short(&good, 0, 0.05, 100), [""; 0]);
        let slow = Times { pulls: vec![0.1, 2.0, 11.0], pulls_failed: 1, ..good.clone() };
        assert_eq!(short(&slow, 0, 0.05, 100).len(), 3);
        assert_eq!(short(&good, 1, 0.2, 400).len(), 3);
        assert_eq!(short(&Times::default(), 0, 0.0, 0).len(), 3, "nothing was seen");
    }
}
