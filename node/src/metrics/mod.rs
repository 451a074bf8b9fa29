//! How a node counts, and the page on which Prometheus reads it (docs/operations.md).
//!
//! Goals: counting costs nearly nothing and is always on; serving the page is asked for by name. Non-goals: to decide
//! anything by a counter, to say who did something (no peer, name or address is a label), to know the
//! parts that count: each keeps its own counters beside its code, and the page takes them as [`page::Counters`].

pub mod count;
pub mod page;
pub mod server;
