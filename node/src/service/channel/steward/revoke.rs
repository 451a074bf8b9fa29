//! `potluck channel revoke`: adapters out of the recipe, for good.

use potluck_protocol::id::ManifestId;
use serde_json::Value;

use super::super::super::named::one;
use super::super::super::{Call, Service};
use super::Next;
use crate::api::channel::Revoke;
use crate::failure::{Failure, Kind, Outcome};
use crate::service::apart::with_schema;

impl Service {
    pub(in crate::service::channel) async fn channel_revoke(&self, call: &Call<'_>, revoke: Revoke) -> Outcome<Value> {
        let _one = self.stewarding.lock().await;
        let own = self.stewarded(call, &revoke.channel).await?;
        let mut adapters = Vec::with_capacity(revoke.adapters.len());
        for reference in &revoke.adapters {
            adapters.push(self.in_force(&own.lineage, reference).await?);
        }
        adapters.sort();
        adapters.dedup();
        let told = adapters.clone();
        let next = Next::Revoke(adapters);
        let answer = self.publish_version(call, &own.record, &own.lineage, next, revoke.threads).await?;
        let mut answer = with_schema("potluck.channel.revoke/1", answer)?;
        answer["revoked"] = serde_json::json!(told);
        answer["finished"] = serde_json::json!(own.finished);
        Ok(answer)
    }

    /// An input of the version in force, by name, id or the start of one.
    async fn in_force(&self, lineage: &potluck_protocol::channel::Lineage, reference: &str) -> Outcome<ManifestId> {
        let inputs: Vec<ManifestId> = lineage.inputs().iter().map(|(adapter, _)| *adapter).collect();
        let named = inputs.clone();
        let named = self
            .on_store(move |store| {
                let name = |id: ManifestId| {
                    let manifest = store.manifest(&id)?;
                    let name = manifest.map_or_else(String::new, |manifest| manifest.body().name.to_string());
                    Ok::<_, crate::store::StoreError>((name, id.to_string(), id))
                };
                named.into_iter().map(name).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        if let Some(found) = one(reference, named.into_iter())? {
            return Ok(found);
        }
        let held = inputs.len();
        Err(Failure::new(
            Kind::NotFound,
            format!("`{reference}` is none of the {held} adapters that are in force in `{}`", lineage.name()),
        )
        .hint("`potluck channel show CHANNEL` lists them"))
    }
}
