//! Rotary positions (Su et al. 2021) on halves, as Hugging Face orders them.

use super::for_rows;
use crate::backend::real::Real;

/// The pair `(x[i], x[i + half])` of each head turns by its row's angle `i`. `cos` and `sin` hold `half` values a row.
pub fn rotate<T: Real>(x: &mut [T], cols: usize, half: usize, cos: &[T], sin: &[T], inverse: bool) {
    let sign = if inverse { -T::ONE } else { T::ONE };
    for_rows(x, cols, |row, values| {
        let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
        for head in values.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (x, y, sin) = (*a, *b, sign * sin);
                *a = x * cos - y * sin;
                *b = y * cos + x * sin;
            }
        }
    });
}
