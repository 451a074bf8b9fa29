//! The command line: what can be typed, and how answers look. One file per verb; no logic beyond both.

mod args;
mod output;
mod progress;
mod run;
mod base;
mod bench;
mod bench_exchange;
mod bench_merge;
mod data;
mod demo;
mod eval;
mod generate;
mod merge;
mod method;
mod network;
mod peers;
mod publish;
mod pull;
mod search;
mod show;
mod status;
mod store;
mod train;
mod train_flags;
mod up;
mod verify;

pub use run::main;
