//! Looking after the store.

use serde_json::{Value, json};

use super::Service;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::Stat;

impl Service {
    pub(super) async fn store_stat(&self) -> Outcome<Value> {
        Ok(stat("potluck.store.stat/1", &self.on_store(|store| store.stat()).await?))
    }

    /// Damage is an error that names each damaged thing.
    pub(super) async fn store_verify(&self) -> Outcome<Value> {
        let report = self.on_store(|store| store.verify(|_, _| {})).await?;
        if report.is_clean() {
            return Ok(
                json!({ "schema": "potluck.store.verify/1", "shards": report.shards, "manifests": report.manifests }),
            );
        }
        let detail = serde_json::to_string(&report).unwrap_or_default();
        Err(Failure::new(Kind::Verification, format!("the store is not whole: {detail}"))
            .hint("what was damaged has been moved aside; `potluck pull ID` fetches what is missing again"))
    }

    pub(super) async fn store_rebuild(&self) -> Outcome<Value> {
        Ok(stat("potluck.store.rebuild/1", &self.on_store(|store| store.rebuild().and_then(|_| store.stat())).await?))
    }
}

fn stat(schema: &str, stat: &Stat) -> Value {
    json!({
        "schema": schema, "shards": stat.shards, "shard_bytes": stat.shard_bytes, "manifests": stat.adapters + stat.bases + stat.datasets,
        "recipes": stat.recipes, "detail": stat,
    })
}
