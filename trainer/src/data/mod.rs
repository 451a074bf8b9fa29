//! Training and evaluation data: rows, the way from rows to samples, and which samples go together.

pub mod sample;
pub mod row;
pub mod jsonl;
pub mod chat;
pub mod tokenise;
pub mod pack;
pub mod check;
