//! "Take this adapter": what a publisher sends to a channel.

use serde::{Deserialize, Serialize};

use crate::codec::Malformed;
use crate::id::{BaseId, ManifestId};
use crate::recipe::Weight;

/// An adapter offered to a channel. Who offers it is the manifest's publisher; one adapter by one publisher counts
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalInfo {
    /// The channel's genesis: the topic on which the proposal is announced.
    pub genesis: BaseId,
    /// To which it is offered.
    pub channel: ManifestId,
    /// What is offered.
    pub adapter: ManifestId,
    /// How much of it should be taken. The norm clip and the choice may lower it; they never raise it.
    pub weight: Weight,
}

impl ProposalInfo {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let sensible = self.weight.0 != 0 && self.weight.is_bounded();
        Malformed::unless(sensible, || "the weight is zero or beyond 1024".to_owned())
    }
}
