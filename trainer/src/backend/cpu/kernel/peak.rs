//! What a tile reaches when everything it reads lies in the first cache: the machine's peak for such arithmetic, right
//! now, on all threads at once.

use std::time::{Duration, Instant};

use super::Tile;
use crate::backend::cpu::element::Element;

/// Steps of the contraction: rows and panel together stay within 32 KiB.
const DEPTH: usize = 128;
/// How long each thread goes on.
const TIME: Duration = Duration::from_millis(300);

/// Operations a second (a multiplication and an addition count as two), all threads of the current pool together.
pub fn peak<T: Tile>(tile: T) -> f64 {
    rayon::broadcast(|_| one(tile)).iter().sum()
}

fn one<T: Tile>(tile: T) -> f64 {
    let x = vec![T::Element::narrow(1.0); T::ROWS * DEPTH];
    let panel = vec![T::Element::narrow(1.0); T::COLS * DEPTH];
    let mut sums = vec![0.0; T::ROWS * T::COLS];
    let (started, mut runs) = (Instant::now(), 0u64);
    while started.elapsed() < TIME {
        for _ in 0..256 {
            tile.run(DEPTH, &x, DEPTH, std::hint::black_box(&panel), &mut sums);
        }
        runs += 256;
    }
    let flop = 2.0 * (T::ROWS * T::COLS * DEPTH) as f64 * runs as f64;
    flop / started.elapsed().as_secs_f64() * f64::from(u8::from(sums[0] > 0.0))
}
