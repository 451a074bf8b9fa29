//! A product whose sums are logits: `e^(logit - shift)` in their place, and what a cross-entropy needs besides.
//!
//! The usual order (logits, their maximum, exponentials, their sum, the gradient) goes over a row of the vocabulary four
//! times. Here a tile's logits become exponentials while they are in the first cache. A shift for each row that is known
//! before (any number near the greatest logit will do) takes the maximum's place, and whoever uses the exponentials
//! divides by their sum afterwards, which needs one number for each row.

use half::bf16;

use super::Tile;
use super::product::ValuesMut;
use crate::backend::real::Real;

/// Where they go. Rows are the product's.
pub struct Exponentials<'a> {
    /// What is subtracted from each row's logits.
    pub shifts: &'a [f32],
    /// The column of each row's target.
    pub targets: &'a [u32],
    /// Row-major, `stride` from one row to the next; zero in the target's place, which is left to the caller. None if only
    /// the totals are wanted.
    pub values: Option<ValuesMut<'a>>,
    pub stride: usize,
    /// `[rows, panels]`: the sum of a row's exponentials over the columns of each of the tile's panels.
    pub totals: &'a mut [f32],
    /// The target's logit of each row.
    pub own: &'a mut [f32],
}

#[derive(Clone, Copy)]
enum Values {
    None,
    F32(*mut f32),
    Bf16(*mut bf16),
}

/// [`Exponentials`] that several tasks write in places that do not overlap.
pub struct SharedExponentials {
    rows: usize,
    shifts: *const f32,
    targets: *const u32,
    values: Values,
    stride: usize,
    len: usize,
    totals: *mut f32,
    panels: usize,
    own: *mut f32,
}

impl SharedExponentials {
    /// # Panics
    /// If the slices are not of the same number of rows: the caller's mistake.
    pub fn new(out: &mut Exponentials<'_>) -> Self {
        let rows = out.shifts.len();
        assert!(rows == out.targets.len() && rows == out.own.len(), "a shift, a target and a logit for each row");
        let (values, len) = match &mut out.values {
            None => (Values::None, 0),
            Some(ValuesMut::F32(values)) => (Values::F32(values.as_mut_ptr()), values.len()),
            Some(ValuesMut::Bf16(values)) => (Values::Bf16(values.as_mut_ptr()), values.len()),
        };
        Self {
            rows,
            shifts: out.shifts.as_ptr(),
            targets: out.targets.as_ptr(),
            values,
            stride: out.stride,
            len,
            totals: out.totals.as_mut_ptr(),
            panels: out.totals.len() / rows.max(1),
            own: out.own.as_mut_ptr(),
        }
    }

    /// Asks for the lines under a row of a tile.
    #[inline(always)]
    pub fn prefetch<T: Tile>(&self, tile: T, row: usize, col: usize) {
        let at = row * self.stride + col;
        match self.values {
            Values::None => {}
            Values::F32(to) => tile.prefetch(to.wrapping_add(at)),
            Values::Bf16(to) => tile.prefetch(to.wrapping_add(at)),
        }
    }

    /// Takes a tile's logits, `T::COLS` apart; they are used up.
    ///
    /// # Safety
    /// The slices outlive this, and no other thread touches these elements meanwhile: a panel of a row belongs to one task.
    #[inline(always)]
    pub unsafe fn write<T: Tile>(
        &self,
        tile: T,
        (row, rows): (usize, usize),
        (col, cols): (usize, usize),
        logits: &mut [f32],
    ) {
        let panel = col / T::COLS;
        assert!(row + rows <= self.rows && panel < self.panels, "a product has more rows or columns than its softmax");
        let reach = (row + rows - 1) * self.stride + col + cols;
        assert!(matches!(self.values, Values::None) || reach <= self.len, "a product reaches beyond its output");
        for (row, logits) in (row..row + rows).zip(logits.chunks_mut(T::COLS)) {
            // SAFETY: `row` is below the number of rows, which all of them have.
            let (shift, target) = unsafe { (*self.shifts.add(row), *self.targets.add(row) as usize) };
            let target = target.checked_sub(col).filter(|&target| target < cols);
            if let Some(target) = target {
                // SAFETY: as above.
                unsafe { *self.own.add(row) = logits[target] }
            }
            let total = if cols == T::COLS {
                exponentials(&mut logits[..T::COLS], shift)
            } else {
                exponentials(&mut logits[..cols], shift)
            };
            // SAFETY: `panel` is below the number of panels.
            unsafe { *self.totals.add(row * self.panels + panel) = total }
            if let Some(target) = target {
                logits[target] = 0.0;
            }
        }
        let at = row * self.stride + col;
        match self.values {
            Values::None => {}
            Values::F32(to) => {
                for (i, values) in logits.chunks(T::COLS).enumerate().take(rows) {
                    // SAFETY: no further than `reach`, which is within the values.
                    let to = unsafe { std::slice::from_raw_parts_mut(to.add(at + i * self.stride), cols) };
                    to.copy_from_slice(&values[..cols]);
                }
            }
            // SAFETY: as above.
            Values::Bf16(to) => unsafe { tile.narrow(logits, (rows, cols), to.add(at), self.stride) },
        }
    }
}

/// Sums side by side: what all instructions have in common.
const LANES: usize = 16;

/// Turns logits into `e^(logit - shift)` and gives their sum.
#[inline(always)]
fn exponentials(logits: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = logits.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = (*value - shift).exponential();
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *value = (*value - shift).exponential();
        *lane += *value;
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    lanes[0]
}
