//! Looking at factors as they come, piece by piece: names, ranks and shapes once the header is there, then each value. Held
//! are the header and a few values, however long the file is.

use std::collections::BTreeSet;

use potluck_protocol::base::Architecture;
use potluck_protocol::safetensors::{Layout, TensorView};
use potluck_protocol::tensor::DType;

use super::PeftError;
use super::plan::{Placed, Plan};
use crate::lora::factors::FactorsError;
use crate::tensor::dequantise;

/// Values that are looked at at once.
const VALUES: usize = 1 << 12;

/// An adapter that comes piece by piece. Whoever has no base sees whether the two files fit each other, and no more.
#[derive(Debug)]
pub struct Inspection<'a> {
    settings: &'a [u8],
    architecture: Option<&'a Architecture>,
    file_len: usize,
    /// The start of the file up to the end of its header; later less than one value.
    held: Vec<u8>,
    plan: Option<Planned>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The one rank.
    pub rank: usize,
    /// The paths of the modules that have factors.
    pub modules: BTreeSet<String>,
}

#[derive(Debug)]
struct Planned {
    inspected: Inspected,
    /// By offset, without gaps: those before `at` have been looked at.
    tensors: Vec<Expected>,
    at: usize,
    /// Bytes of `tensors[at]` that have been looked at.
    seen: usize,
}

/// A factor and what its values are multiplied with.
#[derive(Debug)]
struct Expected {
    view: TensorView,
    scale: f64,
}

impl<'a> Inspection<'a> {
    /// By the bytes of `adapter_config.json`, for a file of factors of that length.
    pub fn new(settings: &'a [u8], architecture: Option<&'a Architecture>, file_len: usize) -> Self {
        Self { settings, architecture, file_len, held: Vec::new(), plan: None }
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), PeftError> {
        while self.plan.is_none() {
            let wanted = match self.held.len() {
                // At most `SAFETENSORS_HEADER_MAX`, and no more than the file has. // I4
                8.. => Layout::header_len(&self.held, self.file_len)?,
                _ => 8,
            };
            if self.held.len() == wanted {
                let layout = Layout::parse(&self.held, self.file_len)?;
                self.plan = Some(Planned::new(self.settings, layout, self.architecture)?);
                self.held = Vec::new();
                break;
            }
            let (head, rest) = piece.split_at(piece.len().min(wanted - self.held.len()));
            if head.is_empty() {
                return Ok(());
            }
            self.held.extend_from_slice(head);
            piece = rest;
        }
        match &mut self.plan {
            Some(plan) => plan.look(piece, &mut self.held).map_err(PeftError::from),
            None => Ok(()),
        }
    }

    /// What the whole file is.
    pub fn finish(mut self) -> Result<Inspected, PeftError> {
        // A header that nothing follows is whole only now.
        self.feed(&[])?;
        match self.plan {
            Some(plan) => Ok(plan.inspected),
            None => Err(Layout::parse(&self.held, self.file_len).err().map_or(PeftError::Empty, PeftError::from)),
        }
    }

    /// The most that was held of the file at any time is the header.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.capacity()
    }
}

impl Planned {
    fn new(settings: &[u8], layout: Layout, architecture: Option<&Architecture>) -> Result<Self, PeftError> {
        let Plan { modules, rank } = match architecture {
            Some(architecture) => Plan::new(settings, layout, architecture)?,
            None => Plan::apart(settings, layout)?,
        };
        let inspected = Inspected { rank, modules: modules.keys().cloned().collect() };
        let both = |placed: Placed| {
            let scale = placed.scale();
            [Expected { view: placed.a, scale: 1.0 }, Expected { view: placed.b, scale }]
        };
        let mut tensors: Vec<_> = modules.into_values().flat_map(both).collect();
        tensors.sort_by_key(|expected| (expected.view.begin, expected.view.end));
        Ok(Self { inspected, tensors, at: 0, seen: 0 })
    }

    /// Every value is finite, with its scale too. `held` is the part of a value with which the piece before ended.
    fn look(&mut self, mut piece: &[u8], held: &mut Vec<u8>) -> Result<(), FactorsError> {
        while let Some(Expected { view, scale }) = self.tensors.get(self.at) {
            let left = view.end - view.begin - self.seen;
            if left == 0 {
                (self.at, self.seen) = (self.at + 1, 0);
                continue;
            }
            let (now, rest) = piece.split_at(piece.len().min(left - held.len()));
            if now.is_empty() {
                break;
            }
            let width = width(view.dtype);
            let (ending, whole) = now.split_at(if held.is_empty() { 0 } else { now.len().min(width - held.len()) });
            held.extend_from_slice(ending);
            if held.len() == width {
                check(view, *scale, held)?;
                self.seen += width;
                held.clear();
            }
            let (whole, begun) = whole.split_at(whole.len() / width * width);
            check(view, *scale, whole)?;
            self.seen += whole.len();
            held.extend_from_slice(begun);
            piece = rest;
        }
        Ok(())
    }
}

/// Bytes of a value; [`Plan`] takes no other types.
fn width(dtype: DType) -> usize {
    dtype.bytes(&[1]).unwrap_or(1).max(1)
}

fn check(view: &TensorView, scale: f64, bytes: &[u8]) -> Result<(), FactorsError> {
    let width = width(view.dtype);
    let mut values = [0.0; VALUES];
    for bytes in bytes.chunks(VALUES * width) {
        let values = &mut values[..bytes.len() / width];
        dequantise::sequential(view.dtype, bytes, values);
        if !values.iter().all(|value| value.is_finite() && ((f64::from(*value) * scale) as f32).is_finite()) {
            return Err(FactorsError::NotFinite { name: view.name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small::architecture;
    use crate::merge::testing::adapter;
    use crate::peft::{check, encode};

    /// The file is a hundred times as long as what is held of it at any moment.
    #[test]
    fn no_more_is_held_than_the_header_however_long_the_file_is() {
        let mut wide = architecture();
        (wide.hidden_size, wide.intermediate_size, wide.num_hidden_layers) = (1 << 12, 1 << 12, 1);
        let name = "model.layers.0.mlp.up_proj".to_owned();
        let tensor =
            |shape: [usize; 2]| crate::lora::adapter::AdapterTensor { shape, values: vec![0.5; shape[0] * shape[1]] };
        let mut long = adapter(1, 1, 1.0, 1);
        long.config.r = 256;
        long.config.lora_alpha = 256.0;
        long.tensors = [
            (crate::lora::adapter::Factor::A.peft_name(&name), tensor([256, 1 << 12])),
            (crate::lora::adapter::Factor::B.peft_name(&name), tensor([1 << 12, 256])),
        ]
        .into();
        let files = encode(&long, &wide).unwrap();
        let mut inspection = Inspection::new(&files.config, Some(&wide), files.model.len());
        let mut most = 0;
        for piece in files.model.chunks(1000) {
            inspection.feed(piece).unwrap();
            most = most.max(inspection.held());
        }
        assert!(most < 4096 && files.model.len() > (8 << 20), "{most} of {}", files.model.len());
        assert_eq!(inspection.finish().unwrap(), Inspected { rank: 256, modules: [name].into() });
    }

    #[test]
    fn a_file_that_ends_early_is_refused_wherever_it_ends() {
        let (files, base) = (encode(&adapter(2, 2, 2.0, 3), &architecture()).unwrap(), architecture());
        for len in [0, 1, 7, 8, 9, 100, files.model.len() - 1] {
            let mut inspection = Inspection::new(&files.config, Some(&base), len);
            let fed = inspection.feed(&files.model[..len]);
            let error = fed.and_then(|()| inspection.finish().map(drop)).unwrap_err();
            let whole = check(&files.config, &files.model[..len], &architecture()).unwrap_err();
            assert_eq!(error.to_string(), whole.to_string(), "{len}");
        }
    }
}
