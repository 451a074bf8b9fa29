//! What became of a proposal, for its publisher.

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::{Outcome as Fate, ProposalInfo, VersionInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Kind as ManifestKind;

use super::super::super::Service;
use crate::failure::Outcome;
use crate::store::StoreError;

impl Service {
    /// Lines on a proposal's fate, by the versions that are here.
    pub(in crate::service) async fn fate(&self, id: ManifestId, proposal: &ProposalInfo) -> Outcome<Vec<String>> {
        let channel = proposal.channel;
        let judged = self
            .on_store(move |store| {
                let steward = store.manifest(&channel)?.map(|manifest| manifest.body().publisher);
                for summary in store.manifests()?.into_iter().filter(|summary| summary.kind == KindTag::Version) {
                    // Anybody can sign something that calls itself a version; the channel's own manifest says whose count.
                    if steward != Some(summary.publisher) {
                        continue;
                    }
                    let Some(manifest) = store.manifest(&summary.id)? else { continue };
                    let ManifestKind::Version(version) = &manifest.body().kind else { continue };
                    if version.channel == channel
                        && let Some(line) = verdict(version, id)
                    {
                        return Ok(Some(line));
                    }
                }
                Ok::<_, StoreError>(None)
            })
            .await?;
        Ok(match judged {
            Some(line) => vec![line],
            None => vec![
                "no version that is known here has judged it".to_owned(),
                format!("follow the channel to hear of the next ones: `potluck channel follow {channel}`"),
            ],
        })
    }
}

fn verdict(version: &VersionInfo, proposal: ManifestId) -> Option<String> {
    let verdict = version.verdicts.iter().find(|verdict| verdict.proposal == proposal)?;
    Some(match &verdict.outcome {
        Fate::Taken { weight, alone_micro } => format!(
            "taken by version {} at weight {}: alone it moved the held-out loss by {:+.4} nats",
            version.height,
            weight.get(),
            *alone_micro as f64 / 1e6
        ),
        Fate::Refused(refusal) => format!("refused by version {}: {refusal}", version.height),
    })
}
