//! `potluck base add|ls|show`, and how references are written.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use potluck_protocol::id::BaseId;
use serde::Deserialize;
use serde_json::Value;

use super::args::Global;
use super::progress::Shown;
use super::run::{ask, ask_online};
use super::{output, up};
use crate::api::proto::{BaseFetch, Progress, Request, Unit, WeightedRef};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::hub::{self, Fresh, HubId};

/// Bases that this node knows.
#[derive(Debug, Subcommand)]
pub enum Base {
    /// Check a base whole and remember it: files of this machine, the hub's, or by its id from the swarm
    Add(Box<Add>),
    /// List them
    Ls,
    /// Show one
    Show {
        #[arg(value_name = "REF")]
        base: String,
    },
}

/// Check a base whole and remember it.
///
/// Files of this machine stay where they are. OWNER/NAME is fetched from the Hugging Face Hub into its own cache
/// (HF_ENDPOINT, HF_HOME and HF_TOKEN are honoured), safetensors only. A base id is looked for in the swarm: whoever
/// published that base with `potluck publish --base`; its files are held against the id before they are used.
#[derive(Debug, Args)]
pub struct Add {
    /// A Hugging Face folder (safetensors), a .gguf file, OWNER/NAME[@REVISION], or a base id (64 hex digits)
    #[arg(value_name = "PATH|OWNER/NAME|ID")]
    what: String,
    /// A name for it [default: the file's, the folder's, the hub's or the publisher's]
    #[arg(long)]
    name: Option<String>,
    /// From the swarm: how long to look for it and to wait for bytes
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    /// Used for a base id if no daemon runs on this home
    #[command(flatten)]
    network: up::Network,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    base: String,
    place: String,
    architecture: String,
    parameters: u64,
}

#[derive(Deserialize)]
struct Listed {
    bases: Vec<Described>,
}

pub async fn run(global: &Global, verb: &Base) -> Outcome<()> {
    let answer = match verb {
        Base::Add(add) => add.run(global).await?,
        Base::Ls => {
            return output::answer(global, ask(global, &Request::BaseList).await?, |listed: Listed| {
                let rows: Vec<_> =
                    listed.bases.into_iter().map(|base| vec![base.name, short(&base.base), base.place]).collect();
                output::table(&["name", "base id", "place"], &rows)
            });
        }
        Base::Show { base } => ask(global, &Request::BaseShow { base: reference(global, base)? }).await?,
    };
    output::answer(global, answer, |base: Described| {
        vec![
            format!("{}  {}, {} parameters", base.name, base.architecture, base.parameters),
            format!("at {}", base.place),
            base.base,
        ]
    })
}

impl Add {
    async fn run(&self, global: &Global) -> Outcome<Value> {
        let path = Path::new(&self.what);
        if !path.exists() && self.what.parse::<BaseId>().is_ok() {
            let fetch = BaseFetch { base: self.what.clone(), name: self.name.clone(), timeout_seconds: self.timeout };
            return ask_online(global, &Request::BaseFetch(fetch), &self.network).await;
        }
        let (path, name) = match hub_id(&self.what) {
            // Asked for anew, the hub is asked what is newest.
            Some(id) => (from_hub(global, &id, Fresh::Ask)?, Some(id.name().to_owned())),
            None => (config::absolute(path)?, None),
        };
        let name = self.name.clone().or(name);
        ask(global, &Request::BaseAdd { path, name }).await
    }
}

/// A text that names no file here and is written as the hub's ids are. A GGUF file that is not there is a typing mistake.
fn hub_id(text: &str) -> Option<HubId> {
    if Path::new(text).exists() || text.ends_with(".gguf") { None } else { text.parse().ok() }
}

/// The folder of a base of the hub; what is missing is fetched, here and not in the daemon: the environment and the
/// terminal are this command's.
fn from_hub(global: &Global, id: &HubId, fresh: Fresh) -> Outcome<PathBuf> {
    let mut shown = Shown::new(global);
    shown.report(Progress::Phase { text: format!("base {id}, from the hub or its cache") });
    let report = |done, total| {
        shown.report(Progress::Count { what: id.to_string(), done, total, unit: Unit::Bytes });
    };
    Ok(hub::fetch(id, &config::hub()?, fresh, report)?)
}

/// A base that a person named, as the service takes it: a path is made absolute, a hub id becomes the folder of its files.
pub fn reference(global: &Global, text: &str) -> Outcome<String> {
    match hub_id(text) {
        Some(id) => absolute_reference(&from_hub(global, &id, Fresh::Cached)?.to_string_lossy()),
        None => absolute_reference(text),
    }
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A reference that is a path is made absolute, so that the daemon finds it; every other one stays as it is.
pub fn absolute_reference(reference: &str) -> Outcome<String> {
    let path = Path::new(reference);
    if !path.exists() && !reference.contains(std::path::MAIN_SEPARATOR) {
        return Ok(reference.to_owned());
    }
    let absolute = config::absolute(path)?;
    let text = absolute.to_str().ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the path {} is not UTF-8", absolute.display()))
            .hint("rename it, or link to it")
    })?;
    Ok(text.to_owned())
}

/// `REF@WEIGHT` or `REF`, which weighs 1.
pub fn weighted_references(texts: &[String]) -> Outcome<Vec<WeightedRef>> {
    texts.iter().map(|text| weighted_reference(text)).collect()
}

fn weighted_reference(text: &str) -> Outcome<WeightedRef> {
    let (reference, weight) = match text.rsplit_once('@') {
        Some((reference, weight)) => {
            let weight: f64 = weight.parse().ok().filter(|weight: &f64| weight.is_finite()).ok_or_else(|| {
                Failure::new(Kind::Usage, format!("`{weight}` in `{text}` is no weight")).hint("e.g. `sql-helper@0.5`")
            })?;
            (reference, weight)
        }
        None => (text, 1.0),
    };
    Ok(WeightedRef { reference: absolute_reference(reference)?, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_hub_id() {
        let name = |text: &str| hub_id(text).map(|id| id.to_string());
        assert_eq!(name("owner/name@v1").as_deref(), Some("owner/name@v1"));
        // `src/lib.rs` is there; the others are paths, ids and names.
        for text in ["src/lib.rs", "models/x.gguf", "./a/b", "/a/b", "../a", "tiny", &"ab".repeat(32)] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn a_weight_follows_the_last_at_sign() {
        let parse = |text: &str| weighted_reference(text).map(|r| (r.reference, r.weight));
        assert_eq!(parse("sql"), Ok(("sql".into(), 1.0)));
        assert_eq!(parse("sql@0.5"), Ok(("sql".into(), 0.5)));
        assert_eq!(parse("sql@-2"), Ok(("sql".into(), -2.0)));
        for wrong in ["sql@", "sql@x", "sql@nan", "sql@inf"] {
            assert_eq!(parse(wrong).map_err(|failure| failure.kind), Err(Kind::Usage), "{wrong}");
        }
    }
}
