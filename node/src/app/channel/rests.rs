//! What nobody had lately: it is looked for after all others until it has rested.

use potluck_protocol::backoff::Delays;
use potluck_protocol::id::ManifestId;

use crate::app::rests;

/// From five minutes to half a day: who proposes or proves something is online soon after, or not at all.
const DELAYS: Delays = Delays { first_ms: 300_000, longest_ms: 43_200_000 };

/// Manifests that are remembered. // I12
const MAX: usize = 8192;

/// Proposals, adapters or proofs that could not be had or judged.
pub type Rests = rests::Rests<ManifestId>;

/// None of them rests.
pub fn none() -> Rests {
    Rests::new(DELAYS, MAX)
}
