//! Dropout (Srivastava et al. 2014) whose draws are a function of a key and an element's place: every pass over the
//! same rows, on any backend and any thread, drops the same elements, so that no mask is kept.

use super::for_chunks;
use crate::backend::Dropout;
use crate::backend::real::Real;
use crate::random::splitmix64;

/// What the elements of a row are drawn from.
#[inline]
pub fn row_key(key: u64, row: u64) -> u64 {
    splitmix64(key.wrapping_add(row))
}

/// Whether the element in a column of a row survives.
#[inline]
pub fn keep(row_key: u64, column: u64, p: f32) -> bool {
    // 24 bits and the power of two are exact in `f32`.
    (splitmix64(row_key.wrapping_add(column)) >> 40) as f32 / (1u32 << 24) as f32 >= p
}

/// Drops elements of a matrix of `dropout.rows.len()` rows in place and divides the others by `1 - p`.
pub fn apply<T: Real>(x: &mut [T], dropout: &Dropout) {
    let kept = T::of(1.0 - f64::from(dropout.p));
    let columns = x.len() / dropout.rows.len().max(1);
    if columns == 0 {
        return;
    }
    for_chunks(x, |range, x| {
        let mut at = range.start;
        let mut rest = x;
        while !rest.is_empty() {
            let (row, column) = (at / columns, at % columns);
            let (part, after) = rest.split_at_mut((columns - column).min(rest.len()));
            let key = row_key(dropout.key, dropout.rows[row]);
            for (column, x) in (column as u64..).zip(part.iter_mut()) {
                *x = if keep(key, column, dropout.p) { *x / kept } else { T::ZERO };
            }
            (at, rest) = (at + part.len(), after);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropout(p: f32, rows: impl IntoIterator<Item = u64>) -> Dropout {
        Dropout { p, key: 7, rows: rows.into_iter().collect() }
    }

    #[test]
    fn elements_are_dropped_with_the_probability_that_was_asked_for() {
        for p in [0.0f32, 0.05, 0.5, 0.9] {
            let mut x = vec![1.0f64; 100_000];
            apply(&mut x, &dropout(p, 0..1000));
            let dropped = x.iter().filter(|&&x| x == 0.0).count() as f64 / x.len() as f64;
            assert!((dropped - f64::from(p)).abs() < 0.01, "{p}: {dropped}");
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            assert!((mean - 1.0).abs() < 0.02, "{p}: {mean}");
        }
    }

    /// The rule is part of what a run is: another draw would be another run.
    #[test]
    fn the_draw_of_a_key_is_pinned() {
        let mut x = vec![1.0f32; 24];
        apply(&mut x, &dropout(0.5, [3, 9]));
        let kept = |row: u64, column: u64| splitmix64(splitmix64(7 + row) + column) >> 63 == 1;
        let expected =
            [3, 9].into_iter().flat_map(|row| (0..12).map(move |column| if kept(row, column) { 2.0 } else { 0.0 }));
        assert_eq!(x, expected.collect::<Vec<f32>>());
        assert!(keep(u64::MAX, 1, 0.0));
    }

    #[test]
    fn a_row_is_dropped_alike_wherever_it_lies() {
        let (columns, names) = (33, [5u64, 1 << 40, 8, 0]);
        let alone = |name: u64| {
            let mut x = vec![1.0f64; columns];
            apply(&mut x, &dropout(0.3, [name]));
            x
        };
        let mut together = vec![1.0f64; columns * names.len()];
        apply(&mut together, &dropout(0.3, names));
        assert_eq!(together, names.map(alone).concat());
        assert_ne!(alone(5), alone(8));
    }
}
