//! A node: takes each request to the part that answers it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::{Call, ChosenBy};
use super::channel::follower::watch;
use super::disk::Disk;
use super::errors::OpenError;
use super::network::Network;
use super::parts::{Ground, Parts};
use super::plan::Plan;
use super::worker::Worker;
use crate::api::answers::Stopped;
use crate::api::ask::Answer;
use crate::api::client::Client;
use crate::api::proto::{BaseAdd, BaseShow, Fetch, Heard, Request, Show, Verify};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::Home;
use crate::identity::Identity;
use crate::ipc::Progress;
use crate::out_folder;
use crate::store::{Options, Store};
use crate::task;
use crate::worker::stopping::{self, Output};

/// How long a home is waited for that another command uses.
const PATIENCE: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A node, shared by all requests.
pub struct Node {
    root: PathBuf,
    network: Option<Network>,
    worker: Worker,
    pub(in crate::app) parts: Arc<Parts>,
    stop: CancellationToken,
    /// Of a node that does not exist yet: where somebody only looks and there is no home, a folder for as long as the look
    /// takes stands in for it. The last field: the folder goes when nothing uses it any more.
    _unmade: Option<TempDir>,
}

impl Node {
    /// A node without network, for a command that finds no daemon.
    pub async fn offline(home: &Path) -> Outcome<Self> {
        Self::offline_with(home, Options::default()).await
    }

    /// The same, with a store that is opened in another way than usual.
    pub async fn offline_with(home: &Path, options: Options) -> Outcome<Self> {
        Self::offline_by(home, options, Worker::processes()).await
    }

    /// The same, with somebody else to compute.
    pub(in crate::app) async fn offline_by(home: &Path, options: Options, worker: Worker) -> Outcome<Self> {
        Ok(Self::try_offline(home, options, worker).await?)
    }

    /// The same, for who decides by the error.
    pub(in crate::app) async fn try_offline(home: &Path, options: Options, worker: Worker) -> Result<Self, OpenError> {
        let (home, store, identity) = open(home, options).await?;
        let ground = Ground { disk: Disk { home, store }, worker, identity, network: None, unmade: None };
        Ok(Self::on(ground, CancellationToken::new()))
    }

    /// A node that does not exist yet, for a request that only looks: what it knows is what every node knows.
    pub async fn unmade(home: &Path) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("potluck-look-").tempdir_in(config::temporary());
        let folder = folder.map_err(|error| Failure::io("make a temporary folder", &error))?;
        let (stand_in, store, identity) = open(folder.path(), Options::default()).await?;
        let disk = Disk { home: stand_in, store };
        let worker = Worker::processes();
        let ground = Ground { disk, worker, identity, network: None, unmade: Some(home.to_path_buf()) };
        Ok(Self { _unmade: Some(folder), ..Self::on(ground, CancellationToken::new()) })
    }

    /// A node on a network; `stop` is cancelled by [`Request::Stop`].
    pub fn online(home: Home, store: Store, identity: Identity, network: Network, stop: CancellationToken) -> Self {
        Self::online_by(Disk { home, store }, identity, network, Worker::processes(), stop)
    }

    /// The same, with somebody else to compute.
    pub(in crate::app) fn online_by(
        disk: Disk,
        identity: Identity,
        network: Network,
        worker: Worker,
        stop: CancellationToken,
    ) -> Self {
        Self::on(Ground { disk, worker, identity, network: Some(network), unmade: None }, stop)
    }

    fn on(ground: Ground, stop: CancellationToken) -> Self {
        let (network, worker) = (ground.network.clone(), ground.worker.clone());
        let root = ground.disk.home.layout().root().to_path_buf();
        Self { root, network, worker, parts: Arc::new(Parts::on(ground)), stop, _unmade: None }
    }

    /// The folder of its home.
    pub(in crate::app) fn root(&self) -> &Path {
        &self.root
    }

    /// The network that it is on, if it is on one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Comes to the network: hears of what is announced for every base and channel here, and announces its own.
    pub async fn join(&self) -> Outcome<()> {
        self.parts.bases.subscribe().await?;
        self.parts.channels.follower.subscribe().await?;
        self.parts.publisher.announce_own().await
    }

    /// Takes versions of the channels that are followed as they are announced, until `stop`.
    pub fn watch_channels(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        watch::watch(self.parts.channels.follower.clone(), stop)
    }

    /// Workers that compute for this node now.
    pub fn at_work(&self) -> usize {
        self.worker.at_work()
    }

    /// Until no worker computes for this node any more.
    pub async fn rest(&self) {
        self.worker.rest().await;
    }

    /// Does what is asked. Cancelling ends it at the next safe place.
    pub async fn run(
        &self,
        request: Request,
        progress: mpsc::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Outcome<Answer> {
        let call = Call { progress: &progress, cancel: &cancel, chosen_by: ChosenBy::Us };
        check_output(&request)?;
        match self.plan(&call, &request).await? {
            Some(plan) => self.parts.plans.work(&call, plan).await,
            None => self.answer(&call, request).await,
        }
    }

    /// The part of a request that a worker does; `None` if that is not most of it.
    pub(in crate::app) async fn plan(&self, call: &Call<'_>, request: &Request) -> Outcome<Option<Plan>> {
        let (training, merging) = (&self.parts.training, &self.parts.merging);
        Ok(Some(match request {
            Request::Train(train) => training.plan_train(call, train).await?,
            Request::Eval(eval) => training.plan_eval(call, eval).await?,
            Request::Generate(generate) => training.plan_generate(call, generate).await?,
            Request::DataCheck(check) => training.plan_data_check(call, check).await?,
            Request::Bench(bench) => training.plan_bench(call, bench).await?,
            Request::Merge(merge) => merging.plan_merge(call, merge).await?,
            Request::BenchMerge(bench) => merging.plan_bench_merge(call, bench).await?,
            _ => return Ok(None),
        }))
    }

    /// Answers what is no plan.
    async fn answer(&self, call: &Call<'_>, request: Request) -> Outcome<Answer> {
        let parts = &self.parts;
        match request {
            Request::Status => parts.status.status().await.map(Answer::Status),
            Request::Peers => parts.status.peers().await.map(Answer::Peers),
            Request::BaseAdd(BaseAdd { path, name, view_of }) => {
                parts.bases.add(call, &path, name, view_of).await.map(Answer::BaseAdd)
            }
            Request::BaseFetch(fetch) => parts.bases.fetch(call, fetch).await.map(Answer::BaseFetch),
            Request::BaseList => parts.bases.list(call).await.map(Answer::BaseList),
            Request::BaseShow(BaseShow { base }) => parts.shows.show_base(call, &base).await.map(Answer::BaseShow),
            Request::Publish(publish) => parts.adapter_publisher.publish(call, publish).await.map(Answer::Publish),
            Request::PublishBase(publish) => parts.base_publisher.publish(call, publish).await.map(Answer::PublishBase),
            Request::Search(search) => parts.searcher.search(call, *search).await.map(Answer::Search),
            Request::Show(Show { reference }) => parts.shows.show(&reference).await.map(Answer::Show),
            Request::Pull(pull) => parts.puller.pull(call, pull).await.map(Answer::Pull),
            Request::Fetch(Fetch { manifest, timeout_seconds }) => {
                parts.puller.fetch_only(call, manifest, timeout_seconds).await.map(Answer::Fetch)
            }
            Request::Heard(Heard { base, adapters, timeout_seconds }) => {
                parts.status.wait_until_heard(call, &base, &adapters, timeout_seconds).await.map(Answer::Heard)
            }
            Request::Verify(Verify { id }) => parts.verifier.verify(call, &id).await.map(Answer::Verify),
            Request::Channel(request) => parts.channels.run(call, *request).await,
            Request::StoreStat => parts.maintenance.store_stat().await.map(Answer::StoreStat),
            Request::StoreVerify => tokio::select! {
                // It only reads: it may end anywhere.
                verified = parts.maintenance.store_verify() => verified.map(Answer::StoreVerify),
                () = call.cancel.cancelled() => Err(Failure::interrupted()),
            },
            Request::StoreRebuild => parts.maintenance.store_rebuild().await.map(Answer::StoreRebuild),
            Request::Stop => {
                self.stop.cancel();
                Ok(Answer::Stop(Stopped {}))
            }
            Request::Train(_)
            | Request::Eval(_)
            | Request::Generate(_)
            | Request::DataCheck(_)
            | Request::Bench(_)
            | Request::Merge(_)
            | Request::BenchMerge(_) => Err(Failure::new(Kind::Failed, "the request has no plan")),
        }
    }
}

/// Refuses what could not be written at the end, before anything is fetched or computed.
pub(in crate::app) fn check_output(request: &Request) -> Outcome<()> {
    match request {
        // Its run may have written it already.
        Request::Train(train) => match stopping::find_output(&train.out)? {
            Output::Whole => Ok(()),
            Output::Free => out_folder::check(&train.out),
        },
        _ => request.out().map_or(Ok(()), out_folder::check),
    }
}

/// Takes the home and opens what is in it. Another command holds it for moments only and is waited for; a daemon is not.
pub async fn open(root: &Path, options: Options) -> Result<(Home, Store, Identity), OpenError> {
    let limit = Instant::now() + PATIENCE;
    loop {
        match open_now(root, options.clone()).await {
            Err(error) if error.is_held() && Instant::now() < limit => {
                if matches!(Client::connect(root).await, Ok(Some(_))) {
                    return Err(error);
                }
                // Another process's lock cannot be awaited together with a limit.
                tokio::time::sleep(LOOK_EVERY).await;
            }
            opened => return opened,
        }
    }
}

async fn open_now(root: &Path, options: Options) -> Result<(Home, Store, Identity), OpenError> {
    let root = root.to_path_buf();
    let opened = task::blocking(move || -> Result<_, OpenError> {
        let home = Home::open(root)?;
        let store = Store::open_with(&home, options)?;
        let identity = Identity::open(&home)?;
        Ok((home, store, identity))
    });
    opened.await.map_err(OpenError::Crashed)?
}
