//! What attention reads and writes: matrices that may be columns of wider ones, and their rectangles for tasks.

/// A row-major matrix, from its first element on.
#[derive(Clone, Copy)]
pub struct View<'a, S> {
    pub values: &'a [S],
    /// Elements from one row to the next.
    pub stride: usize,
}

/// The same, to write.
pub struct ViewMut<'a, S> {
    pub values: &'a mut [S],
    pub stride: usize,
}

/// A rectangle of an output: a slice of each of some consecutive rows.
pub type Rectangle<'a, S> = Vec<&'a mut [S]>;

impl<'a, S> View<'a, S> {
    /// Everything from an element on.
    #[inline(always)]
    pub fn from(&self, row: usize, col: usize) -> &'a [S] {
        &self.values[row * self.stride + col..]
    }

    #[inline(always)]
    pub fn row(&self, row: usize, col: usize, cols: usize) -> &'a [S] {
        &self.from(row, col)[..cols]
    }
}

impl<'a, S> ViewMut<'a, S> {
    /// Rectangles of the given heights, one below another, each cut into `across` of `width` columns. Rectangle
    /// `(i, j)` is at `i * across + j`.
    ///
    /// # Panics
    /// If the matrix is smaller than they are together.
    #[expect(clippy::expect_used, reason = "a matrix that is smaller than its shape is a mistake in this crate")]
    pub fn split(self, heights: impl Iterator<Item = usize>, across: usize, width: usize) -> Vec<Rectangle<'a, S>> {
        let mut rows = self.values.chunks_mut(self.stride);
        let mut rectangles = Vec::new();
        for height in heights {
            let first = rectangles.len();
            rectangles.extend((0..across).map(|_| Vec::with_capacity(height)));
            for _ in 0..height {
                let row = rows.next().expect("a caller's shape has no more rows than its matrix");
                let parts = row[..across * width].chunks_exact_mut(width);
                parts.zip(&mut rectangles[first..]).for_each(|(part, rectangle)| rectangle.push(part));
            }
        }
        rectangles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_cover_their_columns_row_by_row() {
        let mut values: Vec<usize> = (0..18).collect();
        let view = ViewMut { values: &mut values[..17], stride: 6 };
        let got = view.split([2, 0, 1].into_iter(), 2, 2);
        let expected: [&[[usize; 2]]; 6] = [&[[0, 1], [6, 7]], &[[2, 3], [8, 9]], &[], &[], &[[12, 13]], &[[14, 15]]];
        assert_eq!(got.len(), 6);
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.iter().map(|row| &row[..]).eq(expected.iter().map(|row| &row[..])));
        }
    }
}
