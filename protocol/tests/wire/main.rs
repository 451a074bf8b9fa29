//! The wire and disk formats, pinned.
//!
//! - `golden` holds every type against the files of `../vectors`: exactly these bytes, both ways, and exactly these
//!   refusals. Regenerating them (`POTLUCK_BLESS=1 cargo test --release -p potluck-protocol --test wire golden`) is an
//!   approval of a format change: peers and homes of the version before will not understand the new one.
//! - `by_hand` writes every type without the codec, so that the vectors do not merely repeat what the codec does.
//! - `versions` holds what this version says, and what a later one may say, against the files of `../versions`.
//! - `chain` walks a manifest from bytes to well-formed, and off the path at every step.
//! - `properties` and `layouts` hold arbitrary values and mutated bytes to the same rules.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

mod accepted;
mod arbitrary;
mod attacks;
mod by_hand;
mod channels;
mod chain;
mod golden;
mod layouts;
mod properties;
mod refused;
mod refused_manifest;
mod samples;
mod subjects;
mod vectors;
mod versions;
