//! Products whose panels are packed once for all tasks: first all threads pack, then all multiply. Of large matrices only
//! some columns at a time, so that what is packed stays small beside the matrices.

use std::cell::Cell;
use std::ops::Range;

use super::Tile;
use super::cut::{Pass, SHARED_BYTES, Task, cut, passes};
use super::factor::Widened;
use super::product::{Product, SCRATCH, Shared, each, typed};
use super::tiles::{Kept, multiply, pack};
use crate::backend::cpu::instructions::Instructions;

thread_local! {
    /// The panels of a block. Taken out while it is used: a thread that waits for others may be given other work.
    static PANELS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Elements that are packed sooner than threads are woken.
const ALONE: usize = 1 << 16;

/// Some columns of a product.
#[derive(Clone)]
struct Part {
    product: usize,
    cols: (usize, usize),
    /// Where its panels lie, in elements.
    panels: Range<usize>,
}

/// Parts of products, and what is packed of each.
pub struct Blocks {
    blocks: Vec<Vec<Part>>,
    /// Elements of the last block.
    filled: usize,
    passes: Vec<(usize, Pass)>,
}

impl Blocks {
    pub fn new() -> Self {
        Self { blocks: Vec::new(), filled: 0, passes: Vec::new() }
    }

    /// Adds a product, in as many parts as the bound asks for.
    pub fn add<T: Tile>(&mut self, index: usize, product: &Product<'_>) {
        let Some(pass) = passes::<T>(product).into_iter().next() else { return };
        let most = SHARED_BYTES / size_of::<T::Element>();
        let mut first = 0;
        while first < product.cols {
            if self.blocks.is_empty() || self.filled + pass.panel > most {
                self.blocks.push(Vec::new());
                self.filled = 0;
            }
            let fit = ((most - self.filled) / pass.panel.max(1)).max(1);
            let panels = (product.cols - first).div_ceil(T::COLS).min(fit);
            let cols = (panels * T::COLS).min(product.cols - first);
            let end = self.filled + panels * pass.panel;
            let part = Part { product: index, cols: (first, cols), panels: self.filled..end };
            self.blocks.last_mut().into_iter().for_each(|parts| parts.push(part.clone()));
            (self.filled, first) = (end.min(most), first + cols);
        }
        self.passes.push((index, pass));
    }

    pub fn run<T: Tile>(
        &self,
        tile: T,
        instructions: Instructions,
        products: &[Shared<'_, '_>],
        rows: usize,
        threads: usize,
    ) {
        for parts in &self.blocks {
            let mut memory = PANELS.take();
            let packed = typed::<T::Element>(&mut memory, parts.last().map_or(0, |part| part.panels.end));
            let packers = if packed.len() < ALONE { 1 } else { threads };
            let pass = |product: usize| self.passes.iter().find(|(index, _)| *index == product).map(|(_, pass)| pass);
            let mut panels = Vec::new();
            let mut rest = &mut packed[..];
            let mut tasks = Vec::new();
            for part in parts {
                let (Some(pass), product) = (pass(part.product), products[part.product].product) else { continue };
                let own;
                (own, rest) = rest.split_at_mut(part.panels.len());
                let (first, cols) = part.cols;
                for (panel, to) in own.chunks_exact_mut(pass.panel.max(1)).enumerate() {
                    let from = panel * T::COLS;
                    panels.push((product, pass, (first + from, T::COLS.min(cols - from)), to));
                }
                let own = cut::<T>(part.product, product, part.cols, rows, threads);
                tasks.extend(own.into_iter().map(|task| (task, pass, part)));
            }
            each(packers, panels, |(product, pass, cols, to)| {
                SCRATCH.with_borrow_mut(|scratch| {
                    instructions.vectorise(Packing { tile, product, pass, cols, to, widened: &mut scratch.widened });
                });
            });
            let packed = &*packed;
            each(threads, tasks, |(task, pass, part)| {
                let from = part.panels.start + (task.cols.0 - part.cols.0) / T::COLS * pass.panel;
                let packed = &packed[from..part.panels.end];
                SCRATCH.with_borrow_mut(|scratch| {
                    let shared = &products[task.product];
                    instructions.vectorise(Multiplying { tile, shared, task, pass, packed, x: &mut scratch.x });
                });
            });
            PANELS.set(memory);
        }
    }
}

/// One panel to pack, as something that can be compiled for given instructions.
struct Packing<'t, 'a, T: Tile> {
    tile: T,
    product: &'t Product<'a>,
    pass: &'t Pass,
    cols: (usize, usize),
    to: &'t mut [T::Element],
    widened: &'t mut Widened,
}

impl<T: Tile> pulp::NullaryFnOnce for Packing<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        pack(self.tile, self.product, self.pass, self.cols, self.to, self.widened);
    }
}

/// One task whose panels are packed.
struct Multiplying<'t, 'a, 'b, T: Tile> {
    tile: T,
    shared: &'t Shared<'a, 'b>,
    task: Task,
    pass: &'t Pass,
    packed: &'t [T::Element],
    x: &'t mut Vec<u8>,
}

impl<T: Tile> pulp::NullaryFnOnce for Multiplying<'_, '_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let kept = Kept { first: true, last: true, partial: &mut [] };
        let Shared { product, out } = self.shared;
        multiply(self.tile, (product, out), &self.task, (self.pass, self.packed), kept, self.x);
    }
}
