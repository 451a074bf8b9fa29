//! What a publisher signs: an adapter, a base or a dataset, with its files, lineage and numbers.
//!
//! No floats and no maps: rates and losses are scaled integers, so one value has one encoding.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::base::Architecture;
use crate::channel::{ChannelInfo, ProofInfo, ProposalInfo, VersionInfo};
use crate::codec::{Malformed, Wire};
use crate::id::{BaseId, Digest, FileDigest, ManifestId, RecipeId, ShardId};
use crate::limits::{
    ADAPTER_BYTES_MAX, BASE_BYTES_MAX, DECODE_MAX, DESCRIPTION_MAX, EVALUATIONS_MAX, FILES_MAX, LICENCE_MAX,
    MANIFEST_MAX, PARENTS_MAX, RANK_MAX, SHARD_MAX, TARGETS_MAX, VERSION_BYTES_MAX,
};
use crate::signed::{Authentic, PublicKey, Signable};
use crate::tensor::check_name;
use crate::text::{Name, RelPath};

/// The signed body. Its id is [`ManifestId`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What is published, with what only that kind has.
    pub kind: Kind,
    /// What its publisher calls it. Names are not unique.
    pub name: Name,
    /// SPDX expression, e.g. `Apache-2.0`; empty if the publisher states none.
    pub licence: String,
    /// Free text for people.
    pub description: String,
    /// Seconds since 1970 by the publisher's clock: a statement, not a fact.
    pub created: u64,
    /// Who publishes it: the key whose signature must be beside it.
    pub publisher: PublicKey,
    /// Sorted by path, each path once.
    pub files: Vec<FileEntry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Where it lies in the folder that a pull makes.
    pub path: RelPath,
    /// Bytes.
    pub len: u64,
    /// BLAKE3 of the whole file.
    pub digest: FileDigest,
    /// The encoded [`crate::shard::ShardTable`] of the file, in pieces of [`SHARD_MAX`] bytes.
    pub table: Vec<ShardId>,
    /// Bytes of the encoded table.
    pub table_len: u32,
}

/// What is published. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A LoRA adapter.
    Adapter(AdapterInfo),
    /// The files of a base model.
    Base(BaseInfo),
    /// Rows.
    Dataset(DatasetInfo),
    /// A channel's rules. No files.
    Channel(ChannelInfo),
    /// An adapter offered to a channel. No files.
    Proposal(ProposalInfo),
    /// A version of a channel. Its files are the rows that scored it.
    Version(Box<VersionInfo>),
    /// A pointer at what a steward did wrong. No files.
    Proof(ProofInfo),
}

/// A LoRA adapter in PEFT's terms, in the portable profile: `lora_alpha` equals `r`, so the scale is 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// The weights that it applies to.
    pub base: BaseId,
    /// The view of `base` (e.g. a quantised file) that it was trained over; equal to `base` if none.
    pub trained_on: BaseId,
    /// LoRA rank.
    pub r: u32,
    /// PEFT module names, sorted, each once.
    pub target_modules: Vec<String>,
    /// Adapters that this one was made of or continues.
    pub parents: Vec<ManifestId>,
    /// How it was trained, if the publisher says so.
    pub training: Option<Training>,
    /// What its publisher measured: statements, not facts. At most [`EVALUATIONS_MAX`].
    pub evaluations: Vec<Evaluation>,
}

/// How an adapter was trained: enough to repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Training {
    /// Optimiser steps.
    pub steps: u64,
    /// Labelled tokens seen.
    pub tokens: u64,
    /// What all random choices of the run followed from.
    pub seed: u64,
    /// Peak learning rate in 1e-9.
    pub learning_rate_nano: u64,
    /// BLAKE3 of the training file. Rows themselves never leave the machine. // I16
    pub data: Digest,
}

/// A measured figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What was measured, e.g. the name of a dataset.
    pub suite: Name,
    /// Prompts.
    pub samples: u64,
    /// Exact matches per million.
    pub exact_match_ppm: u32,
    /// Mean loss per labelled token, in millionths of a nat.
    pub loss_micro: u64,
}

/// A base model's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseInfo {
    /// The id of its weights.
    pub base: BaseId,
    /// What a node must be able to compute to use it.
    pub architecture: Architecture,
    /// The recipe that made it, if it was folded.
    pub recipe: Option<RecipeId>,
}

/// Rows for training or evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Rows in all files together.
    pub rows: u64,
}

impl Manifest {
    /// The base that it belongs to, if any.
    pub fn base(&self) -> Option<BaseId> {
        match &self.kind {
            Kind::Adapter(adapter) => Some(adapter.base),
            Kind::Base(base) => Some(base.base),
            Kind::Dataset(_) => None,
            Kind::Channel(channel) => Some(channel.genesis),
            Kind::Proposal(proposal) => Some(proposal.genesis),
            Kind::Version(version) => Some(version.recipe.parent),
            Kind::Proof(proof) => Some(proof.genesis),
        }
    }

    /// Bytes of all files together.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// What says something about a channel is all in the body; a version brings the rows that scored it.
    fn files_allowed(&self) -> RangeInclusive<usize> {
        match self.kind {
            Kind::Adapter(_) | Kind::Base(_) | Kind::Dataset(_) => 1..=FILES_MAX,
            Kind::Version(_) => 0..=FILES_MAX,
            Kind::Channel(_) | Kind::Proposal(_) | Kind::Proof(_) => 0..=0,
        }
    }

    fn bytes_max(&self) -> u64 {
        match self.kind {
            Kind::Adapter(_) => ADAPTER_BYTES_MAX,
            Kind::Base(_) | Kind::Dataset(_) => BASE_BYTES_MAX,
            Kind::Version(_) => VERSION_BYTES_MAX,
            Kind::Channel(_) | Kind::Proposal(_) | Kind::Proof(_) => 0,
        }
    }
}

impl Authentic<Manifest> {
    /// The manifest's id: of its body, whoever else has signed it.
    pub fn id(&self) -> ManifestId {
        ManifestId(self.digest())
    }
}

impl Signable for Manifest {
    const CONTEXT: &'static str = "potluck 2026 manifest/1";

    fn signer(&self) -> PublicKey {
        self.publisher
    }
}

impl Wire for Manifest {
    const NAME: &'static str = "manifest";
    const MAX: usize = MANIFEST_MAX;

    fn check(&self) -> Result<(), Malformed> {
        let licence = self.licence.len() <= LICENCE_MAX && self.licence.bytes().all(|b| (b' '..=b'~').contains(&b));
        Malformed::unless(licence, || "the licence is no SPDX expression".to_owned())?;
        Malformed::unless(self.description.len() <= DESCRIPTION_MAX, || "the description is too long".to_owned())?;
        check_files(&self.files, self.files_allowed(), self.bytes_max())?;
        match &self.kind {
            Kind::Adapter(adapter) => adapter.check(),
            Kind::Base(base) => base.architecture.check(),
            Kind::Dataset(_) => Ok(()),
            Kind::Proof(proof) => proof.check(),
            Kind::Channel(channel) => channel.check(),
            Kind::Proposal(proposal) => proposal.check(),
            Kind::Version(version) => version.check(),
        }
    }
}

fn check_files(files: &[FileEntry], allowed: RangeInclusive<usize>, bytes_max: u64) -> Result<(), Malformed> {
    Malformed::unless(allowed.contains(&files.len()), || {
        format!("{} files, not {} to {}", files.len(), allowed.start(), allowed.end())
    })?;
    let sorted = files.windows(2).all(|pair| pair[0].path < pair[1].path);
    Malformed::unless(sorted, || "the files are not sorted by path, each path once".to_owned())?;
    // On systems that ignore case two such files would be one.
    let mut folded: Vec<_> = files.iter().map(|file| file.path.as_str().to_ascii_lowercase()).collect();
    folded.sort();
    let distinct = folded.windows(2).all(|pair| pair[0] != pair[1]);
    Malformed::unless(distinct, || "two paths differ in case only".to_owned())?;
    files.iter().try_for_each(FileEntry::check)?;
    let total = files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.len));
    Malformed::unless(total.is_some_and(|sum| sum <= bytes_max), || {
        format!("the files hold more than {bytes_max} bytes")
    })
}

impl FileEntry {
    fn check(&self) -> Result<(), Malformed> {
        let len = self.table_len as usize;
        Malformed::unless(len <= DECODE_MAX && self.table.len() == len.div_ceil(SHARD_MAX), || {
            format!("`{}`: the shard table's length and pieces do not fit", self.path)
        })
    }
}

impl AdapterInfo {
    fn check(&self) -> Result<(), Malformed> {
        Malformed::unless((1..=RANK_MAX).contains(&self.r), || format!("r is {}, not 1 to {RANK_MAX}", self.r))?;
        let targets = &self.target_modules;
        Malformed::unless((1..=TARGETS_MAX).contains(&targets.len()), || format!("{} target modules", targets.len()))?;
        targets.iter().try_for_each(|target| check_name(target))?;
        let sorted = targets.windows(2).all(|pair| pair[0] < pair[1]);
        Malformed::unless(sorted, || "target_modules are not sorted, each once".to_owned())?;
        Malformed::unless(self.parents.len() <= PARENTS_MAX, || "too many parents".to_owned())?;
        Malformed::unless(self.evaluations.len() <= EVALUATIONS_MAX, || "too many evaluations".to_owned())?;
        let accuracies = self.evaluations.iter().all(|evaluation| evaluation.exact_match_ppm <= 1_000_000);
        Malformed::unless(accuracies, || "more than a million exact matches per million".to_owned())
    }
}
