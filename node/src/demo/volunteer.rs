//! One volunteer: a daemon in a process of its own, asked over its local socket.

use std::path::PathBuf;
use std::time::Instant;

use potluck_protocol::channel::Role;
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId};

use super::plan::{Plan, Seat};
use super::show::Show;
use crate::api::answers::{NewRelease, Released};
use crate::api::channel::{self, SuiteRows};
use crate::api::proto::{self, BaseAdd, BaseShow, Heard, Verify, WeightedRef};
use crate::failure::{Failure, Kind, Outcome};
use crate::local_daemon::LocalDaemon;
use crate::worker::proto::{Measured, TrainSettings};

/// How long gossip and a pull may take before the demo says that something is wrong.
const TIMEOUT_SECONDS: u64 = 60;
/// What the demo's channel is called.
const CHANNEL: &str = "demo";
/// The rules of `potluck channel open`, in parts per million.
const GAIN_PPM: u32 = 1_000;
const CLIP_PPM: u64 = 200_000;
const REFUSE_PPM: u64 = 1_000_000;

/// A running volunteer. Dropping it ends its daemon.
pub struct Volunteer {
    pub daemon: LocalDaemon,
    pub skill: String,
    seat: Seat,
}

/// What a training run took.
pub struct Trained {
    pub seconds: f64,
    pub tokens_per_second: f64,
}

/// What was fetched from the others.
pub struct Fetched {
    pub bytes: u64,
    pub peers: Vec<String>,
}

impl Volunteer {
    /// Starts the daemon and waits until it listens and answers.
    pub async fn start(plan: &Plan, seat: &Seat, bootstrap: Option<&str>) -> Outcome<Self> {
        let mut arguments = vec!["--listen", "/ip4/127.0.0.1/tcp/0"];
        if let Some(address) = bootstrap {
            arguments.extend(["--bootstrap", address]);
        }
        let who = format!("volunteer `{}`", seat.skill);
        let daemon = LocalDaemon::start(&who, &seat.home, &plan.network, &arguments).await?;
        Ok(Self { daemon, skill: seat.skill.clone(), seat: seat.clone() })
    }

    /// Checks and adds the base; its id.
    pub async fn base(&mut self, plan: &Plan) -> Outcome<BaseId> {
        let base = if plan.base == "tiny" {
            self.daemon.ask(BaseShow { base: plan.base.clone() }).await?
        } else {
            self.daemon.ask(BaseAdd { path: PathBuf::from(&plan.base), name: None, view_of: None }).await?
        };
        Ok(base.base)
    }

    pub async fn train(&mut self, plan: &Plan, show: &Show) -> Outcome<Trained> {
        let started = Instant::now();
        let request = proto::Train {
            base: plan.base.clone(),
            data: self.seat.train.clone(),
            held_out: None,
            rehearsal: self.seat.rehearsal.clone(),
            from: None,
            out: self.seat.adapter.clone(),
            settings: TrainSettings { seed: self.seat.seed, ..plan.settings.clone() },
        };
        let training = show.training(&self.skill);
        let answer = self.daemon.call(request, |progress| training.report(&progress)).await;
        let answer = answer.map_err(|failure| failure.context("train"))?;
        Ok(Trained { seconds: started.elapsed().as_secs_f64(), tokens_per_second: answer.tokens_per_second })
    }

    /// Publishes its adapter; the manifest's id.
    pub async fn publish(&mut self, plan: &Plan) -> Outcome<ManifestId> {
        let request = proto::Publish {
            folder: self.seat.adapter.clone(),
            name: self.skill.clone(),
            base: Some(plan.base.clone()),
            licence: "Apache-2.0".to_owned(),
            description: format!("the demo's skill `{}`", self.skill),
            evaluate: Vec::new(),
        };
        Ok(self.daemon.ask(request).await?.manifest)
    }

    /// Waits until gossip has told of all the others' adapters, pulls each, and checks each once more.
    pub async fn gather(&mut self, base: BaseId, adapters: &[ManifestId]) -> Outcome<Fetched> {
        self.heard(base, adapters).await?;
        let mut fetched = Fetched { bytes: 0, peers: Vec::new() };
        for adapter in adapters {
            let pull = proto::Pull {
                reference: adapter.to_string(),
                out: None,
                without_base: false,
                timeout_seconds: TIMEOUT_SECONDS.into(),
            };
            let pulled = self.daemon.ask(pull).await?;
            fetched.bytes += pulled.fetched_bytes;
            fetched.peers.extend(pulled.fetched_from.into_iter().map(|from| from.peer));
            self.daemon.ask(Verify { id: adapter.to_string() }).await?;
        }
        fetched.peers.sort();
        fetched.peers.dedup();
        Ok(fetched)
    }

    /// Its skill's held-out prompts on base, own adapter and the channel's version.
    pub async fn measure(&mut self, plan: &Plan) -> Outcome<[Measured; 3]> {
        let base = self.eval(plan, plan.base.clone(), Vec::new()).await?;
        let own = vec![WeightedRef { reference: self.seat.adapter_text()?, weight: 1.0 }];
        let adapter = self.eval(plan, plan.base.clone(), own).await?;
        let version = self.eval(plan, CHANNEL.to_owned(), Vec::new()).await?;
        Ok([base, adapter, version])
    }

    async fn eval(&mut self, plan: &Plan, base: String, adapters: Vec<WeightedRef>) -> Outcome<Measured> {
        let data = self.seat.held_out.clone();
        self.daemon.ask(proto::Eval { base, adapters, data, threads: plan.settings.threads }).await
    }

    /// Asks the daemon to end, and waits for it.
    pub async fn stop(self) -> Outcome<()> {
        self.daemon.stop().await
    }

    /// Waits until gossip has told of these manifests.
    pub async fn heard(&mut self, base: BaseId, manifests: &[ManifestId]) -> Outcome<()> {
        let (base, adapters) = (base.to_string(), manifests.iter().map(ToString::to_string).collect());
        self.daemon.ask(Heard { base, adapters, timeout_seconds: TIMEOUT_SECONDS.into() }).await.map(drop)
    }

    /// Opens the channel, as its steward; its id.
    pub async fn open(&mut self, plan: &Plan) -> Outcome<ManifestId> {
        let suite = |name: &str, role, rows: &PathBuf| SuiteRows { name: name.to_owned(), role, rows: rows.clone() };
        let improve = plan.volunteers.iter().map(|seat| suite(&seat.skill, Role::Improve, &seat.sealed));
        let request = channel::Open {
            name: CHANNEL.to_owned(),
            genesis: plan.base.clone(),
            description: "the demo's channel".to_owned(),
            licence: "Apache-2.0".to_owned(),
            dtype: None,
            admit: Vec::new(),
            licences: Vec::new(),
            suites: improve.chain([suite("own", Role::Keep, &plan.own)]).collect(),
            shards: 1,
            gain_ppm: GAIN_PPM,
            guard_ppm: plan.guard_ppm,
            clip_ppm: CLIP_PPM,
            refuse_ppm: REFUSE_PPM,
        };
        Ok(self.daemon.ask(request).await?.channel)
    }

    pub async fn follow(&mut self, channel: ManifestId) -> Outcome<()> {
        let (channel, timeout_seconds) = (channel.to_string(), TIMEOUT_SECONDS.into());
        self.daemon.ask(channel::Follow { channel, name: None, audit: true, timeout_seconds }).await.map(drop)
    }

    /// Offers its adapter to the channel; the proposal's id.
    pub async fn propose(&mut self, adapter: ManifestId) -> Outcome<ManifestId> {
        let (channel, adapter) = (CHANNEL.to_owned(), adapter.to_string());
        let propose = channel::Propose { channel, adapter, weight: 1.0, timeout_seconds: TIMEOUT_SECONDS.into() };
        Ok(self.daemon.ask(propose).await?.proposal)
    }

    /// Judges what was proposed, and signs the next version.
    pub async fn release(&mut self, plan: &Plan) -> Outcome<NewRelease> {
        let (channel, threads) = (CHANNEL.to_owned(), plan.settings.threads * plan.volunteers.len());
        let release = channel::Release { channel, timeout_seconds: TIMEOUT_SECONDS.into(), threads, offline: false };
        match self.daemon.ask(release).await? {
            Released::Version(release) => Ok(*release),
            Released::Nothing(_) => {
                Err(Failure::new(Kind::Failed, "the steward released nothing: no adapter passed the channel's rules"))
            }
        }
    }

    /// Takes the newest version, and rebuilds it from genesis; the digest that this gives.
    pub async fn update(&mut self, base: BaseId, version: ManifestId) -> Outcome<FoldDigest> {
        self.heard(base, &[version]).await?;
        let update = channel::Update { channel: CHANNEL.to_owned(), timeout_seconds: TIMEOUT_SECONDS.into() };
        let taken = self.daemon.ask(update).await?.version;
        if taken != Some(version) {
            let taken = taken.map_or_else(|| "none".to_owned(), |taken| taken.to_string());
            let message = format!("`{}` took version {taken}, not {version}", self.skill);
            return Err(Failure::new(Kind::Verification, message));
        }
        let rebuilt = self.daemon.ask(Verify { id: version.to_string() }).await?;
        rebuilt.digest.ok_or_else(|| Failure::new(Kind::Failed, format!("checking version {version} gave no digest")))
    }
}
