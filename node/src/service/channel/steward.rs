//! Opening, proposing, releasing, revoking.

use serde_json::Value;

use super::super::{Call, Service};
use crate::api::channel::{Open, Propose, Release, Revoke, Rollback};
use crate::failure::{Failure, Kind, Outcome};

impl Service {
    pub(super) async fn channel_open(&self, _call: &Call<'_>, _open: Open) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_propose(&self, _call: &Call<'_>, _propose: Propose) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_release(&self, _call: &Call<'_>, _release: Release) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_revoke(&self, _call: &Call<'_>, _revoke: Revoke) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    /// A version that goes back to an earlier recipe, for all followers.
    pub(super) async fn channel_publish_rollback(&self, _call: &Call<'_>, _rollback: &Rollback) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }
}
