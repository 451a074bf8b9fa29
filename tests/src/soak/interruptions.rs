//! Five hundred interruptions of training, half of them beside a daemon.

use serde_json::{Value, json};

use crate::crash::Outcome;
use crate::interrupting::Campaign;
use crate::kit::Program;

/// With a daemon, and as many without.
const INTERRUPTIONS: u64 = 250;

pub fn run(seed: u64) -> Outcome<Value> {
    let mut both = Vec::new();
    for beside_daemon in [false, true] {
        let folder = tempfile::tempdir()?;
        let mut campaign = Campaign::new(Program::this()?, folder.path(), seed, beside_daemon)?;
        (0..INTERRUPTIONS).try_for_each(|n| campaign.interrupt(n))?;
        both.push(campaign.finish()?);
    }
    Ok(json!({ "interruptions": 2 * INTERRUPTIONS, "without_daemon": both[0], "beside_a_daemon": both[1] }))
}
