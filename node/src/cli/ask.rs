//! Asking a node: the daemon if one runs on the home, else a node within this process.

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::global::Global;
use super::network_flags::{Network, Stay};
use super::progress::Shown;
use crate::api::ask::Ask;
use crate::api::client::Client;
use crate::api::proto::Request;
use crate::app::{self, Node};
use crate::config;
use crate::daemon::Daemon;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::Home;
use crate::ipc::Progress;
use crate::signals;

/// Progress reports on their way to the terminal.
const PROGRESS_QUEUE: usize = 64;

/// Asks the daemon if one runs on this home, else opens the home and does it here. A signal cancels; the answer is waited
/// for, since it says what was kept.
pub async fn ask<R: Ask>(global: &Global, request: R) -> Outcome<R::Answer> {
    let home = config::home(global.home.as_deref())?;
    let mut shown = Shown::new(global);
    if let Some(client) = Client::connect(&home).await? {
        return ask_daemon(client, request, &mut shown).await;
    }
    let only_looks = request.clone().into().only_looks();
    // A verb that only looks leaves no home and no key behind.
    if only_looks && !Home::is_there(&home)? {
        return ask_here(&Node::unmade(&home).await?, request, &mut shown).await;
    }
    let node = match Node::offline(&home).await {
        Err(failure) if failure.kind == Kind::Conflict => match Client::connect(&home).await? {
            // It was starting, or came up meanwhile.
            Some(client) => return ask_daemon(client, request, &mut shown).await,
            None => return Err(failure),
        },
        opened => opened?,
    };
    let answer = watch(&mut shown, |reports, cancel| app::run_apart(node, request.into(), reports, cancel)).await?;
    typed::<R>(answer)
}

async fn ask_daemon<R: Ask>(mut client: Client, request: R, shown: &mut Shown) -> Outcome<R::Answer> {
    client.call_until(request, |report| shown.report(report), &signals::requests().to_end).await
}

/// Asks the daemon, or is on the network for as long as the request takes.
pub async fn ask_online<R: Ask>(global: &Global, request: R, network: &Network) -> Outcome<R::Answer> {
    let home = config::home(global.home.as_deref())?;
    if let Some(client) = Client::connect(&home).await? {
        drop(client);
        return ask(global, request).await;
    }
    let daemon = Daemon::start(&home, network.settings(Stay::Command)?).await?;
    let answer = ask_here(daemon.node(), request, &mut Shown::new(global)).await;
    daemon.stop().await;
    answer
}

/// Runs a request on a node of this process.
pub async fn ask_here<R: Ask>(node: &Node, request: R, shown: &mut Shown) -> Outcome<R::Answer> {
    let request: Request = request.into();
    typed::<R>(watch(shown, |reports, cancel| node.run(request, reports, cancel)).await?)
}

/// An answer of this process as its type. The one place where it is not one already.
fn typed<R: Ask>(answer: Value) -> Outcome<R::Answer> {
    serde_json::from_value(answer).map_err(|error| Failure::new(Kind::Failed, format!("the answer: {error}")))
}

/// Runs to its end, shows how far it is, and cancels on a signal.
async fn watch<T, F: Future<Output = Outcome<T>>>(
    shown: &mut Shown,
    run: impl FnOnce(mpsc::Sender<Progress>, CancellationToken) -> F,
) -> Outcome<T> {
    let (reports, mut progress) = mpsc::channel(PROGRESS_QUEUE);
    let running = run(reports, signals::requests().to_end);
    tokio::pin!(running);
    loop {
        tokio::select! {
            biased;
            answer = &mut running => {
                while let Ok(report) = progress.try_recv() {
                    shown.report(report);
                }
                return answer;
            }
            Some(report) = progress.recv() => shown.report(report),
        }
    }
}
