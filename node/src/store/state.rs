//! What `state.log` says: all that cannot be rebuilt from shards, manifests and recipes.

use std::collections::{BTreeMap, BTreeSet};

use potluck_protocol::codec::{Malformed, Wire};
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId, RecipeId};
use potluck_protocol::text::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;

/// A file of an added base, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFile {
    /// Relative to [`BaseRecord::path`]; empty if that is the file itself.
    pub path: String,
    /// Bytes.
    pub len: u64,
    /// Nanoseconds since 1970: with `len`, tells whether the file must be hashed again.
    pub mtime_nanos: u64,
}

/// A base that a person added: its weights stay where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// The id of its weights.
    pub id: BaseId,
    /// What it is called here.
    pub name: Name,
    /// Absolute path of the folder or file.
    pub path: String,
    /// Its files as they were when it was identified.
    pub files: Vec<BaseFile>,
    /// The base that this one is a view of, e.g. a quantised file of it.
    pub view_of: Option<BaseId>,
}

/// A channel that this node follows, or is the steward of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// Of the channel's manifest.
    pub id: ManifestId,
    /// What it is called here.
    pub name: Name,
    /// The version in force here; none is genesis.
    pub current: Option<ManifestId>,
    /// A person went back to `current`: newer versions are not taken until one asks for them.
    pub held: bool,
    /// Every version is folded and compared before it is taken.
    pub audit: bool,
    /// Why no version is taken any more.
    pub halted: Option<Halt>,
}

/// What a steward was found to have done. The proof is the manifests that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// Two versions for one height.
    Equivocation {
        /// The one with the smaller id.
        #[schema(value_type = json_forms::ManifestId)]
        first: ManifestId,
        /// The other one.
        #[schema(value_type = json_forms::ManifestId)]
        second: ManifestId,
    },
    /// Folding the version here gave another digest.
    Mismatch {
        /// The version that was folded.
        #[schema(value_type = json_forms::ManifestId)]
        version: ManifestId,
        /// What its recipe gave here.
        #[schema(value_type = json_forms::FoldDigest)]
        digest: FoldDigest,
    },
}

/// A version that this node, as a steward, has bound itself to sign for a height, and no other. Written before the
/// signature is made: after a crash exactly this body is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The channel's genesis.
    pub channel: ManifestId,
    /// The version's place in the channel.
    pub height: u32,
    /// The encoded body of the version's manifest.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// One entry of the log. Append only: the numbers of the variants are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// All publisher sequence numbers up to this one may have been used.
    Sequence(u64),
    Pin(ManifestId),
    Unpin(ManifestId),
    Named(Name, ManifestId),
    Unnamed(Name),
    WellFormed(ManifestId),
    Base(BaseRecord),
    ForgetBase(BaseId),
    /// What folding the recipe gave here.
    Folded(RecipeId, FoldDigest),
    Channel(ChannelRecord),
    ForgetChannel(ManifestId),
    /// Replaces the one of that channel before.
    Promised(Promise),
}

/// Bytes of a path on this machine: Linux's limit.
const PATH_MAX: usize = 4096;
const FILES_MAX: usize = 1024;

impl Wire for Record {
    const NAME: &'static str = "state record";
    const MAX: usize = 1 << 20;

    fn check(&self) -> Result<(), Malformed> {
        let Self::Base(base) = self else { return Ok(()) };
        let fits = |path: &String| path.len() <= PATH_MAX;
        let bounded =
            base.files.len() <= FILES_MAX && fits(&base.path) && base.files.iter().all(|file| fits(&file.path));
        Malformed::unless(bounded, || {
            format!("base `{}`: more than {FILES_MAX} files, or a path longer than {PATH_MAX} bytes", base.name)
        })
    }
}

/// All records, applied in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The highest number that an announcement of this node was given.
    pub sequence: u64,
    /// Manifests that are kept from collection.
    pub pins: BTreeSet<ManifestId>,
    /// What the names of this home stand for.
    pub names: BTreeMap<Name, ManifestId>,
    /// Manifests whose content was inspected.
    pub well_formed: BTreeSet<ManifestId>,
    /// Bases that are known here.
    pub bases: BTreeMap<BaseId, BaseRecord>,
    /// What recipes gave when they were folded here.
    pub folded: BTreeMap<RecipeId, FoldDigest>,
    /// Channels that are followed, and this node's own.
    pub channels: BTreeMap<ManifestId, ChannelRecord>,
    /// By channel. Outlives the channel's own record: a promise is for good.
    pub promises: BTreeMap<ManifestId, Promise>,
}

impl State {
    /// What a record changes.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Sequence(number) => self.sequence = self.sequence.max(number),
            Record::Pin(id) => drop(self.pins.insert(id)),
            Record::Unpin(id) => drop(self.pins.remove(&id)),
            Record::Named(name, id) => drop(self.names.insert(name, id)),
            Record::Unnamed(name) => drop(self.names.remove(&name)),
            Record::WellFormed(id) => drop(self.well_formed.insert(id)),
            Record::Base(base) => drop(self.bases.insert(base.id, base)),
            Record::ForgetBase(id) => drop(self.bases.remove(&id)),
            Record::Folded(id, digest) => drop(self.folded.insert(id, digest)),
            Record::Channel(channel) => drop(self.channels.insert(channel.id, channel)),
            Record::ForgetChannel(id) => drop(self.channels.remove(&id)),
            Record::Promised(promise) => drop(self.promises.insert(promise.channel, promise)),
        }
    }

    /// Whether the record would change nothing, and so need not be written.
    pub fn holds(&self, record: &Record) -> bool {
        match record {
            Record::Sequence(number) => self.sequence >= *number,
            Record::Pin(id) => self.pins.contains(id),
            Record::Unpin(id) => !self.pins.contains(id),
            Record::Named(name, id) => self.names.get(name) == Some(id),
            Record::Unnamed(name) => !self.names.contains_key(name),
            Record::WellFormed(id) => self.well_formed.contains(id),
            Record::Base(base) => self.bases.get(&base.id) == Some(base),
            Record::ForgetBase(id) => !self.bases.contains_key(id),
            Record::Folded(id, digest) => self.folded.get(id) == Some(digest),
            Record::Channel(channel) => self.channels.get(&channel.id) == Some(channel),
            Record::ForgetChannel(id) => !self.channels.contains_key(id),
            Record::Promised(promise) => self.promises.get(&promise.channel) == Some(promise),
        }
    }

    /// The fewest records that give this state: what compaction writes.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let sequence = (self.sequence > 0).then_some(Record::Sequence(self.sequence));
        sequence
            .into_iter()
            .chain(self.pins.iter().copied().map(Record::Pin))
            .chain(self.names.iter().map(|(name, id)| Record::Named(name.clone(), *id)))
            .chain(self.well_formed.iter().copied().map(Record::WellFormed))
            .chain(self.bases.values().cloned().map(Record::Base))
            .chain(self.folded.iter().map(|(id, digest)| Record::Folded(*id, *digest)))
            .chain(self.channels.values().cloned().map(Record::Channel))
            .chain(self.promises.values().cloned().map(Record::Promised))
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::codec;
    use potluck_protocol::id::Digest;
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let id = (0u8..4).prop_map(|n| Digest::of(&[n]));
        let name = (0u8..3).prop_map(|n| Name::new(format!("n{n}")).expect("a name"));
        (0u8..12, id, name, 0u64..9).prop_map(|(variant, id, name, number)| match variant {
            0 => Record::Sequence(number),
            1 => Record::Pin(ManifestId(id)),
            2 => Record::Unpin(ManifestId(id)),
            3 => Record::Named(name, ManifestId(id)),
            4 => Record::Unnamed(name),
            5 => Record::WellFormed(ManifestId(id)),
            6 => {
                let files = vec![BaseFile { path: String::new(), len: number, mtime_nanos: 1 }];
                Record::Base(BaseRecord { id: BaseId(id), name, path: "/base".to_owned(), files, view_of: None })
            }
            7 => Record::ForgetBase(BaseId(id)),
            8 => Record::Folded(RecipeId(id), FoldDigest(Digest::of(&[number as u8]))),
            9 => {
                let halted =
                    (number > 6).then_some(Halt::Equivocation { first: ManifestId(id), second: ManifestId(id) });
                let current = (number > 3).then_some(ManifestId(id));
                let (held, audit) = (number % 2 == 0, number % 3 == 0);
                Record::Channel(ChannelRecord { id: ManifestId(id), name, current, held, audit, halted })
            }
            10 => Record::ForgetChannel(ManifestId(id)),
            _ => Record::Promised(Promise { channel: ManifestId(id), height: number as u32, body: vec![number as u8] }),
        })
    }

    proptest! {
        #[test]
        fn compacted_records_give_the_same_state(records in proptest::collection::vec(record(), 0..40)) {
            let mut state = State::default();
            for record in records {
                let before = state.clone();
                let held = state.holds(&record);
                let decoded = codec::encode(&record).and_then(|bytes| codec::decode::<Record>(&bytes));
                prop_assert_eq!(decoded.as_ref(), Ok(&record));
                state.apply(record);
                prop_assert_eq!(held, before == state);
            }
            let mut again = State::default();
            state.records().for_each(|record| again.apply(record));
            prop_assert_eq!(again, state);
        }
    }
}
