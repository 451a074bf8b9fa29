//! Every check of a proposal that needs no numerics.

use std::time::Duration;

use potluck_protocol::channel::{Lineage, Refusal};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;

use super::super::super::{Call, Service};
use super::proposals::Proposal;
use crate::failure::{Failure, Kind, Outcome};
use crate::licence;

/// What a proposal comes to before it is weighed.
pub enum Sifted {
    /// Its adapter is here, whole and checked.
    Fit,
    Refused(Refusal),
    /// Nothing can be said: this node is on no network, and the adapter is not here.
    Later,
}

impl Service {
    /// Admission, licence and lineage first, so that nothing is fetched that is refused anyway; then the files.
    pub(super) async fn sift(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        proposal: &Proposal,
        patience: Duration,
    ) -> Outcome<Sifted> {
        let (spec, adapter) = (lineage.spec(), proposal.info.adapter);
        if !spec.admission.admits(&proposal.proposer) {
            return Ok(Sifted::Refused(Refusal::NotAdmitted));
        }
        if lineage.revoked().binary_search(&adapter).is_ok() {
            return Ok(Sifted::Refused(Refusal::Revoked));
        }
        if lineage.inputs().iter().any(|(input, _)| *input == adapter) {
            return Ok(Sifted::Refused(Refusal::AlreadyIn));
        }
        let manifest = match self.adapter_manifest(call, adapter, patience).await {
            Ok(manifest) => manifest,
            Err(failure) => return self.missing(failure),
        };
        let body = manifest.body();
        let ManifestKind::Adapter(info) = &body.kind else {
            return Ok(Sifted::Refused(Refusal::malformed("it is no adapter")));
        };
        if !licence::taken(&spec.licences, &body.licence) {
            return Ok(Sifted::Refused(Refusal::Licence));
        }
        if !lineage.is_of(&info.base) {
            return Ok(Sifted::Refused(Refusal::OtherBase));
        }
        self.whole(call, &manifest, patience).await
    }

    /// The files, fetched if they are not here, and looked at. // I8
    async fn whole(&self, call: &Call<'_>, manifest: &Authentic<Manifest>, patience: Duration) -> Outcome<Sifted> {
        let id = manifest.id();
        if self.store.is_well_formed(&id) {
            return Ok(Sifted::Fit);
        }
        if !self.on_store(move |store| Ok::<_, Failure>(Self::complete(store, &id).is_ok())).await? {
            let bytes = manifest.body().total_bytes().saturating_mul(2);
            self.check_room(bytes, "shards and files of a proposed adapter").await?;
            call.phase(format!("fetching {} from its publisher or others", manifest.body().name)).await;
            if let Err(failure) = self.fetch(call, manifest.clone(), patience).await {
                return self.missing(failure);
            }
        }
        let complete = self.on_store(move |store| Self::complete(store, &id)).await?;
        // I6
        match self.inspect(complete).await {
            Ok(_) => Ok(Sifted::Fit),
            Err(failure) if failure.kind == Kind::Verification => {
                Ok(Sifted::Refused(Refusal::malformed(&failure.message)))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn adapter_manifest(&self, call: &Call<'_>, id: ManifestId, find: Duration) -> Outcome<Authentic<Manifest>> {
        match self.on_store(move |store| store.manifest(&id)).await? {
            Some(manifest) => Ok(manifest),
            None => self.found(call, id, find).await,
        }
    }

    /// What is nobody's trouble but the publisher's and the network's is a refusal; ours ends the release.
    fn missing(&self, failure: Failure) -> Outcome<Sifted> {
        match failure.kind {
            Kind::NotFound | Kind::Timeout | Kind::Unreachable if self.network.is_none() => Ok(Sifted::Later),
            Kind::NotFound | Kind::Timeout | Kind::Unreachable => Ok(Sifted::Refused(Refusal::Missing)),
            Kind::Verification => Ok(Sifted::Refused(Refusal::malformed(&failure.message))),
            _ => Err(failure),
        }
    }
}
