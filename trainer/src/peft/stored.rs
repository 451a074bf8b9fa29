//! An adapter that stays in its file: opened by its settings and header, its values read one module at a time.
//!
//! Positioned reads, not a mapped file: mapped pages count as the process's memory once they are touched, and a merge
//! touches all of them.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::ADAPTER_BYTES_MAX;
use potluck_protocol::safetensors::{Layout, TensorView};

use super::aim::Aim;
use super::plan::{Placed, Plan};
use super::read::{open_bounded, read_config, refuse_pickle};
use super::{MODEL_FILE, PeftError};
use crate::base::mapped::read_exact_at;
use crate::lora::factors::{Factors, FactorsError, Pair, PairShape};

/// A PEFT folder as a source of factors, which are those that [`super::read()`] gives, bit for bit.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    /// Held open: what is put under the same name later is another adapter.
    file: File,
    plan: Plan,
}

impl Stored {
    /// Checks everything but the values, which are checked when they are read.
    pub fn open(folder: &Path, architecture: &Architecture) -> Result<Self, PeftError> {
        refuse_pickle(folder)?;
        let config = read_config(folder)?;
        let path = folder.join(MODEL_FILE);
        let (file, len) = open_bounded(&path, ADAPTER_BYTES_MAX)?;
        let layout = header(&file, len as usize).map_err(|error| match error {
            Header::Io(error) => PeftError::Io { path: path.clone(), error },
            Header::Layout(error) => PeftError::Layout(error),
        })?;
        let plan = Plan::new(&config, layout, architecture)?;
        if let Some(aim) = Aim::parse(&config)? {
            aim.check(plan.modules.keys().map(String::as_str), architecture)?;
        }
        Ok(Self { plan, path, file })
    }

    /// The one rank of the portable profile.
    pub fn rank(&self) -> usize {
        self.plan.rank
    }

    fn bytes(&self, view: &TensorView) -> Result<Vec<u8>, FactorsError> {
        // The header was checked against the file's length when it was opened.
        let mut bytes = vec![0; view.end - view.begin];
        read_exact_at(&self.file, &mut bytes, view.begin as u64)
            .map_err(|error| FactorsError::Io { path: self.path.clone(), error })?;
        Ok(bytes)
    }

    fn describe(&self, placed: &Placed) -> PairShape {
        // The scale is in B.
        PairShape { out: placed.b.shape[0], inner: placed.a.shape[1], rank: self.plan.rank, scale: 1.0 }
    }
}

impl Factors for Stored {
    fn modules(&self) -> Vec<&str> {
        self.plan.modules.keys().map(String::as_str).collect()
    }

    fn shape(&self, module: &str) -> Option<PairShape> {
        self.plan.modules.get(module).map(|placed| self.describe(placed))
    }

    fn pair(&self, module: &str) -> Result<Option<Pair<'_>>, FactorsError> {
        let Some(placed) = self.plan.modules.get(module) else { return Ok(None) };
        let a = placed.a(&self.bytes(&placed.a)?, self.plan.rank)?;
        let b = placed.b(&self.bytes(&placed.b)?, self.plan.rank)?;
        Ok(Some(Pair { shape: self.describe(placed), a: Cow::Owned(a), b: Cow::Owned(b) }))
    }
}

enum Header {
    Io(io::Error),
    Layout(potluck_protocol::safetensors::LayoutError),
}

fn header(file: &File, len: usize) -> Result<Layout, Header> {
    let mut head = vec![0; len.min(8)];
    read_exact_at(file, &mut head, 0).map_err(Header::Io)?;
    // At most `SAFETENSORS_HEADER_MAX`, and no more than the file has. // I4
    let wanted = Layout::header_len(&head, len).map_err(Header::Layout)?;
    head.resize(wanted, 0);
    read_exact_at(file, &mut head, 0).map_err(Header::Io)?;
    Layout::parse(&head, len).map_err(Header::Layout)
}
