//! Putting independently trained adapters together: as one adapter ([`plan`] by a [`method`]), or into the base
//! ([`fold`]).
//!
//! Never by averaging A and B apart: the average of products is not the product of averages.
//!
//! Goals: module by module, so that memory does not grow with the adapters; the same bits on any number of threads.
//! Non-goal: the same bits on any processor, but for [`fold`] and `stack`: what decomposes matrices uses the widest
//! instructions there are.

pub mod fold;

mod limits;
mod error;
pub mod method;
mod input;

mod stack;
mod decompose;
mod refit;

mod delta;
mod select;
mod ties;
mod dare;
mod truncate;

pub mod plan;
pub mod whole;
pub mod folders;
pub mod distance;
pub mod weigh;

pub use error::MergeError;
pub use input::Input;
pub use method::Method;
pub use plan::{MergePlan, ModuleSink, Report};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
