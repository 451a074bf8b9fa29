//! What several sources gain, and what a slow one costs.

use potluck_tests::sim::swarm::Conduct;

use super::{MIB, one_pull};

/// 25 MB/s, and a twenty-fifth of it.
const RATE: u64 = 25_000_000;
const SLOW: u64 = 1_000_000;
const FILE: usize = 256;

fn took_ms(rates: &[u64], delay_ms: u64) -> u64 {
    let providers: Vec<_> = rates.iter().map(|rate| (Conduct::Honest, *rate)).collect();
    let outcome = one_pull(1, vec![MIB; FILE], &providers, delay_ms).run().expect("all are honest");
    println!(
        "{FILE} MiB from {rates:?} at {delay_ms} ms: {} ms, {} bytes too many",
        outcome.took_ms,
        outcome.came_bytes - outcome.wanted_bytes
    );
    outcome.took_ms
}

#[test]
fn four_seeders_give_at_least_3_6_times_one() {
    for delay_ms in [1, 10, 50] {
        let (one, four) = (took_ms(&[RATE], delay_ms), took_ms(&[RATE; 4], delay_ms));
        assert!(one * 10 >= four * 36, "{one} ms from one, {four} ms from four, {delay_ms} ms away");
    }
}

#[test]
fn a_slow_one_of_four_costs_less_than_5_percent() {
    for delay_ms in [1, 10, 50] {
        let (without, with) = (took_ms(&[RATE; 3], delay_ms), took_ms(&[RATE, RATE, RATE, SLOW], delay_ms));
        assert!(with * 100 < without * 105, "{without} ms without it, {with} ms with it, {delay_ms} ms away");
    }
}
