//! Shards, and the rule by which files are cut into them.
//!
//! The cut is a function of the file's bytes alone, so a receiver recomputes it and nobody can publish one-byte
//! shards. Tensors are cut from their own start: a tensor that two files share gives the same shards, wherever in the
//! file it lies.

use serde::{Deserialize, Serialize};

use crate::codec::{Malformed, Wire};
use crate::id::{Digest, ShardId};
use crate::limits::{DECODE_MAX, OWN_SHARD_MIN, SHARD_MAX, SHARDS_PER_FILE_MAX};
use crate::safetensors::{Layout, LayoutError};

/// Bytes that hash to their id. // I1
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedShard {
    id: ShardId,
    bytes: Vec<u8>,
}

/// The bytes do not belong under the id that was asked for: whoever sent them is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// More than [`SHARD_MAX`] bytes; they were not hashed.
    #[error("a shard of {len} bytes, at most {SHARD_MAX} are allowed")]
    TooLong {
        /// Bytes that came.
        len: usize,
    },
    /// Other bytes than those that were asked for.
    #[error("the bytes hash to {}, {} was asked for", got.short(), wanted.short())]
    WrongBytes {
        /// The id that was asked for.
        wanted: ShardId,
        /// The id of what came.
        got: ShardId,
    },
}

impl VerifiedShard {
    /// Checks bytes against the id under which they were asked for.
    pub fn check(wanted: ShardId, bytes: Vec<u8>) -> Result<Self, ShardError> {
        if bytes.len() > SHARD_MAX {
            return Err(ShardError::TooLong { len: bytes.len() });
        }
        let got = ShardId(Digest::of(&bytes));
        if got == wanted { Ok(Self { id: wanted, bytes }) } else { Err(ShardError::WrongBytes { wanted, got }) }
    }

    /// Our own bytes: they are what they are.
    pub fn of(bytes: Vec<u8>) -> Result<Self, ShardError> {
        if bytes.len() > SHARD_MAX {
            return Err(ShardError::TooLong { len: bytes.len() });
        }
        Ok(Self { id: ShardId(Digest::of(&bytes)), bytes })
    }

    /// BLAKE3 of the bytes.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// At most [`SHARD_MAX`] of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes without their proof.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl std::fmt::Debug for VerifiedShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedShard({:?}, {} bytes)", self.id, self.bytes.len())
    }
}

/// How a file was cut. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// Pieces of [`SHARD_MAX`] bytes, the last one shorter.
    Fixed,
    /// The safetensors header in such pieces, then each tensor from its own start, short tensors joined.
    Safetensors,
}

impl Cut {
    /// The lengths of the pieces of a file with fixed cuts.
    fn fixed(len: u64) -> Vec<u32> {
        let full = len / SHARD_MAX as u64;
        let mut pieces = vec![SHARD_MAX as u32; full as usize];
        let rest = (len % SHARD_MAX as u64) as u32;
        if rest > 0 {
            pieces.push(rest);
        }
        pieces
    }

    /// The lengths of the pieces of a safetensors file.
    pub fn of_layout(layout: &Layout) -> Vec<u32> {
        let mut pieces = Self::fixed(layout.data_start as u64);
        let mut joined = 0;
        for tensor in &layout.tensors {
            let len = tensor.end - tensor.begin;
            if len >= OWN_SHARD_MIN {
                flush(&mut joined, &mut pieces);
                pieces.extend(Self::fixed(len as u64));
            } else {
                if joined + len > SHARD_MAX {
                    flush(&mut joined, &mut pieces);
                }
                joined += len;
            }
        }
        flush(&mut joined, &mut pieces);
        pieces
    }

    /// The rule and the piece lengths for a file of that name and content: safetensors by its layout if it is one,
    /// everything else in fixed pieces. Only the header of `content` is looked at.
    pub fn choose(path: &str, head: &[u8], len: usize) -> (Self, Vec<u32>) {
        match path.ends_with(".safetensors").then(|| Layout::parse(head, len)) {
            Some(Ok(layout)) => (Self::Safetensors, Self::of_layout(&layout)),
            _ => (Self::Fixed, Self::fixed(len as u64)),
        }
    }
}

fn flush(joined: &mut usize, pieces: &mut Vec<u32>) {
    if *joined > 0 {
        pieces.push(*joined as u32);
        *joined = 0;
    }
}

/// One row of a [`ShardTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRow {
    /// BLAKE3 of the piece.
    pub id: ShardId,
    /// Bytes, 1 to [`SHARD_MAX`].
    pub len: u32,
}

/// The shards of one file in order. Itself stored as shards, so that no file is too large for a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTable {
    /// The rule that the lengths follow.
    pub cut: Cut,
    /// The pieces in the order of the file: at most [`SHARDS_PER_FILE_MAX`].
    pub rows: Vec<ShardRow>,
}

/// Why a shard table is not the one of its file: the publisher is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The rows do not cover the file.
    #[error("the rows add up to {sum} bytes, the file has {len}")]
    Length {
        /// Bytes of all rows.
        sum: u64,
        /// Bytes that there should be.
        len: u64,
    },
    /// The pieces are not those that the rule makes of this file.
    #[error("the file is not cut by the rule that its table names")]
    WrongCut,
    /// The head of the file is no safetensors header.
    #[error("the file names the safetensors cut and is none: {0}")]
    Layout(#[from] LayoutError),
}

impl ShardTable {
    /// What can be known before the file is there: rows cover the length exactly, fixed cuts are exact, and a
    /// safetensors cut has no more pieces than its rule can make. // I5
    pub fn check_against(&self, len: u64) -> Result<(), TableError> {
        let sum: u64 = self.rows.iter().map(|row| u64::from(row.len)).sum();
        if sum != len {
            return Err(TableError::Length { sum, len });
        }
        let plausible = match self.cut {
            Cut::Fixed => self.lens().eq(Cut::fixed(len)),
            // Two pieces a tensor of OWN_SHARD_MIN bytes, one joined run between two such tensors, and the header's.
            Cut::Safetensors => self.rows.len() as u64 <= 4 + 3 * len / OWN_SHARD_MIN as u64,
        };
        if plausible { Ok(()) } else { Err(TableError::WrongCut) }
    }

    /// What is known once the file's head is there: the cut is the rule's, row by row. // I5
    pub fn check_cut(&self, head: &[u8], len: usize) -> Result<(), TableError> {
        let expected = match self.cut {
            Cut::Fixed => Cut::fixed(len as u64),
            Cut::Safetensors => Cut::of_layout(&Layout::parse(head, len)?),
        };
        if self.lens().eq(expected) { Ok(()) } else { Err(TableError::WrongCut) }
    }

    fn lens(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows.iter().map(|row| row.len)
    }
}

impl Wire for ShardTable {
    const NAME: &'static str = "shard table";
    const MAX: usize = DECODE_MAX;

    fn check(&self) -> Result<(), Malformed> {
        Malformed::unless(self.rows.len() <= SHARDS_PER_FILE_MAX, || {
            format!("{} shards, at most {SHARDS_PER_FILE_MAX} are allowed", self.rows.len())
        })?;
        let good = self.rows.iter().all(|row| (1..=SHARD_MAX as u32).contains(&row.len));
        Malformed::unless(good, || format!("a shard's length is not 1 to {SHARD_MAX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safetensors::TensorView;
    use crate::tensor::DType;

    fn layout(header: usize, tensors: &[usize]) -> Layout {
        let mut begin = header;
        let view = |(index, &len): (usize, &usize)| {
            let tensor = TensorView {
                name: format!("t{index}"),
                dtype: DType::F16,
                shape: vec![len / 2],
                begin,
                end: begin + len,
            };
            begin += len;
            tensor
        };
        let tensors = tensors.iter().enumerate().map(view).collect();
        Layout { data_start: header, file_len: begin, tensors }
    }

    #[test]
    fn large_tensors_start_their_own_shard_and_small_ones_join() {
        let pieces = Cut::of_layout(&layout(500, &[10, 20, OWN_SHARD_MIN, 30, SHARD_MAX + 2, 40]));
        assert_eq!(pieces, [500, 30, OWN_SHARD_MIN as u32, 30, SHARD_MAX as u32, 2, 40]);
    }

    #[test]
    fn a_run_of_small_tensors_never_exceeds_a_shard() {
        let pieces = Cut::of_layout(&layout(8, &[OWN_SHARD_MIN - 2; 40]));
        assert!(pieces.iter().all(|&len| len as usize <= SHARD_MAX));
        assert_eq!(pieces.iter().map(|&len| len as usize).sum::<usize>(), 8 + 40 * (OWN_SHARD_MIN - 2));
    }

    #[test]
    fn one_byte_shards_are_refused_before_the_file_is_there() {
        let rows =
            (0..4096u32).map(|n| ShardRow { id: ShardId(Digest::of(&n.to_le_bytes())), len: 1 }).collect::<Vec<_>>();
        for cut in [Cut::Fixed, Cut::Safetensors] {
            assert_eq!(ShardTable { cut, rows: rows.clone() }.check_against(4096), Err(TableError::WrongCut));
        }
        assert_eq!(
            ShardTable { cut: Cut::Fixed, rows }.check_against(4097),
            Err(TableError::Length { sum: 4096, len: 4097 })
        );
    }

    #[test]
    fn wrong_bytes_never_become_a_verified_shard() {
        let wanted = ShardId(Digest::of(b"right"));
        assert!(VerifiedShard::check(wanted, b"right".to_vec()).is_ok());
        assert!(matches!(VerifiedShard::check(wanted, b"wrong".to_vec()), Err(ShardError::WrongBytes { .. })));
        assert!(matches!(VerifiedShard::check(wanted, vec![0; SHARD_MAX + 1]), Err(ShardError::TooLong { .. })));
    }
}
