//! Following, updating, going back, showing.

use serde_json::Value;

use super::super::{Call, Service};
use crate::api::channel::{Follow, Rollback};
use crate::failure::{Failure, Kind, Outcome};

impl Service {
    pub(super) async fn channel_follow(&self, _call: &Call<'_>, _follow: Follow) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_unfollow(&self, _channel: &str) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_update(
        &self,
        _call: &Call<'_>,
        _channel: &str,
        _timeout_seconds: u64,
    ) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_rollback(&self, _call: &Call<'_>, _rollback: Rollback) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_show(&self, _channel: &str) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }

    pub(super) async fn channel_list(&self) -> Outcome<Value> {
        Err(Failure::new(Kind::Usage, "this version cannot do that"))
    }
}
