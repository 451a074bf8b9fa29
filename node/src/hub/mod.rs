//! Bases from the Hugging Face Hub: `OWNER/NAME` or `OWNER/NAME@REVISION`.
//!
//! Goals: the files land in the hub's own cache, in its own layout, so that what other programs fetched is used and the
//! other way round; one commit is fixed first, so that files of two never mix; whatever the server says is bounded and
//! checked before it is believed, paths above all; an interrupted file is gone on with; only configuration, tokenizer,
//! template and safetensors are fetched, never a pickle. Non-goals: uploads, datasets, quantised repositories.
//!
//! Names and layout of the cache are `hf-hub`'s. Its client is not used: it waits without end for a server that stands
//! still, takes `etag` and commit for parts of a path unseen, panics at a redirect without a place, and calls a file
//! whole without counting it (docs/decisions/0012).
//!
//! ```text
//! HubId -> client: commit and file names -> select -> place and size of each -> room? -> download -> snapshot folder
//! ```

mod cache;
mod client;
mod download;
mod error;
mod id;
mod limits;
mod select;

use std::path::PathBuf;

pub use cache::name_of;
pub use error::HubError;
pub use id::HubId;

use cache::Snapshot;
use client::{Client, Remote};

/// Where the hub and its cache are, and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://huggingface.co`, or a mirror: no slash at its end.
    pub endpoint: String,
    /// The folder with `models--OWNER--NAME`.
    pub cache: PathBuf,
    /// Sent to the endpoint and to nobody else.
    pub token: Option<String>,
}

/// Whether what an earlier run fetched will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The hub is asked which commit the revision is now.
    Ask,
    /// A whole snapshot of the revision is taken without asking.
    Cached,
}

/// The folder of a base's files: fetches what is missing. `report` hears of bytes done and in all.
pub fn fetch(
    id: &HubId,
    settings: &Settings,
    fresh: Fresh,
    mut report: impl FnMut(u64, u64),
) -> Result<PathBuf, HubError> {
    if fresh == Fresh::Cached
        && let Some(folder) = cache::whole(settings, id)
    {
        return Ok(folder);
    }
    let client = Client::new(settings, id)?;
    let repository = client.repository()?;
    let snapshot = Snapshot::open(settings, id, &repository.commit)?;
    let names = select::names(id, &repository.files, |index| {
        let remote = client.remote(&repository.commit, index)?;
        download::all(&client, &snapshot, std::slice::from_ref(&remote), &mut |_, _| {})?;
        snapshot.read(index, limits::INDEX_MAX)
    })?;
    let remotes =
        names.iter().map(|name| client.remote(&repository.commit, name)).collect::<Result<Vec<Remote>, _>>()?;
    download::all(&client, &snapshot, &remotes, &mut report)?;
    snapshot.point_to(id)?;
    Ok(snapshot.into_folder())
}
