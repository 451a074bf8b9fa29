//! Where a stream of tensors goes: to a file, to memory, or (for a digest alone) nowhere.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use potluck_protocol::tensor::DType;

use super::safetensors::Entry;
use crate::tensor::HostTensor;

/// Takes tensors one after the other, sorted by name, each in pieces.
pub trait TensorSink {
    /// The next tensor begins.
    fn begin(&mut self, entry: &Entry) -> io::Result<()>;

    /// The next bytes of that tensor: whole rows, row-major, little-endian.
    fn rows(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Keeps nothing.
pub struct Discard;

impl TensorSink for Discard {
    fn begin(&mut self, _: &Entry) -> io::Result<()> {
        Ok(())
    }

    fn rows(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps everything in memory.
#[derive(Default)]
pub struct Memory {
    tensors: Vec<(Entry, Vec<u8>)>,
}

impl Memory {
    /// The tensors by name. A tensor that got too few or too many bytes is left out.
    pub fn into_tensors(self) -> BTreeMap<String, HostTensor> {
        let tensors = self.tensors.into_iter().filter_map(|(entry, bytes)| {
            let len = bytes.len();
            Some((entry.name, HostTensor::new(entry.dtype, entry.shape, Arc::new(bytes), 0..len)?))
        });
        tensors.collect()
    }
}

impl TensorSink for Memory {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let bytes = entry.dtype.bytes(&entry.shape).unwrap_or_default();
        self.tensors.push((entry.clone(), Vec::with_capacity(bytes)));
        Ok(())
    }

    fn rows(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some((_, all)) = self.tensors.last_mut() {
            all.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// The tensors of an architecture in one type, as a fold or a base folder lists them: sorted by name.
pub fn entries(architecture: &potluck_protocol::base::Architecture, dtype: DType) -> Vec<Entry> {
    let tensors = architecture.tensors().into_iter();
    tensors.map(|(name, shape)| Entry { name, dtype, shape: shape.into_iter().map(|n| n as usize).collect() }).collect()
}
