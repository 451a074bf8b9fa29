//! Low-rank adapters: what one is ([`adapter`], [`config`]) and how it is trained ([`params`], [`init`]).
//!
//! A module's output gains `scale * (x A^T) B^T` with `A: [r, in]`, `B: [out, r]` and `scale = lora_alpha / r`
//! (Hu et al. 2021, arXiv 2106.09685; names and shapes as PEFT writes them).

pub mod adapter;
pub mod config;
