//! Bulk streams: `/potluck/NETWORK/bulk/1`.
//!
//! Goals: any number of streams negotiated at once, on a direct connection rather than a relayed one; an inbound stream
//! is accepted or answered with `Busy`, never dropped in silence; nothing is left behind when a connection closes.
//! Non-goals: to know what requests mean, to dial.

mod behaviour;
mod frame;
mod handler;
mod stream;

pub use behaviour::{Behaviour, OpenError, Way};
pub use frame::{FrameError, read as read_frame};
pub use stream::{Answers, Asker, Inbound, Outbound, Replier, Requests};
