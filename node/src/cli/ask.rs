//! Asking a node: the daemon if one runs on the home, else a node within this process.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::global::Global;
use super::network_flags::{Network, Stay};
use super::progress::Reporter;
use crate::api::ask::Ask;
use crate::api::client::Client;
use crate::api::proto::Request;
use crate::app::{self, Node};
use crate::config;
use crate::daemon::Daemon;
use crate::failure::{Kind, Outcome};
use crate::home::Home;
use crate::ipc::Progress;
use crate::signals;

/// Progress reports on their way to the terminal.
const PROGRESS_QUEUE: usize = 64;

/// Asks the daemon if one runs on this home, else opens the home and does it here. A signal cancels; the answer is waited
/// for, since it says what was kept.
pub async fn ask<R: Ask>(global: &Global, request: R) -> Outcome<R::Answer> {
    let home = config::home(global.home.as_deref())?;
    let mut shown = Reporter::new(global);
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
    R::take(watch(&mut shown, |reports, cancel| app::run_apart(node, request.into(), reports, cancel)).await?)
}

async fn ask_daemon<R: Ask>(mut client: Client, request: R, shown: &mut Reporter) -> Outcome<R::Answer> {
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
    let answer = ask_here(daemon.node(), request, &mut Reporter::new(global)).await;
    daemon.stop().await;
    answer
}

/// Runs a request on a node of this process.
pub async fn ask_here<R: Ask>(node: &Node, request: R, shown: &mut Reporter) -> Outcome<R::Answer> {
    let request: Request = request.into();
    R::take(watch(shown, |reports, cancel| node.run(request, reports, cancel)).await?)
}

/// Runs to its end, shows how far it is, and cancels on a signal.
async fn watch<T, F: Future<Output = Outcome<T>>>(
    shown: &mut Reporter,
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
