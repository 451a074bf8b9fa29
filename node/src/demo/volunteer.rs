//! One volunteer: a daemon in a process of its own, asked over its local socket.

use std::path::PathBuf;
use std::time::Instant;

use potluck_protocol::channel::Role;
use serde_json::Value;

use super::plan::{Plan, Seat};
use super::show::Show;
use crate::api::channel::{self, SuiteRows};
use crate::api::proto::{self, Pulled, Request, WeightedRef};
use crate::failure::{Failure, Kind, Outcome};
use crate::local_daemon::LocalDaemon;
use crate::worker::proto::{Measured, TrainSettings};

/// How long gossip and a pull may take before the demo says that something is wrong.
const TIMEOUT_SECONDS: u64 = 60;
/// What the demo's channel is called.
const CHANNEL: &str = "demo";
/// The rules of `potluck base open`, in parts per million.
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
    pub async fn base(&mut self, plan: &Plan) -> Outcome<String> {
        let request = if plan.base == "tiny" {
            Request::BaseShow { base: plan.base.clone() }
        } else {
            Request::BaseAdd { path: PathBuf::from(&plan.base), name: None, view_of: None }
        };
        self.field(&request, "base").await
    }

    pub async fn train(&mut self, plan: &Plan, show: &Show) -> Outcome<Trained> {
        let started = Instant::now();
        let request = Request::Train(Box::new(proto::Train {
            base: plan.base.clone(),
            data: self.seat.train.clone(),
            held_out: None,
            rehearsal: self.seat.rehearsal.clone(),
            from: None,
            out: self.seat.adapter.clone(),
            settings: TrainSettings { seed: self.seat.seed, ..plan.settings.clone() },
        }));
        let training = show.training(&self.skill);
        let answer = self.daemon.call(&request, |progress| training.report(&progress)).await;
        let answer = answer.map_err(|failure| failure.context("train"))?;
        Ok(Trained {
            seconds: started.elapsed().as_secs_f64(),
            tokens_per_second: answer["tokens_per_second"].as_f64().unwrap_or_default(),
        })
    }

    /// Publishes its adapter; the manifest's id.
    pub async fn publish(&mut self, plan: &Plan) -> Outcome<String> {
        let request = Request::Publish(proto::Publish {
            folder: self.seat.adapter.clone(),
            name: self.skill.clone(),
            base: Some(plan.base.clone()),
            licence: "Apache-2.0".to_owned(),
            description: format!("the demo's skill `{}`", self.skill),
            evaluate: Vec::new(),
        });
        self.field(&request, "manifest").await
    }

    /// Waits until gossip has told of all the others' adapters, pulls each, and checks each once more.
    pub async fn gather(&mut self, base: &str, adapters: &[String]) -> Outcome<Fetched> {
        self.heard(base, adapters).await?;
        let mut fetched = Fetched { bytes: 0, peers: Vec::new() };
        for adapter in adapters {
            let pull = proto::Pull {
                reference: adapter.clone(),
                out: None,
                without_base: false,
                timeout_seconds: TIMEOUT_SECONDS.into(),
            };
            let pulled: Pulled = self.daemon.ask(&Request::Pull(pull)).await?;
            fetched.bytes += pulled.fetched_bytes;
            fetched.peers.extend(pulled.fetched_from.into_iter().map(|from| from.peer));
            self.daemon.ask::<Value>(&Request::Verify { id: adapter.clone() }).await?;
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
        self.daemon
            .ask(&Request::Eval(proto::Eval {
                base,
                adapters,
                data: self.seat.held_out.clone(),
                threads: plan.settings.threads,
            }))
            .await
    }

    /// Asks the daemon to end, and waits for it.
    pub async fn stop(self) -> Outcome<()> {
        self.daemon.stop().await
    }

    /// Waits until gossip has told of these manifests.
    pub async fn heard(&mut self, base: &str, manifests: &[String]) -> Outcome<()> {
        let (base, adapters) = (base.to_owned(), manifests.to_vec());
        let heard = Request::Heard { base, adapters, timeout_seconds: TIMEOUT_SECONDS.into() };
        self.daemon.ask::<Value>(&heard).await.map(drop)
    }

    /// Opens the channel, as its steward; its id.
    pub async fn open(&mut self, plan: &Plan) -> Outcome<String> {
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
        self.field(&Request::Channel(Box::new(channel::Request::Open(request))), "channel").await
    }

    pub async fn follow(&mut self, channel: &str) -> Outcome<()> {
        let channel = channel.to_owned();
        let follow = channel::Follow { channel, name: None, audit: true, timeout_seconds: TIMEOUT_SECONDS.into() };
        self.daemon.ask::<Value>(&Request::Channel(Box::new(channel::Request::Follow(follow)))).await.map(drop)
    }

    /// Offers its adapter to the channel; the proposal's id.
    pub async fn propose(&mut self, adapter: &str) -> Outcome<String> {
        let (channel, adapter) = (CHANNEL.to_owned(), adapter.to_owned());
        let propose = channel::Propose { channel, adapter, weight: 1.0, timeout_seconds: TIMEOUT_SECONDS.into() };
        self.field(&Request::Channel(Box::new(channel::Request::Propose(propose))), "proposal").await
    }

    /// Judges what was proposed, and signs the next version.
    pub async fn release(&mut self, plan: &Plan) -> Outcome<Value> {
        let (channel, threads) = (CHANNEL.to_owned(), plan.settings.threads * plan.volunteers.len());
        let release = channel::Release { channel, timeout_seconds: TIMEOUT_SECONDS.into(), threads };
        self.daemon.ask(&Request::Channel(Box::new(channel::Request::Release(release)))).await
    }

    /// Takes the newest version, and rebuilds it from genesis; the digest that this gives.
    pub async fn update(&mut self, base: &str, version: &str) -> Outcome<String> {
        self.heard(base, &[version.to_owned()]).await?;
        let update = channel::Request::Update { channel: CHANNEL.to_owned(), timeout_seconds: TIMEOUT_SECONDS.into() };
        let taken = self.field(&Request::Channel(Box::new(update)), "version").await?;
        if taken != version {
            let message = format!("`{}` took version {taken}, not {version}", self.skill);
            return Err(Failure::new(Kind::Verification, message));
        }
        self.field(&Request::Verify { id: version.to_owned() }, "digest").await
    }

    async fn field(&mut self, request: &Request, field: &str) -> Outcome<String> {
        let answer: Value = self.daemon.ask(request).await?;
        answer[field]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(Kind::Failed, format!("the daemon's answer has no `{field}`")))
    }
}
