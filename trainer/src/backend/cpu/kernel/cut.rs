//! How products are cut: into tasks for the threads, and a task's contraction into pieces whose panels fit its cache.

use super::Tile;
use super::product::{Product, Shared, Term};

/// Bytes of packed panels that a task works on: about half of a second-level cache.
const PANEL_BYTES: usize = 640 << 10;
/// Longer contractions are cut, so that a task has several panels even then.
const DEPTH_MAX: usize = 3328;
/// The length that they are cut into.
const DEPTH_CUT: usize = 1024;
/// Tasks for each thread, where there are panels enough: what the last one leaves the others waiting is a part of that.
const TASKS: usize = 8;

/// A part of a product: some columns of some rows.
pub struct Task {
    pub product: usize,
    /// The first and how many.
    pub cols: (usize, usize),
    pub rows: (usize, usize),
}

/// Tasks enough to keep the threads even, each with panels that fit its cache.
pub fn cut<T: Tile>(products: &[Shared<'_, '_>], rows: usize, threads: usize) -> Vec<Task> {
    let panels: usize = products.iter().map(|p| p.product.cols.div_ceil(T::COLS)).sum();
    // Few panels: rows are split instead, and each task has all panels, so that it reads its rows once.
    let by_rows = threads > 1 && panels < 2 * threads && rows > 8 * T::ROWS;
    let splits = if by_rows { (2 * threads).min(rows.div_ceil(8 * T::ROWS)) } else { 1 };
    let rows_each = rows.div_ceil(splits.max(1)).next_multiple_of(T::ROWS);
    let mut tasks = Vec::new();
    for (index, shared) in products.iter().enumerate() {
        let (cols, depth) = (shared.product.cols, shared.product.depth());
        let long = depth > DEPTH_MAX;
        let depth = if long { DEPTH_CUT } else { depth };
        let fit = (PANEL_BYTES / (depth.max(1) * T::COLS * size_of::<T::Element>()).max(1)).max(1);
        let own = cols.div_ceil(T::COLS);
        let even = match (threads, long) {
            (1, _) => own,
            (_, false) if by_rows => own,
            // Every task reads all of a long `x`, which no cache holds: few tasks, of one width.
            (_, true) => own.div_ceil(own.div_ceil(fit).next_multiple_of(threads)),
            (_, false) => panels / (TASKS * threads),
        };
        let each = fit.min(even).max(1) * T::COLS;
        for first in (0..cols).step_by(each) {
            for row in (0..rows).step_by(rows_each) {
                let rows = (row, rows_each.min(rows - row));
                tasks.push(Task { product: index, cols: (first, each.min(cols - first)), rows });
            }
        }
    }
    tasks
}

/// A run of the contraction within one term.
#[derive(Clone, Copy)]
pub struct Piece {
    pub term: usize,
    pub from: usize,
    pub depth: usize,
    /// Where its panels begin, and the length of one, in elements.
    pub at: usize,
    pub panel: usize,
}

/// Pieces of one pass: terms are a few layers and their adapters.
pub const MAX_PIECES: usize = 32;

/// The contraction in passes whose panels fit, each of some pieces.
pub fn passes<T: Tile>(product: &Product<'_>, panels: usize) -> Vec<Vec<Piece>> {
    let whole = product.depth() <= DEPTH_MAX;
    let limit = if whole { DEPTH_MAX } else { DEPTH_CUT };
    let (mut passes, mut pieces, mut filled, mut at) = (Vec::new(), Vec::new(), 0, 0);
    for (term, Term { factor, .. }) in product.terms.iter().enumerate() {
        let mut from = 0;
        while from < factor.depth {
            if filled == limit || pieces.len() == MAX_PIECES {
                passes.push(std::mem::take(&mut pieces));
                (filled, at) = (0, 0);
            }
            let depth = (factor.depth - from).min(limit - filled);
            let panel = depth.next_multiple_of(T::GROUP) * T::COLS;
            pieces.push(Piece { term, from, depth, at, panel });
            (from, filled, at) = (from + depth, filled + depth, at + panels * panel);
        }
    }
    if !pieces.is_empty() || passes.is_empty() {
        passes.push(pieces);
    }
    passes
}
