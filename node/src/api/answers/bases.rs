//! Bases that a node knows.

use potluck_protocol::id::BaseId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Distance, PulledFrom};
use crate::json_forms;

/// One base, read whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Base {
    /// What it is called here.
    pub name: String,
    /// Its id: of the weights, not of files.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Where it lies, for people.
    pub place: String,
    /// For people, e.g. `llama, 30 layers of 576, vocabulary 49152, Q4_1`.
    pub architecture: String,
    /// Values of all its tensors.
    pub parameters: u64,
    /// What it is a view of, if that was said when it was added. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_of: Option<ViewOf>,
    /// Bytes that came, if it was fetched from the swarm just now. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_bytes: Option<u64>,
    /// Who sent them. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_from: Option<Vec<PulledFrom>>,
}

/// The base that a file is a view of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewOf {
    /// Its id.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// It was here, so that both could be compared.
    pub checked: bool,
    /// The tensor that is farthest from the original, if it was compared.
    pub farthest: Option<Distance>,
}

/// All bases that can be used by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bases {
    /// `tiny` first.
    pub bases: Vec<ListedBase>,
}

/// One base, by what the head of its files says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ListedBase {
    /// What it is called here.
    pub name: String,
    /// Its id.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Where it lies, for people.
    pub place: String,
    /// For people; `None` if its files are not readable now.
    pub architecture: Option<String>,
    /// Values of all its tensors; `None` if its files are not readable now.
    pub parameters: Option<u64>,
}
