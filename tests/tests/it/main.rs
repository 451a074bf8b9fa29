//! Tests with real processes, one binary. One file per promise.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

mod answers;
mod bad_input;
mod base;
mod channel_follow;
mod channel_fork;
mod channel_kill;
mod channel_refused;
mod channel_steward;
mod channel_view;
#[cfg(target_os = "linux")]
mod confined;
mod copies;
mod crash;
mod daemon;
mod endings;
mod data;
mod fold_kill;
mod full_disk;
mod fuzz;
mod holds;
mod hub;
mod ids;
mod identity;
mod kill;
mod listening;
mod looking;
mod mdns;
mod merge;
mod network;
mod of_base;
mod old_home;
mod own_channel;
#[cfg(unix)]
mod owners;
#[cfg(unix)]
mod paths;
mod persons;
#[cfg(unix)]
mod readme;
#[cfg(unix)]
mod remembered;
mod search;
mod silence;
mod sizes;
mod stopping;
mod stranger;
mod strangers_asked;
mod swarm;
#[cfg(unix)]
mod attended;
#[cfg(unix)]
mod train;
mod without_base;

use potluck_tests::kit::Program;

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_potluck-under-test"))
}
