//! Numerics in a process of their own: a panic, an out-of-memory kill or a fault of a driver then concerns it alone,
//! and the network never waits for it.
//!
//! The parent writes one [`proto::Job`] as a line of JSON to the child's standard input and reads
//! [`crate::ipc::Line`]s from its standard output. Closing the input cancels the job.

pub mod proto;
pub mod answers;
pub mod note;
pub(crate) mod access;
pub mod confined;
pub mod parent;
pub(crate) mod bounded;
pub(crate) mod context;
pub mod child;
pub(crate) mod failures;
pub(crate) mod stopping;
pub(crate) mod jobs;
