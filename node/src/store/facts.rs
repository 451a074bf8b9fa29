//! Pins, names, sequence numbers and added bases: what `state.log` keeps, as operations of the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::text::Name;

use crate::store::error::Result;
use crate::store::state::{BaseRecord, Record};
use crate::store::{Store, lock};

/// Manifests held by running work, each with the number of its [`TemporaryPin`]s.
pub(crate) type Held = Arc<Mutex<BTreeMap<ManifestId, usize>>>;

/// Keeps collection off a manifest and its shards, stored or still being fetched, until dropped. // I9
#[derive(Debug)]
pub struct TemporaryPin {
    id: ManifestId,
    held: Held,
}

impl Drop for TemporaryPin {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.id);
            }
        }
    }
}

impl Store {
    /// Writes a fact durably, unless it is known already.
    pub(crate) fn record(&self, record: Record) -> Result<()> {
        let mut log = lock(&self.0.log);
        if log.state().holds(&record) { Ok(()) } else { log.append(record) }
    }

    /// A number for this publisher's next announcement: higher than any before, durable before it is returned, so that
    /// no crash makes one be used twice. Some may be skipped.
    pub fn next_sequence(&self) -> Result<u64> {
        let mut log = lock(&self.0.log);
        let next = log.state().sequence + 1;
        log.append(Record::Sequence(next))?;
        Ok(next)
    }

    pub fn pin(&self, id: ManifestId) -> Result<()> {
        self.record(Record::Pin(id))
    }

    pub fn unpin(&self, id: ManifestId) -> Result<()> {
        self.record(Record::Unpin(id))
    }

    pub fn pins(&self) -> Vec<ManifestId> {
        lock(&self.0.log).state().pins.iter().copied().collect()
    }

    /// Holds a manifest for as long as the guard lives; not durable.
    pub fn pin_temporarily(&self, id: ManifestId) -> TemporaryPin {
        *lock(&self.0.held).entry(id).or_default() += 1;
        TemporaryPin { id, held: Arc::clone(&self.0.held) }
    }

    /// Manifests that a [`TemporaryPin`] holds.
    pub fn temporary_pins(&self) -> Vec<ManifestId> {
        lock(&self.0.held).keys().copied().collect()
    }

    /// Gives a manifest a name on this machine; a name that is taken moves.
    pub fn set_name(&self, name: Name, id: ManifestId) -> Result<()> {
        self.record(Record::Named(name, id))
    }

    pub fn remove_name(&self, name: Name) -> Result<()> {
        self.record(Record::Unnamed(name))
    }

    pub fn named(&self, name: &Name) -> Option<ManifestId> {
        lock(&self.0.log).state().names.get(name).copied()
    }

    pub fn names(&self) -> Vec<(Name, ManifestId)> {
        lock(&self.0.log).state().names.iter().map(|(name, id)| (name.clone(), *id)).collect()
    }

    /// Remembers a base that was added from this machine's files; one of the same id is replaced.
    pub fn add_base(&self, base: BaseRecord) -> Result<()> {
        self.record(Record::Base(base))
    }

    pub fn forget_base(&self, id: BaseId) -> Result<()> {
        self.record(Record::ForgetBase(id))
    }

    pub fn base(&self, id: &BaseId) -> Option<BaseRecord> {
        lock(&self.0.log).state().bases.get(id).cloned()
    }

    pub fn bases(&self) -> Vec<BaseRecord> {
        lock(&self.0.log).state().bases.values().cloned().collect()
    }
}
