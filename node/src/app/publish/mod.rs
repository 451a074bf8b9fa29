//! Publishing: files become shards, a signed manifest, and an announcement.

pub mod adapter;
pub mod base;
