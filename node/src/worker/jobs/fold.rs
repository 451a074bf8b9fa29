//! Adapters folded into their base.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;
use potluck_trainer::base::safetensors::Entry;
use potluck_trainer::base::sink::{Discard, TensorSink, entries};
use potluck_trainer::base::write::FolderWriter;
use potluck_trainer::merge::fold::{Input, fold as fold_into};
use potluck_trainer::peft;

use super::open;
use crate::failure::{Failure, Outcome};
use crate::ipc::{Progress, Unit};
use crate::service::{Folded, output};
use crate::worker::child::Context;
use crate::worker::failures;
use crate::worker::proto::{BaseSource, FloatType, FoldSource};

/// Rule `fold-f32/1`. // I10
pub fn fold(
    base: &BaseSource,
    adapters: &[FoldSource],
    dtype: FloatType,
    out: Option<&Path>,
    context: &Context,
) -> Outcome<Folded> {
    let base = open::base(base)?;
    let open = |source: &FoldSource| {
        let adapter = peft::Stored::open(&source.folder, base.architecture());
        adapter.map_err(|error| failures::peft(&source.folder, &error))
    };
    let opened = adapters.iter().map(open).collect::<Outcome<Vec<peft::Stored>>>()?;
    let inputs: Vec<Input> = adapters
        .iter()
        .zip(&opened)
        .map(|(source, adapter)| Input { id: source.id, weight: Weight(source.weight), adapter })
        .collect();
    let dtype = match dtype {
        FloatType::F32 => DType::F32,
        FloatType::F16 => DType::F16,
        FloatType::Bf16 => DType::BF16,
    };
    let total = entries(base.architecture(), dtype).len() as u64;
    let into = |sink: &mut dyn TensorSink| {
        let mut watched = Watched { sink, context, done: 0, total };
        fold_into(&base, &inputs, dtype, &mut watched).map_err(|error| match watched.stopped() {
            true => Failure::interrupted(),
            false => failures::fold(&error),
        })
    };
    let folded = match out {
        None => into(&mut Discard)?,
        Some(out) => {
            let failed = |error: io::Error| output::unwritable(out, &error);
            let mut folder = FolderWriter::create(out, base.architecture(), base.tokenizer(), base.positions(), dtype)
                .map_err(failed)?;
            let folded = into(&mut folder)?;
            folder.finish().map_err(failed)?;
            folded
        }
    };
    Ok(Folded { digest: folded.digest, base: folded.base })
}

/// A sink that says how far it is, and takes nothing more once the job is to end.
struct Watched<'a> {
    sink: &'a mut dyn TensorSink,
    context: &'a Context,
    done: u64,
    total: u64,
}

impl Watched<'_> {
    fn stopped(&self) -> bool {
        self.context.cancel().load(Ordering::Relaxed)
    }
}

impl TensorSink for Watched<'_> {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let what = "tensors folded".to_owned();
        self.context.report(Progress::Count { what, done: self.done, total: self.total, unit: Unit::Items });
        self.done += 1;
        self.sink.begin(entry)
    }

    fn rows(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stopped() {
            return Err(io::Error::other("stopped"));
        }
        self.sink.rows(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn a_fold_that_is_stopped_leaves_no_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let out = root.path().join("folded");
        let stopped = fold(&BaseSource::Tiny, &[], FloatType::Bf16, Some(&out), &Context::cancelled());
        assert_eq!(stopped.err().map(|failure| failure.kind), Some(Kind::Interrupted));
        assert_eq!(std::fs::read_dir(root.path()).expect("readable").count(), 0, "nothing is left behind");
    }
}
