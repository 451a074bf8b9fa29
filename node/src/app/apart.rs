//! Long work apart from the home. Everything that a worker needs is looked up first, as paths of files; while it computes,
//! a command without a daemon lets go of the home, so that every other command and a daemon work beside it.
//!
//! What protects those files: nothing removes bases and adapters from a home, and a file that is replaced stays whole for
//! whoever has it open. What will remove some day must ask first what is in use.

use std::path::Path;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::{Call, ChosenBy};
use super::known_bases::KnownBase;
use super::node::{Node, check_output};
use super::plan::{Finish, PendingFold, place_merged};
use super::worker::{Worker, parse};
use crate::api::ask::Answer;
use crate::api::proto::{MergeInto, Request, WeightedRef};
use crate::failure::Outcome;
use crate::ipc::Progress;
use crate::store::Options;
use crate::worker::answers::Folded;
use crate::worker::proto::BaseSource;

/// Runs a request on a home that nobody else uses, and holds the home no longer than it reads or writes there.
pub async fn run_apart(
    node: Node,
    request: Request,
    progress: mpsc::Sender<Progress>,
    cancel: CancellationToken,
) -> Outcome<Answer> {
    let call = Call { progress: &progress, cancel: &cancel, chosen_by: ChosenBy::Us };
    let root = node.root().to_path_buf();
    let worker = Worker::processes();
    check_output(&request)?;
    let node = match base_to_read(&node, &request).await? {
        Some(source) => {
            drop(node);
            let identified = worker.read_whole(&call, &source).await?;
            let knowing = worker.clone().knowing(source, identified);
            Node::offline_by(&root, Options::default(), knowing).await?
        }
        None => node,
    };
    let Some(plan) = node.plan(&call, &request).await? else {
        return node.run(request, progress.clone(), cancel.clone()).await;
    };
    drop(node);
    let worked = worker.run(&call, plan.threads, plan.task).await?;
    match plan.finish {
        Finish::Read(read) => read(worked),
        Finish::Merge(folder) => place_merged(folder, parse(worked)?),
        Finish::Fold(fold) => note(fold, &root, &call, parse(worked)?).await,
    }
}

/// The base of a request that must be read whole to know its id, which takes long and needs no home.
async fn base_to_read(node: &Node, request: &Request) -> Outcome<Option<BaseSource>> {
    // What is made states its base; else the id is asked for only if an adapter says which base it is of.
    let (base, adapters): (_, Option<&[WeightedRef]>) = match request {
        Request::Train(train) => (&train.base, None),
        Request::Merge(merge) => match merge.into {
            MergeInto::Base { .. } => (&merge.base, None),
            MergeInto::Adapter { .. } => (&merge.base, Some(&merge.adapters)),
        },
        Request::Eval(eval) => (&eval.base, Some(&eval.adapters)),
        Request::Generate(generate) => (&generate.base, Some(&generate.adapters)),
        _ => return Ok(None),
    };
    let unread = |known: &KnownBase| known.id.is_none();
    let Some(known) = node.parts.names.known_base(base)?.filter(unread) else { return Ok(None) };
    let needed = match adapters {
        None => true,
        Some(adapters) => say_their_bases(node, adapters).await?,
    };
    Ok(needed.then_some(known.source))
}

/// Whether one of the adapters says which base it is of.
async fn say_their_bases(node: &Node, references: &[WeightedRef]) -> Outcome<bool> {
    let adapters = &node.parts.adapters;
    for adapter in references {
        let found = adapters.find(&adapter.reference).await?;
        if adapters.own_base(&found).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The digest is noted in the home for a later `verify`. A daemon that came up meanwhile has the home: the folder is whole
/// all the same, and its recipe.json holds the digest.
async fn note(fold: PendingFold, root: &Path, call: &Call<'_>, folded: Folded) -> Outcome<Answer> {
    let (id, answer) = (fold.id, fold.finish(&folded)?);
    match Node::try_offline(root, Options::default(), Worker::processes()).await {
        Ok(node) => node.parts.plans.folds.note(id, &folded).await?,
        Err(error) if error.is_held() => {
            call.phase(format!("the digest stands in recipe.json alone: {error}")).await;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(answer)
}
