//! Work for a worker process, and what becomes of its answer.

use std::path::PathBuf;
use std::sync::Arc;

use potluck_protocol::id::RecipeId;
use potluck_protocol::recipe::Recipe;
use potluck_trainer::files::replace;
use serde_json::Value;

use crate::api::answers::{self, Merged, WeightedAdapter};
use crate::api::ask::Answer;
use crate::api::proto::Merge;
use crate::app::call::Call;
use crate::app::fold::{Folds, RECIPE_FILE, recipe_file};
use crate::app::worker::{Worker, parse};
use crate::failure::{Failure, Outcome};
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
    /// It is noted here and beside the weights.
    Fold(PendingFold),
}

/// A fold under way.
pub struct PendingFold {
    pub id: RecipeId,
    pub recipe: Recipe,
    pub out: PathBuf,
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
            Finish::Fold(fold) => {
                let folded: Folded = parse(worked)?;
                self.folds.note(fold.id, &folded).await?;
                fold.finish(&folded)
            }
        }
    }
}

impl PendingFold {
    /// Writes the recipe beside the weights; what the request answers.
    pub fn finish(self, folded: &Folded) -> Outcome<Answer> {
        let path = self.out.join(RECIPE_FILE);
        let merged = Merged::Base(answers::Folded {
            folder: self.out,
            recipe: self.id,
            parent: self.recipe.parent,
            digest: folded.digest,
            base: folded.base,
            inputs: WeightedAdapter::all(self.recipe.inputs()),
            dtype: self.recipe.dtype,
        });
        replace(&path, &recipe_file::<Merge>(&merged)?)
            .map_err(|error| Failure::io(format!("write {}", path.display()), &error))?;
        Ok(Answer::Merge(merged))
    }
}
