//! The store: everything that this node keeps, each object once, durable when acknowledged.
//!
//! Goals: a crash or power cut at any instant loses nothing that was acknowledged and shows nothing half; whatever
//! rots on the disk is found by its hash and named. Non-goals: to be asynchronous (callers use `spawn_blocking`), to
//! know peers, to judge content (that is [`potluck_protocol::verify`]'s and the trainer's).
//!
//! The write order, on which all of it rests (`docs/storage.md`):
//!
//! ```text
//! shards: tmp, fsync, rename, fsync folder -> acknowledged; may be served
//! manifest: when all its shards are so far  -> visible
//! state.log: append, fsync                  -> well-formed, pinned, named, numbered
//! index: afterwards, by itself; a lost entry is rebuilt from the files
//! ```

pub(crate) mod durable;
mod error;
mod export;
mod facts;
mod import;
mod index;
mod log;
mod manifests;
mod recipes;
mod shards;
mod space;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::{Result, StoreError};
pub use facts::TemporaryPin;
pub use import::Source;
pub use manifests::Summary;
pub use state::{BaseFile, BaseRecord};

use crate::home::{Home, Layout};
use log::Log;
use shards::Writers;

/// What a person may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Writes that would leave fewer bytes free on the disk are refused; 0 sets no minimum.
    pub min_free_bytes: u64,
}

/// A handle; clones share one store. Blocking: call from a thread that may wait for the disk.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: Home,
    options: Options,
    writers: Mutex<Writers>,
    log: Mutex<Log>,
    held: facts::Held,
}

/// A thread that panicked while it held one of our locks left the value whole: each is changed after its file only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the store of a home with the default [`Options`].
    pub fn open(home: &Home) -> Result<Self> {
        Self::open_with(home, Options::default())
    }

    /// Opens the store of a home: reads `state.log`, checks the index and rebuilds it at any doubt.
    pub fn open_with(home: &Home, options: Options) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            home: home.clone(),
            options,
            writers: Mutex::default(),
            log: Mutex::default(),
            held: facts::Held::default(),
        })))
    }

    /// Where the store's files are.
    pub fn layout(&self) -> &Layout {
        self.0.home.layout()
    }
}
