//! Work for a worker process, and what becomes of its answer.

use std::sync::Arc;

use potluck_protocol::id::RecipeId;
use potluck_protocol::recipe::Recipe;
use serde_json::Value;

use crate::api::answers::{self, Merged, MergedAdapter, WeightedAdapter};
use crate::api::ask::Answer;
use crate::api::proto::Merge;
use crate::app::call::Call;
use crate::app::fold::{Folds, RECIPE_FILE, recipe_file};
use crate::app::worker::{Worker, parse};
use crate::failure::Outcome;
use crate::out_folder::Pending;
use crate::worker::answers::Folded;
use crate::worker::proto::Task;

/// Work for a worker process, and what becomes of its answer.
pub struct Plan {
    pub threads: usize,
    pub task: Task,
    pub finish: Finish,
}

/// Reads what a worker answers as what the request does.
pub type Read = fn(Value) -> Outcome<Answer>;

/// What becomes of a worker's answer.
pub enum Finish {
    /// It is the request's answer.
    Read(Read),
    /// The merged adapter gets its name.
    Merge(Pending),
    /// It is noted here and beside the weights.
    Fold(PendingFold),
}

/// A fold under way.
pub struct PendingFold {
    pub id: RecipeId,
    pub recipe: Recipe,
    pub folder: Pending,
}

impl Plan {
    /// Work of which the worker gives the whole answer.
    pub fn new(threads: usize, task: Task, read: Read) -> Self {
        Self { threads, task, finish: Finish::Read(read) }
    }
}

/// Does what plans say.
#[derive(Clone)]
pub struct Plans {
    pub(in crate::app) worker: Worker,
    pub(in crate::app) folds: Arc<Folds>,
}

impl Plans {
    /// Does what a plan says, and keeps the home meanwhile.
    pub async fn work(&self, call: &Call<'_>, plan: Plan) -> Outcome<Answer> {
        let worked = self.worker.run(call, plan.threads, plan.task).await?;
        match plan.finish {
            Finish::Read(read) => read(worked),
            Finish::Merge(folder) => place_merged(folder, parse(worked)?),
            Finish::Fold(fold) => {
                let folded: Folded = parse(worked)?;
                let (id, answer) = (fold.id, fold.finish(&folded)?);
                self.folds.note(id, &folded).await?;
                Ok(answer)
            }
        }
    }
}

/// Gives a merged adapter its name; what the request answers.
pub fn place_merged(folder: Pending, merged: MergedAdapter) -> Outcome<Answer> {
    let folder = folder.place(&[])?;
    Ok(Answer::Merge(Merged::Adapter(MergedAdapter { folder, ..merged })))
}

impl PendingFold {
    /// Gives the folder its name, with the recipe beside the weights; what the request answers.
    pub fn finish(self, folded: &Folded) -> Outcome<Answer> {
        let merged = Merged::Base(answers::Folded {
            folder: self.folder.out().to_path_buf(),
            recipe: self.id,
            parent: self.recipe.parent,
            digest: folded.digest,
            base: folded.base,
            inputs: WeightedAdapter::all(self.recipe.inputs()),
            dtype: self.recipe.dtype,
        });
        self.folder.place(&[(RECIPE_FILE, &recipe_file::<Merge>(&merged)?)])?;
        Ok(Answer::Merge(merged))
    }
}
