//! Eight honest nodes, and four attackers that do at once what the attack programs do one by one, each at a rate that one
//! laptop and one line can hold: what honest people want of each other goes on.

mod attackers;
mod honest;
mod times;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash;
use crate::hostile::{Outcome, Setting, Sizes};
use crate::kit::Program;
use crate::processes;
use attackers::Attackers;
use honest::{ADDERS, Honest};
use times::{Times, Usage, figures, median, most, promises, short};

/// What may be asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// How long the soak `hostile` goes on, at most six hours: keys are ground for two epochs [default: 60]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=360))]
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
/// A steward lies once in so many of these times, and at least once.
const LIES_EVERY: usize = 10;
/// Attackers have a moment to come before anything is measured.
const COMING: Duration = Duration::from_secs(10);

/// The whole hour.
pub fn run(seed: u64) -> crash::Outcome<Value> {
    run_with(seed, &Options::default())
}

/// See the module. All keys follow from the seed, those of the honest nodes too.
pub fn run_with(seed: u64, options: &Options) -> crash::Outcome<Value> {
    let program = Program::at(options.potluck.as_deref())?;
    let minutes = options.minutes.unwrap_or(MINUTES);
    let found = soak(&Setting { program, seed, sizes: Sizes::default() }, minutes);
    let (figures, short) = found.map_err(|error| -> Box<dyn Error> { error })?;
    if short.is_empty() {
        return Ok(figures);
    }
    println!("{figures}");
    Err(format!("what is promised does not hold: {}", short.join(", ")).into())
}

/// When what is done a few times is done: its number, if it is done in this cycle.
fn nth_of(times: usize, cycles: usize, cycle: usize) -> impl Iterator<Item = usize> {
    (0..times).filter(move |n| (n + 1) * cycles / (times + 1) == cycle)
}

fn soak(setting: &Setting, minutes: u64) -> Outcome<(Value, Vec<String>)> {
    let cycles = usize::try_from(minutes)?;
    let lies = cycles.div_ceil(LIES_EVERY);
    let mut honest = Honest::start(setting, lies)?;
    let ground = Instant::now();
    let mut attackers = Attackers::start(&honest.stage()?)?;
    let ground = ground.elapsed().as_secs_f64();
    std::thread::sleep(COMING);
    honest.begin()?;
    let (begun, own) = (Instant::now(), processes::processor_seconds(std::process::id())?);
    for cycle in 0..cycles {
        go_round(&mut honest, &attackers, cycle, cycles, lies)?;
        honest.look_for_bans()?;
        let next = EVERY * u32::try_from(cycle + 1)?;
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
        attackers.look();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let usage = honest.usage()?;
    let driver = (processes::processor_seconds(std::process::id())? - own) / seconds;
    let quiet = attackers.quiet();
    let attacks = attackers.stop();
    let times = honest.end()?;
    let promises = promises(&times, &usage);
    let mut all: Vec<String> = short(&promises).into_iter().map(str::to_owned).collect();
    all.extend(quiet.iter().map(|name| format!("{name}_was_quiet")));
    let seen = json!({
        "soak": "hostile", "seed": setting.seed, "minutes": minutes, "seconds": seconds, "ground_s": ground,
        "attackers_and_driver_cores": driver, "attacks": attacks, "attacks_quiet": quiet,
        "promises": figures(&promises), "seen": seen(&times), "nodes": nodes(&usage), "short": all.clone(),
    });
    Ok((seen, all))
}

/// What people do in one minute.
fn go_round(honest: &mut Honest, attackers: &Attackers, cycle: usize, cycles: usize, lies: usize) -> Outcome<()> {
    honest.publish_and_pull(cycle)?;
    honest.pull_bomb(cycle, attackers.bomb)?;
    attackers.bomb_pulled();
    for which in nth_of(ADDERS, cycles, cycle) {
        honest.add_base(which)?;
    }
    if cycle.is_multiple_of(2) {
        honest.release()?;
        honest.version(cycle / 2)?;
    }
    for lie in nth_of(lies, cycles, cycle) {
        honest.lie(lie)?;
    }
    Ok(())
}

fn seen(times: &Times) -> Value {
    let seconds = |times: &[f64]| match times {
        [] => json!({ "count": 0 }),
        _ => json!({ "count": times.len(), "median_s": median(times), "most_s": most(times) }),
    };
    json!({
        "publications": times.publications, "found": seconds(&times.found), "found_and_pulled": seconds(&times.had),
        "bombs_refused": times.bombs_refused, "base_adds": seconds(&times.bases), "releases": seconds(&times.releases),
        "versions": times.versions, "versions_followed": seconds(&times.followed),
        "proofs": times.proofs, "proofs_obeyed": seconds(&times.obeyed),
    })
}

fn nodes(usage: &[Usage]) -> Vec<Value> {
    usage.iter().map(|node| json!({ "peak_mb": node.peak_mb, "cores": node.cores })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_a_few_times_is_done_so_often_however_long_it_goes_on() {
        for cycles in 1..100 {
            for times in 1..12 {
                let done: Vec<usize> = (0..cycles).flat_map(|cycle| nth_of(times, cycles, cycle)).collect();
                assert_eq!(done, (0..times).collect::<Vec<_>>(), "{times} in {cycles}");
            }
        }
    }
}
