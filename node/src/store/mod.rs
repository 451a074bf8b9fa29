//! The store: everything that this node keeps, each object once, durable when acknowledged.
//!
//! Goals: a crash or power cut at any instant loses nothing that was acknowledged and shows nothing half; whatever
//! rots on the disk is found by its hash and named. Non-goals: to be asynchronous (callers use `spawn_blocking`), to
//! know peers, to judge content (that is [`potluck_protocol::verify`]'s and the trainer's).
//!
//! The write order, on which all of it rests (`docs/storage.md`):
//!
//! ```text
//! shards: staged, fsync, rename, fsync folder -> acknowledged; may be served
//! manifest: when all its shards are so far  -> visible
//! state.log: append, fsync                  -> well-formed, pinned, named, numbered
//! index: afterwards, by itself; a lost entry is rebuilt from the files
//! ```

pub(crate) mod durable;
mod error;
mod export;
mod facts;
mod frame;
mod heard;
mod import;
mod index;
mod listing;
mod log;
mod manifest_file;
mod manifests;
mod presence;
mod rebuild;
mod recipes;
mod scan;
mod sealed;
mod shards;
mod space;
mod staged;
mod stat;
mod state;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use std::sync::{Arc, Mutex};

pub use error::{Result, StoreError};
pub use export::Note;
pub use facts::TemporaryPin;
pub use import::Source;
pub use manifest_file::Summary;
pub use presence::Lacking;
pub use sealed::SealedShard;
pub use staged::StagedShards;
pub use stat::{Held, Stat};
pub use state::{BaseFile, BaseRecord, BaseShapes, ChannelRecord, Halt, Promise};
pub use verify::{Incomplete, Report};

use crate::home::{Home, Layout};
use crate::lock::lock;
use listing::Lists;
use log::Log;
use shards::Writers;
use space::Space;

/// What a person may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Writes that would leave fewer bytes free on the disk are refused; 0 sets no minimum.
    pub min_free_bytes: u64,
    /// Open even if `state.log` is damaged in its middle, keeping the records that can be read.
    pub salvage_state: bool,
}

/// What had to be mended when the store was opened; nothing after an orderly end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes at the end of `state.log` that were no whole record: an append that was never acknowledged.
    pub state_log_cut: Option<u64>,
    /// Why the index was built anew.
    pub index_doubt: Option<String>,
    /// Shards that the process before had received and not yet made durable.
    pub adopted_shards: usize,
}

/// A handle; clones share one store. Blocking: call from a thread that may wait for the disk.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: Home,
    writers: Mutex<Writers>,
    log: Mutex<Log>,
    held: facts::Held,
    lists: Lists,
    space: Space,
    recovery: Recovery,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // While the home is still locked.
        self.lists.close();
    }
}

impl Store {
    /// Opens the store of a home with the default [`Options`].
    pub fn open(home: &Home) -> Result<Self> {
        Self::open_with(home, Options::default())
    }

    /// Opens the store of a home: reads `state.log`, checks the index and rebuilds it at any doubt.
    pub fn open_with(home: &Home, options: Options) -> Result<Self> {
        let layout = home.layout();
        let log = Log::open(layout, options.salvage_state)?;
        let (lists, index_doubt) = Lists::open(layout);
        let recovery = Recovery { state_log_cut: log.lost(), index_doubt, adopted_shards: 0 };
        let inner = Inner {
            home: home.clone(),
            writers: Mutex::default(),
            log: Mutex::new(log),
            held: facts::Held::default(),
            lists,
            space: Space::new(layout.root().to_path_buf(), options.min_free_bytes),
            recovery,
        };
        let mut store = Self(Arc::new(inner));
        let adopted = store.adopt_staged()?;
        if let Some(inner) = Arc::get_mut(&mut store.0) {
            inner.recovery.adopted_shards = adopted;
        }
        Ok(store)
    }

    /// What had to be mended when this store was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.0.recovery
    }

    /// What stays free on the disk, see [`Options::min_free_bytes`].
    pub fn min_free_bytes(&self) -> u64 {
        self.0.space.min_free()
    }

    /// Where the store's files are.
    pub fn layout(&self) -> &Layout {
        self.0.home.layout()
    }
}
