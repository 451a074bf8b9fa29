//! A daemon in a process of its own, for what tries a whole network on one machine: the demo and the benchmark.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api::answers::Up;
use crate::api::ask::{Ask, AskStop};
use crate::api::client::Client;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Progress;

/// A running daemon on the loopback interface. Dropping it ends it.
pub struct LocalDaemon {
    pub pid: u32,
    pub home: PathBuf,
    pub peer: String,
    /// Where it listens, with its peer id.
    pub address: String,
    who: String,
    daemon: Child,
    client: Client,
}

impl LocalDaemon {
    /// Starts it with further arguments for `up`, and waits until it listens and answers. `who` stands in errors.
    pub async fn start(who: &str, home: &Path, network: &str, arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(config::program()?);
        command.arg("--home").arg(home).args(["--json", "up", "--stop-with-input", "--network", network]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut daemon = command.spawn().map_err(|error| Failure::io("start a daemon", &error))?;
        let ready = first_line(who, &mut daemon).await?;
        let address = ready.addresses.first().ok_or_else(|| did_not_start(who))?.to_string();
        let client = Client::connect(home).await?.ok_or_else(|| did_not_start(who))?;
        Ok(Self {
            pid: daemon.id().unwrap_or_default(),
            home: home.to_path_buf(),
            peer: ready.peer,
            address,
            who: who.to_owned(),
            daemon,
            client,
        })
    }

    /// One request with its answer.
    pub async fn ask<R: Ask>(&mut self, request: R) -> Outcome<R::Answer> {
        self.call(request, |_| {}).await
    }

    /// One request; its progress goes to `report`.
    pub async fn call<R: Ask>(&mut self, request: R, report: impl FnMut(Progress)) -> Outcome<R::Answer> {
        self.client.call(request, report).await.map_err(|failure| failure.context(self.who.clone()))
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) -> Outcome<()> {
        self.ask(AskStop).await?;
        self.daemon.wait().await.map_err(|error| Failure::io("wait for a daemon", &error))?;
        Ok(())
    }
}

/// The daemon says on its first line where it listens.
async fn first_line(who: &str, daemon: &mut Child) -> Outcome<Up> {
    let stdout = daemon.stdout.take().ok_or_else(|| did_not_start(who))?;
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line).await;
    read.map_err(|error| Failure::io("read from a daemon", &error))?;
    serde_json::from_str(&line).map_err(|_| did_not_start(who))
}

fn did_not_start(who: &str) -> Failure {
    Failure::new(Kind::Failed, format!("the daemon of {who} did not start; what it said stands above"))
}
