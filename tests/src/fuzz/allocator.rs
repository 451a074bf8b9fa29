//! An allocator that counts while it is asked to: how much memory an input took at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

/// More than any input may take. Beyond it there is no memory, which ends the process.
const LIMIT: isize = 2 << 30;

static ON: AtomicBool = AtomicBool::new(false);
static NOW: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, with a count of all threads together.
pub struct Counting;

/// Whether a program's allocator is [`Counting`]: what was just allocated was counted.
pub fn is_counting() -> bool {
    let (counted, most) = measure(|| std::hint::black_box(vec![0u8; 4096]).len());
    counted == 4096 && most >= 4096
}

/// The most bytes that were held at a time while `work` ran, beyond those that were held before.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, usize) {
    NOW.store(0, Relaxed);
    MOST.store(0, Relaxed);
    ON.store(true, Relaxed);
    let done = work();
    ON.store(false, Relaxed);
    (done, usize::try_from(MOST.load(Relaxed)).unwrap_or(0))
}

/// Whether there are so many more bytes to be had.
fn take(bytes: usize) -> bool {
    let bytes = isize::try_from(bytes).unwrap_or(isize::MAX);
    let before = NOW.fetch_add(bytes, Relaxed);
    let now = before.saturating_add(bytes);
    if now > LIMIT {
        NOW.fetch_sub(bytes, Relaxed);
        return false;
    }
    MOST.fetch_max(now, Relaxed);
    true
}

fn give(bytes: usize) {
    NOW.fetch_sub(isize::try_from(bytes).unwrap_or(isize::MAX), Relaxed);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; nobody ships it")]
// SAFETY: every block comes from the system's allocator and goes back to it with its own layout; null where there is none.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ON.load(Relaxed) && !take(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if ON.load(Relaxed) && !take(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's own promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if ON.load(Relaxed) {
            give(layout.size());
        }
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if ON.load(Relaxed) {
            // Both are held while the one is copied to the other.
            if !take(size) {
                return null_mut();
            }
            give(layout.size());
        }
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(block, layout, size) }
    }
}
