//! A tensor as its file holds it, given out in Hugging Face layout.

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

/// Undoes llama.cpp's reordering of rows for its interleaved rotary positions (`convert_hf_to_gguf.py`,
/// `LlamaModel.permute`). Within a head of `d` rows, Hugging Face's row `j * d/2 + i` (`j` 0 or 1) is the file's row
/// `2 * i + j`. Whole rows move, and blocks of quantised types lie along rows, so that any type can be reordered.
///
/// The reader makes [`Stored::Permuted`] only of tensors with two dimensions and an even number of rows a head.
fn unpermute(tensor: &HostTensor, heads: usize) -> HostTensor {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let source = tensor.bytes();
    let row_len = source.len().checked_div(rows).unwrap_or(0);
    let half = rows.checked_div(2 * heads).unwrap_or(0);
    let mut bytes = Vec::with_capacity(source.len());
    for head in 0..heads {
        for (j, i) in (0..2).flat_map(|j| (0..half).map(move |i| (j, i))) {
            let row = head * 2 * half + 2 * i + j;
            bytes.extend_from_slice(&source[row * row_len..(row + 1) * row_len]);
        }
    }
    let len = bytes.len();
    let whole = HostTensor::new(tensor.dtype, tensor.shape.clone(), Arc::new(bytes), 0..len);
    whole.expect("rows moved, none came or went: the reader checked that heads divide rows evenly")
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
        assert_eq!(permuted.get().bytes(), wanted.bytes());
        assert!(permuted.same_as(&Stored::Plain(wanted)));
    }
}
