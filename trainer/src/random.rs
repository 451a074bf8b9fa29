//! Seeded numbers by counter: a draw is a function of its key alone, so it is the same on every machine, on any number of
//! threads and in any order.

use potluck_protocol::splitmix::SplitMix64;

/// The first number of the SplitMix64 stream that starts at `key`.
pub fn splitmix64(key: u64) -> u64 {
    SplitMix64::new(key).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_the_first_number_of_its_stream() {
        // The published first output for seed 1234567, and that of 0.
        assert_eq!(splitmix64(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
    }
}
