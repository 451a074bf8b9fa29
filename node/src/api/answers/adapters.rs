//! Adapters, and what else is published: published, shown, fetched, checked, merged.

use std::path::PathBuf;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId, RecipeId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::recipe::Weight;
use potluck_protocol::signed::PublicKey;
use potluck_protocol::tensor::DType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MergedAdapter;
use crate::api::search::Measured;
use crate::exchange::Phases;
use crate::json_forms;

/// Something was signed and is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub manifest: ManifestId,
    /// What its publisher calls it.
    pub name: String,
    /// The base that an adapter is for, or that it is.
    #[schema(value_type = Option<json_forms::BaseId>)]
    pub base: Option<BaseId>,
    /// Of all its files.
    pub bytes: u64,
    /// Peers were told; otherwise they are when the daemon runs.
    pub announced: bool,
}

/// All that is known of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Shown {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub manifest: ManifestId,
    /// What its publisher calls it.
    pub name: String,
    /// What it is.
    #[schema(value_type = json_forms::KindTag)]
    pub kind: KindTag,
    /// Whose key signed it.
    #[schema(value_type = json_forms::PublicKey)]
    pub publisher: PublicKey,
    /// The base that it is for, or that it is.
    #[schema(value_type = Option<json_forms::BaseId>)]
    pub base: Option<BaseId>,
    /// What that base is called here, if it is here.
    pub base_name: Option<String>,
    /// Of all its files.
    pub bytes: u64,
    /// SPDX; empty if the publisher states none, `None` as long as only an announcement was heard.
    pub licence: Option<String>,
    /// The publisher's words; `None` as long as only an announcement was heard.
    pub description: Option<String>,
    /// Seconds since 1970 by the publisher's clock; `None` as long as only an announcement was heard.
    pub created: Option<u64>,
    /// Of an adapter whose manifest was read.
    pub rank: Option<u32>,
    /// The publisher's figures; `None` as long as only an announcement was heard.
    pub evaluations: Option<Vec<Measured>>,
    /// More about it, for people.
    pub notes: Vec<String>,
    /// The signed manifest, with its own units: millionths, and weights in 1/65536. Left out as long as only an
    /// announcement was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Box<json_forms::Manifest>>)]
    pub body: Option<Box<Manifest>>,
    /// Shards that are not here. Left out of what is not here at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_shards: Option<usize>,
    /// How much of it is here.
    pub state: Presence,
}

/// How much of a thing is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Presence {
    /// All of it, and its meaning was checked.
    #[serde(rename = "here, checked")]
    Checked,
    /// All of it; its base was not here to check it against.
    #[serde(rename = "here, not checked against its base")]
    Unchecked,
    /// Some shards are missing.
    #[serde(rename = "here in part")]
    InPart,
    /// It was announced.
    #[serde(rename = "heard of, not here")]
    HeardOf,
}

impl Presence {
    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checked => "here, checked",
            Self::Unchecked => "here, not checked against its base",
            Self::InPart => "here in part",
            Self::HeardOf => "heard of, not here",
        }
    }
}

/// One provider's part of what was fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PulledFrom {
    /// Its peer id.
    pub peer: String,
    /// Good bytes that it sent.
    pub bytes: u64,
}

/// A manifest and its shards were fetched, nothing else.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FetchedShards {
    /// Bytes that came.
    pub fetched_bytes: u64,
    /// Who sent them.
    pub fetched_from: Vec<PulledFrom>,
    /// Good shards that came twice, in bytes.
    pub wasted_bytes: u64,
    /// Peer ids of those who sent wrong bytes.
    pub blamed: Vec<String>,
    /// How long each part took.
    pub phases: Phases,
}

/// An adapter, or a base, was fetched, checked and written as a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pulled {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub manifest: ManifestId,
    /// What its publisher calls it; of a base what it is called here.
    pub name: String,
    /// Where it lies.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    /// Bytes that came just now.
    pub fetched_bytes: u64,
    /// Who sent them.
    pub fetched_from: Vec<PulledFrom>,
    /// Its id, of a base. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<json_forms::BaseId>)]
    pub base: Option<BaseId>,
    /// The adapter's base, if that is not here, so that the adapter was not held against it. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<json_forms::BaseId>)]
    pub not_held_against: Option<BaseId>,
}

/// Something was checked again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// Its id. Left out of a recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub manifest: Option<ManifestId>,
    /// Its id, of a recipe. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<json_forms::RecipeId>)]
    pub recipe: Option<RecipeId>,
    /// What it is.
    pub kind: VerifiedKind,
    /// Of the weights that were made again, of a version or a recipe. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<json_forms::FoldDigest>)]
    pub digest: Option<FoldDigest>,
    /// Their id as a base, of a version. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<json_forms::BaseId>)]
    pub base: Option<BaseId>,
    /// Of a version. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// What was found to be right, in words.
    pub checked: Vec<String>,
}

/// What can be checked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum VerifiedKind {
    /// A manifest of this kind.
    #[schema(value_type = json_forms::KindTag)]
    Manifest(KindTag),
    /// A recipe, by folding it again.
    Recipe(RecipeTag),
}

/// Written as `recipe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecipeTag {
    /// The only one.
    Recipe,
}

/// Adapters were combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Merged {
    /// Into one adapter.
    Adapter(MergedAdapter),
    /// Into the base.
    Base(Folded),
}

/// Adapters were folded into their base by a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Folded {
    /// The base folder that was written.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    /// By which anybody can repeat it.
    #[schema(value_type = json_forms::RecipeId)]
    pub recipe: RecipeId,
    /// The base that was folded into.
    #[schema(value_type = json_forms::BaseId)]
    pub parent: BaseId,
    /// Of the weights.
    #[schema(value_type = json_forms::FoldDigest)]
    pub digest: FoldDigest,
    /// The result's id as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Adapters with their weights.
    pub inputs: Vec<WeightedAdapter>,
    /// Float type of the result.
    #[schema(value_type = json_forms::DType)]
    pub dtype: DType,
}

/// An adapter in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WeightedAdapter {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub adapter: ManifestId,
    /// 1 for the adapter as it is. A multiple of 1/65536, so it is exact.
    pub weight: f64,
}

impl WeightedAdapter {
    /// The inputs of a recipe.
    pub fn all(inputs: &[(ManifestId, Weight)]) -> Vec<Self> {
        inputs.iter().map(|(adapter, weight)| Self { adapter: *adapter, weight: weight.get() }).collect()
    }
}
