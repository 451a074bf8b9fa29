//! Writing an adapter module by module, in any order and from any thread: its memory does not grow with the adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use potluck_protocol::base::Architecture;
use potluck_protocol::tensor::DType;

use super::positioned::write_all_at;
use super::write::settings;
use super::{CONFIG_FILE, MODEL_FILE};
use crate::base::safetensors::{Entry, header};
use crate::files::StagedFolder;
use crate::lora::adapter::Factor;

/// Values that are turned into bytes at once.
const PIECE: usize = 1 << 14;

/// A PEFT folder in the portable profile in the making. It gets its name when it is whole.
pub struct FactorsWriter {
    folder: StagedFolder,
    file: File,
    rank: usize,
    places: BTreeMap<String, Place>,
}

/// Where a module's factors begin in the file, and how many values they have.
#[derive(Clone, Copy, Debug)]
struct Place {
    a: (u64, usize),
    b: (u64, usize),
}

impl FactorsWriter {
    /// For modules with their `(out, in)`, of one rank.
    pub fn create(
        folder: &Path,
        architecture: &Architecture,
        modules: &[(String, (usize, usize))],
        rank: usize,
    ) -> io::Result<Self> {
        let mut entries = Vec::with_capacity(2 * modules.len());
        for (module, (out, inner)) in modules {
            for (factor, shape) in [(Factor::A, vec![rank, *inner]), (Factor::B, vec![*out, rank])] {
                entries.push(Entry { name: factor.peft_name(module), dtype: DType::F32, shape });
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let header = header(&entries)?;
        let folder = StagedFolder::create(folder)?;
        let names: BTreeSet<_> = modules.iter().map(|(module, _)| module.clone()).collect();
        folder.write(CONFIG_FILE, &settings(rank, &names, architecture))?;
        let mut file = folder.file(MODEL_FILE)?;
        file.write_all(&header)?;
        Ok(Self { places: places(&entries, header.len() as u64), folder, file, rank })
    }

    /// One module's A, `[rank, inner]`, and B, `[out, rank]`, with the scale in it. Every module comes once.
    pub fn module(&self, module: &str, a: &[f32], b: &[f32]) -> io::Result<()> {
        let place = self.places.get(module).filter(|place| place.a.1 == a.len() && place.b.1 == b.len());
        let place = place.ok_or_else(|| {
            let reason = format!("`{module}` was not announced with {} and {} values", a.len(), b.len());
            io::Error::new(io::ErrorKind::InvalidInput, reason)
        })?;
        self.values(a, place.a.0)?;
        self.values(b, place.b.0)
    }

    /// The one rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// A file beside the two.
    pub fn note(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.folder.write(name, bytes)
    }

    /// The folder appears under its name.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        drop(self.file);
        self.folder.commit()
    }

    fn values(&self, values: &[f32], mut offset: u64) -> io::Result<()> {
        let mut bytes = vec![0; 4 * PIECE.min(values.len())];
        for piece in values.chunks(PIECE) {
            let bytes = &mut bytes[..4 * piece.len()];
            for (bytes, &value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(piece) {
                // Minus zero becomes plus zero: a factor has one spelling.
                *bytes = (value + 0.0).to_le_bytes();
            }
            write_all_at(&self.file, bytes, offset)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Where each module's tensors lie behind the header.
fn places(entries: &[Entry], mut offset: u64) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::<String, Place>::new();
    for entry in entries {
        let count = entry.shape.iter().product::<usize>();
        if let Some((module, factor)) = Factor::parse(&entry.name) {
            let place = places.entry(module.to_owned()).or_insert(Place { a: (0, 0), b: (0, 0) });
            match factor {
                Factor::A => place.a = (offset, count),
                Factor::B => place.b = (offset, count),
            }
        }
        offset += 4 * count as u64;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small;
    use crate::lora::factors::Factors;
    use crate::merge::testing::adapter;
    use crate::peft::{self, encode};

    #[test]
    fn module_by_module_the_files_are_those_of_the_whole() {
        let (root, architecture) = (tempfile::tempdir().unwrap(), small::architecture());
        let whole = adapter(4, 3, 3.0, 9);
        let modules: Vec<_> = whole
            .modules()
            .into_iter()
            .map(|module| (module.to_owned(), whole.shape(module).map(|shape| (shape.out, shape.inner)).unwrap()))
            .collect();
        let path = root.path().join("streamed");
        let writer = FactorsWriter::create(&path, &architecture, &modules, 3).unwrap();
        assert!(writer.module("model.layers.1.mlp.down_proj", &[0.0], &[0.0]).is_err());
        for (module, _) in modules.iter().rev() {
            let pair = whole.pair(module).unwrap().unwrap();
            writer.module(module, &pair.a, &pair.b).unwrap();
        }
        writer.note("note.json", b"{}").unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        assert_eq!(std::fs::read(path.join("note.json")).unwrap(), b"{}");
        let files = encode(&whole, &architecture).unwrap();
        assert_eq!(std::fs::read(path.join(CONFIG_FILE)).unwrap(), files.config);
        assert_eq!(std::fs::read(path.join(MODEL_FILE)).unwrap(), files.model);
        assert_eq!(peft::read(&path, &architecture).unwrap().tensors, whole.tensors);
    }
}
