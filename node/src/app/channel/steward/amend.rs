//! `potluck channel revoke` and `potluck channel rollback --publish`: adapters out of the recipe for good, and an earlier recipe
//! again, for all followers.

use potluck_protocol::id::ManifestId;

use crate::api::answers::{Revoked, RolledBackForAll};
use crate::api::channel::{Revoke, Rollback};
use crate::app::call::Call;
use crate::app::channel::steward::Steward;
use crate::app::channel::steward::version::Next;
use crate::app::reference::one;
use crate::failure::{Failure, Kind, Outcome};

impl Steward {
    /// A version without these adapters.
    pub async fn revoke(&self, call: &Call<'_>, revoke: Revoke) -> Outcome<Revoked> {
        let _one = self.making.lock().await;
        let own = self.load_own_channel(call, &revoke.channel, revoke.offline).await?;
        let mut adapters = Vec::with_capacity(revoke.adapters.len());
        for reference in &revoke.adapters {
            adapters.push(self.find_in_force(&own.lineage, reference).await?);
        }
        adapters.sort();
        adapters.dedup();
        let revoked = adapters.clone();
        let next = Next::Revoke(adapters);
        let version = self.drafts.publish_version(call, &own, next, revoke.threads).await?;
        Ok(Revoked { version, revoked, finished: own.finished })
    }

    /// An input of the version in force, by name, id or the start of one.
    async fn find_in_force(
        &self,
        lineage: &potluck_protocol::lineage::Lineage,
        reference: &str,
    ) -> Outcome<ManifestId> {
        let inputs: Vec<ManifestId> = lineage.inputs().iter().map(|(adapter, _)| *adapter).collect();
        let named = inputs.clone();
        let named = self
            .disk
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
            format!("`{reference}` is not one of the {held} adapters in force in `{}`", lineage.name()),
        )
        .hint("`potluck channel show CHANNEL` lists them"))
    }

    /// A version with the inputs of an earlier height, less what was revoked since.
    pub async fn rollback(&self, call: &Call<'_>, rollback: &Rollback) -> Outcome<RolledBackForAll> {
        let _one = self.making.lock().await;
        let own = self.load_own_channel(call, &rollback.channel, rollback.offline).await?;
        let head = own.lineage.next_height() - 1;
        let to = rollback.to.unwrap_or(head.saturating_sub(1));
        if to >= head {
            let message = format!(
                "channel `{}` is at version {head}: only an earlier version can be rolled back to",
                own.record.name
            );
            return Err(Failure::new(Kind::Usage, message).hint("give it with --to HEIGHT; 0 is genesis"));
        }
        let version = self.drafts.publish_version(call, &own, Next::Rollback(to), rollback.threads).await?;
        Ok(RolledBackForAll { version, back_to: to, finished: own.finished })
    }
}
