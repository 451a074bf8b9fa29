//! What a node can do, in one place: the daemon's socket and the command line without a daemon both end here.
//!
//! One file per family of requests. Nothing here parses flags or prints.

mod apart;
mod from;
mod named;
mod resolve;
mod room;
pub mod output;
mod inspect;
mod note;
mod of_base;
mod bases;
mod base_files;
mod base_check;
mod base_fetch;
mod numerics;
mod publish;
mod publish_base;
mod pull;
mod merge;
mod channel;
mod look;
mod show;
mod offers;
mod conditions;
mod search;
mod verify;
mod version_base;
mod upkeep;

pub use bases::{Compared, Identified};
pub use channel::watch as watch_channels;
pub(crate) use from::crashed;
pub use merge::Folded;
pub use note::{NOTE, OfBase, RunRecord, file as base_note};
pub use publish::Normalised;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use potluck_protocol::text::Name;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::client::Client;
use crate::api::proto::{BaseAdd, BaseShow, Fetch, Heard, Progress, Request, Show, Unit, Verify};
use crate::config;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::Home;
use crate::identity::Identity;
use crate::net;
use crate::store::{Options, Store};
use crate::task;
use crate::worker::stopping;

/// How long a home is waited for that another command uses.
const PATIENCE: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A node's parts, shared by all requests.
pub struct Service {
    home: Home,
    store: Store,
    identity: Identity,
    network: Option<Network>,
    offers: offers::Offers,
    /// Held while a base is put in its place.
    settling: Mutex<()>,
    /// Held while this node, as a steward, makes a version: one at a time.
    stewarding: Mutex<()>,
    watching: channel::Watching,
    /// One token for each worker process.
    workers: TaskTracker,
    /// A base that this process has read whole already.
    read: Option<apart::Read>,
    stop: CancellationToken,
    /// Of a node that does not exist yet. The last field: its folder goes when nothing uses it any more.
    unmade: Option<Unmade>,
}

/// Where somebody only looks and there is no home yet: a folder for as long as the look takes stands in for it.
struct Unmade {
    /// Where the home will be.
    root: PathBuf,
    folder: TempDir,
}

/// What there is only while the node is on a network.
pub struct Network {
    pub name: Name,
    pub handle: net::Handle,
    pub exchange: Exchange,
}

/// Refuses what could not be written at the end, before anything is fetched or computed.
fn check_output(request: &Request) -> Outcome<()> {
    match request {
        // Its run may have written it already.
        Request::Train(train) => stopping::look(&train.out).map(drop),
        _ => request.out().map_or(Ok(()), output::check),
    }
}

/// A running request's surroundings.
struct Call<'a> {
    progress: &'a mpsc::Sender<Progress>,
    cancel: &'a CancellationToken,
}

impl Call<'_> {
    /// A listener that is gone misses a report and nothing else.
    async fn phase(&self, text: impl Into<String>) {
        let _gone = self.progress.send(Progress::Phase { text: text.into() }).await;
    }

    /// So many bytes of something are done.
    async fn count(&self, what: &str, done: u64, total: u64) {
        let _gone = self.progress.send(Progress::Count { what: what.to_owned(), done, total, unit: Unit::Bytes }).await;
    }
}

impl Service {
    /// A node without network, for a command that finds no daemon.
    pub async fn offline(home: &Path) -> Outcome<Self> {
        Self::offline_with(home, Options::default()).await
    }

    /// The same, with a store that is opened in another way than usual.
    pub async fn offline_with(home: &Path, options: Options) -> Outcome<Self> {
        let (home, store, identity) = open(home, options).await?;
        Ok(Self::of(home, store, identity, None, CancellationToken::new()))
    }

    /// A node that does not exist yet, for a request that only looks: what it knows is what every node knows.
    pub async fn unmade(home: &Path) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("potluck-look-").tempdir_in(config::temporary());
        let folder = folder.map_err(|error| Failure::io("make a temporary folder", &error))?;
        let unmade = Unmade { root: home.to_path_buf(), folder };
        let mut service = Self::offline(unmade.folder.path()).await?;
        service.unmade = Some(unmade);
        Ok(service)
    }

    /// A node on a network; `stop` is cancelled by [`Request::Stop`].
    pub fn online(home: Home, store: Store, identity: Identity, network: Network, stop: CancellationToken) -> Self {
        Self::of(home, store, identity, Some(network), stop)
    }

    fn of(home: Home, store: Store, identity: Identity, network: Option<Network>, stop: CancellationToken) -> Self {
        let (offers, settling) = (offers::Offers::default(), Mutex::default());
        let (stewarding, watching) = (Mutex::default(), channel::Watching::default());
        let (workers, read) = (TaskTracker::new(), None);
        let unmade = None;
        Self { home, store, identity, network, offers, settling, stewarding, watching, workers, read, stop, unmade }
    }

    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Does what is asked. Cancelling ends it at the next safe place.
    pub async fn run(
        &self,
        request: Request,
        progress: mpsc::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Outcome<Value> {
        let call = Call { progress: &progress, cancel: &cancel };
        check_output(&request)?;
        match request {
            Request::Status => self.status().await,
            Request::Peers => self.peers().await,
            Request::BaseAdd(BaseAdd { path, name, view_of }) => self.base_add(&call, &path, name, view_of).await,
            Request::BaseFetch(fetch) => self.base_fetch(&call, fetch).await,
            Request::BaseList => self.base_list().await,
            Request::BaseShow(BaseShow { base }) => self.base_show(&call, &base).await,
            Request::Train(train) => self.work(&call, self.plan_train(&call, &train).await?).await,
            Request::Eval(eval) => self.work(&call, self.plan_eval(&call, &eval).await?).await,
            Request::Generate(generate) => self.work(&call, self.plan_generate(&call, &generate).await?).await,
            Request::DataCheck(check) => self.work(&call, self.plan_data_check(&call, &check).await?).await,
            Request::Publish(publish) => self.publish(&call, publish).await,
            Request::PublishBase(publish) => self.publish_base(&call, publish).await,
            Request::Search(search) => self.search(&call, *search).await,
            Request::Show(Show { reference }) => self.show(&reference).await,
            Request::Pull(pull) => self.pull(&call, pull).await,
            Request::Fetch(Fetch { manifest, timeout_seconds }) => {
                self.fetch_only(&call, manifest, timeout_seconds).await
            }
            Request::Heard(Heard { base, adapters, timeout_seconds }) => {
                self.heard(&call, &base, &adapters, timeout_seconds).await
            }
            Request::Verify(Verify { id }) => self.verify(&call, &id).await,
            Request::Merge(merge) => self.work(&call, self.plan_merge(&call, &merge).await?).await,
            Request::Channel(request) => self.channel(&call, *request).await,
            Request::StoreStat => self.store_stat().await,
            Request::StoreVerify => tokio::select! {
                // It only reads: it may end anywhere.
                verified = self.store_verify() => verified,
                () = cancel.cancelled() => Err(Failure::interrupted()),
            },
            Request::StoreRebuild => self.store_rebuild().await,
            Request::Bench(bench) => self.work(&call, self.plan_bench(&call, &bench).await?).await,
            Request::BenchMerge(bench) => self.work(&call, self.plan_bench_merge(&call, &bench).await?).await,
            Request::Stop => {
                self.stop.cancel();
                Ok(serde_json::json!({ "schema": "potluck.stop/1" }))
            }
        }
    }

    /// Blocking work on the store.
    async fn on_store<T: Send + 'static, E: Into<Failure> + Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Outcome<T> {
        let store = self.store.clone();
        task::blocking(move || work(&store)).await.map_err(from::crashed)?.map_err(Into::into)
    }
}

/// Takes the home and opens what is in it. Another command holds it for moments only and is waited for; a daemon is not.
pub async fn open(root: &Path, options: Options) -> Outcome<(Home, Store, Identity)> {
    let limit = Instant::now() + PATIENCE;
    loop {
        match open_now(root, options.clone()).await {
            Err(failure) if failure.kind == Kind::Conflict && Instant::now() < limit => {
                if matches!(Client::connect(root).await, Ok(Some(_))) {
                    return Err(failure);
                }
                // Another process's lock cannot be awaited together with a limit.
                tokio::time::sleep(LOOK_EVERY).await;
            }
            opened => return opened,
        }
    }
}

async fn open_now(root: &Path, options: Options) -> Outcome<(Home, Store, Identity)> {
    let root = root.to_path_buf();
    let opened = task::blocking(move || -> Outcome<_> {
        let home = Home::open(root)?;
        let store = Store::open_with(&home, options)?;
        let identity = Identity::open(&home)?;
        Ok((home, store, identity))
    });
    opened.await.map_err(from::crashed)?
}
