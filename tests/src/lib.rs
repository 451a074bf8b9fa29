//! What checks potluck from outside: real processes for tests, assertions over the demo's report, and long runs
//! ("soaks") by name and seed.
//!
//! The tests of `cargo test` lie under `tests/`; `tidy` among them holds the repository to its own rules.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "checks from outside: nobody depends on it, and what fails here fails a test"
)]
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

pub mod bases;
pub mod forged;
pub mod check_demo;
pub mod check_losses;
pub mod crash;
pub mod full_disk;
pub mod hostile;
pub mod hub;
pub mod fuzz;
pub mod interrupting;
pub mod killing;
pub mod kit;
pub mod loopback;
pub mod planted;
pub mod processes;
pub mod side_by_side;
pub mod silent;
pub mod sim;
pub mod skills;
pub mod soak;
pub mod stranger;
pub mod swarm;
pub mod taught;
