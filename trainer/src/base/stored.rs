//! A tensor as its file holds it, given out in Hugging Face layout.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use potluck_protocol::tensor::DType;

use crate::tensor::HostTensor;

/// One tensor of a file.
#[derive(Clone, Debug)]
pub enum Stored {
    /// The file's rows are in Hugging Face order.
    Plain(HostTensor),
    /// A query or key projection of a GGUF file: see [`unpermute`].
    Permuted { tensor: HostTensor, heads: usize },
}

impl Stored {
    pub fn shape(&self) -> &[usize] {
        &self.raw().shape
    }

    pub fn dtype(&self) -> DType {
        self.raw().dtype
    }

    /// The tensor in Hugging Face layout: shared with the file where it can be, else a copy.
    pub fn get(&self) -> HostTensor {
        match self {
            Self::Plain(tensor) => tensor.clone(),
            Self::Permuted { tensor, heads } => unpermute(tensor, *heads),
        }
    }

    /// Copies rows, in the order of [`Stored::get`], without touching the others. A tensor of one dimension is one row.
    pub fn read_rows(&self, rows: Range<usize>, out: &mut Vec<u8>) -> io::Result<()> {
        let tensor = self.raw();
        let columns = tensor.shape.last().copied().unwrap_or(1);
        // The type and shape were checked against the bytes: a row is a whole number of blocks.
        let row_len = tensor.dtype.bytes(&[columns]).unwrap_or(0);
        out.resize(rows.len() * row_len, 0);
        match self {
            Self::Plain(tensor) => tensor.read_at(rows.start * row_len, out),
            Self::Permuted { tensor, heads } => {
                let all = tensor.shape.first().copied().unwrap_or(0);
                let mut pieces = rows.zip(out.chunks_exact_mut(row_len.max(1)));
                pieces.try_for_each(|(row, out)| tensor.read_at(file_row(row, all, *heads) * row_len, out))
            }
        }
    }

    /// Whether both hold the same values in the same type.
    pub fn same_as(&self, other: &Self) -> bool {
        let (one, two) = (self.get(), other.get());
        one.dtype == two.dtype && one.shape == two.shape && one.bytes() == two.bytes()
    }

    fn raw(&self) -> &HostTensor {
        match self {
            Self::Plain(tensor) | Self::Permuted { tensor, .. } => tensor,
        }
    }
}

/// Undoes llama.cpp's reordering of rows for its interleaved rotary positions, see [`file_row`].
///
/// The reader makes [`Stored::Permuted`] only of tensors with two dimensions and an even number of rows a head.
#[expect(clippy::expect_used, reason = "rows are moved, so the bytes are as many as before")]
fn unpermute(tensor: &HostTensor, heads: usize) -> HostTensor {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let source = tensor.bytes();
    let row_len = source.len().checked_div(rows).unwrap_or(0);
    let mut bytes = Vec::with_capacity(source.len());
    for row in (0..rows).map(|row| file_row(row, rows, heads)) {
        bytes.extend_from_slice(&source[row * row_len..(row + 1) * row_len]);
    }
    let len = bytes.len();
    let whole = HostTensor::new(tensor.dtype, tensor.shape.clone(), Arc::new(bytes), 0..len);
    whole.expect("rows moved, none came or went: the reader checked that heads divide rows evenly")
}

/// Where the file has a row of Hugging Face's order (`convert_hf_to_gguf.py`, `LlamaModel.permute`). Within a head of
/// `d` rows, Hugging Face's row `j * d/2 + i` (`j` 0 or 1) is the file's row `2 * i + j`. Whole rows move, and blocks
/// of quantised types lie along rows, so that any type can be reordered.
fn file_row(row: usize, rows: usize, heads: usize) -> usize {
    let half = (rows / (2 * heads.max(1))).max(1);
    let within = row % (2 * half);
    row - within + 2 * (within % half) + within / half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_back_to_where_llama_cpp_took_them_from() {
        // Two heads of four rows: Hugging Face's rows 0 1 2 3 are stored as 0 2 1 3.
        let stored: Vec<f32> = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0].iter().flat_map(|&v| [v, v + 0.5]).collect();
        let tensor = HostTensor::from_f32(vec![8, 2], &stored).unwrap();
        let wanted: Vec<f32> = (0..8).flat_map(|v| [v as f32, v as f32 + 0.5]).collect();
        let wanted = HostTensor::from_f32(vec![8, 2], &wanted).unwrap();
        let permuted = Stored::Permuted { tensor, heads: 2 };
        let mut rows = Vec::new();
        for first in (0..8).step_by(3) {
            let piece = first..8.min(first + 3);
            permuted.read_rows(piece.clone(), &mut rows).unwrap();
            assert_eq!(rows, wanted.bytes()[piece.start * 8..piece.end * 8]);
        }
        assert!(permuted.read_rows(7..9, &mut rows).is_err());
        assert_eq!(permuted.get().bytes(), wanted.bytes());
        assert!(permuted.same_as(&Stored::Plain(wanted)));
    }
}
