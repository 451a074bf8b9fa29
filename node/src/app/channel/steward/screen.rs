//! Every check of a proposal that needs no numerics.

use std::sync::Arc;
use std::time::Duration;

use libp2p::{PeerId, identity};
use potluck_protocol::channel::{Admission, Refusal};
use potluck_protocol::id::Digest;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::{Authentic, PublicKey};
use tokio::time::{Instant, timeout};

use crate::app::call::Call;
use crate::app::channel::follower::limits::LOOK;
use crate::app::channel::rests::Rests;
use crate::app::channel::steward::proposals::Proposal;
use crate::app::disk::{Disk, complete};
use crate::app::errors::ObjectError;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::failure::{Failure, Kind, Outcome};
use crate::licence;

/// Files of which no shard comes for so long are not to be had: the slowest line that is served brings one in this time.
const STUCK: Duration = Duration::from_secs(120);

/// What a proposal comes to before it is weighed.
pub enum Screened {
    /// Its adapter is here, whole and checked.
    Fit,
    Refused(Refusal),
    /// It was not had, and not looked for in full: that it is missing is signed for good, so another release looks again.
    NotHad,
    /// Nothing can be said yet: the adapter is not here, and this node is on no network, or it did not come in time, or
    /// this node has fetched all that it may fetch in a day of what strangers chose, or has no room for it, or only a later
    /// version can read it.
    Later,
}

/// Checks proposals before they are weighed.
#[derive(Clone)]
pub struct Screen {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) rests: Rests,
}

impl Screen {
    /// What the rules say of a proposal by itself and by its adapter's manifest, if that is known: nothing is fetched that is
    /// refused anyway.
    pub fn refuse(lineage: &Lineage, proposal: &Proposal, adapter: Option<&Authentic<Manifest>>) -> Option<Refusal> {
        refuse_proposal(lineage, proposal)
            .or_else(|| adapter.and_then(|manifest| refuse_adapter(lineage, manifest.body())))
    }

    /// The adapter of a proposal that the rules allow. It is looked for and fetched within `time`, so that whoever sends it
    /// slowly holds up nobody else; what is here needs none.
    pub async fn screen(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        proposal: &Proposal,
        adapter: Option<Authentic<Manifest>>,
        time: Duration,
    ) -> Outcome<Screened> {
        let (id, until) = (proposal.info.adapter, Instant::now().checked_add(time));
        let manifest = match adapter {
            Some(manifest) => Ok(manifest),
            // Beyond the end nobody is asked, and nothing is called missing.
            None if time.is_zero() => return Ok(Screened::Later),
            None => self.objects.find_manifest(call, id, time.min(LOOK)).await,
        };
        let screened = match manifest {
            Ok(manifest) => match refuse_adapter(lineage, manifest.body()) {
                Some(refusal) => Screened::Refused(refusal),
                None => {
                    let left = until.map_or(time, |until| until.saturating_duration_since(Instant::now()));
                    self.screen_files(call, &manifest, left).await?
                }
            },
            Err(error) => self.judge_missing(error, time >= LOOK)?,
        };
        match &screened {
            Screened::Refused(Refusal::Missing) | Screened::NotHad => self.rests.missed(id),
            Screened::Fit => self.rests.found(&id),
            Screened::Refused(_) | Screened::Later => {}
        }
        Ok(screened)
    }

    /// The files, fetched if they are not here, and looked at. // I8
    async fn screen_files(&self, call: &Call<'_>, manifest: &Authentic<Manifest>, time: Duration) -> Outcome<Screened> {
        let id = manifest.id();
        if self.disk.store.is_well_formed(&id) {
            return Ok(Screened::Fit);
        }
        if !self.disk.try_store(move |store| Ok(complete(store, &id).is_ok())).await? {
            call.phase(format!("fetching {} from its publisher or others", manifest.body().name)).await;
            let patience = time.min(STUCK);
            match timeout(time, self.objects.fetch(&call.for_others(), manifest.clone(), patience)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return self.judge_missing(error, patience == STUCK),
                // What came of it stays: another release goes on from there.
                Err(_) => return Ok(Screened::NotHad),
            }
        }
        let complete = self.disk.complete(id).await?;
        // I6
        match self.objects.inspect(call, complete).await {
            Ok(_) => Ok(Screened::Fit),
            Err(error) => judge_content(error),
        }
    }

    /// What is nobody's trouble but the publisher's and the network's is a refusal, if somebody was asked and the look was
    /// not cut short; ours ends the release.
    fn judge_missing(&self, error: ObjectError, in_full: bool) -> Outcome<Screened> {
        // Strangers choose sizes and bytes: neither ends a release.
        if matches!(error, ObjectError::OverBudget { .. }) || error.is_no_room() || error.is_unreadable() {
            return Ok(Screened::Later);
        }
        match error.is_missing() {
            true if self.network.is_none() => Ok(Screened::Later),
            true => Ok(judge_absence(&error, in_full)),
            false => judge_content(error),
        }
    }
}

/// Nobody sent it whole.
fn judge_absence(error: &ObjectError, in_full: bool) -> Screened {
    if in_full && !error.asked_nobody() { Screened::Refused(Refusal::Missing) } else { Screened::NotHad }
}

/// A refusal names the adapter as malformed for good: only by what its publisher signed. That our own base or disk cannot
/// be read ends the release.
fn judge_content(error: ObjectError) -> Outcome<Screened> {
    if error.is_publishers_fault() {
        return Ok(Screened::Refused(Refusal::malformed(&error.to_string())));
    }
    Err(error.into())
}

/// Why the rules of a channel refuse a proposal, whatever its adapter is.
fn refuse_proposal(lineage: &Lineage, proposal: &Proposal) -> Option<Refusal> {
    let adapter = proposal.info.adapter;
    if !lineage.spec().admission.admits(&proposal.proposer) {
        return Some(Refusal::NotAdmitted);
    }
    if lineage.revoked().binary_search(&adapter).is_ok() {
        return Some(Refusal::Revoked);
    }
    lineage.inputs().iter().any(|(input, _)| *input == adapter).then_some(Refusal::AlreadyIn)
}

/// Why the rules of a channel refuse an adapter, by what its manifest says.
fn refuse_adapter(lineage: &Lineage, adapter: &Manifest) -> Option<Refusal> {
    let ManifestKind::Adapter(info) = &adapter.kind else { return Some(Refusal::malformed("it is no adapter")) };
    if !licence::taken(&lineage.spec().licences, &adapter.licence) {
        return Some(Refusal::Licence);
    }
    (!lineage.is_of(&info.base)).then_some(Refusal::OtherBase)
}

/// The publishers that may propose; everybody if none is named.
pub fn admission(keys: &[String]) -> Outcome<Admission> {
    if keys.is_empty() {
        return Ok(Admission::Open);
    }
    let mut keys = keys.iter().map(|text| key(text)).collect::<Outcome<Vec<_>>>()?;
    keys.sort();
    keys.dedup();
    Ok(Admission::Listed(keys))
}

fn key(text: &str) -> Outcome<PublicKey> {
    let wrong = || {
        Failure::new(Kind::Usage, format!("`{text}` is not a publisher's key"))
            .hint("give the peer id that `potluck status` shows there, or the publisher that `potluck show` names")
    };
    let key = match text.parse::<Digest>() {
        Ok(bytes) => PublicKey(bytes),
        Err(_) => of_peer(text.parse().map_err(|_| wrong())?).ok_or_else(wrong)?,
    };
    // Bytes that are no key at all would admit nobody.
    if key.peer_id().is_some() { Ok(key) } else { Err(wrong()) }
}

/// The ed25519 key that a peer id holds.
fn of_peer(peer: PeerId) -> Option<PublicKey> {
    let hash: &libp2p::multihash::Multihash<64> = peer.as_ref();
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_ed25519().ok()?;
    Some(PublicKey(Digest(key.to_bytes())))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::ManifestId;

    use super::*;
    use crate::exchange::PullError;

    #[test]
    fn only_a_look_in_full_that_asked_somebody_says_that_an_adapter_is_missing() {
        let manifest = ManifestId(Digest::of(b"an adapter"));
        let signed = |asked: Vec<PeerId>, in_full| {
            let error = PullError::NotFound { manifest, asked, waited: LOOK };
            let screened = judge_absence(&ObjectError::Pull { error, relayed: 0 }, in_full);
            matches!(screened, Screened::Refused(Refusal::Missing))
        };
        assert!(signed(vec![PeerId::random()], true));
        assert!(!signed(vec![PeerId::random()], false), "it was cut short");
        assert!(!signed(Vec::new(), true), "nobody was here");
    }

    #[test]
    fn a_key_is_hex_or_a_peer_id() {
        let own = PublicKey::of(&Keypair::generate());
        let peer = own.peer_id().expect("a key").to_string();
        let listed = admission(&[own.0.to_string(), peer]).expect("both");
        assert_eq!(listed, Admission::Listed(vec![own]));
        assert_eq!(admission(&[]), Ok(Admission::Open));
        for wrong in ["", "me", "12D3KooW", &PeerId::random().to_string()] {
            assert_eq!(admission(&[wrong.to_owned()]).map_err(|failure| failure.kind), Err(Kind::Usage), "{wrong}");
        }
    }
}
