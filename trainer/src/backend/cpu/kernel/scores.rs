//! What attention does with a tile of scores between its products: queries are rows, keys are columns.
//!
//! Scores lie as register tiles leave them: for each panel of keys `[ROWS, COLS]`. The loops here are for every kernel;
//! one that has better instructions overrides them.

use super::Tile;
use super::power::{multiply_add, power_of_two};
use crate::backend::cpu::element::{Element, convert};

/// Which keys a tile's queries see: none after themselves.
#[derive(Clone, Copy)]
pub struct Sight {
    /// Where the tile's first query is among its span's keys.
    pub query: usize,
    /// The first key.
    pub key: usize,
    /// Keys in all.
    pub keys: usize,
}

impl Sight {
    /// Keys that a row sees, the first ones.
    #[inline(always)]
    pub fn of(&self, row: usize) -> usize {
        (self.query + row + 1).saturating_sub(self.key).min(self.keys)
    }
}

/// Scores on their way to weights.
pub struct Scores<'a> {
    /// Whole panels: the keys that are seen, and anything to fill up the last panel. Used up.
    pub values: &'a mut [f32],
    pub sight: Sight,
    /// Brings scores to the exponent of two.
    pub factor: f32,
}

/// What a tile of queries has for a panel of keys on the way back.
pub struct Slopes<'a> {
    /// `Q K^T` and `dO V^T`, with anything where no row sees a key. Used up.
    pub scores: &'a mut [f32],
    pub slopes: &'a mut [f32],
    pub sight: Sight,
    /// Brings scores to the exponent of two.
    pub factor: f32,
    /// For each row the log-sum-exp in the exponent of two, and what is taken off its slopes.
    pub lse: &'a [f32],
    pub inner: &'a [f32],
}

/// Where weights and their gradients go, from the panel's first key on.
pub struct Weights<'a, E> {
    /// `P` and `dS` with groups of queries side by side; `stride` keys from one group to the next.
    pub p: &'a mut [E],
    pub ds: &'a mut [E],
    /// `dS` as rows, `stride` from one to the next.
    pub rows: &'a mut [E],
    pub stride: usize,
}

/// A kernel as attention uses it.
pub trait Attend: Tile {
    /// [`Tile::run`] onto nothing: whatever is in `sums` is lost. Only the first `cols` columns are wanted; of the
    /// others nothing is said.
    ///
    /// # Panics
    /// If a slice is too short for `depth`.
    #[inline(always)]
    fn product(
        self,
        _cols: usize,
        depth: usize,
        x: &[Self::Element],
        stride: usize,
        panel: &[Self::Element],
        sums: &mut [f32],
    ) {
        sums[..Self::ROWS * Self::COLS].fill(0.0);
        self.run(depth, x, stride, panel, sums);
    }

    /// `most = max(most, factor * scores)`, `out = 2^(factor * scores - most)` with `stride` from one row to the next,
    /// and `totals`, the sums of the rows of `out` before they are rounded. What a row does not see is zero.
    ///
    /// # Panics
    /// If a slice is shorter than the tile's rows or the panels.
    #[inline(always)]
    fn weigh(
        self,
        scores: Scores<'_>,
        most: &mut [f32],
        (out, stride): (&mut [Self::Element], usize),
        totals: &mut [f32],
    ) {
        let Scores { values, sight, factor } = scores;
        hide::<Self>(values, sight);
        greatest::<Self>(values, totals);
        for (most, &now) in most.iter_mut().zip(&*totals) {
            *most = if *most > now * factor { *most } else { now * factor };
        }
        exponentials::<Self>(values, (factor, most), (out, stride), totals);
    }

    /// `P = 2^(factor * scores - lse)` and `dS = P * (slopes - inner)`; zero where a row does not see a key.
    ///
    /// # Panics
    /// If a slice is shorter than the tile.
    #[inline(always)]
    fn gradients(self, of: Slopes<'_>, to: Weights<'_, Self::Element>) {
        let Slopes { scores, slopes, sight, factor, lse, inner } = of;
        let rows = scores.chunks_exact_mut(Self::COLS).zip(slopes.chunks_exact_mut(Self::COLS));
        for (i, (scores, slopes)) in rows.enumerate() {
            let (lse, inner) = (lse[i], inner[i]);
            for (score, slope) in scores.iter_mut().zip(&mut *slopes) {
                *score = power_of_two::<Self>(multiply_add::<Self>(*score, factor, -lse));
                *slope = *score * (*slope - inner);
            }
            let seen = sight.of(i);
            if seen < Self::COLS {
                scores[seen..].fill(0.0);
                slopes[seen..].fill(0.0);
            }
        }
        groups_of::<Self>(scores, to.p, to.stride);
        groups_of::<Self>(slopes, to.ds, to.stride);
        for (i, slopes) in slopes.chunks_exact(Self::COLS).enumerate() {
            convert(slopes, &mut to.rows[i * to.stride..][..Self::COLS]);
        }
    }

    /// Dot products of as many rows as there are in `out`; `values` are two matrices from their first rows on, with
    /// their strides. Products of bf16 are added in f32.
    ///
    /// # Panics
    /// If a row reaches beyond its matrix.
    #[inline(always)]
    fn dots<S: Element>(self, values: [(&[S], usize); 2], dim: usize, out: &mut [f32]) {
        dots(values, dim, out);
    }

    /// `out = scale * sums` for a row of tiles' sums side by side; `sums` begins with the row in the first tile.
    ///
    /// # Panics
    /// If there are fewer tiles than `out` has columns for.
    #[inline(always)]
    fn finish<S: Element>(self, sums: &[f32], scale: f32, out: &mut [S]) {
        finish::<Self, S>(sums, scale, out);
    }
}

impl Attend for super::F32Portable {}
#[cfg(any(test, not(target_arch = "x86_64")))]
impl Attend for super::F32Neon {}
#[cfg(target_arch = "x86_64")]
impl Attend for super::F32Avx2 {}
#[cfg(target_arch = "x86_64")]
impl Attend for super::F32Avx512 {}

/// Values of a tile of queries and a panel of keys.
const TILE_MAX: usize = 12 * 32;

/// One value for each place of a tile, on a cache line. In memory rather than in registers: the compiler makes vectors
/// of loops over slices, and scalars of arrays that it takes apart.
#[repr(align(64))]
struct Lanes([f32; TILE_MAX]);

impl Lanes {
    #[inline(always)]
    fn new(value: f32) -> Self {
        Self([value; TILE_MAX])
    }

    #[inline(always)]
    fn of<T: Tile>(&mut self) -> &mut [f32] {
        &mut self.0[..T::ROWS * T::COLS]
    }

    /// Each row's lanes to one value, by halves and an odd one last.
    #[inline(always)]
    fn fold<T: Tile>(&mut self, with: impl Fn(f32, f32) -> f32) -> impl Iterator<Item = f32> {
        let mut width = T::COLS;
        while width > 1 {
            let half = width / 2;
            for row in self.of::<T>().chunks_exact_mut(T::COLS) {
                let (low, high) = row.split_at_mut(half);
                low.iter_mut().zip(&*high).for_each(|(low, &high)| *low = with(*low, high));
                if width % 2 == 1 {
                    low[0] = with(low[0], high[half]);
                }
            }
            width = half;
        }
        self.of::<T>().iter().copied().step_by(T::COLS)
    }
}

/// Puts scores that are not seen below all others.
#[inline(always)]
fn hide<T: Tile>(scores: &mut [f32], sight: Sight) {
    let whole = sight.of(0) / T::COLS;
    for (panel, scores) in scores.chunks_exact_mut(T::ROWS * T::COLS).enumerate().skip(whole) {
        for (i, scores) in scores.chunks_exact_mut(T::COLS).enumerate() {
            let seen = sight.of(i).saturating_sub(panel * T::COLS);
            scores[seen.min(T::COLS)..].fill(f32::NEG_INFINITY);
        }
    }
}

/// The greatest score of each row; NaN is passed over (it shows in the sum).
#[inline(always)]
fn greatest<T: Tile>(scores: &[f32], rows: &mut [f32]) {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = Lanes::new(f32::NEG_INFINITY);
    for scores in scores.chunks_exact(T::ROWS * T::COLS) {
        most.of::<T>().iter_mut().zip(scores).for_each(|(most, &score)| *most = pick(*most, score));
    }
    rows.iter_mut().zip(most.fold::<T>(pick)).for_each(|(row, most)| *row = most);
}

/// `out = 2^(factor * score - shift)`, with a shift for each row and `stride` from one row of `out` to the next; `sums`
/// are those of the rows. Scores are used up.
#[inline(always)]
fn exponentials<T: Tile>(
    scores: &mut [f32],
    (factor, shifts): (f32, &[f32]),
    (out, stride): (&mut [T::Element], usize),
    sums: &mut [f32],
) {
    let mut lanes = Lanes::new(0.0);
    for (panel, scores) in scores.chunks_exact_mut(T::ROWS * T::COLS).enumerate() {
        let rows = scores.chunks_exact_mut(T::COLS).zip(lanes.of::<T>().chunks_exact_mut(T::COLS));
        for (i, ((scores, lanes), &shift)) in rows.zip(shifts).enumerate() {
            for (score, lane) in scores.iter_mut().zip(lanes) {
                *score = power_of_two::<T>(multiply_add::<T>(*score, factor, -shift));
                *lane += *score;
            }
            convert(scores, &mut out[i * stride + panel * T::COLS..][..T::COLS]);
        }
    }
    sums.iter_mut().zip(lanes.fold::<T>(|a, b| a + b)).for_each(|(sum, total)| *sum = total);
}

/// A tile's rows with groups of them side by side; `stride` columns from one group to the next.
#[inline(always)]
fn groups_of<T: Tile>(tile: &[f32], out: &mut [T::Element], stride: usize) {
    for (group, rows) in tile.chunks_exact(T::COLS * T::GROUP).enumerate() {
        let out = &mut out[group * stride * T::GROUP..][..T::COLS * T::GROUP];
        if T::GROUP == 1 {
            convert(rows, out);
            continue;
        }
        let (even, odd) = rows.split_at(T::COLS);
        for ((out, &even), &odd) in out.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
            *out = [T::Element::narrow(even), T::Element::narrow(odd)];
        }
    }
}

#[inline(always)]
pub(super) fn finish<T: Tile, S: Element>(sums: &[f32], scale: f32, out: &mut [S]) {
    for (out, sums) in out.chunks_mut(T::COLS).zip(sums.chunks(T::ROWS * T::COLS)) {
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = S::narrow(sum * scale));
    }
}

#[inline(always)]
pub(super) fn dots<S: Element>(values: [(&[S], usize); 2], dim: usize, out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let [a, b] = values.map(|(values, stride)| &values[i * stride..][..dim]);
        *out = dot(a, b);
    }
}

/// Independent sums of a dot product.
const LANES: usize = 16;

#[inline(always)]
fn dot<S: Element>(a: &[S], b: &[S]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a.widen() * b.widen();
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a.widen() * b.widen();
    }
    fold(sums, |a, b| a + b)
}

/// Lanes by halves, and an odd one last.
#[inline(always)]
pub fn fold<const COLS: usize>(mut lanes: [f32; COLS], with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = COLS;
    while width > 1 {
        let half = width / 2;
        for lane in 0..half {
            lanes[lane] = with(lanes[lane], lanes[lane + half]);
        }
        if width % 2 == 1 {
            lanes[0] = with(lanes[0], lanes[width - 1]);
        }
        width = half;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_fold_whatever_their_number() {
        assert_eq!(fold(std::array::from_fn::<_, 12, _>(|i| i as f32), |a, b| a + b), 66.0);
        assert_eq!(fold(std::array::from_fn::<_, 32, _>(|i| -(i as f32)), f32::max), 0.0);
    }
}
