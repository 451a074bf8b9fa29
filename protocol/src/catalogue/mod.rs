//! What the network offers: the newest announcement of each manifest by each publisher, the same on every node.
//!
//! Gossip says everything once, so a node that was away, late or cut off misses some of it. Catalogues therefore
//! compare themselves with each other, and each fetches what it lacks.
//!
//! Goals: whoever has heard the same announcements keeps the same records, in whatever order they came and however
//! many were forgotten for want of room; two catalogues that meet end equal; a peer that lies or stalls wastes its
//! own turns; whoever makes keys fills the places of strangers and no others; one seed, one trace. Non-goals: to judge
//! what is announced, to tell when. (`docs/decisions/0008-catalogue.md` and `0020-strangers.md` say why.)
//!
//! ```text
//! bytes -announce::verify-> Authentic<Announcement> -> Catalogue (a BaseRecords for each base)
//!
//! asker                                   answerer
//! Compare { base, 64 digests }        ->
//!                                     <-  Differing: its ids in the parts that differ
//! StoodBehind { base }                ->                              (if more is lacking than may come)
//!                                     <-  records that it stands behind: they have places of their own
//! Wanted { base, ids that we lack }   ->                              (again, until nothing is lacking)
//!                                     <-  records, verified before they are believed
//! ```
//!
//! Nothing is ever pushed: the answerer of a comparison that found a difference asks in its turn.

mod machine;
mod messages;
mod admission;
mod rests;
mod round;
mod base_records;
mod followed_base;
mod lines;
mod shelf;
mod voucher;
mod records;
pub mod timing;
#[cfg(test)]
mod later_kinds;
#[cfg(test)]
mod tests;

pub use base_records::{Key, Record, lot};
pub use machine::Reconcile;
pub use messages::{Bucket, Compare, Differing, Wanted};
pub use records::{Bounds, Catalogue, Inserted, Page, verify_records};
pub use round::{Action, Event, Question, RoundId, RoundOutcome, Violation};
pub use shelf::Trusted;
pub use voucher::{Neighbour, Neighbourhood, Trust, Voucher};
