//! Measuring this machine: whole training steps ([`step`]), prompts and new tokens ([`generate`]), merges ([`merge`]), and
//! the arithmetic that a step is made of ([`arithmetic`]). Nothing here judges a time.

pub mod arithmetic;
pub mod generate;
pub mod merge;
pub mod step;

/// Where the ids of made-up tokens begin to count: far from the counters of the factors.
const ID_BASE: u64 = 1 << 60;

/// The id at a flat position of made-up tokens: `splitmix64(2^60 + i) mod vocabulary`.
pub fn hashed_id(position: usize, vocabulary: u32) -> u32 {
    (crate::random::splitmix64(ID_BASE + position as u64) % u64::from(vocabulary)) as u32
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => f64::NAN,
        (_, 1) => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ids_are_those_that_the_python_side_draws() {
        // peft_step.py: splitmix64(2**60 + i) % 49152, i = 0, 1, 2.
        assert_eq!([0, 1, 2].map(|i| hashed_id(i, 49152)), [48375, 46123, 24949]);
    }
}
