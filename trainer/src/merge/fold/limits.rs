//! What a fold holds at once, whatever the size of the base and the number of adapters.

/// Elements that are read, summed, rounded, hashed and written at a time: some MiB of each.
const PIECE: usize = 1 << 20;

/// Values of one module's factors that are held at a time, or one adapter's if those are more: 64 MiB, forty adapters
/// of rank 16 on the widest matrix of a model of 7B.
const FACTORS: usize = 16 << 20;

/// Elements whose sums are kept while adapters that are more than [`FACTORS`] are gone through: 64 MiB. Each adapter is
/// read once for every strip.
const STRIP: usize = 16 << 20;

/// The bounds of one fold. None of them changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub piece: usize,
    pub factors: usize,
    pub strip: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { piece: PIECE, factors: FACTORS, strip: STRIP }
    }
}

/// `rows` in runs of at most so many elements, at least a row each.
pub fn runs(
    rows: std::ops::Range<usize>,
    columns: usize,
    elements: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (step, end) = ((elements / columns.max(1)).max(1), rows.end);
    rows.step_by(step).map(move |first| first..end.min(first + step))
}
