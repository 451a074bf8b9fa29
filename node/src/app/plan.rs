//! Work for a worker process, and what becomes of its answer.

use std::path::{Path, PathBuf};

use potluck_protocol::id::RecipeId;
use potluck_trainer::files::replace;
use serde_json::{Value, json};

use crate::app::answer::with_schema;
use crate::app::call::Call;
use crate::app::fold::Folds;
use crate::app::worker::{Worker, parse};
use crate::failure::{Failure, Outcome};
use crate::worker::answers::Folded;
use crate::worker::proto::Task;

/// Work for a worker process, and what becomes of its answer.
pub struct Plan {
    pub schema: &'static str,
    pub threads: usize,
    pub task: Task,
    /// Of a fold: what is noted of its answer.
    pub fold: Option<PendingFold>,
}

/// A fold under way.
pub struct PendingFold {
    pub recipe: RecipeId,
    pub out: PathBuf,
    /// What is known of it already.
    pub answer: Value,
}

impl Plan {
    /// Work of which the worker gives the whole answer.
    pub fn new(schema: &'static str, threads: usize, task: Task) -> Self {
        Self { schema, threads, task, fold: None }
    }
}

/// Does what plans say.
#[derive(Clone)]
pub struct Plans {
    pub(in crate::app) worker: Worker,
    pub(in crate::app) folds: Folds,
}

impl Plans {
    /// Does what a plan says, and keeps the home meanwhile.
    pub async fn work(&self, call: &Call<'_>, plan: Plan) -> Outcome<Value> {
        let worked = self.worker.run(call, plan.threads, plan.task).await?;
        match plan.fold {
            None => with_schema(plan.schema, worked),
            Some(fold) => {
                let folded: Folded = parse(worked)?;
                self.folds.note(fold.recipe, &folded).await?;
                fold.finish(&folded)
            }
        }
    }
}

impl PendingFold {
    /// Writes the recipe beside the weights; what the request answers.
    pub fn finish(mut self, folded: &Folded) -> Outcome<Value> {
        self.answer["digest"] = json!(folded.digest);
        self.answer["base"] = json!(folded.base);
        write_recipe(&self.out, &self.answer)?;
        Ok(self.answer)
    }
}

/// The recipe beside the weights, for whoever finds the folder later.
fn write_recipe(out: &Path, answer: &Value) -> Outcome<()> {
    let path = out.join("recipe.json");
    replace(&path, format!("{answer:#}\n").as_bytes())
        .map_err(|error| Failure::io(format!("write {}", path.display()), &error))
}
