//! The only crate that touches the world: files, the network, the clock, processes, the command line.
//!
//! Reading order is the order of the modules below.

#![cfg_attr(not(test), warn(unused_crate_dependencies))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make and look at files of their own"))]

pub mod failure;
pub mod config;
pub mod text;
mod naming;
mod licence;
pub mod seconds;
pub mod json_forms;
pub mod task;
mod lock;
mod disk;
mod procfs;
mod out_folder;
mod scratch;
pub mod signals;
pub mod failpoint;
mod owner;
pub mod addresses;
pub mod home;
pub mod identity;
pub mod metrics;
pub mod store;
pub mod net;
pub mod exchange;
pub mod hub;
pub mod ipc;
pub mod worker;
pub mod api;
pub mod app;
pub mod scrape;
pub mod daemon;
mod local_daemon;
pub mod demo;
pub mod bench;
pub mod cli;
