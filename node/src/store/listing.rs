//! Lists and totals: read from the index, from the files where there is none, and kept up to date here.
//!
//! Every update comes after the files are durable. One that fails is no error of the caller's: the next read finds the
//! index in doubt, or the next start finds it unclosed, and it is built anew.

use std::sync::{PoisonError, RwLock};

use potluck_protocol::announce::Announcement;
use potluck_protocol::catalogue::{Key, Record};
use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::signed::Authentic;

use crate::home::Layout;
use crate::lock;
use crate::store::error::Result;
use crate::store::index::{Doubt, Index};
use crate::store::manifest_file::Summary;
use crate::store::rebuild::{build, close, open, scan_manifests, scan_shards};

/// What a home's files are listed in.
#[derive(Debug)]
pub(crate) struct Lists {
    layout: Layout,
    /// `None` while no index can be had. Locked after the store's writers, never the other way round.
    index: RwLock<Option<Index>>,
}

impl Lists {
    /// With the index of a home, and why it had to be built anew, if so.
    pub fn open(layout: &Layout) -> (Self, Option<String>) {
        let (index, doubt) = open(layout);
        (Self { layout: layout.clone(), index: RwLock::new(index) }, doubt)
    }

    /// Closes the index, so that the next start believes it.
    pub fn close(&mut self) {
        let index = self.index.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = index.map(|index| close(&self.layout, index)) {
            tracing::warn!(%error, "the index could not be closed: it is built anew at the next start");
        }
    }

    /// Throws the index away and builds it from the files.
    pub fn rebuild(&self) -> Result<()> {
        let mut slot = lock::write(&self.index);
        let old = slot.take();
        *slot = Some(build(&self.layout, old)?);
        Ok(())
    }

    /// Every manifest that is here with all its shards.
    pub fn manifests(&self) -> Result<Vec<Summary>> {
        self.ask(|index| index.manifests()).map_or_else(|| scan_manifests(&self.layout), Ok)
    }

    /// Shards, and their bytes.
    pub fn shard_totals(&self) -> Result<(u64, u64)> {
        if let Some(totals) = self.ask(|index| index.shard_totals()) {
            return Ok(totals);
        }
        let shards = scan_shards(&self.layout)?;
        Ok(shards.iter().fold((0, 0), |(n, sum), (_, len)| (n + 1, sum + u64::from(*len))))
    }

    /// The announcements that are kept.
    pub fn announcements(&self) -> Vec<Authentic<Announcement>> {
        self.ask(|index| index.heard.all()).unwrap_or_default()
    }

    /// How many announcements are kept.
    pub fn announcement_count(&self) -> usize {
        self.ask(|index| Ok(index.heard.len())).unwrap_or_default()
    }

    /// Forgets some announcements, then keeps some.
    pub fn save_announcements(&self, gone: &[Key], new: &[Record]) {
        self.ask(|index| {
            gone.iter().try_for_each(|key| index.heard.forget(key))?;
            new.iter().try_for_each(|record| index.heard.put(record).map(drop))
        });
    }

    /// Keeps an announcement; `false` if a newer one is there.
    #[cfg(test)]
    pub fn put_announcement(&self, announcement: &Authentic<Announcement>) -> bool {
        self.ask(|index| index.heard.put(announcement)).unwrap_or(false)
    }

    /// These shards are durable now.
    pub fn add_shards(&self, shards: &[(ShardId, u32)]) {
        self.ask(|index| shards.iter().try_for_each(|(id, len)| index.put_shard(id, *len)));
    }

    /// A shard is not here any more.
    pub fn remove_shard(&self, id: &ShardId) {
        self.ask(|index| index.remove_shard(id));
    }

    /// A manifest is visible now.
    pub fn add_manifest(&self, summary: &Summary) {
        self.ask(|index| index.put_manifest(summary));
    }

    /// A manifest is not here any more.
    pub fn remove_manifest(&self, id: &ManifestId) {
        self.ask(|index| index.remove_manifest(id));
    }

    /// Reads from the index, or changes it; on doubt a new one. `None` if no index can be had.
    fn ask<T>(&self, question: impl Fn(&Index) -> Result<T, Doubt>) -> Option<T> {
        for _ in 0..2 {
            let doubt = match lock::read(&self.index).as_ref().map(&question) {
                Some(Ok(value)) => return Some(value),
                Some(Err(doubt)) => doubt,
                None => Doubt("there is none".to_owned()),
            };
            tracing::warn!(%doubt, "the index is built anew");
            if let Err(error) = self.rebuild() {
                tracing::warn!(%error, "no index: lists are read from the files");
                return None;
            }
        }
        None
    }
}
