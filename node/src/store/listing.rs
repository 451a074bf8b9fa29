//! Lists and totals: read from the index, from the files where there is none, and kept up to date here.
//!
//! Every update comes after the files are durable. One that fails is no error of the caller's: the next read finds the
//! index in doubt, or the next start finds it unclosed, and it is built anew.

use potluck_protocol::announce::Announcement;
use potluck_protocol::catalogue::{Key, Record};
use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::signed::Authentic;

use crate::store::Store;
use crate::store::error::Result;
use crate::store::manifests::Summary;
use crate::store::rebuild::scan_manifests;

impl Store {
    /// All manifests of the store, sorted by id.
    pub fn manifests(&self) -> Result<Vec<Summary>> {
        self.with_index(|index| index.manifests()).map_or_else(|| scan_manifests(self.layout()), Ok)
    }

    /// Keeps an announcement. `false` if a newer one of its key is kept, or as many as a catalogue has.
    #[cfg(test)]
    pub fn hear(&self, announcement: &Authentic<Announcement>) -> bool {
        self.with_index(|index| index.heard.put(announcement)).unwrap_or(false)
    }

    /// Makes what is kept of the catalogue what it is now: forgets some keys, then keeps some records.
    pub fn save_announcements(&self, gone: &[Key], new: &[Record]) {
        self.with_index(|index| {
            gone.iter().try_for_each(|key| index.heard.forget(key))?;
            new.iter().try_for_each(|record| index.heard.put(record).map(drop))
        });
    }

    /// The announcements of the catalogue, by base and publisher. Not durable: what is lost is heard again.
    pub fn heard(&self) -> Vec<Authentic<Announcement>> {
        self.with_index(|index| index.heard.all()).unwrap_or_default()
    }

    pub(crate) fn index_shards(&self, shards: &[(ShardId, u32)]) {
        self.with_index(|index| shards.iter().try_for_each(|(id, len)| index.put_shard(id, *len)));
    }

    pub(crate) fn unindex_shard(&self, id: &ShardId) {
        self.with_index(|index| index.remove_shard(id));
    }

    pub(crate) fn index_manifest(&self, summary: &Summary) {
        self.with_index(|index| index.put_manifest(summary));
    }

    pub(crate) fn unindex_manifest(&self, id: &ManifestId) {
        self.with_index(|index| index.remove_manifest(id));
    }
}
