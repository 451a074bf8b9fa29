//! Long runs by name. Each prints its figures, which stand in `docs/benchmarks.md` with the seed and the machine.

use std::error::Error;

/// One long run.
pub struct Soak {
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// The same seed gives the same run. The value is one JSON object of figures.
    pub run: fn(u64) -> Result<serde_json::Value, Box<dyn Error>>,
}

/// All soaks, by name.
pub const ALL: &[Soak] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soaks_are_sorted_and_each_name_is_there_once() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
