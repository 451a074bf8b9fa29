//! Pins, names, sequence numbers and added bases: what `state.log` keeps, as operations of the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use potluck_protocol::id::{BaseId, FoldDigest, ManifestId, RecipeId};
use potluck_protocol::text::Name;

use crate::store::error::{Result, StoreError};
use crate::store::state::{BaseRecord, BaseShapes, ChannelRecord, Promise, Record};
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

    /// A number for this publisher's next announcement: higher than any before and than `known`, durable before it is
    /// returned, so that no crash makes one be used twice. Some may be skipped. A home that was restored from a copy does
    /// not know what it has used since: the caller's `known` has to.
    pub fn next_sequence(&self, known: u64) -> Result<u64> {
        let mut log = lock(&self.0.log);
        let next = log.state().sequence.max(known).checked_add(1).ok_or(StoreError::SequenceEnd)?;
        log.append(Record::Sequence(next))?;
        Ok(next)
    }

    /// The highest number that may have been given.
    pub fn sequence(&self) -> u64 {
        lock(&self.0.log).state().sequence
    }

    /// Keeps a manifest and its shards from collection, also over restarts.
    pub fn pin(&self, id: ManifestId) -> Result<()> {
        self.record(Record::Pin(id))
    }

    /// Ends what [`Self::pin`] began. One that is not pinned is no error.
    pub fn unpin(&self, id: ManifestId) -> Result<()> {
        self.record(Record::Unpin(id))
    }

    /// The manifests that are pinned.
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

    /// Forgets a name; what it stood for stays.
    pub fn remove_name(&self, name: Name) -> Result<()> {
        self.record(Record::Unnamed(name))
    }

    /// What a name stands for.
    pub fn named(&self, name: &Name) -> Option<ManifestId> {
        lock(&self.0.log).state().names.get(name).copied()
    }

    /// All names with what they stand for.
    pub fn names(&self) -> Vec<(Name, ManifestId)> {
        lock(&self.0.log).state().names.iter().map(|(name, id)| (name.clone(), *id)).collect()
    }

    /// Remembers a base that was added from this machine's files; one of the same id is replaced.
    pub fn add_base(&self, base: BaseRecord) -> Result<()> {
        self.record(Record::Base(base))
    }

    /// Remembers the shapes of a base, so that nobody has to open it to know them.
    pub fn set_shapes(&self, shapes: BaseShapes) -> Result<()> {
        self.record(Record::Shapes(shapes))
    }

    /// The shapes of a base; `None` if it has not been read since they are noted.
    pub fn shapes(&self, base: &BaseId) -> Option<BaseShapes> {
        lock(&self.0.log).state().shapes.get(base).cloned()
    }

    /// Notes what folding a recipe gave, for `potluck verify` to compare with.
    pub fn set_folded(&self, recipe: RecipeId, digest: FoldDigest) -> Result<()> {
        self.record(Record::Folded(recipe, digest))
    }

    /// The digest of what a recipe gave when it was folded here.
    pub fn folded(&self, recipe: &RecipeId) -> Option<FoldDigest> {
        lock(&self.0.log).state().folded.get(recipe).copied()
    }

    /// Forgets a base. Its files stay.
    pub fn forget_base(&self, id: BaseId) -> Result<()> {
        self.record(Record::ForgetBase(id))
    }

    /// What is known of a base.
    pub fn base(&self, id: &BaseId) -> Option<BaseRecord> {
        lock(&self.0.log).state().bases.get(id).cloned()
    }

    /// All bases that are known.
    pub fn bases(&self) -> Vec<BaseRecord> {
        lock(&self.0.log).state().bases.values().cloned().collect()
    }

    /// Remembers a channel; one of the same id is replaced.
    pub fn set_channel(&self, channel: ChannelRecord) -> Result<()> {
        self.record(Record::Channel(channel))
    }

    /// Forgets a channel that was followed.
    pub fn forget_channel(&self, id: ManifestId) -> Result<()> {
        self.record(Record::ForgetChannel(id))
    }

    /// What is known of a channel that is followed, or this node's own.
    pub fn channel(&self, id: &ManifestId) -> Option<ChannelRecord> {
        lock(&self.0.log).state().channels.get(id).cloned()
    }

    /// All channels that are known.
    pub fn channels(&self) -> Vec<ChannelRecord> {
        lock(&self.0.log).state().channels.values().cloned().collect()
    }

    /// Binds this node to one body for a height of a channel. A promise for that height or a later one stands: what is
    /// promised now is returned, and that alone may be signed. Two commands at once cannot both promise.
    pub fn promise(&self, promise: Promise) -> Result<Promise> {
        let mut log = lock(&self.0.log);
        if let Some(kept) = log.state().promises.get(&promise.channel).filter(|kept| kept.height >= promise.height) {
            return Ok(kept.clone());
        }
        log.append(Record::Promised(promise.clone()))?;
        Ok(promise)
    }

    /// Takes up a version that this node's key has signed already, as a copy of this home did: it binds like a promise, and
    /// more than one for the same height that was not signed here.
    pub fn take_up(&self, signed: Promise) -> Result<()> {
        let mut log = lock(&self.0.log);
        let known = log.state().promises.get(&signed.channel);
        if known.is_some_and(|kept| kept.height > signed.height || *kept == signed) {
            return Ok(());
        }
        log.append(Record::Promised(signed))
    }

    /// The last promise for a channel.
    pub fn promised(&self, channel: &ManifestId) -> Option<Promise> {
        lock(&self.0.log).state().promises.get(channel).cloned()
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;
    use crate::store::BaseFile;
    use crate::store::testing::Fixture;

    #[test]
    fn facts_outlive_the_process() {
        let fixture = Fixture::new();
        let [a, b] = [b"a", b"b"].map(|text| ManifestId(Digest::of(text)));
        let name = Name::new("n").expect("a name");
        let files = vec![BaseFile { path: "model.safetensors".to_owned(), len: 5, mtime_nanos: 7 }];
        let view_of = Some(BaseId(Digest::of(b"full")));
        let base = BaseRecord {
            id: BaseId(Digest::of(b"base")),
            name: name.clone(),
            path: "/models/x".to_owned(),
            files,
            view_of,
        };
        let store = fixture.open();
        store.pin(a).expect("room");
        store.pin(b).expect("room");
        store.unpin(a).expect("room");
        store.set_name(name.clone(), a).expect("room");
        store.set_name(name.clone(), b).expect("room");
        store.add_base(base.clone()).expect("room");
        let before = store.stat().expect("readable").state_log_bytes;
        store.pin(b).expect("room");
        assert_eq!(store.stat().expect("readable").state_log_bytes, before, "what is known is not written again");
        drop(store);
        let store = fixture.open();
        assert_eq!(store.pins(), [b]);
        assert_eq!((store.named(&name), store.names()), (Some(b), vec![(name.clone(), b)]));
        assert_eq!((store.base(&base.id), store.bases()), (Some(base.clone()), vec![base.clone()]));
        store.forget_base(base.id).expect("room");
        store.remove_name(name.clone()).expect("room");
        assert_eq!((store.base(&base.id), store.named(&name)), (None, None));
    }

    #[test]
    fn a_sequence_number_is_never_given_twice() {
        let fixture = Fixture::new();
        let mut last = 0;
        for _ in 0..5 {
            let store = fixture.open();
            for _ in 0..3 {
                let next = store.next_sequence(0).expect("room");
                assert!(next > last);
                last = next;
            }
        }
        // The last record is lost: the number that it carried may be in use.
        let log = fixture.root().join("state.log");
        let bytes = std::fs::read(&log).expect("there");
        std::fs::write(&log, &bytes[..bytes.len() - 1]).expect("writable");
        let store = fixture.open();
        assert!(store.recovery().state_log_cut.is_some());
        assert!(store.next_sequence(0).expect("room") > last);
        assert_eq!(store.next_sequence(1 << 40).expect("room"), (1 << 40) + 1, "what is known otherwise counts");
        assert_eq!((store.next_sequence(7).expect("room"), store.sequence()), ((1 << 40) + 2, (1 << 40) + 2));
        assert!(matches!(store.next_sequence(u64::MAX), Err(StoreError::SequenceEnd)));
    }

    #[test]
    fn temporary_pins_count() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let id = ManifestId(Digest::of(b"x"));
        let first = store.pin_temporarily(id);
        let second = store.pin_temporarily(id);
        drop(first);
        assert_eq!(store.temporary_pins(), [id]);
        drop(second);
        assert!(store.temporary_pins().is_empty());
    }

    #[test]
    fn one_body_is_promised_for_a_height() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let promise =
            |height, body: &[u8]| Promise { channel: ManifestId(Digest::of(b"c")), height, body: body.to_vec() };
        assert_eq!(store.promise(promise(1, b"one")).expect("room"), promise(1, b"one"));
        assert_eq!(store.promise(promise(1, b"other")).expect("room"), promise(1, b"one"));
        assert_eq!(store.promise(promise(2, b"two")).expect("room"), promise(2, b"two"));
        drop(store);
        let store = fixture.open();
        assert_eq!(store.promise(promise(2, b"other")).expect("room"), promise(2, b"two"));
        assert_eq!(store.promised(&ManifestId(Digest::of(b"c"))), Some(promise(2, b"two")));
        assert_eq!(store.promised(&ManifestId(Digest::of(b"d"))), None);
        store.take_up(promise(1, b"older")).expect("room");
        assert_eq!(store.promised(&ManifestId(Digest::of(b"c"))), Some(promise(2, b"two")));
        store.take_up(promise(2, b"signed elsewhere")).expect("room");
        assert_eq!(store.promise(promise(2, b"two")).expect("room"), promise(2, b"signed elsewhere"));
        store.take_up(promise(4, b"four")).expect("room");
        assert_eq!(store.promised(&ManifestId(Digest::of(b"c"))), Some(promise(4, b"four")));
    }
}
