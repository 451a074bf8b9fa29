//! Bases from the Hugging Face Hub: `OWNER/NAME` or `OWNER/NAME@REVISION` ([docs/hub.md](../../../docs/hub.md)).
//!
//! Goals: the files land in the hub's own cache, in its own layout and under its own locks, so that what other programs
//! fetched is used and the other way round; the same variables mean the same; one commit is fixed first, so that files of
//! two never mix; whatever the server says is bounded and checked before it is believed, paths above all; what lies in the
//! cache is checked as what is fetched; an interrupted file is gone on with; only configuration, tokenizer, template and
//! safetensors are fetched, never a pickle. Non-goals: uploads, datasets, quantised repositories.
//!
//! The crate `hf-hub` is not used: its client waits without end for a server that stands still, takes `etag` and commit for
//! parts of a path unseen, panics at a redirect without a place, and calls a file whole without counting it; it knows one of
//! the variables (docs/decisions/0012).
//!
//! ```text
//! HubId -> look: is it whole in the cache? -> client: commit and file names -> select -> place and size of each
//!       -> cache: what is here and right -> room? -> download -> digest -> snapshot folder
//! ```

mod endpoint;
mod settings;
mod proxies;
mod token;
mod id;
mod limits;
mod talk;
mod error;
mod hints;
mod page;
mod digest;
mod link;
mod cache;
mod look;
mod retry;
mod answer;
mod agent;
mod client;
mod select;
mod download;

use std::path::PathBuf;

pub use cache::name_of;
pub use error::HubError;
pub use id::HubId;
pub use settings::{Settings, SettingsError, VARIABLES, read as read_settings};
pub use talk::{Event, Talk};

use cache::Snapshot;
use client::{Client, Remote};
use look::{Here, Look, look};

/// Whether what an earlier run fetched will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The hub is asked which commit the revision is now, and everything is hashed.
    Ask,
    /// A whole snapshot of the revision is taken without asking; what was hashed before and has not changed is not again.
    Cached,
}

/// The folder of a base's files: fetches what is missing or wrong.
pub fn fetch(id: &HubId, settings: &Settings, fresh: Fresh, talk: &Talk) -> Result<PathBuf, HubError> {
    if let Some(variable) = settings.offline {
        return match look(settings, id, fresh, talk)? {
            Look::Lacking(reason) => Err(HubError::Offline { id: id.to_string(), reason, variable }),
            Look::Here(here) => Ok(taken(here, talk)),
        };
    }
    if fresh == Fresh::Cached
        && let Look::Here(here) = look(settings, id, fresh, talk)?
        && here.unknown.is_empty()
    {
        return Ok(here.folder);
    }
    let error = match from_hub(id, settings, fresh, talk) {
        Err(error) if fresh == Fresh::Cached || error.is_away() => error,
        decided => return decided,
    };
    talk.go_on()?;
    match look(settings, id, fresh, talk)? {
        Look::Lacking(_) => Err(error),
        Look::Here(here) => {
            talk.note(format!("{error}; {id} is taken from the cache as it was fetched last"));
            Ok(taken(here, talk))
        }
    }
}

/// What the hub could not be asked about is said.
fn taken(here: Here, talk: &Talk) -> PathBuf {
    if !here.unknown.is_empty() {
        let unknown = here.unknown.join(", ");
        talk.note(format!("not in the cache, though the repository may have it: {unknown}; the base is used without"));
    }
    here.folder
}

fn from_hub(id: &HubId, settings: &Settings, fresh: Fresh, talk: &Talk) -> Result<PathBuf, HubError> {
    let client = Client::new(settings, id, talk)?;
    let repository = client.repository()?;
    let snapshot = Snapshot::at(settings, talk, fresh, id, &repository.commit);
    snapshot.create()?;
    let names = select::names(id, &repository.files, |index| {
        let remote = client.remote(&repository.commit, index)?;
        download::all(&client, &snapshot, std::slice::from_ref(&remote), talk)?;
        snapshot.read(index, limits::INDEX_MAX)
    })?;
    let remotes =
        names.iter().map(|name| client.remote(&repository.commit, name)).collect::<Result<Vec<Remote>, _>>()?;
    download::all(&client, &snapshot, &remotes, talk)?;
    let lacking = select::HELPFUL.into_iter().filter(|name| !repository.files.iter().any(|file| file == name));
    lacking.for_each(|name| snapshot.note_lacking(name));
    snapshot.note_templates(&repository.files);
    snapshot.point_to(id)?;
    Ok(snapshot.folder().to_path_buf())
}
