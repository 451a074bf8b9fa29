//! What a node counts, and the page on which Prometheus reads it (docs/operations.md).
//!
//! Goals: counting costs nearly nothing and is always on; serving the page is asked for by name. Non-goals: to decide
//! anything by a counter, to say who did something (no peer, name or address is a label).

mod count;
pub mod bulk;
pub mod exchange;
pub mod net;
pub mod page;
mod process;
pub mod server;
