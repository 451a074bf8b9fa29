//! Matrix products: blocking, threads, conversion, and what is done with the sums.
//!
//! ```text
//! out_j = scale_j * (sum of x_t factor_t over the terms t of product j) + onto_j
//! ```
//! Several products over the same number of rows go through together, so that threads wait once. A task takes some
//! panels of columns (packed into its second-level cache) and some rows; it goes through the rows a register tile at a
//! time. No sum is ever split between tasks, and the order of additions depends on the contraction's length alone:
//! the same bits on any number of threads, in any cut into tasks.

use std::cell::RefCell;

use half::bf16;
use rayon::prelude::*;

use super::block::Blocks;
use super::cut::{MAX_PIECES, Pass, Task, by_columns, cut, is_shared, passes};
use super::output::{Out, SharedOut, finish, prefetch};
use super::{Operand, RunThin, THIN_ROWS, Thin, Tile};
use crate::backend::cpu::element::{Element, convert};
use crate::backend::cpu::factor::{Factor, Orientation, Widened};
use crate::backend::cpu::instructions::Instructions;

/// Row-major values, from the first row that is meant.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// Values to write.
pub enum ValuesMut<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [bf16]),
}

/// A left-hand factor, `[rows, depth]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub values: Values<'a>,
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// The values if they are of this type.
    #[inline(always)]
    pub fn elements<E: Element>(&self) -> Option<&'a [E]> {
        match self.values {
            Values::F32(values) => bytemuck::try_cast_slice(values).ok().filter(|_| size_of::<E>() == 4),
            Values::Bf16(values) => bytemuck::try_cast_slice(values).ok().filter(|_| size_of::<E>() == 2),
        }
    }
}

/// One term of a sum of products.
pub struct Term<'a> {
    pub x: Rows<'a>,
    pub factor: Factor<'a>,
}

/// One product, `[rows, cols]`.
pub struct Product<'a> {
    pub terms: Vec<Term<'a>>,
    pub cols: usize,
    pub scale: f32,
    /// Added to the scaled sums.
    pub onto: Option<Rows<'a>>,
    pub out: Out<'a>,
}

/// Multiplications below which waking threads costs more than it gives.
const ALONE: usize = 1 << 18;
/// Fewer rows than this are taken one stored row at a time, without packing.
const FEW: usize = 4;

/// Scratch of one thread: it grows to what its largest task needs and stays.
#[derive(Default)]
pub struct Scratch {
    panels: Vec<u8>,
    pub x: Vec<u8>,
    partial: Vec<f32>,
    pub widened: Widened,
}

thread_local! {
    pub static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs products over the same rows.
pub fn run<T: Tile>(tile: T, instructions: Instructions, rows: usize, products: &mut [Product<'_>]) {
    let cols = |width| products.iter().map(|product| product.cols.next_multiple_of(width)).sum::<usize>();
    // Where the last panel is a great part of all, a tile that fits the columns outweighs one that is a little faster.
    // Sums of exponentials are by panels of the tile itself.
    let by_panels = products.iter().any(|product| matches!(product.out, Out::Exponentials(_)));
    if !by_panels && cols(T::Narrow::COLS) * NARROW < cols(T::COLS) * (NARROW - 1) {
        run_with(tile.narrow_tile(), instructions, rows, products);
    } else {
        run_with(tile, instructions, rows, products);
    }
}

/// The part of the columns that a narrow tile must save.
const NARROW: usize = 8;

fn run_with<T: Tile>(tile: T, instructions: Instructions, rows: usize, products: &mut [Product<'_>]) {
    let outs: Vec<SharedOut> = products.iter_mut().map(|product| SharedOut::new(&mut product.out)).collect();
    let products: Vec<Shared<'_, '_>> = products.iter().zip(outs).map(|(p, out)| Shared { product: p, out }).collect();
    let work: usize = products.iter().map(|p| p.product.work(rows)).sum();
    let threads = if work < ALONE { 1 } else { rayon::current_num_threads() };
    let mut tasks = Vec::new();
    let mut blocks = Blocks::new();
    for (index, Shared { product, .. }) in products.iter().enumerate() {
        match way::<T>(product, rows) {
            Way::Tiles if is_shared(product) => blocks.add::<T>(index, product),
            Way::Tiles => tasks.extend(cut::<T>(index, product, (0, product.cols), rows, threads)),
            Way::Few | Way::Thin(..) => tasks.extend(by_columns::<T>(index, product.cols, rows, threads)),
        }
    }
    each(threads, tasks, |task| {
        SCRATCH.with_borrow_mut(|scratch| {
            instructions.vectorise(Running { tile, shared: &products[task.product], task: &task, rows, scratch });
        });
    });
    blocks.run(tile, instructions, &products, rows, threads);
}

/// Calls `run` for each, on the threads of the current pool or on this one alone.
pub fn each<I: Send>(threads: usize, items: Vec<I>, run: impl Fn(I) + Sync + Send) {
    if threads == 1 { items.into_iter().for_each(run) } else { items.into_par_iter().with_max_len(1).for_each(run) }
}

/// How a product is computed.
enum Way<T: Tile> {
    /// So few rows of `x` that each stored row is taken once, without packing.
    Few,
    /// So few that the other factor is read as it lies, by so many of them at a time.
    Thin(RunThin<T>, usize),
    Tiles,
}

fn way<T: Tile>(product: &Product<'_>, rows: usize) -> Way<T> {
    let columns = product.terms.iter().all(|term| term.factor.orientation == Orientation::RowsAreColumns);
    if rows < FEW && columns && !matches!(product.out, Out::Exponentials(_)) {
        return Way::Few;
    }
    let ([Term { x, factor }], Some(run)) = (&product.terms[..], T::THIN) else { return Way::Tiles };
    let stored = factor.elements::<T::Element>().is_some() && x.elements::<T::Element>().is_some();
    let worth = factor.orientation == Orientation::RowsAreSteps && rows <= THIN && T::COLS <= product.cols;
    let height = THIN_ROWS.into_iter().find(|height| rows.is_multiple_of(*height));
    match height {
        Some(height) if stored && worth => Way::Thin(run, height),
        _ => Way::Tiles,
    }
}

impl Product<'_> {
    pub fn depth(&self) -> usize {
        self.terms.iter().map(|term| term.factor.depth).sum()
    }

    fn work(&self, rows: usize) -> usize {
        rows * self.cols * self.depth()
    }
}

/// A product whose outputs several tasks write.
pub struct Shared<'a, 'b> {
    pub product: &'b Product<'a>,
    pub out: SharedOut,
}

/// A task with all that it needs, as something that can be compiled for given instructions.
struct Running<'t, 'a, 'b, T> {
    tile: T,
    shared: &'t Shared<'a, 'b>,
    task: &'t Task,
    rows: usize,
    scratch: &'t mut Scratch,
}

impl<T: Tile> pulp::NullaryFnOnce for Running<'_, '_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match way::<T>(self.shared.product, self.rows) {
            Way::Few => self.few(),
            Way::Thin(run, height) => self.thin(run, height),
            Way::Tiles => self.tiles(),
        }
    }
}

/// More rows than this are worth packing the other factor for.
const THIN: usize = 64;
/// Steps that all rows go through before the next: their lines share few sets of the caches where rows are of such lengths.
const THIN_STEPS: usize = 512;

impl<T: Tile> Running<'_, '_, '_, T> {
    /// Packs what it needs, pass by pass.
    #[inline(always)]
    fn tiles(self) {
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

    /// Few rows: the other factor is read as it lies, some steps at a time that stay cached for all rows.
    #[inline(always)]
    fn thin(self, run: RunThin<T>, height: usize) {
        let product = self.shared.product;
        let [Term { x, factor }] = &product.terms[..] else { return };
        let (Some(values), Some(stored)) = (x.elements::<T::Element>(), factor.elements::<T::Element>()) else {
            return;
        };
        let ((first, count), (top, rows)) = (self.task.cols, self.task.rows);
        // A last step that is not a whole group is added by itself.
        let grouped = factor.depth / T::GROUP * T::GROUP;
        self.scratch.partial.resize(rows * T::COLS, 0.0);
        let sums = &mut self.scratch.partial[..rows * T::COLS];
        for col in (first..first + count).step_by(T::COLS) {
            let cols = T::COLS.min(first + count - col);
            sums.fill(0.0);
            for from in (0..grouped).step_by(THIN_STEPS) {
                for (tile, sums) in sums.chunks_exact_mut(height * T::COLS).enumerate() {
                    let thin = Thin {
                        rows: height,
                        depth: THIN_STEPS.min(grouped - from),
                        x: &values[(top + tile * height) * x.stride + from..],
                        stride: x.stride,
                        factor: &stored[from * factor.stride + col..],
                        factor_stride: factor.stride,
                        cols,
                    };
                    run(self.tile, thin, sums);
                }
            }
            for k in grouped..factor.depth {
                let stored = &stored[k * factor.stride + col..][..cols];
                for (row, sums) in sums.chunks_exact_mut(T::COLS).enumerate() {
                    let x = values[(top + row) * x.stride + k].widen();
                    sums.iter_mut().zip(stored).for_each(|(sum, w)| *sum += x * w.widen());
                }
            }
            finish(self.tile, product, &self.shared.out, (top, rows), (col, cols), sums);
        }
    }

    /// Each stored row is widened once and multiplied with each row of `x`: for single tokens, where packing would be
    /// most of the work.
    #[inline(always)]
    fn few(self) {
        let product = self.shared.product;
        let Scratch { x: xs, widened: _, partial, .. } = self.scratch;
        let depth = product.depth();
        let (row, rows) = self.task.rows;
        let xs = typed::<f32>(xs, rows * depth);
        for (i, xs) in xs.chunks_exact_mut(depth).enumerate() {
            let mut at = 0;
            for term in &product.terms {
                widen_row(&term.x, row + i, &mut xs[at..at + term.factor.depth]);
                at += term.factor.depth;
            }
        }
        partial.resize(depth, 0.0);
        for col in self.task.cols.0..self.task.cols.0 + self.task.cols.1 {
            let mut at = 0;
            for term in &product.terms {
                term.factor.widen(col, 0, &mut partial[at..at + term.factor.depth]);
                at += term.factor.depth;
            }
            for (i, x) in xs.chunks_exact(depth).enumerate() {
                let mut sum = [dot(x, &partial[..depth])];
                finish(self.tile, product, &self.shared.out, (row + i, 1), (col, 1), &mut sum);
            }
        }
    }
}

/// Lanes of a sum over a row: a fixed number, so that the order of additions is the same on all instructions.
const LANES: usize = 64;

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a * b;
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        width /= 2;
    }
    sums[0]
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

#[inline(always)]
fn widen_row(x: &Rows<'_>, row: usize, to: &mut [f32]) {
    let at = row * x.stride;
    match x.values {
        Values::F32(values) => to.copy_from_slice(&values[at..at + to.len()]),
        Values::Bf16(values) => convert(&values[at..at + to.len()], to),
    }
}

/// Scratch bytes as elements, grown as needed.
#[inline(always)]
pub fn typed<E: Element>(bytes: &mut Vec<u8>, len: usize) -> &mut [E] {
    let align = 64;
    let need = len * size_of::<E>() + align;
    if bytes.len() < need {
        bytes.resize(need, 0);
    }
    let skip = bytes.as_ptr().align_offset(align);
    bytemuck::cast_slice_mut(&mut bytes[skip..skip + len * size_of::<E>()])
}
