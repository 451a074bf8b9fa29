//! Register tiles: the innermost loops of every matrix product.
//!
//! A tile multiplies a few rows of `x` (row-major, as they lie) with a panel of some columns of the other factor
//! (packed by `panel`) and adds to a block of `f32` sums that never leaves the registers on the way. What surrounds it
//! is [`factor`] (the other factor as it is stored, and its packing), [`product`] (which way a product goes), `cut`, `block` and `tiles` (packed panels), `few` (so few rows that nothing is
//! packed), [`output`] and [`exponentials`] (what becomes of sums); [`scores`] and [`power`] are attention's.
//!
//! `unsafe` is allowed in these files alone, for intrinsics and for reads whose bounds [`check`] has settled.

#![allow(unsafe_code, reason = "intrinsics, and reads whose bounds `check` has settled")]

#[cfg(target_arch = "x86_64")]
mod bf16_avx512;
mod f32_portable;
#[cfg(target_arch = "x86_64")]
mod f32_x86;
mod panel;
#[cfg(target_arch = "x86_64")]
mod panel_avx512;
pub mod peak;

pub mod factor;
pub mod product;
mod cut;
mod block;
mod tiles;
mod few;
pub mod output;
pub mod exponentials;

pub mod power;
pub mod scores;
#[cfg(target_arch = "x86_64")]
mod scores_avx512;

#[cfg(target_arch = "x86_64")]
pub use bf16_avx512::Bf16Avx512;
#[cfg(any(test, not(target_arch = "x86_64")))]
pub use f32_portable::F32Neon;
pub use f32_portable::F32Portable;
#[cfg(target_arch = "x86_64")]
pub use f32_x86::{F32Avx2, F32Avx512};

use half::bf16;

use super::element::{Element, convert};

/// A micro-kernel. Values exist only where the machine has the instructions.
pub trait Tile: Copy + Send + Sync + 'static {
    /// What rows and panels hold.
    type Element: Element;
    /// A tile of the same arithmetic with fewer columns and more rows, or the tile itself.
    type Narrow: Tile<Element = Self::Element>;
    /// Rows of `x` that one call takes.
    const ROWS: usize;
    /// Columns of a panel.
    const COLS: usize;
    /// Consecutive elements of the contraction that lie side by side in a panel: element `(k, n)` of a panel is at
    /// `(k / GROUP) * COLS * GROUP + n * GROUP + k % GROUP`.
    const GROUP: usize;
    /// Whether the instructions multiply and add in one step. Elsewhere `f32::mul_add` is a call of the C library.
    const FUSED: bool;
    /// `run` for a few rows, with the other factor as its rows lie: to pack it would be most of the work. The same sums in
    /// the same order.
    const THIN: Option<RunThin<Self>> = None;

    /// `sums[i * COLS + n] += sum over k of x[i * stride + k] * panel(k, n)`, for all `ROWS * COLS` sums. `depth` is a
    /// multiple of `GROUP`. The order of additions is a function of `depth` alone.
    ///
    /// # Panics
    /// If a slice is too short for `depth`.
    fn run(self, depth: usize, x: &[Self::Element], stride: usize, panel: &[Self::Element], sums: &mut [f32]);

    /// [`Self::run`] over several operands, one after another, onto `sums` or, unless `add`, onto nothing.
    ///
    /// # Panics
    /// If a slice is too short for its depth.
    #[inline(always)]
    fn run_all(self, operands: &[Operand<'_, Self::Element>], add: bool, sums: &mut [f32]) {
        if !add {
            sums.fill(0.0);
        }
        for operand in operands {
            self.run(operand.depth, operand.x, operand.stride, operand.panel, sums);
        }
    }

    /// [`Self::run`] with `x` lying the other way round, groups of steps side by side as in a panel: element `(i, k)` is at
    /// `(k / GROUP) * stride + i * GROUP + k % GROUP`.
    ///
    /// # Panics
    /// If a slice is too short for `depth`.
    fn run_transposed(
        self,
        depth: usize,
        x: &[Self::Element],
        stride: usize,
        panel: &[Self::Element],
        sums: &mut [f32],
    );

    /// For products whose last panel would be mostly empty.
    fn narrow_tile(self) -> Self::Narrow;

    /// Packs `count` rows of `depth` values, `stride` apart, as the columns of a panel. What they do not fill stays.
    ///
    /// # Panics
    /// If a slice is too short.
    #[inline(always)]
    fn columns<S: Element>(self, from: &[S], stride: usize, depth: usize, count: usize, out: &mut [Self::Element]) {
        panel::columns::<Self, S>(from, stride, depth, count, out);
    }

    /// Packs `depth` rows of `count` values, `stride` apart, as the steps of a panel. What they do not fill stays, but for
    /// the last group.
    ///
    /// # Panics
    /// If a slice is too short.
    #[inline(always)]
    fn steps<S: Element>(self, from: &[S], stride: usize, depth: usize, count: usize, out: &mut [Self::Element]) {
        panel::steps::<Self, S>(from, stride, depth, count, out);
    }

    /// Rounds `rows` rows of `cols` sums to bf16, to nearest and ties to even, and writes them `stride` apart. NaN stays
    /// NaN; subnormal numbers may become zero.
    ///
    /// # Safety
    /// All of it may be written, and nobody else reads or writes it meanwhile.
    #[inline(always)]
    unsafe fn narrow(self, sums: &[f32], (rows, cols): (usize, usize), to: *mut bf16, stride: usize) {
        for (row, sums) in sums.chunks(Self::COLS).enumerate().take(rows) {
            // SAFETY: as for this function.
            convert(sums, unsafe { std::slice::from_raw_parts_mut(to.add(row * stride), cols) });
        }
    }

    /// Asks for the memory under a row of sums, wherever it is: a hint, where there is an instruction for it.
    #[inline(always)]
    fn prefetch<E>(self, to: *const E) {
        for line in (0..Self::COLS * size_of::<E>()).step_by(64) {
            let _line = to.wrapping_byte_add(line);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every such processor has the instruction, and it may be given any address.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(_line.cast());
            }
        }
    }
}

/// What one run of a tile multiplies.
#[derive(Clone, Copy)]
pub struct Operand<'a, E> {
    /// Whole groups.
    pub depth: usize,
    /// `[ROWS, depth]`, `stride` from one row to the next.
    pub x: &'a [E],
    pub stride: usize,
    pub panel: &'a [E],
}

impl<E> Operand<'_, E> {
    /// Nothing to multiply: what arrays of operands begin with.
    pub const NONE: Self = Self { depth: 0, x: &[], stride: 0, panel: &[] };
}

/// # Panics
/// If a slice is too short.
pub type RunThin<T> = fn(T, Thin<'_, <T as Tile>::Element>, &mut [f32]);

/// What [`Tile::THIN`] multiplies.
#[derive(Clone, Copy)]
pub struct Thin<'a, E> {
    /// One of [`THIN_ROWS`].
    pub rows: usize,
    /// Whole groups.
    pub depth: usize,
    /// `[rows, depth]`, `stride` from one row to the next.
    pub x: &'a [E],
    pub stride: usize,
    /// `[depth, cols]`, `factor_stride` from one row to the next.
    pub factor: &'a [E],
    pub factor_stride: usize,
    /// From 1 to `COLS`.
    pub cols: usize,
}

/// Rows that a thin product takes at a time.
pub const THIN_ROWS: [usize; 2] = [12, 8];

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn check_thin<T: Tile>(thin: &Thin<'_, T::Element>, sums: &[f32]) {
    let most = T::COLS;
    let reach = |rows: usize, stride: usize, len: usize| rows.checked_sub(1).map_or(0, |last| last * stride + len);
    assert!(
        THIN_ROWS.contains(&thin.rows) && (1..=most).contains(&thin.cols),
        "rows and columns are those of the tile"
    );
    assert!(reach(thin.rows, thin.stride, thin.depth) <= thin.x.len(), "rows of x reach beyond their slice");
    assert!(reach(thin.depth, thin.factor_stride, thin.cols) <= thin.factor.len(), "steps reach beyond their slice");
    assert!(thin.depth.is_multiple_of(T::GROUP), "a thin product has whole groups");
    assert!(thin.rows * most <= sums.len(), "there are fewer sums than the tile has");
}

/// The bounds that the unsafe loops of a tile rely on.
#[inline(always)]
fn check<T: Tile>(depth: usize, x: &[T::Element], stride: usize, panel: &[T::Element], sums: &[f32]) {
    assert!((T::ROWS - 1) * stride + depth <= x.len(), "rows of x reach beyond their slice");
    check_panel::<T>(depth, panel, sums);
}

/// The same for an `x` that lies the other way round.
#[inline(always)]
fn check_transposed<T: Tile>(depth: usize, x: &[T::Element], stride: usize, panel: &[T::Element], sums: &[f32]) {
    let reach = (depth / T::GROUP).checked_sub(1).map_or(0, |last| last * stride + T::ROWS * T::GROUP);
    assert!(reach <= x.len(), "groups of x reach beyond their slice");
    check_panel::<T>(depth, panel, sums);
}

#[inline(always)]
fn check_panel<T: Tile>(depth: usize, panel: &[T::Element], sums: &[f32]) {
    assert!(depth.is_multiple_of(T::GROUP), "a panel holds whole groups");
    assert!(depth * T::COLS <= panel.len(), "the panel is shorter than the contraction");
    assert!(T::ROWS * T::COLS <= sums.len(), "there are fewer sums than the tile has");
}

#[cfg(test)]
mod tests;
