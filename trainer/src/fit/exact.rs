//! Numbers of a checkpoint that come back from JSON as they were.

use serde::{Deserialize, Serialize};

/// An `f64` that JSON keeps to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exact(u64);

impl Exact {
    /// Keeps the bits of a value.
    pub fn of(value: f64) -> Self {
        Self(value.to_bits())
    }

    /// The value.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}
