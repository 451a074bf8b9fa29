//! stub
use crate::store::Store;
use crate::store::error::Result;
use crate::store::manifests::Summary;
use potluck_protocol::announce::Announcement;
use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::signed::Authentic;
impl Store {
    pub(crate) fn index_shards(&self, _: impl Iterator<Item = (ShardId, u32)>) {}
    pub(crate) fn unindex_shard(&self, _: &ShardId) {}
    pub(crate) fn index_manifest(&self, _: &Summary) {}
    pub(crate) fn unindex_manifest(&self, _: &ManifestId) {}
    /// All manifests of the store, sorted by id.
    pub fn manifests(&self) -> Result<Vec<Summary>> {
        Ok(Vec::new())
    }
    /// Remembers an announcement. `false` if a newer one of that publisher for that manifest is known, or the
    /// publisher has too many.
    pub fn hear(&self, _: &Authentic<Announcement>) -> Result<bool> {
        Ok(true)
    }
    /// Every announcement heard, newest of each publisher and manifest.
    pub fn heard(&self) -> Result<Vec<Authentic<Announcement>>> {
        Ok(Vec::new())
    }
}
