//! What becomes of a tile's sums: scaled, added to something, rounded, and written where they belong.

use half::bf16;

use super::Tile;
use super::exponentials::{Exponentials, SharedExponentials};
use super::product::{Product, Values};
use crate::backend::cpu::element::Element;

/// Where a product goes, row-major.
pub enum Out<'a> {
    F32 {
        values: &'a mut [f32],
        stride: usize,
    },
    Bf16 {
        values: &'a mut [bf16],
        stride: usize,
    },
    /// Element `(row, column)` at `column * stride + row`.
    Transposed {
        values: &'a mut [f32],
        stride: usize,
    },
    /// Not the sums, but what a softmax makes of them.
    Exponentials(Exponentials<'a>),
}

/// Asks for the lines that a tile is about to fill and to add: without it each of its rows waits for memory, which costs
/// a twentieth of the whole product.
#[inline(always)]
pub fn prefetch<T: Tile>(
    tile: T,
    Product { onto, .. }: &Product<'_>,
    out: &SharedOut,
    (row, rows): (usize, usize),
    col: usize,
) {
    for row in row..row + rows {
        out.prefetch(tile, row, col);
        if let Some(onto) = onto {
            let at = row * onto.stride + col;
            match onto.values {
                Values::F32(values) => tile.prefetch(values.as_ptr().wrapping_add(at)),
                Values::Bf16(values) => tile.prefetch(values.as_ptr().wrapping_add(at)),
            }
        }
    }
}

/// Scales sums (rows of `T::COLS`, or a single one), adds what they go onto, and writes them. What is the same for all
/// rows is asked once: this runs for every tile.
#[inline(always)]
pub fn finish<T: Tile>(
    tile: T,
    Product { scale, onto, .. }: &Product<'_>,
    out: &SharedOut,
    (row, rows): (usize, usize),
    (col, cols): (usize, usize),
    sums: &mut [f32],
) {
    if *scale != 1.0 {
        sums.iter_mut().for_each(|sum| *sum *= scale);
    }
    if let Some(onto) = onto {
        let at = row * onto.stride + col;
        match onto.values {
            Values::F32(values) => add::<T, _>((&values[at..], onto.stride), (rows, cols), sums),
            Values::Bf16(values) => add::<T, _>((&values[at..], onto.stride), (rows, cols), sums),
        }
    }
    // SAFETY: tasks have different rows or columns, so no two write the same element.
    unsafe { out.write(tile, (row, rows), (col, cols), sums) }
}

/// `sums += onto`
#[inline(always)]
fn add<T: Tile, E: Element>((onto, stride): (&[E], usize), (rows, cols): (usize, usize), sums: &mut [f32]) {
    for (i, sums) in sums.chunks_mut(T::COLS).enumerate().take(rows) {
        let onto = &onto[i * stride..][..cols];
        if cols == T::COLS {
            // A length that the compiler knows.
            sums[..T::COLS].iter_mut().zip(&onto[..T::COLS]).for_each(|(sum, onto)| *sum += onto.widen());
        } else {
            sums.iter_mut().zip(onto).for_each(|(sum, onto)| *sum += onto.widen());
        }
    }
}

/// An output that tasks write in places that do not overlap.
pub struct SharedOut {
    to: Pointer,
    len: usize,
    stride: usize,
}

enum Pointer {
    F32(*mut f32),
    Bf16(*mut bf16),
    Transposed(*mut f32),
    Exponentials(SharedExponentials),
}

// SAFETY: only `write` follows the pointer, and its callers keep their places apart.
unsafe impl Sync for SharedOut {}
// SAFETY: as above; the pointer is not bound to a thread.
unsafe impl Send for SharedOut {}

impl SharedOut {
    pub fn new(out: &mut Out<'_>) -> Self {
        match out {
            Out::F32 { values, stride } => {
                Self { to: Pointer::F32(values.as_mut_ptr()), len: values.len(), stride: *stride }
            }
            Out::Bf16 { values, stride } => {
                Self { to: Pointer::Bf16(values.as_mut_ptr()), len: values.len(), stride: *stride }
            }
            Out::Transposed { values, stride } => {
                Self { to: Pointer::Transposed(values.as_mut_ptr()), len: values.len(), stride: *stride }
            }
            Out::Exponentials(out) => {
                Self { to: Pointer::Exponentials(SharedExponentials::new(out)), len: 0, stride: 0 }
            }
        }
    }

    #[inline(always)]
    fn prefetch<T: Tile>(&self, tile: T, row: usize, col: usize) {
        let at = row * self.stride + col;
        match &self.to {
            Pointer::F32(to) => tile.prefetch(to.wrapping_add(at)),
            Pointer::Bf16(to) => tile.prefetch(to.wrapping_add(at)),
            Pointer::Exponentials(out) => out.prefetch(tile, row, col),
            Pointer::Transposed(_) => {}
        }
    }

    /// Writes `rows` rows of `cols` sums, which lie `T::COLS` apart.
    ///
    /// # Safety
    /// The output outlives this, and no other thread touches these elements meanwhile.
    #[inline(always)]
    unsafe fn write<T: Tile>(
        &self,
        tile: T,
        (row, rows): (usize, usize),
        (col, cols): (usize, usize),
        sums: &mut [f32],
    ) {
        let last = match &self.to {
            // SAFETY: as for this function.
            Pointer::Exponentials(out) => return unsafe { out.write(tile, (row, rows), (col, cols), sums) },
            Pointer::Transposed(_) => (col + cols - 1) * self.stride + row + rows,
            Pointer::F32(_) | Pointer::Bf16(_) => (row + rows - 1) * self.stride + col + cols,
        };
        assert!(last <= self.len, "a product reaches beyond its output");
        let at = row * self.stride + col;
        match &self.to {
            // SAFETY: no further than `last`, which is within bounds, and nobody else's for now.
            Pointer::Bf16(to) => unsafe { tile.narrow(sums, (rows, cols), to.add(at), self.stride) },
            Pointer::F32(to) => {
                for (i, sums) in sums.chunks(T::COLS).enumerate().take(rows) {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(to.add(at + i * self.stride), cols) };
                    copy::<T>(sums, to);
                }
            }
            Pointer::Transposed(to) => {
                for (i, sums) in sums.chunks(T::COLS).enumerate().take(rows) {
                    for (j, &sum) in sums[..cols].iter().enumerate() {
                        // SAFETY: as above.
                        unsafe { to.add((col + j) * self.stride + row + i).write(sum) }
                    }
                }
            }
            Pointer::Exponentials(_) => {}
        }
    }
}

#[inline(always)]
fn copy<T: Tile>(sums: &[f32], to: &mut [f32]) {
    if to.len() == T::COLS {
        // A length that the compiler knows.
        to[..T::COLS].copy_from_slice(&sums[..T::COLS]);
    } else {
        to.copy_from_slice(&sums[..to.len()]);
    }
}
