//! What a publisher signs, as JSON. The types are `potluck_protocol::manifest`'s, with their units.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::channel::{ChannelInfo, ProofInfo, ProposalInfo, VersionInfo};
use super::texts::{BaseId, Digest, FileDigest, ManifestId, Name, PublicKey, RecipeId, RelPath, ShardId};

/// The signed body. The manifest's id is BLAKE3 of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// What is published, with what only that kind has.
    pub kind: ManifestKind,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileEntry {
    /// Where it lies in the folder that a pull makes.
    pub path: RelPath,
    /// Bytes.
    pub len: u64,
    /// BLAKE3 of the whole file.
    pub digest: FileDigest,
    /// The encoded table of the file's shards, in pieces of 1 MiB.
    pub table: Vec<ShardId>,
    /// Bytes of the encoded table.
    pub table_len: u32,
}

/// What is published. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub enum ManifestKind {
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// What its publisher measured: statements, not facts.
    pub evaluations: Vec<Evaluation>,
}

/// How an adapter was trained: enough to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Training {
    /// Optimiser steps.
    pub steps: u64,
    /// Labelled tokens seen.
    pub tokens: u64,
    /// What all random choices of the run followed from.
    pub seed: u64,
    /// Peak learning rate in 1e-9.
    pub learning_rate_nano: u64,
    /// BLAKE3 of the training file. Rows themselves never leave the machine.
    pub data: Digest,
}

/// A measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaseInfo {
    /// The id of its weights.
    pub base: BaseId,
    /// What a node must be able to compute to use it.
    pub architecture: Architecture,
    /// The recipe that made it, if it was folded.
    pub recipe: Option<RecipeId>,
}

/// The fields of a Hugging Face `config.json` that change what the model computes, and no others.
///
/// `max_position_embeddings` is left out: files of the same weights differ in it, and it does not change a logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Architecture {
    /// Which forward pass the other fields are sizes of.
    pub family: Family,
    /// Tokens: rows of the embedding matrix.
    pub vocab_size: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Width between the linear layers of the MLP.
    pub intermediate_size: u32,
    /// Blocks.
    pub num_hidden_layers: u32,
    /// Query heads.
    pub num_attention_heads: u32,
    /// Heads of keys and values; divides the number of query heads.
    pub num_key_value_heads: u32,
    /// Width of one head, even. Need not be `hidden_size / num_attention_heads`.
    pub head_dim: u32,
    /// Added to the mean square before its root is taken.
    pub rms_norm_eps: u32,
    /// Base of the rotary positions' frequencies.
    pub rope_theta: u32,
    /// The output projection is the embedding matrix.
    pub tie_word_embeddings: bool,
}

/// Model families that the decoder knows. Further families are further flags (append only).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub enum Family {
    /// `LlamaForCausalLM`: RMSNorm before each half, SwiGLU, rotary positions, grouped-query attention, no biases.
    Llama,
}

/// Rows for training or evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatasetInfo {
    /// Rows in all files together.
    pub rows: u64,
}

/// The kind of a manifest, without its fields. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindTag {
    /// A LoRA adapter.
    Adapter,
    /// The files of a base model.
    Base,
    /// Rows.
    Dataset,
    /// A channel's rules.
    Channel,
    /// An adapter offered to a channel.
    Proposal,
    /// A version of a channel.
    Version,
    /// A pointer at what a steward did wrong.
    Proof,
}

/// How a tensor's elements are stored: the floating types of safetensors and the block types of ggml.
///
/// The order of the variants is part of the wire format: append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an `F32`.
    BF16,
    /// IEEE 754 double precision.
    F64,
    /// 4 bits and a scale for 32 elements.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32 elements.
    Q4_1,
    /// 5 bits and a scale for 32 elements.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32 elements.
    Q5_1,
    /// 8 bits and a scale for 32 elements.
    Q8_0,
    /// 2 bits, with scales and minima for each 16 of 256 elements.
    Q2K,
    /// 3 bits, with scales for each 16 of 256 elements.
    Q3K,
    /// 4 bits, with scales and minima for each 32 of 256 elements.
    Q4K,
    /// 5 bits, with scales and minima for each 32 of 256 elements.
    Q5K,
    /// 6 bits, with scales for each 16 of 256 elements.
    Q6K,
    /// 8 bits and a scale for 256 elements.
    Q8K,
}
