//! How products are cut: into tasks for the threads, and a task's contraction into pieces whose panels fit its cache.

use super::Tile;
use super::product::{Product, Term};

/// Bytes of packed panels that a task works on: about half of a second-level cache.
const PANEL_BYTES: usize = 640 << 10;
/// Longer contractions are cut, so that a task has several panels even then.
const DEPTH_MAX: usize = 3328;
/// The length that they are cut into.
const DEPTH_CUT: usize = 1024;
/// Tasks for each thread, where there are panels enough: what the last one leaves the others waiting is a part of that.
const TASKS: usize = 8;
/// Fewer rows than this would read their panels from afar for too little.
const ROWS_MIN: usize = 96;
/// Bytes of panels that are packed at once for all tasks.
pub const SHARED_BYTES: usize = 8 << 20;

/// A part of a product: some columns of some rows.
pub struct Task {
    pub product: usize,
    /// The first and how many.
    pub cols: (usize, usize),
    pub rows: (usize, usize),
}

/// A product whose panels are packed once, for all tasks.
pub fn is_shared(product: &Product<'_>) -> bool {
    product.depth() <= DEPTH_MAX && product.terms.len() <= MAX_PIECES
}

/// Tasks by columns, for what needs no panels.
pub fn by_columns<T: Tile>(index: usize, cols: usize, rows: usize, threads: usize) -> Vec<Task> {
    let each = (cols.div_ceil(T::COLS) / (TASKS * threads)).max(1) * T::COLS;
    let task = |first| Task { product: index, cols: (first, each.min(cols - first)), rows: (0, rows) };
    (0..cols).step_by(each).map(task).collect()
}

/// Tasks enough to keep the threads even. Where panels are packed before, a task has as many as its cache holds and some
/// of the rows; a task that packs for itself has all rows.
pub fn cut<T: Tile>(
    index: usize,
    product: &Product<'_>,
    (first, cols): (usize, usize),
    rows: usize,
    threads: usize,
) -> Vec<Task> {
    let shared = is_shared(product);
    let depth = if shared { product.depth() } else { DEPTH_CUT };
    let fit = (PANEL_BYTES / (depth.max(1) * T::COLS * size_of::<T::Element>()).max(1)).max(1);
    let own = cols.div_ceil(T::COLS);
    // Every task reads all of a long `x`, which no cache holds: few tasks, of one width.
    let groups = if shared { own.div_ceil(fit) } else { own.div_ceil(fit).next_multiple_of(threads) };
    let each = own.div_ceil(groups.max(1)).max(1) * T::COLS;
    let splits = if shared && threads > 1 { (TASKS * threads).div_ceil(groups.max(1)) } else { 1 };
    let rows_each = rows.div_ceil(splits).max(ROWS_MIN.min(rows.div_ceil(threads))).next_multiple_of(T::ROWS);
    let mut tasks = Vec::new();
    for col in (first..first + cols).step_by(each) {
        for row in (0..rows).step_by(rows_each) {
            let rows = (row, rows_each.min(rows - row));
            tasks.push(Task { product: index, cols: (col, each.min(first + cols - col)), rows });
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
    /// Where it begins in a panel of the pass, in elements.
    pub at: usize,
}

/// Pieces of one pass: terms are a few layers and their adapters.
pub const MAX_PIECES: usize = 32;

/// Some of a contraction, in pieces whose panel of all lies in one place.
pub struct Pass {
    pub pieces: Vec<Piece>,
    /// Elements of a panel.
    pub panel: usize,
}

/// The contraction in passes, one only where panels are shared.
pub fn passes<T: Tile>(product: &Product<'_>) -> Vec<Pass> {
    let limit = if is_shared(product) { DEPTH_MAX } else { DEPTH_CUT };
    let empty = || Pass { pieces: Vec::new(), panel: 0 };
    let (mut passes, mut pass, mut filled) = (Vec::new(), empty(), 0);
    for (term, Term { factor, .. }) in product.terms.iter().enumerate() {
        let mut from = 0;
        while from < factor.depth {
            if filled == limit || pass.pieces.len() == MAX_PIECES {
                passes.push(std::mem::replace(&mut pass, empty()));
                filled = 0;
            }
            let depth = (factor.depth - from).min(limit - filled);
            pass.pieces.push(Piece { term, from, depth, at: pass.panel });
            pass.panel += depth.next_multiple_of(T::GROUP) * T::COLS;
            (from, filled) = (from + depth, filled + depth);
        }
    }
    if !pass.pieces.is_empty() || passes.is_empty() {
        passes.push(pass);
    }
    passes
}
