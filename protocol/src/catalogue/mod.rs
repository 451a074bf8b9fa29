//! What the network offers: the newest announcement of each manifest by each publisher, the same on every node.
//!
//! Gossip says everything once, so a node that was away, late or cut off misses some of it. Catalogues therefore
//! compare themselves with each other, and each fetches what it lacks.
//!
//! Goals: whoever has heard the same announcements keeps the same records, in whatever order they came and however
//! many were forgotten for want of room; two catalogues that meet end equal; a peer that lies or stalls wastes its
//! own turns; one seed, one trace. Non-goals: to judge what is announced, to tell when (there is no time in it), to
//! keep a forger of keys from filling it (keys are free: see `docs/decisions/0008-catalogue.md`).
//!
//! ```text
//! bytes -announce::verify-> Authentic<Announcement> -> Catalogue (a BaseRecords for each base)
//!
//! asker                                   answerer
//! Compare { base, 64 digests }        ->
//!                                     <-  Differing: its ids in the parts that differ
//! Wanted { base, ids that we lack }   ->                              (again, until nothing is lacking)
//!                                     <-  records, verified before they are believed
//! ```
//!
//! Nothing is ever pushed: the answerer of a comparison that found a difference asks in its turn.

mod machine;
mod messages;
mod backoff;
mod round;
mod base_records;
mod records;
pub mod timing;
#[cfg(test)]
mod tests;

pub use base_records::{Key, Record};
pub use machine::Reconcile;
pub use messages::{Bucket, Compare, Differing, Wanted};
pub use records::{Bounds, Catalogue, Inserted, Page, verify_records};
pub use round::{Action, Event, Question, RoundId, RoundOutcome, Violation};
