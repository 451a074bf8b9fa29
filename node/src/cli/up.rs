//! `potluck up`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::Args;

use super::global::Global;
use super::network_flags::{Network, Stay};
use super::{output, progress};
use crate::api::answers;
use crate::config;
use crate::daemon::{Daemon, Settings};
use crate::failure::Outcome;

/// Run the daemon: receive announcements, serve this node's files, and answer the other commands.
#[derive(Debug, Args)]
#[command(
    after_help = "What happens is logged on standard error: warnings by default, more with the environment variable \
    POTLUCK_LOG, e.g. POTLUCK_LOG=info or POTLUCK_LOG=warn,potluck_node=debug"
)]
pub struct Up {
    #[command(flatten)]
    network: Network,
    /// Serve metrics for Prometheus at this address, e.g. 127.0.0.1:7741; a port alone listens on this machine only
    #[arg(long, value_name = "[HOST:]PORT", value_parser = metrics_address)]
    metrics: Option<SocketAddr>,
    /// Stop when standard input is closed: for programs that start a daemon
    #[arg(long, hide = true)]
    stop_with_input: bool,
}

/// A port alone is on the loopback interface: metrics are nobody else's business unless somebody says so.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => {
            text.parse().map_err(|_| format!("`{text}` is not an address: give 127.0.0.1:7741, or the port alone"))
        }
    }
}

pub async fn run(global: &Global, verb: &Up) -> Outcome<()> {
    let home = config::home(global.home.as_deref())?;
    let settings = Settings { metrics: verb.metrics, ..verb.network.settings(Stay::Daemon)? };
    let mut daemon = Daemon::start(&home, settings).await?;
    daemon.serve_socket()?;
    let ready = daemon.ready().await?;
    let answer = answers::Up {
        pid: std::process::id(),
        peer: ready.peer.to_string(),
        addresses: ready.addresses,
        metrics: ready.metrics,
    };
    output::answer(global, answers::Up::SCHEMA, &answer, |up, _| render(up, &home))?;
    daemon.until_stopped(verb.stop_with_input).await;
    let working = daemon.at_work();
    if working > 0 && !global.quiet {
        let jobs = if working == 1 { "job" } else { "jobs" };
        progress::note(&format!("stopping {working} {jobs}; what is done is saved"));
    }
    daemon.stop().await;
    Ok(())
}

fn render(up: &answers::Up, home: &Path) -> Vec<String> {
    let mut lines = vec![format!("potluck {} is up, home {}", up.peer, home.display())];
    lines.extend(up.addresses.iter().map(|address| format!("listening on {address}")));
    lines.extend(up.metrics.iter().map(|address| format!("metrics at http://{address}/metrics")));
    lines.push("stop with Ctrl-C".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::check;

    #[test]
    fn what_is_seen() {
        let up = answers::Up {
            pid: 7,
            peer: "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo".to_owned(),
            addresses: vec!["/ip4/192.0.2.7/tcp/7740".parse().expect("an address")],
            metrics: Some(([127, 0, 0, 1], 7741).into()),
        };
        check("up", |_| render(&up, Path::new("/home/me/potluck")));
        let quiet = answers::Up { addresses: Vec::new(), metrics: None, ..up };
        check("up-without-addresses", |_| render(&quiet, Path::new("/home/me/potluck")));
    }
}
