//! Training and evaluation data.

pub mod jsonl;
pub mod tokenise;
pub mod rehearsal;
pub mod pack;
