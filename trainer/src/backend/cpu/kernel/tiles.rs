//! Rows of `x` through packed panels, a register tile at a time.

use super::cut::{MAX_PIECES, Pass, Task, passes};
use super::factor::Widened;
use super::output::{SharedOut, finish, prefetch};
use super::product::{Product, Rows, Running, Scratch, Shared, Values, typed};
use super::{Operand, Tile};
use crate::backend::cpu::element::{Element, convert};

impl<T: Tile> Running<'_, '_, '_, T> {
    /// Packs what it needs, pass by pass.
    #[inline(always)]
    pub fn tiles(self) {
        let Shared { product, out } = self.shared;
        let (first, count) = self.task.cols;
        let panels = count.div_ceil(T::COLS);
        let passes = passes::<T>(product);
        let Scratch { panels: packed, x, partial, widened } = self.scratch;
        if passes.len() > 1 {
            partial.resize(self.task.rows.1.next_multiple_of(T::ROWS) * panels * T::COLS, 0.0);
        }
        for (index, pass) in passes.iter().enumerate() {
            let packed = typed::<T::Element>(packed, panels * pass.panel);
            for (panel, packed) in packed.chunks_exact_mut(pass.panel.max(1)).enumerate() {
                let from = panel * T::COLS;
                pack(self.tile, product, pass, (first + from, T::COLS.min(count - from)), packed, widened);
            }
            let kept = Kept { first: index == 0, last: index + 1 == passes.len(), partial };
            multiply(self.tile, (product, out), self.task, (pass, packed), kept, x);
        }
    }
}

/// The largest tile's sums, on a cache line of their own.
const SUMS_MAX: usize = 12 * 32;

#[repr(align(64))]
struct Sums([f32; SUMS_MAX]);

/// Packs one panel of a pass.
#[inline(always)]
pub fn pack<T: Tile>(
    tile: T,
    product: &Product<'_>,
    pass: &Pass,
    cols: (usize, usize),
    to: &mut [T::Element],
    widened: &mut Widened,
) {
    for piece in &pass.pieces {
        let to = &mut to[piece.at..][..piece.depth.next_multiple_of(T::GROUP) * T::COLS];
        product.terms[piece.term].factor.pack(tile, (piece.from, piece.depth), cols, to, widened);
    }
}

/// What a contraction of several passes keeps between them.
pub struct Kept<'a> {
    pub first: bool,
    pub last: bool,
    /// A task's sums, tile by tile.
    pub partial: &'a mut [f32],
}

/// Multiplies a task's rows with its packed panels.
#[inline(always)]
pub fn multiply<T: Tile>(
    tile: T,
    (product, out): (&Product<'_>, &SharedOut),
    Task { cols: (first, count), rows: (top, rows), .. }: &Task,
    (pass, packed): (&Pass, &[T::Element]),
    kept: Kept<'_>,
    x: &mut Vec<u8>,
) {
    let pieces = &pass.pieces[..];
    let panels = count.div_ceil(T::COLS);
    let mut sums = Sums([0.0; SUMS_MAX]);
    let sums = &mut sums.0[..T::ROWS * T::COLS];
    let copies: usize = pieces.iter().map(|piece| T::ROWS * piece.depth.next_multiple_of(T::GROUP)).sum();
    for row in (0..*rows).step_by(BLOCK * T::ROWS) {
        let tiles = (rows - row).div_ceil(T::ROWS).min(BLOCK);
        let mut copy = typed::<T::Element>(x, tiles * copies);
        let mut operands = [[Operand::NONE; MAX_PIECES]; BLOCK];
        for (tile, operands) in operands.iter_mut().enumerate().take(tiles) {
            let (at, valid) = valid::<T>((*top, *rows), row + tile * T::ROWS);
            for (operand, piece) in operands.iter_mut().zip(pieces) {
                operand.depth = piece.depth.next_multiple_of(T::GROUP);
                let (own, rest) = copy.split_at_mut(T::ROWS * operand.depth);
                copy = rest;
                let x = &product.terms[piece.term].x;
                (operand.x, operand.stride) = rows_of::<T>(x, (at, valid), (piece.from, piece.depth), own);
            }
        }
        for panel in 0..panels {
            let packed = &packed[panel * pass.panel..][..pass.panel];
            let col = first + panel * T::COLS;
            for (index, operands) in operands.iter_mut().enumerate().take(tiles) {
                let operands = &mut operands[..pieces.len()];
                let row = row + index * T::ROWS;
                let rows = valid::<T>((*top, *rows), row);
                for (operand, piece) in operands.iter_mut().zip(pieces) {
                    operand.panel = &packed[piece.at..][..operand.depth * T::COLS];
                }
                let place = (row * panels + panel * T::ROWS) * T::COLS;
                if !kept.first {
                    sums.copy_from_slice(&kept.partial[place..][..T::ROWS * T::COLS]);
                }
                if kept.last {
                    prefetch(tile, product, out, rows, col);
                }
                tile.run_all(operands, !kept.first, sums);
                if kept.last {
                    finish(tile, product, out, rows, (col, T::COLS.min(first + count - col)), sums);
                } else {
                    kept.partial[place..][..T::ROWS * T::COLS].copy_from_slice(sums);
                }
            }
        }
    }
}

/// Tiles of rows that go through a panel one after another, while it is in the first cache.
const BLOCK: usize = 8;

/// The first row of a tile and how many of its rows there are, of a task's rows.
#[inline(always)]
fn valid<T: Tile>((top, rows): (usize, usize), row: usize) -> (usize, usize) {
    (top + row, T::ROWS.min(rows - row))
}

/// Rows as a tile wants them: as they lie, where type, number and length allow, or else copied to `own`.
#[inline(always)]
fn rows_of<'x, T: Tile>(
    x: &Rows<'x>,
    (row, valid): (usize, usize),
    (from, depth): (usize, usize),
    own: &'x mut [T::Element],
) -> (&'x [T::Element], usize) {
    let direct = valid == T::ROWS && depth.is_multiple_of(T::GROUP);
    let start = row * x.stride + from;
    if let (true, Some(values)) = (direct, x.elements::<T::Element>()) {
        return (&values[start..], x.stride);
    }
    let padded = depth.next_multiple_of(T::GROUP);
    for (i, own) in own.chunks_exact_mut(padded).enumerate() {
        if i >= valid {
            own.fill(T::Element::ZERO);
            continue;
        }
        let at = start + i * x.stride;
        match x.values {
            Values::F32(values) => convert(&values[at..at + depth], own),
            Values::Bf16(values) => convert(&values[at..at + depth], own),
        }
        own[depth..].fill(T::Element::ZERO);
    }
    (own, padded)
}
