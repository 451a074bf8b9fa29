//! The repository's own rules, as tests: who may depend on whom, what no source file holds, and that each invariant of
//! `docs/architecture.md` is checked where the document says and kept by the test that it names.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

mod circles;
mod exempt;
mod invariants;
mod layers;
mod one_build;
mod rules;
mod sources;
mod spread;
mod stranger;
mod supply;
mod tables;
