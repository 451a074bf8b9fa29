//! Texts made by rules: the demo's skills, and the corpus that `tiny` is pretrained on.
//!
//! `corpus` knows nothing of `skills`: the base must not have learnt what a volunteer is about to
//! teach it. `corpus` has the test that says so.

pub mod corpus;
pub mod rng;
pub mod settings;
pub mod skills;

/// One row of training or evaluation data: the model reads `prompt` and is to write `completion`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Example {
    /// Ends where the answer begins.
    pub prompt: String,
    /// What the model is to write.
    pub completion: String,
}

impl Example {
    /// Both texts as they stand.
    pub fn new(prompt: impl Into<String>, completion: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), completion: completion.into() }
    }
}
