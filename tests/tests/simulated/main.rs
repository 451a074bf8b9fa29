//! The protocol's machines in the simulated world. Time is simulated, so it may be asserted: it is the
//! same on any machine.
//!
//! - `asking`: one node asks many for what a few of them have.
//! - `attacked`: whole nodes among as many strangers who attack them; a few seeds; a thousand are the soak
//!   `simulated-strangers`.
//! - `events`: the scheduler among arbitrary events.
//! - `catalogues`: catalogues that compare themselves with each other.
//! - `strangers`: catalogues among thousands of keys that strangers made.
//! - `providers`: one downloader among good and bad providers.
//! - `figures`: what several sources gain, and what a slow one costs.
//! - `swarm`: nodes that pull from each other.
//! - `whole`: the same nodes pull what their catalogues hear of; a few seeds; a thousand are the soak
//!   `simulated-swarm`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

mod asking;
mod attacked;
mod catalogues;
mod events;
mod figures;
mod providers;
mod strangers;
mod swarm;
mod whole;

use potluck_tests::sim::Line;
use potluck_tests::sim::swarm::{Conduct, Plan, Pulling};

const MIB: u32 = 1 << 20;

/// Node 0 pulls one file from the others, numbered from 1, over links of that delay.
fn one_pull(seed: u64, lens: Vec<u32>, providers: &[(Conduct, u64)], delay_ms: u64) -> Plan {
    let mut plan = Plan::of_one_file(seed, lens);
    let line = Line { up: 1 << 30, down: 1 << 30 };
    plan.add(Conduct::Honest, line, Vec::new(), vec![Pulling { manifest: 0, start_ms: 0 }]);
    for (conduct, rate) in providers {
        plan.add_seeder(*conduct, *rate, 0, delay_ms);
    }
    plan
}
