//! Adapters folded into their base.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use potluck_protocol::recipe::Recipe;
use potluck_trainer::base::Base;
use potluck_trainer::base::safetensors::Entry;
use potluck_trainer::base::sink::{Discard, TensorSink, entries};
use potluck_trainer::base::write::FolderWriter;
use potluck_trainer::merge::fold::{Input, fold as fold_into};
use potluck_trainer::peft;

use super::open;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{Progress, Unit};
use crate::out_folder;
use crate::worker::answers::Folded;
use crate::worker::context::Context;
use crate::worker::failures;
use crate::worker::proto::BaseSource;

/// Rule `fold-f32/1`. `folders` holds the recipe's inputs, in their order. Without `out` only a digest is made. // I10
pub fn fold(
    base: &BaseSource,
    recipe: &Recipe,
    folders: &[PathBuf],
    out: Option<&Path>,
    context: &Context,
) -> Outcome<Folded> {
    let base = open::base(base)?;
    let opened = open_inputs(&base, recipe, folders)?;
    let inputs = recipe.inputs().iter().zip(&opened);
    let inputs: Vec<Input> = inputs.map(|(&(id, weight), adapter)| Input { id, weight, adapter }).collect();
    let total = entries(base.architecture(), recipe.dtype).len() as u64;
    let into = |sink: &mut dyn TensorSink| {
        let mut watched = Watched { sink, context, done: 0, total };
        fold_into(&base, &inputs, recipe.dtype, &mut watched).map_err(|error| match watched.stopped() {
            true => Failure::interrupted(),
            false => failures::fold(&error),
        })
    };
    let folded = match out {
        None => into(&mut Discard)?,
        Some(out) => {
            let failed = |error: io::Error| out_folder::unwritable(out, &error);
            let (architecture, tokenizer, positions) = (base.architecture(), base.tokenizer(), base.positions());
            let mut folder =
                FolderWriter::create(out, architecture, tokenizer, positions, recipe.dtype).map_err(failed)?;
            let folded = into(&mut folder)?;
            folder.finish().map_err(failed)?;
            folded
        }
    };
    Ok(Folded { digest: folded.digest, base: folded.base })
}

/// The adapters of a recipe, in its order.
fn open_inputs(base: &Base, recipe: &Recipe, folders: &[PathBuf]) -> Outcome<Vec<peft::Stored>> {
    let (inputs, given) = (recipe.inputs().len(), folders.len());
    if inputs != given {
        return Err(Failure::new(Kind::Failed, format!("{given} folders for a recipe of {inputs} adapters")));
    }
    let open = |folder: &PathBuf| {
        peft::Stored::open(folder, base.architecture()).map_err(|error| failures::peft(folder, &error))
    };
    folders.iter().map(open).collect()
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
    use potluck_protocol::id::{BaseId, Digest};
    use potluck_protocol::tensor::DType;

    use super::*;

    #[test]
    fn a_fold_that_is_stopped_leaves_no_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let out = root.path().join("folded");
        let parent = BaseId(Digest::of(b"any"));
        let recipe = Recipe::new(parent, DType::BF16, []).expect("valid");
        let stopped = fold(&BaseSource::Tiny, &recipe, &[], Some(&out), &Context::cancelled());
        assert_eq!(stopped.err().map(|failure| failure.kind), Some(Kind::Interrupted));
        assert_eq!(std::fs::read_dir(root.path()).expect("readable").count(), 0, "nothing is left behind");
    }
}
