//! A head's rows as operands of the register tiles.

use super::view::View;
use crate::backend::cpu::element::{Element, convert};
use crate::backend::cpu::kernel::Tile;

/// One head over some rows: `[rows, dim]`.
pub struct Head<'a, S> {
    pub of: View<'a, S>,
    pub row: usize,
    pub rows: usize,
    pub col: usize,
    pub dim: usize,
}

impl<'a, S: Element> Head<'a, S> {
    #[inline(always)]
    fn from(&self, row: usize, col: usize) -> &'a [S] {
        self.of.from(self.row + row, self.col + col)
    }

    #[inline(always)]
    fn at(&self, row: usize) -> &'a [S] {
        &self.from(row, 0)[..self.dim]
    }

    /// Panels whose columns are the rows: panel `p`, at `p * dim * COLS`, has the rows from `p * COLS` on.
    #[inline(always)]
    pub fn columns<T: Tile>(&self, tile: T, out: &mut [T::Element]) {
        let panels = out.chunks_exact_mut(self.dim * T::COLS);
        for (panel, first) in panels.zip((0..self.rows).step_by(T::COLS)) {
            let count = T::COLS.min(self.rows - first);
            if count < T::COLS {
                panel.fill(T::Element::ZERO);
            }
            tile.columns(self.from(first, 0), self.of.stride, self.dim, count, panel);
        }
    }

    /// Panels whose steps are the rows: panel `p`, at `p * depth * COLS`, has the columns from `p * COLS` on. Steps from
    /// `rows` to `depth` are zero.
    #[inline(always)]
    pub fn steps<T: Tile>(&self, tile: T, depth: usize, out: &mut [T::Element]) {
        let whole = self.rows / T::GROUP * T::GROUP;
        let panels = out.chunks_exact_mut(depth * T::COLS);
        for (panel, first) in panels.zip((0..self.dim).step_by(T::COLS)) {
            let count = T::COLS.min(self.dim - first);
            if count < T::COLS {
                panel.fill(T::Element::ZERO);
            } else {
                panel[whole * T::COLS..].fill(T::Element::ZERO);
            }
            if self.rows > 0 {
                let panel = &mut panel[..self.rows.next_multiple_of(T::GROUP) * T::COLS];
                tile.steps(self.from(0, first), self.of.stride, self.rows, count, panel);
            }
        }
    }

    /// The rows side by side, and zeros up to the end of `out`.
    #[inline(always)]
    pub fn rows<E: Element>(&self, out: &mut [E]) {
        let (own, rest) = out.split_at_mut(self.rows * self.dim);
        for (row, own) in own.chunks_exact_mut(self.dim).enumerate() {
            copy(self.at(row), own);
        }
        rest.fill(E::ZERO);
    }
}

/// `to = from`. Where nothing is converted, a cache line at a time, which the compiler does not find by itself.
#[inline(always)]
fn copy<S: Element, E: Element>(from: &[S], to: &mut [E]) {
    if size_of::<S>() != size_of::<E>() {
        return convert(from, to);
    }
    let (from, from_rest) = bytemuck::cast_slice::<_, u8>(from).as_chunks::<64>();
    let (to, to_rest) = bytemuck::cast_slice_mut::<_, u8>(to).as_chunks_mut::<64>();
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.copy_from_slice(from_rest);
}
