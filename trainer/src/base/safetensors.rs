//! Canonical safetensors: equal tensors give equal bytes.
//!
//! Tensors in the order of their names, without gaps; the header's JSON without whitespace, keys sorted as the tensors
//! are, filled up with spaces to a multiple of 8 bytes; `__metadata__` is `{"format":"pt"}`, which older transformers
//! insist on, and nothing else.

use std::io::{self, Write};

use potluck_protocol::tensor::DType;

use super::sink::TensorSink;

/// A tensor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key in the header.
    pub name: String,
    /// A float type.
    pub dtype: DType,
    /// Outermost first.
    pub shape: Vec<usize>,
}

/// The length field and the header of a file with these tensors. Fails for what safetensors cannot hold: types that
/// are no floats, names out of order or twice.
pub fn header(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let wrong =
        |entry: &Entry| io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` cannot be written", entry.name));
    let mut json = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let (mut offset, mut before) = (0usize, None);
    for entry in entries {
        let bytes = entry.dtype.bytes(&entry.shape);
        let end = bytes.and_then(|bytes| offset.checked_add(bytes)).ok_or_else(|| wrong(entry))?;
        let dtype = type_name(entry.dtype).ok_or_else(|| wrong(entry))?;
        if before.is_some_and(|before: &String| *before >= entry.name) {
            return Err(wrong(entry));
        }
        let name = serde_json::Value::String(entry.name.clone());
        let shape = entry.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        json += &format!(r#",{name}:{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{offset},{end}]}}"#);
        (offset, before) = (end, Some(&entry.name));
    }
    json.push('}');
    json.extend(std::iter::repeat_n(' ', json.len().next_multiple_of(8) - json.len()));
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    Ok(header)
}

fn type_name(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F64 => "F64",
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        _ => return None,
    })
}

/// Writes a file tensor by tensor, in the order that was announced.
pub struct Writer<W> {
    out: W,
    /// What is still to come, last first.
    pending: Vec<Entry>,
    /// Bytes of the current tensor that are still to come.
    missing: usize,
}

impl<W: Write> Writer<W> {
    /// Writes the header. The entries are sorted by name, each once, and of float types; anything else is an error.
    pub fn new(mut out: W, mut entries: Vec<Entry>) -> io::Result<Self> {
        out.write_all(&header(&entries)?)?;
        entries.reverse();
        Ok(Self { out, pending: entries, missing: 0 })
    }

    /// The inner writer, once every announced tensor was written whole.
    pub fn finish(self) -> io::Result<W> {
        match self.pending.last() {
            None if self.missing == 0 => Ok(self.out),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not every announced tensor was written")),
        }
    }
}

impl<W: Write> TensorSink for Writer<W> {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        if self.missing > 0 || self.pending.pop_if(|next| next == entry).is_none() {
            let reason = format!("`{}` was not the next tensor announced", entry.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        self.missing = entry.dtype.bytes(&entry.shape).unwrap_or_default();
        Ok(())
    }

    fn rows(&mut self, bytes: &[u8]) -> io::Result<()> {
        let too_many = || io::Error::new(io::ErrorKind::InvalidInput, "more bytes than the tensor has");
        self.missing = self.missing.checked_sub(bytes.len()).ok_or_else(too_many)?;
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::safetensors::Layout;

    use super::*;

    fn entry(name: &str, shape: &[usize]) -> Entry {
        Entry { name: name.to_owned(), dtype: DType::F32, shape: shape.to_vec() }
    }

    #[test]
    fn a_written_file_is_read_and_begins_at_a_multiple_of_eight() {
        let entries = vec![entry("a", &[2]), entry("b.\"c\\", &[1, 3]), entry("d", &[0])];
        let mut writer = Writer::new(Vec::new(), entries.clone()).unwrap();
        for (entry, len) in entries.iter().zip([8, 12, 0]) {
            writer.begin(entry).unwrap();
            writer.rows(&vec![1; len]).unwrap();
        }
        let file = writer.finish().unwrap();
        let layout = Layout::parse(&file, file.len()).unwrap();
        let names: Vec<_> = layout.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b.\"c\\", "d"]);
        assert_eq!(layout.data_start % 8, 0);
    }

    #[test]
    fn what_was_not_announced_is_not_written() {
        assert!(header(&[entry("b", &[1]), entry("a", &[1])]).is_err());
        assert!(header(&[entry("a", &[1]), entry("a", &[1])]).is_err());
        assert!(header(&[Entry { dtype: DType::Q4_0, ..entry("a", &[32]) }]).is_err());
        let mut writer = Writer::new(Vec::new(), vec![entry("a", &[2])]).unwrap();
        assert!(writer.begin(&entry("b", &[2])).is_err());
        let mut writer_two = Writer::new(Vec::new(), vec![entry("a", &[2])]).unwrap();
        writer_two.begin(&entry("a", &[2])).unwrap();
        assert!(writer_two.rows(&[0; 9]).is_err());
        assert!(writer.finish().is_err() && writer_two.finish().is_err());
    }
}
