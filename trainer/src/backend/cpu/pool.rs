//! Memory for buffers: taken once, given back when a buffer is dropped, and taken again by the next of its size.
//!
//! After the first step of a run every buffer finds its place here, so that a step neither asks the system for memory
//! nor touches a fresh page. Large pieces are mapped in whole pages, which the system may back with huge ones. A dry
//! pool keeps the same books without any memory: how a run's need is known before it starts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};
use memmap2::{MmapMut, MmapOptions};

/// Pieces from here on are mapped, smaller ones come from the heap.
const MAPPED: usize = 1 << 20;
/// Pieces are made in steps of an eighth of their size, so that batches of like size share them.
const STEPS: usize = 8;
/// What may lie idle beyond the greatest need so far, in parts of it.
const SLACK: usize = 32;

/// A cache line: what heap pieces are aligned to.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

enum Memory {
    Mapped(MmapMut),
    Heap(Vec<Line>),
    /// A size on the books of a dry pool.
    None,
}

/// Where buffers take their memory.
pub struct Pool {
    dry: bool,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    idle: BTreeMap<usize, Vec<Memory>>,
    idle_bytes: usize,
    used: usize,
    /// The greatest `used` so far.
    need: usize,
    /// The greatest `used + idle_bytes` so far.
    peak: usize,
}

/// A piece of memory; it goes back when it is dropped.
pub struct Piece {
    memory: Memory,
    size: usize,
    pool: Arc<Pool>,
}

impl Pool {
    pub fn new(dry: bool) -> Arc<Self> {
        Arc::new(Self { dry, books: Mutex::default() })
    }

    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// The most bytes that the pool has held at once.
    pub fn peak(&self) -> usize {
        self.books().peak
    }

    /// At least so many bytes, of any content.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Result<Piece, std::io::Error> {
        let (found, size) = {
            let mut books = self.books();
            let (found, size) = match books.fitting(class(bytes)) {
                Some((memory, size)) => (Some(memory), size),
                None => (None, class(bytes)),
            };
            books.used += size;
            books.need = books.need.max(books.used);
            if found.is_none() {
                books.trim();
            }
            books.peak = books.peak.max(books.used + books.idle_bytes);
            (found, size)
        };
        let memory = match found {
            Some(memory) => memory,
            None if self.dry => Memory::None,
            None => Memory::new(size).inspect_err(|_| self.books().used -= size)?,
        };
        Ok(Piece { memory, size, pool: self.clone() })
    }

    /// A poisoned lock is taken as it is: the books change in steps that cannot fail.
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The smallest idle piece of this size or up to twice that, with its size.
    fn fitting(&mut self, size: usize) -> Option<(Memory, usize)> {
        let (&size, _) = self.idle.range(size..=2 * size).next()?;
        Some((self.take(size)?, size))
    }

    fn take(&mut self, size: usize) -> Option<Memory> {
        let pieces = self.idle.get_mut(&size)?;
        let memory = pieces.pop()?;
        if pieces.is_empty() {
            self.idle.remove(&size);
        }
        self.idle_bytes -= size;
        Some(memory)
    }

    /// Lets idle pieces go, largest first, while more is held than the greatest need and a little.
    fn trim(&mut self) {
        while self.used + self.idle_bytes > self.need + self.need / SLACK {
            let Some((&size, _)) = self.idle.last_key_value() else { return };
            drop(self.take(size));
        }
    }
}

impl Memory {
    fn new(size: usize) -> std::io::Result<Self> {
        if size < MAPPED {
            return Ok(Self::Heap(vec![Line([0; 64]); size / 64]));
        }
        let map = MmapOptions::new().len(size).map_anon()?;
        // A wish that a system may not know: pages of any size do.
        #[cfg(target_os = "linux")]
        let _wish = map.advise(memmap2::Advice::HugePage);
        Ok(Self::Mapped(map))
    }
}

/// The size of the piece that so many bytes get: a multiple of an eighth of the power of two below.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(64);
    let step = (bytes.next_power_of_two() / 2 / STEPS).max(64);
    bytes.next_multiple_of(step)
}

impl Piece {
    /// The first `len` elements. A dry piece has none.
    pub fn slice<E: Pod>(&self, offset: usize, len: usize) -> &[E] {
        let bytes: &[u8] = match &self.memory {
            Memory::Mapped(map) => map,
            Memory::Heap(lines) => bytemuck::cast_slice(lines),
            Memory::None => return &[],
        };
        bytemuck::cast_slice(&bytes[offset * size_of::<E>()..(offset + len) * size_of::<E>()])
    }

    pub fn slice_mut<E: Pod>(&mut self, offset: usize, len: usize) -> &mut [E] {
        let bytes: &mut [u8] = match &mut self.memory {
            Memory::Mapped(map) => map,
            Memory::Heap(lines) => bytemuck::cast_slice_mut(lines),
            Memory::None => return &mut [],
        };
        bytemuck::cast_slice_mut(&mut bytes[offset * size_of::<E>()..(offset + len) * size_of::<E>()])
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::None);
        let mut books = self.pool.books();
        books.used -= self.size;
        books.idle_bytes += self.size;
        books.idle.entry(self.size).or_default().push(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_taken_again() {
        let pool = Pool::new(false);
        let mut piece = pool.take(3 << 20).unwrap();
        piece.slice_mut::<f32>(0, 10).fill(7.0);
        drop(piece);
        let again = pool.take((3 << 20) - 5000).unwrap();
        assert_eq!(again.slice::<f32>(0, 10), [7.0; 10]);
        assert_eq!(pool.peak(), 3 << 20);
    }

    #[test]
    fn a_dry_pool_keeps_the_same_books() {
        let sizes = [5usize, 1 << 20, 3_333_333, 100, 1 << 20, 70_000, 9_999_999, 2, 4_000_000];
        let peak = |dry| {
            let pool = Pool::new(dry);
            let mut held = Vec::new();
            for (turn, &size) in sizes.iter().cycle().take(60).enumerate() {
                held.push(pool.take(size).unwrap());
                if turn % 3 == 2 {
                    held.remove(turn % held.len());
                }
                if held.len() > 7 {
                    held.clear();
                }
            }
            pool.peak()
        };
        assert_eq!(peak(true), peak(false));
    }

    #[test]
    fn idle_pieces_of_other_sizes_do_not_pile_up() {
        let pool = Pool::new(true);
        for turn in 0..100 {
            drop(pool.take((1 << 20) + turn * 300_000).unwrap());
        }
        assert!(pool.peak() < 70 << 20, "{}", pool.peak());
    }
}
