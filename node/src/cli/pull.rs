//! `potluck pull`

use std::path::PathBuf;

use clap::Args;

use super::global::Global;
use super::network_flags::Network;
use super::{ask::ask_online, output};
use crate::api::answers::Pulled;
use crate::api::ask::Ask;
use crate::api::proto;
use crate::config;
use crate::failure::Outcome;
use crate::seconds::Seconds;

/// Fetch an adapter from peers, check it, and write it as a PEFT folder.
///
/// The adapter's base must be here (`potluck base add`): names, shapes and values are checked against it. Otherwise
/// nothing is fetched, unless --without-base is given.
///
/// A base can be fetched too, by the id of its manifest: its files are checked against the base id that the manifest
/// states, and then the base is known here.
#[derive(Debug, Args)]
pub struct Pull {
    /// Adapter, or manifest id of a base: id, or a name or start of an id that this node has heard of
    #[arg(value_name = "REF")]
    reference: String,
    /// Folder to write [default: inside the home folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the folder even if the adapter's base is not here, for another program such as PEFT or llama.cpp. The
    /// adapter is not checked against its base, and this node neither runs nor announces it
    #[arg(long, requires = "out")]
    without_base: bool,
    /// Time limit for finding providers, and for waiting for data
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Network options, used if no daemon runs on this home
    #[command(flatten)]
    network: Network,
}

pub async fn run(global: &Global, verb: &Pull) -> Outcome<()> {
    let request = proto::Pull {
        reference: verb.reference.clone(),
        out: verb.out.as_deref().map(config::absolute).transpose()?,
        without_base: verb.without_base,
        timeout_seconds: verb.timeout,
    };
    let answer = ask_online(global, request, &verb.network).await?;
    output::answer(global, proto::Pull::SCHEMA, &answer, |pulled, _| render(pulled))
}

fn render(pulled: &Pulled) -> Vec<String> {
    let (bytes, peers) = (output::bytes(pulled.fetched_bytes), pulled.fetched_from.len());
    let s = if peers == 1 { "" } else { "s" };
    let mut lines = vec![format!("{} {}: {bytes} from {peers} peer{s}", pulled.name, pulled.manifest)];
    lines.extend(
        pulled
            .not_held_against
            .map(|base| format!("its base {base} is not here: names, shapes and values were not checked against it")),
    );
    lines.push(pulled.folder.display().to_string());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answers::PulledFrom;
    use crate::cli::snapshots::{base, check, manifest};

    #[test]
    fn what_is_seen() {
        let pulled = Pulled {
            manifest: manifest("m"),
            name: "sql-helper".to_owned(),
            folder: "/home/me/sql-helper".into(),
            fetched_bytes: 206_336,
            fetched_from: vec![PulledFrom { peer: "12D3KooW".to_owned(), bytes: 206_336 }],
            base: None,
            not_held_against: None,
        };
        check("pull", |_| render(&pulled));
        let here = Pulled { fetched_bytes: 0, fetched_from: Vec::new(), ..pulled.clone() };
        check("pull-nothing-was-missing", |_| render(&here));
        let apart = Pulled { not_held_against: Some(base("other")), ..pulled.clone() };
        check("pull-without-base", |_| render(&apart));
    }
}
