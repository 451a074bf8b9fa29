//! The command line: what can be typed, and how answers look. One file per verb; no logic beyond both.

mod args;
mod ask;
mod base;
mod bench;
mod bench_exchange;
mod bench_merge;
mod channel;
mod data;
mod demo;
mod eval;
mod generate;
mod global;
mod main;
mod merge;
mod method;
mod network;
mod network_flags;
mod output;
mod peers;
mod progress;
mod publish;
mod pull;
mod references;
mod search;
mod show;
#[cfg(test)]
mod snapshots;
mod status;
mod store;
mod train;
mod train_flags;
mod up;
mod verify;

pub use main::main;
