//! Memory of one thread: each buffer grows to what its largest task needs and stays.

use std::cell::{Cell, RefCell};

use crate::backend::cpu::element::Element;
use crate::backend::cpu::kernel::product::typed;

/// Buffers by number: the passes name them as they please.
#[derive(Default)]
pub struct Scratch([Vec<u8>; BUFFERS]);

/// Buffers of the pass that needs most.
const BUFFERS: usize = 17;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    static SHARED: Cell<Vec<f32>> = Cell::default();
}

/// Calls `run` with this thread's buffers. It does not nest.
pub fn with<R>(run: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(run)
}

/// Calls `run` with memory of the calling thread that its tasks may share. Of any content.
pub fn with_shared<R>(len: usize, run: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut shared = SHARED.take();
    if shared.len() < len {
        shared.resize(len, 0.0);
    }
    let result = run(&mut shared[..len]);
    SHARED.set(shared);
    result
}

impl Scratch {
    /// The buffers, to be taken one after another.
    pub fn buffers(&mut self) -> Buffers<'_> {
        Buffers(self.0.iter_mut())
    }
}

pub struct Buffers<'a>(std::slice::IterMut<'a, Vec<u8>>);

impl<'a> Buffers<'a> {
    /// The next one, of any content, on a cache line.
    #[inline(always)]
    #[expect(clippy::expect_used, reason = "the passes are written here, and none takes more than `BUFFERS`")]
    pub fn take<E: Element>(&mut self, len: usize) -> &'a mut [E] {
        typed(self.0.next().expect("a pass takes no more than BUFFERS"), len)
    }

    #[inline(always)]
    pub fn zeros<E: Element>(&mut self, len: usize) -> &'a mut [E] {
        let values = self.take(len);
        values.fill(E::ZERO);
        values
    }
}
