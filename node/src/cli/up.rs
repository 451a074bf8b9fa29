//! `potluck up`

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;

use super::args::Global;
use super::output;
use crate::config;
use crate::daemon::{Daemon, Settings};
use crate::failure::{Failure, Kind, Outcome};

/// Run the daemon: hear of adapters, serve what this node holds, answer the other commands.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    network: Network,
    /// Serve metrics for Prometheus at this address, e.g. 127.0.0.1:7741; a bare port is on this machine alone
    #[arg(long, value_name = "[HOST:]PORT", value_parser = metrics_address)]
    metrics: Option<SocketAddr>,
    /// End when standard input ends: for programs that start a daemon and must not leave it behind
    #[arg(long, hide = true)]
    stop_with_input: bool,
}

/// How this node is on the network.
#[derive(Debug, Args)]
pub struct Network {
    /// Address to listen on; may be given several times
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/0.0.0.0/tcp/7740")]
    listen: Vec<String>,
    /// Peer to connect to at the start; may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Name of the network: nodes of different networks do not meet
    #[arg(long, value_name = "NAME", default_value = "main")]
    network: String,
    /// Find peers on the local network
    #[arg(long)]
    mdns: bool,
}

impl Network {
    pub fn settings(&self) -> Outcome<Settings> {
        let addresses = |texts: &[String]| texts.iter().map(|text| address(text)).collect::<Outcome<Vec<_>>>();
        let network = self.network.parse().map_err(|error| Failure::new(Kind::Usage, format!("--network: {error}")))?;
        Ok(Settings {
            listen: addresses(&self.listen)?,
            bootstrap: addresses(&self.bootstrap)?,
            network,
            mdns: self.mdns,
            metrics: None,
        })
    }
}

fn address(text: &str) -> Outcome<libp2p::Multiaddr> {
    text.parse().map_err(|error| {
        Failure::new(Kind::Usage, format!("`{text}` is no multiaddress: {error}"))
            .hint("e.g. /ip4/192.0.2.7/tcp/7740, or with the peer's id: /ip4/192.0.2.7/tcp/7740/p2p/12D3Koo...")
    })
}

/// A port alone is on the loopback interface: metrics are nobody else's business unless somebody says so.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text.parse().map_err(|_| format!("`{text}` is no address: say 127.0.0.1:7741, or the port alone")),
    }
}

pub async fn run(global: &Global, verb: &Up) -> Outcome<()> {
    let home = config::home(global.home.as_deref())?;
    let settings = Settings { metrics: verb.metrics, ..verb.network.settings()? };
    let mut daemon = Daemon::start(&home, settings).await?;
    daemon.serve_socket()?;
    let ready = daemon.ready().await?;
    if global.json {
        output::json(&ready.to_json());
    } else {
        output::line(&format!("potluck {} is up, home {}", ready.peer, home.display()));
        ready.addresses.iter().for_each(|address| output::line(&format!("listening on {address}")));
        ready.metrics.iter().for_each(|address| output::line(&format!("metrics at http://{address}/metrics")));
        output::line("stop with Ctrl-C");
    }
    let reason = daemon.until_stopped(verb.stop_with_input).await;
    daemon.stop().await;
    reason
}
