//! What an input says of itself in one byte: a choice a bit.

/// Choices. Each is named where it is made use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// The first byte of a part; none where there is none.
    pub fn of(part: &[u8]) -> Self {
        Self(part.first().copied().unwrap_or(0))
    }

    pub fn has(self, choice: u8) -> bool {
        self.0 & choice != 0
    }

    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
