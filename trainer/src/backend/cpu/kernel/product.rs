//! Matrix products: blocking, threads, conversion, and what is done with the sums.
//!
//! ```text
//! out_j = scale_j * (sum of x_t factor_t over the terms t of product j) + onto_j
//! ```
//! Several products over the same number of rows go through together, so that threads wait once. A task takes some
//! panels of columns (as many as its second-level cache holds) and some rows; it goes through the rows a register tile at
//! a time. No sum is ever split between tasks, and the order of additions depends on the contraction's length alone:
//! the same bits on any number of threads, in any cut into tasks.

use std::cell::RefCell;

use half::bf16;
use rayon::prelude::*;

use super::block::Blocks;
use super::cut::{Task, by_columns, cut, is_shared};
use super::factor::{Factor, Orientation, Widened};
use super::output::{Out, SharedOut};
use super::{RunThin, THIN_ROWS, Tile};
use crate::backend::cpu::element::{Element, same};
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
            Values::F32(values) => same(values),
            Values::Bf16(values) => same(values),
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
/// More rows than this are worth packing the other factor for.
const THIN: usize = 64;

/// Scratch of one thread: it grows to what its largest task needs and stays.
#[derive(Default)]
pub struct Scratch {
    pub panels: Vec<u8>,
    pub x: Vec<u8>,
    pub partial: Vec<f32>,
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
pub struct Running<'t, 'a, 'b, T> {
    pub tile: T,
    pub shared: &'t Shared<'a, 'b>,
    pub task: &'t Task,
    rows: usize,
    pub scratch: &'t mut Scratch,
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
