//! `potluck base add`: from this machine, from the hub, from the swarm.

use std::path::Path;

use clap::Args;
use potluck_protocol::text::Name;

use super::super::ask::{ask, ask_online};
use super::super::global::Global;
use super::super::network_flags::Network;
use super::super::output;
use super::super::references::{self, from_hub, hub_id};
use super::show::render;
use crate::api::ask::Ask;
use crate::api::proto::{BaseAdd, BaseFetch};
use crate::config;
use crate::failure::Outcome;
use crate::hub::{Fresh, HubId};
use crate::naming;
use crate::seconds::Seconds;

/// Check a base completely and remember it.
///
/// Local files stay where they are. OWNER/NAME is fetched from the Hugging Face Hub into its own cache, safetensors
/// only (HF_TOKEN, HF_HOME, HF_ENDPOINT and others work as usual: docs/hub.md). A base id, or the start of a known one,
/// is fetched from peers that published the base with `potluck publish --base`; its files are checked against the id
/// before they are used.
#[derive(Debug, Args)]
pub struct Add {
    /// A Hugging Face folder (safetensors), a .gguf file, OWNER/NAME[@REVISION], or a base id
    #[arg(value_name = "PATH|OWNER/NAME|ID")]
    what: String,
    /// Name [default: that of the file, folder, hub repository or publication]
    #[arg(long)]
    name: Option<String>,
    /// Base of which this is a quantised file; channels of that base can then be used with it. Compared tensor by
    /// tensor if that base is here, not checked otherwise
    #[arg(long, value_name = "REF")]
    view_of: Option<String>,
    /// From peers: time limit for finding it, and for waiting for data
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Used for a base id if no daemon runs on this home
    #[command(flatten)]
    network: Network,
}

impl Add {
    pub async fn run(&self, global: &Global) -> Outcome<()> {
        let path = Path::new(&self.what);
        let own = self.name.as_deref().map(naming::own).transpose()?;
        if !path.exists() && naming::digits(&self.what).is_some() {
            let fetch = BaseFetch { base: self.what.clone(), name: self.name.clone(), timeout_seconds: self.timeout };
            let base = ask_online(global, fetch, &self.network).await?;
            return output::answer(global, BaseFetch::SCHEMA, &base, |base, _| render(base));
        }
        let (path, name) = match hub_id(&self.what) {
            Some(id) => {
                // Judged before gigabytes come.
                let name = own.map_or_else(|| default_name(&id), Ok)?;
                // Asked for anew, the hub is asked what is newest.
                (from_hub(global, &id, Fresh::Ask)?, Some(name))
            }
            None => (config::absolute(path)?, own),
        };
        let name = name.map(|name| name.to_string());
        let view_of = self.view_of.as_deref().map(|text| references::base(global, text)).transpose()?;
        let base = ask(global, BaseAdd { path, name, view_of }).await?;
        output::answer(global, BaseAdd::SCHEMA, &base, |base, _| render(base))
    }
}

/// What the base is called if nobody says otherwise.
fn default_name(id: &HubId) -> Outcome<Name> {
    naming::own(id.name())
        .map_err(|failure| failure.context("the repository gives no name").hint("give one with --name"))
}
