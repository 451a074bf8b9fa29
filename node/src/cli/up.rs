//! `potluck up`

use clap::Args;

use super::args::Global;
use super::output;
use crate::config;
use crate::daemon::{Daemon, Settings};
use crate::exchange::{Speed, Speeds};
use crate::failure::{Failure, Kind, Outcome};

/// Run the daemon: hear of adapters, serve what this node holds, answer the other commands.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    network: Network,
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
    /// Send at most so much a second, to all peers together, e.g. 5MB
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    upload_limit: Option<Speed>,
    /// Send at most so much a second to one peer
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    upload_limit_per_peer: Option<Speed>,
    /// Send at most so much a second to the peers of one network (IPv4 /24, IPv6 /56)
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    upload_limit_per_group: Option<Speed>,
    /// Fetch at most so much a second
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    download_limit: Option<Speed>,
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
            speeds: Speeds {
                upload: self.upload_limit,
                upload_per_peer: self.upload_limit_per_peer,
                upload_per_group: self.upload_limit_per_group,
                download: self.download_limit,
            },
        })
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    let bytes = crate::text::parse_bytes(text)?;
    Speed::new(bytes).ok_or_else(|| format!("the least is {} a second", output::bytes(Speed::MIN)))
}

fn address(text: &str) -> Outcome<libp2p::Multiaddr> {
    text.parse().map_err(|error| {
        Failure::new(Kind::Usage, format!("`{text}` is no multiaddress: {error}"))
            .hint("e.g. /ip4/192.0.2.7/tcp/7740, or with the peer's id: /ip4/192.0.2.7/tcp/7740/p2p/12D3Koo...")
    })
}

pub async fn run(global: &Global, verb: &Up) -> Outcome<()> {
    let home = config::home(global.home.as_deref())?;
    let mut daemon = Daemon::start(&home, verb.network.settings()?).await?;
    daemon.serve_socket()?;
    let ready = daemon.ready().await?;
    if global.json {
        output::json(&ready.to_json());
    } else {
        output::line(&format!("potluck {} is up, home {}", ready.peer, home.display()));
        ready.addresses.iter().for_each(|address| output::line(&format!("listening on {address}")));
        output::line("stop with Ctrl-C");
    }
    let reason = daemon.until_stopped(verb.stop_with_input).await;
    daemon.stop().await;
    reason
}
